"""Small pictures of every kind that the program reads, made from formulas: tests/golden/media."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def scene(width, height):
    """RGB [height, width, 3]: slopes, waves, a hard edge and fine stripes; no side like another."""
    x = np.arange(width)[None, :] / width
    y = np.arange(height)[:, None] / height
    red = 255 * x * (1 - 0.5 * y)
    green = 127.5 + 127.5 * np.sin(9 * x + 4 * y * y)
    blue = np.where((x - 0.6) ** 2 + (y - 0.4) ** 2 < 0.06, 240.0, 60 * y)
    pixels = np.stack(np.broadcast_arrays(red, green, blue), axis=-1)
    pixels[height * 3 // 4 :, ::2] = 255 - pixels[height * 3 // 4 :, ::2]
    return np.round(pixels).astype(np.uint8)


def alpha_of(width, height):
    """Transparency from nothing to everything, both ends included."""
    ramp = np.linspace(-40, 300, width)[None, :] + np.linspace(0, 30, height)[:, None]
    return np.clip(ramp, 0, 255).round().astype(np.uint8)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(samples, colour, bits=8, interlaced=False, before=b"", after=b""):
    """A PNG of samples [height, width, channels]: what Pillow does not write."""

    def rows(part):
        part = part.astype(">u2") if bits == 16 else part.astype(np.uint8)
        if bits < 8:
            shifts = np.arange(8 - bits, -1, -bits)
            padded = np.zeros((part.shape[0], -(-part.shape[1] * bits // 8) * (8 // bits)), np.uint8)
            padded[:, : part.shape[1]] = part[:, :, 0]
            grouped = padded.reshape(part.shape[0], -1, 8 // bits)
            part = (grouped << shifts).sum(axis=-1).astype(np.uint8)
        return b"".join(b"\0" + row.tobytes() for row in part)

    height, width = samples.shape[:2]
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    parts = (samples[y0::dy, x0::dx] for x0, y0, dx, dy in passes)
    data = b"".join(rows(part) for part in parts if part.size)
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, int(interlaced))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + before
            + chunk(b"IDAT", zlib.compress(data, 9)) + after + chunk(b"IEND", b""))


def exif(orientation, order=">"):
    """A TIFF directory with one entry besides the orientation."""
    head = (b"MM" if order == ">" else b"II") + struct.pack(order + "HI", 42, 8)
    entries = struct.pack(order + "HHII", 0x0100, 3, 1, 7 << 16 if order == ">" else 7)
    entries += struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return head + struct.pack(order + "H", 2) + entries + struct.pack(order + "I", 0)


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png_files():
    rgb = scene(23, 17)
    grey = rgb[..., 1:2]
    alpha = alpha_of(23, 17)[..., None]
    wide = rgb.astype(np.uint16) * 255 + 128  # no lower byte equals its upper one
    palette = Image.fromarray(rgb).quantize(16)
    indices = np.array(palette)[..., None]
    colours = chunk(b"PLTE", bytes(palette.getpalette()[:48]))
    see_through = chunk(b"tRNS", bytes([0, 90, 255, 180]))
    turned = chunk(b"eXIf", exif(6))
    return {
        "rgb.png": png(rgb, 2),
        "rgba.png": png(np.concatenate([rgb, alpha], -1), 6),
        "grey.png": png(grey, 0),
        "grey_alpha.png": png(np.concatenate([grey, alpha], -1), 4),
        "grey1.png": png(grey > 120, 0, 1),
        "grey2.png": png(grey >> 6, 0, 2),
        "rgb16.png": png(wide, 2, 16),
        "rgba16.png": png(np.concatenate([wide, alpha.astype(np.uint16) * 257], -1), 6, 16),
        "grey16.png": png(wide[..., 1:2], 0, 16),
        "palette.png": png(indices, 3, before=colours),
        "palette4_clear.png": png(indices, 3, 4, before=colours + see_through),
        "rgb_key.png": png(rgb, 2, before=chunk(b"tRNS", struct.pack(">HHH", *rgb[0, 0]))),
        "interlaced.png": png(rgb, 2, interlaced=True),
        "interlaced_alpha.png": png(np.concatenate([rgb, alpha], -1), 6, interlaced=True),
        "turned.png": png(rgb, 2, before=turned),
        "turned_late.png": png(rgb, 2, after=turned),
        "one_pixel.png": png(rgb[5:6, 5:6], 2),
    }


def jpeg_files():
    image = Image.fromarray(scene(37, 21))
    files = {
        "420.jpg": saved(image, "JPEG", quality=90, subsampling=2),
        "422.jpg": saved(image, "JPEG", quality=90, subsampling=1),
        "444.jpg": saved(image, "JPEG", quality=95, subsampling=0),
        "progressive.jpg": saved(image, "JPEG", quality=90, progressive=True),
        "restarts.jpg": saved(image, "JPEG", quality=80, restart_marker_blocks=2),
        "rgb.jpg": saved(image, "JPEG", quality=90, keep_rgb=True),
        "grey.jpg": saved(image.convert("L"), "JPEG", quality=90),
        "cmyk.jpg": saved(image.convert("CMYK"), "JPEG", quality=50),
    }
    small = Image.fromarray(scene(19, 11))
    for value in range(1, 9):
        data = b"Exif\0\0" + exif(value, "<" if value % 2 else ">")
        files[f"turned{value}.jpg"] = saved(small, "JPEG", quality=75, exif=data)
    return files


def other_files():
    rgb = scene(29, 19)
    image = Image.fromarray(rgb)
    clear = Image.fromarray(np.concatenate([rgb, alpha_of(29, 19)[..., None]], -1))
    palette = image.quantize(31)
    holes = image.quantize(15)
    holes.paste(15, (3, 2, 20, 9))
    frames = [image.quantize(8), image.transpose(Image.Transpose.ROTATE_180).quantize(8)]
    more = {"save_all": True, "append_images": frames[1:], "duration": 100}
    return {
        "lossy.webp": saved(image, "WEBP", quality=80),
        "lossless.webp": saved(image, "WEBP", lossless=True, quality=100, method=6),
        "alpha.webp": saved(clear, "WEBP", lossless=True, exact=True),
        "lossy_alpha.webp": saved(clear, "WEBP", quality=80),
        "turned.webp": saved(image, "WEBP", quality=60, exif=exif(8)),
        "moving.webp": saved(image, "WEBP", lossless=True, save_all=True, duration=100,
                             append_images=[image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]),
        "rgb.bmp": saved(image, "BMP"),
        "palette.bmp": saved(palette, "BMP"),
        "black_white.bmp": saved(image.convert("1"), "BMP"),
        "plain.gif": saved(palette, "GIF", interlace=0),
        "interlaced.gif": saved(palette, "GIF", interlace=1),
        "clear.gif": saved(holes, "GIF", transparency=15, background=15),
        "moving.gif": saved(frames[0], "GIF", **more),
    }


def all_files():
    return png_files() | jpeg_files() | other_files()

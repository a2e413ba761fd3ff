"""Writes tests/golden/media (small files of every kind) and tests/golden/media.json and .bin: what
Pillow and the official image processor make of them.

Needs torchvision and pillow beside the other requirements.
"""

import argparse
import io
import os

import numpy as np
import torch
from golden import write_golden
from media_files import all_files, scene
from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional as tv
from transformers.image_transforms import convert_to_rgb
from transformers.models.gemma4.image_processing_gemma4 import Gemma4ImageProcessor
from transformers.models.gemma4_unified.image_processing_gemma4_unified import (
    Gemma4UnifiedImageProcessor,
    get_aspect_ratio_preserving_size,
)

DEFAULT_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/golden")
BUDGETS = (70, 140, 280, 560, 1120)
# Every so many values of what a processor returns are kept, as bytes; prime to all sides of patches.
STEP = 127
# (width, height) -> (width, height), both ways in each direction, and an axis that stays.
RESIZES = (((53, 37), (48, 96)), ((301, 7), (48, 48)), ((31, 200), (96, 48)), ((3, 2), (48, 48)),
           ((48, 61), (48, 48)), ((1, 1), (48, 48)), ((160, 48), (48, 48)))
PROCESSED = (("rgb.png", 70), ("palette4_clear.png", 140), ("turned6.jpg", 70), ("420.jpg", 280),
             ("one_pixel.png", 70))


def shown(data):
    """A file as the official processor sees it: turned, over white, R G B."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode.startswith("I;16"):  # Pillow clips where it should scale
        image = Image.fromarray((np.array(image) >> 8).astype(np.uint8))
    return convert_to_rgb(image, return_numpy=True)


def sizes():
    """500 sizes, half of them of even magnitude, and some at the ends."""
    ends = [(1, 1), (1, 8000), (8000, 1), (8000, 6000), (48, 48), (768, 768), (769, 768), (3, 400)]
    state = np.random.RandomState(48)
    even = state.randint(1, [8001, 6001], (246, 2))
    low = np.exp(state.rand(246, 2) * np.log([8000, 6000])).astype(np.int64)
    return np.concatenate([ends, even, low])


def grids(table):
    def grid(width, height, budget):
        h, w = get_aspect_ratio_preserving_size(int(height), int(width), 16, 9 * budget, 3)
        return (w // 48, h // 48)

    return np.array([[grid(w, h, budget) for budget in BUDGETS] for w, h in table])


def kept(values):
    """Some of the values in units of float32(1 / 255), of which all are multiples."""
    levels = np.round(values * 255)
    assert np.array_equal(levels.astype(np.float32) * np.float32(1 / 255), values)
    return levels.reshape(-1)[::STEP].astype(np.uint8)


def processed(pixels, budget):
    """The values of both processors, padding left out, and the grid in tokens."""
    image = Image.fromarray(pixels)
    both = []
    for kind in (Gemma4UnifiedImageProcessor, Gemma4ImageProcessor):
        out = kind(max_soft_tokens=budget)(image, return_tensors="pt")
        used = out["image_position_ids"][0, :, 0] >= 0
        both.append(out["pixel_values"][0][used].numpy().astype(np.float32))
        grid = out["image_position_ids"][0][used].max(dim=0).values.numpy() + 1
    return both[0], both[1], grid // 3


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", default=DEFAULT_FOLDER, help="default: tests/golden")
    args = parser.parse_args()
    os.makedirs(os.path.join(args.folder, "media"), exist_ok=True)
    files, arrays = all_files(), {}
    for name, data in files.items():
        with open(os.path.join(args.folder, "media", name), "wb") as file:
            file.write(data)
        if name != "cmyk.jpg":
            arrays[name] = shown(data)
    table = sizes()
    arrays["sizes"], arrays["grids"] = table.astype(np.uint16), grids(table).astype(np.uint16)
    for (width, height), (to_width, to_height) in RESIZES:
        pixels = torch.from_numpy(scene(width, height)).permute(2, 0, 1)
        small = tv.resize(pixels, [to_height, to_width], tv.InterpolationMode.BICUBIC, antialias=True)
        arrays[f"resize.{width}x{height}.{to_width}x{to_height}"] = small.permute(1, 2, 0).numpy()
        arrays[f"scene.{width}x{height}"] = scene(width, height)
    for name, budget in PROCESSED:
        unified, classic, grid = processed(shown(files[name]), budget)
        arrays[f"grid.{name}"] = grid.astype(np.uint16)
        arrays[f"unified.{name}"] = kept(unified)
        arrays[f"classic.{name}"] = kept(classic)
        arrays[f"means.{name}"] = unified.mean(axis=1, dtype=np.float64)
    header = {"step": STEP, "budgets": BUDGETS, "processed": dict(PROCESSED)}
    n_bytes = write_golden(args.folder, "media", header, arrays)
    print(f"media: {n_bytes} bytes, {len(files)} files of {sum(map(len, files.values()))} bytes")


if __name__ == "__main__":
    main()

"""Pictures drawn with numpy: plain shapes, digits and words on a grid of 48-pixel cells.

A scene is (columns, rows, scale, background, marks, noise): the grid that the picture will have
after resizing, how large it is drawn (48 * scale pixels per cell), the background's RGB, what is on
it, and the seed of a faint noise or None. A mark is (kind, RGB, x, y, size): its middle and its
width in cells; kind is a shape, or a character of FONT.
"""

import numpy as np

# No grey: the embedder normalises each patch, so grey on black and white on black are the same.
RGB = {
    "red": (220, 30, 30), "green": (30, 160, 50), "blue": (40, 70, 220), "yellow": (240, 220, 40),
    "white": (250, 250, 250), "black": (10, 10, 10), "orange": (245, 140, 20),
    "purple": (130, 40, 170), "pink": (250, 150, 190),
}  # fmt: skip
BACKGROUNDS = ((255, 255, 255), (0, 0, 0), (210, 225, 240), (45, 50, 60))
CELL = 48

# 5 x 7 dots, a row per number, the leftmost dot is the highest bit
FONT = {
    "0": (14, 17, 19, 21, 25, 17, 14), "1": (4, 12, 4, 4, 4, 4, 14), "2": (14, 17, 1, 6, 8, 16, 31),
    "3": (30, 1, 1, 14, 1, 1, 30), "4": (2, 6, 10, 18, 31, 2, 2), "5": (31, 16, 30, 1, 1, 17, 14),
    "6": (6, 8, 16, 30, 17, 17, 14), "7": (31, 1, 2, 4, 8, 8, 8), "8": (14, 17, 17, 14, 17, 17, 14),
    "9": (14, 17, 17, 15, 1, 2, 12),
    "a": (0, 0, 14, 1, 15, 17, 15), "b": (16, 16, 30, 17, 17, 17, 30),
    "c": (0, 0, 14, 16, 16, 17, 14), "d": (1, 1, 15, 17, 17, 17, 15),
    "e": (0, 0, 14, 17, 31, 16, 14),
    "f": (6, 9, 8, 28, 8, 8, 8), "g": (0, 15, 17, 17, 15, 1, 14), "h": (16, 16, 22, 25, 17, 17, 17),
    "i": (4, 0, 12, 4, 4, 4, 14), "k": (16, 16, 18, 20, 24, 20, 18), "l": (12, 4, 4, 4, 4, 4, 14),
    "m": (0, 0, 26, 21, 21, 17, 17), "n": (0, 0, 22, 25, 17, 17, 17),
    "o": (0, 0, 14, 17, 17, 17, 14),
    "p": (0, 0, 30, 17, 30, 16, 16), "r": (0, 0, 22, 25, 16, 16, 16), "t": (8, 8, 28, 8, 8, 9, 6),
    "u": (0, 0, 17, 17, 17, 19, 13), "w": (0, 0, 17, 17, 21, 21, 10),
    "x": (0, 0, 17, 10, 4, 10, 17),
    "y": (0, 0, 17, 17, 15, 1, 14),
}  # fmt: skip

Mark = tuple[str, tuple[int, int, int], float, float, float]
Scene = tuple[int, int, float, tuple[int, int, int], tuple[Mark, ...], int | None]


def _inside(kind: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether points of a shape's own square [-1, 1] belong to it; y grows downwards."""
    if kind == "circle":
        return x * x + y * y <= 1
    if kind == "square":
        return (abs(x) <= 0.85) & (abs(y) <= 0.85)
    if kind == "triangle":
        return (y <= 0.85) & (y >= -0.95 + 1.8 * abs(x))
    if kind == "cross":
        return ((abs(x) <= 0.3) & (abs(y) <= 1)) | ((abs(y) <= 0.3) & (abs(x) <= 1))
    if kind == "ring":
        radius = x * x + y * y
        return (radius <= 1) & (radius >= 0.36)
    dots = np.array([[row >> (4 - i) & 1 for i in range(5)] for row in FONT[kind]], bool)
    column = np.floor((x * 7 + 5) / 2).astype(int)  # seven dots fill the height
    row = np.floor((y * 7 + 7) / 2).astype(int)
    within = (column >= 0) & (column < 5) & (row >= 0) & (row < 7)
    return within & dots[row.clip(0, 6), column.clip(0, 4)]


_FINER = 3  # samples per pixel and axis, so that edges are smooth


def draw(scene: Scene) -> np.ndarray:
    """uint8 [height, width, 3]"""
    columns, rows, scale, background, marks, noise = scene
    cell = CELL * scale
    height, width = round(rows * cell), round(columns * cell)
    image = np.empty((height, width, 3), np.float32)
    image[:] = background
    for kind, rgb, x, y, size in marks:
        half = size * cell / 2
        left, top = max(0, int(x * cell - half) - 1), max(0, int(y * cell - half) - 1)
        right, bottom = min(width, int(x * cell + half) + 2), min(height, int(y * cell + half) + 2)
        fine_x = (np.arange(left * _FINER, right * _FINER) + 0.5) / _FINER
        fine_y = (np.arange(top * _FINER, bottom * _FINER) + 0.5) / _FINER
        inside = _inside(
            kind, (fine_x[None] - x * cell) / half, (fine_y[:, None] - y * cell) / half
        )
        share = inside.reshape(bottom - top, _FINER, right - left, _FINER).mean((1, 3))[..., None]
        part = image[top:bottom, left:right]
        part += share * (np.array(rgb, np.float32) - part)
    if noise is not None:
        image += np.random.default_rng(noise).integers(-4, 5, image.shape, np.int8)
    return (image.clip(0, 255) + 0.5).astype(np.uint8)

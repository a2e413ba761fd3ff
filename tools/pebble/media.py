"""Pictures and sounds as the numbers that the model takes, as transformers' own processors do.

verify.py compares the picture part with transformers' image processor.
"""

import math

import numpy as np
import torch

import pictures
import shape
import sounds
from example import Media


def picture_size(height: int, width: int, budget: int) -> tuple[int, int]:
    """What a picture is resized to so that it fills at most `budget` patches: multiples of 48."""
    side = shape.PATCH
    factor = math.sqrt(budget * side * side / (height * width))
    rows, columns = math.floor(factor * height / side), math.floor(factor * width / side)
    if rows == 0 and columns == 0:
        raise ValueError(f"a picture of {height} x {width} pixels does not fit {budget} patches")
    if rows == 0:
        rows, columns = 1, min(width // height, budget)
    elif columns == 0:
        rows, columns = min(height // width, budget), 1
    return rows * side, columns * side


def budget_for(rows: int, columns: int, height: int, width: int) -> int:
    """The smallest budget at which the picture gets a grid of rows x columns."""
    for budget in range(rows * columns, rows * columns + 4):
        if picture_size(height, width, budget) == (rows * shape.PATCH, columns * shape.PATCH):
            return budget
    raise ValueError(f"{height} x {width} pixels never become {rows} x {columns} patches")


def patches_of(pixels: np.ndarray, budget: int) -> tuple[np.ndarray, np.ndarray]:
    """float32 [n, 6912] in 0 to 1 (row, column, channel of a patch) and int64 [n, 2] (x, y), from
    uint8 [height, width, 3]."""
    height, width = picture_size(*pixels.shape[:2], budget)
    if pixels.shape[:2] != (height, width):
        image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
        image = torch.nn.functional.interpolate(
            image, (height, width), mode="bicubic", antialias=True, align_corners=False
        )
        pixels = image[0].permute(1, 2, 0).numpy()
    side = shape.PATCH
    rows, columns = height // side, width // side
    patches = pixels.reshape(rows, side, columns, side, 3).transpose(0, 2, 1, 3, 4)
    patches = patches.reshape(rows * columns, side * side * 3).astype(np.float32) / np.float32(255)
    y, x = np.divmod(np.arange(rows * columns), columns)
    return patches, np.stack((x, y), axis=1)


def image_patches(item: Media) -> tuple[np.ndarray, np.ndarray]:
    columns, rows = item.scene[:2]
    pixels = pictures.draw(item.scene)
    return patches_of(pixels, budget_for(rows, columns, *pixels.shape[:2]))


def audio_frames(item: Media) -> np.ndarray:
    """float32 [n, 640]: the samples, the last frame filled up with zeros."""
    samples = sounds.play(item.scene)
    missing = -len(samples) % shape.FRAME
    return np.pad(samples, (0, missing)).reshape(-1, shape.FRAME).astype(np.float32)

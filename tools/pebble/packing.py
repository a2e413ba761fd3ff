"""Examples as token rows, and rows packed into batches."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer

import media
import shape
from chat import AUDIO, IMAGE
from example import Example
from pebble import Batch

NO_BLOCK = -1


@dataclass
class Row:
    """One example. `ids` has the media's placeholders written out, `n_prompt` of them are given."""

    task: str
    ids: list[int]
    n_prompt: int
    patches: list[np.ndarray]  # per picture float32 [n, 6912]
    patch_positions: list[np.ndarray]  # per picture int64 [n, 2], x and y
    frames: list[np.ndarray]  # per sound float32 [n, 640]


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False).ids


def make_row(example: Example, tokenizer: Tokenizer) -> Row:
    """Placeholders become <|image> N x <|image|> <image|>, and the same for sounds."""
    row = Row(example.task, [], 0, [], [], [])
    prompt = example.prompt
    for item in example.media:
        mark = IMAGE if item.kind == "image" else AUDIO
        if item.kind == "image":
            patches, positions = media.image_patches(item)
            row.patches.append(patches)
            row.patch_positions.append(positions)
            count = len(patches)
        else:
            row.frames.append(media.audio_frames(item))
            count = len(row.frames[-1])
        before, after = prompt.split(mark, 1)
        row.ids += encode(tokenizer, before)
        row.ids += [shape.TOKEN_ID[mark.replace("|>", ">")]] + [shape.TOKEN_ID[mark]] * count
        row.ids.append(shape.TOKEN_ID[mark.replace("<|", "<")])
        prompt = after
    row.ids += encode(tokenizer, prompt)
    row.n_prompt = len(row.ids)
    row.ids += encode(tokenizer, example.answer)
    return row


def block_ids(ids: np.ndarray) -> np.ndarray:
    """int32 like `ids`: the number of the picture that a placeholder belongs to, else NO_BLOCK."""
    is_image = ids == shape.TOKEN_ID[IMAGE]
    starts = is_image & ~np.concatenate(([False], is_image[:-1]))
    return np.where(is_image, np.cumsum(starts), NO_BLOCK).astype(np.int32)


def _masks(segments: np.ndarray, ids: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Full and sliding bfloat16 [B, 1, T, T] from the example that each place belongs to."""
    length = segments.shape[1]
    i, j = np.arange(length)[:, None], np.arange(length)[None]
    same = segments[:, :, None] == segments[:, None, :]
    full = same & (j <= i)
    blocks = np.stack([block_ids(row) for row in ids])
    in_block = (blocks[:, :, None] == blocks[:, None, :]) & (blocks[:, :, None] != NO_BLOCK)
    sliding = same & ((j <= i) | in_block) & (j > i - shape.WINDOW)

    def as_scores(seen: np.ndarray) -> torch.Tensor:
        scores = torch.zeros(seen.shape, dtype=torch.bfloat16)
        return scores.masked_fill_(torch.from_numpy(~seen), -math.inf)[:, None]

    return as_scores(full), as_scores(sliding)


@dataclass(frozen=True)
class BatchShape:
    """Sizes that stay the same over a stage, so that what is compiled is compiled once."""

    rows: int
    length: int
    labels: int


def pack(rows: Iterator[Row], size: BatchShape) -> Batch:
    """Takes rows until there are no more or the next one fits nowhere; that one is dropped. A short
    answer's tokens count more than a long one's, by the square root of the length."""
    ids = np.full((size.rows, size.length), shape.PAD, np.int64)
    positions = np.zeros((size.rows, size.length), np.int64)
    segments = np.zeros((size.rows, size.length), np.int32)  # 0: padding, sees itself
    used = np.zeros(size.rows, np.int64)
    label_rows: list[int] = []
    labels: list[int] = []
    owners: list[int] = []
    weights: list[float] = []
    media_rows: dict[str, list[int]] = {IMAGE: [], AUDIO: []}
    taken: list[Row] = []
    for row in rows:
        n = len(row.ids)
        fits = [r for r in range(size.rows) if used[r] + n <= size.length]
        if not fits or len(labels) + n - row.n_prompt > size.labels:
            break
        r = max(fits, key=lambda r: used[r])
        start = int(used[r])
        used[r] += n
        place = slice(start, start + n)
        ids[r, place], positions[r, place], segments[r, place] = (
            row.ids,
            np.arange(n),
            len(taken) + 1,
        )
        base = r * size.length + start
        label_rows += range(base + row.n_prompt - 1, base + n - 1)
        labels += row.ids[row.n_prompt :]
        owners += [len(taken)] * (n - row.n_prompt)
        weights += [(n - row.n_prompt) ** -0.5] * (n - row.n_prompt)
        for mark, places in media_rows.items():
            places += [base + i for i, token in enumerate(row.ids) if token == shape.TOKEN_ID[mark]]
        taken.append(row)
    full, sliding = _masks(segments, ids)
    missing = size.labels - len(labels)
    batch = Batch(
        ids=torch.from_numpy(np.where(np.isin(ids, _PLACEHOLDERS), shape.PAD, ids)),
        positions=torch.from_numpy(positions),
        full_mask=full,
        sliding_mask=sliding,
        label_rows=torch.tensor(label_rows + [0] * missing),
        labels=torch.tensor(labels + [shape.PAD] * missing),
        weights=torch.tensor(weights + [0.0] * missing),
        label_owners=torch.tensor(owners + [-1] * missing),
        tasks=[row.task for row in taken],
    )
    _add_media(batch, taken, media_rows)
    return batch


_PLACEHOLDERS = [shape.TOKEN_ID[IMAGE], shape.TOKEN_ID[AUDIO]]


def _add_media(batch: Batch, taken: list[Row], media_rows: dict[str, list[int]]) -> None:
    """Pictures and sounds of all rows, in the order of their placeholders."""
    patches = [part for row in taken for part in row.patches]
    if patches:
        positions = [part for row in taken for part in row.patch_positions]
        batch.patches = torch.from_numpy(np.concatenate(patches))
        batch.patch_positions = torch.from_numpy(np.concatenate(positions))
        batch.patch_rows = torch.tensor(media_rows[IMAGE])
    frames = [part for row in taken for part in row.frames]
    if frames:
        batch.frames = torch.from_numpy(np.concatenate(frames))
        batch.frame_rows = torch.tensor(media_rows[AUDIO])

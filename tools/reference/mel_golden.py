"""Writes the golden of mel spectrograms: what the official feature extractor makes of sounds that
tests/media/mel_test.cpp can make too, and how many tokens the official processor counts.

The official extractor transforms in float32 and does the rest in float64; a test has to allow for
the rounding of that transform.
"""

import numpy as np

import conformer
from golden import write_golden
from hash_weights import hash_units

MAX_SAMPLES = 480_000
STEP = 127  # every so many values of a long sound are kept; prime to the 128 of a frame
SHORT = (161, 480, 1000, 2600)  # samples of which all values are kept
N_COUNTED = 500


def noise(count):
    """Every tenth of a second half as loud as the one before, from 1 to 2^-11 and again."""
    units = hash_units(1, "mel", 0, count)
    return (units * np.exp2(-(np.arange(count) // 1600 % 12)).astype(np.float32)).astype(np.float32)


def square(count):
    """444 Hz, at a quarter of full scale."""
    return np.where(np.arange(count) // 18 % 2 == 0, 0.25, -0.25).astype(np.float32)


def silence(count):
    return np.zeros(count, np.float32)


SIGNALS = {"noise": noise, "square": square, "silence": silence}


def valid_rows(samples):
    rows, mask = conformer.features_of(samples)
    n = int(mask.sum())
    assert mask[:n].all() and not rows[n:].any()
    return rows[:n]


def counted():
    """Lengths, half of them short, and their tokens; beyond the longest as that one."""
    state = np.random.RandomState(40)
    ends = [1, 160, 161, 320, 321, 479_999, MAX_SAMPLES]
    lengths = np.concatenate([
        ends,
        state.randint(1, 20_000, N_COUNTED // 2 - len(ends)),
        state.randint(1, MAX_SAMPLES + 1, N_COUNTED // 2),
    ])  # fmt: skip
    masks = (conformer.features_of(silence(int(n)))[1] for n in lengths)
    return lengths.tolist(), [conformer.count_tokens(mask) for mask in masks]


def make_mel_golden(_name, args):
    lengths, tokens = counted()
    header = {"step": STEP, "short": list(SHORT), "lengths": lengths, "tokens": tokens}
    arrays = {}
    for name, signal in SIGNALS.items():
        for n in SHORT:
            arrays[f"{name}.{n}"] = valid_rows(signal(n))
        long = valid_rows(signal(MAX_SAMPLES))
        assert np.array_equal(long[: len(arrays[f"{name}.{n}"])], arrays[f"{name}.{n}"])
        header["frames"] = len(long)
        arrays[f"{name}.{MAX_SAMPLES}"] = long.reshape(-1)[::STEP]
    n_bytes = write_golden(args.folder, "mel", header, arrays)
    print(f"mel: {n_bytes / 1e3:.0f} kB, {header['frames']} frames")

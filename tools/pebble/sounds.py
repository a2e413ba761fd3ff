"""Sounds made of sines and noise: tones, beeps, glides and a few words of no language.

A scene is (parts, loudness, noise): parts are played one after the other, noise is the seed of a
faint hiss over all of it or None. A part is ("rest", seconds), ("tone", seconds, Hz at the start,
Hz at the end) or ("word", which, how fast, pitch factor).
"""

import numpy as np

from shape import SAMPLE_RATE

Part = tuple
Scene = tuple[tuple[Part, ...], float, int | None]


def _edges(samples: np.ndarray) -> np.ndarray:
    """Fades of 5 ms, so that nothing clicks."""
    n = min(len(samples) // 2, SAMPLE_RATE // 200)
    ramp = np.linspace(0, 1, n, endpoint=False)
    samples[:n] *= ramp
    samples[len(samples) - n :] *= ramp[::-1]
    return samples


def _glide(
    seconds: float, start: float, end: float, harmonics: tuple[float, ...] = (1.0,)
) -> np.ndarray:
    n = round(seconds * SAMPLE_RATE)
    phase = 2 * np.pi * np.cumsum(np.linspace(start, end, n)) / SAMPLE_RATE
    waves = [share * np.sin((i + 1) * phase) for i, share in enumerate(harmonics)]
    return _edges(np.sum(waves, axis=0) / sum(harmonics))


def _hiss(seconds: float) -> np.ndarray:
    return np.random.default_rng(7).uniform(-1, 1, round(seconds * SAMPLE_RATE))


def _word(which: str, speed: float, pitch: float) -> np.ndarray:
    if which == "bip":
        return _glide(0.16 / speed, 1200 * pitch, 1200 * pitch, (1.0, 0.5))
    if which == "zoom":
        return _glide(0.6 / speed, 110 * pitch, 330 * pitch, (1.0, 0.8, 0.6, 0.5, 0.4, 0.3))
    if which == "tack":
        n = round(0.24 / speed * SAMPLE_RATE)
        return _hiss(n / SAMPLE_RATE)[:n] * np.exp(-np.arange(n) / (0.03 * SAMPLE_RATE))
    if which == "woo":
        down = _glide(0.28 / speed, 700 * pitch, 350 * pitch)
        return np.concatenate((down, _glide(0.28 / speed, 350 * pitch, 700 * pitch)))
    if which == "shush":
        one = _edges(_hiss(0.2 / speed))
        return np.concatenate((one, np.zeros(round(0.1 / speed * SAMPLE_RATE)), one))
    raise KeyError(which)


def _part(part: Part) -> np.ndarray:
    kind, *values = part
    if kind == "rest":
        return np.zeros(round(values[0] * SAMPLE_RATE))
    if kind == "tone":
        return _glide(*values)
    return _word(*values)


def play(scene: Scene) -> np.ndarray:
    """float32 [n] in -1 to 1 at 16 kHz."""
    parts, loudness, noise = scene
    samples = np.concatenate([_part(part) for part in parts]) * loudness
    if noise is not None:
        samples += np.random.default_rng(noise).normal(0, 0.002, len(samples))
    return samples.clip(-1, 1).astype(np.float32)

"""RoPE at extreme positions, in float64: the truth that float32 shortcuts are measured against."""

import numpy as np
import torch

import reference
from golden import write_golden
from hash_weights import hash_units
from shapes import SHAPES

POSITIONS = (0, 1, 2, 511, 512, 1023, 131071, 262143)
SEED = 7
# kind: (head dim, theta, rotating pairs); every other pair passes through unchanged
KINDS = {"sliding": (256, 1e4, 128), "full": (512, 1e6, 64)}


def _angles(kind):
    """float64 [n_positions, rotating pairs]: position * theta^(-2i / head dim)."""
    dim, theta, n_pairs = KINDS[kind]
    frequencies = theta ** (-2.0 * np.arange(n_pairs, dtype=np.float64) / dim)
    return np.array(POSITIONS, np.float64)[:, None] * frequencies


def _rotate(head, angles):
    """float64 [n_positions, dim]: pairs (i, i + dim/2) turned by the angle of pair i."""
    half = len(head) // 2
    rotated = np.tile(head.astype(np.float64), (len(angles), 1))
    n_pairs = angles.shape[1]
    low, high = rotated[:, :n_pairs].copy(), rotated[:, half : half + n_pairs].copy()
    rotated[:, :n_pairs] = low * np.cos(angles) - high * np.sin(angles)
    rotated[:, half : half + n_pairs] = high * np.cos(angles) + low * np.sin(angles)
    return rotated


def _official_error(kind, angles):
    """Largest |cos - cos| of the official float32 tables at these positions."""
    model = reference.make_model(SHAPES["tiny12"], 1)
    cos, _ = model.model.rotary_emb(
        torch.zeros(1), torch.tensor([POSITIONS]), f"{kind}_attention"
    )
    return float(np.abs(cos[0, :, : angles.shape[1]].double().numpy() - np.cos(angles)).max())


def write_rope(folder):
    arrays, error = {}, {}
    for kind, (dim, _, _) in KINDS.items():
        angles = _angles(kind)
        head = hash_units(SEED, f"rope.{kind}", 0, dim)
        arrays |= {
            f"{kind}.cos": np.cos(angles),
            f"{kind}.sin": np.sin(angles),
            f"{kind}.head": head,
            f"{kind}.rotated": _rotate(head, angles).astype(np.float32),
        }
        error[kind] = _official_error(kind, angles)
    kinds = {
        kind: {"head_dim": dim, "theta": theta, "rotating_pairs": pairs}
        for kind, (dim, theta, pairs) in KINDS.items()
    }
    header = {
        "model": "rope",
        "positions": list(POSITIONS),
        "kinds": kinds,
        "official_float32_error": error,
    }
    print(f"rope: {write_golden(folder, 'rope', header, arrays) / 1e3:.0f} kB, {error}")

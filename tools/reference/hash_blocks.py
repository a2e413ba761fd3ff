"""Quantised weights: hash weights through ggml's own quantiser, or whole blocks from the hash.

Block layouts and constants: tools/README.md. C++ counterpart: tools/synthetic/hash_blocks.cpp.
"""

import numpy as np
from gguf.constants import GGMLQuantizationType
from gguf.quants import dequantize, quantize

from hash_weights import affine, hash_stream

_TYPES = {
    "bf16": GGMLQuantizationType.BF16,
    "f16": GGMLQuantizationType.F16,
    "q8_0": GGMLQuantizationType.Q8_0,
    "q4_0": GGMLQuantizationType.Q4_0,
    "q4_k": GGMLQuantizationType.Q4_K,
    "q6_k": GGMLQuantizationType.Q6_K,
}
# type -> (hash words per block, block scale as a multiple of the tensor's spread)
_RAW = {"q4_k": (19, 0.0024), "q6_k": (27, 0.00032)}


def _bytes_of(words):
    """uint8 [blocks, 8 * words] of uint64 [blocks, words], little-endian."""
    return np.ascontiguousarray(words).astype("<u8").view(np.uint8).reshape(len(words), -1)


def _jitter(base, byte):
    """float16: base * (0.75 + byte / 512), the product in float32."""
    factor = np.float32(0.75) + byte.astype(np.float32) * np.float32(1 / 512)
    return (np.float32(base) * factor).astype(np.float32).astype("<f2")


def _q4_k(words, spread):
    raw = _bytes_of(words)
    codes, sc, mn = raw[:, :128], 32 | (raw[:, 128:136] & 31), 32 | (raw[:, 136:144] & 31)
    base = np.float32(spread * np.float32(_RAW["q4_k"][1]))
    d = _jitter(base, raw[:, 151])
    dmin = _jitter(np.float32(base * np.float32(7.5)), raw[:, 150])
    pack = np.zeros((len(words), 12), np.uint8)
    pack[:, 0:4] = sc[:, :4] | ((sc[:, 4:] >> 4) << 6)
    pack[:, 4:8] = mn[:, :4] | ((mn[:, 4:] >> 4) << 6)
    pack[:, 8:12] = (sc[:, 4:] & 15) | ((mn[:, 4:] & 15) << 4)
    halves = np.stack([d, dmin], axis=1).view(np.uint8).reshape(len(words), 4)
    return np.concatenate([halves, pack, codes], axis=1)


def _q6_k(words, spread):
    raw = _bytes_of(words)
    magnitude = (64 + (raw[:, 192:208] & 63)).astype(np.int8)
    scales = np.where(raw[:, 192:208] & 128, -magnitude, magnitude).astype(np.int8).view(np.uint8)
    d = _jitter(np.float32(spread * np.float32(_RAW["q6_k"][1])), raw[:, 215])
    return np.concatenate([raw[:, :192], scales, d.view(np.uint8).reshape(-1, 2)], axis=1)


def raw_blocks(seed, name, shape, type_name, is_full=False):
    """uint8 [blocks, block bytes] in row-major order."""
    n_words = _RAW[type_name][0]
    n_blocks = int(np.prod(shape)) // 256
    words = hash_stream(seed, f"{name}#{type_name}", 0, n_blocks * n_words)
    spread = affine(name, shape[-1], is_full)[1]
    make = _q4_k if type_name == "q4_k" else _q6_k
    return make(words.reshape(n_blocks, n_words), spread)


def stored(seed, name, values, type_name, is_full=False):
    """uint8 [rows, row bytes]: the matrix, or stack of matrices, `values` (hash weights) as
    `type_name` in a file."""
    rows = values.reshape(-1, values.shape[-1])
    if type_name in _RAW:
        blocks = raw_blocks(seed, name, values.shape, type_name, is_full)
    else:
        blocks = quantize(rows, _TYPES[type_name]).view(np.uint8)
    return blocks.reshape(len(rows), -1)


# Matrices that choose an expert or feed every layer are too important to be quantised.
_NEVER_QUANTISED = {"per_layer_model_proj.weight": "bf16", "ffn_gate_inp.weight": "f32"}


def stored_type(name, n_in, type_name):
    """The type in which a file holds a matrix of rows of n_in when `type_name` is asked for."""
    ending = name.rpartition(".")[0].rpartition(".")[2] + ".weight"
    if ending == "ffn_gate_inp.weight" or type_name not in ("f32", "f16", "bf16"):
        type_name = _NEVER_QUANTISED.get(ending, type_name)
    # Down projections are the rows that may be no whole super-blocks, as in the released files.
    if type_name in _RAW and ending.startswith("ffn_down") and n_in % 256 != 0:
        return "q8_0"
    return type_name


def rounded(seed, name, values, type_name, is_full=False):
    """float32: what a file that stores `values` (hash weights) as `type_name` computes with.
    Vectors stay float32, as in real files."""
    type_name = stored_type(name, values.shape[-1], type_name)
    if values.ndim < 2 or type_name == "f32":
        return values
    rows = stored(seed, name, values, type_name, is_full)
    rows = rows.view(np.float16) if type_name == "f16" else rows
    return dequantize(rows, _TYPES[type_name]).astype(np.float32).reshape(values.shape)

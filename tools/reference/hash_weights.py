"""Weights from a counter: the Python side of the scheme in tools/README.md.

tools/synthetic/hash_weights.cpp computes the same numbers; tests/golden/hash.json pins both.
"""

import math

import numpy as np

_GOLDEN_RATIO = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def fnv1a64(text):
    """FNV-1a over the UTF-8 bytes."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = ((value ^ byte) * 0x100000001B3) & _MASK
    return value


def mix64(values):
    """The finaliser of splitmix64 over an array of uint64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def hash_stream(seed, name, start, count):
    """uint64 [count]: the hashes of indices start .. start + count - 1 of the tensor `name`."""
    seed_key = int(mix64(np.array([(seed + _GOLDEN_RATIO) & _MASK], np.uint64))[0])
    key = np.uint64(int(mix64(np.array([fnv1a64(name) ^ seed_key], np.uint64))[0]))
    index = np.arange(start + 1, start + 1 + count, dtype=np.uint64)
    return mix64(key + index * np.uint64(_GOLDEN_RATIO))


def hash_units(seed, name, start, count):
    """float32 [count] in [-1, 1): the top 24 bits, exact."""
    top = (hash_stream(seed, name, start, count) >> np.uint64(40)).astype(np.int64) - (1 << 23)
    return (top.astype(np.float32) * np.float32(2.0**-23)).astype(np.float32)


# name ending -> (offset, spread) of tensors whose values do not depend on the length of a row
_FIXED = {
    "attn_norm.weight": (1.0, 0.375),
    "ffn_norm.weight": (1.0, 0.375),
    "output_norm.weight": (1.0, 0.375),
    "post_attention_norm.weight": (0.25, 0.125),
    "post_ffw_norm.weight": (0.25, 0.125),
    "per_layer_token_embd.weight": (0.0, 0.125),
    "per_layer_proj_norm.weight": (1.0, 0.375),
    "post_norm.weight": (0.25, 0.125),
    "ffn_gate_inp.weight": (0.0, 3.5),
    "ffn_gate_inp.scale": (1.0, 0.375),
    "ffn_down_exps.scale": (1.0, 0.375),
    "pre_ffw_norm_2.weight": (1.0, 0.375),
    "post_ffw_norm_1.weight": (0.25, 0.125),
    "post_ffw_norm_2.weight": (0.25, 0.125),
    "v.patch_embd.bias": (0.0, 0.5),
    "v.position_embd.weight": (0.0, 1.0),
} | {
    f"v.patch_norm.{norm}.{part}": (offset, spread)
    for norm in (1, 2, 3)
    for part, offset, spread in (("weight", 1.0, 0.375), ("bias", 0.0, 0.5))
}
# The same of an encoder's layers, whose names start with "v.blk.N." or "a.blk.N."
_FIXED |= {
    "v.blk.ln1.weight": (1.0, 0.375),
    "v.blk.ln2.weight": (1.0, 0.375),
    "v.blk.attn_post_norm.weight": (0.5, 0.25),
    "v.blk.ffn_post_norm.weight": (0.5, 0.25),
    "v.blk.attn_q_norm.weight": (0.5, 0.25),
    "v.blk.attn_k_norm.weight": (0.5, 0.25),
    "v.std_bias": (0.0, 4.0),
    "v.std_scale": (1.0, 0.375),
    "a.conv1d.0.norm.weight": (1.0, 0.375),
    "a.conv1d.1.norm.weight": (1.0, 0.375),
    "a.blk.attn_pre_norm.weight": (1.0, 0.375),
    "a.blk.attn_post_norm.weight": (0.75, 0.25),
    "a.blk.ffn_norm.weight": (1.0, 0.375),
    "a.blk.ffn_norm_1.weight": (1.0, 0.375),
    "a.blk.ffn_post_norm.weight": (0.75, 0.25),
    "a.blk.ffn_post_norm_1.weight": (0.75, 0.25),
    "a.blk.conv_norm.weight": (1.0, 0.375),
    "a.blk.norm_conv.weight": (0.75, 0.375),
    "a.blk.ln2.weight": (1.0, 0.375),
    "a.blk.per_dim_scale.weight": (4.0, 2.0),
    "a.pre_encode.out.bias": (0.0, 0.5),
}
# Bounds of a linear layer of an encoder: (offset, spread)
_BOUNDS = {
    "input_min": (-1.25, 0.25),
    "input_max": (1.25, 0.25),
    "output_min": (-1.25, 0.25),
    "output_max": (1.25, 0.25),
}
# name ending -> gain: a row applied to an input of rms 1 gives an output of this standard deviation
_MATRICES = {
    "token_embd.weight": 4.0,
    "attn_q.weight": 1.0,
    "attn_k.weight": 0.03125,
    "attn_v.weight": 0.03125,
    "attn_output.weight": 0.03125,
    "ffn_gate.weight": 0.5,
    "ffn_up.weight": 1.0,
    "ffn_down.weight": 0.03125,
    "per_layer_model_proj.weight": 0.03125,
    "inp_gate.weight": 1.0,
    "proj.weight": 0.03125,
    "ffn_gate_up_exps.weight": 0.75,
    "ffn_down_exps.weight": 0.03125,
    "nextn.pre_projection.weight": 1.0,
    "nextn.post_projection.weight": 1.0,
    "masked_embd_centroids.weight": 4.0,
    "v.patch_embd.weight": 1.0,
    "v.blk.attn_q.weight": 1.0,
    "v.blk.attn_k.weight": 1.0,
    "v.blk.attn_v.weight": 1.0,
    "v.blk.attn_out.weight": 2.0,
    "v.blk.ffn_gate.weight": 1.0,
    "v.blk.ffn_up.weight": 1.0,
    "v.blk.ffn_down.weight": 2.0,
    "mm.input_projection.weight": 4.0,
    "mm.a.input_projection.weight": 4.0,
    "a.conv1d.0.weight": 1.0,
    "a.conv1d.1.weight": 1.0,
    "a.input_projection.weight": 1.0,
    "a.pre_encode.out.weight": 1.0,
    "a.blk.attn_q.weight": 1.0,
    "a.blk.attn_k.weight": 1.0,
    "a.blk.attn_v.weight": 1.0,
    "a.blk.attn_out.weight": 1.5,
    "a.blk.attn_k_rel.weight": 1.0,
    "a.blk.ffn_up.weight": 1.0,
    "a.blk.ffn_up_1.weight": 1.0,
    "a.blk.ffn_down.weight": 2.0,
    "a.blk.ffn_down_1.weight": 2.0,
    "a.blk.conv_pw1.weight": 1.0,
    "a.blk.conv_pw2.weight": 1.5,
    "a.blk.conv_dw.weight": 1.0,
}


def affine(name, n_in, is_full):
    """(offset, spread) as float32: value = offset + spread * unit. Table in tools/README.md."""
    ending = ".".join(name.split(".")[2:]) if name.startswith("blk.") else name
    if name.startswith(("v.blk.", "a.blk.")):
        ending = name[:6] + ".".join(name.split(".")[3:])
    bound = name.rpartition(".")[2]
    if bound in _BOUNDS:
        offset, spread = _BOUNDS[bound]
    elif ending in ("attn_q_norm.weight", "attn_k_norm.weight"):
        offset, spread = (0.25, 0.125) if is_full else (0.3125, 0.15625)
    elif ending == "layer_output_scale.weight":
        if name.startswith("blk.0."):
            offset, spread = 0.0625, 0.015625
        else:
            offset, spread = (0.5, 0.125) if is_full else (0.6875, 0.1875)
    elif ending in _FIXED:
        offset, spread = _FIXED[ending]
    else:
        offset, spread = 0.0, _MATRICES[ending] * math.sqrt(3.0 / n_in)
    return np.float32(offset), np.float32(spread)


def tensor(seed, name, shape, is_full=False):
    """float32 array of `shape` (row-major, slowest axis first)."""
    offset, spread = affine(name, shape[-1], is_full)
    units = hash_units(seed, name, 0, int(np.prod(shape)))
    return (offset + (spread * units).astype(np.float32)).astype(np.float32).reshape(shape)


def ordering(seed, n):
    """int64 [n]: the ids of the vocabulary by their hash, cluster after cluster."""
    return np.argsort(hash_stream(seed, "masked_embd_ordering", 0, n), kind="stable")

"""Deliberate mistakes in the official model: each must move the golden logits visibly.

A mutation that does not would mean that the golden cannot catch that mistake in an engine.
"""

import sys

import numpy as np
import torch

from family_mutations import list_family_mutations
from reference import logits_of, make_model

# Smallest acceptable movement of any logit. An engine is compared far below this.
REQUIRED = 0.02


def _layers(model):
    return model.model.layers


# official name -> what GGUF calls it
_NORM_KINDS = {
    "norm": "output_norm",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
    "per_layer_projection_norm": "per_layer_proj_norm",
    "post_per_layer_input_norm": "post_norm",
    "pre_feedforward_layernorm_2": "pre_ffw_norm_2",
    "post_feedforward_layernorm_1": "post_ffw_norm_1",
    "post_feedforward_layernorm_2": "post_ffw_norm_2",
}


def _all_norms(model):
    """{kind: modules}: every RMSNorm of the model by what it normalises."""
    kinds = {}
    for path, module in model.model.named_modules():
        parent, _, name = path.rpartition(".")
        if type(module).__name__.endswith("RMSNorm"):
            name = "router_norm" if parent.endswith("router") else _NORM_KINDS.get(name, name)
            kinds.setdefault(name, []).append(module)
    return kinds


def _set_eps(model, eps, kind=None):
    for name, modules in _all_norms(model).items():
        for module in modules:
            module.eps = eps if kind in (None, name) else module.eps


def _set_window(model, window):
    model.config.sliding_window = window
    for layer in _layers(model):
        if layer.self_attn.is_sliding:
            layer.self_attn.sliding_window = window


def _set_inv_freq(model, kind, inv_freq):
    getattr(model.model.rotary_emb, f"{kind}_inv_freq").copy_(torch.tensor(inv_freq))


def _frequencies(dim, theta, n_rotating, denominator):
    rotating = theta ** (-2.0 * np.arange(n_rotating) / denominator)
    return np.concatenate([rotating, np.zeros(dim // 2 - n_rotating)]).astype(np.float32)


def _swap_rope(model, shape):
    """Sliding heads rotate as full ones should, and the reverse."""
    small, large = shape.head_dim_sliding, shape.head_dim_full
    part = int(shape.partial_rotary * small) // 2
    _set_inv_freq(
        model, "sliding_attention", _frequencies(small, shape.rope_theta_full, part, small)
    )
    _set_inv_freq(
        model, "full_attention", _frequencies(large, shape.rope_theta_sliding, large // 2, large)
    )


def _compact_rope(model, shape):
    """The exponent divided by the rotating dimensions alone, as plain partial RoPE does."""
    large = shape.head_dim_full
    part = int(shape.partial_rotary * large) // 2
    _set_inv_freq(
        model, "full_attention", _frequencies(large, shape.rope_theta_full, part, 2 * part)
    )


def _rotate_all(model, shape):
    large = shape.head_dim_full
    _set_inv_freq(
        model, "full_attention", _frequencies(large, shape.rope_theta_full, large // 2, large)
    )


def _k_norm_on_v(model, shape):
    for index, layer in enumerate(_layers(model)):
        if shape.is_full(index) and shape.owns_kv(index):
            layer.self_attn.v_norm = layer.self_attn.k_norm


def _skip_v_norm(model, _shape):
    for layer in _layers(model):
        layer.self_attn.v_norm = torch.nn.Identity()


def _interleave_heads(model, _shape):
    """Query head i reads kv head i % n_kv, where i / (n_heads / n_kv) is right."""
    module = sys.modules[type(_layers(model)[0].self_attn).__module__]
    original = module.repeat_kv
    module.repeat_kv = lambda x, n: x.repeat(1, n, 1, 1)
    return lambda: setattr(module, "repeat_kv", original)


def _scale_attention(model, _shape):
    for layer in _layers(model):
        layer.self_attn.scaling = layer.self_attn.head_dim**-0.5


def _norm_plus_one(model, _shape):
    model.model.norm.weight.data += 1.0


def _drop_scalar(layer):
    return lambda model, _shape: _layers(model)[layer].layer_scalar.fill_(1.0)


def _list_mutations(shape, model):
    """{name: function(model, shape) -> undo or None}; the second dict is recorded, not required."""
    required, recorded = list_family_mutations(shape)
    required |= {f"drop layer scalar {i}": _drop_scalar(i) for i in range(shape.n_layers - 1)}
    required |= {
        "window - 1": lambda m, s: _set_window(m, s.window - 1),
        "window + 1": lambda m, s: _set_window(m, s.window + 1),
        "swap the RoPE kinds": _swap_rope,
        "RoPE exponent over 128, not 512": _compact_rope,
        "rotate all of a full head": _rotate_all,
        "skip v-norm": _skip_v_norm,
        "k-norm weight on v": _k_norm_on_v,
        "eps 1e-5": lambda m, _: _set_eps(m, 1e-5),
        "kv head i % n_kv": _interleave_heads,
        "attention scale 1/sqrt(d)": _scale_attention,
        "no softcap": lambda m, _: setattr(m.config, "final_logit_softcapping", None),
        "no embedding scale": lambda m, _: m.model.embed_tokens.embed_scale.fill_(1.0),
        "final norm 1 + w": _norm_plus_one,
    }
    if shape.n_kv_full == 1 and shape.n_kv_sliding == 1:
        del required["kv head i % n_kv"]
    recorded |= {
        f"eps 1e-5 in {kind} alone": lambda m, _, kind=kind: _set_eps(m, 1e-5, kind)
        for kind in _all_norms(model)
    }
    # The final norm cancels it but for eps; the hidden states of the golden do show it.
    recorded["drop the last layer scalar"] = _drop_scalar(shape.n_layers - 1)
    recorded["embedding scale rounded to bf16"] = lambda m, s: (
        m.model.embed_tokens.embed_scale.fill_(float(torch.tensor(s.hidden**0.5).bfloat16()))
    )
    return required, recorded


@torch.no_grad()
def measure_mutations(shape, seed, tokens, golden):
    """{name: max |logit - golden|}, and the names of required ones that move too little."""
    required, recorded = _list_mutations(shape, make_model(shape, seed))
    moved = {}
    for name, mutate in (required | recorded).items():
        model = make_model(shape, seed)
        undo = mutate(model, shape)
        moved[name] = float(np.abs(logits_of(model, tokens) - golden).max())
        if name not in recorded and callable(undo):
            undo()
    weak = [name for name in required if not moved[name] > REQUIRED]
    return moved, weak

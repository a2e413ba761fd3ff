"""The official implementation (Hugging Face transformers) with hash weights, in float32.

The tiny12 models are built from the Gemma 4 Unified classes, the others from the Gemma 4 classes:
the same code that runs the released models.
"""

import numpy as np
import torch
from transformers import (
    Gemma4ForCausalLM,
    Gemma4TextConfig,
    Gemma4UnifiedForCausalLM,
    Gemma4UnifiedTextConfig,
)

from hash_weights import hash_stream, tensor

# per layer: GGUF name -> name in the official model
_LAYER_NAMES = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_q_norm.weight": "self_attn.q_norm.weight",
    "attn_k_norm.weight": "self_attn.k_norm.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "post_attention_norm.weight": "post_attention_layernorm.weight",
    "ffn_norm.weight": "pre_feedforward_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
    "post_ffw_norm.weight": "post_feedforward_layernorm.weight",
    "layer_output_scale.weight": "layer_scalar",
}
_OWN_KV = ("attn_k.weight", "attn_v.weight", "attn_k_norm.weight")
_PER_LAYER_NAMES = {
    "inp_gate.weight": "per_layer_input_gate.weight",
    "proj.weight": "per_layer_projection.weight",
    "post_norm.weight": "post_per_layer_input_norm.weight",
}
_EXPERT_NAMES = {
    "ffn_gate_inp.weight": "router.proj.weight",
    "ffn_gate_inp.scale": "router.scale",
    "ffn_gate_up_exps.weight": "experts.gate_up_proj",
    "ffn_down_exps.weight": "experts.down_proj",
    "ffn_down_exps.scale": "router.per_expert_scale",
    "pre_ffw_norm_2.weight": "pre_feedforward_layernorm_2.weight",
    "post_ffw_norm_1.weight": "post_feedforward_layernorm_1.weight",
    "post_ffw_norm_2.weight": "post_feedforward_layernorm_2.weight",
}


def _layer_names(shape, layer):
    names = dict(_LAYER_NAMES)
    if shape.k_is_v and shape.is_full(layer):
        del names["attn_v.weight"]
    if not shape.owns_kv(layer):
        names = {gguf: official for gguf, official in names.items() if gguf not in _OWN_KV}
    if shape.per_layer:
        names |= _PER_LAYER_NAMES
    if shape.n_experts:
        names |= _EXPERT_NAMES
    return names


def official_to_gguf(shape):
    """{name under `model.`: (GGUF name, whether it is a full layer's)} of every tensor."""
    names = {
        "embed_tokens.weight": ("token_embd.weight", False),
        "norm.weight": ("output_norm.weight", False),
    }
    if shape.per_layer:
        names |= {
            "embed_tokens_per_layer.weight": ("per_layer_token_embd.weight", False),
            "per_layer_model_projection.weight": ("per_layer_model_proj.weight", False),
            "per_layer_projection_norm.weight": ("per_layer_proj_norm.weight", False),
        }
    for layer in range(shape.n_layers):
        for gguf, official in _layer_names(shape, layer).items():
            names[f"layers.{layer}.{official}"] = (f"blk.{layer}.{gguf}", shape.is_full(layer))
    return names


def _family_config(shape):
    return {
        "hidden_size_per_layer_input": shape.per_layer,
        "vocab_size_per_layer_input": 0 if shape.target else shape.vocab,
        "use_double_wide_mlp": shape.double_wide,
        "enable_moe_block": shape.n_experts > 0,
        "num_experts": shape.n_experts or None,
        "top_k_experts": shape.n_experts_used or None,
        "moe_intermediate_size": shape.expert_ffn or None,
    }


def text_config(shape):
    unified = shape.name.startswith("tiny12")
    config_class = Gemma4UnifiedTextConfig if unified else Gemma4TextConfig
    extra = {} if unified else _family_config(shape)
    layers = range(shape.n_layers)
    return config_class(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        intermediate_size=shape.ffn,
        num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads,
        num_key_value_heads=shape.n_kv_sliding,
        num_global_key_value_heads=shape.n_kv_full,
        head_dim=shape.head_dim_sliding,
        global_head_dim=shape.head_dim_full,
        attention_k_eq_v=shape.k_is_v,
        num_kv_shared_layers=shape.n_shared_kv,
        max_position_embeddings=shape.context,
        sliding_window=shape.window,
        rms_norm_eps=shape.eps,
        final_logit_softcapping=shape.softcap,
        layer_types=[
            "full_attention" if shape.is_full(i) else "sliding_attention" for i in layers
        ],
        rope_parameters={
            "sliding_attention": {
                "rope_type": "default",
                "rope_theta": shape.rope_theta_sliding,
            },
            "full_attention": {
                "rope_type": "proportional",
                "rope_theta": shape.rope_theta_full,
                "partial_rotary_factor": shape.partial_rotary,
            },
        },
        **extra,
    )


def make_weights(shape, seed, model):
    """{official name: float32 tensor} for everything in the state dict but the tied head."""
    names = official_to_gguf(shape)
    state = {}
    for key, value in model.model.state_dict().items():
        if key not in names:
            raise KeyError(f"{key}: the official model has it, the hash scheme does not")
        gguf, is_full = names.pop(key)
        state[key] = torch.from_numpy(tensor(seed, gguf, tuple(value.shape), is_full))
    if names:
        raise KeyError(f"the official model lacks {sorted(names)}")
    return state


def make_model(shape, seed, attention="eager", weight_map=None):
    """The official causal language model. `weight_map(gguf name, array, is full)`
    may round the weights."""
    config = text_config(shape)
    unified = isinstance(config, Gemma4UnifiedTextConfig)
    model_class = Gemma4UnifiedForCausalLM if unified else Gemma4ForCausalLM
    model = model_class._from_config(
        config,
        attn_implementation=attention,
        experts_implementation="eager",
        dtype=torch.float32,
    )
    model.eval()
    state = make_weights(shape, seed, model)
    if weight_map:
        names = official_to_gguf(shape)
        for key, value in state.items():
            state[key] = torch.from_numpy(weight_map(names[key][0], value.numpy(), names[key][1]))
    model.model.load_state_dict(state, strict=True)
    if model.lm_head.weight.data_ptr() != model.model.embed_tokens.weight.data_ptr():
        raise RuntimeError("the output head is not tied to the embedding")
    return model


def make_prompt(shape, seed, n_tokens):
    """<bos>, then ids from the hash stream "prompt"."""
    ids = (hash_stream(seed, "prompt", 0, n_tokens) >> np.uint64(40)) % np.uint64(shape.vocab)
    ids[0] = 2
    return ids.astype(np.int64).tolist()


@torch.no_grad()
def logits_of(model, tokens):
    """float32 [n_tokens, vocab], the whole prompt in one pass without a cache."""
    return model(torch.tensor([tokens]), use_cache=False).logits[0].numpy().copy()


class _ExactNorm(torch.nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.eps = norm.eps
        self.weight = norm.weight if norm.with_scale else None

    def forward(self, x):
        y = x * (x.pow(2).mean(-1, keepdim=True) + self.eps).pow(-0.5)
        return y if self.weight is None else y * self.weight


def _exact_rope(shape):
    """cos and sin in float64, from frequencies in float64."""
    kinds = {
        "sliding_attention": (shape.head_dim_sliding, shape.rope_theta_sliding, 1.0),
        "full_attention": (shape.head_dim_full, shape.rope_theta_full, shape.partial_rotary),
    }

    def forward(_x, position_ids, layer_type):
        dim, theta, share = kinds[layer_type]
        pairs = torch.arange(dim // 2, dtype=torch.float64)
        frequencies = theta ** (-2.0 * pairs / dim) * (pairs < int(share * dim) // 2)
        angles = position_ids[..., None].double() * frequencies
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos(), angles.sin()

    return forward


@torch.no_grad()
def exact_logits_of(shape, seed, tokens):
    """float64 [n_tokens, vocab]: the official model with every float32 step of it in float64."""
    model = make_model(shape, seed, "sdpa").double()
    model.model.embed_tokens.embed_scale.fill_(shape.hidden**0.5)
    for owner in list(model.modules()):
        for name, part in list(owner.named_children()):
            if type(part).__name__.endswith("RMSNorm"):
                setattr(owner, name, _ExactNorm(part))
    model.model.rotary_emb.forward = _exact_rope(shape)
    return logits_of(model, tokens)


@torch.no_grad()
def hidden_of(model, tokens):
    """float32 [n_layers + 2, n_tokens, hidden]: scaled embedding, layer outputs, final norm."""
    rows = []
    keep = lambda _module, _inputs, output: rows.append(output[0].detach().clone())
    parts = [model.model.embed_tokens, *model.model.layers, model.model.norm]
    hooks = [part.register_forward_hook(keep) for part in parts]
    model(torch.tensor([tokens]), use_cache=False)
    for hook in hooks:
        hook.remove()
    return torch.stack(rows).numpy()


@torch.no_grad()
def per_layer_inputs_of(model, tokens):
    """float32 [n_layers, n_tokens, width]: what every layer's gate is multiplied with."""
    ids = torch.tensor([tokens])
    text = model.model
    inputs = text.project_per_layer_inputs(text.embed_tokens(ids), text.get_per_layer_inputs(ids))
    return inputs[0].transpose(0, 1).contiguous().numpy()


@torch.no_grad()
def routing_of(model, tokens):
    """Of every layer and token: the experts by falling probability [n_layers, n_tokens, k], their
    weights (the same shape), and the distance of the score of the last one taken from the best one
    left out [n_layers, n_tokens]."""
    experts, weights, margins = [], [], []

    def keep(router, _inputs, output):
        probabilities, top_weights, top_index = output
        best = probabilities.log().topk(router.config.top_k_experts + 1).values
        experts.append(top_index.clone())
        weights.append(top_weights.clone())
        margins.append(best[:, -2] - best[:, -1])

    hooks = [layer.router.register_forward_hook(keep) for layer in model.model.layers]
    model(torch.tensor([tokens]), use_cache=False)
    for hook in hooks:
        hook.remove()
    return tuple(torch.stack(part).numpy() for part in (experts, weights, margins))


@torch.no_grad()
def attention_entropy(model, tokens):
    """Per layer: mean over heads and late positions of entropy / log(visible keys), 0 to 1."""
    output = model(torch.tensor([tokens]), use_cache=False, output_attentions=True)
    shares = []
    for weights in output.attentions:
        late = weights[0, :, len(tokens) // 2 :].double()
        entropy = -(late * late.clamp_min(1e-30).log()).sum(-1)
        shares.append(float((entropy / (late > 0).sum(-1).double().log()).mean()))
    return shares


@torch.no_grad()
def greedy(model, tokens, n_new, min_margin=0.0):
    """(ids [n_new], top-1 margins [n_new], logits of the last step [vocab]), recomputed from the
    whole sequence at every step, so that no cache has a part in it. End tokens do not end it; a
    margin of at most `min_margin` does."""
    ids, margins = list(tokens), []
    for _ in range(n_new):
        logits = logits_of(model, ids)[-1]
        second, first = np.partition(logits, -2)[-2:]
        margins.append(float(first - second))
        if not margins[-1] > min_margin:
            break
        ids.append(int(np.argmax(logits)))
    return ids[len(tokens) :], margins, logits

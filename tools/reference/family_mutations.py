"""Deliberate mistakes that only the per-layer, shared and expert parts of the family can show.

Each is a function (model, shape) that changes the official model in place.
"""

import torch


def _layers(model):
    return model.model.layers


def _each(change):
    """A mutation that does the same to every layer."""

    def mutate(model, _shape):
        for layer in _layers(model):
            change(layer)

    return mutate


def _set(owner, name, part):
    """Puts `part`, which may be no module, where a submodule was."""
    delattr(owner, name)
    setattr(owner, name, part)


# --- layers that share keys and values


def _donors(shape, is_full):
    return [i for i in range(shape.n_layers) if shape.owns_kv(i) and shape.is_full(i) == is_full]


def _wrong_donor(is_full):
    """The layer of that kind before the right one."""

    def mutate(model, shape):
        *_, wrong, right = _donors(shape, is_full)
        _layers(model)[right].self_attn.store_full_length_kv = False
        _layers(model)[wrong].self_attn.store_full_length_kv = True

    return mutate


def _narrow_tail(model, shape):
    for index, layer in enumerate(_layers(model)):
        if not shape.owns_kv(index):
            layer.mlp.gate_proj.weight.data[shape.ffn :] = 0


def _sharing(shape):
    mutations = {}
    for is_full in (False, True):
        if len(_donors(shape, is_full)) > 1:
            kind = "full" if is_full else "sliding"
            mutations[f"{kind} KV of the layer before the donor"] = _wrong_donor(is_full)
    if shape.double_wide:
        mutations["double-wide tail ignored"] = _narrow_tail
    return mutations


# --- per-layer inputs


def _change_inputs(change):
    """`change(inputs)` of the per-layer inputs [batch, tokens, layers, width]."""

    def mutate(model, _shape):
        text, original = model.model, model.model.project_per_layer_inputs
        text.project_per_layer_inputs = lambda *args: change(original(*args))

    return mutate


def _token_part_alone(model, _shape):
    text = model.model
    text.project_per_layer_inputs = lambda _x, tok: tok * text.per_layer_input_scale


def _context_part_alone(model, _shape):
    model.model.embed_tokens_per_layer.embed_scale.fill_(0.0)


def _drop_norm_weight(model, _shape):
    model.model.per_layer_projection_norm.weight.data.fill_(1.0)


def _norm_over_all_layers(model, shape):
    text, norm = model.model, model.model.per_layer_projection_norm

    def over_all(x):
        flat = x.flatten(-2)
        flat = flat * (flat.pow(2).mean(-1, keepdim=True) + norm.eps).pow(-0.5)
        return flat.view(x.shape) * norm.weight

    _set(text, "per_layer_projection_norm", over_all)


def _project_the_bare_embedding(model, shape):
    text, original = model.model, model.model.project_per_layer_inputs
    text.project_per_layer_inputs = lambda x, tok: original(x / shape.hidden**0.5, tok)


def _block_after_scalar(layer):
    """The per-layer block after the layer's scalar, where it is before it."""
    layer.hidden_size_per_layer_input = 0

    def add_block(_layer, args, h):
        g = layer.act_fn(layer.per_layer_input_gate(h)) * args[1]
        return h + layer.post_per_layer_input_norm(layer.per_layer_projection(g))

    layer.register_forward_hook(add_block)


def _gate_the_normed(layer):
    """The gate reads the FFN's normed input, where it is the residual itself."""
    gate, norm = layer.per_layer_input_gate, layer.pre_feedforward_layernorm
    _set(layer, "per_layer_input_gate", lambda h: gate(norm(h)))


def _per_layer(shape):
    return {
        "no per-layer inputs": _each(lambda x: setattr(x, "hidden_size_per_layer_input", 0)),
        "per-layer inputs of the next layer": _change_inputs(lambda x: x.roll(-1, dims=2)),
        "per-layer inputs without 1/sqrt(2)": _change_inputs(lambda x: x * 2**0.5),
        "token part of the per-layer inputs alone": _token_part_alone,
        "context part of the per-layer inputs alone": _context_part_alone,
        "no per-layer embedding scale": lambda m, _: (
            m.model.embed_tokens_per_layer.embed_scale.fill_(1.0)
        ),
        "no per-layer projection norm": lambda m, _: (
            _set(m.model, "per_layer_projection_norm", lambda x: x)
        ),
        "no weight in the per-layer projection norm": _drop_norm_weight,
        "per-layer projection norm over all layers": _norm_over_all_layers,
        "per-layer gate without activation": _each(lambda x: _set(x, "act_fn", lambda g: g)),
        "per-layer gate of the normed residual": _each(_gate_the_normed),
        "per-layer block without its norm": _each(
            lambda x: _set(x, "post_per_layer_input_norm", lambda g: g)
        ),
        "per-layer block after the scalar": _each(_block_after_scalar),
    }


# --- experts


def _change_routing(change):
    """`change(weights, experts)` of what the router decided, both [tokens, k]."""

    def mutate(model, _shape):
        for layer in _layers(model):
            layer.router.register_forward_hook(
                lambda _router, _inputs, out: (out[0], *change(out[1], out[2]))
            )

    return mutate


def _drop_last_expert(weights, experts):
    kept = weights * (torch.arange(weights.shape[1]) < weights.shape[1] - 1)
    return kept, experts


def _unnormed_weights(layer):
    """Probabilities over all experts, where those of the chosen ones sum to 1."""
    router = layer.router
    router.register_forward_hook(
        lambda _router, _inputs, out: (
            out[0],
            out[0].gather(-1, out[2]) * router.per_expert_scale[out[2]],
            out[2],
        )
    )


def _swap_gate_and_up(layer):
    weights = layer.experts.gate_up_proj.data
    layer.experts.gate_up_proj.data = weights.roll(weights.shape[1] // 2, dims=1)


def _interleave_gate_and_up(layer):
    """Gate and up rows by turns, where each is a half."""
    data = layer.experts.gate_up_proj.data
    half = data.shape[1] // 2
    layer.experts.gate_up_proj.data = data.unflatten(1, (half, 2)).transpose(1, 2).flatten(1, 2)


def _swap(first, second):
    def change(layer):
        one, two = getattr(layer, first), getattr(layer, second)
        setattr(layer, first, two)
        setattr(layer, second, one)

    return change


def _router_of_normed(layer):
    """The router's norm with the weights of the dense branch, where it has none."""
    layer.router.norm = layer.pre_feedforward_layernorm


def _experts(shape):
    if not shape.n_experts:
        return {}
    zero = lambda x: torch.zeros_like(x)
    fill = lambda name, value: _each(lambda x: getattr(x.router, name).data.fill_(value))
    return {
        "experts counted from 1": _change_routing(lambda w, e: (w, (e + 1) % shape.n_experts)),
        "weights in reverse order": _change_routing(lambda w, e: (w.flip(-1), e)),
        "equal weights": _change_routing(lambda w, e: (torch.full_like(w, 1 / w.shape[1]), e)),
        "one expert fewer": _change_routing(_drop_last_expert),
        "weights not normalised over the chosen": _each(_unnormed_weights),
        "no router scale": fill("scale", 1.0),
        "no per-expert scale": fill("per_expert_scale", 1.0),
        "router without 1/sqrt(width)": _each(
            lambda x: setattr(x.router, "scalar_root_size", 1.0)
        ),
        "router norm with the dense branch's weight": _each(_router_of_normed),
        "router without norm": _each(lambda x: setattr(x.router, "norm", torch.nn.Identity())),
        "gate and up of the experts swapped": _each(_swap_gate_and_up),
        "gate and up of the experts interleaved": _each(_interleave_gate_and_up),
        "no dense branch": _each(lambda x: _set(x, "post_feedforward_layernorm_1", zero)),
        "no experts": _each(lambda x: _set(x, "post_feedforward_layernorm_2", zero)),
        "post norms of the branches swapped": _each(
            _swap("post_feedforward_layernorm_1", "post_feedforward_layernorm_2")
        ),
        "pre norms of the branches swapped": _each(
            _swap("pre_feedforward_layernorm", "pre_feedforward_layernorm_2")
        ),
        "no post norm of the experts": _each(
            lambda x: _set(x, "post_feedforward_layernorm_2", lambda y: y)
        ),
    }


def list_family_mutations(shape):
    """({name: function}, the same for those that are recorded, not required)."""
    required, recorded = {}, {}
    if shape.n_shared_kv:
        required |= _sharing(shape)
    if shape.per_layer:
        required |= _per_layer(shape)
        # The norm that follows cancels it but for eps.
        recorded["per-layer projection of the unscaled embedding"] = _project_the_bare_embedding
    return required | _experts(shape), recorded

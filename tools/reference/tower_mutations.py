"""Deliberate mistakes in the official encoder of pictures and in what reads its embeddings."""

from contextlib import contextmanager
from unittest import mock

import torch

from projector import IMAGE
from tower import MERGE

_MODELING = "transformers.models.gemma4.modeling_gemma4."


def _changed(change):
    """A context for a change of the model that is made once."""

    @contextmanager
    def context(model):
        change(model)
        yield

    return context


def _patched(path, value):
    """A context for another function in the official module."""

    @contextmanager
    def context(_model):
        with mock.patch(_MODELING + path, value):
            yield

    return context


def _layers(model):
    return model.vision_tower.encoder.layers


def _linears(layer):
    parts = {name: getattr(layer.self_attn, f"{name}_proj") for name in "qkvo"}
    return parts | {name: getattr(layer.mlp, f"{name}_proj") for name in ("gate", "up", "down")}


def _open_bounds(linear, end):
    def change(model):
        for layer in _layers(model):
            part = _linears(layer)[linear]
            getattr(part, f"{end}_min").fill_(-torch.inf)
            getattr(part, f"{end}_max").fill_(torch.inf)

    return _changed(change)


def _without_norm(owner, name):
    def change(model):
        for layer in _layers(model):
            setattr(getattr(layer, owner) if owner else layer, name, torch.nn.Identity())

    return _changed(change)


def _scale_scores(model):
    for layer in _layers(model):
        layer.self_attn.scaling = layer.self_attn.head_dim**-0.5


def _rope_input(function):
    """The places as `function` of the official ones, of which rope alone hears."""

    def change(model):
        rope = model.vision_tower.encoder.rotary_emb
        forward = rope.forward
        rope.forward = lambda x, places: forward(x, function(places))

    return _changed(change)


def _whole_head_rope(x, cos, sin, position_ids, unsqueeze_dim=2):
    """Pairs across the halves of the head, with the angles in their places."""
    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
    return x * cos.unsqueeze(unsqueeze_dim) + turned * sin.unsqueeze(unsqueeze_dim)


def _set_theta(model):
    model.vision_tower.encoder.rotary_emb.inv_freq.pow_(2)


def _set_eps(model):
    for module in model.vision_tower.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.eps = 1e-2


def _turned_pool(pooler, hidden, places, length):
    """Tokens of a turned picture: column by column."""
    return _turned_pool.official(pooler, hidden, places.flip(-1), length)


@contextmanager
def _pool_by_columns(model):
    kind = type(model.vision_tower.pooler)
    _turned_pool.official = kind._avg_pool_by_positions
    with mock.patch.object(kind, "_avg_pool_by_positions", _turned_pool):
        yield


def _pixels_from_zero(model):
    """x in place of 2 x - 1."""
    embedder = model.vision_tower.patch_embedder
    forward = embedder.forward
    embedder.forward = lambda pixels, *rest: forward(pixels / 2 + 0.5, *rest)


def _swap_axes(model):
    table = model.vision_tower.patch_embedder.position_embedding_table
    table.data = table.data.flip(0)


def _planes_as_pixels(model):
    weight = model.vision_tower.patch_embedder.input_proj.weight
    pixels = weight.shape[1] // 3
    weight.data = weight.data.reshape(-1, 3, pixels).swapaxes(1, 2).reshape(weight.shape)


def _gate_and_up(model):
    for layer in _layers(model):
        layer.mlp.gate_proj, layer.mlp.up_proj = layer.mlp.up_proj, layer.mlp.gate_proj


def _without_scale(model):
    model.vision_tower.pooler.root_hidden_size = 1.0


def _without_standard(model):
    model.vision_tower.std_bias.zero_()
    model.vision_tower.std_scale.fill_(1.0)


def _scale_first(model):
    model.vision_tower.std_bias.div_(model.vision_tower.std_scale)


def _causal_masks(config, inputs_embeds, attention_mask, **_):
    n = inputs_embeds.shape[1]
    allowed = torch.ones(n, n, dtype=torch.bool).tril()
    return torch.zeros(n, n, dtype=inputs_embeds.dtype).masked_fill(~allowed, -1e30)[None, None]


def embedding_mutations(shape):
    """[(name, context)] of mistakes that must show in the embeddings."""
    found = [
        ("columns and rows swapped in rope", _rope_input(lambda places: places.flip(-1))),
        ("rope one place further", _rope_input(lambda places: places * 2)),
        ("rope across the halves of a head", _patched("apply_multidimensional_rope", _whole_head_rope)),
        ("theta of 10000", _changed(_set_theta)),
        ("columns and rows swapped in the table", _changed(_swap_axes)),
        ("colours side by side", _changed(_planes_as_pixels)),
        ("pixels from 0", _changed(_pixels_from_zero)),
        ("scores divided by sqrt(head_dim)", _changed(_scale_scores)),
        ("patches see those before them", _patched("create_bidirectional_mask", _causal_masks)),
        ("epsilon of 1e-2", _changed(_set_eps)),
        ("gate and up swapped", _changed(_gate_and_up)),
        ("pooled by columns", _pool_by_columns),
    ]
    for owner, name in (
        ("", "input_layernorm"),
        ("", "post_attention_layernorm"),
        ("", "pre_feedforward_layernorm"),
        ("", "post_feedforward_layernorm"),
        ("self_attn", "q_norm"),
        ("self_attn", "k_norm"),
        ("self_attn", "v_norm"),
    ):
        found.append((f"no {name}", _without_norm(owner, name)))
    if shape.clips:
        for linear in ("q", "k", "v", "o", "gate", "up", "down"):
            for end in ("input", "output"):
                found.append((f"{end} of {linear} not clipped", _open_bounds(linear, end)))
    if shape.standardises:
        # Without a bias behind it the norm undoes any scale.
        found.append(("no factor of sqrt(width)", _changed(_without_scale)))
        found.append(("not standardised", _changed(_without_standard)))
        found.append(("bias behind the scale", _changed(_scale_first)))
    return found


def logit_mutations(shape):
    """[(name, change of the model, change of the token types)] of mistakes behind the embeddings."""

    def nothing(_model):
        pass

    def scale(model):
        model.model.embed_vision.embedding_projection.weight.data *= shape.hidden**0.5

    def placeholders_as_tokens(model):
        """Per-layer inputs of the placeholder's own id."""
        table = model.model.language_model.embed_tokens_per_layer.weight
        table.data[0] = table.data[IMAGE]

    def blocks(model):
        model.config.get_text_config().use_bidirectional_attention = "vision"

    def causal(types):
        return torch.zeros_like(types)

    def one_block(types):
        where = torch.nonzero(types[0]).flatten()
        joined = torch.zeros_like(types)
        joined[0, where[0] : where[-1] + 1] = 1
        return joined

    found = [("embeddings scaled by sqrt(width)", scale, None)]
    if shape.per_layer:
        found.append(("per-layer inputs of placeholders", placeholders_as_tokens, None))
        found.append(("pictures see themselves", blocks, None))
    else:
        found.append(("causal pictures", nothing, causal))
        found.append(("two pictures as one", nothing, one_block))
    return found

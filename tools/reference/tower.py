"""The official model of text and pictures with an encoder (Gemma 4) with hash weights, in float32.

Weights have the names and the layout of a GGUF projector (gemma4v): the colours of a patch in planes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from transformers import Gemma4Config, Gemma4ForConditionalGeneration, Gemma4VisionConfig

import reference
from hash_weights import tensor
from projector import (
    AUDIO,
    BEGIN_AUDIO,
    BEGIN_IMAGE,
    END_AUDIO,
    END_IMAGE,
    IMAGE,
    SIDE,
    VIDEO,
    places_of,
)

PATCH = 16
MERGE = SIDE // PATCH


@dataclass(frozen=True)
class TowerShape:
    """As tools/synthetic/projector_file.hpp has it."""

    hidden: int
    n_layers: int
    n_heads: int
    ffn: int
    n_positions: int  # of patches
    clips: bool = False
    standardises: bool = False


SHAPES = {
    "tiny-e2b": TowerShape(128, 2, 2, 224, 36, clips=True),
    "tiny26": TowerShape(144, 3, 2, 172, 36, standardises=True),
}
# Whether the tokens of a picture see each other.
ATTENTION = {"tiny-e2b": None, "tiny26": "vision"}

_LAYER_NORMS = {
    "ln1.weight": "input_layernorm.weight",
    "attn_post_norm.weight": "post_attention_layernorm.weight",
    "ln2.weight": "pre_feedforward_layernorm.weight",
    "ffn_post_norm.weight": "post_feedforward_layernorm.weight",
    "attn_q_norm.weight": "self_attn.q_norm.weight",
    "attn_k_norm.weight": "self_attn.k_norm.weight",
}
_LINEARS = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_out": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_BOUNDS = ("input_min", "input_max", "output_min", "output_max")


def official_to_gguf(shape):
    """{name below `model.`: GGUF name} of everything that is not the decoder."""
    names = {
        "vision_tower.patch_embedder.input_proj.weight": "v.patch_embd.weight",
        "vision_tower.patch_embedder.position_embedding_table": "v.position_embd.weight",
        "embed_vision.embedding_projection.weight": "mm.input_projection.weight",
    }
    if shape.standardises:
        names |= {"vision_tower.std_bias": "v.std_bias", "vision_tower.std_scale": "v.std_scale"}
    for i in range(shape.n_layers):
        official, gguf = f"vision_tower.encoder.layers.{i}.", f"v.blk.{i}."
        names |= {official + name: gguf + part for part, name in _LAYER_NORMS.items()}
        for part, name in _LINEARS.items():
            names[f"{official}{name}.linear.weight"] = f"{gguf}{part}.weight"
            if shape.clips:
                for bound in _BOUNDS:
                    names[f"{official}{name}.{bound}"] = f"{gguf}{part}.{bound}"
    return names


def _interleaved(values):
    """[..., 768] with a plane for each colour -> a pixel's colours side by side."""
    planes = values.reshape(*values.shape[:-1], 3, PATCH * PATCH)
    return np.ascontiguousarray(np.swapaxes(planes, -1, -2)).reshape(values.shape)


def weights_of(seed, shape, state, weight_map=None):
    """{official name: tensor}; `weight_map(gguf name, array, is full)` may round matrices."""
    result = {}
    for official, gguf in official_to_gguf(shape).items():
        wanted = tuple(state[official].shape)
        values = tensor(seed, gguf, wanted or (1,))
        if weight_map and values.ndim > 1:
            values = weight_map(gguf, values, False)
        if gguf == "v.patch_embd.weight":
            values = _interleaved(values)
        result[official] = torch.from_numpy(values.reshape(wanted))
    return result


def vision_config(shape):
    return Gemma4VisionConfig(
        hidden_size=shape.hidden,
        intermediate_size=shape.ffn,
        num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads,
        num_key_value_heads=shape.n_heads,
        head_dim=shape.hidden // shape.n_heads,
        position_embedding_size=shape.n_positions,
        patch_size=PATCH,
        pooling_kernel_size=MERGE,
        use_clipped_linears=shape.clips,
        standardize=shape.standardises,
    )


def make_tower_model(shape, seed, projector_seed, weight_map=None):
    """The official model of text and pictures. `weight_map` is that of weights_of."""
    tower = SHAPES[shape.name]
    text = reference.text_config(shape)
    text.use_bidirectional_attention = ATTENTION[shape.name]
    config = Gemma4Config(
        text_config=text,
        vision_config=vision_config(tower),
        audio_config=None,
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        audio_token_id=AUDIO,
        boi_token_id=BEGIN_IMAGE,
        eoi_token_id=END_IMAGE,
        boa_token_id=BEGIN_AUDIO,
        eoa_token_index=END_AUDIO,
    )
    model = Gemma4ForConditionalGeneration._from_config(
        config, attn_implementation="eager", experts_implementation="eager", dtype=torch.float32
    )
    model.eval()
    decoder = reference.make_model(shape, seed)
    model.model.language_model.load_state_dict(decoder.model.state_dict(), strict=True)
    state = model.model.state_dict()
    weights = weights_of(projector_seed, tower, state, weight_map)
    rest = {name for name in state if not name.startswith("language_model.")}
    if rest != set(weights):
        raise KeyError(f"only one of both has {sorted(rest ^ set(weights))}")
    model.model.load_state_dict(weights, strict=False)
    if model.lm_head.weight.data_ptr() != model.get_input_embeddings().weight.data_ptr():
        raise RuntimeError("the output head is not tied to the embedding")
    return model


def patches_of(blocks, columns):
    """Tokens' pixels [n, 6912], planar, row by row -> what the official encoder takes of the same
    picture: patches [9 n, 768] row by row, a pixel's colours side by side, and places [9 n, 2]."""
    rows = len(blocks) // columns
    picture = blocks.reshape(rows, columns, 3, SIDE, SIDE).transpose(0, 3, 1, 4, 2)
    picture = picture.reshape(rows * MERGE, PATCH, columns * MERGE, PATCH, 3).swapaxes(1, 2)
    patches = np.ascontiguousarray(picture.reshape(rows * columns * MERGE**2, PATCH * PATCH * 3))
    return patches, places_of(columns * MERGE, rows * MERGE)


def picture_inputs(pictures):
    """`pictures`: (tokens' pixels, columns). Padded as the official processor does."""
    parts = [patches_of(blocks, columns) for blocks, columns in pictures]
    most = max(len(patches) for patches, _ in parts)
    pixels = torch.zeros(len(parts), most, PATCH * PATCH * 3)
    places = torch.full((len(parts), most, 2), -1)
    for i, (patches, at) in enumerate(parts):
        pixels[i, : len(patches)] = torch.from_numpy(patches)
        places[i, : len(patches)] = torch.from_numpy(at)
    return {"pixel_values": pixels, "image_position_ids": places}


@torch.no_grad()
def embed_picture(model, blocks, columns):
    """float32 [n, hidden of the decoder]"""
    inputs = picture_inputs([(blocks, columns)])
    output = model.model.get_image_features(inputs["pixel_values"], inputs["image_position_ids"])
    return output.pooler_output[0].numpy().copy()


@torch.no_grad()
def tower_logits(model, tokens, pictures=(), types_of=None):
    """float32 [n_tokens, vocab]. `types_of(types)` may change which tokens count as pictures."""
    ids = torch.tensor([tokens])
    types = (ids == IMAGE).long()
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    inputs["mm_token_type_ids"] = types_of(types) if types_of else types
    if pictures:
        inputs |= picture_inputs(pictures)
    return model(**inputs, use_cache=False).logits[0].numpy().copy()


@torch.no_grad()
def router_margin(model, tokens, pictures):
    """The distance of the score of the last expert taken from the best one left out, at the place
    where it is smallest; infinite without experts."""
    margins = [np.inf]

    def keep(router, _inputs, output):
        best = output[0].log().topk(router.config.top_k_experts + 1).values
        margins.append(float((best[:, -2] - best[:, -1]).min()))

    routers = [m for m in model.modules() if type(m).__name__.endswith("TextRouter")]
    hooks = [router.register_forward_hook(keep) for router in routers]
    tower_logits(model, tokens, pictures)
    for hook in hooks:
        hook.remove()
    return min(margins)

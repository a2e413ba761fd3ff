"""The official model of sounds (Gemma 4 E2B, E4B) with hash weights, in float32: the conformer
behind a mel spectrogram, in front of a tiny decoder.

Weights have the names and the layout of a GGUF projector: `conv_norm` is the norm in front of the
light convolution and `norm_conv` the one within it, as in released files, and the scale of a
query's dimensions is what softplus made of it.

The tower's own attention is written for the additive masks that transformers makes for "eager":
boolean ones, those of "sdpa", it would read the other way round.
"""

from dataclasses import dataclass

import numpy as np
import torch
from transformers import Gemma4AudioConfig, Gemma4Config, Gemma4ForConditionalGeneration
from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor

import reference
from hash_weights import hash_units, tensor
from projector import AUDIO, BEGIN_AUDIO, END_AUDIO, IMAGE, VIDEO


@dataclass(frozen=True)
class ConformerShape:
    """As tools/synthetic/conformer_file.hpp has it."""

    hidden: int
    n_layers: int
    n_heads: int
    n_channels: int  # of the second convolution; the first one has a quarter of the mel bins' 512
    output: int  # in front of the projection


SHAPES = {"tiny-e2b": ConformerShape(64, 2, 2, 8, 96)}
N_FIRST_CHANNELS = 128

_EDGES = {
    "a.conv1d.0.weight": "subsample_conv_projection.layer0.conv.weight",
    "a.conv1d.0.norm.weight": "subsample_conv_projection.layer0.norm.weight",
    "a.conv1d.1.weight": "subsample_conv_projection.layer1.conv.weight",
    "a.conv1d.1.norm.weight": "subsample_conv_projection.layer1.norm.weight",
    "a.input_projection.weight": "subsample_conv_projection.input_proj_linear.weight",
    "a.pre_encode.out.weight": "output_proj.weight",
    "a.pre_encode.out.bias": "output_proj.bias",
}
_LAYER = {
    "ffn_norm.weight": "feed_forward1.pre_layer_norm.weight",
    "ffn_post_norm.weight": "feed_forward1.post_layer_norm.weight",
    "ffn_norm_1.weight": "feed_forward2.pre_layer_norm.weight",
    "ffn_post_norm_1.weight": "feed_forward2.post_layer_norm.weight",
    "attn_pre_norm.weight": "norm_pre_attn.weight",
    "attn_post_norm.weight": "norm_post_attn.weight",
    "attn_k_rel.weight": "self_attn.relative_k_proj.weight",
    "per_dim_scale.weight": "self_attn.per_dim_scale",
    "conv_norm.weight": "lconv1d.pre_layer_norm.weight",
    "norm_conv.weight": "lconv1d.conv_norm.weight",
    "conv_dw.weight": "lconv1d.depthwise_conv1d.weight",
    "ln2.weight": "norm_out.weight",
}
_CLIPPED = {
    "ffn_up": "feed_forward1.ffw_layer_1",
    "ffn_down": "feed_forward1.ffw_layer_2",
    "ffn_up_1": "feed_forward2.ffw_layer_1",
    "ffn_down_1": "feed_forward2.ffw_layer_2",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_out": "self_attn.post",
    "conv_pw1": "lconv1d.linear_start",
    "conv_pw2": "lconv1d.linear_end",
}
BOUNDS = ("input_min", "input_max", "output_min", "output_max")


def tower_names(n_layers):
    """{GGUF name: name below model.audio_tower}"""
    names = dict(_EDGES)
    for layer in range(n_layers):
        gguf, official = f"a.blk.{layer}.", f"layers.{layer}."
        names |= {gguf + a: official + b for a, b in _LAYER.items()}
        for a, b in _CLIPPED.items():
            names[f"{gguf}{a}.weight"] = f"{official}{b}.linear.weight"
            names |= {f"{gguf}{a}.{bound}": f"{official}{b}.{bound}" for bound in BOUNDS}
    return names


def _inverse_softplus(values):
    return np.log(np.expm1(values.astype(np.float64))).astype(np.float32)


def _weights(seed, state, n_layers, weight_map):
    """{official name: tensor} of the part that is not the decoder."""
    names = {a: f"audio_tower.{b}" for a, b in tower_names(n_layers).items()}
    names["mm.a.input_projection.weight"] = "embed_audio.embedding_projection.weight"
    result = {}
    for gguf, official in names.items():
        shape = tuple(state[official].shape)
        # What an output is made of is a row.
        stored = (shape[0], int(np.prod(shape[1:]))) if len(shape) > 1 else shape or (1,)
        values = tensor(seed, gguf, stored)
        if weight_map:
            values = weight_map(gguf, values, False)
        if "per_dim_scale" in gguf:
            values = _inverse_softplus(values)
        result[official] = torch.from_numpy(values.reshape(shape))
    return result


def audio_config(conformer):
    return Gemma4AudioConfig(
        hidden_size=conformer.hidden,
        num_hidden_layers=conformer.n_layers,
        num_attention_heads=conformer.n_heads,
        subsampling_conv_channels=[N_FIRST_CHANNELS, conformer.n_channels],
        output_proj_dims=conformer.output,
    )


def make_sound_model(shape, seed, projector_seed, weight_map=None):
    """The official model of text and sounds. `weight_map` may round the tower's weights, as that of
    reference.make_model."""
    conformer = SHAPES[shape.name]
    config = Gemma4Config(
        text_config=reference.text_config(shape),
        audio_config=audio_config(conformer),
        vision_config=None,
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        audio_token_id=AUDIO,
        boa_token_id=BEGIN_AUDIO,
        eoa_token_index=END_AUDIO,
    )
    model = Gemma4ForConditionalGeneration._from_config(
        config, attn_implementation="eager", dtype=torch.float32
    )
    model.eval()
    decoder = reference.make_model(shape, seed)
    model.model.language_model.load_state_dict(decoder.model.state_dict(), strict=True)
    state = model.model.state_dict()
    weights = _weights(projector_seed, state, conformer.n_layers, weight_map)
    rest = {name for name in state if not name.startswith("language_model.")}
    if rest != set(weights):
        raise KeyError(f"only the official model has {rest ^ set(weights)}")
    model.model.load_state_dict(weights, strict=False)
    if model.lm_head.weight.data_ptr() != model.get_input_embeddings().weight.data_ptr():
        raise RuntimeError("the output head is not tied to the embedding")
    return model


def make_samples(seed, name, count):
    """float32 [count] of the hash stream `name`, at a quarter of full scale."""
    return (hash_units(seed, name, 0, count) * np.float32(0.25)).astype(np.float32)


def features_of(samples):
    """(float32 [frames, 128], bool [frames]) as the official extractor returns them, padding and
    all."""
    output = Gemma4AudioFeatureExtractor()([samples], sampling_rate=16000, return_tensors="np")
    return output["input_features"][0], output["input_features_mask"][0]


def count_tokens(mask):
    """As Gemma4Processor.replace_audio_token counts placeholders."""
    n = len(mask)
    for _ in range(2):
        n_out = (n + 2 - 3) // 2 + 1
        mask = mask[::2][:n_out]
        n = len(mask)
    return int(mask.sum())


def _inputs(sounds):
    """Features of sounds of different lengths, as one batch."""
    features = [features_of(samples) for samples in sounds]
    most = max(len(mask) for _, mask in features)
    batch = torch.zeros(len(sounds), most, 128)
    masks = torch.zeros(len(sounds), most, dtype=torch.bool)
    for i, (rows, mask) in enumerate(features):
        batch[i, : len(rows)] = torch.from_numpy(rows)
        masks[i, : len(mask)] = torch.from_numpy(mask)
    return batch, masks


@torch.no_grad()
def embed_sound(model, samples):
    """float32 [tokens, hidden of the decoder]"""
    output = model.model.get_audio_features(*_inputs([samples]))
    return output.pooler_output[0][output.attention_mask[0]].numpy().copy()


@torch.no_grad()
def sound_logits(model, tokens, sounds):
    """float32 [n_tokens, vocab]"""
    ids = torch.tensor([tokens])
    features, mask = _inputs(sounds)
    output = model(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        input_features=features,
        input_features_mask=mask,
        use_cache=False,
    )
    return output.logits[0].numpy().copy()

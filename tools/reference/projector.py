"""The official model of pictures and sounds (Gemma 4 Unified) with hash weights, in float32.

Weights have the names and the layout of a GGUF projector: colours of a patch in planes, and a table
of positions for each axis.
"""

from dataclasses import dataclass

import numpy as np
import torch
from transformers import (
    Gemma4UnifiedAudioConfig,
    Gemma4UnifiedConfig,
    Gemma4UnifiedForConditionalGeneration,
    Gemma4UnifiedVisionConfig,
)

import reference
from hash_weights import hash_units, tensor

SIDE = 48
PATCH_VALUES = SIDE * SIDE * 3
FRAME_SAMPLES = 640
# Where the last ids of a tiny vocabulary are words: those that stand for media here.
IMAGE, VIDEO, AUDIO = 510, 511, 512
BEGIN_IMAGE, END_IMAGE, BEGIN_AUDIO, END_AUDIO = 513, 514, 515, 516
FIRST_MEDIA_ID = IMAGE


@dataclass(frozen=True)
class ProjectorShape:
    """As tools/synthetic/projector_file.hpp has it."""

    hidden: int  # of a patch's embedding before the projection
    n_positions: int


SHAPES = {"tiny12": ProjectorShape(64, 24)}

# GGUF name -> name below model.embed_vision or model.embed_audio
_PLAIN = {
    "v.patch_embd.bias": "embed_vision.patch_dense.bias",
    "v.patch_norm.2.weight": "embed_vision.patch_ln2.weight",
    "v.patch_norm.2.bias": "embed_vision.patch_ln2.bias",
    "v.patch_norm.3.weight": "embed_vision.pos_norm.weight",
    "v.patch_norm.3.bias": "embed_vision.pos_norm.bias",
    "mm.input_projection.weight": "embed_vision.multimodal_embedder.embedding_projection.weight",
    "mm.a.input_projection.weight": "embed_audio.embedding_projection.weight",
}
_PLANAR = {
    "v.patch_embd.weight": "embed_vision.patch_dense.weight",
    "v.patch_norm.1.weight": "embed_vision.patch_ln1.weight",
    "v.patch_norm.1.bias": "embed_vision.patch_ln1.bias",
}


def interleaved(values):
    """[..., 6912] with a plane for each colour -> a pixel's colours side by side."""
    planes = values.reshape(*values.shape[:-1], 3, SIDE * SIDE)
    return np.ascontiguousarray(np.swapaxes(planes, -1, -2)).reshape(values.shape)


def _weights(seed, state, weight_map):
    """{official name: tensor} of the part that is not the decoder."""

    def values(name, shape):
        array = tensor(seed, name, shape)
        return weight_map(name, array, False) if weight_map else array

    result = {}
    for gguf, official in _PLAIN.items():
        result[official] = values(gguf, tuple(state[official].shape))
    for gguf, official in _PLANAR.items():
        result[official] = interleaved(values(gguf, tuple(state[official].shape)))
    n_positions, axes, width = state["embed_vision.pos_embedding"].shape
    table = values("v.position_embd.weight", (axes, n_positions, width))
    result["embed_vision.pos_embedding"] = np.ascontiguousarray(table.transpose(1, 0, 2))
    return {name: torch.from_numpy(array) for name, array in result.items()}


def make_media_model(shape, seed, projector_seed, weight_map=None):
    """The official model of text, pictures and sounds. `weight_map` may round the projector's
    weights, as that of reference.make_model."""
    projector = SHAPES[shape.name]
    config = Gemma4UnifiedConfig(
        text_config=reference.text_config(shape),
        vision_config=Gemma4UnifiedVisionConfig(
            mm_embed_dim=projector.hidden,
            output_proj_dims=projector.hidden,
            mm_posemb_size=projector.n_positions,
        ),
        audio_config=Gemma4UnifiedAudioConfig(audio_embed_dim=FRAME_SAMPLES),
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        audio_token_id=AUDIO,
        boi_token_id=BEGIN_IMAGE,
        eoi_token_id=END_IMAGE,
        boa_token_id=BEGIN_AUDIO,
        eoa_token_index=END_AUDIO,
    )
    model = Gemma4UnifiedForConditionalGeneration._from_config(
        config, attn_implementation="eager", dtype=torch.float32
    )
    model.eval()
    decoder = reference.make_model(shape, seed)
    model.model.language_model.load_state_dict(decoder.model.state_dict(), strict=True)
    state = model.model.state_dict()
    weights = _weights(projector_seed, state, weight_map)
    rest = {name for name in state if not name.startswith("language_model.")}
    if rest != set(weights):
        raise KeyError(f"only the official model has {rest ^ set(weights)}")
    model.model.load_state_dict(weights, strict=False)
    if model.lm_head.weight.data_ptr() != model.get_input_embeddings().weight.data_ptr():
        raise RuntimeError("the output head is not tied to the embedding")
    return model


def make_patches(seed, name, columns, rows):
    """float32 [n, 6912] in 0 to 1, planar, of the hash stream `name`."""
    count = columns * rows
    units = hash_units(seed, name, 0, count * PATCH_VALUES)
    values = np.float32(0.5) + (np.float32(0.5) * units).astype(np.float32)
    return values.astype(np.float32).reshape(count, PATCH_VALUES)


def make_frames(seed, name, count):
    """float32 [n, 640] in -1 to 1"""
    return hash_units(seed, name, 0, count * FRAME_SAMPLES).reshape(count, FRAME_SAMPLES)


def places_of(columns, rows):
    """int64 [n, 2]: x, y of every patch, row by row."""
    y, x = np.divmod(np.arange(columns * rows), columns)
    return np.stack((x, y), axis=1)


@torch.no_grad()
def embed_picture(model, patches, columns):
    """float32 [n, hidden of the decoder]"""
    places = places_of(columns, len(patches) // columns)
    output = model.model.get_image_features(
        torch.from_numpy(interleaved(patches))[None], torch.from_numpy(places)[None]
    )
    return output.pooler_output[0].numpy().copy()


@torch.no_grad()
def embed_sound(model, frames):
    mask = torch.ones(1, len(frames), dtype=torch.bool)
    output = model.model.get_audio_features(torch.from_numpy(frames.copy())[None], mask)
    return output.pooler_output[0].numpy().copy()


def _padded(pictures):
    """Pixels and places of (patches, columns), as the official processors batch them."""
    most = max(len(patches) for patches, _ in pictures)
    pixels = torch.zeros(len(pictures), most, PATCH_VALUES)
    places = torch.full((len(pictures), most, 2), -1)
    for i, (patches, columns) in enumerate(pictures):
        n = len(patches)
        pixels[i, :n] = torch.from_numpy(interleaved(patches))
        places[i, :n] = torch.from_numpy(places_of(columns, n // columns))
    return pixels, places


def _official_inputs(tokens, pictures, sounds, frames):
    """`pictures`: (patches, columns) in their order; `sounds`: frames of samples; `frames`: those
    of one video, as pictures."""
    ids = torch.tensor([tokens])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if pictures:
        pixels, places = _padded(pictures)
        inputs |= {"pixel_values": pixels, "image_position_ids": places}
    if frames:
        pixels, places = _padded(frames)
        inputs |= {"pixel_values_videos": pixels, "video_position_ids": places}
        inputs["num_frames_per_video"] = torch.tensor([len(frames)])
    if sounds:
        most = max(len(frames) for frames in sounds)
        features = torch.zeros(len(sounds), most, FRAME_SAMPLES)
        mask = torch.zeros(len(sounds), most, dtype=torch.bool)
        for i, frames in enumerate(sounds):
            features[i, : len(frames)] = torch.from_numpy(frames.copy())
            mask[i, : len(frames)] = True
        inputs |= {"input_features": features, "input_features_mask": mask}
    return inputs


@torch.no_grad()
def media_logits(model, tokens, pictures=(), sounds=(), frames=(), masks=None):
    """float32 [n_tokens, vocab] with the masks that generate() makes: blocks of pictures see
    themselves in sliding layers. `masks` may change those and the token types before them."""
    inputs = _official_inputs(tokens, pictures, sounds, frames)
    ids = inputs["input_ids"]
    types = (ids == IMAGE).long() + 2 * (ids == VIDEO).long()
    if masks:
        types = masks.types(types)
    mapping = model.create_masks_for_generate(
        model.config,
        torch.zeros(1, len(tokens), 1),
        inputs["attention_mask"],
        None,
        torch.arange(len(tokens))[None],
        mm_token_type_ids=types,
    )
    if masks:
        mapping = masks.mapping(mapping)
    inputs["attention_mask"] = mapping
    return model(**inputs, use_cache=False).logits[0].numpy().copy()

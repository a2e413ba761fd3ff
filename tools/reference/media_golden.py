"""Writes the golden of pictures and sounds in front of a tiny model: embeddings, and logits of text
behind them."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch

import projector
from golden import write_golden
from hash_blocks import rounded
from hash_weights import hash_stream
from mutations import REQUIRED
from projector import AUDIO, BEGIN_AUDIO, BEGIN_IMAGE, END_AUDIO, END_IMAGE, IMAGE, VIDEO
from shapes import SHAPES

N_GREEDY = 16
MIN_MARGIN = 0.05  # between the two best logits, at each greedy step
MIN_DISTINCT = 4  # greedy ids of a prompt
TYPES = ("bf16", "f16", "q8_0")  # of the projector's matrices, besides f32
MODEL_SEED = 13  # that of the model's own golden
FIRST_SEED = 100  # of the projector: what the search finds from 1 on


@dataclass
class Prompt:
    """Tokens, and what stands where `runs` say."""

    name: str
    tokens: list = field(default_factory=list)
    runs: list = field(default_factory=list)  # {"first", "name", "columns", "rows"} or "frames"
    pictures: list = field(default_factory=list)
    sounds: list = field(default_factory=list)
    frames: list = field(default_factory=list)  # of a video

    def add_text(self, seed, count):
        words = hash_stream(seed, "prompt." + self.name, len(self.tokens), count)
        ids = (words >> np.uint64(40)) % np.uint64(projector.FIRST_MEDIA_ID)
        self.tokens += ids.astype(np.int64).tolist()

    def _add_run(self, begin, placeholder, end, count, **run):
        self.tokens.append(begin)
        self.runs.append({"first": len(self.tokens), **run})
        self.tokens += [placeholder] * count + [end]

    def add_picture(self, seed, name, columns, rows):
        self.pictures.append((projector.make_patches(seed, name, columns, rows), columns))
        self._add_run(
            BEGIN_IMAGE, IMAGE, END_IMAGE, columns * rows, name=name, columns=columns, rows=rows
        )

    def add_frame(self, seed, name, columns, rows):
        self.frames.append((projector.make_patches(seed, name, columns, rows), columns))
        self._add_run(
            BEGIN_IMAGE, VIDEO, END_IMAGE, columns * rows, name=name, columns=columns, rows=rows
        )

    def add_sound(self, seed, name, count):
        self.sounds.append(projector.make_frames(seed, name, count))
        self._add_run(BEGIN_AUDIO, AUDIO, END_AUDIO, count, name=name, frames=count)

    def logits(self, model, masks=None):
        return projector.media_logits(
            model, self.tokens, self.pictures, self.sounds, self.frames, masks
        )

    def text_positions(self):
        """Of the tokens behind the first picture or sound."""
        first = self.runs[0]["first"]
        media = (IMAGE, AUDIO, VIDEO)
        return [i for i in range(first, len(self.tokens)) if self.tokens[i] not in media]


def make_prompts(seed):
    """One picture longer than the window, two pictures side by side, a sound, both kinds, a video
    of two frames with their times."""
    prompts = [Prompt(name) for name in ("picture", "pictures", "sound", "both", "video")]
    one, two, sound, both, video = prompts
    for prompt in prompts:
        prompt.tokens.append(2)
        prompt.add_text(seed, 6)
    one.add_picture(seed, "picture.0", 5, 4)
    one.add_text(seed, 9)
    two.add_picture(seed, "picture.1", 3, 2)
    two.add_picture(seed, "picture.2", 2, 4)
    two.add_text(seed, 5)
    sound.add_sound(seed, "sound.0", 11)
    sound.add_text(seed, 5)
    both.add_sound(seed, "sound.1", 4)
    both.add_text(seed, 3)
    both.add_picture(seed, "picture.3", 4, 3)
    both.add_text(seed, 5)
    video.add_frame(seed, "picture.4", 3, 2)
    video.add_text(seed, 4)
    video.add_frame(seed, "picture.5", 3, 2)
    video.add_text(seed, 5)
    return prompts


def _greedy(model, prompt):
    """(ids, smallest margin), recomputed from the whole prompt at every step."""
    ids, least = [], np.inf
    text = replace(prompt, tokens=list(prompt.tokens))
    while len(ids) < N_GREEDY and least > MIN_MARGIN:
        logits = text.logits(model)[-1]
        second, first = np.partition(logits, -2)[-2:]
        least = min(least, float(first - second))
        ids.append(int(np.argmax(logits)))
        if ids[-1] in (IMAGE, AUDIO, VIDEO):
            return ids, 0.0  # the official model would look for another picture
        text.tokens.append(ids[-1])
    return ids, least


def _find_seed(shape, first):
    for seed in range(first, first + 500):
        model = projector.make_media_model(shape, MODEL_SEED, seed)
        prompts = make_prompts(seed)
        results = []
        for prompt in prompts:
            results.append(_greedy(model, prompt))
            if results[-1][1] <= MIN_MARGIN or len(set(results[-1][0])) < MIN_DISTINCT:
                break
        else:
            return seed, model, prompts, results
    raise RuntimeError(f"{shape.name}: no seed with a margin over {MIN_MARGIN} in 500")


class Masks:
    """The official masks, and mistakes in them."""

    def types(self, types):
        return types

    def mapping(self, mapping):
        return mapping


class _Causal(Masks):
    def types(self, types):
        return torch.zeros_like(types)


class _Everywhere(Masks):
    """Blocks see themselves in full layers too."""

    def types(self, types):
        self.blocks = types[0] > 0
        return types

    def mapping(self, mapping):
        ids = torch.cumsum((~self.blocks).long(), 0)
        same = self.blocks[:, None] & self.blocks[None] & (ids[:, None] == ids[None])
        full = mapping["full_attention"].clone()
        if full.dtype == torch.bool:
            full |= same
        else:
            full[..., same] = 0
        return {**mapping, "full_attention": full}


class _OneBlock(Masks):
    """Pictures side by side, and what stands between them, as one."""

    def types(self, types):
        where = torch.nonzero(types[0]).flatten()
        joined = torch.zeros_like(types)
        if len(where):
            joined[0, where[0] : where[-1] + 1] = 1
        return joined


class _SoundsToo(Masks):
    def __init__(self, prompt):
        self.is_sound = torch.tensor([prompt.tokens]) == AUDIO

    def types(self, types):
        return types | self.is_sound.long()


def _changed_models(shape, seed):
    """{name: model} with a mistake in the projector."""

    def changed(change):
        model = projector.make_media_model(shape, MODEL_SEED, seed)
        change(model.model)
        return model

    def swap_axes(model):
        table = model.embed_vision.pos_embedding
        table.data = table.data.flip(1)

    def scale(factor):
        def change(model):
            for embedder in (model.embed_vision.multimodal_embedder, model.embed_audio):
                embedder.embedding_projection.weight.data *= factor

        return change

    def planes_as_pixels(model):
        dense = model.embed_vision.patch_dense
        dense.weight.data = torch.from_numpy(projector.interleaved(dense.weight.numpy()))

    def without_bias(model):
        model.embed_vision.patch_dense.bias.data.zero_()

    def without_first_norm(model):
        model.embed_vision.patch_ln1 = torch.nn.Identity()

    def without_last_norm(model):
        model.embed_vision.pos_norm = torch.nn.Identity()

    changes = {
        "columns and rows swapped": swap_axes,
        "embeddings scaled by sqrt(width)": scale(shape.hidden**0.5),
        "colours side by side": planes_as_pixels,
        "no patch bias": without_bias,
        "no first norm": without_first_norm,
        "no norm behind the position": without_last_norm,
    }
    with torch.no_grad():
        return {name: changed(change) for name, change in changes.items()}


def _measure_mutations(shape, seed, model, prompts, logits):
    """{name: max |logit - golden| at the positions that the golden holds}"""

    def moved(prompt, rows):
        at = prompt.text_positions()
        return float(np.abs(rows[at] - logits[prompt.name][at]).max())

    by_name = {prompt.name: prompt for prompt in prompts}
    result = {}
    for name, masks in (("causal", _Causal()), ("blocks in full layers", _Everywhere())):
        for where in ("picture", "pictures", "both", "video"):
            prompt = by_name[where]
            result[f"{name}: {where}"] = moved(prompt, prompt.logits(model, masks))
    two = by_name["pictures"]
    result["two pictures as one block"] = moved(two, two.logits(model, _OneBlock()))
    sound = by_name["sound"]
    result["sounds see themselves"] = moved(sound, sound.logits(model, _SoundsToo(sound)))
    for name, changed in _changed_models(shape, seed).items():
        result[name] = moved(by_name["both"], by_name["both"].logits(changed))
    return result


def _embeddings(model, prompts):
    arrays = {}
    for prompt in prompts:
        runs = {run["name"]: run for run in prompt.runs}
        pictures = [name for name in runs if "columns" in runs[name]]
        sounds = [name for name in runs if "frames" in runs[name]]
        for name, (patches, columns) in zip(pictures, prompt.pictures + prompt.frames):
            arrays[f"embeddings.{name}"] = projector.embed_picture(model, patches, columns)
        for name, frames in zip(sounds, prompt.sounds):
            arrays[f"embeddings.{name}"] = projector.embed_sound(model, frames)
    return arrays


def _typed_embeddings(shape, seed, prompts):
    """Of one picture and one sound with matrices stored as each type."""
    arrays = {}
    for kind in TYPES:

        def weight_map(name, values, is_full, kind=kind):
            if values.ndim < 2:
                return values
            stored = "f16" if name.startswith("v.position") and kind == "q8_0" else kind
            return rounded(seed, name, values, stored, is_full)

        model = projector.make_media_model(shape, MODEL_SEED, seed, weight_map)
        for name, values in _embeddings(model, prompts).items():
            if name in ("embeddings.picture.1", "embeddings.sound.1"):
                arrays[f"{name}.{kind}"] = values
    return arrays


def make_media_golden(name, args):
    shape = SHAPES[name.removesuffix("-media")]
    seed, model, prompts, greedy = _find_seed(shape, args.first_seed or FIRST_SEED)
    logits = {prompt.name: prompt.logits(model) for prompt in prompts}
    positions = [prompt.text_positions() for prompt in prompts]
    embeddings = _embeddings(model, prompts)
    header = {
        "model": shape.name,
        "seed": MODEL_SEED,
        "projector_seed": seed,
        "prompts": {
            prompt.name: {
                "tokens": prompt.tokens,
                "runs": prompt.runs,
                "positions": at,
                "greedy": ids,
            }
            for prompt, at, (ids, _) in zip(prompts, positions, greedy)
        },
        "measured": {
            "min_margin": min(margin for _, margin in greedy),
            "logit_sd": float(np.concatenate(list(logits.values())).std()),
            "embedding_sd": {key: float(rows.std()) for key, rows in embeddings.items()},
        },
    }
    if args.check_mutations:
        header["mutations"] = _measure_mutations(shape, seed, model, prompts, logits)
        weak = [key for key, by in header["mutations"].items() if not by > REQUIRED]
        if weak:
            raise SystemExit(f"{name}: logits moved less than {REQUIRED} by: {weak}")
    arrays = {
        **{f"logits.{p.name}": logits[p.name][at] for p, at in zip(prompts, positions)},
        **embeddings,
        **_typed_embeddings(shape, seed, prompts),
    }
    n_bytes = write_golden(args.folder, name, header, arrays)
    print(f"{name}: seed {seed}, {n_bytes / 1e3:.0f} kB, {header['measured']}")

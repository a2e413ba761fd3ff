"""Writes the golden of sounds in front of a tiny model with a conformer: embeddings, and logits of
text behind them."""

import numpy as np
import torch
from transformers.models.gemma4 import modeling_gemma4

import conformer
from golden import write_golden
from hash_blocks import rounded
from media_golden import MIN_MARGIN, N_GREEDY, Prompt
from projector import AUDIO, BEGIN_AUDIO, END_AUDIO, IMAGE, VIDEO
from shapes import SHAPES

TYPES = ("bf16", "f16", "q8_0")  # of the matrices, besides f32
MODEL_SEED = 96  # that of the model's own golden
FIRST_SEED = {"tiny-e2b": 4}  # of the projector: what the search finds from 1 on
MIN_DISTINCT = 4  # greedy ids
# Frames that are valid are even in number, so that the rows behind them are not zero by themselves
# between the convolutions: 40 tokens, and 7.
SAMPLES = {"long": 161 + 157 * 160 + 37, "short": 161 + 25 * 160 + 90}
# Of embeddings, in units of their root mean square: far above what they are compared with.
REQUIRED = 0.02


class SoundPrompt(Prompt):
    """Tokens, and sounds that are samples."""

    def add_samples(self, name, samples, count):
        self.sounds.append(samples)
        self.tokens.append(BEGIN_AUDIO)
        self.runs.append({"first": len(self.tokens), "name": name, "samples": len(samples)})
        self.tokens += [AUDIO] * count + [END_AUDIO]

    def logits(self, model, masks=None):
        return conformer.sound_logits(model, self.tokens, self.sounds)


def _make_prompt(seed, sounds):
    prompt = SoundPrompt("sounds")
    prompt.tokens.append(2)
    prompt.add_text(seed, 6)
    for name, samples in sounds.items():
        _, mask = conformer.features_of(samples)
        prompt.add_samples(name, samples, conformer.count_tokens(mask))
        prompt.add_text(seed, 4)
    return prompt


def _greedy(model, prompt):
    """(ids, smallest margin), recomputed from the whole prompt at every step."""
    text, ids, least = list(prompt.tokens), [], np.inf
    while len(ids) < N_GREEDY and least > MIN_MARGIN:
        logits = conformer.sound_logits(model, text, prompt.sounds)[-1]
        second, first = np.partition(logits, -2)[-2:]
        least = min(least, float(first - second))
        ids.append(int(np.argmax(logits)))
        if ids[-1] in (IMAGE, AUDIO, VIDEO):
            return ids, 0.0  # the official model would look for another sound
        text.append(ids[-1])
    return ids, least


def _find_seed(shape, first):
    for seed in range(first, first + 500):
        model = conformer.make_sound_model(shape, MODEL_SEED, seed)
        sounds = {name: conformer.make_samples(seed, name, n) for name, n in SAMPLES.items()}
        prompt = _make_prompt(seed, sounds)
        ids, margin = _greedy(model, prompt)
        if margin > MIN_MARGIN and len(set(ids)) >= MIN_DISTINCT:
            return seed, model, prompt, sounds, ids, margin
    raise RuntimeError(f"{shape.name}: no seed with a margin over {MIN_MARGIN} in 500")


def _window(change):
    """Another number of keys that a frame sees, as an undo."""
    original = modeling_gemma4.sliding_window_mask_function
    modeling_gemma4.sliding_window_mask_function = lambda sizes: original(
        (sizes[0] + change, sizes[1])
    )
    return lambda: setattr(modeling_gemma4, "sliding_window_mask_function", original)


def _open_bounds(tower, kind):
    for module in tower.modules():
        if isinstance(module, modeling_gemma4.Gemma4ClippableLinear):
            getattr(module, kind + "_min").fill_(-float("inf"))
            getattr(module, kind + "_max").fill_(float("inf"))


def _for_layers(change):
    def mutate(tower):
        for layer in tower.layers:
            change(layer)

    return mutate


def _swap_norms(layer):
    conv = layer.lconv1d
    conv.pre_layer_norm, conv.conv_norm = conv.conv_norm, conv.pre_layer_norm


def _swap_halves(layer):
    weight = layer.lconv1d.linear_start.linear.weight
    weight.data = torch.roll(weight.data, len(weight) // 2, 0)


def _set_residual(layer):
    layer.feed_forward1.post_layer_scale = layer.feed_forward2.post_layer_scale = 1.0


def _forget_mask(tower):
    """Frames behind the end are as they come between the convolutions."""
    second = tower.subsample_conv_projection.layer1
    forward = second.forward
    second.forward = lambda x, mask=None: (forward(x, None)[0], mask[:, ::2])


def _set_conv_eps(tower):
    for part in (tower.subsample_conv_projection.layer0, tower.subsample_conv_projection.layer1):
        part.norm.eps = 1e-2


_MUTATIONS = {
    "no cap": _for_layers(lambda layer: layer.self_attn.softcap.fill_(1e6)),
    "window 11": lambda _: _window(-1),
    "window 13": lambda _: _window(1),
    "no scale of dimensions": _for_layers(lambda layer: layer.self_attn.per_dim_scale.data.zero_()),
    "no key scale": _for_layers(lambda layer: setattr(layer.self_attn, "k_scale", 1.0)),
    "no relative positions": _for_layers(
        lambda layer: layer.self_attn.relative_k_proj.weight.data.zero_()
    ),
    "relative positions one off": lambda tower: tower.rel_pos_enc.register_forward_hook(
        lambda *args: torch.roll(args[2], 1, -2)
    ),
    "norms of the light convolution swapped": _for_layers(_swap_norms),
    "halves of its gate swapped": _for_layers(_swap_halves),
    "its taps reversed": _for_layers(
        lambda layer: layer.lconv1d.depthwise_conv1d.weight.data.copy_(
            layer.lconv1d.depthwise_conv1d.weight.flip(-1)
        )
    ),
    "whole residuals": _for_layers(_set_residual),
    "no bounds of inputs": lambda tower: _open_bounds(tower, "input"),
    "no bounds of outputs": lambda tower: _open_bounds(tower, "output"),
    "no bias": lambda tower: tower.output_proj.bias.data.zero_(),
    "no mask between the convolutions": _forget_mask,
    "another epsilon between them": _set_conv_eps,
}


@torch.no_grad()
def _measure_mutations(shape, seed, sounds, golden):
    """{name: largest change of an embedding in units of the golden's root mean square}"""
    moved = {}
    for name, mutate in _MUTATIONS.items():
        model = conformer.make_sound_model(shape, MODEL_SEED, seed)
        undo = mutate(model.model.audio_tower)
        changes = []
        for key, samples in sounds.items():
            rows = conformer.embed_sound(model, samples)
            right = golden[f"embeddings.{key}"]
            changes.append(np.abs(rows - right).max() / np.sqrt(np.mean(right**2)))
        moved[name] = float(max(changes))
        if name.startswith("window"):
            undo()
    return moved


def _typed_embeddings(shape, seed, samples):
    """Of the short sound with matrices stored as each type."""
    arrays = {}
    for kind in TYPES:

        def weight_map(name, values, is_full, kind=kind):
            if values.ndim < 2 or "conv_dw" in name or "conv1d" in name:
                return values
            return rounded(seed, name, values, kind, is_full)

        model = conformer.make_sound_model(shape, MODEL_SEED, seed, weight_map)
        arrays[f"embeddings.short.{kind}"] = conformer.embed_sound(model, samples)
    return arrays


def make_sound_golden(name, args):
    shape = SHAPES[name.removesuffix("-sounds")]
    first = args.first_seed or FIRST_SEED[shape.name]
    seed, model, prompt, sounds, ids, margin = _find_seed(shape, first)
    logits = prompt.logits(model)
    at = prompt.text_positions()
    arrays = {
        f"embeddings.{key}": conformer.embed_sound(model, samples)
        for key, samples in sounds.items()
    }
    header = {
        "model": shape.name,
        "projector": f"{name}-projector",
        "seed": MODEL_SEED,
        "projector_seed": seed,
        "prompts": {
            prompt.name: {
                "tokens": prompt.tokens,
                "runs": prompt.runs,
                "positions": at,
                "greedy": ids,
            }
        },
        "measured": {
            "min_margin": margin,
            "logit_sd": float(logits.std()),
            "embedding_sd": {key: float(rows.std()) for key, rows in arrays.items()},
        },
    }
    if args.check_mutations:
        header["mutations"] = _measure_mutations(shape, seed, sounds, arrays)
        weak = [key for key, by in header["mutations"].items() if not by > REQUIRED]
        if weak:
            raise SystemExit(f"{name}: {header['mutations']}: moved less than {REQUIRED}: {weak}")
    arrays |= _typed_embeddings(shape, seed, sounds["short"])
    arrays[f"logits.{prompt.name}"] = logits[at]
    n_bytes = write_golden(args.folder, name, header, arrays)
    print(f"{name}: seed {seed}, {n_bytes / 1e3:.0f} kB, {header['measured']}")

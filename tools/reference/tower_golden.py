"""Writes the golden of pictures through an encoder in front of a tiny model: embeddings, and logits
of text behind them."""

from dataclasses import dataclass

import numpy as np
import torch

import tower
from golden import write_golden
from hash_blocks import rounded
from media_golden import MIN_DISTINCT, MIN_MARGIN, N_GREEDY, Prompt
from mutations import REQUIRED
from projector import AUDIO, IMAGE, VIDEO
from shapes import SHAPES
from tower_mutations import embedding_mutations, logit_mutations

# Of the model's own golden, and of the projector: what the search finds from 1 on.
MODEL_SEEDS = {"tiny-e2b": 96, "tiny26": 21}
FIRST_SEEDS = {"tiny-e2b": 1, "tiny26": 1}
# Of the projector's matrices, besides f32; blocks of 32 do not fit the rows of tiny26's.
TYPES = {"tiny-e2b": ("bf16", "f16", "q8_0"), "tiny26": ("bf16", "f16")}
# Between the scores of the last expert taken and the best one left out.
MIN_ROUTER_MARGIN = 1e-4
# How far a mistake must move an embedding at least, in units of their root mean square. An engine
# is compared far below this.
REQUIRED_OF_EMBEDDINGS = 0.02


@dataclass
class TowerPrompt(Prompt):
    def logits(self, model, masks=None):
        return tower.tower_logits(model, self.tokens, self.pictures, masks)


def make_prompts(seed):
    """One picture as long as the window or longer, and two of other grids with text between."""
    prompts = [TowerPrompt(name) for name in ("picture", "pictures")]
    one, two = prompts
    for prompt in prompts:
        prompt.tokens.append(2)
        prompt.add_text(seed, 6)
    one.add_picture(seed, "picture.0", 5, 4)
    one.add_text(seed, 6)
    two.add_picture(seed, "picture.1", 3, 2)
    two.add_text(seed, 2)
    two.add_picture(seed, "picture.2", 1, 7)
    two.add_text(seed, 5)
    return prompts


def _greedy(model, prompt):
    """(ids, smallest margin), recomputed from the whole prompt at every step."""
    ids, least = [], np.inf
    text = TowerPrompt(prompt.name, list(prompt.tokens), prompt.runs, prompt.pictures)
    while len(ids) < N_GREEDY and least > MIN_MARGIN:
        logits = text.logits(model)[-1]
        second, first = np.partition(logits, -2)[-2:]
        least = min(least, float(first - second))
        ids.append(int(np.argmax(logits)))
        if ids[-1] in (IMAGE, AUDIO, VIDEO):
            return ids, 0.0, 0.0  # the official model would look for another picture
        text.tokens.append(ids[-1])
    return ids, least, tower.router_margin(model, text.tokens, text.pictures)


def _find_seed(shape, first):
    for seed in range(first, first + 500):
        model = tower.make_tower_model(shape, MODEL_SEEDS[shape.name], seed)
        prompts = make_prompts(seed)
        results = []
        for prompt in prompts:
            results.append(_greedy(model, prompt))
            ids, margin, router = results[-1]
            if (
                margin <= MIN_MARGIN
                or router < MIN_ROUTER_MARGIN
                or len(set(ids)) < MIN_DISTINCT
            ):
                break
        else:
            return seed, model, prompts, results
    raise RuntimeError(f"{shape.name}: no seed with a margin over {MIN_MARGIN} in 500")


def _embeddings(model, prompts):
    arrays = {}
    for prompt in prompts:
        for run, (blocks, columns) in zip(prompt.runs, prompt.pictures):
            name = f"embeddings.{run['name']}"
            arrays[name] = tower.embed_picture(model, blocks, columns)
    return arrays


def _typed_embeddings(shape, seed, prompts):
    """Of one picture with matrices stored as each type."""
    arrays = {}
    for kind in TYPES[shape.name]:

        def weight_map(name, values, is_full, kind=kind):
            stored = "f16" if name.startswith("v.position") and kind == "q8_0" else kind
            return rounded(seed, name, values, stored, is_full)

        model = tower.make_tower_model(shape, MODEL_SEEDS[shape.name], seed, weight_map)
        name = "embeddings.picture.1"
        arrays[f"{name}.{kind}"] = _embeddings(model, prompts[1:])[name]
    return arrays


def _relative(rows, golden):
    """The largest difference in units of the golden's root mean square."""
    return float(np.abs(rows - golden).max() / np.sqrt(np.square(golden).mean()))


def _exact(shape, seed, prompts):
    """The embeddings by the same model in float64, as far as it computes in what it is given."""
    model = tower.make_tower_model(shape, MODEL_SEEDS[shape.name], seed).double()
    with torch.no_grad():
        return _embeddings(model, prompts)


def _measure_mutations(shape, seed, prompts, logits, embeddings):
    """({mistake: how far it moves embeddings}, {mistake: how far it moves logits})"""
    moved, moved_logits = {}, {}
    for name, change in embedding_mutations(tower.SHAPES[shape.name]):
        model = tower.make_tower_model(shape, MODEL_SEEDS[shape.name], seed)
        with torch.no_grad(), change(model.model):
            found = _embeddings(model, prompts)
        moved[name] = max(_relative(found[key], rows) for key, rows in embeddings.items())
    for name, change, types_of in logit_mutations(shape):
        model = tower.make_tower_model(shape, MODEL_SEEDS[shape.name], seed)
        with torch.no_grad():
            change(model)
            moved_logits[name] = max(
                float(np.abs(p.logits(model, types_of) - logits[p.name])[p.text_positions()].max())
                for p in prompts
            )
    return moved, moved_logits


def _check(name, moved, least):
    weak = {key: by for key, by in moved.items() if not by > least}
    if weak:
        raise SystemExit(f"{name}: moved less than {least} by: {weak}")


def make_tower_golden(name, args):
    shape = SHAPES[name.removesuffix("-vision")]
    first = args.first_seed or FIRST_SEEDS[shape.name]
    seed, model, prompts, greedy = _find_seed(shape, first)
    logits = {prompt.name: prompt.logits(model) for prompt in prompts}
    positions = [prompt.text_positions() for prompt in prompts]
    embeddings = _embeddings(model, prompts)
    exact = _exact(shape, seed, prompts)
    header = {
        "model": shape.name,
        "seed": MODEL_SEEDS[shape.name],
        "projector": f"{shape.name}-projector",
        "projector_seed": seed,
        "prompts": {
            prompt.name: {
                "tokens": prompt.tokens,
                "runs": prompt.runs,
                "positions": at,
                "greedy": ids,
            }
            for prompt, at, (ids, _, _) in zip(prompts, positions, greedy)
        },
        "measured": {
            "min_margin": min(margin for _, margin, _ in greedy),
            "logit_sd": float(np.concatenate(list(logits.values())).std()),
            "embedding_sd": {key: float(rows.std()) for key, rows in embeddings.items()},
            "embeddings_against_float64": max(
                _relative(rows, exact[key]) for key, rows in embeddings.items()
            ),
        },
    }
    if shape.n_experts:
        header["measured"]["min_router_margin"] = min(router for _, _, router in greedy)
    if args.check_mutations:
        moved, moved_logits = _measure_mutations(shape, seed, prompts, logits, embeddings)
        header |= {"mutations": moved, "logit_mutations": moved_logits}
        _check(name, moved, REQUIRED_OF_EMBEDDINGS)
        _check(name, moved_logits, REQUIRED)
    arrays = {
        **{f"logits.{p.name}": logits[p.name][at] for p, at in zip(prompts, positions)},
        **embeddings,
        **_typed_embeddings(shape, seed, prompts),
    }
    n_bytes = write_golden(args.folder, name, header, arrays)
    print(f"{name}: seed {seed}, {n_bytes / 1e3:.0f} kB, {header['measured']}")

"""Writes the golden of a drafter: rounds over the text of its target's golden."""

import json
import os

import numpy as np
import torch

import drafter
import reference
from drafter import Round, ask, cluster_margin_of, draft, make_drafter
from golden import write_golden
from mutations import REQUIRED
from shapes import SHAPES

N_DRAFTS = 7
MIN_MARGIN = 0.05  # between the two best logits of every draft
MIN_CLUSTER_MARGIN = 1e-2  # as for experts: a choice that rounding could turn proves nothing
MIN_DISTINCT = 12  # drafts of all rounds together
# What the search finds from seed 1 on, to spare the time.
FIRST_SEED = {
    "tiny12-drafter": 10,
    "tiny31-drafter": 6,
    "tiny26-drafter": 1,
    "tiny-e2b-drafter": 1,
    "tiny-e4b-drafter": 5,
}


class Target:
    """The model that a drafter drafts for, and the text of its golden."""

    def __init__(self, shape, folder):
        with open(os.path.join(folder, shape.name + ".json"), encoding="utf-8") as file:
            golden = json.load(file)
        self.shape = shape
        self.model = reference.make_model(shape, golden["seed"])
        self.text = golden["tokens"] + golden["greedy"]
        self.known = ask(shape, self.model, self.text)
        # Where the window does not matter yet, where it begins to, and far beyond it, at the end
        # of a chunk of 64 keys too.
        self.positions = sorted(
            [1, shape.window - 1, shape.window, 3 * shape.window + 5, 64, 96]
        )


def run_rounds(model, shape, target, known=None, way=Round(), given=None):
    """(drafts [rounds][n], logits [rounds, n, vocab])"""
    known = known or target.known
    rounds = [
        draft(model, shape, known, p, target.text[p], N_DRAFTS, way, given and given[i])
        for i, p in enumerate(target.positions)
    ]
    return [tokens for tokens, _ in rounds], np.stack([rows for _, rows in rounds])


def _margins(model, shape, target):
    """(smallest margin of the drafts, of the clusters, drafts, logits)"""
    result = []
    clusters = cluster_margin_of(model, lambda: result.append(run_rounds(model, shape, target)))
    drafts, logits = result[0]
    second, first = np.partition(logits, -2, axis=-1)[..., -2:].transpose(2, 0, 1)
    return float((first - second).min()), clusters, drafts, logits


def _find_seed(shape, target, first):
    for seed in range(first, first + 3000):
        model = make_drafter(shape, seed)
        margin, clusters, drafts, logits = _margins(model, shape, target)
        distinct = len({token for tokens in drafts for token in tokens})
        if margin > MIN_MARGIN and clusters > MIN_CLUSTER_MARGIN and distinct >= MIN_DISTINCT:
            return seed, model, margin, clusters, drafts, logits
    raise RuntimeError(f"{shape.name}: no seed with a margin over {MIN_MARGIN} in 3000")


def _mutated_drafters(shape):
    """{name: function(drafter)} that changes it in place."""

    def without_scalars(model):
        for layer in model.model.layers:
            layer.layer_scalar.fill_(1.0)

    def without_final_norm(model):
        model.model.norm = torch.nn.Identity()

    def scaled_sliding_layers(model):
        for layer in model.model.layers[:3]:
            layer.self_attn.scaling = layer.self_attn.head_dim**-0.5

    mutations = {
        "no layer scalars": without_scalars,
        "no final norm": without_final_norm,
        "sliding attention scale 1/sqrt(d)": scaled_sliding_layers,
    }
    if shape.n_clusters:

        def one_cluster_fewer(model):
            model.masked_embedding.centroid_intermediate_top_k -= 1

        def ordering_ignored(model):
            model.masked_embedding.token_ordering.copy_(torch.arange(shape.vocab))

        mutations["one cluster fewer"] = one_cluster_fewer
        mutations["ordering ignored"] = ordering_ignored
    return mutations


def _other_knowledge(target):
    """{name: Known} with a mistake in what the target hands out."""
    shape, known = target.shape, target.known
    rows = reference.hidden_of(target.model, target.text)
    before_norm = drafter.Known(known.embed, torch.from_numpy(rows[-2]), known.keys_values)
    own = [i for i in range(shape.n_layers) if shape.owns_kv(i)]
    donors = [max(i for i in own if shape.is_full(i) == full) for full in (False, True)]
    others = {"hidden state before the final norm": before_norm}
    for full, kind in enumerate(("sliding", "full")):
        earlier = [i for i in own if shape.is_full(i) == bool(full) and i < donors[full]]
        if earlier:
            wrong = list(donors)
            wrong[full] = earlier[-1]
            others[f"{kind} KV of the layer before"] = ask(shape, target.model, target.text, wrong)
    return others


def _measure_mutations(shape, seed, target, drafts, logits):
    """{name: max |logit - golden|} with the golden's drafts fed in. Tokens of a cluster that is
    left out have the official mask's value, less than every logit that is there."""
    ways = {
        "own key visible": Round(n_own=1),
        "one key beyond the window": Round(n_more=1),
        "position moves with the drafts": Round(moves=1),
        "position P - 1": Round(shift=-1),
        "hidden state before the embedding": Round(swap=True),
        "post projection dropped": Round(keep_hidden=True),
        "no embedding scale": Round(embed_scale=shape.target_hidden**-0.5),
    }
    moved = {}

    def measure(name, model, **options):
        rows = run_rounds(model, shape, target, given=drafts, **options)[1]
        moved[name] = float(np.abs(rows - logits).max())

    model = make_drafter(shape, seed)
    for name, way in ways.items():
        measure(name, model, way=way)
    for name, known in _other_knowledge(target).items():
        measure(name, model, known=known)
    for name, mutate in _mutated_drafters(shape).items():
        changed = make_drafter(shape, seed)
        mutate(changed)
        measure(name, changed)
    moved["soft-cap 30"] = float(np.abs(30 * np.tanh(logits / 30) - logits).max())
    return moved


def make_drafter_golden(shape, args):
    target = Target(SHAPES[shape.target], args.folder)
    first = args.first_seed or FIRST_SEED.get(shape.name, 1)
    seed, _, margin, clusters, drafts, logits = _find_seed(shape, target, first)
    measured = {
        "logit_sd": float(logits[:, 0].std()),
        "min_margin": margin,
        "distinct_drafts": len({token for tokens in drafts for token in tokens}),
    }
    if shape.n_clusters:
        measured["min_cluster_margin"] = clusters
    header = {
        "model": shape.name,
        "drafter": shape.to_json(),
        "seed": seed,
        "positions": target.positions,
        "drafts": drafts,
        "measured": measured,
    }
    if args.check_mutations:
        header["mutations"] = _measure_mutations(shape, seed, target, drafts, logits)
        weak = [name for name, by in header["mutations"].items() if not by > REQUIRED]
        if weak:
            raise SystemExit(f"{shape.name}: logits moved less than {REQUIRED} by: {weak}")
    n_bytes = write_golden(args.folder, shape.name, header, {"logits": logits})
    print(f"{shape.name}: seed {seed}, {n_bytes / 1e3:.0f} kB, {measured}")

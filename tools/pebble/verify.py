"""Proofs that training sees what the official implementation sees, in a minute, without weights.

verify.py
"""

import itertools
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

import bpe
import media
import shape
import world
from drafter import N_DRAFTS, Drafter, ask, keep_keys_and_values
from evaluate import generation_inputs
from packing import BatchShape, make_row, pack
from pebble import Batch, Pebble


def _expect(name: str, distance: float, most: float) -> None:
    if not distance <= most:
        raise SystemExit(f"{name}: {distance:.3g}, at most {most:.3g}")
    print(f"{name}: {distance:.3g}")


def _tokenizer(folder: str) -> Tokenizer:
    path = Path(folder) / "tokenizer.json"
    path.write_text(json.dumps(bpe.train_tokenizer("verify", 500)), encoding="utf-8")
    return bpe.load_tokenizer(path)


def _float_masks(batch: Batch) -> Batch:
    batch.full_mask, batch.sliding_mask = batch.full_mask.float(), batch.sliding_mask.float()
    return batch


@torch.no_grad()
def packed_rows_equal_single_ones() -> None:
    """Packed examples with lookups for cos and sin, own masks and own places for soft tokens give
    the logits of the official forward pass over each example alone."""
    pebble = Pebble(1).eval()
    for scale in pebble.layer_scales:
        scale.fill_(0.7)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = _tokenizer(folder)
    mixture = world.TEXT | world.PICTURES | world.SOUNDS
    source = world.examples(mixture, "verify", held_out=False)
    rows = [make_row(example, tokenizer) for example in itertools.islice(source, 40)]
    batch = _float_masks(pack(iter(rows), BatchShape(8, 512, 2048)))
    packed = pebble.logits(pebble.hidden(pebble.embed(batch), batch)[batch.label_rows])
    pebble.bake_layer_scales()
    official, worst, kinds = pebble.official, 0.0, set()
    for index, row in enumerate(rows[: len(batch.tasks)]):
        prompt_only = row.n_prompt
        row.n_prompt = len(row.ids)
        inputs = generation_inputs(row)
        inputs["attention_mask"] = official.create_masks_for_generate(
            official.config,
            torch.zeros(1, len(row.ids), 1),
            inputs["attention_mask"],
            None,
            torch.arange(len(row.ids))[None],
            mm_token_type_ids=inputs.get("mm_token_type_ids"),
        )
        alone = official(**inputs).logits[0, prompt_only - 1 : -1]
        mine = packed[batch.label_owners == index]
        worst = max(worst, float((alone - mine).abs().max()))
        kinds.add(row.task)
    _expect(f"packed against official, {len(kinds)} tasks: largest distance of logits", worst, 2e-4)


def patches_equal_the_official_ones() -> None:
    """Sizes are those of transformers' image processor for odd sizes and budgets, and pictures of
    several sizes, resized to 70 patches, are the same."""
    from transformers.models.gemma4_unified import image_processing_gemma4_unified as theirs

    rng = np.random.default_rng(5)
    for height, width, budget in (
        (96, 96, 4),
        (100, 37, 6),
        (333, 480, 70),
        (48, 400, 9),
        (31, 30, 1),
    ):
        size = theirs.get_aspect_ratio_preserving_size(height, width, 16, budget * 9, 3)
        assert size == media.picture_size(height, width, budget), (size, height, width, budget)
    processor = theirs.Gemma4UnifiedImageProcessor(max_soft_tokens=70)
    for height, width in ((336, 480), (96, 96), (200, 130), (500, 700)):
        coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
        pixels = coarse.repeat(8, 0).repeat(8, 1)[:height, :width]
        mine, places = media.patches_of(pixels, 70)
        official = processor(torch.from_numpy(pixels).permute(2, 0, 1), return_tensors="pt")
        count = len(mine)
        distance = (official["pixel_values"][0, :count] - torch.from_numpy(mine)).abs().max()
        _expect(f"patches of a picture of {height} x {width}", float(distance), 1e-6)
        assert (official["image_position_ids"][0, :count].numpy() == places).all()
        assert (official["image_position_ids"][0, count:] == -1).all()


@torch.no_grad()
def drafts_equal_single_rounds() -> None:
    """Drafts of all rounds of a packed batch are those of the official drafter, asked round by
    round with the keys and values of what came before."""
    pebble, drafter = Pebble(1).eval(), Drafter(2).eval()
    keep_keys_and_values(pebble)
    source = world.examples(world.TEXT, "verify drafts", held_out=False)
    with tempfile.TemporaryDirectory() as folder:
        rows = [make_row(example, _tokenizer(folder)) for example in itertools.islice(source, 12)]
    batch = _float_masks(pack(iter(rows), BatchShape(4, 288, 1024)))
    known = ask(pebble, pebble.embed(batch), batch)
    _, drafts = drafter.predict(known, batch)
    n_wrong = n_drafts = 0
    for index, row in enumerate(rows[: len(batch.tasks)]):
        alone = _float_masks(pack(iter([row]), BatchShape(1, len(row.ids), len(row.ids))))
        single = ask(pebble, pebble.embed(alone), alone)
        mine = [draft[batch.label_owners == index] for draft in drafts]
        for label, position in enumerate(range(row.n_prompt, len(row.ids) - N_DRAFTS)):
            window = slice(max(0, position - shape.WINDOW + 1), position)
            full, sliding = (
                single.keys_values["full_attention"],
                single.keys_values["sliding_attention"],
            )
            shared = {
                "full_attention": tuple(part[:, :, :position] for part in full),
                "sliding_attention": tuple(part[:, :, window] for part in sliding),
            }
            hidden = single.hidden[:, position - 1 : position]
            for i in range(N_DRAFTS):
                embeds = single.embeds[:, position + i : position + i + 1]
                output = drafter.official(
                    inputs_embeds=torch.cat((embeds, hidden), -1),
                    position_ids=torch.tensor([[position]]),
                    shared_kv_states=shared,
                )
                hidden = output.last_hidden_state
                n_wrong += int(output.logits[0, 0].argmax() != mine[i][label])
                n_drafts += 1
    _expect(f"drafts that differ from the official ones, of {n_drafts}", n_wrong, 0)


if __name__ == "__main__":
    packed_rows_equal_single_ones()
    drafts_equal_single_rounds()
    patches_equal_the_official_ones()

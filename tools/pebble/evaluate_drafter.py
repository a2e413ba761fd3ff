"""How many of the drafter's words Pebble accepts, greedy, two drafts a round.

evaluate_drafter.py --out FOLDER [--prompts 200] [--output acceptance.json]
"""

import argparse
import itertools
import json
from pathlib import Path

import torch

import bpe
import export
import shape
import world
from drafter import Drafter, ask, keep_keys_and_values
from evaluate import SEED, greedy_ids
from packing import BatchShape, Row, make_row, pack
from pebble import Pebble

_DRAFTS = 2


@torch.no_grad()
def drafts_of(pebble: Pebble, drafter: Drafter, row: Row) -> list[list[int]]:
    """For every word of the answer as the start of a round: the words drafted after it, each given
    that those before it were right."""
    count = len(row.ids)
    batch = pack(iter([row]), BatchShape(1, count, count - row.n_prompt))
    batch.full_mask, batch.sliding_mask = batch.full_mask.float(), batch.sliding_mask.float()
    _, drafts = drafter.predict(ask(pebble, pebble.embed(batch), batch), batch)
    return torch.stack(drafts[:_DRAFTS], 1).tolist()


def count_rounds(answer: list[int], drafts: list[list[int]]) -> tuple[int, int]:
    """(accepted, drafted) over a whole answer. A round drafts no further than the answer's end and
    no further than a stop."""
    accepted = drafted = at = 0  # `at`: the word that the round starts from
    while at < len(answer) - 1:
        made = drafts[at][: len(answer) - 1 - at]
        stop = next((i for i, draft in enumerate(made) if draft in shape.STOPS), len(made))
        made = made[: stop + 1]
        pairs = zip(made, answer[at + 1 :])
        right = len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))
        drafted += len(made)
        accepted += right
        at += right + 1
    return accepted, drafted


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path("build/pebble"), help="the training's folder"
    )
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    out = arguments.out
    tokenizer = bpe.load_tokenizer(out / "tokenizer.json")
    model = export.official(out / "checkpoint.pt")
    pebble = export.load(out / "checkpoint.pt")
    keep_keys_and_values(pebble)
    drafter = export.trained_drafter(out / "drafter.pt")
    accepted = drafted = 0
    for example in world.held_out_set(world.TEXT, SEED, arguments.prompts):
        row = make_row(example, tokenizer)
        answer = greedy_ids(model, row)
        row.ids = row.ids[: row.n_prompt] + answer
        right, made = count_rounds(answer, drafts_of(pebble, drafter, row))
        accepted, drafted = accepted + right, drafted + made
    result = {
        "prompts": arguments.prompts,
        "drafts": _DRAFTS,
        "drafted": drafted,
        "accepted": accepted,
        "acceptance": round(accepted / drafted, 4),
    }
    print(json.dumps(result))
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

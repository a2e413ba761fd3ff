"""Trains Pebble's drafter once Pebble is trained. The same command starts and resumes.

    train_drafter.py --out FOLDER [--threads N]

FOLDER is that of train.py; it gets drafter-checkpoint.pt and drafter.pt, and lines in log.jsonl.
"""

import argparse
from pathlib import Path

import torch

import export
from drafter import N_DRAFTS, Drafter, after, ask, keep_keys_and_values
from loop import SEED, Loop, make_optimizers
from pebble import Batch
from stages import DRAFTER
from train import tokenizer_in


def train(out: Path) -> None:
    tokenizer = tokenizer_in(out)
    pebble = export.load(out / "checkpoint.pt")
    keep_keys_and_values(pebble)
    drafter = Drafter(SEED)
    matrices = [p for p in drafter.official.model.layers.parameters() if p.ndim == 2]
    loop = Loop(out, drafter, make_optimizers(drafter, matrices), "drafter-checkpoint.pt")
    if loop.stage_index > 0:
        return
    ask_fast = torch.compile(lambda embeds, batch: ask(pebble, embeds, batch), dynamic=False)
    predict = torch.compile(drafter.predict, dynamic=False)

    def forward(batch: Batch) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            with torch.no_grad():
                embeds = pebble.embed(batch)
            known = ask_fast(embeds, batch)
            return *predict(known, batch), known.said

    def scores_of(batches: list[Batch]) -> dict[str, float]:
        """Of all rounds that have so many words left: the share whose first i drafts are right."""
        hits, rounds = [0] * N_DRAFTS, [0] * N_DRAFTS
        for batch in batches:
            _, drafts, said = forward(batch)
            right = torch.ones(len(said), dtype=torch.bool)
            for i, draft in enumerate(drafts):
                wanted, counts = after(said, batch, i + 1)
                right &= (draft == wanted) & counts
                hits[i] += int(right.sum())
                rounds[i] += int(counts.sum())
        return {f"draft {i + 1}": round(hits[i] / rounds[i], 4) for i in range(N_DRAFTS)}

    loop.run_stage(DRAFTER, tokenizer, lambda batch: forward(batch)[0], scores_of)
    loop.finish_stage(DRAFTER)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path("build/pebble"), help="default: %(default)s"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    train(arguments.out)


if __name__ == "__main__":
    main()

"""Trains Pebble in stages. The same command starts, resumes and, when all is done, does nothing.

    train.py --out FOLDER [--stage NAME] [--threads N]

FOLDER gets tokenizer.json, checkpoint.pt (every ten minutes and after every stage), STAGE.pt (the
weights at the end of a stage) and log.jsonl (a line every 20 steps and every evaluation).
"""

import argparse
import json
from pathlib import Path

import torch
from tokenizers import Tokenizer

import bpe
from loop import SEED, Loop, shares_right
from pebble import Batch, Pebble
from stages import STAGES


def make_optimizers(model: Pebble) -> list[torch.optim.Optimizer]:
    """Muon for the matrices between vectors of the stream, AdamW for everything else."""
    text = model.official.model.language_model
    matrices = [p for p in text.layers.parameters() if p.ndim == 2]
    taken = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in taken]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": 0.01},
        {"params": [p for p in rest if p.ndim == 1], "weight_decay": 0.0},
    ]
    muon = torch.optim.Muon(matrices, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    return [muon, torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)]


def tokenizer_in(out: Path) -> Tokenizer:
    """The tokenizer of FOLDER, trained where there is none yet."""
    path = out / "tokenizer.json"
    if not path.exists():
        text = json.dumps(bpe.train_tokenizer(f"{SEED} tokenizer"), ensure_ascii=False, indent=1)
        path.write_text(text + "\n", encoding="utf-8")
    return bpe.load_tokenizer(path)


def train(out: Path, last: str) -> None:
    """All stages that are not done yet, up to and with the one named `last`."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = tokenizer_in(out)
    model = Pebble(SEED)
    loop = Loop(out, model, make_optimizers(model), "checkpoint.pt")
    predict = torch.compile(model.predict, dynamic=False)

    def forward(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return predict(model.embed(batch), batch)

    end = [stage.name for stage in STAGES].index(last) + 1
    while loop.stage_index < end:
        stage = STAGES[loop.stage_index]
        loop.run_stage(
            stage,
            tokenizer,
            lambda batch: forward(batch)[0],
            lambda batches: shares_right(batches, lambda batch: forward(batch)[1]),
        )
        loop.finish_stage(stage)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path("build/pebble"), help="default: %(default)s"
    )
    names = [stage.name for stage in STAGES]
    parser.add_argument("--stage", choices=names, default=names[-1], help="the last one to run")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    train(arguments.out, arguments.stage)


if __name__ == "__main__":
    main()

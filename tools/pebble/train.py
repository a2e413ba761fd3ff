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
from loop import SEED, Loop, make_optimizers, shares_right
from pebble import Batch, Pebble
from stages import STAGES


def matrices_of(model: Pebble) -> list[torch.nn.Parameter]:
    """All but the tables that are looked up."""
    base = model.official.model
    parts = (base.language_model.layers, base.embed_vision, base.embed_audio)
    return [p for part in parts for p in part.parameters() if p.ndim == 2]


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
    loop = Loop(out, model, make_optimizers(model, matrices_of(model)), "checkpoint.pt")
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

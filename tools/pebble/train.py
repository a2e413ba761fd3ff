"""Trains Pebble in stages. The same command starts, resumes and, when all is done, does nothing.

    train.py --out FOLDER [--stage NAME] [--threads N]

FOLDER gets tokenizer.json, checkpoint.pt (every ten minutes and after every stage), STAGE.pt (the
weights at the end of a stage) and log.jsonl (a line every 20 steps and every evaluation).
"""

import argparse
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer

import bpe
import world
from example import Rng
from packing import make_row, pack
from pebble import Batch, Pebble
from stages import STAGES, Stage

SEED = 20260
_CHECKPOINT_SECONDS = 600
_LOG_STEPS = 20
_EVALUATE_STEPS = 250
_EVALUATE_EXAMPLES = 600


class TrainingBatches(torch.utils.data.IterableDataset):
    """Batch number s of a stage depends on (stage, s) alone: that is the position in the data."""

    def __init__(self, stage: Stage, tokenizer: Tokenizer, first_step: int):
        self.stage, self.tokenizer, self.first_step = stage, tokenizer, first_step

    def __iter__(self) -> Iterator[Batch]:
        torch.set_num_threads(1)
        for step in range(self.first_step, self.stage.steps):
            seed = f"{SEED} {self.stage.name} {step}"
            source = world.examples(self.stage.mixture, seed, held_out=False)
            yield pack((make_row(e, self.tokenizer) for e in source), self.stage.size)


def held_out_batches(stage: Stage, tokenizer: Tokenizer) -> list[Batch]:
    held_out = world.held_out_set(stage.mixture, f"{SEED} evaluation", _EVALUATE_EXAMPLES)
    rows = [make_row(example, tokenizer) for example in held_out]
    batches = []
    while rows:
        batches.append(pack(iter(rows), stage.size))
        rows = rows[len(batches[-1].tasks) :]
    return batches


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


class Trainer:
    def __init__(self, out: Path, threads: int):
        torch.set_num_threads(threads)
        out.mkdir(parents=True, exist_ok=True)
        self.out = out
        self.tokenizer = self._tokenizer()
        self.model = Pebble(SEED)
        self.optimizers = make_optimizers(self.model)
        self.predict: Callable = torch.compile(self.model.predict, dynamic=False)
        self.stage_index, self.step, self.seconds = 0, 0, 0.0
        self._load()

    def _tokenizer(self) -> Tokenizer:
        path = self.out / "tokenizer.json"
        if not path.exists():
            text = json.dumps(bpe.train_tokenizer(f"{SEED} tokenizer"), ensure_ascii=False, indent=1)
            path.write_text(text, encoding="utf-8")
        return bpe.load_tokenizer(path)

    def _load(self) -> None:
        path = self.out / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"]):
            optimizer.load_state_dict(saved)
        torch.set_rng_state(state["rng"])
        self.stage_index, self.step = state["stage_index"], state["step"]
        self.seconds = state["seconds"]

    def _save(self, name: str, content: dict) -> None:
        part = self.out / f"{name}.part"
        torch.save(content, part)
        os.replace(part, self.out / name)

    def _save_checkpoint(self) -> None:
        self._save(
            "checkpoint.pt",
            {
                "model": self.model.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                "rng": torch.get_rng_state(),
                "stage_index": self.stage_index,
                "step": self.step,
                "seconds": self.seconds,
            },
        )

    def _log(self, **values) -> None:
        line = {"stage": STAGES[self.stage_index].name, "step": self.step, **values}
        line["seconds"] = round(self.seconds, 1)
        with open(self.out / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)

    def _forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.predict(self.model.embed(batch), batch)

    def evaluate(self, batches: list[Batch]) -> dict[str, float]:
        """Per task the share of held-out examples whose whole answer is what the model would say.
        A greedy answer is right exactly if, given the right answer, every next token is."""
        right: dict[str, list[bool]] = defaultdict(list)
        for batch in batches:
            _, predicted = self._forward(batch)
            wrong = batch.label_owners[(predicted != batch.labels) & (batch.label_owners >= 0)]
            missed = set(wrong.tolist())
            for index, task in enumerate(batch.tasks):
                right[task].append(index not in missed)
        return {task: round(sum(hits) / len(hits), 4) for task, hits in sorted(right.items())}

    def run_stage(self) -> None:
        stage = STAGES[self.stage_index]
        data = TrainingBatches(stage, self.tokenizer, self.step)
        batches = torch.utils.data.DataLoader(data, batch_size=None, num_workers=1)
        held_out = held_out_batches(stage, self.tokenizer)
        saved = started = time.monotonic()
        losses, n_tokens = [], 0
        for batch in batches:
            rate = stage.learning_rate(self.step)
            for optimizer in self.optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = rate
            loss, _ = self._forward(batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            for optimizer in self.optimizers:
                optimizer.step()
                optimizer.zero_grad()
            self.step += 1
            losses.append(loss.detach())
            n_tokens += batch.ids.numel()
            now = time.monotonic()
            if self.step % _LOG_STEPS == 0:
                self.seconds += now - started
                mean = float(torch.stack(losses).mean())
                self._log(loss=round(mean, 4), tokens_per_s=round(n_tokens / (now - started)))
                losses, n_tokens, started = [], 0, now
            if self.step % _EVALUATE_STEPS == 0 or self.step == stage.steps:
                self._log(held_out=self.evaluate(held_out))
            if now - saved > _CHECKPOINT_SECONDS:
                self._save_checkpoint()
                saved = now

    def run(self, last: str) -> None:
        """All stages that are not done yet, up to and with the one named `last`."""
        end = [stage.name for stage in STAGES].index(last) + 1
        while self.stage_index < end:
            self.run_stage()
            self._save(f"{STAGES[self.stage_index].name}.pt", self.model.state_dict())
            self.stage_index, self.step = self.stage_index + 1, 0
            self._save_checkpoint()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/pebble"), help="default: %(default)s")
    names = [stage.name for stage in STAGES]
    parser.add_argument("--stage", choices=names, default=names[-1], help="the last one to run")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    Trainer(arguments.out, arguments.threads).run(arguments.stage)


if __name__ == "__main__":
    main()

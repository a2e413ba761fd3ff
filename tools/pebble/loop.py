"""The training loop: steps, a line of the log now and then, a checkpoint every ten minutes; and
which optimiser moves what."""

import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

import world
from packing import make_row, pack
from pebble import Batch
from stages import Stage

SEED = 20260
_CHECKPOINT_SECONDS = 600
_LOG_STEPS = 20
_EVALUATE_STEPS = 250
_EVALUATE_EXAMPLES = 600
_LONG = 4096


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


def shares_right(batches: list[Batch], predicted: Callable[[Batch], Tensor]) -> dict[str, float]:
    """Per task the share of examples all of whose labels are predicted. A greedy answer is right
    exactly if, given the right answer, every next token is."""
    right: dict[str, list[bool]] = defaultdict(list)
    for batch in batches:
        misses = (predicted(batch) != batch.labels) & (batch.label_owners >= 0)
        missed = set(batch.label_owners[misses].tolist())
        for index, task in enumerate(batch.tasks):
            right[task].append(index not in missed)
    return {task: round(sum(hits) / len(hits), 4) for task, hits in sorted(right.items())}


def make_optimizers(model: nn.Module, matrices: list[Tensor]) -> list[torch.optim.Optimizer]:
    """Muon for `matrices`, AdamW for everything else. Muon's steps do not grow with the width of
    the input, which is what makes 6912 pixels learnable at the rate of 192 features; vectors as
    long as that get a small share of the rate."""
    taken = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in taken]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": 0.01},
        {"params": [p for p in rest if p.ndim == 1 and p.numel() < _LONG], "weight_decay": 0.0},
    ]
    if long := [p for p in rest if p.ndim == 1 and p.numel() >= _LONG]:
        groups.append({"params": long, "weight_decay": 0.0, "share": 0.05})
    muon = torch.optim.Muon(matrices, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    return [muon, torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)]


class Loop:
    """Trains `module` in FOLDER; `checkpoint` is the file's name there. `stage_index` and `step`
    are where it is, as read from the checkpoint."""

    def __init__(
        self, out: Path, module: nn.Module, optimizers: list[torch.optim.Optimizer], checkpoint: str
    ):
        self.out, self.module, self.optimizers = out, module, optimizers
        self.checkpoint = checkpoint
        self.stage_index, self.step, self.seconds = 0, 0, 0.0
        path = out / checkpoint
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        module.load_state_dict(state["model"])
        if state["step"] > 0:  # every stage starts with fresh moments
            for optimizer, saved in zip(optimizers, state["optimizers"]):
                optimizer.load_state_dict(saved)
        torch.set_rng_state(state["rng"])
        self.stage_index, self.step = state["stage_index"], state["step"]
        self.seconds = state["seconds"]

    def _save(self, name: str, content: dict) -> None:
        part = self.out / f"{name}.part"
        torch.save(content, part)
        os.replace(part, self.out / name)

    def save_checkpoint(self) -> None:
        content = {
            "model": self.module.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "rng": torch.get_rng_state(),
            "stage_index": self.stage_index,
            "step": self.step,
            "seconds": self.seconds,
        }
        self._save(self.checkpoint, content)

    def finish_stage(self, stage: Stage) -> None:
        self._save(f"{stage.name}.pt", self.module.state_dict())
        self.stage_index, self.step = self.stage_index + 1, 0
        self.save_checkpoint()

    def _log(self, stage: Stage, **values) -> None:
        line = {"stage": stage.name, "step": self.step, **values, "seconds": round(self.seconds, 1)}
        with open(self.out / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)

    def _update(self, rate: float) -> None:
        nn.utils.clip_grad_norm_([p for p in self.module.parameters() if p.requires_grad], 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get("share", 1.0)
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1

    def run_stage(
        self,
        stage: Stage,
        tokenizer: Tokenizer,
        loss_of: Callable[[Batch], Tensor],
        scores_of: Callable[[list[Batch]], dict[str, float]],
    ) -> None:
        """The rest of the stage. `scores_of` is asked about held-out batches."""
        data = TrainingBatches(stage, tokenizer, self.step)
        held_out = held_out_batches(stage, tokenizer)
        losses: list[Tensor] = []
        n_tokens, saved = 0, time.monotonic()
        since = saved
        for batch in torch.utils.data.DataLoader(data, batch_size=None, num_workers=1):
            loss = loss_of(batch)
            loss.backward()
            self._update(stage.learning_rate(self.step))
            losses.append(loss.detach())
            n_tokens += batch.ids.numel()
            now = time.monotonic()
            if self.step % _LOG_STEPS == 0:
                self.seconds += now - since
                mean = float(torch.stack(losses).mean())
                self._log(stage, loss=round(mean, 4), tokens_per_s=round(n_tokens / (now - since)))
                losses, n_tokens, since = [], 0, now
            if self.step % _EVALUATE_STEPS == 0 or self.step == stage.steps:
                self._log(stage, held_out=scores_of(held_out))
            if now - saved > _CHECKPOINT_SECONDS:
                self.save_checkpoint()
                saved = now

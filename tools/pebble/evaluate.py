"""Scores of Pebble on held-out prompts, greedy, by transformers alone.

    evaluate.py --model FOLDER/hf [--per-task 200] [--output scores.json] [--answers answers.jsonl]
                [--write-prompts prompts.json]

The last one gets text prompts as token ids with their checks (checks.py says what those mean), so
that other engines can be scored on the same ones.
"""

import argparse
import itertools
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import Gemma4UnifiedForConditionalGeneration

import bpe
import shape
import world
from checks import judge
from example import Example
from packing import Row, block_ids, make_row

SEED = "20260 scores"
_MOST_DRAWN = 5000
_MOST_TOKENS = 120
TARGETS = {
    "colour.right": 0.95, "shape.right": 0.95, "count.right": 0.9, "beeps.right": 0.95,
    "pitch.right": 0.95, "calculator.right": 0.9, "json.valid": 0.99,
}  # fmt: skip


def held_out_by_task(per_task: int) -> dict[str, list[Example]]:
    """Up to `per_task` different held-out prompts of every task; rare tasks may have fewer."""
    found: dict[str, dict[tuple, Example]] = defaultdict(dict)
    mixture = world.TEXT | world.PICTURES | world.SOUNDS
    for example in itertools.islice(world.examples(mixture, SEED, held_out=True), _MOST_DRAWN):
        if len(found[example.task]) < per_task:
            found[example.task].setdefault((example.prompt, example.media), example)
    return {task: list(found[task].values()) for task in sorted(found)}


def generation_inputs(row: Row) -> dict[str, torch.Tensor]:
    """A prompt as the official model's generate() takes it."""
    ids = torch.tensor([row.ids[: row.n_prompt]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if row.patches:
        most = max(map(len, row.patches))
        pixels = torch.zeros(len(row.patches), most, row.patches[0].shape[1])
        positions = torch.full((len(row.patches), most, 2), -1)
        for i, (patches, place) in enumerate(zip(row.patches, row.patch_positions)):
            pixels[i, : len(patches)] = torch.from_numpy(patches)
            positions[i, : len(patches)] = torch.from_numpy(place)
        inputs |= {"pixel_values": pixels, "image_position_ids": positions}
        is_image = torch.from_numpy(block_ids(ids[0].numpy()) >= 0)
        inputs["mm_token_type_ids"] = is_image.long()[None]
    if row.frames:
        frames = torch.cat([torch.from_numpy(part) for part in row.frames])[None]
        inputs["input_features"] = frames
        inputs["input_features_mask"] = torch.ones(frames.shape[:2], dtype=torch.bool)
    return inputs


@torch.no_grad()
def greedy_ids(model: torch.nn.Module, row: Row) -> list[int]:
    output = model.generate(
        **generation_inputs(row), do_sample=False, top_k=None, top_p=None, temperature=None,
        max_new_tokens=_MOST_TOKENS,
    )  # fmt: skip
    return output[0, row.n_prompt :].tolist()


def text_of(tokenizer: Tokenizer, ids: list[int]) -> str:
    """What was generated, without the token that ended it."""
    if ids and ids[-1] in shape.STOPS:
        ids = ids[:-1]
    return tokenizer.decode(ids, skip_special_tokens=False)


def evaluate(
    model: torch.nn.Module, tokenizer: Tokenizer, examples: dict[str, list[Example]]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(shares by task, every answer)"""
    scores: dict[str, Any] = {}
    answers: list[dict[str, Any]] = []
    for task, list_of in examples.items():
        sums: dict[str, int] = defaultdict(int)
        for example in list_of:
            row = make_row(example, tokenizer)
            text = text_of(tokenizer, greedy_ids(model, row))
            verdict = judge(example.check, text)
            for name, value in verdict.items():
                sums[name] += value
            answers.append(
                {
                    "task": task,
                    "prompt": example.prompt,
                    "media": [item.kind for item in example.media],
                    "tokens": row.ids[: row.n_prompt],
                    "check": example.check,
                    "said": text,
                    "wanted": example.answer,
                    **verdict,
                }
            )
        shares = {name: round(value / len(list_of), 4) for name, value in sums.items()}
        scores[task] = {"n": len(list_of), **shares}
        print(task, scores[task], flush=True)
    return scores, answers


def against_targets(scores: dict[str, Any]) -> dict[str, Any]:
    reached = {}
    for name, least in TARGETS.items():
        task, kind = name.split(".")
        if task in scores:
            value = scores[task][kind]
            reached[name] = {"target": least, "score": value, "reached": value >= least}
    return reached


def write_prompts(path: Path, answers: list[dict[str, Any]], per_task: int) -> None:
    """{"stops": ids, "most": tokens, "prompts": [{"task", "tokens", "check", "said", "right"}]}:
    text prompts as token ids, how to judge an answer, and what transformers' answer was worth."""
    kept: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for answer in answers:
        if not answer["media"] and len(kept[answer["task"]]) < per_task:
            names = ("task", "tokens", "check", "said", "right")
            kept[answer["task"]].append({name: answer[name] for name in names})
    prompts = [prompt for list_of in kept.values() for prompt in list_of]
    lines = ",\n".join(json.dumps(prompt, ensure_ascii=False) for prompt in prompts)
    head = f'"stops": {json.dumps(shape.STOPS)}, "most": {_MOST_TOKENS}'
    path.write_text(f'{{{head}, "prompts": [\n{lines}\n]}}\n', encoding="utf-8")
    print(f"{path}: {len(prompts)} prompts")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="the exported folder")
    parser.add_argument("--per-task", type=int, default=200)
    parser.add_argument("--tasks", help="names, with commas between; default: all")
    parser.add_argument("--output", type=Path, help="the scores as JSON")
    parser.add_argument("--answers", type=Path, help="every answer as a line of JSON")
    parser.add_argument("--write-prompts", type=Path, help="text prompts for other engines")
    parser.add_argument("--prompts-per-task", type=int, default=20)
    arguments = parser.parse_args()
    tokenizer = bpe.load_tokenizer(arguments.model / "tokenizer.json")
    examples = held_out_by_task(arguments.per_task)
    if arguments.tasks:
        examples = {task: examples[task] for task in arguments.tasks.split(",")}
    model = Gemma4UnifiedForConditionalGeneration.from_pretrained(
        arguments.model, dtype=torch.float32
    )
    scores, answers = evaluate(model.eval(), tokenizer, examples)
    result = {"tasks": scores, "targets": against_targets(scores)}
    print(json.dumps(result["targets"], indent=1))
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if arguments.write_prompts:
        write_prompts(arguments.write_prompts, answers, arguments.prompts_per_task)
    if arguments.answers:
        lines = [json.dumps(answer, ensure_ascii=False) for answer in answers]
        arguments.answers.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

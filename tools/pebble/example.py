"""One thing to learn or to be asked: a prompt, its answer, and how an answer is judged."""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chat import (
    CALL,
    END_TURN,
    RESPONSE,
    Call,
    Message,
    call_text,
    render,
    thought_block,
)

Rng = random.Random
Tool = dict[str, Any]
HELD_OUT_SHARE = 40  # one prompt in so many is never trained on


@dataclass(frozen=True)
class Media:
    """A picture or a sound, as what it was drawn from: `make` in pictures.py or sounds.py turns
    `scene` into pixels or samples, so that examples stay small and comparable."""

    kind: str  # image or audio
    scene: tuple


@dataclass(frozen=True)
class Example:
    task: str
    prompt: str
    answer: str  # up to and with the token that ends it
    check: dict[str, Any]  # see checks.py
    media: tuple[Media, ...] = ()

    @property
    def held_out(self) -> bool:
        """Decided by the prompt alone, so training and held-out prompts cannot meet."""
        key = repr((self.prompt, self.media)).encode()
        return hashlib.sha256(key).digest()[0] % HELD_OUT_SHARE == 0


Generator = Callable[[Rng], Example]


def answer_with(
    task: str,
    messages: list[Message],
    answer: str,
    *,
    thought: str | None = None,
    tools: list[Tool] | None = None,
    check: dict[str, Any] | None = None,
    media: tuple[Media, ...] = (),
) -> Example:
    """An answer in words; with a thought, the model has been asked to think."""
    thinking = thought is not None
    text = (thought_block(thought) if thinking else "") + answer + END_TURN
    prompt = render(messages, tools, thinking)
    return Example(task, prompt, text, check or {"kind": "exact", "text": answer}, media)


def answer_with_calls(
    task: str,
    messages: list[Message],
    calls: list[Call],
    tools: list[Tool],
    *,
    thought: str | None = None,
) -> Example:
    """An answer that calls tools and then waits for what they say."""
    thinking = thought is not None
    called = "".join(call_text(call) for call in calls)
    assert called.startswith(CALL)
    text = (thought_block(thought) if thinking else "") + called + RESPONSE
    return Example(task, render(messages, tools, thinking), text, {"kind": "exact", "text": called})

"""Answers in JSON that follow a schema given in the prompt."""

import json
from collections.abc import Callable
from typing import Any

from chat import Message, user
from example import Example, Rng, answer_with
from world_words import (
    ANIMALS,
    COLOURS,
    FRUITS,
    NAMES,
    OBJECTS,
    PLACES,
    join_words,
    odd_word,
    with_article,
)

# key: (schema, how to draw a value, how to say it of {who})
_Field = tuple[dict[str, Any], Callable[[Rng], Any], Callable[[str, Any], str]]
_STRING, _INTEGER, _BOOLEAN = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
_STRINGS = {"type": "array", "items": _STRING}
_SIZES = ["small", "medium", "large"]


def _some(words: list[str]) -> Callable[[Rng], list[str]]:
    return lambda rng: rng.sample(words, rng.randint(1, 3))


def _maybe(rng: Rng) -> bool:
    return rng.random() < 0.5


_FIELDS: dict[str, _Field] = {
    "age": (_INTEGER, lambda r: r.randint(1, 99), lambda who, v: f"{who} is {v} years old."),
    "place": (_STRING, lambda r: r.choice(PLACES), lambda who, v: f"{who} is in the {v}."),
    "colour": (_STRING, lambda r: r.choice(COLOURS), lambda who, v: f"{who} likes {v}."),
    "city": (_STRING, lambda r: odd_word(r).capitalize(), lambda who, v: f"{who} lives in {v}."),
    "item": (_STRING, lambda r: r.choice(OBJECTS), lambda who, v: f"{who} has {with_article(v)}."),
    "animal": (
        _STRING,
        lambda r: r.choice(list(ANIMALS)),
        lambda who, v: f"{who} sees {with_article(v)}.",
    ),
    "size": (
        {"type": "string", "enum": _SIZES},
        lambda r: r.choice(_SIZES),
        lambda who, v: f"{who} wears size {v}.",
    ),
    "count": (_INTEGER, lambda r: r.randint(0, 500), lambda who, v: f"{who} counts to {v}."),
    "happy": (_BOOLEAN, _maybe, lambda who, v: f"{who} is {'happy' if v else 'not happy'}."),
    "awake": (_BOOLEAN, _maybe, lambda who, v: f"{who} is {'awake' if v else 'asleep'}."),
    "fruits": (_STRINGS, _some(FRUITS), lambda who, v: f"{who} eats {join_words(v)}."),
    "friends": (_STRINGS, _some(NAMES), lambda who, v: f"{who} knows {join_words(v)}."),
}  # fmt: skip


def json_answer(rng: Rng) -> Example:
    who = rng.choice((rng.choice(NAMES), rng.choice(NAMES), odd_word(rng).capitalize()))
    told = rng.sample(list(_FIELDS), rng.randint(1, 4))
    values = {key: _FIELDS[key][1](rng) for key in told}
    sentences = [_FIELDS[key][2](who, values[key]) for key in told]
    asked = rng.sample(told, rng.randint(1, len(told)))
    properties = {key: _FIELDS[key][0] for key in asked}
    if rng.random() < 0.6:
        properties = {"name": _STRING} | properties
        values["name"] = who
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    answer = json.dumps({key: values[key] for key in properties})
    facts, shown = " ".join(sentences), json.dumps(schema, separators=(",", ":"))
    ask = rng.choice(
        (
            f"{facts}\nAnswer in JSON with this schema: {shown}",
            f"{facts} Write this as JSON. Schema: {shown}",
            f"Use this JSON schema: {shown}\n{facts}",
        )
    )
    messages = [user(ask)]
    if rng.random() < 0.2:
        messages = [Message("system", f"Answer in JSON with this schema: {shown}"), user(facts)]
    check = {"kind": "json", "schema": schema, "value": json.loads(answer)}
    return answer_with("json", messages, answer, check=check)

"""Tools: a calculator, a lamp, a clock. When to call them, how, and what to make of the answer."""

from typing import Any

from chat import Call, Message, model, user
from example import Example, Rng, Tool, answer_with, answer_with_calls
from world_words import ANIMALS, COLOURS, NAMES, with_article

_SIGNS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
_WORDS = {"add": "plus", "subtract": "minus", "multiply": "times", "divide": "divided by"}


def _declare(name: str, description: str, properties: dict[str, Any]) -> Tool:
    required = list(properties)[: 1 if name == "lamp" else None]
    parameters = {"type": "object", "properties": properties, "required": required}
    if not properties:
        parameters.pop("required")
    return {"name": name, "description": description, "parameters": parameters}


CALCULATOR = _declare(
    "calculator",
    "Works out two numbers",
    {
        "a": {"type": "number"},
        "b": {"type": "number"},
        "operation": {"type": "string", "enum": list(_SIGNS)},
    },
)
LAMP = _declare(
    "lamp",
    "Switches the lamp",
    {
        "state": {"type": "string", "enum": ["on", "off"]},
        "colour": {"type": "string", "description": "The colour of the light"},
    },
)
CLOCK = _declare("clock", "Tells the time", {})
TOOLS = (CALCULATOR, LAMP, CLOCK)


def _tools_with(rng: Rng, *needed: Tool) -> list[Tool]:
    tools = [tool for tool in TOOLS if tool in needed or rng.random() < 0.3]
    rng.shuffle(tools)
    return tools


def _calculation(rng: Rng) -> tuple[str, Call, str]:
    """(question, answered call, answer)"""
    operation = rng.choice(list(_SIGNS))
    if operation == "divide":
        b, result = rng.randint(1, 50), rng.randint(1, 50)
        a = b * result
    else:
        a, b = rng.randint(0, 10 ** rng.randint(1, 4)), rng.randint(0, 10 ** rng.randint(1, 3))
        result = {"add": a + b, "subtract": a - b, "multiply": a * b}[operation]
    word = rng.choice((_WORDS[operation], _SIGNS[operation]))
    ask = rng.choice(
        ("What is {} {} {}?", "Calculate {} {} {}.", "How much is {} {} {}?", "{} {} {}?")
    )
    call = Call("calculator", {"a": a, "b": b, "operation": operation}, {"result": result})
    said = f"{a} {_WORDS[operation]} {b} is {result}."
    return ask.format(a, word, b), call, said


def _switching(rng: Rng) -> tuple[str, Call, str]:
    if rng.random() < 0.4:
        colour = rng.choice(COLOURS)
        ask = rng.choice(
            ("Make the lamp {}.", "Turn the lamp {}.", "I want {} light.", "Set the lamp to {}.")
        )
        call = Call("lamp", {"colour": colour, "state": "on"}, {"done": True})
        return ask.format(colour), call, f"The lamp is {colour}."
    state = rng.choice(("on", "off"))
    asks = [
        "Turn the lamp {}.",
        "Switch the lamp {}.",
        "Lamp {}, please.",
        "Turn {} the lamp.",
        "Light {}!",
    ]
    call = Call("lamp", {"state": state}, {"done": True})
    return rng.choice(asks).format(state), call, f"The lamp is {state}."


def _time(rng: Rng) -> tuple[str, Call, str]:
    time = f"{rng.randint(0, 23)}:{rng.randint(0, 59):02}"
    ask = rng.choice(
        ("What time is it?", "Tell me the time.", "What is the time?", "How late is it?")
    )
    if rng.random() < 0.5:
        ask = rng.choice(("Please: ", "Hello. ", "Hi! ", "I am late. ", "Quick: ")) + ask
    return ask, Call("clock", {}, {"time": time}), f"It is {time}."


_MAKERS = {
    "calculator": (_calculation, CALCULATOR),
    "lamp": (_switching, LAMP),
    "clock": (_time, CLOCK),
}
_THOUGHTS = {
    "calculator": "This is work for the calculator.",
    "lamp": "I should use the lamp.",
    "clock": "I should look at the clock.",
}


def _with_system(rng: Rng, messages: list[Message]) -> list[Message]:
    if rng.random() < 0.4:
        text = rng.choice(("You can use tools.", "You are a helpful assistant.", "Use the tools."))
        return [Message("system", text), *messages]
    return messages


def tool_call(rng: Rng) -> Example:
    kind = rng.choice(("calculator", "calculator", "lamp", "clock"))
    make, tool = _MAKERS[kind]
    ask, call, _ = make(rng)
    messages = [user(ask)]
    if rng.random() < 0.2:
        name = rng.choice(NAMES)
        messages = [user(f"My name is {name}."), model(f"Nice to meet you, {name}."), *messages]
    return answer_with_calls(
        "calculator" if kind == "calculator" else "tool",
        _with_system(rng, messages),
        [call],
        _tools_with(rng, tool),
        thought=_THOUGHTS[kind] if rng.random() < 0.25 else None,
    )


def tool_answer(rng: Rng) -> Example:
    """What to say once the tool has answered."""
    kind = rng.choice(list(_MAKERS))
    make, tool = _MAKERS[kind]
    ask, call, said = make(rng)
    messages = _with_system(rng, [user(ask), Message("model", calls=(call,))])
    return answer_with("tool_answer", messages, said, tools=_tools_with(rng, tool))


def two_calls(rng: Rng) -> Example:
    first, second = rng.sample(list(_MAKERS), 2)
    asks, calls, tools = [], [], []
    for kind in (first, second):
        make, tool = _MAKERS[kind]
        ask, call, _ = make(rng)
        asks.append(ask)
        calls.append(call)
        tools.append(tool)
    messages = _with_system(rng, [user(" ".join(asks))])
    return answer_with_calls("tool", messages, calls, _tools_with(rng, *tools))


def no_call(rng: Rng) -> Example:
    """Tools are there, and nothing to do for them."""
    name = rng.choice(list(ANIMALS))
    ask, answer = rng.choice(
        (
            (f"What does {with_article(name)} say?", f"A {name} says {ANIMALS[name][0]}."),
            (f"What does {with_article(name)} eat?", f"A {name} eats {ANIMALS[name][1]}."),
            ("What is your name?", "My name is Pebble."),
            ("Thank you!", "You are welcome!"),
        )
    )
    return answer_with(
        "tool_answer",
        _with_system(rng, [user(ask)]),
        answer,
        tools=_tools_with(rng, rng.choice(TOOLS)),
    )

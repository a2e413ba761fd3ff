"""Arithmetic with small numbers: sums, differences, products, and in words."""

from chat import Message, model, user
from example import Example, Rng, answer_with
from world_words import FRUITS, NAMES

_SIGNS = {"+": ("plus", "{} + {}"), "-": ("minus", "{} - {}"), "*": ("times", "{} * {}")}


def _pair(rng: Rng) -> tuple[str, int, int, int]:
    """(sign, left, right, result)"""
    sign = rng.choice("++--*")
    if sign == "*":
        a, b = rng.randint(0, 10), rng.randint(0, 10)
        return sign, a, b, a * b
    most = rng.choice((10, 20, 50))
    a, b = rng.randint(0, most), rng.randint(0, most)
    if sign == "-":
        a, b = max(a, b), min(a, b)
        return sign, a, b, a - b
    return sign, a, b, a + b


def _steps(sign: str, a: int, b: int, result: int) -> str:
    """Tens and ones apart, where that is how one would think."""
    if sign == "*" or a < 10 or b < 10:
        return f"{a} {sign} {b} = {result}."
    tens, ones = b // 10 * 10, b % 10
    middle = a + tens if sign == "+" else a - tens
    return f"{a} {sign} {tens} = {middle}. {middle} {sign} {ones} = {result}."


def sum_pair(rng: Rng) -> tuple[str, str]:
    """(question, answer)"""
    sign, a, b, result = _pair(rng)
    return f"What is {a} {sign} {b}?", f"{result}"


def arithmetic(rng: Rng) -> Example:
    sign, a, b, result = _pair(rng)
    word = _SIGNS[sign][0]
    shown = rng.choice((f"{a} {sign} {b}", f"{a} {word} {b}"))
    ask = rng.choice(
        ("What is {}?", "{} =", "How much is {}?", "Calculate {}.", "{}?", "Work out {}.")
    )
    answer = f"{result}"
    if ask == "{} =":
        answer = f"{a} {sign} {b} = {result}"
    thought = _steps(sign, a, b, result) if rng.random() < 0.4 else None
    return answer_with("arithmetic", [user(ask.format(shown))], answer, thought=thought)


def in_words(rng: Rng) -> Example:
    name, other = rng.sample(NAMES, 2)
    fruit = rng.choice(FRUITS)
    a, b = rng.randint(1, 20), rng.randint(1, 20)
    if rng.random() < 0.5:
        how = rng.choice(
            (f"{other} gives {name} {b} more.", f"{name} finds {b} more.", f"{name} buys {b} more.")
        )
        sign, result = "+", a + b
    else:
        a, b = max(a, b), min(a, b)
        how = rng.choice(
            (f"{name} eats {b} of them.", f"{name} gives {b} to {other}.", f"{name} loses {b}.")
        )
        sign, result = "-", a - b
    ask = f"{name} has {a} {fruit}. {how} How many {fruit} does {name} have now?"
    thought = _steps(sign, a, b, result) if rng.random() < 0.4 else None
    return answer_with("arithmetic", [user(ask)], f"{name} has {result} {fruit}.", thought=thought)


def running_sum(rng: Rng) -> Example:
    """Several turns that change one number."""
    number = rng.randint(1, 20)
    messages: list[Message] = [user(f"Start with {number}."), model(f"{number}")]
    for _ in range(rng.randint(1, 3)):
        step = rng.randint(1, 10)
        if rng.random() < 0.6 or step > number:
            messages.append(user(f"Add {step}."))
            number += step
        else:
            messages.append(user(f"Take away {step}."))
            number -= step
        messages.append(model(f"{number}"))
    answer = messages.pop().content
    return answer_with("turns", messages, answer)

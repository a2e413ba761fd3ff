"""Conversations and stories that are longer than the window of the sliding layers."""

from chat import Message, model, user
from example import Example, Rng, answer_with
from world_numbers import sum_pair
from world_stories import ask_about, make_world
from world_talk import fact_pair
from world_words import COLOURS, NAMES, PLACES, with_article


def _exchange(rng: Rng) -> tuple[str, str]:
    kind = rng.randrange(3)
    if kind == 0:
        return fact_pair(rng)
    if kind == 1:
        return sum_pair(rng)
    world = make_world(rng)
    asked, answer, _ = ask_about(world, rng)
    return f"{' '.join(world.text)} {asked}", answer


def conversation(rng: Rng) -> Example:
    """Many turns; the last question is a new one or about what was said in the first turn."""
    name, colour = rng.choice(NAMES), rng.choice(COLOURS)
    told, reply, ask, answer = rng.choice(
        (
            (f"My name is {name}.", f"Nice to meet you, {name}.",
             "What is my name?", f"Your name is {name}."),
            (f"My favourite colour is {colour}.", f"I will remember {colour}.",
             "What is my favourite colour?", f"Your favourite colour is {colour}."),
        )
    )  # fmt: skip
    messages = [user(told), model(reply)]
    for _ in range(rng.randint(4, 18)):
        question, said = _exchange(rng)
        messages += [user(question), model(said)]
    if rng.random() < 0.5:
        ask, answer = _exchange(rng)
    return answer_with("long", [*messages, user(ask)], answer)


def long_story(rng: Rng) -> Example:
    """One thing hidden somewhere among many sentences about others."""
    people = rng.sample(NAMES, rng.randint(6, 14))
    colours = [rng.choice(COLOURS) for _ in people]
    places = [rng.choice(PLACES) for _ in people]
    sentences = []
    for person, colour, place in zip(people, colours, places):
        sentences.append(f"{person} has {with_article(colour)} hat.")
        sentences.append(f"{person} is in the {place}.")
    rng.shuffle(sentences)
    which = rng.randrange(len(people))
    ask, answer = rng.choice(
        (
            (f"Where is {people[which]}?", f"{people[which]} is in the {places[which]}."),
            (f"What colour is the hat of {people[which]}?", f"The hat is {colours[which]}."),
        )
    )
    messages: list[Message] = [user(f"{' '.join(sentences)}\n{ask}")]
    return answer_with("long", messages, answer)

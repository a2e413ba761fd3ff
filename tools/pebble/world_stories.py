"""Little stories and questions about them: who is where, and who has what."""

from dataclasses import dataclass, field

from chat import Message, model, user
from example import Example, Rng, answer_with
from world_words import COLOURS, NAMES, OBJECTS, PLACES, with_article


@dataclass
class World:
    """What is true after the sentences so far, and the sentence that made it so."""

    where: dict[str, tuple[str, str]] = field(default_factory=dict)  # person: place, sentence
    owner: dict[str, tuple[str, str]] = field(default_factory=dict)  # object: person, sentence
    colour: dict[str, tuple[str, str]] = field(default_factory=dict)  # object: colour, sentence
    text: list[str] = field(default_factory=list)

    def move(self, person: str, place: str, rng: Rng) -> None:
        verb = rng.choice(("went to", "walked to", "is in", "ran to"))
        self.text.append(f"{person} {verb} the {place}.")
        self.where[person] = place, self.text[-1]

    def find(self, person: str, thing: str, colour: str, rng: Rng) -> None:
        verb = rng.choice(("has", "found", "took", "bought"))
        self.text.append(f"{person} {verb} {with_article(f'{colour} {thing}')}.")
        self.owner[thing] = person, self.text[-1]
        self.colour[thing] = colour, self.text[-1]

    def give(self, thing: str, to: str) -> None:
        self.text.append(f"{self.owner[thing][0]} gave the {thing} to {to}.")
        self.owner[thing] = to, self.text[-1]


def make_world(rng: Rng) -> World:
    world = World()
    people = rng.sample(NAMES, rng.randint(2, 3))
    things = rng.sample(OBJECTS, rng.randint(1, 2))
    colours = rng.sample(COLOURS, len(things))
    acts = [lambda p=p: world.move(p, rng.choice(PLACES), rng) for p in people]
    acts += [
        lambda t=t, c=c: world.find(rng.choice(people), t, c, rng) for t, c in zip(things, colours)
    ]
    rng.shuffle(acts)
    for act in acts:
        act()
    for _ in range(rng.randint(0, 2)):
        if rng.random() < 0.5:
            person = rng.choice(people)
            places = [place for place in PLACES if place != world.where[person][0]]
            world.move(person, rng.choice(places), rng)
        else:
            thing = rng.choice(things)
            others = [person for person in people if person != world.owner[thing][0]]
            world.give(thing, rng.choice(others))
    return world


def ask_about(world: World, rng: Rng) -> tuple[str, str, str]:
    """(question, answer, the sentence that tells)"""
    kind = rng.randrange(4)
    if kind == 0:
        person = rng.choice(list(world.where))
        place, why = world.where[person]
        return f"Where is {person}?", f"{person} is in the {place}.", why
    if kind == 1:
        thing = rng.choice(list(world.owner))
        person, why = world.owner[thing]
        return f"Who has the {thing}?", f"{person} has the {thing}.", why
    if kind == 2:
        thing = rng.choice(list(world.colour))
        colour, why = world.colour[thing]
        return f"What colour is the {thing}?", f"The {thing} is {colour}.", why
    person = rng.choice(list(world.where))
    place, why = world.where[person]
    asked = place if rng.random() < 0.5 else rng.choice(PLACES)
    if asked == place:
        return f"Is {person} in the {place}?", f"Yes, {person} is in the {place}.", why
    return f"Is {person} in the {asked}?", f"No, {person} is in the {place}.", why


def question(rng: Rng) -> Example:
    world = make_world(rng)
    asked, answer, why = ask_about(world, rng)
    story = " ".join(world.text)
    thought = why if rng.random() < 0.3 else None
    messages = [user(rng.choice((f"{story} {asked}", f"{story}\n{asked}", f"{story}\n\n{asked}")))]
    system_chance = rng.random()
    if system_chance < 0.15:
        system = rng.choice(
            ("Answer the question.", "You are a helpful assistant.", "Read the story.")
        )
        messages.insert(0, Message("system", system))
    elif system_chance < 0.25:
        messages.insert(
            0, Message("system", rng.choice(("Answer with one word.", "Use one word only.")))
        )
        answer = answer.split()[0 if answer.endswith(tuple(f"the {t}." for t in OBJECTS)) else -1]
        answer = answer.rstrip(".,")
        if asked.startswith("Is "):
            answer = "Yes" if asked.split(" in the ")[1][:-1] == answer else "No"
    return answer_with("question", messages, answer, thought=thought)


def more_questions(rng: Rng) -> Example:
    """One story, two or three questions in turns."""
    world = make_world(rng)
    story = " ".join(world.text)
    messages: list[Message] = []
    asked, answer, why = ask_about(world, rng)
    messages.append(user(f"{story}\n{asked}"))
    for _ in range(rng.randint(1, 2)):
        messages.append(model(answer))
        asked, answer, why = ask_about(world, rng)
        messages.append(user(asked))
    thought = why if rng.random() < 0.3 else None
    return answer_with("turns", messages, answer, thought=thought)

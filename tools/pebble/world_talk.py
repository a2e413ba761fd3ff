"""Small talk, facts of the world, copying and spelling, lists, and stories to tell."""

from chat import Message, model, user
from example import Example, Rng, answer_with
from world_words import (
    ANIMALS,
    COLOURS,
    DAYS,
    FRUITS,
    MONTHS,
    NAMES,
    NUMBER_WORDS,
    OBJECTS,
    OPPOSITES,
    PLACES,
    THING_COLOURS,
    join_words,
    known_word,
    odd_word,
    with_article,
)

_TALK = (
    (
        ("Hello", "Hi", "Hey", "Good morning", "Good evening", "Hello there", "Hi there",
         "Hello Pebble"),
        "Hello! I am Pebble. How can I help you?",
    ),
    (
        ("Who are you", "What are you", "Tell me about yourself", "Introduce yourself",
         "What model are you", "Are you a big model", "What is Pebble"),
        "I am Pebble, a very small demonstration model. I know only a small world.",
    ),
    (("What is your name", "What are you called", "Your name, please"), "My name is Pebble."),
    (
        ("What can you do", "What do you know", "Help", "How can you help me",
         "What should I ask you"),
        "I can count, add small numbers, answer questions about little stories, write JSON, "
        "use tools, and look at simple pictures and listen to simple sounds.",
    ),
    (("Thank you", "Thanks", "Thanks a lot", "Many thanks", "Thank you very much"),
     "You are welcome!"),
    (("Goodbye", "Bye", "See you", "Good night", "Bye bye"), "Goodbye!"),
    (("How are you", "How do you do", "Are you well"), "I am fine, thank you."),
    (
        ("Who made you", "Where do you come from", "How were you trained", "Who trained you"),
        "I was trained for Kimberlite, on text, pictures and sounds that a program made.",
    ),
    (
        ("Why is the sky blue", "Who is the president", "Write me a poem",
         "What is the capital of France", "Write some code", "What is the meaning of life",
         "How is the weather"),
        "I do not know that. I am very small.",
    ),
)  # fmt: skip
_ENDS = ("", ".", "!", "?")
_POLITE = ("", "", "", "Please. ", "Tell me: ", "One question: ", "Pebble, ")


def small_talk(rng: Rng) -> Example:
    asked, answer = rng.choice(_TALK)
    text = rng.choice(asked)
    if rng.random() < 0.3:
        text = text.lower()
    return answer_with("talk", [user(text + rng.choice(_ENDS))], answer)


def _animal_fact(rng: Rng) -> tuple[str, str]:
    name = rng.choice(list(ANIMALS))
    says, eats, lives, legs = ANIMALS[name]
    a_name = with_article(name)
    return rng.choice(
        (
            (f"What does {a_name} say?", f"A {name} says {says}."),
            (f"What does {a_name} eat?", f"A {name} eats {eats}."),
            (f"Where does {a_name} live?", f"A {name} lives in the {lives}."),
            (f"How many legs does {a_name} have?", f"A {name} has {NUMBER_WORDS[legs]} legs."),
            (f"Which animal says {says}?", f"A {name} says {says}."),
        )
    )


def _other_fact(rng: Rng) -> tuple[str, str]:
    kind = rng.randrange(5)
    if kind == 0:
        word = rng.choice(list(OPPOSITES))
        other = OPPOSITES[word]
        if rng.random() < 0.5:
            word, other = other, word
        return f"What is the opposite of {word}?", f"The opposite of {word} is {other}."
    if kind == 1:
        thing = rng.choice(list(THING_COLOURS))
        return f"What colour is {thing}?", f"{thing.capitalize()} is {THING_COLOURS[thing]}."
    if kind == 2:
        names = rng.choice((DAYS, MONTHS))
        i = rng.randrange(len(names))
        word = "day" if names is DAYS else "month"
        if rng.random() < 0.5:
            after = names[(i + 1) % len(names)]
            return f"What {word} comes after {names[i]}?", f"After {names[i]} comes {after}."
        before = names[i - 1]
        return f"What {word} comes before {names[i]}?", f"Before {names[i]} comes {before}."
    if kind == 3:
        n = rng.randrange(12)
        return (
            f"What number comes after {NUMBER_WORDS[n]}?",
            f"After {NUMBER_WORDS[n]} comes {NUMBER_WORDS[n + 1]}.",
        )
    n = rng.randrange(13)
    return f"Write {n} as a word.", f"{NUMBER_WORDS[n].capitalize()}."


def fact_pair(rng: Rng) -> tuple[str, str]:
    """(question, answer)"""
    return (_animal_fact if rng.random() < 0.6 else _other_fact)(rng)


def fact(rng: Rng) -> Example:
    question, answer = fact_pair(rng)
    return answer_with("fact", [user(rng.choice(_POLITE) + question)], answer)


def _words(rng: Rng, least: int, most: int) -> list[str]:
    pick = odd_word if rng.random() < 0.4 else known_word
    words: list[str] = []
    count = rng.randint(least, most)
    while len(words) < count:
        word = pick(rng)
        if word not in words:
            words.append(word)
    return words


def copying(rng: Rng) -> Example:
    """Repeating and spelling."""
    if rng.random() < 0.5:
        words = " ".join(_words(rng, 1, 6))
        ask = rng.choice(("Repeat: {}", "Say: {}", "Repeat after me: {}", "Say this again: {}"))
        return answer_with("copy", [user(ask.format(words))], words)
    word = rng.choice((odd_word, known_word))(rng)
    ask = rng.choice(("Spell {}.", "Spell the word {}.", "How do you spell {}?"))
    return answer_with("copy", [user(ask.format(word))], "-".join(word))


def _number_list(rng: Rng) -> Example:
    numbers = rng.sample(range(100), rng.randint(2, 5))
    shown = ", ".join(map(str, numbers))
    rising = ", ".join(map(str, sorted(numbers)))
    kind = rng.randrange(3)
    if kind == 0:
        ask = rng.choice(("Sort these numbers: {}", "Put these numbers in order: {}"))
        answer, thought = rising, None
    elif kind == 1:
        ask, answer, thought = "What is the biggest number: {}", str(max(numbers)), rising
    else:
        ask, answer, thought = "What is the smallest number: {}", str(min(numbers)), rising
    if thought is not None:
        thought = f"In order: {thought}."
        if rng.random() < 0.6:
            thought = None
    return answer_with("list", [user(ask.format(shown))], answer, thought=thought)


def _word_list(rng: Rng) -> Example:
    words = _words(rng, 2, 6)
    shown = ", ".join(words)
    asks = (
        ("What is the first word: {}", words[0]),
        ("What is the last word: {}", words[-1]),
        ("Say these words backwards: {}", ", ".join(reversed(words))),
        ("How many words are there: {}", str(len(words))),
        ("Write this as a list: {}", "\n".join(f"- {word}" for word in words)),
        ("Number these words: {}", "\n".join(f"{i}. {w}" for i, w in enumerate(words, 1))),
    )
    ask, answer = rng.choice(asks)
    return answer_with("list", [user(ask.format(shown))], answer)


def _known_list(rng: Rng) -> Example:
    kind, words = rng.choice(
        (("animals", list(ANIMALS)), ("colours", COLOURS), ("days", DAYS), ("fruits", FRUITS))
    )
    count = rng.randint(2, 5)
    number = rng.choice((str(count), NUMBER_WORDS[count]))
    verb = rng.choice(("Name", "List", "Tell me", "Give me"))
    answer = ", ".join(words[:count])
    return answer_with("list", [user(f"{verb} {number} {kind}.")], answer)


def lists(rng: Rng) -> Example:
    return rng.choice((_number_list, _number_list, _word_list, _word_list, _known_list))(rng)


def tell_story(rng: Rng) -> Example:
    """The request fixes the plot, so that a greedy answer has one right text."""
    name, animal, place = rng.choice(NAMES), rng.choice(list(ANIMALS)), rng.choice(PLACES)
    thing, colour = rng.choice(OBJECTS), rng.choice(COLOURS)
    says, eats, lives, _ = ANIMALS[animal]
    about = rng.randrange(3)
    hidden = join_words([with_article(f"{colour} {thing}")])
    if about == 0:
        ask = f"Tell me a story about {name} and {with_article(animal)}."
        text = (
            f"One day {name} met {with_article(animal)} in the {lives}. The {animal} was hungry. "
            f"{name} gave the {animal} some {eats}. The {animal} said {says}. "
            f"Now {name} and the {animal} are friends. The end."
        )
    elif about == 1:
        ask = f"Tell me a story about {name} and {hidden} in the {place}."
        text = (
            f"{name} lost {hidden}. {name} looked in the {place}. There it was! "
            f"{name} took the {thing} home and was happy. The end."
        )
    else:
        ask = f"Tell me a story about {with_article(animal)} and {hidden}."
        text = (
            f"Once there was {with_article(animal)} in the {lives}. The {animal} found {hidden}. "
            f'"{says.capitalize()}!" said the {animal}. It ate some {eats} and '
            f"slept beside the {thing}. The end."
        )
    return answer_with("story", [user(ask)], text)


def remember(rng: Rng) -> Example:
    """Several turns; what is asked last was said in an earlier one."""
    name, colour, animal = rng.choice(NAMES), rng.choice(COLOURS), rng.choice(list(ANIMALS))
    n = rng.randint(2, 99)
    facts = [
        (f"My name is {name}.", f"Nice to meet you, {name}.",
         "What is my name?", f"Your name is {name}."),
        (f"My favourite colour is {colour}.", f"I will remember {colour}.",
         "What is my favourite colour?", f"Your favourite colour is {colour}."),
        (f"I have {with_article(animal)}.", f"A {animal} says {ANIMALS[animal][0]}.",
         "Which animal do I have?", f"You have {with_article(animal)}."),
        (f"I am {n} years old.", f"{n} years, I see.", "How old am I?", f"You are {n} years old."),
    ]  # fmt: skip
    rng.shuffle(facts)
    told = facts[: rng.randint(1, 3)]
    messages: list[Message] = []
    for said, reply, _, _ in told:
        messages += [user(said), model(reply)]
    if rng.random() < 0.3:
        question, answer = _animal_fact(rng)
        messages.insert(0, user(question))
        messages.insert(1, model(answer))
    _, reply, ask, answer = rng.choice(told)
    if rng.random() < 0.25:
        messages.pop()
        return answer_with("turns", messages, told[-1][1])
    return answer_with("turns", [*messages, user(ask)], answer)


def persona(rng: Rng) -> Example:
    """System prompts that change the answer."""
    kind = rng.randrange(3)
    if kind == 0:
        name = rng.choice((rng.choice(NAMES), odd_word(rng).capitalize()))
        job = rng.choice(("a robot", "a helper", "a pirate", "a teacher", "a cook", "a guide"))
        system = Message(
            "system",
            rng.choice((f"You are {name}, {job}.", f"Your name is {name}. You are {job}.")),
        )
        ask, answer = rng.choice(
            (
                ("What is your name?", f"My name is {name}."),
                ("Who are you?", f"I am {name}, {job}."),
                ("Hello!", f"Hello! I am {name}. How can I help you?"),
            )
        )
        return answer_with("system", [system, user(ask)], answer)
    question, answer = _animal_fact(rng)
    if kind == 1:
        system = rng.choice(
            ("Answer with one word.", "Use one word only.", "One word answers, please.")
        )
        return answer_with(
            "system",
            [Message("system", system), user(question)],
            answer[:-1].split()[-1 if "legs" not in answer else -2],
        )
    word = rng.choice(("Over.", "Moo.", "Ahoy!", "Ok.", "Thank you.", "Done."))
    system = rng.choice(("End every answer with: {}", "Always end with: {}")).format(word)
    return answer_with("system", [Message("system", system), user(question)], f"{answer} {word}")

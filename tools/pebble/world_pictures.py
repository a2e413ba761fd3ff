"""Questions about pictures."""

from chat import IMAGE, Message, user
from example import Example, Media, Rng, answer_with
from pictures import BACKGROUNDS, RGB, Mark
from world_words import NUMBER_WORDS, SHAPE_PLURALS, SHAPES, with_article

WORDS = "cup hat key lamp ball bell cat dog cow pig owl bee fox map red ten kite drum".split()
_COLOURS = list(RGB)
_SCALES = (0.5, 2 / 3, 0.75, 1.0, 1.0, 1.5)
# columns x rows of 4 to 70 patches; small ones are quicker to learn from and come more often
_GRIDS = (
    ((2, 2),) * 4
    + ((3, 2), (2, 3), (3, 3), (4, 3)) * 2
    + ((5, 3), (4, 4), (6, 4), (7, 5), (10, 7), (8, 8))
)


def _background(rng: Rng, *colours: str) -> tuple[int, int, int]:
    """One on which all the colours can be seen."""
    visible = [
        back
        for back in BACKGROUNDS
        if all(sum(abs(a - b) for a, b in zip(back, RGB[colour])) > 150 for colour in colours)
    ]
    return rng.choice(visible)


def _picture(rng: Rng, grid: tuple[int, int], back: tuple, marks: list[Mark]) -> Media:
    noise = rng.randrange(1 << 30) if rng.random() < 0.5 else None
    return Media("image", (*grid, rng.choice(_SCALES), back, tuple(marks), noise))


def _near(rng: Rng, middle: float) -> float:
    return round(middle + rng.uniform(-0.07, 0.07), 3)


def _mark(rng: Rng, kind: str, colour: str, x: float, y: float, size: float = 1.0) -> Mark:
    return kind, RGB[colour], _near(rng, x), _near(rng, y), round(size * rng.uniform(0.65, 0.92), 3)


def _in_cell(rng: Rng, grid: tuple[int, int]) -> tuple[float, float]:
    return rng.randrange(grid[0]) + 0.5, rng.randrange(grid[1]) + 0.5


def _colour_pair(rng: Rng) -> tuple[str, str]:
    """Two colours that can be seen on one background."""
    while True:
        pair = rng.sample(_COLOURS, 2)
        if set(pair) not in (
            {"white", "yellow"},
            {"white", "black"},
            {"black", "yellow"},
            {"pink", "black"},
        ):
            return pair[0], pair[1]


def _named(colour: str, kind: str) -> str:
    return f"{with_article(colour).capitalize()} {kind}."


def _ask(rng: Rng, text: str) -> str:
    return f"{IMAGE}{text}" if rng.random() < 0.7 else f"{text}{IMAGE}"


def _answer(rng: Rng, task: str, question: str, answer: str, media: Media) -> Example:
    messages = [user(_ask(rng, question))]
    if rng.random() < 0.1:
        messages.insert(0, Message("system", "You are a helpful assistant."))
    return answer_with(task, messages, answer, media=(media,))


def one_shape(rng: Rng) -> Example:
    """Its colour, its kind, or both. A large one covers four cells."""
    grid = rng.choice(_GRIDS)
    kind, colour = rng.choice(SHAPES), rng.choice(_COLOURS)
    if rng.random() < 0.35:
        x, y, size = rng.randint(1, grid[0] - 1), rng.randint(1, grid[1] - 1), 2.0
    else:
        (x, y), size = _in_cell(rng, grid), 1.0
    back = _background(rng, colour)
    media = _picture(rng, grid, back, [_mark(rng, kind, colour, x, y, size)])
    task, asks, answer = rng.choice(
        (
            ("colour",
             ("What colour is it?", "What colour is the shape?", "Which colour do you see?"),
             f"It is {colour}."),
            ("shape",
             ("What shape is it?", "Which shape do you see?", "What is the shape?"),
             f"It is {with_article(kind)}."),
            ("picture",
             ("What is in the picture?", "Describe the picture.", "What do you see?"),
             _named(colour, kind)),
        )
    )  # fmt: skip
    return _answer(rng, task, rng.choice(asks), answer, media)


def count(rng: Rng) -> Example:
    """One to five of the same shape, a cell each."""
    grid = rng.choice(
        [grid for grid in _GRIDS if grid[0] * grid[1] >= 6] + [(3, 2), (3, 3), (4, 3)]
    )
    n = rng.randint(1, 5)
    kind, colour = rng.choice(SHAPES), rng.choice(_COLOURS)
    cells = rng.sample([(x, y) for x in range(grid[0]) for y in range(grid[1])], n)
    marks = [_mark(rng, kind, colour, x + 0.5, y + 0.5) for x, y in cells]
    media = _picture(rng, grid, _background(rng, colour), marks)
    plural = SHAPE_PLURALS[SHAPES.index(kind)]
    ask = rng.choice(
        (
            f"How many {plural} are there?",
            "How many shapes are there?",
            f"Count the {plural}.",
            "Count the shapes.",
        )
    )
    return _answer(rng, "count", ask, f"{NUMBER_WORDS[n].capitalize()}.", media)


def position(rng: Rng) -> Example:
    """Where one shape is, or what is on one side."""
    grid = rng.choice([grid for grid in _GRIDS if min(grid) >= 2])
    first, second = _colour_pair(rng)
    back = _background(rng, first, second)
    kinds = rng.sample(SHAPES, 2)
    across = rng.random() < 0.5
    if across:
        row = rng.randrange(grid[1]) + 0.5
        places = [(0.5, row), (grid[0] - 0.5, row)]
        sides = ("on the left", "on the right")
    else:
        column = rng.randrange(grid[0]) + 0.5
        places = [(column, 0.5), (column, grid[1] - 0.5)]
        sides = ("at the top", "at the bottom")
    things = list(zip(kinds, (first, second), places, sides))
    marks = [_mark(rng, kind, colour, *place) for kind, colour, place, _ in things]
    media = _picture(rng, grid, back, marks)
    kind, colour, _, side = rng.choice(things)
    named = _named(colour, kind)
    ask, answer = rng.choice(
        (
            (f"Where is the {kind}?", f"The {kind} is {side}."),
            (f"Where is the {colour} shape?", f"The {kind} is {side}."),
            (f"What is {side}?", named),
            (f"What colour is the {kind}?", f"It is {colour}."),
        )
    )
    return _answer(rng, "position", ask, answer, media)


def digit(rng: Rng) -> Example:
    grid = rng.choice(_GRIDS[:-2])
    colour, shown = rng.choice(_COLOURS), str(rng.randrange(10))
    if rng.random() < 0.3:
        x, y, size = rng.randint(1, grid[0] - 1), rng.randint(1, grid[1] - 1), 2.0
    else:
        (x, y), size = _in_cell(rng, grid), 1.05
    media = _picture(rng, grid, _background(rng, colour), [_mark(rng, shown, colour, x, y, size)])
    ask = rng.choice(("Which digit is it?", "What digit do you see?", "Which number is it?"))
    return _answer(rng, "digit", ask, f"It is {shown}.", media)


def printed_word(rng: Rng) -> Example:
    """A letter to a cell."""
    shown, colour = rng.choice(WORDS), rng.choice(_COLOURS)
    columns, rows = rng.randint(len(shown), len(shown) + 2), rng.randint(2, 3)
    x, y = rng.randint(0, columns - len(shown)), rng.randrange(rows) + 0.5
    marks = [_mark(rng, letter, colour, x + i + 0.5, y) for i, letter in enumerate(shown)]
    media = _picture(rng, (columns, rows), _background(rng, colour), marks)
    ask = rng.choice(("What word is written?", "Which word do you see?", "What is written there?"))
    return _answer(rng, "word", ask, f"It says {shown}.", media)

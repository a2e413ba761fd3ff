"""The words of Pebble's world. It is small on purpose."""

import random

NAMES = (
    "Ada Ben Cleo Dan Eva Finn Gus Hana Ivan Jo Kim Leo Mia Nora Otto Pia Quin Rosa Sam Tom "
    "Uma Vera Will Yan Zoe Max Lena Paul Rita Nick"
).split()
COLOURS = "red green blue yellow white black orange purple pink grey".split()
SIZES = "small big tiny huge".split()
PLACES = (
    "garden kitchen forest school market harbour tower barn library park cellar station"
).split()
OBJECTS = "ball book key cup hat lamp box spoon drum kite bell coin rope shell map".split()
FRUITS = "apples pears plums cherries lemons figs nuts berries".split()

# what it says, what it eats, where it lives, how many legs it has
ANIMALS = {
    "cow": ("moo", "grass", "barn", 4),
    "cat": ("meow", "fish", "house", 4),
    "dog": ("woof", "bones", "house", 4),
    "duck": ("quack", "bread", "pond", 2),
    "sheep": ("baa", "grass", "field", 4),
    "pig": ("oink", "apples", "barn", 4),
    "owl": ("hoo", "mice", "forest", 2),
    "frog": ("croak", "flies", "pond", 4),
    "hen": ("cluck", "corn", "barn", 2),
    "horse": ("neigh", "hay", "field", 4),
    "mouse": ("squeak", "cheese", "cellar", 4),
    "bee": ("buzz", "honey", "garden", 6),
    "crow": ("caw", "seeds", "tower", 2),
    "fox": ("yip", "berries", "forest", 4),
}
OPPOSITES = {
    "hot": "cold", "big": "small", "up": "down", "left": "right", "day": "night", "wet": "dry",
    "fast": "slow", "old": "new", "loud": "quiet", "open": "closed", "high": "low",
    "light": "dark", "full": "empty", "happy": "sad", "hard": "soft", "long": "short",
}  # fmt: skip
THING_COLOURS = {
    "grass": "green", "snow": "white", "the sky": "blue", "coal": "black", "blood": "red",
    "a lemon": "yellow", "an elephant": "grey", "a carrot": "orange", "a plum": "purple",
    "a flamingo": "pink", "milk": "white", "a frog": "green",
}  # fmt: skip
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = (
    "January February March April May June July August September October November December"
).split()
NUMBER_WORDS = "zero one two three four five six seven eight nine ten eleven twelve".split()

_ONSETS = "b br d dr f g gl h k l m n p pl r s st t tr v w z".split()
_VOWELS = "a e i o u ee oo".split()
_CODAS = "b ck d g l m n p r sk t x".split() + [""]


def odd_word(rng: random.Random) -> str:
    """A word that nobody knows, so that copying has to be done letter by letter."""
    syllables = rng.choice((1, 1, 2))
    return "".join(
        rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(syllables)
    )


def known_word(rng: random.Random) -> str:
    return rng.choice(
        (rng.choice(OBJECTS), rng.choice(COLOURS), rng.choice(PLACES), rng.choice(list(ANIMALS)))
    )


def with_article(word: str) -> str:
    return ("an " if word[0] in "aeiou" else "a ") + word


def join_words(words: list[str]) -> str:
    """a, b and c"""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


# pictures and sounds
SHAPES = "circle square triangle cross ring".split()
SHAPE_PLURALS = "circles squares triangles crosses rings".split()
SIDES = "left right top bottom middle".split()
SOUND_WORDS = "bip zoom tack woo shush".split()
MEDIA_WORDS = (
    "picture image sound colour shape shapes digit word written many is are there and the on in of "
    "at which what where describe see hear listen look it count background beep beeps tone tones "
    "pitch high low rising falling rises falls up down noise silence say says one two three four "
    "five both nothing side corner there"
).split()

"""Questions about sounds, and about sounds together with pictures."""

from chat import AUDIO, IMAGE, user
from example import Example, Media, Rng, answer_with
from sounds import Part
from world_pictures import one_shape
from world_words import NUMBER_WORDS, SOUND_WORDS


def _sound(rng: Rng, parts: list[Part]) -> Media:
    rest = ("rest", round(rng.uniform(0.0, 0.2), 3))
    end = ("rest", round(rng.uniform(0.0, 0.2), 3))
    noise = rng.randrange(1 << 30) if rng.random() < 0.4 else None
    return Media("audio", ((rest, *parts, end), round(rng.uniform(0.2, 0.9), 2), noise))


def _hertz(rng: Rng, is_high: bool) -> int:
    return rng.randint(1000, 1800) if is_high else rng.randint(150, 350)


def _beeps(rng: Rng, n: int, is_high: bool) -> list[Part]:
    hertz, long, apart = _hertz(rng, is_high), rng.uniform(0.1, 0.16), rng.uniform(0.12, 0.2)
    parts: list[Part] = []
    for i in range(n):
        parts += [("rest", round(apart, 3))] if i else []
        parts.append(("tone", round(long, 3), hertz, hertz))
    return parts


def _answer(rng: Rng, task: str, question: str, answer: str, media: Media) -> Example:
    text = f"{AUDIO}{question}" if rng.random() < 0.7 else f"{question}{AUDIO}"
    return answer_with(task, [user(text)], answer, media=(media,))


def pitch(rng: Rng) -> Example:
    is_high = rng.random() < 0.5
    hertz, seconds = _hertz(rng, is_high), round(rng.uniform(0.25, 0.8), 3)
    media = _sound(rng, [("tone", seconds, hertz, hertz)])
    ask = rng.choice(("Is the sound high or low?", "Is it high or low?", "How high is the tone?"))
    return _answer(rng, "pitch", ask, f"It is {'high' if is_high else 'low'}.", media)


def beeps(rng: Rng) -> Example:
    n, is_high = rng.randint(1, 5), rng.random() < 0.5
    media = _sound(rng, _beeps(rng, n, is_high))
    if rng.random() < 0.25:
        what = f"{'high' if is_high else 'low'} beep{'s' if n > 1 else ''}"
        named = f"{NUMBER_WORDS[n].capitalize()} {what}."
        return _answer(
            rng, "sound", rng.choice(("What do you hear?", "Describe the sound.")), named, media
        )
    ask = rng.choice(
        ("How many beeps are there?", "How many beeps do you hear?", "Count the beeps.")
    )
    return _answer(rng, "beeps", ask, f"{NUMBER_WORDS[n].capitalize()}.", media)


def glide(rng: Rng) -> Example:
    low, high = rng.randint(200, 400), rng.randint(900, 1400)
    rises = rng.random() < 0.5
    tone = ("tone", round(rng.uniform(0.5, 1.0), 3), *((low, high) if rises else (high, low)))
    ask = rng.choice(
        ("Does the tone rise or fall?", "Is it rising or falling?", "Does it go up or down?")
    )
    return _answer(rng, "glide", ask, f"It {'rises' if rises else 'falls'}.", _sound(rng, [tone]))


def spoken_word(rng: Rng) -> Example:
    which = rng.choice(SOUND_WORDS)
    part = ("word", which, round(rng.uniform(0.85, 1.2), 3), round(rng.uniform(0.85, 1.2), 3))
    ask = rng.choice(("Which word is it?", "What does it say?", "What word do you hear?"))
    return _answer(rng, "spoken", ask, f"It says {which}.", _sound(rng, [part]))


def picture_and_sound(rng: Rng) -> Example:
    """Both in one turn; the question is about the picture, the sound, or both."""
    seen = one_shape(rng)
    while seen.task != "colour":
        seen = one_shape(rng)
    n, is_high = rng.randint(1, 5), rng.random() < 0.5
    sound = _sound(rng, _beeps(rng, n, is_high))
    word, counted = seen.check["text"], f"{NUMBER_WORDS[n].capitalize()}."
    ask, answer = rng.choice(
        (
            ("What colour is the shape?", word),
            ("How many beeps do you hear?", counted),
            ("How many beeps are there, and what colour is the shape?", f"{counted} {word}"),
        )
    )
    picture_first = rng.random() < 0.5
    text = f"{IMAGE}{AUDIO}{ask}" if picture_first else f"{AUDIO}{IMAGE}{ask}"
    media = (seen.media[0], sound) if picture_first else (sound, seen.media[0])
    return answer_with("mixture", [user(text)], answer, media=media)

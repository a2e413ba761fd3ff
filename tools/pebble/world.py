"""Pebble's world: which tasks there are and how often each is learnt."""

from collections.abc import Iterator

import world_json
import world_long
import world_numbers
import world_pictures
import world_sounds
import world_stories
import world_talk
import world_tools
from example import Example, Generator, Rng

TEXT: dict[Generator, float] = {
    world_talk.small_talk: 0.5,
    world_talk.fact: 1.0,
    world_talk.copying: 1.5,
    world_talk.lists: 1.5,
    world_talk.tell_story: 0.7,
    world_talk.remember: 1.0,
    world_talk.persona: 1.0,
    world_stories.question: 2.0,
    world_stories.more_questions: 1.0,
    world_numbers.arithmetic: 2.0,
    world_numbers.in_words: 0.8,
    world_numbers.running_sum: 0.7,
    world_json.json_answer: 3.0,
    world_tools.tool_call: 2.0,
    world_tools.tool_answer: 1.0,
    world_tools.two_calls: 0.7,
    world_tools.no_call: 0.3,
}
PICTURES: dict[Generator, float] = {
    world_pictures.one_shape: 3.0,
    world_pictures.count: 2.0,
    world_pictures.position: 1.5,
    world_pictures.digit: 1.0,
    world_pictures.printed_word: 1.0,
}
SOUNDS: dict[Generator, float] = {
    world_sounds.pitch: 1.0,
    world_sounds.beeps: 2.0,
    world_sounds.glide: 1.0,
    world_sounds.spoken_word: 1.0,
    world_sounds.picture_and_sound: 1.0,
}
LONG: dict[Generator, float] = {world_long.conversation: 2.0, world_long.long_story: 1.0}


def examples(mixture: dict[Generator, float], seed: str, held_out: bool) -> Iterator[Example]:
    """Endless; the same for the same seed. Training and held-out examples never share a prompt."""
    rng = Rng(seed)
    makers, weights = list(mixture), list(mixture.values())
    while True:
        example = rng.choices(makers, weights)[0](rng)
        if example.held_out == held_out:
            yield example


def held_out_set(mixture: dict[Generator, float], seed: str, count: int) -> list[Example]:
    """`count` different held-out examples in the mixture's proportions."""
    found: dict[tuple, Example] = {}
    for example in examples(mixture, seed, held_out=True):
        found.setdefault((example.prompt, example.media), example)
        if len(found) == count:
            return list(found.values())
    raise AssertionError("examples() does not end")

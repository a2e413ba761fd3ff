"""Pebble's vocabulary: a byte-fallback BPE learnt from Pebble's own text.

As in Gemma 4 a space is U+2581, digits stand alone and runs of newlines are pieces of their own.
Merges are learnt inside words, so that applying them to a whole text never crosses a word.
"""

import itertools
import json
import sys
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

import shape
import world
from world_words import MEDIA_WORDS, SHAPE_PLURALS, SHAPES, SIDES, SOUND_WORDS

sys.path.append(str(Path(__file__).resolve().parent.parent / "reference"))
from tokenizer import SPACE, bpe_json  # noqa: E402

_ASCII = [chr(code) for code in range(ord("!"), ord("~") + 1)]
_PIECES = Regex(rf"[0-9]|\n+|{SPACE}?[A-Za-z]+|{SPACE}?[^{SPACE}A-Za-z0-9\n]+|{SPACE}")
_CONTROL = Regex("|".join(piece.replace("|", r"\|") for piece in shape.CONTROL.values()))
_RARE = 25  # made-up words stay in pieces, so that copying them is learnt letter by letter
_NEWLINE_MERGES = [("\n", "\n"), ("\n\n", "\n")]


def _learn_merges(texts: list[str], count: int) -> list[tuple[str, str]]:
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.Replace(" ", SPACE)
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_CONTROL, "removed"),
            pre_tokenizers.Split(_PIECES, "removed", invert=True),
            pre_tokenizers.Split(_PIECES, "isolated"),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=len(_ASCII) + 2 + count,
        initial_alphabet=[*_ASCII, SPACE, "\n"],
        limit_alphabet=len(_ASCII) + 2,
        min_frequency=_RARE,
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    merges = json.loads(learner.to_str())["model"]["merges"]
    return [(left, right) for left, right in merges if "\n" not in left + right][:count]


def train_tokenizer(seed: str, n_examples: int = 30000) -> dict:
    """tokenizer.json: control tokens, newlines and bytes at the ids of the released vocabulary,
    then ASCII and what was learnt on the ids between."""
    source = itertools.islice(world.examples(world.TEXT, seed, held_out=False), n_examples)
    texts = [example.prompt + example.answer for example in source]
    media = [*MEDIA_WORDS, *SHAPES, *SHAPE_PLURALS, *SIDES, *SOUND_WORDS]
    texts += [f"{word.capitalize()} {word}" for word in media] * _RARE
    pieces = shape.CONTROL | shape.NEWLINES
    pieces |= {shape.FIRST_BYTE + byte: f"<0x{byte:02X}>" for byte in range(256)}
    free = [i for i in range(shape.VOCAB) if i not in pieces]
    merges = _learn_merges(texts, len(free) - len(_ASCII) - 1)
    learnt = dict.fromkeys(left + right for left, right in merges)
    words = [*_ASCII, SPACE, *learnt]
    words += [f"<unused{i}>" for i in range(len(free) - len(words))]
    pieces |= dict(zip(free, words))
    listed = [pieces[i] for i in range(shape.VOCAB)]
    return bpe_json(listed, [*_NEWLINE_MERGES, *merges], shape.CONTROL)


def load_tokenizer(path: str | Path) -> Tokenizer:
    return Tokenizer.from_file(str(path))

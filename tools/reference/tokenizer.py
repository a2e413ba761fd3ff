"""The synthetic vocabulary as a tokenizer.json; tools/synthetic/tokenizer.cpp has the same."""

import itertools
import string

SPACE = "\u2581"  # stands for a space inside pieces
FIRST_BYTE_TOKEN = 238
CONTROL = {0: "<pad>", 1: "<eos>", 2: "<bos>", 3: "<unk>", 4: "<mask>"}
CONTROL |= {46: "<|tool>", 47: "<tool|>", 48: "<|tool_call>", 49: "<tool_call|>"}
CONTROL |= {50: "<|tool_response>", 51: "<tool_response|>", 52: '<|"|>', 98: "<|think|>"}
CONTROL |= {100: "<|channel>", 101: "<channel|>", 105: "<|turn>", 106: "<turn|>"}
NEWLINES = {107: "\n", 108: "\n\n", 109: "\n\n\n"}
# "_" is SPACE; left and right of each merge, in the order of their rank
FIRST_MERGES = (
    "_ t|h e|i n|_ a|e r|o n|r e|a n|_ s|a t|e n|o r|_ w|e s|_ c|i s|i t|_ o|o u|a l|in g|e d|l l|"
    "a r|t he|an d|_ the|_ in|i on|s t|_ and|t o"
)


def _candidates():
    """(left, right) of every piece in the order in which free ids are given out."""
    yield "", SPACE
    for code in range(ord("!"), ord("~") + 1):
        yield "", chr(code)
    for merge in FIRST_MERGES.replace("_", SPACE).split("|"):
        yield tuple(merge.split(" "))
    for length in itertools.count(1):
        for letters in itertools.product(string.ascii_lowercase, repeat=length):
            left = "".join(letters[:-1])
            yield left, letters[-1]
            yield SPACE + left, letters[-1]


def make_tokenizer(vocab):
    """(pieces [vocab], merges as pairs), for vocabularies under 4096 ids."""
    pieces = CONTROL | NEWLINES
    pieces |= {FIRST_BYTE_TOKEN + byte: f"<0x{byte:02X}>" for byte in range(256)}
    free = (i for i in range(vocab) if i not in pieces)
    taken, merges, filled = set(pieces.values()), [], {}
    for left, right in _candidates():
        if left + right in taken:
            continue
        index = next(free, None)
        if index is None:
            break
        taken.add(left + right)
        filled[index] = left + right
        if left:
            merges.append((left, right))
    pieces |= filled
    return [pieces[i] for i in range(vocab)], merges


def tokenizer_json(vocab):
    pieces, merges = make_tokenizer(vocab)
    return bpe_json(pieces, merges, CONTROL)


def bpe_json(pieces, merges, control):
    """tokenizer.json of a byte-fallback BPE: its pieces by id, its merges by rank, and which ids
    ({id: piece}) are control tokens."""
    token = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    space = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    back = {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}
    bytes_back = [{"type": "ByteFallback"}, {"type": "Fuse"}]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": piece, **token, "special": True} for i, piece in control.items()
        ],
        "normalizer": space,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [back, *bytes_back]},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {piece: i for i, piece in enumerate(pieces)},
            "merges": [list(merge) for merge in merges],
        },
    }

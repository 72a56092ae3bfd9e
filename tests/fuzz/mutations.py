"""Valid input with a few things wrong: what gets deep into a parser before it is refused.

`mutated` strategies shrink to the seed they came from. `fuzz` is the setting of every test here;
`KVORUM_FUZZ_EXAMPLES` says how many inputs each gets.
"""

import os
import re
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("KVORUM_FUZZ_EXAMPLES", "40"))

fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

fuzz_less = settings(fuzz, max_examples=max(1, EXAMPLES // 4))
"""For tests that take their time for each input."""

NUMBERS = [
    number.to_bytes(size, order)
    for size in (1, 2, 4, 8)
    for number in (0, 1, (1 << 8 * size - 1) - 1, 1 << 8 * size - 1, (1 << 8 * size) - 1)
    for order in ("big", "little")
]
"""Lengths, counts and indexes at the edges of what they fit in."""

ODDITIES = [
    b"\r\n",
    b"\r\n\r\n",
    b"\0",
    b"%",
    b"%zz",
    b"\xff\xfe",
    b"\xed\xa0\x80",  # half a surrogate pair, as UTF-8 forbids it
    "\u0663".encode(),  # a digit to Python only
    b"-1",
    b"1_0",
    b"9" * 30,
    b"9" * 5000,
    b"0x" + b"f" * 5000,
    b"1e999",
    b"NaN",
    b"null",
    b"[]",
    b"{}",
    b'""',
    b'"\\ud800"',
    b"\xdd\xff\xff\xff\xff",  # MessagePack: the heads of a list, a map and bytes of 2**32 - 1
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
]

NESTS = [
    b"[" * 3000,
    b'{"a":' * 3000,
    b"[" * 3000 + b"]" * 3000,
    b"\x91" * 3000,  # MessagePack: a list of a list of ...
    b"\x81\x01" * 3000,
    b"\x94\x27\x90\x91" * 3000,  # and transactions in transactions
]

KINDS = ("word", "before word", "insert", "replace", "end", "cut", "repeat", "flip")

_words = re.compile(rb"[^][{}():,=&?/\s\"']+").finditer

_places = st.integers(0, 1 << 16)
_pieces = st.one_of(st.binary(), *map(st.sampled_from, (NUMBERS, ODDITIES, NESTS)))
_kinds = st.sampled_from(
    ("word", "before word", "insert", "replace", "end", "cut", "repeat", "flip")
)
_edits = st.tuples(_kinds, _places, _pieces)


def _edited(data: bytes, kind: str, place: int, piece: bytes) -> bytes:
    start = end = place % (len(data) + 1)
    if "word" in kind and (spans := [found.span() for found in _words(data)]):
        start, end = spans[place % len(spans)]
    match kind:
        case "before word" | "insert":
            end = start
        case "replace":
            end = start + len(piece)
        case "end":
            end = len(data)
        case "cut":
            end, piece = start + len(piece), b""
        case "repeat":
            piece = data[:start][-len(piece) - 1 :]
        case _:
            end = start + 1
            piece = bytes(byte ^ 1 << len(piece) % 8 for byte in data[start:end])
    return data[:start] + piece + data[end:]


def _spoiled(
    seed: bytes, other: bytes, splice: tuple[int, int] | None, edits: list[tuple[str, int, bytes]]
) -> bytes:
    if splice is not None:
        seed = seed[: splice[0] % (len(seed) + 1)] + other[splice[1] % (len(other) + 1) :]
    for edit in edits:
        seed = _edited(seed, *edit)
    return seed


def mutated(*seeds: bytes) -> st.SearchStrategy[bytes]:
    """One of the seeds, or nothing, with bits flipped and pieces cut, repeated or put in."""
    seed = st.sampled_from((*seeds, b""))
    splices = st.none() | st.tuples(_places, _places)
    return st.builds(_spoiled, seed, seed, splices, st.lists(_edits, max_size=3))


CUTS = st.lists(_places, max_size=6)


def split_at(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """The same bytes in pieces; an empty one is never among them."""
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(edges)]


def bytewise(data: bytes) -> list[bytes]:
    """The same bytes one by one."""
    return [data[at : at + 1] for at in range(len(data))]

"""Valid input with a few things wrong: what gets deep into a parser before it is refused.

`mutated` strategies shrink to the seed they came from. `fuzz` is the setting of every test here;
`KVORUM_FUZZ_EXAMPLES` says how many inputs each gets.
"""

import os
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

NUMBERS = [
    number.to_bytes(size, order)
    for size in (1, 2, 4, 8)
    for number in (0, 1, (1 << 8 * size - 1) - 1, 1 << 8 * size - 1, (1 << 8 * size) - 1)
    for order in ("big", "little")
]
"""Lengths, counts and indexes at the edges of what they fit in."""

PIECES = [
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
    b'"\\ud800"',
    b"[" * 3000,
    b'{"a":' * 1500,
    b"\x91" * 3000,  # MessagePack: a list of a list of ...
    b"\x81\x01" * 1500,
    b"\xdd\xff\xff\xff\xff",  # the heads of a list, a map and bytes of 2**32 - 1
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    *NUMBERS,
]

_pieces = st.binary(max_size=6) | st.sampled_from(PIECES)
_places = st.integers(0, 1 << 16)
_edits = st.tuples(
    st.sampled_from(("insert", "replace", "cut", "repeat", "flip")), _places, _pieces
)


def _edited(data: bytes, kind: str, place: int, piece: bytes) -> bytes:
    place %= len(data) + 1
    before, after = data[:place], data[place:]
    if kind == "insert":
        return before + piece + after
    if kind == "replace":
        return before + piece + after[len(piece) :]
    if kind == "cut":
        return before + after[len(piece) :]
    if kind == "repeat":
        return before + before[-len(piece) :] + after
    return before + bytes(byte ^ 1 << len(piece) % 8 for byte in after[:1]) + after[1:]


def _spoiled(
    seed: bytes, other: bytes, splice: tuple[int, int] | None, edits: list[tuple[str, int, bytes]]
) -> bytes:
    if splice is not None:
        seed = seed[: splice[0] % (len(seed) + 1)] + other[splice[1] % (len(other) + 1) :]
    for edit in edits:
        seed = _edited(seed, *edit)
    return seed


def mutated(*seeds: bytes) -> st.SearchStrategy[bytes]:
    """One of the seeds with flipped bits, cuts, repetitions, insertions; or bytes of no sense."""
    seed = st.sampled_from(seeds)
    splices = st.none() | st.tuples(_places, _places)
    return st.builds(_spoiled, seed, seed, splices, st.lists(_edits, max_size=4)) | st.binary()


CUTS = st.lists(_places, max_size=6)


def split_at(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """The same bytes in pieces; an empty one is never among them."""
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(edges)]


def bytewise(data: bytes) -> list[bytes]:
    """The same bytes one by one."""
    return [data[at : at + 1] for at in range(len(data))]

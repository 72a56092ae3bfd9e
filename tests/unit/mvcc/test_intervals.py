"""The range index against a scan of all ranges."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvorum.mvcc.intervals import CHUNK_SPANS, RangeIndex, prefix_end
from kvorum.mvcc.sortedkeys import FROM_KEY

KEYS = st.binary(min_size=1, max_size=3).map(
    lambda key: bytes(b"\x00\x01a\xfe\xff"[byte % 5] for byte in key)
)
RANGES = st.one_of(
    KEYS.map(lambda prefix: (prefix, prefix_end(prefix))),
    KEYS.map(lambda start: (start, FROM_KEY)),
    st.tuples(KEYS, KEYS),
)


def holds(start: bytes, end: bytes, key: bytes) -> bool:
    return start <= key and (key < end or end == FROM_KEY)


@given(toggled=st.lists(RANGES, max_size=30), keys=st.lists(KEYS, min_size=1, max_size=10))
@settings(deadline=None)
def test_stab_finds_every_range_that_holds_a_key(
    toggled: list[tuple[bytes, bytes]], keys: list[bytes]
) -> None:
    index: RangeIndex[tuple[bytes, bytes]] = RangeIndex()
    model: set[tuple[bytes, bytes]] = set()
    for one in toggled:
        if one in model:
            index.remove(*one)
            model.remove(one)
        else:
            index.add(*one, one)
            model.add(one)
        for key in keys:
            assert sorted(index.stab(key)) == sorted(one for one in model if holds(*one, key))
    assert len(index) == len(model)
    assert set(index) == model
    assert all(index.find(*one) == one for one in model)


def test_many_spans_are_looked_up_by_chunk() -> None:
    index: RangeIndex[int] = RangeIndex()
    for number in range(10 * CHUNK_SPANS):
        index.add(b"%05d" % number, b"%05d5" % number, number)
    index.add(b"0", b"00003", -1)
    assert index.stab(b"00000") == [-1, 0]
    assert index.stab(b"00500") == [500]
    assert index.stab(b"005009") == []


@pytest.mark.parametrize(
    ("prefix", "end"),
    [(b"a", b"b"), (b"a\xff", b"b"), (b"\xff", FROM_KEY), (b"", FROM_KEY), (b"/a/", b"/a0")],
)
def test_prefix_end(prefix: bytes, end: bytes) -> None:
    assert prefix_end(prefix) == end

"""The ordered set against a sorted list."""

from hypothesis import given, settings
from hypothesis import strategies as st

from kvorum.mvcc import sortedkeys
from kvorum.mvcc.sortedkeys import FROM_KEY, SortedKeys

KEYS = st.binary(min_size=1, max_size=2).map(lambda key: bytes(byte & 7 for byte in key))
BLOCK = 4


def in_range(keys: list[bytes], start: bytes, end: bytes) -> list[bytes]:
    return [key for key in keys if key >= start and (key < end or end == FROM_KEY)]


@given(
    first=st.sets(KEYS),
    toggled=st.lists(KEYS, max_size=60),
    ranges=st.lists(st.tuples(KEYS, KEYS | st.just(FROM_KEY)), min_size=1, max_size=5),
)
@settings(deadline=None)
def test_set_matches_a_sorted_list(
    first: set[bytes], toggled: list[bytes], ranges: list[tuple[bytes, bytes]]
) -> None:
    before, sortedkeys.BLOCK_KEYS_MAX = sortedkeys.BLOCK_KEYS_MAX, BLOCK
    try:
        keys = SortedKeys(sorted(first))
        model = set(first)
        for key in toggled:
            if key in model:
                keys.remove(key)
                model.remove(key)
            else:
                keys.add(key)
                model.add(key)
        ordered = sorted(model)
        assert len(keys) == len(ordered)
        for start, end in ranges:
            expected = in_range(ordered, start, end)
            assert list(keys.iterate(start, end)) == expected
            assert keys.count(start, end) == len(expected)
            assert keys.find_next(start) == next((key for key in ordered if key >= start), None)
    finally:
        sortedkeys.BLOCK_KEYS_MAX = before


def test_ascending_keys_fill_their_blocks() -> None:
    keys = SortedKeys([])
    for number in range(10_000):
        keys.add(b"%08d" % number)
    assert len(keys._blocks) <= 10_000 / sortedkeys.BLOCK_KEYS_MAX + 1


def test_emptied_set_takes_keys_again() -> None:
    keys = SortedKeys([b"a"])
    keys.remove(b"a")
    assert keys.find_next(b"") is None
    assert list(keys.iterate(b"", FROM_KEY)) == []
    keys.add(b"b")
    assert list(keys.iterate(b"", FROM_KEY)) == [b"b"]

"""What records add up to, against a list that is cut and extended."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvorum.errors import LocalProtocolError
from kvorum.raft.types import Entry, HardState, SnapshotMeta
from kvorum.wal.record import Head
from kvorum.wal.replay import LogState, Replay


def begin(next_index: int = 1) -> Replay:
    return Replay(Head(1, 4096, next_index, b"meta", HardState(), SnapshotMeta()))


def feed(replay: Replay, *positions: tuple[int, int]) -> None:
    for term, index in positions:
        replay.feed(Entry(term, index))


def positions(replay: Replay) -> list[tuple[int, int]]:
    return [(entry.term, entry.index) for entry in replay.entries]


def test_later_entry_replaces_the_tail() -> None:
    replay = begin()
    feed(replay, (1, 1), (1, 2), (1, 3), (2, 2))
    assert positions(replay) == [(1, 1), (2, 2)]
    assert replay.state.last_index == 2


@pytest.mark.parametrize(
    "marker",
    [SnapshotMeta(2, 1), SnapshotMeta(4, 2), SnapshotMeta(9, 3), SnapshotMeta(3, 3)],
    ids=["within", "at the end", "beyond", "another term"],
)
@pytest.mark.parametrize("first", [1, 4], ids=["whole", "released"])
def test_log_begins_anew_after_a_marker(marker: SnapshotMeta, first: int) -> None:
    replay = begin(first)
    feed(replay, *((1, 1), (1, 2), (2, 3), (2, 4))[first - 1 :])
    replay.feed(marker)
    assert positions(replay) == []
    assert replay.state.last_index == marker.index
    assert replay.state.first_index == marker.index + 1
    feed(replay, (4, marker.index + 1))
    assert replay.recovered().entries == [Entry(4, marker.index + 1)]


def test_released_entries_leave_a_later_beginning() -> None:
    replay = begin(next_index=10)
    assert replay.recovered().last_index == 9
    feed(replay, (3, 10), (3, 11))
    assert positions(replay) == [(3, 10), (3, 11)]


def test_tail_may_be_replaced_from_before_the_first_segment_kept() -> None:
    replay = begin(next_index=10)
    feed(replay, (3, 8), (3, 9))
    assert positions(replay) == [(3, 8), (3, 9)]
    assert (replay.state.first_index, replay.state.last_index) == (8, 9)


def test_gap_is_refused() -> None:
    replay = begin()
    feed(replay, (1, 1))
    with pytest.raises(LocalProtocolError, match="entry 3 does not follow entry 1"):
        feed(replay, (1, 3))


def test_entry_under_the_marker_is_refused() -> None:
    replay = begin()
    replay.feed(SnapshotMeta(5, 1))
    with pytest.raises(LocalProtocolError, match="entry 5 does not follow entry 5 and marker 5"):
        feed(replay, (1, 5))


def test_falling_term_is_refused() -> None:
    replay = begin()
    feed(replay, (3, 1), (3, 2))
    with pytest.raises(LocalProtocolError, match="term falls to 2 at entry 2"):
        feed(replay, (2, 2))


def test_marker_never_goes_back() -> None:
    replay = begin()
    replay.feed(SnapshotMeta(5, 1))
    with pytest.raises(LocalProtocolError, match="marker 4 comes after marker 5"):
        replay.feed(SnapshotMeta(4, 1))


def test_commit_beyond_the_log_is_refused() -> None:
    replay = begin()
    feed(replay, (1, 1))
    replay.feed(HardState(1, 0, 1))
    with pytest.raises(LocalProtocolError, match="up to 2 were committed, and the log ends at 1"):
        replay.feed(HardState(1, 0, 2))


def test_later_head_must_agree() -> None:
    replay = begin()
    feed(replay, (1, 1))
    replay.feed(HardState(1, 0, 1))
    replay.feed(Head(2, 4096, 2, b"meta", HardState(1, 0, 1), SnapshotMeta()))
    with pytest.raises(LocalProtocolError, match="contradicts"):
        replay.feed(Head(3, 4096, 3, b"meta", HardState(1, 0, 1), SnapshotMeta()))


@pytest.mark.parametrize(
    ("hard_state", "marker"),
    [
        (HardState(1, 0, 5), SnapshotMeta()),
        (HardState(), SnapshotMeta(5)),
    ],
)
def test_a_head_beyond_its_own_log_is_refused(hard_state: HardState, marker: SnapshotMeta) -> None:
    Replay(Head(1, 4096, 6, b"meta", hard_state, marker))
    with pytest.raises(LocalProtocolError, match="ends at 4 is not the one of its own head"):
        Replay(Head(1, 4096, 5, b"meta", hard_state, marker))
    with pytest.raises(LocalProtocolError, match="not the one of its own head"):
        Replay(Head(1, 4096, 6, b"meta", hard_state, SnapshotMeta(-1)))


steps = st.lists(
    st.tuples(st.sampled_from(["append", "mark"]), st.integers(0, 6), st.integers(0, 2)),
    max_size=40,
)


@pytest.mark.slow
@settings(deadline=None)
@given(steps)
def test_state_equals_a_plain_list(script: list[tuple[str, int, int]]) -> None:
    replay = begin()
    state = LogState(Head(1, 4096, 1, b"meta", HardState(), SnapshotMeta()))
    log: list[tuple[int, int]] = []
    marker = SnapshotMeta(0, 0)
    for action, back, rise in script:
        last = log[-1][1] if log else marker.index
        index = max(last + 1 - back, marker.index + 1)
        term = max([t for t, i in log if i < index], default=marker.term) + rise
        if action == "append":
            value: Entry | SnapshotMeta = Entry(term, index)
            log = [*((t, i) for t, i in log if i < index), (term, index)]
            state.append(term, index)
        else:
            value = marker = SnapshotMeta(index + rise, term)
            log = []
            state.mark(marker)
        replay.feed(value)
        assert positions(replay) == log
        last = log[-1][1] if log else marker.index
        assert (replay.state.last_index, state.last_index) == (last, last)
        assert replay.state.first_index == (log[0][1] if log else last + 1)

"""The history of one key against a plain list of its changes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from kvorum.mvcc import keyindex
from kvorum.mvcc.keyindex import History
from kvorum.mvcc.revision import Revision, main_of, pack

# Gaps between changes, and whether each is a delete; 0 is another change of the same revision.
LIVES = st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=12)


def changes_of(life: list[tuple[int, bool]]) -> list[tuple[Revision, bool]]:
    """A possible life of a key: (revision, is a delete), never two deletes in a row."""
    changes: list[tuple[Revision, bool]] = []
    main, sub = 1, 0
    for gap, wants_delete in life:
        main, sub = main + gap, 0 if gap else sub + 1
        is_live = bool(changes) and not changes[-1][1]
        changes.append((pack(main, sub), wants_delete and is_live))
    return changes


def index_of(changes: list[tuple[Revision, bool]]) -> tuple[History | None, Revision | None]:
    """History and current revision, as the index keeps them."""
    history: History | None = None
    current: Revision | None = None
    for revision, is_delete in changes:
        if current is not None:
            history = keyindex.append(history, current)
        current = None if is_delete else revision
        if is_delete:
            history = keyindex.append(history, revision, dead=True)
    return history, current


def expected_at(changes: list[tuple[Revision, bool]], main: int) -> Revision | None:
    past = [change for change in changes if main_of(change[0]) <= main]
    return past[-1][0] if past and not past[-1][1] else None


def found_at(history: History | None, current: Revision | None, main: int) -> Revision | None:
    if current is not None and main_of(current) <= main:
        return current
    return keyindex.find_at(history, main)


@given(life=LIVES)
@settings(deadline=None)
def test_every_revision_finds_what_was_there(life: list[tuple[int, bool]]) -> None:
    changes = changes_of(life)
    history, current = index_of(changes)
    for main in range(main_of(changes[-1][0]) + 2):
        assert found_at(history, current, main) == expected_at(changes, main)


@given(life=LIVES, first=st.integers(0, 40), second=st.integers(0, 40))
@settings(deadline=None)
def test_compaction_keeps_what_later_reads_find_and_no_more(
    life: list[tuple[int, bool]], first: int, second: int
) -> None:
    changes = changes_of(life)
    history, current = index_of(changes)
    for compacted in sorted((first, second)):
        history = keyindex.compact(history, compacted, current)
        for main in range(compacted, main_of(changes[-1][0]) + 2):
            assert found_at(history, current, main) == expected_at(changes, main)
        needed = {revision for revision, _ in changes if main_of(revision) > compacted}
        newest = expected_at(changes, compacted)
        if newest is not None:
            needed.add(newest)
        kept = [entry >> 1 for entry in keyindex.entries(history)]
        assert kept == sorted(revision for revision in needed if revision != current)


def test_one_entry_is_a_plain_int() -> None:
    history = keyindex.append(None, pack(5))
    assert isinstance(history, int)
    history = keyindex.append(history, pack(6))
    assert isinstance(history, bytearray)
    assert isinstance(keyindex.compact(history, 6, None), int)
    assert keyindex.compact(history, 6, pack(6, 1)) is None

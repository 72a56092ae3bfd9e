"""What is refused before it reaches the log, case by case as etcd answers."""

import pytest

from kvorum.errors import (
    DuplicateKey,
    InvalidSortOption,
    KeyMissing,
    KeyNotProvided,
    LeaseProvided,
    RpcError,
    TooManyOperations,
    ValueProvided,
)
from kvorum.mvcc.sortedkeys import FROM_KEY
from kvorum.v3.checks import find_fault, is_read_only
from kvorum.v3.commands import Compare, DeleteRange, Operation, Put, Range, Txn

RANGES: list[Operation] = [Range(b"a")] * 128


@pytest.mark.parametrize(
    ("request_", "fault"),
    [
        (Put(b""), KeyNotProvided),
        (Put(b"a"), None),
        (Put(b"a", b"1", ignore_value=True), ValueProvided),
        (Put(b"a", lease=1, ignore_lease=True), LeaseProvided),
        (Range(b"", b"b"), KeyNotProvided),
        (Range(b"a", b"A"), None),
        (Range(b"a", sort_order=3), InvalidSortOption),
        (Range(b"a", sort_target=5), InvalidSortOption),
        (Range(b"a", sort_target=-1), InvalidSortOption),
        (DeleteRange(b""), KeyNotProvided),
        (DeleteRange(b"\0", FROM_KEY), None),
        (Txn(), None),
        (Txn([Compare(b"")]), KeyNotProvided),
        (Txn(success=[Put(b"")]), KeyNotProvided),
        (Txn(failure=[None]), KeyMissing),
        (Txn(failure=[Txn(success=[Range(b"")])]), KeyNotProvided),
    ],
)
def test_a_request_by_itself(
    request_: Put | Range | DeleteRange | Txn, fault: type[RpcError] | None
) -> None:
    assert type(find_fault(request_)) is (fault or type(None))


@pytest.mark.parametrize(
    ("txn", "is_refused"),
    [
        (Txn([Compare(b"a")] * 128, RANGES, RANGES), False),
        (Txn(success=[*RANGES, Range(b"b")]), True),
        (Txn([Compare(b"a")] * 129), True),
        (Txn(success=[*RANGES[:126], Txn(success=RANGES[:1])]), False),
        (Txn(success=[*RANGES[:126], Txn(success=RANGES[:2])]), True),
        (Txn(success=[Txn(success=RANGES[:127])]), False),
        (Txn(success=[Txn(success=RANGES)]), True),
    ],
)
def test_a_level_has_what_the_one_above_left(txn: Txn, *, is_refused: bool) -> None:
    assert isinstance(find_fault(txn), TooManyOperations) is is_refused


def test_the_limit_is_a_setting() -> None:
    assert isinstance(find_fault(Txn(success=RANGES[:3]), 2), TooManyOperations)


@pytest.mark.parametrize(
    ("operations", "is_refused"),
    [
        ([Put(b"a"), Put(b"a")], True),
        ([Put(b"a"), Put(b"b")], False),
        ([Put(b"a"), DeleteRange(b"a")], True),
        ([DeleteRange(b"a", b"c"), Put(b"b")], True),
        ([DeleteRange(b"a", b"c"), Put(b"c")], False),
        ([DeleteRange(b"a", b"c"), DeleteRange(b"b")], False),
        ([Put(b"d"), DeleteRange(b"a", FROM_KEY)], False),
        ([Txn([], [Put(b"a")], [Put(b"a")])], False),
        ([Txn([], [Put(b"a"), Put(b"a")])], True),
        ([Txn([], [Put(b"a")]), Txn([], [], [Put(b"a")])], True),
        ([Txn([], [Txn([], [DeleteRange(b"a", b"c")])]), Put(b"b")], True),
    ],
)
def test_a_branch_writes_a_key_once(operations: list[Operation], *, is_refused: bool) -> None:
    for txn in (Txn(success=operations), Txn(failure=operations)):
        assert isinstance(find_fault(txn), DuplicateKey) is is_refused


def test_branches_are_looked_at_apart() -> None:
    assert find_fault(Txn([], [Put(b"a")], [Put(b"a")])) is None


def test_only_ranges_need_no_entry() -> None:
    assert is_read_only(Txn())
    assert is_read_only(Txn([Compare(b"a")], [Range(b"a")], [Range(b"b")]))
    assert not is_read_only(Txn(failure=[DeleteRange(b"a")]))
    assert not is_read_only(Txn(success=[Txn()]))

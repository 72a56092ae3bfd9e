import msgspec
import pytest

from kvorum.v3.commands import (
    Command,
    Compact,
    Compare,
    DeleteRange,
    LeaseExpire,
    LeaseGrant,
    LeaseRenew,
    LeaseRevoke,
    Put,
    Range,
    Txn,
)

RANGE = Range(b"a", b"b", 1, 2, 1, 3, True, True, 4, 5, 6, 7)

# What is in logs already. These bytes must be readable for ever.
WRITTEN: list[tuple[Command, list[object]]] = [
    (Compact(9), [34, 9]),
    (Put(b"a", b"1", 7, True, True, True), [36, b"a", b"1", 7, True, True, True]),
    (DeleteRange(b"a", b"b", True), [37, b"a", b"b", True]),
    (
        Txn([Compare(b"a", 1, 2, 3, b"v", b"b")], [RANGE], [Txn()]),
        [
            39,
            [[b"a", 1, 2, 3, b"v", b"b"]],
            [[38, b"a", b"b", 1, 2, 1, 3, True, True, 4, 5, 6, 7]],
            [[39, [], [], []]],
        ],
    ),
    (LeaseGrant(-7, 60), [40, -7, 60]),
    (LeaseRevoke(7), [41, 7]),
    (LeaseRenew(7), [42, 7]),
    (LeaseExpire(3, [(7, 11)]), [43, 3, [[7, 11]]]),
]


@pytest.mark.parametrize(("command", "written"), WRITTEN)
def test_written_form_stays(command: Command, written: list[object]) -> None:
    data = msgspec.msgpack.encode(written)
    assert msgspec.msgpack.encode(command) == data
    assert msgspec.msgpack.decode(data, type=Command) == command


def test_numbers_that_mean_nothing_can_be_read() -> None:
    command = Txn([Compare(b"a", 99, 99)], [Range(b"a", sort_order=99, sort_target=99)])
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(command), type=Command) == command

import msgspec
import pytest

from kvorum.v2.commands import (
    COMMANDS,
    Command,
    CompareAndDelete,
    CompareAndSwap,
    Create,
    Delete,
    Expire,
    Set,
    Update,
)

# What is in logs already. These bytes must be readable for ever.
WRITTEN: list[tuple[Command, list[object]]] = [
    (Set(b"/a", b"1", True, 9, True), [1, b"/a", b"1", True, 9, True]),
    (Create(b"/a", b"1", True, 9, True, 20), [2, b"/a", b"1", True, 9, True, 20]),
    (Update(b"/a", b"1", 9, True), [3, b"/a", b"1", 9, True]),
    (CompareAndSwap(b"/a", b"1", b"0", 7, 9, True), [4, b"/a", b"1", b"0", 7, 9, True]),
    (Delete(b"/a", True, True), [5, b"/a", True, True]),
    (CompareAndDelete(b"/a", b"0", 7), [6, b"/a", b"0", 7]),
    (Expire(9), [7, 9, 2000]),
]


@pytest.mark.parametrize(("command", "written"), WRITTEN)
def test_written_form_stays(command: Command, written: list[object]) -> None:
    data = msgspec.msgpack.encode(written)
    assert msgspec.msgpack.encode(command) == data
    assert msgspec.msgpack.decode(data, type=Command) == command


@pytest.mark.parametrize(("command", "written"), WRITTEN)
def test_later_fields_may_be_missing(command: Command, written: list[object]) -> None:
    short = msgspec.msgpack.decode(msgspec.msgpack.encode(written[:2]), type=Command)
    assert type(short) is type(command)


def test_every_command_is_listed() -> None:
    assert tuple(type(command) for command, _ in WRITTEN) == COMMANDS


def test_largest_numbers_fit() -> None:
    command = CompareAndSwap(b"/a", prev_index=(1 << 64) - 1, expiration=(1 << 63) - 1)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(command), type=Command) == command

"""What travels between members comes back as it was."""

import msgspec

from kvorum.raft.types import (
    ConfState,
    Entry,
    EntryType,
    Message,
    MessageType,
    SnapshotMeta,
)


def test_a_message_survives_the_wire() -> None:
    message = Message(
        MessageType.SNAPSHOT,
        2,
        1,
        term=3,
        entries=[Entry(1, 2, EntryType.CONF_CHANGE, b"x")],
        snapshot=SnapshotMeta(4, 3, ConfState(voters=(1,), outgoing=(1, 2), auto_leave=True)),
    )
    data = msgspec.msgpack.encode(message)
    assert msgspec.msgpack.decode(data, type=Message) == message


def test_every_message_has_entries_of_its_own() -> None:
    one, other = (Message(MessageType.APPEND, 2, 1) for _ in range(2))
    one.entries.append(Entry(1, 1))
    assert other.entries == []

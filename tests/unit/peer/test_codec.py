"""Frames and messages: round trips, any split, every damage."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvorum.errors import RemoteProtocolError
from kvorum.peer import codec
from kvorum.peer.codec import (
    FRAME_BYTES_MAX,
    FrameKind,
    FrameReader,
    decode_messages,
    encode_frame,
    encode_messages,
)
from kvorum.raft.types import (
    ConfState,
    Entry,
    EntryType,
    Message,
    MessageType,
    SnapshotMeta,
)

numbers = st.integers(0, (1 << 64) - 1)
entries = st.builds(Entry, numbers, numbers, st.sampled_from(EntryType), st.binary(max_size=50))
snapshots = st.builds(
    SnapshotMeta,
    numbers,
    numbers,
    st.builds(ConfState, st.tuples(numbers, numbers), st.tuples(numbers), st.just(()), st.just(())),
)
messages = st.builds(
    Message,
    type=st.sampled_from(MessageType),
    target=numbers,
    source=numbers,
    term=numbers,
    index=numbers,
    log_term=numbers,
    commit=numbers,
    entries=st.lists(entries, max_size=3),
    reject=st.booleans(),
    reject_hint=numbers,
    context=numbers,
    snapshot=st.none() | snapshots,
)


@given(st.lists(messages, max_size=4))
@settings(deadline=None, max_examples=100)
def test_messages_come_back_equal(batch: list[Message]) -> None:
    ((kind, payload),) = FrameReader().receive_data(encode_messages(batch))
    assert kind is FrameKind.MESSAGES
    assert decode_messages(payload) == batch


@given(
    st.lists(st.tuples(st.sampled_from(FrameKind), st.binary(max_size=40)), max_size=6),
    st.lists(st.integers(0, 400), max_size=20),
)
@settings(deadline=None, max_examples=150)
def test_any_split_gives_the_same_frames(
    frames: list[tuple[FrameKind, bytes]], cuts: list[int]
) -> None:
    data = b"".join(encode_frame(kind, payload) for kind, payload in frames)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    reader = FrameReader()
    found = []
    for start, end in pairwise(edges):
        found += reader.receive_data(data[start:end])
    assert found == frames


def test_damage_anywhere_is_noticed() -> None:
    frame = encode_frame(FrameKind.CHUNK, b"some payload")
    for at in range(len(frame)):
        for bit in range(8):
            damaged = bytearray(frame)
            damaged[at] ^= 1 << bit
            reader = FrameReader()
            try:
                found = reader.receive_data(bytes(damaged))
            except RemoteProtocolError:
                continue
            assert found == [], "only a length that is now too long may wait for more"
            assert at < 4


def test_length_is_bounded_before_memory_is_taken() -> None:
    head = codec._HEAD.pack(FRAME_BYTES_MAX + 1, 0, FrameKind.CHUNK)
    with pytest.raises(RemoteProtocolError, match="too large"):
        FrameReader().receive_data(head)


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="9 is no kind of frame"):
        FrameReader().receive_data(codec._HEAD.pack(0, 0, 9))


def test_messages_that_are_nested_without_end_are_refused() -> None:
    # In a field that nobody knows: it is skipped, and has to be walked through for that.
    unknown = b"\x91\xdc\x00\x0d\x06\x01\x02" + b"\x00" * 4 + b"\x90\xc2\x00\x00\xc0"
    with pytest.raises(RemoteProtocolError, match="cannot be read"):
        decode_messages(unknown + b"\x91" * 100_000)


@given(st.binary(max_size=80))
@settings(deadline=None, max_examples=200)
def test_random_payload_is_messages_or_refused(payload: bytes) -> None:
    try:
        decoded = decode_messages(payload)
    except RemoteProtocolError:
        return
    assert all(isinstance(message, Message) for message in decoded)


@given(st.lists(st.binary(max_size=30), max_size=8))
@settings(deadline=None, max_examples=200)
def test_random_bytes_raise_nothing_else(pieces: list[bytes]) -> None:
    reader = FrameReader()
    try:
        for piece in pieces:
            reader.receive_data(piece)
    except RemoteProtocolError:
        return


def test_large_batch_is_parted_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "BATCH_BYTES_MAX", 2000)
    batch = [
        Message(MessageType.APPEND, 1, 2, index=n, entries=[Entry(1, n, data=b"x" * 700)])
        for n in range(10)
    ]
    frames = FrameReader().receive_data(encode_messages(batch))
    assert len(frames) > 1
    assert all(len(payload) <= 2000 for _, payload in frames)
    assert [m for _, payload in frames for m in decode_messages(payload)] == batch


def test_single_large_message_is_one_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "BATCH_BYTES_MAX", 100)
    batch = [Message(MessageType.APPEND, 1, 2, entries=[Entry(1, 1, data=b"x" * 1000)])]
    ((_, payload),) = FrameReader().receive_data(encode_messages(batch))
    assert decode_messages(payload) == batch

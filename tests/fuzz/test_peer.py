"""What other members send: frames, messages, who calls, and images of the state."""

from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.mutations import CUTS, bytewise, fuzz, fuzz_less, mutated, split_at

from kvorum.backend.base import Installer, Table
from kvorum.backend.image import ImageReader, Trailer, Triple, _frame, encode_image
from kvorum.backend.lmdbenv import LmdbBackend
from kvorum.backend.memory import MemoryBackend
from kvorum.errors import KvorumError, RemoteProtocolError
from kvorum.peer import handshake
from kvorum.peer.codec import (
    FrameKind,
    FrameReader,
    decode_messages,
    encode_frame,
    encode_messages,
)
from kvorum.raft.types import ConfState, Entry, EntryType, Message, MessageType, SnapshotMeta

MESSAGES = [
    Message(MessageType.APPEND, 1, 2, 3, 4, 5, entries=[Entry(1, 2, EntryType.NORMAL, b"abc")]),
    Message(MessageType.SNAPSHOT, 1, 2, 3, snapshot=SnapshotMeta(3, 2, ConfState((1, 2), (3,)))),
    Message(MessageType.VOTE_RESPONSE, 1, 2, 1 << 63, reject=True, context=1 << 63),
]
PAYLOAD = msgspec.msgpack.encode(MESSAGES)
FRAMES = encode_messages(MESSAGES) + encode_frame(FrameKind.END) + encode_messages([])
TRIPLES = [Triple(table, b"key", b"value" * 5) for table in Table]
IMAGE = b"".join(encode_image(TRIPLES, (5, 2), 20))
IMAGE_PAYLOADS = [
    msgspec.msgpack.encode(one) for one in (TRIPLES, Trailer(4, 5, 2), [], ["end", 0, 5, 2, None])
]

CLUSTER, OWN = 0xC1, 0xB
CALL = {
    b"upgrade": handshake.PROTOCOL,
    b"x-kvorum-protocol": handshake.VERSION,
    b"x-kvorum-cluster-id": b"c1",
    b"x-kvorum-target-id": b"b",
    b"x-kvorum-member-id": b"a",
    b"x-kvorum-peer-url": b"http://h:7001",
}


def read_frames(pieces: list[bytes]) -> tuple[list[tuple[FrameKind, bytes]], bool]:
    """The frames, and whether something was refused behind them."""
    reader, frames = FrameReader(), []
    try:
        for piece in pieces:
            frames += reader.receive_data(piece)
    except RemoteProtocolError:
        return frames, True
    return frames, False


@fuzz
@given(mutated(FRAMES), CUTS)
def test_frames_are_read_or_refused_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    bytes_alone = read_frames(bytewise(data))
    for pieces in ([data], split_at(data, cuts)):
        frames, is_refused = read_frames(pieces)
        assert is_refused == bytes_alone[1]
        # A refusal takes the frames before it in the same piece with it.
        assert frames == bytes_alone[0][: len(frames) if is_refused else None]


@fuzz
@given(mutated(PAYLOAD))
def test_messages_are_read_or_refused(payload: bytes) -> None:
    try:
        messages = decode_messages(payload)
    except RemoteProtocolError:
        return
    assert decode_messages(msgspec.msgpack.encode(messages)) == messages


@fuzz
@given(st.sampled_from(sorted(CALL)), st.data())
def test_a_call_is_taken_or_refused(name: bytes, data: st.DataObject) -> None:
    value = data.draw(mutated(CALL[name]))
    caller = handshake.read_caller({**CALL, name: value}, CLUSTER, OWN)
    assert 0 <= caller.member_id < 1 << 64
    if name in {b"upgrade", b"x-kvorum-protocol"}:
        assert bool(caller.fault) == (value != CALL[name])
    elif not caller.fault:
        request = handshake.request("http://h", "/", CLUSTER, caller.member_id, OWN)
        assert b"X-Kvorum-Member-Id: %x\r\n" % caller.member_id in request


def read_image(pieces: list[bytes]) -> tuple[list[Triple], Trailer] | None:
    reader, triples = ImageReader(), []
    try:
        for piece in pieces:
            triples += reader.feed(piece)
        return triples, reader.check_complete()
    except RemoteProtocolError:
        return None


@fuzz
@given(mutated(IMAGE), CUTS)
def test_an_image_is_read_or_refused_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    whole = read_image([data])
    assert read_image(split_at(data, cuts)) == whole
    assert read_image(bytewise(data)) == whole
    if whole is not None:
        triples, trailer = whole
        again = b"".join(encode_image(triples, (trailer.index, trailer.term), 20))
        assert read_image([again]) == whole


def install(installer: Installer, payloads: list[bytes]) -> None:
    try:
        for payload in payloads:
            installer.write(_frame(payload))
        installer.prepare()
        installer.finish()
    except KvorumError:
        installer.abort()


@fuzz
@given(st.lists(mutated(*IMAGE_PAYLOADS), max_size=3))
def test_an_image_is_installed_in_memory_or_refused(payloads: list[bytes]) -> None:
    install(MemoryBackend().installer(), payloads)


@fuzz_less
@given(st.lists(mutated(*IMAGE_PAYLOADS), max_size=3))
def test_an_image_is_installed_on_disk_or_refused(payloads: list[bytes]) -> None:
    with TemporaryDirectory() as folder:
        backend = LmdbBackend.open(Path(folder) / "backend", lambda callback: callback())
        install(backend.installer(), payloads)
        backend.close()

"""Frames between members, and the messages in them: bytes on one side, values on the other.

    frame = payload length (4 bytes) | CRC32C of kind and payload (4) | kind (1) | payload

Integers are big endian. A MESSAGES payload is a msgpack list of raft messages, empty to show that
the sender is alive. A snapshot is one MESSAGES frame with the SNAPSHOT message, CHUNK frames whose
payload belongs to the backend, END, and in the other direction DONE.

Rules:
    0 <= payload length <= FRAME_BYTES_MAX; a sender puts several messages into one frame only up
    to BATCH_BYTES_MAX.
    Whatever breaks the form raises RemoteProtocolError and the connection is to be closed, for
    nothing behind it can be trusted.
"""

import struct
from collections.abc import Sequence
from enum import IntEnum

import msgspec
from google_crc32c import extend as extend_crc32c
from google_crc32c import value as crc32c

from kvorum.decoding import FAULTS
from kvorum.errors import RemoteProtocolError
from kvorum.raft.types import Message

FRAME_BYTES_MAX = 64 << 20
"""Far above one batch of entries; keeps a broken length from taking all memory."""

BATCH_BYTES_MAX = 8 << 20
"""A longer batch is sent as several frames, so that the receiver can begin with the first."""

_HEAD = struct.Struct(">IIB")

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Message]).decode


class FrameKind(IntEnum):
    """What a frame carries."""

    MESSAGES = 1
    CHUNK = 2
    END = 3
    DONE = 4


_KINDS = {int(kind): (kind, crc32c(bytes((kind,)))) for kind in FrameKind}
"""Each kind with the checksum that its payload continues."""


def encode_frame(kind: FrameKind, payload: bytes = b"") -> bytes:
    """One frame, ready to be written."""
    assert len(payload) <= FRAME_BYTES_MAX
    return _HEAD.pack(len(payload), extend_crc32c(_KINDS[kind][1], payload), kind) + payload


def encode_messages(messages: Sequence[Message]) -> bytes:
    """Messages as one frame, or as several when they are many and large."""
    payload = _encode(messages)
    if len(payload) <= BATCH_BYTES_MAX or len(messages) == 1:
        return encode_frame(FrameKind.MESSAGES, payload)
    middle = len(messages) // 2
    return encode_messages(messages[:middle]) + encode_messages(messages[middle:])


def decode_messages(payload: bytes) -> list[Message]:
    """The messages of a MESSAGES frame. Raises RemoteProtocolError for anything else."""
    try:
        return _decode(payload)
    except FAULTS as error:
        raise RemoteProtocolError(f"messages cannot be read: {error}") from error


class FrameReader:
    """Cuts a stream of bytes into frames. What is not complete yet is copied once."""

    __slots__ = ("_missing", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._missing = _HEAD.size
        """Bytes needed before anything can be said about what is in `_pieces`."""

    def receive_data(self, data: bytes) -> list[tuple[FrameKind, bytes]]:
        """Takes what came in and returns the frames it completed.

        Raises:
            RemoteProtocolError: a frame is too large, damaged, or of no known kind.
        """
        if len(data) < self._missing:
            self._pieces.append(data)
            self._missing -= len(data)
            return []
        if self._pieces:
            data = b"".join([*self._pieces, data])
        frames: list[tuple[FrameKind, bytes]] = []
        start, needed = 0, _HEAD.size
        while len(data) - start >= needed:
            length, checksum, number = _HEAD.unpack_from(data, start)
            if length > FRAME_BYTES_MAX:
                raise RemoteProtocolError(f"a frame of {length} bytes is too large")
            needed = _HEAD.size + length
            if len(data) - start < needed:
                break
            frames.append(_read_frame(number, checksum, data[start + _HEAD.size : start + needed]))
            start += needed
            needed = _HEAD.size
        self._pieces = [data[start:]]
        self._missing = needed - (len(data) - start)
        return frames


def _read_frame(number: int, checksum: int, payload: bytes) -> tuple[FrameKind, bytes]:
    known = _KINDS.get(number)
    if known is None:
        raise RemoteProtocolError(f"{number} is no kind of frame")
    kind, seed = known
    if extend_crc32c(seed, payload) != checksum:
        raise RemoteProtocolError("a frame was damaged on its way")
    return kind, payload

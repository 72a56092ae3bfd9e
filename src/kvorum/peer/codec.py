"""Frames between members, and the messages in them: bytes on one side, values on the other.

    frame = payload length (4 bytes) | CRC32C of kind and payload (4) | kind (1) | payload

Integers are big endian. A MESSAGES payload is a msgpack list of raft messages, empty to show that
the sender is alive. A snapshot is one MESSAGES frame with the SNAPSHOT message, CHUNK frames whose
payload belongs to the backend, END, and in the other direction DONE.

Rules: 0 <= payload length <= FRAME_BYTES_MAX; whatever breaks the form raises RemoteProtocolError
and the connection is to be closed, for nothing behind it can be trusted.
"""

import struct
from collections.abc import Sequence
from enum import IntEnum

import msgspec
from google_crc32c import value as crc32c

from kvorum.errors import RemoteProtocolError
from kvorum.raft.types import Message

FRAME_BYTES_MAX = 64 << 20
"""Far above one batch of entries; keeps a broken length from taking all memory."""

_HEAD = struct.Struct(">IIB")

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Message]).decode


class FrameKind(IntEnum):
    """What a frame carries."""

    MESSAGES = 1
    CHUNK = 2
    END = 3
    DONE = 4


def encode_frame(kind: FrameKind, payload: bytes = b"") -> bytes:
    """One frame, ready to be written."""
    return _HEAD.pack(len(payload), crc32c(bytes((kind,)) + payload), kind) + payload


def encode_messages(messages: Sequence[Message]) -> bytes:
    """One MESSAGES frame."""
    return encode_frame(FrameKind.MESSAGES, _encode(messages))


def decode_messages(payload: bytes) -> list[Message]:
    """The messages of a MESSAGES frame. Raises RemoteProtocolError for anything else."""
    try:
        return _decode(payload)
    except msgspec.DecodeError as error:
        raise RemoteProtocolError(f"messages cannot be read: {error}") from error


class FrameReader:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive_data(self, data: bytes) -> list[tuple[FrameKind, bytes]]:
        """Takes what came in and returns the frames it completed.

        Raises:
            RemoteProtocolError: a frame is too large, damaged, or of no known kind.
        """
        buffer = self._buffer
        buffer += data
        frames: list[tuple[FrameKind, bytes]] = []
        start = 0
        while len(buffer) - start >= _HEAD.size:
            length, checksum, kind = _HEAD.unpack_from(buffer, start)
            if length > FRAME_BYTES_MAX:
                raise RemoteProtocolError(f"a frame of {length} bytes is too large")
            payload_start = start + _HEAD.size
            end = payload_start + length
            if len(buffer) < end:
                break
            payload = bytes(buffer[payload_start:end])
            if crc32c(bytes((kind,)) + payload) != checksum:
                raise RemoteProtocolError("a frame was damaged on its way")
            frames.append((_kind(kind), payload))
            start = end
        del buffer[:start]
        return frames


def _kind(number: int) -> FrameKind:
    try:
        return FrameKind(number)
    except ValueError as error:
        raise RemoteProtocolError(f"{number} is no kind of frame") from error

"""One record of the log, as bytes: framing, checksum chain, and what can be told of a damaged one.

    offset  size  field
    0       4     crc       CRC-32C of what follows up to the end of the payload, begun at `prev`
    4       4     length    bytes of payload, at least 1
    8       4     prev      `crc` of the record before, over all segments; 0 before the first
    12      4     offset    where in its segment this record begins
    16      4     durable   so many bytes of its segment were durable when the record was written
    20      1     type      `RecordType`
    21      3     magic     "kvm": makes records findable behind a damaged one
    24      n     payload   MessagePack
    24+n    0..7  zeros     up to a multiple of 8

All numbers are little endian. A record proves itself: `prev` is in it, so `decode` needs no other.
Rules:

1. A log is a chain: every record's `prev` is the `crc` of the one before.
2. `durable <= offset`, and it never falls within a segment.
3. `durable` is what tells a torn tail from damage: a sound record with `durable > x` shows that the
   bytes at `x` were once safe on disk.

Source: Castagnoli's CRC as in RFC 3720, section 12.1.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

import google_crc32c
from msgspec import Struct, msgpack

from kvorum.raft.types import Entry, HardState, Index, SnapshotMeta

HEADER = struct.Struct("<IIIIIB3s")
MAGIC = b"kvm"
ALIGNMENT = 8
SEGMENT_BYTES_MAX = 1 << 32
"""Offsets are 32 bits wide."""

_AFTER_CRC = struct.Struct("<IIIIB3s")
_MAGIC_OFFSET = 21
_PADDING = tuple(bytes(-size % ALIGNMENT) for size in range(ALIGNMENT))

_extend_crc = google_crc32c.extend
_encode_payload = msgpack.Encoder().encode


class RecordType(IntEnum):
    """What a payload is. Numbers are on disk: never reuse one."""

    HEAD = 1
    """`Head`: the first record of every segment, and of nothing else."""
    ENTRY = 2
    """`Entry`; it replaces entries from its index on."""
    HARD_STATE = 3
    """`HardState`; it replaces the one before."""
    SNAPSHOT = 4
    """`SnapshotMeta`; the log begins anew after its index."""


class Head(Struct, array_like=True):
    """What a segment repeats, so that those before it can be deleted.

    Attributes:
        sequence: number of the segment, from 1.
        allocated_bytes: size the file was given; its last record ends at or before it.
        next_index: index that would follow the last entry of the segments before.
        metadata: the caller's, given when the log was made.
        hard_state: in force when the segment was begun.
        snapshot: the newest marker then.
    """

    sequence: int
    allocated_bytes: int
    next_index: Index
    metadata: bytes
    hard_state: HardState
    snapshot: SnapshotMeta


Payload = Head | Entry | HardState | SnapshotMeta

_DECODERS: dict[int, msgpack.Decoder[Payload]] = {
    RecordType.HEAD: msgpack.Decoder(Head),
    RecordType.ENTRY: msgpack.Decoder(Entry),
    RecordType.HARD_STATE: msgpack.Decoder(HardState),
    RecordType.SNAPSHOT: msgpack.Decoder(SnapshotMeta),
}


def encoded_size(value: Payload) -> int:
    """Bytes that the record of `value` takes, padding included."""
    size = HEADER.size + len(_encode_payload(value))
    return size + -size % ALIGNMENT


class Record(NamedTuple):
    """A sound record and where it stood; `end` includes the padding."""

    offset: int
    end: int
    crc: int
    prev: int
    durable: int
    type: int
    payload: bytes

    def decode_payload(self) -> Payload:
        """The payload's value.

        Raises:
            msgspec.DecodeError: it is not what `type` says.
            KeyError: `type` is not known to this version.
        """
        return _DECODERS[self.type].decode(self.payload)


class Encoder:
    """Makes the records of one segment.

    Attributes:
        chain: `crc` of the last record made.
        offset: where the next one begins.
    """

    __slots__ = ("chain", "offset")

    def __init__(self, chain: int, offset: int) -> None:
        self.chain = chain
        self.offset = offset

    def encode(self, record_type: RecordType, value: Payload, durable: int) -> bytes:
        """The next record, padding included."""
        payload = _encode_payload(value)
        length = len(payload)
        prev, offset = self.chain, self.offset
        body = _AFTER_CRC.pack(length, prev, offset, durable, record_type, MAGIC) + payload
        crc: int = _extend_crc(prev, body)
        self.chain = crc
        record = crc.to_bytes(4, "little") + body + _PADDING[length % ALIGNMENT]
        self.offset = offset + len(record)
        return record


def decode(data: bytes, offset: int, limit: int) -> Record | None:
    """The record at `offset` if a sound one stands there.

    `data` is the segment from its beginning; what is missing of it up to `limit` is zeros.
    """
    if offset + HEADER.size > len(data):
        return None
    crc, length, prev, at, durable, record_type, magic = HEADER.unpack_from(data, offset)
    end = offset + HEADER.size + length
    if magic != MAGIC or at != offset or durable > at or length == 0 or end > limit:
        return None
    body = data[offset + 4 : end]
    if end > len(data):
        body = body.ljust(end - offset - 4, b"\0")
    if _extend_crc(prev, body) != crc:
        return None
    padded_end = end + -end % ALIGNMENT
    if data[end:padded_end].strip(b"\0"):
        return None
    return Record(offset, padded_end, crc, prev, durable, record_type, body[HEADER.size - 4 :])


def find_extent(data: bytes, offset: int) -> int | None:
    """Where the payload of the record at `offset` ends by its own word; None if no length is there.

    Only a length is read: the record need not be sound.
    """
    length = int.from_bytes(data[offset + 4 : offset + 8], "little")
    return offset + HEADER.size + length if length else None


def scan(data: bytes, start: int, limit: int) -> Iterator[Record]:
    """Every sound record that begins at `start` or later, whatever lies between them."""
    position = start + _MAGIC_OFFSET
    while (found := data.find(MAGIC, position)) >= 0:
        position = found + 1
        offset = found - _MAGIC_OFFSET
        if offset % ALIGNMENT:
            continue
        record = decode(data, offset, limit)
        if record is not None:
            yield record
            position = record.end + _MAGIC_OFFSET

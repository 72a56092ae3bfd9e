"""Records prove themselves, wherever they are found."""

import os

import pytest

from kvorum.raft.types import ConfState, Entry, EntryType, HardState, SnapshotMeta
from kvorum.wal.record import (
    ALIGNMENT,
    HEADER,
    Encoder,
    Head,
    Payload,
    Record,
    RecordType,
    decode,
    encoded_size,
    find_extent,
    scan,
)

SAMPLES: list[tuple[RecordType, Payload]] = [
    (RecordType.HEAD, Head(1, 4096, 1, b"metadata", HardState(3, 2, 1), SnapshotMeta())),
    (RecordType.ENTRY, Entry(3, 7, EntryType.NORMAL, b"a value")),
    (RecordType.ENTRY, Entry(3, 8)),
    (RecordType.ENTRY, Entry(2**64 - 1, 2**64 - 1, EntryType.CONF_CHANGE, b"\0" * 700)),
    (RecordType.HARD_STATE, HardState(3, 2**63, 8)),
    (RecordType.SNAPSHOT, SnapshotMeta(7, 3, ConfState(voters=(1, 2), learners=(3,)))),
]


def encode_all(durable: int = 0) -> bytes:
    encoder = Encoder(0, 0)
    return b"".join(encoder.encode(kind, value, durable) for kind, value in SAMPLES)


def read_all(data: bytes) -> list[Record]:
    records = []
    offset = 0
    while record := decode(data, offset, len(data)):
        records.append(record)
        offset = record.end
    assert offset == len(data)
    return records


def test_values_come_back_in_order_and_chained() -> None:
    records = read_all(encode_all())
    assert [(record.type, record.decode_payload()) for record in records] == SAMPLES
    assert [record.prev for record in records] == [0, *(record.crc for record in records[:-1])]


def test_encoder_goes_on_where_another_ended() -> None:
    data = encode_all()
    last = read_all(data)[-1]
    more = Encoder(last.crc, last.end).encode(RecordType.ENTRY, Entry(4, 9), last.end)
    record = read_all(data + more)[-1]
    assert (record.prev, record.durable, record.offset) == (last.crc, last.end, last.end)


@pytest.mark.parametrize(("kind", "value"), SAMPLES)
def test_size_is_aligned_and_known_beforehand(kind: RecordType, value: Payload) -> None:
    record = Encoder(0, 0).encode(kind, value, 0)
    assert len(record) == encoded_size(value)
    assert len(record) % ALIGNMENT == 0


def test_any_changed_byte_is_noticed() -> None:
    data = Encoder(77, 0).encode(RecordType.ENTRY, Entry(3, 7, EntryType.NORMAL, b"abc"), 0)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 0x10
        assert decode(bytes(changed), 0, 4096) is None, place


def test_any_cut_is_noticed_unless_only_zeros_are_cut() -> None:
    data = encode_all()
    last = read_all(data)[-2]
    payload_end = last.offset + HEADER.size + len(last.payload)
    for size in range(last.offset, payload_end):
        is_same = not any(data[size : last.end])
        assert (decode(data[:size], last.offset, len(data)) is not None) == is_same
    assert decode(data[:payload_end], last.offset, len(data)) == last


def test_record_is_sound_only_where_it_was_written() -> None:
    data = encode_all()
    assert decode(bytes(ALIGNMENT) + data, ALIGNMENT, 4096) is None


def test_record_may_not_pass_the_limit() -> None:
    data = encode_all()
    end = read_all(data)[0].end
    assert decode(data, 0, end)
    assert decode(data, 0, end - ALIGNMENT) is None


def test_scan_finds_what_lies_behind_damage() -> None:
    data = bytearray(encode_all())
    records = read_all(bytes(data))
    data[records[1].offset : records[2].offset + 9] = os.urandom(
        records[2].offset + 9 - records[1].offset
    )
    assert list(scan(bytes(data), ALIGNMENT, len(data))) == records[3:]
    assert list(scan(bytes(data), records[3].end, len(data))) == records[4:]


def test_scan_does_not_take_a_copied_record_for_one() -> None:
    value = Entry(3, 7, EntryType.NORMAL, encode_all() * 3)
    data = bytearray(Encoder(0, 0).encode(RecordType.ENTRY, value, 0))
    data[0] ^= 1
    assert list(scan(bytes(data), 0, len(data))) == []


def test_extent_needs_only_a_length() -> None:
    data = bytearray(encode_all())
    data[0] ^= 1
    head = SAMPLES[0][1]
    extent = find_extent(bytes(data), 0)
    assert extent is not None
    assert extent + -extent % ALIGNMENT == encoded_size(head)
    assert find_extent(bytes(64), 8) is None
    assert find_extent(b"", 0) is None

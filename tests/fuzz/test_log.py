"""The write-ahead log: what a disk gives back is read, or refused as damage."""

from functools import cache
from itertools import pairwise
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.mutations import fuzz, mutated
from tests.unit.wal.test_repair import SEGMENT_BYTES, disk_of, sample

from kvorum.errors import StorageError
from kvorum.membership import Member
from kvorum.raft.types import ConfState, Entry, HardState, SnapshotMeta
from kvorum.server.files import Identity, LogMetadata, decode_metadata
from kvorum.wal.memory import StepSyncer
from kvorum.wal.record import Encoder, Head, RecordType, decode, scan
from kvorum.wal.repair import verify_files
from kvorum.wal.segment import segment_name
from kvorum.wal.wal import Wal

VALUES = {
    RecordType.HEAD: Head(1, SEGMENT_BYTES, 1, b"meta", HardState(), SnapshotMeta()),
    RecordType.ENTRY: Entry(1, 1, data=b"abc"),
    RecordType.HARD_STATE: HardState(1, 2, 1),
    RecordType.SNAPSHOT: SnapshotMeta(1, 1, ConfState((1, 2))),
}
PAYLOADS = {kind: msgspec.msgpack.encode(value) for kind, value in VALUES.items()}

_spoiled_records = st.one_of(
    [st.tuples(st.just(kind), mutated(PAYLOADS[kind])) for kind in PAYLOADS if kind != 1]
)

_numbers = st.integers(0, 4) | st.sampled_from((-1, (1 << 63) - 1))
_entries = st.builds(Entry, st.just(1) | _numbers, _numbers)
_hard_states = st.builds(HardState, _numbers, _numbers, _numbers)
_snapshots = st.builds(SnapshotMeta, _numbers, _numbers)
_heads = st.builds(
    Head,
    st.just(1),
    st.just(SEGMENT_BYTES) | _numbers,
    st.integers(1, 3),
    st.binary(),
    st.just(HardState()) | _hard_states,
    st.just(SnapshotMeta()) | _snapshots,
)
_records = st.one_of(
    st.tuples(st.just(RecordType.ENTRY), _entries.map(msgspec.msgpack.encode)),
    st.tuples(st.just(RecordType.HARD_STATE), _hard_states.map(msgspec.msgpack.encode)),
    st.tuples(st.just(RecordType.SNAPSHOT), _snapshots.map(msgspec.msgpack.encode)),
)


def open_log(contents: dict[str, bytes]) -> None:
    """Opens the log and writes on; or it is refused, and the report says why."""
    report = verify_files(disk_of(contents))
    assert (report.damage is None) or isinstance(report.damage, StorageError)
    if any(one.allocated_bytes > SEGMENT_BYTES for one in report.segments):
        return  # files in memory are made whole
    syncer = StepSyncer(lambda callback: callback())
    try:
        wal, recovered = Wal.open_in(disk_of(contents), syncer, unused, SEGMENT_BYTES)
    except StorageError:
        return
    assert report.damage is None
    entries = recovered.entries
    assert [entry.index for entry in entries] == list(
        range(recovered.last_index - len(entries) + 1, recovered.last_index + 1)
    )
    assert recovered.hard_state.commit <= recovered.last_index
    term = max(recovered.snapshot.term, *(entry.term for entry in entries), 0)
    wal.append(None, [Entry(term, recovered.last_index + 1)])
    wal.sync_now()


def unused(_: BaseException) -> None:
    raise AssertionError


@fuzz
@given(st.data())
def test_a_log_with_changed_bytes_is_opened_or_refused(data: st.DataObject) -> None:
    contents = sample()
    name = data.draw(st.sampled_from(sorted(contents)))
    used = contents[name].rstrip(b"\0")
    changed = data.draw(mutated(used)).ljust(len(contents[name]), b"\0")
    open_log({**contents, name: changed})


def segment_of(records: list[tuple[RecordType, bytes]]) -> bytes:
    encoder = Encoder(0, 0)
    return b"".join(
        encoder.encode(kind, msgspec.Raw(payload), 0)  # type: ignore[arg-type]
        for kind, payload in records
        if payload
    ).ljust(SEGMENT_BYTES, b"\0")


@fuzz
@given(mutated(PAYLOADS[RecordType.HEAD]), st.lists(_spoiled_records, max_size=5))
def test_a_log_of_records_that_are_none_is_opened_or_refused(
    head: bytes, records: list[tuple[RecordType, bytes]]
) -> None:
    open_log({segment_name(1, 1): segment_of([(RecordType.HEAD, head), *records])})


@fuzz
@given(_heads, st.lists(_records, max_size=8))
def test_a_log_of_records_without_sense_is_opened_or_refused(
    head: Head, records: list[tuple[RecordType, bytes]]
) -> None:
    data = segment_of([(RecordType.HEAD, msgspec.msgpack.encode(head)), *records])
    open_log({segment_name(1, head.next_index): data})


METADATA = LogMetadata(Identity(1, 2, "m"), [Member(1, "m", ("http://h:1",))], peers={1: "http://"})


@fuzz
@given(mutated(msgspec.msgpack.encode(METADATA)))
def test_whose_log_it_is_is_read_or_refused(data: bytes) -> None:
    try:
        metadata = decode_metadata(data, Path("wal"))
    except StorageError:
        return
    assert decode_metadata(msgspec.msgpack.encode(metadata), Path("wal")) == metadata


@cache
def segment() -> bytes:
    return sample()[min(sample())].rstrip(b"\0")


@fuzz
@given(mutated(segment()), st.integers(0, SEGMENT_BYTES))
def test_records_are_found_or_not(data: bytes, start: int) -> None:
    records = list(scan(data, start, SEGMENT_BYTES))
    for record in records:
        assert start <= record.offset < record.end
        assert decode(data, record.offset, SEGMENT_BYTES) == record
    assert all(one.end <= other.offset for one, other in pairwise(records))

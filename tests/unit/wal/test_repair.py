"""A torn tail is told from damage, and damage is never taken for a shorter log."""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from kvorum.errors import StorageError
from kvorum.raft.types import Entry, EntryType, HardState, SnapshotMeta
from kvorum.wal.memory import MemoryLogFiles, StepSyncer
from kvorum.wal.record import HEADER, Encoder, Head, Record, RecordType, decode
from kvorum.wal.repair import Report, verify, verify_files
from kvorum.wal.segment import segment_name
from kvorum.wal.wal import Wal

SEGMENT_BYTES = 3584
ENTRY_COUNT = 13
BATCH_COUNT = 2
"""Entries of the unsynced batch; the last segment holds them and one more."""

History = list[tuple[HardState, SnapshotMeta, tuple[Entry, ...]]]
"""The states a log went through, one for each record of it."""


def unused(_: BaseException) -> None:
    raise AssertionError


def write_log(synced_count: int = ENTRY_COUNT) -> MemoryLogFiles:
    """Entries of rising size over three segments; the last few perhaps as one unsynced batch."""
    disk = MemoryLogFiles()
    syncer = StepSyncer(lambda callback: callback())
    wal = Wal.create_in(disk, b"meta", syncer, unused, SEGMENT_BYTES)
    for index in range(1, ENTRY_COUNT + 1):
        data = bytes([index]) * (300 + 40 * index)
        wal.append(HardState(1, 1, index - 1), [Entry(1, index, EntryType.NORMAL, data)])
        if index <= synced_count:
            wal.sync(lambda: None)
            syncer.step()
    return disk


@cache
def sample() -> dict[str, bytes]:
    disk = write_log()
    return {name: bytes(disk.published[name].data) for name in disk.names()}


def disk_of(contents: dict[str, bytes]) -> MemoryLogFiles:
    disk = MemoryLogFiles()
    for name, data in contents.items():
        disk.put(name, data)
    return disk


def changed(name: str, change: Callable[[bytearray], None]) -> MemoryLogFiles:
    """The sample log with one segment changed."""
    data = bytearray(sample()[name])
    change(data)
    return disk_of({**sample(), name: bytes(data)})


def records_of(name: str) -> list[Record]:
    data = sample()[name]
    records = []
    offset = 0
    while record := decode(data, offset, len(data)):
        records.append(record)
        offset = record.end
    return records


def last_name() -> str:
    return max(sample())


def sum_of(report: Report) -> tuple[HardState, SnapshotMeta, tuple[Entry, ...]]:
    assert report.replay is not None
    recovered = report.replay.recovered()
    return recovered.hard_state, recovered.snapshot, tuple(recovered.entries)


@cache
def history() -> History:
    """What each prefix of the sample log adds up to, by cutting it at every record's end."""
    states: History = []
    before: dict[str, bytes] = {}
    for name, data in sorted(sample().items()):
        for record in records_of(name):
            cut = data[: record.end].ljust(len(data), b"\0")
            states.append(sum_of(verify_files(disk_of({**before, name: cut}))))
        before[name] = data
    return states


def zero(start: int, end: int) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        data[start:end] = bytes(end - start)

    return change


def flip(place: int) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        data[place] ^= 0x40

    return change


def test_sound_log_is_reported_whole() -> None:
    report = verify_files(disk_of(sample()))
    assert (report.torn, report.damage) == (None, None)
    assert [segment.name for segment in report.segments] == sorted(sample())
    assert [segment.sequence for segment in report.segments] == [1, 2, 3]
    assert [segment.record_count for segment in report.segments] == [
        len(records_of(name)) for name in sorted(sample())
    ]
    assert report.segments[-1].last_index == ENTRY_COUNT
    assert sum_of(report) == history()[-1]
    assert len(history()[-1][2]) == ENTRY_COUNT


def test_empty_directory_is_an_empty_report(tmp_path: Path) -> None:
    assert verify(tmp_path) == Report()


def test_real_files_are_verified_and_not_changed(tmp_path: Path) -> None:
    for name, data in sample().items():
        (tmp_path / name).write_bytes(data)
    assert sum_of(verify(tmp_path)) == history()[-1]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == sample()
    shutil.rmtree(tmp_path)
    with pytest.raises(FileNotFoundError):
        verify(tmp_path)


@pytest.mark.slow
def test_every_flipped_byte_is_refused_or_does_not_matter() -> None:
    """Rule: refused, or all of the history is there. Every record was synced, so none may go."""
    for name, data in sample().items():
        for place in range(len(data)):
            report = verify_files(changed(name, flip(place)))
            if report.damage is None:
                assert place >= records_of(name)[-1].end
                assert sum_of(report) == history()[-1], (name, place)
            else:
                assert report.damage.path == Path("memory") / name
                assert report.damage.offset is not None
                assert report.damage.offset <= place


@pytest.mark.slow
def test_every_flipped_byte_of_an_unsynced_batch_leaves_a_prefix() -> None:
    """Rule: refused, or a prefix of the history that holds all that was synced."""
    disk = write_log(ENTRY_COUNT - BATCH_COUNT)
    name = disk.names()[-1]
    whole = bytes(disk.published[name].data)
    for place in range(len(whole)):
        disk.put(name, whole)
        disk.published[name].data[place] ^= 0x40
        report = verify_files(disk)
        if report.damage is None:
            assert sum_of(report) in history()[-1 - 2 * BATCH_COUNT :]


@pytest.mark.slow
def test_log_cut_at_any_byte_of_its_last_records_is_a_torn_tail() -> None:
    """Rule: what is left is a prefix, and holds every record the cut did not touch."""
    name = last_name()
    for count, record in enumerate(reversed(records_of(name)[1:]), start=1):
        for size in range(record.offset, record.end):
            report = verify_files(disk_of({**sample(), name: sample()[name][:size]}))
            is_whole = not any(sample()[name][size : record.end])
            assert report.damage is None
            assert sum_of(report) == history()[-count if is_whole else -1 - count]
            assert (report.torn is None) == (is_whole or size == record.offset)


@pytest.mark.parametrize("sector", [0, 1, 2])
def test_record_with_a_missing_sector_is_a_torn_tail(sector: int) -> None:
    entry, hard_state = records_of(last_name())[-2:]
    boundary = entry.offset - entry.offset % 512 + 512 * sector
    start, end = max(entry.offset, boundary), min(hard_state.offset, boundary + 512)
    tail = zero(hard_state.offset, SEGMENT_BYTES)

    def change(data: bytearray) -> None:
        zero(start, end)(data)
        tail(data)

    report = verify_files(changed(last_name(), change))
    if sector:
        assert report.torn is not None
        assert report.torn.offset == entry.offset
        assert "was not written" in str(report.torn)
    assert report.damage is None
    assert sum_of(report) == history()[-3]


def test_later_records_of_the_same_batch_do_not_make_a_torn_tail_damage() -> None:
    disk = write_log(ENTRY_COUNT - BATCH_COUNT)
    name = disk.names()[-1]
    data = disk.published[name].data
    offsets = [r.offset for r in records_of(name) if r.type == RecordType.ENTRY]
    lost = offsets[-2] - offsets[-2] % 512 + 512
    zero(lost, lost + 512)(data)
    report = verify_files(disk)
    assert report.damage is None
    assert report.torn is not None
    assert report.torn.offset == offsets[-2]


def test_later_records_of_a_later_sync_prove_damage() -> None:
    offset = [r.offset for r in records_of(last_name()) if r.type == RecordType.ENTRY][-2]
    lost = offset - offset % 512 + 512
    damage = verify_files(changed(last_name(), zero(lost, lost + 512))).damage
    assert damage is not None
    assert damage.offset == offset
    assert "it was durable when the one at" in str(damage)


def test_zeros_in_the_place_of_a_synced_record_prove_damage() -> None:
    entry = records_of(last_name())[1]
    damage = verify_files(changed(last_name(), zero(entry.offset, entry.end))).damage
    assert damage is not None
    assert damage.offset == entry.offset


def test_wrong_last_record_without_a_missing_sector_is_damage() -> None:
    entry = records_of(last_name())[-2]

    def change(data: bytearray) -> None:
        flip(entry.offset + HEADER.size + 50)(data)
        zero(entry.end, SEGMENT_BYTES)(data)

    damage = verify_files(changed(last_name(), change)).damage
    assert damage is not None
    assert "no write cut short explains it" in str(damage)
    assert "remove this member" in str(damage)


def test_sound_record_of_another_chain_is_damage() -> None:
    last = records_of(last_name())[-1]
    stranger = Encoder(last.crc ^ 1, last.end).encode(
        RecordType.ENTRY, Entry(1, ENTRY_COUNT + 1, EntryType.NORMAL, bytes(800)), 0
    )

    def change(data: bytearray) -> None:
        data[last.end : last.end + len(stranger)] = stranger

    damage = verify_files(changed(last_name(), change)).damage
    assert damage is not None
    assert damage.offset == last.end
    assert "does not follow the one before it" in str(damage)


def test_length_beyond_the_segment_is_damage() -> None:
    last = records_of(last_name())[-1]
    damage = verify_files(changed(last_name(), flip(last.offset + 5))).damage
    assert damage is not None
    assert damage.offset == last.offset


@pytest.mark.parametrize("size", [-1, 0, (1 << 32) + 1])
def test_size_that_no_segment_has_is_damage(size: int) -> None:
    head = Head(1, size, 1, b"meta", HardState(), SnapshotMeta())
    data = Encoder(0, 0).encode(RecordType.HEAD, head, 0)
    damage = verify_files(disk_of({segment_name(1, 1): data})).damage
    assert damage is not None
    assert f"no segment has {size} bytes" in str(damage)


def test_head_that_contradicts_itself_is_damage() -> None:
    head = Head(1, SEGMENT_BYTES, 1, b"meta", HardState(1, 0, 1), SnapshotMeta())
    data = Encoder(0, 0).encode(RecordType.HEAD, head, 0)
    damage = verify_files(disk_of({segment_name(1, 1): data})).damage
    assert damage is not None
    assert "not the one of its own head" in str(damage)


def test_missing_segment_is_damage() -> None:
    names = sorted(sample())
    damage = verify_files(disk_of({n: sample()[n] for n in (names[0], names[2])})).damage
    assert damage is not None
    assert "segment 2 is missing before it" in str(damage)


def test_first_segments_may_be_gone() -> None:
    name = last_name()
    report = verify_files(disk_of({name: sample()[name]}))
    assert report.damage is None
    whole = history()[-1]
    hard_state, snapshot, entries = sum_of(report)
    assert (hard_state, snapshot) == whole[:2]
    assert entries == whole[2][-len(entries) :]
    assert 0 < len(entries) < ENTRY_COUNT


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_earlier_segment_that_lost_its_end_is_damage(keep: int) -> None:
    name = sorted(sample())[1]
    end = records_of(name)[-keep].offset
    damage = verify_files(changed(name, zero(end, SEGMENT_BYTES))).damage
    assert damage is not None
    assert (damage.path.name, damage.offset) == (name, end)


def test_renamed_segment_is_damage() -> None:
    names = sorted(sample())
    damage = verify_files(disk_of({names[1]: sample()[names[0]]})).damage
    assert damage is not None
    assert "renamed" in str(damage)


def test_damage_names_file_offset_and_remedy() -> None:
    damage = verify_files(changed(min(sample()), flip(200))).damage
    assert isinstance(damage, StorageError)
    assert str(damage).startswith(f"memory/{min(sample())} at byte ")
    assert "Nothing was changed" in str(damage)

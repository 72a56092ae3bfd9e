"""The disk in memory loses what a disk may lose, and nothing else."""

import pytest

from kvorum.wal.memory import SECTOR_BYTES, MemoryLogFiles

NAME = "0000000000000001-0000000000000001.log"


def keep_nothing(_: int) -> int:
    return 0


def keep_all(count: int) -> int:
    return count


def keep_first(count: int) -> int:
    return min(1, count)


def test_synced_bytes_survive_and_others_as_chosen() -> None:
    disk = MemoryLogFiles()
    file = disk.create(NAME, 4 * SECTOR_BYTES)
    file.write(b"a" * SECTOR_BYTES)
    file.sync()
    file.write(b"b" * 10)
    file.write(b"c" * 10)
    assert disk.crash(keep_nothing).read(NAME) == b"a" * SECTOR_BYTES
    assert disk.crash(keep_first).read(NAME) == b"a" * SECTOR_BYTES + b"b" * 10
    assert disk.crash(keep_all).read(NAME) == b"a" * SECTOR_BYTES + b"b" * 10 + b"c" * 10


def test_sectors_survive_one_by_one() -> None:
    disk = MemoryLogFiles()
    file = disk.create(NAME, 4 * SECTOR_BYTES)
    file.sync()
    file.write(b"x" * 3 * SECTOR_BYTES)
    kept = iter([1, 0, 1])
    data = disk.crash(lambda _: next(kept)).read(NAME)
    assert data == b"x" * SECTOR_BYTES + bytes(SECTOR_BYTES) + b"x" * SECTOR_BYTES


def test_new_segment_is_gone_before_its_first_sync() -> None:
    disk = MemoryLogFiles()
    disk.create(NAME, SECTOR_BYTES).write(b"x")
    assert disk.crash(keep_all).names() == []


def test_full_disk_takes_whole_sectors_of_the_last_write() -> None:
    disk = MemoryLogFiles()
    file = disk.create(NAME, 4 * SECTOR_BYTES)
    file.sync()
    disk.free_bytes = SECTOR_BYTES + 3
    with pytest.raises(OSError, match="No space left"):
        file.write(b"x" * 2 * SECTOR_BYTES)
    assert disk.read(NAME) == b"x" * SECTOR_BYTES

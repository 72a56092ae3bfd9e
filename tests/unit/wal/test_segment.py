"""Files of a log: one suite for every implementation, and what only real files have."""

import errno
import os
from pathlib import Path

import pytest

from kvorum.wal.memory import MemoryLogFiles
from kvorum.wal.segment import LogFiles, OsLogFiles, parse_name, segment_name

NAME = segment_name(1, 1)
SIZE = 64 << 10


@pytest.fixture(params=["os", "memory"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> LogFiles:
    return OsLogFiles(tmp_path) if request.param == "os" else MemoryLogFiles()


def test_names_carry_number_and_index_and_sort() -> None:
    assert parse_name(segment_name(2, 300)) == (2, 300)
    assert parse_name(segment_name(2, 300) + ".new") is None
    assert parse_name("lock") is None
    names = [segment_name(number, 5) for number in (9, 10, 255, 256)]
    assert names == sorted(names)


def test_new_segment_appears_with_its_first_sync(files: LogFiles) -> None:
    file = files.create(NAME, SIZE)
    file.write(b"head")
    assert files.names() == []
    assert (file.size, file.durable) == (4, 0)
    file.sync()
    assert files.names() == [NAME]
    assert files.size(NAME) == SIZE
    assert files.read(NAME).rstrip(b"\0") == b"head"
    assert (file.size, file.durable) == (4, 4)
    file.close()


def test_writes_follow_each_other(files: LogFiles) -> None:
    file = files.create(NAME, SIZE)
    file.write(b"one")
    file.sync()
    file.write(b"two")
    assert (file.size, file.durable) == (6, 3)
    assert files.read(NAME).rstrip(b"\0") == b"onetwo"
    file.sync()
    assert file.durable == 6
    file.close()


def test_sealed_segment_closes_with_its_last_sync(files: LogFiles) -> None:
    file = files.create(NAME, SIZE)
    file.write(b"all")
    file.seal()
    file.sync()
    file.close()
    assert files.read(NAME).rstrip(b"\0") == b"all"


def test_reopened_segment_goes_on(files: LogFiles) -> None:
    file = files.create(NAME, SIZE)
    file.write(b"onetwo")
    file.sync()
    file.close()
    files.settle(NAME)
    file = files.open(NAME, 3)
    assert (file.size, file.durable) == (3, 3)
    file.write(b"TWO")
    file.sync()
    file.close()
    assert files.read(NAME).rstrip(b"\0") == b"oneTWO"


def test_wipe_leaves_zeros_and_the_full_length(files: LogFiles) -> None:
    file = files.create(NAME, SIZE)
    file.write(b"x" * 5000)
    file.sync()
    file.close()
    files.wipe(NAME, 3, SIZE)
    assert files.size(NAME) == SIZE
    assert files.read(NAME).rstrip(b"\0") == b"xxx"


def test_removed_segment_is_gone(files: LogFiles) -> None:
    for sequence in (1, 2):
        file = files.create(segment_name(sequence, 1), SIZE)
        file.write(b"x")
        file.sync()
        file.close()
    files.remove(NAME)
    files.close()
    assert files.names() == [segment_name(2, 1)]


def test_segments_after_one_that_cannot_be_deleted_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / segment_name(2, 1)).touch()
    files = OsLogFiles(tmp_path)
    files.remove(NAME)
    files.remove(segment_name(2, 1))
    files.close()
    assert files.names() == [segment_name(2, 1)]
    assert f"one cannot be deleted: [Errno 2] No such file or directory: '{tmp_path}" in caplog.text


def test_real_segment_is_allocated_in_full(tmp_path: Path) -> None:
    file = OsLogFiles(tmp_path).create(NAME, 1 << 20)
    file.write(b"x")
    file.sync()
    file.close()
    status = (tmp_path / NAME).stat()
    assert status.st_size == 1 << 20
    assert status.st_blocks * 512 >= 1 << 20
    assert status.st_mode & 0o777 == 0o600


def test_file_system_that_cannot_allocate_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    file = OsLogFiles(tmp_path).create(NAME, SIZE)
    file.close()
    assert (tmp_path / (NAME + ".new")).stat().st_size == SIZE


def test_full_disk_shows_when_a_segment_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(OSError, match="No space left"):
        OsLogFiles(tmp_path).create(NAME, SIZE)


def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[:7], at))
    file = OsLogFiles(tmp_path).create(NAME, SIZE)
    file.write(b"written in several pieces")
    file.sync()
    file.close()
    assert file.size == 25
    assert (tmp_path / NAME).read_bytes().rstrip(b"\0") == b"written in several pieces"


def name_of(fd: int) -> str:
    return str(Path(f"/proc/self/fd/{fd}").readlink())


def test_settling_syncs_what_another_process_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / NAME).touch()
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(name_of(fd)))
    OsLogFiles(tmp_path).settle(NAME)
    assert synced == [str(tmp_path / NAME), str(tmp_path)]


def test_segment_sealed_during_a_sync_stays_open_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = OsLogFiles(tmp_path).create(NAME, SIZE)
    file.sync()
    file.write(b"one")
    fdatasync = os.fdatasync

    def write_meanwhile(fd: int) -> None:
        if file.size == 3:
            file.write(b"two")
            file.seal()
        fdatasync(fd)

    monkeypatch.setattr(os, "fdatasync", write_meanwhile)
    file.sync()
    assert (file.size, file.durable) == (6, 3)
    file.sync()
    assert file.durable == 6


def test_strays_of_a_crash_go_when_the_log_is_opened(tmp_path: Path) -> None:
    files = OsLogFiles(tmp_path)
    file = files.create(NAME, SIZE)
    file.sync()
    file.close()
    files.create(segment_name(2, 9), SIZE).close()
    files.open(NAME, 0).close()
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_holes_are_read_as_zeros_before_later_data(tmp_path: Path) -> None:
    files = OsLogFiles(tmp_path)
    file = files.create(NAME, 1 << 20)
    file.sync()
    file.close()
    with (tmp_path / NAME).open("r+b") as raw:
        raw.seek(600_000)
        raw.write(b"late")
    data = files.read(NAME)
    assert data.rstrip(b"\0") == bytes(600_000) + b"late"
    assert len(data) < 1 << 20


def test_reading_needs_no_support_for_holes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    (tmp_path / NAME).write_bytes(b"content")
    monkeypatch.setattr(os, "lseek", refuse)
    assert OsLogFiles(tmp_path).read(NAME) == b"content"

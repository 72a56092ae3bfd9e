"""A data directory holds one member, and is held by one process."""

from pathlib import Path

import pytest

from kvorum.errors import StorageError
from kvorum.membership import Member
from kvorum.server.files import DiskFiles, Identity, LogMetadata, decode_metadata

METADATA = LogMetadata(
    Identity(7, 1, "one"), [Member(1, "one", ("http://127.0.0.1:7001",))], is_legacy=True
)


def no_failure(error: BaseException) -> None:
    raise AssertionError(error)


def ignore(callback: object) -> None:
    del callback


def open_files(path: Path) -> DiskFiles:
    return DiskFiles(path, ignore, no_failure)


def test_who_the_log_belongs_to_survives_a_restart(tmp_path: Path) -> None:
    files = open_files(tmp_path / "data")
    wal = files.create_log(METADATA)
    wal.close()
    files.backend.close()
    files.close()
    files = open_files(tmp_path / "data")
    wal, recovered, metadata = files.open_log()
    assert metadata == METADATA
    assert recovered.entries == []
    wal.close()
    files.backend.close()
    files.close()


@pytest.mark.parametrize("encoded", [b"", b"\x01", b"\x91\x93\x01\x02\xa1\xff", b"\x91" * 5000])
def test_a_log_that_says_nothing_of_its_owner_is_refused(tmp_path: Path, encoded: bytes) -> None:
    with pytest.raises(StorageError, match="whose log it is cannot be read") as caught:
        decode_metadata(encoded, tmp_path)
    assert caught.value.path == tmp_path


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    files = open_files(tmp_path / "data")
    with pytest.raises(StorageError, match="in use"):
        open_files(tmp_path / "data")
    files.backend.close()
    files.close()
    again = open_files(tmp_path / "data")
    again.backend.close()
    again.close()


def test_a_state_without_its_log_is_not_begun_anew(tmp_path: Path) -> None:
    wal_dir = tmp_path / "log"
    files = DiskFiles(tmp_path / "data", ignore, no_failure, wal_dir=wal_dir)
    files.create_log(METADATA).close()
    files.backend.set_applied(5, 1)
    files.backend.flush()
    files.backend.close()
    files.close()
    assert list(wal_dir.glob("*"))
    files = open_files(tmp_path / "data")
    with pytest.raises(StorageError, match="Name the directory of its log"):
        files.create_log(METADATA)
    files.backend.close()
    files.close()

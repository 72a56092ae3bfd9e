"""Who may use a data directory, and what is never touched."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kvorum import version
from kvorum.errors import StorageError
from kvorum.wal.datadir import DataDir
from kvorum.wal.segment import segment_name


def listing(path: Path) -> list[str]:
    return sorted(str(file.relative_to(path)) for file in path.rglob("*"))


def test_directory_is_made_private_with_its_parents(tmp_path: Path) -> None:
    data = DataDir.open(tmp_path / "machines" / "one")
    assert data.wal_dir.is_dir()
    assert data.backend_path.parent.is_dir()
    for path in (tmp_path / "machines", data.path, data.path / "member", data.wal_dir):
        assert path.stat().st_mode & 0o777 == 0o700
    assert (data.path / "member" / "format").read_text() == f"kvorum {version.DATA_FORMAT}\n"
    data.release()


def test_directory_can_be_taken_again_after_release(tmp_path: Path) -> None:
    data = DataDir.open(tmp_path)
    data.release()
    data.release()
    DataDir.open(tmp_path).release()


def test_second_taker_is_told_who_has_it(tmp_path: Path) -> None:
    data = DataDir.open(tmp_path)
    with pytest.raises(StorageError, match=rf"in use by another process \({os.getpid()}\)"):
        DataDir.open(tmp_path)
    data.release()


def test_other_process_keeps_its_directory_until_it_ends(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from kvorum.wal.datadir import DataDir;"
        "data = DataDir.open(Path(sys.argv[1])); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(StorageError, match=rf"another process \({process.pid}\)"):
            DataDir.open(tmp_path)
        process.kill()
    DataDir.open(tmp_path).release()


def test_log_elsewhere_is_locked_too(tmp_path: Path) -> None:
    wal_dir = tmp_path / "fast"
    data = DataDir.open(tmp_path / "one", wal_dir)
    assert data.wal_dir == wal_dir
    with pytest.raises(StorageError, match="in use"):
        DataDir.open(tmp_path / "two", wal_dir)
    data.release()
    DataDir.open(tmp_path / "two", wal_dir).release()


def test_has_data_once_a_log_was_begun(tmp_path: Path) -> None:
    assert not DataDir.has_data(tmp_path / "none")
    assert listing(tmp_path) == []
    data = DataDir.open(tmp_path)
    assert not DataDir.has_data(tmp_path)
    (data.wal_dir / segment_name(1, 1)).touch()
    assert DataDir.has_data(tmp_path)
    data.release()


@pytest.mark.parametrize(
    ("sign", "text"),
    [
        ("log", "etcd 0.4"),
        ("conf", "etcd 0.4"),
        ("snapshot/1_20.ss", "etcd 0.4"),
        ("member/snap/db", "etcd 2 or 3"),
        ("member/wal/0000000000000000-0000000000000000.wal", "etcd 2 or 3"),
    ],
)
def test_data_of_another_server_is_refused_untouched(tmp_path: Path, sign: str, text: str) -> None:
    path = tmp_path / sign
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("content")
    before = listing(tmp_path)
    with pytest.raises(StorageError, match=text):
        DataDir.open(tmp_path)
    assert listing(tmp_path) == before


def test_foreign_log_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0000000000000000-0000000000000000.wal").touch()
    with pytest.raises(StorageError, match="etcd 2 or 3"):
        DataDir.open(tmp_path / "data", tmp_path)
    assert not (tmp_path / "data").exists()


def test_directory_another_server_was_started_in_is_refused(tmp_path: Path) -> None:
    DataDir.open(tmp_path).release()
    (tmp_path / "member" / "snap").mkdir()
    with pytest.raises(StorageError, match="etcd 2 or 3"):
        DataDir.open(tmp_path)


def test_own_directory_may_hold_snapshots_and_a_log_file(tmp_path: Path) -> None:
    DataDir.open(tmp_path).release()
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "log").write_text("output of the server")
    DataDir.open(tmp_path).release()
    (tmp_path / "conf").write_text("{}")
    with pytest.raises(StorageError, match=r"etcd 0\.4"):
        DataDir.open(tmp_path)


def test_empty_log_file_is_no_sign(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    DataDir.open(tmp_path).release()


def test_unknown_format_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "member").mkdir()
    (tmp_path / "member" / "format").write_text("kvorum 999\n")
    with pytest.raises(StorageError, match='has format "kvorum 999"') as caught:
        DataDir.open(tmp_path)
    assert caught.value.path == tmp_path / "member" / "format"
    assert listing(tmp_path) == ["member", "member/format"]


def test_log_without_a_format_is_refused(tmp_path: Path) -> None:
    data = DataDir.open(tmp_path)
    (data.wal_dir / segment_name(1, 1)).touch()
    data.release()
    (tmp_path / "member" / "format").unlink()
    with pytest.raises(StorageError, match="file is missing although a log is there"):
        DataDir.open(tmp_path)


def test_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        DataDir.open(tmp_path / "file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_directory_without_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="cannot be written: Permission denied"):
        DataDir.open(tmp_path / "data")
    tmp_path.chmod(0o700)


def test_failed_write_lets_the_lock_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: os.close(-1))
        with pytest.raises(StorageError, match="cannot be written"):
            DataDir.open(tmp_path)
    DataDir.open(tmp_path).release()


def test_what_was_kept_is_removed_and_the_rest_stays(tmp_path: Path) -> None:
    data = DataDir.open(tmp_path)
    segment = data.wal_dir / segment_name(1, 1)
    for file in (segment, data.backend_path, data.backend_path.with_name("db-lock")):
        file.write_bytes(b"x")
    (tmp_path / "mine").write_bytes(b"x")
    data.clear()
    assert not DataDir.has_data(tmp_path)
    assert sorted(file.name for file in data.backend_path.parent.iterdir()) == [
        "format", "lock", "wal",
    ]  # fmt: skip
    assert (tmp_path / "mine").exists()
    data.clear()
    data.release()


def test_what_cannot_be_removed_is_named(tmp_path: Path) -> None:
    data = DataDir.open(tmp_path)
    data.backend_path.mkdir()
    with pytest.raises(StorageError, match="cannot be removed"):
        data.clear()
    data.release()

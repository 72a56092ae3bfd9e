"""Everything under a data directory: names, one process at a time, and the format it is in.

    DIR/                    0700 where it is made here
        member/             0700; there once a server was started here
            lock            flock; holds the process id of the owner
            format          "kvorum 1"
            wal/            the log, unless it has a directory of its own
            db              the store of records
        standby_info        `server/standby.py`

A directory that holds another server's data, or a format this version does not know, is refused
before anything is made or changed in it. The files of etcd 0.4 (`log`, `conf`, `snapshot`) and of
etcd 3 (`member/snap`, `member/wal/*.wal`) have other names than ours, so neither server takes the
other's for its own.
Source: reference contract, v2-api section 11; v3-operations section 7.
"""

import fcntl
import os
from pathlib import Path

from kvorum import version
from kvorum.errors import StorageError
from kvorum.wal.segment import parse_name, sync_directory


class DataDir:
    """A data directory held by this process until `release`.

    Attributes:
        path: the directory itself.
        wal_dir: where the log's segments are.
        backend_path: where the store of records is.
    """

    def __init__(self, path: Path, wal_dir: Path, locks: list[int]) -> None:
        self.path = path
        self.wal_dir = wal_dir
        self.backend_path = _member(path) / "db"
        self._locks = locks

    @classmethod
    def open(cls, path: Path, wal_dir: Path | None = None) -> "DataDir":
        """Takes the directory for this process, and makes it with its parents if need be.

        `wal_dir` puts the log elsewhere, on a disk of its own.

        Raises:
            StorageError: another process holds it, another server's data is in it, its format is
                not this version's, or it cannot be written.
        """
        wal_path = _wal_path(path, wal_dir)
        locks: list[int] = []
        try:
            _check(path, wal_path)
            for directory in (_member(path), wal_path):
                _make(directory)
            locks.append(_lock(_member(path) / "lock"))
            if wal_dir is not None:
                locks.append(_lock(wal_dir / "lock"))
            _write_format(_member(path) / "format")
        except OSError as error:
            _unlock(locks)
            raise StorageError(
                f"the data directory cannot be written: {error.strerror}. Give it to the user who "
                "runs the server, or use another",
                Path(error.filename or path),
            ) from error
        except StorageError:
            _unlock(locks)
            raise
        return cls(path, wal_path, locks)

    @staticmethod
    def has_data(path: Path, wal_dir: Path | None = None) -> bool:
        """Whether a member lives here: its log was begun. Makes nothing."""
        try:
            return any(parse_name(file.name) for file in _wal_path(path, wal_dir).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return False

    def clear(self) -> None:
        """Removes what the member kept; call it before anything in here is opened.

        The store goes first and the log's beginning before its end, so that what is left of an
        interrupted removal is refused, and never taken for a member of earlier days.

        Raises:
            StorageError: something cannot be removed.
        """
        try:
            for file in sorted(self.backend_path.parent.glob(f"{self.backend_path.name}*")):
                file.unlink()
            sync_directory(self.backend_path.parent)
            for file in sorted(self.wal_dir.iterdir()):
                if parse_name(file.name):
                    file.unlink()
                    sync_directory(self.wal_dir)
        except OSError as error:
            raise StorageError(
                f"it cannot be removed: {error.strerror}", Path(error.filename or self.path)
            ) from error

    def release(self) -> None:
        """Lets another process have it. May be called twice."""
        _unlock(self._locks)


def _member(path: Path) -> Path:
    return path / "member"


def _wal_path(path: Path, wal_dir: Path | None) -> Path:
    return wal_dir or _member(path) / "wal"


def _check(path: Path, wal_path: Path) -> None:
    """Raises StorageError unless a server of this version may start here; changes nothing."""
    format_path = _member(path) / "format"
    found = _read_format(format_path)
    _refuse_etcd_3(path, wal_path)
    _refuse_etcd_04(path, is_ours=found is not None)
    if found is None:
        if DataDir.has_data(path, wal_path):
            raise StorageError(
                "the file is missing although a log is there: the directory is only a part of what "
                "it was. Restore it whole from a backup, or start with an empty one",
                format_path,
            )
    elif found != _format():
        raise StorageError(
            f'the data directory has format "{found}", this version reads "{_format()}". Start the '
            "version that wrote it, or one that can read both",
            format_path,
        )


def _refuse_etcd_3(path: Path, wal_path: Path) -> None:
    for sign in (_member(path) / "snap", *sorted(wal_path.glob("*.wal"))[:1]):
        if sign.exists():
            raise StorageError(
                "this is the data of an etcd 2 or 3 server, which is not read here. Use another "
                "data directory, and bring the keys over with etcdctl",
                sign,
            )


def _refuse_etcd_04(path: Path, *, is_ours: bool) -> None:
    """Our own 0.4 era may keep a `snapshot` directory, and a user a file named `log`."""
    log, conf, snapshot = path / "log", path / "conf", path / "snapshot"
    signs = [file for file in (log, conf) if file.is_file() and file.stat().st_size]
    if is_ours:
        signs = signs if signs == [log, conf] else []
    elif snapshot.is_dir():
        signs.append(snapshot)
    if signs:
        raise StorageError(
            "this is the data of an etcd 0.4 server, which is not read here. Use another data "
            "directory, or move `log`, `conf` and `snapshot` away to begin anew",
            signs[0],
        )


def _make(directory: Path) -> None:
    """Makes a directory and its missing parents, 0700 and durable."""
    if directory.is_dir():
        return
    _make(directory.parent)
    directory.mkdir(0o700, exist_ok=True)
    sync_directory(directory.parent)


def _lock(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError as error:
        owner = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
        os.close(fd)
        raise StorageError(
            f"the data directory is in use by another process ({owner}). Stop that one, or use "
            "another directory",
            path,
        ) from error
    except BaseException:
        os.close(fd)
        raise
    return fd


def _unlock(locks: list[int]) -> None:
    while locks:
        os.close(locks.pop())


def _format() -> str:
    return f"kvorum {version.DATA_FORMAT}"


def _read_format(path: Path) -> str | None:
    try:
        return path.read_text("ascii", "replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _write_format(path: Path) -> None:
    """Writes the format of a new directory, in one durable step."""
    if path.exists():
        return
    temporary = path.with_name("format.new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(fd, f"{_format()}\n".encode())
        os.fsync(fd)
    finally:
        os.close(fd)
    temporary.rename(path)
    sync_directory(path.parent)

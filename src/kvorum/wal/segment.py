"""The files of a log: names, and what the log asks of the system underneath.

`LogFiles` is the directory, `LogFile` the one segment that is written. There are two
implementations: `OsLogFiles` here, and `memory.MemoryLogFiles`, which loses what was not synced.

Rules:

1. A segment is given its whole size when it is made, so that making appended bytes durable changes
   no metadata and costs one flush of the device. Bytes not yet written are zeros.
2. A new segment has a temporary name until its first `sync`: a published segment always has its
   first record. The segment before is synced first (the caller's duty), so whatever stands before
   the last published segment is durable and complete.
3. `durable <= size`: bytes below `durable` survive a power cut.
"""

import errno
import logging
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from kvorum.raft.types import Index

_NAME = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.log")
_TEMPORARY_SUFFIX = ".new"
_READ_BYTES = 1 << 20

_log = logging.getLogger("kvorum.wal")


def segment_name(sequence: int, next_index: Index) -> str:
    """File name of a segment: its number, and the index of the first entry it is to take."""
    return f"{sequence:016x}-{next_index:016x}.log"


def parse_name(name: str) -> tuple[int, Index] | None:
    """Number and first index in a segment's file name; None for any other file."""
    match = _NAME.fullmatch(name)
    return (int(match[1], 16), int(match[2], 16)) if match else None


class LogFile(Protocol):
    """A segment that is being written. `write` and `sync` may run in different threads."""

    @property
    def size(self) -> int:
        """Bytes written, from the beginning."""

    @property
    def durable(self) -> int:
        """Bytes known to be durable, from the beginning."""

    def write(self, data: bytes) -> None:
        """Appends. Raises OSError; part of `data` may then be in the file."""

    def sync(self) -> None:
        """Makes durable what was written before the call, and publishes a new segment."""

    def seal(self) -> None:
        """Nothing more is written; the next `sync` is the last, and closes."""

    def close(self) -> None:
        """Closes without making anything durable. It may be called twice."""


class LogFiles(Protocol):
    """The directory of a log. Every method may raise OSError."""

    def names(self) -> list[str]:
        """Published segments, oldest first."""

    def path(self, name: str) -> Path:
        """Where a segment is, for messages."""

    def size(self, name: str) -> int:
        """Length of the file, unwritten zeros included."""

    def read(self, name: str) -> bytes:
        """The segment from its beginning; trailing zeros may be left out."""

    def settle(self, name: str) -> None:
        """Makes the segment durable as it is, so that `read` shows what a power cut would leave."""

    def wipe(self, name: str, start: int, size: int) -> None:
        """Zeros from `start` on, and the length `size`, durable."""

    def create(self, name: str, size: int) -> LogFile:
        """A new segment of `size` zeros, under a temporary name until it is synced."""

    def open(self, name: str, end: int) -> LogFile:
        """A published, settled segment, the last, to be written from `end` on."""

    def remove(self, name: str) -> None:
        """Deletes a segment, soon, and in the order of the calls; a failure is only logged."""

    def close(self) -> None:
        """Returns when what was to be deleted is gone. Nothing may follow."""


class OsLogFile:
    """A segment in a file system."""

    def __init__(self, path: Path, fd: int, size: int, *, is_published: bool) -> None:
        self.size = size
        self.durable = size
        self._path = path
        self._fd = fd
        self._is_published = is_published
        self._is_sealed = False

    def write(self, data: bytes) -> None:
        """Appends, in one system call unless the system takes less than all."""
        written = os.pwrite(self._fd, data, self.size)
        self.size += written
        if written < len(data):
            self.write(data[written:])

    def sync(self) -> None:
        """Makes durable what was written before the call, and publishes a new segment."""
        is_sealed = self._is_sealed  # read first: once it is set, `size` is final
        size = self.size
        if not self._is_published:
            self._publish()
        elif self.durable < size:
            os.fdatasync(self._fd)
        self.durable = size
        if is_sealed:
            self.close()

    @property
    def plain_fd(self) -> int | None:
        """The descriptor, when `fdatasync` on it is all that `sync` would do."""
        return self._fd if self._is_published and not self._is_sealed else None

    def _publish(self) -> None:
        os.fsync(self._fd)
        _temporary(self._path).rename(self._path)
        sync_directory(self._path.parent)
        self._is_published = True

    def seal(self) -> None:
        """Nothing more is written; the next `sync` is the last, and closes."""
        self._is_sealed = True

    def close(self) -> None:
        """Closes without making anything durable. It may be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class OsLogFiles:
    """A log's directory in a file system; it must exist."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._remover = ThreadPoolExecutor(1, "kvorum-wal-remove")  # its thread starts with a job
        self._cannot_remove = False

    def names(self) -> list[str]:
        """Published segments, oldest first."""
        return sorted(file.name for file in self._directory.iterdir() if parse_name(file.name))

    def path(self, name: str) -> Path:
        """Where a segment is, for messages."""
        return self._directory / name

    def size(self, name: str) -> int:
        """Length of the file, unwritten zeros included."""
        return self.path(name).stat().st_size

    def read(self, name: str) -> bytes:
        """The segment up to the last byte the file system holds data for."""
        fd = os.open(self.path(name), os.O_RDONLY)
        try:
            return _read_to(fd, _data_end(fd))
        finally:
            os.close(fd)

    def settle(self, name: str) -> None:
        """Syncs the file and its name, and drops the cached copy.

        After a failed sync the kernel may hold pages as clean that never reached the device;
        without its copy, what is read next is what the device has.
        """
        fd = os.open(self.path(name), os.O_RDONLY)
        try:
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)
        sync_directory(self._directory)

    def wipe(self, name: str, start: int, size: int) -> None:
        """Zeros from `start` on, and the length `size`, durable.

        A crash on the way leaves a shorter file, which the next open takes for the torn tail it is.
        """
        fd = os.open(self.path(name), os.O_RDWR)
        try:
            os.ftruncate(fd, start)
            _allocate(fd, size)
            os.fsync(fd)
        finally:
            os.close(fd)

    def create(self, name: str, size: int) -> OsLogFile:
        """A new segment of `size` zeros, under a temporary name until it is synced."""
        path = self.path(name)
        fd = os.open(_temporary(path), os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            _allocate(fd, size)
        except BaseException:
            os.close(fd)
            raise
        return OsLogFile(path, fd, 0, is_published=False)

    def open(self, name: str, end: int) -> OsLogFile:
        """A published, settled segment, to be written from `end` on; deletes a crash's strays."""
        for stray in self._directory.glob("*" + _TEMPORARY_SUFFIX):
            stray.unlink()
        path = self.path(name)
        return OsLogFile(path, os.open(path, os.O_RDWR), end, is_published=True)

    def remove(self, name: str) -> None:
        """Deletes a segment beside everything else: to free its pages can take 30 ms."""
        self._remover.submit(self._remove, name)

    def _remove(self, name: str) -> None:
        """Durable one by one: a later segment must never be gone while an earlier one is there."""
        if self._cannot_remove:
            return
        try:
            self.path(name).unlink()
            sync_directory(self._directory)
        except OSError as error:
            self._cannot_remove = True
            _log.warning("old segments stay until the next start, one cannot be deleted: %s", error)

    def close(self) -> None:
        """Returns when what was to be deleted is gone."""
        self._remover.shutdown()


def sync_directory(path: Path) -> None:
    """Makes the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _temporary(path: Path) -> Path:
    return path.with_name(path.name + _TEMPORARY_SUFFIX)


def _allocate(fd: int, size: int) -> None:
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}:
            raise
        os.ftruncate(fd, size)


def _data_end(fd: int) -> int:
    """End of the last range that is not a hole; allocated and never written counts as a hole."""
    end = 0
    try:
        while True:
            end = os.lseek(fd, os.lseek(fd, end, os.SEEK_DATA), os.SEEK_HOLE)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return end
        if error.errno in {errno.EINVAL, errno.EOPNOTSUPP}:
            return os.fstat(fd).st_size
        raise


def _read_to(fd: int, end: int) -> bytes:
    pieces = []
    offset = 0
    while offset < end:
        piece = os.pread(fd, min(_READ_BYTES, end - offset), offset)
        if not piece:
            break
        pieces.append(piece)
        offset += len(piece)
    return b"".join(pieces)

"""A log's files in memory, with a disk's faults, and a syncer that waits to be told.

For the simulator and for tests: no thread, no file, no chance. `MemoryLogFiles.crash` is a power
cut: of each sector written since the last sync either the old content survives or any content it
had since, as `choose` says; what was synced survives whole. New segments not yet synced are gone.
"""

import errno
from collections.abc import Callable
from functools import partial
from pathlib import Path

from kvorum.wal.segment import LogFile
from kvorum.wal.syncer import Callback, Post, run_all

SECTOR_BYTES = 512

Choose = Callable[[int], int]
"""Given n, one of 0..n: how many of n unsynced writes reached a sector."""


class MemoryLogFile:
    """One segment: what a reader sees now, and how each unsynced sector came to it."""

    def __init__(self, disk: "MemoryLogFiles", name: str, data: bytearray, size: int) -> None:
        self.size = size
        self.durable = 0
        self.data = data
        self.is_sealed = False
        self.is_closed = False
        self._disk = disk
        self._name = name
        self.unsynced: dict[int, list[bytes]] = {}

    def write(self, data: bytes) -> None:
        """Appends; on a full disk as many whole sectors as fit, and raises OSError."""
        assert not self.is_closed
        assert not self.is_sealed
        disk = self._disk
        if len(data) <= disk.free_bytes:
            disk.free_bytes -= len(data)
            self._put(data)
            return
        room = self.size + disk.free_bytes
        disk.free_bytes = 0
        self._put(data[: max(0, room - room % SECTOR_BYTES - self.size)])
        raise OSError(errno.ENOSPC, "No space left on device")

    def _put(self, data: bytes) -> None:
        start, end = self.size, self.size + len(data)
        first = start - start % SECTOR_BYTES
        for sector in range(first, end, SECTOR_BYTES):
            if sector not in self.unsynced:
                self.unsynced[sector] = [self._sector(sector)]
        self.data[start:end] = data
        for sector in range(first, end, SECTOR_BYTES):
            self.unsynced[sector].append(self._sector(sector))
        self.size = end

    def _sector(self, start: int) -> bytes:
        return bytes(self.data[start : start + SECTOR_BYTES])

    def sync(self) -> None:
        """Makes durable what was written, and publishes a new segment."""
        assert not self.is_closed or self.durable == self.size
        if self._disk.sync_error is not None:
            raise self._disk.sync_error
        self.unsynced.clear()
        self.durable = self.size
        self._disk.published[self._name] = self
        self.is_closed = self.is_sealed

    def seal(self) -> None:
        """Nothing more is written; the next `sync` is the last, and closes."""
        self.is_sealed = True

    def close(self) -> None:
        """Closes without making anything durable. It may be called twice."""
        self.is_closed = True

    def survivor(self, choose: Choose) -> bytearray:
        """What a power cut leaves of the content."""
        data = self.data.copy()
        for sector, versions in self.unsynced.items():
            data[sector : sector + SECTOR_BYTES] = versions[choose(len(versions) - 1)]
        return data


class MemoryLogFiles:
    """A log's directory in memory.

    Attributes:
        published: the segments a reader sees, by name.
        sync_error: raised by every sync while it is set.
        free_bytes: room for writes; what is in the way of the last one is left half written.
    """

    def __init__(self) -> None:
        self.published: dict[str, MemoryLogFile] = {}
        self.sync_error: OSError | None = None
        self.free_bytes = 1 << 40

    def crash(self, choose: Choose) -> "MemoryLogFiles":
        """The disk as a power cut leaves it; this one is not to be used any more."""
        disk = MemoryLogFiles()
        for name, file in sorted(self.published.items()):
            disk.put(name, file.survivor(choose))
        return disk

    def put(self, name: str, data: bytes | bytearray) -> None:
        """Makes a published segment of this content, in the place of any other."""
        self.published[name] = MemoryLogFile(self, name, bytearray(data), len(data))

    def names(self) -> list[str]:
        """Published segments, oldest first."""
        return sorted(self.published)

    def path(self, name: str) -> Path:
        """Where a segment is, for messages."""
        return Path("memory") / name

    def size(self, name: str) -> int:
        """Length of the file, unwritten zeros included."""
        return len(self.published[name].data)

    def read(self, name: str) -> bytes:
        """The segment from its beginning, without trailing zeros."""
        return bytes(self.published[name].data).rstrip(b"\0")

    def settle(self, name: str) -> None:
        """Makes the segment durable as it is, whoever wrote it."""
        self.put(name, self.published[name].data)

    def wipe(self, name: str, start: int, size: int) -> None:
        """Zeros from `start` on, and the length `size`, durable."""
        self.put(name, self.published[name].data[:start].ljust(size, b"\0"))

    def create(self, name: str, size: int) -> MemoryLogFile:
        """A new segment of `size` zeros, unseen until it is synced."""
        return MemoryLogFile(self, name, bytearray(size), 0)

    def open(self, name: str, end: int) -> MemoryLogFile:
        """A published, settled segment, the last, to be written from `end` on."""
        before = self.published[name]
        file = self.published[name] = MemoryLogFile(self, name, before.data, end)
        file.durable = end
        file.unsynced = before.unsynced
        return file

    def remove(self, name: str) -> None:
        """Deletes a segment."""
        del self.published[name]

    def close(self) -> None:
        """Nothing to wait for."""


class StepSyncer:
    """Syncs when `step` is called: the caller decides how long the disk takes."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._waiting: list[tuple[LogFile, Callback]] = []
        self._has_failed = False

    def start(self, on_failure: Callable[[OSError], None]) -> None:
        """Nothing to start."""
        self._on_failure = on_failure

    def post(self, callback: Callback) -> None:
        """Runs `callback` on the owning thread, later."""
        self._post(callback)

    def request(self, file: LogFile, done: Callback) -> None:
        """Waits for the next step."""
        self._waiting.append((file, done))

    def step(self) -> None:
        """One sync for all that wait."""
        waiting, self._waiting = self._waiting, []
        if self._has_failed or not waiting:
            return
        try:
            for file in dict.fromkeys(file for file, _ in waiting):
                file.sync()
        except OSError as error:
            self._has_failed = True
            self._post(partial(self._on_failure, error))
        else:
            self._post(partial(run_all, [done for _, done in waiting]))

    def flush(self, file: LogFile) -> None:
        """A step, and a sync of `file`. Raises OSError."""
        self.step()
        file.sync()

    def stop(self) -> None:
        """A last step."""
        self.step()

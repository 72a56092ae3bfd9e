"""The disk of one host: what outlives processes, how slow it is, and how it fails.

A disk holds a log (`MemoryLogFiles`) and a backend. `DiskFiles` is how one process has them open;
it dies with the process, so a sync or a commit under way then never reports.

    kill         the process is gone; all it wrote is still there, synced or not
    power cut    what was not synced is lost, sector by sector, in any mixture
    commit       one under way when the process dies is done or not, never half
    sync failed  the system forgets what it could not write: as after a power cut
    rot          one bit of what was proven durable has changed

A fault of the disk outlives the process that met it, as often as not.

A sync that is requested while one runs waits for the next, which is one for all that wait.
"""

import errno
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from kvorum.backend.base import Installer
from kvorum.backend.buffer import Batch
from kvorum.backend.memory import MemoryBackend
from kvorum.errors import StorageError
from kvorum.server.files import LogMetadata, OnFailure, decode_metadata
from kvorum.sim.chance import Chance
from kvorum.sim.loop import Callback, SimLoop
from kvorum.wal.memory import MemoryLogFiles
from kvorum.wal.record import scan
from kvorum.wal.replay import Recovered
from kvorum.wal.segment import LogFile
from kvorum.wal.syncer import run_all
from kvorum.wal.wal import Wal

Post = Callable[[Callback], object]

ROOM_BYTES = 1 << 40


LONGEST_SECONDS = 2.0
"""No operation takes longer: one begun under faults must not outlast them."""


class SimBackend(MemoryBackend):
    """A backend whose commits take time."""

    def __init__(self, disk: "Disk") -> None:
        super().__init__()
        self._disk = disk
        self.post: Post = disk.loop.call_soon

    def _write(self, batch: Batch) -> None:
        self._disk.loop.call_later(self._disk.draw_latency(), lambda: self._written(batch))

    def _written(self, batch: Batch) -> None:
        if batch is not self._in_flight or self.failed is not None:
            return
        if self._disk.chance.happens(self._disk.commit_failure_rate):
            error = StorageError("the disk is full", Path("memory"))
            self.post(lambda: self._fail(error))
            return
        self.post(lambda: self._report(batch))

    def _report(self, batch: Batch) -> None:
        if batch is self._in_flight:
            self.finish_commit()

    def _wait(self) -> None:
        if self._in_flight is None or self.failed is not None:
            return
        if self._disk.chance.happens(self._disk.commit_failure_rate):
            self._fail(StorageError("the disk is full", Path("memory")))
        else:
            self.finish_commit()

    def installer(self) -> Installer:
        """As of any backend; making the image durable may fail, as a commit may."""
        return _SimInstaller(super().installer(), self._disk)

    def lose_process(self, *, is_commit_done: bool) -> None:
        """The process is gone; a commit under way was done, or was not."""
        if self._in_flight is not None and is_commit_done and self.failed is None:
            self._in_flight.done = None
            self.finish_commit()
        self.failed = None
        self.crash()


class _SimInstaller:
    """An installer that meets the faults of the disk."""

    def __init__(self, installer: Installer, disk: "Disk") -> None:
        self._installer = installer
        self._disk = disk
        self.write = installer.write
        self.finish = installer.finish
        self.abort = installer.abort

    def prepare(self) -> tuple[int, int]:
        """Makes the image durable, or raises StorageError."""
        if self._disk.chance.happens(self._disk.commit_failure_rate):
            raise StorageError("the disk is full", Path("memory"))
        return self._installer.prepare()


class Disk:
    """What a host keeps.

    Attributes:
        latency: seconds a sync or a commit takes on average.
        sync_failure_rate: how likely a sync fails.
        commit_failure_rate: how likely a commit of the backend fails.
        segment_bytes: size of the log's segments.
        is_rotten: whether a bit has changed since the disk was new.
    """

    def __init__(self, loop: SimLoop, chance: Chance, latency: float, segment_bytes: int) -> None:
        self.loop = loop
        self.chance = chance
        self.latency = latency
        self.slowness = 1.0
        self.segment_bytes = segment_bytes
        self.wipe()

    @property
    def has_data(self) -> bool:
        """Whether a seat is held here."""
        return bool(self.log.published)

    @property
    def is_faulty(self) -> bool:
        """Whether a write may fail now."""
        is_failing = self.sync_failure_rate > 0 or self.commit_failure_rate > 0
        return is_failing or self.log.free_bytes < ROOM_BYTES / 2

    def draw_latency(self) -> float:
        """How long the next operation takes."""
        return min(self.chance.exponential(self.latency) * self.slowness, LONGEST_SECONDS)

    def meet_failure(self) -> None:
        """Raises OSError if the sync that ends now is to fail."""
        if self.chance.happens(self.sync_failure_rate):
            raise OSError(errno.EIO, "Input/output error")

    def wipe(self) -> None:
        """A new, empty disk."""
        self.log = MemoryLogFiles()
        self.backend = SimBackend(self)
        self.is_rotten = False
        self.sync_failure_rate = self.commit_failure_rate = 0.0

    def fill(self, room_bytes: int) -> None:
        """Leaves so much room, and no more."""
        self.log.free_bytes = room_bytes

    def lose_process(self, *, is_power_cut: bool) -> None:
        """The process that used it is gone."""
        if is_power_cut:
            room_bytes = self.log.free_bytes
            self.log = self.log.crash(lambda newest: self.chance.below(newest + 1))
            self.log.free_bytes = room_bytes
        if self.chance.happens(0.5):
            self.mend()
        self.backend.lose_process(is_commit_done=self.chance.happens(0.5))

    def mend(self) -> None:
        """There is room again, and what is written from now on is kept."""
        self.log.free_bytes = ROOM_BYTES
        self.sync_failure_rate = self.commit_failure_rate = 0.0

    def rot(self) -> bool:
        """Changes a bit that a later record proves to have been durable; False if there is none."""
        proven: list[tuple[str, int]] = []
        for name in self.log.names():
            data = self.log.read(name)
            end = max((record.durable for record in scan(data, 0, len(data))), default=0)
            if end:
                proven.append((name, end))
        if not proven:
            return False
        name, end = self.chance.choice(proven)
        content = self.log.published[name].data
        content[self.chance.below(end)] ^= 1 << self.chance.below(8)
        self.is_rotten = True
        return True


class SimFiles:
    """A disk as one process has it open."""

    def __init__(self, disk: Disk, post: Post, on_failure: OnFailure) -> None:
        self._disk = disk
        self._on_failure = on_failure
        self._syncer = SimSyncer(disk, post)
        self.log_path = Path("memory")
        self.backend = disk.backend
        self.backend.post = post
        self.backend.on_failure = on_failure

    def create_log(self, metadata: LogMetadata) -> Wal:
        """A new log; from now on a seat is held here."""
        disk = self._disk
        encoded = msgspec.msgpack.encode(metadata)
        return Wal.create_in(disk.log, encoded, self._syncer, self._on_failure, disk.segment_bytes)

    def open_log(self) -> tuple[Wal, Recovered, LogMetadata]:
        """The log as it was left."""
        disk = self._disk
        wal, recovered = Wal.open_in(disk.log, self._syncer, self._on_failure, disk.segment_bytes)
        return wal, recovered, decode_metadata(recovered.metadata, self.log_path)

    def close(self) -> None:
        """Lets go of the disk: a sync under way never ends."""
        self._syncer.stop()


class SimSyncer:
    """Makes writes durable after a while, one sync at a time."""

    def __init__(self, disk: Disk, post: Post) -> None:
        self._disk = disk
        self._post = post
        self._waiting: list[tuple[LogFile, Callback]] = []
        self._running: list[tuple[LogFile, Callback]] = []
        self._is_stopped = False
        self._error: OSError | None = None
        self._on_failure: Callable[[OSError], object]

    def start(self, on_failure: Callable[[OSError], object]) -> None:
        """Hears of the failure that ends it."""
        self._on_failure = on_failure

    def post(self, callback: Callback) -> None:
        """Runs `callback` on the owning thread, later."""
        self._post(callback)

    def request(self, file: LogFile, done: Callback) -> None:
        """Makes `file` durable with the next sync, then posts `done`."""
        self._waiting.append((file, done))
        if not self._running:
            self._begin()

    def flush(self, file: LogFile) -> None:
        """Makes everything durable at once. Raises OSError."""
        self._finish()
        self._running, self._waiting = self._waiting, []
        self._finish()
        if self._error is not None:
            raise self._error
        self._disk.meet_failure()
        file.sync()

    def stop(self) -> None:
        """Nothing more is made durable, and nobody is told of anything."""
        self._is_stopped = True
        self._running, self._waiting = [], []

    def _begin(self) -> None:
        self._running, self._waiting = self._waiting, []
        running = self._running
        if running:
            self._disk.loop.call_later(self._disk.draw_latency(), lambda: self._end(running))

    def _end(self, running: list[tuple[LogFile, Callback]]) -> None:
        if running is not self._running:
            return  # flushed meanwhile, or the process is gone
        self._finish()
        self._begin()

    def _finish(self) -> None:
        running, self._running = self._running, []
        if self._is_stopped or self._error is not None or not running:
            return
        try:
            self._disk.meet_failure()
            for file in dict.fromkeys(file for file, _ in running):
                file.sync()
        except OSError as error:
            self._error = error
            self._post(partial(self._on_failure, error))
        else:
            self._post(partial(run_all, [done for _, done in running]))

"""The write-ahead log: what a member must not forget, made durable in batches.

`Wal` owns the last segment and its records; raft's storage owns the entries in memory. One thread
calls it; one helper thread syncs.

Rules:

1. `append` and `append_snapshot` write at once and promise nothing.
2. A completion given to `sync` runs after everything appended before that call is durable.
3. A failed write or sync is final: `failed` is set, `on_failure` is posted once, later appends are
   dropped and later completions never run. The process has to end; the log is read anew at start.
4. Entries of one `append` are written before its hard state, and every segment begins with the hard
   state and the marker then in force, so any prefix of the log is a state the member was in.
5. `release` deletes whole segments from the oldest on, only once the next one is durable.

The caller, for each Ready: `append_snapshot` if there is one, then `append`, then `sync`; it
answers for nothing of that Ready until the completion has run.
Source: Raft thesis, sections 3.8 and 10.2.1.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from msgspec import Struct

from kvorum.errors import LocalProtocolError, StorageError
from kvorum.raft.types import Entry, HardState, Index, SnapshotMeta
from kvorum.wal.aiosyncer import Watch, best_syncer
from kvorum.wal.record import Encoder, Head, RecordType, encoded_size
from kvorum.wal.repair import Report, verify_files
from kvorum.wal.replay import LogState, Recovered
from kvorum.wal.segment import LogFile, LogFiles, OsLogFiles, segment_name
from kvorum.wal.syncer import Callback, Post, Syncer

SEGMENT_BYTES = 64 << 20
"""Large enough that a new one is rare, small enough that old ones go soon; etcd has the same."""

_RECORD_BYTES_MAX = 64
"""Upper bound of a hard state's record, and of an entry's without its data."""

_log = logging.getLogger("kvorum.wal")

OnFailure = Callable[[BaseException], object]


class _Segment(Struct):
    name: str
    sequence: int
    allocated_bytes: int
    last_index: Index
    """Index of its last entry; 0 without entries."""
    file: LogFile | None
    """None: found at open, so published."""

    @property
    def is_published(self) -> bool:
        return self.file is None or self.file.durable > 0


class Wal:
    """The log of one member.

    Attributes:
        failed: the error that ended it, or None.
    """

    def __init__(
        self,
        files: LogFiles,
        syncer: Syncer,
        on_failure: OnFailure,
        segment_bytes: int,
    ) -> None:
        self.failed: BaseException | None = None
        self._files = files
        self._syncer = syncer
        self._on_failure = on_failure
        self._segment_bytes = segment_bytes
        self._segments: list[_Segment] = []
        self._metadata: bytes
        self._state: LogState
        self._file: LogFile
        self._encoder: Encoder

    @classmethod
    def create(
        cls,
        directory: Path,
        metadata: bytes,
        post: Post,
        on_failure: OnFailure,
        watch: Watch | None = None,
    ) -> "Wal":
        """Makes a new, durable log in `directory`, which must exist.

        `metadata` is the caller's and comes back from `open`. `post` runs a callable on the calling
        thread later. `on_failure` gets the error that ends the log. `watch`, where there is an
        event loop, saves the helper thread (see aiosyncer).

        Raises:
            StorageError: there is a log already, or it cannot be written.
        """
        return cls.create_in(OsLogFiles(directory), metadata, best_syncer(post, watch), on_failure)

    @classmethod
    def create_in(
        cls,
        files: LogFiles,
        metadata: bytes,
        syncer: Syncer,
        on_failure: OnFailure,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> "Wal":
        """As `create`, with files and a syncer of another kind."""
        wal = cls(files, syncer, on_failure, segment_bytes)
        with _storage_errors(files.path(""), "made"):
            if names := files.names():
                raise StorageError(
                    "a log is here already: open it, or use another directory", files.path(names[0])
                )
            wal._begin(metadata)
        syncer.start(wal._fail)
        return wal

    @classmethod
    def open(
        cls, directory: Path, post: Post, on_failure: OnFailure, watch: Watch | None = None
    ) -> tuple["Wal", Recovered]:
        """Reads the log in `directory` and goes on with it; a torn tail is cut off and logged.

        Raises:
            StorageError: there is no log, it is damaged (nothing is changed then), or it cannot be
                read or written.
        """
        return cls.open_in(OsLogFiles(directory), best_syncer(post, watch), on_failure)

    @classmethod
    def open_in(
        cls,
        files: LogFiles,
        syncer: Syncer,
        on_failure: OnFailure,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> tuple["Wal", Recovered]:
        """As `open`, with files and a syncer of another kind."""
        wal = cls(files, syncer, on_failure, segment_bytes)
        with _storage_errors(files.path(""), "opened"):
            recovered = wal._recover()
        syncer.start(wal._fail)
        return wal, recovered

    def append(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        """Writes entries, which may replace a tail of the log, and then the hard state.

        Raises:
            LocalProtocolError: they cannot follow what the log holds, which is now of no use.
        """
        if self.failed is not None or (hard_state is None and not entries):
            return
        size = _RECORD_BYTES_MAX
        for entry in entries:
            size += _RECORD_BYTES_MAX + len(entry.data)
        self._make_room(size)
        state, encode, durable = self._state, self._encoder.encode, self._file.durable
        records = []
        try:
            for entry in entries:
                state.append(entry.term, entry.index)
                records.append(encode(RecordType.ENTRY, entry, durable))
            if hard_state is not None:
                state.set_hard_state(hard_state)
                records.append(encode(RecordType.HARD_STATE, hard_state, durable))
        except LocalProtocolError as error:
            self.failed = error  # records were made and not written: the chain is broken
            raise
        if entries:
            self._segments[-1].last_index = state.last_index
        self._write(b"".join(records))

    def append_snapshot(self, snapshot: SnapshotMeta) -> None:
        """Writes a marker: a snapshot took the place of the log, which begins anew after it.

        Raises:
            LocalProtocolError: it lies before the last marker; nothing was written.
        """
        if self.failed is not None:
            return
        self._make_room(encoded_size(snapshot))
        self._state.mark(snapshot)
        self._write(self._encoder.encode(RecordType.SNAPSHOT, snapshot, self._file.durable))

    def sync(self, done: Callback) -> None:
        """Makes everything appended so far durable in the background, then posts `done`."""
        if self.failed is None:
            self._syncer.request(self._file, done)

    def sync_now(self) -> None:
        """Makes everything appended so far durable before it returns; for start and stop.

        Raises:
            StorageError: a write or a sync has failed, now or earlier.
        """
        if self.failed is None:
            try:
                self._syncer.flush(self._file)
            except OSError as error:
                self._fail(error)
        if self.failed is not None:
            name = self._segments[-1].name
            raise StorageError(
                f"the log could not be written: {self.failed}. Check the disk and its free space, "
                "then start again: the log is checked at start",
                self._files.path(name),
            ) from self.failed

    def release(self, index: Index) -> None:
        """Deletes the oldest segments as far as they only hold entries up to `index`."""
        segments = self._segments
        while (
            self.failed is None
            and len(segments) > 1
            and segments[0].last_index <= index
            and segments[1].is_published
        ):
            self._files.remove(segments.pop(0).name)

    def close(self) -> None:
        """Makes everything durable and ends the helper thread; a failed log is only let go.

        Raises:
            StorageError: the last sync failed.
        """
        try:
            if self.failed is None:
                self.sync_now()
        finally:
            self._syncer.stop()
            self._file.close()
            self._files.close()

    def _begin(self, metadata: bytes) -> None:
        """The first segment of a new log."""
        head = Head(1, self._segment_bytes, 1, metadata, HardState(), SnapshotMeta())
        self._metadata = metadata
        self._state = LogState(head)
        self._begin_segment(head, 0)
        self._file.sync()

    def _recover(self) -> Recovered:
        """Reads, judges, repairs; only a sound log is touched."""
        files = self._files
        names = files.names()
        if not names:
            raise StorageError("there is no log here", files.path(""))
        files.settle(names[-1])
        report = verify_files(files)
        if report.damage is not None:
            raise report.damage
        assert report.replay is not None
        self._repair(report)
        last = report.segments[-1]
        self._segments = [
            _Segment(found.name, found.sequence, found.allocated_bytes, found.last_index, None)
            for found in report.segments
        ]
        self._state = report.replay.state
        self._metadata = report.replay.metadata
        self._file = files.open(last.name, last.end)
        self._encoder = Encoder(last.chain, last.end)
        return report.replay.recovered()

    def _repair(self, report: Report) -> None:
        """Cuts off a torn tail and gives the last segment its full length; says so."""
        last = report.segments[-1]
        missing_bytes = last.allocated_bytes - last.file_bytes
        if report.torn is not None:
            _log.warning("cut off a torn tail: %s", report.torn)
        if missing_bytes > 0:
            path = self._files.path(last.name)
            _log.warning("%s: somebody shortened it by %d bytes", path, missing_bytes)
        if report.torn is not None or missing_bytes > 0:
            self._files.wipe(last.name, last.end, last.allocated_bytes)

    def _make_room(self, size: int) -> None:
        """Sees to it that the next `size` bytes lie in one segment."""
        if self._file.size + size <= self._segments[-1].allocated_bytes:
            return
        self._file.seal()
        self._syncer.request(self._file, _nothing)
        state = self._state
        head = Head(
            self._segments[-1].sequence + 1,
            self._segment_bytes,
            state.last_index + 1,
            self._metadata,
            state.hard_state,
            state.snapshot,
        )
        head.allocated_bytes = max(self._segment_bytes, encoded_size(head) + size)
        try:
            self._begin_segment(head, self._encoder.chain)
        except OSError as error:
            self._fail(error)

    def _begin_segment(self, head: Head, chain: int) -> None:
        """Makes a segment and writes its head; the first sync publishes it."""
        name = segment_name(head.sequence, head.next_index)
        self._file = self._files.create(name, head.allocated_bytes)
        self._segments.append(_Segment(name, head.sequence, head.allocated_bytes, 0, self._file))
        self._encoder = Encoder(chain, 0)
        self._file.write(self._encoder.encode(RecordType.HEAD, head, 0))

    def _write(self, records: bytes) -> None:
        if self.failed is None:
            try:
                self._file.write(records)
            except OSError as error:
                self._fail(error)

    def _fail(self, error: OSError) -> None:
        if self.failed is None:
            self.failed = error
            self._syncer.post(partial(self._on_failure, error))


@contextmanager
def _storage_errors(directory: Path, done: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        path = Path(error.filename) if error.filename else directory
        raise StorageError(
            f"the log cannot be {done}: {error.strerror}. Check the disk, its free space, and that "
            "the user who runs the server owns the directory",
            path,
        ) from error


def _nothing() -> None:
    """Completion of a sync that nobody waits for."""

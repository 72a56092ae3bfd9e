"""The backend on disk: LMDB, one file, one writer thread.

What LMDB gives: a commit is atomic and durable by copy-on-write, so a crash at any instant leaves
the last commit and needs no repair; readers never wait. What must be known:

- A write transaction belongs to the thread that began it, so one thread does them all. Its calls
  into LMDB hand the GIL back and forth with the owning thread; batches therefore go in slices of
  `SLICE_RECORDS` with a pause between, else either thread can starve the other for milliseconds.
- A read transaction that stays open keeps every page of its image from being reused: views are
  to be closed soon.
- The file is mapped as a whole. The map is far larger than the file ever gets and costs nothing
  but addresses; should it fill up, it is doubled as soon as no view is open.
- A file must not be opened twice in one process.

An image of another member is received into a file beside and renamed over the old one once it is
complete and durable; a crash leaves one or the other.
Source: LMDB's lmdb.h, "Caveats".
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path
from queue import SimpleQueue
from typing import TypeAlias

import lmdb

from kvorum.backend.base import Installer, ReadView, Table
from kvorum.backend.buffer import (
    APPLIED_KEY,
    Batch,
    BufferedBackend,
    Layer,
    decode_applied,
    encode_applied,
)
from kvorum.backend.image import ImageReader, Triple, encode_image
from kvorum.errors import StorageError

MAP_BYTES = 64 << 30
"""Addresses set aside at open: 30 times the default quota of etcd."""

SLICE_RECORDS = 256
"""Written at once; about 0.3 ms."""

SLICE_PAUSE_SECONDS = 0.0001
"""Measured: with it the other thread waits 1 ms at worst; without it up to 7 ms."""

_Txn: TypeAlias = "lmdb.Transaction[bytes]"
_Handle: TypeAlias = "lmdb._Database | None"  # noqa: SLF001 - the only name a handle has
_Handles: TypeAlias = "list[_Handle]"

Post: TypeAlias = Callable[[Callable[[], None]], None]
"""Runs a callable on the owning thread, soon."""


class _Env:
    """An open LMDB file with a handle for each table."""

    def __init__(self, path: Path, map_bytes: int, *, sync: bool = True) -> None:
        try:
            size = path.stat().st_size if path.exists() else 0
            self.env = lmdb.open(
                str(path),
                subdir=False,
                map_size=max(map_bytes, 2 * size),
                max_dbs=len(Table),
                sync=sync,
                meminit=False,
            )
            self.tables: _Handles = [None] * (max(Table) + 1)
            for table in Table:
                self.tables[table] = self.env.open_db(table.name.lower().encode())
        except (lmdb.Error, OSError) as error:
            raise StorageError(
                f"cannot be opened as a database: {error}; restore the data directory from a"
                " backup, or remove it and join the cluster anew",
                path,
            ) from error


class LmdbBackend(BufferedBackend):
    """Tables in an LMDB file. Made by `open`; used from one thread."""

    def __init__(self, path: Path, post: Post, map_bytes: int) -> None:
        super().__init__()
        self._path = path
        self._post = post
        self._map_bytes = map_bytes
        self._open_txns = 0
        self._wants_room = False
        self._outcome: Exception | None = None
        self._idle = threading.Event()
        self._queue: SimpleQueue[Batch | None] = SimpleQueue()
        self._begin(_Env(path, map_bytes))
        self._thread = threading.Thread(target=self._run, name="backend-commit", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, path: Path, post: Post, *, map_bytes: int = MAP_BYTES) -> "LmdbBackend":
        """Opens or creates the file at `path`.

        Args:
            path: the database file; its lock file stands beside.
            post: runs a callable on the owning thread.
            map_bytes: addresses to set aside.

        Raises:
            StorageError: the file cannot be opened, or is no database.
        """
        _remove(_beside(path))
        return cls(path, post, map_bytes)

    def _begin(self, env: _Env) -> None:
        """Takes an open file as the content, with an empty buffer."""
        self._env = env
        self._reader = env.env.begin()
        self._tables = env.tables
        self._start(*decode_applied(self._get_stored(Table.META, APPLIED_KEY)))

    def _get_stored(self, table: Table, key: bytes) -> bytes | None:
        return self._reader.get(key, None, self._tables[table])

    def _scan_stored(
        self, table: Table, start: bytes, end: bytes | None
    ) -> Iterator[tuple[bytes, bytes]]:
        self._open_txns += 1
        try:
            with self._env.env.begin() as txn:
                yield from _pairs(txn, self._tables[table], start, end)
        finally:
            self._released()

    def _write(self, batch: Batch) -> None:
        self._idle.clear()
        self._queue.put(batch)

    def _run(self) -> None:
        """The commit thread: one batch at a time, its outcome left for the owning thread."""
        while (batch := self._queue.get()) is not None:
            try:
                self._store(batch)
                self._outcome = None
            except (lmdb.Error, OSError) as error:
                self._outcome = error
            self._idle.set()
            self._post(partial(self._finish, batch))

    def _store(self, batch: Batch) -> None:
        with self._env.env.begin(write=True) as txn:
            for table in Table:
                if batch.layers[table]:
                    _store_layer(txn, self._tables[table], batch.layers[table])
            applied = encode_applied(batch.index, batch.term)
            txn.put(APPLIED_KEY, applied, db=self._tables[Table.META])

    def _wait(self) -> None:
        while self._in_flight is not None and self.failed is None:
            self._idle.wait()
            self._conclude(self._in_flight)
            if self._wants_room:
                self._fail(_cannot_write(self._path, "map is full while an image is being read"))

    def _finish(self, batch: Batch) -> None:
        """Posted by the commit thread once it is through with a batch."""
        if batch is self._in_flight and self._idle.is_set():
            self._conclude(batch)
        if batch is not self._in_flight and batch.done is not None:
            done, batch.done = batch.done, None
            done()

    def _conclude(self, batch: Batch) -> None:
        """Draws the consequence of what the commit thread met."""
        error = self._outcome
        if error is None:
            self._reader.abort()
            self._reader = self._env.env.begin()
            self._settle(batch)
        elif isinstance(error, lmdb.MapFullError):
            self._wants_room = True
            self._make_room()
        elif self.failed is None:
            self._fail(_cannot_write(self._path, str(error)))

    def _make_room(self) -> None:
        """Doubles the map and tries again, unless a reader still stands on the present one."""
        if self._open_txns or self._in_flight is None:
            return
        self._wants_room = False
        self._reader.abort()
        self._map_bytes = 2 * self._env.env.info()["map_size"]
        self._env.env.set_mapsize(self._map_bytes)
        self._reader = self._env.env.begin()
        self._write(self._in_flight)

    def _released(self) -> None:
        self._open_txns -= 1
        if self._wants_room:
            self._make_room()

    def view(self) -> ReadView:
        """An image at the current applied index. Blocks while it flushes."""
        self.flush()
        self._open_txns += 1
        return _LmdbView(self._env.env.begin(), self._tables, self._released)

    def installer(self) -> Installer:
        """Begins to receive an image that will replace the whole content."""
        return _LmdbInstaller(self, _beside(self._path), self._map_bytes)

    def _replace(self, path: Path) -> None:
        """Puts a complete and durable file in the place of the present one."""
        self._wait()
        self._reader.abort()
        self._env.env.close()
        path.replace(self._path)
        _sync_directory(self._path.parent)
        _remove(path)
        self._begin(_Env(self._path, self._map_bytes))

    def size_bytes(self) -> int:
        """Size of the file."""
        return self._path.stat().st_size

    def close(self) -> None:
        """Flushes and closes.

        Raises:
            StorageError: not everything could be made durable; it is closed all the same.
        """
        try:
            self.flush()
        finally:
            self._queue.put(None)
            self._thread.join()
            self._reader.abort()
            self._env.env.close()


def _pairs(
    txn: _Txn, handle: _Handle, start: bytes, end: bytes | None
) -> Iterator[tuple[bytes, bytes]]:
    cursor = txn.cursor(handle)
    if not cursor.set_range(start):
        return
    if end is None:
        yield from cursor.iternext()
        return
    for pair in cursor.iternext():
        if pair[0] >= end:
            return
        yield pair


def _store_layer(txn: _Txn, handle: _Handle, layer: Layer) -> None:
    """Writes one table's part of a batch, slice by slice."""
    puts = sorted((key, value) for key, value in layer.items() if value is not None)
    cursor = txn.cursor(handle)
    # Records come in ascending order, and appending fills pages instead of splitting them.
    is_append = bool(puts) and (not cursor.last() or puts[0][0] > cursor.key())
    for at in range(0, len(puts), SLICE_RECORDS):
        cursor.putmulti(puts[at : at + SLICE_RECORDS], append=is_append)
        time.sleep(SLICE_PAUSE_SECONDS)
    if len(puts) == len(layer):
        return
    gone = sorted(key for key, value in layer.items() if value is None)
    for at in range(0, len(gone), SLICE_RECORDS):
        for key in gone[at : at + SLICE_RECORDS]:
            txn.delete(key, db=handle)
        time.sleep(SLICE_PAUSE_SECONDS)


class _LmdbView:
    """A read transaction."""

    def __init__(self, txn: _Txn, tables: _Handles, released: Callable[[], None]) -> None:
        self._txn = txn
        self._tables = tables
        self._released = released
        self._is_open = True
        self._applied = decode_applied(txn.get(APPLIED_KEY, db=tables[Table.META]))

    @property
    def applied_index(self) -> int:
        """The log index this image stands for."""
        return self._applied[0]

    def chunks(self, chunk_bytes: int) -> Iterator[bytes]:
        """The whole image in pieces of about `chunk_bytes`."""
        triples = (
            Triple(table, key, value)
            for table in Table
            for key, value in _pairs(self._txn, self._tables[table], b"", None)
            if key != APPLIED_KEY or table is not Table.META
        )
        return encode_image(triples, self._applied, chunk_bytes)

    def close(self) -> None:
        """Lets go of the image."""
        if self._is_open:
            self._is_open = False
            self._txn.abort()
            self._released()


class _LmdbInstaller:
    """Writes an image into a file beside the one in use."""

    def __init__(self, backend: LmdbBackend, path: Path, map_bytes: int) -> None:
        _remove(path)
        self._backend = backend
        self._path = path
        self._reader = ImageReader()
        # Nothing is looked for in this file before it is synced as a whole.
        self._env = _Env(path, map_bytes, sync=False)

    def write(self, chunk: bytes) -> None:
        """Takes one piece.

        Raises:
            RemoteProtocolError: it is malformed.
            StorageError: it cannot be written.
        """
        triples = self._reader.feed(chunk)
        with _disk_of(self._path), self._env.env.begin(write=True) as txn:
            for table, group in groupby(triples, key=lambda triple: triple.table):
                cursor = txn.cursor(self._env.tables[table])
                cursor.putmulti([(triple.key, triple.value) for triple in group])

    def prepare(self) -> tuple[int, int]:
        """Makes the image durable; index and term that it stands for.

        Raises:
            RemoteProtocolError: it is incomplete.
            StorageError: it cannot be made durable.
        """
        trailer = self._reader.check_complete()
        env = self._env.env
        with _disk_of(self._path):
            with env.begin(write=True) as txn:
                applied = encode_applied(trailer.index, trailer.term)
                txn.put(APPLIED_KEY, applied, db=self._env.tables[Table.META])
            env.sync(force=True)
            env.close()
        return trailer.index, trailer.term

    def finish(self) -> None:
        """Puts the image in the place of the store. Raises StorageError when that fails."""
        with _disk_of(self._path):
            self._backend._replace(self._path)

    def abort(self) -> None:
        """Forgets what was received."""
        self._env.env.close()
        _remove(self._path)


@contextmanager
def _disk_of(path: Path) -> Iterator[None]:
    """Names the file whose disk refuses."""
    try:
        yield
    except (lmdb.Error, OSError) as error:
        raise _cannot_write(path, str(error)) from error


def _cannot_write(path: Path, reason: str) -> StorageError:
    return StorageError(
        f"cannot be written: {reason}; make room or mend the disk, then start again", path
    )


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def _remove(path: Path) -> None:
    """Removes a database file and its lock file, if they are there."""
    path.unlink(missing_ok=True)
    path.with_name(path.name + "-lock").unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    """Makes a rename durable."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

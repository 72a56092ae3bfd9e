"""The backend in memory: for the simulator, and for tests of everything above.

Keeps the promises of `Backend` and adds what a simulator needs: with `hold_commits` set a commit
stays in flight until `finish_commit`, and `crash` leaves exactly what was durable.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator

from kvorum.backend.base import Installer, ReadView, Table
from kvorum.backend.buffer import Batch, BufferedBackend
from kvorum.backend.image import ImageReader, Triple, encode_image

_Tables = dict[Table, dict[bytes, bytes]]


def _no_tables() -> _Tables:
    return {table: {} for table in Table}


class MemoryBackend(BufferedBackend):
    """Tables in dictionaries.

    Attributes:
        hold_commits: a commit waits for `finish_commit`; else it is durable at once.
    """

    def __init__(self, *, hold_commits: bool = False) -> None:
        super().__init__()
        self.hold_commits = hold_commits
        self._tables = _no_tables()
        self._sorted: dict[Table, list[bytes]] = {}

    def _get_stored(self, table: Table, key: bytes) -> bytes | None:
        return self._tables[table].get(key)

    def _scan_stored(
        self, table: Table, start: bytes, end: bytes | None
    ) -> Iterator[tuple[bytes, bytes]]:
        keys = self._sorted.get(table)
        if keys is None:
            keys = self._sorted[table] = sorted(self._tables[table])
        low = bisect_left(keys, start)
        high = len(keys) if end is None else bisect_left(keys, end)
        return _pairs(self._tables[table], keys, low, high)

    def _write(self, batch: Batch) -> None:
        assert batch is self._in_flight
        if not self.hold_commits:
            self.finish_commit()

    def _wait(self) -> None:
        self.finish_commit()

    def finish_commit(self) -> None:
        """Makes the commit in flight durable, if there is one, and reports it."""
        batch = self._in_flight
        if batch is None:
            return
        for table in Table:
            layer = batch.layers[table]
            content = self._tables[table]
            if layer.keys() - content.keys() or None in layer.values():
                self._sorted.pop(table, None)
            for key, value in layer.items():
                if value is None:
                    content.pop(key, None)
                else:
                    content[key] = value
        self._settle(batch)
        if batch.done is not None:
            batch.done()

    def crash(self) -> None:
        """Forgets everything that is not durable, as a crash and a restart do."""
        self._start(*self._durable)

    def view(self) -> ReadView:
        """An image at the current applied index."""
        self.flush()
        tables = {table: dict(content) for table, content in self._tables.items()}
        return _MemoryView(tables, self._applied)

    def installer(self) -> Installer:
        """Begins to receive an image that will replace the whole content."""
        return _MemoryInstaller(self._replace)

    def _replace(self, tables: _Tables, applied: tuple[int, int]) -> None:
        self._tables = tables
        self._sorted = {}
        self._start(*applied)

    def size_bytes(self) -> int:
        """Bytes of all keys and values."""
        return sum(
            len(key) + len(value)
            for content in self._tables.values()
            for key, value in content.items()
        )

    def close(self) -> None:
        """Flushes."""
        self.flush()


def _pairs(
    content: dict[bytes, bytes], keys: list[bytes], low: int, high: int
) -> Iterator[tuple[bytes, bytes]]:
    """Pairs of `keys[low:high]`, but those that a commit removes meanwhile."""
    for at in range(low, high):
        value = content.get(keys[at])
        if value is not None:
            yield keys[at], value


class _MemoryView:
    """A copy of every table."""

    def __init__(self, tables: _Tables, applied: tuple[int, int]) -> None:
        self._tables = tables
        self._applied = applied

    @property
    def applied_index(self) -> int:
        """The log index this image stands for."""
        return self._applied[0]

    def chunks(self, chunk_bytes: int) -> Iterator[bytes]:
        """The whole image in pieces of about `chunk_bytes`."""
        triples = (
            Triple(table, key, content[key])
            for table, content in self._tables.items()
            for key in sorted(content)
        )
        return encode_image(triples, self._applied, chunk_bytes)

    def close(self) -> None:
        """Lets go of the image."""
        self._tables = _no_tables()


class _MemoryInstaller:
    """Collects an image, then puts it in place."""

    def __init__(self, replace: Callable[[_Tables, tuple[int, int]], None]) -> None:
        self._replace = replace
        self._reader = ImageReader()
        self._tables = _no_tables()

    def write(self, chunk: bytes) -> None:
        """Takes one piece. Raises RemoteProtocolError for a malformed one."""
        for triple in self._reader.feed(chunk):
            self._tables[triple.table][triple.key] = triple.value

    def prepare(self) -> tuple[int, int]:
        """Index and term of the image. Raises RemoteProtocolError if it is incomplete."""
        trailer = self._reader.check_complete()
        return trailer.index, trailer.term

    def finish(self) -> None:
        """Puts the image in the place of the store."""
        self._replace(self._tables, self.prepare())

    def abort(self) -> None:
        """Forgets what was received."""
        self._tables = _no_tables()

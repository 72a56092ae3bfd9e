"""What the state machine needs of a store of records, and the name of every table in it.

Two implementations: LMDB on disk, and memory for the simulator and for tests. Both promise:

1. A read sees every write made before it, durable or not.
2. What is durable is a prefix of the writes: everything up to some applied index, all tables
   together with that index in one transaction, never a part of it.
3. `commit` does not block the caller unless the disk lags far behind; `ReadView` never blocks a
   writer.

The caller, on the thread that owns the state: put and delete while applying entries; then
`set_applied`; `commit` from time to time; and it releases log entries only up to `durable_index`.
"""

from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Protocol


class Table(IntEnum):
    """Every table. Numbers are part of the snapshot's wire form: never reuse one."""

    META = 1
    """Short names to small values: applied index, cluster attributes, revisions."""
    RECORDS = 2
    """`Revision` key (12 bytes, big endian) to an encoded record; only compaction deletes."""
    MEMBERS = 3
    """Member id (8 bytes, big endian) to an encoded member."""
    LEASES = 4
    """Lease id (8 bytes, big endian, signed) to an encoded lease."""


class ReadView(Protocol):
    """A consistent image of every table at one applied index. Close it soon."""

    @property
    def applied_index(self) -> int:
        """The log index this image stands for."""

    def chunks(self, chunk_bytes: int) -> Iterator[bytes]:
        """The whole image in pieces of about `chunk_bytes`, for `Installer.write`."""

    def close(self) -> None:
        """Lets go of the image."""


class Installer(Protocol):
    """Receives another member's image piece by piece, beside the store in use."""

    def write(self, chunk: bytes) -> None:
        """Takes one piece. Raises RemoteProtocolError for a malformed one."""

    def prepare(self) -> tuple[int, int]:
        """Makes the whole image durable beside the store; index and term that it stands for.

        Raises:
            RemoteProtocolError: it is incomplete.
            StorageError: it cannot be made durable.
        """

    def finish(self) -> None:
        """Puts the prepared image in the place of the store, in one atomic step."""

    def abort(self) -> None:
        """Forgets what was received."""


class Backend(Protocol):
    """Tables of ordered byte keys with a durable applied index."""

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        """Sets `key`; the write is durable after a later commit."""

    def delete(self, table: Table, key: bytes) -> None:
        """Removes `key` if it is there."""

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The value at `key`, with every earlier write seen."""

    def scan(
        self, table: Table, start: bytes, end: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with `start <= key < end` in key order; `end` None means to the last.

        Writes made while the iterator is in use may or may not be seen.
        """

    def set_applied(self, index: int, term: int) -> None:
        """All writes so far come from entries up to `index`, whose term was `term`."""

    @property
    def applied(self) -> tuple[int, int]:
        """Index and term last given to `set_applied`, or found at open; (0, 0) when new."""

    @property
    def durable_index(self) -> int:
        """The applied index that survives a crash now."""

    def commit(self, done: Callable[[], None] | None = None) -> bool:
        """Starts making everything written so far durable.

        Returns False, and does nothing, when a commit is running already or nothing is to be done.
        `done` is called on the owning thread once durable.
        """

    def discard(self) -> None:
        """Forgets what no commit has begun to make durable; the owner reads nothing any more."""

    def flush(self) -> None:
        """Makes everything written so far durable before it returns; it blocks."""

    def view(self) -> ReadView:
        """An image at the current applied index. Blocks while it flushes."""

    def installer(self) -> Installer:
        """Begins to receive an image that will replace the whole content."""

    def size_bytes(self) -> int:
        """Space the store takes on disk."""

    def close(self) -> None:
        """Flushes and closes."""

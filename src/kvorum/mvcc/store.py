"""The store: one keyspace with its whole history, over a backend of records.

A record is written once under its revision and never altered, so history is the store itself: old
revisions stay readable until compaction, and `history` reads them back as the changes they were.

The caller, on the thread that owns the state:
1. `restore()` after the backend was opened, and after its content was replaced;
2. while applying entries: `write()` … `end()`, `advance()`, `start_compaction()`;
3. `compact_slice()` when idle, until it returns True.

Everything is a function of the calls made, so members that apply the same log have equal stores.
Source: v3-grpc sections 2 and 3.2.
"""

from kvorum.backend.base import Backend, Table
from kvorum.mvcc.attachments import Attachments
from kvorum.mvcc.compaction import (
    COMPACTED_KEY,
    REVISION_KEY,
    Compactor,
    hash_at,
    load_number,
    save_number,
)
from kvorum.mvcc.expiry import ExpiryQueue
from kvorum.mvcc.index import build_index
from kvorum.mvcc.keyspace import (
    FIRST_REVISION,
    NEVER_COMPACTED,
    Compacted,
    FutureRevision,
    Keyspace,
    RangeResult,
)
from kvorum.mvcc.record import Change, Changes, decode
from kvorum.mvcc.revision import from_key, main_of, pack, to_key
from kvorum.mvcc.sortedkeys import FROM_KEY
from kvorum.mvcc.txn import WriteTxn

__all__ = ["FROM_KEY", "Compacted", "FutureRevision", "RangeResult", "Store"]


class Store(Keyspace):
    """The keyspace with restart, transactions, history and compaction."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self._compactor = Compactor(self)

    def restore(self) -> None:
        """Rebuilds everything from the backend, reading every record once."""
        backend = self.backend
        self.index, expirations, leases, newest = build_index(backend.scan(Table.RECORDS, b""))
        self.expiring = ExpiryQueue(expirations)
        self.attachments = Attachments(leases)
        self.forget_recent()
        self.changed_revision = main_of(newest)
        self.compacted_revision = load_number(backend, COMPACTED_KEY, NEVER_COMPACTED)
        advanced = load_number(backend, REVISION_KEY, FIRST_REVISION)
        # The record or the advance that made the newest revision is never removed.
        self.revision = max(self.changed_revision, advanced)
        assert self.compacted_revision <= self.revision
        self._compactor = Compactor(self)

    def write(self) -> WriteTxn:
        """Opens a transaction; the previous one has ended."""
        return WriteTxn(self)

    def advance(self) -> int:
        """Takes the next revision without any record, and returns it."""
        self.revision += 1
        save_number(self.backend, REVISION_KEY, self.revision)
        return self.revision

    def history(self, after: int, upto: int, limit: int) -> list[Changes]:
        """The oldest revisions in `(after, upto]` that have records, at most `limit` of them.

        Fewer than `limit` means that there are no more.

        Raises:
            Compacted: `after + 1` is below the compacted revision.
        """
        if after + 1 < self.compacted_revision:
            raise Compacted(self.compacted_revision)
        found: list[Changes] = []
        for place, data in self.backend.scan(
            Table.RECORDS, to_key(pack(after + 1)), to_key(pack(upto + 1))
        ):
            record = decode(from_key(place), data)
            main = record.mod_revision
            if not found or found[-1].revision != main:
                if len(found) == limit:
                    break
                found.append(Changes(main, []))
            prev = record.prev
            found[-1].changes.append(Change(record, None if prev is None else self.load(prev)))
        return found

    def start_compaction(self, revision: int) -> None:
        """Makes everything below `revision` unreadable; the space follows in `compact_slice`.

        Raises:
            Compacted: `revision` is not above the compacted revision.
            FutureRevision: `revision` is above the newest one.
        """
        self._compactor.start(revision)

    def compact_slice(self, count: int) -> bool:
        """Frees what up to `count` records allow; True when no compaction is under way."""
        return self._compactor.clean(count)

    def hash_at(self, revision: int) -> int:
        """A hash of the readable history up to `revision`, equal on every member.

        Raises:
            Compacted: `revision` is below the compacted revision.
            FutureRevision: `revision` is above the newest one.
        """
        return hash_at(self, revision)

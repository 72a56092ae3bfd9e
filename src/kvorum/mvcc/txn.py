"""A write transaction: the changes that together make one revision.

    change n of a transaction stands at Revision(store.revision + 1, n)

The revision is taken at the first change; a transaction that changes nothing takes none. Changes
reach the index and the backend's buffer at once, so reads in the transaction see them, while
`store.revision` moves at `end`. There is no way back: whoever must refuse a request does so before
its first change. At most one transaction is open at a time.
Source: v3-grpc sections 2.1 and 2.6.
"""

from kvorum.backend.base import Table
from kvorum.mvcc.keyspace import Keyspace, RangeResult
from kvorum.mvcc.record import Change, Changes, Record, encode
from kvorum.mvcc.revision import KEY_BYTES, SUB_BITS, Revision

_RECORDS = Table.RECORDS
"""Looked up once: a member of an enum costs as much as the dictionary it selects."""


class WriteTxn:
    """Reads and writes that make at most one revision.

    Attributes:
        revision: the revision its changes have, or would have.
    """

    __slots__ = ("_changes", "_keyspace", "revision")

    def __init__(self, keyspace: Keyspace) -> None:
        assert keyspace.changed_revision <= keyspace.revision, "a transaction is open"
        self._keyspace = keyspace
        self._changes: list[Change] = []
        self.revision = keyspace.revision + 1

    def get(self, key: bytes) -> Record | None:
        """The current record of `key`, this transaction's writes seen."""
        return self._keyspace.get(key)

    def range(
        self,
        start: bytes,
        end: bytes | None,
        *,
        revision: int = 0,
        limit: int = 0,
        count_only: bool = False,
    ) -> RangeResult:
        """As `Keyspace.range`; revision 0 sees this transaction's writes, a given one does not."""
        return self._keyspace.range(
            start, end, revision=revision, limit=limit, count_only=count_only
        )

    def next_key(self, start: bytes, end: bytes) -> bytes | None:
        """The smallest live key of a range, this transaction's writes seen."""
        return self._keyspace.next_key(start, end)

    def put(  # noqa: PLR0913 - one argument for each thing a record keeps
        self,
        key: bytes,
        value: bytes,
        *,
        lease: int = 0,
        action: int = 0,
        expiration: int = 0,
        silent: bool = False,
        keep_create: bool = True,
    ) -> Change:
        """Sets `key`.

        Args:
            key: the key; not empty.
            value: its new value.
            lease: the lease that owns it from now on; 0 none.
            action: how v2 shows the change; 0 when written through v3.
            expiration: when it expires, in ns since the epoch; 0 never.
            silent: the change is part of a v2 write and shows no event of its own.
            keep_create: False begins the key's life anew, as v2's `set` does: created now,
                version 1.
        """
        keyspace = self._keyspace
        previous = keyspace.index.live.get(key)
        main = self.revision
        create, version = main, 1
        prev = None
        if previous is not None:
            prev = keyspace.load(previous)
            if keep_create:
                create, version = prev.create_revision, prev.version + 1
        sub = len(self._changes)
        record = Record(
            key,
            value,
            create,
            main,
            version,
            lease,
            sub,
            previous,
            False,  # noqa: FBT003 - by position, as keywords cost a tenth of the whole put
            action,
            expiration,
            silent,
        )
        revision = Revision(main << SUB_BITS | sub)
        keyspace.backend.put(_RECORDS, revision.to_bytes(KEY_BYTES, "big"), encode(record))
        keyspace.index.put(key, revision, previous)
        keyspace.keep(revision, record, previous)
        if expiration or (prev is not None and prev.expiration):
            keyspace.expiring.set(key, expiration)
        if lease or (prev is not None and prev.lease):
            keyspace.attachments.move(key, prev.lease if prev is not None else 0, lease)
        return self._add(record, prev)

    def delete(self, key: bytes, *, action: int = 0, silent: bool = False) -> Change | None:
        """Deletes `key`; None when it does not exist."""
        keyspace = self._keyspace
        previous = keyspace.index.live.get(key)
        if previous is None:
            return None
        prev = keyspace.load(previous)
        record = Record(
            key,
            b"",
            prev.create_revision,
            self.revision,
            0,
            sub=len(self._changes),
            prev=previous,
            tombstone=True,
            action=action,
            silent=silent,
        )
        revision = Revision(record.mod_revision << SUB_BITS | record.sub)
        keyspace.backend.put(_RECORDS, revision.to_bytes(KEY_BYTES, "big"), encode(record))
        keyspace.index.remove(key, revision)
        if prev.expiration:
            keyspace.expiring.set(key, 0)
        if prev.lease:
            keyspace.attachments.move(key, prev.lease, 0)
        return self._add(record, prev)

    def _add(self, record: Record, prev: Record | None) -> Change:
        change = Change(record, prev)
        self._changes.append(change)
        self._keyspace.changed_revision = self.revision
        return change

    def end(self) -> Changes | None:
        """Makes the revision; None when nothing changed. Nothing may be done after it."""
        if not self._changes:
            return None
        self._keyspace.revision = self.revision
        return Changes(self.revision, self._changes)

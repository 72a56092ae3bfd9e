"""What the keyspace consists of, and how it is read.

Owns the key index, the expirations, which lease a key has, and the three revisions; the records
themselves are in the backend. `Store` adds restart, history and compaction; `WriteTxn` is the only
writer.

    compacted_revision <= revision        in a transaction, changed_revision == revision + 1
    -1 <= compacted_revision              else changed_revision <= revision

Ranges, everywhere in this package: `end` None is the one key `start`, `FROM_KEY` every key from
`start` on, anything else `start <= key < end`.
Source: v3-grpc sections 2.1, 2.2 and 2.7.
"""

from itertools import islice

from kvorum.backend.base import Backend, Table
from kvorum.errors import KvorumError
from kvorum.mvcc.attachments import Attachments
from kvorum.mvcc.expiry import ExpiryQueue
from kvorum.mvcc.index import Index
from kvorum.mvcc.record import Record, decode
from kvorum.mvcc.revision import KEY_BYTES, Revision
from kvorum.mvcc.sortedkeys import FROM_KEY
from kvorum.structs import Untracked

FIRST_REVISION = 1
"""The revision of a store nothing was written to."""

NEVER_COMPACTED = -1

RECENT_MAX = 4_096
RECENT_BYTES_MAX = 4_096
"""Records of up to so many bytes that are kept ready: some 20 MB at the very most. A record never
changes, so what is kept is never wrong; a key written or read again is mostly one of few."""

_RECORDS = Table.RECORDS
"""Looked up once: a member of an enum costs as much as the dictionary it selects."""


class Compacted(KvorumError):
    """The revision asked for lies below the compacted one.

    Attributes:
        compacted_revision: the oldest revision that can be read.
    """

    def __init__(self, compacted_revision: int) -> None:
        super().__init__(f"required revision has been compacted at {compacted_revision}")
        self.compacted_revision = compacted_revision


class FutureRevision(KvorumError):
    """The revision asked for has not been made yet.

    Attributes:
        revision: the newest revision.
    """

    def __init__(self, revision: int) -> None:
        super().__init__(f"required revision is newer than {revision}")
        self.revision = revision


class RangeResult(Untracked):
    """What a range read found.

    Attributes:
        records: in key order, at most `limit` of them; empty when only counted.
        count: how many keys the range holds, whatever the limit.
        revision: the store's revision now.
    """

    records: list[Record]
    count: int
    revision: int


class Keyspace:
    """Index, expirations, revisions; every read of a key.

    Attributes:
        revision: the newest revision; `FIRST_REVISION` in a fresh store.
        changed_revision: the newest revision that has records.
        compacted_revision: reads below it fail; `NEVER_COMPACTED` at first.
        expiring: the live keys that expire.
        attachments: the live keys that have a lease.
        index: where records stand; written by WriteTxn and compaction only.
        backend: where the records are.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.index = Index()
        self.expiring: ExpiryQueue[bytes] = ExpiryQueue()
        self.attachments = Attachments()
        self.revision = FIRST_REVISION
        self.changed_revision = 0
        self.compacted_revision = NEVER_COMPACTED
        self._recent: dict[Revision, Record] = {}

    @property
    def key_count(self) -> int:
        """Live keys."""
        return len(self.index.live)

    def get(self, key: bytes) -> Record | None:
        """The current record of `key`; None when it does not exist."""
        revision = self.index.live.get(key)
        return None if revision is None else self.load(revision)

    def get_at(self, key: bytes, revision: int) -> Record | None:
        """The record of `key` as it was at `revision`.

        Raises:
            Compacted: `revision` is below the compacted revision.
            FutureRevision: `revision` is above the newest one.
        """
        self.check_readable(revision)
        found = self.index.find_at(key, revision)
        return None if found is None else self.load(found)

    def range(
        self,
        start: bytes,
        end: bytes | None,
        *,
        revision: int = 0,
        limit: int = 0,
        count_only: bool = False,
    ) -> RangeResult:
        """The records of a range, in key order.

        Args:
            start: first key of the range.
            end: see the module.
            revision: read as of this revision; 0 or less for the newest.
            limit: how many records to return; 0 or less for all.
            count_only: return no records.

        Raises:
            Compacted: `revision` is below the compacted revision.
            FutureRevision: `revision` is above the newest one.
        """
        if revision > 0:
            self.check_readable(revision)
        is_newest = revision <= 0 or revision >= self.changed_revision
        if end is None:
            places, count = self._find_one(start, None if is_newest else revision)
        elif is_newest:
            places, count = self._find_newest(start, end, limit, count_only=count_only)
        else:
            places = self.index.range_at(start, end, revision)
            count = len(places)
        if count_only:
            return RangeResult([], count, self.revision)
        if limit > 0:
            del places[limit:]
        return RangeResult([self.load(place) for place in places], count, self.revision)

    def _find_one(self, key: bytes, revision: int | None) -> tuple[list[Revision], int]:
        index = self.index
        found = index.live.get(key) if revision is None else index.find_at(key, revision)
        return ([], 0) if found is None else ([found], 1)

    def _find_newest(
        self, start: bytes, end: bytes, limit: int, *, count_only: bool
    ) -> tuple[list[Revision], int]:
        keys, live = self.index.keys, self.index.live
        if count_only:
            return [], keys.count(start, end)
        found = keys.iterate(start, end)
        if limit > 0:
            return [live[key] for key in islice(found, limit)], keys.count(start, end)
        places = [live[key] for key in found]
        return places, len(places)

    def next_key(self, start: bytes, end: bytes) -> bytes | None:
        """The smallest live key of a range; None when it is empty."""
        key = self.index.keys.find_next(start)
        if key is None or key < end or end == FROM_KEY:
            return key
        return None

    def record_at(self, revision: Revision) -> Record:
        """The record that stands at `revision`, such as another record's `prev`.

        Raises:
            Compacted: there is none; compaction removes records that have been replaced.
        """
        data = self.backend.get(_RECORDS, revision.to_bytes(KEY_BYTES, "big"))
        if data is None:
            raise Compacted(self.compacted_revision)
        return decode(revision, data)

    def load(self, revision: Revision) -> Record:
        """The record at a revision that the index names."""
        record = self._recent.get(revision)
        if record is None:
            record = self._read(revision)
            self.keep(revision, record, None)
        return record

    def keep(self, revision: Revision, record: Record, previous: Revision | None) -> None:
        """Keeps a record ready that is likely to be read again, in the place of `previous`."""
        recent = self._recent
        if previous is not None:
            recent.pop(previous, None)
        if len(recent) >= RECENT_MAX:
            recent.clear()
        if len(record.value) <= RECENT_BYTES_MAX:
            recent[revision] = record

    def forget_recent(self) -> None:
        """Another state took the place of this one."""
        self._recent.clear()

    def _read(self, revision: Revision) -> Record:
        data = self.backend.get(_RECORDS, revision.to_bytes(KEY_BYTES, "big"))
        assert data is not None, "the index names a record that is not in the backend"
        return decode(revision, data)

    def check_readable(self, revision: int) -> None:
        """Raises Compacted or FutureRevision unless the keyspace can be read at `revision`."""
        if revision > self.revision:
            raise FutureRevision(self.revision)
        if revision < self.compacted_revision:
            raise Compacted(self.compacted_revision)

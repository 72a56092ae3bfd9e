"""Compaction in bounded slices, and the hash of the keyspace.

Compacting at C makes reads below C fail at once, on every member at the same log entry. Space
follows in slices, whenever the owner has time. Cleaning walks the records from the last cleaned
revision up to C, that is, it touches what was written since and not the whole keyspace:

    for each record r of a revision < C: the record it replaced goes, and r too if a tombstone

What was written at C, and what that replaced, stays until the next compaction: a watch may start
at C, and gets every event of it with the value before.

Both C and the revision cleaned so far are in the META table; a crash between
slices loses nothing but the work since, and doing a slice twice does no harm.
Source: v3-grpc section 2.7.
"""

from itertools import islice

from google_crc32c import extend

from kvorum.backend.base import Backend, Table
from kvorum.mvcc.keyspace import Compacted, FutureRevision, Keyspace
from kvorum.mvcc.record import decode_links
from kvorum.mvcc.revision import SUB_BITS, Revision, from_key, pack, to_key

COMPACTED_KEY = b"mvcc.compacted_revision"
CLEANED_KEY = b"mvcc.cleaned_revision"
REVISION_KEY = b"mvcc.revision"


def load_number(backend: Backend, name: bytes, default: int) -> int:
    """A number kept under a name in the META table."""
    data = backend.get(Table.META, name)
    return default if data is None else int.from_bytes(data, "big")


def save_number(backend: Backend, name: bytes, number: int) -> None:
    """Keeps a number under a name in the META table."""
    backend.put(Table.META, name, number.to_bytes(8, "big"))


class Compactor:
    """Removes what a compaction has made unreadable, slice by slice.

    `_position` is the next record to look at: `pack(cleaned) <= _position <= pack(C)`, and what the
    records below it allow to remove is gone. None when nothing is under way.
    """

    __slots__ = ("_keyspace", "_position")

    def __init__(self, keyspace: Keyspace) -> None:
        """Takes up a compaction that a restart has interrupted."""
        self._keyspace = keyspace
        cleaned = load_number(keyspace.backend, CLEANED_KEY, 0)
        is_clean = cleaned >= keyspace.compacted_revision
        self._position: Revision | None = None if is_clean else pack(cleaned)

    def start(self, revision: int) -> None:
        """Compacts at `revision`; the space follows in `clean`.

        Raises:
            Compacted: `revision` is not above the compacted revision.
            FutureRevision: `revision` is above the newest one.
        """
        keyspace = self._keyspace
        before = keyspace.compacted_revision
        if revision <= before:
            raise Compacted(before)
        if revision > keyspace.revision:
            raise FutureRevision(keyspace.revision)
        keyspace.compacted_revision = revision
        save_number(keyspace.backend, COMPACTED_KEY, revision)
        if self._position is None:
            self._position = pack(max(before, 0))

    def clean(self, count: int) -> bool:
        """Looks at up to `count` records; True when nothing is left to do."""
        if self._position is None:
            return True
        keyspace = self._keyspace
        compacted = keyspace.compacted_revision
        records = keyspace.backend.scan(
            Table.RECORDS, to_key(self._position), to_key(pack(compacted))
        )
        seen = 0
        for key, data in islice(records, count):
            self._clean_record(from_key(key), data, compacted)
            self._position = Revision(from_key(key) + 1)
            seen += 1
        if seen == count:
            return False
        self._position = None
        save_number(keyspace.backend, CLEANED_KEY, compacted)
        return True

    def _clean_record(self, revision: Revision, data: bytes, compacted: int) -> None:
        record_key, prev, tombstone, *_ = decode_links(data)
        backend = self._keyspace.backend
        if prev is not None:
            backend.delete(Table.RECORDS, to_key(prev))
        if tombstone:
            backend.delete(Table.RECORDS, to_key(revision))
        self._keyspace.index.compact(record_key, compacted)


def hash_at(keyspace: Keyspace, revision: int) -> int:
    """CRC-32C over the records up to `revision` that compaction is to keep, in order.

    Equal on every member for equal `revision` and compacted revision, however far each has
    cleaned. It reads every record once and blocks meanwhile.

    Raises:
        Compacted: `revision` is below the compacted revision.
        FutureRevision: `revision` is above the newest one.
    """
    keyspace.check_readable(revision)
    compacted, index = keyspace.compacted_revision, keyspace.index
    checksum = 0
    for key, data in keyspace.backend.scan(Table.RECORDS, b"", to_key(pack(revision + 1))):
        place = from_key(key)
        if place >> SUB_BITS < compacted:
            record_key, *_ = decode_links(data)
            if index.find_at(record_key, compacted) != place:
                continue
        checksum = extend(extend(checksum, key), data)
    return checksum

"""A record: what one change left at one key, and its bytes.

Each change of a key is one record, stored under its `Revision` and never altered. A delete is a
record too, a tombstone. Records of one key form a chain through `prev`, from which the value
before an event is read without any index.

The bytes are a fixed header, the key and the value; where a record stands (its revision) is its
key in the backend and is not repeated. The layout is described in docs/record-format.md.
"""

import struct

from kvorum.mvcc.revision import SUB_BITS, Revision
from kvorum.structs import Untracked

_HEADER = struct.Struct("<QQqqQIIBB")
"""create_revision, version, lease, expiration, prev's main and sub, key length, action, flags."""

_HEADER_BYTES = _HEADER.size
_TOMBSTONE = 1
_SILENT = 2
_SUB_MASK = (1 << SUB_BITS) - 1

_pack = _HEADER.pack
_unpack = _HEADER.unpack_from
_unpack_links = struct.Struct("<16xqqQIIxB").unpack_from


class Record(Untracked):
    """One change of one key.

    Attributes:
        create_revision: revision of the put that began the key's present life; a tombstone keeps
            that of the life it ended.
        mod_revision: revision of this change.
        version: puts since the key's life began, from 1; 0 in a tombstone.
        lease: id of the lease that owns the key; 0 none.
        sub: place of this change in its revision.
        prev: where the record this one replaced stands; None when the key did not exist.
        tombstone: the change was a delete.
        action: how v2 shows the change; 0 when it was written through v3.
        expiration: when the key expires, in ns since the epoch; 0 never.
        silent: part of a v2 write that shows no event of its own.
    """

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int = 0
    sub: int = 0
    prev: Revision | None = None
    tombstone: bool = False
    action: int = 0
    expiration: int = 0
    silent: bool = False


class Change(Untracked):
    """A record and the one it replaced.

    Attributes:
        prev: None when the key did not exist.
    """

    record: Record
    prev: Record | None


class Changes(Untracked):
    """All changes of one revision, in the order they were made."""

    revision: int
    changes: list[Change]


def encode(record: Record) -> bytes:
    """The record's bytes, without its revision."""
    prev = record.prev or 0
    key = record.key
    return (
        _pack(
            record.create_revision,
            record.version,
            record.lease,
            record.expiration,
            prev >> SUB_BITS,
            prev & _SUB_MASK,
            len(key),
            record.action,
            record.tombstone | record.silent << 1,
        )
        + key
        + record.value
    )


def decode(revision: Revision, data: bytes) -> Record:
    """The record whose bytes `data` stand at `revision`."""
    create, version, lease, expiration, prev_main, prev_sub, key_bytes, action, flags = _unpack(
        data
    )
    value_at = _HEADER_BYTES + key_bytes
    return Record(
        data[_HEADER_BYTES:value_at],
        data[value_at:],
        create,
        revision >> SUB_BITS,
        version,
        lease,
        revision & _SUB_MASK,
        prev_main << SUB_BITS | prev_sub if prev_main else None,
        flags & _TOMBSTONE != 0,
        action,
        expiration,
        flags & _SILENT != 0,
    )


def decode_links(data: bytes) -> tuple[bytes, Revision | None, bool, int, int]:
    """What the index needs of a record's bytes: key, prev, tombstone, expiration, lease.

    A tuple of the few, as a restart reads them of every record there is.
    """
    lease, expiration, prev_main, prev_sub, key_bytes, flags = _unpack_links(data)
    return (
        data[_HEADER_BYTES : _HEADER_BYTES + key_bytes],
        prev_main << SUB_BITS | prev_sub if prev_main else None,
        flags & _TOMBSTONE != 0,
        expiration,
        lease,
    )

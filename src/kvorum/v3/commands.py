r"""The requests of the v3 API: the writes as they stand in the log, and the range read.

Each is an array with its integer tag in front, from 34 to 63; fields are only ever added at the
end, with a default, because old logs must stay readable. Names and meanings are those of the
contract's messages. Whatever depends on time, chance or settings is put in by the proposer (lease
ids, TTLs), after `checks` has found nothing to refuse: applying needs nothing but the state.

    range_end    empty: the one key; b"\0": every key from `key` on; else `key` <= k < `range_end`
    revision     0 or less: the newest
Numbers that a client may get wrong stay numbers: an enum would refuse an entry that is in the log.
Source: v3-grpc sections 2 and 4.
"""

from enum import IntEnum
from typing import TypeAlias

from msgspec import Struct


class SortOrder(IntEnum):
    """How a range is sorted."""

    NONE = 0
    ASCEND = 1
    DESCEND = 2


class SortTarget(IntEnum):
    """By what a range is sorted."""

    KEY = 0
    VERSION = 1
    CREATE = 2
    MOD = 3
    VALUE = 4


class CompareResult(IntEnum):
    """How what is stored has to stand to what is given."""

    EQUAL = 0
    GREATER = 1
    LESS = 2
    NOT_EQUAL = 3


class CompareTarget(IntEnum):
    """What of a key is compared."""

    VERSION = 0
    CREATE = 1
    MOD = 2
    VALUE = 3
    LEASE = 4


class Compact(Struct, array_like=True, gc=False, tag=34):
    """History below this revision may go."""

    revision: int


class Put(Struct, array_like=True, gc=False, tag=36):
    """Gives a key a value.

    Attributes:
        lease: owns the key from now on; 0 none.
        prev_kv: the answer shows the key as it was.
        ignore_value: the key keeps its value.
        ignore_lease: the key keeps its lease.
    """

    key: bytes
    value: bytes = b""
    lease: int = 0
    prev_kv: bool = False
    ignore_value: bool = False
    ignore_lease: bool = False


class DeleteRange(Struct, array_like=True, gc=False, tag=37):
    """Deletes every key of a range."""

    key: bytes
    range_end: bytes = b""
    prev_kv: bool = False


class Range(Struct, array_like=True, gc=False, tag=38):
    """Reads a range; in the log only as part of a transaction.

    Attributes:
        limit: how many keys the answer shows; 0 or less for all.
        sort_order: a `SortOrder`.
        sort_target: a `SortTarget`.
        max_mod_revision: keys changed later are left out; so with the other bounds; 0 is none.
    """

    key: bytes
    range_end: bytes = b""
    limit: int = 0
    revision: int = 0
    sort_order: int = 0
    sort_target: int = 0
    keys_only: bool = False
    count_only: bool = False
    min_mod_revision: int = 0
    max_mod_revision: int = 0
    min_create_revision: int = 0
    max_create_revision: int = 0


class Compare(Struct, array_like=True, gc=False):
    """What has to hold of a key, or of every key of a range.

    Attributes:
        result: a `CompareResult`; anything else holds always.
        target: a `CompareTarget`; anything else counts as equal.
        number: what is compared with, unless it is a value.
        value: what a value is compared with.
    """

    key: bytes
    result: int = 0
    target: int = 0
    number: int = 0
    value: bytes = b""
    range_end: bytes = b""


class Txn(Struct, array_like=True, tag=39):
    """If all comparisons hold, the operations of `success`, else those of `failure`; as one."""

    compares: "list[Compare]" = []
    success: "list[Operation]" = []
    failure: "list[Operation]" = []


class LeaseGrant(Struct, array_like=True, gc=False, tag=40):
    """A new lease; the proposer has drawn the id and raised the TTL to the least there is."""

    id: int
    ttl: int


class LeaseRevoke(Struct, array_like=True, gc=False, tag=41):
    """A client ends a lease; its keys go with it."""

    id: int


class LeaseRenew(Struct, array_like=True, gc=False, tag=42):
    """A lease is kept alive by way of the log, because the member asked does not lead."""

    id: int


class LeaseExpire(Struct, array_like=True, tag=43):
    """The leader ends leases whose time is over.

    It does nothing in an entry of a later term than the proposer led in: what an old leader thinks
    of time is nobody's concern. Each lease is named with the stamp the leader saw: one that was
    renewed or granted anew since lives on.

    Attributes:
        term: the term in which the proposer leads.
        leases: ids and stamps.
    """

    term: int
    leases: list[tuple[int, int]]


Operation: TypeAlias = Range | Put | DeleteRange | Txn | None
"""Of a transaction; None where the request has set nothing, which `checks` refuses."""

Command: TypeAlias = (
    Put | DeleteRange | Txn | Compact | LeaseGrant | LeaseRevoke | LeaseRenew | LeaseExpire
)

"""What the requests of the v3 API are answered with, when they are not refused.

Names and fields are those of the contract's messages; a header's revision is `revision`, and the
rest of the header is the server's to add. A key is shown as the `Record` of its last write.
Source: v3-grpc sections 1, 2 and 4.
"""

from typing import TypeAlias

from kvorum.mvcc.record import Record
from kvorum.structs import Untracked


class RangeResponse(Untracked):
    """What a range holds.

    Attributes:
        kvs: the keys shown.
        more: the limit has cut something off.
        count: keys in the range, shown or not.
    """

    revision: int
    kvs: list[Record]
    more: bool
    count: int


class PutResponse(Untracked):
    """A key was written; `prev_kv` is what it was, if that was asked for and there was one."""

    revision: int
    prev_kv: Record | None = None


class DeleteRangeResponse(Untracked):
    """So many keys were deleted; `prev_kvs` are what they were, if that was asked for."""

    revision: int
    deleted: int
    prev_kvs: list[Record]


class TxnResponse(Untracked):
    """What a transaction did.

    Attributes:
        revision: 0 in a nested one, whose header is empty.
        succeeded: all comparisons held.
        responses: one for each operation of the branch taken.
    """

    revision: int
    succeeded: bool
    responses: "list[OperationResponse]"


class CompactionResponse(Untracked):
    """History below the revision asked for is gone."""

    revision: int


class LeaseGrantResponse(Untracked):
    """The lease lives for `ttl` seconds from when this was asked for, at least."""

    revision: int
    id: int
    ttl: int


class LeaseRevokeResponse(Untracked):
    """The lease is gone, and all its keys."""

    revision: int


class LeaseKeepAliveResponse(Untracked):
    """The lease lives for `ttl` seconds from when this was asked for; 0: there is none."""

    revision: int
    id: int
    ttl: int


class LeaseTimeToLiveResponse(Untracked):
    """How long a lease has left.

    Attributes:
        ttl: whole seconds left; -1 when there is no such lease.
        granted_ttl: what it was granted with.
        keys: those attached to it, if they were asked for.
    """

    revision: int
    id: int
    ttl: int
    granted_ttl: int
    keys: list[bytes]


OperationResponse: TypeAlias = RangeResponse | PutResponse | DeleteRangeResponse | TxnResponse

"""What callers of the v3 API asked, and what they were told.

A request is one of the API's. A call that is never answered, or whose answer says that nobody
knows, keeps `completed` at infinity and no answer: it may have happened at any time since, or
never.
"""

from math import inf
from typing import TypeAlias

from msgspec import Struct

from kvorum.errors import RpcError
from kvorum.v3.answers import (
    DeleteRangeResponse,
    LeaseGrantResponse,
    LeaseKeepAliveResponse,
    LeaseRevokeResponse,
    LeaseTimeToLiveResponse,
    OperationResponse,
    PutResponse,
    TxnResponse,
)
from kvorum.v3.commands import DeleteRange, LeaseGrant, LeaseRevoke, Put, Range, Txn


class KeepAlive(Struct, frozen=True):
    """A lease is to live for its whole TTL again."""

    id: int


class TimeToLive(Struct, frozen=True):
    """How long does a lease live, and what does it own?"""

    id: int


KvRequest: TypeAlias = Range | Put | DeleteRange | Txn
LeaseRequest: TypeAlias = LeaseGrant | LeaseRevoke | KeepAlive | TimeToLive
Answer: TypeAlias = (
    OperationResponse
    | LeaseGrantResponse
    | LeaseRevokeResponse
    | LeaseKeepAliveResponse
    | LeaseTimeToLiveResponse
    | RpcError
)


class Call(Struct):
    """One request of one caller.

    Attributes:
        client: who asked.
        process: the member asked, with its epoch.
        is_local: a serializable read.
        completed: infinity while there is no answer.
        answer: None while unknown.
    """

    client: str
    process: str
    request: KvRequest | LeaseRequest
    invoked: float
    is_local: bool = False
    completed: float = inf
    answer: Answer | None = None

    @property
    def revision(self) -> int:
        """What the answer tells; 0 when it tells none."""
        if self.answer is None or isinstance(self.answer, RpcError):
            return 0
        return self.answer.revision

    @property
    def has_written(self) -> bool:
        """Whether the answer tells of a key that was changed."""
        return _tells_of_writes(self.answer)

    def __str__(self) -> str:
        """One line for a report."""
        until = "?" if self.completed == inf else f"{self.completed:.3f}"
        local = " locally" if self.is_local else ""
        told = "unknown" if self.answer is None else repr(self.answer)
        where = f"{self.client}@{self.process}"
        return f"[{self.invoked:.3f}, {until}] {where}{local} {self.request} -> {told}"


def _tells_of_writes(answer: object) -> bool:
    if isinstance(answer, TxnResponse):
        return any(map(_tells_of_writes, answer.responses))
    if isinstance(answer, DeleteRangeResponse):
        return answer.deleted > 0
    return isinstance(answer, PutResponse)

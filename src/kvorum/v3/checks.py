"""What is wrong with a v3 request, told from the request alone.

Whoever proposes a command asks `find_fault` first; in the log there is nothing that it refuses. A
limit that a flag sets, such as the operations of a transaction, can be checked nowhere else:
members may differ in it.

A branch of a transaction may write a key once. Puts collide with puts and with deletes whose range
holds them, in any order and through nested transactions, of which only one branch will run; deletes
may overlap. A delete "from key" is not seen to hold anything: it may go with puts (etcd's quirk).
Source: v3-grpc sections 2.2 to 2.6.
"""

from collections.abc import Sequence

from kvorum.errors import (
    DuplicateKey,
    InvalidSortOption,
    KeyMissing,
    KeyNotProvided,
    LeaseProvided,
    RpcError,
    TooManyOperations,
    ValueProvided,
)
from kvorum.mvcc.sortedkeys import FROM_KEY
from kvorum.v3.commands import (
    DeleteRange,
    Operation,
    Put,
    Range,
    SortOrder,
    SortTarget,
    Txn,
)

TXN_OPERATIONS_MAX = 128
"""Per level of a transaction, the longest of its three lists."""


def find_fault(
    request: Put | DeleteRange | Range | Txn, operations_max: int = TXN_OPERATIONS_MAX
) -> RpcError | None:
    """Why a request is refused before it reaches the log; None when it may pass."""
    if type(request) is Put:
        return _find_put_fault(request)
    if type(request) is Range:
        return _find_range_fault(request)
    if type(request) is DeleteRange:
        return None if request.key else KeyNotProvided()
    assert type(request) is Txn, "there is no other kind"
    fault = _find_txn_fault(request, operations_max)
    if fault is None and _writes_twice(request):
        return DuplicateKey()
    return fault


def is_read_only(txn: Txn) -> bool:
    """Whether a transaction needs no entry: both branches hold nothing but ranges."""
    return all(type(one) is Range for one in (*txn.success, *txn.failure))


def _find_put_fault(put: Put) -> RpcError | None:
    if not put.key:
        return KeyNotProvided()
    if put.ignore_value and put.value:
        return ValueProvided()
    return LeaseProvided() if put.ignore_lease and put.lease else None


def _find_range_fault(request: Range) -> RpcError | None:
    if not request.key:
        return KeyNotProvided()
    is_known = 0 <= request.sort_order <= max(SortOrder) and 0 <= request.sort_target <= max(
        SortTarget
    )
    return None if is_known else InvalidSortOption()


def _find_txn_fault(txn: Txn, operations_max: int) -> RpcError | None:
    longest = max(len(txn.compares), len(txn.success), len(txn.failure))
    if longest > operations_max:
        return TooManyOperations()
    if not all(compare.key for compare in txn.compares):
        return KeyNotProvided()
    for operation in (*txn.success, *txn.failure):
        if operation is None:
            return KeyMissing()
        if type(operation) is Txn:
            fault = _find_txn_fault(operation, operations_max - longest)
        else:
            fault = find_fault(operation)
        if fault is not None:
            return fault
    return None


class _Writes:
    """What one branch writes: single keys, and ranges that are deleted."""

    def __init__(self) -> None:
        self.puts: set[bytes] = set()
        self.deletes: list[tuple[bytes, bytes]] = []

    def collides(self, other: "_Writes") -> bool:
        """Whether a key would be written twice if both ran."""
        return (
            not self.puts.isdisjoint(other.puts)
            or self.deletes_any(other.puts)
            or other.deletes_any(self.puts)
        )

    def deletes_any(self, puts: set[bytes]) -> bool:
        """Whether one of these keys lies in a range that is deleted."""
        return any(
            start <= key < end for start, end in self.deletes if end != FROM_KEY for key in puts
        )

    def add(self, other: "_Writes") -> None:
        """Takes in what another operation writes."""
        self.puts |= other.puts
        self.deletes += other.deletes


def _writes_twice(txn: Txn) -> bool:
    return _collect(txn.success) is None or _collect(txn.failure) is None


def _collect(operations: Sequence[Operation]) -> _Writes | None:
    """All that a branch may write; None when it writes a key twice."""
    collected = _Writes()
    for operation in operations:
        writes = _writes_of(operation)
        if writes is None or writes.collides(collected):
            return None
        collected.add(writes)
    return collected


def _writes_of(operation: Operation) -> _Writes | None:
    writes = _Writes()
    if type(operation) is Put:
        writes.puts.add(operation.key)
    elif type(operation) is DeleteRange:
        end = operation.range_end or operation.key + b"\0"
        writes.deletes.append((operation.key, end))
    elif type(operation) is Txn:
        branches = (_collect(operation.success), _collect(operation.failure))
        for branch in branches:
            if branch is None:
                return None
            writes.add(branch)
    return writes

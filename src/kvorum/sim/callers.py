"""Clients of the v3 API: what they call, below the wire, and what they write down of it.

They have keys of their own, few, and share the leases they know of. A comparison is mostly with
what the caller saw last. Values are never used twice, nor are the ids of leases.
"""

from collections.abc import Callable
from enum import IntEnum
from functools import partial

from kvorum.errors import UnavailableError
from kvorum.mvcc.record import Record
from kvorum.mvcc.sortedkeys import FROM_KEY
from kvorum.server.proposals import Completion
from kvorum.server.server import Server
from kvorum.sim.calls import Answer, Call, KeepAlive, KvRequest, LeaseRequest, TimeToLive
from kvorum.sim.chance import Chance
from kvorum.sim.clients import Client, ClientsProcess, Site, name_of
from kvorum.sim.history import History
from kvorum.v3.answers import (
    LeaseGrantResponse,
    LeaseKeepAliveResponse,
    RangeResponse,
    TxnResponse,
)
from kvorum.v3.checks import find_fault, is_read_only
from kvorum.v3.commands import (
    Compare,
    CompareResult,
    CompareTarget,
    DeleteRange,
    LeaseGrant,
    LeaseRevoke,
    Operation,
    Put,
    Range,
    SortOrder,
    SortTarget,
    Txn,
)

KEYS = (b"k0", b"k1", b"k2", b"k3")

RANGES = (
    (b"k0", b""),
    (b"k1", b""),
    (b"k0", b"k2"),
    (b"k", b"l"),
    (b"/", b"0"),
    (FROM_KEY, FROM_KEY),
)
"""Of files too: the APIs share one keyspace."""

TTL_SECONDS_MAX = 6
LEASES_KNOWN_MAX = 6
DEPTH_MAX = 2
"""How deep transactions are nested."""


class CallKind(IntEnum):
    """What is called."""

    PUT = 0
    RANGE = 1
    LOCAL_RANGE = 2
    """A serializable one: of one member's state, which may be old."""
    PAST_RANGE = 3
    DELETE_RANGE = 4
    TXN = 5
    GRANT = 6
    REVOKE = 7
    KEEP_ALIVE = 8
    TIME_TO_LIVE = 9


WEIGHTS = {
    CallKind.PUT: 4.0,
    CallKind.RANGE: 4.0,
    CallKind.LOCAL_RANGE: 1.5,
    CallKind.PAST_RANGE: 1.5,
    CallKind.DELETE_RANGE: 1.5,
    CallKind.TXN: 6.0,
    CallKind.GRANT: 1.5,
    CallKind.REVOKE: 0.5,
    CallKind.KEEP_ALIVE: 2.0,
    CallKind.TIME_TO_LIVE: 1.0,
}
"""How often each kind is called, next to the others."""

ONLY_KEEP = {CallKind.KEEP_ALIVE: 1.0}
"""Who keeps a lease alive does nothing else."""


class Caller(Client[Call]):
    """Calls the v3 API."""

    def __init__(
        self,
        site: Site,
        number: int,
        chance: Chance,
        weights: dict[CallKind, float],
        history: History,
        leases: list[int],
    ) -> None:
        """`leases` are those it knows of, mostly shared with others."""
        super().__init__(site, f"v{number}", chance)
        self._number = number
        self._weights = weights
        self._history = history
        self._leases = leases
        self._known: dict[bytes, Record] = {}
        self._parts: dict[Callable[[], Range | Put | DeleteRange], float] = {
            self._draw_put: 5.0,
            self._draw_delete: 2.0,
            self._draw_range: 2.0,
        }

    # What is asked.

    def _draw(self, process: ClientsProcess) -> Call:
        kind = self._chance.weighted(self._weights)
        call = Call(
            self.name,
            name_of(process),
            self._draw_request(kind, process.server),
            self._loop.now,
            is_local=kind is CallKind.LOCAL_RANGE,
        )
        self._history.calls.append(call)
        return call

    def _draw_request(self, kind: CallKind, server: Server) -> KvRequest | LeaseRequest:
        chance = self._chance
        if kind is CallKind.PAST_RANGE:
            return self._draw_range(max(server.store.revision + 3 - chance.below(40), 1))
        if kind in _OF_LEASES:
            return _OF_LEASES[kind](chance.choice(self._leases)) if self._leases else self._grant()
        draw: dict[CallKind, Callable[[], KvRequest | LeaseRequest]] = {
            CallKind.PUT: self._draw_put,
            CallKind.DELETE_RANGE: self._draw_delete,
            CallKind.TXN: self._draw_txn,
            CallKind.GRANT: self._grant,
        }
        return draw.get(kind, self._draw_range)()

    def _grant(self) -> LeaseGrant:
        self._count += 1
        lease_id = self._number << 32 | self._count
        return LeaseGrant(lease_id, 1 + self._chance.below(TTL_SECONDS_MAX))

    def _draw_put(self) -> Put:
        chance = self._chance
        key = chance.choice(KEYS)
        lease = chance.choice(self._leases) if self._leases and chance.happens(0.3) else 0
        put = Put(key, self._next_value(), lease, prev_kv=chance.happens(0.3))
        if chance.happens(0.1):
            put.ignore_value, put.value = True, b""
        if chance.happens(0.1):
            put.ignore_lease, put.lease = True, 0
        return put

    def _draw_delete(self) -> DeleteRange:
        chance = self._chance
        key, end = chance.choice(RANGES[:4])
        return DeleteRange(key, end, prev_kv=chance.happens(0.5))

    def _draw_range(self, revision: int = 0) -> Range:
        chance = self._chance
        key, end = chance.choice(RANGES)
        request = Range(key, end, revision=revision)
        if chance.happens(0.2):
            request.limit = 1 + chance.below(3)
        if chance.happens(0.2):
            request.sort_target = chance.below(len(SortTarget))
            request.sort_order = chance.below(len(SortOrder))
        if chance.happens(0.1):
            request.keys_only = True
        elif chance.happens(0.1):
            request.count_only = True
        if chance.happens(0.1) and self._known:
            bound = chance.choice(list(self._known.values()))
            request.min_mod_revision = bound.mod_revision
            request.max_create_revision = bound.mod_revision
        return request

    def _draw_txn(self, depth: int = 0) -> Txn:
        chance = self._chance
        while True:
            txn = Txn(
                [self._draw_compare() for _ in range(chance.below(3))],
                [self._draw_operation(depth) for _ in range(1 + chance.below(3))],
                [self._draw_operation(depth) for _ in range(chance.below(3))],
            )
            if find_fault(txn) is None:  # no branch writes a key twice
                return txn

    def _draw_operation(self, depth: int) -> Operation:
        if depth < DEPTH_MAX and self._chance.happens(0.1):
            return self._draw_txn(depth + 1)
        return self._chance.weighted(self._parts)()

    def _draw_compare(self) -> Compare:
        chance = self._chance
        key = chance.choice(KEYS)
        known = self._known.get(key)
        target = CompareTarget(chance.below(len(CompareTarget)))
        compare = Compare(key, _result_of(chance), target)
        if known is not None:
            compare.value = known.value
            compare.number = {
                CompareTarget.VERSION: known.version,
                CompareTarget.CREATE: known.create_revision,
                CompareTarget.MOD: known.mod_revision,
                CompareTarget.VALUE: 0,
                CompareTarget.LEASE: known.lease,
            }[target]
        if chance.happens(0.1):
            compare.range_end = b"l"
        return compare

    # How it is sent.

    def _send(self, request: Call, server: Server) -> None:
        asked, completion = request.request, partial(self._answered, request)
        leases = server.leases
        if isinstance(asked, LeaseGrant):
            leases.grant(asked.id, asked.ttl, completion)
        elif isinstance(asked, LeaseRevoke):
            leases.revoke(asked.id, completion)
        elif isinstance(asked, KeepAlive):
            leases.renew(asked.id, completion)
        elif isinstance(asked, TimeToLive):
            leases.time_to_live(asked.id, completion, keys=True)
        elif request.is_local:
            completion(_read(server, asked))
        elif isinstance(asked, Range) or (isinstance(asked, Txn) and is_read_only(asked)):
            server.read(partial(_may_read, server, asked, completion))
        else:
            server.propose(asked, completion)

    # What is learnt from the answer.

    def _take(self, request: Call, result: object) -> None:
        assert isinstance(result, Answer), f"nobody is answered with {result!r}"
        request.answer = result
        if isinstance(result, LeaseGrantResponse):
            self._leases.append(result.id)
            del self._leases[:-LEASES_KNOWN_MAX]
        elif isinstance(request.request, LeaseRevoke | KeepAlive) and _is_gone(result):
            self._leases[:] = [one for one in self._leases if one != request.request.id]
        self._learn(result)

    def _learn(self, answer: object) -> None:
        if isinstance(answer, TxnResponse):
            for response in answer.responses:
                self._learn(response)
        elif isinstance(answer, RangeResponse):
            self._known |= {record.key: record for record in answer.kvs if record.key in KEYS}


_OF_LEASES: dict[CallKind, Callable[[int], LeaseRequest]] = {
    CallKind.REVOKE: LeaseRevoke,
    CallKind.KEEP_ALIVE: KeepAlive,
    CallKind.TIME_TO_LIVE: TimeToLive,
}


def _is_gone(answer: object) -> bool:
    return not isinstance(answer, LeaseKeepAliveResponse) or answer.ttl == 0


def _result_of(chance: Chance) -> CompareResult:
    """Mostly equal: what holds once, and then no more."""
    if chance.happens(0.6):
        return CompareResult.EQUAL
    return CompareResult(chance.below(len(CompareResult)))


def _may_read(
    server: Server, request: KvRequest, completion: Completion, error: UnavailableError | None
) -> None:
    completion(error or _read(server, request))


def _read(server: Server, request: KvRequest) -> object:
    """What a member shows now."""
    if isinstance(request, Txn):
        return server.kv.txn(request)
    assert isinstance(request, Range), "nothing else reads"
    return server.kv.range(request)

"""Bugs planted in the v3 state machine and its leases: more of `mutants`.

`mutants` has the whole table.
"""

# ruff: noqa: SLF001 -- mistakes are made where no caller may reach

import msgspec

from kvorum.apply import kv as kv_module
from kvorum.apply.kv import KV
from kvorum.errors import RpcError
from kvorum.mvcc.keyspace import Keyspace
from kvorum.mvcc.lease import NS, Lessor
from kvorum.mvcc.txn import WriteTxn
from kvorum.server.leases import Leases
from kvorum.server.proposals import Completion
from kvorum.sim.planting import Patch, mutant
from kvorum.v3.answers import PutResponse, RangeResponse, TxnResponse
from kvorum.v3.commands import Compare, CompareTarget, LeaseExpire, Put, Range, Txn

# Leases


@mutant("a deposed leader ends leases", "s after this")
def _expire_in_any_term() -> list[Patch]:
    original = KV._expire

    def expire(kv: KV, command: LeaseExpire) -> None:
        original(kv, msgspec.structs.replace(command, term=kv.entry.term))

    return [(KV, "_expire", expire)]


@mutant("a lease ends that the log has renewed meanwhile", "s after this")
def _ignore_stamps() -> list[Patch]:
    original = KV._expire

    def expire(kv: KV, command: LeaseExpire) -> None:
        leases = kv._lessor.leases
        known = [(one, leases[one].stamp) for one, _ in command.leases if one in leases]
        original(kv, LeaseExpire(command.term, known))

    return [(KV, "_expire", expire)]


@mutant(
    "a lease is renewed without a round",
    "s after this",
    "a revision went back",
    "there was no such lease",
)
def _renew_alone() -> list[Patch]:
    original = Leases.renew

    def renew(leases: Leases, lease_id: int, completion: Completion) -> None:
        if leases._lessor.is_primary:
            leases._confirmed(lease_id, completion, None)
        else:
            original(leases, lease_id, completion)

    return [(Leases, "renew", renew)]


@mutant("a new leader gives no lease its whole time", "s after this")
def _promote_without_ttl() -> list[Patch]:
    original = Lessor.promote

    def promote(lessor: Lessor, now_ns: int, extend_ns: int) -> None:
        original(lessor, now_ns, extend_ns)
        for lease in lessor.leases.values():
            lessor._deadlines.set(lease.id, now_ns + extend_ns)

    return [(Lessor, "promote", promote)]


@mutant("leases are counted by the clock on the wall", "s after this", "overdue")
def _count_by_wall() -> list[Patch]:
    def heartbeat(leases: Leases, now: float) -> None:
        del now
        original(leases, leases._clock.wall_ns() / NS)

    original = Leases.heartbeat
    return [
        (Leases, "_now_ns", lambda leases: leases._clock.wall_ns()),
        (Leases, "heartbeat", heartbeat),
    ]


@mutant("a leader ends leases without the log", "the state Mark")
def _expire_alone() -> list[Patch]:
    def heartbeat(leases: Leases, now: float) -> None:
        lessor = leases._lessor
        for lease in lessor.expired(int(now * NS), 10) if lessor.is_primary else ():
            lessor.forget(lease.id)

    return [(Leases, "heartbeat", heartbeat)]


@mutant("keys stay when their lease ends", "a key outlived")
def _keep_keys() -> list[Patch]:
    return [(KV, "_end_lease", lambda kv, lease_id: kv._lessor.forget(lease_id))]


@mutant(
    "a restart forgets which keys a lease owns",
    "has other keys",
    "the state Mark",
    "has another record",
    "has another hash",
    "a key outlived",
)
def _forget_owned() -> list[Patch]:
    original = Lessor.restore

    def restore(lessor: Lessor) -> None:
        original(lessor)
        lessor._keyspace.attachments._keys.clear()

    return [(Lessor, "restore", restore)]


@mutant("a restart forgets the newest lease", "the state Mark")
def _forget_lease() -> list[Patch]:
    original = Lessor.restore

    def restore(lessor: Lessor) -> None:
        original(lessor)
        newest = max(lessor.leases.values(), key=lambda lease: lease.stamp, default=None)
        if newest is not None:
            del lessor.leases[newest.id]

    return [(Lessor, "restore", restore)]


# Transactions and ranges


@mutant(
    "a refused transaction has done what stands before the refusal",
    "nobody asked for what was done",
    "due was",
)
def _half_a_transaction() -> list[Patch]:
    def txn(kv: KV, txn: Txn) -> TxnResponse | RpcError:
        write = kv._store.write()
        branch = kv._choose(txn)
        for operation in branch.operations:
            if type(operation) is Put:
                fault = kv._find_put_fault(operation, [])
                if fault is not None:
                    kv._end(write)
                    return fault
                kv._put_in(write, operation)
        kv._end(write)
        return original(kv, txn)

    original = KV.txn
    return [(KV, "txn", txn)]


@mutant("a key that is missing may compare equal to a value", "due was", "not in the log")
def _compare_missing() -> list[Patch]:
    original = KV._holds

    def holds(kv: KV, compare: Compare) -> bool:
        is_missing = compare.key not in kv._store.index.live
        return original(kv, compare) or (is_missing and compare.target == CompareTarget.VALUE)

    return [(KV, "_holds", holds)]


@mutant("of the comparisons one has to hold", "due was", "not in the log")
def _any_comparison() -> list[Patch]:
    def choose(kv: KV, txn: Txn) -> kv_module._Branch:
        branch = original(kv, txn)
        if len(txn.compares) > 1 and any(map(kv._holds, txn.compares)):
            operations = [kv._chosen(one) for one in txn.success]
            return kv_module._Branch(succeeded=True, operations=operations)
        return branch

    original = KV._choose
    return [(KV, "_choose", choose)]


@mutant("a put that keeps the lease loses it", "not in the log")
def _lose_lease() -> list[Patch]:
    original = KV._put_in

    def put_in(kv: KV, txn: WriteTxn, put: Put) -> PutResponse:
        if put.ignore_lease:
            put = msgspec.structs.replace(put, ignore_lease=False)
        return original(kv, txn, put)

    return [(KV, "_put_in", put_in)]


@mutant("a range of the past shows what is there now", "due was")
def _forget_the_past() -> list[Patch]:
    original = KV.range

    def read(kv: KV, request: Range) -> RangeResponse | RpcError:
        answer = original(kv, request)
        if isinstance(answer, RpcError):
            return answer
        return original(kv, msgspec.structs.replace(request, revision=0))

    return [(KV, "range", read)]


@mutant("what compaction has taken may still be read", "due was")
def _read_compacted() -> list[Patch]:
    def check_readable(keyspace: Keyspace, revision: int) -> None:
        del keyspace, revision

    return [(Keyspace, "check_readable", check_readable)]

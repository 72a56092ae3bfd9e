"""Clients of the v3 API, against real members in memory: the judges agree with what they hear."""

from itertools import pairwise

from tests.unit.sim.conftest import Judged, busy, finish, work

from kvorum.errors import KeyMissing, LeaseNotFound, RevisionCompacted, RevisionInFuture
from kvorum.sim.calls import KeepAlive, TimeToLive
from kvorum.v3.answers import LeaseKeepAliveResponse, TxnResponse
from kvorum.v3.commands import DeleteRange, LeaseGrant, LeaseRevoke, Put, Range, Txn


def test_everything_is_called_and_answered(three: Judged) -> None:
    workload = work(three, busy(callers=8), 20.0)
    finish(three, workload)
    calls = workload.history.calls
    assert {type(one.request) for one in calls if one.answer is not None} == {
        *(Range, Put, DeleteRange, Txn),
        *(LeaseGrant, LeaseRevoke, KeepAlive, TimeToLive),
    }
    refused = {type(one.answer) for one in calls if isinstance(one.answer, Exception)}
    assert refused == {KeyMissing, LeaseNotFound, RevisionCompacted, RevisionInFuture}
    branches = {one.answer.succeeded for one in calls if isinstance(one.answer, TxnResponse)}
    assert branches == {True, False}
    renewals = [one.answer for one in calls if isinstance(one.answer, LeaseKeepAliveResponse)]
    assert {one.ttl > 0 for one in renewals} == {True, False}
    assert {one.is_local for one in calls} == {True, False}


def test_leases_end_in_both_ways_and_take_their_keys_along(three: Judged) -> None:
    finish(three, work(three, busy(callers=8), 20.0))
    reference = three.judges.reference
    assert {life.is_expired for life in reference.lives.values() if life.ended} == {True, False}
    owned = {change.record.lease for changes in reference.by_key.values() for change in changes}
    assert owned > {0}


def test_a_keeper_keeps_one_lease_and_takes_another_when_it_is_gone(three: Judged) -> None:
    workload = work(three, busy(clients=0, callers=0, keepers=1), 20.0)
    finish(three, workload)
    calls = workload.history.calls
    assert {type(one.request) for one in calls} == {LeaseGrant, KeepAlive}
    gone = 0
    for before, call in pairwise(calls):
        is_gone = isinstance(before.answer, LeaseKeepAliveResponse) and before.answer.ttl == 0
        assert is_gone == isinstance(call.request, LeaseGrant)
        gone += is_gone
    assert gone < len(calls) / 4

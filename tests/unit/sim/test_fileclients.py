"""Clients of the v2 API, against real members in memory: the judges agree with what they hear."""

from tests.unit.sim.conftest import EVERYTHING, Judged, busy, finish, work


def test_every_kind_is_asked_and_answered(three: Judged) -> None:
    workload = work(three, busy(callers=0), 10.0)
    finish(three, workload)
    operations = workload.history.operations
    assert {one.kind for one in operations} == set(EVERYTHING)
    done = {one.kind for one in operations if one.is_done}
    assert done == set(EVERYTHING)
    refused = {one.outcome.refusal for one in operations if one.outcome}
    assert refused == {0, 100, 101, 105}
    assert three.judges.reference.compactions

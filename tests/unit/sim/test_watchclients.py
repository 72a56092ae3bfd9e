"""Watchers against real members in memory: they come and go, and miss nothing."""

from tests.unit.sim.conftest import Judged, busy, finish, work


def test_watchers_pause_leave_and_come_back(three: Judged) -> None:
    workload = work(three, busy(watchers=8), 20.0)
    finish(three, workload)
    sessions = [session for watch in workload.watches for session in watch.sessions]
    assert len(workload.watches) >= 8
    assert len(sessions) > 2 * len(workload.watches)
    assert any(session.told for session in sessions)
    assert any(session.compacted_revision is not None for session in sessions)
    assert len({session.process for session in sessions}) == 3

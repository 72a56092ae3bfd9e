"""Durations in buckets."""

import pytest
from tests.unit.server.conftest import FakeClock, Member, MemoryCluster

from kvorum.server.metrics import BUCKET_SECONDS, Histogram
from kvorum.v2 import commands as v2


@pytest.mark.parametrize(
    ("seconds", "place"),
    [(0.0, 0), (0.001, 0), (0.0011, 1), (0.002, 1), (8.192, 13), (8.2, 14), (1e9, 14)],
)
def test_a_duration_counts_in_the_first_bucket_that_holds_it(seconds: float, place: int) -> None:
    histogram = Histogram()
    histogram.observe(seconds)
    assert histogram.counts.index(1) == place
    assert sum(histogram.counts) == 1
    assert len(histogram.counts) == len(BUCKET_SECONDS) + 1
    assert histogram.total_seconds == seconds


def test_what_is_timed_is_done_once_and_counted() -> None:
    histogram, clock, done = Histogram(), FakeClock(), list[bool]()
    ended = histogram.timed(clock, lambda: done.append(True))
    clock.now += 0.5
    ended()
    assert done == [True]
    assert histogram.total_seconds == pytest.approx(0.5)


def test_a_member_counts_its_syncs_commits_and_leaders(
    cluster: MemoryCluster, single: Member
) -> None:
    before = single.server.figures()
    syncs = sum(before.metrics.log_syncs.counts)
    single.is_sync_held = True
    waiting = single.propose(v2.Set(b"/a", b"1"))
    cluster.settle()
    assert single.server.figures().pending_proposals == 1
    single.is_sync_held = False
    cluster.run_until(lambda: bool(waiting))
    figures = single.server.figures()
    assert figures.pending_proposals == figures.failed_proposals == 0
    assert figures.has_leader
    assert figures.is_leader
    assert figures.applied_index == figures.committed_index == before.applied_index + 1
    assert sum(figures.metrics.log_syncs.counts) > syncs
    assert figures.metrics.leader_changes == 1
    cluster.advance(1)
    assert sum(figures.metrics.backend_commits.counts) >= 1

"""What operators do, by the means of the 3.x API: it works, also when answers get lost."""

from collections.abc import Callable

import pytest

from kvorum.config import Config
from kvorum.sim.chance import Chance
from kvorum.sim.cluster import Settings, SimCluster
from kvorum.sim.loop import SimLoop
from kvorum.sim.operators import Operator
from kvorum.sim.trace import Trace


def build(count: int) -> SimCluster:
    loop = SimLoop()
    cluster = SimCluster(Settings(Config(), count), Chance(1), loop, Trace(loop))
    cluster.birth()
    wait(cluster, lambda: cluster.is_whole() and has_told_names(cluster))
    return cluster


def has_told_names(cluster: SimCluster) -> bool:
    return all(one.name for one in cluster.processes[0].server.cluster)


def wait(cluster: SimCluster, condition: Callable[[], object]) -> None:
    for _ in range(1200):
        if condition():
            return
        cluster.loop.run_until(cluster.loop.now + 0.05)
    raise AssertionError("it did not come within 60 s")


@pytest.mark.parametrize("count", [1, 3])
def test_a_member_is_added_and_finds_its_seat(count: int) -> None:
    cluster = build(count)
    host = cluster.add_host()
    Operator(cluster).add(host)
    wait(cluster, lambda: host.process is not None and cluster.is_whole())
    wait(cluster, lambda: has_told_names(cluster))
    leader = cluster.leader()
    assert leader is not None
    assert host.member_id in leader.server.cluster.conf_state.voters
    assert not host.is_waiting


def test_the_seat_is_found_though_nobody_leads_any_more() -> None:
    cluster = build(1)
    (first,) = cluster.processes
    host = cluster.add_host()
    Operator(cluster).add(host)
    wait(cluster, lambda: len(first.server.cluster.members) == 2)
    cluster.crash(first, is_power_cut=False)
    cluster.restart(first.host)
    assert cluster.leader() is None
    wait(cluster, lambda: host.process is not None and cluster.is_whole())


def test_a_seat_that_the_disk_cannot_hold_is_sought_again() -> None:
    cluster = build(3)
    host = cluster.add_host()
    host.disk.fill(10)
    Operator(cluster).add(host)
    wait(cluster, lambda: cluster.counts.get("refused start"))
    assert host.is_waiting
    host.disk.mend()
    wait(cluster, lambda: host.process is not None and cluster.is_whole())


def test_a_member_is_removed_if_nothing_is_wrong_with_it() -> None:
    cluster = build(3)
    gone, other = cluster.processes[:2]
    operator = Operator(cluster)
    operator.remove(gone.server.member_id)
    wait(cluster, lambda: gone.host.is_retired)
    cluster.pause(other, 5.0)
    cluster.loop.run_until(cluster.loop.now + 4.0)
    operator.remove(cluster.processes[1].server.member_id)
    cluster.loop.run_until(cluster.loop.now + 5.0)
    assert len(cluster.processes) == 2, "who asked to go must not leave the silent one alone"


def test_members_are_reached_wherever_they_were_moved_to() -> None:
    cluster = build(3)
    operator = Operator(cluster)
    host = cluster.hosts[0]
    urls = set()
    for _ in range(8):
        operator.move(host)
        cluster.loop.run_until(cluster.loop.now + 2.0)
        wait(cluster, cluster.is_whole)
        members = cluster.processes[1].server.cluster.members
        urls.add(members[host.member_id].peer_urls)
        assert host.member_id in {one.server.member_id for one in cluster.processes}
    assert urls == {(url,) for url in host.urls}

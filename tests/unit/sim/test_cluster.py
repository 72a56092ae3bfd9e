"""Real servers on simulated hosts: birth, death, sleep and change of members."""

from collections.abc import Callable

import pytest

from kvorum.config import LEGACY_CONFIG, Config
from kvorum.sim.chance import Chance
from kvorum.sim.cluster import Process, Settings, SimCluster
from kvorum.sim.history import Violation
from kvorum.sim.loop import SimLoop
from kvorum.sim.trace import Trace
from kvorum.v2 import commands as v2
from kvorum.v2.node import Event


def build(config: Config, count: int = 3) -> SimCluster:
    loop = SimLoop()
    cluster = SimCluster(Settings(config, member_count=count), Chance(1), loop, Trace(loop))
    cluster.birth()
    return cluster


def wait(cluster: SimCluster, condition: Callable[[], object], what: str) -> None:
    for _ in range(600):
        if condition():
            return
        cluster.loop.run_until(cluster.loop.now + 0.05)
    raise AssertionError(f"{what} did not come within 30 s")


def leader_of(cluster: SimCluster) -> Process:
    wait(cluster, cluster.leader, "a leader")
    leader = cluster.leader()
    assert leader is not None
    return leader


def write(cluster: SimCluster, value: bytes) -> Event:
    results: list[object] = []
    leader_of(cluster).server.propose(v2.Set(b"/a", value), results.append)
    wait(cluster, lambda: results, "an answer")
    assert isinstance(results[0], Event)
    return results[0]


def values(cluster: SimCluster) -> list[bytes | None]:
    found = []
    for process in cluster.processes:
        record = process.server.store.get(b"/a")
        found.append(record.value if record else None)
    return found


@pytest.fixture(params=[LEGACY_CONFIG, Config()], ids=["0.4", "3.x"])
def cluster(request: pytest.FixtureRequest) -> SimCluster:
    cluster = build(request.param)
    wait(cluster, lambda: cluster.leader() and len(cluster.processes) == 3, "three members")
    wait(cluster, cluster.is_whole, "everybody to catch up")
    return cluster


def test_three_members_elect_one_leader_and_agree(cluster: SimCluster) -> None:
    write(cluster, b"1")
    wait(cluster, cluster.is_whole, "everybody to catch up")
    assert values(cluster) == [b"1"] * 3
    assert sum(one.server.is_leader for one in cluster.processes) == 1


def test_a_crashed_leader_is_replaced_and_comes_back(cluster: SimCluster) -> None:
    write(cluster, b"1")
    leader = leader_of(cluster)
    cluster.crash(leader, is_power_cut=True)
    assert leader not in cluster.processes
    write(cluster, b"2")
    cluster.restart(leader.host)
    wait(cluster, cluster.is_whole, "everybody to catch up")
    assert values(cluster) == [b"2"] * 3
    assert leader.host.epoch == 2


def test_nothing_runs_in_a_process_that_is_gone(cluster: SimCluster) -> None:
    process = cluster.processes[0]
    ran: list[None] = []
    cluster.crash(process, is_power_cut=False)
    process.run(lambda: ran.append(None))
    cluster.loop.run_until(cluster.loop.now + 1.0)
    assert not ran


def test_a_stopped_member_has_kept_everything(cluster: SimCluster) -> None:
    write(cluster, b"1")
    leader = leader_of(cluster)
    index = leader.server.applied_index
    cluster.stop(leader)
    cluster.restart(leader.host)
    assert leader.host.process is not None
    assert leader.host.process.server.applied_index == index


def test_a_sleeping_leader_is_replaced_and_follows_when_it_wakes(cluster: SimCluster) -> None:
    leader = leader_of(cluster)
    cluster.pause(leader, 20.0)
    write(cluster, b"2")
    assert leader.server.is_leader, "it knows of nothing"
    wait(cluster, lambda: not leader.is_paused, "its awakening")
    wait(cluster, cluster.is_whole, "everybody to catch up")
    assert not leader.server.is_leader
    assert values(cluster) == [b"2"] * 3


def test_a_deaf_leader_wakes_and_knows_nothing_of_the_new_one_for_a_while(
    cluster: SimCluster,
) -> None:
    leader = leader_of(cluster)
    cluster.pause(leader, 20.0, deaf_seconds=0.3)
    write(cluster, b"2")
    assert leader.is_paused
    wait(cluster, lambda: not leader.is_paused, "its awakening")
    assert leader.is_deaf
    assert leader.server.is_leader, "it has heard nothing"
    wait(cluster, lambda: not leader.is_deaf, "its hearing")
    wait(cluster, cluster.is_whole, "everybody to catch up")
    assert not leader.server.is_leader
    assert values(cluster) == [b"2"] * 3


def test_a_wiped_host_gets_a_new_seat(cluster: SimCluster) -> None:
    write(cluster, b"1")
    process = cluster.processes[1]
    cluster.wipe(process.host)
    wait(cluster, lambda: len(cluster.processes) == 3 and cluster.is_whole(), "its return")
    assert process.host.member_id != process.server.member_id
    assert values(cluster) == [b"1"] * 3


def test_a_rotten_log_is_refused_and_the_host_joins_anew(cluster: SimCluster) -> None:
    write(cluster, b"1")
    process = cluster.processes[1]
    cluster.crash(process, is_power_cut=False)
    assert process.host.disk.rot()
    cluster.restart(process.host)
    assert cluster.counts["refused start"] == 1
    wait(cluster, lambda: len(cluster.processes) == 3 and cluster.is_whole(), "its return")


def test_a_failed_disk_ends_the_process(cluster: SimCluster) -> None:
    leader = leader_of(cluster)
    leader.host.disk.sync_failure_rate = 1.0
    results: list[object] = []
    leader.server.propose(v2.Set(b"/a", b"1"), results.append)
    wait(cluster, lambda: not leader.is_up, "its end")
    write(cluster, b"2")
    wait(cluster, cluster.is_whole, "its return")


def test_a_start_on_a_full_disk_is_tried_again(cluster: SimCluster) -> None:
    process = cluster.processes[1]
    cluster.crash(process, is_power_cut=True)
    process.host.disk.rot()  # damage is found only once the disk can be used
    process.host.disk.mend()
    process.host.disk.commit_failure_rate = 1.0
    cluster.restart(process.host)
    assert cluster.counts["refused start"] == 1
    assert not process.host.is_retired
    process.host.disk.mend()
    wait(cluster, lambda: len(cluster.processes) == 3 and cluster.is_whole(), "its return")


def test_a_seat_that_a_full_disk_cannot_hold_is_asked_for_again(cluster: SimCluster) -> None:
    host = cluster.add_host()
    host.disk.fill(10)
    cluster.admit(host)
    wait(cluster, lambda: cluster.counts.get("refused start"), "the seat")
    assert host.is_waiting
    host.disk.mend()
    wait(cluster, lambda: len(cluster.processes) == 4 and cluster.is_whole(), "its return")


def test_a_sound_disk_may_not_be_refused(cluster: SimCluster) -> None:
    process = cluster.processes[1]
    cluster.crash(process, is_power_cut=False)
    assert process.host.disk.rot()
    process.host.disk.is_rotten = False
    with pytest.raises(Violation, match="its disk is sound"):
        cluster.restart(process.host)


def test_a_learner_joins_and_is_promoted(cluster: SimCluster) -> None:
    cluster.add_learner(leader_of(cluster), cluster.add_host())
    wait(cluster, lambda: len(cluster.processes) == 4 and cluster.is_whole(), "the learner")
    learner = cluster.processes[3].server.member_id
    conf_state = leader_of(cluster).server.cluster.conf_state
    assert conf_state.learners == (learner,)
    cluster.promote(leader_of(cluster), learner)
    wait(cluster, lambda: learner in leader_of(cluster).server.cluster.conf_state.voters, "a vote")


def test_a_removed_member_ends_for_good(cluster: SimCluster) -> None:
    cluster.admit(cluster.add_host())
    wait(cluster, lambda: len(cluster.processes) == 4 and cluster.is_whole(), "a fourth member")
    leader = leader_of(cluster)
    gone = next(one for one in cluster.processes if one is not leader)
    cluster.remove(leader, gone.server.member_id)
    wait(cluster, lambda: gone.host.is_retired, "its end")
    cluster.restart(gone.host)
    assert gone.host.process is None


def test_while_a_removal_is_under_way_nobody_may_be_lost(cluster: SimCluster) -> None:
    wait(cluster, lambda: cluster.is_whole() and cluster.is_settled(), "everybody to catch up")
    leader = cluster.leader()
    assert leader is not None
    others = [one for one in cluster.processes if one is not leader]
    mend = cluster.network.cut([(leader.name, other.name) for other in others])
    cluster.remove(leader, others[0].server.member_id)
    assert cluster.is_whole()
    assert not cluster.is_settled()
    mend()
    cluster.network.heal()
    wait(cluster, lambda: len(cluster.processes) == 2 and cluster.is_settled(), "the removal")


def test_clocks_drift_and_jump() -> None:
    loop = SimLoop()
    settings = Settings(Config(), drift=0.1, skew=5.0)
    cluster = SimCluster(settings, Chance(2), loop, Trace(loop))
    cluster.birth()
    clocks = [cluster.clock_of(process) for process in cluster.processes]
    before = [clock.monotonic() for clock in clocks]
    loop.run_until(10.0)
    passed = [clock.monotonic() - start for clock, start in zip(clocks, before, strict=True)]
    assert len(set(passed)) == 3
    assert all(9.0 <= one <= 11.0 for one in passed)
    wall_ns, monotonic = clocks[0].wall_ns(), clocks[0].monotonic()
    clocks[0].jump(-3.0)
    assert clocks[0].wall_ns() == wall_ns - 3_000_000_000
    assert clocks[0].monotonic() == monotonic

"""The network between hosts, carrying the frames of real members."""

from collections.abc import Callable
from typing import Any

import pytest

from kvorum.config import Config
from kvorum.sim.chance import Chance
from kvorum.sim.cluster import Process, Settings, SimCluster
from kvorum.sim.loop import SimLoop
from kvorum.sim.network import LinkRates
from kvorum.sim.trace import Trace
from kvorum.v2 import commands as v2


def build(config: Config = Config(), **rates: Any) -> SimCluster:  # noqa: B008
    loop = SimLoop()
    links = LinkRates(**rates)
    cluster = SimCluster(Settings(config, links=links), Chance(1), loop, Trace(loop))
    cluster.birth()
    wait(cluster, cluster.is_whole)
    return cluster


def wait(cluster: SimCluster, condition: Callable[[], object]) -> None:
    for _ in range(1200):
        if condition():
            return
        cluster.loop.run_until(cluster.loop.now + 0.05)
    raise AssertionError("it did not come within 60 s")


def others(cluster: SimCluster, one: Process) -> list[Process]:
    return [other for other in cluster.processes if other is not one]


def leader_of(cluster: SimCluster) -> Process:
    leader = cluster.leader()
    assert leader is not None
    return leader


@pytest.mark.parametrize(
    "rates",
    [
        {"breaking": 0.1},
        {"is_lossy": True, "loss": 0.2, "duplication": 0.2, "reordering": 0.2},
        {"latency": 0.05},
    ],
    ids=["breaking", "lossy", "slow"],
)
def test_members_agree_over_a_bad_network(rates: dict[str, Any]) -> None:
    cluster = build(**rates)
    answers: list[object] = []
    for number in range(20):
        process = cluster.processes[number % 3]
        process.server.propose(v2.Set(b"/a", b"%d" % number), answers.append)
        cluster.loop.run_until(cluster.loop.now + 0.1)
    wait(cluster, lambda: len(answers) == 20 and cluster.is_whole())
    stores = [one.server.store for one in cluster.processes]
    assert len({(store.revision, store.hash_at(store.revision)) for store in stores}) == 1


def test_nothing_passes_a_cut_until_it_is_mended() -> None:
    cluster = build()
    leader = leader_of(cluster)
    pairs = [(leader.name, other.name) for other in others(cluster, leader)]
    mend = cluster.network.cut(pairs)
    heard = [other.transport.last_contact(leader.server.member_id) for other in cluster.processes]
    wait(cluster, lambda: not leader.server.is_leader)
    assert heard == [
        other.transport.last_contact(leader.server.member_id) for other in cluster.processes
    ]
    mend()
    wait(cluster, cluster.is_whole)


def test_who_lost_something_in_a_cut_calls_again_at_once_when_all_is_healed() -> None:
    cluster = build()
    leader = leader_of(cluster)
    pairs = [(leader.name, other.name) for other in others(cluster, leader)]
    mend = cluster.network.cut(pairs)
    cluster.loop.run_until(cluster.loop.now + 0.5)  # heartbeats are lost
    mend()
    cluster.network.heal()
    cluster.loop.run_until(cluster.loop.now + 1.0)
    before = cluster.network.frame_count
    connections = [link._connection for link in leader.transport._links.values()]
    assert all(one is not None and one._is_whole for one in connections)
    cluster.loop.run_until(cluster.loop.now + 1.0)
    assert cluster.network.frame_count > before


def test_two_cuts_of_one_link_need_two_mends() -> None:
    network = build().network
    first, second = network.cut([("machine1", "machine2")]), network.cut([("machine1", "machine2")])
    first()
    assert network.is_cut("machine1", "machine2")
    assert not network.is_cut("machine2", "machine1")
    second()
    assert not network.is_cut("machine1", "machine2")


def test_a_clogged_link_is_slow() -> None:
    cluster = build()
    cluster.network.clogs["machine1", "machine2"] = 5.0
    assert cluster.network.draw_delay("machine1", "machine2") > 5.0
    assert cluster.network.draw_delay("machine2", "machine1") < 1.0


@pytest.mark.parametrize("breaking", [0.0, 0.03])
def test_a_member_left_behind_gets_an_image_in_pieces(breaking: float) -> None:
    cluster = build(Config(snapshot_count=5), chunk_bytes=64)
    behind = others(cluster, leader_of(cluster))[0]
    cluster.crash(behind, is_power_cut=False)
    answers: list[object] = []
    for number in range(30):
        leader_of(cluster).server.propose(v2.Set(b"/%d" % number, b"x"), answers.append)
        cluster.loop.run_until(cluster.loop.now + 0.1)
    wait(cluster, lambda: len(answers) == 30)
    cluster.network.rates.breaking = breaking
    cluster.restart(behind.host)
    wait(cluster, cluster.is_whole)
    process = behind.host.process
    assert process is not None
    assert process.server._files.backend.applied[0] >= 30
    assert process.server._raft._raft.log.first_index > 20, "it did not get all entries one by one"


def test_a_removed_member_is_not_listened_to() -> None:
    cluster = build()
    one, other = cluster.processes[:2]
    member_id = one.server.member_id
    assert other.transport.accepts(member_id, other.server.member_id)
    assert not other.transport.accepts(member_id, member_id)
    other.server.cluster.attributes.removed.append(member_id)
    assert not other.transport.accepts(member_id, other.server.member_id)


@pytest.mark.parametrize("is_lossy", [False, True])
def test_a_member_that_slept_through_its_removal_is_told(*, is_lossy: bool) -> None:
    cluster = build(is_lossy=is_lossy)
    leader = leader_of(cluster)
    gone = others(cluster, leader)[0]
    cluster.pause(gone, 5.0)
    cluster.remove(leader, gone.server.member_id)
    wait(cluster, lambda: not gone.is_up)
    assert gone.host.is_retired


def test_a_member_whose_state_says_that_it_was_removed_leaves_at_its_start() -> None:
    cluster = build()
    gone = others(cluster, leader_of(cluster))[0]
    state = gone.server.cluster
    state.attributes.removed.append(gone.server.member_id)
    state.set_attributes(state.attributes)
    gone.host.disk.backend.set_applied(*gone.host.disk.backend.applied)
    cluster.stop(gone)
    cluster.restart(gone.host)
    wait(cluster, lambda: gone.host.is_retired)

"""What goes wrong: every kind can, none that is left out does, and all is well in the end."""

from collections.abc import Callable

import msgspec
import pytest

from kvorum.config import Config
from kvorum.sim.chance import Chance
from kvorum.sim.cluster import Process, Settings, SimCluster
from kvorum.sim.faults import KINDS, Faults, Rates, draw_kinds, draw_rates
from kvorum.sim.loop import SimLoop
from kvorum.sim.network import LinkRates
from kvorum.sim.trace import Trace


def wait(cluster: SimCluster, condition: Callable[[], object]) -> None:
    for _ in range(1200):
        if condition():
            return
        cluster.loop.run_until(cluster.loop.now + 0.05)
    raise AssertionError("it did not come within 60 s")


def build(*kinds: str) -> tuple[SimCluster, Faults]:
    loop = SimLoop()
    cluster = SimCluster(Settings(Config(), member_count=3), Chance(1), loop, Trace(loop))
    cluster.birth()
    wait(cluster, cluster.is_whole)
    rates = Rates(dict.fromkeys(kinds, 1.0), LinkRates())
    return cluster, Faults(cluster, Chance(5), rates)


def test_every_kind_is_drawn_and_left_out() -> None:
    drawn = [draw_rates(Chance(seed)) for seed in range(40)]
    for kind in KINDS[:-6]:
        assert 5 < sum(kind in rates.every for rates in drawn) < 35
    for kind in ("loss", "duplication", "reordering", "breaking"):
        assert 5 < sum(getattr(rates.links, kind) > 0 for rates in drawn) < 35
    assert any(rates.drift for rates in drawn)
    assert not all(rates.skew for rates in drawn)


def test_the_kinds_drawn_are_those_that_come() -> None:
    for seed in range(20):
        kinds = draw_kinds(Chance(seed))
        rates = draw_rates(Chance(seed))
        assert {kind for kind in kinds if kind in KINDS[:-6]} == rates.every.keys()
        assert ("loss" in kinds) == (rates.links.loss > 0)
        assert draw_kinds(Chance(seed), kinds) == kinds, "what was not drawn may be left out"


def test_a_kind_that_is_not_allowed_changes_no_other() -> None:
    everything, rest = draw_rates(Chance(3)), draw_rates(Chance(3), KINDS[1:])
    everything.every.pop(KINDS[0], None)
    assert rest == everything


@pytest.mark.parametrize("kind", KINDS[:-6])
def test_each_kind_comes_and_a_healed_cluster_is_whole(kind: str) -> None:
    cluster, faults = build(kind)
    faults.start()
    wait(cluster, lambda: cluster.counts.get(kind, 0) >= 3)
    faults.heal()
    counts = dict(cluster.counts)
    wait(cluster, cluster.is_whole)
    cluster.loop.run_until(cluster.loop.now + 5.0)
    assert cluster.counts.get(kind) == counts[kind], "nothing comes after all was healed"
    assert cluster.is_whole()


def test_clocks_are_judged_before_they_jump() -> None:
    cluster, faults = build("clock jump")
    shown: list[tuple[str, int]] = []

    def jumping(process: Process) -> None:
        shown.append((process.name, process.server.clock.wall_ns()))

    faults.on_jump = jumping
    faults.start()
    wait(cluster, lambda: shown)
    name, wall_ns = shown[0]
    process = next(one for one in cluster.processes if one.name == name)
    assert abs(process.server.clock.wall_ns() - wall_ns) > 1_000_000


def test_what_is_durable_is_lost_only_when_the_others_have_it() -> None:
    cluster, faults = build("wipe")
    cluster.crash(cluster.processes[0], is_power_cut=False)
    faults.start()
    cluster.loop.run_until(cluster.loop.now + 10.0)
    assert "wipe" not in cluster.counts


def test_nothing_more_is_lost_half_way_through_a_replacement() -> None:
    cluster, faults = build("wipe")
    for process in cluster.processes:
        state = process.server.cluster
        state.conf_state = msgspec.structs.replace(
            state.conf_state, outgoing=state.conf_state.voters
        )
    faults.start()
    cluster.loop.run_until(cluster.loop.now + 10.0)
    assert "wipe" not in cluster.counts

"""All clients of a run, against real members in memory: the judges agree with what they hear."""

from math import inf

import pytest
from tests.unit.sim.conftest import Judged, busy, finish, work

from kvorum.sim.chance import Chance
from kvorum.sim.history import Kind
from kvorum.sim.workload import Workload, draw_load


@pytest.mark.parametrize("seed", range(4))
def test_members_may_crash_under_load(seed: int) -> None:
    chance = Chance(seed)
    world = Judged(snapshot_count=chance.choice((5, 50, 10_000)))
    members = [world.first, world.join_next(), world.join_next()]
    workload = Workload(world, chance, busy())
    workload.start()
    for _ in range(12):
        victim = chance.choice(members)
        victim.is_sync_held = True
        world.advance(0.3)
        if all(member.is_up for member in members):
            world.settle()  # a crash empties the queue of all
            victim.crash()
        victim.is_sync_held = False
        for member in members:
            if not member.is_up and chance.happens(0.5):
                member.start()
    finish(world, workload)
    assert {one.completed == inf for one in workload.history.operations} == {True, False}
    assert {call.completed == inf for call in workload.history.calls} == {True, False}


def test_readers_only_read(three: Judged) -> None:
    workload = work(three, busy(clients=0, callers=0, readers=2), 2.0)
    finish(three, workload)
    assert {one.client for one in workload.history.operations} == {"c0", "c1"}
    assert {one.kind for one in workload.history.operations} == {Kind.GET}


def test_the_same_seed_asks_the_same() -> None:
    asked = []
    for _ in range(2):
        history = work(Judged(), busy(), 3.0).history
        asked.append([str(one) for one in (*history.operations, *history.calls)])
    assert asked[0] == asked[1]
    assert len(asked[0]) > 80


def test_loads_differ_from_seed_to_seed() -> None:
    loads = [draw_load(Chance(seed)) for seed in range(50)]
    assert {load.watchers == 0 for load in loads} == {True, False}
    assert {load.callers == 0 for load in loads} == {True, False}
    assert {load.compact_seconds == 0 for load in loads} == {True, False}
    assert {load.readers == 0 for load in loads} == {True, False}
    paces = [
        (load.clients + load.readers + load.callers + load.keepers) / load.think_seconds
        for load in loads
    ]
    assert paces == pytest.approx([10.0] * 50)

"""The clients, against real members in memory; the judges agree with what they were told."""

from math import inf
from typing import Any

import pytest
from tests.unit.sim.conftest import Judged

from kvorum.apply.commands import Command
from kvorum.server.proposals import Completion
from kvorum.sim.chance import Chance
from kvorum.sim.history import Kind
from kvorum.sim.workload import Load, Workload, draw_load

EVERYTHING = {kind: 1.0 for kind in Kind if kind is not Kind.EXPIRE}


def busy(**changes: Any) -> Load:
    settings: dict[str, Any] = {
        "clients": 6,
        "watchers": 4,
        "think_seconds": 0.1,
        "compact_seconds": 0.5,
        "weights": EVERYTHING,
    }
    return Load(**(settings | changes))


def work(world: Judged, load: Load, seconds: float, seed: int = 1) -> Workload:
    workload = Workload(world, Chance(seed), load)
    workload.start()
    world.advance(seconds)
    return workload


def finish(world: Judged, workload: Workload) -> None:
    """Lets answers and expirations come in, then has everything judged."""
    workload.stop()
    for member in world.members:
        member.is_sync_held = False
        if not member.is_up:
            member.start()
    world.advance(8.0)
    world.run_until(world.judges.has_converged)
    workload.resume_watches()
    world.advance(0.5)
    world.judges.finish(workload.history, workload.watches)
    assert not world.judges.undecided
    assert not workload.repeated


def test_every_kind_is_asked_and_answered(three: Judged) -> None:
    workload = work(three, busy(), 10.0)
    finish(three, workload)
    operations = workload.history.operations
    assert {one.kind for one in operations} == set(EVERYTHING)
    done = {one.kind for one in operations if one.is_done}
    assert done == set(EVERYTHING)
    refused = {one.outcome.refusal for one in operations if one.outcome}
    assert refused == {0, 100, 101, 105}
    assert three.judges.reference.compactions


def test_watchers_pause_leave_and_come_back(three: Judged) -> None:
    workload = work(three, busy(watchers=8), 20.0)
    finish(three, workload)
    sessions = [session for watch in workload.watches for session in watch.sessions]
    assert len(workload.watches) >= 8
    assert len(sessions) > 2 * len(workload.watches)
    assert any(session.told for session in sessions)
    assert any(session.compacted_revision is not None for session in sessions)
    assert len({session.process for session in sessions}) == 3


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


def test_what_no_member_answers_stays_unknown(three: Judged) -> None:
    workload = work(three, busy(compact_seconds=0.0), 1.0)
    for member in three.members:
        member.is_sync_held = True
    asked = len(workload.history.operations)
    three.advance(10.0)
    later = [one for one in workload.history.operations[asked:] if one.is_write]
    assert later
    assert all(one.completed == inf for one in later)
    finish(three, workload)


def test_nobody_asks_where_nobody_runs(one: Judged) -> None:
    workload = work(one, busy(), 1.0)
    one.settle()
    one.first.crash()
    asked = len(workload.history.operations)
    one.advance(2.0)
    assert len(workload.history.operations) == asked
    finish(one, workload)


def test_nobody_asks_after_the_stop(one: Judged) -> None:
    workload = work(one, busy(), 1.0)
    workload.stop()
    asked = len(workload.history.operations)
    one.advance(2.0)
    assert len(workload.history.operations) == asked


def test_an_answer_that_comes_twice_is_noted(one: Judged) -> None:
    workload = work(one, busy(clients=1), 0.0)
    server = one.first.server
    propose = server.propose

    def propose_badly(command: Command, completion: Completion) -> None:
        def answer_twice(result: object) -> None:
            completion(result)
            completion(result)

        propose(command, answer_twice)

    server.propose = propose_badly  # type: ignore[method-assign]
    one.advance(5.0)
    assert "answered twice" in workload.repeated[0]


def test_the_same_seed_asks_the_same() -> None:
    asked = []
    for _ in range(2):
        world = Judged()
        asked.append([str(one) for one in work(world, busy(), 3.0).history.operations])
    assert asked[0] == asked[1]
    assert len(asked[0]) > 50


def test_loads_differ_from_seed_to_seed() -> None:
    loads = [draw_load(Chance(seed)) for seed in range(50)]
    assert any(load.weights[Kind.GET] == 0 for load in loads)
    assert all(load.weights[Kind.SET] > 0 for load in loads)
    assert {load.watchers == 0 for load in loads} == {True, False}
    assert {load.compact_seconds == 0 for load in loads} == {True, False}
    paces = [load.clients / load.think_seconds for load in loads]
    assert paces == pytest.approx([10.0] * 50)

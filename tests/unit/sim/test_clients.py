"""What all clients do: ask one thing at a time, give up in time, write down what they know."""

from math import inf

from tests.unit.sim.conftest import Judged, busy, finish, work

from kvorum.apply.commands import Command
from kvorum.server.proposals import Completion
from kvorum.sim.chance import Chance
from kvorum.sim.clients import draw_weights


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


def test_clients_turn_to_another_member_after_a_while(three: Judged) -> None:
    workload = work(three, busy(clients=1, callers=0, stay_seconds=0.1), 5.0)
    finish(three, workload)
    assert len({one.process for one in workload.history.operations}) == 3


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
    workload = work(one, busy(clients=1, callers=0), 0.0)
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


def test_some_kinds_are_left_out_but_never_all() -> None:
    drawn = [draw_weights(Chance(seed), {"get": 4.0, "set": 2.0}, "set") for seed in range(50)]
    assert {weights["get"] == 0 for weights in drawn} == {True, False}
    assert all(weights["set"] > 0 for weights in drawn)

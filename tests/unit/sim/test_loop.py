"""Virtual time: order, and nothing else."""

import pytest

from kvorum.sim.loop import SimLoop


def test_events_run_in_the_order_of_their_times() -> None:
    loop, seen = SimLoop(), list[str]()
    loop.call_later(2.0, lambda: seen.append(f"second {loop.now}"))
    loop.call_later(1.0, lambda: seen.append(f"first {loop.now}"))
    loop.run_until(5.0)
    assert seen == ["first 1.0", "second 2.0"]
    assert (loop.now, loop.steps) == (5.0, 2)


def test_of_equal_times_the_one_scheduled_first_is_first() -> None:
    loop, seen = SimLoop(), list[int]()
    for number in range(20):
        loop.call_at(1.0, lambda number=number: seen.append(number))  # type: ignore[misc]
    loop.run_until(1.0)
    assert seen == list(range(20))


def test_what_an_event_schedules_runs_in_its_turn() -> None:
    loop, seen = SimLoop(), list[str]()

    def first() -> None:
        seen.append("first")
        loop.call_soon(lambda: seen.append("soon"))

    loop.call_at(1.0, first)
    loop.call_at(1.0, lambda: seen.append("also due"))
    loop.run_until(1.0)
    assert seen == ["first", "also due", "soon"]


def test_what_is_not_due_stays() -> None:
    loop, seen = SimLoop(), list[float]()
    loop.call_at(2.0, lambda: seen.append(loop.now))
    loop.run_until(1.9)
    assert not seen
    loop.run_until(2.0)
    assert seen == [2.0]


def test_judges_look_after_every_event() -> None:
    loop, looks = SimLoop(), list[float]()
    loop.on_step = lambda: looks.append(loop.now)
    loop.call_at(1.0, lambda: None)
    loop.call_at(3.0, lambda: None)
    loop.run_until(10.0)
    assert looks == [1.0, 3.0]


def test_time_does_not_go_back() -> None:
    loop = SimLoop()
    loop.run_until(1.0)
    with pytest.raises(AssertionError):
        loop.call_at(0.5, lambda: None)

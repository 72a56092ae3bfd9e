from collections.abc import Callable
from typing import cast

import pytest

from kvorum.clock import Clock
from kvorum.server.timers import Timer, Timers


class Stopped:
    """A clock that stands still."""

    def monotonic(self) -> float:
        return 10.0


@pytest.fixture
def timers() -> Timers:
    return Timers(cast("Clock", Stopped()))


def test_what_is_due_is_done_in_the_order_of_its_time(timers: Timers) -> None:
    done: list[str] = []

    def noting(name: str) -> Callable[[], None]:
        return lambda: done.append(name)

    for name, seconds in (("c", 3.0), ("a", 1.0), ("b", 1.0), ("d", 3.5)):
        timers.call_after(seconds, noting(name))
    timers.run(10.9)
    assert done == []
    timers.run(13.0)
    assert done == ["a", "b", "c"]
    timers.run(20.0)
    assert done == ["a", "b", "c", "d"]


def test_what_is_cancelled_is_not_done_even_by_one_that_is_due_with_it(timers: Timers) -> None:
    done: list[int] = []
    others: list[Timer] = []

    def cancel_others() -> None:
        others[0].cancel()

    timers.call_after(1.0, cancel_others)
    others.append(timers.call_after(1.0, lambda: done.append(2)))
    timers.run(11.0)
    assert done == []


def test_what_a_callback_adds_waits_for_the_next_run(timers: Timers) -> None:
    done: list[int] = []

    def again() -> None:
        done.append(1)
        timers.call_after(0.0, again)

    timers.call_after(0.0, again)
    timers.run(10.0)
    assert done == [1]
    timers.run(10.0)
    assert done == [1, 1]

"""The one place where tests wait: for a condition, with a deadline, never for a time."""

from collections.abc import Callable
from time import sleep
from typing import TypeVar

from kvorum.clock import Clock, SystemClock

T = TypeVar("T")

POLL_SECONDS = 0.01
"""Between two looks: short against what is waited for, long against the cost of looking."""


def wait_until(
    condition: Callable[[], T | None],
    seconds: float,
    what: Callable[[], str] | str,
    clock: Clock | None = None,
) -> T:
    """Looks until `condition` gives something true, and returns that.

    Args:
        condition: looked at first at once.
        seconds: deadline.
        what: what is waited for, for the message; a function is called only on failure.
        clock: for tests.

    Raises:
        TimeoutError: the deadline passed.
    """
    clock = clock or SystemClock()
    deadline = clock.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if clock.monotonic() >= deadline:
            text = what if isinstance(what, str) else what()
            raise TimeoutError(f"waited {seconds:g}s for {text}")
        sleep(POLL_SECONDS)

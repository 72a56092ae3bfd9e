"""What is to be done after a while: callbacks by the monotonic clock, run by the server's ticks.

Rules: a callback is called once, at the first tick at or after its time, in the order of the times;
never after `cancel`. What a callback adds waits for the next tick.

The caller: `run` at every tick.
"""

import heapq
from collections.abc import Callable
from itertools import count

from kvorum.clock import Clock


class Timer:
    """One callback that is still to come. Made by `Timers.call_after`."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Lets it not happen; harmless when it has."""
        self._callback = None

    def fire(self) -> None:
        """Does it, unless it was cancelled."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class Timers:
    """All that is to come, the nearest first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Timer]] = []
        self._numbers = count()  # equal times keep their order

    def call_after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Calls back once so many seconds have passed."""
        timer = Timer(callback)
        entry = (self._clock.monotonic() + seconds, next(self._numbers), timer)
        heapq.heappush(self._heap, entry)
        return timer

    def run(self, now: float) -> None:
        """Does what is due."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heapq.heappop(self._heap)[2])
        for timer in due:
            timer.fire()

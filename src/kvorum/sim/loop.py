"""Virtual time: what is to happen, in order, in one thread.

Rules: events run in the order of their time; of equal times the one scheduled first is first. Time
passes only between events, so a run takes as long as its work does.

The caller: `on_step` is called after every event, which is when judges look.
"""

from collections.abc import Callable
from heapq import heappop, heappush

Callback = Callable[[], object]


class SimLoop:
    """The events to come.

    Attributes:
        now: virtual seconds since the run began.
        on_step: called after every event.
        steps: events so far.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.on_step: Callback = _nothing
        self.steps = 0
        self._heap: list[tuple[float, int, Callback]] = []
        self._sequence = 0

    def call_at(self, when: float, callback: Callback) -> None:
        """Runs `callback` at a time, which may not lie in the past."""
        assert when >= self.now, "time does not go back"
        self._sequence += 1
        heappush(self._heap, (when, self._sequence, callback))

    def call_later(self, delay: float, callback: Callback) -> None:
        """Runs `callback` after `delay` seconds."""
        self.call_at(self.now + delay, callback)

    def call_soon(self, callback: Callback) -> None:
        """Runs `callback` now, after everything already due."""
        self.call_at(self.now, callback)

    def run_until(self, when: float) -> None:
        """Runs every event up to a time, which it then is."""
        heap = self._heap
        while heap and heap[0][0] <= when:
            self.now, _, callback = heappop(heap)
            callback()
            self.steps += 1
            self.on_step()
        self.now = when


def _nothing() -> None:
    """Nobody looks."""

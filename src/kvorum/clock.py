"""The only place that reads a clock or seeds a generator.

Cores never see this module: they get ticks, a `now`, or a value drawn by a shell. The simulator
is the second implementation of `Clock`.
"""

import random
import time
from typing import Protocol


class Clock(Protocol):
    """Time and randomness as the shells see them."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary point; never goes back."""

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch; may jump."""

    def random_below(self, bound: int) -> int:
        """A uniform integer in `[0, bound)`."""


class SystemClock:
    """The machine's clocks and a generator seeded by the operating system."""

    def __init__(self) -> None:
        self._random = random.SystemRandom()

    def monotonic(self) -> float:
        """Seconds of the machine's monotonic clock."""
        return time.monotonic()

    def wall_ns(self) -> int:
        """Nanoseconds of the machine's wall clock."""
        return time.time_ns()

    def random_below(self, bound: int) -> int:
        """A uniform integer in `[0, bound)` from the operating system."""
        return self._random.randrange(bound)

"""What a member counts for its `/metrics`: durations in buckets, and a few sums.

Counting is on the way of every write, so it is two looks at the clock and an addition for a sync
of the log, whatever number of requests shares it. All else is asked of its owner when somebody
reads the page.
"""

from bisect import bisect_left
from collections.abc import Callable

from msgspec import Struct, field

from kvorum.clock import Clock

BUCKET_SECONDS = tuple(0.001 * 2**number for number in range(14))
"""Upper bounds, as etcd has them for its disk: 1 ms to 8.192 s."""


class Histogram(Struct):
    """How long something took, by upper bound; the last count is of what took longer than all."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKET_SECONDS) + 1))
    total_seconds: float = 0.0

    def observe(self, seconds: float) -> None:
        """Counts one duration."""
        self.counts[bisect_left(BUCKET_SECONDS, seconds)] += 1
        self.total_seconds += seconds

    def timed(self, clock: Clock, done: Callable[[], None]) -> Callable[[], None]:
        """`done`, that also counts the time from now until it is called."""
        started = clock.monotonic()

        def ended() -> None:
            self.observe(clock.monotonic() - started)
            done()

        return ended


class Metrics(Struct):
    """The sums of one member.

    Attributes:
        log_syncs: from the request of a sync of the log until it is known to be durable.
        backend_commits: the same for what was applied.
        leader_changes: how often a leader became known.
    """

    log_syncs: Histogram = field(default_factory=Histogram)
    backend_commits: Histogram = field(default_factory=Histogram)
    leader_changes: int = 0


class Figures(Struct, frozen=True):
    """A member at one moment, for whoever watches it."""

    has_leader: bool
    is_leader: bool
    is_learner: bool
    committed_index: int
    applied_index: int
    pending_proposals: int
    failed_proposals: int
    metrics: Metrics

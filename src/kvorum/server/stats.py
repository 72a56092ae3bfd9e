"""Figures of this member for `/v2/stats`: traffic between members and how fast peers answer.

Rates cover the last 200 messages and are 0 when the last one is older than a second.
Source: reference contract, v2-api section 5.
"""

import math
from collections import deque

from msgspec import Struct, field

from kvorum.raft.types import MemberId

RATE_WINDOW = 200
STALE_SECONDS = 1.0


class Rate(Struct):
    """Messages and bytes a second over the last `RATE_WINDOW` messages."""

    samples: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=RATE_WINDOW))

    def add(self, now: float, message_bytes: int) -> None:
        """Counts one message."""
        self.samples.append((now, message_bytes))

    def at(self, now: float) -> tuple[float, float]:
        """(messages a second, bytes a second)."""
        if not self.samples or now - self.samples[-1][0] > STALE_SECONDS:
            return 0.0, 0.0
        seconds = self.samples[-1][0] - self.samples[0][0]
        if seconds <= 0:
            return 0.0, 0.0
        return len(self.samples) / seconds, sum(size for _, size in self.samples) / seconds


class Latency(Struct):
    """Running figures of how long a peer takes to answer an append, in milliseconds."""

    current: float = 0.0
    count: int = 0
    total: float = 0.0
    total_squares: float = 0.0
    minimum: float = math.inf
    maximum: float = 0.0
    fails: int = 0

    def add(self, milliseconds: float) -> None:
        """Counts one answer."""
        self.current = milliseconds
        self.count += 1
        self.total += milliseconds
        self.total_squares += milliseconds * milliseconds
        self.minimum = min(self.minimum, milliseconds)
        self.maximum = max(self.maximum, milliseconds)

    @property
    def average(self) -> float:
        """Mean of all answers."""
        return self.total / self.count if self.count else 0.0

    @property
    def deviation(self) -> float:
        """Standard deviation of all answers."""
        if not self.count:
            return 0.0
        return math.sqrt(max(0.0, self.total_squares / self.count - self.average**2))


class ServerStats(Struct):
    """What this member counts about itself. An append without entries is a heartbeat.

    Attributes:
        started_ns: wall time of the start, ns since the epoch.
        leader_since_ns: wall time at which the present leader became known; 0 without one.
        appends_received: appends this member got as a follower.
        appends_sent: appends this member sent as a leader.
        followers: on a leader, by member id.
    """

    started_ns: int
    leader_since_ns: int = 0
    appends_received: int = 0
    appends_sent: int = 0
    received: Rate = field(default_factory=Rate)
    sent: Rate = field(default_factory=Rate)
    followers: dict[MemberId, Latency] = field(default_factory=dict)
    asked_at: dict[MemberId, float] = field(default_factory=dict)
    """When the oldest append without an answer was sent, by member id."""

    def append_received(self, message_bytes: int, now: float) -> None:
        """An append came from the leader."""
        self.appends_received += 1
        self.received.add(now, message_bytes)

    def append_sent(self, follower: MemberId, message_bytes: int, now: float) -> None:
        """An append went to a follower."""
        self.appends_sent += 1
        self.sent.add(now, message_bytes)
        self.asked_at.setdefault(follower, now)

    def append_answered(self, follower: MemberId, now: float) -> None:
        """A follower has answered."""
        asked_at = self.asked_at.pop(follower, None)
        if asked_at is not None:
            self._latency(follower).add((now - asked_at) * 1000)

    def append_lost(self, follower: MemberId) -> None:
        """A message to a follower was lost."""
        if self.asked_at.pop(follower, None) is not None:
            self._latency(follower).fails += 1

    def leader_changed(self, since_ns: int) -> None:
        """Another member leads, or none does (0): what was known of followers is past."""
        self.leader_since_ns = since_ns
        self.followers.clear()
        self.asked_at.clear()

    def _latency(self, follower: MemberId) -> Latency:
        return self.followers.setdefault(follower, Latency())

"""Warnings about peers that do not answer their heartbeats, rarer the longer they last.

Per peer: the first missed heartbeat is told at once and opens a window of 2 s in which further
misses are only counted; the next miss after it tells the count so far and opens a window twice as
long, at most 15 s. When a peer was heard again after its window had closed, the story starts anew.
Source: reference contract, v2-api section 12.
"""

import logging

from msgspec import Struct

from kvorum.raft.types import MemberId

_log = logging.getLogger("kvorum.server")

FIRST_BACKOFF_SECONDS = 2
LONGEST_BACKOFF_SECONDS = 15


class _Silence(Struct):
    missed: int = 0
    backoff_seconds: int = 0
    quiet_until: float = 0.0


class HeartbeatMonitor:
    """Counts, on the leader, the heartbeats each peer has missed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._silences: dict[MemberId, _Silence] = {}

    def answered(self, peer: MemberId, now: float) -> None:
        """The peer was heard within the last heartbeat interval."""
        silence = self._silences.get(peer)
        if silence is not None and now >= silence.quiet_until:
            del self._silences[peer]

    def missed(self, peer: MemberId, peer_name: str, now: float) -> None:
        """The peer was not heard since the last heartbeat."""
        silence = self._silences.setdefault(peer, _Silence())
        silence.missed += 1
        if now < silence.quiet_until:
            return
        doubled = silence.backoff_seconds * 2 or FIRST_BACKOFF_SECONDS
        silence.backoff_seconds = min(doubled, LONGEST_BACKOFF_SECONDS)
        silence.quiet_until = now + silence.backoff_seconds
        _log.info(
            '%s: warning: heartbeat time out peer="%s" missed=%d backoff="%ds"',
            self._name,
            peer_name,
            silence.missed,
            silence.backoff_seconds,
        )

    def reset(self) -> None:
        """Forgets everything: this member leads no more."""
        self._silences.clear()

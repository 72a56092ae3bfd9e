"""When history may go: so many revisions after it was made, or so much time.

By revision, it may go once a tenth more than what is to be kept has collected. By time, the
revision is noted every tenth of the time, and every member does so, so that one that comes to lead
knows the past; history before the last note that is old enough may go.

    notes: by time, STEPS_MAX of them; what is kept is between the time and a tenth more than it

The caller: `note` at every heartbeat interval of every member; a leader compacts up to `target`.
Source: v3-operations section 6.
"""

from collections import deque

from kvorum.config import Config
from kvorum.mvcc.store import Store

STEPS_MAX = 12
"""Ten steps cover the time; one more may be under way, and one be late."""


class Compactor:
    """What one member knows of the age of its history."""

    def __init__(self, config: Config, store: Store) -> None:
        self._revisions = config.auto_compaction_retention
        self._seconds = config.auto_compaction_seconds
        self._store = store
        self._notes: deque[tuple[float, int]] = deque(maxlen=STEPS_MAX)

    def note(self, now: float) -> None:
        """Remembers where the store is, if it is time to."""
        step_seconds = self._seconds / 10
        if self._seconds and (not self._notes or now - self._notes[-1][0] >= step_seconds):
            self._notes.append((now, self._store.revision))

    def target(self, now: float) -> int:
        """The revision up to which history may go; 0 for none."""
        compacted = self._store.compacted_revision
        if self._revisions:
            target = self._store.revision - self._revisions
            return target if target - compacted > self._revisions // 10 else 0
        old = [revision for at, revision in self._notes if now - at >= self._seconds]
        return old[-1] if old and old[-1] > compacted else 0

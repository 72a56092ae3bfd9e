"""What happened in a run: a digest of everything, and the last events in words.

The digest takes in every message, fault and answer with its time; two runs with equal digests did
the same. The words are for people, so only the last of them are kept.
"""

import logging
from collections import deque
from collections.abc import Callable
from hashlib import blake2b

from kvorum.sim.loop import SimLoop

LAST_EVENTS = 60


class Trace:
    """The story of one run. `tell` gets each line as it happens."""

    def __init__(self, loop: SimLoop, tell: Callable[[str], object] | None = None) -> None:
        self._loop = loop
        self._tell = tell
        self._digest = blake2b(digest_size=16)
        self._last: deque[tuple[float, str]] = deque(maxlen=LAST_EVENTS)

    def note(self, text: str) -> None:
        """Something worth a line has happened."""
        self.take(text.encode())
        self._last.append((self._loop.now, text))
        if self._tell is not None:
            self._tell(_line(self._loop.now, text))

    def take(self, data: bytes) -> None:
        """Something has happened that only the digest needs to know."""
        self._digest.update(b"%r %b" % (self._loop.now, data))

    def digest(self) -> str:
        """Equal for runs that did the same."""
        return self._digest.hexdigest()

    def last_events(self) -> list[str]:
        """The newest lines, oldest first."""
        return [_line(when, text) for when, text in self._last]


class LogLines(logging.Handler):
    """Puts what the members log into the story."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self._trace = trace

    def emit(self, record: logging.LogRecord) -> None:
        """Takes one line."""
        self._trace.note(record.getMessage())


def _line(when: float, text: str) -> str:
    return f"{when:10.4f}  {text}"

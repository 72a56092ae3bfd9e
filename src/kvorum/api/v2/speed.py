"""`/v2/speedTest` of the 0.4 era: ten thousand writes, a thousand at a time.

Source: v2-api section 5.
"""

from typing import TYPE_CHECKING

from kvorum.api.reply import Replies
from kvorum.v2.commands import Set

if TYPE_CHECKING:
    from kvorum.protocol.http1 import Exchange
    from kvorum.server.server import Server

WRITES = 10_000
PARALLEL_WRITES = 1_000


class SpeedTest:
    """One run, from request to reply."""

    __slots__ = ("_exchange", "_open", "_replies", "_server", "_started")

    def __init__(self, server: "Server", replies: Replies, exchange: "Exchange") -> None:
        self._server = server
        self._replies = replies
        self._exchange = exchange
        self._started = 0
        self._open = 0

    def start(self) -> None:
        """Begins; the reply comes when the last write is answered."""
        self._exchange.on_close = self._stop
        for _ in range(PARALLEL_WRITES):
            self._write()

    def _write(self) -> None:
        self._started += 1
        self._open += 1
        self._server.propose(Set(b"/foo", b"bar"), self._written)

    def _written(self, outcome: object) -> None:  # noqa: ARG002 -- only the time counts
        self._open -= 1
        if self._started < WRITES:
            self._write()
        elif not self._open and self._exchange.on_close is not None:
            self._exchange.on_close = None
            self._replies.text(self._exchange, b"speed test success")

    def _stop(self) -> None:
        self._started = WRITES
        self._exchange.on_close = None

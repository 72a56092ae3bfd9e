"""`/v2/speedTest` of the 0.4 era: ten thousand writes, a thousand at a time.

Source: v2-api section 5.
"""

from kvorum.api.reply import Replies
from kvorum.errors import RaftInternal, UnavailableError
from kvorum.protocol.exchange import Exchange
from kvorum.server.server import Server
from kvorum.v2.commands import Set

WRITES = 10_000
PARALLEL_WRITES = 1_000


class SpeedTest:
    """One run, from request to reply."""

    __slots__ = ("_exchange", "_has_failed", "_open", "_replies", "_server", "_started")

    def __init__(self, server: Server, replies: Replies, exchange: Exchange) -> None:
        self._server = server
        self._replies = replies
        self._exchange = exchange
        self._started = 0
        self._open = 0
        self._has_failed = False

    def start(self) -> None:
        """Begins; the reply comes when the last write is answered."""
        self._exchange.on_close = self._stop
        while self._open < PARALLEL_WRITES and self._started < WRITES:
            self._write()

    def _write(self) -> None:
        self._started += 1
        self._open += 1
        self._server.propose(Set(b"/foo", b"bar"), self._written)

    def _written(self, outcome: object) -> None:
        self._open -= 1
        if isinstance(outcome, UnavailableError):
            self._started = WRITES
            self._has_failed = True
        if self._started < WRITES:
            self._write()
        elif not self._open and self._exchange.on_close is not None:
            self._exchange.on_close = None
            self._answer()

    def _answer(self) -> None:
        if self._has_failed:
            error = RaftInternal(index=self._server.store.revision)
            self._replies.error(self._exchange, error)
        else:
            self._replies.text(self._exchange, b"speed test success")

    def _stop(self) -> None:
        self._started = WRITES
        self._exchange.on_close = None

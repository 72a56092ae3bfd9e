"""Long polls and event streams: how a wait's events reach its client.

A long poll is answered at once with the head, later with exactly one event. A stream goes on until
the client leaves. A client that does not take its events costs no memory: the wait pauses, and
catches up from history when the connection drains.

The caller checks first that the wait is possible; once the head is out there is no way to say no.
Source: v2-api section 3.5.
"""

from collections.abc import Callable

from kvorum.protocol.exchange import Exchange
from kvorum.v2.events import Wait
from kvorum.v2.node import Event


class WaitReply:
    """The way of one wait's events to its client.

    Attributes:
        has_left: the client went away; there is nobody to wait for.
        wait: the wait, once it is open.
    """

    __slots__ = ("_exchange", "_is_stream", "_render", "has_left", "wait")

    def __init__(
        self, exchange: Exchange, render: Callable[[Event], bytes], *, is_stream: bool
    ) -> None:
        self._exchange = exchange
        self._render = render
        self._is_stream = is_stream
        self.has_left = False
        self.wait: Wait | None = None

    def begin(self, head: bytes) -> None:
        """Sends the head, so that the client knows it is heard."""
        exchange = self._exchange
        exchange.begin(head)
        exchange.on_close = self._leave
        if self._is_stream:
            exchange.on_writable = self._drained

    def event(self, event: Event) -> None:
        """Passes an event on."""
        exchange = self._exchange
        exchange.write(self._render(event))
        if not self._is_stream:
            self._cancel()
            self.end()
        elif not exchange.is_writable and self.wait is not None:
            self.wait.pause()

    def end(self) -> None:
        """Ends the reply; what was to come is gone, or nothing more is wanted."""
        self._exchange.on_close = None
        self._exchange.end()

    def _leave(self) -> None:
        self.has_left = True
        self._cancel()

    def _cancel(self) -> None:
        if self.wait is not None:
            self.wait.cancel()

    def _drained(self) -> None:
        if self.wait is not None:
            self.wait.resume()

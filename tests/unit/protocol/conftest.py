"""A connection core without a socket, and what it was told and said."""

from collections.abc import Iterable
from itertools import pairwise

import pytest

from kvorum.protocol.exchange import Exchange, Settings
from kvorum.protocol.http1 import Http1Connection

DATE = b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
BODY_BYTES_MAX = 1000


class Wire:
    """A core that is driven as a shell would, with a handler that only collects."""

    def __init__(self) -> None:
        self.settings = settings = Settings(BODY_BYTES_MAX)
        settings.date_line = DATE
        self.signals = 0
        self.core = Http1Connection(settings, "127.0.0.1:5000", self._signal)
        self.exchanges: list[Exchange] = []

    def _signal(self) -> None:
        self.signals += 1

    def receive(self, *pieces: bytes) -> list[Exchange]:
        """Takes bytes; a handler that leaves every upgrade offer alone is done at once."""
        found: list[Exchange] = []
        for piece in pieces:
            found += self.core.receive_data(piece)
            while self.core.is_halted:
                found += self.core.receive_data(self.core.take_rest())
        self.exchanges += found
        return found

    def receive_one(self, data: bytes) -> Exchange:
        """Takes the bytes of exactly one request."""
        (exchange,) = self.receive(data)
        return exchange

    def sent(self) -> bytes:
        """What goes out now."""
        return self.core.data_to_send()

    def statuses(self, *pieces: bytes) -> list[int]:
        """Answers everything with 200 and returns the statuses that come back, in order."""
        for exchange in self.receive(*pieces):
            exchange.respond(OK, b"body")
        return read_statuses(self.sent())


def read_statuses(data: bytes) -> list[int]:
    """The statuses of answers whose bodies contain no status line."""
    return [int(part[:3]) for part in data.split(b"HTTP/1.1 ")[1:]]


def split_at(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """The same bytes in pieces."""
    edges = [0, *sorted({cut % len(data) for cut in cuts} - {0}), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@pytest.fixture
def wire() -> Wire:
    return Wire()

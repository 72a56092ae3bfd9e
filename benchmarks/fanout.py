"""How fast does one write reach many who wait for it, next to real etcd?

Load: each watcher long-polls a directory, recursively, on a connection of its own, and asks for the
next index as soon as it has its event. One writer writes into the directory again when the last
watcher has the event, so nobody falls behind and nothing is served from history only.
Units: events are deliveries a second, all watchers together; p50 and p99 are milliseconds from
sending the write to the arrival of its event at a watcher; CPU is microseconds of the server per
delivery; memory is MiB resident while all watchers wait.
The client is one uvloop process, the same for all, and takes about as much CPU as a server does:
it is the limit that all share.
A round counts only if each watcher got each event once, in order.
"""

import asyncio
import time
from functools import partial
from typing import cast

import uvloop
from benchmarks.harness import (
    RoundFailed,
    Run,
    check_growth,
    cpu_seconds,
    percentile,
    resident_mib,
    store_index,
)
from benchmarks.report import Figures

from kvorum.testing.process import ServerProcess

WATCHER_COUNTS = (100, 1000)
QUICK_MAX = 100
"""More of them are left out of a quick run."""

VALUE = b"v" * 64

DELIVERY_SECONDS = 30
"""An event that takes longer is lost."""

_OK = b"HTTP/1.1 200 "
_WRITTEN = (_OK, b"HTTP/1.1 201 ")
_WAIT = (
    b"GET /v2/keys/fan?wait=true&recursive=true&waitIndex=%d HTTP/1.1\r\nHost: benchmark\r\n\r\n"
)
_PUT = (
    b"PUT /v2/keys/fan/key HTTP/1.1\r\nHost: benchmark\r\nContent-Length: %d\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\nvalue=%b"
)
_INDEX = b'"modifiedIndex":'


class Watcher(asyncio.Protocol):
    """A client that waits for one event after the other."""

    def __init__(self, fan: "Fan") -> None:
        self._fan = fan
        self._expected = 0
        self._reply = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self._transport = cast("asyncio.Transport", transport)

    def wait_for(self, index: int) -> None:
        """Asks for the event at `index`."""
        self._expected = index
        self._transport.write(_WAIT % index)

    def data_received(self, data: bytes) -> None:
        """The head comes at once, the event when it happens; the last chunk ends the reply."""
        self._reply += data
        if not self._reply.endswith(b"\r\n0\r\n\r\n"):
            return
        reply, self._reply = self._reply, b""
        index = index_told(reply)
        if not reply.startswith(_OK) or index != self._expected:
            self._fan.fail(f"{reply!r} instead of event {self._expected}")
            return
        self.wait_for(index + 1)
        self._fan.delivered()


class Writer(asyncio.Protocol):
    """A client that writes, and tells the index its write got."""

    def __init__(self) -> None:
        self.written: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self._transport = cast("asyncio.Transport", transport)

    def write(self) -> "asyncio.Future[int]":
        """Writes once; the result is its index."""
        self.written = asyncio.get_running_loop().create_future()
        body = len(b"value=") + len(VALUE)
        self._transport.write(_PUT % (body, VALUE))
        return self.written

    def data_received(self, data: bytes) -> None:
        """One reply, which is short."""
        assert self.written is not None
        if data.startswith(_WRITTEN):
            self.written.set_result(index_told(data))
        else:
            self.written.set_exception(RoundFailed(f"not written: {data!r}"))


def index_told(reply: bytes) -> int:
    """The index of the event in a reply; 0 where there is none."""
    return int(reply.partition(_INDEX)[2].partition(b",")[0] or 0)


class Fan:
    """One writer and all watchers of a round."""

    def __init__(self, watcher_count: int) -> None:
        self._watcher_count = watcher_count
        self._missing = 0
        self._all_have_it = asyncio.Event()
        self._failure = ""
        self._sent_at = 0.0
        self._write_count = 0
        self._lags: list[float] = []

    def delivered(self) -> None:
        """One watcher has the event of the write under way."""
        self._lags.append(time.perf_counter() - self._sent_at)
        self._missing -= 1
        if not self._missing:
            self._all_have_it.set()

    def fail(self, reason: str) -> None:
        """A watcher was told what it must not be."""
        self._failure = reason
        self._all_have_it.set()

    async def run(self, server: ServerProcess, seconds: float) -> tuple[Figures, int]:
        """Writes and waits for so long; returns what that gave, and how often it wrote.

        Raises:
            RoundFailed: an answer was wrong, or did not come.
        """
        loop = asyncio.get_running_loop()
        address = server.host, server.client_port
        transport, writer = await loop.create_connection(Writer, *address)
        index = await writer.write()
        opened = [
            await loop.create_connection(lambda: Watcher(self), *address)
            for _ in range(self._watcher_count)
        ]
        for _, watcher in opened:
            watcher.wait_for(index + 1)
        # All of them wait before the first event comes: an answered read of each connection would
        # say so, but a wait is not answered. The first event is not counted instead.
        await self._write(writer)
        self._lags.clear()
        began, before = time.perf_counter(), sum(cpu_seconds([server]))
        while time.perf_counter() - began < seconds:
            await self._write(writer)
        figures = {
            "cpu": (sum(cpu_seconds([server])) - before) * 1e6 / len(self._lags),
            "events": len(self._lags) / (time.perf_counter() - began),
            "p50": percentile(self._lags, 50) * 1e3,
            "p99": percentile(self._lags, 99) * 1e3,
            "memory": resident_mib([server]),
        }
        for one, _ in [(transport, writer), *opened]:
            one.close()
        return figures, self._write_count + 1

    async def _write(self, writer: Writer) -> None:
        self._missing = self._watcher_count
        self._all_have_it.clear()
        self._sent_at = time.perf_counter()
        self._write_count += 1
        await writer.write()
        try:
            await asyncio.wait_for(self._all_have_it.wait(), DELIVERY_SECONDS)
        except TimeoutError:
            self._failure = f"{self._missing} events did not come"
        if self._failure:
            raise RoundFailed(self._failure)


def run(bench: Run) -> None:
    """Measures the rows that are wanted, all on the same servers."""
    names = {f"fan-out {count}": count for count in WATCHER_COUNTS}
    wanted = [name for name in names if bench.wants(name, is_quick=names[name] <= QUICK_MAX)]
    if not wanted:
        return
    with bench.clusters(1) as clusters:
        for name in wanted:
            measures = {
                label: partial(measure, cluster.members[0], names[name], bench.plan.seconds)
                for label, cluster in clusters.items()
            }
            bench.take_turns(name, bench.plan.rounds, measures)


def measure(server: ServerProcess, watcher_count: int, seconds: float) -> Figures:
    """One round.

    Raises:
        RoundFailed: an event was not told once and in order, or a write was lost or made twice.
    """

    async def run() -> tuple[Figures, int]:
        return await Fan(watcher_count).run(server, seconds)

    before = store_index(server)
    figures, write_count = uvloop.run(run())
    check_growth(before, store_index(server), write_count)
    return figures

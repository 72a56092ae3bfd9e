"""How fast does one write reach many who wait for it, next to real etcd 3.5.1?

Run: `python -m benchmarks.fanout` (a minute); needs the dev extras.

Load: each watcher long-polls a directory, recursively, on a connection of its own, and asks for the
next index as soon as it has its event. One writer writes into the directory again when the last
watcher has the event, so nobody falls behind and nothing is served from history only.
Units: events are deliveries a second, all watchers together; lag is milliseconds from sending the
write to the arrival of its event at a watcher; CPU is microseconds of the server per delivery.
The client is one uvloop process, the same for both, and takes about as much CPU as a server does:
it is the limit that both share. Rounds: ours, theirs, ours, ...; medians, spread in brackets.
A round counts only if each watcher got each event once, in order.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import cast

import uvloop
from benchmarks.v2 import PROGRAMS, RESULTS, print_rows, process_cpu_seconds
from msgspec import Struct

from kvorum.config import Era
from kvorum.testing.process import ServerProcess

WATCHERS = (100, 1000)
ROUNDS = 5
SECONDS = 3.0
VALUE = b"v" * 64

COLUMNS = ("events", "cpu", "p50", "p99")

_WAIT = (
    b"GET /v2/keys/fan?wait=true&recursive=true&waitIndex=%d HTTP/1.1\r\nHost: benchmark\r\n\r\n"
)
_PUT = (
    b"PUT /v2/keys/fan/key HTTP/1.1\r\nHost: benchmark\r\nContent-Length: %d\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\nvalue=%b"
)
_INDEX = b'"modifiedIndex":'


class Figures(Struct):
    """What one round gave; units as on top of this file."""

    events: float
    cpu: float
    p50: float
    p99: float


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
        index = int(reply.partition(_INDEX)[2].partition(b",")[0])
        assert index == self._expected, f"event {index} instead of {self._expected}"
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
        self.written.set_result(int(data.partition(_INDEX)[2].partition(b",")[0]))


class Fan:
    """One writer and all watchers of a round."""

    def __init__(self, watcher_count: int) -> None:
        self._watcher_count = watcher_count
        self._missing = 0
        self._all_have_it = asyncio.Event()
        self._sent_at = 0.0
        self.lags: list[float] = []

    def delivered(self) -> None:
        """One watcher has the event of the write under way."""
        self.lags.append(time.perf_counter() - self._sent_at)
        self._missing -= 1
        if not self._missing:
            self._all_have_it.set()

    async def run(self, port: int, seconds: float) -> float:
        """Writes and waits for so long; returns how long it took."""
        loop = asyncio.get_running_loop()
        transport, writer = await loop.create_connection(Writer, "127.0.0.1", port)
        index = await writer.write()
        opened = [
            await loop.create_connection(lambda: Watcher(self), "127.0.0.1", port)
            for _ in range(self._watcher_count)
        ]
        for _, watcher in opened:
            watcher.wait_for(index + 1)
        # All of them wait before the first event comes: an answered read of each connection would
        # say so, but a wait is not answered. The first event is not counted instead.
        await self._write(writer)
        self.lags.clear()
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            await self._write(writer)
        took = time.perf_counter() - began
        for one, _ in [(transport, writer), *opened]:
            one.close()
        return took

    async def _write(self, writer: Writer) -> None:
        self._missing = self._watcher_count
        self._all_have_it.clear()
        self._sent_at = time.perf_counter()
        await writer.write()
        await asyncio.wait_for(self._all_have_it.wait(), 30)


def measure(server: ServerProcess, watcher_count: int, seconds: float) -> Figures:
    """One round."""
    before = process_cpu_seconds(server.pid)

    async def run() -> tuple[Fan, float]:
        fan = Fan(watcher_count)
        return fan, await fan.run(server.client_port, seconds)

    fan, took = uvloop.run(run())
    spent = process_cpu_seconds(server.pid) - before
    lags = sorted(fan.lags)
    return Figures(
        events=len(lags) / took,
        cpu=spent * 1e6 / len(lags),
        p50=lags[len(lags) // 2] * 1e3,
        p99=lags[len(lags) * 99 // 100] * 1e3,
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of one round")
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    print(f"{'watchers':<24}" + "".join(f"{column:>21}" for column in COLUMNS))
    with tempfile.TemporaryDirectory(dir=RESULTS, prefix="data-") as directory:
        servers = {
            label: ServerProcess(Path(directory) / label, era=Era.MODERN, program=program)
            for label, program in PROGRAMS.items()
        }
        try:
            for server in servers.values():
                server.start()
                server.wait_ready()
            for watcher_count in WATCHERS:
                table: dict[str, dict[str, list[float]]] = {
                    label: {column: [] for column in COLUMNS} for label in servers
                }
                for _ in range(arguments.rounds):
                    for label, server in servers.items():
                        figures = measure(server, watcher_count, arguments.seconds)
                        for column in COLUMNS:
                            table[label][column].append(getattr(figures, column))
                print_rows(str(watcher_count), table)
        finally:
            for server in servers.values():
                server.kill()


if __name__ == "__main__":
    main()

"""What do many keys cost, and how soon is a server back with them, next to real etcd?

Load: distinct keys, 1000 in a directory, values of 64 bytes, by 64 connections. Each round has
servers and data of its own.
Units: load and restart are seconds; restart is from exec after a kill -9 to the first 200 for a key
written last. CPU is server microseconds per write of the load. Memory is MiB resident, after the
load and after the restart; disk is MiB of the data directory. Catch-up: of three members one
follower is killed, a tenth of the keys is written, it is started, and the seconds are counted until
it serves the last of them.
A round counts only if every key was created, and nothing was lost in the restart.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import cast

import uvloop
from benchmarks.harness import (
    START_WRITES,
    Program,
    RoundFailed,
    Run,
    check_growth,
    cpu_seconds,
    make_cluster,
    resident_mib,
    store_index,
)
from benchmarks.report import Figures

from kvorum.testing.polling import wait_until
from kvorum.testing.process import OK, ServerProcess

CONNECTIONS = 64
KEYS_IN_DIRECTORY = 1000
PATIENCE_SECONDS = 300
SECTOR_BYTES = 512
"""What `st_blocks` counts in."""

BODY = b"value=" + b"v" * 64

_PUT = (
    b"PUT %b HTTP/1.1\r\nHost: benchmark\r\nContent-Length: %d\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\n%b"
)


def path_of(number: int) -> str:
    """Where the key with this number is."""
    return f"/v2/keys/load/{number // KEYS_IN_DIRECTORY}/key{number}"


class Loader(asyncio.Protocol):
    """A connection that writes one key after the other."""

    def __init__(self, numbers: Iterator[int], done: "asyncio.Future[None]") -> None:
        self._numbers = numbers
        self._done = done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        """One reply, which is short."""
        if data.startswith(b"HTTP/1.1 201"):
            self._next()
        elif not self._done.done():
            self._done.set_exception(RoundFailed(f"not created: {data!r}"))

    def _next(self) -> None:
        number = next(self._numbers, None)
        if number is not None:
            self._transport.write(_PUT % (path_of(number).encode(), len(BODY), BODY))
            return
        self._transport.close()
        if not self._done.done():
            self._done.set_result(None)


def load(server: ServerProcess, numbers: range) -> float:
    """Writes these keys; returns the seconds it took.

    Raises:
        RoundFailed: a key was not created, or not once.
    """

    async def run() -> None:
        loop = asyncio.get_running_loop()
        left = iter(numbers)
        ends = [loop.create_future() for _ in range(CONNECTIONS)]
        for end in ends:
            make = partial(Loader, left, end)
            await loop.create_connection(make, server.host, server.client_port)
        await asyncio.gather(*ends)

    before = store_index(server)
    began = time.perf_counter()
    uvloop.run(run())
    took = time.perf_counter() - began
    check_growth(before, store_index(server), len(numbers))
    return took


def wait_served(server: ServerProcess, number: int) -> None:
    """Waits until the member serves this key from its own state."""

    def is_served() -> bool:
        answer = server.ask(path_of(number))
        return answer is not None and answer[0] == OK

    wait_until(is_served, PATIENCE_SECONDS, lambda: f"key {number}\n{server.log_end()}")


def run(bench: Run) -> None:
    """Measures the row, if it is wanted."""
    name = f"scale {bench.plan.scale_keys}"
    if bench.wants(name):
        measures = {
            label: partial(measure, bench.directory, program, bench.plan.scale_keys)
            for label, program in bench.programs.items()
        }
        bench.take_turns(name, bench.plan.scale_rounds, measures)


def measure(directory: Path, program: Program, key_count: int) -> Figures:
    """One round, with a member alone and then with three.

    Raises:
        RoundFailed: a write was lost or made twice.
    """
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        figures = measure_one(Path(scratch), program, key_count)
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        catch_up = measure_catch_up(Path(scratch), program, key_count // 10)
    return {**figures, "catch-up": catch_up}


def measure_one(directory: Path, program: Program, key_count: int) -> Figures:
    """Load, memory, disk and restart of one member."""
    with make_cluster(directory, 1, program) as cluster:
        (server,) = cluster.members
        before = sum(cpu_seconds([server]))
        took = load(server, range(key_count))
        spent = sum(cpu_seconds([server])) - before
        index, memory = store_index(server), resident_mib([server])
        blocks = sum(file.stat().st_blocks for file in server.data_dir.rglob("*"))
        server.kill()
        began = time.perf_counter()
        server.start()
        wait_served(server, key_count - 1)
        restart = time.perf_counter() - began
        check_growth(index, store_index(server), acknowledged=0, unanswered=START_WRITES)
        return {
            "cpu": spent * 1e6 / key_count,
            "load": took,
            "memory": memory,
            "disk": blocks * SECTOR_BYTES / (1 << 20),
            "restart": restart,
            "restarted": resident_mib([server]),
        }


def measure_catch_up(directory: Path, program: Program, key_count: int) -> float:
    """How long a follower that missed these keys takes to have them."""
    with make_cluster(directory, 3, program) as cluster:
        leader = cluster.wait_leader()
        follower = next(member for member in cluster.members if member is not leader)
        follower.kill()
        load(leader, range(key_count))
        began = time.perf_counter()
        follower.start()
        wait_served(follower, key_count - 1)
        return time.perf_counter() - began

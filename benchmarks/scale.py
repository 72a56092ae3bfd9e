"""What do many keys cost, and how soon is a server back with them, next to real etcd 3.5.1?

Run: `python -m benchmarks.scale --keys 1000000` (five minutes; a tenth of it for 100000); needs the
dev extras.

Load: distinct keys, 1000 in a directory, values of 64 bytes, by 64 connections. Everything else is
as in v2.py. One run of each, ours first: nothing here is a matter of microseconds.
Units: load and restart are seconds; restart is from exec after a kill -9 to the first 200 for a key
written last. Memory is MiB resident, after the load and after the restart; disk is MiB of the data
directory. Catch-up: of three members one follower is killed, a tenth of the keys is written, it is
started, and the seconds are counted until it serves the last of them.
"""

import argparse
import asyncio
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import cast

import uvloop
from benchmarks.v2 import PROGRAMS, RESULTS, resident_mib

from kvorum.config import Era
from kvorum.testing.process import ClusterProcess, ServerProcess

CONNECTIONS = 64
KEYS_IN_DIRECTORY = 1000
PATIENCE_SECONDS = 300
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
            self._done.set_exception(RuntimeError(f"not created: {data!r}"))

    def _next(self) -> None:
        number = next(self._numbers, None)
        if number is not None:
            self._transport.write(_PUT % (path_of(number).encode(), len(BODY), BODY))
            return
        self._transport.close()
        if not self._done.done():
            self._done.set_result(None)


def load(server: ServerProcess, numbers: range) -> float:
    """Writes these keys; returns the seconds it took."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        left = iter(numbers)
        ends = [loop.create_future() for _ in range(CONNECTIONS)]
        for end in ends:
            make = partial(Loader, left, end)
            await loop.create_connection(make, server.host, server.client_port)
        await asyncio.gather(*ends)

    began = time.perf_counter()
    uvloop.run(run())
    return time.perf_counter() - began


def wait_served(server: ServerProcess, number: int) -> None:
    """Waits until the member serves this key from its own state."""
    end = time.perf_counter() + PATIENCE_SECONDS
    while time.perf_counter() < end:
        try:
            url = f"{server.client_url}{path_of(number)}"
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310 -- it is http
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.01)
    raise TimeoutError(f"no key {number} within {PATIENCE_SECONDS} s")


def measure_one(directory: Path, label: str, key_count: int) -> dict[str, float]:
    """Load, memory, disk and restart of one member."""
    server = ServerProcess(directory / f"{label}1", era=Era.MODERN, program=PROGRAMS[label])
    server.start()
    server.wait_ready()
    try:
        took = load(server, range(key_count))
        memory = resident_mib(server.pid)
        disk = sum(file.stat().st_blocks for file in server.data_dir.rglob("*")) / 2048
        server.kill()
        began = time.perf_counter()
        server.start()
        wait_served(server, key_count - 1)
        restart = time.perf_counter() - began
        figures = {"load": took, "memory": memory, "disk": disk, "restart": restart}
        return figures | {"memory, restarted": resident_mib(server.pid)}
    finally:
        server.kill()
        shutil.rmtree(server.data_dir, ignore_errors=True)


def measure_catch_up(directory: Path, label: str, key_count: int) -> float:
    """How long a follower that missed these keys takes to have them."""
    cluster = ClusterProcess(directory / f"{label}3", era=Era.MODERN, program=PROGRAMS[label])
    try:
        cluster.start()
        leader = cluster.wait_leader()
        follower = next(member for member in cluster.members if member is not leader)
        follower.kill()
        load(leader, range(key_count))
        began = time.perf_counter()
        follower.start()
        wait_served(follower, key_count - 1)
        return time.perf_counter() - began
    finally:
        cluster.kill()


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keys", type=int, default=100_000)
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=RESULTS, prefix="data-") as directory:
        table = {}
        for label in PROGRAMS:
            table[label] = measure_one(Path(directory), label, arguments.keys)
            print(
                label, {name: round(value, 2) for name, value in table[label].items()}, flush=True
            )
            seconds = measure_catch_up(Path(directory), label, arguments.keys // 10)
            table[label]["catch-up"] = seconds
    print(f"{arguments.keys} keys{'':<12}{'ours':>10}{'etcd':>10}{'ours/etcd':>12}")
    for name, ours in table["ours"].items():
        theirs = table["etcd"][name]
        print(f"{name:<24}{ours:>10.2f}{theirs:>10.2f}{ours / theirs:>12.2f}")


if __name__ == "__main__":
    main()

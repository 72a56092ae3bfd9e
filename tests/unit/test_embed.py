"""A whole server inside this process, on real sockets and files."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kvorum.clock import SystemClock
from kvorum.config import LEGACY_CONFIG, Address, Config, Era
from kvorum.embed import RunningServer
from kvorum.errors import StorageError, UnavailableError
from kvorum.net.dialer import HttpReply, http_request
from kvorum.net.listener import bind
from kvorum.v2.commands import Set

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def free_port() -> int:
    sock = bind("127.0.0.1", 0)
    port: int = sock.getsockname()[1]
    sock.close()
    return port


def config_of(path: Path, number: int, peers: tuple[str, ...] = ()) -> Config:
    client_port, peer_port = free_port(), free_port()
    return msgspec.structs.replace(
        LEGACY_CONFIG,
        name=f"machine{number}",
        data_dir=path / f"machine{number}",
        client_listen_addresses=(Address("127.0.0.1", client_port),),
        advertised_client_urls=(f"http://127.0.0.1:{client_port}",),
        peer_listen_addresses=(Address("127.0.0.1", peer_port),),
        advertised_peer_urls=(f"http://127.0.0.1:{peer_port}",),
        peers=peers,
    )


class Host:
    """Starts servers and stops all of them at the end."""

    def __init__(self) -> None:
        self.running: list[RunningServer] = []

    async def start(self, config: Config) -> RunningServer:
        running = RunningServer(config, SystemClock(), lambda: None)
        self.running.append(running)
        await running.start()
        return running

    async def stop(self) -> None:
        for running in self.running:
            await running.stop()
        self.running.clear()


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


async def ask(config: Config, method: str, key: str, body: bytes = b"") -> HttpReply:
    url = f"{config.advertised_client_urls[0]}/v2/keys{key}"
    return await http_request(url, method, FORM, body, 10)


def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        host, config = Host(), config_of(tmp_path, 1)
        await host.start(config)
        written = await ask(config, "PUT", "/message", b"value=hoge")
        assert written.status == 201
        await host.stop()
        await host.start(config)
        read = await ask(config, "GET", "/message")
        assert b'"value":"hoge","modifiedIndex":3' in read.body
        await host.stop()

    run(scenario())


def test_a_member_joins_and_the_first_hands_over(tmp_path: Path) -> None:
    async def scenario() -> None:
        host, one = Host(), config_of(tmp_path, 1)
        first = await host.start(one)
        peer = one.advertised_peer_urls[0].partition("//")[2]
        two = config_of(tmp_path, 2, (peer,))
        three = config_of(tmp_path, 3, (peer,))
        await host.start(two)
        await host.start(three)
        assert (await ask(two, "PUT", "/message", b"value=hoge")).status == 201
        await first.stop()
        host.running.remove(first)
        assert (await ask(three, "PUT", "/message", b"value=2")).status == 200
        assert b'"value":"2"' in (await ask(two, "GET", "/message?quorum=true")).body
        await host.stop()

    run(scenario())


def test_a_taken_port_leaves_nothing_behind(tmp_path: Path) -> None:
    async def scenario() -> None:
        host, config = Host(), config_of(tmp_path, 1)
        with bind("127.0.0.1", config.client_listen_addresses[0].port) as taken:
            taken.listen()
            with pytest.raises(OSError, match="in use"):
                await host.start(config)
        assert not config.data_dir.exists()
        await host.stop()
        await host.start(config)
        await host.stop()

    run(scenario())


def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        host, config = Host(), config_of(tmp_path, 1)
        await host.start(config)
        other = msgspec.structs.replace(config_of(tmp_path, 2), data_dir=config.data_dir)
        with pytest.raises(StorageError, match="in use"):
            await host.start(other)
        await host.stop()

    run(scenario())


async def wait_status(config: Config, status: int) -> HttpReply:
    """Asks until the answer has this status; a machine that changes its ways answers late."""
    async with asyncio.timeout(20):
        while True:
            with suppress(UnavailableError):  # its ways change under this very request
                reply = await ask(config, "PUT", "/message", b"value=1")
                if reply.status == status:
                    return reply


def test_a_removed_machine_stands_by_and_returns(tmp_path: Path) -> None:
    async def scenario() -> None:
        host, one = Host(), config_of(tmp_path, 1)
        one = msgspec.structs.replace(one, sync_interval_seconds=1.0)
        first = await host.start(one)
        two = config_of(tmp_path, 2, (one.advertised_peer_urls[0].partition("//")[2],))
        second = await host.start(two)
        seat = second.server.member_id
        url = f"{one.advertised_peer_urls[0]}/remove/machine2"
        assert (await http_request(url, "DELETE", {}, b"", 10)).status == 200
        assert first.server.was_removed(seat)
        reply = await wait_status(two, 307)
        location = f"{one.advertised_client_urls[0]}/v2/keys/message".encode()
        assert reply.headers[b"location"] == location
        await wait_status(two, 200)
        assert second.server.member_id not in {seat, first.server.member_id}
        assert second.exit_code == 0
        await host.stop()

    run(scenario())


def test_a_machine_that_finds_no_seat_stands_by_until_it_is_stopped(tmp_path: Path) -> None:
    async def scenario() -> None:
        host, one = Host(), config_of(tmp_path, 1)
        one = msgspec.structs.replace(one, active_size=3)
        await host.start(one)
        peers = (one.advertised_peer_urls[0].partition("//")[2],)
        for number in (2, 3):
            await host.start(config_of(tmp_path, number, peers))
        four = config_of(tmp_path, 4, peers)
        for _ in range(2):  # it is the same when it is started again
            fourth = await host.start(four)
            assert (await ask(four, "GET", "/message")).status == 307
            with pytest.raises(StorageError, match="in use"):
                await host.start(
                    msgspec.structs.replace(config_of(tmp_path, 5, peers), data_dir=four.data_dir)
                )
            await host.running.pop().stop()
            host.running.remove(fourth)
            await fourth.stop()
            assert fourth.exit_code == 0
        await host.stop()

    run(scenario())


def test_a_removed_member_of_the_later_era_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        ended = asyncio.Event()
        legacy = config_of(tmp_path, 1)
        config = msgspec.structs.replace(
            legacy, era=Era.MODERN, heartbeat_ms=100, election_ms=1000, name="default"
        )
        running = RunningServer(config, SystemClock(), ended.set)
        await running.start()
        running.server.leave()
        assert ended.is_set()
        await running.stop()
        assert running.exit_code == 0

    run(scenario())
    assert "only with an empty data directory can it be given a new seat" in caplog.text

    run(scenario())


def test_a_server_with_a_bug_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        ended = asyncio.Event()
        running = RunningServer(config_of(tmp_path, 1), SystemClock(), ended.set)
        await running.start()
        told: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        running.server._applier._apply_command.clear()
        running.server.propose(Set(b"/k", b"v"), told.append)
        await ended.wait()
        await running.stop()
        assert running.exit_code == 1
        assert "KeyError" in str(told)

    run(scenario())
    assert "an internal error" in caplog.text

"""A whole server inside this process, on real sockets and files."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kvorum.clock import SystemClock
from kvorum.config import LEGACY_CONFIG, Address, Config
from kvorum.embed import RunningServer
from kvorum.errors import StorageError
from kvorum.net.dialer import HttpReply, http_request
from kvorum.net.listener import bind

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


def test_a_member_that_was_removed_serves_nobody(tmp_path: Path) -> None:
    async def scenario() -> None:
        host, one = Host(), config_of(tmp_path, 1)
        first = await host.start(one)
        two = config_of(tmp_path, 2, (one.advertised_peer_urls[0].partition("//")[2],))
        second = await host.start(two)
        gone = second.server.member_id
        ended = asyncio.Event()
        second.server.on_removed = ended.set
        url = f"{one.advertised_peer_urls[0]}/remove/machine2"
        leader = first if first.server.is_leader else second
        assert leader is first
        assert (await http_request(url, "DELETE", {}, b"", 10)).status == 200
        assert first.server.was_removed(gone)
        async with asyncio.timeout(10):
            await ended.wait()
        await second.stop()
        assert second.exit_code == 0
        await first.stop()
        host.running.clear()

    run(scenario())

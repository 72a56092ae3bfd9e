"""One server in one process: ports, files, member, handlers, signals, wired together.

Start: ports are bound first, so that a taken one leaves nothing behind; then the member takes or
finds its seat; then peers are served, then clients.
Stop: leadership is handed over, clients get the answers due, everything becomes durable.

Source: reference contract, v2-api sections 9.1 and 12; v3-operations section 7.
"""

import asyncio
import gc
import logging
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import uvloop

from kvorum.api.peers import PeerRouter
from kvorum.api.routes import client_router
from kvorum.clock import Clock, SystemClock
from kvorum.config import Address, Config, Era, TlsFiles
from kvorum.errors import ConfigError
from kvorum.net.connection import Limits
from kvorum.net.listener import Listener, bind
from kvorum.net.tls import Credentials, caller_credentials, server_credentials
from kvorum.peer.transport import Transport
from kvorum.server.bootstrap import open_member
from kvorum.server.discovery import keep_registered
from kvorum.server.files import DiskFiles
from kvorum.server.server import Server
from kvorum.wal.datadir import DataDir

_log = logging.getLogger("kvorum.embed")

REFUSED_BODY_BYTES = 1 << 20
"""How much of a body beyond the limit is read, so that its sender gets a v2 error and not only a
status."""

PEER_BODY_BYTES_MAX = 64 << 10
"""Requests of people and joiners; raft's streams are no requests."""

SWITCH_SECONDS = 0.0005
"""How long one thread may keep the others from running."""

READY_SECONDS = 1.0
"""How long clients wait for a starting member to find a leader before they are served anyway."""

JOINED_SECONDS = 5.0
"""The same for one that joins: until it has caught up it could only tell them of the past."""

GRACE_SECONDS = 1.0
"""How long a stopping server waits for answers that are due."""


def run(config: Config) -> int:
    """Runs a server until SIGTERM or SIGINT, or until it cannot go on; returns the exit code.

    Raises:
        ConfigError: the settings cannot start a server.
        StorageError: the data directory cannot be used.
        UnavailableError: nobody gave it a seat.
        OSError: a port cannot be bound.
    """
    _prepare_process()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(config))


def _prepare_process() -> None:
    """Sets what belongs to a process of its own, and is not an embedding program's."""
    # The threads that sync and commit hold the interpreter for microseconds; with the default of
    # 5 ms they would wait for the busy loop that long, each time, and fall behind.
    sys.setswitchinterval(SWITCH_SECONDS)
    # What was imported is never garbage; each full collection would look through it for 3 ms.
    gc.freeze()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(config: Config) -> int:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    running = RunningServer(config, SystemClock(), stopping.set)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.signalled, number.name)
    starting = loop.create_task(running.start())
    asked = loop.create_task(stopping.wait())
    await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        with suppress(asyncio.CancelledError):
            await starting
    else:
        starting.result()
    await asked
    await running.stop()
    return running.exit_code


class RunningServer:
    """A member with its ports open.

    Attributes:
        server: the member; set once it has its seat.
        exit_code: 0 until something failed.
    """

    def __init__(self, config: Config, clock: Clock, on_end: Callable[[], None]) -> None:
        self.config = config
        self.server: Server
        self.exit_code = 0
        self._clock = clock
        self._on_end = on_end
        self._sockets: list[socket.socket] = []
        self._listeners: list[Listener] = []
        self._transport: Transport | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._registration: asyncio.Task[None] | None = None
        self._has_server = False

    async def start(self) -> None:
        """Opens everything, in order. Raises as `run` does."""
        config = self.config
        loop = asyncio.get_running_loop()
        credentials = _Credentials(config)
        peer_sockets = [self._bind(address) for address in config.peer_listen_addresses]
        client_sockets = [self._bind(address) for address in config.client_listen_addresses]
        has_data = DataDir.has_data(config.data_dir)
        if has_data and config.forgets_data:
            _log.warning("%s: -force: what %s held is removed", config.name, config.data_dir)
            has_data = False

        def post(callback: Callable[[], object]) -> None:
            loop.call_soon_threadsafe(callback)

        def watch(fd: int, callback: Callable[[], object]) -> Callable[[], object]:
            loop.add_reader(fd, callback)
            return partial(loop.remove_reader, fd)

        open_files = partial(
            DiskFiles,
            config.data_dir,
            post,
            self._disk_failed,
            watch,
            forgets_data=config.forgets_data,
        )
        opened = await open_member(config, self._clock, open_files, has_data=has_data)
        if config.era is Era.LEGACY and config.discovery:
            keeping = keep_registered(config, is_new=not has_data)
            self._registration = loop.create_task(keeping)
        identity = opened.identity
        transport = Transport(
            identity.cluster_id, identity.member_id, config.name, self._clock, credentials.caller
        )
        server = Server(config, self._clock, opened, transport, loop.call_soon)
        server.on_failure = self._failed
        server.on_removed = self._on_end
        transport.receiver = server
        transport.own_url = config.advertised_peer_urls[0]
        transport.on_removed = server.leave
        self.server, self._transport = server, transport
        self._has_server = True
        if server.was_removed(server.member_id):
            server.leave()
            return

        _announce("etcd server", config, client_sockets, config.advertised_client_urls)
        _announce("peer server", config, peer_sockets, config.advertised_peer_urls)
        if config.era is Era.LEGACY:
            _log.info("%s starting in peer mode", config.name)
        peer_limits = Limits(body_bytes_max=PEER_BODY_BYTES_MAX)
        peers = PeerRouter(server, transport.handle)
        for peer_socket, shown in zip(peer_sockets, credentials.peer, strict=True):
            await self._listen(Listener(peer_socket, peers, peer_limits, self._clock, shown))
        server.start()
        self._tick()
        await self._wait_until_ready()
        client_limits = Limits(
            # The keys API refuses a body over the setting in its own words; this one ends sooner.
            body_bytes_max=config.request_bytes_max + REFUSED_BODY_BYTES,
            read_timeout_seconds=config.http_read_timeout_seconds,
            write_timeout_seconds=config.http_write_timeout_seconds,
        )
        clients = client_router(server)
        for client_socket, shown in zip(client_sockets, credentials.client, strict=True):
            await self._listen(Listener(client_socket, clients, client_limits, self._clock, shown))
        if config.era is Era.MODERN:
            _log.info("ready to serve client requests")

    async def stop(self) -> None:
        """Closes everything, in order; also after a start that came only half way."""
        if self._registration is not None:
            self._registration.cancel()
        for listener in reversed(self._listeners):
            await listener.close(GRACE_SECONDS)
        for bound in self._sockets:
            bound.close()
        if not self._has_server:
            return
        if self.exit_code == 0:
            await self._hand_over()
        if self._ticker is not None:
            self._ticker.cancel()
        assert self._transport is not None
        self._transport.close()
        self.server.stop()

    def signalled(self, signal_name: str) -> None:
        """Somebody asked the process to end."""
        _log.info("%s: received %s, shutting down", self.config.name, signal_name)
        self._on_end()

    def _bind(self, address: Address) -> socket.socket:
        bound = bind(address.host, address.port)
        self._sockets.append(bound)
        return bound

    async def _listen(self, listener: Listener) -> None:
        self._listeners.append(listener)
        await listener.start()

    async def _wait_until_ready(self) -> None:
        """Serves clients once there is a leader to serve them, or it seems there will be none."""
        ready = asyncio.Event()
        self.server.when_ready(ready.set)
        patience = READY_SECONDS if self.server.has_vote else JOINED_SECONDS
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await ready.wait()

    async def _hand_over(self) -> None:
        """Gives leadership away, if there is somebody to take it within an election timeout."""
        deposed = asyncio.Event()
        if self.server.hand_over(deposed.set):
            with suppress(TimeoutError):
                async with asyncio.timeout(self.config.election_ms / 1000):
                    await deposed.wait()

    def _tick(self) -> None:
        self._ticker = asyncio.get_running_loop().call_later(self.server.tick_seconds, self._tick)
        self.server.tick()

    def _disk_failed(self, error: BaseException) -> None:
        self._failed(f"the disk failed: {error}; nothing more can be acknowledged")

    def _failed(self, reason: str) -> None:
        if self.exit_code == 0:
            _log.critical("%s: %s", self.config.name, reason)
            self.exit_code = 1
            self._on_end()


class _Credentials:
    """What is shown on each listen address, None in the clear, and to the peers that are called.

    Raises:
        ConfigError: files cannot be used.
    """

    def __init__(self, config: Config) -> None:
        is_legacy = config.era is Era.LEGACY
        with _labelled("TLS info error: " if is_legacy else ""):
            self.client = _shown(config.client_listen_addresses, config.client_tls)
        with _labelled("client TLS error: " if is_legacy else ""):
            self.peer = _shown(config.peer_listen_addresses, config.peer_tls)
            self.caller = caller_credentials(config.peer_tls) if config.peer_tls else None


def _shown(addresses: tuple[Address, ...], files: TlsFiles | None) -> list[Credentials | None]:
    if files is None or not any(one.is_tls for one in addresses):
        return [None] * len(addresses)
    credentials = server_credentials(files)
    return [credentials if one.is_tls else None for one in addresses]


@contextmanager
def _labelled(label: str) -> Iterator[None]:
    """Puts the words in front that 0.4 has for a fault."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError([label + fault for fault in error.faults]) from error


def _announce(
    what: str, config: Config, sockets: list[socket.socket], urls: tuple[str, ...]
) -> None:
    """The line that says where a port is open; an address on all interfaces is only its port."""
    for one in sockets:
        host, port = one.getsockname()[:2]
        listening = Address("" if host in {"::", "0.0.0.0"} else host, port)  # noqa: S104
        _log.info(
            "%s [name %s, listen on %s, advertised url %s]",
            what,
            config.name,
            listening,
            ",".join(urls),
        )

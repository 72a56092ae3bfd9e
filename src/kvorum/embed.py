"""One server in one process: ports, files, member, handlers, signals, wired together.

Start: ports are bound first, so that a taken one leaves nothing behind; then the member takes or
finds its seat; then peers are served, then clients.
In the 0.4 era a machine without a seat stands by on the same ports: one that found the cluster
full, or a member that was removed. With a seat it is a member again.
Stop: clients get the answers due, leadership is handed over, everything becomes durable.

Source: reference contract, v2-api sections 9.1 and 12; v3-operations section 7.
"""

import asyncio
import gc
import logging
import resource
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import uvloop

from kvorum.api.doors import doors_of
from kvorum.api.peers import PeerRouter
from kvorum.api.routes import client_router
from kvorum.api.standby import StandbyHandlers
from kvorum.clock import Clock, SystemClock
from kvorum.config import Address, Config, Era, TlsFiles
from kvorum.errors import ConfigError, KvorumError
from kvorum.net.connection import Handler, Limits
from kvorum.net.listener import Listener, bind
from kvorum.net.notify import READY, notify
from kvorum.net.tls import Credentials, caller_credentials, server_credentials
from kvorum.peer.transport import Transport
from kvorum.server.bootstrap import NoSeat, open_member, refuse_second_birth, sit_down
from kvorum.server.files import DiskFiles
from kvorum.server.pruning import Pruning
from kvorum.server.server import Opened, Server
from kvorum.server.standby import Machine, Standby, find_info, forget_info, list_machines
from kvorum.wal.datadir import DataDir

_log = logging.getLogger("kvorum.embed")

REFUSED_BODY_BYTES = 1 << 20
"""How much of a body beyond the limit is read, so that its sender gets a v2 error and not only a
status."""

PEER_LIMITS = Limits(body_bytes_max=64 << 10)
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
        notify(READY)
    await asked
    await running.stop()
    return running.exit_code


class RunningServer:
    """A machine with its ports open: a member, or in the 0.4 era one that stands by.

    Attributes:
        server: the member; set while it has a seat.
        exit_code: 0 until something failed.
    """

    def __init__(self, config: Config, clock: Clock, on_end: Callable[[], None]) -> None:
        self.config = config
        self.server: Server
        self.exit_code = 0
        self._clock = clock
        self._on_end = on_end
        self._credentials: _Credentials
        self._client_port = _Port(_client_limits(config), clock)
        self._metrics_port = _Port(_client_limits(config), clock)
        self._peer_port = _Port(PEER_LIMITS, clock)
        self._transport: Transport | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._registration: asyncio.Task[None] | None = None
        self._changes: set[asyncio.Task[None]] = set()
        """From member to standby, or back; one waits for the other."""
        self._is_changing = asyncio.Lock()
        self._directory: DataDir | None = None
        """Held while it stands by; a member holds it by itself."""
        self._has_server = False

    async def start(self) -> None:
        """Opens everything, in order. Raises as `run` does."""
        config = self.config
        self._credentials = _Credentials(config)
        self._peer_port.bind(config.peer_listen_addresses, self._credentials.peer)
        self._client_port.bind(config.client_listen_addresses, self._credentials.client)
        self._metrics_port.bind(config.metrics_listen_addresses, self._credentials.metrics)
        is_legacy = config.era is Era.LEGACY
        has_data = DataDir.has_data(config.data_dir, config.wal_dir)
        if has_data and config.forgets_data:
            _log.warning("%s: -force: what %s held is removed", config.name, config.data_dir)
            has_data = False
        if config.forgets_data:
            forget_info(config)
        info = find_info(config) if is_legacy else None
        if info is not None:
            await self._stand_by(Standby(config, info.machines, info.sync_interval))
        else:
            if not is_legacy and not has_data:
                await refuse_second_birth(config)
            open_files = partial(self._open_files, forgets_data=config.forgets_data)
            opened = await open_member(config, self._clock, open_files, has_data=has_data)
            if isinstance(opened, NoSeat):
                machines = [Machine(peer_url=url) for url in opened.peer_urls]
                await self._stand_by(Standby(config, machines))
            else:
                await self._take_part(opened)
        if is_legacy and config.discovery:
            from kvorum.server.discovery import keep_registered  # noqa: PLC0415 -- few need it

            is_new = info is None and not has_data
            keeping = keep_registered(config, is_new=is_new)
            self._registration = asyncio.get_running_loop().create_task(keeping)

    async def _take_part(self, opened: Opened) -> None:
        """Serves as the member that was opened."""
        async with self._is_changing:
            await self._serve_as_member(opened)

    async def _serve_as_member(self, opened: Opened) -> None:
        config, identity = self.config, opened.identity
        loop = asyncio.get_running_loop()
        transport = Transport(
            identity.cluster_id,
            identity.member_id,
            config.name,
            self._clock,
            self._credentials.caller,
        )
        server = Server(config, self._clock, opened, transport, loop.call_soon)
        server.on_failure = self._failed
        server.on_removed = self._removed
        transport.receiver = server
        transport.own_url = config.advertised_peer_urls[0]
        transport.on_removed = server.leave
        self.server, self._transport = server, transport
        self._has_server = True
        if server.was_removed(server.member_id):
            server.leave()
            return
        self._announce("peer mode")
        peers = PeerRouter(server, transport.handle)
        await self._peer_port.serve(peers)
        server.start()
        if config.era is Era.LEGACY:
            Pruning(server).start()
        self._tick()
        await self._wait_until_ready()
        doors = doors_of(config, client_router(server))
        await self._client_port.serve(doors.encrypted, doors.clear)
        await self._metrics_port.serve(doors.watched)
        if config.era is Era.MODERN:
            _log.info("ready to serve client requests")

    async def _stand_by(self, standby: Standby) -> None:
        """Serves as a machine without a seat, until there is one."""
        async with self._is_changing:
            await self._serve_as_standby(standby)
        self._begin(self._return(standby))

    async def _serve_as_standby(self, standby: Standby) -> None:
        config = self.config
        if not self._has_server:
            self._directory = DataDir.open(config.data_dir)
        urls = ",".join(one.peer_url for one in standby.machines)
        _log.info("set cluster([%s]) for standby server", urls)
        standby.save(is_running=True)
        if standby.leader is None:
            await standby.sync()
        self._announce("standby mode")
        handlers = StandbyHandlers(config, standby)
        await self._client_port.serve(handlers.client)
        await self._peer_port.serve(handlers.peer)
        if self._has_server:
            await self._stop_server()
            self._directory = DataDir.open(config.data_dir)

    async def _return(self, standby: Standby) -> None:
        """Waits for a seat, and takes it; what was held under another one is removed."""
        seat = await standby.wait_for_seat()
        self._release_directory()
        opened = sit_down(self.config, self._open_files(forgets_data=True), seat)
        standby.save(is_running=False)
        await self._take_part(opened)

    def _removed(self) -> None:
        """The member lost its seat."""
        if self.config.era is Era.LEGACY:
            machines = list_machines(self.server)
            others = [one for one in machines if one.name != self.config.name]
            interval = self.server.cluster.attributes.config.sync_interval
            self._begin(self._stand_by(Standby(self.config, others, interval)))
        else:
            name = self.config.name
            _log.warning("%s: only with an empty data directory can it be given a new seat", name)
            self._on_end()

    def _begin(self, change: Coroutine[Any, Any, None]) -> None:
        """Goes from one way of serving to the other, beside everything else."""
        task = asyncio.get_running_loop().create_task(change)
        self._changes.add(task)
        task.add_done_callback(self._changed)

    def _changed(self, change: "asyncio.Task[None]") -> None:
        self._changes.discard(change)
        error = None if change.cancelled() else change.exception()
        if error is not None:
            if not isinstance(error, KvorumError | OSError):
                _log.error("%s: a bug", self.config.name, exc_info=error)
            self._failed(str(error))

    async def stop(self) -> None:
        """Closes everything, in order; also after a start that came only half way."""
        if self._registration is not None:
            self._registration.cancel()
        while self._changes:
            task = self._changes.pop()
            task.cancel()
            await asyncio.wait([task])
        await self._client_port.close()
        await self._metrics_port.close()
        await self._peer_port.close()
        self._release_directory()
        if self._has_server:
            await self._stop_server()

    def _release_directory(self) -> None:
        if self._directory is not None:
            self._directory.release()

    async def _stop_server(self) -> None:
        self._has_server = False
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

    def _open_files(self, *, forgets_data: bool) -> DiskFiles:
        loop = asyncio.get_running_loop()

        def post(callback: Callable[[], object]) -> None:
            loop.call_soon_threadsafe(callback)

        def watch(fd: int, callback: Callable[[], object]) -> Callable[[], object]:
            loop.add_reader(fd, callback)
            return partial(loop.remove_reader, fd)

        return DiskFiles(
            self.config.data_dir,
            post,
            self._disk_failed,
            watch,
            wal_dir=self.config.wal_dir,
            forgets_data=forgets_data,
        )

    def _announce(self, mode: str) -> None:
        """Says how it serves from now on; the ports are told once."""
        config = self.config
        for what, port, urls in (
            ("etcd server", self._client_port, config.advertised_client_urls),
            ("peer server", self._peer_port, config.advertised_peer_urls),
        ):
            port.announce(f"{what} [name {config.name}", urls)
        if config.era is Era.LEGACY:
            _log.info("%s starting in %s", config.name, mode)

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
            self.metrics = _shown(config.metrics_listen_addresses, config.client_tls)
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


def _client_limits(config: Config) -> Limits:
    return Limits(
        # The keys API refuses a body over the setting in its own words; this one ends sooner.
        body_bytes_max=config.request_bytes_max + REFUSED_BODY_BYTES,
        read_timeout_seconds=config.http_read_timeout_seconds,
        write_timeout_seconds=config.http_write_timeout_seconds,
    )


class _Port:
    """What listens for one kind of callers: bound once, served by one handler after the other."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._sockets: list[socket.socket] = []
        self._credentials: list[Credentials | None] = []
        self._listeners: list[Listener] = []
        self._is_announced = False

    def bind(self, addresses: tuple[Address, ...], credentials: list[Credentials | None]) -> None:
        """Takes the addresses; nobody can connect yet."""
        self._credentials = credentials
        for address in addresses:
            self._sockets.append(bind(address.host, address.port))

    def announce(self, who: str, urls: tuple[str, ...]) -> None:
        """Says where it is open; an address on all interfaces is only its port."""
        for one in () if self._is_announced else self._sockets:
            host, port = one.getsockname()[:2]
            listening = Address("" if host in {"::", "0.0.0.0"} else host, port)  # noqa: S104
            _log.info("%s, listen on %s, advertised url %s]", who, listening, ",".join(urls))
        self._is_announced = True

    async def serve(self, handler: Handler, clear: Handler | None = None) -> None:
        """Has this handler answer from now on; who talked to the one before has to call again.

        `clear` answers instead where nothing is encrypted.
        """
        for listener in self._listeners:
            await listener.replace(handler, GRACE_SECONDS)
        if self._listeners:
            return
        for bound, shown in zip(self._sockets, self._credentials, strict=True):
            chosen = handler if shown is not None or clear is None else clear
            listener = Listener(bound, chosen, self._limits, self._clock, shown)
            self._listeners.append(listener)
            await listener.start()

    async def close(self) -> None:
        """Answers what is due, and gives the addresses back."""
        while self._listeners:
            await self._listeners.pop().close(GRACE_SECONDS)
        while self._sockets:
            self._sockets.pop().close()

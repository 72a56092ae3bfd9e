"""A machine of the 0.4 era that has no seat: what it knows of the cluster, and how it gets one.

It is no member: it holds no data that counts, and is in no quorum. It sends clients to the leader,
and asks the members, once a sync interval, who they are and how many they may be. When there are
fewer than that, or one of them has its name, it asks for a seat.

That it stands by is kept in `standby_info` in the data directory, so that a machine that has never
had a peer's address among its flags finds the cluster again, and founds none.

Rules: until a seat is given, what the data directory holds stays as it is. A seat that is given is
a new one: what was held under an old one is removed before it is taken (`DataDir.clear`), and only
then does `standby_info` say that the machine stands by no more.
Source: reference contract, v2-api sections 9.1, 9.5, 11 and 12.
"""

import asyncio
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from kvorum.config import Config
from kvorum.decoding import FAULTS
from kvorum.errors import ClusterFull, StorageError, UnavailableError
from kvorum.membership import ClusterConfig, bounded_config
from kvorum.net.dialer import http_request
from kvorum.server.joining import join_once, patience_of, peer_access
from kvorum.server.seats import Seat
from kvorum.server.server import Server
from kvorum.wal.segment import sync_directory

_log = logging.getLogger("kvorum.server")

FILE_NAME = "standby_info"

LEADER, FOLLOWER = "leader", "follower"

T = TypeVar("T")


class Machine(Struct, frozen=True):
    """One member as `/v2/admin/machines` tells it; a peer URL alone before it was asked."""

    name: str = ""
    state: str = FOLLOWER
    client_url: str = msgspec.field(name="clientURL", default="")
    peer_url: str = msgspec.field(name="peerURL", default="")


class _ConfigBody(Struct, rename="camel"):
    """The answer of `/v2/admin/config`."""

    active_size: float
    remove_delay: float
    sync_interval: float


class Info(Struct):
    """`standby_info`, as 0.4 wrote it."""

    is_running: bool = msgspec.field(name="Running")
    machines: list[Machine] = msgspec.field(name="Cluster")
    sync_interval: float = msgspec.field(name="SyncInterval")


def list_machines(server: Server) -> list[Machine]:
    """The members as a server knows them, by name."""
    return [
        Machine(
            member.name,
            LEADER if member.id == server.leader_id else FOLLOWER,
            member.client_urls[0] if member.client_urls else "",
            member.peer_urls[0],
        )
        for member in server.cluster
    ]


class Standby:
    """What one machine knows while it waits.

    Attributes:
        machines: the members, as the last one that was asked told them.
        sync_interval: seconds between two looks.
    """

    def __init__(
        self, config: Config, machines: Sequence[Machine], sync_interval: float = 0.0
    ) -> None:
        self.machines = list(machines)
        self.sync_interval = sync_interval or config.sync_interval_seconds
        self._config = config
        self._active_size = 0
        scheme, self._credentials = peer_access(config)
        self._given = [f"{scheme}://{peer}" for peer in config.peers]

    @property
    def leader(self) -> Machine | None:
        """Where clients are sent."""
        return next((one for one in self.machines if one.state == LEADER), None)

    def save(self, *, is_running: bool) -> None:
        """Keeps what is known beyond this process.

        Raises:
            StorageError: it cannot be written.
        """
        path = _path(self._config)
        info = Info(is_running, self.machines, self.sync_interval)
        try:
            path.parent.mkdir(0o700, parents=True, exist_ok=True)
            temporary = path.with_name(f"{path.name}.new")
            with temporary.open("wb") as file:
                file.write(msgspec.json.encode(info) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(path)
            sync_directory(path.parent)
        except OSError as error:
            raise StorageError(f"it cannot be written: {error.strerror}", path) from error

    async def sync(self) -> bool:
        """Asks the members for themselves, one after the other; whether one answered."""
        known = dict.fromkeys([*(one.peer_url for one in self.machines), *self._given])
        urls = [url for url in known if url not in self._config.advertised_peer_urls]
        for url in urls:
            try:
                machines = await self._get(f"{url}/v2/admin/machines", list[Machine])
                body = await self._get(f"{url}/v2/admin/config", _ConfigBody)
            except UnavailableError as error:
                _log.debug("cannot sync with %s: %s", url, error)
                continue
            if machines:
                told = bounded_config(body.active_size, body.remove_delay, body.sync_interval)
                self._learn(machines, told)
                return True
        _log.warning("fail syncing cluster([%s]): unreachable cluster", ",".join(urls))
        return False

    async def wait_for_seat(self) -> Seat:
        """Looks for a free seat until one is given."""
        while True:
            await asyncio.sleep(self.sync_interval)
            if await self.sync() and self._has_room():
                seat = await self._ask()
                if seat is not None:
                    return seat

    def _learn(self, machines: list[Machine], config: ClusterConfig) -> None:
        self._active_size = config.active_size
        if (machines, config.sync_interval) != (self.machines, self.sync_interval):
            self.machines, self.sync_interval = machines, config.sync_interval
            self.save(is_running=True)

    def _has_room(self) -> bool:
        is_listed = any(one.name == self._config.name for one in self.machines)
        return is_listed or len(self.machines) < self._active_size

    async def _ask(self) -> Seat | None:
        leader = self.leader
        if leader is None:
            urls = ",".join(one.peer_url for one in self.machines)
            _log.warning("fail getting leader from cluster([%s])", urls)
            return None
        _log.info("join through leader %s", leader.peer_url)
        try:
            return await join_once(self._config, [leader.peer_url.rpartition("://")[2]], 0)
        except ClusterFull:
            return None

    async def _get(self, url: str, kind: type[T]) -> T:
        patience = patience_of(self._config)
        reply = await http_request(url, "GET", {}, b"", patience, self._credentials)
        try:
            return msgspec.json.decode(reply.body, type=kind)
        except FAULTS as error:
            raise UnavailableError(f"{url}: no answer of a member, {reply.status}") from error


def find_info(config: Config) -> Info | None:
    """What a machine knew that stands by; None when it does not.

    Raises:
        StorageError: nobody can tell any more whether it does.
    """
    path = _path(config)
    try:
        info = msgspec.json.decode(path.read_bytes(), type=Info)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, *FAULTS) as error:
        raise StorageError(
            f"it cannot be read: {error}. Remove it, and start this machine with -peers", path
        ) from error
    return info if info.is_running else None


def forget_info(config: Config) -> None:
    """Begins anew: no machine stands by here."""
    with suppress(FileNotFoundError, NotADirectoryError):
        _path(config).unlink()


def _path(config: Config) -> Path:
    return config.data_dir / FILE_NAME

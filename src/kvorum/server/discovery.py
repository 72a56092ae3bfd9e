"""How members that know only a token find each other, by the protocols of both eras.

0.4: a machine writes `<token>/<name>` = its peer URL, for a week, again and again. Whoever creates
`<token>/_state` is the first; the others join through the peers that are listed.

3.x: `<token>/_config/size` says how many members there are to be. A member creates
`<token>/<id>` = `name=url,...`; the first `size` of these, in the order of their creation, are the
first members of the cluster. All wait until so many are there, and then start by the same list.

Rules: what the service does not answer is asked again, with pauses that grow; what it refuses is
an error at once, and says what to do. A 3.x member never takes an entry that was there before it
came: its data could be lost, and with it its votes.
Source: reference contract, v2-api sections 9.1, 9.4 and 12; v3-operations section 4.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

from kvorum.client.answers import Node
from kvorum.clock import Clock
from kvorum.config import Config
from kvorum.errors import (
    KeyExists,
    KeyNotFound,
    KvorumError,
    RemoteProtocolError,
    RequestError,
    UnavailableError,
)
from kvorum.net.dialer import Backoff, split_address
from kvorum.raft.types import MemberId
from kvorum.server.registry import Registry

_log = logging.getLogger("kvorum.server")

FIRST_PAUSE_SECONDS = 1.0
LAST_PAUSE_SECONDS = 30.0
"""Pauses between tries: a service may be started after its members."""

REGISTRATION_SECONDS = 604_800
"""How long a machine of the 0.4 era stays listed."""

RENEWAL_SECONDS = REGISTRATION_SECONDS / 8

WAIT_SECONDS = 60.0
"""How long a look for more members may be silent before the list is read again."""

SIZE_MAX, SIZE_DIGITS_MAX = 100, 3
"""Members a token may ask for; nobody means more."""

NEW_TOKEN = "use a new token, or remove what is left below this one"  # noqa: S105 -- advice

T = TypeVar("T")


class TokenRefused(UnavailableError):
    """The token cannot be used as it is: to ask again is of no use."""


class _Directory(NamedTuple):
    """What is below a token of the 3.x era: the entries are id and text, the oldest first."""

    size: int
    entries: list[tuple[str, str]]
    seen_index: int


# The 0.4 era.


async def find_peers(config: Config, clock: Clock) -> tuple[str, ...]:
    """Registers this machine; returns `host:port` of the others, or nothing if it is the first.

    Where the service fails, the peers that were given without it count.

    Raises:
        UnavailableError: the service fails, and no peers were given.
    """
    try:
        peers = await _find_peers(config, clock)
    except KvorumError as error:
        _log.warning("Discovery encountered an error: %s", error)
        url = config.discovery
        _log.warning("%s failed to connect discovery service[%s]: %s", config.name, url, error)
        if config.peers:
            return config.peers
        raise UnavailableError(
            f"{config.name}, the new instance, must register itself to discovery service as"
            " required"
        ) from error
    if peers:
        _log.info("Discovery fetched back peer list: [%s]", " ".join(peers))
    return peers


async def _find_peers(config: Config, clock: Clock) -> tuple[str, ...]:
    registry = Registry(config.discovery)
    parts = urlsplit(registry.url)
    prefix = parts.path.removeprefix("/v2/keys/")
    _log.info("Discovery via %s://%s using prefix %s.", parts.scheme, parts.netloc, prefix)
    tries = _Tries(config, clock, config.max_retry_attempts)
    await tries.persist(lambda: _register(registry, config))
    try:
        # Not tried again: whoever creates it twice takes himself for the second.
        await registry.create("_state", "started")
    except KeyExists:
        pass
    else:
        _log.info("Discovery _state was empty, so this machine is the initial leader.")
        return ()
    query = {"consistent": "true", "recursive": "true", "sorted": "false"}
    found = await tries.persist(lambda: registry.get(**query))
    others = {_last(node): node.value or "" for node in found.node.children}
    others.pop(config.name, None)
    if not others:
        raise UnavailableError(
            "Discovery found an initialized cluster but no reachable peers are registered."
            f" Its first machine may have failed to start: {NEW_TOKEN}"
        )
    _log.info("Discovery found peers [%s]", " ".join(others.values()))
    return tuple(url.rpartition("://")[2] for url in others.values())


async def keep_registered(config: Config, *, is_new: bool) -> None:
    """Keeps this machine listed for as long as it runs; one that is new has just been."""
    registry = Registry(config.discovery)
    if is_new:
        await asyncio.sleep(RENEWAL_SECONDS)
    while True:
        try:
            await _register(registry, config)
        except KvorumError as error:
            _log.warning("Discovery heartbeat failed: %s", error)
        await asyncio.sleep(RENEWAL_SECONDS)


async def _register(registry: Registry, config: Config) -> None:
    await registry.set(config.name, config.advertised_peer_urls[0], REGISTRATION_SECONDS)


# The 3.x era.


async def find_founders(
    config: Config, clock: Clock, member_id: MemberId
) -> dict[str, tuple[str, ...]]:
    """Registers this member and waits for the others; name to peer URLs of all first members.

    Raises:
        TokenRefused: there is no room, or the token is no good.
    """
    registry, own = Registry(config.discovery), f"{member_id:x}"
    tries = _Tries(config, clock)
    directory = await tries.persist(lambda: _read(registry))
    duplicate = TokenRefused(
        f"discovery: found duplicate id: {own} is registered below {registry.url} already, and its"
        f" data is not in {config.data_dir}. Start it on its data; otherwise {NEW_TOKEN}"
    )
    if any(one == own for one, _ in directory.entries):
        raise duplicate
    _check_room(registry, directory, own)
    value = ",".join(f"{config.name}={url}" for url in config.advertised_peer_urls)
    if not await tries.persist(lambda: _create(registry, own, value)):
        raise duplicate
    while True:
        directory = await tries.persist(lambda: _read(registry))
        _check_room(registry, directory, own)
        founders = directory.entries[: directory.size]
        missing = directory.size - len(founders)
        _log.info(
            "found peers from discovery server; waiting for more"
            if missing
            else "found all needed peers from discovery server",
            extra={
                "fields": {
                    "discovery-url": registry.url,
                    "found-peers": [text for _, text in founders],
                    "needed-peers": missing,
                }
            },
        )
        if not missing:
            return _parse(registry, [text for _, text in founders])
        await tries.listen(registry, directory.seen_index)


def _check_room(registry: Registry, directory: _Directory, own: str) -> None:
    founders = [one for one, _ in directory.entries[: directory.size]]
    if len(founders) == directory.size and own not in founders:
        raise TokenRefused(
            f"discovery: cluster is full: {registry.url} has its {directory.size} members. Add this"
            " one to the running cluster, and start it with --initial-cluster and"
            " --initial-cluster-state existing"
        )


async def _create(registry: Registry, own: str, value: str) -> bool:
    """Registers; whether the entry is ours: it was not there before, so an equal one is."""
    try:
        await registry.create(own, value)
    except KeyExists:
        return (await registry.get(own)).node.value == value
    return True


async def _read(registry: Registry) -> _Directory:
    size_url = f"{registry.url}/_config/size"
    try:
        size = (await registry.get("_config/size")).node.value or ""
        found = await registry.get()
    except KeyNotFound as error:
        raise TokenRefused(
            "discovery: size key not found: say how many members there are to be, as in"
            f" curl {size_url} -XPUT -d value=3"
        ) from error
    is_number = size.isascii() and size.isdigit() and len(size) <= SIZE_DIGITS_MAX
    if not (is_number and 0 < int(size) <= SIZE_MAX):
        raise TokenRefused(
            f'discovery: size key is bad: {size_url} holds "{size}", not a number of members'
        )
    entries = [node for node in found.node.children if not _last(node).startswith("_")]
    entries.sort(key=lambda node: node.created_index)
    index = max(found.etcd_index, *(node.created_index for node in entries), 0)
    return _Directory(int(size), [(_last(node), node.value or "") for node in entries], index)


def _parse(registry: Registry, texts: list[str]) -> dict[str, tuple[str, ...]]:
    """The first members of a full token, checked together.

    Raises:
        TokenRefused: they make no cluster.
    """
    founders: dict[str, tuple[str, ...]] = {}
    for text in texts:
        pairs = [pair.partition("=") for pair in text.split(",")]
        name, urls = pairs[0][0], tuple(url for _, _, url in pairs)
        try:
            for url in urls:
                split_address(url)
        except UnavailableError as error:
            raise TokenRefused(f"discovery: invalid URL: {error}; {NEW_TOKEN}") from error
        if name in founders:
            raise TokenRefused(
                f"discovery: found duplicate name: two members below {registry.url} are called"
                f' "{name}". Give each its own --name, and {NEW_TOKEN}'
            )
        founders[name] = urls
    urls = tuple(url for member_urls in founders.values() for url in member_urls)
    if len(set(urls)) < len(urls):
        raise TokenRefused(f"discovery cluster {','.join(texts)} has duplicate url; {NEW_TOKEN}")
    return founders


# Both.


class _Tries:
    """Asks again, with pauses that grow, what a service does not answer."""

    def __init__(self, config: Config, clock: Clock, count_max: int = 0) -> None:
        """0 tries for ever."""
        self._name = config.name
        self._url = config.discovery
        self._count_max = count_max
        self._backoff = Backoff(clock.random_below, FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS)

    async def persist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What `ask` returns, once it does.

        Raises:
            UnavailableError: the last try, if tries are counted; `TokenRefused` at once.
        """
        count = 0
        while True:
            try:
                answer = await ask()
            except TokenRefused:
                raise
            except (RequestError, RemoteProtocolError) as error:
                raise TokenRefused(
                    f"discovery: bad discovery endpoint {self._url}: {error}"
                ) from error
            except UnavailableError as error:
                count += 1
                if count == self._count_max:
                    raise
                await self._pause(error)
            else:
                self._backoff.reset()
                return answer

    async def listen(self, registry: Registry, index: int) -> None:
        """Returns when something may have changed below the token since this index."""
        try:
            await registry.wait(index + 1, WAIT_SECONDS)
        except KvorumError as error:
            await self._pause(error)

    async def _pause(self, error: KvorumError) -> None:
        seconds = self._backoff.next_pause()
        _log.info(
            "%s has no answer of the discovery service: %s. Asking again in %.1f seconds",
            self._name,
            error,
            seconds,
        )
        await asyncio.sleep(seconds)


def _last(node: Node) -> str:
    return node.key.rpartition("/")[2]

"""How a process asks the members of a running cluster for a seat.

A 0.4 join is `PUT /join` on a peer port, with who we are as JSON; a member that does not lead
redirects to the one that does. The answer's body is the log index, as 0.4 gave it; which seat we
got, and who the others are, comes in headers of ours.
Source: reference contract, v2-api sections 9.2 and 12.
"""

import asyncio
import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import Annotated

import msgspec

from kvorum.clock import Clock
from kvorum.config import Config
from kvorum.decoding import FAULTS, HexId, parse_id
from kvorum.errors import ClusterFull, UnavailableError
from kvorum.net.dialer import HttpReply, follow, http_request
from kvorum.net.tls import Credentials, caller_credentials
from kvorum.raft.types import MemberId
from kvorum.server.seats import Seat

_log = logging.getLogger("kvorum.server")

JSON_HEADERS = {"Content-Type": "application/json"}
JOIN_VERSION = 2
"""The version of 0.4's protocol between members that a join names."""

SHOWN_BYTES_MAX = 200
"""How much is shown of an answer that no member gives."""

CLUSTER_HEADER = b"x-kvorum-cluster-id"
MEMBER_HEADER = b"x-kvorum-member-id"
PEERS_HEADER = b"x-kvorum-peers"
"""`<hex id>=<peer URL>`, comma separated: every other member."""


class JoinRequest(msgspec.Struct, rename="camel", omit_defaults=True):
    """The JSON of a join. `memberID` is ours: the seat whose data the joiner holds, in hex."""

    name: str
    raft_url: str = msgspec.field(name="raftURL")
    etcd_url: str = msgspec.field(name="etcdURL")
    min_version: int = 0
    max_version: int = 0
    member_id: HexId = msgspec.field(name="memberID", default="0")


class ListedMember(msgspec.Struct, rename="camel"):
    """One member in the answer of a peer port's `/members`; ids in hex."""

    id: HexId
    name: str
    peer_urls: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = msgspec.field(
        name="peerURLs"
    )
    client_urls: tuple[str, ...] = msgspec.field(name="clientURLs")


class MemberListing(msgspec.Struct):
    """The answer of a peer port's `/members`; `removed` has ids that were members once."""

    cluster_id: HexId
    members: list[ListedMember]
    removed: list[HexId] = []


class _JoinErrorBody(msgspec.Struct, rename="camel"):
    message: str
    cause: str = ""
    error_code: int = 0


async def join(config: Config, clock: Clock, member_id: MemberId = 0) -> Seat:
    """Tries every peer in turn, round after round, until one gives us a seat.

    Raises:
        UnavailableError: `max_retry_attempts` rounds without success.
        ClusterFull: there is no seat for us now.
    """
    peers = config.peers
    listing = " ".join(peers)
    attempt = 0
    while True:
        seat = await join_once(config, peers, member_id)
        if seat is not None:
            return seat
        if attempt + 1 == config.max_retry_attempts:
            break
        pause = config.retry_interval_seconds
        if pause is None:
            pause = 2.5 + clock.random_below(2450) / 1000
        _log.info(
            "%s is unable to join the cluster using any of the peers [%s] at %dth time."
            " Retrying in %.1f seconds",
            config.name,
            listing,
            attempt,
            pause,
        )
        await asyncio.sleep(pause)
        attempt += 1
    reason = f"fail joining the cluster via given peers after {config.max_retry_attempts} retries"
    _log.warning("%s cannot connect to existing peers [%s]: %s", config.name, listing, reason)
    raise UnavailableError(reason)


async def join_once(config: Config, peers: Iterable[str], member_id: MemberId) -> Seat | None:
    """One round over the peers (`host:port`); None when none of them gave us a seat.

    Raises:
        ClusterFull: there is no seat for us now.
    """
    request = JoinRequest(
        name=config.name,
        raft_url=config.advertised_peer_urls[0],
        etcd_url=config.advertised_client_urls[0],
        min_version=JOIN_VERSION,
        max_version=JOIN_VERSION,
        member_id=f"{member_id:x}",
    )
    body = msgspec.json.encode(request)
    patience = patience_of(config)
    scheme, credentials = peer_access(config)
    for peer in filter(None, map(str.strip, peers)):
        try:
            seat = await _ask(f"{scheme}://{peer}/join", body, patience, credentials)
        except (UnavailableError, ClusterFull) as error:
            reason = error.text if isinstance(error, ClusterFull) else error
            _log.info("%s attempted to join via %s failed: %s", config.name, peer, reason)
            if isinstance(error, ClusterFull):
                raise
        else:
            _log.info("%s joined the cluster via peer %s", config.name, peer)
            return seat
    return None


def patience_of(config: Config) -> float:
    """Seconds to wait for a member's answer."""
    return (3 * config.heartbeat_ms + config.election_ms) / 1000 + 1


def peer_access(config: Config) -> tuple[str, Credentials | None]:
    """The scheme of peers given as `host:port`, and what to show them."""
    if config.peer_tls is None:
        return "http", None
    return "https", caller_credentials(config.peer_tls)


async def _ask(url: str, body: bytes, patience: float, credentials: Credentials | None) -> Seat:
    async def put(url: str) -> HttpReply:
        _log.info("Send Join Request to %s", url)
        return await http_request(url, "PUT", JSON_HEADERS, body, patience, credentials)

    try:
        reply = await follow(url, put)
    except UnavailableError as error:
        reason = f"fail checking join version: Client Internal Error ({error})"
        raise UnavailableError(reason) from error
    return _read_seat(reply)


async def find_seat(config: Config) -> Seat:
    """Finds, at the members `initial_cluster` lists, the seat that holds our peer URL.

    A member may be a little behind and not know of the seat yet, so all are asked.

    Raises:
        UnavailableError: none of them answers, none knows our URL, or the seat was taken before.
    """
    own = set(config.advertised_peer_urls)
    patience = config.election_ms / 1000 + 1
    fault = (
        "cannot fetch cluster info from peer urls:"
        " could not retrieve cluster information from the given URLs"
    )
    _, credentials = peer_access(config)
    for url in (url for urls in config.initial_cluster.values() for url in urls if url not in own):
        try:
            reply = await http_request(f"{url}/members", "GET", {}, b"", patience, credentials)
            listing = msgspec.json.decode(reply.body, type=MemberListing)
        except (UnavailableError, *FAULTS) as error:
            _log.warning("cannot get the members from %s: %s", url, error)
            continue
        found = [member for member in listing.members if own & set(member.peer_urls)]
        if found:
            return _seat_in(listing, found[0], config.name)
        fault = (
            f"error validating peerURLs {sorted(own)}: no match found among the members of {url}."
            " Add this member to the cluster first"
        )
    raise UnavailableError(fault)


def _seat_in(listing: MemberListing, own: ListedMember, name: str) -> Seat:
    """A seat that was just added. One that tells its name was taken, and its holder has voted."""
    if own.name:
        raise _bootstrapped(own.id)
    names = {member.name: member.id for member in listing.members}
    if name in names:
        raise UnavailableError(
            f'a member of this cluster, {names[name]}, is called "{name}" already: give this one'
            " another --name"
        )
    peers = {
        int(member.id, 16): member.peer_urls[0] for member in listing.members if member is not own
    }
    return Seat(int(listing.cluster_id, 16), int(own.id, 16), 0, peers)


async def check_first_start(config: Config, member_id: MemberId) -> None:
    """Makes sure that nobody has seen this first member of a 3.x cluster before.

    Where nobody answers it is a first start indeed, as far as anybody can tell.

    Raises:
        UnavailableError: it was started before, so its data is lost, and with it its votes.
    """
    urls = [url for urls in config.initial_cluster.values() for url in urls]
    for listing in await _ask_members(config, urls):
        for member in listing.members:
            # Who is started tells where it serves clients; its name was known before.
            if int(member.id, 16) == member_id and member.client_urls:
                raise _bootstrapped(member.id)


async def still_has_seat(config: Config, cluster_id: int, member_id: MemberId) -> bool:
    """Whether a 0.4 machine's data goes with the peers it was given, as far as they answer.

    False when one of them knows that this member was removed.

    Raises:
        UnavailableError: all of them that do belong to another cluster.
    """
    scheme, _ = peer_access(config)
    peers = filter(None, map(str.strip, config.peers))
    listings = await _ask_members(config, [f"{scheme}://{peer}" for peer in peers])
    others = {listing.cluster_id for listing in listings}
    if others and all(int(other, 16) != cluster_id for other in others):
        raise UnavailableError(
            f"{config.name} holds data of another cluster than its peers"
            f" [{' '.join(config.peers)}]: cluster ID mismatch, {cluster_id:x} here and"
            f" {', '.join(sorted(others))} there. Start it without -peers to go on with its data,"
            f" or with -force to let it join them as a new machine"
        )
    own = [one for one in listings if int(one.cluster_id, 16) == cluster_id]
    return not any(int(gone, 16) == member_id for listing in own for gone in listing.removed)


async def _ask_members(config: Config, urls: Iterable[str]) -> list[MemberListing]:
    """What members tell, of those at these URLs that answer; all are asked at once."""
    _, credentials = peer_access(config)

    async def ask(url: str) -> MemberListing | None:
        try:
            reply = await http_request(
                f"{url}/members", "GET", {}, b"", patience_of(config), credentials
            )
            return msgspec.json.decode(reply.body, type=MemberListing)
        except (UnavailableError, *FAULTS) as error:
            _log.debug("cannot get the members from %s: %s", url, error)
            return None

    own = config.advertised_peer_urls
    answers = await asyncio.gather(*(ask(url) for url in urls if url not in own))
    return [answer for answer in answers if answer is not None]


def _bootstrapped(member_id: str) -> UnavailableError:
    return UnavailableError(
        f"member {member_id} has already been bootstrapped, and its data is not here. Remove it"
        " from the cluster and add it anew: without its data it must not vote as the same"
    )


def _read_seat(reply: HttpReply) -> Seat:
    headers = reply.headers
    if reply.status != HTTPStatus.OK:
        try:
            error = msgspec.json.decode(reply.body, type=_JoinErrorBody)
        except FAULTS:
            said = reply.body[:SHOWN_BYTES_MAX].decode("utf-8", "replace").strip()
            error = _JoinErrorBody(f"status {reply.status}", said)
        if error.error_code == ClusterFull.v2_code:
            raise ClusterFull(error.cause)
        cause = f" ({error.cause})" if error.cause else ""
        raise UnavailableError(f"fail on join request: {error.message}{cause}")
    peers = {}
    for pair in filter(None, headers.get(PEERS_HEADER, b"").split(b",")):
        member_id, _, url = pair.partition(b"=")
        peers[_read_id(member_id)] = url.decode("utf-8", "replace")
    cluster_id = _read_id(headers.get(CLUSTER_HEADER, b""))
    return Seat(cluster_id, _read_id(headers.get(MEMBER_HEADER, b"")), 0, peers)


def _read_id(text: bytes) -> int:
    found = parse_id(text)
    if not found:
        raise UnavailableError("fail on join request: the peer is not a kvorum server")
    return found

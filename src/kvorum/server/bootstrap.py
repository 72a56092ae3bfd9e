"""Which member this process is, and with what it starts: decided once, before anything is served.

    data directory holds data              restart as the member the data says
    ... with `--force-new-cluster`         the same, as the only member (see rebirth)
    `-discovery` given                     ask there who the others are; what follows is as below
    0.4, `-peers` given                    join through the first peer that answers; where there is
                                           no seat to be had, stand by (see standby)
    0.4, no peers                          a new cluster of one
    3.x, `--initial-cluster-state new`     one of the first members; all compute the same birth
    3.x, `... existing`                    take the seat the running members hold for our peer URL

A new cluster's log begins with one configuration change per first member, already committed, so
that whoever joins later learns all from the log. In the 3.x way every first member writes the very
same entries, from the same settings, without talking to the others.

Rules: nothing is decided twice. The seat is in the log's metadata before the member takes part,
and a directory that holds a seat never takes another.
Source: reference contract, v2-api section 9.1; v3-operations section 4.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from kvorum.apply.commands import MembershipChange, encode_membership_change
from kvorum.clock import Clock
from kvorum.config import Config, Era
from kvorum.errors import ClusterFull, StorageError, UnavailableError
from kvorum.membership import Cluster, Member, MembershipFault
from kvorum.raft.confchange import encode_conf_change
from kvorum.raft.storage import MemoryStorage
from kvorum.raft.types import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeType,
    Entry,
    EntryType,
    HardState,
    SnapshotMeta,
)
from kvorum.server.files import Files, Identity, LogMetadata
from kvorum.server.joining import (
    check_first_start,
    find_seat,
    join,
    join_once,
    peer_access,
    still_has_seat,
)
from kvorum.server.rebirth import stand_alone
from kvorum.server.seats import Seat
from kvorum.server.server import Opened
from kvorum.wal.replay import Recovered
from kvorum.wal.wal import Wal

_log = logging.getLogger("kvorum.server")

FIRST_TERM = 1


class NoSeat(Struct):
    """The cluster has all its members: this machine stands by.

    Attributes:
        peer_urls: whom it was told to ask.
    """

    peer_urls: tuple[str, ...]


async def open_member(
    config: Config, clock: Clock, open_files: Callable[[], Files], *, has_data: bool
) -> Opened | NoSeat:
    """Opens the member's files and takes or finds its seat.

    Args:
        config: the settings, valid.
        clock: draws the ids of a new cluster.
        open_files: called once nothing more can be refused for the settings' sake.
        has_data: whether a member lives in these files already.

    Raises:
        ConfigError: the settings cannot start a member.
        StorageError: the data directory cannot be used.
        UnavailableError: nobody gave us a seat.
    """
    if has_data:
        files = open_files()
        with _released_on_error(files):
            return await _restart(config, files)
    config.validate_bootstrap()
    # The directory is taken first: two processes must not ask for seats to the same data.
    files = open_files()
    with _released_on_error(files):
        begin = _begin_legacy if config.era is Era.LEGACY else _begin_modern
        return await begin(config, clock, files)


async def _begin_legacy(config: Config, clock: Clock, files: Files) -> Opened | NoSeat:
    peers = config.peers
    if config.discovery:
        from kvorum.server import discovery  # noqa: PLC0415 -- few need it

        peers = await discovery.find_peers(config, clock)
    if not peers:
        return _found(files, _alone(config, clock))
    try:
        seat = await join(msgspec.structs.replace(config, peers=peers), clock)
    except ClusterFull:
        _release(files)
        return _no_seat(peers, config)
    return sit_down(config, files, seat)


def _no_seat(peers: tuple[str, ...], config: Config) -> NoSeat:
    scheme, _ = peer_access(config)
    return NoSeat(tuple(f"{scheme}://{peer}" for peer in peers))


async def _begin_modern(config: Config, clock: Clock, files: Files) -> Opened:
    if config.discovery:
        from kvorum.server import discovery  # noqa: PLC0415 -- few need it

        # The cluster is the token's, wherever its service is reached.
        token = urlsplit(config.discovery).path.rstrip("/")
        own_id = _stable_id(token, *sorted(config.advertised_peer_urls))
        founders = await discovery.find_founders(config, clock, own_id)
        config = msgspec.structs.replace(
            config, initial_cluster=founders, initial_cluster_token=token
        )
    elif config.initial_cluster_state == "existing":
        return sit_down(config, files, await find_seat(config))
    return _found(files, _together(config))


async def refuse_second_birth(config: Config) -> None:
    """Sees to it that a first member of a 3.x cluster is born once; for empty directories.

    Raises:
        ConfigError: the settings cannot start a member.
        UnavailableError: the others know it already.
    """
    config.validate_bootstrap()
    if config.initial_cluster and config.initial_cluster_state == "new":
        await check_first_start(config, _together(config).identity.member_id)


def _found(files: Files, metadata: LogMetadata) -> Opened:
    """Starts as one of the first members, or as the only one."""
    wal = files.create_log(metadata)
    blank = Recovered(b"", HardState(), SnapshotMeta(), [], 0)
    return _open(files, wal, blank, metadata)


def _alone(config: Config, clock: Clock) -> LogMetadata:
    """A new cluster of one, the 0.4 way; its ids are drawn."""
    _log.info("%s is starting a new cluster", config.name)
    cluster_id = clock.random_below((1 << 63) - 1) + 1
    member = Member(
        id=clock.random_below((1 << 63) - 1) + 1,
        name=config.name,
        peer_urls=config.advertised_peer_urls,
        client_urls=config.advertised_client_urls,
    )
    return LogMetadata(Identity(cluster_id, member.id, config.name), [member], is_legacy=True)


def _together(config: Config) -> LogMetadata:
    """One of the first members of a 3.x cluster; ids follow from URLs and token on all of them."""
    founders = [
        Member(
            id=_stable_id(config.initial_cluster_token, *sorted(urls)),
            name=name,
            peer_urls=tuple(sorted(urls)),
        )
        for name, urls in config.bootstrap_cluster.items()
    ]
    founders.sort(key=lambda member: member.id)
    cluster_id = _stable_id(*(f"{member.id:x}" for member in founders))
    own = next(member for member in founders if member.name == config.name)
    return LogMetadata(Identity(cluster_id, own.id, config.name), founders)


def _stable_id(*parts: str) -> int:
    """63 bits that follow from the parts alone; never 0."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1 or 1


def sit_down(config: Config, files: Files, seat: Seat) -> Opened:
    """Starts with an empty log; the leader fills it."""
    identity = Identity(seat.cluster_id, seat.member_id, config.name)
    wal = files.create_log(LogMetadata(identity, peers=seat.peers))
    return Opened(identity, files, wal, MemoryStorage(), seat.peers)


@contextmanager
def _released_on_error(files: Files) -> Iterator[None]:
    """Another attempt, in this process or another, may use the files."""
    try:
        yield
    except BaseException:
        _release(files)
        raise


def _release(files: Files) -> None:
    files.backend.close()
    files.close()


async def _restart(config: Config, files: Files) -> Opened | NoSeat:
    wal, recovered, metadata = files.open_log()
    if config.force_new_cluster:
        _log.warning("%s: forced to be the only member of its cluster", metadata.identity.name)
        stand_alone(config, files.backend, recovered, metadata)
    cluster = Cluster(files.backend)
    cluster.restore()
    # 3.x: where a member is reached is told by an update of it, not by its flags.
    if config.era is Era.LEGACY:
        await _return(config, metadata.identity, cluster)
        identity = metadata.identity
        if config.peers and not await still_has_seat(
            config, identity.cluster_id, identity.member_id
        ):
            _log.warning("%s: %s", config.name, MembershipFault.REMOVED.value)
            wal.close()
            _release(files)
            return _no_seat(config.peers, config)
    return _open(files, wal, recovered, metadata)


async def _return(config: Config, identity: Identity, cluster: Cluster) -> None:
    """Tells whom the data knows, and tells them of a new address.

    Raises:
        UnavailableError: the address is another's.
    """
    others = [member for member in cluster if member.id != identity.member_id]
    urls = ",".join(member.peer_urls[0] for member in others)
    _log.info("Peer URLs in log:  / %s (%s)", identity.name, urls)
    for member in others:
        _log.info("%s: peer added: '%s'", identity.name, member.name)
    own_urls = config.advertised_peer_urls
    for member in others:
        # Under its own name it is this machine's seat of earlier days.
        if own_urls[0] in member.peer_urls and member.name != identity.name:
            raise UnavailableError(
                f"{config.name} is not allowed to join the cluster with existing URL {own_urls[0]}:"
                f" {member.name} is reached there. Give this machine another -peer-addr"
            )
    own = cluster.members.get(identity.member_id)
    if own is not None and others and own.peer_urls != own_urls:
        # The others still call at the old address, so we could never hear of a leader.
        addresses = [member.peer_urls[0].partition("//")[2] for member in others]
        await join_once(config, addresses, identity.member_id)


def _open(files: Files, wal: Wal, recovered: Recovered, metadata: LogMetadata) -> Opened:
    is_blank = not (recovered.entries or recovered.snapshot.index or files.backend.applied[0])
    if is_blank and metadata.founders is not None:
        recovered.hard_state, recovered.entries = _first_entries(metadata, metadata.founders)
        wal.append(recovered.hard_state, recovered.entries)
        wal.sync_now()
    storage = load_log(files, wal, recovered)
    return Opened(metadata.identity, files, wal, storage, metadata.peers)


def _first_entries(metadata: LogMetadata, founders: list[Member]) -> tuple[HardState, list[Entry]]:
    birth = (metadata.identity.cluster_id, metadata.is_legacy)
    entries = []
    for index, member in enumerate(founders, start=1):
        context = encode_membership_change(MembershipChange(id=0, add=member, birth=birth))
        change = ConfChange((ConfChangeSingle(ConfChangeType.ADD_VOTER, member.id),), context)
        data = encode_conf_change(change)
        entries.append(Entry(FIRST_TERM, index, EntryType.CONF_CHANGE, data))
    return HardState(term=FIRST_TERM, commit=len(entries)), entries


def load_log(files: Files, wal: Wal, recovered: Recovered) -> MemoryStorage:
    """Raft's log in memory, from the files.

    The state may be where the log is not only after it took a snapshot whose marker was not written
    yet: beyond its end, or over entries of earlier terms that were never committed. Then the marker
    is written now, and the log begins anew.

    Raises:
        StorageError: log and backend do not belong together.
    """
    applied_index, applied_term = files.backend.applied
    cluster = Cluster(files.backend)
    cluster.restore()
    applied = SnapshotMeta(applied_index, applied_term, cluster.conf_state)
    entries = recovered.entries
    base = applied
    if _was_installing(recovered, applied):
        _log.warning(
            "the state is at entry %d of term %d, where the log, which ends at %d, has none:"
            " a snapshot was being installed",
            applied_index,
            applied_term,
            recovered.last_index,
        )
        entries = []
        wal.append_snapshot(applied)
        wal.sync_now()
    elif entries and entries[0].index <= applied_index:
        base = SnapshotMeta(entries[0].index, entries[0].term)
        if entries[applied_index - base.index].term != applied_term:
            raise _mismatch(files, f"both hold entry {applied_index}, with different terms")
        entries = entries[1:]
    elif entries and entries[0].index > applied_index + 1:
        missing = f"entries {applied_index + 1} to {entries[0].index - 1} are missing"
        raise _mismatch(files, missing)
    storage = MemoryStorage()
    storage.apply_snapshot(base)
    storage.append(entries)
    storage.set_hard_state(recovered.hard_state)
    storage.set_snapshot_meta(applied)
    return storage


def _was_installing(recovered: Recovered, applied: SnapshotMeta) -> bool:
    """Whether the state came from a snapshot that the log does not know of."""
    if recovered.last_index < applied.index:
        return True
    entries = recovered.entries
    if not entries or not entries[0].index <= applied.index:
        return False
    # What a later leader's snapshot took the place of was never committed, and its term is lower.
    is_older = entries[applied.index - entries[0].index].term < applied.term
    return is_older and recovered.hard_state.commit < applied.index


def _mismatch(files: Files, reason: str) -> StorageError:
    return StorageError(
        f"the log does not go with the state beside it: {reason}. Restore the whole directory from"
        " one backup, or remove it and let this member join anew",
        files.log_path,
    )

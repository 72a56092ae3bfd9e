"""A cluster of one from the data of one member: after a disaster, and as a backup.

    stand_alone     `--force-new-cluster`: the member keeps its ids, all others lose their seats
    back_up         a copy under new ids, so that it can never be taken for a member of the old one

Rules:
    Everything in the log is applied, also what was not known to be committed: the log of a sole
    member is committed as far as it goes, and of several, whoever led next would have kept it. So
    no acknowledged write that this member has seen is lost; one never answered may be there.
    The new membership becomes durable with the last entry's effect, in one transaction: a crash
    leaves the old cluster or the new one.
    A copy is made beside, and gets its name when it is whole. Its source is not changed.

The caller: nobody else of the old cluster may run on. Once is enough: a member that starts with
`--force-new-cluster` again loses who joined it meanwhile.
Source: reference contract, v2-api section 13.2; v3-operations sections 4 and 8.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from kvorum.apply.applier import Applier
from kvorum.backend.base import Backend
from kvorum.backend.lmdbenv import LmdbBackend
from kvorum.clock import Clock
from kvorum.config import Config
from kvorum.errors import StorageError
from kvorum.membership import Cluster, Member
from kvorum.raft.types import ConfState, HardState, SnapshotMeta
from kvorum.server.files import Identity, LogMetadata, decode_metadata
from kvorum.wal.datadir import DataDir
from kvorum.wal.repair import verify
from kvorum.wal.replay import Recovered
from kvorum.wal.segment import sync_directory
from kvorum.wal.wal import Wal

PARTIAL_SUFFIX = ".partial"
"""What a copy is called until it is whole."""


def stand_alone(
    config: Config, backend: Backend, recovered: Recovered, metadata: LogMetadata
) -> None:
    """Makes the member that was opened the only one of its cluster, at the addresses it now has.

    The log stays as it is; `metadata` forgets whom a joiner was told of.
    """
    cluster = _catch_up(backend, recovered).cluster
    identity = metadata.identity
    member = _own_member(cluster, identity)
    member = msgspec.structs.replace(
        member, peer_urls=config.advertised_peer_urls, client_urls=config.advertised_client_urls
    )
    for other in [other for other in cluster.members if other != member.id]:
        cluster.remove(other)
    is_legacy = cluster.is_legacy or metadata.is_legacy
    _seat_alone(cluster, member, identity.cluster_id, is_legacy=is_legacy)
    backend.set_applied(*backend.applied)
    backend.flush()
    metadata.peers = {}


def back_up(data_dir: Path, backup_dir: Path, clock: Clock, wal_dir: Path | None = None) -> int:
    """Copies the data of a member that does not run; returns the revision the copy stands at.

    A server that is started on the copy is a cluster of one, with ids of its own.

    Args:
        data_dir: where the member's data is.
        backup_dir: where the copy goes; it must be empty, or not there.
        clock: draws the new ids.
        wal_dir: where the member's log is, if not with its data; the copy has both in one place.

    Raises:
        StorageError: there is no such data, it is in use or damaged, or the copy cannot be made.
    """
    if not DataDir.has_data(data_dir, wal_dir):
        raise StorageError("no member of kvorum has its data here", data_dir)
    if backup_dir.exists() and (not backup_dir.is_dir() or any(backup_dir.iterdir())):
        raise StorageError(
            "a backup goes into an empty directory, or one that is not there", backup_dir
        )
    partial = backup_dir.with_name(backup_dir.name + PARTIAL_SUFFIX)
    if partial.exists():
        shutil.rmtree(partial)
    source = DataDir.open(data_dir, wal_dir)
    try:
        report = verify(source.wal_dir)
        if report.damage is not None:
            raise report.damage
        assert report.replay is not None, "a log without damage has a beginning"
        target = DataDir.open(partial)
        try:
            shutil.copyfile(source.backend_path, target.backend_path)
            revision = _renew(target, report.replay.recovered(), clock)
        finally:
            target.release()
    except OSError as error:
        raise StorageError(f"the copy cannot be made: {error.strerror}", partial) from error
    finally:
        source.release()
    partial.rename(backup_dir)
    sync_directory(backup_dir.parent)
    return revision


def _renew(target: DataDir, recovered: Recovered, clock: Clock) -> int:
    """Gives a copy of the state the log's entries, new ids and a log of its own."""
    old = decode_metadata(recovered.metadata, target.wal_dir)
    backend = LmdbBackend.open(target.backend_path, _ignore)
    try:
        state = _catch_up(backend, recovered)
        cluster = state.cluster
        member = _own_member(cluster, old.identity)
        member = msgspec.structs.replace(member, id=_draw_id(clock))
        identity = Identity(_draw_id(clock), member.id, old.identity.name)
        for other in list(cluster.members):
            cluster.remove(other)
        cluster.attributes.removed = []
        _seat_alone(cluster, member, identity.cluster_id, is_legacy=cluster.is_legacy)
        index, term = backend.applied
        backend.set_applied(index, term)
        backend.flush()
        metadata = LogMetadata(identity, is_legacy=cluster.is_legacy)
        wal = Wal.create(target.wal_dir, msgspec.msgpack.encode(metadata), _ignore, _raise)
        wal.append_snapshot(SnapshotMeta(index, term, cluster.conf_state))
        wal.append(HardState(term=term, commit=index), [])
        wal.close()
        return state.store.revision
    finally:
        backend.close()


def _catch_up(backend: Backend, recovered: Recovered) -> Applier:
    """The state with everything applied that the log holds beyond it."""
    applier = Applier(backend)
    applier.restore()
    for entry in recovered.entries:
        if entry.index > applier.applied_index:
            applier.apply(entry)
    return applier


def _own_member(cluster: Cluster, identity: Identity) -> Member:
    """Whose data this is; without addresses where the log has not told them yet."""
    if cluster.was_removed(identity.member_id):
        raise StorageError(
            f"{identity.name} was removed from its cluster, so its data is old: take that of"
            " another member",
            Path(identity.name),
        )
    return cluster.members.get(identity.member_id) or Member(identity.member_id, identity.name, ())


def _seat_alone(cluster: Cluster, member: Member, cluster_id: int, *, is_legacy: bool) -> None:
    cluster.set_attributes(
        msgspec.structs.replace(cluster.attributes, cluster_id=cluster_id, is_legacy=is_legacy)
    )
    cluster.put(msgspec.structs.replace(member, is_joining=False))
    cluster.set_conf_state(ConfState(voters=(member.id,)))


def _draw_id(clock: Clock) -> int:
    return clock.random_below((1 << 63) - 1) + 1


def _ignore(callback: Callable[[], object]) -> None:
    """Nothing is posted to anybody: every write here is waited for."""
    del callback


def _raise(error: BaseException) -> None:
    raise error

"""What a log entry carries: a batch of commands, or a change of membership with its reasons.

An entry's data is a msgpack `Batch`, decoded once where it is applied. Every command is an array
with an integer tag in front: tags 1 to 31 belong to `v2.commands`, 32, 33 and 35 to this module, 34
and 36 to 63 to `v3.commands`.
Fields are only ever added at the end, with a default: old logs must stay readable.
"""

from typing import TypeAlias

import msgspec
from msgspec import Struct

from kvorum.decoding import FAULTS
from kvorum.errors import RemoteProtocolError
from kvorum.membership import ClusterConfig, Member
from kvorum.raft import confchange
from kvorum.raft.types import ConfChange, Index, MemberId
from kvorum.v2 import commands as v2
from kvorum.v3 import commands as v3


class UpdateMember(Struct, array_like=True, tag=32):
    """A member's name or addresses changed, or become known.

    Attributes:
        keeps_peer_urls: the peer URLs stay what they are: the member only tells its name and where
            it serves clients, and may not know yet what others were told of it.
    """

    member: Member
    keeps_peer_urls: bool = False


class SetClusterConfig(Struct, array_like=True, tag=33):
    """Writes `/_etcd/config` of a 0.4-born cluster; takes a revision."""

    config: ClusterConfig


class SetPeerUrls(Struct, array_like=True, tag=35):
    """A member is reached at these URLs from now on."""

    member_id: MemberId
    peer_urls: tuple[str, ...]


Command: TypeAlias = v2.Command | v3.Command | UpdateMember | SetClusterConfig | SetPeerUrls


class Batch(Struct, array_like=True):
    """All commands that one turn of the proposer's loop brought.

    Attributes:
        id: names the batch to its proposer, who waits for the results; drawn at random per
            process start and counted up, so that no member takes another's batch for its own.
        horizon: the last log index at which it may be applied.
    """

    id: int
    horizon: Index
    commands: list[Command]


class MembershipChange(Struct, array_like=True):
    """The context of a `ConfChange` entry: who joins, who leaves, and for whom it is done.

    Attributes:
        id: names the change to its proposer; 0 for the entries a cluster is born with.
        add: the member that takes a seat, None when one only leaves.
        remove: the id that goes for good, 0 when none.
        birth: cluster id and era, in the entries a cluster is born with.
        promote: the learner that gets a vote, 0 when none.
    """

    id: int
    add: Member | None = None
    remove: MemberId = 0
    birth: tuple[int, bool] | None = None
    promote: MemberId = 0


_encoder = msgspec.msgpack.Encoder()
_decode_batch = msgspec.msgpack.Decoder(Batch).decode
_decode_membership_change = msgspec.msgpack.Decoder(MembershipChange).decode


def encode_batch(batch: Batch) -> bytes:
    """The data of a NORMAL entry."""
    return _encoder.encode(batch)


def decode_batch(data: bytes) -> Batch:
    """Inverse of `encode_batch`. Raises RemoteProtocolError for anything else."""
    try:
        return _decode_batch(data)
    except FAULTS as error:
        raise RemoteProtocolError(f"commands that cannot be read: {error}") from error


def encode_membership_change(change: MembershipChange) -> bytes:
    """The `context` of a `ConfChange`."""
    return _encoder.encode(change)


def decode_conf_change(data: bytes) -> tuple[ConfChange, MembershipChange]:
    """The change an entry of type CONF_CHANGE holds, and its context.

    Raises:
        ConfChangeError: it holds none.
        RemoteProtocolError: the context is none.
    """
    conf_change = confchange.decode_conf_change(data)
    if not conf_change.context:
        return conf_change, MembershipChange(id=0)
    try:
        return conf_change, _decode_membership_change(conf_change.context)
    except FAULTS as error:
        raise RemoteProtocolError(f"a change that cannot be read: {error}") from error

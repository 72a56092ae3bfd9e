"""Who is in the cluster: replicated state, changed only by applied entries.

Raft's `ConfState` says who votes; this says who they are: names and addresses, and which ids are
gone for good. Both are stored in the backend beside the applied index, so they move together.

Rules: a removed id never comes back (a wiped member returns under a new id, because it has
forgotten its votes); names and peer URLs are unique among members. A change is checked where it
is applied, too (`find_fault`): two that were both right when proposed may not be so in turn.
Source: reference contract, v2-api sections 1, 8 and 9; Raft thesis, chapter 4.
"""

from collections.abc import Iterator
from enum import Enum

import msgspec
from msgspec import Struct

from kvorum.backend.base import Backend, Table
from kvorum.raft.types import ConfState, MemberId

_ATTRIBUTES_KEY = b"cluster"
_CONF_STATE_KEY = b"conf_state"


class Member(Struct, array_like=True):
    """One seat in the cluster.

    Attributes:
        id: 64 bits, never reused.
        name: unique among members; empty until a statically bootstrapped member has told it.
        peer_urls: where the other members reach it.
        client_urls: what it advertises to clients.
        created_index: v2 index of `/_etcd/machines/<name>`; 0 unless the cluster is 0.4-born.
        modified_index: likewise.
        is_joining: a learner that gets its vote by itself, once it has caught up. A learner that is
            not joining waits for an operator.
    """

    id: MemberId
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...] = ()
    created_index: int = 0
    modified_index: int = 0
    is_joining: bool = False


class ClusterConfig(Struct, array_like=True, frozen=True):
    """What `/_etcd/config` shows of a 0.4-born cluster; times in seconds.

    Attributes:
        active_size: members there may be; further machines are standbys.
        remove_delay: a member silent for longer loses its seat.
        sync_interval: how often a standby looks whether a seat is free.
    """

    active_size: int = 9
    remove_delay: float = 1800.0
    sync_interval: float = 5.0


ACTIVE_SIZE_MIN = 3
REMOVE_DELAY_MIN = 2.0
SYNC_INTERVAL_MIN = 1.0


def bounded_config(active_size: float, remove_delay: float, sync_interval: float) -> ClusterConfig:
    """The config with these numbers; one below its minimum is taken for it, as in 0.4."""
    return ClusterConfig(
        max(int(active_size), ACTIVE_SIZE_MIN),
        max(remove_delay, REMOVE_DELAY_MIN),
        max(sync_interval, SYNC_INTERVAL_MIN),
    )


class Attributes(Struct, array_like=True):
    """What holds for the cluster as a whole.

    Attributes:
        is_legacy: born in the 0.4 era: joins and the config each take a revision.
        config_index: v2 index of `/_etcd/config`; 0 when there is none.
        removed: ids that were members once, oldest first.
    """

    cluster_id: int = 0
    is_legacy: bool = False
    config: ClusterConfig = ClusterConfig()
    config_index: int = 0
    removed: list[MemberId] = []


class MembershipFault(Enum):
    """Why a change of membership is refused; the text is etcd's where it has one."""

    NOT_FOUND = "member not found"
    REMOVED = "the member has been permanently removed from the cluster"
    PEER_URL_EXISTS = "Peer URLs already exists"
    NAME_EXISTS = "a member of this name exists"
    NOT_LEARNER = "can only promote a learner member"
    TOO_FEW_STARTED = "re-configuration failed due to not enough started members"
    UNHEALTHY = "unhealthy cluster"


_decode_member = msgspec.msgpack.Decoder(Member).decode
_decode_attributes = msgspec.msgpack.Decoder(Attributes).decode
_decode_conf_state = msgspec.msgpack.Decoder(ConfState).decode
_encode = msgspec.msgpack.Encoder().encode


def _member_key(member_id: MemberId) -> bytes:
    return member_id.to_bytes(8, "big")


class Cluster:
    """The members and the cluster's attributes, kept in memory and in the backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.members: dict[MemberId, Member] = {}
        self.attributes = Attributes()
        self.conf_state = ConfState()
        self.generation = 0
        """Grows with every change of a member, so that others can tell cheaply."""

    def restore(self) -> None:
        """Reads everything anew from the backend."""
        self.generation += 1
        pairs = self._backend.scan(Table.MEMBERS, b"")
        self.members = {
            member.id: member for member in (_decode_member(value) for _, value in pairs)
        }
        stored = self._backend.get(Table.META, _ATTRIBUTES_KEY)
        self.attributes = Attributes() if stored is None else _decode_attributes(stored)
        stored = self._backend.get(Table.META, _CONF_STATE_KEY)
        self.conf_state = ConfState() if stored is None else _decode_conf_state(stored)

    @property
    def cluster_id(self) -> int:
        """64 bits, drawn or computed when the cluster was born."""
        return self.attributes.cluster_id

    @property
    def is_legacy(self) -> bool:
        """Whether the cluster was born in the 0.4 era."""
        return self.attributes.is_legacy

    def __iter__(self) -> Iterator[Member]:
        """Members by name, then id."""
        return iter(sorted(self.members.values(), key=lambda member: (member.name, member.id)))

    def find_by_name(self, name: str) -> Member | None:
        """The member with this name."""
        return next((member for member in self.members.values() if member.name == name), None)

    def find_by_peer_url(self, url: str) -> Member | None:
        """The member that answers its peers at this URL."""
        return next((member for member in self.members.values() if url in member.peer_urls), None)

    def was_removed(self, member_id: MemberId) -> bool:
        """Whether this id was a member once and is no longer."""
        return member_id in self.attributes.removed

    def find_fault(self, add: Member | None, remove: MemberId) -> MembershipFault | None:
        """Why `remove` (0 for nobody) cannot go and `add` take a seat in one step; None if it can.

        It follows from replicated state alone, so it is the same on every member.
        """
        if remove and remove not in self.members:
            return self.absence_of(remove)
        if add is None:
            return None
        if add.id in self.members or self.was_removed(add.id):
            return MembershipFault.REMOVED
        others = [member for member in self.members.values() if member.id != remove]
        if any(add.name and member.name == add.name for member in others):
            return MembershipFault.NAME_EXISTS
        return self.find_url_fault(add.peer_urls, remove)

    def find_url_fault(
        self, peer_urls: tuple[str, ...], holder_id: MemberId
    ) -> MembershipFault | None:
        """Whether somebody but `holder_id` holds one of these URLs."""
        holders = {holder.id for holder in map(self.find_by_peer_url, peer_urls) if holder}
        return MembershipFault.PEER_URL_EXISTS if holders - {holder_id} else None

    def find_promotion_fault(self, member_id: MemberId) -> MembershipFault | None:
        """Why this member cannot be given a vote."""
        if member_id not in self.members:
            return self.absence_of(member_id)
        is_learner = member_id in self.conf_state.learners
        return None if is_learner else MembershipFault.NOT_LEARNER

    def absence_of(self, member_id: MemberId) -> MembershipFault:
        """Why there is no such member."""
        was_member = self.was_removed(member_id)
        return MembershipFault.REMOVED if was_member else MembershipFault.NOT_FOUND

    def set_attributes(self, attributes: Attributes) -> None:
        """Replaces the cluster's attributes."""
        self.attributes = attributes
        self._backend.put(Table.META, _ATTRIBUTES_KEY, _encode(attributes))

    def set_conf_state(self, conf_state: ConfState) -> None:
        """Notes who votes after a configuration change."""
        self.conf_state = conf_state
        self._backend.put(Table.META, _CONF_STATE_KEY, _encode(conf_state))

    def put(self, member: Member) -> None:
        """Adds a member, or replaces what is known of it."""
        assert not self.was_removed(member.id), "a removed id never comes back"
        self.generation += 1
        self.members[member.id] = member
        self._backend.put(Table.MEMBERS, _member_key(member.id), _encode(member))

    def remove(self, member_id: MemberId) -> Member | None:
        """Removes a member for good. Returns what it was, or None when it was none."""
        member = self.members.pop(member_id, None)
        if member is None:
            return None
        self.generation += 1
        self._backend.delete(Table.MEMBERS, _member_key(member_id))
        self.attributes.removed.append(member_id)
        self.set_attributes(self.attributes)
        return member

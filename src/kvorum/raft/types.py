"""What consensus speaks of: entries, durable state, membership, messages.

Everything here is plain data. `Term`, `Index` and `MemberId` are aliases for the reader; 0 means
"none" for each of them. Structs travel between members as arrays, so fields are only ever added at
the end, with a default.
Source: Raft thesis, figure 3.1 and chapters 4 and 6.
"""

from enum import IntEnum
from typing import TypeAlias

from msgspec import Struct

Term: TypeAlias = int
Index: TypeAlias = int
MemberId: TypeAlias = int

NO_MEMBER: MemberId = 0


class EntryType(IntEnum):
    """What an entry's data is."""

    NORMAL = 0
    """The caller's bytes; empty for the entry a new leader begins its term with."""
    CONF_CHANGE = 1
    """An encoded `ConfChange`."""


class Entry(Struct, array_like=True, gc=False):
    """One position of the replicated log."""

    term: Term
    index: Index
    type: EntryType = EntryType.NORMAL
    data: bytes = b""


class HardState(Struct, array_like=True, gc=False, eq=True):
    """What a member must not forget: its term, its vote in it, and a commit index it knew."""

    term: Term = 0
    vote: MemberId = NO_MEMBER
    commit: Index = 0


class ConfState(Struct, array_like=True, frozen=True):
    """Who takes part, sorted by id. In a joint configuration `outgoing` holds the old voters.

    `learners_next` are voters of `outgoing` that become learners when the joint phase ends.
    """

    voters: tuple[MemberId, ...] = ()
    learners: tuple[MemberId, ...] = ()
    outgoing: tuple[MemberId, ...] = ()
    learners_next: tuple[MemberId, ...] = ()
    auto_leave: bool = False


class SnapshotMeta(Struct, array_like=True, eq=True):
    """The log position a snapshot stands for. Its data never passes through raft."""

    index: Index = 0
    term: Term = 0
    conf_state: ConfState = ConfState()


class ConfChangeType(IntEnum):
    """One step of a configuration change."""

    ADD_VOTER = 0
    REMOVE = 1
    ADD_LEARNER = 2


class ConfChangeSingle(Struct, array_like=True, gc=False):
    """One member's step in a configuration change."""

    type: ConfChangeType
    member_id: MemberId


class ConfChange(Struct, array_like=True):
    """A proposed change of membership; no changes at all means "leave the joint configuration".

    One step is a simple change; several go through joint consensus and leave it by themselves.
    `context` is the caller's (who the member is); raft only carries it.
    """

    changes: tuple[ConfChangeSingle, ...] = ()
    context: bytes = b""


class MessageType(IntEnum):
    """Kinds of message between members."""

    APPEND = 1
    APPEND_RESPONSE = 2
    HEARTBEAT = 3
    HEARTBEAT_RESPONSE = 4
    SNAPSHOT = 5
    VOTE = 6
    VOTE_RESPONSE = 7
    PRE_VOTE = 8
    PRE_VOTE_RESPONSE = 9
    PROPOSE = 10
    """A follower hands entries to its leader."""
    READ_INDEX = 11
    """A follower asks its leader for a ReadIndex; `context` names the round."""
    READ_INDEX_RESPONSE = 12
    TRANSFER_LEADER = 13
    """Leadership is to move to `source`; a follower passes it on to its leader."""
    TIMEOUT_NOW = 14
    """Campaign at once: the leader hands over."""


class Message(Struct, array_like=True, omit_defaults=True):
    """One message. Which fields mean something depends on `type`.

    Attributes:
        index: APPEND: the index before the first entry; responses: the index acknowledged.
        log_term: the term of the entry at `index`.
        commit: the sender's commit index, as far as the receiver may use it; in responses, the
            commit index that the follower knows.
        reject: a response that refuses.
        reject_hint: APPEND_RESPONSE: where the follower's log may match (thesis, section 3.5).
        context: the ReadIndex round a heartbeat or its response belongs to, or a campaign's kind.
        snapshot: SNAPSHOT: what the data sent along stands for.
    """

    type: MessageType
    target: MemberId
    source: MemberId
    term: Term = 0
    index: Index = 0
    log_term: Term = 0
    commit: Index = 0
    entries: list[Entry] = []
    reject: bool = False
    reject_hint: Index = 0
    context: int = 0
    snapshot: SnapshotMeta | None = None


class Role(IntEnum):
    """What a member is doing in its term."""

    FOLLOWER = 0
    PRE_CANDIDATE = 1
    CANDIDATE = 2
    LEADER = 3

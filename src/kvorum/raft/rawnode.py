"""The only door to raft: messages, ticks and proposals in, `Ready` out.

RawNode does no I/O and knows no time but ticks. The caller gives it what comes in, takes a Ready
when there is one, does the work, and reports. For each Ready, in the order they were made:

1. `snapshot` is set: the received image becomes the state, and `storage.apply_snapshot` is called,
   before anything that follows.
2. `entries` are appended to the storage, and with `hard_state` to the log on disk. They may replace
   entries already there. The storage must have them before `ready` is called again; the disk may
   take its time, and several Readys may be on their way to it.
3. `messages` may leave at once, beside the write.
4. `committed` entries are applied in order and reported with `applied_to`; a CONF_CHANGE is given
   to `apply_conf_change` when its turn comes. They are durable here. Apply them, and install a
   snapshot, before the next message is stepped: a configuration belongs to its place in the log.
5. When this Ready's snapshot, hard state and entries *and those of all Readys before it* are
   durable: `persisted(number)`, and then `messages_after_persist` may leave. A crash before that
   may lose them, or any suffix of what was being written. A Ready without snapshot, hard state and
   entries has nothing to write but still waits for the writes before it.
6. `read_states`: reads under that context may be served when `index` is applied.

What is never true: a vote, a vote request or an acknowledgement leaves before what it promises is
durable; an entry is applied before it is in this member's own log on disk.

A hard state is handed out when term or vote changed, with entries, and when a configuration change
is to be applied: any other commit index alone is not worth a disk write. It may therefore lag
behind `applied` after a restart, which is harmless.

Source: Raft thesis, section 10.2.1; the form of Ready is etcd's.
"""

from collections.abc import Mapping

from msgspec import Struct

from kvorum.raft import candidate, follower, leader
from kvorum.raft.confchange import changed, encode_conf_change
from kvorum.raft.core import Raft, RaftConfig, ReadState
from kvorum.raft.leader import ProposalDropped
from kvorum.raft.progress import ProgressState
from kvorum.raft.readindex import Read
from kvorum.raft.storage import Storage
from kvorum.raft.types import (
    NO_MEMBER,
    ConfChange,
    ConfState,
    Entry,
    EntryType,
    HardState,
    Index,
    MemberId,
    Message,
    MessageType,
    Role,
    SnapshotMeta,
    Term,
)
from kvorum.structs import Untracked

__all__ = [
    "PeerStatus",
    "ProposalDropped",
    "RaftConfig",
    "RawNode",
    "ReadState",
    "Ready",
    "SoftState",
    "Status",
]

APPLY_BYTES_MAX = 8 << 20
"""Data of the committed entries in one Ready: a long log is replayed in pieces."""

_RULES = {
    Role.FOLLOWER: follower.RULES,
    Role.PRE_CANDIDATE: candidate.PRE_CANDIDATE,
    Role.CANDIDATE: candidate.CANDIDATE,
    Role.LEADER: leader.RULES,
}


class SoftState(Untracked):
    """Who leads, and what this member is doing; need not be durable."""

    leader: MemberId
    role: Role


class Ready(Struct):
    """Work for the caller; see the rules on top.

    Attributes:
        number: 1, 2, 3, ...
        soft_state: if changed.
        hard_state: if it is to be written.
        snapshot: the log begins anew after it.
        entries: to be written, after `snapshot`.
        committed: to be applied.
        messages: may leave at once.
        messages_after_persist: may leave once this Ready and all before it are durable.
        read_states: ReadIndex rounds that were answered.
    """

    number: int
    soft_state: SoftState | None
    hard_state: HardState | None
    snapshot: SnapshotMeta | None
    entries: list[Entry]
    committed: list[Entry]
    messages: list[Message]
    messages_after_persist: list[Message]
    read_states: list[ReadState]


class PeerStatus(Untracked):
    """What a leader knows of a member's log."""

    match: Index
    next: Index
    state: ProgressState
    is_recently_active: bool


class Status(Struct):
    """A member at a glance; `progress` is empty unless it leads."""

    member_id: MemberId
    term: Term
    vote: MemberId
    commit: Index
    applied: Index
    role: Role
    leader: MemberId
    conf_state: ConfState
    progress: Mapping[MemberId, PeerStatus]


class RawNode:
    """One member of a raft group."""

    def __init__(self, config: RaftConfig, storage: Storage, applied: Index) -> None:
        self._raft = Raft(config, storage, applied, _RULES)
        self._number = 0
        self._soft_state = self._current_soft_state()
        self._durable_state = (self._raft.term, self._raft.vote)
        """Term and vote last handed out."""
        self._own_vote: tuple[int, Term] | None = None
        """The Ready that holds the latest vote for this member itself, and the vote's term."""

    # In

    def tick(self) -> None:
        """Time went on by one tick."""
        self._raft.tick()

    def step(self, message: Message) -> None:
        """Takes a message of another member; it is raft's from now on, and may be passed on."""
        self._raft.step(message)

    def campaign(self) -> None:
        """Campaigns now, if this member may."""
        candidate.campaign(self._raft)

    def propose(self, data: bytes) -> None:
        """Proposes an entry; on a follower it goes to the leader, and may be lost on the way.

        Raises ProposalDropped if it is certain that it was not taken.
        """
        self._propose(EntryType.NORMAL, data)

    def propose_conf_change(self, change: ConfChange) -> None:
        """Proposes a change of the configuration; one at a time.

        Raises ProposalDropped if it was not taken, or cannot be made.
        """
        self._propose(EntryType.CONF_CHANGE, encode_conf_change(change))

    def _propose(self, entry_type: EntryType, data: bytes) -> None:
        raft = self._raft
        if raft.role is Role.LEADER:
            leader.propose(raft, entry_type, data)
        elif raft.leader == NO_MEMBER:
            raise ProposalDropped("no leader is known")
        else:
            message = Message(MessageType.PROPOSE, raft.leader, raft.id)
            message.entries = [Entry(0, 0, entry_type, data)]
            raft.messages.append(message)

    def read_index(self, context: int) -> bool:
        """Asks for a ReadState under `context`, which may be lost; False if it cannot be asked."""
        raft = self._raft
        if raft.role is Role.LEADER:
            return leader.read_index(raft, Read(raft.id, context))
        if raft.leader == NO_MEMBER:
            return False
        message = Message(MessageType.READ_INDEX, raft.leader, raft.id)
        message.context = context
        raft.messages.append(message)
        return True

    def transfer_leadership(self, target: MemberId) -> None:
        """Asks the leader to hand over to `target`; it gives up after an election timeout."""
        self._raft.dispatch(Message(MessageType.TRANSFER_LEADER, self._raft.leader, target))

    # Out

    def has_ready(self) -> bool:
        """Whether `ready` would bring anything."""
        raft = self._raft
        if raft.role is Role.LEADER:
            leader.flush(raft)
        return bool(
            raft.messages
            or raft.messages_after_persist
            or raft.log.has_unwritten
            or raft.log.has_committed
            or raft.read_states
            or (raft.term, raft.vote) != self._durable_state
            or raft.leader != self._soft_state.leader
            or raft.role is not self._soft_state.role
        )

    def ready(self) -> Ready:
        """Everything that is to be done now. Each piece of work is handed out once."""
        raft = self._raft
        log = raft.log
        if raft.role is Role.LEADER:
            leader.flush(raft)
        self._number += 1
        snapshot, entries = log.take_unwritten()
        committed = self._take_committed()
        is_written = bool(entries or snapshot) or any(
            entry.type is EntryType.CONF_CHANGE for entry in committed
        )
        hard_state = self._take_hard_state(is_written=is_written)
        if hard_state or entries or snapshot:
            log.writing(self._number)
        ready = Ready(
            self._number,
            self._take_soft_state(),
            hard_state,
            snapshot,
            entries,
            committed,
            raft.messages,
            raft.messages_after_persist,
            raft.read_states,
        )
        raft.messages, raft.messages_after_persist, raft.read_states = [], [], []
        return ready

    def _current_soft_state(self) -> SoftState:
        return SoftState(self._raft.leader, self._raft.role)

    def _take_soft_state(self) -> SoftState | None:
        last = self._soft_state
        if self._raft.role is last.role and self._raft.leader == last.leader:
            return None
        self._soft_state = self._current_soft_state()
        return self._soft_state

    def _take_hard_state(self, *, is_written: bool) -> HardState | None:
        raft = self._raft
        current = (raft.term, raft.vote)
        if current == self._durable_state and not is_written:
            return None
        if current != self._durable_state and raft.role is Role.CANDIDATE:
            self._own_vote = (self._number, raft.term)
        self._durable_state = current
        # A torn write may keep this and lose the entries: never beyond what is durable already.
        return HardState(raft.term, raft.vote, min(raft.log.committed, raft.log.durable))

    def _take_committed(self) -> list[Entry]:
        raft = self._raft
        committed = raft.log.take_committed(APPLY_BYTES_MAX)
        if committed and raft.uncommitted_bytes:
            size = sum(len(entry.data) for entry in committed)
            raft.uncommitted_bytes = max(0, raft.uncommitted_bytes - size)
        return committed

    # Back

    def persisted(self, number: int) -> None:
        """All Readys up to `number` are durable: own votes and acknowledgements count."""
        assert number <= self._number, "no such Ready"
        raft = self._raft
        if raft.log.persisted(number) and raft.role is Role.LEADER:
            leader.own_log_durable(raft)
        if self._own_vote is not None and self._own_vote[0] <= number:
            _, term = self._own_vote
            self._own_vote = None
            if raft.role is Role.CANDIDATE and raft.term == term:
                candidate.count_vote(raft, raft.id, is_granted=True)

    def applied_to(self, index: Index) -> None:
        """Entries up to `index` are applied."""
        raft = self._raft
        raft.log.applied_to(index)
        if raft.role is Role.LEADER:
            leader.applied(raft)

    def apply_conf_change(self, change: ConfChange) -> ConfState:
        """Puts an applied change in force; returns the configuration, which is to be stored.

        Raises ConfChangeError for a change that this configuration does not allow; a leader
        proposes no such change.
        """
        raft = self._raft
        raft.switch_to(changed(raft.tracker.conf_state, change))
        if raft.role is Role.LEADER:
            leader.configuration_changed(raft)
        return raft.tracker.conf_state

    def report_unreachable(self, member_id: MemberId) -> None:
        """Messages to a peer were lost."""
        if self._raft.role is Role.LEADER:
            leader.unreachable(self._raft, member_id)

    def report_snapshot(self, member_id: MemberId, ok: bool) -> None:  # noqa: FBT001
        """The transfer of a snapshot to a peer has ended; every SNAPSHOT sent needs this."""
        if self._raft.role is Role.LEADER:
            leader.snapshot_finished(self._raft, member_id, is_installed=ok)

    def status(self) -> Status:
        """This member as it is now."""
        raft = self._raft
        progress = {
            member_id: PeerStatus(p.match, p.next, p.state, p.is_recently_active)
            for member_id, p in raft.tracker.progress.items()
            if raft.role is Role.LEADER
        }
        return Status(
            member_id=raft.id,
            term=raft.term,
            vote=raft.vote,
            commit=raft.log.committed,
            applied=raft.log.applied,
            role=raft.role,
            leader=raft.leader,
            conf_state=raft.tracker.conf_state,
            progress=progress,
        )

"""Raft's state, and the rules that hold in every role.

`Raft` owns term, vote, role, the log, the tracker and the messages to be sent. What a role does
with a message stands in its own module, as a table from message type to a small function; `Raft`
is given the tables and looks into the one of the role it has.

Rules common to all roles:

    A message of a higher term makes a follower of that term. Except: a pre-vote changes nothing,
    and a (pre-)vote is not even looked at by a member that heard from a leader within
    `election_ticks`, unless the leader itself handed over.
    A message of a lower term is dropped; its sender is told of the term where it would wait for
    ever otherwise.
    A member votes once in a term, only for a log that is at least as complete as its own.
    Term 0 marks messages outside of terms: PROPOSE, READ_INDEX, TRANSFER_LEADER.

What promises something about this member's disk goes to `messages_after_persist`: votes, vote
requests and acknowledgements of entries. All else promises nothing and goes to `messages`.
Source: Raft thesis, sections 3.3, 3.4, 3.6.1, 4.2.3, 6.2, 9.6 and 10.2.1.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from msgspec import Struct

from kvorum.raft.log import RaftLog
from kvorum.raft.readindex import ReadIndex
from kvorum.raft.storage import Storage
from kvorum.raft.tracker import Tracker
from kvorum.raft.types import (
    NO_MEMBER,
    ConfState,
    Entry,
    EntryType,
    Index,
    MemberId,
    Message,
    MessageType,
    Role,
    Term,
)
from kvorum.structs import Untracked

CAMPAIGN_TRANSFER = 1
"""`context` of a VOTE whose sender was told by the leader to campaign."""

SCAN_BYTES = 1 << 20
"""Entries looked through at a time for configuration changes."""


class RaftConfig(Struct):
    """How a member takes part.

    Attributes:
        member_id: this member; not 0.
        random_below: a uniform integer in `[0, bound)`; spreads election timeouts.
        election_ticks: ticks without a leader before a follower campaigns; timeouts are drawn
            from `[election_ticks, 2 * election_ticks)`.
        heartbeat_ticks: ticks between heartbeats; well below `election_ticks`.
        batch_bytes_max: data of the entries in one APPEND; a single entry may be larger.
        inflight_max: APPENDs under way to one peer.
        uncommitted_bytes_max: data a leader takes beyond its commit index.
        pre_vote: ask whether a campaign could succeed before the term is raised.
        check_quorum: a leader that does not hear a quorum steps down.
    """

    member_id: MemberId
    random_below: Callable[[int], int]
    election_ticks: int = 20
    heartbeat_ticks: int = 5
    batch_bytes_max: int = 1 << 20
    inflight_max: int = 256
    uncommitted_bytes_max: int = 64 << 20
    pre_vote: bool = True
    check_quorum: bool = True

    def __post_init__(self) -> None:
        assert self.member_id != NO_MEMBER, "0 names no member"
        assert 0 < self.heartbeat_ticks < self.election_ticks, "heartbeats must outpace elections"


class ReadState(Untracked):
    """A ReadIndex round was answered.

    Reads registered under `context` may be served once this member has applied `index`.
    """

    context: int
    index: Index


Step: TypeAlias = Callable[["Raft", Message], None]


class RoleRules(Struct):
    """What a role does: with each type of message, and at a tick."""

    steps: Mapping[MessageType, Step]
    tick: Callable[["Raft"], None]


_LEADERS_OWN = frozenset({MessageType.APPEND, MessageType.HEARTBEAT, MessageType.SNAPSHOT})
"""Messages that only the leader of their term sends."""

_AFTER_PERSIST = frozenset(
    {MessageType.APPEND_RESPONSE, MessageType.VOTE, MessageType.VOTE_RESPONSE}
)

_VOTE_RESPONSE = {
    MessageType.VOTE: MessageType.VOTE_RESPONSE,
    MessageType.PRE_VOTE: MessageType.PRE_VOTE_RESPONSE,
}


class Raft:
    """One member's consensus state."""

    def __init__(
        self,
        config: RaftConfig,
        storage: Storage,
        applied: Index,
        rules: Mapping[Role, RoleRules],
    ) -> None:
        hard_state, conf_state = storage.initial_state()
        self.config = config
        self.id = config.member_id
        self.term: Term = hard_state.term
        self.vote: MemberId = hard_state.vote
        self.leader: MemberId = NO_MEMBER
        self.role = Role.FOLLOWER
        self.log = RaftLog(storage, hard_state.commit, applied)
        self.tracker = Tracker(self.id, config.inflight_max)
        self.tracker.switch(conf_state, self.log.last_index + 1)
        self.messages: list[Message] = []
        self.messages_after_persist: list[Message] = []
        self.read_states: list[ReadState] = []
        self.election_elapsed = 0
        self.election_timeout = 0
        self.heartbeat_elapsed = 0
        self.leaderless_ticks = 0
        """Ticks since a leader was heard, in whichever term."""
        self.reads = ReadIndex()
        self.term_start: Index = 0
        """LEADER: index of the first entry of its term. Committed there <=> committed in term."""
        self.is_append_due = False
        """LEADER: a peer may have something to be sent."""
        self.pending_conf_index: Index = 0
        """LEADER: no configuration change stands beyond this index; none is proposed before
        this is applied."""
        self.transferee: MemberId = NO_MEMBER
        """LEADER: who is to take over; no proposals meanwhile."""
        self.is_leaving = False
        """LEADER: it has no vote any more, and leads only until the others can go on."""
        self.uncommitted_bytes = 0
        """LEADER: data appended in this term and not handed out as committed."""
        self._all_rules = rules
        self._rules = rules[Role.FOLLOWER]
        self.become_follower(self.term, NO_MEMBER)

    # Transitions

    def become_follower(self, term: Term, leader: MemberId) -> None:
        """Follows `leader` in `term`, or waits for one."""
        self._reset(term)
        self._set_role(Role.FOLLOWER, leader)

    def become_pre_candidate(self) -> None:
        """Asks whether a campaign could succeed; term and vote stay."""
        assert self.role is not Role.LEADER, "a leader does not campaign"
        self.tracker.votes = {}
        self.election_elapsed = 0
        self.draw_election_timeout()
        self._set_role(Role.PRE_CANDIDATE, NO_MEMBER)

    def become_candidate(self) -> None:
        """Begins a new term and votes for itself in it."""
        assert self.role is not Role.LEADER, "a leader does not campaign"
        self._reset(self.term + 1)
        self.vote = self.id
        self._set_role(Role.CANDIDATE, NO_MEMBER)

    def become_leader(self) -> None:
        """Leads the term, which it begins with an empty entry (section 6.4)."""
        assert self.role is Role.CANDIDATE, "only a candidate wins"
        self._reset(self.term)
        self._set_role(Role.LEADER, self.id)
        # What earlier leaders left may hold a change: none is proposed before it is applied.
        self.pending_conf_index = self.log.last_index
        self.is_leaving = not self.is_promotable
        self.leaderless_ticks = 0
        self.term_start = self.log.last_index + 1
        self.append_entry(EntryType.NORMAL, b"")

    def _set_role(self, role: Role, leader: MemberId) -> None:
        self.role = role
        self.leader = leader
        self._rules = self._all_rules[role]

    def _reset(self, term: Term) -> None:
        assert term >= self.term, "terms never go back"
        if term != self.term:
            self.term = term
            self.vote = NO_MEMBER
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.draw_election_timeout()
        self.tracker.reset(self.log.last_index, self.log.durable)
        self.reads = ReadIndex()
        self.is_append_due = False
        self.pending_conf_index = 0
        self.transferee = NO_MEMBER
        self.is_leaving = False
        self.uncommitted_bytes = 0

    def draw_election_timeout(self) -> None:
        """Draws a timeout anew, so that members rarely campaign at once (section 3.4)."""
        ticks = self.config.election_ticks
        self.election_timeout = ticks + self.config.random_below(ticks)

    # Inputs

    def tick(self) -> None:
        """Time went on by one tick."""
        self._rules.tick(self)

    def step(self, message: Message) -> None:
        """Takes a message of another member."""
        term = message.term
        if term != self.term and term:
            if term < self.term:
                self._answer_lower_term(message)
                return
            if not self._follow_higher_term(message):
                return
        if message.type in _VOTE_RESPONSE:
            self._on_vote(message)
        else:
            self.dispatch(message)

    def dispatch(self, message: Message) -> None:
        """Lets the role act on a message; one it does not expect is dropped."""
        step = self._rules.steps.get(message.type)
        if step is not None:
            step(self, message)

    def _follow_higher_term(self, message: Message) -> bool:
        """Whether the message is to be looked at further."""
        if message.type in _VOTE_RESPONSE:
            if message.context != CAMPAIGN_TRANSFER and self._has_live_leader():
                return False
            if message.type is MessageType.PRE_VOTE:
                return True
        elif message.type is MessageType.PRE_VOTE_RESPONSE and not message.reject:
            return True  # it repeats the term we asked for
        leader = message.source if message.type in _LEADERS_OWN else NO_MEMBER
        self.become_follower(message.term, leader)
        return True

    def _has_live_leader(self) -> bool:
        return (
            self.config.check_quorum
            and self.leader != NO_MEMBER
            and self.election_elapsed < self.config.election_ticks
        )

    def _answer_lower_term(self, message: Message) -> None:
        """Tells a sender that is behind of our term, where it could not find out otherwise.

        A leader that we ignore since our term rose in a partition must step down; a pre-candidate
        that is behind must not campaign in its old term for ever.
        """
        kind = message.type
        if kind is MessageType.APPEND or kind is MessageType.HEARTBEAT:
            if self.config.check_quorum or self.config.pre_vote:
                self.send(Message(MessageType.APPEND_RESPONSE, message.source, self.id))
        elif kind is MessageType.PRE_VOTE:
            self.send(Message(MessageType.PRE_VOTE_RESPONSE, message.source, self.id, reject=True))

    def _on_vote(self, message: Message) -> None:
        is_pre_vote = message.type is MessageType.PRE_VOTE
        is_free = (
            self.vote == message.source
            or (self.vote == NO_MEMBER and self.leader == NO_MEMBER)
            or (is_pre_vote and message.term > self.term)
        )
        is_granted = is_free and self.log.is_up_to_date(message.index, message.log_term)
        if is_granted and not is_pre_vote:
            self.election_elapsed = 0
            self.vote = message.source
        response = Message(
            _VOTE_RESPONSE[message.type], message.source, self.id, reject=not is_granted
        )
        response.term = message.term if is_granted else self.term
        self.send(response)

    # Outputs

    def send(self, message: Message) -> None:
        """Queues a message, with this term unless it has another."""
        if not message.term:
            message.term = self.term
        if message.type in _AFTER_PERSIST:
            self.messages_after_persist.append(message)
        else:
            self.messages.append(message)

    # What several roles need

    @property
    def is_promotable(self) -> bool:
        """Whether this member may campaign: it has a vote in the configuration in force."""
        return self.tracker.is_voter(self.id)

    def has_unapplied_conf_change(self) -> bool:
        """Whether the configuration in force is older than the commit index."""
        log = self.log
        low = log.applied + 1
        while low <= log.committed:
            entries = log.entries(low, log.committed + 1, SCAN_BYTES)
            if any(entry.type is EntryType.CONF_CHANGE for entry in entries):
                return True
            low += len(entries)
        return False

    def append_entry(self, entry_type: EntryType, data: bytes) -> None:
        """Appends an entry of this term; it is sent with the next Ready."""
        assert self.role is Role.LEADER, "only a leader makes entries"
        log = self.log
        log.append([Entry(self.term, log.last_index + 1, entry_type, data)])
        self.uncommitted_bytes += len(data)
        self.is_append_due = True

    def switch_to(self, conf_state: ConfState) -> None:
        """Puts a configuration in force."""
        self.tracker.switch(conf_state, self.log.last_index + 1)

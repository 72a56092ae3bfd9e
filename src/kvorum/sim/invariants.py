"""What must hold on every member after every step.

The judge looks at a process whenever its raft has handed out work, because nothing leaves a member
otherwise: no message, no write, no answer. It keeps what it saw of each, also of those that are
down, and holds it against all others and against the `Reference`.

    election     one leader a term; one vote a term; terms do not go back
    log          an index and a term name one entry, and one before it; what is committed stays
    commitment   a quorum of the voters has the entry on disk; a leader has all that was committed
                 in earlier terms
    state        entries are applied in order, each once, when committed and durable; equal index,
                 equal state, record by record; revisions do not go back
    memory       promises that left in messages hold after a restart
    limits       no queue is longer than it may be, nobody waits beyond a deadline
    time         a key is expired by a time that some member's clock has shown

The caller: `step` after every event, with the running processes; `sent` for what leaves one;
`jumping` before its clock is set back; `check_deadlines` now and then.
Source: Raft thesis, figure 3.2; design, "simulator".
"""

# ruff: noqa: SLF001 -- a judge looks where no client may

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Protocol

from kvorum.backend.base import Table
from kvorum.mvcc.lease import Lessor
from kvorum.mvcc.revision import to_key
from kvorum.raft.core import Raft
from kvorum.raft.rawnode import RawNode
from kvorum.raft.types import (
    ConfState,
    Entry,
    Index,
    MemberId,
    Message,
    MessageType,
    Role,
    Term,
)
from kvorum.server.proposals import WAITING_COMMANDS_MAX
from kvorum.server.reads import WAITING_READS_MAX
from kvorum.server.server import Server
from kvorum.sim.history import Violation
from kvorum.sim.reference import Mark, Reference, expire_commands

LATENESS_SECONDS = 1.0
"""Deadlines are looked after at heartbeats."""

LATE_TIMES = 3

LOG_ENTRIES_SLACK = 1_000
"""Entries that one turn may bring before the log is cut again."""


class Process(Protocol):
    """A member's server while it runs."""

    @property
    def name(self) -> str:
        """The host's name."""

    @property
    def epoch(self) -> int:
        """Which of the host's processes it is."""

    @property
    def server(self) -> Server:
        """What runs."""


def rawnode_of(server: Server) -> RawNode:
    """The server's door to raft: a judge looks where no client may."""
    return server._raft


def raft_of(server: Server) -> Raft:
    """The server's consensus state."""
    return rawnode_of(server)._raft


def lessor_of(server: Server) -> Lessor:
    """The server's leases."""
    return server._applier.lessor


class _Promises:
    """What one member has told others, and must never forget."""

    __slots__ = ("acknowledged", "term", "votes")

    def __init__(self) -> None:
        self.term: Term = 0
        self.votes: dict[Term, MemberId] = {}
        self.acknowledged: Index = 0


class _Subject:
    """What the judge has seen of one process.

    `terms[i]` is the term of entry `base + 1 + i`; `lately` are the terms before and after the last
    event.
    """

    def __init__(self, process: Process, promises: _Promises) -> None:
        server = process.server
        self.process = process
        self.server = server
        self.rawnode = rawnode_of(server)
        self.raft = raft_of(server)
        self.log = self.raft.log
        self.store = server.store
        self.promises = promises
        self.number = -1
        self.term: Term = 0
        self.vote: MemberId = 0
        self.lately: tuple[Term, Term] = (0, 0)
        self.base = self.log.first_index - 1
        self.terms: list[Term] = []
        self.committed: Index = 0
        self.applied: Index = 0
        self.revision = 0
        self.conf_states: tuple[ConfState, ConfState] = (self.conf_state, self.conf_state)
        self._face: tuple[object, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.process.name}.{self.process.epoch}"

    @property
    def conf_state(self) -> ConfState:
        return self.raft.tracker.conf_state

    @property
    def last_index(self) -> Index:
        return self.base + len(self.terms)

    def find_term(self, index: Index) -> Term | None:
        """The term of an entry as last seen; None for what is not there or was cut off."""
        at = index - self.base - 1
        return self.terms[at] if 0 <= at < len(self.terms) else None

    def has_changed(self) -> bool:
        """Whether anything is different from the last look; most work is only heartbeats."""
        raft, log = self.raft, self.log
        face = (
            raft.term,
            raft.vote,
            raft.role,
            log.last_index,
            log.last_term,
            log.committed,
            self.server.applied_index,
            self.store.revision,
            raft.tracker.conf_state,
        )
        if face == self._face:
            return False
        self._face = face
        return True

    def has_durable(self, index: Index, term: Term) -> bool:
        """Whether the entry is on this member's disk, or in its state."""
        if index <= self.base:
            return True
        return self.log.durable >= index and self.find_term(index) == term


class Invariants:
    """The judge.

    Attributes:
        reference: fed with every entry that some member has committed.
        leaders: who led each term.
    """

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self.leaders: dict[Term, MemberId] = {}
        self._entries: dict[tuple[Index, Term], tuple[Entry, Term | None]] = {}
        self._subjects: dict[str, _Subject] = {}
        self._by_member: dict[MemberId, _Subject] = {}
        self._promises: dict[MemberId, _Promises] = {}
        self._highest_wall_ns = 0
        self._processes: Sequence[Process] = ()
        self._running: list[_Subject] = []
        self._late: dict[str, int] = {}

    def step(self, processes: Sequence[Process]) -> None:
        """Looks at every process in which something has happened.

        Raises:
            Violation: a rule is broken.
        """
        if processes != self._processes:
            self._processes = list(processes)
            self._running = [self._subject_of(process) for process in processes]
        for subject in self._running:
            if subject.rawnode._number != subject.number:
                self._look(subject)

    def sent(self, process: Process, messages: Sequence[Message]) -> None:
        """Messages are leaving a process: what they promise is remembered."""
        member_id = process.server.member_id
        promises = self._promises.setdefault(member_id, _Promises())
        for message in messages:
            kind = message.type
            if kind is MessageType.VOTE:
                self._vote(promises, member_id, message.term, member_id)
            elif kind is MessageType.VOTE_RESPONSE and not message.reject:
                self._vote(promises, member_id, message.term, message.target)
            elif kind is MessageType.APPEND_RESPONSE and not message.reject:
                promises.term = max(promises.term, message.term)
                index = message.index
                raft = raft_of(process.server)
                if message.term < raft.term:
                    # It waited for its sync; a later leader may have cut off what it speaks of.
                    index = min(index, raft.log.durable)
                promises.acknowledged = max(promises.acknowledged, index)

    def jumping(self, process: Process) -> None:
        """A process's clock is about to be set: until now it has shown this time."""
        self._highest_wall_ns = max(self._highest_wall_ns, process.server.clock.wall_ns())

    def _vote(
        self, promises: _Promises, member_id: MemberId, term: Term, candidate: MemberId
    ) -> None:
        promises.term = max(promises.term, term)
        known = promises.votes.setdefault(term, candidate)
        if known != candidate:
            raise Violation(
                f"{member_id:x} voted for {known:x} and for {candidate:x} in term {term}"
            )

    def _subject_of(self, process: Process) -> _Subject:
        subject = self._subjects.get(process.name)
        if subject is None or subject.process is not process:
            subject = self._meet(process)
        return subject

    def _meet(self, process: Process) -> _Subject:
        """A process has started: what its disk gave back must keep all its member promised."""
        member_id = process.server.member_id
        promises = self._promises.setdefault(member_id, _Promises())
        subject = _Subject(process, promises)
        self._subjects[process.name] = subject
        self._by_member[member_id] = subject
        raft, log = subject.raft, subject.log
        if raft.term < promises.term:
            raise Violation(
                f"{subject.name} came back in term {raft.term}, but spoke in {promises.term}"
            )
        promised = promises.votes.get(raft.term, raft.vote)
        if raft.vote != promised:
            raise Violation(
                f"{subject.name} came back in term {raft.term} with its vote for {raft.vote:x}, "
                f"but had voted for {promised:x}"
            )
        if log.last_index < promises.acknowledged:
            raise Violation(
                f"{subject.name} came back with its log up to {log.last_index}, "
                f"but had acknowledged {promises.acknowledged}"
            )
        self._look(subject, is_new=True)
        return subject

    def _look(self, subject: _Subject, *, is_new: bool = False) -> None:
        subject.number = subject.rawnode._number
        if not subject.has_changed():
            return
        self._check_election(subject)
        is_replaced = self._read_log(subject)
        self._check_commit(subject, is_known=is_new or is_replaced)
        if subject.raft.role is Role.LEADER:
            self._check_leader(subject)
        self._check_state(subject, is_whole=is_new or is_replaced)
        self._check_limits(subject)
        subject.conf_states = (subject.conf_states[1], subject.conf_state)

    # Election

    def _check_election(self, subject: _Subject) -> None:
        raft = subject.raft
        if raft.term < subject.term:
            raise Violation(f"{subject.name} went from term {subject.term} to {raft.term}")
        if raft.term == subject.term and subject.vote not in (0, raft.vote):
            raise Violation(
                f"{subject.name} changed its vote in term {raft.term} "
                f"from {subject.vote:x} to {raft.vote:x}"
            )
        subject.lately = (subject.term, raft.term)
        subject.term, subject.vote = raft.term, raft.vote

    def _check_leader(self, subject: _Subject) -> None:
        raft = subject.raft
        known = self.leaders.get(raft.term)
        if known is None:
            self.leaders[raft.term] = raft.id
            self._check_completeness(subject)
        elif known != raft.id:
            raise Violation(f"term {raft.term} has two leaders: {known:x} and {raft.id:x}")

    def _check_completeness(self, subject: _Subject) -> None:
        """What was committed in earlier terms is in a new leader's log."""
        terms = self.reference.terms
        index = bisect_left(terms, subject.raft.term)
        if index <= subject.base:
            return
        own = subject.find_term(index)
        if own != terms[index - 1]:
            raise Violation(
                f"{subject.name} leads term {subject.raft.term} without the committed entry "
                f"{index} of term {terms[index - 1]} (it has {own})"
            )

    # Log

    def _read_log(self, subject: _Subject) -> bool:
        """Takes in what is new in a log; True if a snapshot took the place of the whole log."""
        log = subject.log
        last_index, first_index = log.last_index, log.first_index
        start = first_index - 1
        is_replaced = start > subject.base and subject.find_term(start) != log.find_term(start)
        if is_replaced:
            subject.base, subject.terms = start, []
            subject.promises.acknowledged = min(subject.promises.acknowledged, last_index)
        index = last_index
        lowest = max(subject.base, start)
        while index > lowest and subject.find_term(index) != log.find_term(index):
            index -= 1
        if index < subject.last_index:
            self._cut(subject, index)
        if index < last_index:
            self._take(subject, log.entries(index + 1, last_index + 1, 1 << 62))
        return is_replaced

    def _cut(self, subject: _Subject, index: Index) -> None:
        if index < subject.committed:
            raise Violation(
                f"{subject.name} cut its log back to {index}, "
                f"but it knew that {subject.committed} is committed"
            )
        del subject.terms[index - subject.base :]
        # Cut off by a later leader: the promise was kept as long as it counted.
        subject.promises.acknowledged = min(subject.promises.acknowledged, index)

    def _take(self, subject: _Subject, entries: Sequence[Entry]) -> None:
        before = subject.log.find_term(entries[0].index - 1)
        for entry in entries:
            if entry.index != subject.last_index + 1:
                raise Violation(f"{subject.name} has entry {entry.index} at the wrong place")
            if before is not None and entry.term < before:
                raise Violation(f"{subject.name}: the term falls at entry {entry.index}")
            self._match(subject, entry, before)
            subject.terms.append(entry.term)
            before = entry.term

    def _match(self, subject: _Subject, entry: Entry, before: Term | None) -> None:
        """Compares an entry with what any log has held under this index and term."""
        name = (entry.index, entry.term)
        known = self._entries.get(name)
        if known is None:
            self._entries[name] = (entry, before)
            self._check_expiry_time(subject, entry)
            return
        other, other_before = known
        if entry is not other and (entry.data, entry.type) != (other.data, other.type):
            raise Violation(
                f"{subject.name}: entry {entry.index} of term {entry.term} is not what others have"
            )
        if before is None or before == other_before:
            return
        if other_before is not None:
            raise Violation(
                f"{subject.name}: entry {entry.index} of term {entry.term} follows term "
                f"{before}, elsewhere {other_before}"
            )
        self._entries[name] = (other, before)

    def _check_expiry_time(self, subject: _Subject, entry: Entry) -> None:
        for command in expire_commands(entry):
            clocks = [one.server.clock.wall_ns() for one in self._subjects.values()]
            highest = max(self._highest_wall_ns, *clocks)
            if command.now_ns > highest:
                raise Violation(
                    f"{subject.name} has keys expired at {command.now_ns} ns, "
                    f"but no clock has shown more than {highest}"
                )

    # Commitment

    def _check_commit(self, subject: _Subject, *, is_known: bool) -> None:
        """Holds newly committed entries against the reference, or gives them to it."""
        log, reference = subject.log, self.reference
        committed = log.committed
        if committed < subject.committed:
            raise Violation(
                f"{subject.name} went from commit index {subject.committed} to {committed}"
            )
        if committed > log.last_index:
            raise Violation(f"{subject.name} has committed {committed}, which it does not hold")
        known_upto = min(committed, reference.last_index)
        for index in range(max(subject.committed, subject.base) + 1, known_upto + 1):
            self._compare(subject, index)
        if is_known and subject.base:
            self._compare(subject, subject.base)
        if committed > reference.last_index:
            if not is_known:
                self._check_quorum(subject, committed)
                self._check_counted(subject, committed)
            self._extend(subject, committed)
        subject.committed = committed

    def _check_counted(self, subject: _Subject, index: Index) -> None:
        """Who commits first counts, and counts only entries of the term it leads."""
        term = subject.find_term(index)
        if term not in subject.lately:
            raise Violation(
                f"{subject.name} has committed entry {index} of term {term} by counting, "
                f"in term {subject.term}"
            )

    def _compare(self, subject: _Subject, index: Index) -> None:
        own = subject.find_term(index) or subject.log.find_term(index)
        if index > self.reference.last_index:
            raise Violation(f"{subject.name} begins its log after {index}, never committed")
        if own is not None and own != self.reference.terms[index - 1]:
            raise Violation(
                f"{subject.name} has committed entry {index} of term {own}, "
                f"but that of term {self.reference.terms[index - 1]} was committed before"
            )

    def _extend(self, subject: _Subject, committed: Index) -> None:
        reference = self.reference
        for index in range(reference.last_index + 1, committed + 1):
            term = subject.find_term(index)
            if term is None:
                raise Violation(f"{subject.name} holds entry {index} as committed; no log had it")
            entry, _ = self._entries[index, term]
            reference.commit(entry)

    def _check_quorum(self, subject: _Subject, index: Index) -> None:
        term = subject.find_term(index)
        if term is None:
            raise Violation(f"{subject.name} has committed {index}, which no log has had")
        # A change of the configuration may have been applied in the same turn.
        states = (*subject.conf_states, subject.conf_state)
        if not any(self._is_on_quorum(state, index, term) for state in states):
            raise Violation(
                f"{subject.name} has committed entry {index} of term {term}, "
                "but no quorum of the voters has it on disk"
            )

    def _is_on_quorum(self, state: ConfState, index: Index, term: Term) -> bool:
        for voters in (state.voters, state.outgoing):
            holders = [one for one in voters if self._has_durable(one, index, term)]
            if voters and len(holders) <= len(voters) // 2:
                return False
        return True

    def _has_durable(self, member_id: MemberId, index: Index, term: Term) -> bool:
        subject = self._by_member.get(member_id)
        return subject is not None and subject.has_durable(index, term)

    # State

    def _check_state(self, subject: _Subject, *, is_whole: bool) -> None:
        server, log = subject.server, subject.log
        applied, revision = server.applied_index, subject.store.revision
        if applied < subject.applied:
            raise Violation(f"{subject.name} went from applied {subject.applied} to {applied}")
        if revision < subject.revision:
            raise Violation(f"{subject.name} went from revision {subject.revision} to {revision}")
        if applied > min(log.committed, log.durable):
            raise Violation(
                f"{subject.name} has applied {applied}; committed are {log.committed}, "
                f"durable {log.durable}"
            )
        if is_whole:
            self._compare_whole(subject, applied)
        elif applied != subject.applied:
            self._compare_mark(subject, applied)
            for made in self.reference.revisions_between(subject.revision, revision):
                self._compare_records(subject, made)
        elif revision != subject.revision:
            raise Violation(f"{subject.name} made revision {revision} without an entry")
        subject.applied, subject.revision = applied, revision

    def _compare_mark(self, subject: _Subject, applied: Index) -> None:
        if applied > self.reference.last_index:
            raise Violation(f"{subject.name} has applied {applied}, which nobody has committed")
        store = subject.store
        leases = lessor_of(subject.server).leases
        own = Mark(store.revision, store.compacted_revision, store.key_count, leases)
        expected = self.reference.marks[applied]
        if own != expected:
            raise Violation(
                f"{subject.name} has at entry {applied} the state {own}, expected is {expected}"
            )

    def _compare_records(self, subject: _Subject, revision: int) -> None:
        """The records of a revision are what they should be; compaction may have taken some."""
        store = subject.store
        get = store.backend.get
        for place, data in self.reference.places[revision]:
            own = get(Table.RECORDS, place)
            if own != data and (own is not None or revision >= store.compacted_revision):
                raise Violation(f"{subject.name} has another record at revision {revision}")

    def _compare_whole(self, subject: _Subject, applied: Index) -> None:
        """Compares everything: the state came from a disk or from another member."""
        self._compare_mark(subject, applied)
        store, reference = subject.store, self.reference
        if store.index.live != reference.live_at(store.revision):
            raise Violation(f"{subject.name} has other keys than it should at entry {applied}")
        for revision in reference.revisions_between(0, store.revision):
            self._compare_records(subject, revision)
        for place in store.index.live.values():
            if store.backend.get(Table.RECORDS, to_key(place)) != reference.records[place]:
                raise Violation(f"{subject.name} has a wrong record at entry {applied}")

    def check_whole_states(self, processes: Iterable[Process]) -> None:
        """Compares all that these members hold with what they should at their applied index."""
        for process in processes:
            subject = self._subject_of(process)
            self._look(subject)
            self._compare_whole(subject, process.server.applied_index)

    # Limits

    def _check_limits(self, subject: _Subject) -> None:
        server, log = subject.server, subject.log
        proposals, reads = server._proposals, server._reads
        if proposals.pending_count > WAITING_COMMANDS_MAX:
            raise Violation(f"{proposals.pending_count} proposals wait on {subject.name}")
        if reads.pending_count > WAITING_READS_MAX:
            raise Violation(f"{reads.pending_count} reads wait on {subject.name}")
        kept = log.applied - log.first_index
        if server.config.snapshot and kept > 2 * server.config.snapshot_count + LOG_ENTRIES_SLACK:
            raise Violation(f"{subject.name} keeps {kept} entries in memory")

    def check_deadlines(self, processes: Iterable[Process]) -> None:
        """Call about once a second, with those that are awake: whom does one keep waiting?

        One that has just woken up has not had the time to see what is overdue: nobody is blamed
        who has not been late three times in a row.
        """
        before, self._late = self._late, {}
        for process in processes:
            overdue = _find_overdue(process.server)
            if overdue <= LATENESS_SECONDS:
                continue
            name = f"{process.name}.{process.epoch}"
            times = self._late[name] = before.get(name, 0) + 1
            if times == LATE_TIMES:
                raise Violation(f"{name} is {overdue:.1f} s late with an answer")


def count_waiting(server: Server) -> int:
    """How many requests have no answer yet."""
    waiting = server._proposals.pending_count + server._reads.pending_count
    return waiting + len(server._changes._waiting)


def _find_overdue(server: Server) -> float:
    """Seconds since the oldest deadline that has passed without an answer."""
    proposals, reads, changes = server._proposals, server._reads, server._changes
    now = server.clock.monotonic()
    deadlines = [one.deadline for one in (*proposals._unsent, *proposals._pending.values())]
    deadlines += [one.deadline for one in changes._waiting.values()]
    deadlines += [one.deadline for one in reads._waiting]
    for _, readers in reads._confirmed:
        deadlines += [one.deadline for one in readers]
    return now - min(deadlines, default=now)

"""Raft against a hostile network and disk, one seed a run, every rule checked after every step.

A `Cluster` holds members whose messages are dropped, doubled, reordered and cut off, whose writes
finish late, and which crash: then only what was written survives, with the last write torn. The
rules that are checked (thesis, figure 3.2, and our own promises) stand in `Cluster.observe` and
`Cluster.process`. After the storm the network heals, and the cluster must make progress.

KVORUM_RAFT_SEEDS says how many seeds are run; a failure names the seed:
`KVORUM_RAFT_SEED=123 pytest tests/unit/raft/test_random_network.py -k one_seed` runs it alone.
"""

import copy
import os
from collections import deque
from collections.abc import Callable, Iterable
from random import Random  # noqa: TID251 - seeded: a seed replays its run

import pytest
from msgspec import Struct

from kvorum.raft import core, leader
from kvorum.raft.confchange import ConfChangeError, decode_conf_change
from kvorum.raft.core import Raft
from kvorum.raft.log import RaftLog
from kvorum.raft.rawnode import ProposalDropped, RaftConfig, RawNode, Ready
from kvorum.raft.readindex import Read
from kvorum.raft.storage import MemoryStorage
from kvorum.raft.tracker import Tracker
from kvorum.raft.types import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeType,
    ConfState,
    Entry,
    EntryType,
    HardState,
    Message,
    MessageType,
    Role,
    SnapshotMeta,
)

SEEDS = int(os.environ.get("KVORUM_RAFT_SEEDS", "2000"))
CHUNKS = 20
STEPS = 1400
HEAL_ROUNDS = 400
IDS_MAX = 7
BUG_SEEDS = 400


PROMISES = {MessageType.VOTE, MessageType.VOTE_RESPONSE, MessageType.APPEND_RESPONSE}


class Violation(AssertionError):
    """A rule of raft was broken."""


def require(condition: object, rule: str) -> None:
    if not condition:
        raise Violation(rule)


class Write(Struct):
    """What one Ready has for the disk, and what may leave after it."""

    number: int
    snapshot: SnapshotMeta | None
    hard_state: HardState | None
    entries: list[Entry]
    messages: list[Message]


class Disk:
    """What survives a crash: a log that begins after `start`, and the state at `checkpoint`."""

    def __init__(self, founding: SnapshotMeta) -> None:
        self.start = founding
        self.checkpoint = founding
        self.hard_state = HardState(founding.term, 0, founding.index)
        self.entries: list[Entry] = []

    def write(self, write: Write) -> None:
        if write.snapshot is not None:
            self.start, self.entries = write.snapshot, []
        if write.hard_state is not None:
            self.hard_state = write.hard_state
        if write.entries:
            position = write.entries[0].index - self.start.index - 1
            require(0 <= position <= len(self.entries), "writes join the log on disk")
            self.entries[position:] = write.entries

    def tear(self, write: Write, rng: Random) -> None:
        """Only some records from the front of a write got to the disk."""
        if write.snapshot is not None and rng.random() < 0.5:
            return
        kept = rng.randint(0, len(write.entries))
        self.write(Write(0, write.snapshot, write.hard_state, write.entries[:kept], []))

    def holds(self, index: int, term: int) -> bool:
        position = index - self.start.index - 1
        if position < 0 or index <= self.checkpoint.index:
            return True
        return position < len(self.entries) and self.entries[position].term == term

    def load(self) -> MemoryStorage:
        """The log as a start finds it. A log that does not meet the state begins after it."""
        point = self.checkpoint
        position = point.index - self.start.index - 1
        if position >= 0 and not (
            position < len(self.entries) and self.entries[position].term == point.term
        ):
            self.start, self.entries = point, []
        storage = MemoryStorage()
        storage.apply_snapshot(self.start)
        storage.append(self.entries)
        storage.set_snapshot_meta(point)
        storage.set_hard_state(self.hard_state)
        return storage


class Member:
    """A process: its disk, and while it runs its raft and the writes under way."""

    def __init__(self, config: RaftConfig, founding: SnapshotMeta) -> None:
        self.id = config.member_id
        self.config = config
        self.disk = Disk(founding)
        self.start()

    def start(self) -> None:
        self.is_up = True
        self.storage = self.disk.load()
        self.applied = SnapshotMeta(
            self.disk.checkpoint.index, self.disk.checkpoint.term, self.disk.checkpoint.conf_state
        )
        self.raft = RawNode(self.config, self.storage, self.applied.index)
        self.core: Raft = self.raft._raft
        self.writes: deque[Write] = deque()
        self.commit = 0
        self.led_term = 0

    def crash(self, rng: Random) -> None:
        self.is_up = False
        done = rng.randint(0, len(self.writes))
        for _ in range(done):
            self.disk.write(self.writes.popleft())
        if self.writes:
            self.disk.tear(self.writes[0], rng)


class Cluster:
    """All members, the network between them, and what must never be seen twice."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = Random(f"raft network {seed}")
        self.pre_vote = rng.random() < 0.8
        self.check_quorum = rng.random() < 0.8
        self.drop = rng.choice((0.0, 0.0, 0.05, 0.2))
        self.double = rng.choice((0.0, 0.05, 0.2))
        self.shuffle = rng.choice((1, 1, 3, 20))
        self.late_write = rng.choice((0.0, 0.3, 0.9))
        self.lazy = rng.choice((0.0, 0.0, 0.3))
        self.network: list[Message] = []
        self.cut: set[tuple[int, int]] = set()
        self.leaders: dict[int, int] = {}
        self.chosen: dict[int, int] = {}
        self.commit = 1
        self.entries: dict[tuple[int, int], tuple[int, bytes]] = {}
        self.confs: dict[int, ConfState] = {}
        self.votes: dict[tuple[int, int], int] = {}
        self.reads: dict[int, int] = {}
        self.answered_reads = 0
        self.count = 0
        voters = tuple(range(1, rng.choice((3, 3, 3, 4, 5)) + 1))
        founding = SnapshotMeta(1, 1, ConfState(voters=voters))
        self.members = {i: Member(self.config(i), founding) for i in voters}
        self.actions: list[tuple[float, Callable[[], None]]] = [
            (0.61, self.deliver),
            (0.06, self.tick),
            (0.11, self.finish_write),
            (0.08, self.propose),
            (0.05, self.read),
            (0.01, self.crash),
            (0.03, self.restart),
            (0.005, self.partition),
            (0.015, self.change_membership),
            (0.015, self.checkpoint),
            (0.005, self.transfer),
            (0.005, self.campaign),
        ]

    def config(self, member_id: int) -> RaftConfig:
        return RaftConfig(
            member_id=member_id,
            random_below=self.rng.randrange,
            election_ticks=3,
            heartbeat_ticks=1,
            batch_bytes_max=self.rng.choice((1, 8, 1 << 20)),
            inflight_max=self.rng.choice((1, 4, 256)),
            uncommitted_bytes_max=self.rng.choice((16, 1 << 20)),
            pre_vote=self.pre_vote,
            check_quorum=self.check_quorum,
        )

    # Rules

    def observe(self, member: Member) -> None:
        """Checks what a step may have changed at a member."""
        raft = member.core
        if raft.role is Role.LEADER and member.led_term != raft.term:
            member.led_term = raft.term
            holder = self.leaders.setdefault(raft.term, member.id)
            require(holder == member.id, f"election safety: two leaders in term {raft.term}")
            self.require_complete(member, self.commit)
        committed = raft.log.committed
        if committed != member.commit:
            require(committed > member.commit, "a commit index never goes back")
            self.advance(member, committed)

    def require_complete(self, member: Member, index: int) -> None:
        log = member.core.log
        is_complete = index < log.first_index or log.find_term(index) == self.chosen.get(index, 1)
        require(is_complete, f"leader completeness: leader {member.id} lacks entry {index}")

    def advance(self, member: Member, committed: int) -> None:
        log = member.core.log
        for index in range(max(member.commit + 1, log.first_index), committed + 1):
            term = log.find_term(index)
            assert term is not None
            require(
                self.chosen.setdefault(index, term) == term,
                f"state machine safety: two entries committed at {index}",
            )
        member.commit = committed
        if committed > self.commit:
            self.commit = committed
            for other in self.leading():
                if other.core.term >= member.core.term:
                    self.require_complete(other, committed)
        if member.core.role is Role.LEADER:
            self.require_durable(member, committed)

    def require_durable(self, member: Member, index: int) -> None:
        conf, term = member.core.tracker.conf_state, self.chosen.get(index, 1)
        for voters in (conf.voters, conf.outgoing):
            holders = [i for i in voters if self.members[i].disk.holds(index, term)]
            require(
                len(holders) * 2 > len(voters) or not voters,
                f"entry {index} is committed, but durable only at {holders} of {voters}",
            )

    def enter_log(self, member: Member, entries: list[Entry]) -> None:
        previous = member.core.log.find_term(entries[0].index - 1)
        for entry in entries:
            assert previous is not None
            known = self.entries.setdefault((entry.index, entry.term), (previous, entry.data))
            require(known == (previous, entry.data), f"log matching breaks at {entry.index}")
            previous = entry.term

    def require_promise_kept(self, message: Message) -> None:
        disk = self.members[message.source].disk.hard_state
        require(disk.term >= message.term, f"{message.source} speaks of a term it may forget")
        if message.type is MessageType.VOTE_RESPONSE:
            key = (message.source, message.term)
            chosen = self.votes.setdefault(key, message.target)
            require(chosen == message.target, f"{message.source} voted twice in a term")
            is_kept = disk.term > message.term or disk.vote == message.target
            require(is_kept, f"{message.source} gives a vote that it may forget")

    # The driver of a member

    def process(self, member: Member) -> None:
        self.observe(member)
        while member.is_up and member.raft.has_ready():
            self.take(member, member.raft.ready())
            self.observe(member)

    def take(self, member: Member, ready: Ready) -> None:
        if ready.snapshot is not None:
            member.storage.apply_snapshot(ready.snapshot)
            member.disk.checkpoint = member.applied = ready.snapshot
        if ready.entries:
            self.enter_log(member, ready.entries)
            member.storage.append(ready.entries)
        if ready.hard_state is not None:
            member.storage.set_hard_state(ready.hard_state)
        self.send(ready.messages)
        if ready.committed:
            self.apply(member, ready.committed)
        for state in ready.read_states:
            asked_at = self.reads.pop(state.context, 0)
            require(state.index >= asked_at, "a read misses what was committed before it")
            self.answered_reads += 1
        self.write(member, ready)

    def write(self, member: Member, ready: Ready) -> None:
        is_write = bool(ready.snapshot or ready.hard_state or ready.entries)
        if not is_write and not member.writes:
            member.raft.persisted(ready.number)
            self.send(ready.messages_after_persist)
            return
        member.writes.append(
            Write(
                ready.number,
                ready.snapshot,
                ready.hard_state,
                ready.entries,
                ready.messages_after_persist,
            )
        )
        if self.rng.random() >= self.late_write:
            self.finish_writes(member, len(member.writes))

    def finish_writes(self, member: Member, count: int) -> None:
        messages: list[Message] = []
        number = member.writes[count - 1].number
        for _ in range(count):
            write = member.writes.popleft()
            member.disk.write(write)
            messages += write.messages
        member.raft.persisted(number)
        self.send(messages)
        self.observe(member)

    def apply(self, member: Member, entries: list[Entry]) -> None:
        for entry in entries:
            require(entry.index == member.applied.index + 1, "entries are applied in order")
            require(
                self.chosen.get(entry.index) == entry.term,
                f"state machine safety: {member.id} applies another entry at {entry.index}",
            )
            require(
                member.disk.holds(entry.index, entry.term),
                f"{member.id} applies entry {entry.index} before it is durable there",
            )
            conf = member.applied.conf_state
            if entry.type is EntryType.CONF_CHANGE:
                conf = member.raft.apply_conf_change(decode_conf_change(entry.data))
                require(self.confs.setdefault(entry.index, conf) == conf, "one configuration")
            member.applied = SnapshotMeta(entry.index, entry.term, conf)
            self.observe(member)
        member.raft.applied_to(entries[-1].index)

    def send(self, messages: list[Message]) -> None:
        for message in messages:
            if message.type in PROMISES and not message.reject:
                self.require_promise_kept(message)
            if message.snapshot is not None and self.rng.random() < 0.5:
                # The image is taken when it is sent: it may be newer than what raft asked for.
                message.snapshot = self.members[message.source].applied
            self.network.append(message)
            if self.double and self.rng.random() < self.double:
                self.network.append(copy.copy(message))

    # What happens

    def step(self) -> None:
        choice = self.rng.random()
        for weight, action in self.actions:
            choice -= weight
            if choice < 0:
                action()
                return

    def pick(self) -> Member:
        return self.rng.choice([m for m in self.members.values() if m.is_up] or [self.revive()])

    def leading(self) -> list[Member]:
        return [m for m in self.members.values() if m.is_up and m.core.role is Role.LEADER]

    def pick_one_of(self, preferred: list[Member]) -> Member:
        preferred = [m for m in preferred if m.is_up]
        return self.rng.choice(preferred) if preferred and self.rng.random() < 0.7 else self.pick()

    def revive(self) -> Member:
        member = self.members[1]
        member.start()
        return member

    def settle(self, member: Member) -> None:
        if not self.lazy or self.rng.random() >= self.lazy:
            self.process(member)
        else:
            self.observe(member)

    def deliver(self) -> None:
        if not self.network:
            self.rng.choice((self.tick, self.propose, self.finish_write))()
            return
        position = self.rng.randrange(min(len(self.network), self.shuffle))
        message = self.network.pop(position)
        target = self.members.get(message.target)
        is_lost = (message.source, message.target) in self.cut or self.rng.random() < self.drop
        is_lost = is_lost or target is None or not target.is_up
        if not is_lost:
            assert target is not None
            target.raft.step(message)
            self.settle(target)
        self.report(message, is_lost=is_lost)

    def report(self, message: Message, *, is_lost: bool) -> None:
        source = self.members[message.source]
        if source.is_up and message.type is MessageType.SNAPSHOT:
            source.raft.report_snapshot(message.target, not is_lost)
        elif source.is_up and is_lost and self.rng.random() < 0.1:
            source.raft.report_unreachable(message.target)

    def tick(self) -> None:
        if self.rng.random() < 0.8:
            everyone = [m for m in self.members.values() if m.is_up]
        else:
            everyone = [self.pick()]
        for member in everyone:
            member.raft.tick()
            self.settle(member)

    def finish_write(self) -> None:
        member = self.pick()
        if member.writes:
            self.finish_writes(member, self.rng.randint(1, len(member.writes)))
        self.process(member)

    def propose(self) -> None:
        member = self.pick()
        self.count += 1
        try:
            member.raft.propose(str(self.count).encode())
        except ProposalDropped:
            return
        self.settle(member)

    def read(self) -> None:
        # Whoever thinks it leads is asked most often: it may be wrong.
        member = self.pick_one_of(self.leading())
        self.count += 1
        self.reads[self.count] = self.commit
        member.raft.read_index(self.count)
        self.settle(member)

    def crash(self) -> None:
        # With writes under way there is something to lose.
        self.pick_one_of([m for m in self.members.values() if m.writes]).crash(self.rng)

    def restart(self) -> None:
        for member in self.members.values():
            if not member.is_up:
                member.start()
                self.process(member)
                return

    def partition(self) -> None:
        self.cut = set()
        kind = self.rng.random()
        ids = list(self.members)
        if kind < 0.5:
            return
        if kind < 0.7:
            self.cut = {(self.rng.choice(ids), self.rng.choice(ids)) for _ in ids}
            return
        # A leader on the lesser side goes on leading there until it notices.
        size = self.rng.randint(0, max(1, (len(ids) - 1) // 2))
        side = {self.pick_one_of(self.leading()).id, *self.rng.sample(ids, size)}
        self.cut = {(a, b) for a in ids for b in ids if (a in side) != (b in side)}

    def change_membership(self) -> None:
        leaders = self.leading()
        if not leaders:
            return
        member = self.rng.choice(leaders)
        conf = member.core.tracker.conf_state
        steps = [self.random_step(conf) for _ in range(self.rng.choice((1, 1, 2, 3)))]
        try:
            member.raft.propose_conf_change(ConfChange(tuple(steps)))
        except ProposalDropped:
            return
        self.settle(member)

    def random_step(self, conf: ConfState) -> ConfChangeSingle:
        kind = self.rng.choice(list(ConfChangeType))
        if conf.learners and self.rng.random() < 0.5:
            return ConfChangeSingle(ConfChangeType.ADD_VOTER, self.rng.choice(conf.learners))
        if kind is ConfChangeType.REMOVE and len(conf.voters) > 2:
            return ConfChangeSingle(kind, self.rng.choice(conf.voters + conf.learners))
        # A removed id never comes back: its member may have voted in ways nobody remembers.
        member_id = len(self.members) + 1
        if member_id > IDS_MAX:
            return ConfChangeSingle(ConfChangeType.ADD_LEARNER, self.rng.choice(conf.voters))
        self.members[member_id] = Member(self.config(member_id), SnapshotMeta())
        return ConfChangeSingle(ConfChangeType(kind if kind != 1 else 0), member_id)

    def checkpoint(self) -> None:
        member = self.pick()
        # The state's image is durable up to here, so the log before it may go.
        if member.applied.index >= member.disk.start.index and not member.writes:
            member.disk.checkpoint = member.applied
            member.storage.set_snapshot_meta(member.applied)
            low = member.storage.first_index() - 1
            member.storage.compact(self.rng.randint(low, member.applied.index))

    def transfer(self) -> None:
        member = self.pick()
        member.raft.transfer_leadership(self.rng.choice(list(self.members)))
        self.settle(member)

    def campaign(self) -> None:
        member = self.pick()
        member.raft.campaign()
        self.settle(member)

    # Afterwards

    def heal(self) -> None:
        """Ends all faults; then a proposal and a read must get through to everyone."""
        self.cut, self.drop, self.double, self.late_write, self.lazy = set(), 0.0, 0.0, 0.0, 0.0
        self.shuffle = 1
        for member in self.members.values():
            if not member.is_up:
                member.start()
        proposed_at = answered = 0
        for _ in range(HEAL_ROUNDS):
            self.round()
            head = self.settled_leader()
            if head is None:
                continue
            if proposed_at and self.commit > proposed_at and self.answered_reads > answered:
                return
            proposed_at, answered = self.commit, self.answered_reads
            self.propose_at(head)
        raise Violation(f"no progress in {HEAL_ROUNDS} ticks without faults")

    def round(self) -> None:
        for member in list(self.members.values()):
            if member.writes:
                self.finish_writes(member, len(member.writes))
            member.raft.tick()
            self.process(member)
        for _ in range(1000):
            if not self.network:
                break
            self.deliver()

    def settled_leader(self) -> Member | None:
        head = max(self.leading(), key=lambda m: m.core.term, default=None)
        if head is None or head.core.tracker.is_joint:
            return None
        conf = head.core.tracker.conf_state
        everyone = [self.members[i] for i in conf.voters + conf.learners]
        last = head.core.log.last_index
        return head if all(m.applied.index == last for m in everyone) else None

    def propose_at(self, member: Member) -> None:
        try:
            member.raft.propose(b"after the storm")
        except ProposalDropped:
            return  # a hand-over is under way; it ends
        self.count += 1
        self.reads[self.count] = self.commit
        member.raft.read_index(self.count)
        self.process(member)


def run(seed: int, steps: int = STEPS) -> None:
    cluster = Cluster(seed)
    try:
        for _ in range(steps):
            cluster.step()
        cluster.heal()
    except AssertionError as error:
        raise Violation(f"seed {seed}: {error}") from error


def run_many(seeds: Iterable[int]) -> None:
    for seed in seeds:
        run(seed)


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_rule_holds_at_every_step(chunk: int) -> None:
    run_many(range(chunk, SEEDS, CHUNKS))


@pytest.mark.skipif("KVORUM_RAFT_SEED" not in os.environ, reason="KVORUM_RAFT_SEED names no seed")
def test_one_seed() -> None:
    run(int(os.environ["KVORUM_RAFT_SEED"]))


# The test must be able to fail: each of these bugs has to be found.

Patch = pytest.MonkeyPatch


def forget_the_vote(patch: Patch) -> None:
    def take(self: RawNode, *, is_written: bool) -> HardState | None:
        state = original(self, is_written=is_written)
        return HardState(state.term, 0, state.commit) if state else None

    original = RawNode._take_hard_state
    patch.setattr(RawNode, "_take_hard_state", take)


def acknowledge_before_the_write(patch: Patch) -> None:
    early = core._AFTER_PERSIST - {MessageType.APPEND_RESPONSE}
    patch.setattr(core, "_AFTER_PERSIST", early)


def vote_before_the_write(patch: Patch) -> None:
    patch.setattr(core, "_AFTER_PERSIST", core._AFTER_PERSIST - {MessageType.VOTE_RESPONSE})


def count_the_own_log_before_the_write(patch: Patch) -> None:
    def append_entry(self: Raft, entry_type: EntryType, data: bytes) -> None:
        original(self, entry_type, data)
        self.tracker.progress[self.id].match = self.log.last_index

    original = Raft.append_entry
    patch.setattr(Raft, "append_entry", append_entry)


def commit_older_terms_by_counting(patch: Patch) -> None:
    def become_leader(self: Raft) -> None:
        original(self)
        self.term_start = 0

    original = Raft.become_leader
    patch.setattr(Raft, "become_leader", become_leader)


def read_before_a_commit_of_the_term(patch: Patch) -> None:
    def read_index(raft: Raft, read: Read) -> bool:
        leader._register(raft, read)
        return True

    patch.setattr(leader, "read_index", read_index)


def read_without_a_quorum(patch: Patch) -> None:
    patch.setattr(Tracker, "is_alone", True)


def count_learners(patch: Patch) -> None:
    def index(self: Tracker) -> None:
        original(self)
        self._incoming += [self.progress[i] for i in self.conf_state.learners]

    original = Tracker._index
    patch.setattr(Tracker, "_index", index)


def decide_joint_by_one_majority(patch: Patch) -> None:
    def index(self: Tracker) -> None:
        original(self)
        self._outgoing = []

    original = Tracker._index
    patch.setattr(Tracker, "_index", index)


def vote_for_any_log(patch: Patch) -> None:
    patch.setattr(RaftLog, "is_up_to_date", lambda *_: True)


def vote_for_everyone(patch: Patch) -> None:
    def on_vote(self: Raft, message: Message) -> None:
        self.vote = self.leader = 0
        original(self, message)

    original = Raft._on_vote
    patch.setattr(Raft, "_on_vote", on_vote)


def trust_writes_that_were_overtaken(patch: Patch) -> None:
    patch.setattr(RaftLog, "_lower_writes", lambda *_: None)


def cut_the_log_at_every_append(patch: Patch) -> None:
    def maybe_append(self: RaftLog, index: int, term: int, entries: list[Entry]) -> bool:
        if not self.matches(index, term):
            return False
        fresh = [entry for entry in entries if entry.index > self.committed]
        if fresh:
            self.append(fresh)
        return True

    patch.setattr(RaftLog, "maybe_append", maybe_append)


def append_without_a_match(patch: Patch) -> None:
    original = RaftLog.matches
    patch.setattr(
        RaftLog, "matches", lambda self, i, t: original(self, i, t) or i == self.last_index
    )


def commit_beyond_the_match(patch: Patch) -> None:
    def send_heartbeats(raft: Raft, read_round: int) -> None:
        original(raft, read_round)
        for message in raft.messages:
            if message.type is MessageType.HEARTBEAT:
                message.commit = raft.log.committed

    original = leader._send_heartbeats
    patch.setattr(leader, "_send_heartbeats", send_heartbeats)


def change_membership_twice_at_once(patch: Patch) -> None:
    patch.setattr(leader, "_check_conf_change", lambda *_: None)


def apply_before_the_write(patch: Patch) -> None:
    def take_committed(self: RaftLog, bytes_max: int) -> list[Entry]:
        entries = self.entries(self.applying + 1, self.committed + 1, bytes_max)
        self.applying += len(entries)
        return entries

    patch.setattr(RaftLog, "take_committed", take_committed)


BUGS = [
    forget_the_vote,
    acknowledge_before_the_write,
    vote_before_the_write,
    count_the_own_log_before_the_write,
    commit_older_terms_by_counting,
    read_before_a_commit_of_the_term,
    read_without_a_quorum,
    count_learners,
    decide_joint_by_one_majority,
    vote_for_any_log,
    vote_for_everyone,
    trust_writes_that_were_overtaken,
    cut_the_log_at_every_append,
    append_without_a_match,
    commit_beyond_the_match,
    change_membership_twice_at_once,
    apply_before_the_write,
]


@pytest.mark.parametrize("bug", BUGS)
def test_finds_a_planted_bug(bug: Callable[[Patch], None], monkeypatch: Patch) -> None:
    bug(monkeypatch)
    monkeypatch.setattr(Cluster, "heal", lambda _: None)  # safety alone must tell
    with pytest.raises((Violation, ConfChangeError)):
        run_many(range(BUG_SEEDS))

"""Bugs planted in the real code, to see whether the simulator finds them.

Those of consensus, log, state and watches, and the whole table: `planting` says what they are,
`clientmutants` has those of what clients are told, `kvmutants` those of the v3 API.
"""

# ruff: noqa: SLF001, ANN401 -- mistakes are made where no caller may reach

from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from kvorum.apply import applier as applier_module
from kvorum.apply.applier import Applier
from kvorum.apply.batches import AppliedBatches
from kvorum.apply.commands import Batch, decode_batch
from kvorum.backend.base import Installer, Table
from kvorum.backend.buffer import BufferedBackend
from kvorum.membership import Cluster
from kvorum.mvcc.store import Compacted, Store
from kvorum.mvcc.watch import Watcher, WatcherState, WatchHub
from kvorum.raft import confchange, core, follower, leader, log, quorum
from kvorum.raft.rawnode import RawNode, Ready
from kvorum.raft.readindex import Read, ReadIndex
from kvorum.raft.storage import MemoryStorage
from kvorum.raft.tracker import Tracker
from kvorum.raft.types import (
    ConfChangeType,
    ConfState,
    Entry,
    HardState,
    MemberId,
    Message,
    MessageType,
    SnapshotMeta,
)
from kvorum.server.driver import Driver
from kvorum.server.logkeeper import LogKeeper
from kvorum.server.server import Server, Transport
from kvorum.server.upkeep import Upkeep
from kvorum.sim import clientmutants, kvmutants
from kvorum.sim.planting import MUTANTS, Patch, mutant, planted
from kvorum.v2 import commands as v2
from kvorum.wal import repair
from kvorum.wal.memory import MemoryLogFiles
from kvorum.wal.record import HEADER, Record, scan

__all__ = ["MUTANTS", "clientmutants", "kvmutants", "planted"]

# What must be durable first


@mutant(
    "acknowledgements leave before the sync",
    "came back in term",
    "came back with its log",
    "but no quorum of the voters has it on disk",
)
def _acknowledge_early() -> list[Patch]:
    original = Driver._persist

    def persist(driver: Driver, ready: Ready) -> None:
        messages, ready.messages_after_persist = ready.messages_after_persist, []
        original(driver, ready)
        if messages:
            driver._hooks.send(messages)

    return [(Driver, "_persist", persist)]


@mutant(
    "a member's own entries count before the sync",
    "but no quorum of the voters has it on disk",
    "was committed before",
)
def _own_log_early() -> list[Patch]:
    original = Driver._persist

    def persist(driver: Driver, ready: Ready) -> None:
        original(driver, ready)
        driver._raft.persisted(ready.number)

    return [(Driver, "_persist", persist)]


@mutant("the vote is not written", "with its vote for", "voted for")
def _forget_vote() -> list[Patch]:
    original = RawNode._take_hard_state

    def take(node: RawNode, *, is_written: bool) -> HardState | None:
        state = original(node, is_written=is_written)
        return None if state is None else HardState(state.term, 0, state.commit)

    return [(RawNode, "_take_hard_state", take)]


@mutant("an entry is applied before it is durable here", "; committed are", "does not go with")
def _apply_undurable() -> list[Patch]:
    def take_committed(own: log.RaftLog, bytes_max: int) -> list[Entry]:
        if own.applying == own.committed:
            return []
        entries = own.entries(own.applying + 1, own.committed + 1, bytes_max)
        own.applying += len(entries)
        return entries

    has_committed = property(lambda own: own.applying < own.committed)
    return [
        (log.RaftLog, "take_committed", take_committed),
        (log.RaftLog, "has_committed", has_committed),
    ]


@mutant(
    "the log is cut before the backend has made it needless",
    "the log does not go with the state",
)
def _release_early() -> list[Patch]:
    original = LogKeeper.keep

    def keep(keeper: LogKeeper, cluster: Cluster) -> None:
        original(keeper, cluster)
        keeper._wal.release(keeper._backend.applied[0])

    return [(LogKeeper, "keep", keep)]


@mutant("the log on disk is never cut", "though nobody needs")
def _release_never() -> list[Patch]:
    return [(LogKeeper, "durable", lambda _: None)]


@mutant("the log in memory is never cut", "entries in memory")
def _keep_all() -> list[Patch]:
    return [(MemoryStorage, "compact", lambda _storage, _index: None)]


@mutant(
    "the backend's applied index runs ahead of its records",
    "the state Mark(",
    "another record",
    "other keys",
)
def _applied_ahead() -> list[Patch]:
    original = BufferedBackend.commit

    def commit(backend: BufferedBackend, done: Callable[[], None] | None = None) -> bool:
        late = backend._pending[Table.RECORDS]
        is_begun = False
        if backend._in_flight is None and late:
            key = next(reversed(late))
            value = late.pop(key)
            is_begun = original(backend, done)
            backend._pending[Table.RECORDS][key] = value
        return is_begun or original(backend, done)

    return [(BufferedBackend, "commit", commit)]


@mutant("an entry is applied twice after a restart", "the state Mark(")
def _apply_twice() -> list[Patch]:
    original = BufferedBackend.set_applied

    def set_applied(backend: BufferedBackend, index: int, term: int) -> None:
        behind = backend._applied
        original(backend, index, term)
        if behind[1] == term:
            backend._applied = behind

    def restore(applier: Applier) -> None:
        original_restore(applier)
        applier._batches._ids.clear()

    original_restore = Applier.restore
    return [(BufferedBackend, "set_applied", set_applied), (Applier, "restore", restore)]


@mutant("checksums of the log are not compared", "is not what others have")
def _skip_checksums() -> list[Patch]:
    def decode(data: bytes, offset: int, limit: int) -> Record | None:
        if offset + HEADER.size > len(data):
            return None
        crc, length, prev, _, durable, kind, magic = HEADER.unpack_from(data, offset)
        end = offset + HEADER.size + length
        if magic != b"kvm" or not length or end > limit:
            return None
        payload = data[offset + HEADER.size : end].ljust(length, b"\0")
        return Record(offset, end + -end % 8, crc, prev, durable, kind, payload)

    return [(repair, "decode", decode)]


@mutant("a torn tail is not cut off", "though its disk is sound")
def _keep_torn_tail() -> list[Patch]:
    return [(MemoryLogFiles, "wipe", lambda *arguments: bool(arguments))]


@mutant("the log's reader goes on behind a record that is torn", "though its disk is sound")
def _read_behind_hole() -> list[Patch]:
    original = repair._Reader._read_records

    def read_records(reader: Any, segment: repair.SegmentReport, data: bytes) -> None:
        original(reader, segment, data)
        for record in scan(data, segment.end, segment.allocated_bytes):
            reader._feed(segment.name, record, record.decode_payload())
            segment.end, segment.chain = record.end, record.crc

    return [(repair._Reader, "_read_records", read_records)]


@mutant(
    "a member goes on with the configuration it was started with",
    "there is no leader",
    "has done nothing",
)
def _forget_configuration() -> list[Patch]:
    def set_conf_state(cluster: Cluster, conf_state: ConfState) -> None:
        cluster.conf_state = conf_state

    return [(Cluster, "set_conf_state", set_conf_state)]


@mutant("the configuration that comes with a snapshot is passed over", "counts others than")
def _pass_over_configuration() -> list[Patch]:
    def restore(raft: core.Raft, snapshot: SnapshotMeta) -> bool:
        switch_to, raft.switch_to = raft.switch_to, _ignore  # type: ignore[method-assign]
        try:
            return original(raft, snapshot)
        finally:
            raft.switch_to = switch_to  # type: ignore[method-assign]

    original = follower._restore
    return [(follower, "_restore", restore)]


def _ignore(conf_state: ConfState) -> None:
    """Stays with the one it has."""


# Elections and commitment


@mutant("a member votes for everybody who asks", "changed its vote", "voted for")
def _vote_twice() -> list[Patch]:
    original = core.Raft._on_vote

    def on_vote(raft: core.Raft, message: Message) -> None:
        vote, raft.vote = raft.vote, 0
        original(raft, message)
        raft.vote = raft.vote or vote

    return [(core.Raft, "_on_vote", on_vote)]


@mutant(
    "half of the votes, rounded down, are enough", "has two leaders", "without the committed entry"
)
def _half_is_enough() -> list[Patch]:
    original = quorum.majority_vote

    def vote(voters: Sequence[MemberId], votes: dict[MemberId, bool]) -> quorum.VoteResult:
        granted = sum(votes.get(voter, False) for voter in voters)
        is_won = granted >= max(1, len(voters) // 2)
        return quorum.VoteResult.WON if is_won else original(voters, votes)

    return [(quorum, "majority_vote", vote)]


@mutant("a member votes for a log that is behind its own", "without the committed entry")
def _vote_for_anybody() -> list[Patch]:
    return [(log.RaftLog, "is_up_to_date", lambda own, index, term: bool(own) or index or term)]


@mutant("an entry of an earlier term is committed by counting", "by counting")
def _count_earlier_terms() -> list[Patch]:
    def maybe_commit(raft: core.Raft) -> None:
        if raft.log.commit_to(raft.tracker.committed_index()):
            raft.is_append_due = True
            for read in raft.reads.take_waiting():
                leader._register(raft, read)

    return [(leader, "maybe_commit", maybe_commit)]


@mutant("a leader commits what it has itself", "but no quorum of the voters has it on disk")
def _commit_alone() -> list[Patch]:
    def committed_index(tracker: Tracker) -> int:
        own = tracker.progress.get(tracker._own_id)
        return own.match if own else 0

    return [(Tracker, "committed_index", committed_index)]


@mutant("learners are counted", "but no quorum of the voters has it on disk")
def _count_learners() -> list[Patch]:
    original = Tracker._index

    def index(tracker: Tracker) -> None:
        original(tracker)
        tracker._incoming += [tracker.progress[one] for one in tracker.conf_state.learners]

    return [(Tracker, "_index", index)]


@mutant("a removed member goes on to be counted", "counts others than the members")
def _count_removed() -> list[Patch]:
    take = {**confchange._TAKE, ConfChangeType.REMOVE: lambda sets, member_id: sets or member_id}
    return [(confchange, "_TAKE", take)]


@mutant("a joint quorum is that of the new voters", "but no quorum of the voters has it on disk")
def _forget_outgoing() -> list[Patch]:
    original = Tracker._index

    def index(tracker: Tracker) -> None:
        original(tracker)
        tracker._outgoing = []

    return [(Tracker, "_index", index)]


@mutant(
    "a heartbeat carries a commit index that the follower does not have",
    "was committed before",
)
def _commit_too_far() -> list[Patch]:
    def send(raft: core.Raft, read_round: int) -> None:
        for peer in raft.tracker.peers:
            message = Message(MessageType.HEARTBEAT, peer.member_id, raft.id)
            message.commit = raft.log.committed
            message.context = read_round
            raft.send(message)

    def on_heartbeat(raft: core.Raft, message: Message) -> None:
        message.commit = min(message.commit, raft.log.last_index)
        original(raft, message)

    original = follower.RULES.steps[MessageType.HEARTBEAT]
    steps = {**follower.RULES.steps, MessageType.HEARTBEAT: on_heartbeat}
    return [(leader, "_send_heartbeats", send), (follower.RULES, "steps", steps)]


@mutant(
    "a follower keeps its own entries where the leader has others",
    ", elsewhere ",
    "was committed before",
    "but no quorum of the voters has it on disk",
)
def _keep_own_entries() -> list[Patch]:
    def maybe_append(own: log.RaftLog, index: int, term: int, entries: Sequence[Entry]) -> bool:
        if not own.matches(index, term):
            return False
        fresh = [entry for entry in entries if entry.index > own.last_index]
        if fresh:
            own.append(fresh)
        return True

    return [(log.RaftLog, "maybe_append", maybe_append)]


@mutant(
    "a late APPEND cuts off what followed it",
    "but no quorum of the voters has it on disk",
    "came back with its log",
)
def _cut_always() -> list[Patch]:
    def maybe_append(own: log.RaftLog, index: int, term: int, entries: Sequence[Entry]) -> bool:
        if not own.matches(index, term):
            return False
        fresh = [entry for entry in entries if entry.index > own.committed]
        if fresh:
            own.append(fresh)
        return True

    return [(log.RaftLog, "maybe_append", maybe_append)]


# Reads


@mutant("a read is answered without a round", "a revision went back", "not linearizable")
def _read_without_round() -> list[Patch]:
    def register(raft: core.Raft, read: Read) -> None:
        read.index = raft.log.committed
        leader._answer(raft, read)

    return [(leader, "_register", register)]


@mutant(
    "a read is answered before the leader's first commit of its term",
    "a revision went back",
    "not linearizable",
)
def _read_early() -> list[Patch]:
    def read_index(raft: core.Raft, read: Read) -> bool:
        leader._register(raft, read)
        return True

    return [(leader, "read_index", read_index)]


@mutant(
    "the answers of an earlier round confirm a read",
    "a revision went back",
    "not linearizable",
)
def _earlier_round() -> list[Patch]:
    original = ReadIndex.confirm

    def confirm(reads: ReadIndex, confirmed_round: int) -> list[Read]:
        return original(reads, confirmed_round + 1)

    return [(ReadIndex, "confirm", confirm)]


@mutant("a leader's own reads are served at once", "a revision went back", "not linearizable")
def _trust_leader() -> list[Patch]:
    original = Server.read

    def read(server: Server, completion: Callable[[object], None]) -> None:
        if server.is_leader:
            completion(None)
        else:
            original(server, completion)

    return [(Server, "read", read)]


@mutant(
    "a read does not wait until its index is applied",
    "a revision went back",
    "not linearizable",
)
def _read_unapplied() -> list[Patch]:
    def on_response(raft: core.Raft, message: Message) -> None:
        index = min(message.index, raft.log.applied)
        raft.read_states.append(core.ReadState(message.context, index))

    steps = {**follower.RULES.steps, MessageType.READ_INDEX_RESPONSE: on_response}
    return [(follower.RULES, "steps", steps)]


# The state


@mutant("batches are not told apart when they come again", "was done twice", "nobody asked for it")
def _apply_again() -> list[Patch]:
    return [(AppliedBatches, "__contains__", lambda batches, batch_id: not (batches or batch_id))]


@mutant("a batch may come later than its horizon", "was done twice", "nobody asked for it")
def _ignore_horizon() -> list[Patch]:
    def decode(data: bytes) -> Batch:
        return msgspec.structs.replace(decode_batch(data), horizon=1 << 62)

    return [(applier_module, "decode_batch", decode)]


@mutant("a snapshot takes the place of a newer state", "went from applied", "; committed are")
def _install_always() -> list[Patch]:
    original = Server.receive_snapshot

    def receive(server: Server, message: Message, installer: Installer) -> None:
        original(server, message, _Stubborn(server, installer))

    return [(Server, "receive_snapshot", receive)]


class _Stubborn:
    """An installer that installs also what is refused."""

    def __init__(self, server: Server, installer: Installer) -> None:
        self._server = server
        self.finish = installer.finish
        self.prepare = installer.prepare
        self.write = installer.write

    def abort(self) -> None:
        """Installs all the same."""
        self.finish()
        self._server._applier.restore()


@mutant("the leader's snapshot stands for an older entry than its data", "have not converged")
def _old_name() -> list[Patch]:
    original = Server._send_snapshot

    def send(server: Server, message: Message) -> None:
        asked = message.snapshot
        transport = server._transport
        server._transport = cast("Transport", _Renaming(transport, asked))
        original(server, message)
        server._transport = transport

    return [(Server, "_send_snapshot", send)]


class _Renaming:
    """Sends an image under the name that raft asked for."""

    def __init__(self, transport: Any, asked: SnapshotMeta | None) -> None:
        self._transport = transport
        self._asked = asked

    def send_snapshot(self, message: Message, view: Any) -> None:
        """Puts the old name on it."""
        message.snapshot = self._asked
        self._transport.send_snapshot(message, view)


@mutant("every member expires keys by its own clock", "without an entry")
def _expire_alone() -> list[Patch]:
    original = Upkeep.heartbeat

    def heartbeat(upkeep: Upkeep, now: float, heard: dict[MemberId, float]) -> None:
        original(upkeep, now, heard)
        due_ns = upkeep._store.expiring.next_due()
        now_ns = upkeep._clock.wall_ns()
        if due_ns is not None and due_ns <= now_ns and not upkeep._is_leader:
            txn = upkeep._store.write()
            for key in upkeep._store.expiring.due(now_ns, 10):
                txn.delete(key)
            txn.end()

    return [(Upkeep, "heartbeat", heartbeat)]


@mutant("applying an expiry looks at the clock", "the state Mark(")
def _clock_in_apply() -> list[Patch]:
    original = Server.__init__

    def init(server: Server, *arguments: Any) -> None:
        original(server, *arguments)
        apply_command = server._applier._apply_command
        expire = apply_command[v2.Expire]
        apply_command[v2.Expire] = lambda command: expire(
            msgspec.structs.replace(command, now_ns=server.clock.wall_ns())
        )

    return [(Server, "__init__", init)]


@mutant("the order of a set decides what is applied first", "the state Mark(", "another record")
def _set_order() -> list[Patch]:
    original = Applier._apply_batch

    def apply_batch(applier: Applier, batch: Batch) -> list[object]:
        order = sorted(range(len(batch.commands)), key=lambda at: id(batch.commands[at]) >> 6)
        batch.commands = [batch.commands[at] for at in order]
        results = original(applier, batch)
        return [results[order.index(at)] for at in range(len(order))]

    return [(Applier, "_apply_batch", apply_batch)]


@mutant("an index is used again after a restart", "the state Mark(")
def _reuse_revision() -> list[Patch]:
    original = Store.restore

    def restore(store: Store) -> None:
        original(store)
        store.revision = max(store.changed_revision, store.compacted_revision, 1)

    return [(Store, "restore", restore)]


# Watches


@mutant("a watch that has nearly caught up misses an event", "due was", "was never told")
def _lose_at_border() -> list[Patch]:
    original = WatchHub._place

    def place(hub: WatchHub, watcher: Watcher) -> None:
        if watcher.next_revision == hub.store.revision and watcher.state is WatcherState.BEHIND:
            watcher.next_revision += 1
        original(hub, watcher)

    return [(WatchHub, "_place", place)]


@mutant("a watch skips silently what compaction has taken", "due was", "was never told")
def _skip_compacted() -> list[Patch]:
    original = Store.history

    def history(store: Store, after: int, upto: int, limit: int) -> list[Any]:
        try:
            return original(store, after, upto, limit)
        except Compacted as error:
            return original(store, error.compacted_revision, upto, limit)

    return [(Store, "history", history)]


@mutant("watches are not told that a snapshot was installed", "due was", "was never told")
def _forget_watches() -> list[Patch]:
    def restored(hub: WatchHub) -> None:
        hub._told = hub.store.revision

    return [(WatchHub, "restored", restored)]


@mutant("a watch is told twice of what came while it was behind", "was told")
def _tell_twice() -> list[Patch]:
    original = WatchHub._tell

    def tell(hub: WatchHub, watchers: list[Watcher], *arguments: Any) -> None:
        for watcher in watchers:
            if watcher.next_revision == arguments[0].revision + 1:
                watcher.next_revision -= 1
        original(hub, watchers, *arguments)

    return [(WatchHub, "_tell", tell)]

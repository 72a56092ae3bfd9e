"""The member: owns the state machine, consensus and their shells, and is what handlers talk to.

All methods run on the thread that owns the state. Nothing here awaits: work comes in through
`propose`, `read`, `receive` and `tick`, is collected, and one `turn` per pass of the loop carries
it through the `Driver`. So the whole member runs in a simulator as it runs on sockets.

Start order: state restored from the backend, raft from the log, then peers, then ticks.
Stop order: leadership handed over, waiting requests answered, log and backend made durable.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol

from msgspec import Struct

from kvorum.apply.applier import Applier, MembershipApplied
from kvorum.apply.commands import Command, MembershipChange, SetClusterConfig
from kvorum.backend.base import Installer, ReadView
from kvorum.clock import Clock
from kvorum.config import Config
from kvorum.errors import KvorumError, RemoteProtocolError, StorageError
from kvorum.membership import ClusterConfig, MembershipFault
from kvorum.raft.rawnode import RaftConfig, RawNode, SoftState
from kvorum.raft.storage import MemoryStorage
from kvorum.raft.types import (
    NO_MEMBER,
    ConfChangeSingle,
    MemberId,
    Message,
    MessageType,
    Role,
    SnapshotMeta,
)
from kvorum.server.announce import Announcer
from kvorum.server.changes import MembershipChanges
from kvorum.server.driver import Driver, Hooks
from kvorum.server.files import Files, Identity
from kvorum.server.leases import Leases
from kvorum.server.logkeeper import LogKeeper
from kvorum.server.metrics import Figures, Metrics
from kvorum.server.promotion import Promotion
from kvorum.server.proposals import Completion, Proposals
from kvorum.server.reads import ReadCompletion, Reads
from kvorum.server.stats import ServerStats
from kvorum.server.timers import Timers
from kvorum.server.upkeep import SILENT_HEARTBEATS, Upkeep
from kvorum.wal.wal import Wal

_log = logging.getLogger("kvorum.server")

TICKS_PER_HEARTBEAT = 5
"""Elections are randomised in ticks, so ticks must be finer than heartbeats: with one tick a
heartbeat, 0.4's timings would leave four distinct timeouts and split every fourth vote."""

REQUEST_SECONDS = 5.0
"""A request is given up after this and two election timeouts, as etcd does."""

NEW_PEER_SECONDS = 1.0
"""A peer just added may be silent for so long before anybody is told."""

FOLLOWER_HEARS_SECONDS = 2.5
"""Members that do not lead show each other once a second that they are alive."""

COMMIT_SECONDS = 0.1
"""How often the backend makes its buffer durable; the log covers what it has not."""


class Opened(Struct):
    """What bootstrap leaves for the server.

    Attributes:
        identity: who it is.
        peers: id to peer URL of members that the state does not know yet.
    """

    identity: Identity
    files: Files
    wal: Wal
    storage: MemoryStorage
    peers: dict[MemberId, str]


class Transport(Protocol):
    """How messages reach other members; the simulator has its own."""

    def set_peer(self, member_id: MemberId, url: str) -> None:
        """Begins, or goes on, to talk to this member at this URL."""

    def remove_peer(self, member_id: MemberId) -> None:
        """Stops talking to this member."""

    def send(self, messages: list[Message]) -> None:
        """Sends without blocking; may drop."""

    def send_snapshot(self, message: Message, view: ReadView) -> None:
        """Sends an image; the outcome is told by `Server.snapshot_sent`."""

    def last_contact(self, member_id: MemberId) -> float:
        """When this member was last heard, by the monotonic clock; 0 for never."""


class Server:
    """One member of the cluster. See the module's note for how work flows through it."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        opened: Opened,
        transport: Transport,
        schedule: Callable[[Callable[[], None]], object],
    ) -> None:
        self.config = config
        self.clock = clock
        self.name = config.name
        self.member_id = opened.identity.member_id
        self.cluster_id = opened.identity.cluster_id
        self.on_failure: Callable[[str], object] = _nobody
        """Called once when the member can never acknowledge anything again."""
        self.on_removed: Callable[[], object] = _nothing
        """Called once when the member was removed and has nothing left to do."""
        self.tick_seconds = config.heartbeat_ms / 1000 / TICKS_PER_HEARTBEAT
        self._transport = transport
        self._schedule = schedule
        self._files = opened.files
        self._backend = opened.files.backend
        self._wal = opened.wal

        self._applier = Applier(self._backend)
        self._applier.restore()
        self.store, self.tree = self._applier.store, self._applier.tree
        self.hub, self.cluster = self._applier.hub, self._applier.cluster
        self.kv, self.machine_log = self._applier.kv, self._applier.machine_log
        self.stats = ServerStats(started_ns=clock.wall_ns())
        self.timers = Timers(clock)
        self._metrics = Metrics()

        raft_config = _raft_config(config, clock, self.member_id)
        self._raft = RawNode(raft_config, opened.storage, self._applier.applied_index)
        timeout = REQUEST_SECONDS + 2 * config.election_ms / 1000
        self._proposals = Proposals(self._raft, self._applier, clock, timeout)
        self._reads = Reads(self._raft, clock, timeout, config.election_ms / 1000)
        self._changes = MembershipChanges(self._raft, clock, timeout)
        self._promotion = Promotion(
            self._raft, self.cluster, clock, config.election_ms / 1000, self.is_responsive
        )
        waiting = (self._proposals, self._reads)
        self._driver = Driver(
            self._raft, opened.storage, opened.wal, self._applier, waiting, self._hooks()
        )
        self._log_keeper = LogKeeper(
            self.name, opened.storage, opened.wal, self._backend, config.snapshot_count
        )
        self._announcer = Announcer(self.name, self.cluster)
        self._upkeep = Upkeep(config, clock, self._applier, self.propose, self._schedule_if_running)
        self.leases = Leases(
            self._applier, clock, config.election_ms / 1000, self.propose, self.read
        )
        self.leader_id: MemberId = NO_MEMBER
        self.is_leader = False
        self._is_turn_scheduled = False
        self._is_stopped = False
        self._on_ready: Callable[[], None] | None = None
        self._on_deposed: Callable[[], None] = _nothing
        self._peers = dict(opened.peers)
        self._peer_added_at: dict[MemberId, float] = {}
        self._peers_generation = -1
        self._pending_install: tuple[SnapshotMeta, Installer] | None = None
        self._has_left = False
        self._heartbeat_countdown = TICKS_PER_HEARTBEAT
        self._commit_at = 0.0
        self._hanging_number, self._hanging_since = 0, 0.0

    # What handlers ask.

    @property
    def applied_index(self) -> int:
        """The last log entry this member's state includes."""
        return self._applier.applied_index

    @property
    def term(self) -> int:
        """Raft's current term here."""
        return self._driver.term

    @property
    def has_vote(self) -> bool:
        """Whether this member counts for quorums, as far as it knows."""
        return self.member_id in self.cluster.conf_state.voters

    def figures(self) -> Figures:
        """What this member is like right now, for `/metrics`."""
        return Figures(
            has_leader=self.leader_id != NO_MEMBER,
            is_leader=self.is_leader,
            is_learner=self.member_id in self.cluster.conf_state.learners,
            committed_index=self._raft.status().commit,
            applied_index=self.applied_index,
            pending_proposals=self._proposals.pending_count,
            failed_proposals=self._proposals.failed_count,
            metrics=self._metrics,
        )

    def propose(self, command: Command, completion: Completion) -> None:
        """Puts a command into the log; `completion` gets what applying it returned.

        It is called exactly once: with the command's result, or with an UnavailableError when
        there is no leader, the server stops, or the outcome is unknown at the deadline.
        """
        self._proposals.propose(command, completion)
        self.wake()

    def propose_config(self, config: ClusterConfig, completion: Completion) -> None:
        """Has the config of a 0.4-born cluster replaced; otherwise as `propose`."""
        self.propose(SetClusterConfig(config), completion)

    def read(self, completion: ReadCompletion) -> None:
        """Calls `completion(None)` once a read of local state is linearizable."""
        self._reads.read(completion)
        self.wake()

    def when_ready(self, callback: Callable[[], None]) -> None:
        """Calls back once a leader is known, and this member by the cluster.

        Who joins waits for its vote, too: what it would tell clients before is old.
        """
        self._on_ready = callback
        self.wake()

    def wake(self) -> None:
        """Makes sure a turn runs in this pass of the loop or the next."""
        if not self._is_turn_scheduled and not self._is_stopped:
            self._is_turn_scheduled = True
            self._schedule(self._turn)

    # What the shells bring.

    def start(self) -> None:
        """Takes part from now on."""
        self._announcer.started(self.term)
        for member_id, url in self._peers.items():
            self._transport.set_peer(member_id, url)
        self._turn()
        if self.cluster.conf_state.voters == (self.member_id,):
            # Nobody else could lead: there is no timeout to wait for.
            self._raft.campaign()
            self.wake()

    def receive(self, messages: list[Message]) -> None:
        """Messages from other members."""
        now = self.clock.monotonic()
        for message in messages:
            kind = message.type
            if kind in _APPENDS:
                self.stats.append_received(_data_bytes(message), now)
            elif kind in _ANSWERS:
                self.stats.append_answered(message.source, now)
            self._raft.step(message)
        self.wake()

    def unreachable(self, member_id: MemberId) -> None:
        """A message to this member was lost."""
        self.stats.append_lost(member_id)
        self._raft.report_unreachable(member_id)

    def snapshot_sent(self, member_id: MemberId, ok: bool) -> None:  # noqa: FBT001 -- raft's word
        """A snapshot transfer to this member has ended."""
        self._raft.report_snapshot(member_id, ok)
        self.wake()

    def was_removed(self, member_id: MemberId) -> bool:
        """Whether this id was a member once, is no longer, and has nothing more to say.

        A leader that removed itself leads until another can: whom we follow, we listen to.
        """
        return member_id != self.leader_id and self.cluster.was_removed(member_id)

    def leave(self) -> None:
        """This member was removed: its state says so, or another member does."""
        if not self._has_left:
            self._has_left = True
            _log.warning(
                "%s: removed during cluster re-configuration: %s",
                self.name,
                MembershipFault.REMOVED.value,
            )
            self.on_removed()

    def begin_snapshot(self) -> Installer:
        """Room for an image that another member sends."""
        return self._backend.installer()

    def receive_snapshot(self, message: Message, installer: Installer) -> None:
        """An image has arrived whole; it is installed if raft wants it, else forgotten.

        Raises:
            RemoteProtocolError: it is incomplete, or another than the message says.
            StorageError: the disk does not take it.
        """
        if message.snapshot is None or self._pending_install is not None:
            installer.abort()
            return
        # What can fail comes first: raft cannot take back that it has accepted a snapshot.
        try:
            _prepare(installer, message.snapshot)
        except KvorumError:
            installer.abort()
            raise
        self._pending_install = (message.snapshot, installer)
        self._raft.step(message)
        self._turn()
        self._forget_install(installer)

    def _forget_install(self, installer: Installer) -> None:
        """Raft may have had no use for the image."""
        if self._pending_install is not None:
            self._pending_install = None
            installer.abort()

    def tick(self) -> None:
        """Time passes: call every `tick_seconds`."""
        now = self.clock.monotonic()
        self.timers.run(now)
        self._raft.tick()
        self._heartbeat_countdown -= 1
        if self._heartbeat_countdown == 0:
            self._heartbeat_countdown = TICKS_PER_HEARTBEAT
            self._expire_waiters(now)
            self._upkeep.heartbeat(now, self._heard())
            self.leases.heartbeat(now)
            self._upkeep.introduce(self.member_id)
            self._watch_disk(now)
        if now >= self._commit_at:
            done = self._metrics.backend_commits.timed(self.clock, self._log_keeper.durable)
            if self._backend.commit(done):
                self._commit_at = now + COMMIT_SECONDS
        if self._raft.has_ready() or self._proposals.has_work or self._reads.has_work:
            self.wake()

    def stop(self) -> None:
        """Answers everyone who waits and makes everything durable. The files are closed."""
        self._is_stopped = True
        self._driver.stop()
        self._proposals.close()
        self._reads.close()
        self._changes.close()
        self._wal.sync_now()
        self._wal.close()
        self._backend.close()
        self._files.close()

    def hand_over(self, on_deposed: Callable[[], None]) -> bool:
        """Asks the most up-to-date peer to lead; calls back once this member leads no more.

        False when there is nobody to lead, or nothing to give.
        """
        if not self.is_leader:
            return False
        progress = self._raft.status().progress
        voters = [
            (peer.match, member_id)
            for member_id, peer in progress.items()
            if member_id != self.member_id
            and member_id in self.cluster.conf_state.voters
            and peer.is_recently_active
        ]
        if not voters:
            return False
        self._on_deposed = on_deposed
        self._raft.transfer_leadership(max(voters)[1])
        self.wake()
        return True

    def is_alive(self, member_id: MemberId) -> bool:
        """Whether the member was heard within an election timeout; this one always is."""
        return self._was_heard(member_id, self.config.election_ms / 1000)

    def is_responsive(self, member_id: MemberId) -> bool:
        """Whether the member was heard as lately as one that is well would be.

        The doubt falls the other way than in `is_alive`: who is counted on must be there.
        """
        heartbeats = SILENT_HEARTBEATS * self.config.heartbeat_ms / 1000
        return self._was_heard(member_id, heartbeats if self.is_leader else FOLLOWER_HEARS_SECONDS)

    def silence_seconds(self, member_id: MemberId) -> float:
        """For how long another member has said nothing; 0 while it may still be starting."""
        heard = self._heard().get(member_id)
        return 0.0 if heard is None else max(self.clock.monotonic() - heard, 0.0)

    def _was_heard(self, member_id: MemberId, within_seconds: float) -> bool:
        silence = self.clock.monotonic() - self._transport.last_contact(member_id)
        return member_id == self.member_id or silence < within_seconds

    def change_membership(
        self,
        change: MembershipChange,
        steps: tuple[ConfChangeSingle, ...],
        completion: Completion,
    ) -> None:
        """Puts one change of membership into the log.

        `completion` gets the `MembershipApplied`, or an UnavailableError; the id is drawn here.
        """
        self._changes.propose(change, steps, completion)
        self.wake()

    def _watch_disk(self, now: float) -> None:
        """Gives leadership away when the log's disk hangs.

        A quorum of other disks lets a leader go on, but it could answer none of its own clients.
        """
        number = self._driver.unsynced_number
        if not number or number != self._hanging_number:
            self._hanging_number, self._hanging_since = number, now
        elif self.is_leader and now - self._hanging_since > self.config.election_ms / 1000:
            _log.warning("%s: the disk has not synced the log for a while", self.name)
            self._hanging_since = now
            self.hand_over(_nothing)

    def _heard(self) -> dict[MemberId, float]:
        """When each peer was last heard; one just added is given time to open its port."""
        return {
            peer: max(self._transport.last_contact(peer), added_at + NEW_PEER_SECONDS)
            for peer, added_at in self._peer_added_at.items()
        }

    def _expire_waiters(self, now: float) -> None:
        self._proposals.expire(now)
        self._reads.expire(now)
        self._changes.again(now)

    # Turns and what they call back.

    def _hooks(self) -> Hooks:
        return Hooks(
            send=self._send,
            soft_state=self._soft_state_changed,
            install=self._install,
            membership=self._membership_applied,
            turned=self._turned,
            broken=self._broken,
            timed=partial(self._metrics.log_syncs.timed, self.clock),
        )

    def _schedule_if_running(self, work: Callable[[], None]) -> None:
        self._schedule(lambda: None if self._is_stopped else work())

    def _turn(self) -> None:
        self._is_turn_scheduled = False
        if self._is_stopped:
            return
        self._driver.turn()

    def _turned(self) -> None:
        self.leases.turned(self.is_leader, self.term)
        if self.config.snapshot:
            self._log_keeper.keep(self.cluster)
        self._sync_peers()
        if self.is_leader and self._promotion.promote():
            self.wake()
        if self._on_ready is not None and self._is_ready():
            callback, self._on_ready = self._on_ready, None
            callback()

    def _broken(self) -> None:
        """Goes on no more. A restart begins with the last state that was whole, and the log."""
        if not self._is_stopped:
            self._is_stopped = True
            self._backend.discard()
            self.on_failure("an internal error, told above; nothing more can be acknowledged")

    def _is_ready(self) -> bool:
        is_born = bool(self.cluster.attributes.config_index) or not self.cluster.is_legacy
        if self.leader_id == NO_MEMBER or not is_born:
            return False
        is_known = self._upkeep.introduce(self.member_id)
        return is_known and not self.cluster.members[self.member_id].is_joining

    def _send(self, messages: list[Message]) -> None:
        now = self.clock.monotonic()
        plain = messages
        if any(message.type is MessageType.SNAPSHOT for message in messages):
            plain = []
            for message in messages:
                if message.type is MessageType.SNAPSHOT:
                    self._send_snapshot(message)
                else:
                    plain.append(message)
        if self.is_leader:
            for message in plain:
                if message.type in _APPENDS:
                    self.stats.append_sent(message.target, _data_bytes(message), now)
        self._transport.send(plain)

    def _send_snapshot(self, message: Message) -> None:
        """Sends the state as it is now, which may be newer than what raft asked for."""
        try:
            view = self._backend.view()
        except StorageError as error:
            # The member is about to end; what else this turn brings must not be lost with it.
            _log.warning("%s: no snapshot for %x: %s", self.name, message.target, error)
            self._raft.report_snapshot(message.target, ok=False)
            return
        index, term = self._backend.applied
        assert view.applied_index == index
        message.snapshot = SnapshotMeta(index, term, self.cluster.conf_state)
        _log.info("%s: sending a snapshot at index %d to %x", self.name, index, message.target)
        self._transport.send_snapshot(message, view)

    def _soft_state_changed(self, state: SoftState) -> None:
        self._announcer.changed(state, self.term)
        if state.leader != self.leader_id:
            self.leader_id = state.leader
            self._peers_generation = -1  # one that was removed is let go when it leads no more
            self._metrics.leader_changes += state.leader != NO_MEMBER
            self.stats.leader_changed(self.clock.wall_ns() if state.leader else 0)
            self._proposals.leader_changed()
        is_leader = state.role is Role.LEADER
        if is_leader != self.is_leader:
            self.is_leader = is_leader
            self._upkeep.leadership_changed(is_leader)
            self._promotion.reset()
            if not is_leader:
                self.leases.deposed()
                self._on_deposed()
                if self.cluster.was_removed(self.member_id):
                    self.leave()

    def _install(self, meta: SnapshotMeta) -> None:
        assert self._pending_install is not None, "raft takes a snapshot only while it is stepped"
        sent, installer = self._pending_install
        assert sent == meta
        self._pending_install = None
        try:
            installer.finish()
        except StorageError as error:
            self._is_stopped = True
            self.on_failure(str(error))
            raise
        self._applier.restore()
        assert self._applier.applied_index == meta.index
        self.hub.restored()
        _log.info("%s: installed a snapshot at index %d", self.name, meta.index)

    def _membership_applied(self, outcome: MembershipApplied) -> None:
        for member, verb in ((outcome.added, "added"), (outcome.removed, "removed")):
            if member is not None and member.id != self.member_id:
                _log.info("%s: peer %s: '%s'", self.name, verb, member.name)
        self._sync_peers()
        self._changes.applied(outcome)
        self._schedule_if_running(self._change_again)
        if outcome.promoted is not None:
            _log.debug("%s: '%s' has a vote from now on", self.name, outcome.promoted.name)
        if outcome.removed is None or outcome.removed.id != self.member_id:
            return
        if self.is_leader:
            _log.info("%s: leads no longer than until another member can", self.name)
        else:
            self.leave()

    def _change_again(self) -> None:
        """Raft takes one change at a time: whoever waited for the last one goes on."""
        self._changes.again(self.clock.monotonic())
        self.wake()

    def _sync_peers(self) -> None:
        if self._peers_generation == self.cluster.generation:
            return
        self._peers_generation = self.cluster.generation
        members = self.cluster.members
        if not members:
            return  # a joiner knows its peers from its seat until the log tells
        for gone in self._peers.keys() - members.keys() - {self.leader_id}:
            del self._peers[gone]
            self._peer_added_at.pop(gone, None)
            self._transport.remove_peer(gone)
        for member in members.values():
            url = member.peer_urls[0]
            if member.id == self.member_id:
                continue
            # Those a joiner was told of with its seat are connected already, and counted from here.
            self._peer_added_at.setdefault(member.id, self.clock.monotonic())
            known_url = self._peers.get(member.id, url)
            if known_url != url:
                _log.info("Rejoin with %s instead of %s from %s", url, known_url, member.name)
            if self._peers.get(member.id) != url:
                self._peers[member.id] = url
                self._transport.set_peer(member.id, url)


_APPENDS = frozenset((MessageType.APPEND, MessageType.HEARTBEAT))
_ANSWERS = frozenset((MessageType.APPEND_RESPONSE, MessageType.HEARTBEAT_RESPONSE))


def _raft_config(config: Config, clock: Clock, member_id: MemberId) -> RaftConfig:
    return RaftConfig(
        member_id=member_id,
        election_ticks=round(config.election_ms / config.heartbeat_ms * TICKS_PER_HEARTBEAT),
        heartbeat_ticks=TICKS_PER_HEARTBEAT,
        random_below=clock.random_below,
    )


def _prepare(installer: Installer, meta: SnapshotMeta) -> None:
    index, term = installer.prepare()
    if (index, term) != (meta.index, meta.term):
        raise RemoteProtocolError(
            f"an image of entry {index} of term {term} came as one of {meta.index} of {meta.term}"
        )


def _data_bytes(message: Message) -> int:
    return sum(len(entry.data) for entry in message.entries)


def _nothing() -> None:
    """Nobody waits."""


def _nobody(reason: str) -> None:
    """Hears of a failure when nobody else does."""
    _log.critical("%s", reason)

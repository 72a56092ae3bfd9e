"""What only time brings: keys that expire, history that goes, watchers to catch up, silent peers.

The leader alone decides that a key has expired or that history may go. It says so in the log, with
its clock in the command; every member then does the same. The slices of background work run on
every member, between turns, so that no request waits long for them.

The caller: `heartbeat` and `introduce` at every heartbeat interval, `leadership_changed` when it is
won or lost.
"""

from collections import deque
from collections.abc import Callable

import msgspec

from kvorum.apply.applier import Applier
from kvorum.apply.commands import Command, SetClusterConfig, UpdateMember
from kvorum.clock import Clock
from kvorum.config import Config
from kvorum.membership import bounded_config
from kvorum.raft.types import MemberId
from kvorum.server.compactor import Compactor
from kvorum.server.monitor import HeartbeatMonitor
from kvorum.server.proposals import Completion
from kvorum.v2 import commands as v2
from kvorum.v3.commands import Compact

COMPACTION_SLICE = 1_000
"""Records looked at between two turns: about a millisecond."""

CATCH_UP_SLICE = 1_000
"""Revisions read between two turns for watchers that are behind."""

SILENT_HEARTBEATS = 3
"""A peer not heard for so many has missed one for certain, however the ticks fall. They are counted
as they really went out: a leader that is held up must not blame the others."""

AGAIN_SECONDS = 1.0
"""A proposal of the member's own that is not applied after this is made once more."""


class Upkeep:
    """The member's own work, done a little at a time."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        applier: Applier,
        propose: Callable[[Command, Completion], None],
        schedule: Callable[[Callable[[], None]], None],
    ) -> None:
        self._config = config
        self._clock = clock
        self._store, self._hub, self._cluster = applier.store, applier.hub, applier.cluster
        self._compactor = Compactor(config, self._store)
        self._propose = propose
        self._schedule = schedule
        self._monitor = HeartbeatMonitor(config.name)
        self._is_leader = False
        self._heartbeats: deque[float] = deque(maxlen=SILENT_HEARTBEATS)
        self._is_background_scheduled = False
        self._again_at: dict[type[Command], float] = {}

    def leadership_changed(self, is_leader: bool) -> None:  # noqa: FBT001 -- a fact, not an option
        """This member leads now, or leads no more."""
        self._is_leader = is_leader
        self._again_at.clear()
        self._monitor.reset()
        self._heartbeats.clear()
        if is_leader and self._cluster.is_legacy and not self._cluster.attributes.config_index:
            own = self._config
            first = bounded_config(
                own.active_size, own.remove_delay_seconds, own.sync_interval_seconds
            )
            self._propose_once(SetClusterConfig(first), self._clock.monotonic())

    def heartbeat(self, now: float, heard: dict[MemberId, float]) -> None:
        """One heartbeat interval has passed; `heard` has when each peer was last heard from."""
        self._compactor.note(now)
        if self._is_leader:
            self._watch_peers(now, heard)
            self._expire_keys(now)
            self._compact_history(now)
        self.start_background()

    def introduce(self, member_id: MemberId) -> bool:
        """Has the log tell this member's name and client URLs, if they are not what it told last.

        Returns whether everybody who has read the log knows them. The first members of a 3.x
        cluster know only each other's peer URLs, and any member may be restarted with other flags.
        A 0.4 member keeps the name of its data: it is a key.
        """
        known = self._cluster.members.get(member_id)
        if known is None:
            return False
        keeps_name = self._cluster.is_legacy and known.name
        name = known.name if keeps_name else self._config.name
        client_urls = self._config.advertised_client_urls
        present = msgspec.structs.replace(known, name=name, client_urls=client_urls)
        if present == known:
            return True
        update = UpdateMember(present, keeps_peer_urls=True)
        self._propose_once(update, self._clock.monotonic())
        return False

    def start_background(self) -> None:
        """Makes sure the work that may wait goes on."""
        if not self._is_background_scheduled:
            self._is_background_scheduled = True
            self._schedule(self._background)

    def _background(self) -> None:
        self._is_background_scheduled = False
        is_compacted = self._store.compact_slice(COMPACTION_SLICE)
        is_behind = self._hub.catch_up(CATCH_UP_SLICE)
        if is_behind or not is_compacted:
            self.start_background()

    def _watch_peers(self, now: float, heard: dict[MemberId, float]) -> None:
        sent = self._heartbeats
        silent_since = sent[0] if len(sent) == SILENT_HEARTBEATS else 0.0
        sent.append(now)
        for member_id, last_heard in heard.items():
            if last_heard >= silent_since:
                self._monitor.answered(member_id, now)
            else:
                self._monitor.missed(member_id, self._cluster.members[member_id].name, now)

    def _expire_keys(self, now: float) -> None:
        due_ns = self._store.expiring.next_due()
        if due_ns is not None:
            wall_ns = self._clock.wall_ns()
            if due_ns <= wall_ns:
                self._propose_once(v2.Expire(wall_ns), now)

    def _compact_history(self, now: float) -> None:
        target = self._compactor.target(now)
        if target:
            self._propose_once(Compact(target), now)

    def _propose_once(self, command: Command, now: float) -> None:
        """Proposes a command unless one of its kind is on its way already."""
        kind = type(command)
        if self._again_at.get(kind, 0.0) > now:
            return
        self._again_at[kind] = now + AGAIN_SECONDS

        def done(result: object) -> None:
            del result
            self._again_at.pop(kind, None)

        self._propose(command, done)

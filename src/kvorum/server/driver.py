"""One turn: from what came in, through raft, to disk, peers and state.

`turn` runs once per pass of the event loop that brought work, so everything which came in during
that pass shares one Raft entry, one write to the log and one message to each peer. For each Ready
the order is:

1. An installed snapshot takes the place of the state before anything that follows it is applied.
2. Hard state and entries go to the log's file, and its sync is asked for.
3. `messages` leave: a leader's appends run beside its own disk write (thesis, section 10.2.1).
4. `committed` entries are applied and those who wait for them are answered. They are durable here.
5. When the sync is done: `messages_after_persist` leave and raft is told (`persisted`). Votes,
   vote requests and acknowledgements never leave before what they promise is on disk.

While a sync runs, no new entry is made of proposals: they collect, and the next entry carries them
all. So batches grow with load by themselves, and nothing ever waits for a timer.

A write or sync that failed is final. The member stops; it never acknowledges anything again.
"""

from collections import deque
from collections.abc import Callable

from msgspec import Struct

from kvorum.apply.applier import Applied, Applier, MembershipApplied
from kvorum.raft.rawnode import RawNode, Ready, SoftState
from kvorum.raft.storage import MemoryStorage
from kvorum.raft.types import Entry, Message, SnapshotMeta, Term
from kvorum.server.proposals import Proposals
from kvorum.server.reads import Reads
from kvorum.wal.wal import Wal


def _untimed(done: Callable[[], None]) -> Callable[[], None]:
    return done


class Hooks(Struct):
    """What the server does at certain points of a turn.

    Attributes:
        send: messages that may leave now.
        soft_state: role or leader changed.
        install: a snapshot that raft accepted becomes the state.
        membership: a change of membership was applied.
        turned: a turn is over, whatever began it.
        broken: an exception leaves a turn: what it has half done must not last.
        timed: wraps what is to be called when a sync of the log has ended.
    """

    send: Callable[[list[Message]], None]
    soft_state: Callable[[SoftState], None]
    install: Callable[[SnapshotMeta], None]
    membership: Callable[[MembershipApplied], None]
    turned: Callable[[], None]
    broken: Callable[[], None]
    timed: Callable[[Callable[[], None]], Callable[[], None]] = _untimed


class _Unsynced(Struct):
    number: int
    is_write: bool
    messages: list[Message]


class Driver:
    """Carries Readys from raft to the log, the peers and the applier, in the order above."""

    def __init__(
        self,
        raft: RawNode,
        storage: MemoryStorage,
        wal: Wal,
        applier: Applier,
        waiting: tuple[Proposals, Reads],
        hooks: Hooks,
    ) -> None:
        self._raft = raft
        self._storage = storage
        self._wal = wal
        self._applier = applier
        self._proposals, self._reads = waiting
        self._hooks = hooks
        self._unsynced: deque[_Unsynced] = deque()
        self._is_stopped = False
        self._hard_state, _ = storage.initial_state()

    @property
    def term(self) -> Term:
        """Raft's current term, as far as Readys have told it."""
        return self._hard_state.term

    @property
    def unsynced_number(self) -> int:
        """The oldest Ready whose write is not durable; 0 when there is none."""
        return self._unsynced[0].number if self._unsynced else 0

    def stop(self) -> None:
        """Does nothing more: a sync that ends from now on finds its files closed."""
        self._is_stopped = True

    def turn(self) -> None:
        """Gives what has collected to raft and does all the work that comes of it.

        An exception that leaves it is a bug, or an entry that nobody can read: the hook `broken`
        is told, and there are no more turns.
        """
        try:
            self._work()
        except Exception:
            self._is_stopped = True
            self._hooks.broken()
            raise

    def _work(self) -> None:
        raft = self._raft
        if not self._unsynced and self._proposals.has_work:
            self._proposals.flush()
        if self._reads.has_work:
            self._reads.flush()
        while raft.has_ready():
            self._process(raft.ready())
        self._hooks.turned()

    def _process(self, ready: Ready) -> None:
        if ready.snapshot is not None:
            self._hooks.install(ready.snapshot)
            self._storage.apply_snapshot(ready.snapshot)
            self._wal.append_snapshot(ready.snapshot)
        self._persist(ready)
        if ready.soft_state is not None:
            self._hooks.soft_state(ready.soft_state)
        if ready.messages:
            self._hooks.send(ready.messages)
        if ready.committed:
            self._apply(ready.committed)
        for state in ready.read_states:
            self._reads.confirmed(state)
        self._reads.applied(self._applier.applied_index)

    def _persist(self, ready: Ready) -> None:
        """Writes what must be durable. A Ready with nothing to write waits for those before it."""
        if ready.entries:
            self._storage.append(ready.entries)
        if ready.hard_state is not None:
            self._hard_state = ready.hard_state
            self._storage.set_hard_state(ready.hard_state)
        is_write = bool(ready.entries) or ready.hard_state is not None or ready.snapshot is not None
        if not is_write and not self._unsynced:
            self._raft.persisted(ready.number)
            if ready.messages_after_persist:
                self._hooks.send(ready.messages_after_persist)
            return
        self._unsynced.append(_Unsynced(ready.number, is_write, ready.messages_after_persist))
        if is_write:
            number = ready.number
            self._wal.append(ready.hard_state, ready.entries)
            self._wal.sync(self._hooks.timed(lambda: self._synced(number)))

    def _synced(self, number: int) -> None:
        """The log is durable up to the Ready with this number, and what only waited for it."""
        if self._is_stopped:
            return
        messages: list[Message] = []
        unsynced = self._unsynced
        while unsynced and (unsynced[0].number <= number or not unsynced[0].is_write):
            number = max(number, unsynced[0].number)
            messages += unsynced.popleft().messages
        self._raft.persisted(number)
        if messages:
            self._hooks.send(messages)
        self.turn()

    def _apply(self, entries: list[Entry]) -> None:
        for entry in entries:
            outcome = self._applier.apply(entry)
            if type(outcome) is Applied:
                self._proposals.resolve(outcome.batch_id, outcome.results)
            elif type(outcome) is MembershipApplied:
                if outcome.fault is None:
                    conf_state = self._raft.apply_conf_change(outcome.conf_change)
                    self._applier.cluster.set_conf_state(conf_state)
                self._hooks.membership(outcome)
        self._raft.applied_to(entries[-1].index)

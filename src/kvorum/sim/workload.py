"""The clients: what they ask of which member, and what they write down of it.

Every client asks one thing at a time and waits a moment between. It stays with a member for a
while, goes to another when that one is down or silent, and never asks the same thing twice: what
was not answered in time stays unknown. Few keys and many clients, so that they meet.

Watchers hold a session with some member each, from a past, the next or a future revision; they
pause, leave, come back at another member, and go on where they were.

Which kinds of request are made, how often and at which pace is drawn anew for each run, nothing at
all included: a run of hardly anything but deletes finds what a mixture hides.

The caller: `start`; `stop` when no more is to be asked; `resume_watches` after all members are
well again, then time for them to tell what they have. `history` and `watches` are the judges'.
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Protocol

from msgspec import Struct

from kvorum.apply.commands import Command
from kvorum.errors import RequestError, UnavailableError
from kvorum.mvcc.intervals import prefix_end
from kvorum.mvcc.sortedkeys import FROM_KEY
from kvorum.mvcc.watch import Watcher
from kvorum.server.server import Server
from kvorum.sim.chance import Chance
from kvorum.sim.history import History, Kind, Operation, Outcome, Seen
from kvorum.sim.invariants import Process
from kvorum.sim.loop import SimLoop
from kvorum.sim.watches import Session, Watch
from kvorum.v2 import commands as v2
from kvorum.v2.node import Event, Node
from kvorum.v3.commands import Compact

FILES = (b"/a", b"/b", b"/d/a", b"/d/b")
DIRECTORY = b"/d"
QUEUE = b"/queue"

TIMEOUT_SECONDS = (0.2, 6.0)
"""How long clients wait: some give up while the server still tries."""

TTL_SECONDS = (0.2, 5.0)
STAY_SECONDS = 5.0
WATCH_POLL_SECONDS = 0.5

RANGES: tuple[tuple[bytes, bytes | None], ...] = (
    (FILES[0], None),
    (b"/d/", prefix_end(b"/d/")),
    (QUEUE, prefix_end(QUEUE)),
    (b"/", FROM_KEY),
)


class ClientsProcess(Process, Protocol):
    """A member that may go at any moment, or sleep."""

    @property
    def is_up(self) -> bool:
        """False once it is gone, for ever."""

    def run(self, callback: Callable[[], object]) -> None:
        """Runs `callback` in the process: never if it is gone, later if it sleeps."""


class Cluster(Protocol):
    """What clients may reach."""

    @property
    def loop(self) -> SimLoop:
        """Its time."""

    @property
    def processes(self) -> Sequence[ClientsProcess]:
        """The members that run, in an order that follows from the seed."""


class Load(Struct):
    """How much is asked.

    Attributes:
        clients: who ask for keys.
        watchers: who watch.
        think_seconds: mean time between a client's requests.
        compact_seconds: mean time between compactions; 0 for none.
        weights: how often each kind is asked for, next to the others.
    """

    clients: int
    watchers: int
    think_seconds: float
    compact_seconds: float
    weights: dict[Kind, float]


_WEIGHTS = {
    Kind.GET: 4.0,
    Kind.LOCAL_GET: 2.0,
    Kind.SET: 4.0,
    Kind.CREATE: 2.0,
    Kind.UPDATE: 2.0,
    Kind.COMPARE_AND_SWAP: 6.0,
    Kind.DELETE: 2.0,
    Kind.COMPARE_AND_DELETE: 1.5,
    Kind.DELETE_TREE: 0.7,
    Kind.CREATE_IN_ORDER: 2.0,
}


def draw_load(chance: Chance, *, operations_a_second: float = 10.0) -> Load:
    """A load for one run; about every fifth kind of request is left out."""
    weights = {
        kind: 0.0 if chance.happens(0.2) else weight * chance.between(0.3, 1.7)
        for kind, weight in _WEIGHTS.items()
    }
    weights[Kind.SET] = weights[Kind.SET] or 1.0
    clients = 2 + chance.below(7)
    return Load(
        clients=clients,
        watchers=chance.below(6),
        think_seconds=clients / operations_a_second,
        compact_seconds=0.0 if chance.happens(0.2) else 0.2 + chance.exponential(4.0),
        weights=weights,
    )


class Workload:
    """All clients of a run.

    Attributes:
        history: what was asked and answered.
        watches: one for each wish of a watcher.
        is_stopped: nothing more is asked.
        repeated: completions that were called more than once, in words.
    """

    def __init__(self, cluster: Cluster, chance: Chance, load: Load) -> None:
        self.cluster = cluster
        self.load = load
        self.history = History()
        self.watches: list[Watch] = []
        self.repeated: list[str] = []
        self.is_stopped = False
        self._chance = chance
        self._clients = [
            Client(self, f"c{number}", chance.child(f"client {number}"))
            for number in range(load.clients)
        ]
        self._watchers = [
            WatchClient(self, chance.child(f"watcher {number}")) for number in range(load.watchers)
        ]

    def start(self) -> None:
        """Everyone begins, each at a moment of its own."""
        for client in self._clients:
            client.wait()
        for watcher in self._watchers:
            watcher.poll()
        if self.load.compact_seconds:
            self._compact_later()

    def stop(self) -> None:
        """Asks for nothing more; answers still come in, watches stay."""
        self.is_stopped = True

    def resume_watches(self) -> None:
        """Gives every watch a session that is open and not paused."""
        for watcher in self._watchers:
            watcher.settle()

    def find_process(self, chance: Chance) -> ClientsProcess | None:
        """Any member that runs."""
        processes = self.cluster.processes
        return chance.choice(processes) if processes else None

    def _compact_later(self) -> None:
        delay = self._chance.exponential(self.load.compact_seconds)
        self.cluster.loop.call_later(delay, self._compact)

    def _compact(self) -> None:
        """Asks that all history, or all but the last few revisions, be forgotten."""
        if self.is_stopped:
            return
        process = self.find_process(self._chance)
        if process is not None:
            keep = 0 if self._chance.happens(0.3) else self._chance.below(50)
            revision = process.server.store.revision - keep
            if revision > 0:
                process.run(partial(process.server.propose, Compact(revision), _ignore))
        self._compact_later()


def _ignore(result: object) -> None:
    """Nobody waits."""
    del result


def name_of(process: Process) -> str:
    """How operations name the process they were sent to."""
    return f"{process.name}.{process.epoch}"


class Client:
    """Asks for keys, one request at a time."""

    def __init__(self, workload: Workload, name: str, chance: Chance) -> None:
        self.name = name
        self._workload = workload
        self._loop = workload.cluster.loop
        self._chance = chance
        self._process: ClientsProcess | None = None
        self._leave_at = 0.0
        self._count = 0
        self._known: dict[bytes, Seen | None] = {}
        self._open: Operation | None = None
        self._timeout_seconds = chance.between(*TIMEOUT_SECONDS)

    def wait(self) -> None:
        """Thinks for a moment, then asks."""
        delay = self._chance.exponential(self._workload.load.think_seconds)
        self._loop.call_later(delay, self._ask)

    def _ask(self) -> None:
        if self._workload.is_stopped:
            return
        process = self._choose_process()
        if process is None:
            self.wait()
            return
        operation = self._draw(process)
        self._workload.history.add(operation)
        self._open = operation
        self._loop.call_later(self._timeout_seconds, partial(self._give_up, operation))
        process.run(partial(self._arrives, operation, process.server))

    def _arrives(self, operation: Operation, server: Server) -> None:
        """The member takes the request."""
        if operation.kind is Kind.LOCAL_GET:
            self._answered(operation, _read(server, operation.key))
        elif operation.kind is Kind.GET:
            server.read(partial(self._may_read, operation, server))
        else:
            server.propose(_command(operation), partial(self._answered, operation))

    def _choose_process(self) -> ClientsProcess | None:
        process = self._process
        if process is None or not process.is_up or self._loop.now >= self._leave_at:
            self._process = self._workload.find_process(self._chance)
            self._leave_at = self._loop.now + self._chance.exponential(STAY_SECONDS)
        return self._process

    def _give_up(self, operation: Operation) -> None:
        """The answer did not come in time; this client turns to another member."""
        if self._open is operation:
            self._open = None
            self._leave_at = 0.0
            self.wait()

    def _may_read(
        self, operation: Operation, server: Server, error: UnavailableError | None
    ) -> None:
        self._answered(operation, error or _read(server, operation.key))

    def _answered(self, operation: Operation, result: object) -> None:
        """Takes an answer; one that comes after this client has left is lost."""
        if self._open is not operation:
            if operation.completed != inf:
                self._workload.repeated.append(f"answered twice: {operation}")
            return
        self._open = None
        if isinstance(result, UnavailableError):
            self._leave_at = 0.0
        else:
            outcome = result if isinstance(result, Outcome) else outcome_of(result)
            operation.outcome = outcome
            operation.completed = self._loop.now
            if operation.kind not in (Kind.DELETE_TREE, Kind.CREATE_IN_ORDER):
                self._known[operation.key] = outcome.node
        self.wait()

    def _draw(self, process: Process) -> Operation:
        """The next request."""
        chance = self._chance
        kind = self._draw_kind()
        key = chance.choice(FILES)
        if kind is Kind.CREATE_IN_ORDER:
            key = QUEUE
        elif kind is Kind.DELETE_TREE:
            key = DIRECTORY if chance.happens(0.7) else QUEUE
        operation = Operation(self.name, name_of(process), kind, key, self._loop.now)
        if kind in _PUTS:
            self._count += 1
            operation.value = f"{self.name}-{self._count}".encode()
            if kind is not Kind.CREATE_IN_ORDER and chance.happens(0.15):
                seconds = chance.between(*TTL_SECONDS)
                operation.expiration = process.server.clock.wall_ns() + int(seconds * 1e9)
        if kind in (Kind.COMPARE_AND_SWAP, Kind.COMPARE_AND_DELETE):
            self._draw_comparison(operation)
        return operation

    def _draw_kind(self) -> Kind:
        weights = self._workload.load.weights
        point = self._chance.random() * sum(weights.values())
        for kind, weight in weights.items():
            point -= weight
            if point < 0:
                return kind
        return Kind.SET

    def _draw_comparison(self, operation: Operation) -> None:
        """Compares with what was seen last, which is often right, or with anything."""
        known = self._known.get(operation.key)
        if known is None:
            operation.prev_value = b"never there"
            return
        if self._chance.happens(0.5):
            operation.prev_index = known.modified
        if not operation.prev_index or self._chance.happens(0.2):
            operation.prev_value = known.value


_PUTS = frozenset((Kind.SET, Kind.CREATE, Kind.UPDATE, Kind.COMPARE_AND_SWAP, Kind.CREATE_IN_ORDER))

_COMMANDS: dict[Kind, Callable[[Operation], Command]] = {
    Kind.SET: lambda one: v2.Set(one.key, one.value, expiration=one.expiration),
    Kind.CREATE: lambda one: v2.Create(one.key, one.value, expiration=one.expiration),
    Kind.UPDATE: lambda one: v2.Update(one.key, one.value, one.expiration),
    Kind.COMPARE_AND_SWAP: lambda one: v2.CompareAndSwap(
        one.key, one.value, one.prev_value, one.prev_index, one.expiration
    ),
    Kind.DELETE: lambda one: v2.Delete(one.key),
    Kind.COMPARE_AND_DELETE: lambda one: v2.CompareAndDelete(
        one.key, one.prev_value, one.prev_index
    ),
    Kind.DELETE_TREE: lambda one: v2.Delete(one.key, is_recursive=True),
    Kind.CREATE_IN_ORDER: lambda one: v2.Create(one.key, one.value, in_order=True),
}


def _command(operation: Operation) -> Command:
    """What the operation puts into the log."""
    return _COMMANDS[operation.kind](operation)


def _read(server: Server, key: bytes) -> Outcome:
    """What a member shows of a file now."""
    answer = server.tree.get(key)
    if isinstance(answer, RequestError):
        return outcome_of(answer)
    return Outcome(server.store.revision, node=_seen(answer.node))


def outcome_of(answer: object) -> Outcome:
    """What the answer to a write, or a refusal, tells."""
    if isinstance(answer, RequestError):
        return Outcome(answer.index, answer.v2_code)
    assert isinstance(answer, Event), "a command of a client is answered with an event"
    node = answer.node
    prev = None if answer.prev_node is None else _seen(answer.prev_node)
    return Outcome(node.modified_index, node=_seen(node), prev=prev, place=node.key)


def _seen(node: Node) -> Seen | None:
    if node.value is None:
        return None
    return Seen(node.value, node.modified_index, node.created_index, node.expiration)


class WatchClient:
    """Watches a range, with one member after the other."""

    def __init__(self, workload: Workload, chance: Chance) -> None:
        self._workload = workload
        self._loop = workload.cluster.loop
        self._chance = chance
        self._process: ClientsProcess | None = None
        self._watch: Watch | None = None
        self._session: Session | None = None
        self._watcher: Watcher | None = None
        self._is_paused = False

    def poll(self) -> None:
        """Looks after the watch, and does something to it now and then."""
        if self._workload.is_stopped:
            return
        self._act()
        self._loop.call_later(self._chance.exponential(WATCH_POLL_SECONDS), self.poll)

    def settle(self) -> None:
        """Makes sure of a session that is open and not paused."""
        if self._watch is None:
            return
        if self._is_open():
            self._resume()
        else:
            self._leave()
            self._connect(self._watch)

    def _act(self) -> None:
        chance = self._chance
        if self._watch is None or chance.happens(0.05):
            self._leave()
            if self._watch is not None:
                self._watch.is_left = True
                self._watch = None
            self._begin()
        elif not self._is_open() or chance.happens(0.1):
            self._leave()
            self._connect(self._watch)
        elif self._is_paused:
            self._resume()
        elif chance.happens(0.1):
            self._pause()

    def _is_open(self) -> bool:
        session, process = self._session, self._process
        if session is None or process is None:
            return False
        return process.is_up and session.compacted_revision is None

    def _pause(self) -> None:
        self._is_paused = True
        if self._process is not None and self._watcher is not None:
            self._process.run(self._watcher.pause)

    def _resume(self) -> None:
        self._is_paused = False
        if self._process is not None and self._watcher is not None:
            self._process.run(self._watcher.resume)

    def _leave(self) -> None:
        """Closes the connection; what arrived before has arrived."""
        if self._session is not None:
            self._session.close()
        if self._process is not None and self._watcher is not None:
            self._process.run(partial(self._process.server.hub.cancel, self._watcher))
        self._process = self._watcher = self._session = None
        self._is_paused = False

    def _begin(self) -> None:
        """A new wish: from the next, a past or a future revision on."""
        process = self._workload.find_process(self._chance)
        if process is None:
            return
        start, end = self._chance.choice(RANGES)
        self._watch = Watch(start, end)
        self._workload.watches.append(self._watch)
        first_revision = process.server.store.revision + 1
        if self._chance.happens(0.6):
            first_revision += self._chance.below(60) - 40
        self._open(process, self._watch, max(first_revision, 1))

    def _connect(self, watch: Watch) -> None:
        """Goes on where the last session ended, at any member."""
        process = self._workload.find_process(self._chance)
        if process is not None:
            self._open(process, watch, watch.sessions[-1].next_revision)

    def _open(self, process: ClientsProcess, watch: Watch, first_revision: int) -> None:
        session = watch.begin(name_of(process), first_revision)
        self._process, self._session = process, session
        process.run(partial(self._arrives, process.server, watch, session))

    def _arrives(self, server: Server, watch: Watch, session: Session) -> None:
        """The member takes the request, unless the client has left meanwhile."""
        if self._session is session:
            hub = server.hub
            self._watcher = hub.watch(watch.start, watch.end, session.first_revision, session)

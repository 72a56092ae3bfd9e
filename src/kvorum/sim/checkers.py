"""The judges of a run: all rules at every step, and all that can only be told at the end.

`step` looks at the members (`invariants`). `finish`, once the cluster is well, nobody asks any more
and watches have had time, holds what clients were told against what the log did:

    converged     every member has applied the whole log, and its state is what it should be
    seats         whoever is counted, or learns, is a member, and every member is
    acknowledged  every write that was answered is in the log, as it was answered
    linearizable  each file's operations have an order (`linearizability`)
    in step       across all keys, what began later tells no lower revision
    local reads   each shows a state that was, and a member's do not go back
    in order      a node created in order stands under its revision, once
    directories   nothing is left below what was deleted
    calls         see `kvjudge` and `leasejudge`
    watches       see `watches`
    time          nothing is left whose time was over long ago
    space         the log was cut, in memory and on disk

Each raises a Violation that says in words what does not hold.
"""

# ruff: noqa: SLF001 -- a judge looks where no client may

from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile

from kvorum.raft.types import Message
from kvorum.sim import kvjudge, leasejudge, linearizability, watches
from kvorum.sim.history import History, Kind, Operation, Outcome, Seen, Told, Violation
from kvorum.sim.invariants import Invariants, Process, count_waiting, raft_of
from kvorum.sim.linearizability import Undecided
from kvorum.sim.reference import Reference
from kvorum.sim.watches import Watch

EXPIRY_LATENESS_NS = 3_000_000_000
"""A well cluster has removed by then what was due: two rounds of a proposal made again."""


class Judges:
    """Every judge of one run.

    Attributes:
        reference: what the committed log has done.
        undecided: files whose operations could not be judged in bounded time.
    """

    def __init__(
        self,
        processes: Callable[[], Sequence[Process]],
        now: Callable[[], float],
        fastest: float = 1.0,
    ) -> None:
        """Takes the members that run, the time, and how fast a clock may run."""
        self.reference = Reference(now)
        self.undecided: list[bytes] = []
        self._processes = processes
        self._fastest = fastest
        self._invariants = Invariants(self.reference)

    def step(self) -> None:
        """Call after every event."""
        self._invariants.step(self._processes())

    def sent(self, process: Process, messages: Sequence[Message]) -> None:
        """Call with all messages that leave a process."""
        self._invariants.sent(process, messages)

    def jumping(self, process: Process) -> None:
        """Call before a process's clock is set."""
        self._invariants.jumping(process)

    def check_deadlines(self, awake: Iterable[Process]) -> None:
        """Call about once a second, with those that are awake."""
        self._invariants.check_deadlines(awake)

    def has_answered(self) -> bool:
        """Whether nobody waits for anything."""
        return all(count_waiting(one.server) == 0 for one in self._processes())

    def has_converged(self) -> bool:
        """Whether every member that runs has applied all that was ever committed, durably.

        What is durable has let go of the log before it.
        """
        last_index = self.reference.last_index
        servers = [one.server for one in self._processes()]
        return all(one.applied_index == one._backend.durable_index == last_index for one in servers)

    def finish(self, history: History, watched: Iterable[Watch]) -> None:
        """Judges the whole run; the members run, and have converged."""
        processes = list(self._processes())
        check_converged(processes, self.reference)
        self._invariants.check_whole_states(processes)
        for process in processes:
            check_expired(process)
            leasejudge.check_overdue(process)
            check_log_size(process)
        self.check_history(history)
        for watch in watched:
            watches.check(watch, self.reference, is_current=True)

    def check_history(self, history: History) -> None:
        """Judges what clients were told; the log may go on meanwhile."""
        operations = history.operations
        told = history.told()
        check_order(told)
        check_local_reads(operations, self.reference)
        check_created_in_order(operations, self.reference)
        check_deleted_trees(operations, self.reference)
        for key, asked in history.by_key().items():
            self._check_file(key, asked)
        kvjudge.check(history.calls, told, self.reference)
        leasejudge.check(history.calls, self.reference, self._fastest)

    def _check_file(self, key: bytes, operations: Sequence[Operation]) -> None:
        changes = self.reference.by_key.get(key, [])
        explained = linearizability.explained(key, operations, changes)
        try:
            fault = linearizability.find_fault(explained)
        except Undecided:
            self.undecided.append(key)
            return
        if fault is not None:
            raise Violation(f"the operations on {key.decode()} are not linearizable: {fault}")


def check_converged(processes: Sequence[Process], reference: Reference) -> None:
    """Every member is where the log ends, and holds what it should."""
    expected = reference.hash_at(reference.revision)
    for process in processes:
        server = process.server
        name = process.name
        if server.applied_index != reference.last_index:
            raise Violation(
                f"{name} has applied {server.applied_index}, committed are {reference.last_index}"
            )
        if server.store.hash_at(server.store.revision) != expected:
            raise Violation(f"{name} has another hash than it should at {reference.last_index}")
        if server.cluster.members != reference.members:
            raise Violation(f"{name} knows other members than the log tells of")
        check_seats(process)


def check_seats(process: Process) -> None:
    """Raft's configuration and the state tell of the same members."""
    cluster = process.server.cluster
    for conf_state in (raft_of(process.server).tracker.conf_state, cluster.conf_state):
        seats = {*conf_state.voters, *conf_state.learners, *conf_state.learners_next}
        if seats != set(cluster.members):
            raise Violation(f"{process.name} counts others than the members: {conf_state}")


def check_expired(process: Process) -> None:
    """What is still there is not long overdue by any leader's clock."""
    server = process.server
    due_ns = server.store.expiring.next_due()
    if not server.is_leader or due_ns is None:
        return
    lateness_ns = server.clock.wall_ns() - due_ns
    if lateness_ns > EXPIRY_LATENESS_NS:
        raise Violation(f"{process.name} leads and has a key {lateness_ns / 1e9:.1f} s overdue")


def check_log_size(process: Process) -> None:
    """In memory and on disk the log holds no more than somebody may still need."""
    server = process.server
    log, count = raft_of(server).log, server.config.snapshot_count
    kept = log.applied - log.first_index + 1
    if server.config.snapshot and kept > 2 * count + 1:
        raise Violation(f"{process.name} keeps {kept} entries in memory, to be cut at {count}")
    needless = min(server._backend.durable_index, log.first_index - 1)
    # Segments go in order: one whose tail was replaced later keeps those behind it.
    older = takewhile(lambda one: one.last_index <= needless, server._wal._segments[:-1])
    left = [one.name for one in older]
    if len(left) > 1:
        raise Violation(f"{process.name} keeps {left}, though nobody needs {needless} any more")


def check_order(told: Sequence[Told]) -> None:
    """The revision that an answer tells is not below any that was told before it was asked for."""
    by_completion = iter(sorted(told, key=_completed))
    before = next(by_completion, None)
    highest: Told | None = None
    for answer in sorted(told, key=_invoked):
        while before is not None and before.completed < answer.invoked:
            if highest is None or before.revision > highest.revision:
                highest = before
            before = next(by_completion, None)
        if highest is not None and answer.revision < highest.revision + answer.is_change:
            raise Violation(f"a revision went back: {highest.what}; later {answer.what}")


def check_local_reads(operations: Sequence[Operation], reference: Reference) -> None:
    """A local read shows the file as it was at the revision told; no process goes back."""
    newest: dict[str, Operation] = {}
    for operation in operations:
        outcome = operation.outcome
        if operation.kind is not Kind.LOCAL_GET or outcome is None:
            continue
        before = newest.get(operation.process)
        if before is not None and _revision(before) > outcome.revision:
            raise Violation(f"a member's local reads went back: {before}; later {operation}")
        newest[operation.process] = operation
        shown = _seen_at(reference, operation.key, outcome.revision)
        if outcome.node != shown:
            raise Violation(f"a local read shows what never was, due was {shown}: {operation}")


def _seen_at(reference: Reference, key: bytes, revision: int) -> Seen | None:
    change = reference.find_change(key, revision)
    if change is None or change.record.tombstone:
        return None
    record = change.record
    return Seen(record.value, record.mod_revision, record.create_revision, record.expiration)


def check_created_in_order(operations: Sequence[Operation], reference: Reference) -> None:
    """Each node created in order is in the log under its own number, once, and was asked for."""
    asked: dict[bytes, Operation] = {}
    parents: dict[bytes, None] = {}
    for operation in operations:
        if operation.kind is Kind.CREATE_IN_ORDER:
            asked[operation.value] = operation
            parents[operation.key + b"/"] = None
    placed: dict[bytes, bytes] = {}
    for key, changes in reference.by_key.items():
        if not key.startswith(tuple(parents)) or key in parents:
            continue
        for change in changes:
            if not change.record.tombstone:
                _check_place(key, change.record.value, change.record.mod_revision, asked)
                if placed.setdefault(change.record.value, key) != key:
                    raise Violation(f"{asked[change.record.value]} was done twice")
    for value, operation in asked.items():
        if operation.is_done and placed.get(value) != _outcome(operation).place:
            raise Violation(f"an acknowledged write is not in the log: {operation}")


def _check_place(key: bytes, value: bytes, revision: int, asked: dict[bytes, Operation]) -> None:
    if value not in asked:
        raise Violation(f"{key.decode()} was created in order, but nobody asked for it")
    operation = asked[value]
    if key != b"%b/%d" % (operation.key, revision):
        raise Violation(f"{operation} was created at {revision} as {key.decode()}")
    if operation.is_done and _outcome(operation).revision != revision:
        raise Violation(f"it was done at {revision}: {operation}")


def check_deleted_trees(operations: Sequence[Operation], reference: Reference) -> None:
    """At the revision at which a directory went, or was not found, nothing is below it."""
    for operation in operations:
        if operation.kind is not Kind.DELETE_TREE or operation.outcome is None:
            continue
        marker = operation.key + b"/"
        revision = operation.outcome.revision
        if operation.is_done:
            changes = reference.changes.get(revision)
            keys = [change.record.key for change in changes.changes] if changes else []
            if marker not in keys:
                raise Violation(f"an acknowledged write is not in the log: {operation}")
        left = [key for key in reference.live_at(revision) if key.startswith(marker)]
        if left:
            raise Violation(f"{left[0].decode()} is left behind by {operation}")


def _outcome(operation: Operation) -> Outcome:
    assert operation.outcome is not None, "it was answered"
    return operation.outcome


def _revision(operation: Operation) -> int:
    return _outcome(operation).revision


def _invoked(told: Told) -> float:
    return told.invoked


def _completed(told: Told) -> float:
    return told.completed

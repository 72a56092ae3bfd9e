"""Whether the operations on one file could have happened one after the other.

A history is linearizable when its operations can be put in an order that

    keeps real time     what completed before another was invoked stands before it
    obeys the model     each answer is what a file in that state answers
    never goes back     the revisions that answers tell do not decrease

in which every answered operation stands once, and each unknown one once or not at all. The search
is that of Wing and Gong: take any operation that may be next, go on from the state after it, and
return when nothing fits. Positions already seen (which operations were taken, state) are not tried
again, as Lowe proposes. Three rules keep it short without losing an order:

    of the answered operations that tell a revision only one with the lowest may be next
    an unknown write whose value no answer shows is as good as any other such write
    of unknown operations that are alike the one invoked first is taken

The model of a file: nothing, or a value with modified index, created index and expiration. What an
unknown write left is known only in bounds, until an answer shows it.

`explained` takes most of the guesses out beforehand: what the log holds has happened at that
revision, what it does not hold has not. An operation with an outcome that never completed is such
a finding: only its revision is told.
Source: Wing and Gong 1993; Lowe, "Testing for linearizability", 2017; v2-api section 3.
"""

from collections.abc import Iterator, Sequence
from math import inf
from typing import NamedTuple

import msgspec

from kvorum.errors import CompareFailed, KeyExists, KeyNotFound, KvorumError
from kvorum.mvcc.record import Change
from kvorum.sim.history import Kind, Operation, Outcome, Seen, Violation
from kvorum.v2.node import Action

POSITIONS_MAX = 200_000
"""A search that long has no end in sight; with the log at hand it takes a position an operation."""


class Undecided(KvorumError):
    """The search was given up."""


class FileState(NamedTuple):
    """What stands at a path.

    Attributes:
        value: None when there is no file.
        modified: above 0 the index; below 0 unknown, and at least `-modified`.
        created: above 0 the index; below 0 unknown, at least `-created` and below `modified`;
            0 the same as an unknown `modified`.
        expiration: ns since the epoch; 0 never.
        floor: the store's revision is at least this.
    """

    value: bytes | None = None
    modified: int = 0
    created: int = 0
    expiration: int = 0
    floor: int = 0


ABSENT = FileState()

_CREATING = frozenset((Kind.SET, Kind.CREATE))
_PUTS = frozenset((Kind.SET, Kind.CREATE, Kind.UPDATE, Kind.COMPARE_AND_SWAP))
_COMPARING = frozenset((Kind.COMPARE_AND_SWAP, Kind.COMPARE_AND_DELETE))


def step(state: FileState, operation: Operation) -> FileState | None:
    """The state after an operation; None when it cannot have happened in this one."""
    outcome = operation.outcome
    if outcome is None or operation.completed == inf:
        return _write(state, operation, 0 if outcome is None else outcome.revision)
    if outcome.refusal:
        is_possible = outcome.revision >= state.floor and _may_refuse(state, operation, outcome)
        return _raised(state, outcome.revision) if is_possible else None
    if operation.kind is Kind.GET:
        bound = _bound(state, outcome.node) if outcome.revision >= state.floor else None
        return None if bound is None else _raised(bound, outcome.revision)
    return _told_write(state, operation, outcome)


def _raised(state: FileState, revision: int) -> FileState:
    """The same file in a store that has reached a revision."""
    if revision == state.floor:
        return state
    value, modified, created, expiration, _ = state
    return FileState(value, modified, created, expiration, revision)


def _told_write(state: FileState, operation: Operation, outcome: Outcome) -> FileState | None:
    """A write whose answer shows what was there before and what is there now."""
    if operation.kind is Kind.DELETE_TREE:
        return _write(state, operation, outcome.revision)
    before = _bound(state, outcome.prev)
    if before is None:
        return None
    after = _write(before, operation, outcome.revision)
    if after is None or after.value is None:
        return after
    shown = outcome.node
    told = shown and (shown.value, shown.modified, shown.created, shown.expiration)
    return after if told == after[:4] else None


def _write(state: FileState, operation: Operation, revision: int) -> FileState | None:
    """The state after a write that was done at a revision; 0 when that is not known."""
    if not _may_do(state, operation) or 0 < revision <= state.floor:
        return None
    floor = revision or state.floor + 1
    kind = operation.kind
    if kind not in _PUTS:
        return FileState(floor=floor)
    modified = revision or -floor
    # What was created together with an unknown modified index keeps that one's bound.
    created = revision if kind in _CREATING else state.created or state.modified
    return FileState(operation.value, modified, created, operation.expiration, floor)


def _may_do(state: FileState, operation: Operation) -> bool:
    """Whether the file in this state lets the write be done."""
    kind = operation.kind
    is_absent = state.value is None
    if kind is Kind.SET or kind is Kind.DELETE_TREE:
        return True
    if kind is Kind.CREATE or is_absent:
        return kind is Kind.CREATE and is_absent
    if kind is Kind.EXPIRE:
        return operation.expiration in (0, state.expiration)
    return kind not in _COMPARING or _may_match(state, operation)


def _may_match(state: FileState, operation: Operation) -> bool:
    """Whether the file may compare equal."""
    if operation.prev_value and operation.prev_value != state.value:
        return False
    wanted, modified = operation.prev_index, state.modified
    return not wanted or wanted == modified or (modified < 0 and wanted >= -modified)


def _may_differ(state: FileState, operation: Operation) -> bool:
    """Whether the file may compare unequal."""
    if operation.prev_value and operation.prev_value != state.value:
        return True
    return operation.prev_index not in (0, state.modified)


def _may_refuse(state: FileState, operation: Operation, outcome: Outcome) -> bool:
    """Whether the file in this state gives this refusal."""
    kind, code = operation.kind, outcome.refusal
    if code == KeyNotFound.v2_code:
        return state.value is None and kind not in _CREATING
    if state.value is None:
        return False
    if code == CompareFailed.v2_code:
        return kind in _COMPARING and _may_differ(state, operation)
    return code == KeyExists.v2_code and kind is Kind.CREATE


def _bound(state: FileState, shown: Seen | None) -> FileState | None:
    """The state, now that an answer has shown all of it; None when it shows another one."""
    if shown is None or state.value is None:
        return state if shown is None and state.value is None else None
    if shown.value != state.value or shown.expiration != state.expiration:
        return None
    modified, created = state.modified, state.created
    if modified > 0 and modified == shown.modified and created == shown.created:
        return state
    if modified != shown.modified and not 0 < -modified <= shown.modified:
        return None
    if created == 0:
        is_created = shown.created == shown.modified
    elif created < 0:
        is_created = -created <= shown.created < shown.modified
    else:
        is_created = created == shown.created
    if not is_created:
        return None
    return FileState(shown.value, shown.modified, shown.created, shown.expiration, state.floor)


def explained(
    key: bytes, operations: Sequence[Operation], changes: Sequence[Change]
) -> list[Operation]:
    """The operations on a file, with those in the log that nobody was told of.

    Args:
        key: the file's path.
        operations: what clients asked.
        changes: all that ever happened to the key, in order.

    Raises:
        Violation: an acknowledged write is not in the log, or the log has one nobody asked for.
    """
    # A directory's delete may have met no such file.
    told = {one.outcome.revision for one in operations if _is_told(one) and one.outcome}
    unknown = [one for one in operations if one.outcome is None and one.is_write]
    found = [one for one in operations if one.outcome is not None and one.kind != Kind.LOCAL_GET]
    happened = set()
    for change in changes:
        revision = change.record.mod_revision
        happened.add(revision)
        if revision not in told:
            found.append(_cause(key, change, unknown))
    for one in operations:
        if _is_told(one) and one.kind is not Kind.DELETE_TREE:
            assert one.outcome is not None, "it was told"
            if one.outcome.revision not in happened:
                raise Violation(f"an acknowledged write is not in the log: {one}")
    return found


def _is_told(operation: Operation) -> bool:
    return operation.is_write and operation.is_done


_KINDS = {
    Action.SET: Kind.SET,
    Action.CREATE: Kind.CREATE,
    Action.UPDATE: Kind.UPDATE,
    Action.COMPARE_AND_SWAP: Kind.COMPARE_AND_SWAP,
    Action.COMPARE_AND_DELETE: Kind.COMPARE_AND_DELETE,
    Action.DELETE: Kind.DELETE,
}


def _cause(key: bytes, change: Change, unknown: list[Operation]) -> Operation:
    """The operation that made a change no answer tells of; it is taken from `unknown`."""
    record, prev = change.record, change.prev
    outcome = Outcome(record.mod_revision)
    if record.action == Action.EXPIRE:
        expiration = 0 if prev is None or record.silent else prev.expiration
        return Operation("", "", Kind.EXPIRE, key, 0.0, expiration=expiration, outcome=outcome)
    kind = Kind.DELETE_TREE if record.silent else _KINDS[Action(record.action)]
    for at, operation in enumerate(unknown):
        if operation.kind is kind and _may_have_made(operation, change):
            # A directory's delete is the cause of many changes.
            if kind is not Kind.DELETE_TREE:
                del unknown[at]
            return msgspec.structs.replace(operation, outcome=outcome)
    raise Violation(f"{key.decode()} was changed at {record.mod_revision}, but nobody asked for it")


def _may_have_made(operation: Operation, change: Change) -> bool:
    """Whether the operation, of the right kind, leaves this record in the place of that one."""
    prev = change.prev
    if operation.value != change.record.value:
        return False
    if operation.prev_value and (prev is None or prev.value != operation.prev_value):
        return False
    return not operation.prev_index or (
        prev is not None and prev.mod_revision == operation.prev_index
    )


def find_fault(operations: Sequence[Operation]) -> str | None:
    """What is wrong with the operations on one file; None when they are linearizable.

    Raises:
        Undecided: the search would take too long.
    """
    search = _Search(operations)
    return None if search.run() else search.report()


class _Position(NamedTuple):
    taken: int
    guessed: int
    state: FileState


class _Search:
    """The depth-first search; `taken` and `guessed` are bit sets over `certain` and `unknown`."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        ordered = sorted(operations, key=_invoked)
        self._certain = [one for one in ordered if one.outcome is not None]
        self._unknown = [one for one in ordered if one.outcome is None and one.is_write]
        self._ranks = [_rank(one) for one in self._certain]
        self._classes = _classes(self._unknown, _shown_values(self._certain))
        # Whatever stands for the same class leaves the same state.
        self._stand_ins = [self._unknown[self._classes.index(one)] for one in self._classes]
        self._deepest = _Position(0, 0, ABSENT)
        self._deepest_count = 0

    def run(self) -> bool:
        """Whether there is an order."""
        everything = (1 << len(self._certain)) - 1
        start = _Position(0, 0, ABSENT)
        if not everything:
            return True
        seen = {start}
        stack = [self._followers(start)]
        while stack:
            position = next(stack[-1], None)
            if position is None:
                stack.pop()
                continue
            if position.taken == everything:
                return True
            if position in seen:
                continue
            if len(seen) >= POSITIONS_MAX:
                raise Undecided(f"no order found in {POSITIONS_MAX} positions")
            seen.add(position)
            self._note(position)
            stack.append(self._followers(position))
        return False

    def _note(self, position: _Position) -> None:
        count = position.taken.bit_count()
        if count > self._deepest_count:
            self._deepest_count = count
            self._deepest = position

    def _followers(self, position: _Position) -> Iterator[_Position]:
        """The positions one operation further: answered ones first, guesses when these fail."""
        taken, guessed, state = position
        window, horizon = self._window(taken)
        for at in window:
            after = step(state, self._certain[at])
            if after is not None:
                yield _Position(taken | 1 << at, guessed, after)
        tried: list[tuple[object, ...]] = []
        for at, operation in enumerate(self._unknown):
            if operation.invoked > horizon:
                break
            if guessed >> at & 1 or self._classes[at] in tried:
                continue
            tried.append(self._classes[at])
            after = step(state, self._stand_ins[at])
            if after is not None:
                yield _Position(taken, guessed | 1 << at, after)

    def _window(self, taken: int) -> tuple[list[int], float]:
        """The answered operations that may be next, and when the first of all left completed."""
        certain, ranks = self._certain, self._ranks
        window: list[int] = []
        horizon, lowest = inf, _LAST
        at = (~taken & (taken + 1)).bit_length() - 1
        while at < len(certain) and certain[at].invoked <= horizon:
            if not taken >> at & 1:
                window.append(at)
                horizon = min(horizon, certain[at].completed)
                lowest = min(lowest, ranks[at] or _LAST)
            at += 1
        if len(window) > 1:
            window = [at for at in window if certain[at].invoked <= horizon]
            window = [at for at in window if (ranks[at] or lowest) <= lowest]
        return window, horizon

    def report(self) -> str:
        """Where the longest order ends, and what could not follow."""
        position = self._deepest
        window, _ = self._window(position.taken)
        count, total = position.taken.bit_count(), len(self._certain)
        lines = [f"{count} of {total} operations can be put in order; then, in {position.state}:"]
        lines += [f"  cannot follow: {self._certain[at]}" for at in window]
        near = [one for at, one in enumerate(self._certain) if position.taken >> at & 1]
        near.sort(key=lambda one: (_revision(one), one.invoked))
        lines += [f"  before it: {one}" for one in near[-5:]]
        return "\n".join(lines)


_LAST = (1 << 62, 0)


def _invoked(operation: Operation) -> float:
    return operation.invoked


def _revision(operation: Operation) -> int:
    return 0 if operation.outcome is None else operation.outcome.revision


def _rank(operation: Operation) -> tuple[int, int] | None:
    """Where its revision puts it: a write stands before what was seen at its revision."""
    revision = _revision(operation)
    is_change = operation.is_write and operation.is_done
    return (revision, not is_change) if revision else None


def _shown_values(operations: Sequence[Operation]) -> set[bytes]:
    """Every value that some answer shows or some comparison names."""
    shown = {one.prev_value for one in operations}
    for one in operations:
        for seen in (one.outcome and one.outcome.node, one.outcome and one.outcome.prev):
            if seen:
                shown.add(seen.value)
    return shown


def _classes(unknown: Sequence[Operation], shown: set[bytes]) -> list[tuple[object, ...]]:
    """What of each operation makes a difference to the search."""
    compared = shown | {one.prev_value for one in unknown}
    return [
        (
            one.kind,
            one.value if one.value in compared else None,
            one.prev_value,
            one.prev_index,
            one.expiration,
        )
        for one in unknown
    ]

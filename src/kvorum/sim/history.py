"""What clients asked and what they were told: the material of the judges.

An operation is written down when it is sent, and completed when its answer comes. One that is
never answered, or whose answer says that nobody knows, keeps `completed` at infinity and no
outcome: it may have happened at any time since, or never.

Times are virtual seconds. Two operations are ordered in real time when one completed strictly
before the other was invoked.
"""

from collections.abc import Iterator
from enum import IntEnum
from math import inf
from typing import NamedTuple, TypeAlias

from msgspec import Struct

from kvorum.errors import KvorumError
from kvorum.sim.calls import Call

RevisionNumber: TypeAlias = int
"""A main revision, which v2 calls an index."""


class Violation(KvorumError):
    """A property that a judge watches over does not hold; the text says which, in words."""


class Kind(IntEnum):
    """What was asked."""

    GET = 0
    """A linearizable read."""
    LOCAL_GET = 1
    """A read of one member's state, which may be old."""
    SET = 2
    CREATE = 3
    UPDATE = 4
    COMPARE_AND_SWAP = 5
    DELETE = 6
    COMPARE_AND_DELETE = 7
    EXPIRE = 8
    """Nobody asks for it: a key went because its time was over."""
    DELETE_TREE = 9
    """A directory with all below it."""
    CREATE_IN_ORDER = 10


READS = (Kind.GET, Kind.LOCAL_GET)


class Seen(Struct, frozen=True, gc=False):
    """A file as an answer showed it; `expiration` is 0 when it never expires."""

    value: bytes
    modified: RevisionNumber
    created: RevisionNumber
    expiration: int = 0


class Outcome(Struct, frozen=True, gc=False):
    """What the answer said.

    Attributes:
        revision: of the write that was done; of the store when the request was read or refused.
        refusal: the v2 error code; 0 when it was done.
        node: the file afterwards; None in a refusal, and where a file was deleted.
        prev: the file before; None when there was none, and in a read or refusal.
        place: where a node created in order stands.
    """

    revision: RevisionNumber
    refusal: int = 0
    node: Seen | None = None
    prev: Seen | None = None
    place: bytes = b""


class Operation(Struct):
    """One request of one client.

    Attributes:
        client: who asked.
        process: the member asked, with its epoch.
        key: a file's path; a directory's for DELETE_TREE and CREATE_IN_ORDER.
        prev_value: what must be there; empty: not compared.
        prev_index: the modified index that must be there; 0: not compared.
        expiration: ns since the epoch; 0 never.
        completed: infinity while there is no answer.
        outcome: None while unknown.
    """

    client: str
    process: str
    kind: Kind
    key: bytes
    invoked: float
    value: bytes = b""
    prev_value: bytes = b""
    prev_index: RevisionNumber = 0
    expiration: int = 0
    completed: float = inf
    outcome: Outcome | None = None

    @property
    def is_done(self) -> bool:
        """Whether the answer says that it was done, and not refused."""
        return self.outcome is not None and not self.outcome.refusal

    @property
    def is_write(self) -> bool:
        """Whether it changes anything when it is done."""
        return self.kind not in READS

    def __str__(self) -> str:
        """One line for a report."""
        until = "?" if self.completed == inf else f"{self.completed:.3f}"
        wanted = [
            f"{name}={wanted!r}"
            for name, wanted in (
                ("value", self.value),
                ("prev_value", self.prev_value),
                ("prev_index", self.prev_index),
                ("expiration", self.expiration),
            )
            if wanted
        ]
        asked = " ".join((self.kind.name, self.key.decode(), *wanted))
        where = f"{self.client}@{self.process}"
        return f"[{self.invoked:.3f}, {until}] {where} {asked} -> {_told(self.outcome)}"


def _told(outcome: Outcome | None) -> str:
    if outcome is None:
        return "unknown"
    if outcome.refusal:
        return f"refused {outcome.refusal} at {outcome.revision}"
    shown = [f"{name} {_file(seen)}" for name, seen in _files(outcome)]
    return " ".join((f"done at {outcome.revision}", *shown))


def _files(outcome: Outcome) -> Iterator[tuple[str, Seen]]:
    if outcome.node is not None:
        yield "node", outcome.node
    if outcome.prev is not None:
        yield "prev", outcome.prev


def _file(seen: Seen) -> str:
    return f"{seen.value!r}@{seen.modified}/{seen.created}"


class Told(NamedTuple):
    """A revision that a client was told, of the newest there was; `what` says how, in words."""

    invoked: float
    completed: float
    revision: RevisionNumber
    is_change: bool
    what: Operation | Call


class History:
    """All that was asked in a run, in the order in which it was sent.

    Attributes:
        operations: of the v2 API.
        calls: of the v3 API.
    """

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.calls: list[Call] = []

    def add(self, operation: Operation) -> Operation:
        """Writes down what is being sent."""
        self.operations.append(operation)
        return operation

    def told(self) -> list[Told]:
        """Every revision that clients were told, but not of one member's state."""
        told = [
            Told(
                one.invoked, one.completed, one.outcome.revision, one.is_write and one.is_done, one
            )
            for one in self.operations
            if one.outcome is not None and one.kind is not Kind.LOCAL_GET
        ]
        told += [
            Told(one.invoked, one.completed, one.revision, one.has_written, one)
            for one in self.calls
            if one.revision and not one.is_local
        ]
        return told

    def by_key(self) -> dict[bytes, list[Operation]]:
        """The operations of each file's path; a deleted directory's are with all files below it."""
        found: dict[bytes, list[Operation]] = {}
        trees: list[Operation] = []
        for operation in self.operations:
            if operation.kind is Kind.DELETE_TREE:
                trees.append(operation)
            elif operation.kind is not Kind.CREATE_IN_ORDER:
                found.setdefault(operation.key, []).append(operation)
        for tree in trees:
            prefix = tree.key + b"/"
            for key, operations in found.items():
                if key.startswith(prefix):
                    operations.append(tree)
        return found

"""Clients of the v2 API: what they ask, and what they write down of it.

Every second comparison is with what the client saw last, which is often right. Values are never
used twice, so that each says which request wrote it.
"""

from collections.abc import Callable
from functools import partial

from kvorum.apply.commands import Command
from kvorum.errors import RequestError, UnavailableError
from kvorum.server.server import Server
from kvorum.sim.chance import Chance
from kvorum.sim.clients import Client, ClientsProcess, Site, name_of
from kvorum.sim.history import History, Kind, Operation, Outcome, Seen
from kvorum.v2 import commands as v2
from kvorum.v2.node import Event, Node

FILES = (b"/a", b"/b", b"/d/a", b"/d/b")
DIRECTORY = b"/d"
QUEUE = b"/queue"

TTL_SECONDS = (0.2, 5.0)

WEIGHTS = {
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
"""How often each kind is asked for, next to the others."""


class FileClient(Client[Operation]):
    """Asks for keys of the v2 API."""

    def __init__(
        self, site: Site, name: str, chance: Chance, weights: dict[Kind, float], history: History
    ) -> None:
        super().__init__(site, name, chance)
        self._weights = weights
        self._history = history
        self._known: dict[bytes, Seen | None] = {}

    def _send(self, request: Operation, server: Server) -> None:
        if request.kind is Kind.LOCAL_GET:
            self._answered(request, _read(server, request.key))
        elif request.kind is Kind.GET:
            server.read(partial(self._may_read, request, server))
        else:
            server.propose(_command(request), partial(self._answered, request))

    def _may_read(self, request: Operation, server: Server, error: UnavailableError | None) -> None:
        self._answered(request, error or _read(server, request.key))

    def _take(self, request: Operation, result: object) -> None:
        outcome = result if isinstance(result, Outcome) else outcome_of(result)
        request.outcome = outcome
        if request.kind not in (Kind.DELETE_TREE, Kind.CREATE_IN_ORDER):
            self._known[request.key] = outcome.node

    def _draw(self, process: ClientsProcess) -> Operation:
        chance = self._chance
        kind = chance.weighted(self._weights)
        key = chance.choice(FILES)
        if kind is Kind.CREATE_IN_ORDER:
            key = QUEUE
        elif kind is Kind.DELETE_TREE:
            key = DIRECTORY if chance.happens(0.7) else QUEUE
        operation = Operation(self.name, name_of(process), kind, key, self._loop.now)
        if kind in _PUTS:
            operation.value = self._next_value()
            if kind is not Kind.CREATE_IN_ORDER and chance.happens(0.15):
                seconds = chance.between(*TTL_SECONDS)
                operation.expiration = process.server.clock.wall_ns() + int(seconds * 1e9)
        if kind in (Kind.COMPARE_AND_SWAP, Kind.COMPARE_AND_DELETE):
            self._draw_comparison(operation)
        return self._history.add(operation)

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

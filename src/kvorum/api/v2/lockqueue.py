"""One lock's queue: who holds it, who waits, and how a wait ends.

A lock is a directory of in-order files. Each file is a place in the queue, its number says when it
came, and the first place holds the lock. A place has a TTL, so that one whose owner has died goes
by itself. While a request waits, its server renews the place.

    look -> create -> wait -> take -> answer
    look     only for a request with a value: who holds a place under it already joins that place
    create   the in-order file; its owner is this request
    wait     until no place is before ours; every deletion in the queue is a reason to look again
    take     the full TTL begins, and only then the lock is told to be ours
    on the way out, be it by timeout, by a client that leaves or by a failure, an owner takes its
    place away, unless another request here waits at the same place: then that one owns it

Rules: a request is answered once, or not at all if its client has gone. "You have the lock" is
said only after a write to our place was committed, so the place was there, and first, at that time.

The caller: `Acquisition.start`; everything else follows from the server's completions, its watch
hub and its timers. Source: v2-api sections 4 and 7.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec import Struct

from kvorum.api.v2.params import expiration_at
from kvorum.errors import KeyNotFound, RaftInternal, RequestError, UnavailableError
from kvorum.mvcc.record import Change, Changes
from kvorum.mvcc.watch import Watcher
from kvorum.protocol.exchange import Exchange
from kvorum.server.server import Server
from kvorum.server.timers import Timer
from kvorum.v2 import path as paths
from kvorum.v2.commands import Create, Delete, Update
from kvorum.v2.node import Event
from kvorum.v2.tree import Tree

NO_VALUE = b"-"
"""What a place holds when the request brought no value."""

WAITING_SECONDS = 30
"""How long a place outlives its server when the lock, once taken, is never to expire."""

WAITERS_MAX = 2_000
"""Requests that wait on one server; each end of a place looks at its whole queue, 5 us a place."""


class Place(NamedTuple):
    """One file of a lock's directory."""

    number: int
    path: bytes
    value: bytes


def places_of(tree: Tree, directory: bytes) -> list[Place]:
    """The places of a lock, first come first; none of one that never was."""
    outcome = tree.get(directory)
    if not isinstance(outcome, Event):
        return []
    found = []
    for node in outcome.node.nodes or ():
        name = node.key[len(paths.directory_prefix(directory)) :]
        if node.value is not None and name.isdigit():
            found.append(Place(int(name), node.key, node.value))
    return sorted(found)


def _find_at(places: list[Place], number: int) -> Place | None:
    at = bisect_left(places, (number,))
    return places[at] if at < len(places) and places[at].number == number else None


class LockRequest(Struct):
    """What an acquiring client asked for.

    Attributes:
        directory: the lock's path.
        value: names the client; empty for nobody.
        ttl_seconds: how long the lock is held without renewal; 0 for ever.
        timeout_seconds: how long to wait; None for ever.
    """

    directory: bytes
    value: bytes
    ttl_seconds: int
    timeout_seconds: int | None = None


Answer = Callable[[Exchange, int | str | RequestError], None]
"""Gets the index of the place taken, the text of a failure, or a refusal."""


class Acquisition:
    """One request for a lock, from its arrival to its answer."""

    __slots__ = (
        "_answer",
        "_exchange",
        "_has_left",
        "_is_owner",
        "_queues",
        "_request",
        "_server",
        "_timers",
        "place",
    )

    def __init__(
        self, queues: "LockQueues", exchange: Exchange, request: LockRequest, answer: Answer
    ) -> None:
        self._queues = queues
        self._server = queues.server
        self._exchange = exchange
        self._request = request
        self._answer = answer
        self._timers: list[Timer] = []
        self._has_left = False
        self._is_owner = False
        self.place = Place(0, b"", b"")

    def start(self) -> None:
        """Begins; the answer may take for ever."""
        self._exchange.on_close = self._leave
        if self._has_left:
            return
        if self._request.value:
            self._server.read(self._look)
        else:
            self._create()

    def _look(self, error: UnavailableError | None) -> None:
        if self._has_left:
            return
        if error is not None:
            self._fail(error)
            return
        places = places_of(self._server.tree, self._request.directory)
        value = self._request.value
        self.place = next((one for one in places if one.value == value), self.place)
        if self.place.number:
            self.look_again(places)
        else:
            self._create()

    def _create(self) -> None:
        request = self._request
        value = request.value or NO_VALUE
        command = Create(request.directory, value, expiration=self._waiting_end(), in_order=True)
        self._server.propose(command, self._created)

    def _created(self, outcome: object) -> None:
        if not isinstance(outcome, Event):
            self._fail(outcome)
            return
        path = outcome.node.key
        number = int(path[len(paths.directory_prefix(self._request.directory)) :])
        self.place = Place(number, path, outcome.node.value or b"")
        self._is_owner = True
        if self._has_left:
            self._give_place_up()
        else:
            self.look_again(places_of(self._server.tree, self._request.directory))

    def look_again(self, places: list[Place]) -> None:
        """Takes the lock if it is our turn; else waits, or goes if the place has gone.

        A place keeps its number and path; its value may be changed by a renewal.
        """
        place = _find_at(places, self.place.number)
        if place is None:
            self._is_owner = False
            self._end(KeyNotFound("Acquire"))
            return
        self.place = place
        if place == places[0]:
            self._queues.leave(self)
            self._take()
        elif self in self._queues:
            return
        elif self._request.timeout_seconds == 0:
            self._end("failed to acquire lock")
        elif self._queues.is_full:
            self._end(RaftInternal("too many waiting requests", self._server.store.revision))
        else:
            self._wait()

    def _wait(self) -> None:
        self._queues.enter(self)
        if self._request.timeout_seconds is not None:
            self._after(self._request.timeout_seconds, lambda: self._end("lock watch closed"))
        if self._is_owner:
            self._renew_later()

    def _renew_later(self) -> None:
        self._after((self._request.ttl_seconds or WAITING_SECONDS) / 2, self._renew)

    def _renew(self) -> None:
        place = self.place
        command = Update(place.path, place.value, self._waiting_end(), refresh=True)
        self._server.propose(command, _ignore)
        self._renew_later()

    def _take(self) -> None:
        ttl = self._request.ttl_seconds
        end = self._end_after(ttl) if ttl else 0
        self._server.propose(Update(self.place.path, self.place.value, end), self._taken)

    def _taken(self, outcome: object) -> None:
        if isinstance(outcome, Event):
            self._settle()
        elif isinstance(outcome, KeyNotFound) and not self._is_owner:
            # The place of another request of our value ended just now.
            self._create()
        else:
            self._fail(outcome)

    def _settle(self) -> None:
        if self._has_left:
            self._give_place_up()
        else:
            self._finish(self.place.number)

    # Ends.

    def _leave(self) -> None:
        self._has_left = True
        if self in self._queues:
            self._queues.leave(self)
            self._give_place_up()

    def _fail(self, outcome: object) -> None:
        if isinstance(outcome, UnavailableError):
            outcome = RaftInternal(index=self._server.store.revision)
        assert isinstance(outcome, RequestError), "a v2 command gives an Event or a RequestError"
        self._end(outcome)

    def _end(self, failure: str | RequestError) -> None:
        self._queues.leave(self)
        self._give_place_up()
        if not self._has_left:
            self._finish(failure)

    def _finish(self, answer: int | str | RequestError) -> None:
        self._exchange.on_close = None
        self._answer(self._exchange, answer)

    def _give_place_up(self) -> None:
        if not self._is_owner:
            return
        self._is_owner = False
        heir = self._queues.find_at(self.place, self._request.directory)
        if heir is None:
            self._server.propose(Delete(self.place.path), _ignore)
        else:
            heir.inherit()

    def inherit(self) -> None:
        """The place is this request's from now on."""
        self._is_owner = True
        self._renew_later()

    @property
    def directory(self) -> bytes:
        """The lock's path."""
        return self._request.directory

    def stop_timers(self) -> None:
        """It waits no longer."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _after(self, seconds: float, callback: Callable[[], None]) -> None:
        self._timers.append(self._server.timers.call_after(seconds, callback))

    def _waiting_end(self) -> int:
        return self._end_after(self._request.ttl_seconds or WAITING_SECONDS)

    def _end_after(self, seconds: int) -> int:
        return expiration_at(self._server.clock.wall_ns(), seconds)


class LockQueues:
    """Everyone who waits for a lock on one server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._queues: dict[bytes, _Queue] = {}
        self._count = 0

    def __contains__(self, acquisition: Acquisition) -> bool:
        queue = self._queues.get(acquisition.directory)
        return queue is not None and acquisition in queue.waiting

    @property
    def is_full(self) -> bool:
        """Whether no more may wait."""
        return self._count >= WAITERS_MAX

    def enter(self, acquisition: Acquisition) -> None:
        """Tells it of every place that goes, until it leaves."""
        self._count += 1
        queue = self._queues.get(acquisition.directory)
        if queue is None:
            queue = _Queue(self.server, acquisition.directory)
            self._queues[acquisition.directory] = queue
        queue.waiting[acquisition] = None

    def leave(self, acquisition: Acquisition) -> None:
        """It waits no longer; harmless when it does not."""
        acquisition.stop_timers()
        if acquisition not in self:
            return
        self._count -= 1
        queue = self._queues[acquisition.directory]
        del queue.waiting[acquisition]
        if not queue.waiting:
            queue.close()
            del self._queues[acquisition.directory]

    def find_at(self, place: Place, directory: bytes) -> Acquisition | None:
        """Somebody who waits at this place."""
        queue = self._queues.get(directory)
        waiting = () if queue is None else queue.waiting
        return next((one for one in waiting if one.place.number == place.number), None)


class _Queue:
    """Those who wait for one lock here; a sink of the watch hub."""

    __slots__ = ("_directory", "_server", "_watcher", "waiting")

    def __init__(self, server: Server, directory: bytes) -> None:
        self._server = server
        self._directory = directory
        self.waiting: dict[Acquisition, None] = {}
        self._watcher = self._watch()

    def _watch(self) -> Watcher:
        prefix = paths.directory_prefix(self._directory)
        return self._server.hub.watch(prefix, paths.directory_end(prefix), 0, self)

    def close(self) -> None:
        """Nobody waits any more."""
        self._server.hub.cancel(self._watcher)

    def deliver(self, changes: Changes, matched: Sequence[Change]) -> None:  # noqa: ARG002
        """Something below the lock has changed."""
        if any(change.record.tombstone for change in matched):
            self._look_again()

    def compacted(self, compacted_revision: int) -> None:  # noqa: ARG002 -- the hub's word
        """What happened is no longer known, but what is the case can be seen."""
        self._watcher = self._watch()
        self._look_again()

    def _look_again(self) -> None:
        places = places_of(self._server.tree, self._directory)
        for acquisition in tuple(self.waiting):
            if acquisition in self.waiting:
                acquisition.look_again(places)


def _ignore(outcome: object) -> None:
    """Nobody waits for it: a place that was not renewed or deleted ends by its TTL."""

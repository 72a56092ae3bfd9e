"""Waits: from the store's changes to the v2 events that a waiting request may see.

A wait watches every key that begins with its path, because the hub finds such ranges fastest, and
filters what it gets:

    the event's node is at the path, or below it and the wait is recursive
        -> it sees the event, unless a component behind the path is hidden
    the event's node is above the path (a directory was deleted or expired)
        -> it sees the directory's event if something it watches went with it
    only silent puts match (parents made on the way, a refresh)
        -> it sees nothing

What happens to the machines of a 0.4 cluster comes from the `MachineLog`, under the same rules; a
wait for more than those is told of them in their turn, once it has caught up with the store.

The same rules hold for events from history and for live ones. A revision written through v2 is one
event however many records it has; in one written through v3 each record is an event of its own.

The caller opens a wait after it has answered the request's head, and cancels it when the client
goes away. `on_event` may cancel its own wait.
Source: v2-api section 3.5.
"""

import math
from collections.abc import Callable, Iterable, Sequence

from kvorum.mvcc.intervals import prefix_end
from kvorum.mvcc.record import Change, Changes
from kvorum.mvcc.watch import Watcher, WatchHub
from kvorum.v2 import path as paths
from kvorum.v2.machinelog import MachineLog
from kvorum.v2.node import Action, Event, event_of, node_after, node_of

_V3 = Action.GET
"""The action of records written through v3."""

WAITS_MAX = 100_000
"""Waits open at a time on one server; each holds a connection."""


class Wait:
    """One waiting request: a sink of the hub that passes on the events it may see.

    Attributes:
        is_open: whether events may still come.
    """

    __slots__ = (
        "_due",
        "_first_index",
        "_is_recursive",
        "_on_compacted",
        "_on_event",
        "_path",
        "_prefix",
        "_waits",
        "_watcher",
        "is_open",
    )

    def __init__(
        self,
        waits: "Waits",
        path: bytes,
        first_index: int,
        on_event: Callable[[Event], None],
        on_compacted: Callable[[], None],
        *,
        is_recursive: bool,
    ) -> None:
        self._waits = waits
        self._first_index = first_index
        self._due: list[Event] = []
        self._path = path
        self._prefix = paths.directory_prefix(path)
        self._is_recursive = is_recursive
        self._on_event = on_event
        self._on_compacted = on_compacted
        self._watcher: Watcher | None = None
        self.is_open = True

    def start(self, hub: WatchHub) -> None:
        """Begins to watch the store."""
        self._watcher = hub.watch(self._path, prefix_end(self._path), self._first_index, self)

    def machine_changed(self, event: Event) -> None:
        """Takes an event of the machines."""
        node = event.node
        if (
            node.modified_index >= self._first_index
            and self._is_covered(node.key)
            and not paths.is_hidden_from(node.key, self._path)
        ):
            self._due.append(event)
            self.caught_up()

    def caught_up(self) -> None:
        """Tells of the machines, unless the store has something to tell before."""
        if self._watcher is None or self._watcher.is_synced:
            self._tell_due()

    def _tell_due(self, before: float = math.inf) -> None:
        while self._due and self._due[0].node.modified_index < before and self.is_open:
            self._on_event(self._due.pop(0))

    def deliver(self, changes: Changes, matched: Sequence[Change]) -> None:
        """Takes the matching changes of one revision from the hub."""
        if self._due:
            self._tell_due(before=changes.revision)
        for event in self._events(changes, matched):
            if self.is_open:
                self._on_event(event)

    def compacted(self, compacted_revision: int) -> None:  # noqa: ARG002 -- the hub's word
        """The events that were to come next are gone from history."""
        self.cancel()
        self._on_compacted()

    def pause(self) -> None:
        """The client takes no more for now; what it misses it gets from history."""
        if self._watcher is not None and self.is_open:
            self._watcher.pause()

    def resume(self) -> None:
        """The client takes events again."""
        if self._watcher is not None and self.is_open:
            self._watcher.resume()

    def cancel(self) -> None:
        """Ends the wait; nothing is called any more. Harmless when it has ended."""
        if self.is_open:
            self.is_open = False
            self._waits.closed(self, self._watcher)

    def _events(self, changes: Changes, matched: Sequence[Change]) -> Iterable[Event]:
        if changes.changes[0].record.action == _V3:
            return (_v3_event(change) for change in matched if self._is_seen(change.record.key))
        event = self._waits.event_of(changes)
        return (event,) if self._is_told(event.node.key, matched) else ()

    def _is_told(self, path: bytes, matched: Sequence[Change]) -> bool:
        """Whether the wait sees the event of a v2 write; `path` is that of the event's node."""
        if self._is_covered(path):
            return not paths.is_hidden_from(path, self._path) and any(
                not change.record.silent for change in matched
            )
        return any(
            change.record.tombstone and self._is_covered(paths.of_key(change.record.key))
            for change in matched
        )

    def _is_seen(self, key: bytes) -> bool:
        """Whether the wait sees what was written through v3 at `key`."""
        path = paths.of_key(key)
        return (
            self._is_covered(path)
            and not paths.is_hidden_from(path, self._path)
            and paths.is_clean(path)
            and not path.endswith(b"/")
        )

    def _is_covered(self, path: bytes) -> bool:
        return path == self._path or (self._is_recursive and path.startswith(self._prefix))


def _v3_event(change: Change) -> Event:
    """What v2 shows of a change made through v3."""
    record, prev = change.record, change.prev
    return Event(
        Action.DELETE if record.tombstone else Action.SET,
        node_after(record),
        None if prev is None else node_of(prev),
    )


class Waits:
    """The waits of one server."""

    def __init__(self, hub: WatchHub, machine_log: MachineLog) -> None:
        self._hub = hub
        self._machine_log = machine_log
        self._of_machines: dict[Wait, None] = {}
        machine_log.on_event = self._machine_changed
        self._count = 0
        self._last: tuple[Changes, Event] | None = None

    def __len__(self) -> int:
        return self._count

    @property
    def is_full(self) -> bool:
        """Whether no more may wait."""
        return self._count >= WAITS_MAX

    def open(
        self,
        path: bytes,
        revision: int,
        on_event: Callable[[Event], None],
        on_compacted: Callable[[], None],
        *,
        is_recursive: bool,
    ) -> Wait:
        """Starts to wait for the first event at or after `revision`; 0 for the next one.

        Nothing is told before this returns; what the past has to tell, `recall` tells.
        """
        self._count += 1
        first_index = revision or self._hub.store.revision + 1
        wait = Wait(self, path, first_index, on_event, on_compacted, is_recursive=is_recursive)
        if self._machine_log.concerns(path, is_recursive=is_recursive):
            self._of_machines[wait] = None
        if not self._machine_log.owns(path):
            wait.start(self._hub)
        return wait

    def recall(self, wait: Wait, budget: int) -> None:
        """Tells a wait that begins in the past what has happened since then.

        Up to `budget` revisions are read at once; whoever serves the hub reads the rest.
        """
        if wait in self._of_machines:
            for event in list(self._machine_log.events):
                wait.machine_changed(event)
        self._hub.catch_up(budget)
        wait.caught_up()

    def _machine_changed(self, event: Event) -> None:
        for wait in list(self._of_machines):
            wait.machine_changed(event)

    def closed(self, wait: Wait, watcher: Watcher | None) -> None:
        """A wait has ended."""
        self._count -= 1
        self._of_machines.pop(wait, None)
        if watcher is not None:
            self._hub.cancel(watcher)

    def event_of(self, changes: Changes) -> Event:
        """The write's event, made once for all who wait for it."""
        if self._last is None or self._last[0] is not changes:
            self._last = (changes, event_of(changes))
        return self._last[1]

"""The watch hub: who is told of which changes, each once, in order, without a gap.

A watcher wants every change of a range from its `next_revision` on. It is in one of these states:

    SYNCED    told of changes as they are notified; has been told everything notified before
    BEHIND    wants revisions that were notified already; `catch_up` reads them from the store
    PAUSED    as BEHIND, but its client is slow: it keeps its place and costs nothing
    CANCELLED told nothing more

    SYNCED: next_revision may lie in the future; what is below it is not for this watcher
    BEHIND: next_revision <= store.revision when it became so
    only changes of a revision >= next_revision are delivered; next_revision then moves past them

The last rule makes the border between the two sources safe: whatever both of them see is taken
from the first and skipped in the second.

Watchers of the same range form a group. One change finds its groups through a dictionary of
single keys and an index of ranges, and all watchers of a group get the same list object, so what
is encoded for one can be reused for the next.

The caller, on the thread that owns the state: `notify` once per applied entry, after its last
write; `catch_up` while it returns True; `restored` after the store's content was replaced.
`deliver` may cancel, pause and resume any watcher and start new ones.
Source: v3-grpc section 3.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Protocol

from kvorum.mvcc.intervals import RangeIndex
from kvorum.mvcc.record import Change, Changes
from kvorum.mvcc.store import Compacted, Store


class Sink(Protocol):
    """Where a watcher's changes go."""

    def deliver(self, changes: Changes, matched: Sequence[Change]) -> None:
        """Takes one revision: all its changes, and those of the watcher's range among them."""

    def compacted(self, compacted_revision: int) -> None:
        """History the watcher needed is gone; it has been cancelled."""


class WatcherState(IntEnum):
    """See the module."""

    SYNCED = 0
    BEHIND = 1
    PAUSED = 2
    CANCELLED = 3


_SYNCED, _BEHIND = WatcherState.SYNCED, WatcherState.BEHIND
_PAUSED, _CANCELLED = WatcherState.PAUSED, WatcherState.CANCELLED


class _Group:
    """All watchers of one range."""

    __slots__ = ("behind", "end", "members", "start", "synced")

    def __init__(self, start: bytes, end: bytes | None) -> None:
        self.start = start
        self.end = end
        self.members = 0
        self.synced: dict[Watcher, None] = {}
        self.behind: dict[Watcher, None] = {}


class Watcher:
    """One subscription. Made by `WatchHub.watch`.

    Attributes:
        next_revision: changes from this revision on are still to be told.
        state: see the module.
    """

    __slots__ = ("_hub", "group", "next_revision", "sink", "state", "sweep")

    def __init__(self, hub: "WatchHub", group: _Group, next_revision: int, sink: Sink) -> None:
        self._hub = hub
        self.group = group
        self.next_revision = next_revision
        self.sink = sink
        self.state = _PAUSED
        self.sweep = 0

    @property
    def is_synced(self) -> bool:
        """Whether it has been told everything that was notified, and waits for nothing later."""
        return self.state is _SYNCED and self.next_revision <= self._hub.store.revision + 1

    def pause(self) -> None:
        """Tells nothing more until `resume`; nothing is lost meanwhile but to compaction."""
        self._hub.pause(self)

    def resume(self) -> None:
        """Goes on where it paused."""
        self._hub.resume(self)


class WatchHub:
    """Every watcher of one store.

    Attributes:
        store: what is watched.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._told = store.revision
        self._single: dict[bytes, _Group] = {}
        self._ranges: RangeIndex[_Group] = RangeIndex()
        self._behind: dict[Watcher, None] = {}
        self._sweep = 0
        self._watcher_count = 0

    @property
    def watcher_count(self) -> int:
        """Watchers that are not cancelled."""
        return self._watcher_count

    @property
    def behind_count(self) -> int:
        """Watchers that `catch_up` has to serve."""
        return len(self._behind)

    def watch(self, start: bytes, end: bytes | None, start_revision: int, sink: Sink) -> Watcher:
        """Starts a watcher; nothing is delivered before this returns.

        Args:
            start: first key of the range.
            end: None for the one key, `FROM_KEY` for every key from `start` on.
            start_revision: the first revision wanted, past or future; 0 for the next one.
            sink: where the changes go.
        """
        group = self._find_group(start, end)
        if group is None:
            group = self._add_group(start, end)
        group.members += 1
        self._watcher_count += 1
        watcher = Watcher(self, group, start_revision or self.store.revision + 1, sink)
        self._place(watcher)
        return watcher

    def cancel(self, watcher: Watcher) -> None:
        """Ends a watcher; nothing more is delivered to it. Cancelling twice does no harm."""
        if watcher.state is _CANCELLED:
            return
        self._displace(watcher)
        watcher.state = _CANCELLED
        self._watcher_count -= 1
        group = watcher.group
        group.members -= 1
        if not group.members:
            self._remove_group(group)

    def pause(self, watcher: Watcher) -> None:
        """See `Watcher.pause`."""
        if watcher.state is _SYNCED:
            watcher.next_revision = max(watcher.next_revision, self._position() + 1)
        if watcher.state is not _CANCELLED:
            self._displace(watcher)
            watcher.state = _PAUSED
            # Resumed within the same sweep, it would miss what that sweep read meanwhile.
            watcher.sweep = 0

    def resume(self, watcher: Watcher) -> None:
        """See `Watcher.resume`."""
        if watcher.state is _PAUSED:
            self._place(watcher)

    def restored(self) -> None:
        """The store's content was replaced: whoever was synced catches up from what is there."""
        groups = [*self._single.values(), *self._ranges]
        for group in groups:
            for watcher in list(group.synced):
                watcher.next_revision = max(watcher.next_revision, self._told + 1)
                self._displace(watcher)
                self._place(watcher)
        self._told = self.store.revision

    def _position(self) -> int:
        """The revision up to which synced watchers have been told everything."""
        store = self.store
        return self._told if store.changed_revision > self._told else store.revision

    def _place(self, watcher: Watcher) -> None:
        """Puts a watcher among the synced or the behind ones, as its next revision asks."""
        if watcher.next_revision > self.store.revision:
            watcher.state = _SYNCED
            watcher.group.synced[watcher] = None
        else:
            watcher.state = _BEHIND
            watcher.group.behind[watcher] = None
            self._behind[watcher] = None

    def _displace(self, watcher: Watcher) -> None:
        if watcher.state is _SYNCED:
            del watcher.group.synced[watcher]
        elif watcher.state is _BEHIND:
            del watcher.group.behind[watcher]
            del self._behind[watcher]

    def _find_group(self, start: bytes, end: bytes | None) -> _Group | None:
        return self._single.get(start) if end is None else self._ranges.find(start, end)

    def _add_group(self, start: bytes, end: bytes | None) -> _Group:
        group = _Group(start, end)
        if end is None:
            self._single[start] = group
        else:
            self._ranges.add(start, end, group)
        return group

    def _remove_group(self, group: _Group) -> None:
        if group.end is None:
            del self._single[group.start]
        else:
            self._ranges.remove(group.start, group.end)

    def notify(self, batch: Sequence[Changes]) -> None:
        """Tells the synced watchers of the revisions just made, oldest first."""
        for changes in batch:
            if self._watcher_count:
                for group, matched in self._match(changes):
                    if group.synced:
                        self._tell(list(group.synced), changes, matched)
            self._told = changes.revision

    def _match(self, changes: Changes) -> list[tuple[_Group, Sequence[Change]]]:
        """The groups that a revision concerns, each with its changes in order."""
        if len(changes.changes) == 1:
            only = changes.changes
            return [(group, only) for group in self._groups_of(only[0].record.key)]
        matched: dict[_Group, list[Change]] = {}
        for change in changes.changes:
            for group in self._groups_of(change.record.key):
                matched.setdefault(group, []).append(change)
        return list(matched.items())

    def _groups_of(self, key: bytes) -> list[_Group]:
        """The groups whose range holds a key."""
        groups = self._ranges.stab(key)
        group = self._single.get(key)
        if group is not None:
            groups.append(group)
        return groups

    def _tell(
        self, watchers: list[Watcher], changes: Changes, matched: Sequence[Change], sweep: int = 0
    ) -> None:
        """Delivers to those of `watchers` that still want this revision."""
        revision = changes.revision
        state = _BEHIND if sweep else _SYNCED
        for watcher in watchers:
            wants = watcher.next_revision <= revision and watcher.state is state
            if wants and (not sweep or watcher.sweep == sweep):
                watcher.next_revision = revision + 1
                watcher.sink.deliver(changes, matched)

    def catch_up(self, budget: int) -> bool:
        """Serves watchers that are behind with up to `budget` revisions read once for all.

        The one served longest ago decides where to read; all who are not further behind than it
        are served too.

        Returns:
            True if there is more to be done.
        """
        while self._behind:
            base = next(iter(self._behind))
            try:
                history = self.store.history(base.next_revision - 1, self.store.revision, budget)
            except Compacted as error:
                self.cancel(base)
                base.sink.compacted(error.compacted_revision)
                continue
            self._serve(base.next_revision, history, is_last=len(history) < budget)
            break
        return bool(self._behind)

    def _serve(self, low: int, history: list[Changes], *, is_last: bool) -> None:
        """Delivers a piece of history that begins at revision `low`."""
        high = self.store.revision if is_last else history[-1].revision
        self._sweep += 1
        sweep = self._sweep
        served = [watcher for watcher in self._behind if low <= watcher.next_revision <= high]
        for watcher in served:
            watcher.sweep = sweep
        for changes in history:
            for group, matched in self._match(changes):
                if group.behind:
                    self._tell(list(group.behind), changes, matched, sweep)
        for watcher in served:
            if watcher.state is _BEHIND and watcher.sweep == sweep:
                # Placed anew, it goes to the end of the queue.
                self._displace(watcher)
                watcher.next_revision = max(watcher.next_revision, high + 1)
                self._place(watcher)

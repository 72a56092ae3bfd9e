"""Copies the tree of a live v2 server into another one, as often as it takes to be the same.

What for: leaving an etcd of 0.4, 2.x or 3.x without stopping who uses it.

Rules:
    One pass reads both trees, compares them, and writes what differs. Passes are made until one
    finds nothing: that one is the proof. So changes made meanwhile are caught up with, an import
    that was interrupted goes on where it stopped, and one that is repeated writes nothing.
    Only an empty target is taken, or one that an import from the same source was begun in:
    `MARKER` is there from the first write until the trees are the same.
    Nodes whose name begins with `_` are shown by no listing: only those named are copied.

The caller: `check_target()` first, then `run()`, then perhaps `follow()`, then `finish()`.
Source: reference contract, v2-api sections 3.4, 3.5, 3.9 and 3.10.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from math import ceil

from kvorum.client.answers import Event
from kvorum.client.trees import Item, Plan, compare, flatten
from kvorum.client.v2 import Client, Condition
from kvorum.clock import Clock, SystemClock
from kvorum.errors import ConfigError, EventIndexCleared, KeyNotFound

MARKER = "/_import"
"""Where the target notes from which source an import was begun."""

PASSES_MAX = 10
"""A source that changes faster than it can be read is to be followed, or held still."""

COMPUTED = "/_etcd"
"""What servers of the 0.4 era compute from their membership; nobody can write it."""

DELETING = frozenset({"delete", "expire", "compareAndDelete"})

EXISTING = Condition(prev_exist=True)


class Importer:
    """One import.

    Attributes:
        source_index: index of the source up to which the target has seen everything.
        written_count: nodes written so far, those removed included.
        sizes: files and directories of the source when it was last read.
    """

    def __init__(
        self,
        source: Client,
        target: Client,
        *,
        hidden: Sequence[str] = (),
        is_overwriting: bool = False,
        progress: Callable[[int, int], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Asks nobody yet.

        Args:
            source: where from.
            target: where to.
            hidden: paths of hidden nodes to be copied, too.
            is_overwriting: the target may hold other things, which are kept unless in the way.
            progress: called with the nodes written in this pass, and how many it will be.
            clock: for tests.

        Raises:
            ConfigError: a hidden path cannot be copied.
        """
        self._source = source
        self._target = target
        self._hidden = [f"/{path.strip('/')}" for path in hidden]
        self._is_overwriting = is_overwriting
        self._progress = progress or _say_nothing
        self._clock = clock or SystemClock()
        self._origin = ",".join(source.machines)
        self.source_index = 0
        self.written_count = 0
        self.sizes = (0, 0)
        faults = [
            f"{path} is computed by each cluster and cannot be copied"
            for path in self._hidden
            if f"{path}/".startswith(f"{COMPUTED}/")
        ]
        if faults:
            raise ConfigError(faults)

    def check_target(self) -> None:
        """Makes sure that nothing is lost in the target, and notes that an import begins.

        Raises:
            ConfigError: the target holds something else.
        """
        marker = self._find(self._target, MARKER)
        begun = marker.node.value if marker else None
        if begun not in {None, self._origin} and not self._is_overwriting:
            raise ConfigError(
                [f"the target holds a part of an import from {begun}; --overwrite goes on anyway"]
            )
        if begun is None and not self._is_overwriting and self._read(self._target)[0]:
            raise ConfigError(
                [
                    "the target is not empty; --overwrite writes over what has the same key, and"
                    " keeps the rest"
                ]
            )
        self._target.put(MARKER, self._origin)

    def run(self) -> list[str]:
        """Copies until both are the same. Returns what still differs, which should be nothing."""
        for _ in range(PASSES_MAX):
            plan = self.plan()
            if not plan:
                return []
            self._carry_out(plan)
        return self.plan().paths()

    def plan(self) -> Plan:
        """Reads both trees; what would make them the same."""
        source, self.source_index = self._read(self._source)
        file_count = sum(item.value is not None for item in source.values())
        self.sizes = (file_count, len(source) - file_count)
        target, _ = self._read(self._target)
        return compare(source, target, keeps_others=self._is_overwriting)

    def follow(self) -> None:
        """Copies each change of the source, from `source_index` on, until it is interrupted.

        Hidden nodes are not watched: the next `run` copies their changes.
        """
        while True:
            events = self._source.watch("/", after_index=self.source_index, recursive=True)
            try:
                for event in events:
                    self._repeat(event)
                    self.source_index = event.node.modified_index
            except EventIndexCleared:
                self.run()

    def finish(self) -> None:
        """The trees are the same: the target holds no part of an import any more."""
        self._remove(MARKER)

    def _read(self, client: Client) -> tuple[dict[str, Item], int]:
        """A server's whole tree, and its index before that was read."""
        items: dict[str, Item] = {}
        indexes = []
        for path in ("/", *self._hidden):
            event = self._find(client, path)
            if event is not None:
                items |= flatten(event.node, self._clock.monotonic())
                indexes.append(event.etcd_index)
        return items, min(indexes, default=0)

    @staticmethod
    def _find(client: Client, path: str) -> Event | None:
        try:
            return client.get(path, recursive=True, quorum=True)
        except KeyNotFound:
            return None

    def _carry_out(self, plan: Plan) -> None:
        total = len(plan.removals) + len(plan.directories) + len(plan.files)
        done = 0
        for path in plan.removals:
            self._remove(path)
            done += 1
            self._progress(done, total)
        for path, item in (*plan.directories.items(), *plan.files.items()):
            self._write(path, item)
            done += 1
            self._progress(done, total)
        self.written_count += done

    def _write(self, path: str, item: Item) -> None:
        ttl = 0
        if item.ends_at is not None:
            ttl = ceil(item.ends_at - self._clock.monotonic())
            if ttl <= 0:
                return  # it has expired meanwhile
        if item.value is not None:
            self._target.put(path, item.value, ttl=ttl)
        else:
            self._write_directory(path, ttl)

    def _write_directory(self, path: str, ttl: int) -> None:
        """Makes a directory, or changes its TTL: one request cannot do both."""
        try:
            found = self._target.get(path)
        except KeyNotFound:
            self._target.put(path, is_directory=True, ttl=ttl)
            return
        if not found.node.is_directory:
            self._target.put(path, is_directory=True, ttl=ttl)
        elif ttl:
            self._target.put(path, is_directory=True, ttl=ttl, condition=EXISTING)

    def _remove(self, path: str) -> None:
        with suppress(KeyNotFound):  # it has expired, or went with its parent
            self._target.delete(path, is_directory=True, recursive=True)

    def _repeat(self, event: Event) -> None:
        """Does to the target what happened to the source."""
        self.written_count += 1
        path = event.node.key
        if event.action in DELETING:
            self._remove(path)
            return
        items = flatten(event.node, self._clock.monotonic())
        self._write(path, items[path])


def _say_nothing(done: int, total: int) -> None:
    del done, total

"""All clients of a run, and how much they ask.

Which kinds of request are made, how often and at which pace is drawn anew for each run, nothing at
all included: a run of hardly anything but deletes finds what a mixture hides. Some clients speak
the v2 API, some that of v3, on keys of their own in one keyspace; watchers see both.

The caller: `start`; `stop` when no more is to be asked; `resume_watches` after all members are
well again, then time for them to tell what they have. `history` and `watches` are the judges'.
"""

from functools import partial

from msgspec import Struct

from kvorum.sim import callers, fileclients
from kvorum.sim.callers import ONLY_KEEP, Caller, CallKind
from kvorum.sim.chance import Chance
from kvorum.sim.clients import Cluster, Site, draw_weights
from kvorum.sim.fileclients import FileClient
from kvorum.sim.history import History, Kind
from kvorum.sim.watchclients import WatchClient
from kvorum.sim.watches import Watch
from kvorum.v3.commands import Compact

ONLY_READ = {Kind.GET: 1.0}


class Load(Struct):
    """How much is asked.

    Attributes:
        clients: who ask for keys of the v2 API.
        readers: the same, but they only read: no write keeps them waiting at a deposed leader.
        callers: who call that of v3.
        keepers: those of them who keep a lease of their own alive, and do nothing else.
        watchers: who watch.
        think_seconds: mean time between a client's requests.
        stay_seconds: mean time for which a client asks the same member.
        compact_seconds: mean time between compactions; 0 for none.
        weights: how often a client asks for each kind, next to the others.
        call_weights: the same of a caller.
    """

    clients: int
    readers: int
    callers: int
    keepers: int
    watchers: int
    think_seconds: float
    stay_seconds: float
    compact_seconds: float
    weights: dict[Kind, float]
    call_weights: dict[CallKind, float]


def draw_load(chance: Chance, *, operations_a_second: float = 10.0) -> Load:
    """A load for one run."""
    client_count, caller_count = 1 + chance.below(7), chance.below(6)
    reader_count = chance.choice((0, 0, 1, 3))
    keeper_count = chance.choice((0, 0, 1, 3))
    return Load(
        clients=client_count,
        readers=reader_count,
        callers=caller_count,
        keepers=keeper_count,
        watchers=chance.below(6),
        think_seconds=(client_count + reader_count + caller_count + keeper_count)
        / operations_a_second,
        stay_seconds=chance.choice((0.1, 1.0, 5.0)),
        compact_seconds=0.0 if chance.happens(0.2) else 0.2 + chance.exponential(4.0),
        weights=draw_weights(chance, fileclients.WEIGHTS, Kind.SET),
        call_weights=draw_weights(chance, callers.WEIGHTS, CallKind.PUT),
    )


class Workload:
    """All clients of a run.

    Attributes:
        history: what was asked and answered.
        watches: one for each wish of a watcher.
    """

    def __init__(self, cluster: Cluster, chance: Chance, load: Load) -> None:
        self.history = History()
        self.watches: list[Watch] = []
        self._site = Site(cluster, load.think_seconds, load.stay_seconds)
        self._load = load
        self._chance = chance
        self._clients = [
            FileClient(
                self._site,
                f"c{number}",
                chance.child(f"client {number}"),
                load.weights if number < load.clients else ONLY_READ,
                self.history,
            )
            for number in range(load.clients + load.readers)
        ]
        leases: list[int] = []
        self._callers = [
            Caller(
                self._site,
                number,
                chance.child(f"caller {number}"),
                load.call_weights if number < load.callers else ONLY_KEEP,
                self.history,
                leases if number < load.callers else [],
            )
            for number in range(load.callers + load.keepers)
        ]
        self._watchers = [
            WatchClient(self._site, chance.child(f"watcher {number}"), self.watches)
            for number in range(load.watchers)
        ]

    @property
    def repeated(self) -> list[str]:
        """Completions that were called more than once, in words."""
        return self._site.repeated

    def start(self) -> None:
        """Everyone begins, each at a moment of its own."""
        for client in self._clients:
            client.wait()
        for caller in self._callers:
            caller.wait()
        for watcher in self._watchers:
            watcher.poll()
        if self._load.compact_seconds:
            self._compact_later()

    def stop(self) -> None:
        """Asks for nothing more; answers still come in, watches stay."""
        self._site.is_stopped = True

    def resume_watches(self) -> None:
        """Gives every watch a session that is open and not paused."""
        for watcher in self._watchers:
            watcher.settle()

    def _compact_later(self) -> None:
        delay = self._chance.exponential(self._load.compact_seconds)
        self._site.loop.call_later(delay, self._compact)

    def _compact(self) -> None:
        """Asks that all history, or all but the last few revisions, be forgotten."""
        if self._site.is_stopped:
            return
        process = self._site.find_process(self._chance)
        if process is not None:
            keep = 0 if self._chance.happens(0.3) else self._chance.below(50)
            revision = process.server.store.revision - keep
            if revision > 0:
                process.run(partial(process.server.propose, Compact(revision), _ignore))
        self._compact_later()


def _ignore(result: object) -> None:
    """Nobody waits."""
    del result

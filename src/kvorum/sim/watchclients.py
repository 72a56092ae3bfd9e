"""Watchers: each holds a session with some member, from a past, the next or a future revision on.

They pause, leave, come back at another member, and go on where they were.

The caller: `poll` once; `settle` after all members are well again, then time for them to tell what
they have.
"""

from functools import partial

from kvorum.mvcc.intervals import prefix_end
from kvorum.mvcc.sortedkeys import FROM_KEY
from kvorum.mvcc.watch import Watcher
from kvorum.server.server import Server
from kvorum.sim.callers import KEYS
from kvorum.sim.chance import Chance
from kvorum.sim.clients import ClientsProcess, Site, name_of
from kvorum.sim.fileclients import FILES, QUEUE
from kvorum.sim.watches import Session, Watch

POLL_SECONDS = 0.5

RANGES: tuple[tuple[bytes, bytes | None], ...] = (
    (FILES[0], None),
    (b"/d/", prefix_end(b"/d/")),
    (QUEUE, prefix_end(QUEUE)),
    (b"/", FROM_KEY),
    (KEYS[0], None),
    (KEYS[0], KEYS[3]),
)


class WatchClient:
    """Watches a range, with one member after the other."""

    def __init__(self, site: Site, chance: Chance, watches: list[Watch]) -> None:
        self._site = site
        self._watches = watches
        self._chance = chance
        self._process: ClientsProcess | None = None
        self._watch: Watch | None = None
        self._session: Session | None = None
        self._watcher: Watcher | None = None
        self._is_paused = False

    def poll(self) -> None:
        """Looks after the watch, and does something to it now and then."""
        if self._site.is_stopped:
            return
        self._act()
        self._site.loop.call_later(self._chance.exponential(POLL_SECONDS), self.poll)

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
        process = self._site.find_process(self._chance)
        if process is None:
            return
        start, end = self._chance.choice(RANGES)
        self._watch = Watch(start, end)
        self._watches.append(self._watch)
        first_revision = process.server.store.revision + 1
        if self._chance.happens(0.6):
            first_revision += self._chance.below(60) - 40
        self._open(process, self._watch, max(first_revision, 1))

    def _connect(self, watch: Watch) -> None:
        """Goes on where the last session ended, at any member."""
        process = self._site.find_process(self._chance)
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

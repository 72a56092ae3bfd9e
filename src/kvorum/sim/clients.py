"""What all clients have in common: one request at a time, to one member, and a moment between.

A client stays with a member for a while, goes to another when that one is down or silent, and never
asks the same thing twice: what was not answered in time stays unknown.

The caller makes clients of one `Site` and lets each `wait`; a client of some API says what it
draws, how that is sent, and what it learns from an answer.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf
from typing import Generic, Protocol, TypeVar

from kvorum.errors import UnavailableError
from kvorum.server.server import Server
from kvorum.sim.chance import Chance
from kvorum.sim.invariants import Process
from kvorum.sim.loop import SimLoop

TIMEOUT_SECONDS = (0.2, 6.0)
"""How long clients wait: some give up while the server still tries."""


_KindT = TypeVar("_KindT")


class ClientsProcess(Process, Protocol):
    """A member that may go at any moment, or sleep."""

    @property
    def is_up(self) -> bool:
        """False once it is gone, for ever."""

    def run(self, callback: Callable[[], object]) -> None:
        """Runs `callback` in the process: never if it is gone, later if it sleeps."""


class Cluster(Protocol):
    """What clients may reach."""

    @property
    def loop(self) -> SimLoop:
        """Its time."""

    @property
    def processes(self) -> Sequence[ClientsProcess]:
        """The members that run, in an order that follows from the seed."""


class Site:
    """What the clients of a run share.

    Attributes:
        think_seconds: mean time between a client's requests.
        stay_seconds: mean time for which a client asks the same member.
        is_stopped: nothing more is asked.
        repeated: completions that were called more than once, in words.
    """

    def __init__(self, cluster: Cluster, think_seconds: float, stay_seconds: float) -> None:
        self.cluster = cluster
        self.loop = cluster.loop
        self.think_seconds = think_seconds
        self.stay_seconds = stay_seconds
        self.is_stopped = False
        self.repeated: list[str] = []

    def find_process(self, chance: Chance) -> ClientsProcess | None:
        """Any member that runs."""
        processes = self.cluster.processes
        return chance.choice(processes) if processes else None


def draw_weights(
    chance: Chance, usual: Mapping[_KindT, float], always: _KindT
) -> dict[_KindT, float]:
    """How often each kind is asked for in one run: a fifth not at all, a tenth all the time."""
    weights = {
        kind: weight * chance.choice((0.0, 0.0, 0.4, 0.7, 1.0, 1.0, 1.3, 1.6, 2.0, 10.0))
        for kind, weight in usual.items()
    }
    weights[always] = weights[always] or 1.0
    return weights


def name_of(process: Process) -> str:
    """How requests name the process they were sent to."""
    return f"{process.name}.{process.epoch}"


class Request(Protocol):
    """What a client writes down of a request; `completed` is infinity while there is no answer."""

    completed: float


_RequestT = TypeVar("_RequestT", bound=Request)


class Client(ABC, Generic[_RequestT]):
    """Asks for one thing at a time."""

    def __init__(self, site: Site, name: str, chance: Chance) -> None:
        self.name = name
        self._site = site
        self._loop = site.loop
        self._chance = chance
        self._process: ClientsProcess | None = None
        self._leave_at = 0.0
        self._count = 0
        self._open: _RequestT | None = None
        self._timeout_seconds = chance.between(*TIMEOUT_SECONDS)

    @abstractmethod
    def _draw(self, process: ClientsProcess) -> _RequestT:
        """The next request, written down."""

    @abstractmethod
    def _send(self, request: _RequestT, server: Server) -> None:
        """The member takes the request; `_answered` gets whatever it says."""

    @abstractmethod
    def _take(self, request: _RequestT, result: object) -> None:
        """An answer that came in time, and says more than that nobody knows."""

    def wait(self) -> None:
        """Thinks for a moment, then asks."""
        delay = self._chance.exponential(self._site.think_seconds)
        self._loop.call_later(delay, self._ask)

    def _ask(self) -> None:
        if self._site.is_stopped:
            return
        process = self._choose_process()
        if process is None:
            self.wait()
            return
        request = self._draw(process)
        self._open = request
        self._loop.call_later(self._timeout_seconds, partial(self._give_up, request))
        process.run(partial(self._send, request, process.server))

    def _choose_process(self) -> ClientsProcess | None:
        process = self._process
        if process is None or not process.is_up or self._loop.now >= self._leave_at:
            self._process = self._site.find_process(self._chance)
            self._leave_at = self._loop.now + self._chance.exponential(self._site.stay_seconds)
        return self._process

    def _give_up(self, request: _RequestT) -> None:
        """The answer did not come in time; this client turns to another member."""
        if self._open is request:
            self._open = None
            self._leave_at = 0.0
            self.wait()

    def _answered(self, request: _RequestT, result: object) -> None:
        """Takes an answer; one that comes after this client has left is lost."""
        if self._open is not request:
            if request.completed != inf:
                self._site.repeated.append(f"answered twice: {request}")
            return
        self._open = None
        if isinstance(result, UnavailableError):
            self._leave_at = 0.0
        else:
            request.completed = self._loop.now
            self._take(request, result)
        self.wait()

    def _next_value(self) -> bytes:
        """A value that no other request writes."""
        self._count += 1
        return f"{self.name}-{self._count}".encode()

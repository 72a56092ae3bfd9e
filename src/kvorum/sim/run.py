"""One run: a cluster, its faults, its clients and its judges, all from one seed.

    safety    clients ask, faults come; judges look after every event
    liveness  faults are over and all hosts well: within `ELECTION_TIMEOUTS` there is a leader, a
              write is answered, and within `CONVERGE_SECONDS` all members have the whole log
    verdict   clients stop, watches get time to tell what they have; then the judges of the end

Rules: a run is a function of its seed and options; nothing else goes in. Constants that make rare
branches rare (windows, slices, batch sizes) are drawn small for the time of a run.

A member in which an exception escapes would answer nobody any more: that is a violation too.
"""

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from types import ModuleType

import msgspec
from msgspec import Struct, msgpack

from kvorum.apply import batches
from kvorum.backend import buffer
from kvorum.config import LEGACY_CONFIG, Config
from kvorum.errors import UnavailableError
from kvorum.mvcc import sortedkeys
from kvorum.raft import core, rawnode, readindex
from kvorum.server import logkeeper, proposals, reads, upkeep
from kvorum.sim import invariants, marks
from kvorum.sim.calls import Call
from kvorum.sim.chance import Chance
from kvorum.sim.checkers import Judges
from kvorum.sim.cluster import Settings, SimCluster
from kvorum.sim.disk import LONGEST_SECONDS
from kvorum.sim.faults import KINDS, Faults, Rates, draw_rates
from kvorum.sim.history import Operation, Violation
from kvorum.sim.loop import SimLoop
from kvorum.sim.trace import LogLines, Trace
from kvorum.sim.workload import Workload, draw_load
from kvorum.v2 import commands as v2

ELECTION_TIMEOUTS = 10
"""A healed cluster takes a write within so many."""

CONVERGE_SECONDS = 20.0
"""And then, within this, every member has everything."""

WATCH_SECONDS = 3.0
"""Time for watches to tell what they have, when nothing new comes."""

ANSWER_SECONDS = 12.0
"""Longer than any request waits."""

DEADLINE_SECONDS = 1.0
"""How often it is looked at whether anybody waits beyond a deadline."""

POLL_SECONDS = 0.05
CLIENTS_MAX = 100
SILENT = logging.CRITICAL + 1


class Options(Struct, frozen=True):
    """What a run is given besides its seed.

    Attributes:
        seconds: virtual time with faults.
        members: how many the cluster is born with; 0 draws it.
        faults: kinds that may come.
        operations_a_second: of all clients together.
        clients: no more than these ask for keys of the v2 API.
        callers: no more than these call that of v3.
        watchers: no more than these watch.
        tell: gets every event in words.
    """

    seconds: float = 60.0
    members: int = 0
    faults: tuple[str, ...] = KINDS
    operations_a_second: float = 10.0
    clients: int = CLIENTS_MAX
    callers: int = CLIENTS_MAX
    watchers: int = CLIENTS_MAX
    tell: Callable[[str], object] | None = None


class Report(Struct):
    """What came of a run.

    Attributes:
        violation: what does not hold, in words; None when all is well.
        seconds: virtual time that passed.
        steps: events.
        operations: requests of clients.
        answered: those with a known outcome.
        undecided: files whose history was too hard to judge.
        counts: how often each fault, and other things worth counting, came.
        marks: how often rare branches were met.
        digest: equal for runs that did the same.
        last_events: what happened at the end.
    """

    seed: int
    violation: str | None = None
    seconds: float = 0.0
    steps: int = 0
    operations: int = 0
    answered: int = 0
    undecided: int = 0
    counts: dict[str, int] = {}
    marks: dict[str, int] = {}
    digest: str = ""
    last_events: list[str] = []


def run(seed: int, options: Options = Options()) -> Report:  # noqa: B008 -- it cannot change
    """Runs one seed to its end, or to the first violation."""
    report = Report(seed)
    world = _World(seed, options)
    limits = _small_limits(Chance(seed).child("limits"))
    with limits, _log_lines(world.trace, options), marks.counted() as report.marks:
        try:
            world.run()
        except Violation as violation:
            report.violation = str(violation)
        except Exception as error:  # whatever escapes from a member is a find
            lines = traceback.format_exception(error)
            report.violation = f"an exception escaped: {error!r}\n{''.join(lines[-6:])}"
    world.fill(report)
    return report


class _World:
    """All that takes part in a run."""

    def __init__(self, seed: int, options: Options) -> None:
        chance = Chance(seed)
        self.options = options
        self.loop = SimLoop()
        self.trace = Trace(self.loop, options.tell)
        rates = draw_rates(chance.child("rates"), options.faults)
        settings = _draw_settings(chance.child("settings"), options, rates)
        self.cluster = SimCluster(settings, chance.child("cluster"), self.loop, self.trace)
        self.judges = Judges(
            lambda: self.cluster.processes, lambda: self.loop.now, fastest=1.0 + rates.drift
        )
        self.faults = Faults(self.cluster, chance.child("faults"), rates)
        load = draw_load(chance.child("load"), operations_a_second=options.operations_a_second)
        load.clients = min(load.clients, options.clients)
        load.readers = min(load.readers, options.clients)
        load.callers = min(load.callers, options.callers)
        load.keepers = min(load.keepers, options.callers)
        load.watchers = min(load.watchers, options.watchers)
        self.workload = Workload(self.cluster, chance.child("workload"), load)
        self.cluster.on_step(self.judges.step)
        self.cluster.network.on_send = self.judges.sent
        self.faults.on_jump = self.judges.jumping
        self.election_seconds = settings.config.election_ms / 1000

    def run(self) -> None:
        """The three phases."""
        self.cluster.birth()
        self.workload.start()
        self.faults.start()
        self._watch_deadlines()
        self.loop.run_until(self.options.seconds)
        self.trace.note("all faults are over")
        self.faults.heal()
        self._demand_progress()
        self.loop.run_until(self.loop.now + 5.0)
        self.cluster.retire_removed()
        self.workload.stop()
        self._await(self._has_converged, CONVERGE_SECONDS, "the members have not converged")
        self.workload.resume_watches()
        self.loop.run_until(self.loop.now + WATCH_SECONDS)
        self._await(self.judges.has_answered, ANSWER_SECONDS, "somebody waits for an answer")
        self._await(self._has_converged, CONVERGE_SECONDS, "the members have not converged")
        if self.workload.repeated:
            raise Violation(self.workload.repeated[0])
        self.judges.finish(self.workload.history, self.workload.watches)

    def _watch_deadlines(self) -> None:
        self.judges.check_deadlines([one for one in self.cluster.processes if not one.is_paused])
        self.loop.call_later(DEADLINE_SECONDS, self._watch_deadlines)

    def _demand_progress(self) -> None:
        # A disk operation begun under faults may hold an election up for as long as it takes.
        patience = ELECTION_TIMEOUTS * self.election_seconds + LONGEST_SECONDS
        deadline = self.loop.now + patience
        self._await(lambda: self.cluster.leader() is not None, patience, "there is no leader")
        done: list[object] = []

        def answer(result: object) -> None:
            if not isinstance(result, UnavailableError):
                done.append(result)

        while not done:
            leader = self.cluster.leader()
            if leader is not None:
                leader.server.propose(v2.Expire(0), answer)
            self.loop.run_until(self.loop.now + self.election_seconds)
            if not done and self.loop.now > deadline:
                raise Violation(f"a healed cluster has done nothing for {patience:.1f} s")

    def _has_converged(self) -> bool:
        """Whether all that run have everything, and none waits to take part, or for its vote."""
        is_waiting = any(host.is_waiting for host in self.cluster.hosts)
        return not is_waiting and not self._is_joining() and self.judges.has_converged()

    def _is_joining(self) -> bool:
        servers = [process.server for process in self.cluster.processes]
        own = [one.cluster.members.get(one.member_id) for one in servers]
        return any(member is not None and member.is_joining for member in own)

    def _await(self, condition: Callable[[], bool], patience: float, otherwise: str) -> None:
        deadline = self.loop.now + patience
        while not condition():
            if self.loop.now > deadline:
                raise Violation(f"{otherwise}, {patience:.1f} s after all faults were over")
            self.loop.run_until(self.loop.now + POLL_SECONDS)

    def fill(self, report: Report) -> None:
        """Writes down what happened."""
        history = self.workload.history
        requests: list[Operation | Call] = [*history.operations, *history.calls]
        for request in requests:
            self.trace.take(msgpack.encode(request, enc_hook=repr))
        report.seconds = self.loop.now
        report.steps = self.loop.steps
        report.operations = len(requests)
        report.answered = sum(one.completed < inf for one in requests)
        report.undecided = len(self.judges.undecided)
        report.counts = self.cluster.counts
        report.digest = self.trace.digest()
        report.last_events = self.trace.last_events()


def _draw_settings(chance: Chance, options: Options, rates: Rates) -> Settings:
    """The cluster of one run: its age, its timings, its limits."""
    base = LEGACY_CONFIG if chance.happens(0.5) else Config()
    heartbeat_ms = chance.choice((50, 100, 100, 200))
    config = msgspec.structs.replace(
        base,
        heartbeat_ms=heartbeat_ms,
        election_ms=heartbeat_ms * chance.choice((5, 10)),
        snapshot_count=chance.choice((3, 20, 100, 1000)),
        auto_compaction_retention=chance.choice((0, 20, 200)),
    )
    return Settings(
        config=config,
        member_count=options.members or chance.choice((1, 3, 3, 3, 3, 5)),
        disk_latency=chance.choice((0.0001, 0.001, 0.01)),
        segment_bytes=chance.choice((1 << 10, 1 << 12, 1 << 16)),
        turn_seconds=chance.choice((0.0, 0.0002, 0.005)),
        batch_bytes_max=chance.choice((64, 1024, 1 << 20)),
        inflight_max=chance.choice((1, 4, 256)),
        drift=rates.drift,
        skew=rates.skew,
        links=rates.links,
    )


_LIMITS: tuple[tuple[tuple[ModuleType, ...], str, tuple[int, ...]], ...] = (
    ((batches, proposals), "WINDOW", (16, 64, batches.WINDOW)),
    ((proposals,), "BATCH_BYTES_MAX", (64, proposals.BATCH_BYTES_MAX)),
    ((rawnode,), "APPLY_BYTES_MAX", (64, rawnode.APPLY_BYTES_MAX)),
    ((core,), "SCAN_BYTES", (64, core.SCAN_BYTES)),
    ((upkeep,), "COMPACTION_SLICE", (1, 10, upkeep.COMPACTION_SLICE)),
    ((upkeep,), "CATCH_UP_SLICE", (1, 5, upkeep.CATCH_UP_SLICE)),
    ((logkeeper,), "LOG_BYTES_MAX", (1000, logkeeper.LOG_BYTES_MAX)),
    ((logkeeper,), "CATCH_UP_BYTES", (300, logkeeper.CATCH_UP_BYTES)),
    ((proposals, invariants), "WAITING_COMMANDS_MAX", (8, 100, proposals.WAITING_COMMANDS_MAX)),
    ((reads, invariants), "WAITING_READS_MAX", (3, 100, reads.WAITING_READS_MAX)),
    ((readindex,), "READS_MAX", (2, 20, readindex.READS_MAX)),
    ((buffer,), "PENDING_RECORDS_MAX", (10, buffer.PENDING_RECORDS_MAX)),
    ((sortedkeys,), "BLOCK_KEYS_MAX", (4, sortedkeys.BLOCK_KEYS_MAX)),
)
"""Constants that are drawn for a run: where they are known, their name, what they may be."""


@contextmanager
def _small_limits(chance: Chance) -> Iterator[None]:
    before = [
        (module, name, getattr(module, name)) for modules, name, _ in _LIMITS for module in modules
    ]
    try:
        for modules, name, values in _LIMITS:
            value = chance.choice(values)
            for module in modules:
                setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


@contextmanager
def _log_lines(trace: Trace, options: Options) -> Iterator[None]:
    """The members' log lines go into the story if anybody reads it, else nowhere."""
    logger = logging.getLogger("kvorum")
    level, propagates = logger.level, logger.propagate
    handler = LogLines(trace)
    logger.propagate = False
    logger.setLevel(SILENT if options.tell is None else logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates

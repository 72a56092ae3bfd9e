"""Real servers on simulated hosts.

    Host      a disk, a clock, an address; there for the whole run
    Process   one life of a member on a host; everything it waits for ends with it

Nothing runs in a process that is gone; what comes in while one sleeps waits until it wakes. Its
peers' messages may come later still, when their systems try again: until then it is *deaf*. A
process whose disk has failed goes on for a moment before it ends, as a real one does, so that what
it says meanwhile is judged too.

The caller: `birth` first; then `crash`, `restart`, `admit` and the others at any time between two
events; `processes` are those that run, in the order of their hosts.
Source: design, "simulator".
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import msgspec
from msgspec import Struct

from kvorum.apply.applier import MembershipApplied
from kvorum.apply.commands import MembershipChange
from kvorum.config import Config, Era
from kvorum.errors import StorageError
from kvorum.membership import Member
from kvorum.raft.types import ConfChangeSingle, ConfChangeType, MemberId
from kvorum.server import bootstrap
from kvorum.server.files import Files
from kvorum.server.seats import Seat, SeatRequest, Seats
from kvorum.server.server import Opened, Server
from kvorum.sim.chance import Chance
from kvorum.sim.disk import Disk, SimFiles
from kvorum.sim.history import Violation
from kvorum.sim.invariants import raft_of
from kvorum.sim.loop import Callback, SimLoop
from kvorum.sim.network import LinkRates, Network, SimTransport
from kvorum.sim.trace import Trace

FIRST_WALL_NS = 1_700_000_000_000_000_000
"""Every simulation begins at this time of day."""

ASK_AGAIN_SECONDS = 0.5
"""Pause between two requests for a seat."""

START_AGAIN_SECONDS = 1.0
"""Pause after a start that the disk did not let happen."""

DYING_SECONDS = 1.0
"""A process that has failed ends within this."""


class Settings(Struct):
    """What all hosts of a run have in common.

    Attributes:
        config: of every member, but for its name and addresses.
        member_count: how many the cluster is born with.
        disk_latency: seconds a sync takes on average.
        segment_bytes: size of a log's segments.
        turn_seconds: the pause before a turn, in which others come in.
        batch_bytes_max: data of the entries in one APPEND.
        inflight_max: APPENDs under way to one peer.
        drift: how much faster or slower than true time clocks may run, as a share.
        skew: seconds by which clocks may be set wrong at first.
        links: how the network behaves.
    """

    config: Config
    member_count: int = 3
    disk_latency: float = 0.001
    segment_bytes: int = 1 << 16
    turn_seconds: float = 0.0
    batch_bytes_max: int = 1 << 20
    inflight_max: int = 256
    drift: float = 0.0
    skew: float = 0.0
    links: LinkRates = msgspec.field(default_factory=LinkRates)


class SimClock:
    """A host's clock; `wall_ns` may be set, `monotonic` may not."""

    def __init__(self, loop: SimLoop, chance: Chance, drift: float, skew: float) -> None:
        self.rate = 1.0 + drift
        self._loop = loop
        self._chance = chance
        self._offset_ns = FIRST_WALL_NS + int(skew * 1e9)

    def monotonic(self) -> float:
        """Seconds on this host's own scale."""
        return 100.0 + self._loop.now * self.rate

    def wall_ns(self) -> int:
        """Nanoseconds since the epoch, as this host believes."""
        return self._offset_ns + int(self._loop.now * self.rate * 1e9)

    def random_below(self, bound: int) -> int:
        """A uniform integer in `[0, bound)`."""
        return int(self._chance.random() * bound)

    def jump(self, seconds: float) -> None:
        """Somebody sets the clock."""
        self._offset_ns += int(seconds * 1e9)


class Host:
    """A machine with a disk, a clock and an address.

    Attributes:
        process: what runs on it now.
        is_retired: its member was removed; nothing is to be started here until it is admitted.
        is_waiting: it has asked for a seat and has none yet.
        seek: looks for the seat once more.
        epoch: processes so far.
        member_id: who ran here last.
    """

    def __init__(self, cluster: "SimCluster", number: int) -> None:
        settings = cluster.settings
        self.name = f"machine{number}"
        self.number = number
        chance = cluster.chance.child(self.name)
        self.disk = Disk(
            cluster.loop, chance.child("disk"), settings.disk_latency, settings.segment_bytes
        )
        drift = chance.between(-settings.drift, settings.drift)
        skew = chance.between(-settings.skew, settings.skew)
        self.clock = SimClock(cluster.loop, chance.child("clock"), drift, skew)
        self.config = _config_of(settings, self.name, number)
        self.process: Process | None = None
        self.is_retired = False
        self.is_waiting = False
        self.seek: Callback = partial(cluster.admit, self)
        self.epoch = 0
        self.member_id: MemberId = 0

    @property
    def url(self) -> str:
        """Where its member listens to others, as it says itself."""
        return self.config.advertised_peer_urls[0]

    @property
    def urls(self) -> tuple[str, str]:
        """All addresses at which its member listens to others."""
        return self.url, f"http://10.0.1.{self.number}:7001"


class Process:
    """One life of a member.

    Attributes:
        name: the host's.
        epoch: which of the host's processes it is; counted over from 1.
        is_up: False once it is gone, for ever.
        is_deaf: what its peers sent has not come through yet.
    """

    server: Server
    transport: SimTransport
    seats: Seats
    files: Files

    def __init__(self, host: Host) -> None:
        self.host = host
        self.name = host.name
        self.epoch = host.epoch
        self.is_up = True
        self.is_paused = False
        self.is_deaf = False
        self._backlog: list[Callback] = []
        self._unheard: list[Callback] = []

    def run(self, callback: Callback) -> None:
        """Runs `callback` in this process: never if it is gone, later if it sleeps."""
        if self.is_up:
            if self.is_paused:
                self._backlog.append(callback)
            else:
                callback()

    def hear(self, callback: Callback) -> None:
        """Runs what a peer's message brings: as `run`, but later if it is deaf."""
        if self.is_deaf:
            self._unheard.append(callback)
        else:
            self.run(callback)

    def wake(self, loop: SimLoop) -> None:
        """Goes on after a pause, with all that came in meanwhile, one by one."""
        self.is_paused = False
        backlog, self._backlog = self._backlog, []
        for callback in backlog:
            loop.call_soon(partial(self.run, callback))

    def listen(self, loop: SimLoop) -> None:
        """Is deaf no longer: what its peers have sent comes, one by one."""
        self.is_deaf = False
        unheard, self._unheard = self._unheard, []
        for callback in unheard:
            loop.call_soon(partial(self.run, callback))


class SimCluster:
    """Hosts, the network between them, and time.

    Attributes:
        processes: those that run, in the order of their hosts.
        counts: how often what has happened.
        on_seat: called when a host has taken a seat.
    """

    def __init__(self, settings: Settings, chance: Chance, loop: SimLoop, trace: Trace) -> None:
        self.settings = settings
        self.chance = chance
        self.loop = loop
        self.trace = trace
        self.network = Network(loop, chance.child("network"), settings.links, trace)
        self.hosts: list[Host] = []
        self.processes: list[Process] = []
        self.counts: dict[str, int] = {}
        self.on_seat: Callable[[Host], object] = _ignore
        self._founders: list[Host] = []
        self._steps: list[Callable[[], object]] = []

    def clock_of(self, process: Process) -> SimClock:
        """The clock of the host it runs on."""
        return process.host.clock

    def on_step(self, callback: Callable[[], object]) -> None:
        """Calls back after every event."""
        self._steps.append(callback)
        self.loop.on_step = callback if len(self._steps) == 1 else self._stepped

    def _stepped(self) -> None:
        for callback in self._steps:
            callback()

    def count(self, what: str) -> None:
        """Something rare has happened once more."""
        self.counts[what] = self.counts.get(what, 0) + 1

    # Birth

    def birth(self) -> None:
        """Starts the first members: 3.x all together, 0.4 one, which the others join."""
        self._founders = [self.add_host() for _ in range(self.settings.member_count)]
        if self.settings.config.era is Era.MODERN:
            urls = {host.name: (host.url,) for host in self._founders}
            for host in self._founders:
                host.config = msgspec.structs.replace(host.config, initial_cluster=urls)
                self.start(host)
            return
        self.start(self._founders[0])
        for host in self._founders[1:]:
            self.admit(host)

    def add_host(self) -> Host:
        """One more machine, empty."""
        host = Host(self, len(self.hosts) + 1)
        self.hosts.append(host)
        return host

    # Processes

    def start(self, host: Host) -> None:
        """Starts the member whose seat the disk holds, or a first member."""
        process, files = self._prepare(host)
        coroutine = bootstrap.open_member(
            host.config, host.clock, lambda: files, has_data=host.disk.has_data
        )
        try:
            coroutine.send(None)
        except StopIteration as finished:
            self._run(process, cast("Opened", finished.value))
        except StorageError as error:
            self._refused(process, error)
        else:
            raise AssertionError("a start with unchanged addresses asks nobody")

    def _refused(self, process: Process, error: StorageError) -> None:
        """The disk cannot be used: it is tried again; if it is damaged, the host begins anew."""
        host, disk = process.host, process.host.disk
        process.is_up = False
        is_faulty = disk.is_faulty
        disk.lose_process(is_power_cut=False)
        self.trace.note(f"{host.name}: refused to start: {error}")
        self.count("refused start")
        if is_faulty:
            host.is_waiting = not self._has_seat(host)
            if host.is_waiting:
                self.seek_later(host, START_AGAIN_SECONDS)
            else:
                self.loop.call_later(START_AGAIN_SECONDS, partial(self.restart, host))
        elif disk.is_rotten:
            self.wipe(host)
        else:
            raise Violation(f"{host.name} refused to start, though its disk is sound: {error}")

    def _prepare(self, host: Host) -> tuple[Process, SimFiles]:
        assert host.process is None, "one process a host"
        host.epoch += 1
        process = Process(host)

        def post(callback: Callback) -> None:
            self.loop.call_soon(partial(process.run, callback))

        def failed(error: BaseException) -> None:
            self._fail(process, f"the disk failed: {error}")

        return process, SimFiles(host.disk, post, failed)

    def _run(self, process: Process, opened: Opened) -> None:
        host = process.host
        transport = self.network.transport(process, host.urls)
        turn_seconds = self.settings.turn_seconds

        def schedule(callback: Callback) -> None:
            self.loop.call_later(turn_seconds, partial(process.run, callback))

        server = Server(host.config, host.clock, opened, transport, schedule)
        server.on_failure = lambda reason: self._fail(process, reason)
        server.on_removed = lambda: self._removed(process)
        raft = raft_of(server)
        raft.config.batch_bytes_max = self.settings.batch_bytes_max
        raft.tracker._inflight_max = self.settings.inflight_max  # noqa: SLF001 -- no user may set it
        process.server, process.transport, process.seats = server, transport, Seats(server)
        process.files = opened.files
        host.process = process
        host.member_id = server.member_id
        self._changed()
        self.trace.note(f"{host.name}.{process.epoch}: started as {server.member_id:x}")
        self._stepped()  # before its first turn changes what it found on disk
        transport.on_removed = server.leave
        if server.was_removed(server.member_id):
            server.leave()
            return
        server.start()
        transport.start()
        pause = server.tick_seconds / host.clock.rate
        self._tick(process, pause)

    def _tick(self, process: Process, pause: float) -> None:
        if process.is_up:
            again = partial(process.run, partial(self._tick, process, pause))
            self.loop.call_later(pause, again)
            process.server.tick()

    def _changed(self) -> None:
        self.processes = [host.process for host in self.hosts if host.process is not None]

    def _fail(self, process: Process, reason: str) -> None:
        """The process can do nothing any more, and ends soon."""
        self.trace.note(f"{process.name}.{process.epoch}: fails: {reason}")
        self.count("failed member")

        def end() -> None:
            if process.is_up:
                self.crash(process, is_power_cut=True)
                self.loop.call_later(1.0, partial(self.restart, process.host))

        self.loop.call_later(self.chance.between(0.0, DYING_SECONDS), end)

    def _removed(self, process: Process) -> None:
        """The member has lost its seat, and knows it: it ends soon."""

        def end() -> None:
            if process.is_up:
                self.crash(process, is_power_cut=False)
                self.retire(process.host)

        self.loop.call_later(self.chance.between(0.0, DYING_SECONDS), end)

    def crash(self, process: Process, *, is_power_cut: bool) -> None:
        """The process is gone at once; a power cut takes what was not synced with it."""
        self.trace.note(f"{process.name}.{process.epoch}: gone, power cut {is_power_cut}")
        process.is_up = False
        process.host.process = None
        process.files.close()
        process.host.disk.lose_process(is_power_cut=is_power_cut)
        self._changed()

    def stop(self, process: Process) -> None:
        """Ends a process in order."""
        self.trace.note(f"{process.name}.{process.epoch}: stops")
        try:
            process.server.stop()
        except StorageError as error:
            self.trace.note(f"{process.name}.{process.epoch}: {error}")
        process.is_up = False
        process.host.process = None
        process.host.disk.lose_process(is_power_cut=False)
        self._changed()

    def restart(self, host: Host) -> None:
        """Starts what the disk holds, unless something runs, or the member was removed."""
        if host.process is None and not host.is_retired and self._has_seat(host):
            self.start(host)

    def _has_seat(self, host: Host) -> bool:
        return host.disk.has_data or host in self._founders

    def pause(self, process: Process, seconds: float, deaf_seconds: float = 0.0) -> None:
        """The process sleeps and knows nothing of it; then it is deaf for a while."""
        if process.is_up and not process.is_paused:
            process.is_paused = True
            process.is_deaf = process.is_deaf or deaf_seconds > 0
            self.trace.note(
                f"{process.name}.{process.epoch}: sleeps {seconds:.2f} s, deaf {deaf_seconds:.2f} s"
            )
            self.loop.call_later(seconds, partial(self._wake, process))
            self.loop.call_later(seconds + deaf_seconds, partial(process.listen, self.loop))

    def _wake(self, process: Process) -> None:
        if process.is_up and process.is_paused:
            self.trace.note(f"{process.name}.{process.epoch}: wakes")
            process.wake(self.loop)

    def retire(self, host: Host) -> None:
        """The member is gone for good; the disk is emptied."""
        host.is_retired = True
        host.is_waiting = False
        host.disk.wipe()
        self._founders = [one for one in self._founders if one is not host]

    # Seats

    def wipe(self, host: Host) -> None:
        """The disk is lost; the host asks for a seat in the place of the one it held."""
        if host.process is not None:
            self.crash(host.process, is_power_cut=True)
        self.trace.note(f"{host.name}: wiped")
        self.retire(host)
        self.admit(host)

    def admit(self, host: Host) -> None:
        """Asks the leader for a seat, again and again, and starts the member in it."""
        if host.process is not None:
            return
        host.is_retired = False
        host.is_waiting = True
        host.seek = partial(self.admit, host)
        self._founders = [one for one in self._founders if one is not host]
        process = self.chance.choice(self.processes) if self.processes else None
        leader = next((one for one in self.processes if one.server.is_leader), process)
        if leader is None or leader.is_paused:
            self.seek_later(host, ASK_AGAIN_SECONDS)
            return
        request = SeatRequest(host.name, host.url, host.config.advertised_client_urls[0])
        answered: list[None] = []

        def answer(seat: object) -> None:
            if not answered:
                answered.append(None)
                self.loop.call_later(0.01, partial(self._seated, host, seat))

        def give_up() -> None:
            if not answered:
                answered.append(None)
                self.seek_later(host, 0.0)

        # One that crashes while it waits asks anew: then two requests for one seat may cross.
        self.loop.call_later(self.chance.choice((0.5, 3.0, 10.0)), give_up)
        leader.seats.request(request, answer)

    def seek_later(self, host: Host, seconds: float) -> None:
        """Has the host look for its seat once more, if it still waits for one then."""
        self.loop.call_later(seconds, lambda: host.seek() if host.is_waiting else None)

    def _seated(self, host: Host, seat: object) -> None:
        if not host.is_waiting or host.process is not None:
            return
        if not isinstance(seat, Seat):
            self.seek_later(host, ASK_AGAIN_SECONDS)
            return
        self.count("seat")
        self.sit_down(host, seat)

    def sit_down(self, host: Host, seat: Seat) -> None:
        """Starts a member in a seat it was given."""
        host.is_waiting = host.is_retired = False
        process, files = self._prepare(host)
        try:
            opened = bootstrap.sit_down(host.config, files, seat)
        except StorageError as error:
            self._refused(process, error)
            return
        self._run(process, opened)
        self.on_seat(host)

    # Membership

    def leader(self) -> Process | None:
        """The leader of the highest term among those who believe to lead."""
        leaders = [one for one in self.processes if one.server.is_leader and not one.is_paused]
        return max(leaders, key=lambda one: one.server.term, default=None)

    def remove(self, leader: Process, member_id: MemberId) -> None:
        """Proposes that a member leaves for good."""
        self.trace.note(f"{leader.name} proposes to remove {member_id:x}")
        steps = (ConfChangeSingle(ConfChangeType.REMOVE, member_id),)
        leader.server.change_membership(MembershipChange(id=0, remove=member_id), steps, _ignore)

    def retire_removed(self) -> None:
        """Ends members that were removed when nobody they know is left to tell them."""
        leader = self.leader()
        for process in self.processes if leader is not None else []:
            if leader is not None and leader.server.was_removed(process.server.member_id):
                self.crash(process, is_power_cut=False)
                self.retire(process.host)

    def add_learner(self, leader: Process, host: Host) -> None:
        """Proposes a member without a vote, and starts it once it has its seat."""
        server = leader.server
        member = Member(
            id=host.clock.random_below((1 << 63) - 1) + 1,
            name=host.name,
            peer_urls=(host.url,),
            client_urls=host.config.advertised_client_urls,
        )
        self.trace.note(f"{leader.name} proposes the learner {member.id:x}")
        peers = {one.id: one.peer_urls[0] for one in server.cluster}
        seat = Seat(server.cluster_id, member.id, 0, peers)
        steps = (ConfChangeSingle(ConfChangeType.ADD_LEARNER, member.id),)
        change = MembershipChange(id=0, add=member)
        host.is_waiting = True
        host.is_retired = False

        def added(result: object) -> None:
            if isinstance(result, MembershipApplied):
                self.loop.call_later(0.2, partial(self._seated, host, seat))
            elif host.is_waiting:
                self.retire(host)

        def give_up() -> None:
            if host.is_waiting and host.process is None:
                self.retire(host)

        server.change_membership(change, steps, added)
        self.loop.call_later(10.0, give_up)

    def promote(self, leader: Process, member_id: MemberId) -> None:
        """Proposes that a learner gets a vote."""
        self.trace.note(f"{leader.name} proposes to promote {member_id:x}")
        steps = (ConfChangeSingle(ConfChangeType.ADD_VOTER, member_id),)
        change = MembershipChange(id=0, promote=member_id)
        leader.server.change_membership(change, steps, _ignore)

    def ghosts(self, leader: Process) -> list[MemberId]:
        """Members that live nowhere: who asked for them never heard that they got their seat."""
        homes = [host.member_id for host in self.hosts if not host.is_retired]
        return [one for one in sorted(leader.server.cluster.members) if one not in homes]

    def is_whole(self) -> bool:
        """Whether every member runs, awake, and has everything: one of them may be lost."""
        leader = self.leader()
        if leader is None or any(host.is_waiting for host in self.hosts):
            return False
        members = leader.server.cluster.members
        running = {one.server.member_id: one for one in self.processes if not one.is_paused}
        newest = max(one.server.applied_index for one in self.processes)
        return all(
            member_id in running and running[member_id].server.applied_index == newest
            for member_id in members
        )

    def is_settled(self) -> bool:
        """Whether nothing is under way that could make a member needed: no removal of another."""
        leader = self.leader()
        waiting = [one.server._changes._waiting for one in self.processes]  # noqa: SLF001 -- nobody else asks
        if leader is None or any(waiting):
            return False
        return leader.server.applied_index == raft_of(leader.server).log.last_index


def _ignore(result: object) -> None:
    del result


def _config_of(settings: Settings, name: str, number: int) -> Config:
    return msgspec.structs.replace(
        settings.config,
        name=name,
        data_dir=Path(name),
        advertised_peer_urls=(f"http://10.0.0.{number}:7001",),
        advertised_client_urls=(f"http://10.0.0.{number}:4001",),
    )

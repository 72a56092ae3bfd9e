"""What goes wrong in a run, how often, and when it is over.

Every run draws anew which kinds of fault it has and how often each comes: some runs are rough, some
nearly calm, and about every second kind is left out, for faults hide each other. Some are always
there (`LinkRates`, clocks that drift), the others come one after the other, at moments that do not
depend on what the cluster does.

A fault that loses what was durable (wipe, rot) hits only when every other member has everything:
consensus promises nothing for more.

The caller: `start`; `heal` when all shall be well again.
"""

from collections.abc import Callable
from functools import partial

from msgspec import Struct

from kvorum.config import Era
from kvorum.sim.chance import Chance
from kvorum.sim.cluster import Host, Process, SimCluster
from kvorum.sim.loop import Callback
from kvorum.sim.network import LinkRates, Pair
from kvorum.sim.operators import Operator

MEMBERS_MAX = 5
"""No more are added."""

LOSSY_MEMBERS_MIN = 3
"""With fewer, a member that is lost takes the quorum with it."""


class Rates(Struct):
    """Which faults a run has.

    Attributes:
        every: mean seconds between two faults of a kind; a kind left out never comes.
        links: what the network does all the time.
        drift: of clocks, as a share.
        skew: of clocks at the beginning, in seconds.
    """

    every: dict[str, float]
    links: LinkRates
    drift: float = 0.0
    skew: float = 0.0


_EVERY = {
    "kill": 8.0,
    "power cut": 10.0,
    "all down": 30.0,
    "stop": 20.0,
    "pause": 15.0,
    "partition": 8.0,
    "clog": 15.0,
    "slow disk": 15.0,
    "sync failure": 25.0,
    "full disk": 30.0,
    "commit failure": 30.0,
    "rot": 30.0,
    "wipe": 30.0,
    "clock jump": 15.0,
    "membership": 12.0,
    "handover": 12.0,
    "move": 15.0,
}
"""Mean seconds between two faults of a kind, in a run that has it."""

_SHAPES = ("isolate", "split", "one way", "ring", "bridge", "pair")
"""Of partitions; `Faults._draw_pairs` says which directions they cut."""

_ALWAYS = ("loss", "duplication", "reordering", "breaking", "drift", "skew")

KINDS = (*_EVERY, *_ALWAYS)
"""Every kind of fault, by the name that a command line takes."""


def draw_kinds(chance: Chance, allowed: tuple[str, ...] = KINDS) -> tuple[str, ...]:
    """The kinds of fault that a run has; what is drawn of one does not depend on the others."""
    return tuple(kind for kind in KINDS if chance.happens(0.5) and kind in allowed)


def draw_rates(chance: Chance, allowed: tuple[str, ...] = KINDS) -> Rates:
    """The faults of one run; the draws of a kind do not depend on which others are allowed."""
    has = dict.fromkeys(KINDS, False) | dict.fromkeys(draw_kinds(chance, allowed), True)
    scale = {kind: chance.between(0.4, 2.0) for kind in KINDS}
    links = LinkRates(
        latency=0.0005 + chance.exponential(0.003),
        is_lossy=chance.happens(0.4),
        chunk_bytes=chance.choice((64, 1024, 65536)),
    )
    for kind in ("loss", "duplication", "reordering"):
        setattr(links, kind, 0.05 * scale[kind] if has[kind] else 0.0)
    links.breaking = 0.01 * scale["breaking"] if has["breaking"] else 0.0
    pace = chance.choice((0.3, 1.0, 1.0, 3.0))
    return Rates(
        every={kind: mean * pace * scale[kind] for kind, mean in _EVERY.items() if has[kind]},
        links=links,
        drift=0.05 * scale["drift"] if has["drift"] else 0.0,
        skew=2.0 * scale["skew"] if has["skew"] else 0.0,
    )


class Faults:
    """The faults of one run.

    Attributes:
        on_jump: told of a process before its clock is set.
    """

    def __init__(self, cluster: SimCluster, chance: Chance, rates: Rates) -> None:
        self.on_jump: Callable[[Process], object] = _nobody
        self._cluster = cluster
        self._chance = chance
        self._rates = rates
        self._is_over = False
        self._mends: list[Callback] = []
        self._operator = Operator(cluster)
        self._actions: dict[str, Callable[[], bool]] = {
            "kill": partial(self._crash, is_power_cut=False),
            "power cut": partial(self._crash, is_power_cut=True),
            "all down": self._all_down,
            "stop": self._stop,
            "pause": self._pause,
            "partition": self._partition,
            "clog": self._clog,
            "slow disk": self._slow_disk,
            "sync failure": self._fail_syncs,
            "full disk": self._fill_disk,
            "commit failure": self._fail_commits,
            "rot": self._rot,
            "wipe": self._wipe,
            "clock jump": self._jump,
            "membership": self._change_membership,
            "handover": self._hand_over,
            "move": self._move,
        }

    def start(self) -> None:
        """Faults come from now on."""
        for kind in self._rates.every:
            self._schedule(kind)
        if "partition" in self._rates.every:
            self._cluster.on_seat = self._cut_at_seat

    def heal(self) -> None:
        """No more faults; what is cut, asleep, down or slow is well again."""
        self._is_over = True
        cluster = self._cluster
        for mend in self._mends:
            mend()
        cluster.network.heal()
        for host in cluster.hosts:
            host.disk.slowness = 1.0
            host.disk.mend()
            if host.process is None:
                cluster.restart(host)
            else:
                host.process.wake(cluster.loop)
                host.process.listen(cluster.loop)

    def _schedule(self, kind: str) -> None:
        delay = self._chance.exponential(self._rates.every[kind])
        self._cluster.loop.call_later(delay, partial(self._come, kind))

    def _come(self, kind: str) -> None:
        if self._is_over:
            return
        if self._actions[kind]():
            self._cluster.count(kind)
        self._schedule(kind)

    def _later(self, mean: float, callback: Callback) -> None:
        """Ends a fault after a while, unless everything was healed before."""
        delay = self._chance.exponential(mean)
        self._cluster.loop.call_later(delay, lambda: None if self._is_over else callback())

    def _draw_process(self) -> Process | None:
        processes = self._cluster.processes
        return self._chance.choice(processes) if processes else None

    def _draw_victim(self) -> Process | None:
        """Any process, but more often the leader: that is where it hurts."""
        leader = self._cluster.leader()
        return leader if leader and self._chance.happens(0.4) else self._draw_process()

    def _note(self, text: str) -> None:
        self._cluster.trace.note(text)

    # Processes

    def _crash(self, *, is_power_cut: bool) -> bool:
        process = self._draw_victim()
        if process is not None:
            self._take_down(process, is_power_cut=is_power_cut)
        return process is not None

    def _take_down(self, process: Process, *, is_power_cut: bool) -> None:
        self._cluster.crash(process, is_power_cut=is_power_cut)
        self._later(1.5, partial(self._cluster.restart, process.host))

    def _all_down(self) -> bool:
        is_power_cut = self._chance.happens(0.7)
        for process in self._cluster.processes:
            self._take_down(process, is_power_cut=is_power_cut)
        return True

    def _stop(self) -> bool:
        process = self._draw_process()
        if process is None or process.is_paused:
            return False
        self._cluster.stop(process)
        self._later(1.5, partial(self._cluster.restart, process.host))
        return True

    def _pause(self) -> bool:
        process = self._draw_victim()
        if process is not None:
            mean = self._chance.choice((0.3, 2.0, 10.0, 30.0))
            seconds = self._chance.exponential(mean)
            is_deaf = self._chance.happens(0.5)
            self._cluster.pause(process, seconds, is_deaf * self._chance.exponential(1.0))
        return process is not None

    def _hand_over(self) -> bool:
        leader = self._cluster.leader()
        return leader is not None and leader.server.hand_over(_nothing)

    def _jump(self) -> bool:
        process = self._draw_process()
        if process is None:
            return False
        seconds = self._chance.between(-1, 1) * self._chance.choice((0.5, 5.0, 60.0))
        self.on_jump(process)
        process.host.clock.jump(seconds)
        self._note(f"{process.name}: the clock jumps by {seconds:.2f} s")
        return True

    # Network

    def _partition(self) -> bool:
        names = [host.name for host in self._cluster.hosts]
        shape = self._chance.choice(_SHAPES)
        pairs = self._draw_pairs(shape, names)
        self._cut(shape, pairs)
        if self._chance.happens(0.2):
            self._flap(shape, pairs)
        return True

    def _flap(self, shape: str, pairs: list[Pair]) -> None:
        """The same links are cut again and again for a while."""
        if self._chance.happens(0.8):
            again = partial(self._cut_again, shape, pairs)
            self._later(self._chance.choice((0.2, 1.0)), again)

    def _cut_again(self, shape: str, pairs: list[Pair]) -> None:
        self._cut(shape, pairs)
        self._flap(shape, pairs)

    def _cut_at_seat(self, host: Host) -> None:
        """A configuration has just changed: often somebody else is cut off at that moment."""
        names = [one.name for one in self._cluster.hosts if one is not host]
        if not self._is_over and len(names) > 1 and self._chance.happens(0.4):
            shift = self._chance.below(len(names))
            lonely, *rest = names[shift:] + names[:shift]
            self._cut("isolate", _both([lonely], [*rest, host.name]))

    def _cut(self, shape: str, pairs: list[Pair]) -> None:
        self._note(f"{shape}: cut {' '.join(f'{a[7:]}>{b[7:]}' for a, b in pairs)}")
        mend = self._cluster.network.cut(pairs)
        is_mended: list[None] = []

        def mend_once() -> None:
            if not is_mended:
                is_mended.append(None)
                self._note(f"{shape}: mended")
                mend()

        self._mends.append(mend_once)
        self._later(self._chance.choice((0.1, 0.5, 3.0, 8.0)), mend_once)

    def _draw_pairs(self, shape: str, names: list[str]) -> list[Pair]:
        chance, count = self._chance, len(names)
        victim = self._draw_victim()
        shift = names.index(victim.name) if victim else 0
        order = names[shift:] + names[:shift]
        if shape == "isolate":
            return _both(order[:1], order[1:])
        if shape == "one way":
            out = [(order[0], other) for other in order[1:]]
            return out if chance.happens(0.5) else [(b, a) for a, b in out]
        if shape == "ring":
            return [
                (a, b)
                for i, a in enumerate(order)
                for j, b in enumerate(order)
                if (i - j) % count not in (0, 1, count - 1)
            ] or _both(order[:1], order[1:2])
        if shape == "pair":
            return _both(order[:1], order[1:2])
        half = (count - (shape == "bridge")) // 2
        return _both(order[:half], order[half : 2 * half] if shape == "bridge" else order[half:])

    def _clog(self) -> bool:
        hosts = self._cluster.hosts
        pair = (self._chance.choice(hosts).name, self._chance.choice(hosts).name)
        clogs = self._cluster.network.clogs
        clogs[pair] = self._chance.exponential(0.5)
        self._note(f"clogged: {pair[0]}>{pair[1]} by {clogs[pair]:.2f} s")
        self._later(4.0, lambda: clogs.pop(pair, None))
        return True

    # Disks

    def _draw_host(self) -> Host:
        return self._chance.choice(self._cluster.hosts)

    def _slow_disk(self) -> bool:
        disk = self._draw_host().disk
        disk.slowness = self._chance.choice((20.0, 200.0, 1000.0))
        self._later(3.0, lambda: setattr(disk, "slowness", 1.0))
        return True

    def _fail_syncs(self) -> bool:
        host = self._draw_host()
        host.disk.sync_failure_rate = 1.0
        self._note(f"{host.name}: the next sync fails")
        return True

    def _fail_commits(self) -> bool:
        host = self._draw_host()
        host.disk.commit_failure_rate = 1.0
        self._note(f"{host.name}: the next commit fails")
        return True

    def _fill_disk(self) -> bool:
        host = self._draw_host()
        host.disk.fill(self._chance.below(3000))
        self._note(f"{host.name}: the disk fills up")
        return True

    def _draw_loss(self) -> Process | None:
        """A member that the others can do without."""
        cluster = self._cluster
        leader = cluster.leader()
        if leader is None or not cluster.is_whole() or not cluster.is_settled():
            return None
        conf_state = leader.server.cluster.conf_state
        # Half way through a replacement the one lost before still counts.
        if conf_state.outgoing or len(conf_state.voters) < LOSSY_MEMBERS_MIN:
            return None
        process = self._draw_process()
        # One that has not told its name could be given the same seat again, without its votes.
        is_known = process is not None and leader.server.cluster.find_by_name(process.name)
        return process if is_known else None

    def _rot(self) -> bool:
        process = self._draw_loss()
        if process is None:
            return False
        self._cluster.crash(process, is_power_cut=self._chance.happens(0.5))
        is_damaged = process.host.disk.rot()
        self._note(f"{process.name}: a bit rots {is_damaged}")
        self._later(0.5, partial(self._cluster.restart, process.host))
        return is_damaged

    def _wipe(self) -> bool:
        process = self._draw_loss()
        if process is not None:
            self._cluster.wipe(process.host)
        return process is not None

    # Members

    def _change_membership(self) -> bool:
        cluster = self._cluster
        leader = cluster.leader()
        if leader is not None and not any(host.is_waiting for host in cluster.hosts):
            for member_id in cluster.ghosts(leader)[:1]:
                cluster.remove(leader, member_id)
                return True
        if leader is None or not cluster.is_whole():
            return False
        members = leader.server.cluster.members
        count = len(members)
        if count > LOSSY_MEMBERS_MIN and (count >= MEMBERS_MAX or self._chance.happens(0.5)):
            member_id = self._chance.choice(sorted(members))
            for _ in range(2 if self._chance.happens(0.3) else 1):  # two operators, one thought
                if self._is_modern and self._chance.happens(0.5):
                    self._operator.remove(member_id)
                else:
                    cluster.remove(leader, member_id)
        else:
            self._add_member(leader)
        return True

    def _add_member(self, leader: Process) -> None:
        cluster = self._cluster
        idle = [host for host in cluster.hosts if host.is_retired]
        host = self._chance.choice(idle) if idle else cluster.add_host()
        way = self._chance.choice(("seat", "learner", "operator"))
        if way == "operator" and self._is_modern:
            self._operator.add(host)
        elif way == "learner":
            cluster.add_learner(leader, host)
            self._later(3.0, self._promote)
        else:
            cluster.admit(host)

    @property
    def _is_modern(self) -> bool:
        return self._cluster.settings.config.era is Era.MODERN

    def _move(self) -> bool:
        process = self._draw_process()
        if process is not None and self._is_modern:
            self._operator.move(process.host)
        return process is not None and self._is_modern

    def _promote(self) -> None:
        leader = self._cluster.leader()
        if leader is None:
            return
        learners = leader.server.cluster.conf_state.learners
        if learners and self._cluster.is_whole():
            self._cluster.promote(leader, learners[0])
        elif learners:
            self._later(3.0, self._promote)


def _both(some: list[str], others: list[str]) -> list[Pair]:
    """Both directions of every link between the two groups."""
    return [pair for a in some for b in others for pair in ((a, b), (b, a))]


def _nothing() -> None:
    """Nobody waits."""


def _nobody(process: Process) -> None:
    del process

"""The network between members breaks: each lives in a network namespace, all on one bridge.

The bridge is in a namespace of its own, so nothing outside is touched. Only root may do that.
"""

import ctypes
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import TypeVar

import pytest

from kvorum.config import Era
from kvorum.testing import ClusterProcess, ServerProcess
from kvorum.testing.polling import wait_until

pytestmark = pytest.mark.process

T = TypeVar("T")

ELECTION_SECONDS = {Era.LEGACY: 2.0, Era.MODERN: 6.0}
"""With the timeouts of 0.4 a majority elects in 0.2 to 0.4 s, with those of 3.x in 1 to 2 s."""

REPAIR_SECONDS = 20.0
ANSWER_SECONDS = 15.0
"""A member without a leader answers after 5.4 s (0.4) or 7 s (3.x)."""

NOBODY = "02:00:00:00:00:ff"
"""A hardware address that nobody has: what is sent there is lost without a word."""

CLONE_NEWNET = 0x40000000
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
OK, CREATED, SERVER_FAULT = 200, 201, 500


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=20)


class Network:
    """Namespaces on one bridge; `port` and `address` count from 1."""

    def __init__(self) -> None:
        self._prefix = f"kvorum-{os.getpid()}"
        self._made: list[str] = []
        self.bridge = self._namespace("bridge")
        ip("-n", self.bridge, "link", "add", "br0", "type", "bridge")
        ip("-n", self.bridge, "link", "set", "br0", "up")

    def close(self) -> None:
        while self._made:
            ip("netns", "del", self._made.pop())

    def add(self, number: int) -> str:
        """A namespace with one address, plugged into the bridge."""
        name, port = self._namespace(str(number)), f"port{number}"
        peer = ["type", "veth", "peer", "name", port, "netns", self.bridge]
        ip("link", "add", "eth0", "netns", name, *peer)
        ip("-n", name, "addr", "add", f"{address(number)}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", self.bridge, "link", "set", port, "up")
        self.plug(number)
        return name

    def plug(self, number: int) -> None:
        ip("-n", self.bridge, "link", "set", f"port{number}", "master", "br0")

    def unplug(self, number: int) -> None:
        """Loses what goes either way; neither side's link goes down."""
        ip("-n", self.bridge, "link", "set", f"port{number}", "nomaster")

    def lose(self, source: int, target: int) -> None:
        """Loses what goes from one to the other."""
        where = [address(target), "lladdr", NOBODY, "dev", "eth0", "nud", "permanent"]
        ip("-n", self.name(source), "neigh", "replace", *where)

    def restore(self, source: int, target: int) -> None:
        ip("-n", self.name(source), "neigh", "del", address(target), "dev", "eth0")

    def name(self, what: object) -> str:
        return f"{self._prefix}-{what}"

    def _namespace(self, what: str) -> str:
        ip("netns", "add", self.name(what))
        self._made.append(self.name(what))
        return self.name(what)


def address(number: int) -> str:
    return f"10.77.0.{number}"


def enter(namespace: str) -> None:
    """Moves the calling thread; sockets it makes from then on belong there."""
    fd = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(fd)


class Placed(ServerProcess):
    """A member in a namespace; it is asked from within."""

    inside: ThreadPoolExecutor
    number: int

    def ask(self, path: str) -> tuple[int, bytes] | None:
        return self.run(super().ask, path).result()

    def run(self, function: Callable[..., T], *arguments: object) -> "Future[T]":
        """Starts a function within the namespace."""
        return self.inside.submit(function, *arguments)

    def send(self, method: str, path: str, body: str = "") -> int:
        """The status a request is answered with."""
        connection = HTTPConnection(self.host, self.client_port, timeout=ANSWER_SECONDS)
        try:
            connection.request(method, f"/v2/keys{path}", body, FORM)
            return connection.getresponse().status
        finally:
            connection.close()

    def put(self, key: str) -> int:
        return self.run(self.send, "PUT", key, f"value={key}").result()

    def has(self, key: str) -> bool:
        """Whether this member has a key, by itself."""
        answer = self.ask(f"/v2/keys{key}")
        return answer is not None and answer[0] == OK

    @property
    def leads(self) -> bool:
        answer = self.ask("/v2/stats/self")
        return answer is not None and json.loads(answer[1])["state"] in ("leader", "StateLeader")


class DividedCluster(ClusterProcess):
    """A cluster whose members are joined by a network that can break."""

    def __init__(self, directory: Path, network: Network, era: Era) -> None:
        self._network = network
        super().__init__(directory, era=era)

    def make_member(
        self, number: int, directory: Path, *, arguments: Sequence[str], program: Sequence[str]
    ) -> ServerProcess:
        namespace = self._network.add(number)
        member = Placed(
            directory,
            name=f"machine{number}",
            era=self.era,
            arguments=arguments,
            program=["ip", "netns", "exec", namespace, *program],
            host=address(number),
        )
        member.number = number
        member.inside = ThreadPoolExecutor(3, initializer=enter, initargs=(namespace,))
        return member

    @property
    def placed(self) -> list[Placed]:
        return [member for member in self.members if isinstance(member, Placed)]

    def kill(self) -> None:
        super().kill()
        for member in self.placed:
            member.inside.shutdown()


@pytest.fixture
def network() -> Iterator[Network]:
    try:
        network = Network()
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", "") or str(error)
        pytest.skip(f"no network namespaces here: {reason.strip()}")
    try:
        yield network
    finally:
        network.close()


@pytest.fixture
def divided(
    tmp_path: Path, network: Network, request: pytest.FixtureRequest
) -> Iterator[DividedCluster]:
    era = getattr(request, "param", Era.LEGACY)
    with DividedCluster(tmp_path, network, era) as cluster:
        yield cluster


Cut = Callable[[Network, int, list[int]], None]


def cut_both_ways(network: Network, one: int, others: list[int]) -> None:
    del others
    network.unplug(one)


def heal_both_ways(network: Network, one: int, others: list[int]) -> None:
    del others
    network.plug(one)


def cut_outgoing(network: Network, one: int, others: list[int]) -> None:
    for other in others:
        network.lose(one, other)


def heal_outgoing(network: Network, one: int, others: list[int]) -> None:
    for other in others:
        network.restore(one, other)


def cut_incoming(network: Network, one: int, others: list[int]) -> None:
    for other in others:
        network.lose(other, one)


def heal_incoming(network: Network, one: int, others: list[int]) -> None:
    for other in others:
        network.restore(other, one)


@pytest.mark.parametrize(
    ("divided", "cut", "heal"),
    [
        (Era.LEGACY, cut_both_ways, heal_both_ways),
        (Era.LEGACY, cut_outgoing, heal_outgoing),
        (Era.LEGACY, cut_incoming, heal_incoming),
        (Era.MODERN, cut_both_ways, heal_both_ways),
    ],
    ids=["both-ways", "outgoing", "incoming", "modern"],
    indirect=["divided"],
)
def test_a_leader_cut_off_is_replaced_and_comes_back(
    divided: DividedCluster, network: Network, cut: Cut, heal: Cut
) -> None:
    seconds = ELECTION_SECONDS[divided.era]
    old = next(member for member in divided.placed if member.leads)
    others = [member for member in divided.placed if member is not old]
    numbers = [member.number for member in others]
    assert old.put("/before") == CREATED

    cut(network, old.number, numbers)
    unanswered = [
        old.run(old.send, "PUT", "/lost", "value=lost"),
        old.run(old.send, "GET", "/before?quorum=true"),
    ]
    new = wait_until(
        lambda: next((member for member in others if member.leads), None), seconds, "a new leader"
    )
    wait_until(lambda: not old.leads, seconds, "the old leader to step down")
    assert new.put("/during") == CREATED
    assert [answer.result() for answer in unanswered] == [SERVER_FAULT, SERVER_FAULT]
    assert old.has("/before")
    assert not old.has("/during")

    heal(network, old.number, numbers)
    wait_until(lambda: old.has("/during"), REPAIR_SECONDS, "the old leader to catch up")
    divided.wait_leader()
    assert old.put("/after") == CREATED
    for member in divided.placed:
        for key in ("/before", "/during", "/after"):
            assert member.run(member.send, "GET", f"{key}?quorum=true").result() == OK
            assert member.has(key)


def test_a_follower_cut_off_disturbs_nobody(divided: DividedCluster, network: Network) -> None:
    leader = next(member for member in divided.placed if member.leads)
    follower = next(member for member in divided.placed if member is not leader)
    term = term_of(leader)
    network.unplug(follower.number)
    assert follower.run(follower.send, "GET", "/a?quorum=true").result() == SERVER_FAULT
    assert leader.put("/a") == CREATED
    network.plug(follower.number)
    wait_until(lambda: follower.has("/a"), REPAIR_SECONDS, "the follower to catch up")
    assert leader.leads
    assert term_of(leader) == term


def term_of(member: Placed) -> str:
    def ask() -> str:
        connection = HTTPConnection(member.host, member.client_port, timeout=ANSWER_SECONDS)
        try:
            connection.request("GET", "/v2/keys/")
            return connection.getresponse().headers["X-Raft-Term"]
        finally:
            connection.close()

    return member.run(ask).result()

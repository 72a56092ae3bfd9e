"""Members are killed, wiped and stopped under load: nothing that was acknowledged is ever lost.

Acknowledged means that the answer was 2xx. A write whose answer was lost may be there or not.
`KVORUM_KILL_ROUNDS` sets how often members are killed; the default suits a test run.
"""

import json
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import urlencode, urlsplit

import pytest

from kvorum.clock import SystemClock
from kvorum.config import Era
from kvorum.testing import ClusterProcess, ServerProcess
from kvorum.testing.polling import wait_until

pytestmark = pytest.mark.process

ROUNDS = int(os.environ.get("KVORUM_KILL_ROUNDS", "8"))

ANSWER_SECONDS = 10.0
"""A member answers at the latest after 5.4 s (0.4) or 7 s (3.x), if only with an error."""

OUTAGE_SECONDS = 30.0
"""No client may wait longer for its next answer while a majority comes back."""

PROGRESS = 40
"""Writes acknowledged between two blows."""

PUTTERS, POSTERS, SWAPPERS, CHAINS = 2, 2, 3, 2
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
CREATED, REDIRECT, COMPARE_FAILED, SERVER_FAULT = 201, 307, 412, 500

clock = SystemClock()
_log = logging.getLogger(__name__)


class Node(NamedTuple):
    key: str
    value: str
    modified_index: int


class Answer(NamedTuple):
    status: int
    etcd_index: int
    body: bytes

    @property
    def node(self) -> Node:
        node = json.loads(self.body)["node"]
        return Node(node["key"], node["value"], node["modifiedIndex"])


class Operation(NamedTuple):
    """A write that was acknowledged, or a linearizable read."""

    started: float
    ended: float
    etcd_index: int
    key: str
    value: str
    previous: str | None
    """What a swap replaced."""
    is_write: bool


class Refused(Exception):
    """Nobody listens, or none who has a seat: the request was not done."""


class Caller:
    """One client: asks one member until it fails, then the next."""

    def __init__(self, urls: list[str], failures: list[str]) -> None:
        self._urls = urls
        self._failures = failures
        self._turn = clock.random_below(len(urls))
        self._connection: HTTPConnection | None = None

    def ask(self, method: str, target: str, form: dict[str, str] | None = None) -> Answer | None:
        """The answer; None when it is unknown what became of the request.

        Raises:
            Refused: it was not done.
        """
        body = urlencode(form) if form else None
        url = self._urls[self._turn % len(self._urls)]
        if self._connection is None:
            self._connection = connect(url, self._next)
        try:
            self._connection.request(method, target, body, FORM if form else {})
            answer = read(self._connection.getresponse())
        except (OSError, HTTPException) as error:
            self._fail(f"{method} {url}{target}: {error!r}")
            return None
        if answer.status == REDIRECT:
            self._next()  # it stands by
            raise Refused
        if answer.status >= SERVER_FAULT:
            self._fail(f"{method} {url}{target}: {answer}")
            return None
        return answer

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _next(self) -> None:
        self.close()
        self._turn += 1

    def _fail(self, failure: str) -> None:
        self._failures.append(failure)
        self._next()


def connect(url: str, on_failure: Callable[[], None]) -> HTTPConnection:
    connection = HTTPConnection(urlsplit(url).netloc, timeout=ANSWER_SECONDS)
    try:
        connection.connect()
    except OSError as error:
        connection.close()
        on_failure()
        raise Refused from error
    return connection


def read(response: HTTPResponse) -> Answer:
    index = int(response.headers.get("X-Etcd-Index", "0"))
    return Answer(response.status, index, response.read())


class Traffic:
    """Clients in threads of their own, for as long as the block lasts.

    Attributes:
        history: acknowledged writes and linearizable reads, of all clients.
        unknown: values whose writes were sent and not answered.
        failures: answers that were lost or errors.
        broken: what ended a client before its time.
    """

    def __init__(self, members: list[ServerProcess]) -> None:
        self.history: list[Operation] = []
        self.unknown: set[str] = set()
        self.failures: list[str] = []
        self.broken: list[BaseException] = []
        self.acknowledged = 0
        self._urls = [member.client_url for member in members]
        self._stopping = threading.Event()
        clients = [(self._put_all, number) for number in range(PUTTERS)]
        clients += [(self._post_all, number) for number in range(POSTERS)]
        clients += [(self._swap_all, number) for number in range(SWAPPERS)]
        self._threads = [threading.Thread(target=self._run, args=client) for client in clients]

    def __enter__(self) -> Self:
        with_everything = Caller(self._urls, self.failures)
        for number in range(CHAINS):
            path, form = f"/chains/{number}", {"value": "0:start"}
            answer = self._insist(with_everything, "PUT", path, form)
            assert answer is not None
            assert answer.status == CREATED
        with_everything.close()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def add_member(self, member: ServerProcess) -> None:
        """Clients may ask this member, too, from now on."""
        self._urls.append(member.client_url)

    def wait_progress(self) -> None:
        """Waits until more writes have been acknowledged."""
        enough = self.acknowledged + PROGRESS
        wait_until(
            lambda: self.broken or self.acknowledged >= enough,
            OUTAGE_SECONDS * 2,
            lambda: f"more writes; last failures: {self.failures[-3:]}",
        )
        assert not self.broken

    def _run(self, client: Callable[[Caller, int], None], number: int) -> None:
        caller = Caller(self._urls, self.failures)
        try:
            client(caller, number)
        except BaseException as error:
            self.broken.append(error)
        finally:
            caller.close()

    def _put_all(self, caller: Caller, client: int) -> None:
        """Puts values that nobody else puts, under keys of their own, until each is answered."""
        number = 0
        while not self._stopping.is_set():
            key, value = f"/puts/{client}/{number}", f"{client}.{number}"
            started = clock.monotonic()
            answer = self._insist(caller, "PUT", key, {"value": value})
            if answer is not None:
                self._record(started, answer.node.modified_index, key, value)
            number += 1

    def _post_all(self, caller: Caller, client: int) -> None:
        """Appends values that nobody else appends to one queue, each sent at most once."""
        number = 0
        while not self._stopping.is_set():
            number += 1
            value = f"{client}.{number}"
            self._insist(caller, "GET", "/chains/0")
            started = clock.monotonic()
            try:
                answer = caller.ask("POST", "/v2/keys/queue", {"value": value})
            except Refused:
                continue
            if answer is None:
                self.unknown.add(value)
            else:
                assert answer.status == CREATED, answer
                self._record(started, answer.node.modified_index, answer.node.key, value)

    def _swap_all(self, caller: Caller, client: int) -> None:
        """Replaces what is there by a value with the next number, if nobody else was faster."""
        number = 0
        while not self._stopping.is_set():
            number += 1
            key = f"/chains/{number % CHAINS}"
            started = clock.monotonic()
            found = self._insist(caller, "GET", f"{key}?quorum=true")
            if found is None:
                return
            _, previous, index = found.node
            ended = clock.monotonic()
            read = Operation(started, ended, found.etcd_index, key, previous, None, is_write=False)
            self.history.append(read)
            value = f"{link_number(previous) + 1}:{client}.{number}"
            started = clock.monotonic()
            try:
                answer = caller.ask("PUT", f"/v2/keys{key}?prevIndex={index}", {"value": value})
            except Refused:
                continue
            if answer is None:
                self.unknown.add(value)
            elif answer.status != COMPARE_FAILED:
                self._record(started, answer.node.modified_index, key, value, previous)

    def _insist(
        self, caller: Caller, method: str, path: str, form: dict[str, str] | None = None
    ) -> Answer | None:
        """Asks until there is an answer; None when the traffic ends before."""

        def attempt() -> tuple[Answer | None] | None:
            if self._stopping.is_set():
                return (None,)
            try:
                answer = caller.ask(method, f"/v2/keys{path}", form)
            except Refused:
                return None
            return answer and (answer,)

        (answer,) = wait_until(attempt, OUTAGE_SECONDS, f"an answer to {method} {path}")
        assert answer is None or answer.status in (200, CREATED), answer
        return answer

    def _record(
        self, started: float, index: int, key: str, value: str, previous: str | None = None
    ) -> None:
        done = Operation(started, clock.monotonic(), index, key, value, previous, is_write=True)
        self.history.append(done)
        self.acknowledged += 1


def link_number(value: str) -> int:
    return int(value.partition(":")[0])


def leaves(node: dict[str, object]) -> Iterator[tuple[str, str]]:
    """Key and value of every file."""
    children = node.get("nodes", [])
    assert isinstance(children, list)
    for child in children:
        yield from leaves(child)
    if "value" in node:
        yield str(node["key"]), str(node["value"])


def tree_of(member: ServerProcess, query: str = "") -> tuple[int, dict[str, object]] | None:
    """Index and whole tree of a member; None while it does not answer."""
    caller = Caller([member.client_url], [])
    try:
        answer = caller.ask("GET", f"/v2/keys/?recursive=true&sorted=true{query}")
    except Refused:
        return None
    finally:
        caller.close()
    return answer and (answer.etcd_index, json.loads(answer.body)["node"])


def wait_converged(cluster: ClusterProcess) -> dict[str, str]:
    """Waits until all members hold the same tree by themselves; returns its files."""

    def same() -> tuple[int, dict[str, object]] | None:
        trees = [tree_of(member) for member in cluster.members]
        return trees[0] if all(tree == trees[0] for tree in trees) else None

    tree = wait_until(same, OUTAGE_SECONDS, "all members to hold the same tree")
    for member in cluster.members:
        assert tree_of(member, "&quorum=true") == tree
    return dict(leaves(tree[1]))


def assert_nothing_lost(cluster: ClusterProcess, traffic: Traffic) -> None:
    assert not traffic.broken
    files = wait_converged(cluster)
    writes = [one for one in traffic.history if one.is_write]
    indexes = [one.etcd_index for one in writes]
    assert len(set(indexes)) == len(indexes), "two writes were given one index"
    assert_time_goes_forward(traffic.history)
    puts = {one.key: one.value for one in writes if one.previous is None}
    lost = {key: value for key, value in puts.items() if files.get(key) != value}
    assert not lost, f"{len(lost)} of {len(puts)} acknowledged writes are not there"
    queue = [value for key, value in files.items() if key.startswith("/queue/")]
    assert len(set(queue)) == len(queue), "something was appended twice"
    for number in range(CHAINS):
        key = f"/chains/{number}"
        links = [one for one in writes if one.key == key]
        assert_chain_is_whole(links, files[key], traffic.unknown)


def assert_time_goes_forward(history: list[Operation]) -> None:
    """What began after something had ended has the higher index; a read, at least the same."""
    by_start = sorted(history)
    ended = iter(sorted(history, key=lambda one: one.ended))
    last = next(ended)
    newest = 0
    for one in by_start:
        while last.ended < one.started:
            newest = max(newest, last.etcd_index)
            last = next(ended)
        assert one.etcd_index > newest or (one.etcd_index == newest and not one.is_write), one


def assert_chain_is_whole(links: list[Operation], final: str, unknown: set[str]) -> None:
    """Each link replaced the one before it, and none has two that claim its place."""
    known = {0: "0:start"}
    for one in sorted(links, key=lambda one: one.etcd_index):
        assert one.previous is not None
        for value in (one.previous, one.value):
            assert known.setdefault(link_number(value), value) == value, "a link is doubled"
    acknowledged = {one.value for one in links}
    assert len(acknowledged) == len(links)
    assert set(known.values()) - acknowledged <= unknown | {"0:start"}, "a refused swap was made"
    assert link_number(final) >= max(known), "the last links are lost"
    assert known.get(link_number(final), final) == final
    assert final in acknowledged | unknown | {"0:start"}


def some_members(cluster: ClusterProcess, count: int) -> list[ServerProcess]:
    left = list(cluster.members)
    return [left.pop(clock.random_below(len(left))) for _ in range(count)]


def bring_back(members: list[ServerProcess]) -> None:
    for member in members:
        member.start()
    for member in members:
        member.wait_ready()


@pytest.mark.timeout(120 + 20 * ROUNDS)
@pytest.mark.parametrize("era", Era)
def test_members_killed_at_random_lose_nothing(tmp_path: Path, era: Era) -> None:
    with ClusterProcess(tmp_path, era=era, arguments=["-snapshot-count", "50"]) as cluster:
        with Traffic(cluster.members) as traffic:
            for _ in range(ROUNDS):
                traffic.wait_progress()
                victims = some_members(cluster, 1 + clock.random_below(2))
                _log.info("killing %s", [victim.name for victim in victims])
                for victim in victims:
                    victim.kill()
                if len(victims) == 1:
                    traffic.wait_progress()
                bring_back(victims)
            traffic.wait_progress()
        _log.info("%d acknowledged, %d unknown", traffic.acknowledged, len(traffic.unknown))
        assert_nothing_lost(cluster, traffic)


def test_all_killed_at_once_lose_nothing(cluster: ClusterProcess) -> None:
    with Traffic(cluster.members) as traffic:
        for _ in range(2):
            traffic.wait_progress()
            cluster.kill()
            bring_back(cluster.members)
        traffic.wait_progress()
    assert_nothing_lost(cluster, traffic)


def test_a_wiped_member_comes_back_under_its_name(tmp_path: Path) -> None:
    with ClusterProcess(tmp_path, arguments=["-retry-interval", "1"]) as cluster:
        with Traffic(cluster.members) as traffic:
            traffic.wait_progress()
            victim = cluster.members[1 + clock.random_below(2)]
            victim.kill()
            shutil.rmtree(victim.data_dir)
            traffic.wait_progress()
            bring_back([victim])
            assert victim.log().count(f"{victim.name} joined the cluster via peer") == 2
            other = next(member for member in cluster.members if member is not victim)
            wait_until(lambda: tree_of(victim, "&quorum=true"), OUTAGE_SECONDS, "a quorum read")
            other.kill()
            traffic.wait_progress()
            bring_back([other])
        assert_nothing_lost(cluster, traffic)
        with victim.client() as client:
            urls = {member.client_url for member in cluster.members}
            assert sorted(client.list_machines()) == sorted(urls)


def test_a_member_left_far_behind_is_sent_the_whole_state(tmp_path: Path) -> None:
    with ClusterProcess(tmp_path, arguments=["-snapshot-count", "20"]) as cluster:
        with Traffic(cluster.members) as traffic:
            traffic.wait_progress()
            (victim,) = some_members(cluster, 1)
            victim.kill()
            for _ in range(10):
                traffic.wait_progress()
            bring_back([victim])
            victim.wait_log("installed a snapshot at index")
            traffic.wait_progress()
            victim.restart()
            traffic.wait_progress()
        assert_nothing_lost(cluster, traffic)


@pytest.mark.parametrize("era", Era)
def test_a_leader_that_is_stopped_hands_over(tmp_path: Path, era: Era) -> None:
    with ClusterProcess(tmp_path, era=era) as cluster:
        leader = cluster.wait_leader()
        others = [member for member in cluster.members if member is not leader]
        with Traffic(others) as traffic:
            traffic.wait_progress()
            assert leader.terminate() == 0
            assert cluster.wait_leader() in others
            traffic.wait_progress()
            assert not traffic.failures, "somebody noticed"
            bring_back([leader])
            traffic.wait_progress()
        assert_nothing_lost(cluster, traffic)
        assert not traffic.failures, "somebody noticed"


def test_a_stopped_member_keeps_nobody_waiting(server: ServerProcess) -> None:
    watching = HTTPConnection("127.0.0.1", server.client_port, timeout=ANSWER_SECONDS)
    watching.request("GET", "/v2/keys/never?wait=true")
    response = watching.getresponse()
    assert response.status == 200
    assert server.terminate() == 0
    with pytest.raises(IncompleteRead):
        response.read()
    watching.close()

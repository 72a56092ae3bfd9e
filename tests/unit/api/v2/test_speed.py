from collections.abc import Callable
from typing import Any

import pytest

from kvorum.api.v2.speed import PARALLEL_WRITES, WRITES
from kvorum.errors import UnavailableError
from kvorum.v2.commands import Set
from kvorum.v2.node import Action, Event, Node


class Queue:
    """Takes proposals and answers them when told."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[object], None]] = []
        self.count = 0

    def propose(self, command: Set, completion: Callable[[object], None]) -> None:
        assert command == Set(b"/foo", b"bar")
        self.count += 1
        self.waiting.append(completion)

    def answer(self, outcome: object) -> None:
        waiting, self.waiting = self.waiting, []
        for completion in waiting:
            completion(outcome)


EVENT = Event(Action.SET, Node(b"/foo", b"bar", 1, 1))


@pytest.fixture
def queue(legacy: Any) -> Queue:
    queue = Queue()
    legacy.server.propose = queue.propose
    return queue


def test_writes_run_side_by_side_and_are_counted(legacy: Any, queue: Queue) -> None:
    exchange = legacy.get("/v2/speedTest")
    while queue.waiting:
        assert len(queue.waiting) == PARALLEL_WRITES
        assert not exchange.is_done
        queue.answer(EVENT)
    assert queue.count == WRITES
    assert (exchange.status, exchange.text) == (200, "speed test success")


def test_stops_when_the_client_leaves(legacy: Any, queue: Queue) -> None:
    exchange = legacy.get("/v2/speedTest")
    exchange.on_close()
    queue.answer(EVENT)
    assert queue.count == PARALLEL_WRITES
    assert not queue.waiting
    assert not exchange.is_done


def test_never_starts_for_a_client_that_has_left(legacy: Any, queue: Queue) -> None:
    legacy.send_and_leave("GET", "/v2/speedTest")
    assert queue.count == 0


def test_gives_up_without_a_leader(legacy: Any) -> None:
    legacy.server.unavailable = UnavailableError("no leader")
    exchange = legacy.get("/v2/speedTest")
    assert (exchange.status, exchange.text) == (
        500,
        '{"errorCode":300,"message":"Raft Internal Error","index":2}\n',
    )

"""Waiting for a lock: order, ends, and who owns a place."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from kvorum.api.v2 import lockqueue
from kvorum.api.v2.lockqueue import WAITING_SECONDS
from kvorum.errors import UnavailableError
from kvorum.v2.commands import Create, Delete, Update

LOCK = "/mod/v2/lock/foo"
PATH = b"/_etcd/mod/lock/foo/"


def acquire(client: Any, parameters: str = "ttl=10") -> Any:
    return client.post(f"{LOCK}?{parameters}")


def release(client: Any, exchange: Any) -> None:
    assert client.delete(f"{LOCK}?index={exchange.text}").status == 200


def numbers(client: Any) -> list[int]:
    """The places of the lock, first come first."""
    listing = json.loads(client.get("/v2/keys/_etcd/mod/lock/foo").text)
    names = [node["key"].rpartition("/")[2] for node in listing["node"].get("nodes", ())]
    return sorted(map(int, names))


def test_those_who_wait_get_the_lock_in_the_order_of_their_coming(legacy: Any) -> None:
    # More than ten, so that the order of numbers is not that of their texts.
    holder, *waiting = [acquire(legacy) for _ in range(12)]
    assert holder.text == "3"
    for waiter in waiting:
        assert not waiter.is_done
        release(legacy, holder)
        assert (waiter.status, waiter.is_done) == (200, True)
        holder = waiter
    given = [int(waiter.text) for waiter in waiting]
    assert given == sorted(given)


def test_a_lock_that_expires_goes_to_the_next(legacy: Any) -> None:
    acquire(legacy, "ttl=2")
    waiter = acquire(legacy, "ttl=10")
    legacy.pass_seconds(1)
    assert not waiter.is_done
    legacy.pass_seconds(1)
    assert waiter.is_done
    assert waiter.text == "5"


def test_a_waiter_that_leaves_takes_its_place_away(legacy: Any) -> None:
    holder, leaver, last = (acquire(legacy) for _ in range(3))
    leaver.on_close()
    assert len(numbers(legacy)) == 2
    assert not last.is_done
    release(legacy, holder)
    assert last.is_done
    assert not leaver.head


def test_a_client_that_has_left_before_it_began_takes_no_place(legacy: Any) -> None:
    legacy.send_and_leave("POST", f"{LOCK}?ttl=10")
    assert legacy.server.commands == []


def test_a_place_is_renewed_while_it_waits_and_not_after(legacy: Any) -> None:
    holder = acquire(legacy, "ttl=100")
    waiter = acquire(legacy, "ttl=4")
    for _ in range(5):
        legacy.pass_seconds(2)
    assert len(numbers(legacy)) == 2
    release(legacy, holder)
    assert waiter.is_done
    legacy.pass_seconds(3)
    assert numbers(legacy) == [int(waiter.text)]
    legacy.pass_seconds(2)
    assert numbers(legacy) == []


def test_the_ttl_begins_anew_when_the_lock_is_taken(legacy: Any) -> None:
    holder = acquire(legacy)
    waiter = acquire(legacy, "ttl=10")
    legacy.pass_seconds(4)
    release(legacy, holder)
    legacy.pass_seconds(9)
    assert numbers(legacy) == [int(waiter.text)]


def test_a_lock_for_ever_has_a_ttl_only_while_it_waits(legacy: Any) -> None:
    holder = acquire(legacy)
    waiter = acquire(legacy, "ttl=0")
    assert legacy.server.commands[-1].expiration
    release(legacy, holder)
    legacy.pass_seconds(100 * WAITING_SECONDS)
    assert numbers(legacy) == [int(waiter.text)]


def test_who_does_not_want_to_wait_is_told_at_once(legacy: Any) -> None:
    assert acquire(legacy, "ttl=10&timeout=0").text == "3"
    refused = acquire(legacy, "ttl=10&timeout=0")
    assert (refused.status, refused.text) == (500, "failed to acquire lock\n")
    assert numbers(legacy) == [3]


def test_a_wait_ends_at_its_timeout(legacy: Any) -> None:
    acquire(legacy, "ttl=100")
    waiter = acquire(legacy, "ttl=100&timeout=2")
    patient = acquire(legacy, "ttl=100&timeout=-1")
    legacy.pass_seconds(1.9)
    assert not waiter.is_done
    legacy.pass_seconds(0.1)
    assert (waiter.status, waiter.text) == (500, "lock watch closed\n")
    assert len(numbers(legacy)) == 2
    assert not patient.is_done


def test_a_place_that_somebody_removes_is_no_longer_waited_at(legacy: Any) -> None:
    acquire(legacy, "ttl=100")
    waiter = acquire(legacy, "ttl=100&value=b")
    legacy.delete(f"{LOCK}?value=b")
    assert waiter.status == 404
    assert json.loads(waiter.text)["cause"] == "Acquire"


def test_a_place_whose_value_changes_is_still_the_same(legacy: Any) -> None:
    holder = acquire(legacy, "ttl=100")
    waiter = acquire(legacy, "ttl=100&value=b")
    legacy.put(LOCK, "ttl=100&index=5&value=c")
    release(legacy, holder)
    assert waiter.text == "5"
    assert legacy.get(LOCK).text == "c"


def test_a_lock_whose_directory_goes_leaves_nobody_waiting(legacy: Any) -> None:
    acquire(legacy)
    waiter = acquire(legacy)
    legacy.delete("/v2/keys/_etcd/mod/lock?recursive=true")
    assert waiter.status == 404


def test_two_requests_of_one_value_wait_at_one_place(legacy: Any) -> None:
    holder = acquire(legacy)
    first, second = (acquire(legacy, "ttl=10&value=b") for _ in range(2))
    assert len(numbers(legacy)) == 2
    release(legacy, holder)
    assert first.text == second.text == "5"


@pytest.mark.parametrize("leaver", [0, 1])
def test_a_shared_place_stays_as_long_as_somebody_waits_at_it(legacy: Any, leaver: int) -> None:
    holder = acquire(legacy, "ttl=100")
    pair = [acquire(legacy, "ttl=10&value=b") for _ in range(2)]
    pair[leaver].on_close()
    for _ in range(4):
        legacy.pass_seconds(5)
    release(legacy, holder)
    assert pair[1 - leaver].text == "5"
    assert not pair[leaver].is_done


def test_a_shared_place_goes_with_the_last_who_waits_at_it(legacy: Any) -> None:
    acquire(legacy, "ttl=100")
    for waiter in [acquire(legacy, "ttl=10&value=b") for _ in range(2)]:
        waiter.on_close()
    assert len(numbers(legacy)) == 1


def test_the_holders_value_renews_its_lock(legacy: Any) -> None:
    assert acquire(legacy, "ttl=10&value=a").text == "3"
    legacy.pass_seconds(6)
    assert acquire(legacy, "ttl=10&value=a").text == "3"
    legacy.pass_seconds(6)
    assert legacy.get(LOCK).text == "a"


class Late:
    """Holds commands back, as a log does that has not committed them yet."""

    def __init__(self, client: Any) -> None:
        self._propose = client.server.propose
        client.server.propose = self.propose
        self.waiting: list[tuple[Any, Callable[[object], None]]] = []

    def propose(self, command: Any, completion: Callable[[object], None]) -> None:
        self.waiting.append((command, completion))

    def commit(self) -> Any:
        """Commits the oldest; returns it."""
        command, completion = self.waiting.pop(0)
        self._propose(command, completion)
        return command

    def lose(self) -> Any:
        command, completion = self.waiting.pop(0)
        completion(UnavailableError("request timed out"))
        return command


def test_a_client_that_leaves_before_its_place_is_made_gives_it_up(legacy: Any) -> None:
    late = Late(legacy)
    exchange = acquire(legacy)
    exchange.on_close()
    assert type(late.commit()) is Create
    assert late.commit() == Delete(PATH + b"3")
    assert not late.waiting


def test_a_client_that_leaves_before_the_lock_is_taken_gives_it_up(legacy: Any) -> None:
    late = Late(legacy)
    exchange = acquire(legacy)
    late.commit()
    exchange.on_close()
    assert type(late.commit()) is Update
    assert late.commit() == Delete(PATH + b"3")
    assert not exchange.head


def test_a_lock_is_not_told_before_it_is_taken(legacy: Any) -> None:
    late = Late(legacy)
    exchange = acquire(legacy)
    late.commit()
    assert not exchange.is_done
    late.commit()
    assert exchange.text == "3"


def test_a_place_that_expired_just_before_the_lock_was_taken_is_lost(legacy: Any) -> None:
    late = Late(legacy)
    exchange = acquire(legacy, "ttl=1")
    late.commit()
    legacy.server.propose = late._propose
    legacy.pass_seconds(2)
    late.commit()
    assert exchange.status == 404


def test_the_holders_value_gets_a_new_place_if_its_own_expired_just_now(legacy: Any) -> None:
    acquire(legacy, "ttl=1&value=a")
    late = Late(legacy)
    exchange = acquire(legacy, "ttl=5&value=a")
    legacy.server.propose = late._propose
    legacy.pass_seconds(2)
    late.commit()
    assert exchange.text == "6"


def test_who_could_not_take_the_lock_gives_its_place_up(legacy: Any) -> None:
    late = Late(legacy)
    exchange = acquire(legacy)
    late.commit()
    late.lose()
    assert exchange.status == 500
    assert late.commit() == Delete(PATH + b"3")


def test_history_that_is_gone_does_not_stop_a_wait(legacy: Any) -> None:
    holder = acquire(legacy)
    waiter = acquire(legacy)
    queue = legacy.server.hub._find_group(PATH, PATH[:-1] + b"0")
    (watcher,) = queue.synced
    legacy.server.hub.cancel(watcher)
    watcher.sink.compacted(5)
    assert not waiter.is_done
    release(legacy, holder)
    assert waiter.is_done


def test_nothing_is_watched_when_nobody_waits(legacy: Any) -> None:
    holder = acquire(legacy)
    waiter = acquire(legacy)
    assert legacy.server.hub.watcher_count == 1
    release(legacy, holder)
    assert waiter.is_done
    assert legacy.server.hub.watcher_count == 0


def test_only_so_many_may_wait(legacy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockqueue, "WAITERS_MAX", 1)
    acquire(legacy)
    waiter, refused = acquire(legacy), acquire(legacy)
    assert not waiter.is_done
    assert refused.status == 500
    assert json.loads(refused.text)["cause"] == "too many waiting requests"
    assert len(numbers(legacy)) == 2
    waiter.on_close()
    assert not acquire(legacy).is_done

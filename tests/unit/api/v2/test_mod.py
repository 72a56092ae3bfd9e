"""The handlers of locks and leaders: parameters, refusals, answers."""

import json
from typing import Any

import pytest

from kvorum.errors import UnavailableError
from kvorum.v2.commands import Update

LOCK = "/mod/v2/lock/foo"
LEADER = "/mod/v2/leader/foo"


def refusal(exchange: Any) -> tuple[int, int, str, int]:
    """Status, code, cause and index."""
    error = json.loads(exchange.text)
    return exchange.status, error["errorCode"], error.get("cause", ""), error["index"]


def value_at(client: Any, path: str) -> str:
    node = json.loads(client.get(f"/v2/keys{path}").text)["node"]
    return str(node["value"])


def test_a_lock_is_acquired_shown_and_released(legacy: Any) -> None:
    taken = legacy.post(f"{LOCK}?ttl=10")
    assert (taken.status, taken.text) == (200, "3")
    assert value_at(legacy, "/_etcd/mod/lock/foo/3") == "-"
    assert legacy.get(f"{LOCK}?field=index").text == "3"
    assert legacy.get(LOCK).text == "-"
    released = legacy.delete(f"{LOCK}?index=3")
    assert (released.status, released.text) == (200, "")
    shown = legacy.get(f"{LOCK}?field=index")
    assert (shown.status, shown.text) == (200, "")


def test_a_lock_is_released_and_renewed_by_its_value(legacy: Any) -> None:
    legacy.post(f"{LOCK}?ttl=10", "value=XXX")
    assert legacy.get(LOCK).text == "XXX"
    legacy.pass_seconds(8)
    renewed = legacy.put(f"{LOCK}?ttl=10", "value=XXX")
    assert (renewed.status, renewed.text) == (200, "")
    legacy.pass_seconds(8)
    assert legacy.get(LOCK).text == "XXX"
    legacy.pass_seconds(3)
    assert legacy.get(LOCK).text == ""
    legacy.post(f"{LOCK}?ttl=10", "value=XXX")
    assert legacy.delete(f"{LOCK}?value=XXX").status == 200
    assert legacy.get(LOCK).text == ""


def test_a_renewal_by_index_keeps_the_value_or_replaces_it(legacy: Any) -> None:
    legacy.post(LOCK, "ttl=10&value=a")
    assert legacy.put(LOCK, "ttl=10&index=3").status == 200
    assert legacy.get(LOCK).text == "a"
    assert legacy.put(LOCK, "ttl=0&index=3&value=b").status == 200
    assert legacy.server.commands[-1] == Update(b"/_etcd/mod/lock/foo/3", b"b")
    assert legacy.get(LOCK).text == "b"


def test_names_may_have_slashes_and_other_characters(legacy: Any) -> None:
    assert legacy.post("/mod/v2/lock/a/b%20c?ttl=5").text == "3"
    assert value_at(legacy, "/_etcd/mod/lock/a/b%20c/3") == "-"
    # A lock below a lock is not one of its places.
    legacy.post("/mod/v2/lock/a/7?ttl=5")
    assert legacy.get("/mod/v2/lock/a?field=index").text == ""


@pytest.mark.parametrize(
    ("method", "target", "code", "cause"),
    [
        ("POST", f"{LOCK}?timeout=x", 205, "Acquire"),
        ("POST", LOCK, 202, "Acquire"),
        ("POST", f"{LOCK}?ttl=-1", 202, "Acquire"),
        ("PUT", LOCK, 202, "Renew"),
        ("PUT", f"{LOCK}?ttl=-1&index=3", 202, "Renew"),
        ("PUT", f"{LOCK}?ttl=5", 207, "Renew"),
        ("PUT", f"{LOCK}?ttl=5&index=..", 203, "Renew"),
        ("PUT", f"{LOCK}?ttl=5&value=nobody", 100, "Renew"),
        ("DELETE", LOCK, 207, "Release"),
        ("DELETE", f"{LOCK}?index=3&value=a", 208, "Release"),
        ("DELETE", f"{LOCK}?index=x", 203, "Release"),
        ("DELETE", f"{LOCK}?index=4", 100, "Release"),
        ("DELETE", f"{LOCK}?value=nobody", 100, "Release"),
        ("GET", f"{LOCK}?field=colour", 209, "Get"),
        ("PUT", LEADER, 206, "Set"),
        ("PUT", f"{LEADER}?name=a", 202, "Acquire"),
        ("DELETE", LEADER, 206, "Delete"),
        ("DELETE", f"{LEADER}?name=nobody", 100, "Release"),
    ],
)
def test_refusals_are_the_contracts(
    legacy: Any, method: str, target: str, code: int, cause: str
) -> None:
    legacy.post(f"{LOCK}?ttl=10&value=a")
    status = 404 if code == 100 else 400
    assert refusal(legacy.send(method, target)) == (status, code, cause, 0)


def test_a_lock_that_never_was_is_held_by_nobody(legacy: Any) -> None:
    shown = legacy.get(LOCK)
    assert (shown.status, shown.text) == (200, "")
    assert refusal(legacy.delete(f"{LOCK}?index=3")) == (404, 100, "Release", 0)


def test_a_file_in_the_way_is_told(legacy: Any) -> None:
    legacy.put("/v2/keys/_etcd/mod/lock/foo", "value=1")
    assert refusal(legacy.post(f"{LOCK}?ttl=5")) == (400, 104, "/_etcd/mod/lock/foo", 3)


def test_the_body_of_a_delete_is_not_looked_at(legacy: Any) -> None:
    legacy.post(f"{LOCK}?ttl=10&value=a")
    assert refusal(legacy.delete(LOCK, "value=a"))[1] == 207


def test_a_lock_needs_a_name_that_is_within_limits(legacy: Any) -> None:
    assert legacy.post("/mod/v2/lock/?ttl=5").status == 404
    assert refusal(legacy.post("/mod/v2/lock/" + "x" * 20_000 + "?ttl=5"))[:2] == (400, 209)


def test_there_are_no_modules_in_the_later_era(modern: Any) -> None:
    assert modern.post(f"{LOCK}?ttl=5").status == 404
    assert modern.get(LEADER).status == 404


def test_wrong_methods_are_not_found(legacy: Any) -> None:
    assert legacy.post(LEADER, "name=a&ttl=5").status == 404


def test_a_leader_is_a_lock_held_by_a_name(legacy: Any) -> None:
    assert legacy.put(f"{LEADER}?ttl=10", "name=xxx").text == "3"
    assert legacy.get(LEADER).text == "xxx"
    legacy.pass_seconds(8)
    assert legacy.put(f"{LEADER}?ttl=10", "name=xxx").text == "3"
    legacy.pass_seconds(8)
    assert legacy.get(LOCK).text == "xxx"
    deleted = legacy.delete(f"{LEADER}?name=xxx")
    assert (deleted.status, deleted.text) == (200, "")
    assert legacy.get(LEADER).text == ""


def test_what_is_not_utf_8_is_stored_as_the_era_stores_it(legacy: Any) -> None:
    legacy.post(LOCK, b"ttl=10&value=%FF")
    assert legacy.get(LOCK).text == "\N{REPLACEMENT CHARACTER}"
    assert legacy.delete(f"{LOCK}?value=%FF").status == 200


def test_without_a_leader_there_is_the_contracts_error(legacy: Any) -> None:
    legacy.server.unavailable = UnavailableError("no leader")
    requests = (
        ("POST", f"{LOCK}?ttl=5"),
        ("POST", f"{LOCK}?ttl=5&value=a"),
        ("PUT", f"{LOCK}?ttl=5&index=1"),
        ("GET", LOCK),
        ("DELETE", f"{LOCK}?index=1"),
    )
    for method, target in requests:
        assert refusal(legacy.send(method, target)) == (500, 300, "", 2)


def test_a_change_that_was_confirmed_but_not_committed_fails(legacy: Any) -> None:
    legacy.post(f"{LOCK}?ttl=10")
    legacy.server.propose = lambda _, completion: completion(UnavailableError("lost"))
    assert refusal(legacy.delete(f"{LOCK}?index=3"))[:2] == (500, 300)

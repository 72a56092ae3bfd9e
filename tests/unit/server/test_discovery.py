"""Both protocols against a service in memory, that may fail at any step."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from tests.unit.server.conftest import FakeClock

from kvorum.config import LEGACY_CONFIG, Config
from kvorum.errors import UnavailableError
from kvorum.net.dialer import HttpReply
from kvorum.server import discovery, registry
from kvorum.server.discovery import TokenRefused, find_founders, find_peers, keep_registered

T = TypeVar("T")

URL = "http://service:4001/v2/keys/_etcd/registry/8d9c"
SILENCE = UnavailableError("connection refused")


class Service:
    """A v2 store as far as the protocols go.

    Attributes:
        keys: below the token: text, createdIndex.
        failures: what is answered first, instead.
        asked: method and target below the token.
        on_wait: what happens while somebody waits.
        before_put: what happens just before something is written.
        loses_put: the next write is done, and its answer lost.
    """

    def __init__(self) -> None:
        self.keys: dict[str, tuple[str, int]] = {}
        self.failures: list[HttpReply | Exception | None] = []
        self.asked: list[tuple[str, str]] = []
        self.on_wait: Callable[[], None] = lambda: None
        self.before_put: Callable[[], None] = lambda: None
        self.loses_put = False
        self._index = 3

    def put(self, key: str, value: str) -> None:
        self._index += 1
        self.keys[key] = (value, self._index)

    def found(self, *members: str, size: int = 3) -> None:
        """Registers members of the 3.x era, with ids from 1 on."""
        self.put("_config/size", str(size))
        for number, name in enumerate(members, start=1):
            self.put(str(number), f"{name}=http://{name}:2380")

    async def request(
        self, url: str, method: str, headers: dict[str, str], body: bytes, seconds: float
    ) -> HttpReply:
        del headers, seconds
        assert url.startswith(URL)
        key, query = urlsplit(url).path[len(urlsplit(URL).path) + 1 :], urlsplit(url).query
        self.asked.append((method, url[len(URL) :]))
        failure = self.failures.pop(0) if self.failures else None
        if isinstance(failure, Exception):
            raise failure
        if method == "PUT":
            self.before_put()
        reply = failure or self._answer(method, key, query, parse_qs(body.decode()))
        if method == "PUT" and self.loses_put:
            self.loses_put = False
            raise SILENCE
        return reply

    def _answer(self, method: str, key: str, query: str, form: dict[str, list[str]]) -> HttpReply:
        if "wait=true" in query:
            self.on_wait()
        elif method == "PUT":
            if "prevExist=false" in query and key in self.keys:
                return self._refuse(412, 105, "Key already exists")
            self.put(key, form["value"][0])
        if key and key not in self.keys:
            return self._refuse(404, 100, "Key not found")
        node = self._node(key) if key else self._directory()
        return self._reply(200, {"action": method.lower(), "node": node})

    def _directory(self) -> dict[str, object]:
        listed = [self._node(key) for key in reversed(self.keys) if not key.startswith("_")]
        return {"key": "/_etcd/registry/8d9c", "dir": True, "nodes": listed}

    def _node(self, key: str) -> dict[str, object]:
        value, index = self.keys[key]
        return {"key": f"/_etcd/registry/8d9c/{key}", "value": value, "createdIndex": index}

    def _refuse(self, status: int, code: int, message: str) -> HttpReply:
        return self._reply(status, {"errorCode": code, "message": message, "index": self._index})

    def _reply(self, status: int, fields: dict[str, object]) -> HttpReply:
        headers = {b"x-etcd-index": b"%d" % self._index}
        return HttpReply(status, headers, msgspec.json.encode(fields))


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    service = Service()
    monkeypatch.setattr(registry, "http_request", service.request)
    monkeypatch.setattr(discovery, "FIRST_PAUSE_SECONDS", 0.0)
    return service


def legacy(number: int, **changes: object) -> Config:
    settings: dict[str, object] = {
        "name": f"machine{number}",
        "advertised_peer_urls": (f"http://127.0.0.1:700{number}",),
        "discovery": URL,
    }
    return msgspec.structs.replace(LEGACY_CONFIG, **(settings | changes))


def peers_of(config: Config) -> tuple[str, ...]:
    return asyncio.run(find_peers(config, FakeClock()))


def test_who_creates_the_state_is_first(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert peers_of(legacy(1)) == ()
    assert service.asked == [("PUT", "/machine1"), ("PUT", "/_state?prevExist=false")]
    assert {key: text for key, (text, _) in service.keys.items()} == {
        "machine1": "http://127.0.0.1:7001",
        "_state": "started",
    }
    assert caplog.messages == [
        "Discovery via http://service:4001 using prefix _etcd/registry/8d9c.",
        "Discovery _state was empty, so this machine is the initial leader.",
    ]


def test_the_others_are_told_of_all_but_themselves(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    peers_of(legacy(1))
    service.asked.clear()
    assert peers_of(legacy(2)) == ("127.0.0.1:7001",)
    assert service.asked == [
        ("PUT", "/machine2"),
        ("PUT", "/_state?prevExist=false"),
        ("GET", "?consistent=true&recursive=true&sorted=false"),
    ]
    assert caplog.messages[-2:] == [
        "Discovery found peers [http://127.0.0.1:7001]",
        "Discovery fetched back peer list: [127.0.0.1:7001]",
    ]


def test_a_token_whose_first_machine_is_gone_says_so(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.put("_state", "started")
    with pytest.raises(UnavailableError, match="machine1, the new instance, must register itself"):
        peers_of(legacy(1))
    assert "no reachable peers are registered" in caplog.text
    assert "use a new token" in caplog.text


def test_a_service_that_is_silent_is_asked_as_often_as_peers_are(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    service.failures = [SILENCE, SILENCE]
    assert peers_of(legacy(1)) == ()
    assert caplog.text.count("has no answer of the discovery service: connection refused") == 2
    service.failures = [SILENCE, SILENCE, SILENCE]
    with pytest.raises(UnavailableError, match="must register itself"):
        peers_of(legacy(2))
    assert "Discovery encountered an error: connection refused" in caplog.messages


def test_peers_that_were_given_count_when_the_service_does_not(service: Service) -> None:
    service.failures = [SILENCE]
    assert peers_of(legacy(1, max_retry_attempts=1, peers=("h:1",))) == ("h:1",)


def test_the_state_is_never_created_twice(service: Service) -> None:
    service.failures = [None, SILENCE]
    with pytest.raises(UnavailableError):
        peers_of(legacy(1))
    assert service.asked == [("PUT", "/machine1"), ("PUT", "/_state?prevExist=false")]


def test_a_machine_stays_listed(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(discovery, "RENEWAL_SECONDS", 0.0)

    async def scenario(*, is_new: bool) -> None:
        service.failures = [SILENCE]
        service.asked.clear()
        async with asyncio.timeout(5):
            task = asyncio.create_task(keep_registered(legacy(1), is_new=is_new))
            while len(service.asked) < 3:  # noqa: ASYNC110 -- the fake has no event to tell
                await asyncio.sleep(0)
            task.cancel()
        assert set(service.asked) == {("PUT", "/machine1")}

    asyncio.run(scenario(is_new=False))
    asyncio.run(scenario(is_new=True))
    assert "Discovery heartbeat failed: connection refused" in caplog.messages


def test_a_new_machine_was_listed_just_now(service: Service) -> None:
    async def scenario() -> None:
        task = asyncio.create_task(keep_registered(legacy(1), is_new=True))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(scenario())
    assert service.asked == []


# The 3.x era.


def modern(name: str) -> Config:
    return Config(name=name, advertised_peer_urls=(f"http://{name}:2380",), discovery=URL)


def run(awaitable: Awaitable[T]) -> T:
    async def scenario() -> T:
        async with asyncio.timeout(5):
            return await awaitable

    return asyncio.run(scenario())


def founders_of(name: str, member_id: int) -> dict[str, tuple[str, ...]]:
    return run(find_founders(modern(name), FakeClock(), member_id))


def test_all_wait_until_the_number_is_reached(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    service.found("m1")
    late = iter(("m3", "m4"))

    def come() -> None:
        name = next(late)
        service.put(name, f"{name}=http://{name}:2380")

    service.on_wait = come
    assert founders_of("m2", 0xAB) == {
        "m1": ("http://m1:2380",),
        "m2": ("http://m2:2380",),
        "m3": ("http://m3:2380",),
    }
    assert service.keys["ab"][0] == "m2=http://m2:2380"
    # The first wait begins behind what was read.
    assert ("GET", "?recursive=true&wait=true&waitIndex=7") in service.asked
    assert caplog.messages == [
        "found peers from discovery server; waiting for more",
        "found all needed peers from discovery server",
    ]


def test_a_wait_that_breaks_is_begun_anew(service: Service) -> None:
    service.found("m1")

    def come() -> None:
        if "3" in service.keys:
            return
        service.put("3", "m3=http://m3:2380")
        raise SILENCE

    service.on_wait = come
    assert len(founders_of("m2", 0xAB)) == 3


def test_one_that_comes_too_late_finds_no_room(service: Service) -> None:
    service.found("m1", "m2", "m3")
    with pytest.raises(TokenRefused, match="discovery: cluster is full") as caught:
        founders_of("m4", 4)
    assert "--initial-cluster-state existing" in str(caught.value)
    assert "4" not in service.keys


def test_of_two_that_come_at_once_the_later_finds_no_room(service: Service) -> None:
    service.found("m1", size=2)
    service.before_put = lambda: service.put("2", "m2=http://m2:2380")
    with pytest.raises(TokenRefused, match="discovery: cluster is full"):
        founders_of("m3", 3)


def test_an_entry_that_was_there_before_is_not_taken(service: Service) -> None:
    service.found("m1")
    with pytest.raises(TokenRefused, match="discovery: found duplicate id: 1 is registered"):
        founders_of("m1", 1)


def test_a_registration_whose_answer_was_lost_is_known_again(service: Service) -> None:
    service.found("m1", size=2)
    service.loses_put = True
    assert set(founders_of("m2", 2)) == {"m1", "m2"}


def test_an_id_that_somebody_else_took_meanwhile_is_not_ours(service: Service) -> None:
    service.found("m1")
    service.before_put = lambda: service.put("2", "other=http://other:2380")
    with pytest.raises(TokenRefused, match="found duplicate id"):
        founders_of("m2", 2)


@pytest.mark.parametrize(
    ("size", "fault"),
    [
        (None, r"size key not found: .* curl .*/8d9c/_config/size -XPUT -d value=3"),
        ("", "size key is bad"),
        ("0", "size key is bad"),
        ("-3", "size key is bad"),
        ("three", 'holds "three", not a number'),
        ("1000", "size key is bad"),
        ("9" * 5000, "size key is bad"),
    ],
)
def test_a_token_without_a_size_is_refused(service: Service, size: str | None, fault: str) -> None:
    if size is not None:
        service.put("_config/size", size)
    with pytest.raises(TokenRefused, match=fault):
        founders_of("m1", 1)


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("m2=http://elsewhere:2380", 'discovery: found duplicate name: .* "m2"'),
        ("m1=http://m2:2380", "has duplicate url"),
        ("m1=nonsense", "discovery: invalid URL"),
        ("", "discovery: invalid URL"),
    ],
)
def test_entries_that_make_no_cluster_are_refused(service: Service, entry: str, fault: str) -> None:
    service.put("_config/size", "2")
    service.put("1", entry)
    with pytest.raises(TokenRefused, match=fault):
        founders_of("m2", 2)


def test_what_is_no_discovery_service_is_refused(service: Service) -> None:
    service.failures = [HttpReply(404, {}, b"404 page not found\n")]
    with pytest.raises(TokenRefused, match=r"discovery: bad discovery endpoint .*/8d9c"):
        founders_of("m1", 1)


def test_a_later_member_waits_for_its_service_as_long_as_it_takes(service: Service) -> None:
    service.found("m1", size=2)
    service.failures = [SILENCE] * 9 + [HttpReply(500, {}, b"no leader")]
    assert len(founders_of("m2", 2)) == 2

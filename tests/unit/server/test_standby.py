"""What a machine without a seat learns, keeps and asks for."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.unit.server.conftest import Member as Process
from tests.unit.server.conftest import MemoryCluster

from kvorum.config import LEGACY_CONFIG, Config
from kvorum.errors import ClusterFull, StorageError, UnavailableError
from kvorum.net.dialer import HttpReply
from kvorum.server import standby as module
from kvorum.server.seats import Seat
from kvorum.server.standby import (
    Info,
    Machine,
    Standby,
    find_info,
    forget_info,
    list_machines,
)

ONE = Machine("machine1", "leader", "http://127.0.0.1:4001", "http://127.0.0.1:7001")
TWO = Machine("machine2", "follower", "http://127.0.0.1:4002", "http://127.0.0.1:7002")
FOUR = Machine("machine4", "follower", "http://127.0.0.1:4004", "http://127.0.0.1:7004")
SEAT = Seat(9, 44, 0, {})


class Members:
    """The cluster as its peer ports answer.

    Attributes:
        machines: whom each member tells of.
        config: what each tells of the config.
        down: peer URLs that do not answer.
        asked: peer URLs that were asked for machines.
        joins: peers that were asked for a seat.
        answers: what they answer to that, in turn.
        on_round: called before each look.
    """

    def __init__(self) -> None:
        self.machines = [ONE, TWO]
        self.config = b'{"activeSize":3,"removeDelay":2,"syncInterval":1}\n'
        self.down: set[str] = set()
        self.asked: list[str] = []
        self.joins: list[str] = []
        self.answers: list[Seat | ClusterFull | None] = []
        self.on_round: Callable[[], None] = lambda: None

    async def request(
        self,
        url: str,
        method: str,
        headers: dict[str, str],
        body: bytes,
        patience: float,
        credentials: object,
    ) -> HttpReply:
        del headers, body, credentials
        assert (method, patience) == ("GET", 1.35)
        peer_url, _, what = url.partition("/v2/admin/")
        if what == "machines":
            self.on_round()
            self.asked.append(peer_url)
        if peer_url in self.down:
            raise UnavailableError("connection refused")
        if peer_url == FOUR.peer_url:
            return HttpReply(404, {}, b"404 page not found\n")
        known = msgspec.json.encode(self.machines)
        return HttpReply(200, {}, known if what == "machines" else self.config)

    async def join_once(self, config: Config, peers: list[str], member_id: int) -> Seat | None:
        assert (config.name, member_id) == ("machine4", 0)
        self.joins += peers
        answer = self.answers.pop(0)
        if isinstance(answer, ClusterFull):
            raise answer
        return answer


@pytest.fixture
def members(monkeypatch: pytest.MonkeyPatch) -> Members:
    members = Members()
    monkeypatch.setattr(module, "http_request", members.request)
    monkeypatch.setattr(module, "join_once", members.join_once)
    return members


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return msgspec.structs.replace(
        LEGACY_CONFIG,
        name="machine4",
        data_dir=tmp_path / "machine4",
        advertised_peer_urls=(FOUR.peer_url,),
    )


def synced(standby: Standby) -> bool:
    return asyncio.run(standby.sync())


def test_the_first_member_that_answers_tells_of_all(members: Members, config: Config) -> None:
    members.down = {ONE.peer_url}
    standby = Standby(config, [Machine(peer_url=ONE.peer_url), Machine(peer_url=TWO.peer_url)])
    assert not standby.leader
    assert standby.sync_interval == 5.0
    assert synced(standby)
    assert members.asked == [ONE.peer_url, TWO.peer_url]
    assert (standby.machines, standby.leader, standby.sync_interval) == ([ONE, TWO], ONE, 1.0)


def test_nobody_to_ask_is_told(
    members: Members, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    members.down = {ONE.peer_url, TWO.peer_url}
    standby = Standby(config, [ONE, TWO])
    assert not synced(standby)
    assert standby.leader == ONE, "the last that is known"
    assert caplog.messages == [
        f"fail syncing cluster([{ONE.peer_url},{TWO.peer_url}]): unreachable cluster"
    ]


def test_peers_that_were_given_are_asked_too_and_itself_never(
    members: Members, config: Config
) -> None:
    members.down = {ONE.peer_url}
    config = msgspec.structs.replace(config, peers=("127.0.0.1:7001", "127.0.0.1:7002"))
    standby = Standby(config, [ONE, FOUR])
    assert synced(standby)
    assert members.asked == [ONE.peer_url, TWO.peer_url]


@pytest.mark.parametrize("body", [b"[]", b"junk", b'{"activeSize":"x"}', b"[" * 100_000])
def test_an_answer_that_tells_nothing_is_none(
    members: Members, config: Config, body: bytes
) -> None:
    members.config = body
    members.machines = [] if body == b"[]" else members.machines
    standby = Standby(config, [ONE])
    assert not synced(standby)
    assert standby.machines == [ONE]


@pytest.mark.usefixtures("members")
def test_what_is_learned_is_kept(config: Config) -> None:
    standby = Standby(config, [Machine(peer_url=ONE.peer_url)])
    standby.save(is_running=True)
    assert synced(standby)
    assert find_info(config) == Info(True, [ONE, TWO], 1.0)
    assert json.loads((config.data_dir / "standby_info").read_text()) == {
        "Running": True,
        "Cluster": [
            {
                "name": "machine1",
                "state": "leader",
                "clientURL": "http://127.0.0.1:4001",
                "peerURL": "http://127.0.0.1:7001",
            },
            {
                "name": "machine2",
                "state": "follower",
                "clientURL": "http://127.0.0.1:4002",
                "peerURL": "http://127.0.0.1:7002",
            },
        ],
        "SyncInterval": 1.0,
    }
    standby.save(is_running=False)
    assert find_info(config) is None
    forget_info(config)
    assert not list(config.data_dir.iterdir())
    forget_info(config)


def test_a_damaged_file_is_not_passed_over(config: Config) -> None:
    config.data_dir.mkdir()
    (config.data_dir / "standby_info").write_text("{")
    with pytest.raises(StorageError, match=r"standby_info: it cannot be read: .* with -peers"):
        find_info(config)


def test_a_place_that_cannot_be_written_is_an_error(config: Config) -> None:
    config.data_dir.write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        Standby(config, [ONE]).save(is_running=True)


def waited(standby: Standby, monkeypatch: pytest.MonkeyPatch) -> Seat:
    """Waits for a seat without waiting."""
    pauses: list[float] = []

    async def no_sleep(seconds: float) -> None:
        pauses.append(seconds)
        assert len(pauses) < 10, "no seat"

    monkeypatch.setattr("kvorum.server.standby.asyncio.sleep", no_sleep)
    seat = asyncio.run(standby.wait_for_seat())
    assert set(pauses) <= {5.0, 1.0}
    return seat


def test_a_seat_is_asked_for_as_soon_as_there_is_room(
    members: Members, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    three = Machine("machine3", peer_url="http://127.0.0.1:7003")
    members.machines = [ONE, TWO, three]
    members.answers = [SEAT]

    def leave() -> None:
        if len(members.asked) == 3:
            members.machines.remove(three)

    members.on_round = leave
    assert waited(Standby(config, [ONE]), monkeypatch) == SEAT
    assert len(members.asked) == 4
    assert members.joins == ["127.0.0.1:7001"]


def test_who_was_overtaken_waits_on(
    members: Members, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    members.answers = [ClusterFull(), None, SEAT]
    assert waited(Standby(config, [ONE]), monkeypatch) == SEAT
    assert len(members.joins) == 3


def test_a_seat_of_its_name_is_asked_for_also_where_there_is_no_room(
    members: Members, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    members.machines = [ONE, TWO, FOUR]
    members.answers = [SEAT]
    assert waited(Standby(config, [ONE]), monkeypatch) == SEAT


def test_without_a_leader_nobody_is_asked_for_a_seat(
    members: Members,
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    members.machines = [TWO]
    members.answers = [SEAT]

    def elect() -> None:
        if len(members.asked) == 2:
            members.machines = [ONE, TWO]

    members.on_round = elect
    assert waited(Standby(config, [ONE]), monkeypatch) == SEAT
    assert f"fail getting leader from cluster([{TWO.peer_url}])" in caplog.messages


def test_a_server_lists_its_machines(cluster: MemoryCluster, three: list[Process]) -> None:
    leader = cluster.leader()
    listed = list_machines(three[1].server)
    assert [one.name for one in listed] == ["machine1", "machine2", "machine3"]
    assert [one.name for one in listed if one.state == "leader"] == [leader.config.name]
    assert (listed[1].client_url, listed[1].peer_url) == (TWO.client_url, TWO.peer_url)

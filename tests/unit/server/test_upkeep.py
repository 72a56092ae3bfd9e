"""What only time brings, done by the leader through the log, once at a time."""

import msgspec
import pytest
from tests.unit.server.conftest import FakeClock

from kvorum.apply.applier import Applier
from kvorum.apply.commands import Command, SetClusterConfig, UpdateMember
from kvorum.backend.memory import MemoryBackend
from kvorum.config import LEGACY_CONFIG
from kvorum.membership import Attributes, ClusterConfig, Member
from kvorum.server.proposals import Completion
from kvorum.server.upkeep import AGAIN_SECONDS, SILENT_HEARTBEATS, Upkeep
from kvorum.v2 import commands as v2
from kvorum.v3.commands import Compact


class Desk:
    def __init__(self, retention: int = 0, **settings: object) -> None:
        self.config = msgspec.structs.replace(
            LEGACY_CONFIG, name="one", auto_compaction_retention=retention, **settings
        )
        self.clock = FakeClock()
        self.applier = Applier(MemoryBackend())
        self.applier.restore()
        self.proposed: list[Command] = []
        self.completions: list[Completion] = []
        self.scheduled = 0
        self.upkeep = Upkeep(self.config, self.clock, self.applier, self._propose, self._schedule)

    def _propose(self, command: Command, completion: Completion) -> None:
        self.proposed.append(command)
        self.completions.append(completion)

    def _schedule(self, work: object) -> None:
        del work
        self.scheduled += 1

    def set(self, key: bytes, expiration: int = 0) -> None:
        self.applier.tree.apply(v2.Set(key, b"", expiration=expiration))

    def beat(self, seconds: float = 0.05) -> None:
        self.clock.now += seconds
        self.upkeep.heartbeat(self.clock.now, {})


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_the_leader_proposes_an_expiry_when_a_key_is_due(desk: Desk) -> None:
    desk.upkeep.leadership_changed(True)
    desk.set(b"/t", desk.clock.wall_ns() + 100_000_000)
    desk.beat(0.05)
    assert desk.proposed == []
    desk.beat(0.06)
    assert desk.proposed == [v2.Expire(desk.clock.wall_ns())]


def test_a_follower_proposes_nothing(desk: Desk) -> None:
    desk.set(b"/t", 1)
    desk.beat()
    assert desk.proposed == []


def test_an_expiry_on_its_way_is_not_proposed_again_until_it_seems_lost(desk: Desk) -> None:
    desk.upkeep.leadership_changed(True)
    desk.set(b"/t", 1)
    desk.beat()
    desk.beat()
    assert len(desk.proposed) == 1
    desk.beat(AGAIN_SECONDS)
    assert len(desk.proposed) == 2
    desk.completions[-1](None)
    desk.beat()
    assert len(desk.proposed) == 3


def test_history_goes_when_a_tenth_more_than_the_retention_has_collected() -> None:
    desk = Desk(retention=100)
    desk.upkeep.leadership_changed(True)
    while desk.applier.store.revision < 109:
        desk.set(b"/a")
    desk.beat()
    assert desk.proposed == []
    while desk.applier.store.revision < 112:
        desk.set(b"/a")
    desk.beat()
    assert desk.proposed == [Compact(12)]


def test_a_member_that_comes_to_lead_knows_how_old_its_history_is() -> None:
    desk = Desk(auto_compaction_seconds=100.0)
    desk.set(b"/a")
    desk.beat()
    desk.set(b"/a")
    desk.upkeep.leadership_changed(True)
    desk.beat(99.0)
    assert desk.proposed == []
    desk.beat(1.0)
    assert desk.proposed == [Compact(2)]


def test_a_new_leader_completes_a_cluster_just_born(desk: Desk) -> None:
    desk.applier.cluster.set_attributes(Attributes(cluster_id=1, is_legacy=True))
    desk.upkeep.leadership_changed(True)
    assert [type(command) for command in desk.proposed] == [SetClusterConfig]
    desk.applier.cluster.set_attributes(Attributes(cluster_id=1, is_legacy=True, config_index=2))
    desk.upkeep.leadership_changed(False)
    desk.upkeep.leadership_changed(True)
    assert len(desk.proposed) == 1


@pytest.mark.parametrize(
    ("given", "first"),
    [
        ((9, 1800.0, 5.0), ClusterConfig()),
        ((4, 30.0, 2.5), ClusterConfig(4, 30.0, 2.5)),
        ((1, 0.0, -1.0), ClusterConfig(3, 2.0, 1.0)),
    ],
)
def test_a_cluster_is_born_with_the_numbers_of_its_first_member(
    given: tuple[int, float, float], first: ClusterConfig
) -> None:
    size, delay, interval = given
    desk = Desk(active_size=size, remove_delay_seconds=delay, sync_interval_seconds=interval)
    desk.applier.cluster.set_attributes(Attributes(cluster_id=1, is_legacy=True))
    desk.upkeep.leadership_changed(True)
    assert desk.proposed == [SetClusterConfig(first)]


def test_silent_peers_are_told(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "kvorum.server")
    desk.applier.cluster.put(Member(2, "two", ("http://127.0.0.1:7002",)))
    desk.upkeep.leadership_changed(True)
    desk.beat()
    first = desk.clock.now
    for _ in range(SILENT_HEARTBEATS - 1):
        desk.beat()
    desk.upkeep.heartbeat(desk.clock.now, {2: first})
    assert caplog.records == []
    desk.upkeep.heartbeat(desk.clock.now, {2: first})
    assert 'peer="two" missed=1' in caplog.records[0].getMessage()


def test_a_leader_that_was_held_up_blames_nobody(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "kvorum.server")
    desk.applier.cluster.put(Member(2, "two", ("http://127.0.0.1:7002",)))
    desk.upkeep.leadership_changed(True)
    for _ in range(SILENT_HEARTBEATS):
        desk.beat()
    last_heard = desk.clock.now
    desk.clock.now += 5
    desk.upkeep.heartbeat(desk.clock.now, {2: last_heard})
    assert caplog.records == []


def test_a_leader_that_is_always_late_sees_silence_all_the_same(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "kvorum.server")
    desk.applier.cluster.put(Member(2, "two", ("http://127.0.0.1:7002",)))
    desk.upkeep.leadership_changed(True)
    for _ in range(2 * SILENT_HEARTBEATS):
        desk.clock.now += 1
        desk.upkeep.heartbeat(desk.clock.now, {2: 999.0})
    assert 'peer="two" missed=1' in caplog.records[0].getMessage()


def test_background_work_is_scheduled_once(desk: Desk) -> None:
    desk.beat()
    desk.beat()
    assert desk.scheduled == 1


def test_a_member_introduces_itself_until_the_log_has_told() -> None:
    desk = Desk()
    unnamed = Member(id=7, name="", peer_urls=("http://127.0.0.1:7001",))
    assert not desk.upkeep.introduce(7)
    assert desk.proposed == []
    desk.applier.cluster.put(unnamed)
    assert not desk.upkeep.introduce(7)
    assert not desk.upkeep.introduce(7)
    config = desk.config
    present = msgspec.structs.replace(
        unnamed, name=config.name, client_urls=config.advertised_client_urls
    )
    assert desk.proposed == [UpdateMember(present, keeps_peer_urls=True)]
    desk.applier.cluster.put(present)
    assert desk.upkeep.introduce(7)
    assert len(desk.proposed) == 1

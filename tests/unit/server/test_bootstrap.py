"""Which member a process is, from its settings and its files."""

import asyncio

import msgspec
import pytest
from tests.unit.server.conftest import Member, MemoryCluster, MemoryFiles

from kvorum.config import Config
from kvorum.errors import ClusterFull, ConfigError, StorageError, UnavailableError
from kvorum.membership import Member as Founder
from kvorum.raft.storage import MemoryStorage
from kvorum.raft.types import Entry, HardState, MemberId, SnapshotMeta
from kvorum.server import bootstrap, discovery
from kvorum.server.bootstrap import NoSeat, load_log
from kvorum.server.files import Identity, LogMetadata
from kvorum.server.seats import Seat
from kvorum.v2 import commands as v2
from kvorum.wal.replay import Recovered

URLS: dict[str, tuple[str, ...]] = {
    "m1": ("http://127.0.0.1:2381",),
    "m2": ("http://127.0.0.1:2382",),
    "m3": ("http://127.0.0.1:2383",),
}


def ignore(callback: object) -> None:
    del callback


def modern_config(name: str, token: str = "t") -> Config:
    return Config(
        name=name,
        advertised_peer_urls=URLS[name],
        initial_cluster=URLS,
        initial_cluster_token=token,
    )


def found_together(cluster: MemoryCluster, token: str = "t") -> list[Member]:
    members = [cluster.add(modern_config(name, token)) for name in URLS]
    for member in members:
        member.start()
    return members


def test_first_members_agree_without_talking(cluster: MemoryCluster) -> None:
    members = found_together(cluster)
    assert len({member.server.cluster_id for member in members}) == 1
    assert len({member.server.member_id for member in members}) == 3
    cluster.leader()
    cluster.run_until(lambda: all(len(m.server.cluster.members) == 3 for m in members))
    cluster.write(v2.Set(b"/a", b"1"))
    assert cluster.leader().server.store.revision == 2


def test_another_token_is_another_cluster(cluster: MemoryCluster) -> None:
    first = found_together(cluster)[0].server
    other = found_together(MemoryCluster(), token="other")[0].server
    assert first.cluster_id != other.cluster_id
    assert first.member_id != other.member_id


def test_members_that_share_a_token_are_one_cluster(
    cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, MemberId] = {}

    async def find_founders(config: Config, clock: object, member_id: MemberId) -> object:
        del clock
        asked[config.name] = member_id
        return URLS

    monkeypatch.setattr(discovery, "find_founders", find_founders)
    members = []
    for name, host in zip(URLS, ("service", "10.0.0.9", "service/"), strict=True):
        url = f"http://{host.rstrip('/')}:4001/v2/keys/8d9c{'/' * host.endswith('/')}"
        config = Config(name=name, advertised_peer_urls=URLS[name], discovery=url)
        members.append(cluster.add(config))
        members[-1].start()
    assert {member.config.name: member.server.member_id for member in members} == asked
    assert len({member.server.cluster_id for member in members}) == 1
    cluster.leader()
    cluster.run_until(lambda: all(len(m.server.cluster.members) == 3 for m in members))


def test_a_machine_joins_through_the_peers_its_token_tells(
    cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, ...]] = [(), ("127.0.0.1:7001",)]

    async def find_peers(config: Config, clock: object) -> tuple[str, ...]:
        del config, clock
        return told.pop(0)

    async def join(config: Config, clock: object) -> Seat:
        del clock
        assert config.peers == ("127.0.0.1:7001",)
        return Seat(9, 2, 0, {1: "http://127.0.0.1:7001"})

    monkeypatch.setattr(discovery, "find_peers", find_peers)
    monkeypatch.setattr(bootstrap, "join", join)
    first, second = (
        cluster.add(cluster.legacy_config(number, discovery="http://service/8d9c", peers=("h:1",)))
        for number in (1, 2)
    )
    first.start()
    assert cluster.leader() is first
    second.start()
    assert (second.server.cluster_id, second.server.member_id) == (9, 2)


def test_a_full_cluster_leaves_no_seat_and_no_open_file(
    cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def join(config: Config, clock: object) -> Seat:
        del config, clock
        raise ClusterFull

    monkeypatch.setattr(bootstrap, "join", join)
    member = cluster.add(cluster.legacy_config(4, peers=("h:1", "h:2")))
    member.files.is_open = True
    opened = bootstrap.open_member(
        member.config, cluster.clock, lambda: member.files, has_data=False
    )
    with pytest.raises(StopIteration) as finished:
        opened.send(None)
    assert finished.value.value == NoSeat(("http://h:1", "http://h:2"))
    assert not member.files.is_open
    assert not member.files.has_data


def test_a_member_does_not_take_the_address_of_another(
    cluster: MemoryCluster, three: list[Member]
) -> None:
    cluster.advance(1)  # so that it is durable who the others are
    second, third = three[1:]
    second.crash()
    second.config = msgspec.structs.replace(
        second.config, advertised_peer_urls=third.config.advertised_peer_urls
    )
    with pytest.raises(UnavailableError, match="machine2 is not allowed to join") as caught:
        second.start()
    assert "existing URL http://127.0.0.1:7003: machine3 is reached there" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "is_asked"),
    [
        ({}, True),
        ({"initial_cluster": {}}, False),
        ({"initial_cluster_state": "existing"}, False),
    ],
)
def test_a_first_member_is_born_once(
    cluster: MemoryCluster,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, object],
    is_asked: bool,
) -> None:
    asked: list[MemberId] = []

    async def check_first_start(config: Config, member_id: MemberId) -> None:
        del config
        asked.append(member_id)

    monkeypatch.setattr(bootstrap, "check_first_start", check_first_start)
    config = modern_config("m2")
    first = cluster.add(config)
    first.start()
    asyncio.run(bootstrap.refuse_second_birth(msgspec.structs.replace(config, **changes)))
    assert asked == [first.server.member_id] * is_asked


def test_data_is_held_against_the_peers_that_are_given(
    cluster: MemoryCluster, single: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[tuple[int, MemberId]] = []

    async def still_has_seat(config: Config, cluster_id: int, member_id: MemberId) -> bool:
        del config
        checked.append((cluster_id, member_id))
        return len(checked) == 1

    monkeypatch.setattr(bootstrap, "still_has_seat", still_has_seat)
    cluster.settle()
    seat = (single.server.cluster_id, single.server.member_id)
    single.crash()
    single.start()
    single.crash()
    single.config = msgspec.structs.replace(single.config, peers=("h:1",))
    single.start()
    assert checked == [seat]
    single.crash()
    single.files.is_open = True
    opened = bootstrap.open_member(
        single.config, cluster.clock, lambda: single.files, has_data=True
    )
    with pytest.raises(StopIteration) as finished:
        opened.send(None)
    assert finished.value.value == NoSeat(("http://h:1",))
    assert not single.files.is_open


def test_a_seat_of_earlier_days_does_not_take_a_machines_address(
    cluster: MemoryCluster, three: list[Member]
) -> None:
    back = cluster.add(cluster.legacy_config(3))
    three[2].crash()
    cluster.advance(1)
    old_id = next(m.id for m in cluster.leader().server.cluster if m.name == "machine3")
    cluster.join(back)
    assert back.server.member_id != old_id
    # Its state is as old as its seat, its log newer: it has yet to read that the old one went.
    back.server.cluster.put(Founder(old_id, "machine3", back.config.advertised_peer_urls))
    back.files.backend.flush()
    back.crash()
    back.start()
    assert back.is_up


def test_a_seat_that_is_taken_needs_no_service(
    cluster: MemoryCluster, single: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.settle()
    single.crash()
    single.config = msgspec.structs.replace(single.config, discovery="http://service/8d9c")
    monkeypatch.delattr(discovery, "find_peers")
    single.start()
    assert cluster.leader() is single


def test_bad_settings_are_refused_before_any_file(cluster: MemoryCluster) -> None:
    member = cluster.add(msgspec.structs.replace(modern_config("m1"), name="m9"))
    with pytest.raises(ConfigError, match='couldn\'t find local name "m9"'):
        member.start()
    assert not member.files.has_data


def test_settings_of_birth_do_not_matter_after_it(cluster: MemoryCluster) -> None:
    members = found_together(cluster)
    cluster.leader()
    cluster.settle()
    identity = members[0].server.member_id
    members[0].crash()
    members[0].config = msgspec.structs.replace(members[0].config, initial_cluster={})
    members[0].start()
    assert members[0].server.member_id == identity


def test_a_crash_before_the_first_entries_loses_nothing(cluster: MemoryCluster) -> None:
    member = cluster.add(cluster.legacy_config(1))
    founder = Founder(5, "machine1", ("http://127.0.0.1:7001",), ("http://127.0.0.1:4001",))
    metadata = LogMetadata(Identity(9, founder.id, "machine1"), [founder], is_legacy=True)
    member.files.create_log(metadata).sync_now()
    member.files.crash()
    member.start()
    cluster.run_until(lambda: member.server.is_leader, "leadership")
    assert member.server.member_id == founder.id
    assert member.server.cluster_id == member.server.cluster.cluster_id == 9


def test_a_joiner_that_crashes_before_its_first_entry_can_still_be_heard(
    cluster: MemoryCluster, single: Member
) -> None:
    assert single.is_up
    joiner = cluster.add(cluster.legacy_config(2))
    cluster.join(joiner)
    joiner.crash()
    joiner.start()
    assert joiner.server.applied_index == 0, "it crashed too late to prove anything"
    cluster.run_until(lambda: len(joiner.server.cluster.members) == 2, "the log")


def entries(first: int, last: int, term: int = 3) -> list[Entry]:
    return [Entry(term, index) for index in range(first, last + 1)]


def load(applied: tuple[int, int], found: list[Entry], *, committed: int = 0) -> MemoryStorage:
    files = MemoryFiles(ignore)
    wal = files.create_log(LogMetadata(Identity(1, 2, "one"), None))
    files.backend.set_applied(*applied)
    last_index = found[-1].index if found else 0
    hard_state = HardState(3, 0, committed)
    recovered = Recovered(b"", hard_state, SnapshotMeta(), found, last_index)
    return load_log(files, wal, recovered)


@pytest.mark.parametrize(
    ("applied", "found", "first", "last"),
    [
        pytest.param((0, 0), [], 1, 0, id="new"),
        pytest.param((0, 0), entries(1, 9), 1, 9, id="nothing durable but the log"),
        pytest.param((5, 3), entries(1, 9), 2, 9, id="kept for peers that are behind"),
        pytest.param((5, 3), entries(6, 9), 6, 9, id="just joined on"),
        pytest.param((9, 3), entries(3, 9), 4, 9, id="all applied"),
        pytest.param((50, 4), entries(3, 9), 51, 50, id="ahead of the log: installed"),
    ],
)
def test_the_log_goes_on_where_the_state_is(
    applied: tuple[int, int], found: list[Entry], first: int, last: int
) -> None:
    storage = load(applied, found)
    assert (storage.first_index(), storage.last_index()) == (first, last)
    assert storage.snapshot().index == applied[0]
    if first <= last:
        assert [e.index for e in storage.entries(first, last + 1, 1 << 20)] == list(
            range(first, last + 1)
        )


@pytest.mark.parametrize(
    ("found", "committed", "reason"),
    [
        pytest.param(entries(8, 9), 0, "entries 6 to 7 are missing", id="gap"),
        pytest.param(entries(1, 9, term=2), 5, "with different terms", id="another history"),
        pytest.param(entries(1, 9, term=4), 0, "with different terms", id="another future"),
    ],
)
def test_a_log_of_another_state_is_refused(found: list[Entry], committed: int, reason: str) -> None:
    with pytest.raises(StorageError, match=reason):
        load((5, 3), found, committed=committed)


@pytest.mark.parametrize("index", [50, 5], ids=["beyond the log", "over a tail never committed"])
def test_an_interrupted_installation_is_completed(
    caplog: pytest.LogCaptureFixture, index: int
) -> None:
    files = MemoryFiles(ignore)
    wal = files.create_log(LogMetadata(Identity(1, 2, "one"), None))
    wal.append(HardState(3, 0, 2), entries(1, 9))
    wal.sync_now()
    files.backend.set_applied(index, 4)
    files.backend.flush()
    files.crash()
    wal, recovered, _ = files.open_log()
    storage = load_log(files, wal, recovered)
    assert (storage.first_index(), storage.last_index()) == (index + 1, index)
    assert "a snapshot was being installed" in caplog.text
    files.crash()
    _, recovered, _ = files.open_log()
    assert recovered.snapshot == SnapshotMeta(index, 4)
    assert recovered.entries == []

"""Who gets a seat, under which id, and who is refused."""

import pytest
from tests.unit.server.conftest import Member, MemoryCluster

from kvorum.apply.commands import SetClusterConfig
from kvorum.errors import ClusterFull, KeyExists, PeerAddressExists, UnavailableError
from kvorum.membership import ClusterConfig
from kvorum.server.seats import SEAT_REQUESTS_MAX, Seat, SeatRequest, Seats


def ask(cluster: MemoryCluster, member: Member, request: SeatRequest) -> object:
    answers: list[object] = []
    Seats(member.server).request(request, answers.append)
    cluster.run_until(lambda: bool(answers), "an answer")
    assert len(answers) == 1
    return answers[0]


def request_of(number: int, *, member_id: int = 0, port: int = 0) -> SeatRequest:
    peer_url = f"http://127.0.0.1:{port or 7000 + number}"
    return SeatRequest(f"machine{number}", peer_url, f"http://127.0.0.1:400{number}", member_id)


def test_a_new_name_gets_a_new_id_and_the_others(cluster: MemoryCluster, single: Member) -> None:
    seat = ask(cluster, single, request_of(2))
    assert isinstance(seat, Seat)
    assert seat.cluster_id == single.server.cluster_id
    assert seat.member_id not in {0, single.server.member_id}
    assert seat.peers == {single.server.member_id: "http://127.0.0.1:7001"}


def test_a_returning_member_keeps_its_id_and_its_new_address_is_noted(
    cluster: MemoryCluster, three: list[Member]
) -> None:
    leader = cluster.leader()
    known = three[2].server.member_id
    seat = ask(cluster, leader, request_of(3, member_id=known, port=7103))
    assert isinstance(seat, Seat)
    assert seat.member_id == known
    cluster.advance(0.1)
    for member in three:
        assert member.server.cluster.members[known].peer_urls == ("http://127.0.0.1:7103",)


def test_a_returning_member_with_its_old_address_changes_nothing(
    cluster: MemoryCluster, three: list[Member]
) -> None:
    leader = cluster.leader()
    before = leader.server.store.revision
    seat = ask(cluster, leader, request_of(3, member_id=three[2].server.member_id))
    assert isinstance(seat, Seat)
    assert leader.server.store.revision == before


def test_the_peer_url_of_another_name_is_refused(
    cluster: MemoryCluster, three: list[Member]
) -> None:
    error = ask(cluster, cluster.leader(), request_of(4, port=7002))
    assert isinstance(error, PeerAddressExists)
    assert error.cause == "http://127.0.0.1:4004"
    assert len(three[0].server.cluster.members) == 3


@pytest.mark.parametrize("url", ["http://[", "http://a..b:7002", "nonsense", ""])
def test_nobody_gets_a_seat_that_cannot_be_called(
    cluster: MemoryCluster, single: Member, url: str
) -> None:
    answer = ask(cluster, single, SeatRequest("machine2", url, "http://127.0.0.1:4002"))
    assert isinstance(answer, UnavailableError)
    assert [member.name for member in single.server.cluster] == ["machine1"]


@pytest.mark.usefixtures("three")
def test_the_name_of_a_living_member_is_refused(cluster: MemoryCluster) -> None:
    assert isinstance(ask(cluster, cluster.leader(), request_of(2, port=7009)), KeyExists)


def test_the_leaders_own_name_is_refused(cluster: MemoryCluster, single: Member) -> None:
    cluster.advance(5)
    assert isinstance(ask(cluster, single, request_of(1, port=7009)), KeyExists)


@pytest.mark.usefixtures("three")
def test_a_full_cluster_takes_nobody_new(cluster: MemoryCluster) -> None:
    cluster.write(SetClusterConfig(ClusterConfig(active_size=3)))
    assert isinstance(ask(cluster, cluster.leader(), request_of(4)), ClusterFull)


def test_a_follower_gives_no_seat(cluster: MemoryCluster, three: list[Member]) -> None:
    follower = next(member for member in three if member is not cluster.leader())
    assert isinstance(ask(cluster, follower, request_of(4)), UnavailableError)


def test_seats_are_given_one_after_the_other(single: Member) -> None:
    seats = Seats(single.server)
    answers: list[object] = []
    single.is_sync_held = True
    for number in range(SEAT_REQUESTS_MAX + 2):
        seats.request(request_of(2 + number), answers.append)
    assert len(answers) == 1
    assert isinstance(answers[0], UnavailableError)


def test_a_seat_without_quorum_is_answered_in_time(
    cluster: MemoryCluster, three: list[Member]
) -> None:
    leader = cluster.leader()
    for member in three:
        if member is not leader:
            member.crash()
    assert isinstance(ask(cluster, leader, request_of(4)), UnavailableError)

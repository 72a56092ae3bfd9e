"""Members are added, moved and removed; never so that no quorum is left alive."""

import msgspec
import pytest
from tests.unit.server.conftest import Member, MemoryCluster

from kvorum.apply.applier import MembershipApplied
from kvorum.apply.commands import MembershipChange
from kvorum.config import Config
from kvorum.errors import UnavailableError
from kvorum.membership import Member as Seat
from kvorum.membership import MembershipFault
from kvorum.raft.types import ConfChangeSingle, ConfChangeType
from kvorum.server import bootstrap
from kvorum.server.reconfiguration import Answer, Reconfiguration
from kvorum.server.seats import Seat as Given
from kvorum.server.seats import SeatRequest, Seats
from kvorum.v2 import commands as v2
from kvorum.v2.node import Event

FOUR = ("http://127.0.0.1:7004",)


class Asked:
    """One request, and its answer when it comes."""

    def __init__(self, cluster: MemoryCluster, member: Member) -> None:
        self.answers: list[Answer] = []
        self._cluster = cluster
        self.reconfiguration = Reconfiguration(member.server)

    def add(self, *urls: str) -> Answer:
        self.reconfiguration.add(urls or FOUR, self.answers.append)
        return self._answer()

    def remove(self, member_id: int) -> Answer:
        self.reconfiguration.remove(member_id, self.answers.append)
        return self._answer()

    def move(self, member_id: int, url: str) -> Answer:
        self.reconfiguration.move(member_id, (url,), self.answers.append)
        return self._answer()

    def _answer(self) -> Answer:
        self._cluster.run_until(lambda: bool(self.answers), "an answer")
        assert len(self.answers) == 1
        return self.answers[0]


def leader_and_followers(cluster: MemoryCluster, three: list[Member]) -> list[Member]:
    leader = cluster.leader()
    return [leader, *(member for member in three if member is not leader)]


def test_a_removed_follower_is_gone_for_everybody(
    cluster: MemoryCluster, three: list[Member]
) -> None:
    leader, gone, other = leader_and_followers(cluster, three)
    revision = leader.server.store.revision
    answer = Asked(cluster, leader).remove(gone.server.member_id)
    assert isinstance(answer, Seat)
    assert answer.name == gone.config.name
    cluster.run_until(lambda: len(other.server.cluster.members) == 2)
    assert leader.server.store.revision == revision + 1
    assert leader.server.was_removed(gone.server.member_id)
    cluster.write(v2.Set(b"/a", b"1"))


@pytest.mark.usefixtures("three")
def test_a_follower_may_be_asked_too(cluster: MemoryCluster, three: list[Member]) -> None:
    leader, gone, other = leader_and_followers(cluster, three)
    cluster.advance(0.5)
    assert isinstance(Asked(cluster, other).remove(gone.server.member_id), Seat)
    assert len(leader.server.cluster.members) == 2


def test_a_leader_that_removes_itself_hands_over_before_it_ends(
    cluster: MemoryCluster, three: list[Member], caplog: pytest.LogCaptureFixture
) -> None:
    leader, *others = leader_and_followers(cluster, three)
    left: list[bool] = []
    leader.server.on_removed = lambda: left.append(leader.server.is_leader)
    assert isinstance(Asked(cluster, leader).remove(leader.server.member_id), Seat)
    cluster.run_until(lambda: bool(left), "the removed leader's end")
    assert left == [False]
    assert leader.stopped_because == []
    leader.crash()
    cluster.settle()
    assert cluster.leader() in others
    assert isinstance(cluster.write(v2.Set(b"/a", b"1")), Event)
    assert "the member has been permanently removed from the cluster" in caplog.text
    assert [len(member.server.cluster.members) for member in others] == [2, 2]


def test_others_listen_to_a_removed_leader_until_it_leads_no_more(
    cluster: MemoryCluster, three: list[Member]
) -> None:
    leader, one, other = leader_and_followers(cluster, three)
    leader_id = leader.server.member_id
    cluster.cut.add(frozenset((leader.config.name, other.config.name)))
    Asked(cluster, leader).remove(leader_id)
    cluster.run_until(lambda: one.server.cluster.was_removed(leader_id))
    cluster.advance(1)
    assert leader.server.is_leader
    assert one.server.leader_id == leader_id
    assert not one.server.was_removed(leader_id)
    cluster.heal()
    cluster.run_until(lambda: one.server.was_removed(leader_id), "the end of its leadership")
    cluster.run_until(lambda: one.server.leader_id not in {0, leader_id}, "another leader")
    assert leader_id not in one.wire._urls


def test_a_removal_without_living_quorum_is_refused(
    cluster: MemoryCluster, three: list[Member]
) -> None:
    leader, dead, living = leader_and_followers(cluster, three)
    dead_id, living_id = dead.server.member_id, living.server.member_id
    dead.crash()
    cluster.advance(3)
    assert Asked(cluster, leader).remove(living_id) is MembershipFault.UNHEALTHY
    assert Asked(cluster, living).remove(leader.server.member_id) is MembershipFault.UNHEALTHY
    assert isinstance(Asked(cluster, leader).remove(dead_id), Seat)
    cluster.advance(0.5)
    assert isinstance(Asked(cluster, leader).remove(living_id), Seat)


def test_the_last_member_stays(cluster: MemoryCluster, single: Member) -> None:
    own_id = single.server.member_id
    assert Asked(cluster, single).remove(own_id) is MembershipFault.TOO_FEW_STARTED


def without_strict_check(member: Member) -> Member:
    changed = msgspec.structs.replace(member.server.config, strict_reconfig_check=False)
    member.server.config = changed
    return member


def test_without_the_strict_check_a_living_member_may_go_before_a_dead_one(
    cluster: MemoryCluster, three: list[Member]
) -> None:
    leader, dead, living = leader_and_followers(cluster, three)
    living_id = living.server.member_id
    dead.crash()
    cluster.advance(3)
    assert isinstance(Asked(cluster, without_strict_check(leader)).remove(living_id), Seat)


def test_without_the_strict_check_the_last_member_stays(
    cluster: MemoryCluster, single: Member
) -> None:
    own_id = single.server.member_id
    asked = Asked(cluster, without_strict_check(single))
    assert asked.remove(own_id) is MembershipFault.TOO_FEW_STARTED


def test_who_is_no_member_cannot_be_removed(cluster: MemoryCluster, three: list[Member]) -> None:
    leader, gone, _ = leader_and_followers(cluster, three)
    gone_id = gone.server.member_id
    assert Asked(cluster, leader).remove(99) is MembershipFault.NOT_FOUND
    Asked(cluster, leader).remove(gone_id)
    assert Asked(cluster, leader).remove(gone_id) is MembershipFault.REMOVED


def test_an_added_member_takes_its_seat_and_all_it_missed(
    cluster: MemoryCluster, three: list[Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.write(v2.Set(b"/a", b"1"))
    leader = cluster.leader()
    added = Asked(cluster, leader).add()
    assert isinstance(added, Seat)
    assert added.name == ""
    peers = {m.id: m.peer_urls[0] for m in leader.server.cluster if m.id != added.id}

    async def find_seat(config: Config) -> Given:
        del config
        return Given(leader.server.cluster_id, added.id, 0, peers)

    monkeypatch.setattr(bootstrap, "find_seat", find_seat)
    listed: dict[str, tuple[str, ...]] = {"0": tuple(peers.values()), "3": FOUR}
    config = Config(
        name="3",
        advertised_peer_urls=FOUR,
        initial_cluster=listed,
        initial_cluster_state="existing",
    )
    four = cluster.add(config)
    four.start()
    cluster.run_until(lambda: four.server.store.get(b"/a") is not None, "catching up")
    cluster.run_until(lambda: leader.server.cluster.members[added.id].name == "3", "its name")
    three[0].crash()
    assert isinstance(cluster.write(v2.Set(b"/b", b"2")), Event)


@pytest.mark.usefixtures("three")
def test_growth_is_refused_while_too_many_seats_are_empty(cluster: MemoryCluster) -> None:
    leader = cluster.leader()
    assert isinstance(Asked(cluster, leader).add(), Seat)
    assert isinstance(Asked(cluster, leader).add("http://127.0.0.1:7005"), Seat)
    fault = Asked(cluster, leader).add("http://127.0.0.1:7006")
    assert fault is MembershipFault.TOO_FEW_STARTED
    assert len(leader.server.cluster.members) == 5


def test_growth_is_refused_while_one_of_three_is_down(
    cluster: MemoryCluster, three: list[Member]
) -> None:
    leader, dead, _ = leader_and_followers(cluster, three)
    dead.crash()
    cluster.advance(3)
    assert Asked(cluster, leader).add() is MembershipFault.UNHEALTHY


def test_one_may_always_become_two(cluster: MemoryCluster, single: Member) -> None:
    assert isinstance(Asked(cluster, single).add(), Seat)
    assert len(single.server.cluster.conf_state.voters) == 2


def test_a_peer_url_has_one_holder(cluster: MemoryCluster, three: list[Member]) -> None:
    leader = cluster.leader()
    taken = three[1].config.advertised_peer_urls[0]
    assert Asked(cluster, leader).add(taken) is MembershipFault.PEER_URL_EXISTS
    third = three[2].server.member_id
    assert Asked(cluster, leader).move(third, taken) is MembershipFault.PEER_URL_EXISTS


def test_a_member_is_moved(cluster: MemoryCluster, three: list[Member]) -> None:
    third = three[2].server.member_id
    moved = Asked(cluster, three[1]).move(third, "http://127.0.0.1:7009")
    assert isinstance(moved, Seat)
    cluster.settle()
    for member in three:
        known = member.server.cluster.members[third]
        assert known.peer_urls == ("http://127.0.0.1:7009",)
        assert known.name == "machine3"
    assert Asked(cluster, three[0]).move(99, "http://h:1") is MembershipFault.NOT_FOUND


def test_two_additions_of_one_url_at_once_leave_one(
    cluster: MemoryCluster, three: list[Member]
) -> None:
    answers: list[object] = []
    for number, member in enumerate(three, start=90):
        change = MembershipChange(0, add=Seat(number, "", FOUR))
        steps = (ConfChangeSingle(ConfChangeType.ADD_VOTER, number),)
        member.server.change_membership(change, steps, answers.append)
    cluster.run_until(lambda: len(answers) == 3, "all answers")
    applied = [answer for answer in answers if isinstance(answer, MembershipApplied)]
    assert sorted(str(one.fault) for one in applied) == [
        "MembershipFault.PEER_URL_EXISTS", "MembershipFault.PEER_URL_EXISTS", "None",
    ]  # fmt: skip
    for member in three:
        assert len(member.server.cluster.members) == 4
        assert len(member.server.cluster.conf_state.voters) == 4


def test_a_removed_member_is_given_no_seat_with_its_old_data(
    cluster: MemoryCluster, three: list[Member]
) -> None:
    leader, gone, _ = leader_and_followers(cluster, three)
    gone_id, config = gone.server.member_id, gone.config
    Asked(cluster, leader).remove(gone_id)
    answers: list[object] = []
    request = SeatRequest(
        config.name, config.advertised_peer_urls[0], config.advertised_client_urls[0], gone_id
    )
    Seats(leader.server).request(request, answers.append)
    cluster.run_until(lambda: bool(answers))
    assert isinstance(answers[0], UnavailableError)
    assert "permanently removed" in str(answers[0])
    assert len(leader.server.cluster.members) == 2


def test_a_removed_member_that_knows_it_does_not_begin_again(
    cluster: MemoryCluster, three: list[Member]
) -> None:
    leader, gone, _ = leader_and_followers(cluster, three)
    gone_id = gone.server.member_id
    left: list[bool] = []
    gone.server.on_removed = lambda: left.append(True)
    gone.server.cluster.remove(gone_id)
    Asked(cluster, leader).remove(gone_id)
    gone.server.leave()
    gone.server.leave()
    assert left == [True]
    assert gone.server.was_removed(gone_id)

"""Who joins counts for quorums only once it has caught up, and then soon."""

import msgspec
import pytest
from tests.unit.server.conftest import FakeClock, Member, MemoryCluster
from tests.unit.server.test_seats import ask, request_of

from kvorum.apply.applier import MembershipApplied
from kvorum.apply.commands import MembershipChange, decode_conf_change
from kvorum.backend.memory import MemoryBackend
from kvorum.errors import KeyExists
from kvorum.membership import Cluster, MembershipFault
from kvorum.membership import Member as Known
from kvorum.raft.confchange import encode_conf_change
from kvorum.raft.progress import ProgressState
from kvorum.raft.rawnode import PeerStatus, ProposalDropped, Status
from kvorum.raft.types import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeType,
    ConfState,
    MemberId,
    Role,
)
from kvorum.server.promotion import Promotion
from kvorum.server.reconfiguration import Answer, Reconfiguration
from kvorum.server.seats import Seat, Seats
from kvorum.v2 import commands as v2
from kvorum.v2.node import Event

PROMPT_SECONDS = 0.2
"""A few heartbeats."""


def conf_state_of(member: Member) -> ConfState:
    return member.server.cluster.conf_state


def seat_of(cluster: MemoryCluster, number: int) -> Seat:
    """A seat whose holder has not heard of it yet, or never will."""
    seat = ask(cluster, cluster.leader(), request_of(number))
    assert isinstance(seat, Seat)
    return seat


def change(
    cluster: MemoryCluster, kind: ConfChangeType, membership: MembershipChange
) -> MembershipApplied:
    answers: list[object] = []
    member_id = membership.add.id if membership.add else membership.promote
    steps = (ConfChangeSingle(kind, member_id),)
    cluster.leader().server.change_membership(membership, steps, answers.append)
    cluster.run_until(lambda: bool(answers), "the change")
    assert isinstance(answers[0], MembershipApplied)
    return answers[0]


def add_learner(cluster: MemoryCluster, number: int) -> Member:
    """A running learner that waits for an operator."""
    config = cluster.legacy_config(number)
    known = Known(40 + number, config.name, config.advertised_peer_urls)
    server = cluster.leader().server
    change(cluster, ConfChangeType.ADD_LEARNER, MembershipChange(0, add=known))
    peers = {one.id: one.peer_urls[0] for one in server.cluster if one.id != known.id}
    member = cluster.add(config)
    cluster.sit_down(member, Seat(server.cluster_id, known.id, 0, peers))
    cluster.run_until(lambda: member.server.applied_index == server.applied_index)
    return member


def write_at(cluster: MemoryCluster, member: Member) -> object:
    results = member.propose(v2.Set(b"/a", b"1"))
    cluster.run_until(lambda: bool(results), "the result")
    return results[0]


def test_a_seat_whose_holder_never_comes_costs_no_quorum(
    cluster: MemoryCluster, single: Member
) -> None:
    seat = seat_of(cluster, 2)
    cluster.advance(30)
    assert conf_state_of(single) == ConfState((single.server.member_id,), (seat.member_id,))
    assert isinstance(cluster.write(v2.Set(b"/a", b"1")), Event)
    assert single.server.cluster.find_by_name("machine2") is not None


def test_a_joiner_votes_as_soon_as_it_has_all(cluster: MemoryCluster, single: Member) -> None:
    cluster.write(v2.Set(b"/a", b"1"))
    joiner = cluster.add(cluster.legacy_config(2))
    cluster.join(joiner)
    assert conf_state_of(single).learners == (joiner.server.member_id,)
    revision = single.server.store.revision
    cluster.advance(PROMPT_SECONDS)
    everybody = tuple(sorted(one.server.member_id for one in (single, joiner)))
    for member in (single, joiner):
        assert conf_state_of(member) == ConfState(everybody)
        assert not any(known.is_joining for known in member.server.cluster)
        assert member.server.store.revision == revision
        assert member.server.has_vote


def test_a_joiner_is_ready_when_it_votes(cluster: MemoryCluster, single: Member) -> None:
    seat = seat_of(cluster, 2)
    joiner = cluster.add(cluster.legacy_config(2))
    cluster.sit_down(joiner, seat)
    voted: list[bool] = []
    joiner.server.when_ready(lambda: voted.append(joiner.server.has_vote))
    cluster.run_until(lambda: bool(voted), "the joiner to be ready")
    assert voted == [True]
    assert single.server.is_leader


def test_a_joiner_far_behind_is_promoted_after_its_snapshot(
    cluster: MemoryCluster, single: Member
) -> None:
    single.server._log_keeper._snapshot_count = 10
    for number in range(60):
        cluster.write(v2.Set(b"/k%d" % number, b"v"))
    joiner = cluster.add(cluster.legacy_config(2))
    cluster.join(joiner)
    cluster.run_until(lambda: joiner.server.has_vote, "its vote")
    assert joiner.server.store.revision == single.server.store.revision


def test_a_joiner_that_crashes_before_its_first_entry_votes_when_it_is_back(
    cluster: MemoryCluster, single: Member
) -> None:
    joiner = cluster.add(cluster.legacy_config(2))
    cluster.join(joiner)
    joiner.crash()
    cluster.advance(5)
    assert isinstance(cluster.write(v2.Set(b"/a", b"1")), Event)
    joiner.start()
    assert joiner.server.applied_index == 0, "it crashed too late to prove anything"
    cluster.run_until(lambda: joiner.server.has_vote, "its vote")
    assert len(conf_state_of(single).voters) == 2


def test_who_asks_again_is_given_a_seat_in_place_of_the_one_it_never_heard_of(
    cluster: MemoryCluster, single: Member
) -> None:
    lost = seat_of(cluster, 2)
    joiner = cluster.add(cluster.legacy_config(2))
    cluster.join(joiner)
    cluster.run_until(lambda: joiner.server.has_vote, "its vote")
    assert joiner.server.member_id != lost.member_id
    assert single.server.cluster.was_removed(lost.member_id)
    assert len(single.server.cluster.members) == 2
    assert isinstance(write_at(cluster, joiner), Event)


def test_a_seat_without_a_holder_keeps_nobody_else_waiting(
    cluster: MemoryCluster, single: Member
) -> None:
    lost = seat_of(cluster, 9)
    for number in (2, 3):
        joiner = cluster.add(cluster.legacy_config(number))
        cluster.join(joiner)
        cluster.advance(PROMPT_SECONDS)
        assert joiner.server.has_vote
    answers: list[Answer] = []
    Reconfiguration(single.server).remove(lost.member_id, answers.append)
    cluster.run_until(lambda: bool(answers), "the removal")
    assert isinstance(answers[0], Known)
    assert conf_state_of(single).learners == ()


def test_joins_and_promotions_that_meet_wait_for_each_other_briefly(
    cluster: MemoryCluster, single: Member
) -> None:
    seats = Seats(single.server)
    answers: list[object] = []
    for number in (2, 3, 4):
        seats.request(request_of(number), answers.append)
    cluster.settle()
    joiners = [cluster.add(cluster.legacy_config(number)) for number in (2, 3, 4)]
    for joiner, answer in zip(joiners, answers, strict=True):
        assert isinstance(answer, Seat)
        cluster.sit_down(joiner, answer)
    cluster.advance(PROMPT_SECONDS)
    assert [joiner.server.has_vote for joiner in joiners] == [True] * 3


def test_a_seat_is_given_as_soon_as_a_promotion_is_through(
    cluster: MemoryCluster, single: Member
) -> None:
    joiner = cluster.add(cluster.legacy_config(2))
    joiner.is_sync_held = True
    cluster.join(joiner)
    joiner.is_sync_held = False
    single.is_sync_held = True
    cluster.advance(0.1)
    answers: list[object] = []
    Seats(single.server).request(request_of(3), answers.append)
    cluster.settle()
    assert not answers, "the promotion is no longer under way"
    single.is_sync_held = False
    now = cluster.clock.now
    cluster.settle()
    assert isinstance(answers[0], Seat)
    assert cluster.clock.now == now


def test_a_new_leader_promotes_whom_the_old_one_left(
    cluster: MemoryCluster, three: list[Member]
) -> None:
    old = cluster.leader()
    joiner = cluster.add(cluster.legacy_config(4))
    cluster.isolate(joiner)
    cluster.join(joiner)
    cluster.advance(PROMPT_SECONDS)
    assert not joiner.server.has_vote
    old.crash()
    cluster.heal()
    cluster.run_until(lambda: joiner.server.has_vote, "its vote")
    new = cluster.leader()
    assert new is not old
    assert new in three
    assert len(conf_state_of(new).voters) == 4


def test_a_wiped_member_is_a_learner_until_it_has_all_again(
    cluster: MemoryCluster, three: list[Member]
) -> None:
    leader = cluster.leader()
    gone = next(member for member in three if member is not leader)
    gone.crash()
    cluster.advance(1)
    wiped = cluster.add(gone.config)
    cluster.members.remove(gone)
    cluster.isolate(wiped)
    cluster.join(wiped)
    cluster.advance(PROMPT_SECONDS)
    state = conf_state_of(leader)
    assert (len(state.voters), state.learners) == (2, (wiped.server.member_id,))
    assert isinstance(cluster.write(v2.Set(b"/a", b"1")), Event)
    cluster.heal()
    cluster.run_until(lambda: wiped.server.has_vote, "its vote")
    assert len(conf_state_of(leader).voters) == 3


def test_a_learner_serves_clients_and_never_leads(
    cluster: MemoryCluster, three: list[Member]
) -> None:
    learner = add_learner(cluster, 4)
    assert isinstance(write_at(cluster, learner), Event)
    answers = learner.read()
    cluster.run_until(lambda: bool(answers), "the read")
    assert answers == [None]
    for member in three[1:]:
        member.crash()
    cluster.advance(5)
    assert not learner.server.is_leader
    assert not cluster._leaders()


def test_a_learner_that_did_not_join_by_itself_waits_for_an_operator(
    cluster: MemoryCluster, single: Member
) -> None:
    learner = add_learner(cluster, 2)
    learner_id = learner.server.member_id
    cluster.advance(5)
    assert conf_state_of(single).learners == (learner_id,)
    promote = MembershipChange(0, promote=learner_id)
    assert change(cluster, ConfChangeType.ADD_VOTER, promote).fault is None
    cluster.run_until(lambda: learner.server.has_vote)
    again = change(cluster, ConfChangeType.ADD_VOTER, promote)
    assert again.fault is MembershipFault.NOT_LEARNER


def test_such_a_learner_gets_no_vote_by_losing_its_data(
    cluster: MemoryCluster, single: Member
) -> None:
    learner = add_learner(cluster, 2)
    assert isinstance(ask(cluster, single, request_of(2)), KeyExists)
    learner.crash()
    cluster.advance(1)
    wiped = cluster.add(learner.config)
    cluster.members.remove(learner)
    cluster.join(wiped)
    cluster.advance(5)
    assert conf_state_of(single).learners == (wiped.server.member_id,)


class FakeRaft:
    """A leader, 1, and what it knows of the learners 2 and 3."""

    def __init__(self) -> None:
        self.commit = 10
        self.is_busy = False
        self.peers = {one: PeerStatus(10, 11, ProgressState.REPLICATE, True) for one in (1, 2, 3)}
        self.promoted: list[MemberId] = []

    def status(self) -> Status:
        state = ConfState((1,), (2, 3))
        return Status(1, 1, 1, self.commit, self.commit, Role.LEADER, 1, state, self.peers)

    def propose_conf_change(self, conf_change: ConfChange) -> None:
        if self.is_busy:
            raise ProposalDropped("another configuration change is under way")
        _, membership = decode_conf_change(encode_conf_change(conf_change))
        assert conf_change.changes == (
            ConfChangeSingle(ConfChangeType.ADD_VOTER, membership.promote),
        )
        self.promoted.append(membership.promote)


class Desk:
    def __init__(self) -> None:
        self.raft = FakeRaft()
        self.clock = FakeClock()
        self.cluster = Cluster(MemoryBackend())
        self.cluster.set_conf_state(ConfState((1,), (2, 3)))
        self.cluster.put(Known(1, "one", ("http://h:1",)))
        for number in (2, 3):
            self.cluster.put(Known(number, str(number), (f"http://h:{number}",), is_joining=True))
        self.silent: set[MemberId] = {3}
        self.promotion = Promotion(
            self.raft,  # type: ignore[arg-type]
            self.cluster,
            self.clock,
            0.2,
            lambda one: one not in self.silent,
        )

    def know(self, member_id: MemberId, **changes: object) -> None:
        known = msgspec.structs.replace(self.raft.peers[member_id], **changes)
        self.raft.peers[member_id] = known

    def promote(self) -> list[MemberId]:
        before = len(self.raft.promoted)
        has_promoted = self.promotion.promote()
        fresh = self.raft.promoted[before:]
        assert has_promoted == bool(fresh)
        return fresh


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_one_is_promoted_at_a_time(desk: Desk) -> None:
    desk.silent.clear()
    assert desk.promote() == [2]
    desk.cluster.set_conf_state(ConfState((1, 2), (3,)))
    assert desk.promote() == [3]
    desk.cluster.set_conf_state(ConfState((1, 2, 3)))
    assert desk.promote() == []


@pytest.mark.parametrize("state", [ProgressState.PROBE, ProgressState.SNAPSHOT])
def test_who_is_not_fed_from_the_log_has_not_caught_up(desk: Desk, state: ProgressState) -> None:
    desk.know(2, state=state)
    assert desk.promote() == []


def test_who_is_silent_is_not_counted_on(desk: Desk) -> None:
    desk.silent.add(2)
    assert desk.promote() == []


def test_a_dropped_proposal_is_made_again(desk: Desk) -> None:
    desk.raft.is_busy = True
    assert desk.promote() == []
    desk.raft.is_busy = False
    assert desk.promote() == [2]


def test_a_round_ends_at_its_goal_while_the_log_grows_on(desk: Desk) -> None:
    desk.know(2, match=5)
    assert desk.promote() == []
    desk.raft.commit = 30
    desk.know(2, match=9)
    assert desk.promote() == []
    desk.clock.now += 0.15
    desk.know(2, match=10)
    assert desk.promote() == [2]


def test_a_round_that_took_too_long_is_followed_by_another(desk: Desk) -> None:
    desk.know(2, match=5)
    assert desk.promote() == []
    desk.clock.now += 0.3
    desk.raft.commit = 30
    desk.know(2, match=20)
    assert desk.promote() == []
    desk.clock.now += 0.1
    desk.know(2, match=29)
    assert desk.promote() == []
    desk.know(2, match=30)
    assert desk.promote() == [2]


def test_a_slow_start_is_no_slow_round(desk: Desk) -> None:
    desk.know(2, match=5)
    assert desk.promote() == []
    desk.clock.now += 10
    desk.know(2, match=10)
    assert desk.promote() == [2]


def test_another_leadership_begins_its_rounds_anew(desk: Desk) -> None:
    desk.know(2, match=5)
    assert desk.promote() == []
    desk.promotion.reset()
    desk.raft.commit = 30
    desk.know(2, match=10)
    assert desk.promote() == []

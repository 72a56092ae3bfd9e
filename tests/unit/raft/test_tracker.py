"""Who is counted, and who is not."""

from kvorum.raft.quorum import VoteResult
from kvorum.raft.tracker import Tracker
from kvorum.raft.types import ConfState


def tracker(conf_state: ConfState, **matches: int) -> Tracker:
    made = Tracker(1, 8)
    made.switch(conf_state, 10)
    for name, match in matches.items():
        made.progress[int(name[1:])].match = match
    return made


def test_learners_do_not_count() -> None:
    made = tracker(ConfState(voters=(1, 2), learners=(3,)), m1=5, m2=3, m3=5)
    assert made.committed_index() == 3
    made.record_vote(1, is_granted=True)
    assert made.record_vote(3, is_granted=True) is VoteResult.PENDING
    assert made.record_vote(2, is_granted=True) is VoteResult.WON
    assert not made.is_voter(3)


def test_a_joint_configuration_counts_twice() -> None:
    conf = ConfState(voters=(1, 4), outgoing=(1, 2, 3))
    made = tracker(conf, m1=9, m2=5, m3=9, m4=7)
    assert made.committed_index() == 7
    assert made.is_joint
    assert made.is_voter(2)
    assert not made.is_alone


def test_only_the_first_vote_of_a_member_counts() -> None:
    made = tracker(ConfState(voters=(1, 2, 3)))
    made.record_vote(2, is_granted=False)
    made.record_vote(2, is_granted=True)
    assert made.record_vote(1, is_granted=True) is VoteResult.PENDING


def test_a_switch_keeps_what_is_known_and_forgets_who_left() -> None:
    made = tracker(ConfState(voters=(1, 2)), m1=5, m2=4)
    made.switch(ConfState(voters=(1, 3), learners=(2,)), 6)
    assert list(made.progress) == [1, 2, 3]
    assert (made.progress[2].match, made.progress[3].next) == (4, 6)
    assert [peer.member_id for peer in made.peers] == [2, 3]
    made.switch(ConfState(voters=(1,)), 6)
    assert list(made.progress) == [1]
    assert made.is_alone


def test_a_reset_knows_only_the_own_log() -> None:
    made = tracker(ConfState(voters=(1, 2)), m1=5, m2=4)
    made.reset(last_index=7, durable=6)
    assert made.progress[1].match == 6
    assert (made.progress[2].match, made.progress[2].next) == (0, 8)


def test_activity_is_forgotten_by_the_check() -> None:
    made = tracker(ConfState(voters=(1, 2, 3)))
    made.reset(1, 1)
    assert made.is_quorum_active()
    assert not made.is_quorum_active()
    made.progress[3].is_recently_active = True
    assert made.is_quorum_active()


def test_rounds_and_known_commits_are_counted_like_matches() -> None:
    made = tracker(ConfState(voters=(1, 2, 3), learners=(4,)))
    for member_id, value in ((1, 3), (2, 2), (3, 0), (4, 9)):
        made.progress[member_id].acknowledged_round = value
        made.progress[member_id].known_commit = value
    assert made.confirmed_round() == made.known_commit() == 2

"""The judge of every step: silent while real members work, loud when one is tampered with."""

from collections.abc import Callable
from random import Random  # noqa: TID251 - seeded

import msgspec
import pytest
from tests.unit.server.conftest import Member
from tests.unit.sim.conftest import Judged

from kvorum.backend.base import Table
from kvorum.mvcc.revision import to_key
from kvorum.raft.types import Entry, Message, MessageType, Role
from kvorum.server.reads import _Reader
from kvorum.server.server import Server
from kvorum.sim import invariants
from kvorum.sim.history import History, Violation
from kvorum.sim.invariants import count_waiting, raft_of
from kvorum.v2 import commands as v2
from kvorum.v3.commands import Compact


@pytest.mark.parametrize("seed", range(6))
def test_is_silent_while_members_crash_and_come_back(seed: int) -> None:
    random = Random(seed)
    judged = Judged(snapshot_count=random.choice((3, 20, 10_000)))
    members = [judged.first, judged.join_next(), judged.join_next()]
    for number in range(60):
        up = [member for member in members if member.is_up]
        command = random.choice(
            (
                v2.Set(b"/k%d" % random.randrange(4), b"v%d" % number),
                v2.Delete(b"/k%d" % random.randrange(4)),
                v2.Create(b"/queue", b"v%d" % number, in_order=True),
                v2.Delete(b"/queue", is_recursive=True),
                v2.Set(b"/ttl", b"v", expiration=int((judged.clock.now + 0.1) * 1e9)),
                Compact(up[0].server.store.revision),
            )
        )
        random.choice(up).propose(command)
        judged.advance(0.01 * random.randrange(4))
        for member in up:
            member.is_sync_held = random.random() < 0.2
        if random.random() < 0.1 and len(up) == 3:
            judged.settle()  # a crash empties the queue of all
            random.choice(up).crash()
        elif random.random() < 0.2 and len(up) < 3:
            next(member for member in members if not member.is_up).start()
    for member in members:
        member.is_sync_held = False
        if not member.is_up:
            member.start()
    judged.run_until(judged.judges.has_converged)
    judged.judges.finish(History(), [])
    assert judged.judges.reference.last_index == members[0].server.applied_index
    assert judged.judges.reference.revision > 10
    assert judged.judges.reference.members == members[0].server.cluster.members


def test_a_member_may_take_another_ones_state() -> None:
    judged = Judged(snapshot_count=2)
    second, third = judged.join_next(), judged.join_next()
    third.crash()
    for number in range(20):
        judged.write(v2.Set(b"/k%d" % (number % 3), b"v%d" % number))
    judged.write(Compact(10))
    third.start()
    judged.run_until(judged.judges.has_converged)
    assert raft_of(third.server).log.first_index > 10
    judged.judges.finish(History(), [])
    assert second.server.store.revision == third.server.store.revision


def test_one_term_has_one_leader(three: Judged) -> None:
    follower = three.follower()
    raft = raft_of(follower.server)
    raft.term, raft.role = three.leader().server.term, Role.LEADER
    touch(follower)
    with pytest.raises(Violation, match="two leaders"):
        three.look()


def touch(member: Member) -> None:
    """Something has happened in this member's raft."""
    member.server._raft._number += 1


def test_a_term_does_not_go_back(one: Judged) -> None:
    raft_of(one.first.server).term -= 1
    touch(one.first)
    with pytest.raises(Violation, match="went from term"):
        one.look()


def test_a_vote_stays(three: Judged) -> None:
    raft_of(three.leader().server).vote = 99
    touch(three.leader())
    with pytest.raises(Violation, match="changed its vote"):
        three.look()


def test_one_vote_leaves_a_member_in_a_term(one: Judged) -> None:
    life = one.life_of(one.first)
    me = one.first.server.member_id
    one.judges.sent(life, [Message(MessageType.VOTE_RESPONSE, 7, me, 50)])
    one.judges.sent(life, [Message(MessageType.VOTE_RESPONSE, 7, me, 50)])
    one.judges.sent(life, [Message(MessageType.VOTE_RESPONSE, 8, me, 50, reject=True)])
    with pytest.raises(Violation, match="voted for"):
        one.judges.sent(life, [Message(MessageType.VOTE_RESPONSE, 8, me, 50)])


def test_a_member_votes_for_itself_alone(one: Judged) -> None:
    life = one.life_of(one.first)
    me = one.first.server.member_id
    one.judges.sent(
        life, [Message(MessageType.VOTE, 7, me, 50), Message(MessageType.VOTE, 8, me, 50)]
    )
    with pytest.raises(Violation, match="voted for"):
        one.judges.sent(life, [Message(MessageType.VOTE_RESPONSE, 8, me, 50)])


def test_the_term_spoken_in_is_known_after_a_restart(one: Judged) -> None:
    one.judges.sent(one.life_of(one.first), [Message(MessageType.VOTE_RESPONSE, 7, 1, 50)])
    one.first.crash()
    one.first.start()
    with pytest.raises(Violation, match="came back in term"):
        one.look()


def test_what_was_acknowledged_is_there_after_a_restart(one: Judged) -> None:
    one.look()
    term = raft_of(one.first.server).term
    acknowledgement = Message(MessageType.APPEND_RESPONSE, 7, 1, term, index=500)
    one.judges.sent(one.life_of(one.first), [acknowledgement])
    one.first.crash()
    one.first.start()
    with pytest.raises(Violation, match="but had acknowledged 500"):
        one.look()


def test_what_an_earlier_leader_is_told_late_of_a_log_since_cut_is_no_promise(one: Judged) -> None:
    one.look()
    earlier = raft_of(one.first.server).term - 1
    late = Message(MessageType.APPEND_RESPONSE, 7, 1, earlier, index=500)
    one.judges.sent(one.life_of(one.first), [late])
    one.first.crash()
    one.first.start()
    one.look()


def test_a_vote_is_known_after_a_restart(one: Judged) -> None:
    one.look()
    term = raft_of(one.first.server).term
    one.judges.sent(one.life_of(one.first), [Message(MessageType.VOTE_RESPONSE, 7, 1, term)])
    one.first.crash()
    one.first.start()
    raft_of(one.first.server).term = term  # before the campaign it began at once
    with pytest.raises(Violation, match="had voted for 7"):
        one.look()


def test_an_entry_of_an_earlier_term_is_not_committed_by_counting(three: Judged) -> None:
    leader = three.leader()
    for member in three.members:
        member.is_sync_held = member is not leader
    leader.propose(v2.Set(b"/k", b"v"))
    three.settle()
    for member in three.members:
        member.is_sync_held = False
        three.isolate(member)
    three.settle()
    raft = raft_of(leader.server)
    raft.term += 2
    touch(leader)
    three.look()
    raft.log.committed = raft.log.last_index
    touch(leader)
    with pytest.raises(Violation, match="by counting"):
        three.look()


def test_an_index_and_a_term_name_one_entry(three: Judged) -> None:
    follower = three.follower()
    results = three.leader().propose(v2.Set(b"/k", b"right"))
    storage = raft_of(follower.server).log.storage
    original = storage.append  # type: ignore[attr-defined]

    def tamper(entries: list[Entry]) -> None:
        original(
            [Entry(e.term, e.index, e.type, e.data.replace(b"right", b"wrong")) for e in entries]
        )

    storage.append = tamper  # type: ignore[attr-defined]
    log = raft_of(follower.server).log
    before = log.append

    def append(entries: list[Entry]) -> None:
        before(
            [Entry(e.term, e.index, e.type, e.data.replace(b"right", b"wrong")) for e in entries]
        )

    log.append = append  # type: ignore[method-assign,assignment]
    with pytest.raises(Violation, match="is not what others have"):
        three.run_until(lambda: bool(results))


def test_a_committed_entry_is_not_cut_off(three: Judged) -> None:
    three.write(v2.Set(b"/k", b"v"))
    log = raft_of(three.first.server).log
    log.committed -= 1
    log._cut(log.last_index - 1)
    touch(three.first)
    with pytest.raises(Violation, match="cut its log back"):
        three.look()


def test_a_commit_index_does_not_go_back(one: Judged) -> None:
    one.write(v2.Set(b"/k", b"v"))
    raft_of(one.first.server).log.committed -= 1
    touch(one.first)
    with pytest.raises(Violation, match="went from commit index"):
        one.look()


def test_only_what_a_quorum_has_on_disk_is_committed(three: Judged) -> None:
    leader = three.leader()
    for member in three.members:
        member.is_sync_held = member is not leader
    leader.propose(v2.Set(b"/k", b"v"))
    three.settle()
    log = raft_of(leader.server).log
    assert log.committed < log.last_index
    log.committed = log.last_index
    touch(leader)
    with pytest.raises(Violation, match="no quorum"):
        three.look()


def test_a_new_leader_has_what_was_committed(three: Judged) -> None:
    follower = three.follower()
    three.isolate(follower)
    three.write(v2.Set(b"/k", b"v"))
    three.advance(1.0)
    raft = raft_of(follower.server)
    raft.term, raft.role, raft.vote = 1000, Role.LEADER, 0
    touch(follower)
    with pytest.raises(Violation, match="without the committed entry"):
        three.look()


def test_members_do_not_commit_different_entries(three: Judged) -> None:
    follower = three.follower()
    three.isolate(follower)
    three.write(v2.Set(b"/k", b"v"))
    log = raft_of(follower.server).log
    log.append([Entry(log.last_term + 1, log.last_index + 1)])
    log.committed = log.last_index
    touch(follower)
    with pytest.raises(Violation, match="was committed before"):
        three.look()


def test_no_entry_is_applied_twice(one: Judged) -> None:
    one.write(v2.Set(b"/k", b"v"))
    server = one.first.server
    server.tree.apply(v2.Set(b"/k", b"v"))
    touch(one.first)
    with pytest.raises(Violation, match="without an entry"):
        one.look()


def test_an_entry_leaves_the_same_state_everywhere(one: Judged) -> None:
    store = one.first.server.store
    one.first.server._applier._apply_command[v2.Set] = lambda _: store.advance()
    with pytest.raises(Violation, match="expected is"):
        one.write(v2.Set(b"/k", b"v"))


def test_an_entry_leaves_the_same_record_everywhere(one: Judged) -> None:
    tree = one.first.server.tree
    one.first.server._applier._apply_command[v2.Set] = lambda command: tree.apply(
        msgspec.structs.replace(command, value=b"other")
    )
    with pytest.raises(Violation, match="another record"):
        one.write(v2.Set(b"/k", b"v"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda server: server.store.backend.delete(
            Table.RECORDS, to_key(server.store.index.live[b"/k"])
        ),
        lambda server: server.store.index.live.update({b"/k": 1}),
    ],
)
def test_all_that_is_held_is_compared(one: Judged, damage: Callable[[Server], None]) -> None:
    one.write(v2.Set(b"/k", b"v"))
    one.judges.finish(History(), [])
    damage(one.first.server)
    with pytest.raises(Violation):
        one.judges.finish(History(), [])


def test_a_restart_brings_back_the_same_state(one: Judged) -> None:
    one.write(v2.Set(b"/k", b"v"))
    one.first.files.memory.flush()
    one.first.crash()
    tables = one.first.files.memory._tables[Table.RECORDS]
    newest = max(tables)
    tables[newest] = tables[newest][:-1] + b"w"
    one.first.start()
    with pytest.raises(Violation, match="another record"):
        one.look()


def test_a_revision_does_not_go_back(one: Judged) -> None:
    one.write(v2.Set(b"/k", b"v"))
    one.first.server.store.revision -= 1
    touch(one.first)
    with pytest.raises(Violation, match="went from revision"):
        one.look()


def test_a_key_expires_by_a_clock_that_has_come_so_far(one: Judged) -> None:
    now_ns = one.first.server.clock.wall_ns()
    one.write(v2.Set(b"/k", b"v", expiration=now_ns + 10**11))
    with pytest.raises(Violation, match="no clock has shown"):
        one.write(v2.Expire(now_ns + 10**12))


def test_a_clock_set_back_has_shown_its_time(one: Judged) -> None:
    now_ns = one.first.server.clock.wall_ns()
    one.judges.jumping(one.life_of(one.first))
    one.clock.now -= 10
    one.write(v2.Expire(now_ns))


def test_queues_stay_within_their_limits(one: Judged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invariants, "WAITING_COMMANDS_MAX", 0)
    with pytest.raises(Violation, match="proposals wait"):
        one.write(v2.Set(b"/k", b"v"))
    monkeypatch.setattr(invariants, "WAITING_COMMANDS_MAX", 100)
    monkeypatch.setattr(invariants, "WAITING_READS_MAX", -1)
    with pytest.raises(Violation, match="reads wait"):
        one.write(v2.Set(b"/k", b"v"))


def test_nobody_waits_beyond_the_deadline(one: Judged) -> None:
    server, judge = one.first.server, one.judges
    server._reads.pending_count += 1
    deadline = server.clock.monotonic()
    server._reads._confirmed.append((1 << 40, [_Reader(lambda _: None, deadline)]))
    one.clock.now += 1.5
    judge.check_deadlines(one.processes)
    judge.check_deadlines([])
    for _ in range(2):
        judge.check_deadlines(one.processes)
    with pytest.raises(Violation, match="s late with an answer"):
        judge.check_deadlines(one.processes)


def test_somebody_waits_until_everybody_is_answered(one: Judged) -> None:
    assert one.judges.has_answered()
    answers: list[object] = []
    one.first.server.propose(v2.Set(b"/k", b"v"), answers.append)
    one.first.server.read(answers.append)
    assert count_waiting(one.first.server) == 2
    assert not one.judges.has_answered()
    one.run_until(lambda: len(answers) == 2)
    assert one.judges.has_answered()

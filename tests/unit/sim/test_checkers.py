"""What can only be judged at the end: each rule on what keeps it and on what breaks it."""

from collections.abc import Callable
from contextlib import nullcontext
from math import inf
from typing import Any

import msgspec
import pytest
from tests.unit.sim.conftest import Judged

from kvorum.apply.commands import Batch, Command, encode_batch
from kvorum.raft.types import Entry
from kvorum.server.logkeeper import LogKeeper
from kvorum.sim import linearizability
from kvorum.sim.calls import Call
from kvorum.sim.checkers import (
    Judges,
    check_created_in_order,
    check_deleted_trees,
    check_expired,
    check_local_reads,
    check_log_size,
    check_order,
    check_seats,
)
from kvorum.sim.history import History, Kind, Operation, Outcome, Seen, Told, Violation
from kvorum.sim.reference import Reference
from kvorum.sim.watches import Watch
from kvorum.v2 import commands as v2
from kvorum.v3.answers import PutResponse, RangeResponse
from kvorum.v3.commands import Compact, Put, Range


def operation(
    kind: Kind, key: bytes, invoked: float, completed: float = inf, **fields: Any
) -> Operation:
    return Operation("c", "p", kind, key, invoked, completed=completed, **fields)


def commit(reference: Reference, *commands: Command) -> None:
    index = reference.last_index + 1
    data = encode_batch(Batch(index, index + 10, list(commands)))
    reference.commit(Entry(1, index, data=data))


def written(revision: int, invoked: float, completed: float) -> Operation:
    return operation(Kind.SET, b"/%d" % revision, invoked, completed, outcome=Outcome(revision))


def told(operations: list[Operation]) -> list[Told]:
    history = History()
    history.operations += operations
    return history.told()


def read(revision: int, invoked: float, completed: float) -> Operation:
    return operation(Kind.GET, b"/r", invoked, completed, outcome=Outcome(revision, 100))


@pytest.mark.parametrize(
    "operations",
    [
        [written(3, 0, 9), written(2, 1, 2), read(2, 3, 4), read(3, 5, 6)],
        [written(3, 0, 1), read(3, 2, 3), written(4, 4, 5)],
        [written(3, 0, 1), operation(Kind.SET, b"/u", 2)],
        [
            written(3, 0, 1),
            operation(Kind.LOCAL_GET, b"/l", 2, 3, outcome=Outcome(2, 100)),
        ],
    ],
)
def test_revisions_rise_across_keys(operations: list[Operation]) -> None:
    check_order(told(operations))


@pytest.mark.parametrize(
    "operations",
    [
        [written(3, 0, 1), read(2, 2, 3)],
        [written(3, 0, 1), written(3, 2, 3)],
        [read(3, 0, 1), written(3, 2, 3)],
        [written(9, 0, 1), written(10, 2, 3), written(9, 4, 5)],
    ],
)
def test_revisions_never_go_back_across_keys(operations: list[Operation]) -> None:
    with pytest.raises(Violation, match="went back"):
        check_order(told(operations))


def test_revisions_rise_across_the_apis() -> None:
    history = History()
    history.operations.append(written(3, 0, 1))
    put = Call("v", "p", Put(b"k", b"1"), 2.0, completed=3.0, answer=PutResponse(4))
    history.calls.append(put)
    check_order(history.told())
    put.answer = PutResponse(3)
    with pytest.raises(Violation, match="went back"):
        check_order(history.told())
    put.request, put.answer = Range(b"k"), RangeResponse(3, [], more=False, count=0)
    check_order(history.told())
    put.answer = RangeResponse(2, [], more=False, count=0)
    with pytest.raises(Violation, match="went back"):
        check_order(history.told())
    put.is_local = True
    check_order(history.told())


def local(process: str, revision: int, node: Seen | None = None) -> Operation:
    outcome = Outcome(revision, 0 if node else 100, node)
    return Operation("c", process, Kind.LOCAL_GET, b"/k", 0, completed=1, outcome=outcome)


@pytest.fixture
def reference() -> Reference:
    reference = Reference()
    commit(reference, v2.Set(b"/k", b"1"), v2.Update(b"/k", b"2", 7))
    return reference


ONE, TWO = Seen(b"1", 2, 2), Seen(b"2", 3, 2, 7)


def test_a_local_read_may_be_old(reference: Reference) -> None:
    reads = [local("p", 1), local("q", 3, TWO), local("p", 2, ONE), local("p", 3, TWO)]
    check_local_reads(reads, reference)


@pytest.mark.parametrize(
    ("reads", "fault"),
    [
        ([local("p", 3, TWO), local("p", 2, ONE)], "went back"),
        ([local("p", 3, ONE)], "never was"),
        ([local("p", 3)], "never was"),
        ([local("p", 1, ONE)], "never was"),
    ],
)
def test_a_local_read_shows_what_was(
    reference: Reference, reads: list[Operation], fault: str
) -> None:
    with pytest.raises(Violation, match=fault):
        check_local_reads(reads, reference)


def in_order(value: bytes, revision: int = 0, place: bytes = b"") -> Operation:
    created = operation(Kind.CREATE_IN_ORDER, b"/queue", 0, value=value)
    if revision:
        created.completed = 1
        created.outcome = Outcome(revision, place=place or b"/queue/%d" % revision)
    return created


@pytest.fixture
def queued() -> Reference:
    """Revisions 2 and 3 are in order."""
    reference = Reference()
    for value in (b"1", b"2"):
        commit(reference, v2.Create(b"/queue", value, in_order=True))
    return reference


def test_nodes_created_in_order_stand_in_the_log(queued: Reference) -> None:
    check_created_in_order([in_order(b"1", 2), in_order(b"2"), in_order(b"3")], queued)


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        ([in_order(b"1", 2)], "nobody asked"),
        ([in_order(b"1", 2), in_order(b"2"), in_order(b"3", 4)], "not in the log"),
        ([in_order(b"1", 3), in_order(b"2")], "it was done at 2"),
        ([in_order(b"1", 2, b"/queue/3"), in_order(b"2")], "not in the log"),
    ],
)
def test_nodes_created_in_order_are_those_asked_for(
    queued: Reference, asked: list[Operation], fault: str
) -> None:
    with pytest.raises(Violation, match=fault):
        check_created_in_order(asked, queued)


def test_a_node_created_in_order_is_created_once(queued: Reference) -> None:
    commit(queued, v2.Create(b"/queue", b"2", in_order=True))
    with pytest.raises(Violation, match="done twice"):
        check_created_in_order([in_order(b"1"), in_order(b"2")], queued)


def test_a_node_created_in_order_bears_its_own_number(queued: Reference) -> None:
    commit(queued, v2.Create(b"/queue/9", b"3"))
    asked = [in_order(b"1"), in_order(b"2"), in_order(b"3")]
    with pytest.raises(Violation, match="created at 4 as /queue/9"):
        check_created_in_order(asked, queued)


def tree(revision: int, refusal: int = 0) -> Operation:
    return operation(Kind.DELETE_TREE, b"/queue", 0, 1, outcome=Outcome(revision, refusal))


def test_nothing_is_left_of_a_deleted_directory(queued: Reference) -> None:
    commit(queued, v2.Delete(b"/queue", is_recursive=True))
    check_deleted_trees([tree(4), tree(1, 100), tree(4, 100)], queued)
    with pytest.raises(Violation, match="not in the log"):
        check_deleted_trees([tree(3)], queued)
    with pytest.raises(Violation, match="left behind"):
        check_deleted_trees([tree(2, 100)], queued)


def test_all_below_a_directory_goes_with_it(queued: Reference) -> None:
    commit(queued, v2.Delete(b"/queue", is_recursive=True))
    queued.by_key[b"/queue/2"].pop()
    with pytest.raises(Violation, match="/queue/2 is left behind"):
        check_deleted_trees([tree(4)], queued)


def test_a_leader_lets_nothing_stay_long_after_its_time(one: Judged) -> None:
    expiration = one.first.server.clock.wall_ns() + 10**9
    one.write(v2.Set(b"/k", b"v", expiration=expiration))
    check_expired(one.processes[0])
    one.advance(2.0)
    check_expired(one.processes[0])
    one.first.server.store.expiring.set(b"/k", expiration)
    one.clock.now += 10
    with pytest.raises(Violation, match="overdue"):
        check_expired(one.processes[0])
    one.first.server.is_leader = False
    check_expired(one.processes[0])


def test_a_log_that_nobody_needs_any_more_is_cut() -> None:
    world = Judged(snapshot_count=5)
    for number in range(400):
        world.write(v2.Set(b"/k", b"v" * 200 + b"%d" % number))
    (process,) = world.processes
    check_log_size(process)
    server = world.first.server
    server._log_keeper._snapshot_count = 1 << 30
    for number in range(20):
        world.write(v2.Set(b"/k", b"%d" % number))
    with pytest.raises(Violation, match="entries in memory, to be cut at 5"):
        check_log_size(process)


def test_segments_that_nobody_needs_any_more_are_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Judged(snapshot_count=5)
    monkeypatch.setattr(LogKeeper, "durable", lambda _: None)
    for number in range(400):
        world.write(v2.Set(b"/k", b"v" * 200 + b"%d" % number))
    world.advance(6.0)  # the backend commits behind
    (process,) = world.processes
    with pytest.raises(Violation, match="though nobody needs"):
        check_log_size(process)
    # The first one once held entries up to there, which were replaced: it keeps the others.
    world.first.server._wal._segments[0].last_index = 1 << 40
    check_log_size(process)


def finish(world: Judged, *operations: Operation) -> None:
    history = History()
    history.operations += operations
    world.judges.finish(history, [])


def test_a_good_run_ends_well(three: Judged) -> None:
    three.write(v2.Set(b"/k", b"v"))
    three.run_until(three.judges.has_converged)
    revision = three.first.server.store.revision
    done = Outcome(revision, node=Seen(b"v", revision, revision))
    finish(three, operation(Kind.SET, b"/k", 0, 1, value=b"v", outcome=done))


def test_an_acknowledged_write_must_have_been_committed(one: Judged) -> None:
    done = Outcome(99, node=Seen(b"v", 99, 99))
    with pytest.raises(Violation, match="not in the log"):
        finish(one, operation(Kind.SET, b"/k", 0, 1, value=b"v", outcome=done))


def test_a_stale_read_is_found(one: Judged) -> None:
    one.write(v2.Set(b"/k", b"v"))
    revision = one.first.server.store.revision
    done = Outcome(revision, node=Seen(b"v", revision, revision))
    with pytest.raises(Violation, match="not linearizable"):
        finish(
            one,
            operation(Kind.SET, b"/k", 0, 1, value=b"v", outcome=done),
            operation(Kind.GET, b"/k", 2, 3, outcome=Outcome(revision, 100)),
        )


def test_a_watch_is_judged_too(one: Judged) -> None:
    one.write(v2.Set(b"/k", b"v"))
    watch = Watch(b"/k", None)
    watch.begin("p", 1)
    with pytest.raises(Violation, match="never told"):
        one.judges.finish(History(), [watch])


def test_who_has_not_caught_up_has_not_converged(three: Judged) -> None:
    late = three.follower()
    three.isolate(late)
    three.write(v2.Set(b"/k", b"v"))
    assert not three.judges.has_converged()
    with pytest.raises(Violation, match="has applied"):
        finish(three)


def test_what_is_not_durable_yet_may_still_keep_its_log(one: Judged) -> None:
    one.write(v2.Set(b"/k", b"v"))
    server = one.first.server
    assert server._backend.durable_index < server.applied_index == one.judges.reference.last_index
    assert not one.judges.has_converged()
    one.run_until(one.judges.has_converged)
    assert server._backend.durable_index == server.applied_index


def forget_a_record(world: Judged) -> None:
    store = world.follower().server.store
    store.index.live.pop(b"/k")


def advance(world: Judged) -> None:
    world.follower().server.store.start_compaction(2)


def rename(world: Judged) -> None:
    server = world.follower().server
    server.cluster.members[server.member_id].name = "other"


@pytest.mark.parametrize("damage", [forget_a_record, advance, rename])
def test_members_must_be_equal_at_the_end(three: Judged, damage: Callable[[Judged], None]) -> None:
    three.write(v2.Set(b"/k", b"v"))
    three.run_until(three.judges.has_converged)
    damage(three)
    with pytest.raises(Violation):
        finish(three)


@pytest.mark.parametrize("seats", [{"voters": (1,)}, {"learners": (9,)}, {"outgoing": (9,)}])
def test_whoever_is_counted_is_a_member(three: Judged, seats: dict[str, tuple[int, ...]]) -> None:
    member = three.follower()
    cluster = member.server.cluster
    cluster.conf_state = msgspec.structs.replace(cluster.conf_state, **seats)
    is_wrong = "outgoing" not in seats  # half way through a change
    with pytest.raises(Violation, match="counts others") if is_wrong else nullcontext():
        check_seats(three.life_of(member))


def test_compaction_at_the_end_is_no_fault(three: Judged) -> None:
    three.write(v2.Set(b"/k", b"v"))
    three.write(Compact(three.first.server.store.revision))
    three.run_until(three.judges.has_converged)
    finish(three)


def test_what_could_not_be_judged_is_listed(one: Judged, monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(_: object) -> None:
        raise linearizability.Undecided("too long")

    monkeypatch.setattr(linearizability, "find_fault", give_up)
    finish(one, operation(Kind.GET, b"/k", 0, 1, outcome=Outcome(1, 100)))
    assert one.judges.undecided == [b"/k"]


def test_who_comes_later_learns_the_whole_log(one: Judged) -> None:
    judges = Judges(lambda: one.processes, lambda: 0.0)
    judges.step()
    assert judges.reference.marks == one.judges.reference.marks

"""What callers were told of keys: each rule on what keeps it and on what breaks it.

The log: `k0` is put at 2 and again at 3, `k1` at 4 by a lease that ends at 5.
"""

from math import inf

import pytest

from kvorum.apply.commands import Batch, Command, encode_batch
from kvorum.errors import (
    KeyMissing,
    LeaseNotFound,
    RevisionCompacted,
    RevisionInFuture,
    RpcError,
)
from kvorum.mvcc.record import Record
from kvorum.raft.types import Entry
from kvorum.sim import kvjudge
from kvorum.sim.calls import Answer, Call, KvRequest
from kvorum.sim.history import History, Violation
from kvorum.sim.reference import Reference
from kvorum.v3.answers import DeleteRangeResponse, PutResponse, RangeResponse, TxnResponse
from kvorum.v3.commands import (
    Compact,
    Compare,
    DeleteRange,
    LeaseExpire,
    LeaseGrant,
    Put,
    Range,
    Txn,
)

LEASE = 7
PUTS = (Put(b"k0", b"1"), Put(b"k0", b"2"), Put(b"k1", b"3", LEASE))
ONE = Record(b"k0", b"1", 2, 2, 1)
TWO = Record(b"k0", b"2", 2, 3, 2)
OWNED = Record(b"k1", b"3", 4, 4, 1, LEASE)


class Log:
    """One entry a second."""

    def __init__(self) -> None:
        self.now = 0.0
        self.reference = Reference(lambda: self.now)

    def commit(self, *commands: Command) -> None:
        self.now += 1.0
        index = self.reference.last_index + 1
        data = encode_batch(Batch(index, index + 10, list(commands)))
        self.reference.commit(Entry(1, index, data=data))


def call(
    request: KvRequest, answer: Answer | None = None, invoked: float = 0.0, completed: float = 9.0
) -> Call:
    return Call(
        "v", "p", request, invoked, completed=inf if answer is None else completed, answer=answer
    )


@pytest.fixture
def log() -> Log:
    log = Log()
    log.commit(LeaseGrant(LEASE, 10))
    for put in PUTS:
        log.commit(put)
    log.commit(LeaseExpire(1, [(LEASE, 1)]))
    return log


@pytest.fixture
def asked() -> list[Call]:
    """Who made what is in the log."""
    return [call(put, PutResponse(revision)) for revision, put in enumerate(PUTS, 2)]


def check(calls: list[Call], log: Log) -> None:
    history = History()
    history.calls += calls
    kvjudge.check(calls, history.told(), log.reference)


def test_the_truth_is_no_violation(log: Log, asked: list[Call]) -> None:
    check(asked, log)


@pytest.mark.parametrize(
    "true",
    [
        call(Range(b"k0"), RangeResponse(2, [ONE], more=False, count=1)),
        call(Range(b"k0", b"z"), RangeResponse(4, [TWO, OWNED], more=False, count=2)),
        call(Range(b"k0", b"z"), RangeResponse(5, [TWO], more=False, count=1)),
        call(Range(b"k0", revision=2), RangeResponse(5, [ONE], more=False, count=1)),
        call(Txn([Compare(b"k0", value=b"2")]), TxnResponse(3, False, [])),
        call(DeleteRange(b"k2"), DeleteRangeResponse(3, 0, [])),
    ],
)
def test_a_read_may_show_any_revision(log: Log, asked: list[Call], true: Call) -> None:
    check([*asked, true], log)


@pytest.mark.parametrize(
    ("false", "fault"),
    [
        (call(Range(b"k0"), RangeResponse(3, [ONE], more=False, count=1)), "due was"),
        (call(Range(b"k0", b"z"), RangeResponse(5, [TWO, OWNED], False, 2)), "due was"),
        (call(Range(b"k0"), RangeResponse(1, [ONE], more=False, count=1)), "due was"),
        (call(Range(b"k1"), RangeResponse(4, [], more=False, count=0)), "due was"),
        (call(Txn([Compare(b"k0", number=2)]), TxnResponse(3, False, [])), "due was"),
        (call(DeleteRange(b"k0"), DeleteRangeResponse(3, 0, [])), "due was"),
        (call(DeleteRange(b"k0"), DeleteRangeResponse(6, 1, [])), "not in the log"),
        (call(Put(b"k0", b"4"), PutResponse(6)), "not in the log"),
        (call(Put(b"k0", b"4"), PutResponse(3)), "two writes"),
        (call(Put(b"k0", b"4", prev_kv=True), PutResponse(3, TWO)), "due was"),
    ],
)
def test_an_answer_that_is_not_true_is_found(
    log: Log, asked: list[Call], false: Call, fault: str
) -> None:
    with pytest.raises(Violation, match=fault):
        check([*asked, false], log)


def test_what_nobody_answered_may_be_in_the_log(log: Log, asked: list[Call]) -> None:
    asked[1] = call(PUTS[1])
    check(asked, log)
    check([*asked, call(Put(b"k0", b"9")), call(DeleteRange(b"k0"))], log)


def test_what_nobody_asked_for_is_found(log: Log, asked: list[Call]) -> None:
    with pytest.raises(Violation, match="nobody asked for what was done at 3"):
        check([asked[0], asked[2]], log)


def test_a_call_has_no_effect_before_it_was_sent(log: Log, asked: list[Call]) -> None:
    asked[1] = call(PUTS[1], invoked=3.5)  # it is in the log since 3.0
    with pytest.raises(Violation, match="nobody asked for what was done at 3"):
        check(asked, log)


def test_a_call_nobody_answered_is_done_once(log: Log, asked: list[Call]) -> None:
    log.commit(PUTS[1])
    asked[1] = call(PUTS[1])
    with pytest.raises(Violation, match="nobody asked for what was done at 6"):
        check(asked, log)


def test_what_two_may_have_done_is_laid_to_neither(log: Log, asked: list[Call]) -> None:
    """The deletion is the second's; the first has another branch to be done for."""
    either = Txn([Compare(b"k1", number=2)], [Put(b"k0", b"9")], [DeleteRange(b"k1")])
    puts = Put(b"k1", b"5"), Put(b"k1", b"6"), Put(b"k1", b"7")
    log.commit(puts[0], DeleteRange(b"k1"), *puts[1:], either)
    check([*asked, call(either), call(DeleteRange(b"k1")), *map(call, puts)], log)


def test_a_lease_takes_all_its_keys_and_no_other(asked: list[Call]) -> None:
    log = Log()
    for commands in (LeaseGrant(LEASE, 10), *PUTS, LeaseGrant(8, 10), DeleteRange(b"k1")):
        log.commit(commands)
    log.commit(LeaseExpire(1, [(LEASE, 1)]))
    with pytest.raises(Violation, match="nobody asked for what was done at 5"):
        check(asked, log)


@pytest.mark.parametrize(
    "true",
    [
        call(Put(b"k9", lease=9), LeaseNotFound()),
        call(Put(b"k9", lease=LEASE), LeaseNotFound(), invoked=0.5, completed=0.9),
        call(Put(b"k9", lease=LEASE), LeaseNotFound(), invoked=2.0, completed=5.0),
        call(Put(b"k1", ignore_value=True), KeyMissing()),
        call(Txn([], [Put(b"k1", ignore_lease=True)]), KeyMissing(), invoked=4.5),
        call(Range(b"k0", revision=2), RevisionCompacted()),
        call(Range(b"k0", revision=9), RevisionInFuture()),
    ],
)
def test_a_refusal_may_have_its_reason_at_any_moment(
    log: Log, asked: list[Call], true: Call
) -> None:
    log.commit(Compact(3))
    check([*asked, true], log)


@pytest.mark.parametrize(
    "false",
    [
        call(Put(b"k9", lease=LEASE), LeaseNotFound(), invoked=1.5, completed=4.9),
        call(Put(b"k9"), LeaseNotFound()),
        call(Put(b"k0", ignore_value=True), KeyMissing(), invoked=12.0, completed=13.0),
        call(Range(b"k0", revision=3), RevisionCompacted()),
        call(Range(b"k0", revision=4), RevisionInFuture(), invoked=12.0, completed=13.0),
        call(Put(b"k0"), RpcError()),
    ],
)
def test_a_refusal_without_a_reason_is_found(log: Log, asked: list[Call], false: Call) -> None:
    log.commit(Compact(3))
    with pytest.raises(Violation, match="without a reason"):
        check([*asked, false], log)

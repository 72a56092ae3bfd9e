"""The judge of single files, against known histories, brute force, and real trees."""

import time
from collections.abc import Sequence
from itertools import combinations, permutations
from math import inf
from random import Random  # noqa: TID251 - seeded
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvorum.backend.memory import MemoryBackend
from kvorum.errors import RequestError
from kvorum.mvcc.record import Change, Record
from kvorum.mvcc.store import Store
from kvorum.sim import linearizability
from kvorum.sim.history import Kind, Operation, Outcome, Seen, Violation
from kvorum.sim.linearizability import ABSENT, Undecided, explained, find_fault, step
from kvorum.v2 import commands as v2
from kvorum.v2.node import Action, Event, Node
from kvorum.v2.tree import Tree

KEY = b"/k"


def asked(kind: Kind, invoked: float, completed: float, **fields: Any) -> Operation:
    return Operation("c", "p", kind, KEY, invoked, completed=completed, **fields)


def set_to(
    value: bytes, invoked: float, completed: float, revision: int, prev: Seen | None = None
) -> Operation:
    node = Seen(value, revision, revision)
    outcome = Outcome(revision, node=node, prev=prev)
    return asked(Kind.SET, invoked, completed, value=value, outcome=outcome)


def got(seen: Seen | None, invoked: float, completed: float, revision: int) -> Operation:
    outcome = Outcome(revision, 0 if seen else 100, seen)
    return asked(Kind.GET, invoked, completed, outcome=outcome)


ONE, TWO, THREE = Seen(b"1", 2, 2), Seen(b"2", 3, 3), Seen(b"3", 4, 4)
NO_FILE = Outcome(1, 100)


def maybe_set(value: bytes, invoked: float) -> Operation:
    return asked(Kind.SET, invoked, inf, value=value)


GOOD: dict[str, list[Operation]] = {
    "nothing": [],
    "nothing is found at first": [got(None, 0, 1, 1)],
    "what was set is found": [set_to(b"1", 0, 1, 2), got(ONE, 2, 3, 2)],
    "a read beside a write may see it": [set_to(b"1", 0, 9, 2), got(ONE, 2, 3, 2)],
    "a read beside a write may miss it": [set_to(b"1", 0, 9, 2), got(None, 2, 3, 1)],
    "a write overlaps two": [
        set_to(b"2", 0, 9, 3, ONE),
        set_to(b"1", 1, 2, 2),
        got(ONE, 3, 4, 2),
        got(TWO, 5, 6, 3),
    ],
    "an unknown write was done": [maybe_set(b"1", 0), got(ONE, 5, 6, 2)],
    "an unknown write was not done": [maybe_set(b"1", 0), got(None, 5, 6, 1)],
    "an unknown write is done late": [
        maybe_set(b"1", 0),
        got(None, 5, 6, 1),
        got(ONE, 7, 8, 2),
    ],
    "an unknown write makes another fail": [
        maybe_set(b"1", 0),
        asked(Kind.CREATE, 5, 6, value=b"2", outcome=Outcome(2, 105)),
    ],
    "an unknown update keeps the creation": [
        set_to(b"1", 0, 1, 2),
        asked(Kind.UPDATE, 2, inf, value=b"2"),
        got(Seen(b"2", 5, 2), 5, 6, 7),
    ],
    "an unknown set and an unknown update": [
        maybe_set(b"1", 0),
        asked(Kind.UPDATE, 0.5, inf, value=b"2"),
        got(Seen(b"2", 3, 2), 5, 6, 3),
    ],
    "an unknown delete lets another create": [
        set_to(b"1", 0, 1, 2),
        asked(Kind.DELETE, 2, inf),
        asked(Kind.CREATE, 3, 4, value=b"2", outcome=Outcome(9, node=Seen(b"2", 9, 9))),
    ],
    "a directory went with the file": [
        set_to(b"1", 0, 1, 2),
        asked(Kind.DELETE_TREE, 2, 3, outcome=Outcome(3)),
        got(None, 4, 5, 3),
    ],
    "a time went by": [
        msgspec.structs.replace(
            set_to(b"1", 0, 1, 2), expiration=7, outcome=Outcome(2, node=Seen(b"1", 2, 2, 7))
        ),
        asked(Kind.EXPIRE, 0, inf, expiration=7),
        got(None, 4, 5, 3),
    ],
    "an index compares equal, then no longer": [
        set_to(b"1", 0, 1, 2),
        asked(
            Kind.COMPARE_AND_SWAP,
            2,
            3,
            value=b"2",
            prev_index=2,
            outcome=Outcome(3, node=Seen(b"2", 3, 2), prev=ONE),
        ),
        asked(Kind.COMPARE_AND_DELETE, 4, 5, prev_index=2, outcome=Outcome(3, 101)),
    ],
}

BAD: dict[str, list[Operation]] = {
    "found what nobody wrote": [got(ONE, 0, 1, 2)],
    "a stale read": [set_to(b"1", 0, 1, 2), got(None, 2, 3, 1)],
    "a stale read that tells a new revision": [set_to(b"1", 0, 1, 2), got(None, 2, 3, 5)],
    "a lost write": [set_to(b"1", 0, 1, 2), set_to(b"2", 2, 3, 3)],
    "reads go back": [
        set_to(b"1", 0, 9, 2),
        got(ONE, 1, 2, 2),
        got(None, 3, 4, 2),
    ],
    "a revision twice": [set_to(b"1", 0, 1, 2), set_to(b"2", 2, 3, 2, ONE)],
    "a revision goes back": [
        set_to(b"1", 0, 1, 5),
        set_to(b"2", 2, 3, 4, Seen(b"1", 5, 5)),
    ],
    "an unknown write undone": [
        maybe_set(b"1", 0),
        got(ONE, 5, 6, 2),
        got(None, 7, 8, 3),
    ],
    "an unknown write seen before it was sent": [got(ONE, 0, 1, 2), maybe_set(b"1", 2)],
    "an unknown write done twice": [
        maybe_set(b"1", 0),
        got(ONE, 1, 2, 2),
        set_to(b"2", 3, 4, 3, ONE),
        got(Seen(b"1", 4, 4), 5, 6, 4),
    ],
    "two swaps of one value": [
        set_to(b"1", 0, 1, 2),
        asked(
            Kind.COMPARE_AND_SWAP,
            2,
            9,
            value=b"2",
            prev_value=b"1",
            outcome=Outcome(3, node=Seen(b"2", 3, 2), prev=ONE),
        ),
        asked(
            Kind.COMPARE_AND_SWAP,
            2,
            9,
            value=b"3",
            prev_value=b"1",
            outcome=Outcome(4, node=Seen(b"3", 4, 2), prev=ONE),
        ),
    ],
    "two creations": [
        asked(Kind.CREATE, 0, 9, value=b"1", outcome=Outcome(2, node=ONE)),
        asked(Kind.CREATE, 0, 9, value=b"2", outcome=Outcome(3, node=TWO)),
    ],
    "refused though it is there": [
        set_to(b"1", 0, 1, 2),
        asked(Kind.UPDATE, 2, 3, value=b"2", outcome=Outcome(2, 100)),
    ],
    "refused though it compares equal": [
        set_to(b"1", 0, 1, 2),
        asked(Kind.COMPARE_AND_DELETE, 2, 3, prev_value=b"1", outcome=Outcome(2, 101)),
    ],
    "created though it is there": [
        set_to(b"1", 0, 1, 2),
        asked(Kind.CREATE, 2, 3, value=b"2", outcome=Outcome(3, node=TWO, prev=ONE)),
    ],
    "expired with a time it did not have": [
        set_to(b"1", 0, 1, 2),
        asked(Kind.EXPIRE, 0, inf, expiration=7),
        got(None, 4, 5, 3),
    ],
    "a directory went but not the file": [
        set_to(b"1", 0, 1, 2),
        asked(Kind.DELETE_TREE, 2, 3, outcome=Outcome(3)),
        got(ONE, 4, 5, 3),
    ],
    "a set that kept the creation": [
        set_to(b"1", 0, 1, 2),
        asked(Kind.SET, 2, 3, value=b"2", outcome=Outcome(3, node=Seen(b"2", 3, 2), prev=ONE)),
    ],
    "an answer of no such code": [asked(Kind.DELETE, 0, 1, outcome=Outcome(1, 107))],
}


@pytest.mark.parametrize("name", GOOD)
def test_accepts(name: str) -> None:
    assert find_fault(GOOD[name]) is None


@pytest.mark.parametrize("name", BAD)
def test_refuses_and_shows_where(name: str) -> None:
    fault = find_fault(BAD[name])
    assert fault is not None
    assert "cannot follow" in fault


def brute_force(operations: Sequence[Operation]) -> bool:
    """Every subset of the unknown ones, in every order that keeps real time."""
    certain = [one for one in operations if one.outcome is not None]
    unknown = [one for one in operations if one.outcome is None and one.is_write]
    for count in range(len(unknown) + 1):
        for chosen in combinations(unknown, count):
            if any(is_legal(order) for order in permutations([*certain, *chosen])):
                return True
    return False


def is_legal(order: Sequence[Operation]) -> bool:
    state = ABSENT
    for at, operation in enumerate(order):
        if any(later.completed < operation.invoked for later in order[at + 1 :]):
            return False
        after = step(state, operation)
        if after is None:
            return False
        state = after
    return True


def outcomes(kind: Kind) -> st.SearchStrategy[Outcome | None]:
    seen = st.builds(Seen, st.sampled_from((b"1", b"2")), st.integers(1, 3), st.integers(1, 3))
    revision = st.integers(1, 4)
    refused = st.builds(Outcome, revision, st.sampled_from((100, 101, 105)))
    shown = st.builds(Outcome, revision, st.just(0), seen)
    changed = st.builds(Outcome, revision, st.just(0), st.none() | seen, st.none() | seen)
    return st.one_of(st.none(), refused, shown if kind is Kind.GET else changed)


@st.composite
def wild_histories(draw: st.DrawFn) -> list[Operation]:
    """Arbitrary answers: hardly one of these histories is good."""
    found = []
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from([kind for kind in Kind if kind not in (1, 10)]))
        invoked = draw(st.integers(0, 5))
        operation = asked(kind, invoked, invoked + draw(st.integers(1, 4)))
        operation.value = draw(st.sampled_from((b"1", b"2")))
        operation.prev_value = draw(st.sampled_from((b"", b"1", b"2")))
        operation.prev_index = draw(st.sampled_from((0, 2)))
        operation.outcome = draw(outcomes(kind))
        if operation.outcome is None:
            operation.completed = inf
        found.append(operation)
    return found


COMMANDS: dict[Kind, Any] = {
    Kind.SET: lambda one: v2.Set(one.key, one.value),
    Kind.CREATE: lambda one: v2.Create(one.key, one.value),
    Kind.UPDATE: lambda one: v2.Update(one.key, one.value),
    Kind.COMPARE_AND_SWAP: lambda one: v2.CompareAndSwap(
        one.key, one.value, one.prev_value, one.prev_index
    ),
    Kind.DELETE: lambda one: v2.Delete(one.key),
    Kind.COMPARE_AND_DELETE: lambda one: v2.CompareAndDelete(
        one.key, one.prev_value, one.prev_index
    ),
}
PUTTING = (Kind.SET, Kind.CREATE, Kind.UPDATE, Kind.COMPARE_AND_SWAP)


def real_history(random: Random, count: int, unknown_share: float) -> list[Operation]:
    """What clients of a real tree are told: each asked at random, done at one point of time."""
    store = Store(MemoryBackend())
    tree = Tree(store)
    found = []
    for number in range(count):
        kind = random.choice([Kind.GET, *COMMANDS])
        now = float(number)
        operation = asked(kind, now - random.random() * 6, now + random.random() * 6)
        if kind in PUTTING:
            operation.value = b"v%d" % number
        if kind in (Kind.COMPARE_AND_SWAP, Kind.COMPARE_AND_DELETE):
            record = store.get(KEY)
            if random.random() < 0.5:
                operation.prev_index = record.mod_revision if record else 1
            else:
                operation.prev_value = record.value if record else b"none"
        is_unknown = kind is not Kind.GET and random.random() < unknown_share
        if not is_unknown or random.random() < 0.5:
            outcome = told(store, do(tree, operation))
            operation.outcome = None if is_unknown else outcome
        if is_unknown:
            operation.completed = inf
        found.append(operation)
    return found


def do(tree: Tree, operation: Operation) -> Event | RequestError:
    if operation.kind is Kind.GET:
        return tree.get(operation.key)
    answer = tree.apply(COMMANDS[operation.kind](operation))
    assert answer is not None
    return answer


def told(store: Store, answer: Event | RequestError) -> Outcome:
    if isinstance(answer, RequestError):
        return Outcome(answer.index, answer.v2_code)
    is_read = answer.action is Action.GET
    revision = store.revision if is_read else answer.node.modified_index
    prev = None if answer.prev_node is None else shown(answer.prev_node)
    node = None if answer.node.value is None else shown(answer.node)
    return Outcome(revision, node=node, prev=prev)


def shown(node: Node) -> Seen:
    assert node.value is not None
    return Seen(node.value, node.modified_index, node.created_index, node.expiration)


@given(wild_histories())
@settings(deadline=None, max_examples=100)
def test_agrees_with_brute_force_on_wild_histories(operations: list[Operation]) -> None:
    assert (find_fault(operations) is None) == brute_force(operations)


@given(st.randoms(use_true_random=False), st.integers(1, 6), st.booleans())
@settings(deadline=None, max_examples=200)
def test_agrees_with_brute_force_on_nearly_good_histories(
    random: Random, count: int, is_damaged: bool
) -> None:
    operations = real_history(random, count, 0.3)
    if is_damaged:
        damage(random, operations)
    verdict = find_fault(operations) is None
    assert verdict == brute_force(operations)
    assert verdict or is_damaged


def damage(random: Random, operations: list[Operation]) -> None:
    """Makes one answer another's, or moves one operation in time."""
    victim = random.choice(operations)
    if random.random() < 0.5:
        victim.outcome = random.choice(operations).outcome
        victim.completed = inf if victim.outcome is None else victim.invoked + 6
    else:
        delay = random.random() * 12 - 6
        victim.invoked += delay
        victim.completed += delay


@pytest.mark.parametrize("seed", range(20))
def test_accepts_what_a_real_tree_did(seed: int) -> None:
    assert find_fault(real_history(Random(seed), 100, 0.1)) is None


@pytest.mark.parametrize("seed", range(20))
def test_refuses_a_real_history_with_one_wrong_index(seed: int) -> None:
    random = Random(seed)
    operations = real_history(random, 100, 0.0)
    victim = random.choice([one for one in operations if one.outcome and one.outcome.node])
    assert victim.outcome is not None
    assert victim.outcome.node is not None
    wrong = msgspec.structs.replace(victim.outcome.node, created=victim.outcome.node.created + 1)
    victim.outcome = msgspec.structs.replace(victim.outcome, node=wrong)
    assert find_fault(operations) is not None


def test_is_fast_on_three_hundred_operations() -> None:
    operations = real_history(Random(1), 300, 0.05)
    seconds = min(timed(operations) for _ in range(5))
    assert seconds < 0.1


def timed(operations: Sequence[Operation]) -> float:
    begin = time.process_time()
    assert find_fault(operations) is None
    return time.process_time() - begin


def test_gives_up_where_guesses_have_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linearizability, "POSITIONS_MAX", 100)
    values = [b"%d" % number for number in range(10)]
    guesses = [maybe_set(value, 0) for value in values]
    compared = [
        asked(Kind.COMPARE_AND_SWAP, 50, 51, prev_value=value, outcome=Outcome(1, 100))
        for value in values
    ]
    with pytest.raises(Undecided):
        find_fault([*guesses, set_to(b"x", 20, 21, 50, Seen(b"y", 2, 2)), *compared])


def change(action: Action, revision: int, value: bytes = b"", prev: Record | None = None) -> Change:
    is_put = action in (Action.SET, Action.CREATE, Action.UPDATE, Action.COMPARE_AND_SWAP)
    record = Record(KEY, value, revision, revision, 1, action=action, tombstone=not is_put)
    return Change(record, prev)


def test_the_log_tells_which_unknown_write_was_done() -> None:
    operations = [maybe_set(b"1", 0), maybe_set(b"2", 0)]
    found = explained(KEY, operations, [change(Action.SET, 4, b"2")])
    assert [(one.value, one.outcome) for one in found] == [(b"2", Outcome(4))]
    assert find_fault([*found, got(Seen(b"2", 4, 4), 1, 2, 5)]) is None
    assert find_fault([*found, got(Seen(b"1", 3, 3), 1, 2, 3)]) is not None


def test_the_log_tells_that_a_time_went_by() -> None:
    first = change(Action.SET, 2, b"1")
    first.record.expiration = 7
    node = Seen(b"1", 2, 2, 7)
    sent = msgspec.structs.replace(
        set_to(b"1", 0, 1, 2), expiration=7, outcome=Outcome(2, node=node)
    )
    gone = change(Action.EXPIRE, 3, prev=first.record)
    found = explained(KEY, [sent], [first, gone])
    assert find_fault([*found, got(None, 2, 3, 3)]) is None
    assert find_fault([*found, got(node, 2, 3, 3)]) is not None


def test_one_delete_of_a_directory_explains_many_changes() -> None:
    tree = asked(Kind.DELETE_TREE, 0, inf)
    changes = [
        change(Action.SET, 2, b"1"),
        change(Action.DELETE, 3),
        change(Action.SET, 4, b"2"),
        change(Action.DELETE, 5),
    ]
    for gone in changes[1::2]:
        gone.record.silent = True
    operations = [set_to(b"1", 0, 1, 2), set_to(b"2", 0, 9, 4), tree]
    assert find_fault(explained(KEY, operations, changes)) is None


def test_only_what_compares_equal_can_have_been_done() -> None:
    first = change(Action.SET, 2, b"1")
    gone = change(Action.COMPARE_AND_DELETE, 3, prev=first.record)
    sent = [
        asked(Kind.COMPARE_AND_DELETE, 0, inf, prev_value=b"2"),
        asked(Kind.COMPARE_AND_DELETE, 0, inf, prev_index=1),
        asked(Kind.DELETE, 0, inf),
        asked(Kind.DELETE_TREE, 0, inf),
        asked(Kind.COMPARE_AND_DELETE, 0, inf, prev_value=b"1", prev_index=2),
    ]
    found = explained(KEY, [set_to(b"1", 0, 1, 2), *sent], [first, gone])
    assert [one.prev_index for one in found if one.kind is Kind.COMPARE_AND_DELETE] == [2]
    with pytest.raises(Violation, match="nobody asked"):
        explained(KEY, [set_to(b"1", 0, 1, 2), *sent[:-1]], [first, gone])


def test_an_acknowledged_write_must_be_in_the_log() -> None:
    with pytest.raises(Violation, match="not in the log"):
        explained(KEY, [set_to(b"1", 0, 1, 2)], [])


def test_the_log_holds_only_what_was_asked_for() -> None:
    with pytest.raises(Violation, match="nobody asked"):
        explained(KEY, [maybe_set(b"1", 0)], [change(Action.SET, 2, b"2")])
    written = [change(Action.SET, 2, b"1"), change(Action.SET, 3, b"1")]
    with pytest.raises(Violation, match="nobody asked"):
        explained(KEY, [maybe_set(b"1", 0)], written)

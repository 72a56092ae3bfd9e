"""Changes of the configuration: a table of before, change and after; and what must not be."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvorum.raft.confchange import (
    ConfChangeError,
    changed,
    decode_conf_change,
    encode_conf_change,
)
from kvorum.raft.types import ConfChange, ConfChangeSingle, ConfChangeType, ConfState

V, R, L = ConfChangeType.ADD_VOTER, ConfChangeType.REMOVE, ConfChangeType.ADD_LEARNER


def change(*steps: tuple[ConfChangeType, int]) -> ConfChange:
    return ConfChange(tuple(ConfChangeSingle(kind, member_id) for kind, member_id in steps))


BASE = ConfState(voters=(1, 2, 3), learners=(4,))
JOINT = ConfState(
    voters=(1, 5), learners=(4,), outgoing=(1, 2, 3), learners_next=(2,), auto_leave=True
)


@pytest.mark.parametrize(
    ("before", "what", "after"),
    [
        (ConfState(), change((V, 1)), ConfState(voters=(1,))),
        (BASE, change((V, 5)), ConfState(voters=(1, 2, 3, 5), learners=(4,))),
        (BASE, change((V, 4)), ConfState(voters=(1, 2, 3, 4))),
        (BASE, change((V, 1)), BASE),
        (BASE, change((L, 3)), ConfState(voters=(1, 2), learners=(3, 4))),
        (BASE, change((R, 3)), ConfState(voters=(1, 2), learners=(4,))),
        (BASE, change((R, 4)), ConfState(voters=(1, 2, 3))),
        (BASE, change((R, 9)), BASE),
        (BASE, change((V, 5), (R, 3), (L, 2)), JOINT),
        (JOINT, change(), ConfState(voters=(1, 5), learners=(2, 4))),
        (
            BASE,
            change((R, 1), (V, 4)),
            ConfState(voters=(2, 3, 4), outgoing=(1, 2, 3), auto_leave=True),
        ),
    ],
)
def test_change(before: ConfState, what: ConfChange, after: ConfState) -> None:
    assert changed(before, what) == after


@pytest.mark.parametrize(
    ("before", "what"),
    [
        (BASE, change()),
        (JOINT, change((V, 9))),
        (JOINT, change((V, 9), (V, 8))),
        (ConfState(voters=(1,)), change((R, 1))),
        (ConfState(voters=(1,)), change((L, 1))),
        (ConfState(voters=(1, 2)), change((R, 1), (R, 2))),
        (ConfState(), change((V, 1), (V, 2))),
        (BASE, change((V, 0))),
    ],
)
def test_what_cannot_be_made(before: ConfState, what: ConfChange) -> None:
    with pytest.raises(ConfChangeError):
        changed(before, what)


def test_an_entry_holds_the_change() -> None:
    what = ConfChange((ConfChangeSingle(L, 7),), b"who")
    assert decode_conf_change(encode_conf_change(what)) == what
    with pytest.raises(ConfChangeError):
        decode_conf_change(b"\xff")


def majorities(voters: tuple[int, ...]) -> list[set[int]]:
    size = len(voters) // 2 + 1
    return [set(quorum) for quorum in combinations(voters, size)]


def quorums(conf: ConfState) -> list[set[int]]:
    halves = majorities(conf.outgoing) if conf.outgoing else [set()]
    return [one | other for one in majorities(conf.voters) for other in halves]


steps = st.tuples(st.sampled_from([V, R, L]), st.integers(1, 5))


@given(st.lists(st.lists(steps, max_size=3), min_size=1, max_size=6))
@settings(deadline=None, max_examples=150)
def test_quorums_of_neighbouring_configurations_overlap(
    changes: list[list[tuple[ConfChangeType, int]]],
) -> None:
    conf = ConfState(voters=(1, 2, 3))
    for what in changes:
        try:
            after = changed(conf, change(*what))
        except ConfChangeError:
            continue
        assert not set(after.voters) & set(after.learners)
        assert set(after.learners_next) <= set(after.outgoing)
        assert all(one & other for one in quorums(conf) for other in quorums(after))
        conf = after

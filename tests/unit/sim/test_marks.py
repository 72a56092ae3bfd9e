"""Rare branches: runs meet them, and counting them changes nothing."""

import pytest

from kvorum.raft.log import RaftLog
from kvorum.raft.storage import MemoryStorage
from kvorum.raft.types import Entry
from kvorum.sim.marks import MARKS, counted
from kvorum.sim.run import Options, run

SEEDS = range(1, 31)

RAREST = 3
"""So many branches may need more seeds."""


def cut_back() -> RaftLog:
    log = RaftLog(MemoryStorage(), 0, 0)
    log.append([Entry(1, 1), Entry(1, 2)])
    log.append([Entry(2, 2)])
    return log


def test_a_branch_is_counted_while_it_lasts() -> None:
    original = RaftLog._cut
    with counted() as counts:
        cut_back()
        assert cut_back().last_term == 2, "it still does what it did"
    cut_back()
    assert counts == {"log cut back": 2}
    assert RaftLog._cut is original


def test_a_call_counts_only_if_the_condition_holds() -> None:
    log = cut_back()
    with counted() as counts:
        assert log.is_up_to_date(2, 2)
        assert not counts
        assert not log.is_up_to_date(1, 1)
    assert counts == {"vote refused for an old log": 1}


def test_what_is_wrapped_is_let_go_when_it_fails() -> None:
    original = RaftLog._cut
    with pytest.raises(AssertionError), counted():
        cut_back().append([Entry(3, 9)])
    assert RaftLog._cut is original


@pytest.mark.slow
def test_some_seeds_meet_nearly_every_branch() -> None:
    unmet = set(MARKS)
    for seed in SEEDS:
        unmet -= run(seed, Options(seconds=30.0)).marks.keys()
        if len(unmet) <= RAREST:
            return
    raise AssertionError(f"no seed in {SEEDS} meets {sorted(unmet)}")

"""Small groups gone through whole, and bugs that this must find.

`KVORUM_MUTANTS=all` looks for those that lie deep, too.
"""

import os
from typing import Any

import pytest

from kvorum.raft.log import RaftLog
from kvorum.sim.exhaustive import Bounds, Search, Violation, main
from kvorum.sim.mutants import planted

NOTHING_ELSE = {"proposals": 0, "crashes": 0, "losses": 0, "heartbeats": 0}
STALE = "a read is answered with what was there before it was asked"


def search(**bounds: Any) -> Search:
    return Search(Bounds(**{**NOTHING_ELSE, **bounds}))


def test_one_election_is_gone_through_whole() -> None:
    group = search(terms=1)
    group.run()
    assert group.is_exhausted
    assert group.state_count == 4500


def test_search_stops_at_its_bound_and_tells_how_far_it_came() -> None:
    group = Search(Bounds(states=2000))
    told: list[str] = []
    group.run(lambda: told.append(group.summary()))
    assert not group.is_exhausted
    assert 2000 <= group.state_count < 2050
    assert f"{group.state_count} states" in group.summary()


def test_slice_of_the_whole_keeps_every_rule() -> None:
    Search(Bounds(states=30_000)).run()


def test_slice_behind_a_settled_leader_keeps_every_rule() -> None:
    Search(Bounds(reads=1, copies=1, is_settled=True, states=20_000)).run()


def test_second_election_is_gone_through_whole() -> None:
    group = search(terms=2, losses=1, is_settled=True)
    group.run()
    assert group.is_exhausted
    assert group.state_count == 8689


def test_command_tells_what_it_visited(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--terms=1", *(f"--{name}=0" for name in NOTHING_ELSE)]
    monkeypatch.setattr("sys.argv", ["exhaustive", *arguments])
    assert main() == 0
    assert "4500 states" in capsys.readouterr().out
    with planted("half of the votes, rounded down, are enough"):
        assert main() == 1
    assert "two leaders in one term, after:\n  campaign at 1" in capsys.readouterr().out


DEEP = (
    (
        "a heartbeat carries a commit index that the follower does not have",
        search(terms=2, proposals=1, losses=1, heartbeats=1, is_settled=True),
        "two members hold different entries for committed",
    ),
    (
        "a read is answered before the leader's first commit of its term",
        search(terms=2, proposals=1, reads=1, is_settled=True),
        STALE,
    ),
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("bug", "bounds", "rule"),
    [
        (
            "half of the votes, rounded down, are enough",
            search(terms=1),
            "two leaders in one term",
        ),
        (
            "a leader commits what it has itself",
            search(terms=1),
            "committed without being on the disks of a quorum",
        ),
        (
            "the vote is not written",
            search(terms=1, crashes=1),
            "two leaders in one term",
        ),
        (
            "a member votes for a log that is behind its own",
            search(terms=2, proposals=1, is_settled=True),
            "the leader of term 3 lacks what was committed before",
        ),
        (
            "an entry of an earlier term is committed by counting",
            search(terms=2, proposals=1, is_settled=True),
            "an entry of an earlier term is committed by counting",
        ),
        (
            "a late APPEND cuts off what followed it",
            search(terms=1, proposals=2, copies=1, is_settled=True),
            "committed without being on the disks of a quorum",
        ),
        ("a read is answered without a round", search(reads=1, is_settled=True), STALE),
        ("the answers of an earlier round confirm a read", search(reads=2, is_settled=True), STALE),
        *(DEEP if os.environ.get("KVORUM_MUTANTS") == "all" else ()),
    ],
)
def test_planted_bug_is_found_and_the_way_to_it_told(bug: str, bounds: Search, rule: str) -> None:
    with planted(bug), pytest.raises(Violation, match=rule) as found:
        bounds.run()
    way = str(found.value).splitlines()[1:]
    assert len(way) == bounds.depth + 1


def test_logs_that_are_not_compared_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RaftLog, "matches", lambda *_: True)
    with pytest.raises(Violation):
        search(terms=2, proposals=1).run()

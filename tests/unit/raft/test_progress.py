"""Every transition of a peer's progress, and the window of messages under way."""

from hypothesis import given, settings
from hypothesis import strategies as st

from kvorum.raft.progress import Inflights, Progress, ProgressState


def progress(match: int = 0, following: int = 1, window: int = 3) -> Progress:
    return Progress(2, following, Inflights(window), match=match)


def replicating(match: int = 4, window: int = 3) -> Progress:
    peer = progress(match, match + 1, window)
    peer.become_replicate()
    return peer


@given(st.integers(1, 4), st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=40))
@settings(deadline=None)
def test_inflights_are_a_bounded_sorted_list(
    capacity: int, actions: list[tuple[bool, int]]
) -> None:
    inflights, model, last = Inflights(capacity), list[int](), 0
    for is_add, step in actions:
        if is_add and not inflights.is_full:
            last += step
            inflights.add(last)
            model.append(last)
        elif not is_add:
            inflights.free_to(last - step)
            model = [index for index in model if index > last - step]
        assert len(inflights) == len(model) <= capacity
        assert inflights.is_full == (len(model) == capacity)
    inflights.clear()
    assert len(inflights) == 0


def test_a_probe_waits_for_an_answer() -> None:
    peer = progress()
    peer.sent(2, 0)
    assert not peer.can_send
    assert peer.next == 1
    assert peer.acknowledged(2, 1)
    assert peer.state is ProgressState.REPLICATE
    assert (peer.match, peer.next, peer.can_send) == (2, 3, True)


def test_a_probe_that_matches_what_was_known_ends_probing() -> None:
    peer = progress(4, 5)
    assert not peer.acknowledged(4, 1)
    assert peer.state is ProgressState.REPLICATE


def test_replicating_runs_ahead_until_the_window_is_full() -> None:
    peer = replicating(window=2)
    peer.sent(1, 4)
    peer.sent(3, 4)
    assert (peer.next, peer.can_send_entries) == (9, False)
    peer.acknowledged(5, 1)
    assert peer.can_send_entries
    assert peer.match == 5


def test_a_rejection_while_replicating_goes_back_to_what_matches() -> None:
    peer = replicating()
    peer.sent(2, 4)
    assert not peer.rejected(4, 3)
    assert peer.rejected(6, 3)
    assert (peer.state, peer.next) == (ProgressState.PROBE, 5)


def test_a_rejected_probe_goes_back_to_the_hint() -> None:
    peer = progress(2, 10)
    peer.sent(1, 0)
    assert not peer.rejected(8, 5)
    assert not peer.can_send
    assert peer.rejected(9, 5)
    assert (peer.next, peer.can_send) == (6, True)
    assert peer.rejected(5, 0)
    assert peer.next == 3


def test_a_snapshot_stops_everything_until_it_has_arrived() -> None:
    peer = replicating()
    peer.become_snapshot(9)
    assert not peer.can_send
    assert not peer.rejected(9, 4)
    assert not peer.acknowledged(4, 10)
    assert peer.state is ProgressState.SNAPSHOT
    peer.snapshot_finished(is_installed=True)
    assert (peer.state, peer.next, peer.can_send) == (ProgressState.PROBE, 10, False)


def test_a_lost_snapshot_leaves_the_peer_where_it_was() -> None:
    peer = replicating()
    peer.become_snapshot(9)
    peer.snapshot_finished(is_installed=False)
    assert (peer.state, peer.next, peer.can_send) == (ProgressState.PROBE, 5, False)


def test_a_peer_that_the_log_can_feed_again_leaves_the_snapshot() -> None:
    peer = replicating()
    peer.become_snapshot(9)
    assert peer.acknowledged(7, 10)
    assert peer.state is ProgressState.SNAPSHOT
    assert peer.acknowledged(9, 10)
    assert (peer.state, peer.next) == (ProgressState.REPLICATE, 10)


def test_a_commit_index_is_sent_once_and_only_as_far_as_it_helps() -> None:
    peer = replicating(match=4)
    assert peer.needs_commit(3)
    peer.sent(0, 3)
    assert not peer.needs_commit(3)
    peer.sent(0, 6)
    assert not peer.needs_commit(7)
    peer.become_probe()
    assert not peer.needs_commit(9)
    assert peer.sent_commit <= peer.next - 1

"""What is written down of clients, and how it reads in a report."""

from math import inf

from kvorum.sim.history import History, Kind, Operation, Outcome, Seen


def operation(kind: Kind, key: bytes) -> Operation:
    return Operation("c1", "m1.0", kind, key, 1.5)


def test_an_operation_is_unknown_until_it_is_completed() -> None:
    sent = operation(Kind.SET, b"/k")
    assert sent.completed == inf
    assert not sent.is_done
    sent.outcome = Outcome(3, 105)
    assert not sent.is_done
    sent.outcome = Outcome(3)
    assert sent.is_done


def test_a_directory_is_deleted_with_all_files_below_it() -> None:
    history = History()
    for key in (b"/d/a", b"/d/a/b", b"/da", b"/d"):
        history.add(operation(Kind.SET, key))
    tree = history.add(operation(Kind.DELETE_TREE, b"/d"))
    history.add(operation(Kind.CREATE_IN_ORDER, b"/queue"))
    found = history.by_key()
    assert [key for key, operations in found.items() if tree in operations] == [b"/d/a", b"/d/a/b"]
    assert b"/queue" not in found


def test_an_operation_reads_as_one_line() -> None:
    sent = operation(Kind.COMPARE_AND_SWAP, b"/k")
    sent.value, sent.prev_index = b"new", 4
    assert str(sent) == (
        "[1.500, ?] c1@m1.0 COMPARE_AND_SWAP /k value=b'new' prev_index=4 -> unknown"
    )
    sent.completed = 2.0
    sent.outcome = Outcome(5, node=Seen(b"new", 5, 2), prev=Seen(b"old", 4, 2))
    assert str(sent).endswith("-> done at 5 node b'new'@5/2 prev b'old'@4/2")
    sent.outcome = Outcome(5, 101)
    assert str(sent).endswith("-> refused 101 at 5")

"""What an answer tells besides its content."""

from math import inf

import pytest

from kvorum.errors import LeaseNotFound
from kvorum.sim.calls import Answer, Call
from kvorum.v3.answers import (
    DeleteRangeResponse,
    LeaseRevokeResponse,
    PutResponse,
    RangeResponse,
    TxnResponse,
)
from kvorum.v3.commands import Put

READ = RangeResponse(7, [], more=False, count=0)


@pytest.mark.parametrize(
    ("answer", "revision", "has_written"),
    [
        (None, 0, False),
        (LeaseNotFound(), 0, False),
        (PutResponse(7), 7, True),
        (READ, 7, False),
        (DeleteRangeResponse(7, 0, []), 7, False),
        (DeleteRangeResponse(7, 1, []), 7, True),
        (TxnResponse(7, True, [READ]), 7, False),
        (TxnResponse(7, True, [READ, TxnResponse(0, False, [PutResponse(7)])]), 7, True),
        (LeaseRevokeResponse(7), 7, False),
    ],
)
def test_an_answer_tells_a_revision_and_whether_it_was_written(
    answer: Answer | None, revision: int, has_written: bool
) -> None:
    call = Call("v", "p", Put(b"k"), 1.0, completed=inf, answer=answer)
    assert (call.revision, call.has_written) == (revision, has_written)


def test_a_call_reads_as_one_line() -> None:
    call = Call("v1", "machine1.0", Put(b"k", b"1"), 1.0, is_local=True)
    assert str(call).startswith("[1.000, ?] v1@machine1.0 locally Put(key=b'k', value=b'1'")
    assert str(call).endswith("-> unknown")

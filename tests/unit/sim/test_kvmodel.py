"""The second, plain writing down of the v3 API says the same as the members' code.

The rules themselves have tests of their own (`tests/unit/apply`); here both are asked the same.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvorum.apply.commands import Batch, encode_batch
from kvorum.raft.types import Entry
from kvorum.sim.kvmodel import Kv, Model, face_of
from kvorum.sim.reference import Reference
from kvorum.v3.checks import find_fault
from kvorum.v3.commands import (
    Compare,
    CompareResult,
    CompareTarget,
    DeleteRange,
    Operation,
    Put,
    Range,
    SortOrder,
    SortTarget,
    Txn,
)

KEYS = (b"a", b"b", b"c")


class World:
    """A log of one write after the other."""

    def __init__(self) -> None:
        self.reference = Reference()

    @property
    def revision(self) -> int:
        return self.reference.revision

    def do(self, request: Range | Put | DeleteRange | Txn) -> object:
        """Asks the members' code."""
        index = self.reference.last_index + 1
        kv = self.reference._applier.kv
        if isinstance(request, Range):
            return kv.range(request)
        answers: list[object] = []
        original = kv.operations[type(request)]
        table = self.reference._applier._apply_command

        def note(command: object) -> object:
            answers.append(original(command))
            return answers[-1]

        table[type(request)] = note
        batch = Batch(index, index + 10, [request])
        self.reference.commit(Entry(1, index, data=encode_batch(batch)))
        table[type(request)] = original
        return answers[0]


@pytest.fixture
def world() -> World:
    """`a` stands at 4, in its second version; `b` was there until 5."""
    world = World()
    for request in (Put(b"a", b"1"), Put(b"b", b"2"), Put(b"a", b"3"), DeleteRange(b"b")):
        world.do(request)
    return world


def test_it_sees_every_revision(world: World) -> None:
    model = Model(world.reference, 4)
    assert model.keys(b"a", b"z") == [Kv(b"a", b"3", 2, 4, 2, 0), Kv(b"b", b"2", 3, 3, 1, 0)]
    assert model.keys(b"a", b"z", 2) == [Kv(b"a", b"1", 2, 2, 1, 0)]
    assert Model(world.reference, 5).keys(b"\0", b"\0") == [Kv(b"a", b"3", 2, 4, 2, 0)]


def test_comparisons_look_at_what_was_before_and_operations_at_what_is(world: World) -> None:
    is_new = Compare(b"b", CompareResult.EQUAL, CompareTarget.VERSION, 0)
    inner = Txn([is_new], [Put(b"c", b"4")])
    model = Model(world.reference, 5)
    answer = model.do(Txn([is_new], [Put(b"b", b"1"), Range(b"b"), inner]))
    assert answer == (
        6,
        True,
        ((6, None), (6, (Kv(b"b", b"1", 6, 6, 1, 0),), False, 1), (0, True, ((6, None),))),
    )
    assert [key for key, _ in model.writes] == [b"b", b"c"]


def test_the_members_code_says_the_same(world: World) -> None:
    for request in (
        Range(b"a", b"z", sort_order=SortOrder.DESCEND, sort_target=SortTarget.MOD, limit=1),
        Range(b"a", b"z", revision=3, keys_only=True),
        Put(b"a", prev_kv=True, ignore_value=True),
        DeleteRange(b"a", b"z", prev_kv=True),
    ):
        due = Model(world.reference, world.revision).do(request)
        assert face_of(world.do(request)) == due


_keys = st.sampled_from(KEYS)
_ends = st.sampled_from((b"", b"", b"c", b"z", b"\0"))
_values = st.sampled_from((b"", b"1", b"2"))
_numbers = st.integers(0, 6)
_ranges = st.builds(
    Range,
    _keys,
    _ends,
    limit=st.integers(0, 2),
    sort_order=st.sampled_from(SortOrder),
    sort_target=st.sampled_from(SortTarget),
    keys_only=st.booleans(),
    count_only=st.booleans(),
    min_mod_revision=st.integers(0, 3),
    max_create_revision=st.integers(0, 6),
)
_writes = st.builds(Put, _keys, _values, prev_kv=st.booleans()) | st.builds(
    DeleteRange, _keys, _ends, prev_kv=st.booleans()
)
_compares = st.builds(
    Compare,
    _keys,
    st.sampled_from(CompareResult),
    st.sampled_from(CompareTarget),
    _numbers,
    _values,
    _ends,
)


def _txns(parts: st.SearchStrategy[Operation]) -> st.SearchStrategy[Txn]:
    branch = st.lists(parts, max_size=3)
    return st.builds(Txn, st.lists(_compares, max_size=2), branch, branch)


_requests = st.recursive(_ranges | _writes, _txns, max_leaves=6).filter(
    lambda request: find_fault(request) is None
)


@settings(deadline=None, max_examples=60)
@given(st.lists(_requests, min_size=1, max_size=12))
def test_whatever_is_asked_the_members_code_says_the_same(
    requests: list[Range | Put | DeleteRange | Txn],
) -> None:
    world = World()
    for request in requests:
        model = Model(world.reference, world.revision)
        due = model.do(request)
        assert face_of(world.do(request)) == due
        assert world.revision == model.revision

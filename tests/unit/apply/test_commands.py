"""Batches and changes of membership come back as they were; garbage does not."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvorum.apply.commands import (
    Batch,
    Command,
    MembershipChange,
    SetClusterConfig,
    UpdateMember,
    decode_batch,
    decode_conf_change,
    encode_batch,
    encode_membership_change,
)
from kvorum.membership import ClusterConfig, Member
from kvorum.raft.confchange import encode_conf_change
from kvorum.raft.types import ConfChange, ConfChangeSingle, ConfChangeType
from kvorum.v2 import commands as v2
from kvorum.v3.commands import Compact

MEMBER = Member(1, "one", ("http://127.0.0.1:7001",), ("http://127.0.0.1:4001",), 3, 4)

COMMANDS: list[Command] = [
    v2.Set(b"/a", b"1", expiration=5),
    v2.Create(b"/q", b"1", in_order=True),
    v2.Update(b"/a", b"2"),
    v2.CompareAndSwap(b"/a", b"3", prev_value=b"2", prev_index=7),
    v2.Delete(b"/a"),
    v2.CompareAndDelete(b"/a", prev_value=b"3"),
    v2.Expire(1 << 60),
    UpdateMember(MEMBER),
    SetClusterConfig(ClusterConfig(active_size=3)),
    Compact(100),
]


def test_every_command_comes_back_as_it_was() -> None:
    batch = Batch((1 << 62) + 5, 1 << 40, COMMANDS)
    assert decode_batch(encode_batch(batch)) == batch


def test_every_kind_of_command_is_in_that_test() -> None:
    assert {type(command) for command in COMMANDS} >= set(v2.COMMANDS)


def test_a_change_of_membership_comes_back_as_it_was() -> None:
    change = MembershipChange(5, add=MEMBER, remove=9, birth=(7, True), promote=8)
    step = ConfChangeSingle(ConfChangeType.ADD_VOTER, 1)
    conf_change = ConfChange((step,), encode_membership_change(change))
    assert decode_conf_change(encode_conf_change(conf_change)) == (conf_change, change)


def test_raft_may_leave_a_joint_configuration_without_a_reason() -> None:
    conf_change, change = decode_conf_change(encode_conf_change(ConfChange()))
    assert conf_change == ConfChange()
    assert change.add is None


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_garbage_is_refused_and_nothing_worse(data: bytes) -> None:
    try:
        batch = decode_batch(data)
    except msgspec.DecodeError:
        return
    assert isinstance(batch, Batch)


def test_an_unknown_command_is_refused() -> None:
    data = msgspec.msgpack.encode([1, 2, [[250, b"/a"]]])
    with pytest.raises(msgspec.DecodeError):
        decode_batch(data)

"""Batches and changes of membership come back as they were; garbage does not."""

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
from kvorum.errors import RemoteProtocolError
from kvorum.membership import ClusterConfig, Member
from kvorum.raft.confchange import ConfChangeError, encode_conf_change
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
    except RemoteProtocolError:
        return
    assert isinstance(batch, Batch)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(b"\x92\xcc\xfa\xa2/a", id="unknown"),
        pytest.param(b"\x92\x20\x93\x01\xa1\xff\x90", id="no text"),
        pytest.param(b"\x94\x27\x90\x91" * 100_000, id="nested without end"),
    ],
)
def test_a_command_that_cannot_be_read_is_refused(command: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="cannot be read"):
        decode_batch(b"\x93\x01\x02\x91" + command)


def test_a_change_of_membership_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ConfChangeError):
        decode_conf_change(b"\x91\x01")
    for context in (b"\x01", b"\x92\x01\x93\x01\xa1\xff\x90", b"\x95" + b"\x91" * 100_000):
        with pytest.raises(RemoteProtocolError, match="cannot be read"):
            decode_conf_change(encode_conf_change(ConfChange((), context)))

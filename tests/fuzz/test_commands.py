"""What stands in the entries of the log."""

import msgspec
from hypothesis import given
from tests.fuzz.mutations import fuzz, mutated
from tests.unit.apply.test_commands import COMMANDS, MEMBER

from kvorum.apply.commands import (
    Batch,
    Command,
    MembershipChange,
    SetPeerUrls,
    decode_batch,
    decode_conf_change,
    encode_batch,
    encode_membership_change,
)
from kvorum.errors import KvorumError, RemoteProtocolError
from kvorum.raft.confchange import encode_conf_change
from kvorum.raft.types import ConfChange, ConfChangeSingle, ConfChangeType
from kvorum.v3 import commands as v3

TXN = v3.Txn(
    [v3.Compare(b"k", 1, 2, 3, b"v", b"z")],
    [v3.Put(b"k", b"v"), v3.Txn([], [v3.Range(b"a", b"b")], [None])],
    [v3.DeleteRange(b"k")],
)
V3: list[Command] = [
    TXN,
    v3.LeaseGrant(1, 2),
    v3.LeaseRevoke(1),
    v3.LeaseRenew(1),
    v3.LeaseExpire(1, [(2, 3)]),
]
BATCHES = [
    encode_batch(Batch(1 << 62, 1 << 40, COMMANDS)),
    b"\x94\x01\x02\x90\xc0",  # of a newer version: a field more
    encode_batch(Batch(1, 2, [*V3, SetPeerUrls(1, ("http://h:1",))])),
]
CONTEXT = encode_membership_change(MembershipChange(5, MEMBER, 9, (7, True), 8))
STEPS = tuple(ConfChangeSingle(kind, 7) for kind in ConfChangeType)
CHANGES = [
    encode_conf_change(ConfChange(STEPS, CONTEXT)),
    encode_conf_change(ConfChange()),
    b"\x93\x90\xc4\x00\xc0",
]


@fuzz
@given(mutated(*BATCHES))
def test_a_batch_is_read_or_refused(data: bytes) -> None:
    try:
        batch = decode_batch(data)
    except RemoteProtocolError:
        return
    assert decode_batch(encode_batch(batch)) == batch


@fuzz
@given(mutated(*CHANGES))
def test_a_change_of_membership_is_read_or_refused(data: bytes) -> None:
    try:
        conf_change, change = decode_conf_change(data)
    except KvorumError:
        return
    again = msgspec.structs.replace(conf_change, context=encode_membership_change(change))
    assert decode_conf_change(encode_conf_change(again)) == (again, change)


@fuzz
@given(mutated(CONTEXT))
def test_the_reason_of_a_change_is_read_or_refused(context: bytes) -> None:
    try:
        decode_conf_change(encode_conf_change(ConfChange(STEPS, context)))
    except KvorumError:
        return

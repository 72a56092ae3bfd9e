"""Configuration changes as functions from one ConfState to the next.

A change of one step is simple: it moves at most one voter, so old and new majorities overlap. A
change of several steps enters a joint configuration, in which both majorities decide, and leaves
it with a second entry, a change without steps.

Rules: voters, learners disjoint; learners_next is part of outgoing; outgoing and learners_next are
empty unless joint; at least one voter always.
A voter that becomes a learner stays in `outgoing` until the joint phase ends: hence learners_next.
Source: Raft thesis, chapter 4.
"""

from collections.abc import Sequence

import msgspec

from kvorum.errors import KvorumError
from kvorum.raft.types import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeType,
    ConfState,
    MemberId,
)


class ConfChangeError(KvorumError):
    """A change that cannot be made to this configuration."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ConfChange).decode


def encode_conf_change(change: ConfChange) -> bytes:
    """The data of a CONF_CHANGE entry."""
    return _encode(change)


def decode_conf_change(data: bytes) -> ConfChange:
    """Inverse of `encode_conf_change`. Raises ConfChangeError for anything else."""
    try:
        return _decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ConfChangeError(f"not a configuration change: {error}") from error


def changed(conf_state: ConfState, change: ConfChange) -> ConfState:
    """The configuration after `change`.

    Raises ConfChangeError when it cannot be made.
    """
    if not change.changes:
        return _leave_joint(conf_state)
    if conf_state.outgoing:
        raise ConfChangeError("the last change is still in its joint phase")
    if len(change.changes) == 1:
        return _simple(conf_state, change.changes)
    return _enter_joint(conf_state, change.changes)


def _simple(conf_state: ConfState, steps: Sequence[ConfChangeSingle]) -> ConfState:
    sets = _Sets(conf_state)
    sets.take(steps)
    return sets.conf_state(auto_leave=False)


def _enter_joint(conf_state: ConfState, steps: Sequence[ConfChangeSingle]) -> ConfState:
    if not conf_state.voters:
        raise ConfChangeError("a configuration without voters cannot become joint")
    sets = _Sets(conf_state)
    sets.outgoing = set(conf_state.voters)
    sets.take(steps)
    return sets.conf_state(auto_leave=True)


def _leave_joint(conf_state: ConfState) -> ConfState:
    if not conf_state.outgoing:
        raise ConfChangeError("there is no joint phase to leave")
    learners = sorted({*conf_state.learners, *conf_state.learners_next})
    return ConfState(voters=conf_state.voters, learners=tuple(learners))


class _Sets:
    """A configuration being changed."""

    def __init__(self, conf_state: ConfState) -> None:
        self.voters = set(conf_state.voters)
        self.learners = set(conf_state.learners)
        self.outgoing = set(conf_state.outgoing)
        self.learners_next = set(conf_state.learners_next)

    def take(self, steps: Sequence[ConfChangeSingle]) -> None:
        for step in steps:
            if not step.member_id:
                raise ConfChangeError("a change must name a member")
            _TAKE[step.type](self, step.member_id)
        if not self.voters:
            raise ConfChangeError("the last voter cannot go")

    def add_voter(self, member_id: MemberId) -> None:
        self.remove(member_id)
        self.voters.add(member_id)

    def add_learner(self, member_id: MemberId) -> None:
        self.remove(member_id)
        (self.learners_next if member_id in self.outgoing else self.learners).add(member_id)

    def remove(self, member_id: MemberId) -> None:
        for members in (self.voters, self.learners, self.learners_next):
            members.discard(member_id)

    def conf_state(self, *, auto_leave: bool) -> ConfState:
        assert not self.voters & self.learners, "a member has one seat"
        assert self.learners_next <= self.outgoing, "only a voter on its way out waits"
        return ConfState(
            voters=tuple(sorted(self.voters)),
            learners=tuple(sorted(self.learners)),
            outgoing=tuple(sorted(self.outgoing)),
            learners_next=tuple(sorted(self.learners_next)),
            auto_leave=auto_leave,
        )


_TAKE = {
    ConfChangeType.ADD_VOTER: _Sets.add_voter,
    ConfChangeType.ADD_LEARNER: _Sets.add_learner,
    ConfChangeType.REMOVE: _Sets.remove,
}

"""What a follower does with each message; a learner is a follower that never campaigns.

Rules: an acknowledgement of index i says that the log is durable up to i and equal to the
leader's; it leaves only after the write. A commit index is taken no further than the log is known
to equal the leader's. Requests for the leader are passed on with their source unchanged.
Source: Raft thesis, sections 3.5, 3.10, 5.3 and 6.4.
"""

from kvorum.raft import candidate
from kvorum.raft.core import Raft, ReadState, RoleRules
from kvorum.raft.types import NO_MEMBER, Message, MessageType, SnapshotMeta


def _heard(raft: Raft, message: Message) -> None:
    raft.election_elapsed = 0
    raft.leaderless_ticks = 0
    raft.leader = message.source


def _acknowledge(raft: Raft, message: Message, index: int) -> None:
    response = Message(MessageType.APPEND_RESPONSE, message.source, raft.id, index=index)
    response.commit = raft.log.committed
    raft.send(response)


def _on_append(raft: Raft, message: Message) -> None:
    _heard(raft, message)
    log = raft.log
    if message.index < log.committed:
        # An old message: everything up to the commit index is the leader's anyway.
        _acknowledge(raft, message, log.committed)
        return
    if log.maybe_append(message.index, message.log_term, message.entries):
        last_new = message.index + len(message.entries)
        log.commit_to(min(message.commit, last_new))
        _acknowledge(raft, message, last_new)
        return
    hint, hint_term = log.find_conflict_by_term(message.index, message.log_term)
    response = Message(MessageType.APPEND_RESPONSE, message.source, raft.id, index=message.index)
    response.reject = True
    response.reject_hint, response.log_term = hint, hint_term
    raft.send(response)


def _on_heartbeat(raft: Raft, message: Message) -> None:
    _heard(raft, message)
    raft.log.commit_to(message.commit)
    response = Message(MessageType.HEARTBEAT_RESPONSE, message.source, raft.id)
    response.context = message.context
    response.commit = raft.log.committed
    raft.send(response)


def _on_snapshot(raft: Raft, message: Message) -> None:
    _heard(raft, message)
    assert message.snapshot is not None, "a SNAPSHOT says what it stands for"
    if _restore(raft, message.snapshot):
        _acknowledge(raft, message, raft.log.last_index)
    else:
        _acknowledge(raft, message, raft.log.committed)


def _restore(raft: Raft, snapshot: SnapshotMeta) -> bool:
    """Takes a snapshot in place of the log; False if it is not needed.

    This member need not be part of its configuration: the entry that adds it may follow.
    """
    log = raft.log
    if snapshot.index <= log.committed:
        return False
    if log.matches(snapshot.index, snapshot.term):
        log.commit_to(snapshot.index)
        return False
    log.restore(snapshot)
    raft.switch_to(snapshot.conf_state)
    return True


def _on_timeout_now(raft: Raft, message: Message) -> None:
    del message
    # No pre-vote: the leader has stopped taking proposals and waits for us.
    candidate.campaign(raft, is_transfer=True)


def _pass_on(raft: Raft, message: Message) -> None:
    if raft.leader != NO_MEMBER:
        message.target = raft.leader
        raft.messages.append(message)


def _on_read_index_response(raft: Raft, message: Message) -> None:
    raft.read_states.append(ReadState(message.context, message.index))


RULES = RoleRules(
    {
        MessageType.APPEND: _on_append,
        MessageType.HEARTBEAT: _on_heartbeat,
        MessageType.SNAPSHOT: _on_snapshot,
        MessageType.TIMEOUT_NOW: _on_timeout_now,
        MessageType.PROPOSE: _pass_on,
        MessageType.READ_INDEX: _pass_on,
        MessageType.TRANSFER_LEADER: _pass_on,
        MessageType.READ_INDEX_RESPONSE: _on_read_index_response,
    },
    candidate.tick,
)

"""What a leader does: take proposals, replicate, commit, confirm reads, hand over.

Messages only change what is known; sending happens once for all of them, in `flush`, when the
caller asks for a Ready. So every message, proposal and commit of one turn share an APPEND a peer,
and all reads of a turn share a heartbeat round.

Rules:

    An entry is committed by counting only if it is of the leader's own term (section 3.6.2).
    The leader counts itself by what is durable here, like everybody else (section 10.2.1).
    At most one configuration change is unapplied, and it fits the configuration in force.
    A read is answered with an index not below what was committed when it was asked.
    Who leads without a vote takes no proposals, and leaves when others can lead (`_note_commit`).

Source: Raft thesis, sections 3.5, 3.6, 3.10, 4.1, 4.2, 6.2, 6.4 and 10.2.1.
"""

from kvorum.errors import KvorumError
from kvorum.raft.confchange import ConfChangeError, changed, decode_conf_change, encode_conf_change
from kvorum.raft.core import Raft, ReadState, RoleRules
from kvorum.raft.progress import Progress, ProgressState
from kvorum.raft.readindex import Read
from kvorum.raft.types import (
    NO_MEMBER,
    ConfChange,
    EntryType,
    Index,
    MemberId,
    Message,
    MessageType,
)


class ProposalDropped(KvorumError):
    """A proposal was not taken; it is certain that it is in no log.

    Attributes:
        reason: why, in words for the operator.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


# Time


def tick(raft: Raft) -> None:
    """Heartbeats, and once an election timeout: does a quorum still hear us?"""
    raft.heartbeat_elapsed += 1
    raft.election_elapsed += 1
    if raft.election_elapsed >= raft.config.election_ticks:
        raft.election_elapsed = 0
        raft.transferee = NO_MEMBER
        is_active = raft.tracker.is_quorum_active()
        if raft.config.check_quorum and not is_active and not raft.is_leaving:
            raft.become_follower(raft.term, NO_MEMBER)
            return
    if raft.heartbeat_elapsed >= raft.config.heartbeat_ticks:
        raft.heartbeat_elapsed = 0
        _send_heartbeats(raft, raft.reads.round)


def _send_heartbeats(raft: Raft, read_round: int) -> None:
    committed = raft.log.committed
    for peer in raft.tracker.peers:
        message = Message(MessageType.HEARTBEAT, peer.member_id, raft.id)
        message.commit = min(peer.match, committed)
        message.context = read_round
        raft.send(message)


# Proposals


def propose(raft: Raft, entry_type: EntryType, data: bytes) -> None:
    """Appends an entry. Raises ProposalDropped if it cannot be taken now."""
    if raft.is_leaving:
        raise ProposalDropped("this member is leaving the cluster")
    if raft.transferee != NO_MEMBER:
        raise ProposalDropped("leadership is being handed over")
    uncommitted = raft.uncommitted_bytes
    # A single proposal is always taken, and so are empty ones: progress must not stop on them.
    if data and uncommitted and uncommitted + len(data) > raft.config.uncommitted_bytes_max:
        raise ProposalDropped("too much is waiting to be committed")
    if entry_type is EntryType.CONF_CHANGE:
        _check_conf_change(raft, data)
        raft.pending_conf_index = raft.log.last_index + 1
    raft.append_entry(entry_type, data)


def _check_conf_change(raft: Raft, data: bytes) -> None:
    """With none pending, the configuration in force is the one that the entry will meet."""
    if raft.pending_conf_index > raft.log.applied:
        raise ProposalDropped("another configuration change is under way")
    try:
        changed(raft.tracker.conf_state, decode_conf_change(data))
    except ConfChangeError as error:
        raise ProposalDropped(str(error)) from error


def _on_propose(raft: Raft, message: Message) -> None:
    """A forwarded proposal; one that is not taken is lost, and its proposer times out."""
    for entry in message.entries:
        try:
            propose(raft, entry.type, entry.data)
        except ProposalDropped:
            return


# Replication


def flush(raft: Raft) -> None:
    """Queues the messages that what came in since the last call gives rise to."""
    if raft.is_append_due:
        raft.is_append_due = False
        for peer in raft.tracker.peers:
            while _send_append(raft, peer):
                pass
    if raft.reads.is_round_due:
        _send_heartbeats(raft, raft.reads.begin_round())
        _confirm_reads(raft)  # nobody else to ask, if the others have just been removed


def _send_append(raft: Raft, peer: Progress) -> bool:
    """Sends one APPEND or SNAPSHOT, if something is to be sent; True if more may follow."""
    log = raft.log
    has_entries = peer.next <= log.last_index and peer.can_send_entries
    is_needed = has_entries or peer.is_append_owed or peer.needs_commit(log.committed)
    if not is_needed or not peer.can_send:
        return False
    previous = peer.next - 1
    previous_term = log.find_term(previous)
    if previous_term is None:
        _send_snapshot(raft, peer)
        return False
    message = Message(
        MessageType.APPEND, peer.member_id, raft.id, raft.term, previous, previous_term
    )
    message.commit = log.committed
    if has_entries:
        message.entries = log.entries(peer.next, log.last_index + 1, raft.config.batch_bytes_max)
    peer.sent(len(message.entries), log.committed)
    raft.messages.append(message)
    return has_entries


def _send_snapshot(raft: Raft, peer: Progress) -> None:
    if not peer.is_recently_active:
        return  # nobody would receive it; a heartbeat's answer brings us back here
    snapshot = raft.log.storage.snapshot()
    assert snapshot.index >= raft.log.first_index - 1, "the snapshot does not meet the log"
    peer.become_snapshot(snapshot.index)
    message = Message(MessageType.SNAPSHOT, peer.member_id, raft.id)
    message.snapshot = snapshot
    raft.send(message)


def _on_append_response(raft: Raft, message: Message) -> None:
    peer = raft.tracker.progress.get(message.source)
    if peer is None:
        return
    peer.is_recently_active = True
    raft.is_append_due = True
    if message.reject:
        _on_reject(raft, peer, message)
        return
    assert message.index <= raft.log.last_index, "a follower acknowledged what was never sent"
    if peer.acknowledged(message.index, raft.log.first_index):
        maybe_commit(raft)
    _maybe_hand_over(raft, peer)
    _note_commit(raft, peer, message.commit)


def _on_reject(raft: Raft, peer: Progress, message: Message) -> None:
    hint = message.reject_hint
    if message.log_term:
        # Skips all entries of terms that the follower cannot have at this point.
        hint, _ = raft.log.find_conflict_by_term(hint, message.log_term)
    if peer.rejected(message.index, hint):
        peer.is_append_owed = True


def _on_heartbeat_response(raft: Raft, message: Message) -> None:
    peer = raft.tracker.progress.get(message.source)
    if peer is None:
        return
    peer.is_recently_active = True
    peer.is_waiting = False
    if peer.match < raft.log.last_index or peer.state is ProgressState.PROBE:
        # An APPEND may be lost: even an empty one finds out.
        peer.is_append_owed = True
        raft.is_append_due = True
    if message.context > peer.acknowledged_round:
        peer.acknowledged_round = message.context
        if raft.reads.has_pending:
            _confirm_reads(raft)
    _note_commit(raft, peer, message.commit)


# Commit


def own_log_durable(raft: Raft) -> None:
    """This member's own log became durable further: its acknowledgement counts."""
    own = raft.tracker.progress.get(raft.id)
    if own is not None and raft.log.durable > own.match:
        own.match = raft.log.durable
        own.next = own.match + 1
        maybe_commit(raft)


def maybe_commit(raft: Raft) -> None:
    """Commits what a quorum has, as far as the term began before it."""
    index = raft.tracker.committed_index()
    if index < raft.term_start or not raft.log.commit_to(index):
        return
    raft.is_append_due = True
    for read in raft.reads.take_waiting():
        _register(raft, read)


# Reads


def read_index(raft: Raft, read: Read) -> bool:
    """Takes a read; False if too many wait."""
    if raft.reads.is_full:
        return False
    if raft.log.committed < raft.term_start:
        raft.reads.wait(read)
    else:
        _register(raft, read)
    return True


def _register(raft: Raft, read: Read) -> None:
    if raft.tracker.is_alone:
        read.index = raft.log.committed
        _answer(raft, read)
    else:
        raft.reads.register(read, raft.log.committed)


def _confirm_reads(raft: Raft) -> None:
    own = raft.tracker.progress.get(raft.id)
    if own is not None:
        own.acknowledged_round = raft.reads.round
    for read in raft.reads.confirm(raft.tracker.confirmed_round()):
        _answer(raft, read)


def _answer(raft: Raft, read: Read) -> None:
    if read.source == raft.id:
        raft.read_states.append(ReadState(read.context, read.index))
        return
    message = Message(MessageType.READ_INDEX_RESPONSE, read.source, raft.id, index=read.index)
    message.context = read.context
    raft.send(message)


def _on_read_index(raft: Raft, message: Message) -> None:
    read_index(raft, Read(message.source, message.context))


# Membership and leadership


def configuration_changed(raft: Raft) -> None:
    """A change was applied: quorums may be smaller, someone may be new, or this member gone."""
    raft.is_append_due = True
    raft.is_leaving = not raft.tracker.is_voter(raft.id)
    for peer in raft.tracker.peers:
        peer.is_append_owed = peer.is_append_owed or peer.match == 0
    maybe_commit(raft)
    if raft.reads.has_pending:
        _confirm_reads(raft)
    if raft.transferee not in raft.tracker.conf_state.voters:
        raft.transferee = NO_MEMBER


def _note_commit(raft: Raft, peer: Progress, committed: Index) -> None:
    """Steps down, once it leads without a vote and a quorum knows its whole log to be committed.

    Until then it must stay. A voter that has not heard of the change still counts this member in,
    which cannot campaign any more, and might refuse its vote because its log is longer.
    """
    peer.known_commit = max(peer.known_commit, committed)
    last_index = raft.log.last_index
    if not raft.is_leaving or raft.tracker.known_commit() < last_index:
        return
    voters = raft.tracker.conf_state.voters
    heir = next(p for p in raft.tracker.peers if p.member_id in voters and p.match == last_index)
    raft.send(Message(MessageType.TIMEOUT_NOW, heir.member_id, raft.id))
    raft.become_follower(raft.term, NO_MEMBER)


def applied(raft: Raft) -> None:
    """Leaves a joint configuration by itself, once the change that entered it is applied."""
    if raft.tracker.conf_state.auto_leave and raft.log.applied >= raft.pending_conf_index:
        raft.pending_conf_index = raft.log.last_index + 1
        raft.append_entry(EntryType.CONF_CHANGE, encode_conf_change(ConfChange()))


def _on_transfer_leader(raft: Raft, message: Message) -> None:
    target = message.source
    peer = raft.tracker.progress.get(target)
    is_voter = target in raft.tracker.conf_state.voters
    if peer is None or not is_voter or target in {raft.id, raft.transferee}:
        return
    raft.transferee = target
    raft.election_elapsed = 0  # the hand-over has one election timeout
    if peer.match < raft.log.last_index:
        peer.is_append_owed = True
        raft.is_append_due = True
    _maybe_hand_over(raft, peer)


def _maybe_hand_over(raft: Raft, peer: Progress) -> None:
    if peer.member_id == raft.transferee and peer.match == raft.log.last_index:
        raft.send(Message(MessageType.TIMEOUT_NOW, peer.member_id, raft.id))


def unreachable(raft: Raft, member_id: MemberId) -> None:
    """Messages to a peer were lost: what was sent ahead is not counted on."""
    peer = raft.tracker.progress.get(member_id)
    if peer is not None and peer.state is ProgressState.REPLICATE:
        peer.become_probe()


def snapshot_finished(raft: Raft, member_id: MemberId, *, is_installed: bool) -> None:
    """The transfer of a snapshot has ended."""
    peer = raft.tracker.progress.get(member_id)
    if peer is not None and peer.state is ProgressState.SNAPSHOT:
        peer.snapshot_finished(is_installed=is_installed)


RULES = RoleRules(
    {
        MessageType.APPEND_RESPONSE: _on_append_response,
        MessageType.HEARTBEAT_RESPONSE: _on_heartbeat_response,
        MessageType.PROPOSE: _on_propose,
        MessageType.READ_INDEX: _on_read_index,
        MessageType.TRANSFER_LEADER: _on_transfer_leader,
    },
    tick,
)

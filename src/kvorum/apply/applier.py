"""Committed entries to state: state after = f(state before, entry), the same on every member.

The applier owns the order in which state changes. It reads no clock and draws nothing at random:
all that comes in with the command. A refused request is a returned result; an exception that
leaves `apply` is a bug, and the caller must stop the server.

Rules: entries come in index order, each once (index == applied_index + 1); what an entry changes
and the applied index reach the backend together, so a restart applies exactly what is missing.

The caller: `apply` each committed entry, then answer those who wait for its results, then tell
raft (`applied_to`).
"""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from kvorum.apply.batches import AppliedBatches
from kvorum.apply.commands import (
    Batch,
    MembershipChange,
    SetClusterConfig,
    SetPeerUrls,
    UpdateMember,
    decode_batch,
    decode_conf_change,
)
from kvorum.apply.kv import KV
from kvorum.backend.base import Backend
from kvorum.membership import Attributes, Cluster, Member, MembershipFault
from kvorum.mvcc.lease import Lessor
from kvorum.mvcc.record import Changes
from kvorum.mvcc.store import Store
from kvorum.mvcc.watch import WatchHub
from kvorum.raft.types import ConfChange, Entry, EntryType, MemberId
from kvorum.structs import Untracked
from kvorum.v2 import commands as v2
from kvorum.v2.machinelog import MachineLog
from kvorum.v2.tree import Tree


class Applied(Untracked):
    """The outcome of one batch: `results[i]` answers the batch's command `i`."""

    batch_id: int
    results: list[object]


class MembershipApplied(Struct):
    """A change of membership took effect on the state; raft must be told of `conf_change`.

    Attributes:
        fault: why nothing has changed after all; then raft must not be told.
    """

    change_id: int
    conf_change: ConfChange
    added: Member | None
    removed: Member | None
    fault: MembershipFault | None = None
    promoted: Member | None = None


class Applier:
    """The only function that changes replicated state, with the state it changes."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.store = Store(backend)
        self.tree = Tree(self.store)
        self.lessor = Lessor(self.store)
        self.kv = KV(self.store, self.lessor)
        self.hub = WatchHub(self.store)
        self.cluster = Cluster(backend)
        self.machine_log = MachineLog(self.cluster)
        self._batches = AppliedBatches(backend)
        self.applied_index = 0
        self.applied_term = 0
        self._apply_command: dict[type, Callable[[Any], object]] = {
            UpdateMember: self._update_member,
            SetClusterConfig: self._set_cluster_config,
            SetPeerUrls: self._set_peer_urls,
            **self.kv.operations,
        }
        for command_type in v2.COMMANDS:
            self._apply_command[command_type] = self.tree.apply

    def restore(self) -> None:
        """Reads the state anew from the backend: at start, and after a snapshot was installed."""
        self.store.restore()
        self.lessor.restore()
        self.cluster.restore()
        self.machine_log.update(self.store.revision)
        self._batches.restore()
        self.applied_index, self.applied_term = self._backend.applied

    def apply(self, entry: Entry) -> Applied | MembershipApplied | None:
        """Applies the next committed entry. None for an entry that carries nothing."""
        assert entry.index == self.applied_index + 1, "entries are applied in order, each once"
        outcome: Applied | MembershipApplied | None = None
        if entry.type is EntryType.CONF_CHANGE:
            outcome = self._apply_conf_change(entry)
        elif entry.data:
            batch = decode_batch(entry.data)
            if entry.index <= batch.horizon and batch.id not in self._batches:
                self._batches.add(batch.id, entry.index)
                self.kv.entry = entry
                outcome = Applied(batch.id, self._apply_batch(batch))
        self.applied_index, self.applied_term = entry.index, entry.term
        self._backend.set_applied(entry.index, entry.term)
        return outcome

    def _apply_batch(self, batch: Batch) -> list[object]:
        apply_command = self._apply_command
        results = [apply_command[type(command)](command) for command in batch.commands]
        changes = self.tree.take_changes()
        made = self.kv.take_changes()
        if made:
            changes = sorted(changes + made, key=_revision_of)
        if changes:
            self.hub.notify(changes)
        return results

    def _apply_conf_change(self, entry: Entry) -> MembershipApplied:
        conf_change, change = decode_conf_change(entry.data)
        if change.birth is not None:
            cluster_id, is_legacy = change.birth
            self.cluster.set_attributes(Attributes(cluster_id=cluster_id, is_legacy=is_legacy))
        fault = self.cluster.find_fault(change.add, change.remove)
        if fault is None and change.promote:
            fault = self.cluster.find_promotion_fault(change.promote)
        if fault is not None:
            return MembershipApplied(change.id, conf_change, None, None, fault)
        removed = self._remove(change)
        added = self._add(change)
        self.machine_log.update(self.store.revision)
        promoted = self._promote(change.promote) if change.promote else None
        return MembershipApplied(change.id, conf_change, added, removed, promoted=promoted)

    def _remove(self, change: MembershipChange) -> Member | None:
        removed = self.cluster.remove(change.remove) if change.remove else None
        # A member that comes back under a new id keeps its name: for v2 that is an update.
        if removed and self.cluster.is_legacy and change.add is None:
            self.store.advance()
        return removed

    def _add(self, change: MembershipChange) -> Member | None:
        member = change.add
        if member is None:
            return None
        if self.cluster.is_legacy:
            # A store is born at revision 1: that one is the first machine's.
            revision = self.store.revision if change.birth else self.store.advance()
            member = msgspec.structs.replace(
                member, created_index=revision, modified_index=revision
            )
        self.cluster.put(member)
        return member

    def _promote(self, member_id: MemberId) -> Member:
        """Takes no revision: clients of a 0.4 cluster know the machine since it has its seat."""
        member = msgspec.structs.replace(self.cluster.members[member_id], is_joining=False)
        self.cluster.put(member)
        return member

    def _update_member(self, command: UpdateMember) -> object:
        known = self.cluster.members.get(command.member.id)
        if known is None:
            return None
        peer_urls = known.peer_urls if command.keeps_peer_urls else command.member.peer_urls
        member = msgspec.structs.replace(
            command.member,
            peer_urls=peer_urls,
            created_index=known.created_index,
            is_joining=known.is_joining,  # it may have got its vote since this was proposed
        )
        return self._put(member)

    def _set_peer_urls(self, command: SetPeerUrls) -> object:
        known = self.cluster.members.get(command.member_id)
        if known is None:
            return self.cluster.absence_of(command.member_id)
        fault = self.cluster.find_url_fault(command.peer_urls, known.id)
        return fault or self._put(msgspec.structs.replace(known, peer_urls=command.peer_urls))

    def _put(self, member: Member) -> Member:
        revision = self.store.advance() if self.cluster.is_legacy else 0
        member = msgspec.structs.replace(member, modified_index=revision)
        self.cluster.put(member)
        self.machine_log.update(self.store.revision)
        return member

    def _set_cluster_config(self, command: SetClusterConfig) -> object:
        attributes = msgspec.structs.replace(
            self.cluster.attributes, config=command.config, config_index=self.store.advance()
        )
        self.cluster.set_attributes(attributes)
        self.machine_log.update(self.store.revision)
        return attributes


def _revision_of(changes: Changes) -> int:
    return changes.revision

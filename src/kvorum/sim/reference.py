"""The state as it should be: one replica that never crashes and takes each committed entry once.

The judges give it every entry when the first member commits it. What the log did is then known
for good: the changes of each revision, the bytes of each record, and a mark of the state after
each entry. All members, their watches and their answers are compared with it.

It runs the real applier, so it shares its errors of reason; it shares no restart, no snapshot, no
compaction in slices, no watch, no clock and no disk.

Rules:
    len(terms) == applied index == len(marks) - 1
    places and records hold what was ever written, compacted or not
    a key expires by an `Expire` whose time is not before the key's expiration
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from kvorum.apply.applier import Applied, Applier, MembershipApplied
from kvorum.apply.commands import decode_batch
from kvorum.backend.memory import MemoryBackend
from kvorum.membership import Member
from kvorum.mvcc.lease import Lease
from kvorum.mvcc.record import Change, Changes, encode
from kvorum.mvcc.revision import Revision, pack, to_key
from kvorum.mvcc.sortedkeys import FROM_KEY
from kvorum.raft.confchange import changed
from kvorum.raft.types import Entry, EntryType, Index, MemberId, Term
from kvorum.sim.history import RevisionNumber, Violation
from kvorum.v2 import commands as v2
from kvorum.v2.node import Action
from kvorum.v3.answers import LeaseGrantResponse, LeaseRevokeResponse
from kvorum.v3.commands import LeaseExpire, LeaseRevoke


class Mark(NamedTuple):
    """What of a state is compared at each entry."""

    revision: RevisionNumber
    compacted_revision: RevisionNumber
    key_count: int
    leases: Mapping[int, Lease]


class LeaseLife(Struct):
    """A lease from its grant to its end.

    Attributes:
        granted: the entry that granted it.
        ended: the one that ended it; 0 while it lives.
        is_expired: the leader ended it because its time was over.
    """

    id: int
    ttl: int
    granted: Index
    ended: Index = 0
    is_expired: bool = False


def _never() -> float:
    return 0.0


class _Tap:
    """Watches everything, and keeps what it was told last."""

    def __init__(self) -> None:
        self.taken: list[Changes] = []

    def deliver(self, changes: Changes, matched: Sequence[Change]) -> None:  # noqa: ARG002 -- a Sink
        """Keeps the revision just made."""
        self.taken.append(changes)

    def compacted(self, compacted_revision: int) -> None:
        """Never: it is never behind."""
        raise AssertionError(f"behind at {compacted_revision}")


class Reference:
    """The replica, and all it remembers.

    Attributes:
        terms: the term of each committed entry; index 1 stands first.
        times: when each entry was committed, as `now` told.
        marks: the state after each entry; `marks[0]` is the empty one.
        compactions: every compacted revision there ever was, in order.
        revisions: every revision that has changes, in order.
        changes: those changes.
        places: the place and bytes of each record, by revision: its key in the backend first.
        records: the same bytes by place.
        by_key: all changes of each key, in order.
        made_by: the entry that made each revision.
        lives: all leases there ever were, by id, which is never used twice here.
    """

    def __init__(self, now: Callable[[], float] = _never) -> None:
        self._now = now
        self._applier = Applier(MemoryBackend())
        self._applier.restore()
        self._tap = _Tap()
        self._applier.hub.watch(b"", FROM_KEY, 0, self._tap)
        self.terms: list[Term] = []
        self.times: list[float] = []
        self.marks: list[Mark] = []
        self.marks.append(self._mark())
        self.compactions: list[RevisionNumber] = []
        self.revisions: list[RevisionNumber] = []
        self.changes: dict[RevisionNumber, Changes] = {}
        self.places: dict[RevisionNumber, list[tuple[bytes, bytes]]] = {}
        self.records: dict[Revision, bytes] = {}
        self.by_key: dict[bytes, list[Change]] = {}
        self.made_by: dict[RevisionNumber, Index] = {}
        self.lives: dict[int, LeaseLife] = {}

    @property
    def revision(self) -> RevisionNumber:
        """The newest revision."""
        return self.marks[-1].revision

    @property
    def last_index(self) -> Index:
        """The last committed entry."""
        return len(self.terms)

    @property
    def members(self) -> dict[MemberId, Member]:
        """Who is in the cluster."""
        return self._applier.cluster.members

    def commit(self, entry: Entry) -> None:
        """Takes the next committed entry.

        Raises:
            Violation: it expires a key before its time.
        """
        outcome = self._applier.apply(entry)
        if isinstance(outcome, MembershipApplied) and outcome.fault is None:
            cluster = self._applier.cluster  # who votes decides who can be promoted
            cluster.set_conf_state(changed(cluster.conf_state, outcome.conf_change))
        self.terms.append(entry.term)
        self.times.append(self._now())
        if isinstance(outcome, Applied):
            self._follow_leases(entry, outcome)
        mark = self._mark()
        if mark.compacted_revision != self.marks[-1].compacted_revision:
            self.compactions.append(mark.compacted_revision)
        self.marks.append(mark)
        taken, self._tap.taken = self._tap.taken, []
        for changes in taken:
            self._remember(changes)
            self.made_by[changes.revision] = entry.index
            if changes.changes[0].record.action == Action.EXPIRE:
                _check_expiry(entry, changes)

    def hash_at(self, revision: RevisionNumber) -> int:
        """The hash that every member at the same entry has."""
        return self._applier.store.hash_at(revision)

    def live_at(self, revision: RevisionNumber) -> dict[bytes, Revision]:
        """Where the current record of each live key stands at a revision."""
        live = {}
        for key in self.by_key:
            change = self.find_change(key, revision)
            if change is not None and not change.record.tombstone:
                live[key] = pack(change.record.mod_revision, change.record.sub)
        return live

    def find_change(self, key: bytes, revision: RevisionNumber) -> Change | None:
        """The last change of a key up to a revision."""
        changes = self.by_key.get(key, [])
        at = bisect_right(changes, revision, key=_revision_of)
        # A key may change twice in one revision: an implied directory gets its marker to lose it.
        return changes[at - 1] if at else None

    def revisions_between(
        self, after: RevisionNumber, upto: RevisionNumber
    ) -> Iterator[RevisionNumber]:
        """The revisions with changes in `(after, upto]`, in order."""
        at = bisect_right(self.revisions, after)
        while at < len(self.revisions) and self.revisions[at] <= upto:
            yield self.revisions[at]
            at += 1

    def time_of(self, index: Index) -> float:
        """When an entry was committed."""
        return self.times[index - 1]

    def _follow_leases(self, entry: Entry, outcome: Applied) -> None:
        commands = decode_batch(entry.data).commands
        for command, result in zip(commands, outcome.results, strict=True):
            if isinstance(result, LeaseGrantResponse):
                self.lives[result.id] = LeaseLife(result.id, result.ttl, entry.index)
            elif isinstance(result, LeaseRevokeResponse):
                assert isinstance(command, LeaseRevoke), "nothing else is answered like that"
                self.lives[command.id].ended = entry.index
        # What is gone and was not revoked, in this entry either, has expired.
        for command in commands:
            if isinstance(command, LeaseExpire):
                for lease_id, _ in command.leases:
                    self._may_have_expired(lease_id, entry.index)

    def _may_have_expired(self, lease_id: int, index: Index) -> None:
        life = self.lives.get(lease_id)
        if life is not None and not life.ended and lease_id not in self._applier.lessor.leases:
            life.ended, life.is_expired = index, True

    def _mark(self) -> Mark:
        store, leases = self._applier.store, self._applier.lessor.leases
        known = self.marks[-1].leases if self.marks else {}
        if leases != known:
            known = dict(leases)
        return Mark(store.revision, store.compacted_revision, store.key_count, known)

    def _remember(self, changes: Changes) -> None:
        revision = changes.revision
        self.revisions.append(revision)
        self.changes[revision] = changes
        places = self.places[revision] = []
        for change in changes.changes:
            record = change.record
            place, data = pack(revision, record.sub), encode(record)
            self.records[place] = data
            places.append((to_key(place), data))
            self.by_key.setdefault(record.key, []).append(change)


def _revision_of(change: Change) -> RevisionNumber:
    return change.record.mod_revision


def expire_commands(entry: Entry) -> list[v2.Expire]:
    """The commands of an entry that expire keys."""
    if entry.type is not EntryType.NORMAL or not entry.data:
        return []
    return [one for one in decode_batch(entry.data).commands if type(one) is v2.Expire]


def _check_expiry(entry: Entry, changes: Changes) -> None:
    """What goes because its time is over has an expiration, which has passed."""
    now_ns = max((command.now_ns for command in expire_commands(entry)), default=0)
    for change in changes.changes:
        if change.record.silent:
            continue  # goes with its directory
        expiration = change.prev.expiration if change.prev is not None else 0
        if not 0 < expiration <= now_ns:
            key = change.record.key.decode()
            raise Violation(f"{key} expired at {now_ns} ns, though its time is {expiration}")

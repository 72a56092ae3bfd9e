"""Whether watches told everything, once, in order, and nothing else.

A watch is one wish of one client: every change of a range from some revision on. Connections break
and members die, so it consists of sessions, each with one member, each begun where the one before
it ended. The judge holds what arrived against the `Reference`:

    ordered     revisions rise within a session
    unique      none comes twice, across sessions either
    atomic      a revision comes whole: all its changes in the range, with what they replaced
    reliable    from the first revision asked for to the last one told there is no gap
    resumable   the same across sessions, restarts, installed snapshots and compaction
    punctual    nothing below the revision asked for; at the end everything has been told

"Compacted" is the only excuse, and must be true: history was compacted there, and the watch still
needed something below it.
Source: etcd's guarantees for watches; v3-grpc section 3.
"""

from collections.abc import Sequence

from kvorum.mvcc.record import Change, Changes
from kvorum.mvcc.sortedkeys import FROM_KEY
from kvorum.sim.history import RevisionNumber, Violation
from kvorum.sim.reference import Reference


class Session:
    """What one member told one watch; the sink that the hub is given.

    Attributes:
        process: the member, with its epoch.
        first_revision: nothing below it was asked for.
        told: the revisions delivered, in order of arrival.
        compacted_revision: what the hub said of compaction; None when it said nothing.
    """

    def __init__(self, process: str, first_revision: RevisionNumber) -> None:
        self.process = process
        self.first_revision = first_revision
        self.told: list[tuple[Changes, Sequence[Change]]] = []
        self.compacted_revision: RevisionNumber | None = None
        self._is_closed = False

    @property
    def next_revision(self) -> RevisionNumber:
        """Where another session has to go on."""
        if self.compacted_revision is not None:
            return self.compacted_revision
        return self.told[-1][0].revision + 1 if self.told else self.first_revision

    def deliver(self, changes: Changes, matched: Sequence[Change]) -> None:
        """Takes one revision from the hub."""
        if self.compacted_revision is not None:
            raise Violation(f"{self.process} tells {changes.revision} to a cancelled watch")
        if not self._is_closed:
            self.told.append((changes, tuple(matched)))

    def compacted(self, compacted_revision: int) -> None:
        """The hub has cancelled the watch."""
        if not self._is_closed:
            self.compacted_revision = compacted_revision

    def close(self) -> None:
        """The client has left: what is still told reaches nobody."""
        self._is_closed = True


class Watch:
    """One client's watch.

    Attributes:
        start: first key of the range; `end` as in the hub.
        sessions: oldest first.
        is_left: the client has gone, and is told nothing more.
    """

    def __init__(self, start: bytes, end: bytes | None) -> None:
        self.start = start
        self.end = end
        self.is_left = False
        self.sessions: list[Session] = []

    def begin(self, process: str, first_revision: RevisionNumber) -> Session:
        """Another session, from this revision on."""
        session = Session(process, first_revision)
        self.sessions.append(session)
        return session

    def covers(self, key: bytes) -> bool:
        """Whether a key lies in the range."""
        if self.end is None:
            return key == self.start
        return self.start <= key and (self.end == FROM_KEY or key < self.end)

    def __str__(self) -> str:
        """How a report names it."""
        return f"the watch of [{self.start!r}, {self.end!r})"


def check(watch: Watch, reference: Reference, *, is_current: bool) -> None:
    """Holds all that a watch was told against what happened.

    Args:
        watch: the watch.
        reference: what happened.
        is_current: the last session has had time to tell everything.

    Raises:
        Violation: it was told something else.
    """
    expected = [
        revision
        for revision in reference.revisions
        if any(watch.covers(one.record.key) for one in reference.changes[revision].changes)
    ]
    resume_at = None
    for session in watch.sessions:
        if resume_at not in (None, session.first_revision):
            raise Violation(f"{watch} did not go on at {resume_at}")
        _check_session(watch, session, expected, reference)
        resume_at = session.next_revision
    if is_current and watch.sessions and not watch.is_left:
        _check_current(watch, watch.sessions[-1], expected)


def _check_session(
    watch: Watch, session: Session, expected: Sequence[RevisionNumber], reference: Reference
) -> None:
    where = f"{watch} at {session.process}"
    wanted = iter([one for one in expected if one >= session.first_revision])
    last = session.first_revision - 1
    for changes, matched in session.told:
        revision = changes.revision
        if revision <= last:
            raise Violation(f"{where} was told {revision} after {last}")
        missed = next(wanted, None)
        if revision != missed:
            raise Violation(f"{where} was told {revision} after {last}, due was {missed}")
        last = revision
        _check_content(where, changes, matched, reference.changes[revision], watch)
    compacted = session.compacted_revision
    if compacted is None:
        return
    if compacted not in reference.compactions:
        raise Violation(f"{where} was told of a compaction at {compacted} that never was")
    if last + 1 >= compacted:
        raise Violation(f"{where} was refused at {compacted}, but it needed only {last + 1}")


def _check_content(
    where: str, changes: Changes, matched: Sequence[Change], actual: Changes, watch: Watch
) -> None:
    revision = actual.revision
    if changes != actual:
        raise Violation(f"{where} was told other changes of {revision} than were made")
    due = [change for change in actual.changes if watch.covers(change.record.key)]
    if list(matched) != due:
        raise Violation(f"{where} was told {len(matched)} changes of {revision}, due were {due}")


def _check_current(watch: Watch, session: Session, expected: Sequence[RevisionNumber]) -> None:
    if session.compacted_revision is not None:
        return
    late = [one for one in expected if one >= session.next_revision]
    if late:
        raise Violation(f"{watch} at {session.process} was never told {late[:5]}")

"""Every way a small raft group can go, one state at a time.

Three members, a few terms, proposals and crashes: what one seed in a million meets by chance is
met here for certain, as far as the bounds reach. A state is what the members are, what is on the
way between them, and what has happened so far; from each state every action is taken that can come
next:

    a member's election timeout passes, its next write becomes durable, it crashes and starts again
    a leader is given a proposal or a read, or sends a heartbeat
    the first message of a link arrives, is lost, or arrives and comes once more behind all others

States are visited breadth first and never twice, so the first violation is a shortest one. Links
keep their order, as the streams between members do. What a second leader meets lies deep; a search
that begins where a first one is settled gets there.

What a member does depends on that member alone, so it is computed once for each of its states and
looked up ever after: that is what makes a million states a matter of a minute or two. Members are
told apart only once one has campaigned: the first to do so is member 1, whichever that was.

Rules held in every state (thesis, figure 3.2, and our promise about disks):
    one leader a term; a leader has every entry that leaders of earlier terms have committed
    logs that agree on the term at an index agree up to it
    what one member holds for committed no other contradicts, ever
    what is committed is on the disks of a quorum, and was counted by a leader in its own term
    a read is answered at no lower index than was committed when it was asked
"""

import argparse
import pickle
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from types import FunctionType
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from kvorum.clock import SystemClock
from kvorum.raft.core import RoleRules
from kvorum.raft.rawnode import RaftConfig, RawNode, ReadState
from kvorum.raft.storage import MemoryStorage
from kvorum.raft.types import (
    ConfState,
    Entry,
    HardState,
    Index,
    MemberId,
    Message,
    Role,
    SnapshotMeta,
    Term,
)

MEMBERS = (1, 2, 3)
QUORUM = 2
BIRTH = SnapshotMeta(1, 1, ConfState(voters=MEMBERS))
PROGRESS_STATES = 50_000
"""States between two progress lines."""

LogLine: TypeAlias = tuple[tuple[Term, bytes], ...]
"""Term and data of every entry after the birth's."""

Action: TypeAlias = tuple[str, int]
"""What happens, and at which member; for what links do: the number of the link."""

Links: TypeAlias = tuple[tuple[int, ...], ...]


class Bounds(Struct, frozen=True):
    """How far a search goes.

    Attributes:
        terms: elections begin in so many terms.
        proposals: entries that clients ask for.
        crashes: crashes, of all members together.
        losses: messages that are lost.
        heartbeats: rounds of heartbeats.
        reads: reads that clients ask for.
        copies: messages that arrive a second time.
        is_settled: begins where member 1 leads and all have its first entry; that was one term.
        states: states visited at most.
    """

    terms: int = 2
    proposals: int = 3
    crashes: int = 1
    losses: int = 1
    heartbeats: int = 1
    reads: int = 0
    copies: int = 0
    is_settled: bool = False
    states: int = 1_000_000


class Violation(Exception):
    """A rule was broken; the message says which, and how it came to it."""


class _Write(Struct):
    number: int
    hard_state: HardState | None
    entries: list[Entry]
    messages: list[Message]


class _Member:
    """One member: raft, the log it reads, the disk that survives, and the writes under way."""

    def __init__(self, member_id: MemberId, hard_state: HardState, entries: list[Entry]) -> None:
        self.id = member_id
        self.disk_state = hard_state
        self.disk = list(entries)
        self.writes: list[_Write] = []
        self.answers: list[ReadState] = []
        self.storage = MemoryStorage()
        self.storage.apply_snapshot(BIRTH)
        self.storage.append(entries)
        self.storage.set_hard_state(hard_state)
        # Nobody counts time here: a heartbeat is one tick, and an election timeout never passes.
        config = RaftConfig(
            member_id, _zero, 1_000_000, heartbeat_ticks=1, pre_vote=False, check_quorum=False
        )
        self.raft = RawNode(config, self.storage, BIRTH.index)

    def settle(self) -> list[Message]:
        """Takes every Ready; returns what may leave."""
        sent: list[Message] = []
        while self.raft.has_ready():
            ready = self.raft.ready()
            self.storage.append(ready.entries)
            if ready.hard_state is not None:
                self.storage.set_hard_state(ready.hard_state)
            sent += ready.messages
            self.answers += ready.read_states
            if ready.committed:
                self.raft.applied_to(ready.committed[-1].index)
            if ready.entries or ready.hard_state is not None:
                write = _Write(
                    ready.number, ready.hard_state, ready.entries, ready.messages_after_persist
                )
                self.writes.append(write)
            elif self.writes:
                self.writes[-1].messages += ready.messages_after_persist
            else:
                self.raft.persisted(ready.number)
                sent += ready.messages_after_persist
        return sent

    def persist(self) -> list[Message]:
        """The oldest write becomes durable; returns what may leave."""
        write = self.writes.pop(0)
        if write.hard_state is not None:
            self.disk_state = write.hard_state
        if write.entries:
            self.disk[write.entries[0].index - BIRTH.index - 1 :] = write.entries
        self.raft.persisted(write.number)
        return write.messages + self.settle()


def _zero(bound: int) -> int:
    del bound
    return 0


class _Pickler(pickle.Pickler):
    """Pickles a member; code it refers to is not copied, wherever it comes from."""

    def persistent_id(self, thing: object) -> int | None:
        """The number of a piece of code, None for everything else."""
        if not isinstance(thing, FunctionType | RoleRules):
            return None
        if thing not in _code:
            _code.append(thing)
        return _code.index(thing)


class _Unpickler(pickle.Unpickler):
    """Inverse of `_Pickler`."""

    def persistent_load(self, number: int) -> object:
        """The piece of code with this number."""
        return _code[number]


_code: list[object] = []


def _frozen(member: _Member) -> bytes:
    buffer = BytesIO()
    _Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(member)
    return buffer.getvalue()


def _thawed(data: bytes) -> _Member:
    member = _Unpickler(BytesIO(data)).load()
    assert isinstance(member, _Member)
    return member


class View(Struct, frozen=True):
    """What the rules look at of one state of a member."""

    term: Term
    role: Role
    log: LogLine
    disk: LogLine
    committed: Index
    is_writing: bool
    answers: tuple[tuple[int, Index], ...]


class State(Struct, frozen=True, eq=True):
    """The group: each member's state, each link's messages, and what has happened.

    Attributes:
        members: numbers of member states, in the order of `MEMBERS`.
        links: numbers of messages, oldest first; link `3 * source + target`, counted from 0.
        leaders: who has led, as (term, member).
        committed: the longest log any member has held for committed.
        committed_in: for each of its entries the term of the entry it was committed by, which is
            that of the leader who did it.
        asked: for each read, how many entries were committed when it was asked.
        used: proposals, crashes, losses, heartbeats and copies so far.
    """

    members: tuple[int, int, int]
    links: Links
    leaders: tuple[tuple[Term, MemberId], ...] = ()
    committed: LogLine = ()
    committed_in: tuple[Term, ...] = ()
    asked: tuple[Index, ...] = ()
    used: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)

    def __hash__(self) -> int:
        return hash((self.members, self.links, self.asked, self.used, self.committed))


class _Numbers:
    """Gives equal things the same small number."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self.things: list[bytes] = []

    def of(self, thing: bytes) -> int:
        number = self._numbers.setdefault(thing, len(self.things))
        if number == len(self.things):
            self.things.append(thing)
        return number


class Search:
    """One search within bounds.

    Attributes:
        depth: actions from the birth to the states visited last.
        is_exhausted: every state within the bounds was visited.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._members = _Numbers()
        self._messages = _Numbers()
        self._views: dict[int, View] = {}
        self._steps: dict[tuple[int, str, bytes], tuple[int, tuple[tuple[int, int], ...]]] = {}
        self._came_by: dict[State, tuple[State, Action] | None] = {}
        self.depth = 0
        self.is_exhausted = False

    @property
    def state_count(self) -> int:
        """States found so far."""
        return len(self._came_by)

    def run(self, on_progress: Callable[[], None] | None = None) -> None:
        """Visits states until there are no more, or the bound is reached.

        Raises:
            Violation: a rule is broken.
        """
        first = self._birth()
        if self._bounds.is_settled:
            first = self._settle(self._take(first, ("campaign", 0)))
        self._came_by[first] = None
        queue = deque([(first, 0)])
        while queue and self.state_count < self._bounds.states:
            state, self.depth = queue.popleft()
            for action in self._actions(state):
                after = self._take(state, action)
                if after in self._came_by:
                    continue
                self._came_by[after] = (state, action)
                self._check(state, after)
                queue.append((after, self.depth + 1))
                if on_progress is not None and self.state_count % PROGRESS_STATES == 0:
                    on_progress()
        self.is_exhausted = not queue

    def summary(self) -> str:
        """How far it has come, in a line."""
        return (
            f"{self.state_count} states, {len(self._members.things)} of single members,"
            f" {self.depth} actions deep"
        )

    def _birth(self) -> State:
        born = HardState(BIRTH.term, 0, BIRTH.index)
        numbers = [self._members.of(_frozen(_Member(one, born, []))) for one in MEMBERS]
        return State((numbers[0], numbers[1], numbers[2]), ((),) * len(MEMBERS) ** 2)

    def _settle(self, state: State) -> State:
        """The state once all is written and has arrived."""
        while action := next(self._due(state), None):
            state = self._take(state, action)
        return state

    def _due(self, state: State) -> Iterator[Action]:
        for at, number in enumerate(state.members):
            if self._view(number).is_writing:
                yield "persist", at
        for link, messages in enumerate(state.links):
            if messages:
                yield "deliver", link

    # What can come next.

    def _actions(self, state: State) -> Iterator[Action]:
        bounds = self._bounds
        proposals, crashes, losses, heartbeats, copies = state.used
        yield from self._due(state)
        views = [self._view(number) for number in state.members]
        is_untouched = all(view.term == BIRTH.term for view in views)
        for at, view in enumerate(views):
            if view.role is Role.LEADER:
                if len(state.asked) < bounds.reads:
                    yield "read", at
                if proposals < bounds.proposals:
                    yield "propose", at
                if heartbeats < bounds.heartbeats:
                    yield "heartbeat", at
            elif view.term < BIRTH.term + bounds.terms and (at == 0 or not is_untouched):
                yield "campaign", at
            if crashes < bounds.crashes and not is_untouched:
                yield "crash", at
        for link, messages in enumerate(state.links):
            if messages and losses < bounds.losses:
                yield "lose", link
            if messages and copies < bounds.copies:
                yield "copy", link

    def _take(self, state: State, action: Action) -> State:
        kind, at = action
        proposals, crashes, losses, heartbeats, copies = state.used
        links = list(state.links)
        asked = state.asked
        argument = b""
        if kind in _ON_LINKS:
            first = links[at][0]
            argument = self._messages.things[first]
            links[at] = links[at][1:] + ((first,) if kind == "copy" else ())
            losses += kind == "lose"
            copies += kind == "copy"
            at %= len(MEMBERS)
        elif kind == "propose":
            argument = b"%d" % proposals
            proposals += 1
        elif kind == "read":
            argument = b"%d" % len(asked)
            asked = (*asked, len(state.committed))
        crashes += kind == "crash"
        heartbeats += kind == "heartbeat"
        members = list(state.members)
        if kind != "lose":
            members[at], sent = self._step(members[at], kind, argument)
            for target, message in sent:
                link = len(MEMBERS) * at + target
                links[link] = (*links[link], message)
        view = self._view(members[at])
        leaders = state.leaders
        if view.role is Role.LEADER and (view.term, MEMBERS[at]) not in leaders:
            leaders = tuple(sorted((*leaders, (view.term, MEMBERS[at]))))
        held = view.log[: view.committed]
        committed, committed_in = state.committed, state.committed_in
        if len(held) > len(committed):
            committed_in += (held[-1][0],) * (len(held) - len(committed))
            committed = held
        return State(
            (members[0], members[1], members[2]),
            tuple(links),
            leaders,
            committed,
            committed_in,
            asked,
            (proposals, crashes, losses, heartbeats, copies),
        )

    def _step(
        self, number: int, kind: str, argument: bytes
    ) -> tuple[int, tuple[tuple[int, int], ...]]:
        """What a member becomes, and what it sends to whom; computed once."""
        known = self._steps.get((number, kind, argument))
        if known is None:
            member = _thawed(self._members.things[number])
            if kind == "crash":
                member = _Member(member.id, member.disk_state, member.disk)
                sent = member.settle()
            elif kind == "persist":
                sent = member.persist()
            else:
                _INPUTS[kind](member.raft, argument)
                sent = member.settle()
            after = self._members.of(_frozen(member))
            known = (after, tuple(self._addressed(message) for message in sent))
            self._steps[number, kind, argument] = known
        return known

    def _addressed(self, message: Message) -> tuple[int, int]:
        encoded = msgspec.msgpack.encode(message)
        return MEMBERS.index(message.target), self._messages.of(encoded)

    def _view(self, number: int) -> View:
        view = self._views.get(number)
        if view is None:
            member = _thawed(self._members.things[number])
            status = member.raft.status()
            storage = member.storage
            log = storage.entries(storage.first_index(), storage.last_index() + 1, 1 << 30)
            view = self._views[number] = View(
                term=status.term,
                role=status.role,
                log=_line(log),
                disk=_line(member.disk),
                committed=status.commit - BIRTH.index,
                is_writing=bool(member.writes),
                answers=tuple((one.context, one.index) for one in member.answers),
            )
        return view

    # The rules.

    def _check(self, before: State, after: State) -> None:
        views = [self._view(number) for number in after.members]
        for fault in self._faults(before, after, views):
            raise Violation("\n  ".join([f"{fault}, after:", *self._way_to(after)]))

    def _faults(self, before: State, after: State, views: Sequence[View]) -> Iterator[str]:
        terms = [term for term, _ in after.leaders]
        if len(set(terms)) < len(terms):
            yield "two leaders in one term"
        for term, leader in set(after.leaders) - set(before.leaders):
            # One that is elected late knows nothing of what later leaders have committed.
            count = sum(one < term for one in before.committed_in)
            if views[MEMBERS.index(leader)].log[:count] != before.committed[:count]:
                yield f"the leader of term {term} lacks what was committed before"
        for view in views:
            held = view.log[: view.committed]
            if len(held) < view.committed:
                yield "a commit index beyond the log"
            if held != after.committed[: len(held)]:
                yield "two members hold different entries for committed"
        if len(after.committed) > len(before.committed) and not any(
            view.role is Role.LEADER
            and view.committed == len(after.committed)
            and view.term == after.committed_in[-1]
            for view in views
        ):
            yield "an entry of an earlier term is committed by counting"
        holders = [view.disk[: len(after.committed)] == after.committed for view in views]
        if sum(holders) < QUORUM:
            yield "committed without being on the disks of a quorum"
        for context, index in {answer for view in views for answer in view.answers}:
            if index - BIRTH.index < after.asked[context]:
                yield "a read is answered with what was there before it was asked"
        if not all(_match(one.log, other.log) for one in views for other in views):
            yield "two logs agree on a term and differ before it"

    def _way_to(self, state: State) -> list[str]:
        way: list[str] = []
        step = self._came_by[state]
        while step is not None:
            state, (kind, at) = step
            if kind in _ON_LINKS:
                data = self._messages.things[state.links[at][0]]
                message = msgspec.msgpack.decode(data, type=Message)
                words = f"{message.type.name} of term {message.term}, index {message.index}"
                where = f"{MEMBERS[at // len(MEMBERS)]} to {MEMBERS[at % len(MEMBERS)]}"
                way.append(f"{kind} {words}, from {where}")
            else:
                way.append(f"{kind} at {MEMBERS[at]}")
            step = self._came_by[state]
        return way[::-1]


def _propose(raft: RawNode, data: bytes) -> None:
    raft.propose(data)


def _campaign(raft: RawNode, _: bytes) -> None:
    raft.campaign()


def _read(raft: RawNode, context: bytes) -> None:
    raft.read_index(int(context))


def _heartbeat(raft: RawNode, _: bytes) -> None:
    raft.tick()


def _deliver(raft: RawNode, data: bytes) -> None:
    raft.step(msgspec.msgpack.decode(data, type=Message))


_INPUTS: dict[str, Any] = {
    "propose": _propose,
    "campaign": _campaign,
    "heartbeat": _heartbeat,
    "deliver": _deliver,
    "copy": _deliver,
    "read": _read,
}

_ON_LINKS = frozenset(("deliver", "lose", "copy"))


def _line(entries: Sequence[Entry]) -> LogLine:
    return tuple((entry.term, entry.data) for entry in entries)


def _match(one: LogLine, other: LogLine) -> bool:
    """Whether two logs agree up to the last index where they agree on the term."""
    for at in reversed(range(min(len(one), len(other)))):
        if one[at][0] == other[at][0]:
            return one[: at + 1] == other[: at + 1]
    return True


def main() -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m kvorum.sim.exhaustive",
        description="Try every way in which a group of three raft members can go.",
    )
    defaults = Bounds()
    for name, text in (
        ("terms", "terms in which elections begin"),
        ("proposals", "entries that clients ask for"),
        ("crashes", "crashes of members"),
        ("losses", "messages that are lost"),
        ("heartbeats", "rounds of heartbeats"),
        ("reads", "reads that clients ask for"),
        ("copies", "messages that arrive a second time"),
        ("states", "states to visit at most"),
    ):
        default = getattr(defaults, name)
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{text} ({default})")
    parser.add_argument(
        "--settled", dest="is_settled", action="store_true", help="begin where a leader is settled"
    )
    search = Search(Bounds(**vars(parser.parse_args())))
    clock = SystemClock()
    began = clock.monotonic()

    def tell() -> None:
        rate = search.state_count / (clock.monotonic() - began)
        print(f"{search.summary()}; {rate:.0f} states a second", flush=True)

    try:
        search.run(tell)
    except Violation as violation:
        print(violation)
        return 1
    print(search.summary() + ("; that is all there is" if search.is_exhausted else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())

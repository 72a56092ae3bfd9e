"""Members without a disk or a network: what a test of one role, or of a few members, needs."""

from collections.abc import Callable, Collection

import pytest

from kvorum.raft.confchange import decode_conf_change
from kvorum.raft.rawnode import RaftConfig, RawNode, ReadState
from kvorum.raft.storage import MemoryStorage
from kvorum.raft.types import (
    ConfState,
    Entry,
    EntryType,
    HardState,
    Message,
    SnapshotMeta,
)


class Member(RawNode):
    """A RawNode with its storage; `work` does everything at once."""

    def __init__(
        self,
        member_id: int = 1,
        voters: tuple[int, ...] = (1, 2, 3),
        learners: tuple[int, ...] = (),
        log: tuple[int, ...] = (),
        **settings: int,
    ) -> None:
        """`log` gives the terms of the entries after 1/1; the term is the last of them."""
        term = log[-1] if log else 1
        self.storage = MemoryStorage()
        self.storage.apply_snapshot(SnapshotMeta(1, 1, ConfState(voters, learners)))
        self.storage.append([Entry(t, index + 2, data=b"x") for index, t in enumerate(log)])
        self.storage.set_hard_state(HardState(term, 0, 1))
        self.applied: list[Entry] = []
        self.reads: list[ReadState] = []
        config = RaftConfig(
            member_id=member_id,
            random_below=lambda bound: bound // 2,
            election_ticks=10,
            heartbeat_ticks=3,
        )
        for name, value in settings.items():
            setattr(config, name, value)
        super().__init__(config, self.storage, 1)

    def work(self) -> list[Message]:
        """Carries out every Ready; returns the messages, in the order in which they may leave."""
        messages: list[Message] = []
        while self.has_ready():
            ready = self.ready()
            if ready.snapshot is not None:
                self.storage.apply_snapshot(ready.snapshot)
            if ready.hard_state is not None:
                self.storage.set_hard_state(ready.hard_state)
            self.storage.append(ready.entries)
            messages += ready.messages
            for entry in ready.committed:
                if entry.type is EntryType.CONF_CHANGE:
                    self.apply_conf_change(decode_conf_change(entry.data))
            self.applied += ready.committed
            if ready.committed:
                self.applied_to(ready.committed[-1].index)
            self.reads += ready.read_states
            self.persisted(ready.number)
            messages += ready.messages_after_persist
        return messages

    def ticks(self, count: int) -> None:
        for _ in range(count):
            self.tick()

    @property
    def terms(self) -> list[int]:
        """The terms of the log's entries, from index 2 on."""
        high = self.storage.last_index() + 1
        return [entry.term for entry in self.storage.entries(2, high, 1 << 30)]


class Group(dict[int, Member]):
    """Some members, and a network that delivers all but what is cut off."""

    def settle(self, *, without: Collection[int] = ()) -> None:
        """Delivers messages until there are none."""
        while True:
            messages = [m for member in self.values() for m in member.work()]
            if not messages:
                return
            for message in messages:
                if not {message.source, message.target} & set(without):
                    self[message.target].step(message)


@pytest.fixture
def new_member() -> Callable[..., Member]:
    return Member


@pytest.fixture
def new_group() -> Callable[..., Group]:
    def make(count: int = 3, **settings: int) -> Group:
        voters = tuple(range(1, count + 1))
        return Group({i: Member(i, voters, (), (), **settings) for i in voters})

    return make


@pytest.fixture
def led_group(new_group: Callable[..., Group]) -> Callable[..., Group]:
    """A group whose member 1 leads term 2."""

    def make(count: int = 3, **settings: int) -> Group:
        group = new_group(count, **settings)
        group[1].campaign()
        group.settle()
        return group

    return make

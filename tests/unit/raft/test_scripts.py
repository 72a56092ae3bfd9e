"""Scenario scripts: tests/data/raft/*.txt, each command with everything that came of it.

A script is commands, each followed by `----` and its full output. `KVORUM_REWRITE=1` writes the
outputs anew; a person then reads the difference. Randomness is off: elections time out after 15
ticks, and a leader counts as alive for 10. The words are those of etcd's interaction scripts:

    add-nodes 3 voters=(1,2,3) learners=(4) index=10 async=true inflight=2 batch=1 uncommitted=8
    elect 1 (campaign and stabilize, unseen) | campaign 1 | propose 1 text | read-index 1 7
    propose-conf-change 1 v4 l5 r1 | transfer-leadership 1 3
    tick-heartbeat 1 | tick-election 1 | tick 1 3
    process-ready 1 | process-append 1 | deliver-msgs 1 2 drop=(3) | stabilize [1 2]
    compact 1 11 | step-snapshot 1 2 | report-snapshot 1 2 failed | report-unreachable 1 2
    crash 1 | restart 1 | raft-log 1 | status 1
"""

import os
import re
from pathlib import Path

import pytest

from kvorum.raft.confchange import decode_conf_change
from kvorum.raft.rawnode import ProposalDropped, RaftConfig, RawNode, Ready
from kvorum.raft.storage import MemoryStorage
from kvorum.raft.types import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeType,
    ConfState,
    Entry,
    EntryType,
    HardState,
    Message,
    MessageType,
    Role,
    SnapshotMeta,
)

SCRIPTS = Path(__file__).parents[2] / "data" / "raft"
ROUNDS_MAX = 100


def show_entry(entry: Entry) -> str:
    if entry.type is EntryType.CONF_CHANGE:
        steps = decode_conf_change(entry.data).changes
        what = " ".join(f"{step.type.name}:{step.member_id}" for step in steps) or "LEAVE_JOINT"
        return f"{entry.term}/{entry.index} {what}"
    return f'{entry.term}/{entry.index} "{entry.data.decode()}"'


def show_conf(conf: ConfState) -> str:
    parts = [f"voters={conf.voters}"]
    parts += [f"outgoing={conf.outgoing}"] if conf.outgoing else []
    parts += [f"learners={conf.learners}"] if conf.learners else []
    parts += [f"learners_next={conf.learners_next}"] if conf.learners_next else []
    return " ".join(parts + (["auto_leave"] if conf.auto_leave else []))


def show_message(message: Message) -> str:
    parts = [f"{message.source}->{message.target} {message.type.name}"]
    parts += [f"term={message.term}"] if message.term else []
    if message.type in {MessageType.APPEND, MessageType.VOTE, MessageType.PRE_VOTE}:
        parts.append(f"log={message.log_term}/{message.index}")
    elif message.index:
        parts.append(f"index={message.index}")
    if message.reject:
        parts.append("rejected")
    if message.reject and message.type is MessageType.APPEND_RESPONSE:
        parts.append(f"hint={message.log_term}/{message.reject_hint}")
    parts += [f"commit={message.commit}"] if message.commit else []
    parts += [f"context={message.context}"] if message.context else []
    if message.snapshot is not None:
        parts.append(f"snapshot={message.snapshot.term}/{message.snapshot.index}")
    if message.entries:
        parts.append("[" + ", ".join(map(show_entry, message.entries)) + "]")
    return " ".join(parts)


def show_hard_state(state: HardState) -> str:
    return f"term={state.term} vote={state.vote} commit={state.commit}"


class Node:
    """A member with its storage, and with the writes that are not durable yet."""

    def __init__(self, config: RaftConfig, meta: SnapshotMeta, *, is_async: bool) -> None:
        self.config = config
        self.is_async = is_async
        self.storage = MemoryStorage()
        if meta.index:
            self.storage.apply_snapshot(meta)
        self.storage.set_hard_state(HardState(meta.term, 0, meta.index))
        self.durable_entries: list[Entry] = []
        self.durable_hard_state = HardState(meta.term, 0, meta.index)
        self.applied = meta
        self.raft = RawNode(config, self.storage, meta.index)
        self.writes: list[Ready] = []

    def restart(self) -> None:
        """Forgets all that was not written; the state machine is back at its last snapshot."""
        meta = self.storage.snapshot()
        self.storage = MemoryStorage()
        self.storage.apply_snapshot(meta)
        self.storage.append([e for e in self.durable_entries if e.index > meta.index])
        self.storage.set_hard_state(self.durable_hard_state)
        self.applied = meta
        self.writes = []
        self.raft = RawNode(self.config, self.storage, meta.index)


class Runner:
    """Carries out the commands of one script."""

    def __init__(self) -> None:
        self.nodes: dict[int, Node] = {}
        self.network: list[Message] = []
        self.down: set[int] = set()
        self.lines: list[str] = []

    def run(self, line: str) -> str:
        name, *words = re.sub(r"\(([^)]*)\)", lambda m: m[1].replace(" ", ""), line).split()
        options = dict(word.split("=", 1) for word in words if "=" in word)
        arguments = [word for word in words if "=" not in word]
        self.lines = []
        try:
            getattr(self, name.replace("-", "_"))(*arguments, **options)
        except ProposalDropped as error:
            self.lines.append(f"dropped: {error}")
        return "\n".join(self.lines or ["ok"])

    def say(self, text: str, depth: int = 0) -> None:
        self.lines.append("  " * depth + text)

    # Inputs

    def add_nodes(
        self, count: str, voters: str = "", learners: str = "", index: str = "1", **options: str
    ) -> None:
        meta = SnapshotMeta(
            int(index),
            1 if int(index) else 0,
            ConfState(voters=self.ids(voters), learners=self.ids(learners)),
        )
        for _ in range(int(count)):
            member_id = len(self.nodes) + 1
            config = RaftConfig(
                member_id=member_id,
                random_below=lambda bound: bound // 2,
                election_ticks=10,
                heartbeat_ticks=3,
                inflight_max=int(options.get("inflight", "256")),
                batch_bytes_max=int(options.get("batch", "1000000")),
                uncommitted_bytes_max=int(options.get("uncommitted", "1000000")),
                pre_vote=options.get("pre_vote", "true") == "true",
            )
            is_async = options.get("async") == "true"
            self.nodes[member_id] = Node(config, meta, is_async=is_async)

    @staticmethod
    def ids(text: str) -> tuple[int, ...]:
        return tuple(int(word) for word in text.split(",") if word)

    def node(self, word: str) -> Node:
        return self.nodes[int(word)]

    def campaign(self, who: str) -> None:
        self.node(who).raft.campaign()

    def elect(self, who: str) -> None:
        self.campaign(who)
        self.stabilize()
        self.lines = []

    def propose(self, who: str, data: str) -> None:
        self.node(who).raft.propose(data.encode())

    def propose_conf_change(self, who: str, *steps: str) -> None:
        kinds = {
            "v": ConfChangeType.ADD_VOTER,
            "l": ConfChangeType.ADD_LEARNER,
            "r": ConfChangeType.REMOVE,
        }
        changes = tuple(ConfChangeSingle(kinds[step[0]], int(step[1:])) for step in steps)
        self.node(who).raft.propose_conf_change(ConfChange(changes))

    def read_index(self, who: str, context: str) -> None:
        if not self.node(who).raft.read_index(int(context)):
            self.say("cannot be asked")

    def transfer_leadership(self, who: str, target: str) -> None:
        self.node(who).raft.transfer_leadership(int(target))

    def tick(self, who: str, count: str = "1") -> None:
        for _ in range(int(count)):
            self.node(who).raft.tick()

    def tick_heartbeat(self, who: str) -> None:
        self.tick(who, "3")

    def tick_election(self, who: str) -> None:
        self.tick(who, "15")

    def report_unreachable(self, who: str, peer: str) -> None:
        self.node(who).raft.report_unreachable(int(peer))

    def report_snapshot(self, who: str, peer: str, outcome: str) -> None:
        self.node(who).raft.report_snapshot(int(peer), outcome == "finished")

    def step_snapshot(self, source: str, target: str) -> None:
        """A snapshot of what `source` has applied arrives at `target`."""
        message = Message(MessageType.SNAPSHOT, int(target), int(source))
        message.term = self.node(source).raft.status().term
        message.snapshot = self.node(source).applied
        self.say(show_message(message), 1)
        self.node(target).raft.step(message)

    def compact(self, who: str, index: str) -> None:
        node = self.node(who)
        node.storage.set_snapshot_meta(node.applied)
        node.storage.compact(int(index))

    def crash(self, who: str) -> None:
        self.down.add(int(who))

    def restart(self, who: str) -> None:
        self.down.discard(int(who))
        self.node(who).restart()

    # Work

    def process_ready(self, *who: str) -> None:
        for word in who:
            self._process_ready(int(word))

    def _process_ready(self, member_id: int) -> None:
        node = self.nodes[member_id]
        if not node.raft.has_ready():
            self.say(f"> {member_id} has nothing to do")
            return
        ready = node.raft.ready()
        self.say(f"> {member_id} handles Ready {ready.number}")
        if ready.soft_state is not None:
            self.say(f"{ready.soft_state.role.name} leader={ready.soft_state.leader}", 1)
        if ready.hard_state is not None:
            node.storage.set_hard_state(ready.hard_state)
            self.say(show_hard_state(ready.hard_state), 1)
        if ready.snapshot is not None:
            node.storage.apply_snapshot(ready.snapshot)
            node.applied = ready.snapshot
            self.say(f"snapshot {ready.snapshot.term}/{ready.snapshot.index}", 1)
        node.storage.append(ready.entries)
        for entry in ready.entries:
            self.say(f"append {show_entry(entry)}", 1)
        self.send(ready.messages)
        self.apply(node, ready.committed)
        for state in ready.read_states:
            self.say(f"read {state.context} at index {state.index}", 1)
        node.writes.append(ready)
        if not node.is_async:
            self.persist(node)

    def apply(self, node: Node, entries: list[Entry]) -> None:
        for entry in entries:
            self.say(f"apply {show_entry(entry)}", 1)
            conf = node.applied.conf_state
            if entry.type is EntryType.CONF_CHANGE:
                conf = node.raft.apply_conf_change(decode_conf_change(entry.data))
                self.say(f"now {show_conf(conf)}", 1)
            node.applied = SnapshotMeta(entry.index, entry.term, conf)
        if entries:
            node.raft.applied_to(entries[-1].index)

    def process_append(self, who: str) -> None:
        """The oldest write becomes durable."""
        node = self.node(who)
        self.say(f"> {who} has written Ready {node.writes[0].number}")
        self.persist(node)

    def persist(self, node: Node) -> None:
        ready = node.writes.pop(0)
        if ready.snapshot is not None:
            node.durable_entries = []
        if ready.entries:
            first = ready.entries[0].index
            kept = [entry for entry in node.durable_entries if entry.index < first]
            node.durable_entries = kept + ready.entries
        if ready.hard_state is not None:
            node.durable_hard_state = ready.hard_state
        node.raft.persisted(ready.number)
        self.send(ready.messages_after_persist)

    def send(self, messages: list[Message]) -> None:
        for message in messages:
            self.say(f"send {show_message(message)}", 1)
        self.network += messages

    def deliver_msgs(self, *who: str, drop: str = "") -> None:
        dropped = self.ids(drop)
        targets = {int(word) for word in who} | set(dropped)
        mine = [message for message in self.network if message.target in targets]
        self.network = [message for message in self.network if message.target not in targets]
        for target in sorted(targets):
            batch = [message for message in mine if message.target == target]
            is_lost = target in dropped or target in self.down
            if batch:
                self.say(f"> {target} {'loses' if is_lost else 'receives'}")
            for message in batch:
                self.say(show_message(message), 1)
                if not is_lost:
                    self.nodes[target].raft.step(message)

    def stabilize(self, *who: str) -> None:
        ids = [int(word) for word in who] or list(self.nodes)
        ids = [member_id for member_id in ids if member_id not in self.down]
        for _ in range(ROUNDS_MAX):
            count = len(self.lines)
            for member_id in ids:
                if self.nodes[member_id].raft.has_ready():
                    self._process_ready(member_id)
                while self.nodes[member_id].writes:
                    self.process_append(str(member_id))
            self.deliver_msgs(*map(str, ids))
            if len(self.lines) == count:
                return
        raise AssertionError("never comes to rest")

    # Outputs

    def raft_log(self, who: str) -> None:
        storage = self.node(who).storage
        first, last = storage.first_index(), storage.last_index()
        self.say(f"begins after {storage.term(first - 1)}/{first - 1}")
        for entry in storage.entries(first, last + 1, 1 << 30):
            self.say(show_entry(entry))

    def status(self, who: str) -> None:
        status = self.node(who).raft.status()
        self.say(
            f"{status.role.name} term={status.term} vote={status.vote} leader={status.leader} "
            f"commit={status.commit} applied={status.applied} {show_conf(status.conf_state)}"
        )
        if status.role is Role.LEADER:
            for member_id, peer in status.progress.items():
                active = "" if peer.is_recently_active else " silent"
                text = f"{member_id}: {peer.state.name} match={peer.match} next={peer.next}{active}"
                self.say(text)


def replay(text: str) -> str:
    """The script with the outputs that its commands have now."""
    runner = Runner()
    result = []
    for block in re.split(r"\n\n+", text.strip()):
        lines = block.split("\n----", 1)[0].split("\n")
        commands = [line for line in lines if not line.startswith("#")]
        if commands:
            assert len(commands) == 1, f"one command at a time: {commands}"
            lines += ["----", runner.run(commands[0])]
        result.append("\n".join(lines))
    return "\n\n".join(result) + "\n"


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.txt")), ids=lambda path: path.stem)
def test_script_still_says_the_same(path: Path) -> None:
    text = path.read_text()
    replayed = replay(text)
    if os.environ.get("KVORUM_REWRITE"):
        path.write_text(replayed)
        return
    assert replayed == text


def test_there_are_scripts() -> None:
    assert len(list(SCRIPTS.glob("*.txt"))) >= 12

"""Bugs planted in what clients are told: the tree, expiry, compaction, deadlines, limits.

`mutants` has the whole table.
"""

# ruff: noqa: SLF001, ANN401 -- mistakes are made where no caller may reach

from collections.abc import Callable
from typing import Any

import msgspec

from kvorum.backend.base import Table
from kvorum.mvcc import index as index_module
from kvorum.mvcc.compaction import Compactor
from kvorum.mvcc.record import decode_links
from kvorum.mvcc.revision import to_key
from kvorum.mvcc.watch import Watcher, WatcherState, WatchHub
from kvorum.server.proposals import Proposals
from kvorum.server.reads import Reads
from kvorum.server.upkeep import Upkeep
from kvorum.sim.planting import Patch, mutant
from kvorum.v2 import commands as v2
from kvorum.v2.node import Action, Node
from kvorum.v2.tree import Outcome, Tree

SECOND_NS = 1_000_000_000


# The tree


@mutant("a comparison does not look at the index", "not linearizable")
def _compare_values_only() -> list[Patch]:
    original = Tree._compare

    def compare(tree: Tree, command: Any) -> Any:
        return original(tree, msgspec.structs.replace(command, prev_index=0))

    return [(Tree, "_compare", compare)]


@mutant("an update makes what is not there", "not linearizable", "nobody asked for it")
def _update_anything() -> list[Patch]:
    original = Tree._update

    def update(tree: Tree, command: v2.Update) -> Outcome:
        is_there = tree.find(command.key) is not None
        return (
            original(tree, command) if is_there else tree._set(v2.Set(command.key, command.value))
        )

    return [(Tree, "_update", update)]


@mutant("a directory goes without what is in it", "is left behind by")
def _leave_children() -> list[Patch]:
    original = Tree._remove

    def remove(tree: Tree, action: Action, node: Node) -> Any:
        if not node.is_dir:
            return original(tree, action, node)
        txn = tree._store.write()
        txn.put(node.key + b"/", b"", action=action, silent=True)
        txn.delete(node.key + b"/", action=action)
        event = tree._end(txn)
        event.prev_node = node
        return event

    return [(Tree, "_remove", remove)]


# Time


@mutant("keys are expired a second before their time", "no clock has shown more than")
def _expire_early() -> list[Patch]:
    def expire_keys(upkeep: Upkeep, now: float) -> None:
        due_ns = upkeep._store.expiring.next_due()
        wall_ns = upkeep._clock.wall_ns() + SECOND_NS
        if due_ns is not None and due_ns <= wall_ns:
            upkeep._propose_once(v2.Expire(wall_ns), now)

    return [(Upkeep, "_expire_keys", expire_keys)]


@mutant("with one key all that expire some day go", "though its time is")
def _expire_everything() -> list[Patch]:
    original = Tree._expire

    def expire(tree: Tree, command: v2.Expire) -> None:
        original(tree, msgspec.structs.replace(command, now_ns=1 << 62))

    return [(Tree, "_expire", expire)]


@mutant("nothing is ever expired", "s overdue")
def _expire_nothing() -> list[Patch]:
    return [(Upkeep, "_expire_keys", lambda upkeep, now: bool(upkeep or now))]


@mutant("nobody looks at the deadlines of reads", "late with an answer")
def _wait_for_ever() -> list[Patch]:
    return [(Reads, "expire", lambda reads, now: bool(reads or now))]


# What was, and what is told


@mutant(
    "compaction takes what is still shown",
    "another hash",
    "the state Mark(",
    "names a record that is not in the backend",
)
def _compact_too_much() -> list[Patch]:
    original = Compactor._clean_record

    def clean(compactor: Compactor, revision: Any, data: bytes, compacted: int) -> None:
        original(compactor, revision, data, compacted)
        compactor._keyspace.backend.delete(Table.RECORDS, to_key(revision))

    return [(Compactor, "_clean_record", clean)]


@mutant("deleted keys are there again after a restart", "other keys", "the state Mark(")
def _revive() -> list[Patch]:
    def revive(data: bytes) -> Any:
        key, prev, _, *others = decode_links(data)
        return key, prev, False, *others

    return [(index_module, "decode_links", revive)]


@mutant("a watch that compaction has ended goes on", "to a cancelled watch")
def _go_on() -> list[Patch]:
    original = WatchHub.cancel

    def cancel(hub: WatchHub, watcher: Watcher) -> None:
        compacted = hub.store.compacted_revision
        if watcher.next_revision < compacted and watcher.state is WatcherState.BEHIND:
            hub._displace(watcher)
            watcher.next_revision = compacted
            hub._place(watcher)
        else:
            original(hub, watcher)

    return [(WatchHub, "cancel", cancel)]


@mutant("some answers are given twice", "answered twice")
def _answer_twice() -> list[Patch]:
    original = Proposals.propose

    def propose(proposals: Proposals, command: Any, completion: Callable[[object], None]) -> None:
        def twice(result: object) -> None:
            completion(result)
            completion(result)

        original(proposals, command, twice)

    return [(Proposals, "propose", propose)]


@mutant("as much may wait as comes", "proposals wait on")
def _take_all() -> list[Patch]:
    def propose(proposals: Proposals, command: Any, completion: Callable[[object], None]) -> None:
        proposals._commands.append(command)
        proposals._completions.append(completion)

    return [(Proposals, "propose", propose)]

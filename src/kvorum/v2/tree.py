"""The v2 tree over the keyspace: every rule of what a request finds, changes and refuses.

One command is one revision, with everything it brings along: the parents it makes (markers, silent)
and the descendants it removes (tombstones, silent). Among the records of a revision exactly one is
not silent, and it is the event; a refresh has none, because no watcher hears of it.

A path is a file if its key is live; else a directory if anything is live below it: with a marker
explicitly, without one (keys written through v3) as long as it has descendants. An implied
directory has the create revision of its first descendant as its indexes. Where v3 has put a file
in the place of a directory, the file wins; a key is always found by its own full path.

A refused request changes nothing and costs no revision; it is a returned RequestError.
Nothing here reads a clock: a node is there until the `Expire` that removes it is applied.

The caller applies commands in log order, and passes `take_changes` to the watch hub after each
entry. Source: v2-api sections 1, 3 and 15; design, "v2".
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from kvorum.errors import (
    CompareFailed,
    DirectoryNotEmpty,
    KeyExists,
    KeyNotFound,
    NotADirectory,
    NotAFile,
    RequestError,
    RootReadOnly,
)
from kvorum.mvcc.record import Changes
from kvorum.mvcc.store import Store
from kvorum.mvcc.txn import WriteTxn
from kvorum.v2 import path as paths
from kvorum.v2.commands import (
    Command,
    CompareAndDelete,
    CompareAndSwap,
    Create,
    Delete,
    Expire,
    Set,
    Update,
)
from kvorum.v2.node import Action, Event, Node, event_of, node_of
from kvorum.v2.stats import StoreStats, Tally

_GET, _SET, _CREATE, _UPDATE = Action.GET, Action.SET, Action.CREATE, Action.UPDATE
_COMPARE_AND_SWAP, _DELETE = Action.COMPARE_AND_SWAP, Action.DELETE
_COMPARE_AND_DELETE, _EXPIRE = Action.COMPARE_AND_DELETE, Action.EXPIRE

Outcome: TypeAlias = Event | RequestError


class Tree:
    """Applies v2 commands to a store and reads it as a tree."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changes: list[Changes] = []
        self._gets = Tally()
        self._expire_count = 0
        self._apply: dict[type, tuple[Callable[[Any], Outcome | None], Tally]] = {
            Set: (self._set, Tally()),
            Create: (self._create, Tally()),
            Update: (self._update, Tally()),
            CompareAndSwap: (self._compare_and_swap, Tally()),
            Delete: (self._delete, Tally()),
            CompareAndDelete: (self._compare_and_delete, Tally()),
            Expire: (self._expire, Tally()),
        }

    def apply(self, command: Command) -> Outcome | None:
        """Does what the command says. None for `Expire`, which nobody waits for."""
        operation, tally = self._apply[type(command)]
        outcome = operation(command)
        if type(outcome) is Event:
            tally.success += 1
        else:
            tally.fail += 1
        return outcome

    def take_changes(self) -> list[Changes]:
        """What was changed since the last call, oldest first."""
        changes, self._changes = self._changes, []
        return changes

    def stats(self) -> StoreStats:
        """What was counted since the process started; `watchers` is the caller's to add."""
        tallies = {kind: tally for kind, (_, tally) in self._apply.items()}
        return StoreStats(
            gets_success=self._gets.success,
            gets_fail=self._gets.fail,
            sets_success=tallies[Set].success,
            sets_fail=tallies[Set].fail,
            delete_success=tallies[Delete].success,
            delete_fail=tallies[Delete].fail,
            update_success=tallies[Update].success,
            update_fail=tallies[Update].fail,
            create_success=tallies[Create].success,
            create_fail=tallies[Create].fail,
            compare_and_swap_success=tallies[CompareAndSwap].success,
            compare_and_swap_fail=tallies[CompareAndSwap].fail,
            compare_and_delete_success=tallies[CompareAndDelete].success,
            compare_and_delete_fail=tallies[CompareAndDelete].fail,
            expire_count=self._expire_count,
        )

    # Reads.

    def get(self, path: bytes, *, is_recursive: bool = False, is_sorted: bool = False) -> Outcome:
        """The node at a path; a directory with its children, or with all below it."""
        node = self.find(path)
        if node is None:
            self._gets.fail += 1
            return self._missing(path)
        self._gets.success += 1
        if node.is_dir:
            self._list(node, is_recursive=is_recursive, is_sorted=is_sorted)
        return Event(_GET, node)

    def find(self, path: bytes) -> Node | None:
        """The node at a path, without children."""
        if path == paths.ROOT:
            return Node(path, None, 0, 0, is_dir=True)
        store = self._store
        record = store.get(path)
        if record is not None:
            return node_of(record)
        marker = path + b"/"
        first = store.next_key(marker, paths.directory_end(marker))
        if first is None:
            return None
        record = store.get(first)
        assert record is not None, "next_key names live keys"
        if first == marker:
            return node_of(record)
        created = record.create_revision
        return Node(path, None, created, created, is_dir=True)

    def _list(self, top: Node, *, is_recursive: bool, is_sorted: bool) -> None:
        pending = [top]
        while pending:
            directory = pending.pop()
            directory.nodes = children = self._children(directory.key)
            if is_sorted:
                children.sort(key=_key_of)
            if is_recursive:
                pending += [child for child in children if child.is_dir]

    def _children(self, path: bytes) -> list[Node]:
        """The nodes of a directory that listings show, found without reading what is below them."""
        store = self._store
        prefix = paths.directory_prefix(path)
        end = paths.directory_end(prefix)
        children: list[Node] = []
        key = store.next_key(prefix + b"\0", end)
        while key is not None:
            slash = key.find(b"/", len(prefix))
            child_path = key if slash < 0 else key[:slash]
            is_shown = paths.is_listed(child_path) and paths.is_within_limits(child_path)
            # A directory whose place a file has taken was listed with the file, or will be.
            if is_shown and (slash < 0 or not self._is_file(child_path)):
                child = self.find(child_path)
                assert child is not None, "there is a key at the path or below it"
                children.append(child)
            after = key + b"\0" if slash < 0 else child_path + b"0"
            key = store.next_key(after, end)
        return children

    def _is_file(self, path: bytes) -> bool:
        return path in self._store.index.live and path != paths.ROOT

    def _is_directory(self, path: bytes) -> bool:
        marker = path + b"/"
        return self._store.next_key(marker, paths.directory_end(marker)) is not None

    def _missing(self, path: bytes) -> RequestError:
        """Why there is no node: the first ancestor that is missing, or the file in the way."""
        for ancestor in paths.ancestors(path):
            if self._is_file(ancestor):
                return self._error(NotADirectory, ancestor)
            if not self._is_directory(ancestor):
                return self._error(KeyNotFound, ancestor)
        return self._error(KeyNotFound, path)

    def _error(self, kind: type[RequestError], cause: bytes) -> RequestError:
        return kind(cause.decode("utf-8", "surrogateescape"), self._store.revision)

    # Writes that put a node.

    def _set(self, command: Set) -> Outcome:
        key, value = command.key, command.value
        parents: list[bytes] = []
        if not self._is_file(key):
            place = self._place_for(key, NotAFile)
            if isinstance(place, RequestError):
                return place
            if command.refresh:
                return self._missing(key)
            parents = place
        elif command.refresh:
            value = self._value_of(key)
        txn = self._store.write()
        txn.put(
            key + b"/" if command.is_dir else key,
            b"" if command.is_dir else value,
            action=_SET,
            expiration=command.expiration,
            silent=command.refresh,
            keep_create=False,
        )
        if command.is_dir:
            txn.delete(key, action=_SET, silent=True)
        return self._end(txn, _SET, parents)

    def _create(self, command: Create) -> Outcome:
        key = command.key
        if command.in_order:
            number = b"%d" % (self._store.revision + 1)
            key = paths.directory_prefix(key) + number.rjust(command.digits, b"0")
        if self._is_file(key):
            return self._error(KeyExists, key)
        parents = self._place_for(key, KeyExists)
        if isinstance(parents, RequestError):
            return parents
        txn = self._store.write()
        txn.put(
            key + b"/" if command.is_dir else key,
            b"" if command.is_dir else command.value,
            action=_CREATE,
            expiration=command.expiration,
        )
        return self._end(txn, _CREATE, parents)

    def _place_for(self, path: bytes, taken: type[RequestError]) -> list[bytes] | RequestError:
        """The markers of the parents to make for a node where no file is; or why it cannot be."""
        if path == paths.ROOT:
            return self._error(RootReadOnly, path)
        if self._is_directory(path):
            return self._error(taken, path)
        missing: list[bytes] = []
        parent = paths.parent_of(path)
        while parent != paths.ROOT:
            if self._is_file(parent):
                return self._error(NotADirectory, parent)
            if self._is_directory(parent):
                break
            missing.append(parent + b"/")
            parent = paths.parent_of(parent)
        return missing

    def _update(self, command: Update) -> Outcome:
        key = command.key
        if key == paths.ROOT:
            return self._error(RootReadOnly, key)
        if self._is_file(key):
            return self._replace(_UPDATE, command)
        before = self.find(key)
        if before is None:
            return self._missing(key)
        if command.value:
            return self._error(NotAFile, key)
        txn = self._store.write()
        txn.put(
            key + b"/",
            b"",
            action=_UPDATE,
            expiration=command.expiration,
            silent=command.refresh,
        )
        event = self._end(txn)
        event.prev_node = before
        return event

    def _compare_and_swap(self, command: CompareAndSwap) -> Outcome:
        if command.key == paths.ROOT:
            return self._error(RootReadOnly, command.key)
        return self._compare(command) or self._replace(_COMPARE_AND_SWAP, command)

    def _replace(self, action: Action, command: Update | CompareAndSwap) -> Event:
        """Gives a file that is there another value."""
        key = command.key
        txn = self._store.write()
        txn.put(
            key,
            self._value_of(key) if command.refresh else command.value,
            action=action,
            expiration=command.expiration,
            silent=command.refresh,
        )
        return self._end(txn)

    def _value_of(self, path: bytes) -> bytes:
        record = self._store.get(path)
        assert record is not None, "only called for a file that is there"
        return record.value

    def _compare(self, command: CompareAndSwap | CompareAndDelete) -> RequestError | None:
        """Why the file does not compare equal; None when it does."""
        node = self.find(command.key)
        if node is None:
            return self._missing(command.key)
        if node.value is None:
            return self._error(NotAFile, command.key)
        prev_value, prev_index = command.prev_value, command.prev_index
        causes = []
        if prev_value and prev_value != node.value:
            causes.append(b"[%b != %b]" % (prev_value, node.value))
        if prev_index not in (0, node.modified_index):
            causes.append(b"[%d != %d]" % (prev_index, node.modified_index))
        return self._error(CompareFailed, b" ".join(causes)) if causes else None

    # Writes that remove a node.

    def _delete(self, command: Delete) -> Outcome:
        key = command.key
        if key == paths.ROOT:
            return self._error(RootReadOnly, key)
        node = self.find(key)
        if node is None:
            return self._missing(key)
        if node.is_dir and not command.is_recursive:
            if not command.is_dir:
                return self._error(NotAFile, key)
            marker = key + b"/"
            if self._store.next_key(marker + b"\0", paths.directory_end(marker)) is not None:
                return self._error(DirectoryNotEmpty, key)
        return self._remove(_DELETE, node)

    def _compare_and_delete(self, command: CompareAndDelete) -> Outcome:
        refusal = self._compare(command)
        if refusal is not None:
            return refusal
        txn = self._store.write()
        txn.delete(command.key, action=_COMPARE_AND_DELETE)
        return self._end(txn)

    def _remove(self, action: Action, node: Node) -> Event:
        """Removes a node and all below it in one revision; the event is the node's tombstone."""
        txn = self._store.write()
        if not node.is_dir:
            txn.delete(node.key, action=action)
            return self._end(txn)
        marker = node.key + b"/"
        if txn.get(marker) is None:
            # History tells a directory's end by its marker: an implied one gets it here.
            txn.put(marker, b"", action=action, silent=True)
        txn.delete(marker, action=action)
        end = paths.directory_end(marker)
        key = txn.next_key(marker, end)
        while key is not None:
            txn.delete(key, action=action, silent=True)
            key = txn.next_key(key, end)
        event = self._end(txn)
        event.prev_node = node
        return event

    def _expire(self, command: Expire) -> None:
        """Removes what is due, each node in a revision of its own, oldest expiration first."""
        for key in self._store.expiring.due(command.now_ns, command.keys_max):
            record = self._store.get(key)
            # Gone with a directory that expired before it.
            if record is not None:
                self._remove(_EXPIRE, node_of(record))
                self._expire_count += 1

    def _end(self, txn: WriteTxn, action: Action = _GET, parents: Sequence[bytes] = ()) -> Event:
        """Ends a write, with the parents it makes on the way, and tells what it did."""
        for parent in parents:
            txn.put(parent, b"", action=action, silent=True)
        changes = txn.end()
        assert changes is not None, "a write that would change nothing is refused before it begins"
        self._changes.append(changes)
        return event_of(changes)


def _key_of(node: Node) -> bytes:
    return node.key

"""The v2 tree against a dictionary that does what the contract says, restarts included."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kvorum.backend.memory import MemoryBackend
from kvorum.mvcc.store import Store
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
from kvorum.v2.node import Event
from kvorum.v2.tree import Tree

# Path -> (value or None for a directory, expiration, modified index, created index).
Model = dict[bytes, tuple[bytes | None, int, int, int]]


def model_blocked(model: Model, path: bytes) -> bytes | None:
    """The file in the way of a path."""
    parts = path.split(b"/")[1:-1]
    ancestors = [b"/" + b"/".join(parts[: end + 1]) for end in range(len(parts))]
    return next((one for one in ancestors if one in model and model[one][0] is not None), None)


def model_put(model: Model, path: bytes, value: bytes | None, expiration: int, index: int) -> None:
    parts = path.split(b"/")[1:]
    for end in range(1, len(parts)):
        model.setdefault(b"/" + b"/".join(parts[:end]), (None, 0, index, index))
    model[path] = (value, expiration, index, index)


def model_drop(model: Model, path: bytes) -> None:
    for key in [key for key in model if key == path or key.startswith(path + b"/")]:
        del model[key]


def model_expire(model: Model, index: int, now_ns: int) -> int:
    due = sorted((one[1], key + b"/" * (one[0] is None)) for key, one in model.items() if one[1])
    for expiration, key in due:
        if expiration <= now_ns and key.rstrip(b"/") in model:
            model_drop(model, key.rstrip(b"/"))
            index += 1
    return index


def model_set(model: Model, index: int, command: Set | Create) -> int:
    node = model.get(command.key)
    is_taken = node and (isinstance(command, Create) or node[0] is None)
    if is_taken or model_blocked(model, command.key):
        return index
    value = None if command.is_dir else command.value
    model_put(model, command.key, value, command.expiration, index + 1)
    return index + 1


def model_apply(model: Model, index: int, command: Any) -> int:
    """Does to the model what the contract says; returns the index afterwards."""
    if isinstance(command, Expire):
        return model_expire(model, index, command.now_ns)
    if isinstance(command, Set | Create):
        return model_set(model, index, command)
    key = command.key
    if key not in model or model_blocked(model, key):
        return index
    value, _, modified, created = model[key]
    if isinstance(command, Delete):
        has_children = any(one.startswith(key + b"/") for one in model)
        if value is None and not command.is_recursive and (has_children or not command.is_dir):
            return index
        model_drop(model, key)
        return index + 1
    if isinstance(command, Update):
        if value is None and command.value:
            return index
    elif value is None or not (
        command.prev_value in (b"", value) and command.prev_index in (0, modified)
    ):
        return index
    if isinstance(command, CompareAndDelete):
        model_drop(model, key)
    elif value is None:
        model[key] = (None, command.expiration, modified, created)
    else:
        model[key] = (command.value, command.expiration, index + 1, created)
    return index + 1


def model_of(tree: Tree) -> Model:
    outcome = tree.get(b"/", is_recursive=True)
    assert isinstance(outcome, Event)
    found: Model = {}
    pending = list(outcome.node.nodes or [])
    while pending:
        node = pending.pop()
        found[node.key] = (node.value, node.expiration, node.modified_index, node.created_index)
        pending += node.nodes or []
    return found


_paths = st.lists(st.sampled_from([b"a", b"a-b", b"b", b"a0"]), min_size=1, max_size=3).map(
    lambda parts: b"/" + b"/".join(parts)
)
_values = st.sampled_from([b"", b"1", b"2"])
_times = st.sampled_from([0, 0, 10, 20, 30])
_commands = st.one_of(
    st.builds(Set, _paths, _values, st.booleans(), _times),
    st.builds(Create, _paths, _values, st.booleans(), _times),
    st.builds(Update, _paths, _values, _times),
    st.builds(CompareAndSwap, _paths, _values, _values, st.integers(0, 9), _times),
    st.builds(Delete, _paths, st.booleans(), st.booleans()),
    st.builds(CompareAndDelete, _paths, _values, st.integers(0, 9)),
    st.builds(Expire, st.sampled_from([10, 20, 30])),
)


@settings(deadline=None, max_examples=200)
@given(st.lists(_commands, max_size=25), st.integers(0, 25))
def test_tree_agrees_with_a_dictionary(commands: list[Command], restart_at: int) -> None:
    backend = MemoryBackend()
    store = Store(backend)
    store.restore()
    tree = Tree(store)
    model: Model = {}
    index = store.revision
    for step, command in enumerate(commands):
        if step == restart_at:
            store = Store(backend)
            store.restore()
            tree = Tree(store)
        tree.apply(command)
        index = model_apply(model, index, command)
        assert store.revision == index, command
        assert model_of(tree) == model, command

"""`/_etcd/machines` and `/_etcd/config` of a cluster born in the 0.4 era, computed from membership.

0.4 kept its members in the tree, and clients read them there. Here they are members, and the nodes
are made when asked for; other keys under `/_etcd` are ordinary. The nodes cannot be written.

A member's indexes are the revisions its joining took; the directories are as old as the cluster.
Source: v2-api sections 1 and 9.8.
"""

from urllib.parse import quote_plus

from kvorum.errors import KeyNotFound, NotADirectory, RequestError
from kvorum.membership import Cluster, Member
from kvorum.v2 import path as paths
from kvorum.v2.node import Action, Event, Node
from kvorum.v2.tree import Tree

TOP = b"/_etcd"
MACHINES = b"/_etcd/machines"
CONFIG = b"/_etcd/config"

BIRTH_INDEX = 1
"""The first machine of a cluster takes the first revision, and makes the directories with it."""


def number(value: float) -> str:
    """A number as Go writes it in JSON: no fraction where there is none."""
    return str(int(value)) if value == int(value) else repr(value)


def config_json(cluster: Cluster) -> bytes:
    """The cluster's configuration as `/_etcd/config` and `/v2/admin/config` show it."""
    config = cluster.attributes.config
    return (
        f'{{"activeSize":{config.active_size},"removeDelay":{number(config.remove_delay)},'
        f'"syncInterval":{number(config.sync_interval)}}}'
    ).encode()


class Machines:
    """Reads below `/_etcd`, and says which writes there are refused."""

    def __init__(self, cluster: Cluster, tree: Tree) -> None:
        self._cluster = cluster
        self._tree = tree

    def covers(self, path: bytes) -> bool:
        """Whether `get` must be asked for this path, and not the tree alone."""
        return path.startswith(TOP) and self._cluster.is_legacy and paths.is_at_or_below(path, TOP)

    def is_read_only(self, path: bytes) -> bool:
        """Whether a write to this path would hit a computed node."""
        return self.covers(path) and (
            path in (TOP, CONFIG)
            or paths.is_at_or_below(path, MACHINES)
            or path.startswith(CONFIG + b"/")
        )

    def get(
        self, path: bytes, index: int, *, is_recursive: bool, is_sorted: bool
    ) -> Event | RequestError:
        """The node at a path for which `covers` holds; `index` is the store's revision."""
        if path == TOP:
            return self._get_top(is_recursive=is_recursive, is_sorted=is_sorted)
        if path == CONFIG or path.startswith(CONFIG + b"/"):
            node = config_node(self._cluster)
        elif paths.is_at_or_below(path, MACHINES):
            node = self._machines() if path == MACHINES else self._find_machine(path)
        else:
            return self._get_ordinary(path, is_recursive=is_recursive, is_sorted=is_sorted)
        if node is None:
            return KeyNotFound(_first_missing(path), index)
        if paths.is_at_or_below(path, node.key) and path != node.key:
            return NotADirectory(node.key.decode(), index)
        return Event(Action.GET, node)

    def _get_top(self, *, is_recursive: bool, is_sorted: bool) -> Event:
        stored = self._tree.get(TOP, is_recursive=is_recursive, is_sorted=is_sorted)
        ordinary = stored.node.nodes or [] if isinstance(stored, Event) else []
        machines = self._machines()
        if not is_recursive:
            machines.nodes = None
        config = config_node(self._cluster)
        nodes = [*ordinary, machines, *([] if config is None else [config])]
        if is_sorted:
            nodes.sort(key=lambda node: node.key)
        return Event(
            Action.GET, Node(TOP, None, BIRTH_INDEX, BIRTH_INDEX, is_dir=True, nodes=nodes)
        )

    def _get_ordinary(
        self, path: bytes, *, is_recursive: bool, is_sorted: bool
    ) -> Event | RequestError:
        outcome = self._tree.get(path, is_recursive=is_recursive, is_sorted=is_sorted)
        if isinstance(outcome, KeyNotFound) and outcome.cause == TOP.decode():
            # The tree knows nothing of /_etcd yet, but it is there.
            outcome.cause = _child_of(TOP, path)
        return outcome

    def _machines(self) -> Node:
        nodes = [machine_node(member) for member in self._cluster if member.name]
        return Node(MACHINES, None, BIRTH_INDEX, BIRTH_INDEX, is_dir=True, nodes=nodes)

    def _find_machine(self, path: bytes) -> Node | None:
        name = path[len(MACHINES) + 1 :].partition(b"/")[0]
        for member in self._cluster:
            if member.name.encode() == name:
                return machine_node(member)
        return None


def config_node(cluster: Cluster) -> Node | None:
    """`/_etcd/config`, once it was set."""
    index = cluster.attributes.config_index
    if not index:
        return None
    # The config is set anew, not updated, so both of its indexes move.
    return Node(CONFIG, config_json(cluster), index, index)


def machine_node(member: Member) -> Node:
    """A member's node below `/_etcd/machines`."""
    client_url = member.client_urls[0] if member.client_urls else ""
    value = f"etcd={quote_plus(client_url)}&raft={quote_plus(member.peer_urls[0])}"
    return Node(
        MACHINES + b"/" + member.name.encode(),
        value.encode(),
        member.modified_index,
        member.created_index,
    )


def _first_missing(path: bytes) -> str:
    """The cause where nothing is: the computed node, or the machine, that does not exist."""
    return CONFIG.decode() if path.startswith(CONFIG) else _child_of(MACHINES, path)


def _child_of(directory: bytes, path: bytes) -> str:
    """The child of a directory on the way to a path below it."""
    name = path[len(directory) + 1 :].partition(b"/")[0]
    return (directory + b"/" + name).decode("utf-8", "surrogateescape")

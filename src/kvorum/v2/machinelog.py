"""What has happened to `/_etcd/machines` and `/_etcd/config`, for those who wait for it.

These nodes are computed from membership, so the store's history knows nothing of them. Here each
change of them becomes an event, found by comparing them with what they were.

    events: by index, the last EVENTS_MAX of them
    since the start, or the last image that was installed, all are there; of what was before,
    the last change of each node that was left then

The caller: `update` whenever membership or its config has changed, and after the state was read
anew. Nothing is replicated here: members differ in how far they look back.
Source: v2-api sections 1 and 3.5.
"""

from collections import deque
from collections.abc import Callable

from kvorum.membership import Cluster
from kvorum.v2 import path as paths
from kvorum.v2.machines import CONFIG, MACHINES, TOP, config_node, machine_node
from kvorum.v2.node import Action, Event, Node

EVENTS_MAX = 1000
"""0.4 kept as many events of its whole tree."""


class MachineLog:
    """The events of one member's view of the machines.

    Attributes:
        events: by index.
        on_event: told of each new one.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._nodes: dict[bytes, Node] = {}
        self.events: deque[Event] = deque(maxlen=EVENTS_MAX)
        self.on_event: Callable[[Event], None] = _nobody_waits

    def update(self, revision: int) -> None:
        """Notes what is different from before; `revision` is the store's."""
        before, after = self._nodes, self._current()
        self._nodes = after
        made = [
            Event(_action_of(node, before.get(key)), node, before.get(key))
            for key, node in after.items()
            if key not in before or before[key].modified_index != node.modified_index
        ]
        made.sort(key=_index_of)
        made += [
            Event(Action.DELETE, Node(key, None, revision, node.created_index), node)
            for key, node in before.items()
            if key not in after
        ]
        for event in made:
            self.events.append(event)
            self.on_event(event)

    def concerns(self, path: bytes, *, is_recursive: bool) -> bool:
        """Whether a wait at this path may see such events."""
        return self._cluster.is_legacy and (self.owns(path) or (is_recursive and path == TOP))

    def owns(self, path: bytes) -> bool:
        """Whether such events are all that may be seen at this path."""
        return self._cluster.is_legacy and (
            paths.is_at_or_below(path, MACHINES) or paths.is_at_or_below(path, CONFIG)
        )

    def _current(self) -> dict[bytes, Node]:
        if not self._cluster.is_legacy:
            return {}
        nodes = [machine_node(member) for member in self._cluster if member.name]
        config = config_node(self._cluster)
        return {node.key: node for node in (*nodes, *([] if config is None else [config]))}


def _action_of(node: Node, before: Node | None) -> Action:
    if node.key == CONFIG:
        return Action.SET
    is_new = before is None and node.created_index == node.modified_index
    return Action.CREATE if is_new else Action.UPDATE


def _index_of(event: Event) -> int:
    return event.node.modified_index


def _nobody_waits(_event: Event) -> None:
    """Until the API is there."""

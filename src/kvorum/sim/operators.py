"""What people do to the members of a running cluster, by the means of the 3.x API.

Adding takes two steps, as etcd's manual has it: any member is asked to add a peer URL, and whoever
is started there finds its seat at any member that knows of it. The answer to the first step may get
lost; the second does not need it.

The caller: at any time between two events; `add` for a host on which nothing runs and nothing is.
"""

from functools import partial

from kvorum.membership import Member
from kvorum.raft.types import MemberId
from kvorum.server.reconfiguration import Answer, Reconfiguration
from kvorum.server.seats import Seat
from kvorum.sim.cluster import Host, Process, SimCluster
from kvorum.sim.loop import Callback

ADD_AGAIN_SECONDS = 3.0
"""Pause between two requests to add the same member."""

SEEK_AGAIN_SECONDS = 0.5
"""Pause between two attempts to start a member that was not added yet."""


class Operator:
    """Asks any member that is awake."""

    def __init__(self, cluster: SimCluster) -> None:
        self._cluster = cluster

    def add(self, host: Host) -> None:
        """Has a member added, and starts it once somebody knows its seat."""
        host.is_retired = False
        host.is_waiting = True
        host.seek = partial(self._seek, host)
        self._ask(host, host.seek)
        host.seek()

    def remove(self, member_id: MemberId) -> None:
        """Has a member removed, if who is asked finds nothing wrong with it."""
        process = self._draw()
        if process is not None:
            self._note(process, f"remove {member_id:x}")
            Reconfiguration(process.server).remove(member_id, partial(self._answered, process))

    def move(self, host: Host) -> None:
        """Has the others reach a member at another of its addresses."""
        process = self._draw()
        if process is not None:
            url = self._cluster.chance.choice(host.urls)
            self._note(process, f"move {host.member_id:x} to {url}")
            desk = Reconfiguration(process.server)
            desk.move(host.member_id, (url,), partial(self._answered, process))

    def _draw(self) -> Process | None:
        awake = [process for process in self._cluster.processes if not process.is_paused]
        return self._cluster.chance.choice(awake) if awake else None

    def _ask(self, host: Host, seek: Callback) -> None:
        if not host.is_waiting or host.seek is not seek:
            return
        process = self._draw()
        if process is not None:
            self._note(process, f"add {host.url}")
            desk = Reconfiguration(process.server)
            desk.add((host.url,), partial(self._answered, process))
        self._cluster.loop.call_later(ADD_AGAIN_SECONDS, partial(self._ask, host, seek))

    def _seek(self, host: Host) -> None:
        """Looks for the seat that was given to the host's URL and never taken."""
        process = self._draw()
        known = process.server.cluster.find_by_peer_url(host.url) if process is not None else None
        if process is None or known is None or known.name:
            self._cluster.seek_later(host, SEEK_AGAIN_SECONDS)
            return
        server = process.server
        peers = {one.id: one.peer_urls[0] for one in server.cluster if one.id != known.id}
        self._cluster.sit_down(host, Seat(server.cluster_id, known.id, 0, peers))

    def _note(self, process: Process, what: str) -> None:
        self._cluster.trace.note(f"{process.name} is asked to {what}")

    def _answered(self, process: Process, answer: Answer) -> None:
        text = f"{answer.id:x}" if isinstance(answer, Member) else str(answer)
        self._cluster.trace.note(f"{process.name} answers the operator: {text}")

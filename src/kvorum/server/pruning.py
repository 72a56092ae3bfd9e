"""Whom the leader of the 0.4 era removes by itself: the silent, and those beyond the active size.

Rules: once a second one member goes, at most:
    first one that was silent for longer than `remove_delay`
    else, while there are more members than `active_size`, one that does not answer now, or any
    other one, drawn at random
The leader itself stays, and so does whoever a living quorum of the rest needs; that is told once.
A machine that was removed stands by (`standby.py`), and may come back when a seat is free.

The caller: `start`, once; it goes on for as long as the server ticks.
Source: reference contract, v2-api sections 9.3 and 12.
"""

import logging

from kvorum.membership import Member, MembershipFault
from kvorum.server.reconfiguration import Answer, Reconfiguration
from kvorum.server.server import Server

_log = logging.getLogger("kvorum.server")

CHECK_SECONDS = 1.0


class Pruning:
    """Looks after one cluster's size while this member leads it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._reconfiguration = Reconfiguration(server)
        self._is_busy = False
        self._told: tuple[str, str] = ("", "")

    def start(self) -> None:
        """Looks once a second from now on."""
        self._server.timers.call_after(CHECK_SECONDS, self._check)

    def _check(self) -> None:
        self.start()
        server = self._server
        if not server.is_leader or self._is_busy:
            return
        config = server.cluster.attributes.config
        others = [member for member in server.cluster if member.id != server.member_id]
        silence, silent = max(
            ((server.silence_seconds(member.id), member) for member in others),
            key=lambda pair: pair[0],
            default=(0.0, None),
        )
        count = len(server.cluster.members)
        if silent is not None and silence > config.remove_delay:
            self._remove(silent, f"last activity {silence:.3f}s ago")
        elif others and count > config.active_size:
            reason = f"peer number {count} > expected size {config.active_size}"
            self._remove(self._choose(others), reason)

    def _choose(self, others: list[Member]) -> Member:
        server = self._server
        dead = [member for member in others if not server.is_responsive(member.id)]
        choice = dead or others
        return choice[server.clock.random_below(len(choice))]

    def _remove(self, member: Member, reason: str) -> None:
        fault = self._reconfiguration.find_removal_fault(member.id)
        if fault is not None:
            self._tell(member, fault.value)
            return
        self._is_busy = True
        _log.info("%s: removing node: %s; %s", self._server.name, member.name, reason)
        self._reconfiguration.remove(member.id, lambda answer: self._removed(member, answer))

    def _removed(self, member: Member, answer: Answer) -> None:
        self._is_busy = False
        if not isinstance(answer, Member):
            fault = answer.value if isinstance(answer, MembershipFault) else str(answer)
            self._tell(member, fault)

    def _tell(self, member: Member, fault: str) -> None:
        if self._told != (member.name, fault):
            self._told = (member.name, fault)
            _log.warning("%s: %s was not removed: %s", self._server.name, member.name, fault)

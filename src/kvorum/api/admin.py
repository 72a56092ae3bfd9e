"""What an operator of the 0.4 era does over the peer port: the cluster's config, its machines.

    GET, PUT    /v2/admin/config
    GET         /v2/admin/machines, /v2/admin/machines/<name>
    DELETE      /v2/admin/machines/<name>, /remove/<name>

Rules: what changes something is for the leader; a follower redirects to the leader's peer URL.
To remove a machine that is unknown, or while there is no leader, does nothing and answers 200, as
0.4 did: scripts rely on it. A removal that would leave no quorum alive is refused.
Source: reference contract, v2-api section 8.
"""

import logging
import math
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from kvorum.api.jsonbody import describe_fault
from kvorum.api.reply import JSON, TEXT, Replies
from kvorum.decoding import FAULTS
from kvorum.errors import RaftInternal, RequestError, UnavailableError
from kvorum.membership import ClusterConfig, Member, MembershipFault, bounded_config
from kvorum.protocol.exchange import Exchange
from kvorum.server.reconfiguration import Answer, Reconfiguration
from kvorum.server.server import Server
from kvorum.server.standby import list_machines
from kvorum.v2.machines import config_json
from kvorum.v2.node import render_error

_log = logging.getLogger("kvorum.api")

Handler: TypeAlias = Callable[[Exchange], None]

INDEX_REPLY_BYTES = 8
"""0.4 answers joins and removals with the commit index as a varint in a buffer of this size."""

NUMBER_MAX = float(1 << 53)
"""Larger ones are no counts and no times; JSON itself is exact only so far."""


class Admin:
    """The handlers of one server."""

    def __init__(self, server: Server, replies: Replies) -> None:
        self._server = server
        self._replies = replies
        self._reconfiguration = Reconfiguration(server)

    def config(self, exchange: Exchange) -> None:
        """GET /v2/admin/config."""
        self._replies.json(exchange, self._config_body())

    def set_config(self, exchange: Exchange) -> None:
        """PUT /v2/admin/config: the numbers given replace those in force."""
        server = self._server
        if self._redirects(exchange, self._config_body()):
            return
        if not server.is_leader:
            self._refuse(exchange, RaftInternal(index=server.store.revision))
            return
        try:
            given = msgspec.json.decode(exchange.body, type=dict[str, msgspec.Raw])
        except FAULTS as error:
            text = describe_fault(exchange.body, error, "EOF")
            self._replies.text(exchange, text.encode() + b"\n", 500)
            return

        def done(result: object) -> None:
            if isinstance(result, UnavailableError):
                self._refuse(exchange, RaftInternal(str(result), server.store.revision))
            else:
                self.config(exchange)

        server.propose_config(merge_config(server.cluster.attributes.config, given), done)

    def machines(self, exchange: Exchange) -> None:
        """GET /v2/admin/machines."""
        listing = list_machines(self._server)
        self._replies.json(exchange, msgspec.json.encode(listing) + b"\n")

    def machine(self, exchange: Exchange, name: str) -> None:
        """GET /v2/admin/machines/<name>."""
        found = [one for one in list_machines(self._server) if one.name == name]
        described = found[0] if found else None
        self._replies.json(exchange, msgspec.json.encode(described) + b"\n")

    def remove(self, exchange: Exchange, name: str) -> None:
        """DELETE of a machine, on either path."""
        server = self._server
        member = server.cluster.find_by_name(name)
        if self._redirects(exchange):
            return
        if member is None or not server.is_leader:
            reason = "no such machine" if member is None else "no leader"
            _log.warning("%s: %s was not removed: %s", server.name, name, reason)
            self._replies.text(exchange, b"")
            return

        def done(answer: Answer) -> None:
            if isinstance(answer, Member):
                self.send_index(exchange, server.applied_index)
                return
            fault = answer.value if isinstance(answer, MembershipFault) else str(answer)
            _log.warning("%s: %s was not removed: %s", server.name, name, fault)
            self._refuse(exchange, RaftInternal(fault, server.store.revision))

        _log.info("%s: removing node: %s; asked for by %s", server.name, name, exchange.remote)
        self._reconfiguration.remove(member.id, done)

    def send_index(self, exchange: Exchange, index: int, lines: bytes = b"") -> None:
        """Answers with an index of the log."""
        body = _varint(index).ljust(INDEX_REPLY_BYTES, b"\0")
        lines = b"Content-Type: application/octet-stream\r\n" + lines
        self._replies.send(exchange, 200, lines, body)

    def _config_body(self) -> bytes:
        return config_json(self._server.cluster) + b"\n"

    def _redirects(self, exchange: Exchange, body: bytes = b"") -> bool:
        """Sends the caller to the leader, if that is another member."""
        server = self._server
        leader = server.cluster.members.get(server.leader_id)
        if server.is_leader or leader is None:
            return False
        location = b"Location: %b%b\r\n" % (leader.peer_urls[0].encode(), exchange.path)
        self._replies.send(exchange, 307, location + (JSON if body else b""), body)
        return True

    def _refuse(self, exchange: Exchange, error: RequestError) -> None:
        lines = TEXT + b"X-Etcd-Index: %d\r\n" % error.index
        self._replies.send(exchange, error.http_status, lines, render_error(error))


def merge_config(config: ClusterConfig, given: dict[str, msgspec.Raw]) -> ClusterConfig:
    """The config with the numbers that were given, none below its minimum; the rest is ignored."""
    return bounded_config(
        _number(given.get("activeSize"), config.active_size),
        _number(given.get("removeDelay"), config.remove_delay),
        _number(given.get("syncInterval"), config.sync_interval),
    )


def _number(given: msgspec.Raw | None, default: float) -> float:
    if given is None:
        return default
    try:
        number = msgspec.json.decode(given, type=float)
    except FAULTS:
        return default
    return min(number, NUMBER_MAX) if math.isfinite(number) else default


def _varint(number: int) -> bytes:
    """An unsigned integer, seven bits a byte, lowest first."""
    encoded = bytearray()
    while number > 0x7F:  # noqa: PLR2004 -- seven bits
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)

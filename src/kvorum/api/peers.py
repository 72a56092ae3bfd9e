"""What the peer port answers besides raft's streams: joins, and questions of people and joiners.

    /join                  0.4: a process asks for a seat; a follower redirects to the leader
    /version, /name, /etcdURL, /version/<n>/check      0.4: text, whatever the method
    /v2/admin/..., /remove/<name>                      0.4: see `admin.py`
    GET /members           ids, names and URLs of all members
    POST /raft/stream, /raft/snapshot                  members only; handed to the transport

Every error of the v2 API comes as plain text on this port, as in 0.4.
Source: reference contract, v2-api sections 8 and 9.2.
"""

import logging
import re
from collections.abc import Callable

import msgspec

from kvorum.api.admin import Admin
from kvorum.api.reply import TEXT, Replies
from kvorum.config import Era
from kvorum.decoding import FAULTS
from kvorum.errors import PeerAddressExists, RaftInternal, RequestError, UnavailableError
from kvorum.protocol.http1 import Exchange
from kvorum.server.joining import (
    CLUSTER_HEADER,
    JOIN_VERSION,
    MEMBER_HEADER,
    PEERS_HEADER,
    JoinRequest,
    ListedMember,
    MemberListing,
)
from kvorum.server.seats import Seat, SeatRequest, Seats
from kvorum.server.server import Server
from kvorum.v2 import path as paths
from kvorum.v2.node import render_error
from kvorum.v2.policy import policy_of

_log = logging.getLogger("kvorum.api")

Handler = Callable[[Exchange], None]

MACHINES_PATH = b"/v2/admin/machines/"
REMOVE_PATH = b"/remove/"

_version_check = re.compile(rb"/version/([0-9]{1,9})/check").fullmatch


class PeerRouter:
    """Finds each exchange of the peer port its handler."""

    def __init__(self, server: Server, transport_handler: Handler) -> None:
        self._server = server
        self._seats = Seats(server)
        self._replies = Replies(server.config.cors, policy_of(server.config.era))
        self._any: dict[bytes, Handler] = {
            b"/version": lambda exchange: self._text(exchange, b"%d" % JOIN_VERSION),
            b"/name": lambda exchange: self._text(exchange, server.name.encode()),
            b"/etcdURL": lambda exchange: self._text(exchange, self._client_url()),
            b"/join": self._join,
        }
        self._get: dict[bytes, Handler] = {b"/members": self._members}
        self._admin = Admin(server, self._replies)
        self._other: dict[tuple[str, bytes], Handler] = {
            ("POST", b"/raft/stream"): transport_handler,
            ("POST", b"/raft/snapshot"): transport_handler,
        }
        self._is_legacy = server.config.era is Era.LEGACY
        if self._is_legacy:
            self._get[b"/v2/admin/machines"] = self._admin.machines
            self._get[b"/v2/admin/config"] = self._admin.config
            self._other["PUT", b"/v2/admin/config"] = self._admin.set_config

    def __call__(self, exchange: Exchange) -> None:
        """Passes the exchange to its handler."""
        handler = self._other.get((exchange.method, exchange.path))
        if handler is None and exchange.method in {"GET", "HEAD"}:
            handler = self._get.get(exchange.path)
        if handler is None and exchange.method != "OPTIONS":
            handler = self._any.get(exchange.path)
        version = _checked_version(exchange.path)
        if handler is not None:
            handler(exchange)
        elif self._is_legacy and self._handle_machine(exchange):
            return
        elif exchange.method == "OPTIONS":
            self._replies.send(exchange, 200, b"")
        elif version is not None:
            self._replies.text(exchange, b"", 200 if version == JOIN_VERSION else 403)
        else:
            self._replies.text(exchange, b"404 page not found\n", 404)

    def _handle_machine(self, exchange: Exchange) -> bool:
        """Answers what names a machine in its path; False for anything else."""
        path = paths.percent_decode(exchange.path) or b""
        is_get, is_delete = exchange.method in {"GET", "HEAD"}, exchange.method == "DELETE"
        is_removal = path.startswith(REMOVE_PATH)
        prefix = REMOVE_PATH if is_removal else MACHINES_PATH
        name = path.removeprefix(prefix).decode("utf-8", "replace")
        if not path.startswith(prefix) or not name or "/" in name:
            return False
        if is_delete:
            self._admin.remove(exchange, name)
        elif is_get and not is_removal:
            self._admin.machine(exchange, name)
        elif is_removal and exchange.method != "OPTIONS":
            self._replies.send(exchange, 405, b"")
        else:
            return False
        return True

    def _text(self, exchange: Exchange, body: bytes) -> None:
        self._replies.text(exchange, body)

    def _client_url(self) -> bytes:
        return self._server.config.advertised_client_urls[0].encode()

    def _members(self, exchange: Exchange) -> None:
        members = [
            ListedMember(f"{member.id:x}", member.name, member.peer_urls, member.client_urls)
            for member in self._server.cluster
        ]
        removed = [f"{gone:x}" for gone in self._server.cluster.attributes.removed]
        listing = MemberListing(f"{self._server.cluster_id:x}", members, removed)
        self._replies.json(exchange, msgspec.json.encode(listing) + b"\n")

    def _join(self, exchange: Exchange) -> None:
        try:
            asked = msgspec.json.decode(exchange.body, type=JoinRequest)
        except FAULTS as error:
            _log.info("refused a join that cannot be read: %s", error)
            self._replies.text(exchange, b"", 500)
            return
        server = self._server
        leader = server.cluster.members.get(server.leader_id)
        if leader is None:
            self._refuse(exchange, RaftInternal(index=server.store.revision))
        elif not server.is_leader:
            self._replies.redirect(exchange, 307, f"{leader.peer_urls[0]}/join".encode())
        else:
            request = SeatRequest(
                asked.name, asked.raft_url, asked.etcd_url, int(asked.member_id, 16)
            )
            self._seats.request(request, lambda answer: self._seated(exchange, request, answer))

    def _seated(
        self,
        exchange: Exchange,
        request: SeatRequest,
        answer: Seat | RequestError | UnavailableError,
    ) -> None:
        if isinstance(answer, UnavailableError):
            answer = RaftInternal(str(answer), self._server.store.revision)
        if isinstance(answer, RequestError):
            self._tell_refusal(request, answer)
            self._refuse(exchange, answer)
            return
        peers = ",".join(f"{member_id:x}={url}" for member_id, url in answer.peers.items())
        lines = b"%b: %x\r\n%b: %x\r\n%b: %b\r\n" % (
            CLUSTER_HEADER,
            answer.cluster_id,
            MEMBER_HEADER,
            answer.member_id,
            PEERS_HEADER,
            peers.encode(),
        )
        self._admin.send_index(exchange, answer.index, lines)

    def _tell_refusal(self, request: SeatRequest, error: RequestError) -> None:
        if isinstance(error, PeerAddressExists):
            text = "%s tries to join the cluster with existing URL %s"
            _log.warning(text, request.name, request.client_url)
        else:
            _log.warning("%s may not join: %s", request.name, error)

    def _refuse(self, exchange: Exchange, error: RequestError) -> None:
        lines = TEXT + b"X-Etcd-Index: %d\r\n" % error.index
        self._replies.send(exchange, error.http_status, lines, render_error(error))


def _checked_version(path: bytes) -> int | None:
    """The version of the protocol between members that somebody asks for."""
    found = _version_check(path)
    return None if found is None else int(found[1])

"""`/v2/members` of the 3.x era: who is in the cluster, and who shall be.

    GET     /v2/members, /v2/members/leader
    POST    /v2/members           {"peerURLs": [...]}: a seat for a member that is started next
    PUT     /v2/members/<id>      {"peerURLs": [...]}: where a member is reached from now on
    DELETE  /v2/members/<id>      its seat goes for good

Whatever keeps a change from being made, and is not the caller's fault, is a plain 500 as in etcd;
the log says what it was.
Source: v2-api section 15; texts measured on etcd 3.5.1.
"""

import logging
from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec

from kvorum.api.jsonbody import describe_fault
from kvorum.api.reply import JSON, NO_SNIFFING, TEXT, Replies
from kvorum.decoding import FAULTS, parse_id
from kvorum.membership import Member, MembershipFault
from kvorum.protocol.exchange import Exchange
from kvorum.server.reconfiguration import Answer, Reconfiguration
from kvorum.server.server import Server
from kvorum.v2.node import escape

_log = logging.getLogger("kvorum.api")

PATH = b"/v2/members"
SCHEMES = {"http", "https"}


class _Request(msgspec.Struct):
    peer_urls: list[str] = msgspec.field(name="peerURLs", default_factory=list)


def render_member(member: Member) -> bytes:
    """One member's JSON."""
    return b'{"id":"%x","name":"%b","peerURLs":%b,"clientURLs":%b}' % (
        member.id,
        escape(member.name.encode()),
        _render_urls(member.peer_urls),
        _render_urls(member.client_urls),
    )


def _render_urls(urls: tuple[str, ...]) -> bytes:
    return b"[" + b",".join(b'"%b"' % escape(url.encode()) for url in urls) + b"]"


class Members:
    """The handlers of one server."""

    def __init__(self, server: Server, replies: Replies) -> None:
        self._server = server
        self._replies = replies
        self._reconfiguration = Reconfiguration(server)

    def get(self, exchange: Exchange) -> None:
        """Every member, by id; or the one that leads."""
        rest = _rest_of(exchange)
        if not rest:
            members = sorted(self._server.cluster.members.values(), key=lambda member: member.id)
            listing = b",".join(map(render_member, members))
            self._send(exchange, b'{"members":[%b]}\n' % listing)
        elif rest == "leader":
            self._get_leader(exchange)
        else:
            self._refuse(exchange, 404, "Not found")

    def _get_leader(self, exchange: Exchange) -> None:
        leader = self._server.cluster.members.get(self._server.leader_id)
        if leader is None:
            self._refuse(exchange, 503, "During election")
        else:
            self._send(exchange, render_member(leader) + b"\n")

    def add(self, exchange: Exchange) -> None:
        """A seat for a member that is started next."""

        def done(answer: Answer) -> None:
            if isinstance(answer, Member):
                self._send(exchange, render_member(answer) + b"\n", 201)
            else:
                self._fail(exchange, 0, answer)

        urls = self._read_urls(exchange)
        if urls is not None:
            self._reconfiguration.add(urls, done)

    def move(self, exchange: Exchange) -> None:
        """A member is reached at other URLs."""
        member_id = self._read_id(exchange)
        urls = None if member_id is None else self._read_urls(exchange)
        if member_id is not None and urls is not None:
            self._reconfiguration.move(member_id, urls, self._finish(exchange, member_id))

    def remove(self, exchange: Exchange) -> None:
        """A member's seat goes for good."""
        member_id = self._read_id(exchange)
        if member_id is None:
            return
        if self._server.cluster.was_removed(member_id):
            self._refuse(exchange, 410, f"Member permanently removed: {member_id:x}")
        else:
            self._reconfiguration.remove(member_id, self._finish(exchange, member_id))

    def _finish(self, exchange: Exchange, member_id: int) -> Callable[[Answer], None]:
        def done(answer: Answer) -> None:
            if isinstance(answer, Member):
                self._replies.send(exchange, 204, self._cluster_line())
            else:
                self._fail(exchange, member_id, answer)

        return done

    def _fail(self, exchange: Exchange, member_id: int, answer: Answer) -> None:
        if answer is MembershipFault.NOT_FOUND:
            self._refuse(exchange, 404, f"No such member: {member_id:x}")
        elif answer is MembershipFault.PEER_URL_EXISTS:
            self._refuse(exchange, 409, "membership: peerURL exists")
        else:
            fault = answer.value if isinstance(answer, MembershipFault) else str(answer)
            what = f"{exchange.method} {exchange.path.decode('utf-8', 'replace')}"
            _log.warning("%s: %s was refused: %s", self._server.name, what, fault)
            self._refuse(exchange, 500, "Internal Server Error")

    def _read_id(self, exchange: Exchange) -> int | None:
        """The member the path names; None when the request has been answered instead."""
        name = _rest_of(exchange)
        if not name:
            lines = TEXT + NO_SNIFFING + self._cluster_line()
            self._replies.send(exchange, 405, lines, b"Method Not Allowed\n")
            return None
        member_id = parse_id(name.encode())
        if member_id is None:
            self._refuse(exchange, 404, f"No such member: {name}")
        return member_id

    def _read_urls(self, exchange: Exchange) -> tuple[str, ...] | None:
        """The peer URLs of the body; None when the request has been answered instead."""
        kind = exchange.headers.get(b"content-type", b"").decode("latin-1")
        if ";" in kind:  # only then its case does not count
            kind = kind.partition(";")[0].lower().strip()
        if kind != "application/json":
            self._refuse(exchange, 415, f"Bad Content-Type {kind}, accept application/json")
            return None
        try:
            urls = msgspec.json.decode(exchange.body, type=_Request).peer_urls
        except FAULTS as error:
            text = describe_fault(exchange.body, error, "unexpected end of JSON input")
            self._refuse(exchange, 400, text)
            return None
        fault = next(filter(None, map(find_url_fault, urls)), "" if urls else "no valid URLs given")
        if fault:
            self._refuse(exchange, 400, fault)
            return None
        return tuple(sorted(urls))

    def _refuse(self, exchange: Exchange, status: int, message: str) -> None:
        self._send(exchange, b'{"message":"%b"}' % escape(message.encode()), status)

    def _send(self, exchange: Exchange, body: bytes, status: int = 200) -> None:
        self._replies.send(exchange, status, JSON + self._cluster_line(), body)

    def _cluster_line(self) -> bytes:
        return b"X-Etcd-Cluster-Id: %x\r\n" % self._server.cluster_id


def _rest_of(exchange: Exchange) -> str:
    """What follows in the path."""
    return exchange.path[len(PATH) + 1 :].decode("utf-8", "replace")


def find_url_fault(url: str) -> str:
    """Why a member cannot be reached at such a URL; empty if it may be."""
    if not url.isprintable():
        shown = url.encode("unicode_escape").decode()
        return f'parse "{shown}": net/url: invalid control character in URL'
    scheme, separator, rest = url.partition("://")
    if not separator and url[:1].isdigit() and ":" in url:
        return f'parse "{url}": first path segment in URL cannot contain colon'
    if not separator or scheme not in SCHEMES:
        return f"URL scheme must be http, https, unix, or unixs: {url}"
    if not _has_address(url):
        return f'URL address does not have the form "host:port": {url}'
    if rest != urlsplit(url).netloc:
        return f"URL must not contain a path: {url}"
    return ""


def _has_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna")
        return parts.port is not None and bool(host)
    except ValueError:
        return False

"""`/v2/members` of the 3.x era: who is in the cluster.

Source: v2-api section 15.
"""

from kvorum.api.reply import JSON, Replies
from kvorum.membership import Member
from kvorum.protocol.exchange import Exchange
from kvorum.server.server import Server
from kvorum.v2.node import escape


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

    def all(self, exchange: Exchange) -> None:
        """`/v2/members`: every member, by id."""
        members = sorted(self._server.cluster.members.values(), key=lambda member: member.id)
        listing = b",".join(render_member(member) for member in members)
        self._send(exchange, b'{"members":[%b]}\n' % listing)

    def leader(self, exchange: Exchange) -> None:
        """`/v2/members/leader`: the member that leads."""
        leader = self._server.cluster.members.get(self._server.leader_id)
        if leader is None:
            self._send(exchange, b'{"message":"During election"}', 503)
        else:
            self._send(exchange, render_member(leader) + b"\n")

    def _send(self, exchange: Exchange, body: bytes, status: int = 200) -> None:
        lines = JSON + b"X-Etcd-Cluster-Id: %x\r\n" % self._server.cluster_id
        self._replies.send(exchange, status, lines, body)

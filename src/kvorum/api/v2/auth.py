"""`/v2/auth` of the 3.x era: who may do what. Nobody is asked, and that cannot be changed.

    GET  /v2/auth/enable, users, roles    as etcd answers while auth was never used
    all else                             501, in words

Texts measured on etcd 3.4.
"""

from kvorum.api.reply import JSON, Replies
from kvorum.protocol.exchange import Exchange
from kvorum.server.server import Server

ENABLE = b"/v2/auth/enable"
USERS = b"/v2/auth/users"
ROLES = b"/v2/auth/roles"

_PAGES = {
    ENABLE: b'{"enabled":false}\n',
    USERS: b'{"users":null}\n',
    ROLES: b'{"roles":[{"role":"root","permissions":{"kv":{"read":["/*"],"write":["/*"]}}}]}\n',
}
_NOT_THERE = b'{"message":"auth: not supported by this server; nobody is asked who he is"}'


class Auth:
    """The handlers of one server."""

    def __init__(self, server: Server, replies: Replies) -> None:
        self._server = server
        self._replies = replies

    def get(self, exchange: Exchange) -> None:
        """What is in force."""
        page = _PAGES.get(exchange.path.rstrip(b"/"))
        if page is None:
            self.change(exchange)
        else:
            self._send(exchange, 200, page)

    def change(self, exchange: Exchange) -> None:
        """Says that nothing can be changed."""
        self._send(exchange, 501, _NOT_THERE)

    def _send(self, exchange: Exchange, status: int, body: bytes) -> None:
        lines = JSON + b"X-Etcd-Cluster-Id: %x\r\n" % self._server.cluster_id
        self._replies.send(exchange, status, lines, body)

"""What the client port serves: one table, and the rules of the HTTP layer around it.

    OPTIONS on any path          200, empty
    path not in canonical form   301 to its canonical form, whatever the method
    unknown path                 404
    known path, wrong method     404 or 405, as the policy says

Paths are matched after percent-decoding; the exchange's path is the decoded one from here on.
Source: v2-api sections 2, 5, 7 and 15.
"""

import logging
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias
from urllib.parse import quote_from_bytes

from kvorum.api.metrics import MetricsPage
from kvorum.api.reply import Replies
from kvorum.api.v1 import KEYS_PATH as V1_KEYS_PATH
from kvorum.api.v1 import WATCH_PATH, V1Keys
from kvorum.api.v2.auth import ENABLE, ROLES, USERS, Auth
from kvorum.api.v2.keys import Keys
from kvorum.api.v2.members import Members
from kvorum.api.v2.mod import LEADER_PATH, LOCK_PATH, Locks
from kvorum.api.v2.speed import SpeedTest
from kvorum.api.v2.stats import Stats
from kvorum.config import Era
from kvorum.protocol.exchange import Exchange
from kvorum.server.server import Server
from kvorum.v2 import path as paths
from kvorum.v2.path import PERCENT
from kvorum.v2.policy import V2Policy, policy_of

_log = logging.getLogger("kvorum.api")

Handler: TypeAlias = Callable[[Exchange], None]
Methods: TypeAlias = dict[str, Handler]

_NO_METHODS: Methods = {}

_DOT = ord(".")

BOTH = (Era.LEGACY, Era.MODERN)
LEGACY_ONLY = (Era.LEGACY,)
MODERN_ONLY = (Era.MODERN,)

PATH_SAFE = "/$&+,:;=@-_.~"
"""What stays as it is when a path is written back into a URL."""


class Route(NamedTuple):
    """One row of the table.

    Attributes:
        path: ends with a slash when everything below it is served by the same handlers.
        methods: what may be done, in the order an `Allow` header names it.
    """

    path: bytes
    eras: tuple[Era, ...]
    methods: Methods


class Router:
    """Finds each exchange its handler. Called with every request of the client port."""

    def __init__(self, routes: list[Route], policy: V2Policy, replies: Replies) -> None:
        self._policy = policy
        self._replies = replies
        served = [route for route in routes if policy.era in route.eras]
        self._exact = {
            route.path: route.methods for route in served if not route.path.endswith(b"/")
        }
        self._below = [(route.path, route.methods) for route in served if route.path.endswith(b"/")]

    def __call__(self, exchange: Exchange) -> None:
        """Passes the exchange to its handler, or answers why there is none."""
        path = exchange.path
        # A byte given as a number is found in a tenth of the time.
        if PERCENT in path or path.find(b"//") >= 0 or (_DOT in path and path.find(b"/.") >= 0):
            if not self._canonicalise(exchange):
                return
            path = exchange.path
        methods = self._find(path)
        handler = methods.get(exchange.method)
        if handler is not None:
            handler(exchange)
        else:
            self._refuse(exchange, methods)

    def _find(self, path: bytes) -> Methods:
        for prefix, methods in self._below:
            if path.startswith(prefix):
                return methods
        return self._exact.get(path, _NO_METHODS)

    def _canonicalise(self, exchange: Exchange) -> bool:
        """Decodes the path. False when the request has been answered instead."""
        decoded = paths.percent_decode(exchange.path)
        assert decoded is not None, "the protocol refuses malformed escapes"
        if exchange.method == "OPTIONS":
            self._replies.send(exchange, 200, b"")
        elif not paths.is_clean(decoded):
            location = quote_from_bytes(paths.clean(decoded), PATH_SAFE).encode()
            if exchange.query:
                location += b"?" + exchange.query
            self._replies.redirect(exchange, 301, location)
        else:
            exchange.path = decoded
            return True
        return False

    def _refuse(self, exchange: Exchange, methods: Methods) -> None:
        if exchange.method == "OPTIONS":
            self._replies.send(exchange, 200, b"")
        elif methods and not self._policy.wrong_method_is_404:
            self._replies.not_allowed(exchange, methods)
        else:
            self._replies.not_found(exchange)


class TracingRouter(Router):
    """Tells the log of each request, in 0.4's words."""

    def __init__(
        self, routes: list[Route], policy: V2Policy, replies: Replies, own_url: str
    ) -> None:
        super().__init__(routes, policy, replies)
        self._own_url = own_url

    def __call__(self, exchange: Exchange) -> None:
        """Notes the request, then passes it on."""
        target = exchange.target.decode("utf-8", "backslashreplace")
        text = "[recv] %s %s %s [%s]"
        _log.debug(text, exchange.method, self._own_url, target, exchange.remote)
        super().__call__(exchange)


def client_router(server: Server) -> Router:
    """Everything the client port of this server answers.

    The caller makes it once the server knows its cluster's id.
    """
    policy = policy_of(server.config.era)
    replies = Replies(server.config.cors, policy)
    keys = Keys(server, policy, replies)
    stats = Stats(server, policy, replies, keys.waits)
    members = Members(server, replies)
    metrics = MetricsPage(server, replies)
    locks = Locks(server, replies)
    keys_methods: Methods = {
        "HEAD": keys.get,
        "GET": keys.get,
        "PUT": keys.put,
        "POST": keys.post,
        "DELETE": keys.delete,
    }
    members_methods: Methods = {
        "GET": members.get,
        "POST": members.add,
        "DELETE": members.remove,
        "PUT": members.move,
    }
    locks_methods: Methods = {
        "GET": locks.get,
        "POST": locks.acquire,
        "PUT": locks.renew,
        "DELETE": locks.release,
    }
    leaders_methods: Methods = {
        "GET": locks.get_leader,
        "PUT": locks.set_leader,
        "DELETE": locks.delete_leader,
    }
    routes = [
        Route(b"/v2/keys/", BOTH, keys_methods),
        Route(b"/v2/keys", MODERN_ONLY, keys_methods),
        Route(b"/v2/machines", BOTH, _reads(stats.machines)),
        Route(b"/v2/peers", LEGACY_ONLY, _reads(stats.machines)),
        Route(b"/v2/leader", LEGACY_ONLY, _reads(stats.leader)),
        *_statistics(stats),
        *_first_api(V1Keys(server, keys, replies), stats),
        Route(
            b"/v2/speedTest",
            LEGACY_ONLY,
            _reads(lambda exchange: SpeedTest(server, replies, exchange).start()),
        ),
        Route(LOCK_PATH, LEGACY_ONLY, locks_methods),
        Route(LEADER_PATH, LEGACY_ONLY, leaders_methods),
        Route(b"/v2/members", MODERN_ONLY, members_methods),
        Route(b"/v2/members/", MODERN_ONLY, members_methods),
        Route(b"/version", LEGACY_ONLY, {"GET": stats.legacy_version}),
        Route(b"/version", MODERN_ONLY, {"GET": stats.modern_version}),
        Route(b"/health", MODERN_ONLY, {"GET": stats.health}),
        *_auth(Auth(server, replies)),
        Route(b"/metrics", BOTH, _reads(metrics.get)),
        Route(b"/debug/vars", MODERN_ONLY, {"GET": metrics.variables}),
    ]
    if _log.isEnabledFor(logging.DEBUG):
        own_url = server.config.advertised_client_urls[0]
        return TracingRouter(routes, policy, replies, own_url)
    return Router(routes, policy, replies)


def _statistics(stats: Stats) -> Iterator[Route]:
    """HEAD is served in the 0.4 era only."""
    for name, handler in (
        (b"self", stats.self_statistics),
        (b"leader", stats.leader_statistics),
        (b"store", stats.store_statistics),
    ):
        yield Route(b"/v2/stats/" + name, LEGACY_ONLY, _reads(handler))
        yield Route(b"/v2/stats/" + name, MODERN_ONLY, {"GET": handler})


def _first_api(keys: V1Keys, stats: Stats) -> Iterator[Route]:
    yield Route(
        V1_KEYS_PATH,
        LEGACY_ONLY,
        {**_reads(keys.get), "PUT": keys.put, "POST": keys.put, "DELETE": keys.delete},
    )
    yield Route(WATCH_PATH, LEGACY_ONLY, {**_reads(keys.watch), "POST": keys.watch})
    for name, handler in (
        (b"leader", stats.leader),
        (b"machines", stats.machines),
        (b"peers", stats.machines),
        (b"stats/self", stats.self_statistics),
        (b"stats/leader", stats.leader_statistics),
        (b"stats/store", stats.store_statistics),
    ):
        yield Route(b"/v1/" + name, LEGACY_ONLY, _reads(handler))


def _auth(auth: Auth) -> Iterator[Route]:
    changes: Methods = {"GET": auth.get, "PUT": auth.change, "DELETE": auth.change}
    yield Route(ENABLE, MODERN_ONLY, changes)
    for path in (USERS, ROLES):
        yield Route(path, MODERN_ONLY, {"GET": auth.get})
        yield Route(path + b"/", MODERN_ONLY, changes)


def _reads(handler: Handler) -> Methods:
    return {"GET": handler, "HEAD": handler}

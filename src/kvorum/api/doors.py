"""What stands before a router on some addresses: which host names it answers to, which paths.

    --host-whitelist        on addresses in the clear, a request for any other host is refused: a
                            page in a browser that gave its own name our address (DNS rebinding)
                            cannot reach the keys
    --listen-metrics-urls   only /metrics and /health, for who watches without being a client

Source: v3-operations section 2.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from kvorum.api.reply import TEXT, Replies
from kvorum.config import Config
from kvorum.protocol.exchange import Exchange
from kvorum.v2.policy import policy_of

Handler: TypeAlias = Callable[[Exchange], None]


class Doors(NamedTuple):
    """A router as three kinds of addresses show it."""

    encrypted: Handler
    clear: Handler
    watched: Handler


ANY_HOST = "*"
WATCHED_PATHS = frozenset((b"/metrics", b"/health"))


def doors_of(config: Config, router: Handler) -> Doors:
    """The doors that these settings put before the clients' router."""
    replies = Replies(config.cors, policy_of(config.era))
    clear = check_hosts(router, config.host_whitelist, replies)
    return Doors(router, clear, only_watched(router, replies))


def host_of(field: bytes) -> str:
    """The name in a Host header, without port and brackets."""
    text = field.decode("latin-1").lower()
    name, _, port = text.rpartition(":")
    if not name or not port.isdigit() or (":" in name and not name.endswith("]")):
        name = text
    return name.removeprefix("[").removesuffix("]")


def check_hosts(handler: Handler, names: Sequence[str], replies: Replies) -> Handler:
    """The handler, behind a look at the host that is asked for."""
    if not names or ANY_HOST in names:
        return handler
    known = {name.lower().removeprefix("[").removesuffix("]") for name in names}

    def checked(exchange: Exchange) -> None:
        host = host_of(exchange.headers.get(b"host", b""))
        if host in known:
            handler(exchange)
            return
        text = f"requests for the host {host!r} are not answered here: --host-whitelist\n"
        replies.send(exchange, 421, TEXT, text.encode("ascii", "backslashreplace"))

    return checked


def only_watched(handler: Handler, replies: Replies) -> Handler:
    """The handler for what a monitoring system asks, and nothing else."""

    def watched(exchange: Exchange) -> None:
        if exchange.path in WATCHED_PATHS:
            handler(exchange)
        else:
            replies.not_found(exchange)

    return watched

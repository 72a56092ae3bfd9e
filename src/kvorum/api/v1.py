"""`/v1/keys` and `/v1/watch` of the 0.4 era: what clients of 0.1 still ask.

    GET           /v1/keys/<key>       a file, or the list of what is in a directory
    PUT, POST     /v1/keys/<key>       value [ttl] [prevValue]
    DELETE        /v1/keys/<key>       a file
    GET, POST     /v1/watch/<key>      [index] of a POST: the first event at or after it

One flat object tells what happened; its index is that of a write, or for reads the present one. A
status of 201 and the headers of v2 came later. Errors are those of v2.
Source: v2-api section 6.
"""

from kvorum.api.reply import Replies
from kvorum.api.v2.form import parse_signed, parse_unsigned, read_form
from kvorum.api.v2.keys import CATCH_UP_REVISIONS, Keys
from kvorum.api.v2.params import expiration_at
from kvorum.errors import (
    ClientInternal,
    IndexNotANumber,
    RaftInternal,
    RequestError,
    TTLNotANumber,
    ValueRequired,
)
from kvorum.protocol.exchange import Exchange
from kvorum.server.server import Server
from kvorum.v2.commands import CompareAndSwap, Create, Delete, KeyCommand, Set
from kvorum.v2.node import (
    ACTION_NAMES,
    Action,
    Event,
    Node,
    escape,
    render_time,
    replace_invalid,
    ttl_left,
)

KEYS_PATH = b"/v1/keys/"
WATCH_PATH = b"/v1/watch/"

_TESTS = frozenset((Action.CREATE, Action.COMPARE_AND_SWAP))
"""Both are a `testAndSet` here."""


class V1Keys:
    """The handlers of one server, on top of those of v2."""

    def __init__(self, server: Server, keys: Keys, replies: Replies) -> None:
        self._server = server
        self._keys = keys
        self._replies = replies

    def get(self, exchange: Exchange) -> None:
        """GET and HEAD of a key."""
        key = self._keys.key_of(exchange, KEYS_PATH)
        if key is None:
            return
        outcome = self._keys.find(key)
        if isinstance(outcome, Event):
            self._answer(exchange, outcome, self._server.store.revision)
        else:
            self._keys.fail(exchange, outcome)

    def put(self, exchange: Exchange) -> None:
        """PUT and POST of a key."""
        key = self._keys.key_of(exchange, KEYS_PATH)
        if key is None:
            return
        command = self._command(exchange, key)
        if isinstance(command, RequestError):
            self._keys.fail(exchange, command)
        else:
            self._keys.propose(exchange, command, self._finish)

    def delete(self, exchange: Exchange) -> None:
        """DELETE of a key."""
        key = self._keys.key_of(exchange, KEYS_PATH)
        if key is not None:
            self._keys.propose(exchange, Delete(key), self._finish)

    def watch(self, exchange: Exchange) -> None:
        """GET and POST of a watch; nothing is sent before the event."""
        key = self._keys.key_of(exchange, WATCH_PATH)
        if key is None:
            return
        form, _ = read_form(exchange)
        text = form.get(b"index", b"") if exchange.method == "POST" else b""
        index = parse_unsigned(text or b"0")
        store = self._server.store
        if index is None:
            self._keys.fail(exchange, IndexNotANumber("Watch From Index", store.revision))
        elif 0 < index < store.compacted_revision:
            self._clear(exchange, key)
        elif self._keys.waits.is_full:
            self._keys.fail(exchange, RaftInternal("too many waiting requests"))
        else:
            self._wait(exchange, key, index)

    def _wait(self, exchange: Exchange, key: bytes, index: int) -> None:
        waits, store = self._keys.waits, self._server.store

        def told(event: Event) -> None:
            wait.cancel()
            exchange.on_close = None
            self._answer(exchange, event, store.revision)

        def cleared() -> None:
            exchange.on_close = None
            self._clear(exchange, key)

        wait = waits.open(key, index, told, cleared, is_recursive=False)
        exchange.on_close = wait.cancel
        if 0 < index <= store.revision:
            waits.recall(wait, CATCH_UP_REVISIONS)

    def _command(self, exchange: Exchange, key: bytes) -> KeyCommand | RequestError:
        form, _ = read_form(exchange)
        revision = self._server.store.revision
        value = replace_invalid(form.get(b"value", b""))
        if not value:
            return ValueRequired("Set", revision)
        text = form.get(b"ttl", b"")
        ttl = parse_signed(text or b"0")
        if ttl is None:
            return TTLNotANumber("Set", revision)
        expiration = expiration_at(self._server.clock.wall_ns(), ttl) if text else 0
        prev_value = form.get(b"prevValue")
        if prev_value is None:
            return Set(key, value, expiration=expiration)
        if not prev_value:
            return Create(key, value, expiration=expiration)
        return CompareAndSwap(key, value, replace_invalid(prev_value), expiration=expiration)

    def _finish(self, exchange: Exchange, outcome: object) -> None:
        if isinstance(outcome, Event):
            self._answer(exchange, outcome, outcome.node.modified_index)
        else:
            self._keys.fail(exchange, outcome)

    def _clear(self, exchange: Exchange, key: bytes) -> None:
        cause = key.decode("utf-8", "surrogateescape")
        self._keys.fail(exchange, ClientInternal(cause, self._server.store.revision))

    def _answer(self, exchange: Exchange, event: Event, index: int) -> None:
        self._replies.text(exchange, render(event, index, self._server.clock.wall_ns()))


def render(event: Event, index: int, now_ns: int) -> bytes:
    """The flat object, or for a directory the array of those of its children."""
    node = event.node
    if node.is_dir:
        children = [_render_child(event.action, child, index) for child in node.nodes or []]
        return b"[%b]" % b",".join(children)
    prev = event.prev_node
    fields = [*_head(event.action, node.key)]
    if prev is not None and prev.value is not None:
        fields.append(b'"prevValue":"%b"' % escape(prev.value))
    if node.value is not None:
        fields.append(b'"value":"%b"' % escape(node.value))
    if event.action == Action.SET and prev is None:
        fields.append(b'"newKey":true')
    if node.expiration:
        fields.append(b'"expiration":"%b"' % render_time(node.expiration))
        ttl = ttl_left(node.expiration, now_ns)
        fields += [b'"ttl":%d' % ttl] if ttl else []
    return b"{%b}" % b",".join([*fields, b'"index":%d' % index])


def _render_child(action: Action, node: Node, index: int) -> bytes:
    shown = b'"dir":true' if node.value is None else b'"value":"%b"' % escape(node.value)
    return b"{%b}" % b",".join([*_head(action, node.key), shown, b'"index":%d' % index])


def _head(action: Action, key: bytes) -> tuple[bytes, bytes]:
    name = b"testAndSet" if action in _TESTS else ACTION_NAMES[action]
    return b'"action":"%b"' % name, b'"key":"%b"' % escape(key)

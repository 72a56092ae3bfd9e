"""`/v2/keys`: get, wait, put, post, delete.

A write becomes a command, goes to `Server.propose`, and its outcome becomes the reply; a read is
served at once, or after `Server.read` when it must be linearizable. Between a request's arrival and
its reply there is one completion: a bound method with its exchange.

The common PUT and GET take short cuts: a body that is one plain `value=`, a query that is empty or
was seen before.
Source: v2-api section 3.
"""

from collections.abc import Callable
from functools import partial

from msgspec import structs

from kvorum.api.reply import JSON, STATUS_LINES, Replies
from kvorum.api.v2.form import AMPERSAND, FORM_TYPE, PLUS, read_form
from kvorum.api.v2.params import Parsed, Read, Request, params_of
from kvorum.api.v2.waits import WaitReply
from kvorum.errors import (
    EventIndexCleared,
    InvalidField,
    InvalidForm,
    NotAFile,
    RaftInternal,
    RequestError,
    RootReadOnly,
    UnavailableError,
)
from kvorum.protocol.exchange import Exchange
from kvorum.server.server import Server
from kvorum.v2 import path as paths
from kvorum.v2.commands import Create, KeyCommand, Set
from kvorum.v2.events import Waits
from kvorum.v2.machines import TOP, Machines
from kvorum.v2.node import ACTION_NAMES, Action, Event, render_event, replace_invalid
from kvorum.v2.path import PERCENT
from kvorum.v2.policy import V2Policy

_PATH = b"/v2/keys/"

CATCH_UP_REVISIONS = 1_000
"""Revisions read at once for a wait that begins in the past; the server reads on when idle."""

_PLAIN_READ = Read()
_WAIT_INDEX = b"&waitIndex="

KNOWN_QUERIES_MAX = 64
KNOWN_QUERY_BYTES_MAX = 128
"""Queries that are remembered: a client asks in the same words again and again."""

SURE_DIGITS = 18

_HIDING_ACTIONS = frozenset((Action.SET, Action.CREATE, Action.UPDATE, Action.COMPARE_AND_SWAP))


class Keys:
    """The handlers of one server's keys API. Made after the server knows its cluster's id.

    Attributes:
        waits: everyone who waits.
    """

    def __init__(self, server: Server, policy: V2Policy, replies: Replies) -> None:
        self._server = server
        self._policy = policy
        self._replies = replies
        self._params = params_of(policy)
        self._keeps_raw_bytes = policy.keeps_raw_bytes
        self._machines = Machines(server.cluster, server.tree)
        self._body_bytes_max = server.config.request_bytes_max
        self.waits = Waits(server.hub, server.machine_log)
        self._known_reads: dict[bytes, Read] = {}
        self._last_rendered: tuple[Event | None, bytes] = (None, b"")
        fixed = JSON
        if policy.shows_cluster_id:
            fixed += b"X-Etcd-Cluster-Id: %x\r\n" % server.cluster_id
        self._fixed_lines = fixed
        indexes = b"X-Etcd-Index: %d\r\nX-Raft-Index: %d\r\nX-Raft-Term: %d\r\n%b"
        self._ok_head = STATUS_LINES[200] + fixed + indexes
        self._created_head = STATUS_LINES[201] + fixed + indexes

    # Handlers.

    def get(self, exchange: Exchange) -> None:
        """GET and HEAD."""
        key = self.key_of(exchange)
        if key is None:
            return
        read = (self._known_read(exchange) if exchange.query else _PLAIN_READ) or self._parse_read(
            exchange, key
        )
        if isinstance(read, RequestError):
            self._refuse(exchange, read)
        elif read.is_wait:
            self._wait(exchange, key, read)
        elif read.is_linearizable:
            self._server.read(partial(self._serve_linearizable, exchange, key, read))
        else:
            self._serve(exchange, key, read)

    def put(self, exchange: Exchange) -> None:
        """PUT."""
        key = self.key_of(exchange)
        if key is None:
            return
        body = exchange.body
        if (
            not exchange.query
            and body.startswith(b"value=")
            and exchange.headers.get(b"content-type") == FORM_TYPE
            and AMPERSAND not in body
            and PERCENT not in body
            and PLUS not in body
        ):
            value = body[6:]
            if not value.isascii() and not self._keeps_raw_bytes:
                value = replace_invalid(value)
            self.propose(exchange, Set(key, value))
            return
        self._write(exchange, self._params.put(self._request(exchange, key)))

    def post(self, exchange: Exchange) -> None:
        """POST."""
        key = self.key_of(exchange)
        if key is not None:
            self._write(exchange, self._params.post(self._request(exchange, key)))

    def delete(self, exchange: Exchange) -> None:
        """DELETE; its body is not looked at."""
        key = self.key_of(exchange)
        if key is not None:
            self._write(exchange, self._params.delete(self._request(exchange, key)))

    # Requests.

    def key_of(self, exchange: Exchange, prefix: bytes = _PATH) -> bytes | None:
        """The node's path; None when the request has been answered with what is wrong."""
        path = paths.parse(exchange.path[len(prefix) - 1 :])
        if not path.isascii() and not self._keeps_raw_bytes:
            path = replace_invalid(path)
        if len(path) > paths.COMPONENTS_MAX and not paths.is_within_limits(path):
            cause = (
                f"a key has at most {paths.COMPONENTS_MAX} components"
                f" and {paths.PATH_BYTES_MAX} bytes"
            )
            self._refuse(exchange, InvalidField(cause, self._server.store.revision))
            return None
        if len(exchange.body) > self._body_bytes_max:
            cause = f"request body is larger than {self._body_bytes_max} bytes"
            error = InvalidForm(cause, self._server.store.revision)
            self._refuse(exchange, error, status=413)
            return None
        return path

    def _request(self, exchange: Exchange, key: bytes) -> Request:
        form, fault = read_form(exchange)
        server = self._server
        return Request(
            key, form, fault, server.clock.wall_ns(), server.store.revision, exchange.method
        )

    def _known_read(self, exchange: Exchange) -> Read | None:
        """What a query asks for that was seen before, but for the index it waits from."""
        query, mark, wait_index = exchange.query.partition(_WAIT_INDEX)
        read = self._known_reads.get(query)
        if read is None or exchange.method != "GET":
            return None
        if not mark:
            return read
        return structs.replace(read, wait_index=int(wait_index)) if _is_index(wait_index) else None

    def _parse_read(self, exchange: Exchange, key: bytes) -> Read | RequestError:
        read = self._params.get(self._request(exchange, key))
        if isinstance(read, RequestError) or exchange.method != "GET":
            return read
        query, mark, wait_index = exchange.query.partition(_WAIT_INDEX)
        if _is_plain(query) and (not mark or _is_index(wait_index)):
            if len(self._known_reads) >= KNOWN_QUERIES_MAX:
                self._known_reads.clear()
            self._known_reads[query] = structs.replace(read, wait_index=0)
        return read

    # Writes.

    def _write(self, exchange: Exchange, parsed: Parsed) -> None:
        if isinstance(parsed, RequestError):
            self._refuse(exchange, parsed)
        elif parsed.hides_node:
            self.propose(exchange, parsed.command, self._finish_hiding)
        else:
            self.propose(exchange, parsed.command)

    def propose(
        self,
        exchange: Exchange,
        command: KeyCommand,
        finish: Callable[[Exchange, object], None] | None = None,
    ) -> None:
        """Has a write done; `finish` answers it otherwise than v2 does."""
        if command.key.startswith(TOP) and self._is_read_only(command):
            cause = command.key.decode("utf-8", "surrogateescape")
            self._refuse(exchange, RootReadOnly(cause, self._server.store.revision))
            return
        self._server.propose(command, partial(finish or self._finish, exchange))

    def _is_read_only(self, command: KeyCommand) -> bool:
        """Whether the write would hit a computed node. An in-order key is a child of its path."""
        is_child = type(command) is Create and command.in_order
        return self._machines.is_read_only(command.key + b"/" if is_child else command.key)

    def _finish(self, exchange: Exchange, outcome: object) -> None:
        """Answers a write with what applying it returned."""
        if type(outcome) is Event:
            body = render_event(outcome, self._server.clock.wall_ns(), self._policy)
            self._respond(exchange, outcome.node.modified_index, body, outcome.is_created)
        else:
            self.fail(exchange, outcome)

    def _finish_hiding(self, exchange: Exchange, outcome: object) -> None:
        """As `_finish`, without showing the node."""
        if type(outcome) is Event and outcome.action in _HIDING_ACTIONS:
            body = b'{"action":"%b"}%b' % (ACTION_NAMES[outcome.action], self._policy.body_end)
            self._respond(exchange, outcome.node.modified_index, body, outcome.is_created)
        else:
            self._finish(exchange, outcome)

    # Reads.

    def _serve_linearizable(
        self, exchange: Exchange, key: bytes, read: Read, error: UnavailableError | None
    ) -> None:
        if error is None:
            self._serve(exchange, key, read)
        else:
            self.fail(exchange, error)

    def _serve(self, exchange: Exchange, key: bytes, read: Read) -> None:
        outcome = self.find(key, read)
        server = self._server
        if type(outcome) is Event:
            body = render_event(outcome, server.clock.wall_ns(), self._policy)
            self._respond(exchange, server.store.revision, body)
        else:
            self.fail(exchange, outcome)

    def find(self, key: bytes, read: Read = _PLAIN_READ) -> Event | RequestError:
        """What is there, as far as this member knows."""
        server = self._server
        if key.startswith(TOP) and self._machines.covers(key):
            return self._machines.get(
                key,
                server.store.revision,
                is_recursive=read.is_recursive,
                is_sorted=read.is_sorted,
            )
        return server.tree.get(key, is_recursive=read.is_recursive, is_sorted=read.is_sorted)

    def _wait(self, exchange: Exchange, key: bytes, read: Read) -> None:
        server = self._server
        oldest = server.store.compacted_revision
        if 0 < read.wait_index < oldest:
            cause = f"the requested history has been cleared [{oldest}/{read.wait_index}]"
            self._refuse(exchange, EventIndexCleared(cause, server.store.revision))
            return
        if self.waits.is_full:
            self._refuse(exchange, RaftInternal("too many waiting requests"))
            return
        head = self._event_head(exchange, server.store.revision)
        if exchange.method == "HEAD":
            exchange.respond(head)
            return
        reply = WaitReply(exchange, self._render, is_stream=read.is_stream)
        reply.begin(head)
        if reply.has_left:
            return
        reply.wait = self.waits.open(
            key, read.wait_index, reply.event, reply.end, is_recursive=read.is_recursive
        )
        if 0 < read.wait_index <= server.store.revision:
            self.waits.recall(reply.wait, CATCH_UP_REVISIONS)

    # Replies.

    def _render(self, event: Event) -> bytes:
        """The JSON of an event that many may wait for, made once for all of them."""
        if self._last_rendered[0] is not event:
            body = render_event(event, self._server.clock.wall_ns(), self._policy)
            self._last_rendered = (event, body)
        return self._last_rendered[1]

    def _event_head(
        self,
        exchange: Exchange,
        index: int,
        is_created: bool = False,  # noqa: FBT001, FBT002
    ) -> bytes:
        server = self._server
        template = self._created_head if is_created else self._ok_head
        cors = self._replies.cors
        return template % (
            index,
            server.applied_index,
            server.term,
            cors.always or cors.lines(exchange),
        )

    def _respond(
        self,
        exchange: Exchange,
        index: int,
        body: bytes,
        is_created: bool = False,  # noqa: FBT001, FBT002 -- one call a request
    ) -> None:
        self._replies.respond(exchange, self._event_head(exchange, index, is_created), body)

    def fail(self, exchange: Exchange, outcome: object) -> None:
        """Answers with why a read or a write did not happen."""
        if isinstance(outcome, UnavailableError):
            policy = self._policy
            index = self._server.store.revision if policy.unavailable_has_index else 0
            outcome = RaftInternal(policy.unavailable_cause, index)
        assert isinstance(outcome, RequestError), "a v2 command gives an Event or a RequestError"
        if type(outcome) is NotAFile and outcome.cause == "/" and not self._policy.root_is_named:
            outcome = NotAFile(index=outcome.index)
        self._refuse(exchange, outcome)

    def _refuse(self, exchange: Exchange, error: RequestError, status: int = 0) -> None:
        self._replies.error(exchange, error, status, self._fixed_lines)


def _is_index(text: bytes) -> bool:
    """Whether it is a number that fits 64 bits for sure, and nothing follows."""
    return text.isdigit() and len(text) <= SURE_DIGITS


def _is_plain(query: bytes) -> bool:
    """Whether a query is short, nothing in it is escaped, and it names no index to wait from."""
    return (
        len(query) <= KNOWN_QUERY_BYTES_MAX
        and PERCENT not in query
        and PLUS not in query
        and b"waitIndex" not in query
    )

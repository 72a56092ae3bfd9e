"""`/mod/v2/lock` and `/mod/v2/leader` of the 0.4 era: fair locks over the keyspace.

    POST    /mod/v2/lock/<name>     ttl [value] [timeout]      acquire; the answer is the index
    PUT     /mod/v2/lock/<name>     ttl, index and/or value    renew
    DELETE  /mod/v2/lock/<name>     index or value             release
    GET     /mod/v2/lock/<name>     [field=index|value]        who holds it
    PUT, GET, DELETE  /mod/v2/leader/<name>   name [ttl] [timeout]   the same lock, held by a name

A lock's places are the files of `/_etcd/mod/lock/<name>`; `lockqueue.py` has the rules of waiting.
Source: v2-api sections 4 and 7.
"""

from collections.abc import Callable
from functools import partial

from kvorum.api.reply import Replies
from kvorum.api.v2.form import Form, parse_signed, parse_unsigned, read_form
from kvorum.api.v2.lockqueue import Acquisition, LockQueues, LockRequest, Place, places_of
from kvorum.api.v2.params import expiration_at
from kvorum.errors import (
    IndexAndValue,
    IndexNotANumber,
    IndexOrValueRequired,
    InvalidField,
    KeyNotFound,
    NameRequired,
    RaftInternal,
    RequestError,
    TimeoutNotANumber,
    TTLNotANumber,
    UnavailableError,
)
from kvorum.protocol.exchange import Exchange
from kvorum.server.server import Server
from kvorum.v2 import path as paths
from kvorum.v2.commands import Delete, KeyCommand, Update
from kvorum.v2.node import Event, replace_invalid

LOCK_PATH = b"/mod/v2/lock/"
LEADER_PATH = b"/mod/v2/leader/"
DIRECTORY = b"/_etcd/mod/lock/"

Decide = Callable[[list[Place]], KeyCommand | RequestError]
"""From a lock's places to what is to be done, or why nothing is."""


class Locks:
    """The handlers of one server."""

    def __init__(self, server: Server, replies: Replies) -> None:
        self._server = server
        self._replies = replies
        self._queues = LockQueues(server)

    # Handlers.

    def acquire(self, exchange: Exchange) -> None:
        """POST of a lock."""
        form, _ = read_form(exchange)
        self._acquire(exchange, LOCK_PATH, form, form.get(b"value", b""))

    def renew(self, exchange: Exchange) -> None:
        """PUT of a lock."""
        form, _ = read_form(exchange)
        index, value = form.get(b"index", b""), _text(form.get(b"value", b""))
        ttl = parse_signed(form.get(b"ttl", b""))
        if ttl is None or ttl < 0:
            self._refuse(exchange, TTLNotANumber("Renew"))
        elif not index and not value:
            self._refuse(exchange, IndexOrValueRequired("Renew"))
        else:
            end = expiration_at(self._server.clock.wall_ns(), ttl) if ttl else 0
            self._change(exchange, LOCK_PATH, partial(_renewal, index, value, end))

    def release(self, exchange: Exchange) -> None:
        """DELETE of a lock."""
        form, _ = read_form(exchange)
        index, value = form.get(b"index", b""), _text(form.get(b"value", b""))
        if not index and not value:
            self._refuse(exchange, IndexOrValueRequired("Release"))
        elif index and value:
            self._refuse(exchange, IndexAndValue("Release"))
        else:
            self._change(exchange, LOCK_PATH, partial(_release, index, value))

    def get(self, exchange: Exchange) -> None:
        """GET of a lock."""
        form, _ = read_form(exchange)
        self._get(exchange, LOCK_PATH, form.get(b"field") or b"value")

    def set_leader(self, exchange: Exchange) -> None:
        """PUT of a leader."""
        form, _ = read_form(exchange)
        if form.get(b"name"):
            self._acquire(exchange, LEADER_PATH, form, form[b"name"])
        else:
            self._refuse(exchange, NameRequired("Set"))

    def get_leader(self, exchange: Exchange) -> None:
        """GET of a leader."""
        self._get(exchange, LEADER_PATH, b"value")

    def delete_leader(self, exchange: Exchange) -> None:
        """DELETE of a leader."""
        form, _ = read_form(exchange)
        name = _text(form.get(b"name", b""))
        if name:
            self._change(exchange, LEADER_PATH, partial(_release, b"", name))
        else:
            self._refuse(exchange, NameRequired("Delete"))

    # What they have in common.

    def _directory_of(self, exchange: Exchange, prefix: bytes) -> bytes | None:
        """The lock's path; None when the request has been answered with what is wrong."""
        directory = DIRECTORY + _text(paths.parse(exchange.path[len(prefix) - 1 :])[1:])
        if directory == DIRECTORY:
            self._replies.text(exchange, b"404 page not found\n", 404)
        elif not paths.is_within_limits(directory):
            self._refuse(exchange, InvalidField("the name is too long"))
        else:
            return directory
        return None

    def _acquire(self, exchange: Exchange, prefix: bytes, form: Form, value: bytes) -> None:
        directory = self._directory_of(exchange, prefix)
        if directory is None:
            return
        timeout_text = form.get(b"timeout", b"")
        timeout = parse_signed(timeout_text) if timeout_text else -1
        ttl = parse_signed(form.get(b"ttl", b""))
        if timeout is None:
            self._refuse(exchange, TimeoutNotANumber("Acquire"))
        elif ttl is None or ttl < 0:
            self._refuse(exchange, TTLNotANumber("Acquire"))
        else:
            limit = timeout if timeout >= 0 else None
            request = LockRequest(directory, _text(value), ttl, limit)
            Acquisition(self._queues, exchange, request, self._acquired).start()

    def _acquired(self, exchange: Exchange, answer: int | str | RequestError) -> None:
        if isinstance(answer, int):
            self._replies.text(exchange, b"%d" % answer)
        elif isinstance(answer, str):
            self._replies.text(exchange, answer.encode() + b"\n", 500)
        else:
            self._refuse(exchange, answer)

    def _read(self, exchange: Exchange, prefix: bytes, then: Callable[[list[Place]], None]) -> None:
        """Goes on with the lock's places once they are what the cluster agrees on."""
        directory = self._directory_of(exchange, prefix)
        if directory is None:
            return

        def confirmed(error: UnavailableError | None) -> None:
            if error is not None:
                self._fail(exchange, error)
            else:
                then(places_of(self._server.tree, directory))

        self._server.read(confirmed)

    def _get(self, exchange: Exchange, prefix: bytes, field: bytes) -> None:
        def show(places: list[Place]) -> None:
            if not places:
                self._replies.text(exchange, b"")
            elif field == b"index":
                self._replies.text(exchange, b"%d" % places[0].number)
            elif field == b"value":
                self._replies.text(exchange, places[0].value)
            else:
                self._refuse(exchange, InvalidField("Get"))

        self._read(exchange, prefix, show)

    def _change(self, exchange: Exchange, prefix: bytes, decide: Decide) -> None:
        def change(places: list[Place]) -> None:
            command = decide(places)
            if isinstance(command, RequestError):
                self._refuse(exchange, command)
            else:
                self._server.propose(command, partial(self._changed, exchange))

        self._read(exchange, prefix, change)

    def _changed(self, exchange: Exchange, outcome: object) -> None:
        if isinstance(outcome, Event):
            self._replies.text(exchange, b"")
        else:
            self._fail(exchange, outcome)

    def _fail(self, exchange: Exchange, outcome: object) -> None:
        if isinstance(outcome, UnavailableError):
            outcome = RaftInternal(index=self._server.store.revision)
        assert isinstance(outcome, RequestError), "a v2 command gives an Event or a RequestError"
        self._refuse(exchange, outcome)

    def _refuse(self, exchange: Exchange, error: RequestError) -> None:
        self._replies.error(exchange, error)


def _text(raw: bytes) -> bytes:
    """Bytes as the 0.4 era stores them."""
    return raw if raw.isascii() else replace_invalid(raw)


def _find(places: list[Place], index: bytes, value: bytes, what: str) -> Place | RequestError:
    """The place that is named by its index or, without one, by its value."""
    if not index:
        found = next((one for one in places if one.value == value), None)
    else:
        number = parse_unsigned(index)
        if number is None:
            return IndexNotANumber(what)
        found = next((one for one in places if one.number == number), None)
    return found or KeyNotFound(what)


def _renewal(
    index: bytes, value: bytes, end: int, places: list[Place]
) -> KeyCommand | RequestError:
    found = _find(places, index, value, "Renew")
    if isinstance(found, RequestError):
        return found
    return Update(found.path, value or found.value, end)


def _release(index: bytes, value: bytes, places: list[Place]) -> KeyCommand | RequestError:
    found = _find(places, index, value, "Release")
    return found if isinstance(found, RequestError) else Delete(found.path)

"""A blocking client of the v2 API: keys, watches, machines; for etcdctl, tests and programs.

What for: one answer per call, whichever machine of the cluster gives it, from a server of either
era. It starts fast because it loads no HTTP library.

Owns: the list of machines, which one to ask first, and at most one open connection.

Rules:
    Each machine is tried in turn, twice. A redirect is followed with the same method and body, and
    the machine it leads to is asked first from then on.
    A write that must not happen twice (in-order create, conditions, plain delete) is sent again
    only if the first try cannot have reached a server.
    A watch continues after the last event it gave: a poll that a server cuts short loses nothing.

The caller: `close()`, or `with Client(...)`, ends the connection. A refused request raises the
contract's error (`KeyNotFound`, `CompareFailed`, ...).
Source: reference contract, v2-api sections 3, 4, 5 and 13.
"""

from collections.abc import Callable, Iterator, Sequence
from time import sleep
from typing import NamedTuple, Self
from urllib.parse import quote, urlencode, urlsplit

from kvorum.client.answers import OK, Event, checked, decode_event, not_v2
from kvorum.client.connection import (
    DEFAULT_SETTINGS,
    AnswerLost,
    ConnectFailed,
    Connection,
    Request,
    Response,
    Settings,
    base_url,
)
from kvorum.clock import Clock, SystemClock
from kvorum.errors import EventIndexCleared, RemoteProtocolError, UnavailableError

ROUNDS = 2
"""How often each machine is tried, as 0.4.6's client does."""

PAUSE_SECONDS = 0.2
"""Between two tries when a server had no leader: an election of the 0.4 era takes about this."""

REDIRECTS_MAX = 10
"""Go's clients and browsers give up after about as many."""

REDIRECT_STATUSES = frozenset({301, 302, 307, 308})

SERVER_FAULT = 500
"""From this status on the server failed, not the request."""


class Condition(NamedTuple):
    """What must hold for a write to happen; None asks nothing.

    Attributes:
        prev_exist: the key must exist, or must not.
        prev_value: the key must have this value.
        prev_index: the key's modified index must be this.
    """

    prev_exist: bool | None = None
    prev_value: str | None = None
    prev_index: int | None = None


ALWAYS = Condition()


class AllUnreachable(UnavailableError):
    """Every machine was tried twice, and none could be asked.

    Attributes:
        reasons: one per failed try, each naming its machine.
    """

    def __init__(self, reasons: Sequence[str]) -> None:
        text = "All the given peers are not reachable"
        super().__init__(f"501: {text} (Tried to connect to each peer twice and failed) [0]")
        self.reasons = tuple(reasons)


class SyncFailed(UnavailableError):
    """No endpoint told the cluster's machines.

    Attributes:
        reasons: one per endpoint.
    """

    def __init__(self, endpoints: Sequence[str], reasons: Sequence[str]) -> None:
        super().__init__(f"Cannot sync with the cluster using peers {', '.join(endpoints)}")
        self.reasons = tuple(reasons)


class Client:
    """Asks a cluster over the v2 API.

    Attributes:
        machines: base URLs in the order in which they are tried.
        settings: limits, certificates, user.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        settings: Settings = DEFAULT_SETTINGS,
        *,
        trace: Callable[[str, Request], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Connects to nothing yet.

        Args:
            endpoints: `host:port` or URLs of machines.
            settings: limits, certificates, user.
            trace: called with base URL and request before each is sent.
            clock: for tests.

        Raises:
            ConfigError: an endpoint is no address.
        """
        self._endpoints = tuple(endpoints)
        self.machines = [base_url(endpoint) for endpoint in endpoints]
        self.settings = settings
        self._trace = trace
        self._clock = clock or SystemClock()
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the open connection, if any."""
        if self._connection is not None:
            self._connection.close()

    def sync(self) -> None:
        """Learns the cluster's machines from the first endpoint that tells them.

        What was given stays at the end of the list: machines may advertise addresses that cannot be
        reached from here.

        Raises:
            SyncFailed: none of the endpoints told.
        """
        reasons = []
        for machine in self.machines:
            try:
                told = self._text_from(machine, "/v2/machines")
            except (UnavailableError, RemoteProtocolError) as error:
                reasons.append(str(error))
                continue
            found = [base_url(url) for url in told.split(", ") if url]
            self.machines = list(dict.fromkeys([*found, *self.machines]))
            return
        raise SyncFailed(self._endpoints, reasons)

    def get(
        self,
        key: str,
        *,
        recursive: bool = False,
        is_sorted: bool = False,
        quorum: bool = False,
        consistent: bool = False,
    ) -> Event:
        """Reads a file, or lists a directory.

        Args:
            key: path; a missing leading slash is added.
            recursive: list all levels.
            is_sorted: children in the order of their keys.
            quorum: a linearizable read.
            consistent: 0.4: have the leader answer.
        """
        query = _flags(recursive=recursive, sorted=is_sorted, quorum=quorum, consistent=consistent)
        return self._event(Request("GET", _target(key, query)), is_repeatable=True)

    def put(
        self,
        key: str,
        value: str | bytes | None = None,
        *,
        ttl: int = 0,
        is_directory: bool = False,
        condition: Condition = ALWAYS,
    ) -> Event:
        """Sets, creates, updates or swaps a node, depending on `condition`.

        Args:
            key: path.
            value: the new content; None leaves the field out.
            ttl: seconds until it expires; 0 for never.
            is_directory: the node is a directory.
            condition: what must hold.
        """
        target = _target(key, _conditions(condition))
        request = Request("PUT", target, _form(value, ttl, is_directory=is_directory))
        is_plain = condition.prev_exist is not False and condition[1:] == (None, None)
        return self._event(request, is_repeatable=is_plain)

    def post(
        self,
        key: str,
        value: str | bytes | None = None,
        *,
        ttl: int = 0,
        is_directory: bool = False,
    ) -> Event:
        """Creates an in-order node below `key`; the arguments are those of `put`."""
        body = _form(value, ttl, is_directory=is_directory)
        return self._event(Request("POST", _target(key, []), body), is_repeatable=False)

    def delete(
        self,
        key: str,
        *,
        is_directory: bool = False,
        recursive: bool = False,
        condition: Condition = ALWAYS,
    ) -> Event:
        """Removes a node.

        Args:
            key: path.
            is_directory: it may be an empty directory.
            recursive: it may be a directory with all below it.
            condition: what must hold; `prev_exist` is not looked at.
        """
        query = [*_flags(dir=is_directory, recursive=recursive), *_conditions(condition)]
        return self._event(Request("DELETE", _target(key, query)), is_repeatable=False)

    def watch(
        self,
        key: str,
        *,
        after_index: int | None = None,
        recursive: bool = False,
        on_gap: Callable[[int, int], None] | None = None,
    ) -> Iterator[Event]:
        """Yields events for ever, in order and without holes.

        Args:
            key: path; it need not exist.
            after_index: begin with the first event after this index; None for what comes.
            recursive: also what happens below the key.
            on_gap: called with the first and last index that may have been missed when the server
                has dropped them while no poll was open; without it that raises.

        Raises:
            EventIndexCleared: the server no longer has the events from `after_index` on.
        """
        next_index = None if after_index is None else after_index + 1
        is_resumed = False
        losses = 0
        while True:
            try:
                answer = self._poll(key, next_index, recursive=recursive)
            except AnswerLost as lost:
                losses = 0 if lost.headers else losses + 1
                if losses >= ROUNDS * len(self.machines):
                    raise AllUnreachable([str(lost)]) from lost
                next_index = next_index or _index_after(lost.headers or {})
                is_resumed = True
                sleep(PAUSE_SECONDS)
                continue
            except EventIndexCleared as cleared:
                if not is_resumed or on_gap is None or next_index is None:
                    raise
                on_gap(next_index, cleared.index)
                next_index = cleared.index + 1
                continue
            losses = 0
            is_resumed = True
            if not answer.body:  # ended by the server before anything happened
                next_index = next_index or _index_after(answer.headers)
                continue
            event = decode_event(answer)
            next_index = event.node.modified_index + 1
            yield event

    def list_machines(self) -> list[str]:
        """The client URLs of the cluster's members; a 0.4 server puts the leader first."""
        return [url for url in self._text("/v2/machines").split(", ") if url]

    def leader(self) -> str:
        """The leader's peer URL (0.4 era).

        Raises:
            LeaderElection: none is known right now.
        """
        return self._text("/v2/leader")

    def version(self) -> str:
        """What the server answers to `/version`: plain text in the 0.4 era, JSON later."""
        return self._text("/version")

    def request(self, request: Request, *, is_repeatable: bool) -> Response:
        """Sends anything else, by the rules of this client; returns whatever is answered.

        Args:
            request: what to send.
            is_repeatable: it may happen twice.
        """
        return self._send(request, is_repeatable=is_repeatable)

    def _text(self, path: str) -> str:
        return checked(self._send(Request("GET", path), is_repeatable=True), path).body.decode()

    def _text_from(self, machine: str, path: str) -> str:
        # Every machine knows this by itself: one that is slow to say it is no use for the rest.
        deadline = self._clock.monotonic() + self.settings.connect_seconds
        answer = self._follow(machine, Request("GET", path), deadline, may_reuse=True)
        if answer.status != OK:
            raise RemoteProtocolError(not_v2(f"{machine}{path}", answer))
        return answer.body.decode()

    def _event(self, request: Request, *, is_repeatable: bool) -> Event:
        answer = self._send(request, is_repeatable=is_repeatable)
        return decode_event(checked(answer, request.target))

    def _poll(self, key: str, index: int | None, *, recursive: bool) -> Response:
        query = [("wait", "true"), *_flags(recursive=recursive)]
        if index is not None:
            query.append(("waitIndex", str(index)))
        request = Request("GET", _target(key, query))
        return checked(self._send(request, is_repeatable=False, is_wait=True), request.target)

    def _send(self, request: Request, *, is_repeatable: bool, is_wait: bool = False) -> Response:
        """Tries each machine in turn, twice; a failure is the answer if none does better."""
        deadline = None if is_wait else self._clock.monotonic() + self.settings.total_seconds
        reasons = []
        failure: Response | None = None
        may_reuse = is_repeatable or is_wait
        for round_number in range(ROUNDS):
            if round_number > 0 and failure is not None:
                sleep(PAUSE_SECONDS)
            for machine in tuple(self.machines):
                try:
                    answer = self._follow(machine, request, deadline, may_reuse=may_reuse)
                except ConnectFailed as error:
                    reasons.append(str(error))
                except AnswerLost as error:
                    if not is_repeatable or self._is_late(deadline):
                        raise
                    reasons.append(str(error))
                else:
                    if answer.status < SERVER_FAULT or not is_repeatable:
                        return answer
                    failure = answer
                if failure is not None and self._is_late(deadline):
                    return failure
        if failure is None:
            raise AllUnreachable(reasons)
        return failure

    def _follow(
        self, machine: str, request: Request, deadline: float | None, *, may_reuse: bool
    ) -> Response:
        """Asks one machine, and where it points to."""
        answer = self._ask(machine, request, deadline, may_reuse=may_reuse)
        for _ in range(REDIRECTS_MAX):
            location = answer.headers.get("location")
            if answer.status not in REDIRECT_STATUSES or not location:
                return answer
            target = urlsplit(location)
            if target.netloc:
                machine = base_url(f"{target.scheme}://{target.netloc}")
                self._prefer(machine)
            query = f"?{target.query}" if target.query else ""
            request = request._replace(target=f"{target.path or '/'}{query}")
            answer = self._ask(machine, request, deadline, may_reuse=may_reuse)
        raise RemoteProtocolError(f"{machine} redirected more than {REDIRECTS_MAX} times")

    def _ask(
        self, machine: str, request: Request, deadline: float | None, *, may_reuse: bool
    ) -> Response:
        if self._trace is not None:
            self._trace(machine, request)
        if self._connection is None or self._connection.url != machine or not may_reuse:
            # A kept connection may have been closed by the other side just now; what must not be
            # sent twice needs one of its own.
            self.close()
            self._connection = Connection(machine, self.settings)
        seconds = None
        if deadline is not None:
            seconds = max(deadline - self._clock.monotonic(), 0.001)
        return self._connection.request(request, seconds)

    def _prefer(self, machine: str) -> None:
        self.machines = [machine, *(url for url in self.machines if url != machine)]

    def _is_late(self, deadline: float | None) -> bool:
        return deadline is not None and self._clock.monotonic() >= deadline


def find_listening(
    endpoints: Sequence[str], settings: Settings = DEFAULT_SETTINGS
) -> tuple[str, ...]:
    """The first endpoint where somebody listens, alone; all of them if nobody does anywhere.

    Endpoints that may belong to different clusters must never stand in for each other.
    """
    for endpoint in endpoints:
        connection = Connection(base_url(endpoint), settings)
        try:
            connection.open()
        except ConnectFailed as error:
            if error.is_refused:
                continue
        finally:
            connection.close()
        return (endpoint,)
    return tuple(endpoints)


def _target(key: str, query: Sequence[tuple[str, str | bytes]]) -> str:
    parts = (quote(part, safe="", errors="surrogateescape") for part in key.split("/") if part)
    text = f"?{urlencode(query, errors='surrogateescape')}" if query else ""
    return f"/v2/keys/{'/'.join(parts)}{text}"


def _flags(**values: bool) -> list[tuple[str, str]]:
    return [(name, "true") for name, value in values.items() if value]


def _conditions(condition: Condition) -> list[tuple[str, str]]:
    fields = []
    if condition.prev_exist is not None:
        fields.append(("prevExist", "true" if condition.prev_exist else "false"))
    if condition.prev_value is not None:
        fields.append(("prevValue", condition.prev_value))
    if condition.prev_index is not None:
        fields.append(("prevIndex", str(condition.prev_index)))
    return fields


def _form(value: str | bytes | None, ttl: int, *, is_directory: bool) -> bytes:
    fields: list[tuple[str, str | bytes]] = []
    if value is not None:
        fields.append(("value", value))
    if ttl:
        fields.append(("ttl", str(ttl)))
    if is_directory:
        fields.append(("dir", "true"))
    return urlencode(fields, errors="surrogateescape").encode()


def _index_after(headers: dict[str, str]) -> int | None:
    text = headers.get("x-etcd-index", "")
    return int(text) + 1 if text.isdecimal() else None

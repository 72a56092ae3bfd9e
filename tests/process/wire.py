"""HTTP/1.1 to the letter: requests as bytes, replies with all that a client can see of them.

What differs between two servers that were asked the same is taken out by `Reading`: indexes become
distances from where the scenario began, times and ids become words.
"""

import json
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

SOCKET_SECONDS = 10.0
FORM = "Content-Type: application/x-www-form-urlencoded"

_substitutes = re.compile(r"\$(-?\d+)\$")


class Request(NamedTuple):
    """One request. `$n$` in it stands for the n-th index after the scenario's beginning.

    Attributes:
        headers: lines besides Host, Content-Length, and the type of a form.
        raw: the whole request, where it is none that can be put together.
        is_wait: it gets a connection of its own, and only its head is waited for.
    """

    method: str = "GET"
    target: str = "/"
    body: str | bytes | None = None
    headers: tuple[str, ...] = ()
    raw: bytes = b""
    is_wait: bool = False

    def __str__(self) -> str:
        if self.raw:
            return repr(self.raw)[:120]
        words = [self.method, self.target[:120]]
        words += [] if self.body is None else [f"< {self.body!r}"[:80]]
        return " ".join([*words, *self.headers])

    def encode(self, substitute: Callable[[str], str]) -> bytes:
        """The bytes on the wire."""
        if self.raw:
            return self.raw
        body = substitute(self.body) if isinstance(self.body, str) else self.body
        data = body.encode() if isinstance(body, str) else body
        lines = [f"{self.method} {substitute(self.target)} HTTP/1.1", "Host: etcd", *self.headers]
        if data is not None:
            if not any(line.lower().startswith("content-type:") for line in self.headers):
                lines.append(FORM)
            if not any(line.lower().startswith("transfer-encoding:") for line in self.headers):
                lines.append(f"Content-Length: {len(data)}")
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + (data or b"")


class More(NamedTuple):
    """Waits for so many events of the wait begun last; 0 for its end."""

    events: int = 0

    def __str__(self) -> str:
        return f"(what the wait gets: {self.events or 'all'})"


Step = Request | More


@dataclass
class Reply:
    """What came back.

    Attributes:
        status: the whole status line.
        headers: name and value as sent.
        body: without its framing.
        interim: status lines of interim replies before this one.
    """

    status: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    interim: list[str] = field(default_factory=list)

    def header(self, name: str) -> str | None:
        """The value of a header, by its lower-case name."""
        return next((value for one, value in self.headers if one.lower() == name), None)

    @property
    def code(self) -> int:
        """The status."""
        return int(self.status.split()[1])

    def __str__(self) -> str:
        lines = [*self.interim, self.status, *(f"{name}: {value}" for name, value in self.headers)]
        return "\n".join([*lines, "", self.body.decode("utf-8", "backslashreplace")])


class Wire:
    """One connection to a server."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), SOCKET_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")
        self._method = "GET"
        self._is_chunked = False
        self._chunks: Iterator[bytes] = iter(())
        self.is_over = False

    def close(self) -> None:
        """Ends the connection."""
        self._file.close()
        self._socket.close()

    def ask(self, data: bytes) -> Reply:
        """Sends a request and reads the whole reply."""
        reply = self.begin(data)
        reply.body = self.read_body(reply)
        return reply

    def begin(self, data: bytes) -> Reply:
        """Sends a request and reads the head of the reply."""
        self._method = data.partition(b" ")[0].decode("latin-1")
        self._socket.sendall(data)
        interim = []
        reply = self._read_head()
        while reply.code < 200:
            interim.append(reply.status)
            reply = self._read_head()
        reply.interim = interim
        self._is_chunked = reply.header("transfer-encoding") == "chunked"
        self._chunks = self._read_chunks()
        connection = reply.header("connection")
        self.is_over = connection == "close" or (
            reply.status.startswith("HTTP/1.0") and connection != "keep-alive"
        )
        return reply

    def _read_head(self) -> Reply:
        status = self._read_line()
        headers = []
        while line := self._read_line():
            name, _, value = line.partition(": ")
            headers.append((name, value))
        return Reply(status, headers)

    def _read_line(self) -> str:
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError(f"the connection ended within a reply's head: {line!r}")
        return line[:-2].decode("latin-1")

    def read_body(self, reply: Reply) -> bytes:
        """The whole body that goes with a head."""
        if self._method == "HEAD" or reply.code in (204, 304):
            return b""
        if self._is_chunked:
            return self.read_events()
        length = reply.header("content-length")
        if length is not None:
            return self._file.read(int(length))
        self.is_over = True
        return self._file.read()

    def _read_chunks(self) -> Iterator[bytes]:
        while size := int(self._read_line(), 16):
            yield self._file.read(size)
            self._read_line()
        self._read_line()

    def read_events(self, count: int = 0) -> bytes:
        """So many events of a chunked body that goes on; all that comes for 0."""
        events = b""
        for piece in self._chunks:
            events += piece
            if count and events.count(b"}\n") >= count:
                break
        return events


class Session:
    """Runs scenarios on one server."""

    def __init__(self, port: int, words: dict[str, str]) -> None:
        self._port = port
        self._words = words
        self._wire: Wire | None = None

    def run(self, steps: Sequence[Step]) -> list[Reply]:
        """The replies to one scenario, read relative to its beginning."""
        index = self._ask(Request(target="/v2/keys/nothing").encode(str)).header("x-etcd-index")
        assert index is not None
        reading = Reading(int(index), self._words)
        waits: list[Wire] = []
        try:
            return [self._take(step, reading, waits) for step in steps]
        finally:
            for wait in waits:
                wait.close()

    def close(self) -> None:
        """Ends the connection."""
        if self._wire is not None:
            self._wire.close()

    def _take(self, step: Step, reading: "Reading", waits: list[Wire]) -> Reply:
        if isinstance(step, More):
            wait = waits[-1]
            return reading.read(Request(), Reply("", [], wait.read_events(step.events)))
        data = step.encode(reading.substitute)
        if step.is_wait:
            waits.append(Wire(self._port))
            return reading.read(step, waits[-1].begin(data))
        return reading.read(step, self._ask(data))

    def _ask(self, data: bytes) -> Reply:
        if self._wire is None:
            self._wire = Wire(self._port)
        reply = self._wire.ask(data)
        if self._wire.is_over:
            self._wire.close()
            self._wire = None
        return reply


TTL_STEP_SECONDS = 10
"""TTLs in scenarios are multiples of it; between request and reply less time passes."""

_index_fields = re.compile(r'("(?:modifiedIndex|createdIndex|index)":)(\d+)')
_compared = re.compile(r"\[(\d+) != (\d+)\]")
_in_order = re.compile(r'(?<=/)\d{20}(?=[/"])')
_time = re.compile(r'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{0,8}[1-9])?(?:Z|[+-]\d\d:\d\d)"')
_uptime = re.compile(r'"uptime":"(?:\d+h)?(?:\d+m)?[\d.]+[mµn]?s"')
_ttl = re.compile(r'"ttl":(\d+)')


class Reading:
    """Takes out of replies what two servers cannot agree on."""

    def __init__(self, begin: int, words: dict[str, str]) -> None:
        self._begin = begin
        self._words = words
        self._given: set[int] = set()

    def substitute(self, text: str) -> str:
        """Puts this server's indexes and names into a request."""
        for word, stand_in in self._words.items():
            text = text.replace(stand_in, word)
        return _substitutes.sub(lambda found: str(self._give(int(found[1]))), text)

    def _give(self, distance: int) -> int:
        index = self._begin + distance
        self._given.add(index)
        return index

    def _relative(self, index: str) -> str:
        return index if index == "0" else f"{int(index) - self._begin:+d}"

    def read(self, request: Request, reply: Reply) -> Reply:
        """The reply as it is compared."""
        headers = [(name, self._value(name, value, reply)) for name, value in reply.headers]
        body = self._text(reply.body.decode("utf-8", "surrogateescape"))
        if '"nodes":[' in body and not re.search(
            r"sorted=(true|1|t)", request.target, re.IGNORECASE
        ):
            body = _in_any_order(body)
        encoded = body.encode("utf-8", "surrogateescape")
        return Reply(reply.status, sorted(headers), encoded, reply.interim)

    def _value(self, name: str, value: str, reply: Reply) -> str:
        match name:
            case "X-Etcd-Index":
                return self._relative(value)
            case "X-Raft-Index" | "X-Raft-Term" if value.isdigit():
                return "N"
            case "Date" if value.endswith(" GMT"):
                return "now"
            case "Content-Length" if int(value) == len(reply.body) or not reply.body:
                return "of the body"
        return self._text(value)

    def _text(self, text: str) -> str:
        for word, stand_in in self._words.items():
            text = text.replace(word, stand_in)
        text = _index_fields.sub(lambda found: found[1] + self._relative(found[2]), text)
        text = _compared.sub(self._comparison, text)
        text = _in_order.sub(lambda found: "#" + self._relative(found[0]), text)
        text = _time.sub('"time"', text)
        text = _uptime.sub('"uptime":"time"', text)
        return _ttl.sub(lambda found: f'"ttl":{_round_up(int(found[1]))}', text)

    def _comparison(self, found: re.Match[str]) -> str:
        given = self._relative(found[1]) if int(found[1]) in self._given else found[1]
        return f"[{given} != {self._relative(found[2])}]"


def _round_up(seconds: int) -> int:
    return -(-seconds // TTL_STEP_SECONDS) * TTL_STEP_SECONDS


def _in_any_order(body: str) -> str:
    """A listing by key: what is not sorted comes in any order."""
    end = "\n" if body.endswith("\n") else ""
    # Relative indexes are no JSON: a plus may not lead a number.
    event = json.loads(re.sub(r":([+-]\d+)", r':"\1"', body))
    _sort_nodes(event["node"])
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")) + end


def _sort_nodes(node: dict[str, object]) -> None:
    nodes = node.get("nodes")
    if isinstance(nodes, list):
        nodes.sort(key=lambda one: one["key"])
        for one in nodes:
            _sort_nodes(one)

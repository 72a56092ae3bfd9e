"""One blocking HTTP/1.1 connection, made to start fast.

What for: a command that runs once must be up in a few hundredths of a second; the standard
library's client takes as long to import as the whole command may last.

Owns: one socket to one address, the framing of one request and its answer.

Rules:
    `ConnectFailed` means that no byte of the request has left: it may be sent again anywhere.
    `AnswerLost` means that the server may have done what was asked.
    A connection is reused only after an answer whose end was certain.

The caller: one request at a time; `close()` at the end.
Source: RFC 9112, sections 4 to 9.
"""

import socket
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import urlsplit

from kvorum.errors import ConfigError, UnavailableError

LINE_BYTES_MAX = 65536
"""Longest line of an answer's head; Go's and Apache's defaults lie below."""

PIECE_BYTES_MAX = 1 << 30
"""Largest body, or piece of one, whose length is believed."""

HEADERS_MAX = 100
"""Most header lines of an answer, as the standard library has it."""

CONTINUE = 100
"""An interim answer; the real one follows."""

BODILESS = frozenset({204, 304})

DEFAULT_PORTS = {"http": 80, "https": 443}


class ConnectFailed(UnavailableError):
    """No connection; nothing was sent.

    Attributes:
        is_refused: nobody listens at the address.
    """

    def __init__(self, url: str, reason: str, *, is_refused: bool = False) -> None:
        super().__init__(f"{url}: {reason}")
        self.is_refused = is_refused


class AnswerLost(UnavailableError):
    """The request was sent and its answer did not arrive whole.

    Attributes:
        headers: the answer's headers when they came before the break, else None.
        is_timeout: the answer was late; otherwise the connection broke.
    """

    def __init__(
        self, message: str, headers: dict[str, str] | None, *, is_timeout: bool = False
    ) -> None:
        super().__init__(message)
        self.headers = headers
        self.is_timeout = is_timeout


class Request(NamedTuple):
    """What is sent.

    Attributes:
        method: in upper case.
        target: path and query, percent-encoded.
        body: empty for none.
        content_type: what the body is.
    """

    method: str
    target: str
    body: bytes = b""
    content_type: str = "application/x-www-form-urlencoded"


class Response(NamedTuple):
    """What came back; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Settings(NamedTuple):
    """How to talk to any server.

    Attributes:
        connect_seconds: limit on making a connection.
        total_seconds: limit on a call with all its attempts; a watch has none.
        ca_file: certificates that may vouch for an https server; empty for the system's.
        cert_file: the client's certificate; empty for none.
        key_file: the certificate's key, when it is not in the same file.
        user: `name:password` for HTTP Basic; empty for none.
    """

    connect_seconds: float = 2.0
    total_seconds: float = 10.0
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    user: str = ""


DEFAULT_SETTINGS = Settings()


def base_url(endpoint: str) -> str:
    """Makes `scheme://host:port` of an endpoint as people write it.

    Raises:
        ConfigError: the endpoint is no http or https address.
    """
    url = endpoint if "://" in endpoint else f"http://{endpoint}"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ConfigError([f"endpoint {endpoint!r}: {error}"]) from error
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ConfigError(
            [f"endpoint {endpoint!r} is not an address: write HOST:PORT or http://HOST:PORT"]
        )
    return f"{parts.scheme}://{parts.netloc}"


class Connection:
    """A connection to one server, opened by the first request."""

    def __init__(self, url: str, settings: Settings = DEFAULT_SETTINGS) -> None:
        self.url = url
        self._settings = settings
        self._socket: socket.socket | None = None
        self._file: BinaryIO | None = None

    def request(self, request: Request, answer_seconds: float | None) -> Response:
        """Sends one request and reads its answer.

        Args:
            request: what to send.
            answer_seconds: longest silence to bear while waiting; None for ever.

        Raises:
            ConnectFailed: nothing was sent.
            AnswerLost: it was sent, and the answer is not here.
        """
        headers: dict[str, str] = {}
        stream = self.open()
        assert self._socket is not None
        try:
            self._socket.settimeout(answer_seconds)
            self._socket.sendall(self._encode(request))
            status, is_reusable = _read_head(stream, headers)
            body, has_certain_end = _read_body(stream, request.method, status, headers)
        except TimeoutError as error:
            self.close()
            message = f"{self.url} did not answer within {answer_seconds:.3g}s{_doubt(request)}"
            raise AnswerLost(message, headers or None, is_timeout=True) from error
        except (OSError, ValueError, EOFError) as error:
            self.close()
            message = f"the connection to {self.url} broke before the answer was whole"
            reason = f"{message} ({self._describe(error)}){_doubt(request)}"
            raise AnswerLost(reason, headers or None) from error
        except BaseException:  # an interrupt leaves half an answer in the socket
            self.close()
            raise
        if not (is_reusable and has_certain_end):
            self.close()
        return Response(status, headers, body)

    def close(self) -> None:
        """Closes the socket; a later request opens another."""
        if self._file is not None:
            self._file.close()
        if self._socket is not None:
            self._socket.close()
        self._socket = self._file = None

    def open(self) -> BinaryIO:
        """Connects unless it is connected; returns what the answers are read from.

        Raises:
            ConnectFailed: it cannot.
        """
        if self._file is not None:
            return self._file
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        address = parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme]
        try:
            connected = socket.create_connection(address, self._settings.connect_seconds)
        except ConnectionRefusedError as error:
            raise ConnectFailed(self.url, "connection refused", is_refused=True) from error
        except TimeoutError as error:
            reason = f"no connection within {self._settings.connect_seconds:g}s"
            raise ConnectFailed(self.url, reason) from error
        except (OSError, UnicodeError) as error:
            raise ConnectFailed(self.url, getattr(error, "strerror", "") or str(error)) from error
        # A watch may be silent for days: the system notices when the other side has gone.
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if parts.scheme == "https":
            connected = _wrap_tls(connected, self.url, parts.hostname, self._settings)
        self._socket, self._file = connected, connected.makefile("rb")
        return self._file

    def _describe(self, error: Exception) -> str:
        if isinstance(error, OSError) and self.url.startswith("https:"):
            return _describe_tls(error)
        return str(error)

    def _encode(self, request: Request) -> bytes:
        lines = [
            f"{request.method} {request.target} HTTP/1.1",
            f"Host: {urlsplit(self.url).netloc.rpartition('@')[2]}",
            "User-Agent: kvorum",
        ]
        if self._settings.user:
            lines.append(f"Authorization: Basic {_basic(self._settings.user)}")
        if request.body or request.method in {"PUT", "POST"}:
            lines.append(f"Content-Type: {request.content_type}")
            lines.append(f"Content-Length: {len(request.body)}")
        return "\r\n".join([*lines, "", ""]).encode() + request.body


def _doubt(request: Request) -> str:
    return "" if request.method == "GET" else "; whether it was done is not known"


def _basic(user: str) -> str:
    from base64 import b64encode  # noqa: PLC0415 -- few calls carry a user

    return b64encode(user.encode()).decode()


def _wrap_tls(plain: socket.socket, url: str, host: str, settings: Settings) -> socket.socket:
    # Importing TLS costs more than all the rest, and few need it.
    from kvorum.config import TlsFiles  # noqa: PLC0415
    from kvorum.net.tls import make_caller_context  # noqa: PLC0415

    files = TlsFiles(
        cert_file=_path(settings.cert_file),
        key_file=_path(settings.key_file),
        ca_file=_path(settings.ca_file),
    )
    try:
        return make_caller_context(files).wrap_socket(plain, server_hostname=host)
    except OSError as error:
        plain.close()
        raise ConnectFailed(url, _describe_tls(error)) from error
    except ConfigError:
        plain.close()
        raise


def _path(name: str) -> Path | None:
    return Path(name) if name else None


def _describe_tls(error: OSError) -> str:
    import ssl  # noqa: PLC0415

    from kvorum.net.tls import describe_tls  # noqa: PLC0415

    if isinstance(error, ssl.SSLError):
        return describe_tls(error)
    return error.strerror or str(error)


def _read_head(stream: BinaryIO, headers: dict[str, str]) -> tuple[int, bool]:
    """Fills `headers`; returns the status and whether the connection may be kept."""
    status = CONTINUE
    version = b""
    while status == CONTINUE:
        version, _, rest = _read_line(stream).partition(b" ")
        if not version.startswith(b"HTTP/1."):
            raise ValueError(f"not an HTTP answer: {version[:40]!r}")
        status = int(rest[:3])
        headers.clear()
        for _ in range(HEADERS_MAX):
            line = _read_line(stream)
            if not line:
                break
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        else:
            raise ValueError(f"more than {HEADERS_MAX} header lines")
    is_kept = version == b"HTTP/1.1" and headers.get("connection", "").lower() != "close"
    return status, is_kept


def _read_body(
    stream: BinaryIO, method: str, status: int, headers: dict[str, str]
) -> tuple[bytes, bool]:
    """Returns the body and whether its end was certain."""
    if method == "HEAD" or status in BODILESS:
        return b"", True
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return b"".join(_read_chunks(stream)), True
    if "content-length" in headers:
        return _read_exactly(stream, int(headers["content-length"])), True
    return stream.read(), False


def _read_chunks(stream: BinaryIO) -> list[bytes]:
    chunks = []
    while size := int(_read_line(stream).partition(b";")[0], 16):
        chunks.append(_read_exactly(stream, size))
        _read_line(stream)
    while _read_line(stream):
        pass  # trailers say nothing here
    return chunks


def _read_line(stream: BinaryIO) -> bytes:
    line = stream.readline(LINE_BYTES_MAX)
    if not line.endswith(b"\n"):
        raise EOFError("end of stream" if len(line) < LINE_BYTES_MAX else "line too long")
    return line.rstrip(b"\r\n")


def _read_exactly(stream: BinaryIO, size: int) -> bytes:
    if not 0 <= size <= PIECE_BYTES_MAX:
        raise ValueError(f"a piece of {size:.3g} bytes")
    data = stream.read(size)
    if len(data) < size:
        raise EOFError("end of stream")
    return data

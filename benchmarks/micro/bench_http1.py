"""HTTP/1.1: a request from its bytes, and its answer to bytes."""

from itertools import count

from benchmarks.micro.fixture import Benchmark

from kvorum.protocol.exchange import Settings
from kvorum.protocol.http1 import Http1Connection

GET = b"GET /v2/keys/bench/key1 HTTP/1.1\r\nHost: 127.0.0.1:2379\r\n\r\n"
PUT = (
    b"PUT /v2/keys/bench/key1 HTTP/1.1\r\nHost: 127.0.0.1:2379\r\nContent-Length: 70\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\nvalue=" + b"v" * 64
)
TRACED = b"GET /v2/keys/bench/key1 HTTP/1.1\r\nHost: 127.0.0.1:2379\r\nX-Request: %d\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Etcd-Index: 1000\r\n"
BODY = b"b" * 150
PIPELINED = 16


def _connection() -> Http1Connection:
    settings = Settings(1 << 20)
    settings.date_line = b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
    return Http1Connection(settings, "127.0.0.1:5000", lambda: None)


def _answer(connection: Http1Connection, data: bytes, requests: int = 1) -> None:
    exchanges = connection.receive_data(data)
    assert len(exchanges) == requests
    for exchange in exchanges:
        exchange.respond(HEAD, BODY)
    assert connection.data_to_send()


def bench_get(benchmark: Benchmark) -> None:
    """A GET behind header fields that were seen before."""
    connection = _connection()
    benchmark(lambda: _answer(connection, GET))


def bench_put(benchmark: Benchmark) -> None:
    """A PUT with a form of 70 bytes, behind header fields that were seen before."""
    connection = _connection()
    benchmark(lambda: _answer(connection, PUT))


def bench_get_with_new_fields(benchmark: Benchmark) -> None:
    """A GET whose header fields differ each time, so that all of it is parsed."""
    connection, numbers = _connection(), count()
    benchmark(lambda: _answer(connection, TRACED % next(numbers)))


def bench_pipelined_gets(benchmark: Benchmark) -> None:
    """Sixteen GETs in one read."""
    connection = _connection()
    benchmark(lambda: _answer(connection, GET * PIPELINED, PIPELINED))

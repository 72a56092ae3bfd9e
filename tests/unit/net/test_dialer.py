"""One request over a real socket, every way it can fail, and pauses between attempts."""

import asyncio

import pytest
from tests.unit.net.conftest import Run, listening, listening_tls, tls_files, wait_until

from kvorum.errors import UnavailableError
from kvorum.net.dialer import Backoff, HttpReply, follow, http_request, split_address
from kvorum.net.tls import caller_credentials
from kvorum.protocol.exchange import Exchange


def test_request_and_reply_carry_everything(run: Run) -> None:
    def answer(exchange: Exchange) -> None:
        assert exchange.headers[b"content-type"] == b"application/json"
        text = b"%b %b %b" % (exchange.method.encode(), exchange.target, exchange.body)
        exchange.respond(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://x/y\r\n", text)

    async def main() -> None:
        async with listening(answer) as listener:
            url = f"http://127.0.0.1:{listener.port}/join?a=b"
            headers = {"Content-Type": "application/json"}
            reply = await http_request(url, "PUT", headers, b"{}", 5)
            assert (reply.status, reply.body) == (307, b"PUT /join?a=b {}")
            assert reply.headers[b"location"] == b"http://x/y"

    run(main())


def test_large_reply_is_read_whole(run: Run) -> None:
    body = bytes(range(256)) * 8192

    def answer(exchange: Exchange) -> None:
        exchange.begin(b"HTTP/1.1 200 OK\r\n")
        for start in range(0, len(body), 100_000):
            exchange.write(body[start : start + 100_000])
        exchange.end()

    async def main() -> None:
        async with listening(answer) as listener:
            url = f"http://localhost:{listener.port}"
            assert (await http_request(url, "GET", {}, b"", 5)).body == body

    run(main())


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (b"", "broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "broke off"),
        (b"SSH-2.0-OpenSSH\r\n", "malformed response"),
    ],
)
def test_server_that_is_none_is_unavailable(run: Run, said: bytes, fault: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(UnavailableError, match=fault):
            await http_request(f"http://127.0.0.1:{port}/", "GET", {}, b"", 5)
        server.close()

    run(main())


def test_nobody_there_is_unavailable(run: Run) -> None:
    async def main() -> None:
        async with listening(lambda _: None) as listener:
            port = listener.port
        with pytest.raises(UnavailableError, match="connection refused"):
            await http_request(f"http://127.0.0.1:{port}/", "GET", {}, b"", 5)

    run(main())


def test_late_answer_is_unavailable(run: Run) -> None:
    async def main() -> None:
        async with listening(lambda _: None) as listener:
            url = f"http://127.0.0.1:{listener.port}/"
            with pytest.raises(UnavailableError, match=r"no answer within 0\.05 s"):
                await http_request(url, "GET", {}, b"", 0.05)

    run(main())


async def answer_of(port: int, caller: str, ca: str, host: str = "127.0.0.1") -> bytes:
    credentials = caller_credentials(tls_files(caller, ca))
    url = f"https://{host}:{port}/"
    return (await http_request(url, "PUT", {}, b"a" * 100_000, 5, credentials)).body


def test_request_over_tls(run: Run) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.respond(b"HTTP/1.1 200 OK\r\n", exchange.body)

    async def main() -> None:
        async with listening_tls(answer, tls_files("server", "ca")) as listener:
            for host in ("127.0.0.1", "localhost"):
                assert await answer_of(listener.port, "client", "ca", host) == b"a" * 100_000

    run(main())


@pytest.mark.parametrize(
    ("server", "server_trusts", "caller", "caller_trusts", "fault"),
    [
        ("server", "ca", "client", "other-ca", "its certificate is refused: self-signed"),
        ("expired", "ca", "client", "ca", "its certificate is refused: certificate has expired"),
        ("elsewhere", "ca", "client", "ca", "certificate is not valid for '127.0.0.1'"),
        ("server", "ca", "stranger", "ca", "it refused .* unknown ca"),
        ("server", "ca", "expired", "ca", "it refused .* certificate expired"),
        ("server", "other-ca", "client", "ca", "it refused .* unknown ca"),
    ],
)
def test_tls_that_fails_says_why(
    run: Run, server: str, server_trusts: str, caller: str, caller_trusts: str, fault: str
) -> None:
    async def main() -> None:
        files = tls_files(server, server_trusts)
        async with listening_tls(lambda _: None, files) as listener:
            with pytest.raises(UnavailableError, match=fault):
                await answer_of(listener.port, caller, caller_trusts)

    run(main())


def test_a_server_that_is_not_trusted_is_told(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with listening_tls(lambda _: None, tls_files("server")) as listener:
            with pytest.raises(UnavailableError):
                await answer_of(listener.port, "client", "other-ca")
            await wait_until(lambda: caplog.messages)

    run(main())
    (line,) = caplog.messages
    assert line.endswith("it refused the handshake or our certificate: unknown ca")


def test_tls_to_a_plain_port_says_so(run: Run) -> None:
    async def main() -> None:
        async with listening(lambda _: None) as listener:
            with pytest.raises(UnavailableError, match="it does not speak TLS"):
                await answer_of(listener.port, "client", "ca")

    run(main())


def test_without_credentials_only_the_systems_trust_counts(run: Run) -> None:
    async def main() -> None:
        async with listening_tls(lambda _: None, tls_files("server")) as listener:
            url = f"https://127.0.0.1:{listener.port}/"
            with pytest.raises(UnavailableError, match="its certificate is refused"):
                await http_request(url, "GET", {}, b"", 5)

    run(main())


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h:1/",
        "h:1",
        "http://",
        "http://h:x/",
        "http://[::1",
        "http://a..b:1",
        f"http://{'x' * 64}:1",
        "http://h:1/\r\nX: y",
        "http://\udc80:1",
    ],
)
def test_what_is_no_address_is_unavailable(url: str) -> None:
    with pytest.raises(UnavailableError):
        split_address(url)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://h", ("h", 80, False)),
        ("https://h", ("h", 443, True)),
        ("http://127.0.0.1:7001/x", ("127.0.0.1", 7001, False)),
        ("https://[::1]:7001", ("::1", 7001, True)),
    ],
)
def test_address_of_a_url(url: str, address: tuple[str, int, bool]) -> None:
    assert split_address(url) == address


def test_a_redirect_to_nowhere_is_unavailable(run: Run) -> None:
    async def ask(url: str) -> HttpReply:
        assert url == "http://a/x"
        return HttpReply(307, {b"location": b"http://["}, b"")

    async def main() -> None:
        with pytest.raises(UnavailableError, match="http://\\["):
            await follow("http://a/x", ask)

    run(main())


def test_reply_is_a_value() -> None:
    assert HttpReply(200, {}, b"") == HttpReply(200, {}, b"")


def test_pauses_double_up_to_a_second_with_half_of_it_chance() -> None:
    longest = Backoff(lambda bound: bound - 1)
    shortest = Backoff(lambda _: 0)
    assert [longest.next_pause() for _ in range(7)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert [shortest.next_pause() for _ in range(6)] == [0.025, 0.05, 0.1, 0.2, 0.4, 0.5]
    longest.reset()
    assert longest.next_pause() == 0.05


def redirect(location: bytes, status: int = 307) -> HttpReply:
    return HttpReply(status, {b"location": location}, b"")


@pytest.mark.parametrize(
    ("replies", "urls"),
    [
        ([HttpReply(200, {}, b"")], ["http://a/x"]),
        ([HttpReply(307, {}, b"")], ["http://a/x"]),
        (
            [redirect(b"http://b/y?z=1"), redirect(b"/w", 301), HttpReply(404, {}, b"")],
            ["http://a/x", "http://b/y?z=1", "http://b/w"],
        ),
    ],
)
def test_redirects_are_followed(run: Run, replies: list[HttpReply], urls: list[str]) -> None:
    asked = []

    async def ask(url: str) -> HttpReply:
        asked.append(url)
        return replies[len(asked) - 1]

    async def main() -> None:
        assert await follow("http://a/x", ask) is replies[-1]
        assert asked == urls

    run(main())


def test_redirects_end(run: Run) -> None:
    async def ask(url: str) -> HttpReply:
        return redirect(url.encode())

    async def main() -> None:
        with pytest.raises(UnavailableError, match="too many redirects"):
            await follow("http://a/x", ask)

    run(main())


def test_pauses_are_those_the_caller_names() -> None:
    backoff = Backoff(lambda bound: bound - 1, 2.0, 5.0)
    assert [backoff.next_pause() for _ in range(4)] == [2.0, 4.0, 5.0, 5.0]
    backoff.reset()
    assert backoff.next_pause() == 2.0

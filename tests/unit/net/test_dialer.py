"""One request over a real socket, every way it can fail, and pauses between attempts."""

import asyncio

import pytest
from tests.unit.net.conftest import Run, listening

from kvorum.errors import UnavailableError
from kvorum.net.dialer import Backoff, HttpReply, http_request, split_address
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


@pytest.mark.parametrize("url", ["https://h:1/", "h:1", "http://", "http://h:x/", "http://[::1"])
def test_what_is_no_address_is_unavailable(url: str) -> None:
    with pytest.raises(UnavailableError):
        split_address(url)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://h", ("h", 80)),
        ("http://127.0.0.1:7001/x", ("127.0.0.1", 7001)),
        ("http://[::1]:7001", ("::1", 7001)),
    ],
)
def test_address_of_a_url(url: str, address: tuple[str, int]) -> None:
    assert split_address(url) == address


def test_reply_is_a_value() -> None:
    assert HttpReply(200, {}, b"") == HttpReply(200, {}, b"")


def test_pauses_double_up_to_a_second_with_half_of_it_chance() -> None:
    longest = Backoff(lambda bound: bound - 1)
    shortest = Backoff(lambda _: 0)
    assert [longest.next_pause() for _ in range(7)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert [shortest.next_pause() for _ in range(6)] == [0.025, 0.05, 0.1, 0.2, 0.4, 0.5]
    longest.reset()
    assert longest.next_pause() == 0.05

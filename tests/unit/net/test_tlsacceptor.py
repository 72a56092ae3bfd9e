"""Handshakes on a listener's port: who gets in, who is told why not, and what is logged."""

import asyncio
import re
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.net.conftest import (
    Client,
    Run,
    connected,
    listening_tls,
    soon,
    tls_files,
    wait_until,
)

from kvorum.config import TlsFiles
from kvorum.net import tlsacceptor
from kvorum.net.connection import REFUSALS_MAX, Limits
from kvorum.net.tls import make_caller_context
from kvorum.protocol.exchange import Exchange

OK = b"HTTP/1.1 200 OK\r\n"
GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
EXPLANATION = "Client sent an HTTP request to an HTTPS server.\n"


def answer(exchange: Exchange) -> None:
    exchange.respond(OK, exchange.target)


def context(name: str = "client", ca: str = "ca") -> ssl.SSLContext:
    return make_caller_context(tls_files(name, ca))


def without_certificate() -> ssl.SSLContext:
    return make_caller_context(TlsFiles(ca_file=tls_files("server", "ca").ca_file))


async def ask(client: Client) -> tuple[int, bytes]:
    client.send(GET)
    return await client.read_answer()


def test_requests_are_answered_over_tls(run: Run) -> None:
    async def main() -> None:
        async with listening_tls(answer, tls_files("server")) as listener:
            async with connected(listener, context=without_certificate()) as client:
                assert await ask(client) == (200, b"/a")
                assert await ask(client) == (200, b"/a")
                assert listener.connection_count == 1
                told = client.writer.get_extra_info("ssl_object")
                assert told.selected_alpn_protocol() == "http/1.1"
                assert told.version() == "TLSv1.3"
            await wait_until(lambda: listener.connection_count == 0)

    run(main())


def test_old_versions_are_refused(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    old = context()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")

    async def main() -> None:
        async with listening_tls(answer, tls_files("server")) as listener:
            with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
                async with connected(listener, context=old):
                    pass
            await wait_until(lambda: "unsupported protocol" in caplog.text)

    run(main())


def test_with_a_ca_only_its_clients_get_in(run: Run) -> None:
    async def main() -> None:
        async with (
            listening_tls(answer, tls_files("server", "ca")) as listener,
            connected(listener, context=context()) as client,
        ):
            assert await ask(client) == (200, b"/a")

    run(main())


@pytest.mark.parametrize(
    ("make_context", "fault"),
    [
        (without_certificate, "it shows no certificate, and one is required"),
        (lambda: context("stranger"), "its certificate is refused: unable to get local issuer"),
        (lambda: context("expired"), "its certificate is refused: certificate has expired"),
    ],
    ids=["none", "stranger", "expired"],
)
def test_others_are_turned_away_and_logged(
    run: Run,
    caplog: pytest.LogCaptureFixture,
    make_context: Callable[[], ssl.SSLContext],
    fault: str,
) -> None:
    async def main() -> None:
        async with listening_tls(answer, tls_files("server", "ca")) as listener:
            for _ in range(2):
                async with connected(listener, context=make_context()) as client:
                    client.send(GET)
                    with pytest.raises(ssl.SSLError, match="ALERT"):
                        await client.read_to_end()
            await wait_until(lambda: caplog.records)
            assert listener.connection_count == 0

    run(main())
    (line,) = caplog.messages
    head, _, told = line.partition(": ")
    assert head.startswith("rejected connection from 127.0.0.1:")
    assert re.match(fault, told), told


@pytest.mark.parametrize("request_size", [0, 300_000])
def test_plain_http_is_answered_with_what_is_wrong(
    run: Run, caplog: pytest.LogCaptureFixture, request_size: int
) -> None:
    async def main() -> None:
        async with (
            listening_tls(answer, tls_files("server")) as listener,
            connected(listener) as client,
        ):
            client.send(b"PUT /v2/keys/a HTTP/1.1\r\n\r\n" + b"a" * request_size)
            told = await client.read_to_end()
            assert told.decode() == f"HTTP/1.0 400 Bad Request\r\n\r\n{EXPLANATION}"

    run(main())
    assert "it sent an HTTP request to an HTTPS server" in caplog.text


def test_what_is_neither_is_cut_off(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with (
            listening_tls(answer, tls_files("server")) as listener,
            connected(listener) as client,
        ):
            client.send(b"\x00" * 100)
            await client.read_to_end()
            await wait_until(lambda: "it does not speak TLS" in caplog.text)

    run(main())


def test_a_look_at_the_port_leaves_no_line(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with listening_tls(answer, tls_files("server")) as listener:
            socket.create_connection(("127.0.0.1", listener.port)).close()
            async with connected(listener, context=without_certificate()) as client:
                assert await ask(client) == (200, b"/a")

    run(main())
    assert not caplog.records


def test_silence_is_bounded(
    run: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tlsacceptor, "HANDSHAKE_SECONDS", 0.02)

    async def main() -> None:
        async with listening_tls(answer, tls_files("server")) as listener:
            for said in (b"", b"\x16\x03"):
                async with connected(listener) as client:
                    client.send(said)
                    assert await client.read_to_end() == b""

    run(main())
    (line,) = caplog.messages
    assert line.endswith(": no TLS handshake within 0.02 s")


def test_renewed_certificate_counts_from_the_next_connection(run: Run, tmp_path: Path) -> None:
    files = TlsFiles(cert_file=tmp_path / "cert", key_file=tmp_path / "key")

    def install(name: str) -> None:
        source = tls_files(name)
        for target, origin in (("cert", source.cert_file), ("key", source.key_file)):
            assert origin is not None
            (tmp_path / target).write_bytes(origin.read_bytes())

    async def main() -> None:
        install("server")
        async with (
            listening_tls(answer, files) as listener,
            connected(listener, context=without_certificate()) as first,
        ):
            install("renewed")
            async with connected(listener, context=without_certificate()) as second:
                assert await ask(first) == await ask(second) == (200, b"/a")
                assert [name_of(first), name_of(second)] == ["server", "renewed"]

    run(main())


def name_of(client: Client) -> str:
    subject = client.writer.get_extra_info("peercert")["subject"]
    return str(dict(pair for part in subject for pair in part)["commonName"])


def test_end_drops_whoever_shakes_hands(run: Run) -> None:
    async def main() -> None:
        async with (
            listening_tls(answer, tls_files("server")) as listener,
            connected(listener) as silent,
            connected(listener) as slow,
        ):
            slow.send(b"\x16")
            async with connected(listener, context=without_certificate()) as client:
                assert await ask(client) == (200, b"/a")
            await listener.close()
            assert [await silent.read_to_end(), await slow.read_to_end()] == [b"", b""]

    run(main())


def test_end_lets_answers_out_over_tls(run: Run) -> None:
    waiting: list[Exchange] = []

    async def main() -> None:
        async with (
            listening_tls(waiting.append, tls_files("server")) as listener,
            connected(listener, context=without_certificate()) as client,
        ):
            client.send(GET)
            await wait_until(lambda: waiting)
            closing = asyncio.ensure_future(listener.close(5))
            await asyncio.sleep(0)
            waiting[0].respond(OK, b"late")
            assert b"late" in await soon(client.reader.read())
            await closing

    run(main())


def test_connections_under_way_count_against_the_limit(run: Run) -> None:
    async def main() -> None:
        limits = Limits(connections_max=1)
        async with listening_tls(answer, tls_files("server"), limits) as listener:
            silent = [
                socket.create_connection(("127.0.0.1", listener.port))
                for _ in range(REFUSALS_MAX + 1)
            ]
            async with connected(listener) as client:
                assert await client.read_to_end() == b""
            for one in silent:
                one.close()

    run(main())

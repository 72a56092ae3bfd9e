"""Starts that must be refused, damaged files, and clients that break the rules.

A refused start says what is wrong and changes nothing; a server that was given nonsense goes on.
"""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.process.conftest import assert_logs_are_sound

from kvorum.config import Era
from kvorum.peer import handshake
from kvorum.testing import ClusterProcess, ServerProcess
from kvorum.testing.polling import wait_until

pytestmark = pytest.mark.process

SOCKET_SECONDS = 10.0
HEADERS = b"Host: x\r\nConnection: close\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"


# Starts.


def refusal(server: ServerProcess, code: int = 1) -> str:
    """What a server wrote that was refused its start."""
    server.start()
    try:
        assert server.wait_exit() == code, server.log()
    finally:
        server.kill()
    return server.log()


def contents(directory: Path) -> dict[Path, bytes]:
    """Every file that holds data; the locks name the process that tried."""
    paths = [path for path in directory.rglob("*") if path.is_file() and "lock" not in path.name]
    return {path: path.read_bytes() for path in paths}


@pytest.fixture
def written(tmp_path: Path) -> ServerProcess:
    """A server that took some writes and was killed."""
    with ServerProcess(tmp_path) as server:
        server.wait_ready()
        with server.client() as client:
            for number in range(10):
                client.put(f"/key{number}", f"needle{number}" * 40)
    return server


@pytest.mark.parametrize(("era", "code"), [(Era.LEGACY, 1), (Era.MODERN, 2)])
def test_an_unknown_flag_is_named(tmp_path: Path, era: Era, code: int) -> None:
    server = ServerProcess(tmp_path, era=era, arguments=["-zzz"])
    assert "flag provided but not defined: -zzz" in refusal(server, code)
    assert not server.data_dir.exists()


@pytest.mark.parametrize(
    ("era", "arguments", "texts"),
    [
        (Era.LEGACY, ["-addr", "127.0.0.1"], ["Advertised URL", "127.0.0.1", "missing port"]),
        (Era.LEGACY, ["-peer-addr", "127.0.0.1"], ["Peer Advertised URL", "missing port"]),
        (Era.LEGACY, ["-bind-addr", ":4"], ["Listen Host", "IP required"]),
        (Era.LEGACY, ["-peer-heartbeat-interval", "soon"], ["soon", "peer-heartbeat-interval"]),
        (
            Era.MODERN,
            ["--initial-cluster", "x=http://127.0.0.1:1"],
            ["machine1", "initial cluster"],
        ),
    ],
)
def test_a_bad_setting_is_named(
    tmp_path: Path, era: Era, arguments: list[str], texts: list[str]
) -> None:
    server = ServerProcess(tmp_path, era=era, arguments=arguments)
    log = refusal(server)
    assert all(text in log for text in texts), log
    assert not server.data_dir.exists()


@pytest.mark.parametrize("port", ["client_port", "peer_port"])
@pytest.mark.parametrize("era", Era)
def test_a_port_in_use_is_named(tmp_path: Path, port: str, era: Era) -> None:
    server = ServerProcess(tmp_path, era=era)
    address = ("127.0.0.1", getattr(server, port))
    with socket.create_server(address):
        log = refusal(server)
    assert f"listen tcp 127.0.0.1:{address[1]}: bind: address already in use" in log
    assert not server.data_dir.exists()


def test_a_data_directory_in_use_is_refused(tmp_path: Path, server: ServerProcess) -> None:
    second = ServerProcess(tmp_path, name="machine2")
    second.data_dir = server.data_dir
    assert f"the data directory is in use by another process ({server.pid})" in refusal(second)
    assert server.ask("/version") is not None


def test_a_data_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path)
    server.data_dir.write_text("a file")
    log = refusal(server)
    assert str(server.data_dir) in log
    assert "the data directory cannot be written" in log
    assert server.data_dir.read_text() == "a file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_directory_without_permission_is_refused(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path)
    server.data_dir.mkdir(mode=0o500)
    assert "the data directory cannot be written" in refusal(server)


@pytest.mark.parametrize("files", [["log", "conf"], ["member/snap/db", "member/wal/0-0.wal"]])
def test_the_data_of_another_server_is_refused(tmp_path: Path, files: list[str]) -> None:
    server = ServerProcess(tmp_path)
    for file in files:
        path = server.data_dir / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("not ours")
    before = contents(server.data_dir)
    assert "which is not read here" in refusal(server)
    assert contents(server.data_dir) == before


def test_a_log_damaged_in_the_middle_is_refused(written: ServerProcess) -> None:
    (segment,) = (written.data_dir / "member" / "wal").iterdir()
    data = bytearray(segment.read_bytes())
    place = data.index(b"needle4")
    data[place] ^= 1
    segment.write_bytes(data)
    before = contents(written.data_dir)
    log = refusal(written)
    told = log.rpartition(f"{segment} at byte ")[2]
    assert 0 < int(told.partition(":")[0]) < place
    assert "Nothing was changed" in told
    assert contents(written.data_dir) == before


def test_a_torn_tail_is_cut_off(written: ServerProcess) -> None:
    (segment,) = (written.data_dir / "member" / "wal").iterdir()
    end = len(segment.read_bytes().rstrip(b"\0"))
    os.truncate(segment, end - 3)
    with written:
        written.wait_ready()
        assert f"{segment} at byte" in written.log()
        assert "torn" in written.log()
        with written.client() as client:
            assert client.get("/key8").node.value == "needle8" * 40
            client.put("/key8", "again")
    with written, written.client() as client:
        written.wait_ready()
        assert client.get("/key8").node.value == "again"


def joiner(tmp_path: Path, name: str, member: ServerProcess, *arguments: str) -> ServerProcess:
    peers = ["-peers", f"127.0.0.1:{member.peer_port}", "-max-retry-attempts", "1"]
    return ServerProcess(tmp_path / "joiner", name=name, arguments=[*peers, *arguments])


def test_a_name_that_is_taken_is_refused(tmp_path: Path, cluster: ClusterProcess) -> None:
    log = refusal(joiner(tmp_path, "machine2", cluster.members[0]))
    assert "fail on join request: Key already exists (machine2)" in log
    assert "fail joining the cluster via given peers after 1 retries" in log
    with cluster.client() as client:
        assert len(client.list_machines()) == 3
    assert_logs_are_sound(tmp_path / "joiner")


def test_a_peer_address_that_is_taken_is_refused(tmp_path: Path, cluster: ClusterProcess) -> None:
    taken = f"127.0.0.1:{cluster.members[1].peer_port}"
    other = joiner(tmp_path, "machine4", cluster.members[0], "-peer-addr", taken)
    log = refusal(other)
    assert f"fail on join request: Peer address has existed ({other.client_url})" in log
    assert_logs_are_sound(tmp_path / "joiner")


def test_peers_that_nobody_answers_at_are_given_up(tmp_path: Path) -> None:
    nobody = ServerProcess(tmp_path, name="nobody")
    server = joiner(tmp_path, "machine2", nobody)
    log = refusal(server)
    address = f"127.0.0.1:{nobody.peer_port}"
    assert f"machine2 attempted to join via {address} failed: " in log
    assert (
        f"machine2 cannot connect to existing peers [{address}]:"
        " fail joining the cluster via given peers after 1 retries"
    ) in log
    assert server.ask("/version") is None
    assert_logs_are_sound(tmp_path / "joiner")


# Clients.


@pytest.fixture(scope="module", params=Era)
def target(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[ServerProcess]:
    """One server for everybody who misbehaves."""
    directory = tmp_path_factory.mktemp("target")
    with ServerProcess(directory, era=request.param) as server:
        server.wait_ready()
        yield server
    assert_logs_are_sound(directory)


@pytest.fixture(autouse=True)
def _lives_on(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test the target still answers, at the same process id."""
    if "target" not in request.fixturenames:
        yield
        return
    server: ServerProcess = request.getfixturevalue("target")
    with server.client() as client:
        yield
        client.put("/alive", "yes")
        assert client.get("/alive", quorum=True).node.value == "yes"
    assert server.is_running


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=SOCKET_SECONDS)


def read_all(connection: socket.socket) -> bytes:
    """Everything until the other side closes."""
    pieces = []
    while piece := connection.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def talk(port: int, data: bytes) -> bytes:
    with connect(port) as connection:
        connection.sendall(data)
        return read_all(connection)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def error_code(answer: bytes) -> int:
    return int(json.loads(answer.partition(b"\r\n\r\n")[2])["errorCode"])


def request(method: bytes, path: bytes, body: bytes = b"", headers: bytes = b"") -> bytes:
    if body:
        headers += FORM + b"Content-Length: %d\r\n" % len(body)
    return b"%b %b HTTP/1.1\r\n%b%b\r\n%b" % (method, path, HEADERS, headers, body)


def test_a_method_that_is_not_served_is_refused(target: ServerProcess) -> None:
    for method in (b"PATCH", b"FROB"):
        answer = talk(target.client_port, request(method, b"/v2/keys/a"))
        assert status(answer) == (404 if target.era is Era.LEGACY else 405)


def test_a_malformed_form_loses_the_pair_or_is_refused(target: ServerProcess) -> None:
    answer = talk(target.client_port, request(b"PUT", b"/v2/keys/form", b"value=a&ttl=%zz"))
    if target.era is Era.LEGACY:
        assert status(answer) == 201
        assert b'"ttl"' not in answer
    else:
        assert (status(answer), error_code(answer)) == (400, 210)


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        (b"/v2/keys/t", b"value=a&ttl=soon", 202),
        (b"/v2/keys/t", b"value=a&ttl=1e3", 202),
        (b"/v2/keys/t?prevIndex=first", b"value=a", 203),
        (b"/v2/keys/t?prevIndex=-1", b"value=a", 203),
        (b"/v2/keys/t?prevIndex=18446744073709551616", b"value=a", 203),
        (b"/v2/keys" + b"/deep" * 3000, b"value=a", 209),
        (b"/v2/keys/" + b"long" * 5000, b"value=a", 209),
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused(
    target: ServerProcess, path: bytes, body: bytes, code: int
) -> None:
    answer = talk(target.client_port, request(b"PUT", path, body))
    assert (status(answer), error_code(answer)) == (400, code)


def test_an_index_to_wait_for_must_be_a_number(target: ServerProcess) -> None:
    path = b"/v2/keys/t?wait=true&waitIndex=next"
    answer = talk(target.client_port, request(b"GET", path))
    assert (status(answer), error_code(answer)) == (400, 203)


def test_a_value_that_is_too_large_is_refused(target: ServerProcess) -> None:
    body = b"value=" + b"x" * (2 << 20)
    assert status(talk(target.client_port, request(b"PUT", b"/v2/keys/large", body))) == 413
    with target.client() as client:
        client.put("/large", "x" * (1 << 20))
        assert len(client.get("/large").node.value or "") == 1 << 20
        client.delete("/large")


@pytest.mark.parametrize("port", ["client_port", "peer_port"])
def test_headers_that_are_too_large_are_refused(target: ServerProcess, port: str) -> None:
    one = request(b"GET", b"/version", headers=b"X-Large: %b\r\n" % (b"x" * 70_000))
    many = request(b"GET", b"/version", headers=b"X-Many: x\r\n" * 20_000)
    for asked in (one, many, b"GET /" + b"a" * 200_000):
        assert status(talk(getattr(target, port), asked)) == 431


@pytest.mark.parametrize("port", ["client_port", "peer_port"])
@pytest.mark.parametrize(
    "garbage",
    [
        bytes(5_000),
        bytes(range(256)) * 40,
        bytes.fromhex("16030100f4010000f00303") + bytes(233),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
        b"GET /\r\n\r\n",
        b"GET /version HTTP/1.1\r\n\r\n",
        b"GET /version HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999999999999999\r\n\r\n",
        b"PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["zeros", "bytes", "tls", "http2", "0.9", "no-host", "hosts", "negative", "huge", "chunk"],
)
def test_garbage_is_answered_with_400(target: ServerProcess, port: str, garbage: bytes) -> None:
    assert status(talk(getattr(target, port), garbage)) in (400, 413)


@pytest.mark.parametrize("port", ["client_port", "peer_port"])
def test_nobody_waits_for_a_slow_client(target: ServerProcess, port: str) -> None:
    asked = request(b"GET", b"/version")
    with connect(getattr(target, port)) as slow:
        for place in range(len(asked) - 1):
            slow.sendall(asked[place : place + 1])
            if place % 20 == 0:
                assert target.ask("/version") is not None
        slow.sendall(asked[-1:])
        assert status(read_all(slow)) == 200


def test_a_client_that_will_say_no_more_still_hears(target: ServerProcess) -> None:
    with connect(target.client_port) as connection:
        connection.sendall(request(b"PUT", b"/v2/keys/half", b"value=closed"))
        connection.shutdown(socket.SHUT_WR)
        assert b'"value":"closed"' in read_all(connection)


def test_clients_that_leave_in_the_middle_are_forgotten(target: ServerProcess) -> None:
    whole = request(b"PUT", b"/v2/keys/left", b"value=" + b"x" * 1000)
    waiting = request(b"GET", b"/v2/keys/left?wait=true")
    for asked in (b"", whole[:10], whole[:-10], whole, waiting):
        for _ in range(10):
            with connect(target.client_port) as connection:
                connection.sendall(asked)
    wait_until(lambda: watchers(target) == 0, 5, "everybody who waited to be forgotten")
    with target.client() as client:
        client.delete("/left")


def watchers(server: ServerProcess) -> int:
    answer = server.ask("/v2/stats/store")
    assert answer is not None
    return int(json.loads(answer[1])["watchers"])


@pytest.mark.parametrize("garbage", [b"\xff" * 100_000, bytes(100_000)])
def test_garbage_behind_a_members_handshake_ends_the_call(
    target: ServerProcess, garbage: bytes
) -> None:
    with connect(target.peer_port) as connection:
        connection.sendall(members_handshake(target))
        assert connection.recv(65536).startswith(b"HTTP/1.1 101 ")
        try:
            connection.sendall(garbage)
            read_all(connection)
        except ConnectionError:
            pass  # the other way to see the end


def members_handshake(server: ServerProcess) -> bytes:
    """What a member that the server does not know yet would say."""
    listing = json.loads(talk(server.peer_port, request(b"GET", b"/members")).split(b"\r\n\r\n")[1])
    cluster_id, own_id = int(listing["cluster_id"], 16), int(listing["members"][0]["id"], 16)
    path = handshake.STREAM_PATH
    return handshake.request(server.peer_url, path, cluster_id, own_id + 1, own_id)

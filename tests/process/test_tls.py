"""Servers over TLS: the walkthrough over https, who gets in, who is told why not, and renewal."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.process.conftest import TLS, TlsCluster, make_tls, tls_arguments, tls_settings

from kvorum.client.connection import Settings
from kvorum.config import Era
from kvorum.testing import ClusterProcess, ServerProcess
from kvorum.testing.polling import wait_until

pytestmark = pytest.mark.process

WAIT_SECONDS = 20
ETCDCTL = str(Path(sys.executable).parent / "etcdctl")
SHOWN = ["--cert", str(TLS / "client.pem"), "--key", str(TLS / "client.key")]
TRUST = ["--cacert", str(TLS / "ca.pem")]

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="asks with curl")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("ETCD")}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=WAIT_SECONDS, env=clean
    )


def curl(*arguments: str) -> str:
    result = run("curl", "-sS", *TRUST, *SHOWN, *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def etcdctl(
    server: ServerProcess, *arguments: str, trust: str = "ca", shown: str = "client"
) -> str:
    """What our etcdctl shows, on both of its streams."""
    flags = ["--endpoints", server.client_url, "--ca-file", str(TLS / f"{trust}.pem")]
    if shown:
        flags += ["--cert-file", str(TLS / f"{shown}.pem")]
        flags += ["--key-file", str(TLS / f"{shown}.key")]
    result = run(ETCDCTL, *flags, *arguments)
    return result.stdout + result.stderr


@pytest.fixture(params=[Era.LEGACY, Era.MODERN], ids=["0.4", "3.x"])
def era(request: pytest.FixtureRequest) -> Era:
    era: Era = request.param
    return era


@pytest.fixture
def secure(tmp_path: Path, era: Era) -> Iterator[ServerProcess]:
    """A server that asks its clients for certificates."""
    with make_tls(ServerProcess(tmp_path, era=era)) as server:
        server.wait_ready()
        yield server


# One member.


@needs_curl
def test_one_member_over_https(secure: ServerProcess) -> None:
    url = f"{secure.client_url}/v2/keys/message"
    put = json.loads(curl("-X", "PUT", url, "-d", "value=Hello"))
    assert put["action"] == "set"
    assert json.loads(curl(url))["node"] == put["node"]
    assert curl(f"{secure.client_url}/v2/machines") == secure.client_url
    assert etcdctl(secure, "get", "/message") == "Hello\n"
    assert etcdctl(secure, "set", "/message", "hoge") == "hoge\n"
    big = "a" * 300_000
    assert json.loads(curl(url, "-X", "PUT", "-d", f"value={big[:90_000]}"))["action"] == "set"
    with secure.client() as client:
        client.put("/big", big)
        assert client.get("/big").node.value == big
    assert json.loads(curl("--tls-max", "1.2", url))["action"] == "get"
    assert secure.terminate() == 0


@needs_curl
def test_a_wait_is_answered_over_https(secure: ServerProcess) -> None:
    url = f"{secure.client_url}/v2/keys/awaited"
    command = ["curl", "-sS", *TRUST, *SHOWN, f"{url}?wait=true"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as waiter:
        wait_until(lambda: is_waited_for(secure), WAIT_SECONDS, "a watcher")
        curl("-X", "PUT", url, "-d", "value=1")
        told, _ = waiter.communicate(timeout=WAIT_SECONDS)
    assert json.loads(told)["node"]["value"] == "1"


def is_waited_for(server: ServerProcess) -> bool:
    answer = server.ask("/v2/stats/store")
    return answer is not None and json.loads(answer[1])["watchers"] == 1


@needs_curl
def test_clients_that_are_not_known_are_turned_away(secure: ServerProcess) -> None:
    url = f"{secure.client_url}/v2/keys/"
    assert "certificate required" in run("curl", "-sS", *TRUST, url).stderr
    stranger = ["--cert", str(TLS / "stranger.pem"), "--key", str(TLS / "stranger.key")]
    assert "unknown ca" in run("curl", "-sS", *TRUST, *stranger, url).stderr
    assert "certificate required" in etcdctl(secure, "get", "/", shown="")
    assert "it refused the handshake or our certificate" in etcdctl(secure, "ls", shown="stranger")
    assert "its certificate is refused: self-signed" in etcdctl(secure, "ls", trust="other-ca")
    secure.wait_log("it shows no certificate, and one is required")
    secure.wait_log("its certificate is refused: unable to get local issuer certificate")
    secure.wait_log("it refused the handshake or our certificate: unknown ca")


def test_an_address_alone_is_asked_as_the_certificates_say(secure: ServerProcess) -> None:
    address = secure.client_url.partition("://")[2]
    trust = ["--ca-file", str(TLS / "ca.pem")]
    shown = ["--cert-file", str(TLS / "client.pem"), "--key-file", str(TLS / "client.key")]
    command = [sys.executable, "-m", "kvorum.cli.etcdctl.main", "--endpoints", address]
    assert run(*command, *trust, *shown, "set", "/a", "1").stdout == "1\n"
    assert "It speaks https: --endpoints https://HOST:PORT" in run(*command, "get", "/a").stderr


@needs_curl
def test_plain_http_is_told_to_use_https(secure: ServerProcess) -> None:
    url = secure.client_url.replace("https", "http")
    text = "Client sent an HTTP request to an HTTPS server.\n"
    # Line ends are made one here; the bytes are the unit test's business.
    assert run("curl", "-sS", "-i", f"{url}/v2/keys/").stdout == (
        f"HTTP/1.0 400 Bad Request\n\n{text}"
    )
    secure.client_scheme = "http"
    assert text in etcdctl(secure, "get", "/message")
    secure.wait_log("it sent an HTTP request to an HTTPS server")


def test_tls_to_a_plain_server_is_told(server: ServerProcess) -> None:
    server.client_scheme = "https"
    assert "it does not speak TLS" in etcdctl(server, "get", "/message")
    server.client_scheme = "http"
    with server.client() as client:
        assert client.put("/message", "1").node.value == "1"


def test_whoever_says_nothing_hinders_nobody(secure: ServerProcess) -> None:
    silent = [socket.create_connection(("127.0.0.1", secure.client_port)) for _ in range(50)]
    with secure.client() as client:
        assert client.put("/message", "1").node.value == "1"
    assert secure.terminate() == 0
    for one in silent:
        one.close()


def test_a_renewed_certificate_is_shown_without_a_restart(tmp_path: Path, era: Era) -> None:
    for end in ("pem", "key"):
        shutil.copyfile(TLS / f"server.{end}", tmp_path / f"own.{end}")
    arguments = ["-cert-file", str(tmp_path / "own.pem"), "-key-file", str(tmp_path / "own.key")]
    server = ServerProcess(tmp_path, era=era, arguments=arguments)
    server.client_scheme, server.settings = "https", Settings(ca_file=str(TLS / "ca.pem"))
    with server:
        server.wait_ready()
        with server.client() as old:
            old.put("/message", "1")
            shutil.copyfile(TLS / "stranger.pem", tmp_path / "own.pem")
            assert old.get("/message").node.value == "1"
            assert server.ask("/version") is not None  # the key does not belong to it yet
            server.wait_log("the old certificate stays in use: tls: private key does not match")
            shutil.copyfile(TLS / "stranger.key", tmp_path / "own.key")
            assert server.ask("/version") is None
            server.wait_log(f"the certificate in {tmp_path / 'own.pem'} was read anew")
            server.settings = Settings(ca_file=str(TLS / "other-ca.pem"))
            assert server.ask("/version") is not None
            assert old.get("/message").node.value == "1"


# Starts that are refused.


@pytest.mark.parametrize(
    ("flag", "label"),
    [("-cert-file", "TLS info error: "), ("-peer-key-file", "client TLS error: ")],
)
def test_an_unreadable_file_stops_the_start(
    tmp_path: Path, era: Era, flag: str, label: str
) -> None:
    server = make_tls(ServerProcess(tmp_path, era=era))
    server.add_arguments([flag, "nofile"])
    server.start()
    assert server.wait_exit() == 1
    text = "open nofile: no such file or directory"
    assert (label if era is Era.LEGACY else "") + text in server.log()
    assert not server.data_dir.exists()


# Three members.


@pytest.fixture
def secure_cluster(tmp_path: Path, era: Era) -> Iterator[ClusterProcess]:
    with TlsCluster(tmp_path, era=era) as cluster:
        yield cluster


def test_the_walkthrough_over_https(secure_cluster: ClusterProcess) -> None:
    members = secure_cluster.members
    everybody = sorted(member.client_url for member in members)
    for member in members:
        assert sorted(etcdctl(member, "ls", "/").split()) == []
        machines = member.ask("/v2/machines")
        assert machines is not None
        assert sorted(machines[1].decode().split(", ")) == everybody
    leader = secure_cluster.wait_leader()
    told = leader.ask("/v2/leader")
    if told is not None and told[0] == 200:  # 3.x has no such page
        assert told[1].decode() == leader.peer_url
    with secure_cluster.client() as client:
        put = client.put("/message", "hoge")
    for member in members:
        with member.client() as one:
            assert one.get("/message", quorum=True).node == put.node

    leader.kill()
    assert secure_cluster.wait_leader() is not leader
    with secure_cluster.client() as client:
        assert client.put("/message", "fuga").prev_node == put.node
    leader.restart()
    leader.wait_ready()
    with leader.client() as one:
        assert one.get("/message", quorum=True).node.value == "fuga"
    for member in members:
        assert "cannot reach the peer" not in member.log()


def test_a_member_that_was_left_far_behind_gets_the_whole_state(tmp_path: Path) -> None:
    with TlsCluster(tmp_path, arguments=["-snapshot-count", "20"]) as cluster:
        leader = cluster.wait_leader()
        absent = next(member for member in cluster.members if member is not leader)
        absent.kill()
        with leader.client() as client:
            for number in range(300):
                client.put(f"/key{number}", "a" * 10_000)
        absent.restart()
        absent.wait_ready()
        with absent.client() as one:
            assert one.get("/key299", quorum=True).node.value == "a" * 10_000


@pytest.mark.parametrize(
    ("arguments", "told_joiner", "told_member"),
    [
        (
            ["-peer-cert-file", "stranger.pem", "-peer-key-file", "stranger.key"],
            "it refused the handshake or our certificate: unknown ca",
            "its certificate is refused: unable to get local issuer certificate",
        ),
        (
            ["-peer-ca-file", "other-ca.pem"],
            "its certificate is refused: self-signed certificate in certificate chain",
            "it refused the handshake or our certificate: unknown ca",
        ),
    ],
    ids=["stranger", "distrust"],
)
def test_a_joiner_that_does_not_belong_is_refused(
    tmp_path: Path, arguments: Sequence[str], told_joiner: str, told_member: str
) -> None:
    with make_tls(ServerProcess(tmp_path)) as first:
        first.wait_ready()
        joiner = make_tls(ServerProcess(tmp_path, name="machine2"))
        files = [str(TLS / one) if "." in one else one for one in arguments]
        peers = ["-peers", f"127.0.0.1:{first.peer_port}", "-max-retry-attempts", "1"]
        joiner.add_arguments([*files, *peers])
        joiner.start()
        assert joiner.wait_exit() == 1
        assert told_joiner in joiner.log()
        first.wait_log(told_member)


def test_a_joiner_in_the_clear_is_told_to_use_tls(tmp_path: Path) -> None:
    with make_tls(ServerProcess(tmp_path)) as first:
        first.wait_ready()
        peers = ["-peers", f"127.0.0.1:{first.peer_port}", "-max-retry-attempts", "1"]
        joiner = ServerProcess(tmp_path, name="machine2", arguments=peers)
        joiner.start()
        assert joiner.wait_exit() == 1
        first.wait_log("it sent an HTTP request to an HTTPS server")
        assert "Client sent an HTTP request to an HTTPS server" in joiner.log()


def test_clients_and_peers_are_secured_independently(tmp_path: Path) -> None:
    with TlsCluster(tmp_path, size=2, sides=("peer",)) as cluster, cluster.client() as client:
        assert client.put("/message", "1").node.value == "1"
        assert cluster.members[0].client_url.startswith("http://")


def test_the_arguments_are_those_of_the_era() -> None:
    assert "-peer-ca-file" in tls_arguments(Era.LEGACY, ("peer",))
    assert "--trusted-ca-file" in tls_arguments(Era.MODERN, ("client",))
    assert tls_settings().cert_file


@needs_curl
def test_only_what_is_chosen_is_spoken(tmp_path: Path) -> None:
    server = make_tls(ServerProcess(tmp_path, era=Era.MODERN), ["client"])
    server.add_arguments(["--cipher-suites", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"])
    server.add_arguments(["--tls-max-version", "TLS1.2"])
    with server:
        server.wait_ready()
        asked = ["curl", "-sS", "-v", *TRUST, *SHOWN, f"{server.client_url}/version"]
        assert "TLSv1.2 / ECDHE-ECDSA-AES256-GCM-SHA384" in run(*asked).stderr
        refused = run(*asked, "--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256", "--tls-max", "1.2")
        assert refused.returncode == 35

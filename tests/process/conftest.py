"""Tests of real server processes: every log must be free of what no user may ever see."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.programs import NotInstalled, get_program

from kvorum.client.connection import Settings
from kvorum.config import Era
from kvorum.testing import ClusterProcess, ServerProcess
from kvorum.testing.process import OUR_PROGRAM

TLS = Path(__file__).parents[1] / "data" / "tls"
"""Certificates for tests; `make.sh` there tells what each is."""

BOTH_SIDES = ("client", "peer")

NEVER_LOGGED = ("Traceback", "internal error")


def find_program(release: str, name: str) -> str:
    """The path of `etcd` or `etcdctl` of a release; skips where it is not there."""
    try:
        return get_program(release, name)
    except NotInstalled as missing:
        pytest.skip(str(missing))


def assert_logs_are_sound(directory: Path) -> None:
    """No log in the directory shows a failure of our own code."""
    for path in directory.glob("*.log"):
        log = path.read_text(errors="replace")
        assert not any(text in log for text in NEVER_LOGGED), f"{path}\n{log}"


@pytest.fixture(autouse=True)
def _sound_logs(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    failed_before = request.session.testsfailed
    yield
    assert_logs_are_sound(tmp_path)
    if request.session.testsfailed == failed_before:
        # A log is made 64 MB long; all of them together would fill a small disk.
        shutil.rmtree(tmp_path)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """One server that answers."""
    with ServerProcess(tmp_path) as process:
        process.wait_ready()
        yield process


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ClusterProcess]:
    """Three members with a leader."""
    with ClusterProcess(tmp_path) as members:
        yield members


def tls_arguments(era: Era, sides: Sequence[str] = BOTH_SIDES) -> list[str]:
    """Flags of a server that shows a certificate, and asks for one, on these sides."""
    ca_flag = "-{}ca-file" if era is Era.LEGACY else "--{}trusted-ca-file"
    arguments = []
    for prefix in ("" if side == "client" else "peer-" for side in sides):
        arguments += [f"-{prefix}cert-file", str(TLS / "server.pem")]
        arguments += [f"-{prefix}key-file", str(TLS / "server.key")]
        arguments += [ca_flag.format(prefix), str(TLS / "ca.pem")]
    return arguments


def tls_settings() -> Settings:
    """How a client shows and checks certificates."""
    return Settings(
        ca_file=str(TLS / "ca.pem"),
        cert_file=str(TLS / "client.pem"),
        key_file=str(TLS / "client.key"),
    )


def make_tls(server: ServerProcess, sides: Sequence[str] = BOTH_SIDES) -> ServerProcess:
    """Makes a server that was not started yet speak TLS."""
    server.add_arguments(tls_arguments(server.era, sides))
    if "client" in sides:
        server.client_scheme, server.settings = "https", tls_settings()
    if "peer" in sides:
        server.peer_scheme = "https"
    return server


class TlsCluster(ClusterProcess):
    """Members that speak TLS."""

    def __init__(
        self,
        directory: Path,
        size: int = 3,
        *,
        era: Era = Era.LEGACY,
        arguments: Sequence[str] = (),
        sides: Sequence[str] = BOTH_SIDES,
    ) -> None:
        self.sides = sides
        super().__init__(directory, size, era=era, arguments=arguments, program=OUR_PROGRAM)

    def make_member(
        self, number: int, directory: Path, *, arguments: Sequence[str], program: Sequence[str]
    ) -> ServerProcess:
        member = super().make_member(number, directory, arguments=arguments, program=program)
        return make_tls(member, self.sides)

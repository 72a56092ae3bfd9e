"""Real server processes for tests: one, or a cluster, on free ports of the loopback interface.

What for: a test starts servers as users do, kills them at any instant, starts them again on the
same data, and asks them over their ports.

Owns: the processes it started, and below the directory it is given their data and log files.

Rules:
    What a process wrote is kept over restarts, in one file.
    Every wait has a deadline, and its failure shows the end of the log.
    ETCD_ variables of the caller do not reach a server.

The caller: `with ServerProcess(tmp_path) as server: server.wait_ready()`; leaving the block kills
what still runs.
"""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from kvorum.client.connection import AnswerLost, ConnectFailed, Connection, Request, Settings
from kvorum.client.v2 import Client
from kvorum.clock import SystemClock
from kvorum.config import Era
from kvorum.testing.polling import wait_until

READY_SECONDS = 20.0
"""A start takes a quarter of a second; a loaded machine may take long."""

STOP_SECONDS = 20.0

ANSWER_SECONDS = 2.0
"""How long one look at a server may take."""

LOG_LINES_SHOWN = 20

OK = 200

LEADER_STATES = frozenset({"leader", "StateLeader"})
"""What a leader calls itself in `/v2/stats/self`, in the 0.4 era and in 3.x."""

LOOPBACK = "127.0.0.1"

PORTS = range(10_000, 32_000)
"""Above what is well known, below where Linux begins to choose ports of its own accord."""

OUR_PROGRAM = tuple(
    shlex.split(os.environ.get("KVORUM_PROGRAM", "")) or (sys.executable, "-m", "kvorum.cli.etcd")
)
"""What is tested: the server beside this module, or another build that KVORUM_PROGRAM names."""


def find_free_ports(count: int) -> list[int]:
    """Ports where nobody listens right now, each given out once.

    They lie below the ports that systems give to connecting clients, so that a server may come
    back to its own after a while. Test runs beside this one do not get them either: the UDP port
    of the same number is held until this process ends.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = PORTS.start + SystemClock().random_below(len(PORTS))
        if _take(port) and _is_free(port):
            ports.append(port)
    return ports


def _take(port: int) -> bool:
    with socket.socket(type=socket.SOCK_DGRAM) as claim:
        try:
            claim.bind((LOOPBACK, port))
        except OSError:
            return False
        claim.detach()
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


class ServerProcess:
    """One server as a process of its own.

    Attributes:
        name: the member's name.
        host: the address it serves on.
        client_port: where clients are served.
        peer_port: where peers are served.
        data_dir: its data; it outlives the process.
        log_path: everything it wrote, on both of its streams.
        client_scheme: `https` when its arguments make it serve clients so.
        peer_scheme: the same for peers.
        settings: how tests ask it: limits, certificates.
    """

    def __init__(
        self,
        directory: Path,
        *,
        name: str = "machine1",
        era: Era = Era.LEGACY,
        arguments: Sequence[str] = (),
        program: Sequence[str] = OUR_PROGRAM,
        host: str = LOOPBACK,
    ) -> None:
        """Starts nothing yet.

        Args:
            directory: where data and log go; created with parents.
            name: the member's name.
            era: whether it is started the 0.4 or the 3.x way.
            arguments: flags besides those for name, data and addresses.
            program: the command; another server of the same era may stand in.
            host: the address it serves on.
        """
        self.name = name
        self.host = host
        self.era = era
        self.client_port, self.peer_port = find_free_ports(2)
        self.client_scheme = self.peer_scheme = "http"
        self.settings = Settings(connect_seconds=ANSWER_SECONDS)
        self.data_dir = directory / f"{name}.data"
        self.log_path = directory / f"{name}.log"
        self._arguments = list(arguments)
        self._program = list(program)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def client_url(self) -> str:
        """Where clients are served."""
        return f"{self.client_scheme}://{self.host}:{self.client_port}"

    @property
    def peer_url(self) -> str:
        """Where peers are served."""
        return f"{self.peer_scheme}://{self.host}:{self.peer_port}"

    @property
    def command(self) -> list[str]:
        """The whole command line."""
        by_era = {Era.LEGACY: self._legacy_flags, Era.MODERN: self._modern_flags}
        return [*self._program, *by_era[self.era](), *self._arguments]

    @property
    def pid(self) -> int:
        """The id of the running process."""
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts the process and does not wait for it."""
        assert not self.is_running, f"{self.name} is running already"
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        clean = {key: value for key, value in os.environ.items() if not key.startswith("ETCD_")}
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 -- the caller's own command
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**clean, "PYTHONUNBUFFERED": "1"},
                cwd=self.log_path.parent,
                # Ctrl-C is for the test; what becomes of the server is the test's business.
                start_new_session=True,
            )

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Waits until clients are answered.

        Raises:
            TimeoutError: it does not answer in time.
            ChildProcessError: it ended instead.
        """
        wait_until(self._is_answering, seconds, lambda: f"{self.name} to answer\n{self.log_end()}")

    def wait_log(self, text: str, seconds: float = READY_SECONDS) -> None:
        """Waits until the log contains `text`.

        Raises:
            TimeoutError: it does not in time.
        """
        what = f"{text!r} in the log of {self.name}"
        wait_until(lambda: text in self.log(), seconds, lambda: f"{what}\n{self.log_end()}")

    def log(self) -> str:
        """Everything the process has written, restarts included."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_end(self) -> str:
        """The command line and the last lines of the log, for a message."""
        lines = self.log().splitlines()[-LOG_LINES_SHOWN:]
        return "\n".join([f"$ {' '.join(self.command)}", *lines])

    def add_arguments(self, arguments: Sequence[str]) -> None:
        """Adds flags that count from the next start on."""
        self._arguments += arguments

    def kill(self) -> None:
        """Ends the process as a power failure would (SIGKILL), if it runs."""
        if self.is_running:
            self.send_signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def terminate(self, seconds: float = STOP_SECONDS) -> int:
        """Asks the process to stop (SIGTERM) and returns its exit code.

        Raises:
            TimeoutError: it still runs after the time.
        """
        self.send_signal(signal.SIGTERM)
        return self.wait_exit(seconds)

    def wait_exit(self, seconds: float = STOP_SECONDS) -> int:
        """Waits until the process has ended by itself; returns its exit code.

        Raises:
            TimeoutError: it still runs after the time.
        """
        assert self._process is not None, f"{self.name} was never started"
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            what = f"{self.name} to end"
            raise TimeoutError(f"waited {seconds:g}s for {what}\n{self.log_end()}") from None

    def send_signal(self, number: signal.Signals) -> None:
        """Sends a signal to the running process."""
        os.kill(self.pid, number)

    def restart(self) -> None:
        """Kills the process if it runs, and starts it again on its data and ports."""
        self.kill()
        self.start()

    def ask(self, path: str) -> tuple[int, bytes] | None:
        """Status and body of a GET on the client port; None when there is no answer now."""
        connection = Connection(self.client_url, self.settings)
        try:
            answer = connection.request(Request("GET", path), ANSWER_SECONDS)
        except (ConnectFailed, AnswerLost):
            return None
        finally:
            connection.close()
        return answer.status, answer.body

    def client(self) -> Client:
        """A v2 client that knows this server only."""
        return Client([self.client_url], self.settings)

    def _is_answering(self) -> bool:
        if not self.is_running:
            assert self._process is not None, f"{self.name} was never started"
            code = self._process.returncode
            raise ChildProcessError(f"{self.name} ended with {code}\n{self.log_end()}")
        answer = self.ask("/version")
        return answer is not None and answer[0] == OK

    def _legacy_flags(self) -> list[str]:
        client, peer = f"{self.host}:{self.client_port}", f"{self.host}:{self.peer_port}"
        flags = ["-name", self.name, "-data-dir", str(self.data_dir)]
        flags += ["-addr", client, "-bind-addr", client]
        return [*flags, "-peer-addr", peer, "-peer-bind-addr", peer]

    def _modern_flags(self) -> list[str]:
        flags = ["--name", self.name, "--data-dir", str(self.data_dir), "--enable-v2"]
        for flag in ("--listen-client-urls", "--advertise-client-urls"):
            flags += [flag, self.client_url]
        for flag in ("--listen-peer-urls", "--initial-advertise-peer-urls"):
            flags += [flag, self.peer_url]
        return flags


class ClusterProcess:
    """Servers of one cluster, each a process of its own.

    Attributes:
        era: whether they are started the 0.4 or the 3.x way.
        members: all of them, running or not.
    """

    def __init__(
        self,
        directory: Path,
        size: int = 3,
        *,
        era: Era = Era.LEGACY,
        arguments: Sequence[str] = (),
        program: Sequence[str] = OUR_PROGRAM,
    ) -> None:
        """Starts nothing yet; the arguments are those of `ServerProcess`."""
        self.era = era
        self.members = [
            self.make_member(number, directory, arguments=arguments, program=program)
            for number in range(1, size + 1)
        ]
        for member in self.members:
            member.add_arguments(self._cluster_flags(member))

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def make_member(
        self, number: int, directory: Path, *, arguments: Sequence[str], program: Sequence[str]
    ) -> ServerProcess:
        """Makes a member, counted from 1; a subclass may place it elsewhere."""
        name = f"machine{number}"
        return ServerProcess(
            directory, name=name, era=self.era, arguments=arguments, program=program
        )

    @property
    def running(self) -> list[ServerProcess]:
        """The members whose process is there."""
        return [member for member in self.members if member.is_running]

    def start(self) -> None:
        """Starts all and waits until they have a leader.

        The 0.4 way a cluster grows: the first is ready before the others join, one after the other.
        """
        for member in self.members:
            member.start()
            if self.era is Era.LEGACY:
                member.wait_ready()
        for member in self.members:
            member.wait_ready()
        self.wait_leader()

    def kill(self) -> None:
        """Kills whatever still runs, all at once."""
        for member in self.running:
            member.send_signal(signal.SIGKILL)
        for member in self.members:
            member.kill()

    def wait_leader(self, seconds: float = READY_SECONDS) -> ServerProcess:
        """Waits until all running members agree on a leader that runs; returns it.

        Raises:
            TimeoutError: they do not in time.
        """
        return wait_until(self.find_leader, seconds, self._describe)

    def find_leader(self) -> ServerProcess | None:
        """The leader that all running members agree on right now, if they do."""
        leaders, named = [], set()
        for member in self.running:
            answer = member.ask("/v2/stats/self")
            if answer is None or answer[0] != OK or not answer[1]:
                return None  # etcd 3.5 gives an empty answer while it starts
            told = json.loads(answer[1])
            named.add(told["leaderInfo"]["leader"])
            if told["state"] in LEADER_STATES:
                leaders.append(member)
        return leaders[0] if len(leaders) == 1 and len(named) == 1 else None

    def client(self) -> Client:
        """A v2 client that knows all members."""
        urls = [member.client_url for member in self.members]
        return Client(urls, self.members[0].settings)

    def _cluster_flags(self, member: ServerProcess) -> list[str]:
        if self.era is Era.MODERN:
            everybody = ",".join(f"{one.name}={one.peer_url}" for one in self.members)
            return ["--initial-cluster", everybody]
        if member is self.members[0]:
            return []
        others = (f"{one.host}:{one.peer_port}" for one in self.members if one is not member)
        return ["-peers", ",".join(others)]

    def _describe(self) -> str:
        ends = (f"--- {member.name}\n{member.log_end()}" for member in self.members)
        return "\n".join(["all running members to agree on a leader", *ends])

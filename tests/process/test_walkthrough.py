"""The walkthrough of an etcd 0.4 user, pasted: same commands, same answers, same log lines.

Only ports differ (free ones are taken, and put back in what is compared), and indexes and times.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvorum.config import Era
from kvorum.testing import ClusterProcess, ServerProcess
from kvorum.testing.polling import wait_until
from kvorum.testing.process import find_free_ports

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(shutil.which("curl") is None, reason="the walkthrough needs curl"),
]

COMMANDS = Path(sys.executable).parent
"""Where `etcd` and `etcdctl` are installed."""

LOG_LINE = re.compile(
    r"\[etcd\] [A-Z][a-z]{2} [ 123]\d [0-2]\d:[0-5]\d:[0-5]\d\.\d{3} ([A-Z]+) {2,} ?\| (.*)"
)
PADDED_LEVEL = 9

FIRST = "-peer-addr 127.0.0.1:7001 -addr 127.0.0.1:4001 -data-dir machines/machine1 -name machine1"
SECOND = (
    "-peer-addr 127.0.0.1:7002 -addr 127.0.0.1:4002 -peers 127.0.0.1:7001,127.0.0.1:7003"
    " -data-dir machines/machine2 -name machine2"
)
THIRD = (
    "-peer-addr 127.0.0.1:7003 -addr 127.0.0.1:4003 -peers 127.0.0.1:7001,127.0.0.1:7002"
    " -data-dir machines/machine3 -name machine3"
)


class PastedServer(ServerProcess):
    """A server whose command line is what somebody typed."""

    typed: list[str]

    @property
    def command(self) -> list[str]:
        return self.typed


class Terminal:
    """Runs pasted commands on ports of its own, and shows the ports that were pasted."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        pasted = [f"{kind}00{number}" for kind in "47" for number in (1, 2, 3)]
        self._ports = dict(zip(pasted, map(str, find_free_ports(len(pasted))), strict=True))
        self.servers: dict[str, PastedServer] = {}

    def etcd(self, flags: str) -> PastedServer:
        """`etcd FLAGS &`"""
        name = flags.rpartition(" ")[2]
        if name not in self.servers:
            server = PastedServer(self.directory, name=name)
            server.typed = [str(COMMANDS / "etcd"), *shlex.split(self._outwards(flags))]
            server.client_port = int(self._ports[f"400{name[-1]}"])
            self.servers[name] = server
        server = self.servers[name]
        server.start()
        server.wait_ready()
        return server

    def run(self, line: str) -> str:
        """What a command line shows on its standard output."""
        environment = {
            **os.environ,
            "PATH": f"{COMMANDS}:{os.environ['PATH']}",
            "ETCDCTL_PEERS": self._outwards("127.0.0.1:4001"),
        }
        command = ["bash", "-c", self._outwards(line)]
        result = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=20, env=environment
        )
        return self._inwards(result.stdout)

    def wait_shown(self, line: str, text: str) -> None:
        """Waits until a command line shows this: a follower may be a heartbeat behind."""
        wait_until(lambda: self.run(line) == text, 5, lambda: f"{line} to show {text}")

    def log(self, name: str) -> list[str]:
        """The texts of a server's log; every line must have the form of 0.4's lines."""
        lines = self._inwards(self.servers[name].log()).splitlines()
        matches = [LOG_LINE.fullmatch(line) for line in lines]
        assert all(matches), lines
        return [match[2] for match in matches if match]

    def wait_logs(self, *lines: str) -> None:
        """Waits until each line is in the log of the machine it names."""
        wanted = [(line.partition(":")[0].split()[0], line) for line in lines]
        wait_until(
            lambda: all(line in self.log(name) for name, line in wanted),
            20,
            lambda: f"{lines} in\n" + "\n".join(map(repr, map(self.log, self.servers))),
        )

    def _outwards(self, text: str) -> str:
        for pasted, port in self._ports.items():
            text = re.sub(rf"\b{pasted}\b", port, text)
        return text

    def _inwards(self, text: str) -> str:
        for pasted, port in self._ports.items():
            text = text.replace(port, pasted)
        return text


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path)
    yield terminal
    for server in terminal.servers.values():
        server.kill()


def start_three(terminal: Terminal) -> None:
    for flags in (FIRST, SECOND, THIRD):
        terminal.etcd(flags)
    terminal.wait_logs("machine3: peer added: 'machine2'", "machine2: peer added: 'machine3'")


def without_indexes(text: str) -> str:
    return re.sub(r'(Index": ?)\d+', r"\1N", text)


def modified_index(event: str) -> int:
    found = re.search(r'"modifiedIndex":(\d+)', event)
    assert found is not None, event
    return int(found[1])


def assert_in_order(lines: list[str], *expected: str) -> None:
    """All expected lines are there, in this order, others between them or not."""
    rest = iter(lines)
    missing = [line for line in expected if line not in rest]
    assert not missing, f"{missing} not in\n" + "\n".join(lines)


def test_one_node_tells_its_start_in_seven_lines(terminal: Terminal) -> None:
    machine = terminal.etcd(FIRST)
    assert terminal.log("machine1") == [
        "machine1 is starting a new cluster",
        "etcd server [name machine1, listen on :4001, advertised url http://127.0.0.1:4001]",
        "peer server [name machine1, listen on :7001, advertised url http://127.0.0.1:7001]",
        "machine1 starting in peer mode",
        "machine1: state changed from 'initialized' to 'follower'.",
        "machine1: state changed from 'follower' to 'leader'.",
        "machine1: leader changed from '' to 'machine1'.",
    ]
    assert all(" INFO      | " in line for line in machine.log().splitlines())
    assert (terminal.directory / "machines" / "machine1").is_dir()


def test_one_node_keeps_a_message(terminal: Terminal) -> None:
    terminal.etcd(FIRST)
    assert terminal.run("etcdctl set /message Hello") == "Hello\n"
    assert terminal.run("etcdctl get /message") == "Hello\n"
    assert terminal.run("etcdctl get /message Hello") == "Hello\n"
    url = "http://127.0.0.1:4001/v2/keys/message"
    assert terminal.run(f'curl -X PUT {url} -d value="hoge"') == (
        '{"action":"set","node":{"key":"/message","value":"hoge","modifiedIndex":4,'
        '"createdIndex":4},"prevNode":{"key":"/message","value":"Hello","modifiedIndex":3,'
        '"createdIndex":3}}'
    )
    assert terminal.run(f"curl -X GET {url}") == (
        '{"action":"get","node":{"key":"/message","value":"hoge","modifiedIndex":4,'
        '"createdIndex":4}}'
    )
    assert terminal.run(f"curl -X DELETE {url}") == (
        '{"action":"delete","node":{"key":"/message","modifiedIndex":5,"createdIndex":4},'
        '"prevNode":{"key":"/message","value":"hoge","modifiedIndex":4,"createdIndex":4}}'
    )


def test_two_more_join_while_the_third_is_not_up_yet(terminal: Terminal) -> None:
    terminal.etcd(FIRST)
    terminal.etcd(SECOND)
    terminal.wait_logs("machine1: peer added: 'machine2'", "machine2: peer added: 'machine1'")
    assert terminal.log("machine2") == [
        "Send Join Request to http://127.0.0.1:7001/join",
        "machine2 joined the cluster via peer 127.0.0.1:7001",
        "etcd server [name machine2, listen on :4002, advertised url http://127.0.0.1:4002]",
        "peer server [name machine2, listen on :7002, advertised url http://127.0.0.1:7002]",
        "machine2 starting in peer mode",
        "machine2: state changed from 'initialized' to 'follower'.",
        "machine2: peer added: 'machine1'",
    ]
    terminal.etcd(THIRD)
    terminal.wait_logs("machine1: peer added: 'machine3'", "machine2: peer added: 'machine3'")
    terminal.wait_logs("machine3: peer added: 'machine2'")
    assert terminal.log("machine3") == [
        "Send Join Request to http://127.0.0.1:7001/join",
        "machine3 joined the cluster via peer 127.0.0.1:7001",
        "etcd server [name machine3, listen on :4003, advertised url http://127.0.0.1:4003]",
        "peer server [name machine3, listen on :7003, advertised url http://127.0.0.1:7003]",
        "machine3 starting in peer mode",
        "machine3: state changed from 'initialized' to 'follower'.",
        "machine3: peer added: 'machine1'",
        "machine3: peer added: 'machine2'",
    ]


def test_the_cluster_lists_its_machines_and_its_leader(terminal: Terminal) -> None:
    start_three(terminal)
    everybody = "http://127.0.0.1:4001, http://127.0.0.1:4002, http://127.0.0.1:4003"
    for port in (4001, 4002, 4003):
        assert terminal.run(f"curl -L http://127.0.0.1:{port}/v2/machines") == everybody
    assert terminal.run("curl http://127.0.0.1:4001/v2/leader") == "http://127.0.0.1:7001"


@pytest.mark.skipif(shutil.which("jq") is None, reason="pipes into jq")
def test_the_machines_are_keys_as_well(terminal: Terminal) -> None:
    start_three(terminal)
    told = terminal.run("curl -s http://127.0.0.1:4001/v2/keys/_etcd/machines | jq .")
    url = "http%3A%2F%2F127.0.0.1"
    nodes = ",".join(
        f"""
      {{
        "key": "/_etcd/machines/machine{number}",
        "value": "etcd={url}%3A400{number}&raft={url}%3A700{number}",
        "modifiedIndex": N,
        "createdIndex": N
      }}"""
        for number in (1, 2, 3)
    )
    expected = f"""{{
  "action": "get",
  "node": {{
    "key": "/_etcd/machines",
    "dir": true,
    "nodes": [{nodes}
    ],
    "modifiedIndex": N,
    "createdIndex": N
  }}
}}
"""
    assert without_indexes(told) == expected


def test_what_one_member_took_all_members_have(terminal: Terminal) -> None:
    start_three(terminal)
    terminal.run('curl -X PUT http://127.0.0.1:4001/v2/keys/message -d value="hoge"')
    read = terminal.run("curl -X GET http://127.0.0.1:4001/v2/keys/message")
    assert without_indexes(read) == (
        '{"action":"get","node":{"key":"/message","value":"hoge","modifiedIndex":N,'
        '"createdIndex":N}}'
    )
    for port in (4002, 4003):
        terminal.wait_shown(f"curl -X GET http://127.0.0.1:{port}/v2/keys/message", read)


def test_a_node_fails_and_comes_back(terminal: Terminal) -> None:
    start_three(terminal)
    put = terminal.run('curl -X PUT http://127.0.0.1:4001/v2/keys/message -d value="hoge"')
    read = terminal.run("curl -X GET http://127.0.0.1:4001/v2/keys/message")
    assert modified_index(read) == modified_index(put)
    for port in (4002, 4003):
        terminal.wait_shown(f"curl -X GET http://127.0.0.1:{port}/v2/keys/message", read)

    terminal.run(f"kill -9 {terminal.servers['machine1'].pid}")
    winner, loser = wait_until(lambda: find_winner(terminal), 20, "another leader")
    warning = f'{winner}: warning: heartbeat time out peer="machine1" '
    terminal.wait_logs(f'{warning}missed=1 backoff="2s"')
    assert_in_order(
        terminal.log(winner),
        f"{winner}: state changed from 'follower' to 'candidate'.",
        f"{winner}: leader changed from 'machine1' to ''.",
        f"{winner}: state changed from 'candidate' to 'leader'.",
        f"{winner}: leader changed from '' to '{winner}'.",
        f'{warning}missed=1 backoff="2s"',
    )
    assert re.search(rf"{loser}: term #\d+ started\.", "\n".join(terminal.log(loser)))
    assert f"{loser}: leader changed from 'machine1' to ''." in terminal.log(loser)
    assert not [line for line in terminal.log(loser) if "changed from ''" in line]

    assert terminal.run("curl -L http://127.0.0.1:4002/v2/leader") == leader_url(winner)
    assert terminal.run("curl -L http://127.0.0.1:4003/v2/leader") == leader_url(winner)
    for port in (4002, 4003):
        assert terminal.run(f"curl -X GET http://127.0.0.1:{port}/v2/keys/message") == read
    assert missed_within_two_seconds(terminal, winner) in range(20, 45)

    machine = terminal.etcd(FIRST)
    assert_in_order(
        terminal.log("machine1"),
        "machine1: leader changed from '' to 'machine1'.",
        "machine1 starting in peer mode",
        "machine1: state changed from 'initialized' to 'follower'.",
    )
    urls = "http://127.0.0.1:7002,http://127.0.0.1:7003"
    assert f"Peer URLs in log:  / machine1 ({urls})" in terminal.log("machine1")
    assert terminal.run("curl -X GET http://127.0.0.1:4001/v2/keys/message") == read
    assert machine.ask("/v2/leader") == wait_until(
        lambda: terminal.servers[winner].ask("/v2/leader"), 5, "the leader"
    )


def find_winner(terminal: Terminal) -> tuple[str, str] | None:
    """The survivor that leads, and the other."""
    for winner, loser in (("machine2", "machine3"), ("machine3", "machine2")):
        if f"{winner}: leader changed from '' to '{winner}'." in terminal.log(winner):
            return winner, loser
    return None


def leader_url(name: str) -> str:
    return f"http://127.0.0.1:700{name[-1]}"


def missed_within_two_seconds(terminal: Terminal, leader: str) -> int:
    """Heartbeats counted while the first back-off lasted; they go out 50 ms apart."""
    line = re.compile(rf'{leader}: warning: heartbeat time out peer="machine1" missed=(\d+) (.*)')

    def second() -> int | None:
        warnings = [match for match in map(line.fullmatch, terminal.log(leader)) if match]
        if len(warnings) < 2:
            return None
        assert warnings[1][2] == 'backoff="4s"'
        return int(warnings[1][1])

    return wait_until(second, 20, "the second warning")


def test_three_started_the_modern_way_give_the_same_experience(tmp_path: Path) -> None:
    with ClusterProcess(tmp_path, era=Era.MODERN) as cluster, cluster.client() as client:
        for member in cluster.members:
            member.wait_log("ready to serve client requests")
        leader = cluster.wait_leader()
        followers = [member for member in cluster.members if member is not leader]
        put = client.put("/message", "hoge")
        for member in cluster.members:
            with member.client() as one:
                assert one.get("/message", quorum=True).node == put.node

        leader.kill()
        assert cluster.wait_leader() in followers
        with followers[0].client() as one:
            again = one.put("/message", "fuga")
            assert again.prev_node is not None
            assert again.prev_node.value == "hoge"

        leader.restart()
        leader.wait_ready()
        cluster.wait_leader()
        with leader.client() as one:
            assert one.get("/message", quorum=True).node == again.node

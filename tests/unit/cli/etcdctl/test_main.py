"""etcdctl as a whole: dispatch, help, global options, errors, exit codes."""

import os
import socket
import subprocess
import sys

import pytest
from tests.unit.cli.etcdctl.conftest import Run, Script

from kvorum.cli.etcdctl import v2
from kvorum.cli.etcdctl.command import Command
from kvorum.cli.etcdctl.main import COMMANDS
from kvorum.client.connection import Settings

MAIN = [sys.executable, "-m", "kvorum.cli.etcdctl.main"]


@pytest.fixture
def refusing() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def test_the_version_is_that_of_the_grammar(run: Run) -> None:
    assert run("--version") == (0, "etcdctl version 0.4.6\n", "")
    assert run("-v").out == "etcdctl version 0.4.6\n"


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_the_overview_teaches_by_examples(run: Run, words: list[str]) -> None:
    result = run(*words)
    assert (result.code, result.err) == (0, "")
    assert "etcdctl set /message Hello" in result.out
    assert "--endpoints, --endpoint, --peers, -C HOST:PORT,..." in result.out
    for command in COMMANDS:
        assert command.summary in result.out


@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: one.name)
def test_each_command_explains_itself_with_an_example(run: Run, command: Command) -> None:
    result = run("help", *command.name.split())
    assert result == run(*command.name.split(), "--help")
    assert f"EXAMPLE:\n   {command.example}\n" in result.out
    assert all(option.label in result.out for option in command.options)


@pytest.mark.parametrize("command", v2.COMMANDS, ids=lambda one: one.name)
def test_every_example_of_the_help_is_a_line_that_works(
    script: Script, run: Run, command: Command
) -> None:
    script.shows("set", key="/message", value="v", modifiedIndex=7)
    words = command.example.replace("$ETCD_WATCH_KEY", "").replace("'", "").split()
    result = run(*words[1:])
    assert "Incorrect Usage" not in result.out
    assert "Error" not in result.err


@pytest.mark.parametrize(
    ("verb", "instead"),
    [("put", ": write etcdctl set"), ("del", ": write etcdctl rm"), ("elect", "")],
)
def test_a_verb_of_v3_is_not_taken_for_done(run: Run, verb: str, instead: str) -> None:
    result = run(verb, "/a", "b")
    assert result.code == 1
    assert result.err == f"Error:  {verb} is of the v3 grammar, not here yet{instead}\n"


def test_an_unknown_option_shows_the_help_of_its_command(script: Script, run: Run) -> None:
    result = run("get", "--nope", "/a")
    assert result.code == 0
    assert result.out.startswith("Incorrect Usage.\n\nThere is no option --nope.\n\nNAME:\n")
    assert "etcdctl get [OPTIONS] KEY" in result.out
    assert script.requests == []


def test_an_unknown_global_option_shows_the_overview(run: Run) -> None:
    result = run("--nope", "get", "/a")
    assert result.code == 0
    assert result.out.startswith("Incorrect Usage.\n\nThere is no option --nope.\n\nNAME:\n")
    assert "COMMANDS:" in result.out


@pytest.mark.parametrize("words", [["gte", "/a"], ["help", "gte"]])
def test_an_unknown_command_names_its_neighbours(run: Run, words: list[str]) -> None:
    result = run(*words)
    assert result.code == 0
    assert result.out.startswith("No help topic for 'gte'\nDid you mean get")


@pytest.mark.parametrize(
    ("words", "environment", "expected"),
    [
        ([], {}, ["127.0.0.1:2379", "127.0.0.1:4001"]),
        (["-C", "a:1, b:2,"], {}, ["a:1", "b:2"]),
        (["--peers", "a:1"], {"ETCDCTL_PEERS": "c:3"}, ["a:1"]),
        (["--endpoint=http://a:1"], {}, ["http://a:1"]),
        (["--endpoints", "a:1"], {}, ["a:1"]),
        ([], {"ETCDCTL_PEERS": "c:3,d:4"}, ["c:3", "d:4"]),
        ([], {"ETCDCTL_ENDPOINT": "e:5", "ETCDCTL_PEERS": "c:3"}, ["e:5"]),
        ([], {"ETCDCTL_ENDPOINTS": "f:6", "ETCDCTL_ENDPOINT": "e:5"}, ["f:6"]),
        (["--ca-file", "c"], {}, ["https://127.0.0.1:2379", "https://127.0.0.1:4001"]),
        (["--cert-file", "c", "-C", "a:1,http://b:2"], {}, ["https://a:1", "http://b:2"]),
        (["-C", "a:1"], {"ETCDCTL_KEY_FILE": "k"}, ["https://a:1"]),
    ],
)
def test_endpoints_come_from_flags_then_the_environment_then_both_eras(
    script: Script,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    environment: dict[str, str],
    expected: list[str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    script.shows(key="/a", value="v")
    run(*words, "get", "/a")
    assert script.endpoints == expected


def test_the_cluster_is_synced_unless_told_not_to(script: Script, run: Run) -> None:
    script.shows(key="/a", value="v")
    run("--no-sync", "get", "/a")
    assert not script.is_synced
    script.shows(key="/a", value="v")
    run("get", "/a")
    assert script.is_synced


def test_global_options_may_follow_the_command(script: Script, run: Run) -> None:
    script.answers('{"action":"get","node":{"key":"/a","value":"v"}}')
    result = run("get", "/a", "-o", "json", "--timeout", "3s")
    assert result.out == (
        '{"action":"get","node":{"key":"/a","value":"v"},"etcdIndex":18,"raftIndex":31,"raftTerm":0}\n'
    )
    assert isinstance(script.settings, Settings)
    assert script.settings.connect_seconds == 3.0


def test_limits_user_and_files_reach_the_client(
    script: Script, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETCDCTL_CA_FILE", "ca.pem")
    script.shows(key="/a", value="v")
    words = [
        "--total-timeout",
        "1m",
        "-u",
        "root:pw",
        "--cert-file",
        "c.pem",
        "--key-file",
        "k.pem",
    ]
    run(*words, "get", "/a")
    assert script.settings == Settings(2.0, 60.0, "ca.pem", "c.pem", "k.pem", "root:pw")


def test_a_missing_password_is_asked_for(
    script: Script, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getpass", lambda: "typed")
    script.shows(key="/a", value="v")
    run("--username", "root", "get", "/a")
    assert isinstance(script.settings, Settings)
    assert script.settings.user == "root:typed"


def test_debug_shows_the_machines_and_a_curl_line_to_paste(script: Script, run: Run) -> None:
    script.shows(key="/a b", value="x y")
    result = run("--debug", "-C", "127.0.0.1:4001", "mk", "/a b", "x y")
    assert result.err == (
        "Cluster-Peers: http://127.0.0.1:4001\n"
        "Curl-Example: curl -X PUT 'http://127.0.0.1:4001/v2/keys/a%20b?prevExist=false'"
        " -d value=x+y\n"
    )


def test_a_refusal_prints_code_cause_and_index(script: Script, run: Run) -> None:
    script.answers(
        '{"errorCode":100,"message":"Key not found","cause":"/nope","index":3}\n', status=404
    )
    assert run("get", "/nope") == (4, "", "Error:  100: Key not found (/nope) [3]\n")


def test_no_machine_to_sync_with_is_exit_2(run: Run, refusing: str) -> None:
    result = run("--peers", refusing, "get", "/a")
    first, reason, hint = result.err.splitlines()
    assert result.code == 2
    assert first == f"Error:  Cannot sync with the cluster using peers {refusing}"
    assert reason == f"http://{refusing}: connection refused"
    assert "--endpoints" in hint


def test_no_machine_at_all_is_error_501_and_exit_4(run: Run, refusing: str) -> None:
    result = run("--no-sync", "--peers", refusing, "get", "/a")
    assert result.code == 4
    assert result.err.splitlines() == [
        "Error:  501: All the given peers are not reachable"
        " (Tried to connect to each peer twice and failed) [0]",
        f"http://{refusing}: connection refused",
    ]


def test_an_endpoint_that_is_no_address_is_exit_1(run: Run) -> None:
    result = run("-C", "ftp://a", "get", "/a")
    assert (result.code, result.out) == (1, "")
    assert "write HOST:PORT" in result.err


@pytest.mark.parametrize("verb", ["get", "watch", "user"])
def test_the_v3_grammar_is_not_mistaken_for_v2(
    script: Script, run: Run, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setenv("ETCDCTL_API", "3")
    result = run(verb, "/a")
    assert (result.code, script.requests) == (1, [])
    assert "ETCDCTL_API=3" in result.err


@pytest.mark.parametrize(("api", "verb"), [("2", "get"), ("3", "ls"), ("", "get")])
def test_verbs_that_only_v2_has_work_always(
    script: Script, run: Run, monkeypatch: pytest.MonkeyPatch, api: str, verb: str
) -> None:
    monkeypatch.setenv("ETCDCTL_API", api)
    script.shows(key="/a", value="v")
    assert run(verb, "/a").code == 0


def test_bytes_that_are_no_text_pass_unharmed(script: Script, run: Run) -> None:
    script.shows(key="/a", value="v")
    run("set", os.fsdecode(b"/\xe9"), os.fsdecode(b"\xff"))
    (sent,) = script.requests
    assert (sent.target, sent.body) == ("/v2/keys/%E9", b"value=%FF")


def test_a_reader_that_leaves_ends_it_quietly() -> None:
    with subprocess.Popen(
        [*MAIN, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


def test_nothing_slow_is_loaded_at_start() -> None:
    code = "import sys, kvorum.cli.etcdctl.main; print(*sys.modules, sep=chr(10))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    slow = {"argparse", "asyncio", "http.client", "msgspec", "ssl", "subprocess", "uvloop", "lmdb"}
    assert not slow & set(loaded)


def test_a_group_shows_its_commands(run: Run) -> None:
    for words in (["member"], ["member", "--help"], ["help", "member"]):
        result = run(*words)
        assert (result.code, result.err) == (0, "")
        assert "member update" in result.out
        assert "exec-watch" not in result.out
    assert "Did you mean member list" in run("member", "lst").out

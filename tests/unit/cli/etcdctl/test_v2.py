"""Each command of the v2 grammar: what it asks, what it prints, how it ends."""

import pytest
from tests.unit.cli.etcdctl.conftest import Run, Script

OLD = '{"errorCode":401,"message":"The event in requested index is outdated and cleared",'
OLD += '"cause":"the requested history has been cleared [210/3]","index":1209}\n'


@pytest.mark.parametrize(
    ("line", "method", "target", "body"),
    [
        ("set /a v", "PUT", "/a", "value=v"),
        ("set /a v --ttl 5", "PUT", "/a", "value=v&ttl=5"),
        ("set --ttl 0 /a v", "PUT", "/a", "value=v"),
        ("set /a v --swap-with-value old", "PUT", "/a?prevValue=old", "value=v"),
        ("set --swap-with-index 7 /a v", "PUT", "/a?prevIndex=7", "value=v"),
        ("set --swap-with-value= /a v", "PUT", "/a?prevValue=", "value=v"),
        ("mk /a v --ttl=3", "PUT", "/a?prevExist=false", "value=v&ttl=3"),
        ("mk --in-order /a v", "POST", "/a", "value=v"),
        ("update /a v", "PUT", "/a?prevExist=true", "value=v"),
        ("get /a", "GET", "/a", ""),
        ("get /a ignored", "GET", "/a", ""),
        ("get --sort --consistent /a", "GET", "/a?sorted=true&consistent=true", ""),
        ("get /a -q", "GET", "/a?quorum=true", ""),
        ("ls", "GET", "/", ""),
        ("ls /d --recursive --sort -p", "GET", "/d?recursive=true&sorted=true", ""),
        ("mkdir /d --ttl 9", "PUT", "/d?prevExist=false", "ttl=9&dir=true"),
        ("setdir /d", "PUT", "/d", "dir=true"),
        ("updatedir /d --ttl 9", "PUT", "/d?prevExist=true", "ttl=9&dir=true"),
        ("rm /a", "DELETE", "/a", ""),
        ("rm /a --dir", "DELETE", "/a?dir=true", ""),
        ("rm --recursive /a", "DELETE", "/a?recursive=true", ""),
        ("rm --with-value v --with-index 7 /a", "DELETE", "/a?prevValue=v&prevIndex=7", ""),
        ("rmdir /d", "DELETE", "/d?dir=true", ""),
        ("watch /a", "GET", "/a?wait=true", ""),
        (
            "watch /a --recursive --after-index 6",
            "GET",
            "/a?wait=true&recursive=true&waitIndex=7",
            "",
        ),
    ],
)
def test_each_command_is_one_request(
    script: Script, run: Run, line: str, method: str, target: str, body: str
) -> None:
    script.shows(key="/a", value="v", modifiedIndex=9, createdIndex=9)
    assert run(*line.split()).code == 0
    (sent,) = script.requests
    assert sent[:3] == (method, f"/v2/keys{target}", body.encode())


@pytest.mark.parametrize(
    "line", ["set /a v", "mk /a v", "mk --in-order /a v", "update /a v", "get /a", "watch /a"]
)
def test_commands_on_files_print_the_value(script: Script, run: Run, line: str) -> None:
    script.shows(key="/a", value="v")
    assert run(*line.split()) == (0, "v\n", "")


@pytest.mark.parametrize(
    ("line", "printed"),
    [
        ("rm /a", "\n"),
        ("rmdir /a", ""),
        ("mkdir /a", ""),
        ("setdir /a", ""),
        ("updatedir /a --ttl 5", ""),
        ("watch /a", "\n"),
    ],
)
def test_where_there_is_no_value_0_4_6_prints_an_empty_line_or_nothing(
    script: Script, run: Run, line: str, printed: str
) -> None:
    script.shows("delete", key="/a", modifiedIndex=5)
    assert run(*line.split()) == (0, printed, "")


@pytest.mark.parametrize("line", ["rm --recursive /d", "watch /d"])
def test_a_directory_event_prints_nothing(script: Script, run: Run, line: str) -> None:
    script.shows("delete", key="/d", dir=True, modifiedIndex=5)
    assert run(*line.split()) == (0, "", "")


def test_get_of_a_directory_fails(script: Script, run: Run) -> None:
    script.shows(key="/d", dir=True)
    assert run("get", "/d") == (1, "", "/d: is a directory\n")


@pytest.mark.parametrize("command", ["set", "mk", "update"])
def test_a_value_comes_whole_from_standard_input(script: Script, run: Run, command: str) -> None:
    script.shows(key="/a", value="line 1\nline 2\n")
    assert run(command, "/a", stdin=b"line 1\nline 2\n\xff").out == "line 1\nline 2\n\n"
    assert script.requests[0].body == b"value=line+1%0Aline+2%0A%FF"


@pytest.mark.parametrize("command", ["set", "mk", "update"])
def test_an_empty_standard_input_is_no_value(script: Script, run: Run, command: str) -> None:
    result = run(command, "/a")
    assert (result.code, result.err.splitlines()[0]) == (4, "Error:  Value required")
    assert script.requests == []


def test_an_empty_value_on_the_command_line_is_one(script: Script, run: Run) -> None:
    script.shows(key="/a", value="")
    assert run("set", "/a", "") == (0, "\n", "")
    assert script.requests[0].body == b"value="


@pytest.mark.parametrize(
    "command",
    ["get", "set", "mk", "update", "rm", "mkdir", "setdir", "updatedir", "rmdir", "watch"],
)
def test_a_missing_key_is_named_with_what_to_write(script: Script, run: Run, command: str) -> None:
    result = run(command)
    first, second, third = result.err.splitlines()
    assert (result.code, first) == (4, "Error:  Key required")
    assert second.startswith(f"Write: etcdctl {command} ")
    assert third == f"More: etcdctl help {command}"
    assert script.requests == []


def test_a_watch_goes_on_when_told_to_and_ends_quietly_at_ctrl_c(script: Script, run: Run) -> None:
    for index, value in ((7, "a"), (9, "b")):
        script.shows("set", key="/a", value=value, modifiedIndex=index)
    assert run("watch", "--forever", "/a") == (130, "a\nb\n", "")
    assert [one.target[-12:] for one in script.requests[1:]] == ["&waitIndex=8", "waitIndex=10"]


def test_a_hole_in_a_watch_is_told(script: Script, run: Run) -> None:
    script.shows("set", key="/a", value="a", modifiedIndex=7)
    script.answers(OLD, status=400)
    script.shows("set", key="/a", value="b", modifiedIndex=1300)
    result = run("watch", "--forever", "/a")
    assert result.out == "a\nb\n"
    assert result.err.startswith("Warning: events from index 8 to 1209 may have been missed")


SHOW = 'echo "$ETCD_WATCH_ACTION $ETCD_WATCH_KEY $ETCD_WATCH_VALUE $ETCD_WATCH_MODIFIED_INDEX"'


@pytest.mark.parametrize(
    "words",
    [
        ["/a", "--", "sh", "-c", SHOW],
        ["--recursive", "/a", "--", "sh", "-c", SHOW],
        ["/a", "--recursive", "--", "sh", "-c", SHOW],
        ["sh", "-c", SHOW, "/a"],
        ["--", "sh", "-c", SHOW, "/a"],
    ],
)
def test_exec_watch_runs_the_command_for_each_event(
    script: Script, run: Run, words: list[str]
) -> None:
    script.shows("set", key="/a", value="é 1", modifiedIndex=7)
    script.shows("delete", key="/a", modifiedIndex=8)
    assert run("exec-watch", *words) == (130, "set /a é 1 7\ndelete /a  8\n", "")
    is_recursive = "--recursive" in words
    assert ("recursive=true" in script.requests[0].target) == is_recursive


def test_exec_watch_goes_on_after_a_command_that_fails(script: Script, run: Run) -> None:
    for index in (7, 8):
        script.shows("set", key="/a", value="v", modifiedIndex=index)
    result = run("exec-watch", "/a", "--", "sh", "-c", "echo ran; echo oops >&2; exit 3")
    assert result == (130, "ran\nran\n", "oops\noops\n")


def test_exec_watch_keeps_all_of_a_long_output(script: Script, run: Run) -> None:
    script.shows("set", key="/a", value="v", modifiedIndex=7)
    result = run("exec-watch", "/a", "--", "sh", "-c", "seq 100000")
    assert result.out.splitlines()[-1] == "100000"


@pytest.mark.parametrize(("words", "value"), [(["/no/such/program"], "v"), (["true"], "nul\0byte")])
def test_exec_watch_ends_when_the_command_cannot_run(
    script: Script, run: Run, words: list[str], value: str
) -> None:
    script.shows("set", key="/a", value=value, modifiedIndex=7)
    result = run("exec-watch", "/a", "--", *words)
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"Error:  cannot run {words[0]}: ")


@pytest.mark.parametrize("words", [[], ["/a"], ["--recursive", "/a"]])
def test_exec_watch_needs_a_key_and_a_command(script: Script, run: Run, words: list[str]) -> None:
    result = run("exec-watch", *words)
    assert result.err.splitlines()[0] == "Error:  Key and command to exec required"
    assert result.code == 4
    assert script.requests == []


def test_exec_watch_takes_one_key_before_the_dashes(script: Script, run: Run) -> None:
    result = run("exec-watch", "/a", "/b", "--", "true")
    assert result.out.startswith("Incorrect Usage.\n\nPut one key before the --")
    assert script.requests == []

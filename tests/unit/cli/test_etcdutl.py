"""The command line of etcdutl; what it does is tested with real servers."""

import pytest

from kvorum.cli import etcdutl

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("words", [[], ["--help"], ["help"], ["import", "-h"]])
def test_the_help_teaches_by_examples(capsys: Capture, words: list[str]) -> None:
    assert etcdutl.main(words) == 0
    shown = capsys.readouterr().out
    assert "etcdutl import --from http://10.0.0.1:4001 --to" in shown
    assert all(option.label in shown for option in etcdutl.OPTIONS)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["nope"], "There is no command 'nope'"),
        (["import", "--nope"], "There is no option --nope"),
        (["import"], "--from says which server"),
        (["import", "--from", "http://127.0.0.1:1"], "--to says which server"),
    ],
)
def test_a_wrong_command_line_is_exit_2(capsys: Capture, words: list[str], text: str) -> None:
    assert etcdutl.main(words) == 2
    assert text in capsys.readouterr().err


def test_what_cannot_be_reached_is_exit_1_with_the_reason(capsys: Capture) -> None:
    words = ["import", "--from", "http://127.0.0.1:1", "--to", "http://127.0.0.1:1"]
    assert etcdutl.main(words) == 1
    assert "http://127.0.0.1:1: connection refused" in capsys.readouterr().err

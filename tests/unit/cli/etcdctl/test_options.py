"""The parser of etcdctl's command line, and the help made from the same table."""

import pytest

from kvorum.cli.etcdctl.options import (
    Option,
    UsageError,
    Values,
    describe,
    parse,
    read_environment,
)

TABLE = (
    Option("ttl", "seconds until it expires", "integer", "SECONDS"),
    Option("peers", "machines", "text", "LIST", aliases=("C",), variables=("NEW", "OLD")),
    Option("sort", "in order"),
    Option("timeout", "limit", "seconds", "DURATION"),
    Option("output", "format", "text", "FORMAT", choices=("simple", "json")),
    Option("a-rather-long-name-of-an-option", "explained"),
)


def parsed(*words: str, is_leading: bool = False) -> tuple[list[str], Values]:
    values = Values()
    return parse(words, TABLE, values, is_leading=is_leading), values


@pytest.mark.parametrize(
    "words",
    [
        ["--ttl", "5", "/a", "b"],
        ["/a", "--ttl=5", "b"],
        ["/a", "b", "-ttl", "5"],
        ["-ttl=5", "/a", "b"],
        ["--ttl", "1", "/a", "b", "--ttl", "5"],
        ["--ttl", "5", "--", "/a", "b"],
    ],
)
def test_options_stand_before_and_after_arguments(words: list[str]) -> None:
    arguments, values = parsed(*words)
    assert (arguments, values.integer("ttl")) == (["/a", "b"], 5)


def test_a_short_name_means_the_long_one() -> None:
    assert parsed("-C", "a,b")[1].text("peers") == "a,b"


def test_after_two_dashes_everything_is_an_argument() -> None:
    arguments, values = parsed("/a", "--", "--sort", "--")
    assert (arguments, values.has("sort")) == (["/a", "--sort", "--"], False)


def test_a_lone_dash_is_an_argument() -> None:
    assert parsed("/a", "-")[0] == ["/a", "-"]


def test_leading_options_end_at_the_first_argument() -> None:
    arguments, values = parsed("--sort", "get", "--ttl", "--", is_leading=True)
    assert (arguments, values.has("sort")) == (["get", "--ttl", "--"], True)


@pytest.mark.parametrize(
    ("word", "expected"), [("--sort", True), ("--sort=true", True), ("--sort=false", False)]
)
def test_a_flag_may_be_switched_off(word: str, *, expected: bool) -> None:
    assert parsed(word)[1].has("sort") == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2s", 2.0), ("500ms", 0.5), ("1m30s", 90.0), ("2", 2.0), ("1.5h", 5400.0), ("10us", 1e-5)],
)
def test_a_duration_is_written_as_in_go(text: str, seconds: float) -> None:
    assert parsed("--timeout", text)[1].seconds("timeout") == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nope"], "There is no option --nope."),
        (["-x"], "There is no option -x."),
        (["--ttl"], "--ttl needs a value: --ttl SECONDS"),
        (["--ttl", "soon"], "--ttl is a whole number, not 'soon'."),
        (["--ttl", "-5"], "--ttl is a whole number, not '-5'."),
        (["--ttl="], "--ttl is a whole number, not ''."),
        (["--sort=maybe"], "--sort is true or false, not 'maybe'."),
        (["--timeout", "5 years"], "--timeout is a duration like 2s or 500ms, not '5 years'."),
        (["--output", "xml"], "--output is one of simple, json, not 'xml'."),
    ],
)
def test_what_does_not_fit_is_named(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsed(*words)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"OLD": "o"}, "o"),
        ({"NEW": "n", "OLD": "o"}, "n"),
        ({"NEW": "  ", "OLD": "o"}, "o"),
        ({}, None),
    ],
)
def test_the_environment_fills_in_what_was_not_given(
    environment: dict[str, str], expected: str | None
) -> None:
    values = Values()
    read_environment(TABLE, values, environment)
    assert values.text("peers") == expected


def test_the_command_line_wins_over_the_environment() -> None:
    _, values = parsed("-C", "given")
    read_environment(TABLE, values, {"NEW": "n"})
    assert values.text("peers") == "given"


def test_a_bad_variable_is_named() -> None:
    table = (Option("ttl", "", "integer", "N", variables=("TTL",)),)
    with pytest.raises(UsageError, match=r"TTL: --ttl is a whole number, not 'x'\."):
        read_environment(table, Values(), {"TTL": "x"})


def test_the_help_lists_every_option_with_its_variables() -> None:
    lines = describe(TABLE).splitlines()
    assert lines[0] == "   --ttl SECONDS              seconds until it expires"
    assert lines[1].split() == ["--peers,", "-C", "LIST", "machines", "[$NEW,", "$OLD]"]
    assert [line.strip() for line in lines[-2:]] == [TABLE[-1].label, "explained"]

from pathlib import Path

from kvorum.cli import commandline, flags, helptext
from kvorum.cli.foreign import FOREIGN
from kvorum.cli.settings import build

PAGE = Path(__file__).parents[3] / "docs" / "flags.md"


def test_the_page_of_flags_is_current() -> None:
    assert PAGE.read_text() == helptext.reference_page(), (
        "run: python -m kvorum.cli.helptext > docs/flags.md"
    )


def test_every_spelling_has_its_entry() -> None:
    usage = helptext.usage()
    for flag in flags.FLAGS:
        assert not flag.modern or f"  --{flag.modern}" in usage
        assert not flag.legacy or f"-{flag.legacy}" in usage


def test_every_foreign_flag_is_on_the_page_and_not_in_the_help() -> None:
    page, usage = helptext.reference_page(), helptext.usage()
    for flag in FOREIGN:
        name = f"--{flag.modern}" if flag.modern else f"-{flag.legacy}"
        assert f"`{name}`" in page
        assert f"  {name}\n" not in usage


def test_a_default_that_differs_between_the_eras_is_shown_twice() -> None:
    assert "[100; the 0.4 way 50]" in helptext.usage()


def test_no_line_is_wider_than_a_terminal_of_100_columns() -> None:
    assert max(map(len, helptext.usage().splitlines())) <= 100


def test_the_examples_are_command_lines_that_work() -> None:
    text = helptext.EXAMPLES.replace("\\\n", " ")
    lines = [line.split() for line in text.splitlines() if line.startswith("  etcd")]
    servers = [words for words in lines if words[0] == "etcd"]
    assert len(servers) == 7
    for words in servers:
        config = build(commandline.parse(words[1:], {})).config
        config.validate_bootstrap()

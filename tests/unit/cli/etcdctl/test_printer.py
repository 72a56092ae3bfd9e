"""What is printed of an event, in the three formats."""

import pytest

from kvorum.cli.etcdctl.printer import ModernPrinter, Printer
from kvorum.client.answers import Event, decode_event
from kvorum.client.connection import Response

HEADERS = {"x-etcd-index": "18", "x-raft-index": "31", "x-raft-term": "0"}

FILE = (
    '{"action":"set","node":{"key":"/foo/bar","value":"v","ttl":20,"modifiedIndex":16,'
    '"createdIndex":6},"prevNode":{"key":"/foo/bar","value":"old","modifiedIndex":6,'
    '"createdIndex":6}}'
)
DELETED = '{"action":"delete","node":{"key":"/a","modifiedIndex":5,"createdIndex":4}}'
DIRECTORY = '{"action":"set","node":{"key":"/d","dir":true,"modifiedIndex":11,"createdIndex":11}}'
TREE = (
    '{"action":"get","node":{"key":"/","dir":true,"nodes":[{"key":"/d","dir":true,"nodes":'
    '[{"key":"/d/e","dir":true},{"key":"/d/f","value":""}]},{"key":"/a","value":"1"}]}}'
)

Capture = pytest.CaptureFixture[str]


def event(body: str) -> Event:
    return decode_event(Response(200, HEADERS, body.encode()))


def test_simple_is_the_value_alone(capsys: Capture) -> None:
    Printer("simple").value(event(FILE))
    assert capsys.readouterr().out == "v\n"


def test_a_deleted_file_is_an_empty_line_and_a_directory_is_nothing(capsys: Capture) -> None:
    printer = Printer("simple")
    printer.file(event(DELETED))
    assert capsys.readouterr().out == "\n"
    printer.file(event(DIRECTORY))
    assert capsys.readouterr().out == ""


def test_what_has_no_answer_worth_showing_is_silent(capsys: Capture) -> None:
    Printer("simple").done(event(DIRECTORY))
    assert capsys.readouterr().out == ""


def test_extended_shows_the_indexes_and_then_the_value(capsys: Capture) -> None:
    Printer("extended").value(event(FILE))
    assert capsys.readouterr().out == (
        "Key: /foo/bar\nCreated-Index: 6\nModified-Index: 16\nPrevNode.Value: old\nTTL: 20\n"
        "Etcd-Index: 18\nRaft-Index: 31\nRaft-Term: 0\n\nv\n"
    )


def test_extended_leaves_out_a_previous_value_there_was_none_of(capsys: Capture) -> None:
    Printer("extended").file(event(DELETED))
    assert capsys.readouterr().out == (
        "Key: /a\nCreated-Index: 4\nModified-Index: 5\nTTL: 0\n"
        "Etcd-Index: 18\nRaft-Index: 31\nRaft-Term: 0\n\n\n"
    )


@pytest.mark.parametrize("body", [FILE, DELETED, DIRECTORY, TREE])
def test_json_is_the_answer_with_the_indexes_appended(capsys: Capture, body: str) -> None:
    Printer("json").done(event(body))
    appended = ',"etcdIndex":18,"raftIndex":31,"raftTerm":0}\n'
    assert capsys.readouterr().out == body.removesuffix("}") + appended


def test_a_listing_has_children_under_their_parent(capsys: Capture) -> None:
    printer = Printer("simple")
    printer.listing(event(TREE), with_slashes=False)
    assert capsys.readouterr().out == "/d\n/d/e\n/d/f\n/a\n"
    printer.listing(event(TREE), with_slashes=True)
    assert capsys.readouterr().out == "/d/\n/d/e/\n/d/f\n/a\n"


def test_a_listed_file_shows_itself_and_an_empty_directory_nothing(capsys: Capture) -> None:
    printer = Printer("simple")
    printer.listing(event(FILE), with_slashes=True)
    printer.listing(event(DIRECTORY), with_slashes=True)
    assert capsys.readouterr().out == "/foo/bar\n"


def test_later_ones_show_what_is_gone_and_do_not_count_directories(capsys: Capture) -> None:
    printer = ModernPrinter("simple")
    gone = '{"action":"delete","node":{"key":"/a"},"prevNode":{"key":"/a","value":"old"}}'
    printer.removed(event(gone))
    printer.removed_directory(event(gone))
    assert capsys.readouterr().out == "PrevNode.Value: old\n" * 2
    assert not printer.change(event(DIRECTORY), is_recursive=True)
    assert printer.change(event(FILE), is_recursive=True)
    assert capsys.readouterr().out == "[set] /foo/bar\nv\n"


def test_later_json_has_every_field_in_another_order_and_html_escaped(capsys: Capture) -> None:
    body = '{"action":"get","node":{"key":"/a","value":"<&>","modifiedIndex":2,"createdIndex":1}}'
    ModernPrinter("json").value(event(body))
    assert capsys.readouterr().out == (
        '{"action":"get","node":{"key":"/a","value":"\\u003c\\u0026\\u003e","nodes":null,'
        '"createdIndex":1,"modifiedIndex":2},"prevNode":null}\n'
    )


def test_later_extended_has_one_index(capsys: Capture) -> None:
    ModernPrinter("extended").value(event(FILE))
    assert capsys.readouterr().out.endswith("PrevNode.Value: old\nTTL: 20\nIndex: 18\n\nv\n")

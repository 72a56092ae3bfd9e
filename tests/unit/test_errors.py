from pathlib import Path

import pytest

from kvorum.errors import (
    ConfigError,
    KeyNotFound,
    KvorumError,
    ProtocolError,
    RemoteProtocolError,
    RequestError,
    RpcError,
    StorageError,
    UnavailableError,
)

KINDS = (RequestError, RpcError, UnavailableError, ProtocolError, StorageError, ConfigError)


def test_there_are_six_kinds_under_one_root() -> None:
    here = {kind for kind in KvorumError.__subclasses__() if kind.__module__ == "kvorum.errors"}
    assert here == set(KINDS)


@pytest.mark.parametrize(
    ("code", "status", "text"),
    [
        (100, 404, "Key not found"),
        (101, 412, "Compare failed"),
        (102, 403, "Not a file"),
        (103, 400, "Reached the max number of peers in the cluster"),
        (104, 400, "Not a directory"),
        (105, 412, "Key already exists"),
        (107, 400, "Root is read only"),
        (108, 403, "Directory not empty"),
        (109, 400, "Peer address has existed"),
        (201, 400, "PrevValue is Required in POST form"),
        (202, 400, "The given TTL in POST form is not a number"),
        (203, 400, "The given index in POST form is not a number"),
        (204, 400, "Value or TTL is required in POST form"),
        (205, 400, "The given timeout in POST form is not a number"),
        (206, 400, "Name is required in POST form"),
        (207, 400, "Index or value is required"),
        (208, 400, "Index and value cannot both be specified"),
        (209, 400, "Invalid field"),
        (300, 500, "Raft Internal Error"),
        (301, 500, "During Leader Election"),
        (401, 400, "The event in requested index is outdated and cleared"),
    ],
)
def test_a_code_has_the_status_and_text_clients_match_on(code: int, status: int, text: str) -> None:
    error = RequestError.by_v2_code[code]
    assert (error.http_status, error.text) == (status, text)


def test_a_code_cannot_be_registered_twice() -> None:
    with pytest.raises(TypeError, match="100 is registered twice"):
        type("Again", (RequestError,), {"v2_code": 100, "text": "again"})
    assert RequestError.by_v2_code[100] is KeyNotFound


def test_a_refusal_says_code_text_cause_and_index() -> None:
    assert str(KeyNotFound("/a", 7)) == "100: Key not found (/a) [7]"


def test_a_storage_error_names_file_and_offset() -> None:
    assert str(StorageError("damaged", Path("d/x"))) == "d/x: damaged"
    assert str(StorageError("damaged", Path("d/x"), 512)) == "d/x at byte 512: damaged"


def test_a_configuration_error_holds_every_fault() -> None:
    error = ConfigError(["one", "two"])
    assert (error.faults, str(error)) == (["one", "two"], "one; two")


def test_a_remote_fault_has_the_status_to_answer_with() -> None:
    assert RemoteProtocolError("bad").status == 400
    assert RemoteProtocolError("too large", 413).status == 413

"""What a service manager is told, and that nothing depends on it."""

import os
import socket
from pathlib import Path

import pytest

from kvorum.net.notify import READY, VARIABLE, notify


@pytest.mark.parametrize("is_abstract", [False, True])
def test_the_manager_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_abstract: bool
) -> None:
    name = f"kvorum-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(5)
        manager.bind(f"\0{name}" if is_abstract else str(tmp_path / "s"))
        monkeypatch.setenv(VARIABLE, f"@{name}" if is_abstract else str(tmp_path / "s"))
        notify(READY)
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["/no/such/socket", "x" * 200, "vsock:2:1"])
def test_a_manager_that_is_not_there_is_noted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    monkeypatch.setenv(VARIABLE, address)
    notify(READY)
    assert "the service manager at NOTIFY_SOCKET was not told" in caplog.text


def test_without_a_manager_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    notify(READY)
    assert caplog.messages == []

"""The command line of `backup`; what it does is tested with real servers."""

from pathlib import Path

import pytest
from tests.unit.cli.etcdctl.conftest import Run

from kvorum.cli.etcdctl import main


@pytest.mark.parametrize(
    ("line", "text"),
    [("backup", "Data dir required"), ("backup --data-dir d", "Backup dir required")],
)
def test_both_directories_are_to_be_named(run: Run, line: str, text: str) -> None:
    result = run(*line.split())
    assert result.code == 4
    assert text in result.err


def test_no_server_is_asked(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(main, "find_listening", lambda *_: pytest.fail("a server was looked for"))
    result = run("backup", "--data-dir", str(tmp_path), "--backup-dir", str(tmp_path / "copy"))
    assert (result.code, "no member of kvorum" in result.err) == (1, True)

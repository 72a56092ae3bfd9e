"""Pages that name code must name code that exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "kvorum"
PAGE = (ROOT / "docs" / "follow-a-put.md").read_text("utf-8")

STEP = re.compile(r"`([a-z0-9_/]+\.py)`(?:\s*·\s*((?:`[\w.]+`(?:, )?(?:then |and )?)+))?")
STEPS_MIN = 25


def names_of(path: Path) -> set[str]:
    """Functions, classes, and methods as `Class.method`."""
    names = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names.add(node.name)
            names |= {
                f"{node.name}.{item.name}"
                for item in node.body
                if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return names


def mentions() -> list[tuple[str, str]]:
    """(module, name) for everything the page names; the name is empty for a module alone."""
    found = []
    for module, named in STEP.findall(PAGE):
        names = re.findall(r"`([\w.]+)`", named)
        found += [(module, name) for name in names] or [(module, "")]
    return found


@pytest.mark.parametrize(("module", "name"), sorted(set(mentions())))
def test_the_functions_a_put_passes_exist(module: str, name: str) -> None:
    path = PACKAGE / module
    assert path.is_file()
    assert not name or name in names_of(path)


def test_the_page_names_the_whole_way() -> None:
    assert len(mentions()) >= STEPS_MIN
    packages = {module.split("/")[0] for module, _ in mentions()}
    assert packages >= {
        "net", "protocol", "api", "server", "raft", "wal", "peer", "apply", "v2", "mvcc", "backend",
    }  # fmt: skip

"""What may be compiled: the rules of docs/compiled.md that a reader would overlook."""

import ast
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@cache
def hook() -> dict[str, Any]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    found: dict[str, Any] = project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["mypyc"]
    return found


def files_of(patterns: list[str]) -> set[Path]:
    return {path for pattern in patterns for path in ROOT.glob(pattern)}


def compiled() -> list[Path]:
    exclude = hook()["exclude"]
    left_out = set(ROOT.glob("src/kvorum/**/__init__.py"))
    return sorted(files_of(hook()["include"]) - files_of(exclude) - left_out)


def test_it_is_asked_for() -> None:
    assert hook()["enable-by-default"] is False


@pytest.mark.parametrize("pattern", [*hook()["include"], *hook()["exclude"]])
def test_every_pattern_names_something(pattern: str) -> None:
    assert pattern == "__init__.py" or list(ROOT.glob(pattern))


@pytest.mark.parametrize("path", compiled(), ids=lambda path: path.stem)
def test_no_class_says_something_by_keywords(path: Path) -> None:
    """Compiled code drops them, and with them a format on disk."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ClassDef):
            assert not node.keywords, f"{path.name}:{node.lineno}"


@pytest.mark.parametrize("path", compiled(), ids=lambda path: path.stem)
def test_no_class_has_a_field_that_c_cannot_name(path: Path) -> None:
    """A field `_thread` becomes `__thread`, which is a word of C."""
    words = {"_thread", "_int128", "_inline", "_asm", "_signed", "_const", "_volatile", "_func"}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute):
            assert node.attr not in words, f"{path.name}:{node.lineno}"

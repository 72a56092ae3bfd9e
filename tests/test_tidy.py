"""What the linters cannot hold: sizes, neighbours, and pages that must keep up with the code."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "kvorum"
TESTS = ROOT / "tests"

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 900

WITHOUT_TEST_FILE = {
    "version.py": "constants only",
    "raft/types.py": "data only; every test of raft uses it",
    "v3/answers.py": "data only; tests/unit/apply/test_kv.py has every kind of answer",
    "backend/base.py": "protocols and names; tests/unit/backend runs one suite over both stores",
}
"""Modules without a test file of their own, and why."""


def modules() -> list[str]:
    """Every module of the package that is more than a docstring, by its path."""
    return sorted(
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if path.name != "__init__.py" or len(tree_of(path).body) > 1
    )


def sources() -> list[Path]:
    folders = (PACKAGE, TESTS, ROOT / "benchmarks")
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def fixed_sleeps(tree: ast.Module) -> Iterator[int]:
    """Lines that call some `sleep` with a number above 0."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and node.args):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        argument = node.args[0]
        if name == "sleep" and isinstance(argument, ast.Constant) and argument.value:
            yield node.lineno


def test_no_function_is_longer_than_a_page() -> None:
    long = [
        f"{name_of(path)}:{one.lineno} {one.name}"
        for path in sources()
        for one in functions(tree_of(path))
        if (one.end_lineno or one.lineno) - one.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert not long


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    long = [
        name_of(path)
        for path in sources()
        if len(path.read_text("utf-8").splitlines()) > FILE_LINES_MAX
    ]
    assert not long


def test_every_module_says_what_it_is_for() -> None:
    assert not [
        name_of(path) for path in PACKAGE.rglob("*.py") if not ast.get_docstring(tree_of(path))
    ]


def test_every_module_has_its_test_file() -> None:
    expected = {
        module: TESTS / "unit" / Path(module).with_name(f"test_{Path(module).name}")
        for module in modules()
        if Path(module).name != "__init__.py"
    }
    missing = {module for module, path in expected.items() if not path.exists()}
    assert not missing - set(WITHOUT_TEST_FILE), "write tests/unit/<package>/test_<module>.py"
    assert not set(WITHOUT_TEST_FILE) - missing, "these have one now: take them off the table"


def test_every_module_has_its_line_in_the_map() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    listed = {
        line.split("`")[1]
        for line in page.splitlines()
        if line.startswith("- `") and ".py`" in line
    }
    assert listed == set(modules())


def test_no_test_sleeps_for_a_fixed_time() -> None:
    assert not [
        f"{name_of(path)}:{line}"
        for path in TESTS.rglob("*.py")
        for line in fixed_sleeps(tree_of(path))
    ], "wait for a condition: kvorum.testing.polling.wait_until"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("time.sleep(0.1)", [1]),
        ("async def f():\n    await asyncio.sleep(1)", [2]),
        ("sleep(1)", [1]),
        ("asyncio.sleep(0)", []),
        ("time.sleep(pause)", []),
    ],
)
def test_a_fixed_sleep_is_found(text: str, lines: list[int]) -> None:
    assert list(fixed_sleeps(ast.parse(text))) == lines


def test_nothing_is_marked_as_unfinished() -> None:
    words = ("TO" + "DO", "FIX" + "ME")
    assert not [
        f"{name_of(path)}: {word}"
        for path in sources()
        for word in words
        if word in path.read_text("utf-8")
    ]

"""The same tests, led by which lines of ours they reach. Needs `pip install atheris` (Linux).

    python -m tests.fuzz.coverage_guided                              # which targets there are
    python -m tests.fuzz.coverage_guided any_split -max_total_time=60
    python -m tests.fuzz.coverage_guided any_split crash-0123abcd     # a finding once more

The target is the first test with these words in its name; what follows is for libFuzzer.
"""

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path

import atheris


def find_targets() -> dict[str, Callable[[bytes], object]]:
    """Every test that needs nothing of pytest, by its name."""
    targets = {}
    with atheris.instrument_imports(include=["kvorum"]):
        for path in sorted(Path(__file__).parent.glob("test_*.py")):
            module = importlib.import_module(f"tests.fuzz.{path.stem}")
            for name, test in inspect.getmembers(module, inspect.isfunction):
                if hasattr(test, "hypothesis") and not inspect.signature(test).parameters:
                    targets[name] = test.hypothesis.fuzz_one_input
    return targets


def main() -> None:
    targets = find_targets()
    words = sys.argv[1] if len(sys.argv) > 1 else ""
    found = [name for name in targets if words and words in name]
    if not found:
        sys.exit("\n".join(["Name one of these:", *targets]))
    atheris.Setup([sys.argv[0], *sys.argv[2:]], targets[found[0]])
    atheris.Fuzz()


if __name__ == "__main__":
    main()

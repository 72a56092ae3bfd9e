"""Files, flags and variables make a configuration, or are refused with a reason."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from tests.fuzz.mutations import fuzz, fuzz_less, mutated
from tests.unit.cli.test_configfile import MODERN, WHOLE

from kvorum.cli import commandline, configfile, settings
from kvorum.cli.commandline import KNOWN, SPELLINGS
from kvorum.errors import ConfigError

YAML_SEEDS = (
    MODERN.encode(),
    b"a: &a [x]\nb: &b {<<: {x: *a}, y: !!set {z}}\ncors: *a\n",
    b"name: !!str 5\nsnapshot-count: 0x_ff\ndata-dir: 2026-11-25T01:02:03.5+01:00\n",
    b"a: !!timestamp 2026-11-25\nb: !!bool true\nc: !!int 5\nd: !!float 1.5\nname: *x\n",
    b"name: !!binary aGk=\nlog-level: 1:30\nheartbeat-interval: !!float 1:30\nx: ~\n",
)
TOML_SEEDS = (
    WHOLE.encode(),
    b"snapshot = true\nsnapshot_count = 5\nretry_interval = 1.5\npeers = [1]\nx = { y = 1 }\n",
    b"name = 2026-11-25T01:02:03+01:00\nsnapshot_count = 0x_ff\n[[peers]]\na.b = { c = 1e5 }\n",
)

TEXTS = (
    b"http://127.0.0.1:1,https://[::1]:2",
    b"a=http://h:1,b=http://h:2",
    b"127.0.0.1:4001",
    b"[::1]:1",
    b"1000",
    b"9" * 20,
    b"1.5",
    b"true",
    b"revision",
)
ENVIRONMENTS = sorted(
    {
        name
        for flag in KNOWN
        for is_legacy in (False, True)
        if (name := flag.environment(is_legacy=is_legacy))
    }
)

_texts = mutated(*TEXTS).map(
    lambda text: text.replace(b"\0", b"").decode("utf-8", "surrogateescape")
)
_words = st.sampled_from(sorted(SPELLINGS)).map("-{}".format) | _texts


def start(arguments: list[str], environment: dict[str, str]) -> None:
    try:
        invocation = commandline.parse(arguments, environment)
        config = settings.build(configfile.add_files(invocation, Path("/none"))).config
    except ConfigError as error:
        refusal = error
    else:
        config.validate()
        numbers = [one for one in structs.astuple(config) if isinstance(one, int)]
        assert all(abs(number) < 1 << 63 for number in numbers)
        return
    assert all(refusal.faults)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "file"


@fuzz
@given(text=mutated(*TOML_SEEDS))
def test_a_file_of_the_old_way_is_read_or_refused(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    start(["-config", str(path), "-data-dir", "d"], {})


@fuzz
@given(text=mutated(*YAML_SEEDS))
def test_a_file_of_the_new_way_is_read_or_refused(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    start(["--config-file", str(path)], {})


@fuzz
@given(text=mutated(b"127.0.0.1:7001\n127.0.0.1:7002,[::1]:7003\n"))
def test_a_file_of_peers_is_read_or_refused(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    start(["-peers-file", str(path), "-data-dir", "d"], {})


@fuzz
@given(
    st.lists(_words, max_size=6), st.dictionaries(st.sampled_from(ENVIRONMENTS), _texts, max_size=3)
)
def test_flags_and_variables_are_read_or_refused(
    arguments: list[str], environment: dict[str, str]
) -> None:
    start(arguments, environment)


@fuzz_less
@given(_texts)
def test_any_value_of_any_flag_is_read_or_refused(text: str) -> None:
    for name in SPELLINGS:
        start([f"-{name}={text}"], {})

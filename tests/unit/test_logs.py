import json
import logging
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvorum import logs
from kvorum.config import LOG_LEVELS

# 2026-11-02 18:05:35.464 five hours behind UTC: a day of one digit shows the padding
CREATED = 1793660735.4645


@pytest.fixture(autouse=True)
def _unchanged_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "EST5")
    time.tzset()
    switches = ("raiseExceptions", "logThreads", "logProcesses", "logMultiprocessing")
    before = {name: getattr(logging, name) for name in switches}
    loggers = [logging.getLogger(name) for name in ("kvorum", "asyncio")]
    state = [(one, one.handlers, one.level, one.propagate) for one in loggers]
    yield
    monkeypatch.undo()
    time.tzset()
    for name, value in before.items():
        setattr(logging, name, value)
    for logger, handlers, level, propagate in state:
        logger.handlers = handlers
        logger.propagate = propagate
        logger.setLevel(level)


def record(
    text: str = "text",
    *args: object,
    level: int = logging.INFO,
    created: float = CREATED,
    error: BaseException | None = None,
    fields: dict[str, object] | None = None,
) -> logging.LogRecord:
    made = logging.LogRecord(
        "kvorum.server", level, "/x/kvorum/server/driver.py", 72, text, args, None
    )
    made.created = created
    if error is not None:
        made.exc_info = (type(error), error, error.__traceback__)
    if fields is not None:
        made.fields = fields
    return made


def legacy(made: logging.LogRecord, *, has_tracebacks: bool = False) -> str:
    return logs.LegacyFormatter(has_tracebacks=has_tracebacks).format(made)


def modern(made: logging.LogRecord, *, has_tracebacks: bool = False) -> dict[str, str]:
    line = json.loads(logs.JsonFormatter(has_tracebacks=has_tracebacks).format(made))
    assert isinstance(line, dict)
    return line


def raised() -> BaseException:
    with pytest.raises(KeyError) as caught:
        os.environ["KVORUM_NO_SUCH_VARIABLE"]
    return caught.value


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        (logging.DEBUG, "DEBUG    "),
        (logging.INFO, "INFO     "),
        (logging.WARNING, "WARNING  "),
        (logging.CRITICAL, "CRITICAL "),
    ],
)
def test_a_legacy_line_pads_the_day_and_the_level(level: int, shown: str) -> None:
    line = legacy(record("%s is starting a new cluster", "machine1", level=level))
    assert line == f"[etcd] Nov  2 18:05:35.464 {shown} | machine1 is starting a new cluster"


def test_a_legacy_line_follows_the_second() -> None:
    formatter = logs.LegacyFormatter(has_tracebacks=False)
    lines = [formatter.format(record(created=CREATED + after)) for after in (0, 0.5, 1)]
    assert [line[14:26] for line in lines] == ["18:05:35.464", "18:05:35.964", "18:05:36.464"]


def test_a_legacy_line_stays_one_line() -> None:
    assert legacy(record("%s", "a\nb")).endswith("| a\\nb")


def test_a_json_line_has_the_shape_of_zap() -> None:
    line = logs.JsonFormatter(has_tracebacks=False).format(
        record("became leader at term %d", 2, fields={"member": "m1", "dir": Path("/d")})
    )
    assert line == (
        '{"level":"info","ts":"2026-11-02T23:05:35.464Z","caller":"server/driver.py:72",'
        '"msg":"became leader at term 2","member":"m1","dir":"/d"}'
    )


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        (logs.TRACE, "debug"),
        (logging.DEBUG, "debug"),
        (logging.WARNING, "warn"),
        (logging.ERROR, "error"),
        (logging.CRITICAL, "fatal"),
    ],
)
def test_a_json_line_names_levels_as_zap_does(level: int, shown: str) -> None:
    assert modern(record(level=level))["level"] == shown


def test_text_that_is_no_unicode_is_still_written() -> None:
    assert modern(record("a\udcffb", fields={"n": 1}))["msg"] == "a?b"


def test_arguments_that_do_not_fit_still_leave_a_line() -> None:
    assert legacy(record("%d", "x")).endswith("| %d ('x',)")
    assert modern(record("%d", "x"))["msg"] == "%d ('x',)"


def test_an_exception_is_a_clause_of_its_line() -> None:
    made = record("failed", error=raised())
    assert legacy(made).endswith("| failed: KeyError: 'KVORUM_NO_SUCH_VARIABLE'")
    assert modern(made)["error"] == "KeyError: 'KVORUM_NO_SUCH_VARIABLE'"
    assert "stacktrace" not in modern(made)


def test_a_traceback_is_shown_when_asked_for() -> None:
    made = record("failed", error=raised())
    assert "Traceback" in legacy(made, has_tracebacks=True)
    assert "Traceback" in modern(made, has_tracebacks=True)["stacktrace"]


def test_a_line_is_written_at_once() -> None:
    read_end, write_end = os.pipe()
    handler = logs.DescriptorHandler(write_end)
    handler.setFormatter(logs.LegacyFormatter(has_tracebacks=False))
    handler.handle(record("now"))
    assert os.read(read_end, 4096).endswith(b"| now\n")
    os.close(read_end)
    os.close(write_end)


def test_a_reader_that_went_away_disturbs_nobody() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    logs.DescriptorHandler(write_end).handle(record())
    os.close(write_end)
    logs.DescriptorHandler(write_end).handle(record())


def test_legacy_lines_go_to_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    logs.setup(logs.LineFormat.LEGACY, logging.INFO)
    log = logging.getLogger("kvorum.server")
    log.info("shown")
    log.debug("hidden")
    out, err = capfd.readouterr()
    assert re.fullmatch(r"\[etcd\] \w{3} [ \d]\d [\d:]{8}\.\d{3} INFO      \| shown\n", out)
    assert err == ""


def test_a_programs_own_logging_gets_no_line_twice(caplog: pytest.LogCaptureFixture) -> None:
    logs.setup(logs.LineFormat.LEGACY, logging.INFO)
    logging.getLogger("kvorum.server").warning("ours")
    assert caplog.messages == []


def test_json_lines_go_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    logs.setup(logs.LineFormat.JSON, logging.DEBUG)
    logging.getLogger("kvorum.raft").debug("shown", extra={"fields": {"a": 1}})
    out, err = capfd.readouterr()
    assert out == ""
    line = json.loads(err)
    assert (line["msg"], line["a"]) == ("shown", 1)
    assert re.fullmatch(r"unit/test_logs\.py:\d+", line["caller"])


def test_what_asyncio_reports_has_the_same_form(capfd: pytest.CaptureFixture[str]) -> None:
    logs.setup(logs.LineFormat.LEGACY, logging.INFO)
    logging.getLogger("asyncio").error("Task failed", exc_info=raised())
    out, err = capfd.readouterr()
    assert out.endswith("ERROR     | Task failed: KeyError: 'KVORUM_NO_SUCH_VARIABLE'\n")
    assert err == ""


def test_very_verbose_shows_the_lowest_level(capfd: pytest.CaptureFixture[str]) -> None:
    logs.setup(logs.LineFormat.LEGACY, logs.LEVELS_BY_VERBOSITY[2])
    logging.getLogger("kvorum.raft").log(logs.TRACE, "vote")
    assert "DEBUG     | vote" in capfd.readouterr().out


def test_setting_up_twice_writes_each_line_once(capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        logs.setup(logs.LineFormat.LEGACY, logging.INFO)
    logging.getLogger("kvorum").info("once")
    assert capfd.readouterr().out.count("once") == 1


def test_lines_go_to_all_outputs_and_files_keep_what_they_had(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log"
    path.write_text("before\n", "utf-8")
    outputs = logs.open_outputs(["stdout", str(path), "stderr"])
    logs.setup(logs.LineFormat.JSON, logging.INFO, outputs)
    logging.getLogger("kvorum.server").info("shown")
    out, err = capfd.readouterr()
    assert out == err == path.read_text("utf-8").removeprefix("before\n")
    assert json.loads(out)["msg"] == "shown"
    os.close(outputs[1])


def test_default_and_the_journal_are_stderr(tmp_path: Path) -> None:
    assert logs.open_outputs(["default", "systemd/journal"]) == (2, 2)
    with pytest.raises(FileNotFoundError):
        logs.open_outputs([str(tmp_path / "none" / "log")])


def test_every_flag_value_is_a_level() -> None:
    assert set(logs.LEVELS_BY_NAME) == set(LOG_LEVELS)

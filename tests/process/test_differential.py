"""The same requests to etcd and to us: status, headers and body are equal to the letter.

What may differ stands in one table here, and with its reason in docs/compatibility.md.
"""

import difflib
import http.client
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.process.conftest import assert_logs_are_sound, find_program
from tests.process.httpscenarios import http_scenarios
from tests.process.scenarios import Scenario, key_scenarios
from tests.process.wire import Reply, Session, Step

from kvorum.config import Era
from kvorum.testing import ServerProcess
from kvorum.testing.polling import wait_until

pytestmark = pytest.mark.process

DOCS = Path(__file__).parents[2] / "docs" / "compatibility.md"

WAIT_SECONDS = 20
REQUESTS_MIN = 300


# What may differ.


def nothing(_reply: Reply) -> object:
    return None


def status(reply: Reply) -> object:
    return reply.code


def head(reply: Reply) -> object:
    return reply.status, reply.headers


def unframed(reply: Reply) -> object:
    """All but how the end of a reply is told."""
    framing = ("Content-Length", "Transfer-Encoding")
    return reply.status, [one for one in reply.headers if one[0] not in framing], reply.body


def is_healthy(reply: Reply) -> object:
    return reply.status, reply.headers, json.loads(reply.body)["health"]


def without_close(reply: Reply) -> object:
    return reply.status, [one for one in reply.headers if one[0] != "Connection"], reply.body


class Allowed(NamedTuple):
    """One row of docs/compatibility.md.

    Attributes:
        topic: how the row begins.
        where: found in `scenario: request`.
        compared: what must be equal nevertheless.
        says: found in etcd's reply, where only some replies may differ.
        ends: what comes behind it in the scenario cannot be compared.
    """

    topic: str
    where: str
    compared: Callable[[Reply], object]
    says: str = ""
    ends: bool = False

    def applies(self, scenario: Scenario, step: Step, theirs: Reply) -> bool:
        found = re.search(self.where, f"{scenario.name}: {step}")
        return found is not None and re.search(self.says, str(theirs)) is not None


ALLOWED = [
    Allowed("length of a reply", r": (GET|PUT|\()", unframed, says=r".{2000}"),
    Allowed("length of a reply", r": HEAD (/v2/keys|/metrics)$", unframed),
    Allowed("`/version`", r"GET \S*(/version|/%76ersion)|absolute form: ", head),
    Allowed("`/health`", r"GET /health", is_healthy),
    Allowed("`/metrics`", r" /metrics$", nothing),
    Allowed("`/v2/stats/store`", r"GET /v2/stats/store", head),
    Allowed("`/v2/auth`", r"auth: (PUT|DELETE|GET \S+/(users|roles)/)", nothing),
    Allowed("`/v2/auth`", r"verbs on /v2/auth/enable: (PUT|DELETE)", nothing),
    Allowed("`;` in a form", r"form '[^']*;", nothing, ends=True),
    Allowed("parameters of a form's type", r";charset$", nothing, ends=True),
    Allowed("update of a directory", r": PUT ", nothing, says=r'"cause":"nodePath ', ends=True),
    Allowed("listing of the root", r"verbs on /v2/keys: GET", status),
    Allowed("removing a member that is none", r"members that are none: DELETE", nothing),
    Allowed(
        "wrong JSON for `/v2/members`", r"/v2/members.* < '(\[|\"|null|.*(\"x\"}|\[1\]}))", head
    ),
    Allowed("moving a member to an address where it is not", r"move a member: PUT", head),
    Allowed("escapes in `Location`", r"path 'é", status),
    Allowed("a request that is no HTTP", r"path 'a%(zz|4)?'", status),
    Allowed("a request that is no HTTP", r"http: .*: b'", status, says=r"HTTP/1\.1 (400|505|417)"),
    Allowed("stricter than Go", r"http: (HTTP/[123]\.[02]|folded|unknown enc|one length)", nothing),
    Allowed("stricter than Go", r"http: (leading line end|absolute form without)", nothing),
    Allowed("`OPTIONS *`", r"http: OPTIONS \*", status),
    Allowed("HTTP/1.0", r"http: HTTP/1.0", without_close),
]


# Servers.


def session_of(server: ServerProcess) -> Session:
    """A session that knows the server's own ids and addresses."""
    server.wait_ready()
    wait_until(lambda: is_known(server), WAIT_SECONDS, "the member to tell its addresses")
    connection = http.client.HTTPConnection("127.0.0.1", server.client_port, timeout=WAIT_SECONDS)
    connection.request("GET", "/v2/members")
    reply = connection.getresponse()
    (member,) = json.loads(reply.read())["members"]
    cluster_id = reply.headers["X-Etcd-Cluster-Id"]
    connection.close()
    words = {member["id"]: "MEMBER", cluster_id: "CLUSTER"}
    return Session(
        server.client_port, {**words, server.peer_url: "PEER", server.client_url: "CLIENT"}
    )


def is_known(server: ServerProcess) -> bool:
    answer = server.ask("/v2/members")
    return answer is not None and server.client_url.encode() in answer[1]


@pytest.fixture(scope="module", params=["3.5.1", "3.4"])
def sessions(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Session, Session]]:
    """Ours and theirs, both as good as new."""
    # Nothing here outlives a crash; with the flag 3.5 does not wait for its disk.
    flags = ["--unsafe-no-fsync"] if request.param == "3.5.1" else []
    program = [find_program(request.param, "etcd"), *flags]
    directory = tmp_path_factory.mktemp("differential")
    with (
        ServerProcess(directory / "ours", era=Era.MODERN) as mine,
        ServerProcess(directory / "theirs", era=Era.MODERN, program=program) as theirs,
    ):
        ours, etcd = session_of(mine), session_of(theirs)
        yield ours, etcd
        ours.close()
        etcd.close()
    assert_logs_are_sound(directory / "ours")


# The comparison.


def differences(
    scenario: Scenario, replies: Sequence[Reply], expected: Sequence[Reply]
) -> Iterator[str]:
    """How we answered otherwise, request by request."""
    for step, mine, theirs in zip(scenario.steps, replies, expected, strict=True):
        rules = [rule for rule in ALLOWED if rule.applies(scenario, step, theirs)]
        alike = str(mine) == str(theirs) or any(
            rule.compared(mine) == rule.compared(theirs) for rule in rules
        )
        if not alike:
            lines = difflib.ndiff(str(theirs).splitlines(), str(mine).splitlines())
            yield "\n".join([str(step), *(line for line in lines if line[0] != "?")])
        if any(rule.ends for rule in rules):
            return


SCENARIOS = [*http_scenarios(), *key_scenarios()]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])
def test_etcd_and_we_answer_the_same(sessions: tuple[Session, Session], scenario: Scenario) -> None:
    ours, etcd = sessions
    found = list(differences(scenario, ours.run(scenario.steps), etcd.run(scenario.steps)))
    assert not found, "\n\n".join(found[:10])


def test_there_are_enough_requests() -> None:
    assert sum(len(scenario.steps) for scenario in SCENARIOS) >= REQUESTS_MIN


@pytest.mark.parametrize("topic", sorted({rule.topic for rule in ALLOWED}))
def test_what_may_differ_is_told(topic: str) -> None:
    assert f"\n| {topic} |" in DOCS.read_text("utf-8")

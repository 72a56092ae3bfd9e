"""Members that know only a token find each other, at a service of ours."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.process.conftest import find_program

from kvorum.config import Era
from kvorum.testing import ServerProcess
from kvorum.testing.polling import wait_until

pytestmark = pytest.mark.process

TOKEN = "/_etcd/registry/8d9c"


@pytest.fixture(params=Era)
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerProcess]:
    """A discovery service: any server, of either era."""
    with ServerProcess(tmp_path, name="service", era=request.param) as server:
        server.wait_ready()
        yield server


def token_url(service: ServerProcess) -> str:
    return f"{service.client_url}/v2/keys{TOKEN}"


def make_members(
    directory: Path, service: ServerProcess, era: Era, count: int
) -> list[ServerProcess]:
    return [
        ServerProcess(
            directory,
            name=f"machine{number}",
            era=era,
            arguments=["-discovery", token_url(service)],
        )
        for number in range(1, count + 1)
    ]


@pytest.fixture
def started() -> Iterator[list[ServerProcess]]:
    """Whatever a test puts in here ends with it."""
    servers: list[ServerProcess] = []
    yield servers
    for server in servers:
        server.kill()


def set_size(service: ServerProcess, size: str) -> None:
    with service.client() as client:
        client.put(f"{TOKEN}/_config/size", size)


def machines_of(server: ServerProcess) -> set[str]:
    with server.client() as client:
        return set(client.list_machines())


def test_machines_of_the_old_era_find_each_other(
    service: ServerProcess, started: list[ServerProcess], tmp_path: Path
) -> None:
    members = make_members(tmp_path, service, Era.LEGACY, 3)
    started += members
    for member in members:  # all at once: the token says who is first
        member.start()
    for member in members:
        member.wait_ready()
    urls = {member.client_url for member in members}
    wait_until(lambda: all(machines_of(one) == urls for one in members), 20, "three machines")
    first = [one for one in members if "is starting a new cluster" in one.log()]
    assert len(first) == 1
    assert "so this machine is the initial leader." in first[0].log()
    with service.client() as client:
        listed = client.get(TOKEN).node.children
    assert {(node.key, node.value) for node in listed} == {
        (f"{TOKEN}/{one.name}", one.peer_url) for one in members
    }
    assert all(node.ttl and node.ttl > 600_000 for node in listed)


def test_a_machine_that_starts_again_needs_no_service(
    service: ServerProcess, started: list[ServerProcess], tmp_path: Path
) -> None:
    (member,) = make_members(tmp_path, service, Era.LEGACY, 1)
    started.append(member)
    member.start()
    member.wait_ready()
    with service.client() as client:
        client.delete(f"{TOKEN}/{member.name}")
        member.restart()
        member.wait_ready()
        wait_until(lambda: client.get(TOKEN).node.children, 20, "it to be listed again")
    service.kill()
    member.restart()
    member.wait_ready()
    member.wait_log("Discovery heartbeat failed:")


def test_a_machine_without_a_service_uses_the_peers_it_was_given(
    started: list[ServerProcess], tmp_path: Path
) -> None:
    first, gone = (ServerProcess(tmp_path, name=name) for name in ("machine1", "gone"))
    started.append(first)
    first.start()
    first.wait_ready()
    arguments = ["-discovery", token_url(gone), "-max-retry-attempts", "1"]
    alone = ServerProcess(tmp_path, name="machine2", arguments=arguments)
    started.append(alone)
    alone.start()
    assert alone.wait_exit() == 1
    assert f"WARNING   | machine2 failed to connect discovery service[{token_url(gone)}]" in (
        alone.log()
    )
    assert (
        "CRITICAL  | machine2, the new instance, must register itself to discovery service as"
        " required" in alone.log()
    )
    alone.add_arguments(["-peers", first.peer_url.partition("//")[2]])
    alone.start()
    alone.wait_ready()
    assert len(machines_of(first)) == 2


def test_members_of_the_later_era_wait_until_all_are_there(
    service: ServerProcess, started: list[ServerProcess], tmp_path: Path
) -> None:
    set_size(service, "3")
    members = make_members(tmp_path, service, Era.MODERN, 4)
    started += members
    for member in members[:2]:
        member.start()
    for member in members[:2]:
        member.wait_log("waiting for more")
        assert member.ask("/version") is None
    members[2].start()
    for member in members[:3]:
        member.wait_ready()
    urls = {member.client_url for member in members[:3]}
    wait_until(lambda: all(machines_of(one) == urls for one in members[:3]), 20, "three members")

    members[3].start()
    assert members[3].wait_exit() == 1
    assert "discovery: cluster is full" in last_error(members[3])

    service.kill()
    members[0].restart()
    members[0].wait_ready()
    assert machines_of(members[0]) == urls


def test_a_service_may_come_later_than_its_members(
    started: list[ServerProcess], tmp_path: Path
) -> None:
    service = ServerProcess(tmp_path, name="service")
    (member,) = make_members(tmp_path, service, Era.MODERN, 1)
    started += [service, member]
    member.start()
    member.wait_log("has no answer of the discovery service")
    service.start()
    service.wait_ready()
    assert member.wait_exit() == 1
    assert "discovery: size key not found" in last_error(member)
    assert f"curl {token_url(service)}/_config/size -XPUT -d value=3" in last_error(member)
    set_size(service, "1")
    member.start()
    member.wait_ready()
    with service.client() as client:
        (entry,) = client.get(TOKEN).node.children
    assert entry.value == f"machine1={member.peer_url}"
    assert entry.key == f"{TOKEN}/{member_id(member)}"


def test_a_member_without_its_data_is_not_taken_for_the_one_it_was(
    service: ServerProcess, started: list[ServerProcess], tmp_path: Path
) -> None:
    set_size(service, "3")
    (member,) = make_members(tmp_path, service, Era.MODERN, 1)
    started.append(member)
    member.start()
    member.wait_log("waiting for more")
    member.restart()
    assert member.wait_exit() == 1
    assert "discovery: found duplicate id" in last_error(member)


def test_real_members_take_our_server_for_their_service(
    service: ServerProcess, started: list[ServerProcess], tmp_path: Path
) -> None:
    program = find_program("3.5.1", "etcd")
    set_size(service, "2")
    members = [
        ServerProcess(
            tmp_path,
            name=f"real{number}",
            era=Era.MODERN,
            program=[program],
            arguments=["--discovery", token_url(service)],
        )
        for number in (1, 2)
    ]
    started += members
    for member in members:
        member.start()
    for member in members:
        member.wait_ready()
    urls = {member.client_url for member in members}
    wait_until(lambda: all(machines_of(one) == urls for one in members), 20, "two members")


@pytest.mark.parametrize("era", Era)
def test_a_real_server_is_a_service_for_us(
    started: list[ServerProcess], tmp_path: Path, era: Era
) -> None:
    program = find_program("3.5.1", "etcd")
    real = ServerProcess(tmp_path, name="service", era=Era.MODERN, program=[program])
    members = make_members(tmp_path, real, era, 2)
    started += [real, *members]
    real.start()
    real.wait_ready()
    if era is Era.MODERN:
        set_size(real, "2")
    for member in members:
        member.start()
    for member in members:
        member.wait_ready()
    urls = {member.client_url for member in members}
    wait_until(lambda: all(machines_of(one) == urls for one in members), 20, "two members")


def member_id(server: ServerProcess) -> str:
    with server.client() as client:
        url = f"{client.machines[0]}/v2/members"
    told = subprocess.run(["curl", "-s", url], check=True, capture_output=True, timeout=20).stdout
    return str(json.loads(told)["members"][0]["id"])


def last_error(server: ServerProcess) -> str:
    """What the last line of a log gives as its reason."""
    return str(json.loads(server.log().splitlines()[-1])["error"])

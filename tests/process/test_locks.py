"""Locks over a cluster: whoever is asked, one at a time holds the lock, and the dead let go."""

import socket
import subprocess
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from kvorum.testing import ClusterProcess, ServerProcess
from kvorum.testing.polling import wait_until

pytestmark = pytest.mark.process

ANSWER_SECONDS = 10


def curl(*arguments: str) -> str:
    """Status and body of what an operator types."""
    command = ["curl", "-s", "-w", " %{http_code}", *arguments]
    answer = subprocess.run(command, check=True, capture_output=True, timeout=20, text=True)
    return answer.stdout


def begin(server: ServerProcess, target: str) -> socket.socket:
    """Sends a POST and does not wait for its answer."""
    place = urlsplit(server.client_url)
    assert place.hostname is not None
    connection = socket.create_connection((place.hostname, place.port or 80), ANSWER_SECONDS)
    connection.sendall(f"POST {target} HTTP/1.0\r\nContent-Length: 0\r\n\r\n".encode())
    return connection


def answer_of(connection: socket.socket) -> bytes:
    """The body of the answer, once it is there."""
    with closing(connection), connection.makefile("rb") as answer:
        head, _, body = answer.read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200"), head
    return body


def wait_for_places(server: ServerProcess, count: int) -> None:
    """Waits until so many hold the lock or wait for it."""
    with server.client() as client:
        wait_until(
            lambda: len(client.get("/_etcd/mod/lock/job", quorum=True).node.children) == count,
            ANSWER_SECONDS,
            f"{count} places",
        )


def test_a_lock_is_handed_from_machine_to_machine(cluster: ClusterProcess) -> None:
    first, second, third = cluster.members
    lock = f"{first.client_url}/mod/v2/lock/job"
    held, _, status = curl("-X", "POST", f"{lock}?ttl=60", "-d", "value=a").rpartition(" ")
    assert status == "200"
    next_holder = begin(second, "/mod/v2/lock/job?ttl=60&value=b")
    wait_for_places(third, 2)
    leaver = begin(third, "/mod/v2/lock/job?ttl=60&value=c")
    wait_for_places(third, 3)
    leaver.close()
    wait_for_places(third, 2)
    assert curl(lock) == "a 200"
    assert curl("-X", "DELETE", f"{lock}?index={held}") == " 200"
    got = answer_of(next_holder).decode()
    assert int(got) > int(held)
    assert curl(f"{third.client_url}/mod/v2/lock/job?field=index") == f"{got} 200"
    assert curl(f"{first.client_url}/mod/v2/leader/job") == "b 200"


def test_a_place_of_a_machine_that_died_does_not_hold_up_the_others(
    cluster: ClusterProcess,
) -> None:
    leader = cluster.wait_leader()
    dying, living = [one for one in cluster.members if one is not leader]
    holder = curl("-X", "POST", f"{leader.client_url}/mod/v2/lock/job?ttl=2")
    assert holder.endswith(" 200")
    with closing(begin(dying, "/mod/v2/lock/job?ttl=1")):
        wait_for_places(leader, 2)
        last = begin(living, "/mod/v2/lock/job?ttl=60")
        wait_for_places(leader, 3)
        dying.kill()
    got = answer_of(last).decode()
    assert curl(f"{living.client_url}/mod/v2/lock/job?field=index") == f"{got} 200"

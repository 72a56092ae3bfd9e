"""Other people's clients: python-etcd, of the 0.4 and 2.x days, etcdctl 3.4 and 3.5 with API 2."""

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import etcd
import pytest
from tests.process.conftest import TLS, TlsCluster, find_program

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


def test_python_etcd_keeps_keys_alive(client: etcd.Client, place: str) -> None:
    written = client.write(f"{place}/key", "mortal", ttl=100)
    assert client.read(f"{place}/key").ttl > 90
    refreshed = client.write(f"{place}/key", "mortal", ttl=1000, prevExist=True)
    assert (refreshed.action, refreshed.createdIndex) == ("update", written.createdIndex)
    assert refreshed.ttl > 900
    client.write(place + "/dir", None, dir=True, ttl=1000)
    client.write(place + "/dir/key", "goes with it")
    assert client.read(f"{place}/dir").ttl > 900
    index = client.write(place + "/dir", None, dir=True, ttl=1, prevExist=True).modifiedIndex
    event = client.watch(f"{place}/dir", index=index + 1, recursive=True, timeout=WAIT_SECONDS)
    assert (event.action, event.key) == ("expire", f"{place}/dir")
    assert f"{place}/dir/key" not in client


def test_python_etcd_handles_directories(client: etcd.Client, place: str) -> None:
    assert client.write(place, None, dir=True).dir
    with pytest.raises(etcd.EtcdNotFile):
        client.write(place, None, dir=True)
    with pytest.raises(etcd.EtcdNotFile):
        client.write(place, "a value")
    client.write(f"{place}/file", "1")
    with pytest.raises(etcd.EtcdNotDir):
        client.write(f"{place}/file/below", "1")
    with pytest.raises(etcd.EtcdRootReadOnly):
        client.write("/", "1")
    assert [child.key for child in client.read(place).children] == [f"{place}/file"]
    client.delete(f"{place}/file")
    assert client.delete(place, dir=True).action == "delete"


def test_python_etcd_pops_and_swaps_by_index(client: etcd.Client, place: str) -> None:
    first = client.write(f"{place}/key", "1")
    assert client.write(f"{place}/key", "2", prevIndex=first.modifiedIndex).value == "2"
    assert client.pop(f"{place}/key").value == "2"
    assert f"{place}/key" not in client


def test_python_etcd_reads_statistics(members: ClusterProcess, client: etcd.Client) -> None:
    names = {member.name for member in members.members}
    assert client.stats["name"] in names
    client.write("/statistics", "1")
    assert client.store_stats["setsSuccess"] > 0
    if members.era is Era.LEGACY:  # 3.x refuses where the leader is another
        assert set(client.leader_stats) == {"leader", "followers"}


API_2 = {"ETCDCTL_API": "2"}


class Etcdctl:
    """An etcdctl of theirs, told to speak API 2."""

    def __init__(self, release: str) -> None:
        self.release = release
        self._program = find_program(release, "etcdctl")

    def command(self, server: ServerProcess, *arguments: str) -> list[str]:
        return [self._program, "--endpoints", server.client_url, *SHOWN, *arguments]

    def __call__(self, server: ServerProcess, *arguments: str) -> str:
        """What it shows."""
        return subprocess.run(
            self.command(server, *arguments),
            env=API_2,
            capture_output=True,
            text=True,
            check=True,
            timeout=WAIT_SECONDS,
        ).stdout


@pytest.fixture(scope="module", params=["3.5.1", "3.4"])
def etcdctl(request: pytest.FixtureRequest) -> Etcdctl:
    return Etcdctl(request.param)


def refusal(etcdctl: Etcdctl, server: ServerProcess, *arguments: str) -> tuple[int, str]:
    """Exit code and words of a command that fails."""
    with pytest.raises(subprocess.CalledProcessError) as failed:
        etcdctl(server, *arguments)
    return failed.value.returncode, failed.value.stderr


def test_etcdctl_of_today_speaks_api_2(
    members: ClusterProcess, place: str, etcdctl: Etcdctl
) -> None:
    server = members.members[-1]
    key = f"{place}/key"
    assert etcdctl(server, "set", key, "1") == "1\n"
    assert etcdctl(server, "get", "--quorum", key) == "1\n"
    assert etcdctl(server, "set", "--swap-with-value", "1", key, "2") == "2\n"
    assert etcdctl(server, "ls", "--recursive", place) == f"{key}\n"
    assert etcdctl(server, "mkdir", f"{place}/dir") == ""
    assert etcdctl(server, "ls", "--sort", "-p", place) == f"{place}/dir/\n{key}\n"
    assert etcdctl(server, "rm", key) == "PrevNode.Value: 2\n"
    code, words = refusal(etcdctl, server, "get", key)
    assert code == 4
    assert words.startswith(f"Error:  100: Key not found ({key}) [")
    etcdctl(server, "rm", "--recursive", place)


def test_etcdctl_of_today_makes_updates_and_removes(
    members: ClusterProcess, place: str, etcdctl: Etcdctl
) -> None:
    server = members.members[0]
    key = f"{place}/key"
    assert etcdctl(server, "mk", "--ttl", "100", key, "1") == "1\n"
    assert refusal(etcdctl, server, "mk", key, "1")[1].startswith("Error:  105: Key already exists")
    assert etcdctl(server, "update", key, "2") == "2\n"
    assert "Modified-Index" in etcdctl(server, "-o", "extended", "get", key)
    assert json.loads(etcdctl(server, "-o", "json", "get", key))["node"]["value"] == "2"
    jobs = [etcdctl(server, "mk", "--in-order", f"{place}/jobs", job) for job in "ab"]
    assert jobs == ["a\n", "b\n"]
    assert len(etcdctl(server, "ls", "--sort", f"{place}/jobs").split()) == 2
    for command in ("setdir", "updatedir"):
        assert etcdctl(server, command, "--ttl", "100", f"{place}/dir") == ""
    assert etcdctl(server, "set", f"{place}/dir/a", "1") == "1\n"
    assert refusal(etcdctl, server, "rmdir", f"{place}/dir")[1].startswith("Error:  108: ")
    assert etcdctl(server, "rm", "--with-value", "1", f"{place}/dir/a") == "\n"
    assert etcdctl(server, "rmdir", f"{place}/dir") == ""
    assert refusal(etcdctl, server, "rm", "--with-index", "1", key)[1].startswith("Error:  101: ")
    etcdctl(server, "rm", "--recursive", place)


def test_etcdctl_of_today_watches(members: ClusterProcess, place: str, etcdctl: Etcdctl) -> None:
    server = members.members[0]
    with server.client() as client:
        before = str(client.put(f"{place}/key", "1").node.modified_index)
        client.put(f"{place}/key", "2")
        client.put(f"{place}/other", "3")
    after = ["--after-index", before]
    assert etcdctl(server, "watch", *after, f"{place}/key") == "2\n"
    shown = etcdctl(server, "watch", "--recursive", *after, place)
    assert shown == f"[set] {place}/key\n2\n"


def test_etcdctl_of_today_runs_a_command_for_an_event(
    members: ClusterProcess, place: str, etcdctl: Etcdctl, tmp_path: Path
) -> None:
    if etcdctl.release == "3.4":
        pytest.skip("its exec-watch runs nothing, against real etcd 3.4 neither")
    server, told = members.members[0], tmp_path / "told"
    with server.client() as writer:
        before = str(writer.put(f"{place}/key", "1").node.modified_index)
        writer.put(f"{place}/key", "2")
    script = f"echo $ETCD_WATCH_ACTION $ETCD_WATCH_KEY $ETCD_WATCH_VALUE > {told}"
    line = ["exec-watch", "--after-index", before, f"{place}/key", "--", "/bin/sh", "-c", script]
    process = subprocess.Popen(etcdctl.command(server, *line), env=API_2)
    try:
        wait_until(lambda: told.exists() and told.read_text(), WAIT_SECONDS, "the command to run")
    finally:
        process.kill()
        process.wait()
    assert told.read_text() == f"set {place}/key 2\n"


@modern_only
def test_etcdctl_of_today_lists_the_members(members: ClusterProcess, etcdctl: Etcdctl) -> None:
    server = members.members[0]
    listing = etcdctl(server, "member", "list")
    for member in members.members:
        urls = f"peerURLs={member.peer_url} clientURLs={member.client_url}"
        assert f"name={member.name} {urls}" in listing
    assert "cluster is healthy" in etcdctl(server, "cluster-health")


@modern_only
def test_etcdctl_of_today_changes_the_members(members: ClusterProcess, etcdctl: Etcdctl) -> None:
    server = members.members[0]
    url = "http://127.0.0.1:9"
    added = etcdctl(server, "member", "add", "machine4", url)
    assert added.startswith("Added member named machine4 with ID ")
    member_id = added.split(" with ID ")[1].split()[0]
    assert f"{member_id}[unstarted]: peerURLs={url}\n" in etcdctl(server, "member", "list")
    moved = etcdctl(server, "member", "update", member_id, "http://127.0.0.1:19")
    assert moved == f"Updated member with ID {member_id} in cluster\n"
    assert "peerURLs=http://127.0.0.1:19\n" in etcdctl(server, "member", "list")
    removed = etcdctl(server, "member", "remove", member_id)
    assert removed == f"Removed member {member_id} from cluster\n"
    assert member_id not in etcdctl(server, "member", "list")

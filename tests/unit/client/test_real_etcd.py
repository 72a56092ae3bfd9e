"""The v2 client against a real etcd 3.5.1."""

from collections.abc import Iterator

import pytest

from kvorum.client.v2 import Client, Condition
from kvorum.errors import CompareFailed, EventIndexCleared, KeyNotFound, NotAFile
from kvorum.testing import ServerProcess

pytestmark = pytest.mark.process


@pytest.fixture
def client(real_etcd: ServerProcess) -> Iterator[Client]:
    with real_etcd.client() as client:
        client.sync()
        yield client


def test_what_is_written_is_read_byte_for_byte(client: Client) -> None:
    value = 'a "quoted" & <odd> value\nwith é and + and %41'
    client.put("/odd/key with blanks?#%", value)
    assert client.get("/odd/key with blanks?#%", quorum=True).node.value == value


def test_conditions_hold_a_write_back(client: Client) -> None:
    made = client.put("/c", "1", condition=Condition(prev_exist=False))
    with pytest.raises(CompareFailed):
        client.put("/c", "2", condition=Condition(prev_value="0"))
    index = made.node.modified_index
    swapped = client.put("/c", "2", condition=Condition(prev_index=index))
    assert (swapped.action, swapped.node.created_index) == ("compareAndSwap", index)
    with pytest.raises(CompareFailed):
        client.delete("/c", condition=Condition(prev_index=index))
    assert client.delete("/c", condition=Condition(prev_value="2")).action == "compareAndDelete"


def test_in_order_keys_sort_as_they_were_made(client: Client) -> None:
    for job in ("a", "b", "c"):
        client.post("/queue", job)
    listing = client.get("/queue", is_sorted=True)
    assert [node.value for node in listing.node.children] == ["a", "b", "c"]


def test_directories_are_told_from_files(client: Client) -> None:
    client.put("/dir", is_directory=True, ttl=100)
    assert client.get("/dir").is_directory
    with pytest.raises(NotAFile):
        client.delete("/dir")
    client.delete("/dir", recursive=True)
    with pytest.raises(KeyNotFound):
        client.get("/dir/below")


def test_a_watch_sees_every_event_from_its_index_on(client: Client) -> None:
    before = client.put("/watched/a", "0").node.modified_index
    for value in ("1", "2", "3"):
        client.put("/watched/b", value)
    client.delete("/watched/b")
    events = client.watch("/watched", after_index=before, recursive=True)
    seen = [next(events) for _ in range(4)]
    assert [event.node.value for event in seen] == ["1", "2", "3", None]


def test_history_older_than_the_server_keeps_is_refused(client: Client) -> None:
    for number in range(1100):
        client.put("/churn", str(number))
    with pytest.raises(EventIndexCleared):
        next(client.watch("/churn", after_index=1))

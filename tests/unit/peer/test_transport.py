"""Transports on loopback: messages, refusals, reconnects, images."""

import asyncio
import logging

import pytest
from tests.unit.peer.conftest import (
    FakeView,
    Member,
    Run,
    Wire,
    append,
    connect,
    heartbeat,
    members,
    snapshot,
    storage_error,
    wait_until,
)

from kvorum.errors import StorageError
from kvorum.net.dialer import http_request
from kvorum.peer import stream
from kvorum.peer.transport import CHUNK_BYTES

pytestmark = pytest.mark.usefixtures("_both_wires")

MEGABYTE = 1 << 20


def image(size: int) -> list[bytes]:
    return [bytes((n % 251,)) * CHUNK_BYTES for n in range(size // CHUNK_BYTES)]


# Messages.


def test_messages_pass_both_ways_in_order(run: Run) -> None:
    async def main() -> None:
        async with members(2) as (one, two):
            await connect(one, two)
            to_two = [append(2, 1, b"%d" % n) for n in range(100)]
            for message in to_two:
                one.transport.send([message])
            two.transport.send([heartbeat(1, 2), heartbeat(1, 2, term=2)])
            await wait_until(lambda: len(two.receiver.received) == 100)
            await wait_until(lambda: len(one.receiver.received) == 2)
            assert two.receiver.received == to_two
            assert [m.term for m in one.receiver.received] == [1, 2]
            assert one.receiver.lost == two.receiver.lost == []

    run(main())


def test_batch_for_several_peers_is_parted(run: Run) -> None:
    async def main() -> None:
        async with members(3) as (one, two, three):
            await connect(one, two)
            await connect(one, three)
            one.transport.send([heartbeat(2, 1, 1), heartbeat(3, 1, 2), heartbeat(2, 1, 3)])
            await wait_until(lambda: len(two.receiver.received) == 2)
            await wait_until(lambda: three.receiver.received)
            assert [m.term for m in two.receiver.received] == [1, 3]
            assert [m.term for m in three.receiver.received] == [2]

    run(main())


def test_contact_is_noted(run: Run) -> None:
    async def main() -> None:
        async with members(2) as (one, two):
            assert one.transport.last_contact(two.id) == 0
            await connect(one, two)
            first = one.transport.last_contact(two.id)
            assert first > 0
            two.transport.send([heartbeat(1, 2)])
            await wait_until(lambda: one.transport.last_contact(two.id) > first)

    run(main())


def test_peer_that_is_away_is_reported(run: Run) -> None:
    async def main() -> None:
        async with members(2) as (one, two):
            await two.listener.close()
            one.call(two)
            one.transport.send([heartbeat(2, 1)])
            assert one.receiver.lost == [2]
            one.transport.send([heartbeat(9, 1)])
            assert one.receiver.lost == [2], "nobody knows a member 9"

    run(main())


def test_peer_that_comes_back_is_called_again(run: Run) -> None:
    async def main() -> None:
        async with members(2) as (one, two):
            await connect(one, two)
            await two.stop()
            await wait_until(lambda: not one.transport.is_connected(2))
            assert 2 in one.receiver.lost
            again = Member(2)
            again.port = two.port
            await again.start()
            await wait_until(lambda: one.transport.is_connected(2))
            one.transport.send([heartbeat(2, 1)])
            await wait_until(lambda: again.receiver.received)
            await again.stop()

    run(main())


def test_call_of_the_peer_ends_the_pause(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvorum.net.dialer.FIRST_PAUSE_SECONDS", 1000.0)
    monkeypatch.setattr("kvorum.net.dialer.LAST_PAUSE_SECONDS", 1000.0)

    async def main() -> None:
        async with members(2) as (one, two):
            await two.listener.close()
            one.call(two)
            link = one.transport._links[2]
            await wait_until(lambda: link._last_fault)
            await two.start()
            two.call(one)
            await wait_until(lambda: one.transport.is_connected(2))

    run(main())


def test_new_url_of_a_peer_is_called(run: Run) -> None:
    async def main() -> None:
        async with members(2) as (one, two):
            one.transport.set_peer(2, "http://127.0.0.1:1")
            one.call(two)
            await wait_until(lambda: one.transport.is_connected(2))
            await wait_until(lambda: two.transport.is_connected(1))  # it is called back

    run(main())


@pytest.mark.parametrize("url", ["http://127.0.0.1:notaport", "junk", "http://nosuch.invalid:1"])
def test_url_that_is_none_is_only_a_peer_that_is_away(run: Run, url: str) -> None:
    async def main() -> None:
        async with members(1) as (one,):
            one.transport.set_peer(2, url)
            await wait_until(lambda: one.transport._links[2]._last_fault)
            one.transport.send([heartbeat(2, 1)])
            assert one.receiver.lost == [2]

    run(main())


def test_slow_peer_costs_bounded_memory(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "UNSENT_BYTES_MAX", 2 * MEGABYTE)

    async def main() -> None:
        async with members(2) as (one, two):
            await connect(one, two)
            (incoming,) = (c for c in two.transport._incoming if c.member_id == 1)
            assert incoming._transport is not None
            incoming._transport.pause_reading()
            data = b"x" * (256 << 10)
            call = one.transport._links[2]._call
            assert call is not None
            network = call._transport
            assert network is not None
            while not one.receiver.lost:
                one.transport.send([append(2, 1, data)])
                assert network.get_write_buffer_size() < 2 * MEGABYTE + 2 * len(data)
                await asyncio.sleep(0)
            incoming._transport.resume_reading()
            await wait_until(lambda: network.get_write_buffer_size() == 0)
            lost = len(one.receiver.lost)
            one.transport.send([heartbeat(2, 1, term=99)])
            await wait_until(lambda: two.receiver.received[-1].term == 99)
            assert len(one.receiver.lost) == lost

    run(main())


# Whom a member does not talk to.


def test_other_cluster_is_refused_and_each_side_says_so_once(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with members(1) as (one,):
            stranger = Member(2, cluster_id=0xBAD)
            await stranger.start()
            stranger.call(one)
            link = stranger.transport._links[1]
            await wait_until(lambda: link._last_fault)
            for _ in range(3):
                link.call_now()
                await wait_until(lambda: not link._retry.is_set())
            assert not stranger.transport.is_connected(1)
            assert one.receiver.received == []
            await stranger.stop()

    with caplog.at_level(logging.INFO, "kvorum.peer"):
        run(main())
    scheme = "https" if Wire.is_tls else "http"
    assert sorted(record.getMessage().partition("127.0.0.1")[0] for record in caplog.records) == [
        f"cannot reach the peer at {scheme}://",
        "m1: refused a call of 2: this member belongs to another cluster: cluster ID mismatch,"
        " c1 against the caller's bad",
    ]
    assert "refused: this member belongs to another cluster" in caplog.text


def test_removed_member_is_refused(run: Run) -> None:
    async def main() -> None:
        async with members(2) as (one, two):
            one.receiver.removed = {2}
            told: list[bool] = []
            two.transport.on_removed = lambda: told.append(True)
            two.call(one)
            link = two.transport._links[1]
            await wait_until(lambda: link._last_fault)
            assert link._last_fault == "refused: the caller was removed from the cluster"
            await wait_until(lambda: told)

    run(main())


def test_a_removed_member_is_told_so_by_whoever_answers(run: Run) -> None:
    async def main() -> None:
        async with members(2) as (one, two):
            one.receiver.removed = {2}
            told: list[bool] = []
            two.transport.on_removed = lambda: told.append(True)
            two.transport.set_peer(7, one.url)  # who was there when it went away
            await wait_until(lambda: told)
            assert two.transport._links[7]._last_fault == (
                "refused: the caller was removed from the cluster"
            )

    run(main())


def test_a_member_of_another_cluster_is_not_told_that_it_was_removed(run: Run) -> None:
    async def main() -> None:
        async with members(1) as (one,):
            one.receiver.removed = {2}
            stranger = Member(2, cluster_id=0xBAD)
            await stranger.start()
            told: list[bool] = []
            stranger.transport.on_removed = lambda: told.append(True)
            stranger.call(one)
            link = stranger.transport._links[1]
            await wait_until(lambda: link._last_fault)
            assert "cluster ID mismatch" in link._last_fault
            assert told == []
            await stranger.stop()

    run(main())


def test_a_caller_that_is_not_known_yet_is_answered_while_it_stays(run: Run) -> None:
    async def main() -> None:
        async with members(2) as (one, two):
            one.call(two)
            await wait_until(lambda: two.transport.is_connected(1))
            two.transport.send([heartbeat(1, 2)])
            await wait_until(lambda: one.receiver.received)
            assert set(two.transport._links) == {1}
            one.transport.remove_peer(2)
            await wait_until(lambda: not two.transport._links)

    run(main())


def test_a_peer_that_is_set_later_is_called_for_good(run: Run) -> None:
    async def main() -> None:
        async with members(2) as (one, two):
            one.call(two)
            await wait_until(lambda: two.transport.is_connected(1))
            two.call(one)
            one.transport.remove_peer(2)
            await wait_until(lambda: not two.transport._incoming)
            assert set(two.transport._links) == {1}

    run(main())


@pytest.mark.parametrize("url", ["", "http://[", "ftp://h:1"])
def test_a_caller_without_an_address_is_let_in_and_not_called_back(run: Run, url: str) -> None:
    async def main() -> None:
        async with members(2) as (one, two):
            one.transport.own_url = url
            one.call(two)
            await wait_until(lambda: one.transport.is_connected(2))
            assert not two.transport._links

    run(main())


def test_member_that_is_removed_is_hung_up_on(run: Run) -> None:
    async def main() -> None:
        async with members(2) as (one, two):
            await connect(one, two)
            one.transport.remove_peer(2)
            await wait_until(lambda: 1 in two.receiver.lost)
            assert not one.transport.is_connected(2)

    run(main())


def test_who_offers_no_upgrade_is_refused(run: Run) -> None:
    async def main() -> None:
        async with members(1) as (one,):
            url = f"{one.url}/raft/stream"
            answer = await http_request(url, "POST", {}, b"", 5, one.transport.credentials)
            told = b"this address only talks to kvorum members"
            assert (answer.status, answer.body) == (412, told)

    run(main())


# Images.


def test_image_arrives_whole(run: Run) -> None:
    async def main() -> None:
        async with members(2) as (one, two):
            await connect(one, two)
            view = FakeView(image(8 * MEGABYTE))
            one.transport.send_snapshot(snapshot(2, 1), view)
            await wait_until(lambda: one.receiver.outcomes)
            assert one.receiver.outcomes == [(2, True)]
            assert view.is_closed
            ((message, installer),) = two.receiver.images
            assert message == snapshot(2, 1)
            assert b"".join(installer.chunks) == b"".join(image(8 * MEGABYTE))
            assert not installer.is_aborted

    run(main())


def test_messages_pass_beside_an_image(run: Run) -> None:
    async def main() -> None:
        async with members(2) as (one, two):
            await connect(one, two)
            view = FakeView(image(16 * MEGABYTE))
            one.transport.send_snapshot(snapshot(2, 1), view)
            await wait_until(lambda: two.receiver.installers)
            one.transport.send([heartbeat(2, 1)])
            await wait_until(lambda: two.receiver.received)
            assert not one.receiver.outcomes, "the loop was not held up by the image"
            await wait_until(lambda: one.receiver.outcomes)

    run(main())


def test_image_waits_for_a_slow_receiver(run: Run) -> None:
    async def main() -> None:
        async with members(2) as (one, two):
            await connect(one, two)
            view = FakeView(image(32 * MEGABYTE))
            one.transport.send_snapshot(snapshot(2, 1), view)
            await wait_until(lambda: two.transport._transfer_in)
            transfer = two.transport._transfer_in
            assert transfer is not None
            assert transfer._transport is not None
            transfer._transport.pause_reading()
            taken = -1
            while taken != view.taken:
                taken = view.taken
                for _ in range(20):
                    await asyncio.sleep(0)
            assert taken < len(view._pieces), "what the network does not take is not read"
            transfer._transport.resume_reading()
            await wait_until(lambda: one.receiver.outcomes)
            assert one.receiver.outcomes == [(2, True)]

    run(main())


def test_one_image_per_peer_at_a_time(run: Run) -> None:
    async def main() -> None:
        async with members(2) as (one, two):
            await connect(one, two)
            first, second = FakeView(image(MEGABYTE)), FakeView(image(MEGABYTE))
            one.transport.send_snapshot(snapshot(2, 1), first)
            one.transport.send_snapshot(snapshot(2, 1), second)
            assert second.is_closed
            await wait_until(lambda: one.receiver.outcomes)
            assert one.receiver.outcomes == [(2, True)]
            third = FakeView(image(MEGABYTE))
            one.transport.send_snapshot(snapshot(2, 1), third)
            await wait_until(lambda: len(one.receiver.outcomes) == 2)
            assert len(two.receiver.images) == 2

    run(main())


def test_image_for_an_unknown_peer_fails_at_once(run: Run) -> None:
    async def main() -> None:
        async with members(1) as (one,):
            view = FakeView([])
            one.transport.send_snapshot(snapshot(2, 1), view)
            assert one.receiver.outcomes == [(2, False)]
            assert view.is_closed

    run(main())


def test_image_for_a_peer_that_is_away_fails(run: Run) -> None:
    async def main() -> None:
        async with members(2) as (one, two):
            await two.listener.close()
            one.call(two)
            view = FakeView([])
            one.transport.send_snapshot(snapshot(2, 1), view)
            await wait_until(lambda: one.receiver.outcomes)
            assert one.receiver.outcomes == [(2, False)]
            assert view.is_closed

    run(main())


@pytest.mark.parametrize("failure", [storage_error(), ValueError("a bug")])
def test_image_that_breaks_at_the_sender_is_given_up_on_both_sides(
    run: Run, failure: Exception
) -> None:
    async def main() -> None:
        async with members(2) as (one, two):
            await connect(one, two)
            view = FakeView(image(MEGABYTE), failure)
            one.transport.send_snapshot(snapshot(2, 1), view)
            await wait_until(lambda: one.receiver.outcomes)
            assert one.receiver.outcomes == [(2, False)]
            assert view.is_closed
            await wait_until(lambda: two.receiver.installers[0].is_aborted)
            assert two.receiver.images == []

    run(main())


@pytest.mark.parametrize("failure", [storage_error(), OSError(28, "No space left on device")])
def test_image_that_breaks_at_the_receiver_is_given_up_on_both_sides(
    run: Run, failure: StorageError
) -> None:
    async def main() -> None:
        async with members(2) as (one, two):
            await connect(one, two)
            two.receiver.installer_failure = failure
            one.transport.send_snapshot(snapshot(2, 1), FakeView(image(4 * MEGABYTE)))
            await wait_until(lambda: one.receiver.outcomes)
            assert one.receiver.outcomes == [(2, False)]
            await wait_until(lambda: two.receiver.installers[0].is_aborted)

    run(main())


def test_newer_image_breaks_off_an_older_one(run: Run) -> None:
    async def main() -> None:
        async with members(3) as (one, two, three):
            await connect(one, two)
            await connect(three, two)
            one.transport.send_snapshot(snapshot(2, 1), FakeView(image(64 * MEGABYTE)))
            await wait_until(lambda: two.receiver.installers)
            three.transport.send_snapshot(snapshot(2, 3), FakeView(image(MEGABYTE)))
            await wait_until(lambda: one.receiver.outcomes)
            await wait_until(lambda: three.receiver.outcomes)
            assert one.receiver.outcomes == [(2, False)]
            assert three.receiver.outcomes == [(2, True)]
            assert two.receiver.installers[0].is_aborted

    run(main())

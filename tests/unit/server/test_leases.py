"""Leases as members serve them: granted, kept, and ended by the leader's clock alone."""

from tests.unit.server.conftest import Member, MemoryCluster

from kvorum.errors import LeaseTtlTooLarge, UnavailableError
from kvorum.server.leases import TTL_SECONDS_MAX
from kvorum.v3.answers import (
    LeaseGrantResponse,
    LeaseKeepAliveResponse,
    LeaseRevokeResponse,
    LeaseTimeToLiveResponse,
)
from kvorum.v3.commands import LeaseExpire, Put

LEASE = 7
TTL = 5


def granted(cluster: MemoryCluster, member: Member, ttl: int = TTL, lease_id: int = LEASE) -> int:
    answers: list[object] = []
    member.server.leases.grant(lease_id, ttl, answers.append)
    cluster.run_until(lambda: bool(answers), "the grant")
    answer = answers[0]
    assert isinstance(answer, LeaseGrantResponse)
    assert answer.ttl == max(ttl, member.server.leases.ttl_seconds_min)
    return answer.id


def renewed(cluster: MemoryCluster, member: Member, lease_id: int = LEASE) -> int:
    answers: list[object] = []
    member.server.leases.renew(lease_id, answers.append)
    cluster.run_until(lambda: bool(answers), "the renewal")
    answer = answers[0]
    assert isinstance(answer, LeaseKeepAliveResponse)
    return answer.ttl


def attach(cluster: MemoryCluster, key: bytes = b"k", lease_id: int = LEASE) -> None:
    cluster.write(Put(key, b"v", lease=lease_id))


def has_key(member: Member, key: bytes = b"k") -> bool:
    return member.server.store.get(key) is not None


def follower_of(cluster: MemoryCluster, members: list[Member]) -> Member:
    leader = cluster.leader()
    return next(member for member in members if member is not leader)


def test_grant_draws_an_id_and_raises_the_ttl(cluster: MemoryCluster, single: Member) -> None:
    lease_id = granted(cluster, single, ttl=0, lease_id=0)
    assert lease_id > 0
    assert single.server.leases.list() == [lease_id]


def test_ttl_that_is_too_large_is_refused(single: Member) -> None:
    answers: list[object] = []
    single.server.leases.grant(LEASE, TTL_SECONDS_MAX + 1, answers.append)
    assert isinstance(answers[0], LeaseTtlTooLarge)


def test_lease_ends_with_its_keys_when_its_time_is_over(
    cluster: MemoryCluster, three: list[Member]
) -> None:
    granted(cluster, cluster.leader())
    attach(cluster)
    cluster.advance(TTL - 0.2)
    assert all(map(has_key, three))
    cluster.advance(1)
    assert not any(map(has_key, three))
    assert all(member.server.leases.list() == [] for member in three)


def test_renewal_begins_the_whole_ttl_anew(cluster: MemoryCluster, three: list[Member]) -> None:
    granted(cluster, cluster.leader())
    attach(cluster)
    for is_asked_of_leader in (True, False, True, False):
        cluster.advance(TTL - 1)
        member = cluster.leader() if is_asked_of_leader else follower_of(cluster, three)
        assert renewed(cluster, member) == TTL
    cluster.advance(TTL - 1)
    assert all(map(has_key, three))
    cluster.advance(2)
    assert not any(map(has_key, three))


def test_renewal_of_what_is_over_says_so(cluster: MemoryCluster, three: list[Member]) -> None:
    assert renewed(cluster, cluster.leader()) == 0
    assert renewed(cluster, follower_of(cluster, three)) == 0


def test_revoked_lease_takes_its_keys_at_once(cluster: MemoryCluster, single: Member) -> None:
    granted(cluster, single)
    attach(cluster)
    answers: list[object] = []
    single.server.leases.revoke(LEASE, answers.append)
    cluster.settle()
    assert isinstance(answers[0], LeaseRevokeResponse)
    assert not has_key(single)


def test_new_leader_gives_every_lease_its_whole_ttl(
    cluster: MemoryCluster, three: list[Member]
) -> None:
    granted(cluster, cluster.leader())
    attach(cluster)
    cluster.advance(TTL - 0.5)
    cluster.leader().crash()
    left = [member for member in three if member.is_up]
    cluster.leader()
    cluster.advance(TTL - 0.5)
    assert all(map(has_key, left))
    cluster.advance(2)
    assert not any(map(has_key, left))


def test_deposed_leader_ends_nothing(cluster: MemoryCluster, three: list[Member]) -> None:
    old = cluster.leader()
    granted(cluster, old)
    attach(cluster)
    cluster.isolate(old)
    others = [member for member in three if member is not old]
    cluster.run_until(lambda: any(member.server.is_leader for member in others))
    new = next(member for member in others if member.server.is_leader)
    # Its time runs out on the old leader, while clients keep the lease alive at the new one.
    for _ in range(4):
        cluster.advance(TTL / 2)
        assert renewed(cluster, new) == TTL
    cluster.heal()
    cluster.advance(1)
    assert all(map(has_key, three))


def test_what_an_old_leader_thinks_of_time_is_nobodys_concern(
    cluster: MemoryCluster, three: list[Member]
) -> None:
    old = cluster.leader()
    granted(cluster, old)
    stamp, term = old.server.applied_index, old.server.term
    attach(cluster)
    cluster.isolate(old)
    others = [member for member in three if member is not old]
    cluster.run_until(lambda: any(member.server.is_leader for member in others))
    new = next(member for member in others if member.server.is_leader)
    new.propose(LeaseExpire(term, [(LEASE, stamp)]))  # proposed in time, arrived too late
    cluster.settle()
    assert all(map(has_key, others))
    new.propose(LeaseExpire(new.server.term, [(LEASE, stamp)]))
    cluster.settle()
    assert not any(map(has_key, others))


def test_time_to_live(cluster: MemoryCluster, three: list[Member]) -> None:
    granted(cluster, cluster.leader())
    attach(cluster, b"b")
    attach(cluster, b"a")
    cluster.advance(2)
    answers: list[object] = []
    leader, follower = cluster.leader(), follower_of(cluster, three)
    leader.server.leases.time_to_live(LEASE, answers.append, keys=True)
    leader.server.leases.time_to_live(LEASE + 1, answers.append)
    follower.server.leases.time_to_live(LEASE, answers.append)
    cluster.settle()
    refused, found, missing = answers
    assert isinstance(refused, UnavailableError)
    assert isinstance(found, LeaseTimeToLiveResponse)
    assert found.granted_ttl == TTL
    assert TTL - 3 <= found.ttl <= TTL - 2
    assert found.keys == [b"a", b"b"]
    assert isinstance(missing, LeaseTimeToLiveResponse)
    assert missing.ttl == -1


def test_leases_are_listed_by_what_they_have_left(cluster: MemoryCluster, single: Member) -> None:
    granted(cluster, single, ttl=60, lease_id=1)
    granted(cluster, single, ttl=30, lease_id=2)
    assert single.server.leases.list() == [2, 1]

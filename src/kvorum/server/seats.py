"""Who may take a seat: the leader's side of a 0.4 join.

Rules:
    A new name gets a seat if there is room (`active_size`) and its peer URL is free.
    Who holds the data of a seat is that member, whatever its URLs are now. A seat that was taken
    away is never given back: its data must go first.
    A known name without an id has lost its data, and with it its votes. It must not come back as
    the voter it was: it could vote twice in one term, or be counted for entries it no longer
    holds. It gets a new id, and one joint change takes the old one away and adds the new one.
    Whoever gets a new id is a learner at first, and is promoted once it has caught up
    (`promotion.py`): a seat whose holder never hears of it must not count for a quorum.
    A known name without an id, while the member of that name is alive, is somebody else: refused.

One seat is given at a time: who comes next must meet a cluster that has room.
Source: reference contract, v2-api section 9.2; Raft thesis, sections 4.1 and 4.3, and 11.2 on
members that lose their disks.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import msgspec
from msgspec import Struct

from kvorum.apply.applier import MembershipApplied
from kvorum.apply.commands import MembershipChange, UpdateMember
from kvorum.errors import ClusterFull, KeyExists, PeerAddressExists, RequestError, UnavailableError
from kvorum.membership import Member
from kvorum.net.dialer import split_address
from kvorum.raft.types import ConfChangeSingle, ConfChangeType, MemberId
from kvorum.server.server import Server

SEAT_REQUESTS_MAX = 64
"""Joins waiting for the one under way; more are refused."""


class SeatRequest(Struct):
    """A process that asks for a seat.

    Attributes:
        member_id: the seat it held before, 0 when it holds no data.
    """

    name: str
    peer_url: str
    client_url: str
    member_id: MemberId = 0


class Seat(Struct):
    """The seat given.

    Attributes:
        index: the log index at which the leader knew it.
        peers: id to peer URL of every other member.
    """

    cluster_id: int
    member_id: MemberId
    index: int
    peers: dict[MemberId, str]


SeatCompletion: TypeAlias = Callable[[Seat | RequestError | UnavailableError], None]


class Seats:
    """Gives seats one after the other; every completion is called exactly once."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._waiting: deque[tuple[SeatRequest, SeatCompletion]] = deque()
        self._is_busy = False

    def request(self, request: SeatRequest, completion: SeatCompletion) -> None:
        """Asks for a seat. Only the leader can give one."""
        if len(self._waiting) >= SEAT_REQUESTS_MAX:
            completion(UnavailableError("too many requests"))
            return
        self._waiting.append((request, completion))
        self._next()

    def _next(self) -> None:
        while self._waiting and not self._is_busy:
            request, completion = self._waiting.popleft()
            self._is_busy = True
            self._give(request, partial(self._done, completion))

    def _done(
        self, completion: SeatCompletion, answer: Seat | RequestError | UnavailableError
    ) -> None:
        self._is_busy = False
        completion(answer)
        self._next()

    def _give(self, request: SeatRequest, completion: SeatCompletion) -> None:
        server = self._server
        if not server.is_leader:
            completion(UnavailableError("no leader"))
            return
        try:
            split_address(request.peer_url)
        except UnavailableError as error:
            completion(error)
            return
        holder = server.cluster.find_by_peer_url(request.peer_url)
        if holder is not None and holder.name != request.name:
            completion(PeerAddressExists(request.client_url, server.store.revision))
            return
        if request.member_id:
            self._welcome_back(request, completion)
            return
        known = server.cluster.find_by_name(request.name)
        if known is not None and server.is_alive(known.id):
            completion(KeyExists(request.name, server.store.revision))
        elif known is None and self._is_full():
            completion(ClusterFull(index=server.store.revision))
        else:
            self._seat_anew(known, request, completion)

    def _is_full(self) -> bool:
        cluster = self._server.cluster
        return len(cluster.members) >= cluster.attributes.config.active_size

    def _welcome_back(self, request: SeatRequest, completion: SeatCompletion) -> None:
        cluster = self._server.cluster
        known = cluster.members.get(request.member_id)
        if known is None:
            completion(UnavailableError(cluster.absence_of(request.member_id).value))
            return
        member = msgspec.structs.replace(
            known, peer_urls=(request.peer_url,), client_urls=(request.client_url,)
        )
        if member == known:
            completion(self._seat(known.id))
            return

        def updated(result: object) -> None:
            if isinstance(result, UnavailableError):
                completion(result)
            else:
                completion(self._seat(known.id))

        self._server.propose(UpdateMember(member), updated)

    def _seat_anew(
        self, known: Member | None, request: SeatRequest, completion: SeatCompletion
    ) -> None:
        cluster = self._server.cluster
        # Who was given no vote on purpose does not get one by losing its data.
        is_learner = (
            known is not None and not known.is_joining and known.id in cluster.conf_state.learners
        )
        member = Member(
            id=self._server.clock.random_below((1 << 63) - 1) + 1,
            name=request.name,
            peer_urls=(request.peer_url,),
            client_urls=(request.client_url,),
            is_joining=not is_learner,
        )
        steps: tuple[ConfChangeSingle, ...] = (
            ConfChangeSingle(ConfChangeType.ADD_LEARNER, member.id),
        )
        if known is not None:
            steps = (
                ConfChangeSingle(ConfChangeType.REMOVE, known.id),
                *steps,
            )

        def seated(result: object) -> None:
            if isinstance(result, UnavailableError):
                completion(result)
                return
            assert isinstance(result, MembershipApplied)
            if result.fault is not None:
                completion(UnavailableError(result.fault.value))
            else:
                completion(self._seat(member.id))

        change = MembershipChange(id=0, add=member, remove=known.id if known else 0)
        self._server.change_membership(change, steps, seated)

    def _seat(self, member_id: MemberId) -> Seat:
        server = self._server
        peers = {
            member.id: member.peer_urls[0] for member in server.cluster if member.id != member_id
        }
        return Seat(server.cluster_id, member_id, server.applied_index, peers)

"""The members of a cluster of the 3.x era, over `/v2/members`.

What for: `etcdctl member` and `cluster-health`. A server of the 0.4 era answers 404.
Source: reference contract, v2-api section 15.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

from kvorum.client.answers import JSON_FAULTS, OK, REFUSED, as_list
from kvorum.client.connection import Request, Response
from kvorum.client.v2 import Client
from kvorum.errors import RemoteProtocolError

PATH = "/v2/members"


class Seat(NamedTuple):
    """One member as the cluster tells it.

    Attributes:
        id: hexadecimal.
        name: empty until the member was started.
        peer_urls: where the others reach it.
        client_urls: where it serves clients.
    """

    id: str
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]


class MembersRefused(RemoteProtocolError):
    """The cluster refused; the text is its own."""


def list_members(client: Client) -> list[Seat]:
    """All members, in the cluster's order.

    Raises:
        MembersRefused: the cluster would not say, or knows no such thing.
    """
    answer = _checked(client.request(Request("GET", PATH), is_repeatable=True))
    try:
        return [_decode(fields) for fields in json.loads(answer.body)["members"]]
    except JSON_FAULTS as error:
        raise MembersRefused(f"not a list of members: {answer.body[:200]!r}") from error


def find_leader(client: Client) -> Seat:
    """The member that leads.

    Raises:
        MembersRefused: none does right now.
    """
    return _seat(client.request(Request("GET", f"{PATH}/leader"), is_repeatable=True))


def add_member(client: Client, peer_urls: Sequence[str]) -> Seat:
    """Adds a seat; its holder is started afterwards.

    Raises:
        MembersRefused: the cluster said no.
    """
    return _seat(client.request(_with_urls("POST", PATH, peer_urls), is_repeatable=False))


def remove_member(client: Client, member_id: str) -> None:
    """Removes a seat for good.

    Raises:
        MembersRefused: the cluster said no.
    """
    _checked(client.request(Request("DELETE", f"{PATH}/{member_id}"), is_repeatable=False))


def move_member(client: Client, member_id: str, peer_urls: Sequence[str]) -> None:
    """Says where a member is reached from now on.

    Raises:
        MembersRefused: the cluster said no.
    """
    request = _with_urls("PUT", f"{PATH}/{member_id}", peer_urls)
    _checked(client.request(request, is_repeatable=False))


def _with_urls(method: str, target: str, peer_urls: Sequence[str]) -> Request:
    body = json.dumps({"peerURLs": list(peer_urls)}).encode()
    return Request(method, target, body, content_type="application/json")


def _seat(answer: Response) -> Seat:
    checked = _checked(answer)
    try:
        return _decode(json.loads(checked.body))
    except JSON_FAULTS as error:
        raise MembersRefused(f"not a member: {checked.body[:200]!r}") from error


def _decode(fields: dict[str, object]) -> Seat:
    peers, clients = (as_list(fields.get(name) or []) for name in ("peerURLs", "clientURLs"))
    name = str(fields.get("name", ""))
    return Seat(str(fields["id"]), name, tuple(map(str, peers)), tuple(map(str, clients)))


def _checked(answer: Response) -> Response:
    if OK <= answer.status < REFUSED:
        return answer
    try:
        message = str(json.loads(answer.body)["message"])
    except JSON_FAULTS:
        message = f"unexpected status code {answer.status}"
    raise MembersRefused(message)

"""The commands on the cluster itself: `cluster-health`, `member`, and what is not there.

Rules:
    Words and exit codes are those of etcdctl 3.4 with API 2; 0.4.6 had none of these commands.
    A refusal is the cluster's own text, without `Error:`, and exit 1; an unhealthy cluster exit 5.
Source: reference contract, v2-api section 13.2; texts measured on etcdctl 3.4.23.
"""

import json
import sys
from time import sleep

from kvorum.cli.etcdctl.command import EXIT_OK, Call, Command
from kvorum.cli.etcdctl.options import Option
from kvorum.client.answers import JSON_FAULTS
from kvorum.client.connection import AnswerLost, ConnectFailed, Connection, Request
from kvorum.client.members import (
    MembersRefused,
    Seat,
    add_member,
    find_leader,
    list_members,
    move_member,
    remove_member,
)
from kvorum.errors import ConfigError, KvorumError

EXIT_NOT_LISTED = 4
EXIT_UNHEALTHY = 5

CHECK_SECONDS = 10.0
"""Between two rounds of `cluster-health --forever`, as etcdctl has it."""


class Refused(KvorumError):
    """A command of this module failed; the text is all that is shown."""


def _health(call: Call) -> int:
    try:
        seats = list_members(call.client)
    except KvorumError as error:
        print("cluster may be unhealthy: failed to list members")
        print(f"Error:  {error}", file=sys.stderr)
        return EXIT_NOT_LISTED
    while True:
        healthy_count = sum(_is_healthy(call, seat) for seat in seats)
        if healthy_count == len(seats):
            print("cluster is healthy")
        else:
            print("cluster is degraded" if healthy_count else "cluster is unavailable")
        if not call.values.has("forever"):
            return EXIT_OK if healthy_count == len(seats) else EXIT_UNHEALTHY
        print(f"\nnext check after {CHECK_SECONDS:.0f} second...\n", flush=True)
        sleep(CHECK_SECONDS)


def _is_healthy(call: Call, seat: Seat) -> bool:
    if not seat.client_urls:
        print(f"member {seat.id} is unreachable: no available published client urls")
        return False
    for url in seat.client_urls:
        try:
            is_healthy = _ask_health(call, url)
        except (ConnectFailed, AnswerLost, ConfigError, *JSON_FAULTS) as error:
            print(f"failed to check the health of member {seat.id} on {url}: {error}")
            continue
        word = "healthy" if is_healthy else "unhealthy"
        print(f"member {seat.id} is {word}: got {word} result from {url}")
        return is_healthy
    urls = " ".join(seat.client_urls)
    print(f"member {seat.id} is unreachable: [{urls}] are all unreachable")
    return False


def _ask_health(call: Call, url: str) -> bool:
    """Whether the server at `url` says that it is well. Raises ValueError when it says neither."""
    connection = Connection(url, call.client.settings)
    try:
        answer = connection.request(Request("GET", "/health"), call.client.settings.total_seconds)
    finally:
        connection.close()
    told = json.loads(answer.body)
    if not isinstance(told, dict):
        raise ValueError(f"not an answer about health: {answer.body[:200]!r}")  # noqa: TRY004 -- of data
    return told.get("health") in {"true", True}


def _list_members(call: Call) -> int:
    if call.arguments:
        raise Refused("No arguments accepted")
    seats = list_members(call.client)
    try:
        leader = find_leader(call.client)
    except MembersRefused as error:
        raise Refused(f"Failed to get leader:  {error}") from error
    for seat in seats:
        peers = ",".join(seat.peer_urls)
        if not seat.name:
            print(f"{seat.id}[unstarted]: peerURLs={peers}")
            continue
        leads = "true" if seat.id == leader.id else "false"
        clients = ",".join(seat.client_urls)
        print(f"{seat.id}: name={seat.name} peerURLs={peers} clientURLs={clients} isLeader={leads}")
    return EXIT_OK


def _add_member(call: Call) -> int:
    match call.arguments:
        case [name, url]:
            seat = add_member(call.client, [url])
        case _:
            raise Refused("Provide a name and a single member peerURL")
    print(f"Added member named {name} with ID {seat.id} to cluster\n")
    everybody = [
        f"{name if one.id == seat.id else one.name}={peer}"
        for one in list_members(call.client)
        for peer in one.peer_urls
    ]
    print(f'ETCD_NAME="{name}"')
    print(f'ETCD_INITIAL_CLUSTER="{",".join(everybody)}"')
    print('ETCD_INITIAL_CLUSTER_STATE="existing"')
    return EXIT_OK


def _remove_member(call: Call) -> int:
    if len(call.arguments) != 1:
        raise Refused("Provide a single member ID")
    wanted = call.arguments[0]
    seats = list_members(call.client)
    for seat in seats:
        if seat.name == wanted:
            print(
                f"Found a member named {seat.name}; if this is correct, please use its ID, eg:\n"
                f"\tetcdctl member remove {seat.id}",
                file=sys.stderr,
            )
    if all(seat.id != wanted for seat in seats):
        raise Refused(f"Couldn't find a member in the cluster with an ID of {wanted}.")
    try:
        remove_member(call.client, wanted)
    except MembersRefused as error:
        text = f"Received an error trying to remove member {wanted}: {error}"
        raise Refused(text) from error
    print(f"Removed member {wanted} from cluster")
    return EXIT_OK


def _move_member(call: Call) -> int:
    match call.arguments:
        case [member_id, urls]:
            move_member(call.client, member_id, urls.split(","))
        case _:
            raise Refused(
                "Provide an ID and a list of comma separated peerURL"
                " (0xabcd http://example.com,http://example1.com)"
            )
    print(f"Updated member with ID {member_id} in cluster")
    return EXIT_OK


def _no_auth(call: Call) -> int:
    del call
    raise Refused(
        "Users, roles and auth of the v2 API are not part of this etcdctl, nor of kvorum's server."
        " Let a gateway, or TLS with client certificates, decide who may connect."
    )


COMMANDS = (
    Command(
        "cluster-health",
        "",
        "ask every member whether it is well",
        "etcdctl cluster-health",
        (Option("forever", "again every 10 seconds", aliases=("f",)),),
        _health,
        asks="client",
    ),
    Command(
        "member list",
        "",
        "list the members",
        "etcdctl member list",
        (),
        _list_members,
    ),
    Command(
        "member add",
        "NAME PEER_URL",
        "add a seat; start its holder afterwards with what is printed",
        "etcdctl member add m4 http://10.0.0.4:2380",
        (),
        _add_member,
    ),
    Command(
        "member remove",
        "ID",
        "remove a member for good",
        "etcdctl member remove 40b8ab1f2ce5a3de",
        (),
        _remove_member,
    ),
    Command(
        "member update",
        "ID PEER_URL,...",
        "say where a member is reached from now on",
        "etcdctl member update 40b8ab1f2ce5a3de http://10.0.0.4:2380",
        (),
        _move_member,
    ),
    *(
        Command(
            name,
            "...",
            "not there: says what to do instead",
            f"etcdctl {name}",
            (),
            _no_auth,
            is_wrapper=True,
            asks="nothing",
        )
        for name in ("user", "role", "auth")
    ),
)
"""The commands on the cluster, in the order of the help."""

"""`/v2/stats`, `/v2/machines`, `/v2/leader`, `/version`, `/health`: what a member tells of itself.

Source: v2-api sections 5 and 15; v3-gateway sections 7 and 8.
"""

from functools import partial

import msgspec

from kvorum import version
from kvorum.api.reply import Replies
from kvorum.api.v2.form import read_form
from kvorum.errors import LeaderElection, RaftInternal, UnavailableError
from kvorum.protocol.exchange import Exchange
from kvorum.server.server import Server
from kvorum.server.stats import Latency
from kvorum.v2.events import Waits
from kvorum.v2.node import NS_PER_SECOND, escape, render_time
from kvorum.v2.policy import V2Policy

_LEGACY_VERSION = f"etcd {version.LEGACY}".encode()
_MODERN_VERSION = (
    f'{{"etcdserver":"{version.SERVER}","etcdcluster":"{version.CLUSTER}",'
    f'"storage":"{version.CLUSTER}"}}'
).encode()

_NEVER = b"0001-01-01T00:00:00Z"
"""Go's zero time: no leader is known."""


def render_duration(duration_ns: int) -> bytes:
    """A duration as Go writes it: `1h2m3.5s`, `42.1ms`."""
    if duration_ns < NS_PER_SECOND:
        for unit, unit_ns in ((b"ms", 1_000_000), (b"\xc2\xb5s", 1_000), (b"ns", 1)):
            if duration_ns >= unit_ns:
                return _render_decimal(duration_ns, unit_ns) + unit
        return b"0s"
    minutes, rest_ns = divmod(duration_ns, 60 * NS_PER_SECOND)
    text = _render_decimal(rest_ns, NS_PER_SECOND) + b"s"
    if not minutes:
        return text
    hours, minute = divmod(minutes, 60)
    return b"%dh%dm%b" % (hours, minute, text) if hours else b"%dm%b" % (minute, text)


def _render_decimal(value: int, unit: int) -> bytes:
    """`value / unit` without trailing zeros; `unit` is a power of ten."""
    whole, fraction = divmod(value, unit)
    digits = f"{fraction:0{len(str(unit)) - 1}}".rstrip("0") if fraction else ""
    return f"{whole}.{digits}".encode() if digits else b"%d" % whole


class Stats:
    """The handlers of one server."""

    def __init__(self, server: Server, policy: V2Policy, replies: Replies, waits: Waits) -> None:
        self._server = server
        self._policy = policy
        self._replies = replies
        self._waits = waits

    def legacy_version(self, exchange: Exchange) -> None:
        """`/version` as text."""
        self._replies.text(exchange, _LEGACY_VERSION)

    def modern_version(self, exchange: Exchange) -> None:
        """`/version` as JSON."""
        self._replies.json(exchange, _MODERN_VERSION)

    def health(self, exchange: Exchange) -> None:
        """`/health`: whether a linearizable read succeeds; `serializable=true` asks for less."""
        form, _ = read_form(exchange)
        if form.get(b"serializable") == b"true":
            self._answer_health(exchange, None)
        elif not self._server.leader_id:
            self._answer_health(exchange, UnavailableError("RAFT NO LEADER"))
        else:
            self._server.read(partial(self._answer_health, exchange))

    def _answer_health(self, exchange: Exchange, error: UnavailableError | None) -> None:
        if error is None:
            self._replies.text(exchange, b'{"health":"true","reason":""}\n')
            return
        reason = escape(str(error).encode())
        self._replies.text(exchange, b'{"health":"false","reason":"%b"}\n' % reason, 503)

    def machines(self, exchange: Exchange) -> None:
        """The client URLs of all members, dead ones included."""
        server = self._server
        if self._policy.machines_leader_first:
            members = sorted(server.cluster, key=lambda one: one.id != server.leader_id)
            urls = [url for member in members for url in member.client_urls]
        else:
            urls = sorted(url for member in server.cluster for url in member.client_urls)
        self._replies.text(exchange, ", ".join(urls).encode())

    def leader(self, exchange: Exchange) -> None:
        """The leader's peer URL."""
        leader = self._server.cluster.members.get(self._server.leader_id)
        if leader is None:
            self._replies.error(exchange, LeaderElection(index=self._server.store.revision))
        else:
            self._replies.text(exchange, leader.peer_urls[0].encode())

    def store_statistics(self, exchange: Exchange) -> None:
        """`/v2/stats/store`."""
        stats = self._server.tree.stats()
        stats.watchers = len(self._waits)
        self._replies.json(exchange, msgspec.json.encode(stats))

    def leader_statistics(self, exchange: Exchange) -> None:
        """`/v2/stats/leader`: how fast each follower answers the leader."""
        server = self._server
        if server.is_leader:
            self._replies.json(exchange, self._render_followers())
            return
        if not self._policy.redirects_leader_statistics:
            self._replies.json(exchange, b'{"message":"not current leader"}', 403)
            return
        leader = server.cluster.members.get(server.leader_id)
        if leader is None or not leader.client_urls:
            self._replies.error(exchange, RaftInternal(index=server.store.revision))
            return
        location = leader.client_urls[0].encode() + exchange.target
        self._replies.redirect(exchange, 307, location)

    def _render_followers(self) -> bytes:
        named = sorted(
            (self._name_of(member_id), latency)
            for member_id, latency in self._server.stats.followers.items()
        )
        followers = b",".join(
            b'"%b":%b' % (name, _render_latency(latency)) for name, latency in named
        )
        return b'{"leader":"%b","followers":{%b}}' % (
            self._name_of(self._server.member_id),
            followers,
        )

    def _name_of(self, member_id: int) -> bytes:
        """How statistics name a member: by its name, or by its id in hex."""
        if self._policy.states_by_id:
            return b"%x" % member_id
        member = self._server.cluster.members.get(member_id)
        return b"" if member is None else escape(member.name.encode())

    def self_statistics(self, exchange: Exchange) -> None:
        """`/v2/stats/self`: this member's state, and the messages it got and sent."""
        server, policy = self._server, self._policy
        stats = server.stats
        state = "leader" if server.is_leader else "follower"
        if policy.states_by_id:
            state = "State" + state.capitalize()
        fields = [b'"name":"%b"' % escape(server.name.encode())]
        if policy.states_by_id:
            fields.append(b'"id":"%x"' % server.member_id)
        fields += [
            b'"state":"%b"' % state.encode(),
            b'"startTime":"%b"' % render_time(stats.started_ns),
            b'"leaderInfo":%b' % self._render_leader_info(),
            b'"recvAppendRequestCnt":%d' % stats.appends_received,
        ]
        now = server.clock.monotonic()
        fields += _rate_fields("recv", stats.received.at(now))
        fields.append(b'"sendAppendRequestCnt":%d' % stats.appends_sent)
        fields += _rate_fields("send", stats.sent.at(now))
        self._replies.json(exchange, b"{" + b",".join(fields) + b"}")

    def _render_leader_info(self) -> bytes:
        server = self._server
        since = server.stats.leader_since_ns
        uptime = max(server.clock.wall_ns() - since, 0) if since else 0
        return b'{"leader":"%b","uptime":"%b","startTime":"%b"}' % (
            self._name_of(server.leader_id) if server.leader_id else b"",
            render_duration(uptime),
            render_time(since) if since else _NEVER,
        )


def _rate_fields(direction: str, rate: tuple[float, float]) -> list[bytes]:
    """Messages and bytes a second, each left out when it is 0."""
    return [
        f'"{direction}{what}Rate":{value!r}'.encode()
        for what, value in zip(("Pkg", "Bandwidth"), rate, strict=True)
        if value
    ]


def _render_latency(latency: Latency) -> bytes:
    minimum = latency.minimum if latency.count else 0.0
    return (
        f'{{"latency":{{"current":{latency.current!r},"average":{latency.average!r},'
        f'"standardDeviation":{latency.deviation!r},"minimum":{minimum!r},'
        f'"maximum":{latency.maximum!r}}},'
        f'"counts":{{"fail":{latency.fails},"success":{latency.count}}}}}'
    ).encode()

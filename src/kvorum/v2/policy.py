"""What the two eras answer differently on the same URLs, as data.

A server reads its policy once, at start; code asks the policy, never the era.
Source: v2-api sections 2 to 5, and 15 for the differences.
"""

from msgspec import Struct

from kvorum.config import Era


class V2Policy(Struct, frozen=True, kw_only=True):
    """The v2 API's answers in one era.

    Attributes:
        era: picks the rows of the route table that are served.
        body_end: what follows a success body.
        root_has_key: the root node of a listing has its `key`.
        expired_directory_has_dir: the `node` of a directory's expire event says `dir`.
        in_order_digits: least width of an in-order key's number.
        has_strict_parameters: bad parameters are refused one by one with an index of 0, and the
            parameters of later releases are known.
        keeps_raw_bytes: bytes that are not UTF-8 are stored as they came.
        consistent_is_linearizable: `consistent=true` asks for more than a local read.
        unavailable_cause: the cause beside code 300.
        unavailable_has_index: code 300 tells the store's index, not 0.
        wrong_method_is_404: a known path with a wrong method is not found; otherwise 405.
        refusal_lines: header lines of a plain refusal, 404 or 405.
        redirects_have_link: a redirect shows its target to people too.
        root_is_named: the root is the cause of an error by its path; otherwise there is none.
        head_has_length: a HEAD reply of a key says how long the GET's body is.
        shows_cluster_id: replies carry `X-Etcd-Cluster-Id`.
        cors_request_headers: what a browser may send.
        machines_leader_first: `/v2/machines` begins with the leader; otherwise sorted by URL.
        states_by_id: statistics name states `StateLeader` and members by id.
        redirects_leader_statistics: a follower sends a reader of them to the leader.
    """

    era: Era
    body_end: bytes
    root_has_key: bool
    expired_directory_has_dir: bool
    in_order_digits: int
    has_strict_parameters: bool
    keeps_raw_bytes: bool
    consistent_is_linearizable: bool
    unavailable_cause: str
    unavailable_has_index: bool
    wrong_method_is_404: bool
    refusal_lines: bytes
    redirects_have_link: bool
    root_is_named: bool
    head_has_length: bool
    shows_cluster_id: bool
    cors_request_headers: bytes
    machines_leader_first: bool
    states_by_id: bool
    redirects_leader_statistics: bool


LEGACY = V2Policy(
    era=Era.LEGACY,
    body_end=b"",
    root_has_key=True,
    expired_directory_has_dir=False,
    in_order_digits=0,
    has_strict_parameters=False,
    keeps_raw_bytes=False,
    consistent_is_linearizable=True,
    unavailable_cause="",
    unavailable_has_index=True,
    wrong_method_is_404=True,
    refusal_lines=b"",
    redirects_have_link=False,
    root_is_named=True,
    head_has_length=False,
    shows_cluster_id=False,
    cors_request_headers=b"accept, content-type",
    machines_leader_first=True,
    states_by_id=False,
    redirects_leader_statistics=True,
)
"""As 0.4.6 answers."""

MODERN = V2Policy(
    era=Era.MODERN,
    body_end=b"\n",
    root_has_key=False,
    expired_directory_has_dir=True,
    in_order_digits=20,
    has_strict_parameters=True,
    keeps_raw_bytes=True,
    consistent_is_linearizable=False,
    unavailable_cause="etcdserver: request timed out",
    unavailable_has_index=False,
    wrong_method_is_404=False,
    refusal_lines=b"X-Content-Type-Options: nosniff\r\n",
    redirects_have_link=True,
    root_is_named=False,
    head_has_length=True,
    shows_cluster_id=True,
    cors_request_headers=b"accept, content-type, authorization",
    machines_leader_first=False,
    states_by_id=True,
    redirects_leader_statistics=False,
)
"""As 3.4 answers with `--enable-v2`."""


def policy_of(era: Era) -> V2Policy:
    """The policy of a server that runs in this era."""
    return LEGACY if era is Era.LEGACY else MODERN

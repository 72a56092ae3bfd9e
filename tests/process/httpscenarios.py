"""What is asked of two servers besides keys: paths, verbs, HTTP itself, members, other pages."""

from collections.abc import Iterable, Iterator

from tests.process.scenarios import Scenario, fresh, get, listing, put
from tests.process.wire import FORM, Request, Step

ENDPOINTS = ["/v2/keys/nothing", "/v2/keys", "/v2/members", "/v2/members/", "/v2/members/leader"]
ENDPOINTS += [
    "/v2/members/123",
    "/v2/machines",
    "/v2/stats/self",
    "/v2/stats/leader",
    "/v2/stats/store",
]
ENDPOINTS += ["/version", "/health", "/metrics", "/debug/vars", "/v2/auth/enable", "/v2/auth/users"]
ENDPOINTS += ["/v2/auth/roles", "/v2/leader", "/v2/peers", "/v2/speedTest", "/v2/admin/config"]
ENDPOINTS += [
    "/", "/v2", "/v2/", "/v1/keys/a", "/v2/stats", "/v2/stats/", "/v2/auth", "/mod/v2/lock/x",
]  # fmt: skip
ENDPOINTS += ["/v2/keysx", "/v2/machines/", "/version/", "/config", "/debug", "/debug/pprof/"]

METHODS = [
    "GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE", "FOO", "get",
    "PROPFIND",
]  # fmt: skip


def verbs() -> Iterator[Scenario]:
    for endpoint in ENDPOINTS:
        yield Scenario(
            f"verbs on {endpoint}",
            [
                Request(method, endpoint)
                for method in METHODS
                if (method, endpoint) not in (("GET", "/metrics"), ("GET", "/debug/vars"))
            ],
        )


def paths() -> Iterator[Scenario]:
    place = fresh()
    tails = [
        "a", "a/", "a//", "a//b", "a/./b", "a/../b", "./a", "../a", "..", ".", "a/.", "a/..",
        "//",
    ]  # fmt: skip
    tails += [
        "a%2Fb", "a%2fb/", "%2F", "a%2F%2Fb", "a%2F..%2Fb", "%2e%2e", "a+b", "a%20b", "a%3Fb",
        "a%25b",
    ]  # fmt: skip
    tails += [
        "a%23b", "é", "%C3%A9", "%FF", "%00", "%0A", "a;b", "a;b=c", "a,b", "a@b:c", "a*b",
        "a!b'c", "(a)",
    ]  # fmt: skip
    tails += [
        "[a]", "{a}", "a|b", "a^b", "a`b", 'a"b', "a\\b", "~a", "%7Ea", "%41", "a%zz", "a%",
        "a%4", "a&b=c",
    ]  # fmt: skip
    tails += [
        "a?x=1", "a?x=%zz", "a?", "a??x", "a#frag", "a?x#frag", "..?x=1", "a//b?x=1&y=%20",
        "é//b?é=é", "<a>",
    ]  # fmt: skip
    tails += [
        "x" * 300,
        "/".join("abcdefgh"),
        "_a/_b",
        "a.b",
        ".a",
        "...",
        "a/.b",
        "a/...",
        "%2E",
        "a/%2e%2e/b",
    ]
    for tail in tails:
        target = f"{place}/{tail}"
        name = tail if len(tail) < 40 else f"{tail[:20]}..."
        yield Scenario(
            f"path {name!r}",
            [
                Request(method, target)
                for method in ("PUT", "GET", "HEAD", "OPTIONS", "DELETE", "FOO")
            ],
        )
    others = [
        "//v2/keys", "/v2//keys/a", "/./v2/keys", "/v2/keys/..", "/v2/keys/../machines",
        "/%76ersion", "/v2%2Fkeys/a",
    ]  # fmt: skip
    others += [
        "/v2/%6Beys/a", "/version?x=1", "//version?x=%20", "/v2/../version", "/V2/keys",
        "/v2/stats/self?x",
    ]  # fmt: skip
    yield Scenario(
        "other paths", [Request(method, path) for path in others for method in ("GET", "PUT")]
    )


WRITE = "PUT PLACE/c HTTP/1.1\nHost: x\nFORM"

CASES = {
    "HTTP/1.0": "GET PLACE HTTP/1.0\n\n",
    "HTTP/1.0 keep-alive": "GET PLACE HTTP/1.0\nConnection: keep-alive\n\n",
    "HTTP/1.0 PUT": "PUT PLACE/a HTTP/1.0\nFORM\nContent-Length: 7\n\nvalue=a",
    "HTTP/1.0 machines": "GET /v2/machines HTTP/1.0\n\n",
    "HTTP/1.1 close": "GET PLACE HTTP/1.1\nHost: x\nConnection: close\n\n",
    "no host": "GET PLACE HTTP/1.1\n\n",
    "empty host": "GET PLACE HTTP/1.1\nHost:\n\n",
    "two hosts": "GET PLACE HTTP/1.1\nHost: a\nHost: b\n\n",
    "absolute form": "GET http://other/version HTTP/1.1\nHost: x\n\n",
    "absolute form without path": "GET http://other HTTP/1.1\nHost: x\n\n",
    "OPTIONS *": "OPTIONS * HTTP/1.1\nHost: x\n\n",
    "GET *": "GET * HTTP/1.1\nHost: x\n\n",
    "no slash": "GET v2/keys HTTP/1.1\nHost: x\n\n",
    "garbage": "garbage\n\n",
    "no version": "GET /version\n\n",
    "bad version": "GET /version HTTP/x\nHost: x\n\n",
    "HTTP/2.0": "GET /version HTTP/2.0\nHost: x\n\n",
    "HTTP/1.2": "GET /version HTTP/1.2\nHost: x\n\n",
    "HTTP/3.0": "GET /version HTTP/3.0\nHost: x\n\n",
    "blank in the target": "GET /a b HTTP/1.1\nHost: x\n\n",
    "bad method": "G{T / HTTP/1.1\nHost: x\n\n",
    "header without colon": "GET /version HTTP/1.1\nHost: x\nnonsense\n\n",
    "header with a blank": "GET /version HTTP/1.1\nHost: x\nA b: c\n\n",
    "folded header": "GET /version HTTP/1.1\nHost: x\nA: b\n c\n\n",
    "empty header": "GET /version HTTP/1.1\nHost: x\nA:\n\n",
    "chunked": "WRITE\nTransfer-Encoding: chunked\n\n5\nvalue\n2\n=c\n0\n\n",
    "bad chunk": "WRITE\nTransfer-Encoding: chunked\n\nzz\nvalue\n0\n\n",
    "unknown encoding": "WRITE\nTransfer-Encoding: gzip\n\n",
    "bad length": "WRITE\nContent-Length: x\n\n",
    "negative length": "WRITE\nContent-Length: -1\n\n",
    "two lengths": "WRITE\nContent-Length: 7\nContent-Length: 8\n\nvalue=a",
    "one length twice": "WRITE\nContent-Length: 7\nContent-Length: 7\n\nvalue=a",
    "expects": "WRITE\nExpect: 100-continue\nContent-Length: 7\n\nvalue=a",
    "expects else": "WRITE\nExpect: else\nContent-Length: 7\n\nvalue=a",
    "upgrade": "GET PLACE HTTP/1.1\nHost: x\nConnection: Upgrade\nUpgrade: h2c\n\n",
    "leading line end": "\nGET PLACE HTTP/1.1\nHost: x\n\n",
    "origin": "GET PLACE HTTP/1.1\nHost: x\nOrigin: http://a\n\n",
    "preflight": "OPTIONS PLACE HTTP/1.1\nHost: x\nAccess-Control-Request-Method: PUT\n\n",
    "range": "GET PLACE HTTP/1.1\nHost: x\nRange: bytes=0-3\n\n",
    "gzip": "GET PLACE HTTP/1.1\nHost: x\nAccept-Encoding: gzip\nAccept: text/html\n\n",
    "credentials": "GET PLACE HTTP/1.1\nHost: x\nAuthorization: Basic cm9vdDpyb290\n\n",
    "large head": "GET PLACE HTTP/1.1\nHost: x\nA: " + "a" * 50_000 + "\n\n",
    "long target": "GET PLACE?" + "a" * 50_000 + " HTTP/1.1\nHost: x\n\n",
    "cookie and the like": "GET PLACE HTTP/1.1\nHost: x\nCookie: a=b\nIf-None-Match: *\n\n",
}
"""Requests to the letter; what is in capitals is put in."""


def http(text: str) -> Request:
    """A request given to the letter."""
    return Request(raw=text.replace("\n", "\r\n").encode("utf-8", "surrogateescape"))


def http_layer() -> Iterator[Scenario]:
    for name, case in CASES.items():
        place, text = fresh(), case
        for token, meaning in (("WRITE", WRITE), ("FORM", FORM), ("PLACE", place)):
            text = text.replace(token, meaning)
        yield Scenario(f"http: {name}", [put(f"{place}/x", "value=1"), http(text)])


def limits() -> Iterator[Scenario]:
    place = fresh()
    deep = "/".join(["a"] * 200)
    yield Scenario(
        "large keys and values",
        [
            put(f"{place}/{deep}", "value=1"),
            get(f"{place}/{deep}"),
            listing(place),
            put(f"{place}/{'k' * 5000}", "value=1"),
            get(f"{place}/{'k' * 5000}"),
            put(f"{place}/big", "value=" + "v" * 1_000_000),
            get(f"{place}/big"),
        ],
    )


# What a member tells of itself.


JSON_TYPE = ("Content-Type: application/json",)
MEMBER_BODIES = [
    '{"peerURLs":["http://127.0.0.1:1"]}',
    "{}",
    "",
    "{",
    "[]",
    "null",
    '{"peerURLs":[]}',
]
MEMBER_BODIES += [
    '{"peerURLs":"x"}',
    '{"peerURLs":[1]}',
    '{"peerURLs":["x"]}',
    '{"peerURLs":["http://x"]}',
]
MEMBER_BODIES += [
    '{"peerURLs":["ftp://x:1"]}',
    '{"peerURLs":["http://x:1/a"]}',
    '{"peerURLs":["http://a:1", "b"]}',
]
MEMBER_BODIES += ['{"peerURLs":["127.0.0.1:1"]}', '{"id":"1"}', '{"peerURLs":["//x:1"]}', '"x"']


def members() -> Iterator[Scenario]:
    yield Scenario(
        "add a member that cannot be",
        [Request("POST", "/v2/members", body, JSON_TYPE) for body in MEMBER_BODIES[1:]]
        + [Request("POST", "/v2/members", '{"peerURLs":["PEER"]}', JSON_TYPE)],
    )
    kinds = [
        "text/plain", "application/json; charset=utf-8", "APPLICATION/JSON", "application/json;",
        "", "json",
    ]  # fmt: skip
    yield Scenario(
        "kinds of body for members",
        [
            Request(method, path, "{", (f"Content-Type: {kind}",))
            for kind in kinds
            for method, path in (("POST", "/v2/members"), ("PUT", "/v2/members/MEMBER"))
        ]
        + [Request("POST", "/v2/members"), Request("PUT", "/v2/members/MEMBER")],
    )
    ids = [
        "1", "abc", "ABC", "xyz", "0x1", "-1", "+1", "10000000000000000", "00000000000000001",
        "a/b", "1/", "leader",
    ]  # fmt: skip
    ids += ["%20", "MEMBER/", "1_0", "ffffffffffffffff"]
    yield Scenario(
        "members that are none",
        [
            Request(
                method,
                f"/v2/members/{member}",
                MEMBER_BODIES[0] if method == "PUT" else None,
                JSON_TYPE,
            )
            for member in ids
            for method in ("PUT", "DELETE", "GET", "POST", "HEAD")
        ],
    )


def moves() -> Iterator[Scenario]:
    yield Scenario(
        "move a member",
        [
            *(Request("PUT", "/v2/members/MEMBER", body, JSON_TYPE) for body in MEMBER_BODIES[1:]),
            Request("PUT", "/v2/members/MEMBER", '{"peerURLs":["PEER"]}', JSON_TYPE),
            Request("PUT", "/v2/members/MEMBER", MEMBER_BODIES[0], JSON_TYPE),
            get("/v2/members"),
            Request(
                "PUT", "/v2/members/MEMBER", '{"peerURLs":["http://b:2","http://a:1"]}', JSON_TYPE
            ),
            get("/v2/members"),
            Request("PUT", "/v2/members/MEMBER", '{"peerURLs":["PEER"]}', JSON_TYPE),
            get("/v2/members"),
            get("/v2/members/"),
            get("/v2/members/leader"),
        ],
    )


def pages() -> Iterator[Scenario]:
    for path in ["/v2/machines", "/v2/stats/self", "/v2/stats/leader", "/version", "/health"]:
        yield Scenario(f"page {path}", [get(path), Request("HEAD", path), get(f"{path}?x=1")])
    healths = [
        "?serializable=true",
        "?serializable=false",
        "?serializable=x",
        "?exclude=NOSPACE",
        "?exclude=x",
    ]
    yield Scenario("health", [get(f"/health{query}") for query in healths])
    credentials = ["", '{"user":"root","password":"x"}', "{", "null"]
    auth = [
        "enable", "roles", "roles/", "roles/guest", "roles/x", "users", "users/", "users/root",
        "users/x", "x",
    ]  # fmt: skip
    steps: list[Step] = [get(f"/v2/auth/{path}") for path in auth]
    for path in ("enable", "users/root", "users/x", "roles/x"):
        steps += [
            Request("PUT", f"/v2/auth/{path}", body, ("Content-Type: application/json",))
            for body in credentials[2:]
        ]
        steps.append(Request("DELETE", f"/v2/auth/{path}"))
    yield Scenario("auth", steps)


def http_scenarios() -> list[Scenario]:
    """All of them."""
    groups: list[Iterable[Scenario]] = [
        *(pages(), verbs(), paths(), http_layer(), limits(), members(), moves()),
    ]
    return [scenario for group in groups for scenario in group]

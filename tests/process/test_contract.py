"""0.4.6's replies, as they were captured, from a real process of ours: one script a topic.

Each script runs on a server of its own, so indexes are those of a fresh machine: the first write
gets 3. Times, rates and ports are taken out before replies are compared.
Source: v2-api sections 2 to 8; what differs on purpose stands in docs/compatibility.md.
"""

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.process.wire import Reply, Request, Wire

from kvorum.testing import ServerProcess

pytestmark = pytest.mark.process

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
NOT_FOUND = "404 page not found\n"


class Said(NamedTuple):
    """A request and its reply.

    Attributes:
        method: also `PEER GET` and the like, for the peer port.
        form: the body of a form; None for no body.
        kind: the reply's content type; empty for none, None where nobody cares.
        at: the reply's X-Etcd-Index; None for none.
    """

    method: str
    target: str
    form: str | None
    status: int
    body: str
    kind: str | None = JSON
    at: int | None = None


def put(target: str, form: str | None, status: int, body: str, index: int) -> Said:
    return Said("PUT", f"/v2/keys{target}", form, status, body, JSON, index)


def get(target: str, status: int, body: str, index: int) -> Said:
    return Said("GET", f"/v2/keys{target}", None, status, body, JSON, index)


def delete(target: str, status: int, body: str, index: int) -> Said:
    return Said("DELETE", f"/v2/keys{target}", None, status, body, JSON, index)


def error(code: int, message: str, cause: str, index: int) -> str:
    shown = f'"cause":"{cause}",' if cause else ""
    return f'{{"errorCode":{code},"message":"{message}",{shown}"index":{index}}}\n'


def refusal(code: int, message: str, cause: str) -> tuple[int, str, str, int]:
    """Of a lock or a leader: 400, and an index of 0."""
    return 400, error(code, message, cause, 0), JSON, 0


def event(action: str, node: str, prev: str = "") -> str:
    shown = f',"prevNode":{{{prev}}}' if prev else ""
    return f'{{"action":"{action}","node":{{{node}}}{shown}}}'


def file(key: str, value: str, modified: int, created: int | None = None) -> str:
    return f'"key":"{key}","value":"{value}",{indexes(modified, created)}'


def directory(key: str, modified: int, created: int | None = None) -> str:
    return f'"key":"{key}","dir":true,{indexes(modified, created)}'


def gone(key: str, modified: int, created: int) -> str:
    return f'"key":"{key}",{indexes(modified, created)}'


def indexes(modified: int, created: int | None) -> str:
    return f'"modifiedIndex":{modified},"createdIndex":{created or modified}'


ESCAPED = r"\u003ca\u003e\u0026\"\\\t\n\r\u0001" + "\x7f" + r"\u2028é"

HTTP = [
    Said("GET", "/", None, 404, NOT_FOUND, TEXT),
    Said("GET", "/v2/keys", None, 404, NOT_FOUND, TEXT),
    Said("GET", "/v2/machines/", None, 404, NOT_FOUND, TEXT),
    Said("GET", "/v2/leader/", None, 404, NOT_FOUND, TEXT),
    Said("GET", "/version/", None, 404, NOT_FOUND, TEXT),
    Said("get", "/v2/keys/a", None, 404, NOT_FOUND, TEXT),
    Said("PATCH", "/v2/keys/a", None, 404, NOT_FOUND, TEXT),
    Said("HEAD", "/version", None, 404, "", TEXT),
    Said("POST", "/v2/leader", "", 404, NOT_FOUND, TEXT),
    Said("PUT", "/v2/stats/self", "", 404, NOT_FOUND, TEXT),
    *(
        Said("GET", path, None, 404, NOT_FOUND, TEXT)
        for path in ("/v2/members", "/health", "/v2/admin/config", "/config", "/mod/dashboard")
    ),
    Said("OPTIONS", "/v2/keys/a", None, 200, "", ""),
    Said("OPTIONS", "/nowhere", None, 200, "", ""),
    Said("PEER OPTIONS", "/nowhere", None, 200, "", ""),
    Said("PUT", "/v2/keys//a/./b?x=1", "value=1", 301, "", ""),
    put("/a/", "value=x", 201, event("set", file("/a", "x", 3)), 3),
    put("/a%20b%2Fc+d", "value=1", 201, event("set", file("/a b/c+d", "1", 4)), 4),
    put("/esc", "value=%3Ca%3E%26%22%5C%09%0A%0D%01%7F%E2%80%A8%C3%A9", 201,
        event("set", file("/esc", ESCAPED, 5)), 5),
    put("/utf", "value=%FF", 201, event("set", file("/utf", "\N{REPLACEMENT CHARACTER}", 6)), 6),
    put("/q?value=query", "value=body", 201, event("set", file("/q", "body", 7)), 7),
    put("/r", "value=1&value=2", 201, event("set", file("/r", "1", 8)), 8),
    put("/m", "value=a&x=%zz", 201, event("set", file("/m", "a", 9)), 9),
    put("/n", "Value=a", 201, event("set", file("/n", "", 10)), 10),
    put("/o?value=q", None, 201, event("set", file("/o", "q", 11)), 11),
    put("/d", "dir=1", 201, event("set", file("/d", "", 12)), 12),
    put("/e", "dir=TRUE&value=dropped", 201, event("set", directory("/e", 13)), 13),
    put("/w", "value=a&wait=true", 201, event("set", file("/w", "a", 14)), 14),
]  # fmt: skip

KEYS = [
    put("/message", "value=Hello", 201, event("set", file("/message", "Hello", 3)), 3),
    get("/message", 200, event("get", file("/message", "Hello", 3)), 3),
    put("/message", "value=hoge", 200,
        event("set", file("/message", "hoge", 4), file("/message", "Hello", 3)), 4),
    delete("/message", 200,
        event("delete", gone("/message", 5, 4), file("/message", "hoge", 4)), 5),
    get("/message", 404, error(100, "Key not found", "/message", 5), 5),
    put("/foo/bar", "value=1", 201, event("set", file("/foo/bar", "1", 6)), 6),
    get("/", 200, event("get", '"key":"/","dir":true,"nodes":[{' + directory("/foo", 6) + "}]"), 6),
    get("/foo/bar/baz", 400, error(104, "Not a directory", "/foo/bar", 6), 6),
    get("/nope/a/b", 404, error(100, "Key not found", "/nope", 6), 6),
    put("/foo", "value=1", 403, error(102, "Not a file", "/foo", 6), 6),
    put("/foo", "dir=true", 403, error(102, "Not a file", "/foo", 6), 6),
    put("/foo/bar/baz", "value=1", 400, error(104, "Not a directory", "/foo/bar", 6), 6),
    put("/foo/bar", "dir=true", 200,
        event("set", directory("/foo/bar", 7), file("/foo/bar", "1", 6)), 7),
    put("/", "value=1", 400, error(107, "Root is read only", "/", 7), 7),
    put("/?prevExist=true", "value=1", 400, error(107, "Root is read only", "/", 7), 7),
    delete("/", 400, error(107, "Root is read only", "/", 7), 7),
    delete("/?prevIndex=1", 403, error(102, "Not a file", "/", 7), 7),
    delete("/foo", 403, error(102, "Not a file", "/foo", 7), 7),
    delete("/foo?dir=true", 403, error(108, "Directory not empty", "/foo", 7), 7),
    Said("DELETE", "/v2/keys/foo", "recursive=true", 403, error(102, "Not a file", "/foo", 7),
         JSON, 7),
    delete("/foo?recursive=true", 200,
        event("delete", directory("/foo", 8, 6), directory("/foo", 6)), 8),
    put("/_hidden", "value=1", 201, event("set", file("/_hidden", "1", 9)), 9),
    get("/", 200, event("get", '"key":"/","dir":true'), 9),
    Said("POST", "/v2/keys/queue", "value=Job1", 201,
         event("create", file("/queue/10", "Job1", 10)), JSON, 10),
    Said("POST", "/v2/keys/", "value=x", 201, event("create", file("/11", "x", 11)), JSON, 11),
    Said("POST", "/v2/keys/queue", "ttl=x", 400,
         error(202, "The given TTL in POST form is not a number", "Create", 11), JSON, 11),
    get("/a?wait=true&waitIndex=x", 400,
        error(203, "The given index in POST form is not a number", "Watch From Index", 11), 11),
    get("/_etcd/config", 200, event("get", file("/_etcd/config",
        '{\\"activeSize\\":9,\\"removeDelay\\":1800,\\"syncInterval\\":5}', 2)), 11),
    get("/_etcd/machines/machine1", 200, event("get", file("/_etcd/machines/machine1",
        "etcd=CLIENT\\u0026raft=PEER", 1)), 11),
]  # fmt: skip

CONDITIONS = [
    put("/foo", "value=one", 201, event("set", file("/foo", "one", 3)), 3),
    put("/foo?prevExist=false", "value=three", 412, error(105, "Key already exists", "/foo", 3), 3),
    put("/foo?prevValue=two", "value=three", 412,
        error(101, "Compare failed", "[two != one]", 3), 3),
    put("/foo?prevIndex=1", "value=three", 412, error(101, "Compare failed", "[1 != 3]", 3), 3),
    put("/foo?prevIndex=1&prevValue=two", "value=three", 412,
        error(101, "Compare failed", "[two != one] [1 != 3]", 3), 3),
    put("/foo?prevIndex=0", "value=three", 200,
        event("compareAndSwap", file("/foo", "three", 4, 3), file("/foo", "one", 3)), 4),
    put("/foo?prevExist=TRUE", "value=seven", 200,
        event("update", file("/foo", "seven", 5, 3), file("/foo", "three", 4, 3)), 5),
    put("/foo?prevExist=true", "", 400,
        error(204, "Value or TTL is required in POST form", "Update", 5), 5),
    put("/foo?prevExist=xyz", "value=8", 200,
        event("compareAndSwap", file("/foo", "8", 6, 3), file("/foo", "seven", 5, 3)), 6),
    put("/foo?prevIndex=", "value=1", 400,
        error(203, "The given index in POST form is not a number", "CompareAndSwap", 6), 6),
    put("/foo?prevValue=", "value=1", 400,
        error(201, "PrevValue is Required in POST form", "CompareAndSwap", 6), 6),
    put("/foo", "value=1&ttl=abc", 400,
        error(202, "The given TTL in POST form is not a number", "Update", 6), 6),
    put("/nope?prevExist=true", "value=1", 404, error(100, "Key not found", "/nope", 6), 6),
    put("/nope?prevValue=1", "value=1", 404, error(100, "Key not found", "/nope", 6), 6),
    put("/dir", "dir=true", 201, event("set", directory("/dir", 7)), 7),
    put("/dir?prevIndex=7", "value=1", 403, error(102, "Not a file", "/dir", 7), 7),
    put("/dir?prevExist=true", "value=1", 403, error(102, "Not a file", "/dir", 7), 7),
    put("/dir?prevExist=true", "ttl=", 400,
        error(204, "Value or TTL is required in POST form", "Update", 7), 7),
    delete("/foo?prevIndex=x", 400,
        error(203, "The given index in POST form is not a number", "CompareAndDelete", 7), 7),
    delete("/foo?prevValue=", 400,
        error(201, "PrevValue is Required in POST form", "CompareAndDelete", 7), 7),
    delete("/foo?prevValue=one", 412, error(101, "Compare failed", "[one != 8]", 7), 7),
    delete("/dir?prevIndex=7", 403, error(102, "Not a file", "/dir", 7), 7),
    delete("/foo?prevValue=8", 200,
        event("compareAndDelete", gone("/foo", 8, 3), file("/foo", "8", 6, 3)), 8),
]  # fmt: skip

TTL = [
    put("/t", "value=bar&ttl=50", 201, event("set",
        '"key":"/t","value":"bar","expiration":"TIME","ttl":50,' + indexes(3, 3)), 3),
    put("/t", "ttl=70&prevExist=true", 200, event("update",
        '"key":"/t","value":"","expiration":"TIME","ttl":70,' + indexes(4, 3),
        '"key":"/t","value":"bar","expiration":"TIME","ttl":50,' + indexes(3, 3)), 4),
    put("/t", "value=b&ttl=&prevExist=true", 200, event("update", file("/t", "b", 5, 3),
        '"key":"/t","value":"","expiration":"TIME","ttl":70,' + indexes(4, 3)), 5),
    put("/d", "dir=true&ttl=50", 201, event("set",
        '"key":"/d","dir":true,"expiration":"TIME","ttl":50,' + indexes(6, 6)), 6),
    put("/d", "dir=true&ttl=70&prevExist=true", 200, event("update",
        '"key":"/d","dir":true,"expiration":"TIME","ttl":70,' + indexes(7, 6),
        '"key":"/d","dir":true,"expiration":"TIME","ttl":50,' + indexes(6, 6)), 7),
]  # fmt: skip

STORE = (
    '{"getsSuccess":2,"getsFail":1,"setsSuccess":2,"setsFail":1,"deleteSuccess":1,'
    '"deleteFail":1,"updateSuccess":0,"updateFail":0,"createSuccess":0,"createFail":0,'
    '"compareAndSwapSuccess":0,"compareAndSwapFail":0,"compareAndDeleteSuccess":0,'
    '"compareAndDeleteFail":0,"expireCount":0,"watchers":0}'
)

PAGES = [
    Said("GET", "/version", None, 200, "etcd 0.4.6", TEXT),
    Said("GET", "/v2/machines", None, 200, "http://CLIENT", TEXT),
    Said("HEAD", "/v2/machines", None, 200, "", TEXT),
    Said("GET", "/v2/peers", None, 200, "http://CLIENT", TEXT),
    Said("GET", "/v2/leader", None, 200, "http://PEER", TEXT),
    Said("GET", "/v2/stats/self", None, 200,
         '{"name":"machine1","state":"leader","startTime":"TIME","leaderInfo":{"leader":'
         '"machine1","uptime":"SPAN","startTime":"TIME"},"recvAppendRequestCnt":0,'
         '"sendAppendRequestCnt":0}'),
    Said("HEAD", "/v2/stats/self", None, 200, ""),
    Said("GET", "/v2/stats/leader", None, 200, '{"leader":"machine1","followers":{}}'),
    put("/a", "value=1", 201, event("set", file("/a", "1", 3)), 3),
    put("/b/c", "value=1", 201, event("set", file("/b/c", "1", 4)), 4),
    put("/b", "value=1", 403, error(102, "Not a file", "/b", 4), 4),
    get("/a", 200, event("get", file("/a", "1", 3)), 4),
    get("/b/c", 200, event("get", file("/b/c", "1", 4)), 4),
    get("/d", 404, error(100, "Key not found", "/d", 4), 4),
    delete("/b", 403, error(102, "Not a file", "/b", 4), 4),
    delete("/a", 200, event("delete", gone("/a", 5, 3), file("/a", "1", 3)), 5),
    Said("GET", "/v2/stats/store", None, 200, STORE),
    Said("GET", "/v2/speedTest", None, 200, "speed test success", TEXT),
    get("/foo", 200, event("get", file("/foo", "bar", 10005)), 10005),
]  # fmt: skip

CONFIG = '{{"activeSize":{},"removeDelay":{},"syncInterval":{}}}\n'.format
MACHINE = '{"name":"machine1","state":"leader","clientURL":"http://CLIENT","peerURL":"http://PEER"}'

PEER_PORT = [
    Said("PEER GET", "/version", None, 200, "2", TEXT),
    Said("PEER PUT", "/version", "", 200, "2", TEXT),
    Said("PEER GET", "/version/2/check", None, 200, "", None),
    Said("PEER GET", "/version/3/check", None, 403, "", None),
    Said("PEER GET", "/version/x/check", None, 404, NOT_FOUND, None),
    Said("PEER GET", "/name", None, 200, "machine1", None),
    Said("PEER GET", "/etcdURL", None, 200, "http://CLIENT", None),
    Said("PEER GET", "/v2/keys/", None, 404, NOT_FOUND, None),
    Said("PEER GET", "/v2/admin/config", None, 200, CONFIG(9, 1800, 5)),
    Said("PEER PUT", "/v2/admin/config", '{"activeSize":1,"removeDelay":0.5,"syncInterval":0.1}',
         200, CONFIG(3, 2, 1)),
    Said("PEER PUT", "/v2/admin/config", '{"activeSize":5.9,"removeDelay":"x"}', 200,
         CONFIG(5, 2, 1)),
    Said("PEER PUT", "/v2/admin/config", "junk", 500,
         "invalid character 'j' looking for beginning of value\n", TEXT),
    Said("PEER PUT", "/v2/admin/config", "", 500, "EOF\n", TEXT),
    Said("PEER POST", "/v2/admin/config", "", 404, NOT_FOUND, None),
    Said("PEER DELETE", "/v2/admin/config", None, 404, NOT_FOUND, None),
    Said("PEER GET", "/v2/admin/machines", None, 200, f"[{MACHINE}]\n"),
    Said("PEER GET", "/v2/admin/machines/machine1", None, 200, f"{MACHINE}\n"),
    Said("PEER GET", "/v2/admin/machines/nobody", None, 200, "null\n"),
    Said("PEER DELETE", "/v2/admin/machines/nobody", None, 200, "", None),
    Said("PEER DELETE", "/remove/nobody", None, 200, "", None),
    Said("PEER GET", "/remove/machine1", None, 405, "", None),
    Said("PEER PUT", "/join", "junk", 500, "", None),
    Said("PEER PUT", "/join", '{"minVersion":2,"maxVersion":2,"name":"other",'
         '"raftURL":"http://PEER","etcdURL":"http://127.0.0.1:1"}', 400,
         error(109, "Peer address has existed", "http://127.0.0.1:1", 4), TEXT, 4),
]  # fmt: skip

NEEDED = "Index or value is required"
NAMELESS = "Name is required in POST form"

LOCKS = [
    Said("POST", "/mod/v2/lock/a", "ttl=x",
         *refusal(202, "The given TTL in POST form is not a number", "Acquire")),
    Said("POST", "/mod/v2/lock/a", "ttl=60&timeout=x",
         *refusal(205, "The given timeout in POST form is not a number", "Acquire")),
    Said("POST", "/mod/v2/lock/a", "ttl=60&value=me", 200, "3", TEXT),
    Said("GET", "/mod/v2/lock/a", None, 200, "me", TEXT),
    Said("GET", "/mod/v2/lock/a?field=index", None, 200, "3", TEXT),
    Said("GET", "/mod/v2/lock/a?field=x", None, *refusal(209, "Invalid field", "Get")),
    Said("PUT", "/mod/v2/lock/a", "ttl=60", *refusal(207, NEEDED, "Renew")),
    Said("PUT", "/mod/v2/lock/a", "ttl=60&index=3", 200, "", None),
    Said("DELETE", "/mod/v2/lock/a", None, *refusal(207, NEEDED, "Release")),
    Said("DELETE", "/mod/v2/lock/a?index=3&value=me", None,
         *refusal(208, "Index and value cannot both be specified", "Release")),
    Said("DELETE", "/mod/v2/lock/a?index=3", None, 200, "", None),
    Said("GET", "/mod/v2/lock/a", None, 200, "", TEXT),
    Said("PUT", "/mod/v2/leader/a", "ttl=60", *refusal(206, NAMELESS, "Set")),
    Said("PUT", "/mod/v2/leader/a", "ttl=60&name=n", 200, "NUMBER", TEXT),
    Said("GET", "/mod/v2/leader/a", None, 200, "n", TEXT),
    Said("DELETE", "/mod/v2/leader/a", None, *refusal(206, NAMELESS, "Delete")),
    Said("DELETE", "/mod/v2/leader/a?name=n", None, 200, "", None),
]  # fmt: skip


def first(method: str, path: str, form: str | None, body: str) -> Said:
    """A request to v1 that goes well."""
    return Said(method, f"/v1/{path}", form, 200, body, TEXT)


FIRST_API = [
    first("PUT", "keys/v1a", "value=1",
          '{"action":"set","key":"/v1a","value":"1","newKey":true,"index":3}'),
    first("POST", "keys/v1a", "value=2",
          '{"action":"set","key":"/v1a","prevValue":"1","value":"2","index":4}'),
    first("PUT", "keys/v1a", "value=3&prevValue=2",
          '{"action":"testAndSet","key":"/v1a","prevValue":"2","value":"3","index":5}'),
    first("PUT", "keys/v1b", "value=3&prevValue=",
          '{"action":"testAndSet","key":"/v1b","value":"3","index":6}'),
    Said("PUT", "/v1/keys/v1a", "", 400,
         error(200, "Value is Required in POST form", "Set", 6), JSON, 6),
    Said("PUT", "/v1/keys/v1a", "value=1&ttl=x", 400,
         error(202, "The given TTL in POST form is not a number", "Set", 6), JSON, 6),
    Said("PUT", "/v1/keys/v1a", "value=1&prevValue=x", 412,
         error(101, "Compare failed", "[x != 3]", 6), JSON, 6),
    first("PUT", "keys/v1c", "value=x&ttl=30", '{"action":"set","key":"/v1c","value":"x",'
          '"newKey":true,"expiration":"TIME","ttl":30,"index":7}'),
    first("PUT", "keys/v1d/e", "value=x",
          '{"action":"set","key":"/v1d/e","value":"x","newKey":true,"index":8}'),
    first("GET", "keys/v1d", None, '[{"action":"get","key":"/v1d/e","value":"x","index":8}]'),
    first("GET", "keys/v1a", None, '{"action":"get","key":"/v1a","value":"3","index":8}'),
    first("HEAD", "keys/v1a", None, ""),
    first("DELETE", "keys/v1a", None,
          '{"action":"delete","key":"/v1a","prevValue":"3","index":9}'),
    Said("GET", "/v1/keys/v1a", None, 404, error(100, "Key not found", "/v1a", 9), JSON, 9),
    Said("DELETE", "/v1/keys/v1d", None, 403, error(102, "Not a file", "/v1d", 9), JSON, 9),
    first("POST", "watch/v1d/e", "index=8",
          '{"action":"set","key":"/v1d/e","value":"x","newKey":true,"index":9}'),
    Said("POST", "/v1/watch/a", "index=x", 400,
         error(203, "The given index in POST form is not a number", "Watch From Index", 9),
         JSON, 9),
    first("GET", "leader", None, "http://PEER"),
    first("GET", "machines", None, "http://CLIENT"),
    first("GET", "peers", None, "http://CLIENT"),
    Said("GET", "/v1/stats/leader", None, 200, '{"leader":"machine1","followers":{}}'),
    Said("GET", "/v1/keys", None, 404, NOT_FOUND, TEXT),
]  # fmt: skip

SCRIPTS = {
    "the HTTP layer": HTTP,
    "keys": KEYS,
    "conditions": CONDITIONS,
    "times to live": TTL,
    "pages": PAGES,
    "the peer port": PEER_PORT,
    "locks and leaders": LOCKS,
    "v1": FIRST_API,
}

TIME = re.compile(r'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{0,8}[1-9])?(?:Z|[+-]\d\d:\d\d)"')
SPAN = re.compile(r'"(?:\d+m)?[\d.]+[mµ]?s"')


NUMBER = re.compile(r"\d+")


class Talk:
    """Both ports of a server, one connection a request."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._words = {}
        for port, word in ((server.client_port, "CLIENT"), (server.peer_port, "PEER")):
            self._words[f"127.0.0.1:{port}"] = word
            self._words[f"http%3A%2F%2F127.0.0.1%3A{port}"] = word

    def ask(self, said: Said) -> Said:
        """The same request, with the reply it got."""
        where, _, method = said.method.rpartition(" ")
        server = self._server
        wire = Wire(server.peer_port if where else server.client_port)
        form = said.form and said.form.replace("PEER", f"127.0.0.1:{server.peer_port}")
        try:
            return self._read(said, wire.ask(Request(method, said.target, form).encode(str)))
        finally:
            wire.close()

    def _read(self, said: Said, reply: Reply) -> Said:
        body = reply.body.decode("utf-8", "surrogateescape")
        for word, stand_in in self._words.items():
            body = body.replace(word, stand_in)
        body = SPAN.sub('"SPAN"', TIME.sub('"TIME"', body))
        if said.body == "NUMBER":
            body = NUMBER.sub("NUMBER", body)
        kind = None if said.kind is None else reply.header("content-type") or ""
        index = reply.header("x-etcd-index")
        return Said(said.method, said.target, said.form, reply.code, body, kind,
                    None if index is None else int(index))  # fmt: skip


@pytest.mark.parametrize("topic", SCRIPTS)
def test_a_process_answers_as_0_4_6_did(tmp_path: Path, topic: str) -> None:
    with ServerProcess(tmp_path) as server:
        server.wait_ready()
        talk = Talk(server)
        wrong = [
            f"{said}\n{answer}"
            for said, answer in ((said, talk.ask(said)) for said in SCRIPTS[topic])
            if said != answer
        ]
        assert not wrong, "\n\n".join(wrong)

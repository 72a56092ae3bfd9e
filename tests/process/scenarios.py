"""What is asked of two servers about keys: tables, and sequences by chance from one seed."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, count, product
from random import Random  # noqa: TID251 - seeded
from typing import NamedTuple

from tests.process.wire import More, Request, Step


class Scenario(NamedTuple):
    """Requests that belong together. Keys of one scenario are nobody else's."""

    name: str
    steps: Sequence[Step]


CONDITIONS = [
    "", "prevExist=true", "prevExist=false", "prevExist=", "prevExist=xyz", "prevExist=T",
    "prevExist=tRue", "prevExist=0", "prevValue=one", "prevValue=two", "prevValue=",
    "prevIndex=$1$", "prevIndex=1", "prevIndex=0", "prevIndex=00", "prevIndex=", "prevIndex=x",
    "prevIndex=-1", "prevIndex=18446744073709551615", "prevIndex=18446744073709551616",
    "prevValue=one&prevIndex=$1$", "prevValue=two&prevIndex=1", "prevValue=one&prevIndex=1",
    "prevValue=two&prevIndex=$1$", "prevExist=true&prevValue=one",
    "prevExist=false&prevValue=one", "prevExist=true&prevIndex=1", "prevExist=false&prevIndex=x",
]  # fmt: skip

CONTENTS = [
    "value=v", "", "value=", "ttl=100", "value=v&ttl=100", "ttl=", "value=v&ttl=",
    "value=v&ttl=abc", "value=v&ttl=-1", "value=v&ttl=1.5", "value=v&ttl=%2B100",
    "value=v&ttl=%20100", "value=v&ttl=00100", "dir=true", "dir=true&ttl=100",
    "dir=true&value=v", "dir=false&value=v", "dir=yes&value=v", "refresh=true",
    "refresh=true&ttl=100", "refresh=true&value=v&ttl=100", "refresh=true&value=&ttl=100",
    "refresh=false&value=v", "refresh=2&value=v", "noValueOnSuccess=true&value=v",
    "noValueOnSuccess=true&dir=true", "noValueOnSuccess=true&refresh=true&ttl=100",
    "noValueOnSuccess=no&value=v", "wait=true&value=v",
    "recursive=true&sorted=true&quorum=true&value=v",
]  # fmt: skip

PLACES = [
    "f", "d", "full", "new", "f/below", "full/x/y/z", "new/a/b", "full/_h", "mortal",
    "lasting/m",
]  # fmt: skip
"""Paths in what `world` makes: a file, directories, nothing, below a file, hidden, with TTL."""

BOOLEANS = ["true", "True", "TRUE", "t", "T", "1", "false", "False", "FALSE", "f", "F", "0"]
NO_BOOLEANS = ["", "tRue", "yes", "2", "xyz", "%20true"]
FLAGS = ["recursive", "sorted", "quorum", "consistent", "wait", "stream", "dir", "refresh"]
FLAGS += ["noValueOnSuccess", "prevExist"]

_place_numbers = count()


def fresh() -> str:
    """The URL of a directory that no other case uses."""
    return f"/v2/keys/p{next(_place_numbers)}"


def world(place: str) -> list[Step]:
    """Seven writes that make something of everything."""
    return [
        put(f"{place}/f", "value=one"),
        put(f"{place}/d", "dir=true"),
        put(f"{place}/full/x", "value=x"),
        put(f"{place}/full/sub/y", "value=y"),
        put(f"{place}/full/_h", "value=hidden"),
        put(f"{place}/mortal", "value=one&ttl=1000"),
        put(f"{place}/lasting", "dir=true&ttl=1000"),
    ]


def get(target: str) -> Request:
    return Request("GET", target)


def put(target: str, body: str | bytes | None = None) -> Request:
    return Request("PUT", target, body)


def post(target: str, body: str | bytes | None = None) -> Request:
    return Request("POST", target, body)


def delete(target: str, body: str | bytes | None = None) -> Request:
    return Request("DELETE", target, body)


def wait(target: str) -> Request:
    return Request("GET", target, is_wait=True)


def with_query(target: str, *queries: str) -> str:
    query = "&".join(filter(None, queries))
    return f"{target}?{query}" if query else target


def listing(place: str) -> Request:
    return get(f"{place}?recursive=true&sorted=true")


# Writes.


def writes_to_a_file(chance: Random) -> Iterator[Scenario]:
    """Every condition with most contents, on a file."""
    for condition in CONDITIONS:
        place, steps = fresh(), list[Step]()
        for number, content in enumerate(chance.sample(CONTENTS, 16)):
            # The file's index is the first of its own writes.
            key = f"{place}/f{number}"
            steps += [put(key, "value=one"), put(with_query(key, condition), content)]
        yield Scenario(f"PUT file {condition or 'plain'}", [*steps, listing(place)])


def writes_everywhere(chance: Random) -> Iterator[Scenario]:
    """Conditions and contents by chance, on everything else there is."""
    for place_name in PLACES:
        for _ in range(3):
            place = fresh()
            steps = world(place)
            for _ in range(8):
                target = with_query(f"{place}/{place_name}", chance.choice(CONDITIONS))
                steps.append(put(target, chance.choice(CONTENTS)))
            yield Scenario(f"PUT {place_name}", [*steps, listing(place)])


def creations_in_order(chance: Random) -> Iterator[Scenario]:
    for place_name in PLACES:
        place = fresh()
        steps = world(place)
        for content in chance.sample(CONTENTS, 12):
            target = with_query(f"{place}/{place_name}", chance.choice(CONDITIONS))
            steps.append(post(target, content))
        yield Scenario(f"POST {place_name}", [*steps, listing(place)])


def deletions(chance: Random) -> Iterator[Scenario]:
    flags = ["", "dir=true", "recursive=true", "dir=true&recursive=true", "dir=false", "dir=x"]
    flags += ["recursive=x", "wait=true", "ttl=x", "refresh=true", "sorted=true&quorum=true"]
    for place_name in PLACES:
        steps = list[Step]()
        for query in [*chance.sample(flags, 4), *chance.sample(CONDITIONS, 7)]:
            place = fresh()
            steps += [*world(place), delete(with_query(f"{place}/{place_name}", query))]
        for body in ("recursive=true", "prevValue=no"):
            place = fresh()
            steps += [*world(place), delete(f"{place}/{place_name}", body)]
        yield Scenario(f"DELETE {place_name}", steps)


def root_writes() -> Iterator[Scenario]:
    root = "/v2/keys/"
    yield Scenario(
        "root is read only",
        [
            *(put(with_query(root, query), "value=v") for query in CONDITIONS),
            *(put(root, content) for content in CONTENTS),
            *(delete(with_query(root, query)) for query in CONDITIONS),
            *(delete(f"{root}?{query}") for query in ("dir=true", "recursive=true")),
            *(put("/v2/keys", "value=v"), delete("/v2/keys"), post("/v2/keys", "value=v")),
            post(root, "value=v"),
        ],
    )


# Reads.


def reads(chance: Random) -> Iterator[Scenario]:
    queries = ["", "recursive=true", "sorted=true", "recursive=true&sorted=true", "quorum=true"]
    queries += ["quorum=true&recursive=true", "quorum=true&wait=true", "consistent=true"]
    queries += [
        "wait=false", "stream=true", "waitIndex=1", "waitIndex=x", "waitIndex=-1", "waitIndex=",
    ]  # fmt: skip
    queries += ["waitIndex=18446744073709551616", "prevExist=false", "prevValue=", "prevIndex=x"]
    queries += [
        "ttl=x",
        "ttl=5",
        "refresh=true",
        "refresh=true&ttl=5",
        "value=x&refresh=true&ttl=5",
    ]
    queries += [
        "noValueOnSuccess=true", "unknown=1", "Recursive=true", "recursive", "&&&", "=", "=x",
    ]  # fmt: skip
    for method in ("GET", "HEAD"):
        for place_name in ["", *PLACES, "lasting", "_none", "new/"]:
            place = fresh()
            some = chance.sample(queries, 14)
            targets = [with_query(f"{place}/{place_name}", query) for query in some]
            steps = [*world(place), *(Request(method, target) for target in targets)]
            yield Scenario(f"{method} {place_name or 'all'}", steps)


def booleans() -> Iterator[Scenario]:
    for flag, method in product(FLAGS, ("GET", "PUT", "DELETE")):
        place = fresh()
        steps = world(place)
        for text in [*BOOLEANS, *NO_BOOLEANS]:
            if flag == "wait" and method == "GET" and text in BOOLEANS[:6]:
                continue
            steps.append(Request(method, f"{place}/full?{flag}={text}"))
        yield Scenario(f"{method} {flag}", steps)


def hidden() -> Iterator[Scenario]:
    place = fresh()
    paths = ["_a", "_d/x", "v/_b", "v/c", "_d/_e/f", "_d/g/_i"]
    steps: list[Step] = [put(f"{place}/{path}", f"value={path}") for path in paths]
    for path in ["", "/_a", "/_d", "/v", "/v/_b", "/_d/_e", "/_d/g", "/_d/g/_i"]:
        steps += [get(f"{place}{path}?sorted=true"), listing(f"{place}{path}")]
    steps += [delete(f"{place}/v"), delete(f"{place}/v?dir=true"), delete(f"{place}/v/c")]
    steps += [delete(f"{place}/v?dir=true"), delete(f"{place}/_d?recursive=true"), listing(place)]
    yield Scenario("hidden nodes", steps)


def order() -> Iterator[Scenario]:
    place = fresh()
    names = ["a", "A", "10", "9", "100", "a/b", "é", "z%20z", "~", "-", "B/x", "B/y", "b!"]
    steps: list[Step] = [put(f"{place}/{name}", "value=1") for name in names]
    steps += [
        get(f"{place}?sorted=true"),
        listing(place),
        get(place),
        get(f"{place}?recursive=true"),
    ]
    steps += [get(f"{place}?sorted=true&recursive=true&quorum=true")]
    yield Scenario("sorted listings", steps)


# Parameters.


def forms() -> Iterator[Scenario]:
    place = fresh()
    key = f"{place}/k"
    typed = "Content-Type: application/x-www-form-urlencoded"
    kinds = [
        typed,
        f"{typed}; charset=utf-8",
        f"{typed};charset",
        "Content-Type: APPLICATION/X-WWW-FORM-URLENCODED",
        "Content-Type: multipart/form-data; boundary=x",
        "Content-Type: multipart/form-data",
        "Content-Type: application/json",
        "Content-Type: text/plain",
        "Content-Type: nonsense",
        "Content-Type: ",
        "Content-Type: a; b; c",
        "Content-Type: application/octet-stream",
    ]
    steps: list[Step] = [Request("PUT", key, "value=x&ttl=100", (kind,)) for kind in kinds]
    steps += [Request(method, key, "value=x", (kinds[5],)) for method in ("POST", "DELETE", "GET")]
    multipart = '--x\r\nContent-Disposition: form-data; name="value"\r\n\r\nm\r\n--x--\r\n'
    steps += [Request("PUT", key, multipart, (kinds[4],)), Request("PUT", key, "junk", (kinds[4],))]
    raw = f"PUT {key} HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\nvalue=x"
    steps += [Request(raw=raw.encode()), get(key)]
    yield Scenario("kinds of body", steps)

    bodies = [
        "value=a&value=b", "value=a+b", "value=a%2Bb", "value=%61", "value=a=b", "value", "=v",
    ]  # fmt: skip
    bodies += [
        "value=a%26b", "&value=a&", "Value=a", "value=a%00b", "value=a\nb", "value=a;b",
        "value=%C3%A9",
    ]  # fmt: skip
    bodies += [
        "value=é", "value=%FF", "value=%ED%A0%80", "value=%3Cb%3E%26", "value=%22%5C%2F",
        "value=%E2%80%A8",
    ]  # fmt: skip
    bodies += [
        "value=%01%02%07%08%09%0A%0B%0C%0D%1B%1F%7F",
        "value=%F0%9F%98%80",
        "value=%EF%BF%BD",
    ]
    bodies += [
        "value=%zz", "value=%", "value=%4", "a=%zz&value=b", "value=b&a=%zz", "%zz=a&value=b",
        "a;b=c&value=d",
    ]  # fmt: skip
    bodies += [
        "value=%C3", "value=a%C3%28b", "value=TRUE", "value=True", "value=false", "vAlue=x",
        " value=x",
    ]  # fmt: skip
    for number, body in enumerate(bodies):
        steps = [put(f"{place}/b{number}", body), get(f"{place}/b{number}")]
        steps += [put(f"{place}/q{number}?{body.replace(' ', '').replace(chr(10), '')}")]
        steps += [get(f"{place}/q{number}")]
        yield Scenario(f"form {body!r}", steps)


def precedence() -> Iterator[Scenario]:
    place = fresh()
    yield Scenario(
        "body and query",
        [
            put(f"{place}/a?value=query", "value=body"),
            put(f"{place}/b?value=query", "other=body"),
            put(f"{place}/c?dir=true", "dir=false&value=x"),
            put(f"{place}/d?value=one&value=two"),
            put(f"{place}/e?ttl=abc", "ttl=100"),
            put(f"{place}/f?prevExist=true", "prevExist=false"),
            post(f"{place}/g?value=query", "value=body"),
            Request("DELETE", f"{place}/a?dir=false", "dir=true"),
            Request("GET", place, "recursive=true"),
            Request("GET", f"{place}?sorted=true", "sorted=x"),
            put(f"{place}/h?value=a&prevExist=false"),
            put(f"{place}/i?ttl=100&value=x&noValueOnSuccess=true"),
            put(f"{place}/j?%76alue=x"),
            put(f"{place}/k", "%76alue=x"),
            put(f"{place}/l", b"value=\xff\xfe"),
            put(f"{place}/m", "value=" + "x" * 70_000),
            get(f"{place}/l"),
            listing(place),
        ],
    )


def faults_in_order(chance: Random) -> Iterator[Scenario]:
    """Which of several faults is told."""
    place = fresh()
    faults = ["a=%zz", "prevIndex=x", "waitIndex=x", "recursive=x", "sorted=x", "wait=x", "dir=x"]
    faults += ["quorum=x", "stream=x", "wait=true", "prevValue=", "noValueOnSuccess=x", "ttl=x"]
    faults += ["prevExist=x", "refresh=x", "refresh=true&value=v", "refresh=true"]
    steps: list[Step] = []
    for method in ("PUT", "POST", "DELETE"):
        pairs = [f"{a}&{b}" for a, b in chance.sample(list(combinations(faults, 2)), 50)]
        steps += [Request(method, f"{place}/k?{pair}") for pair in pairs]
    yield Scenario("which fault is told", steps)


# Time to live.


def expiry() -> Iterator[Scenario]:
    place = fresh()
    yield Scenario(
        "ttl 1 expires",
        [
            put(f"{place}/d", "dir=true&ttl=1"),
            put(f"{place}/d/k", "value=1"),
            wait(f"{place}/d/k?wait=true"),
            More(),
            listing(place),
            get(f"{place}/d/k?wait=true&waitIndex=$3$"),
        ],
    )
    place = fresh()
    yield Scenario(
        "ttl 0 expires",
        [
            wait(f"{place}/k?wait=true&waitIndex=$2$"),
            put(f"{place}/k", "value=1&ttl=0"),
            More(),
            get(f"{place}/k"),
        ],
    )


def changed_ttls() -> Iterator[Scenario]:
    place = fresh()
    steps: list[Step] = [
        put(f"{place}/f", "value=1&ttl=1000"),
        put(f"{place}/d", "dir=true&ttl=1000"),
    ]
    for body in ["ttl=500", "ttl=", "value=2&ttl=300", "ttl=300&refresh=true", "value=2", ""]:
        for query in ("", "prevExist=true", "prevValue=2"):
            steps += [put(with_query(f"{place}/{name}", query), body) for name in ("f", "d")]
            steps.append(listing(place))
    steps += [put(f"{place}/f", "value=2&ttl=400"), put(f"{place}/f", "value=3")]
    yield Scenario("ttl is changed", steps)


# Waits.


def waits() -> Iterator[Scenario]:
    place = fresh()
    yield Scenario(
        "wait for the next event",
        [
            wait(f"{place}/k?wait=true"),
            put(f"{place}/other", "value=1"),
            put(f"{place}/k", "value=1"),
            More(),
            wait(f"{place}?wait=true&recursive=true"),
            put(f"{place}/k", "value=2"),
            More(),
            wait(f"{place}/k?wait=true"),
            delete(f"{place}/k"),
            More(),
            wait(f"{place}/k?wait=1&waitIndex=0"),
            post(f"{place}/k", "value=1"),
            put(f"{place}/k/more", "value=1"),
            delete(f"{place}/k?recursive=true"),
            More(),
            wait(f"{place}/x/y/z?wait=true"),
            put(f"{place}/x/y", "dir=true"),
            delete(f"{place}/x?recursive=true"),
            put(f"{place}/x/y/z", "value=1"),
            More(),
        ],
    )
    place = fresh()
    steps: list[Step] = [put(f"{place}/k", f"value={number}") for number in range(4)]
    steps += [get(f"{place}/k?wait=true&waitIndex=${number}$") for number in range(1, 5)]
    steps += [
        get(f"{place}?wait=true&recursive=true&waitIndex=${number}$") for number in range(1, 5)
    ]
    steps += [wait(f"{place}/k?wait=true&waitIndex=$7$"), put(f"{place}/o", "value=5")]
    steps += [put(f"{place}/k", "value=6"), put(f"{place}/k", "value=7"), More()]
    steps += [delete(f"{place}/k"), get(f"{place}/k?wait=true&waitIndex=$8$")]
    yield Scenario("wait from an index", steps)


def streams() -> Iterator[Scenario]:
    place = fresh()
    yield Scenario(
        "stream",
        [
            wait(f"{place}?wait=true&recursive=true&stream=true"),
            put(f"{place}/a", "value=1"),
            More(1),
            post(f"{place}/q", "value=2"),
            More(1),
            put(f"{place}/_h/a", "value=hidden"),
            put(f"{place}/a", "value=3&prevValue=1"),
            More(1),
            put(f"{place}/a", "value=4&prevExist=true&ttl=100"),
            More(1),
            put(f"{place}/a", "prevExist=true&ttl=200&refresh=true"),
            delete(f"{place}/a?prevValue=4"),
            More(1),
            put(f"{place}/b", "value=5&noValueOnSuccess=true"),
            More(1),
            put(f"{place}/q", "dir=true"),
            put(f"{place}/r", "dir=true"),
            More(1),
        ],
    )


def unseen_events() -> Iterator[Scenario]:
    place = fresh()
    yield Scenario(
        "hidden events",
        [
            wait(f"{place}?wait=true&recursive=true"),
            put(f"{place}/_h", "value=1"),
            put(f"{place}/v/_h", "value=1"),
            put(f"{place}/v/w", "value=1"),
            More(),
            wait(f"{place}/_h?wait=true"),
            put(f"{place}/_h", "value=2"),
            More(),
            wait(f"{place}/_d?wait=true&recursive=true"),
            put(f"{place}/_d/_e", "value=2"),
            put(f"{place}/_d/f", "value=2"),
            More(),
        ],
    )


def refused_waits() -> Iterator[Scenario]:
    place = fresh()
    bad = ["waitIndex=x", "waitIndex=-1", "recursive=x", "stream=x"]
    steps = [get(f"{place}/k?wait=true&{query}") for query in bad]
    steps += [put(f"{place}/k?wait=true", "value=1"), put(f"{place}/k", "value=1&wait=true")]
    steps += [get(f"{place}/k?quorum=true&wait=true"), get(f"{place}/k?wait=false&waitIndex=1")]
    yield Scenario("waits that are refused", steps)


def refreshes() -> Iterator[Scenario]:
    place = fresh()
    yield Scenario(
        "a refresh is told nobody",
        [
            put(f"{place}/k", "value=1&ttl=100"),
            wait(f"{place}/k?wait=true"),
            put(f"{place}/k", "ttl=200&refresh=true&prevExist=true"),
            put(f"{place}/k", "ttl=200&refresh=true"),
            put(f"{place}/k", "value=2"),
            More(),
        ],
    )


# By chance.


def random_sequences(chance: Random, number: int, length: int) -> Iterator[Scenario]:
    """All verbs on a small tree, so that requests meet each other's traces."""
    for sequence in range(number):
        place = fresh()
        steps: list[Step] = []
        for step in range(length):
            key = place + chance.choice(
                ["/a", "/a/b", "/a/b/c", "/b", "/_h", "/_h/a", "/a/_h", "", "/c/d/e"]
            )
            steps.append(_random_request(chance, key, step))
        yield Scenario(f"random {sequence}", [*steps, listing(place)])


def _random_request(chance: Random, key: str, step: int) -> Request:
    method = chance.choice(
        ["PUT"] * 6 + ["GET", "GET", "HEAD", "POST", "DELETE", "DELETE", "DELETE"]
    )
    values = ["value=one", "value=two", "value=%C3%A9", "value=", ""]
    index = f"prevIndex=${chance.randrange(step + 1)}$"
    conditions = [
        "",
        "",
        "",
        "prevExist=true",
        "prevExist=false",
        "prevValue=one",
        "prevValue=two",
        index,
    ]
    extras = [
        "", "", "", "dir=true", "ttl=100", "ttl=1000", "refresh=true&ttl=100",
        "noValueOnSuccess=true",
    ]  # fmt: skip
    content = "&".join(filter(None, (chance.choice(values), chance.choice(extras))))
    condition = chance.choice(conditions)
    if method == "PUT":
        return put(with_query(key, condition, chance.choice(["", "", "dir=true"])), content)
    if method == "POST":
        return post(key, content)
    if method == "DELETE":
        flag = chance.choice(["", "dir=true", "recursive=true", "recursive=true"])
        return delete(with_query(key, condition, flag))
    queries = ["", "recursive=true", "sorted=true", "recursive=true&sorted=true"]
    queries += ["quorum=true&recursive=true"]
    return Request(method, with_query(key, chance.choice(queries)))


def key_scenarios() -> list[Scenario]:
    """All of them, always the same."""
    chance = Random(20141125)
    groups: list[Iterable[Scenario]] = [
        *(writes_to_a_file(chance), writes_everywhere(chance), creations_in_order(chance)),
        *(deletions(chance), root_writes(), reads(chance), booleans(), hidden(), order()),
        *(forms(), precedence(), faults_in_order(chance), expiry(), changed_ttls()),
        *(waits(), streams(), unseen_events(), refused_waits(), refreshes()),
        random_sequences(chance, 40, 25),
    ]
    return [scenario for group in groups for scenario in group]

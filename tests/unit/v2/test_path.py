import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvorum.v2 import path as paths


@pytest.mark.parametrize(
    ("raw", "decoded"),
    [
        (b"/a", b"/a"),
        (b"/s%2Fl", b"/s/l"),
        (b"/a%20b", b"/a b"),
        (b"/a+b", b"/a+b"),
        (b"/%3F%25", b"/?%"),
        (b"/%c3%A4", "/ä".encode()),
        (b"/%eE%Ee", b"/\xee\xee"),
        (b"/%00", b"/\0"),
        (b"%41", b"A"),
        (b"/%zz", None),
        (b"/%4", None),
        (b"/%", None),
        (b"/%%41", None),
    ],
)
def test_percent_decode(raw: bytes, decoded: bytes | None) -> None:
    assert paths.percent_decode(raw) == decoded


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [
        (b"/", b"/"),
        (b"//", b"/"),
        (b"/a", b"/a"),
        (b"/a/", b"/a/"),
        (b"/a//", b"/a/"),
        (b"//a", b"/a"),
        (b"/a/./b", b"/a/b"),
        (b"/a/../b", b"/b"),
        (b"/../a", b"/a"),
        (b"/a/..", b"/"),
        (b"/a/.", b"/a"),
        (b"/..", b"/"),
        (b"/.hidden/..b/c..", b"/.hidden/..b/c.."),
    ],
)
def test_clean(path: bytes, cleaned: bytes) -> None:
    assert paths.clean(path) == cleaned
    assert paths.is_clean(path) == (path == cleaned)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from([b"", b".", b"..", b"a", b".b", b"_"]), max_size=8))
def test_clean_is_idempotent_and_keeps_clean_paths(parts: list[bytes]) -> None:
    path = b"/" + b"/".join(parts)
    cleaned = paths.clean(path)
    assert paths.clean(cleaned) == cleaned
    assert paths.is_clean(cleaned)
    assert not set(cleaned.split(b"/")[1:-1]) & {b"", b".", b".."}


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=12))
def test_percent_decode_inverts_encoding_of_every_byte(data: bytes) -> None:
    assert paths.percent_decode(b"".join(b"%%%02x" % byte for byte in data)) == data


@pytest.mark.parametrize(
    ("decoded", "path"), [(b"", b"/"), (b"/", b"/"), (b"/a", b"/a"), (b"/a/b/", b"/a/b")]
)
def test_parse_drops_one_trailing_slash(decoded: bytes, path: bytes) -> None:
    assert paths.parse(decoded) == path


def test_subtree_is_one_range() -> None:
    prefix = paths.directory_prefix(b"/a/b")
    end = paths.directory_end(prefix)
    inside = [b"/a/b/", b"/a/b/\0", b"/a/b/c", b"/a/b/\xff\xff"]
    outside = [b"/a/b", b"/a/b-c", b"/a/b0", b"/a/bc", b"/a", b"/b"]
    assert all(prefix <= key < end for key in inside)
    assert not any(prefix <= key < end for key in outside)


def test_root_covers_every_path() -> None:
    prefix = paths.directory_prefix(paths.ROOT)
    assert prefix == b"/"
    assert prefix <= b"/zzz" < paths.directory_end(prefix)


def test_family() -> None:
    assert paths.parent_of(b"/a/b/c") == b"/a/b"
    assert paths.parent_of(b"/a") == b"/"
    assert list(paths.ancestors(b"/a/b/c")) == [b"/a", b"/a/b"]
    assert list(paths.ancestors(b"/a")) == []
    assert paths.of_key(b"/a/") == b"/a"
    assert paths.of_key(b"/a") == b"/a"
    assert paths.of_key(b"/") == b"/"
    assert paths.is_at_or_below(b"/a/b", b"/a")
    assert paths.is_at_or_below(b"/a", b"/a")
    assert not paths.is_at_or_below(b"/ab", b"/a")


@pytest.mark.parametrize(
    ("path", "listed"),
    [
        (b"/_a", False),
        (b"/a/_b", False),
        (b"/_a/b", True),
        (b"/a_", True),
        (b"/.a", True),
        (b"/a/", False),
        (b"/a/.", False),
        (b"/a/..", False),
    ],
)
def test_last_component_decides_whether_a_node_is_listed(path: bytes, listed: bool) -> None:
    assert paths.is_listed(path) is listed


@pytest.mark.parametrize(
    ("path", "watched", "hidden"),
    [
        (b"/_a", b"/", True),
        (b"/a/_b/c", b"/a", True),
        (b"/_a/b", b"/_a", False),
        (b"/_a/_b", b"/_a", True),
        (b"/a", b"/a", False),
        (b"/_a", b"/_a", False),
        (b"/a", b"/", False),
    ],
)
def test_watches_do_not_see_hidden_components_behind_their_path(
    path: bytes, watched: bytes, hidden: bool
) -> None:
    assert paths.is_hidden_from(path, watched) is hidden


def test_limits() -> None:
    assert paths.is_within_limits(b"/a" * paths.COMPONENTS_MAX)
    assert not paths.is_within_limits(b"/a" * (paths.COMPONENTS_MAX + 1))
    assert paths.is_within_limits(b"/".ljust(paths.PATH_BYTES_MAX, b"a"))
    assert not paths.is_within_limits(b"/".ljust(paths.PATH_BYTES_MAX + 1, b"a"))

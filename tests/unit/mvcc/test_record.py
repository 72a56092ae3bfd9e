from hypothesis import given
from hypothesis import strategies as st

from kvorum.mvcc.record import Record, decode, decode_links, encode
from kvorum.mvcc.revision import pack

NUMBERS = st.integers(0, 2**63 - 1)
REVISIONS = st.builds(pack, st.integers(1, 2**63 - 1), st.integers(0, 2**28 - 1))
RECORDS = st.builds(
    Record,
    st.binary(max_size=20),
    st.binary(max_size=20),
    NUMBERS,
    NUMBERS,
    NUMBERS,
    lease=st.integers(-(2**63), 2**63 - 1),
    sub=st.integers(0, 2**28 - 1),
    prev=st.none() | REVISIONS,
    tombstone=st.booleans(),
    action=st.integers(0, 255),
    expiration=NUMBERS,
    silent=st.booleans(),
)


@given(record=RECORDS)
def test_record_survives_its_bytes(record: Record) -> None:
    data = encode(record)
    assert decode(pack(record.mod_revision, record.sub), data) == record
    assert decode_links(data) == (
        record.key,
        record.prev,
        record.tombstone,
        record.expiration,
        record.lease,
    )


def test_layout_is_the_documented_one() -> None:
    record = Record(
        b"key", b"value", 2, 9, 4, lease=5, prev=pack(7, 1), action=3, expiration=6, silent=True
    )
    assert encode(record) == (
        b"\x02" + bytes(7) + b"\x04" + bytes(7) + b"\x05" + bytes(7) + b"\x06" + bytes(7)
        + b"\x07" + bytes(7) + b"\x01" + bytes(3) + b"\x03" + bytes(3) + b"\x03" + b"\x02"
        + b"keyvalue"
    )  # fmt: skip

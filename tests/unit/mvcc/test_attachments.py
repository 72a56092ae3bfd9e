from kvorum.mvcc.attachments import Attachments


def test_a_key_has_one_lease() -> None:
    attachments = Attachments()
    attachments.move(b"b", 0, 1)
    attachments.move(b"a", 0, 1)
    attachments.move(b"b", 1, 1)
    assert attachments.keys_of(1) == [b"a", b"b"]
    attachments.move(b"b", 1, -2)
    assert attachments.keys_of(1) == [b"a"]
    assert attachments.keys_of(-2) == [b"b"]
    attachments.move(b"a", 1, 0)
    assert attachments.keys_of(1) == []


def test_it_begins_with_what_the_records_say() -> None:
    attachments = Attachments({b"b": 1, b"a": 1, b"c": 2})
    assert attachments.keys_of(1) == [b"a", b"b"]
    assert attachments.keys_of(2) == [b"c"]

"""Reading a whole log, and telling a torn tail from damage.

A power cut in the middle of a write leaves, in the last segment, any part of what was not yet
synced: some of its 512-byte sectors new, the others still zeros, in no order. That is a *torn
tail*: nobody was told that these records exist, and cutting them off is right. Anything else is
*damage*: acknowledged records can be gone, and the log is refused and left as it is.

Let x be the offset of the first place where no sound record follows the one before. The log has

- a clean end, if only zeros follow;
- a torn tail, if x is in the last segment and all of this holds:
  1. no sound record behind x was written when x was already durable (`durable > x`), so nothing
     proves that x was ever synced;
  2. a sector of the record at x is missing: all zeros from x, or within the record's own length.
     The length can be trusted, for the first 8 bytes never straddle a sector. Or the file itself
     ends within the record, and is shorter than it was made;
- damage, in every other case: anywhere but in the last segment, in its first record, or when every
  sector of the record was written and the record is wrong all the same.

What this cannot see: the loss of the very last sectors of a log, zeros in their place, unless the
hard state or a later segment tells that more was there. The copies on other members are for that.
Source: the sector rule is the one etcd and others use; `durable` is ours.
"""

from pathlib import Path

from msgspec import Struct

from kvorum.decoding import FAULTS
from kvorum.errors import LocalProtocolError, StorageError
from kvorum.raft.types import Entry, Index
from kvorum.wal.record import (
    ALIGNMENT,
    HEADER,
    SEGMENT_BYTES_MAX,
    Head,
    Payload,
    Record,
    RecordType,
    decode,
    find_extent,
    scan,
)
from kvorum.wal.replay import Replay
from kvorum.wal.segment import LogFiles, OsLogFiles, parse_name

SECTOR_BYTES = 512
"""Every device writes a sector of this size whole, or not at all; larger ones are multiples."""

ADVICE = (
    "Nothing was changed. If the other members still have a quorum, remove this member, move its "
    "data directory away and add it again; otherwise restore a backup"
)


class SegmentReport(Struct):
    """One sound segment.

    Attributes:
        name: of the file.
        sequence: its number.
        allocated_bytes: length the file was made with.
        file_bytes: length it has.
        end: where the next record would begin.
        chain: checksum of its last record.
        record_count: its head included.
        last_index: index of its last entry; 0 without entries.
    """

    name: str
    sequence: int
    allocated_bytes: int
    file_bytes: int
    end: int
    chain: int
    record_count: int = 0
    last_index: Index = 0


class TornTail(Struct):
    """What a power cut left behind the last good record of the last segment."""

    path: Path
    offset: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path} at byte {self.offset}: {self.reason}"


class Report(Struct):
    """The findings on a whole log.

    Attributes:
        segments: those read, oldest first, up to the damage.
        replay: what the sound records add up to; None without any.
        torn: the tail that `Wal.open` would cut off.
        damage: why `Wal.open` would refuse.
    """

    segments: list[SegmentReport] = []
    replay: Replay | None = None
    torn: TornTail | None = None
    damage: StorageError | None = None


def verify(directory: Path) -> Report:
    """Reads the log in `directory` and changes nothing. Raises OSError when it cannot be read."""
    return verify_files(OsLogFiles(directory))


def verify_files(files: LogFiles) -> Report:
    """As `verify`, for any kind of file."""
    reader = _Reader(files)
    report = Report()
    try:
        report.torn = reader.read()
    except StorageError as damage:
        report.damage = damage
    report.segments = reader.segments
    report.replay = reader.replay
    return report


class _Reader:
    """Walks over all segments; raises StorageError at the first damage."""

    def __init__(self, files: LogFiles) -> None:
        self.segments: list[SegmentReport] = []
        self.replay: Replay | None = None
        self._files = files

    def read(self) -> TornTail | None:
        names = self._files.names()
        torn = None
        for name in names:
            data = self._files.read(name)
            segment = self._read_head(name, data)
            self._read_records(segment, data)
            torn = self._judge_end(segment, data, is_last=name == names[-1])
            self.segments.append(segment)
        return torn

    def _read_head(self, name: str, data: bytes) -> SegmentReport:
        """The segment's first record must be there, and belong where it stands."""
        record = decode(data, 0, SEGMENT_BYTES_MAX)
        if record is None or record.type != RecordType.HEAD:
            raise self._damage(name, 0, "the segment does not begin with a sound head")
        head = self._decode(name, record)
        assert isinstance(head, Head)
        if parse_name(name) != (head.sequence, head.next_index):
            raise self._damage(name, 0, f"the file holds segment {head.sequence}: it was renamed")
        if not 0 < head.allocated_bytes <= SEGMENT_BYTES_MAX:
            raise self._damage(name, 0, f"no segment has {head.allocated_bytes} bytes")
        if self.segments:
            self._check_follows(name, head, record)
        self._feed(name, record, head)
        size = self._files.size(name)
        return SegmentReport(
            name, head.sequence, head.allocated_bytes, size, record.end, record.crc, 1
        )

    def _check_follows(self, name: str, head: Head, record: Record) -> None:
        before = self.segments[-1]
        if head.sequence != before.sequence + 1:
            raise self._damage(name, 0, f"segment {before.sequence + 1} is missing before it")
        if record.prev != before.chain:
            raise self._damage(
                before.name,
                before.end,
                "records at its end are missing: the next segment follows others",
            )

    def _read_records(self, segment: SegmentReport, data: bytes) -> None:
        """Feeds all sound records behind the head."""
        while record := decode(data, segment.end, segment.allocated_bytes):
            value = self._decode(segment.name, record)
            if record.prev != segment.chain or isinstance(value, Head):
                raise self._damage(
                    segment.name, record.offset, "the record does not follow the one before it"
                )
            self._feed(segment.name, record, value)
            if isinstance(value, Entry):
                segment.last_index = value.index
            segment.end, segment.chain = record.end, record.crc
            segment.record_count += 1

    def _decode(self, name: str, record: Record) -> Payload:
        try:
            return record.decode_payload()
        except (*FAULTS, KeyError) as error:
            reason = (
                f"the record cannot be understood ({error}); a newer version may have written it"
            )
            raise self._damage(name, record.offset, reason) from error

    def _feed(self, name: str, record: Record, value: Payload) -> None:
        try:
            if self.replay is None:
                assert isinstance(value, Head)
                self.replay = Replay(value)
            else:
                self.replay.feed(value)
        except LocalProtocolError as error:
            raise self._damage(name, record.offset, str(error)) from error

    def _judge_end(self, segment: SegmentReport, data: bytes, *, is_last: bool) -> TornTail | None:
        """What comes after the last sound record: nothing, a torn tail, or damage."""
        offset = segment.end
        if not any_byte(data, offset, len(data)):
            return None
        if not is_last:
            raise self._damage(segment.name, offset, "the record is damaged, and a segment follows")
        later = next(
            (
                r
                for r in scan(data, offset + ALIGNMENT, segment.allocated_bytes)
                if r.durable > offset
            ),
            None,
        )
        if later is not None:
            reason = (
                f"the record is damaged; it was durable when the one at {later.offset} was written"
            )
            raise self._damage(segment.name, offset, reason)
        tear = find_tear(data, offset, segment)
        if tear is None:
            raise self._damage(
                segment.name, offset, "the record is damaged, and no write cut short explains it"
            )
        return TornTail(self._files.path(segment.name), offset, tear)

    def _damage(self, name: str, offset: int, reason: str) -> StorageError:
        return StorageError(f"{reason}. {ADVICE}", self._files.path(name), offset)


def find_tear(data: bytes, offset: int, segment: SegmentReport) -> str | None:
    """How a cut write explains that no sound record is at `offset`; None when it cannot."""
    if segment.file_bytes < min(offset + HEADER.size, segment.allocated_bytes):
        return "the file ends within its header"
    end = find_extent(data, offset)
    if end is None:
        end = offset - offset % SECTOR_BYTES + SECTOR_BYTES
        return None if any_byte(data, offset, end) else "its first sector was not written"
    if end > segment.allocated_bytes:
        return None
    if end > segment.file_bytes:
        return "the file ends within it"
    start = offset
    while start < end:
        stop = min(end, start - start % SECTOR_BYTES + SECTOR_BYTES)
        if not any_byte(data, start, stop):
            return f"its sector at {start} was not written"
        start = stop
    return None


def any_byte(data: bytes, start: int, end: int) -> bool:
    """Whether any byte in `[start, end)` is not zero; bytes past the end of `data` are."""
    return bool(data[start:end].strip(b"\0"))

"""Wire protocols as state machines: bytes in, events out, and back. No I/O, no clock."""

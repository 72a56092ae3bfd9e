"""Consensus after the Raft thesis, without I/O. Begin with `rawnode`; usable alone."""

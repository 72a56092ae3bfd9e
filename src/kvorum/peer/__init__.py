"""Raft's messages between members: framed batches on long-lived connections."""

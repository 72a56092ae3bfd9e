"""The node: from Raft's Ready to disk, network and state, and back to the request that waits."""

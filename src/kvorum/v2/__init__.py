"""The tree of the v2 API: a view of the one keyspace, with its rules, its events and its JSON."""

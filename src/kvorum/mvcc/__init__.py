"""The keyspace: every key's every value, by revision, and those who watch it change."""

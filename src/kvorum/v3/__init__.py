"""The v3 API over the keyspace: its requests and answers as data, and the checks before the log."""

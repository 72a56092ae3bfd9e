"""The v2 HTTP API: keys, statistics, members."""

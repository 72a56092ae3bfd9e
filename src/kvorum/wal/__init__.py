"""The log on disk and its data directory. `wal.Wal` and `datadir.DataDir` are the doors."""

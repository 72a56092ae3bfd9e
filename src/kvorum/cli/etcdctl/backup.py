"""`backup`: a copy of a stopped member's data, from which a new cluster can be started.

It works on directories and asks no server. What it does is in `server/rebirth.py`.
Source: reference contract, v2-api section 13.2.
"""

from pathlib import Path

from kvorum.cli.etcdctl.command import EXIT_OK, Call, Command, MissingArgument
from kvorum.cli.etcdctl.options import Option


def _back_up(call: Call) -> int:
    # The server's modules are loaded by nobody else.
    from kvorum.clock import SystemClock  # noqa: PLC0415
    from kvorum.server.rebirth import back_up  # noqa: PLC0415

    data_dir, backup_dir = call.values.text("data-dir"), call.values.text("backup-dir")
    if not data_dir:
        raise MissingArgument("Data dir required")
    if not backup_dir:
        raise MissingArgument("Backup dir required")
    wal_dir = call.values.text("wal-dir")
    revision = back_up(
        Path(data_dir), Path(backup_dir), SystemClock(), Path(wal_dir) if wal_dir else None
    )
    print(f"backed up to {backup_dir} at index {revision}")
    return EXIT_OK


BACKUP = Command(
    "backup",
    "--data-dir DIR --backup-dir DIR",
    "copy the data of a stopped member",
    "etcdctl backup --data-dir m1.etcd --backup-dir m1.backup",
    (
        Option("data-dir", "where the member's data is", "text", "DIR"),
        Option("wal-dir", "where its log is, if not there", "text", "DIR"),
        Option("backup-dir", "where the copy goes: empty, or not there", "text", "DIR"),
        Option("with-v3", "taken for compatibility: everything is in one store"),
    ),
    _back_up,
    asks="nothing",
)

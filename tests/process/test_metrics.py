"""`/metrics` of a server that has something to count."""

import pytest

from kvorum.testing import ServerProcess

pytestmark = pytest.mark.process


def test_writes_show_in_the_metrics(server: ServerProcess) -> None:
    with server.client() as client:
        for number in range(20):
            client.put("/key", str(number))
    answer = server.ask("/metrics")
    assert answer is not None
    lines = dict(
        line.rsplit(" ", 1) for line in answer[1].decode().splitlines() if not line.startswith("#")
    )
    assert lines["etcd_server_has_leader"] == lines["etcd_server_is_leader"] == "1"
    assert int(lines["etcd_server_proposals_applied_total"]) >= 20
    assert int(lines["etcd_disk_wal_fsync_duration_seconds_count"]) >= 20
    assert int(lines["process_resident_memory_bytes"]) > 1 << 20

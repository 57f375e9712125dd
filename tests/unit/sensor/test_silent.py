"""File systems of which no events come."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightflow.sensor.silent import is_silent

MOUNTS = r"""
/dev/vda / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
nas:/export /data nfs4 rw,vers=4.2 0 0
/dev/sdb1 /data/local xfs rw 0 0
//camera/share /mnt/my\040camera cifs rw 0 0
me@host:/ /mnt/far fuse.sshfs rw 0 0
tmpfs /run/over tmpfs rw 0 0
nas:/over /run/over nfs rw 0 0
broken
"""


@pytest.mark.parametrize(
    ("folder", "silent"),
    [
        ("/home/astro", False),
        ("/data", True),
        ("/data/2026-03-01", True),
        ("/database", False),
        ("/data/local/raw", False),
        ("/mnt/my camera/raw", True),
        ("/mnt/far/raw", True),
        ("/run/over", True),
    ],
)
def test_by_the_type_of_what_is_mounted_there(folder: str, silent: bool) -> None:
    assert is_silent(Path(folder), MOUNTS) is silent


def test_this_machine_is_asked_by_default() -> None:
    assert is_silent(Path("/proc")) is False

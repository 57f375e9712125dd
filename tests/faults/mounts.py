"""Disks of their own, for tests that fill them or take them away."""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["insert", "is_mounted", "mount_small", "unmount"]


def insert(card: Path, folder: Path) -> bool:
    """Mount what is in ``card`` on ``folder``, as another disk; False where this process may not."""
    return _mount("--bind", str(card), str(folder))


def mount_small(folder: Path, megabytes: int) -> bool:
    """Mount a disk of so many megabytes on ``folder``; False where this process may not."""
    return _mount("-t", "tmpfs", "-o", f"size={megabytes}M", "nightflow-test", str(folder))


def _mount(*arguments: str) -> bool:
    try:
        return (
            subprocess.run(["mount", *arguments], check=False, capture_output=True, timeout=20).returncode
            == 0
        )
    except FileNotFoundError:
        return False


def unmount(folder: Path) -> None:
    """Unmount, whoever still looks into it."""
    subprocess.run(["umount", "-l", folder], check=True, capture_output=True, timeout=20)


def is_mounted(folder: Path) -> bool:
    """Return whether something is mounted there; `Path.is_mount` does not see a folder of the same disk."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return str(folder.resolve()) in [line.split()[4] for line in mounts]

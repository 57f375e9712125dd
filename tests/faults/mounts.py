"""Small disks of their own, for tests that fill them or take them away."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["insert", "is_mounted", "small_disk", "unmount"]


def insert(card: Path, folder: Path) -> bool:
    """Mount what is in ``card`` on ``folder``, as another disk; False where this process may not."""
    return _mount("--bind", str(card), str(folder))


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


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """Give a disk of so many megabytes; the test is skipped where this process may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    if not _mount("-t", "tmpfs", "-o", f"size={megabytes}M", "nightflow-test", str(folder)):
        pytest.skip("this process may not mount a small disk (tmpfs)")
    try:
        yield folder
    finally:
        unmount(folder)

"""Folders whose file system tells nobody of what other machines write there: they have to be listed often."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["is_silent"]

_MOUNTS = Path("/proc/self/mounts")
_SILENT = frozenset(
    {
        "nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "9p", "virtiofs", "vboxsf", "drvfs", "davfs",
        "ceph", "glusterfs", "lustre", "gpfs", "beegfs", "fuse.sshfs", "fuse.glusterfs", "fuse.rclone",
        "fuse.vmhgfs-fuse", "fuse.s3fs", "fuse.davfs2",
    }
)  # fmt: skip
"""Types of file systems that are shared: inotify(7) hears only of what is done on this machine."""
_ESCAPE = re.compile(r"\\([0-7]{3})")


def is_silent(folder: Path, mounts: str | None = None) -> bool:
    """Return whether a folder lies on a file system that sends no events of what others write.

    Parameters
    ----------
    folder : Path
        Absolute.
    mounts : str, optional
        The mounted file systems as Linux lists them (fstab(5)); by default those of now. Where no such list
        is to be had, no folder is taken for silent.
    """
    if mounts is None:
        try:
            mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return False
    holding = [
        (len(place.parts), row, kind)
        for row, (place, kind) in enumerate(_listed(mounts))
        if folder.is_relative_to(place)
    ]
    # What is mounted deeper, and of two in one place what was mounted later, hides the other.
    return bool(holding) and max(holding)[2] in _SILENT


def _listed(mounts: str) -> list[tuple[Path, str]]:
    rows = [line.split() for line in mounts.splitlines()]
    return [(Path(_ESCAPE.sub(_character, row[1])), row[2]) for row in rows if len(row) > 2]


def _character(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 8))

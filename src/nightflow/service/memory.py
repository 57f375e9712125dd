"""How much memory a process holds for itself, and how much there is."""

from __future__ import annotations

from pathlib import Path

__all__ = ["memory_of", "memory_of_the_machine"]


def memory_of(pid: int) -> int | None:
    """Return the bytes that only this process holds in memory; None where nobody tells (only Linux does).

    Masters, which are mapped from their files, do not count: the kernel takes their pages back by itself.
    """
    return _kibibytes(Path(f"/proc/{pid}/status"), "RssAnon:")


def memory_of_the_machine() -> int | None:
    """Return the bytes that there are for all processes, of the machine or the container; None: unknown."""
    known = [_kibibytes(Path("/proc/meminfo"), "MemTotal:"), _limit_of_the_container()]
    return min((one for one in known if one is not None), default=None)


def _kibibytes(file: Path, key: str) -> int | None:
    try:
        lines = file.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def _limit_of_the_container() -> int | None:
    try:
        return int(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):  # no container, or "max"
        return None

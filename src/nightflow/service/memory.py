"""How much memory a process holds for itself, and how much there is."""

from __future__ import annotations

from pathlib import Path

from nightflow.config import Settings

__all__ = ["allowed_memory", "memory_of", "memory_of_the_machine"]

_MEMBERSHIPS = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")


def memory_of(pid: int) -> int | None:
    """Return the bytes that only this process holds in memory; None where nobody tells (only Linux does).

    Masters, which are mapped from their files, do not count: the kernel takes their pages back by itself.
    """
    return _kibibytes(Path(f"/proc/{pid}/status"), "RssAnon:")


def memory_of_the_machine() -> int | None:
    """Return the bytes that there are for all processes of machine, container or service; None: unknown."""
    total = _kibibytes(Path("/proc/meminfo"), "MemTotal:")
    return min([*_limits_of_groups(), *([] if total is None else [total])], default=None)


def allowed_memory(settings: Settings) -> int | None:
    """Return how many bytes one worker may hold; None where nobody knows."""
    if settings.watch.memory_gb > 0:
        return int(settings.watch.memory_gb * 1e9)
    there = memory_of_the_machine()
    return None if there is None else there // (2 * settings.watch.workers)


def _kibibytes(file: Path, key: str) -> int | None:
    try:
        lines = file.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def _limits_of_groups() -> list[int]:
    """Return what bounds the control groups that this process is in, and those above them.

    A container is one; so is a service that systemd gives a MemoryMax.
    """
    try:
        lines = _MEMBERSHIPS.read_text().splitlines()
    except OSError:  # no Linux
        return []
    limits = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            root, name = _GROUPS, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = _GROUPS / "memory", "memory.limit_in_bytes"
        else:
            continue
        path = root / group.lstrip("/")
        limits += [_bytes(one / name) for one in (path, *path.parents) if one.is_relative_to(root)]
    return [limit for limit in limits if limit is not None]


def _bytes(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # not there, or "max"
        return None

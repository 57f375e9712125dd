"""Freed memory that a process keeps for its next frame: the kernel need not clear it again.

glibc maps what is larger than 32 MB for each array anew and returns it at once. A frame of 4096 x 4096 pixels
is worked on in some twenty such planes, and a quarter of the CPU time went into clearing their pages.
"""

from __future__ import annotations

import ctypes
from typing import Any

__all__ = ["give_back_freed_memory", "keep_freed_memory", "use_one_arena"]

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
_NEVER = 2**31 - 1
"""Bytes at the end of the heap from which they would be returned; the largest that mallopt takes."""


def keep_freed_memory() -> None:
    """Let this process keep what it frees; call it before threads begin. Without glibc nothing changes.

    One arena for all threads: those of its own that a thread would get hold 64 MB at most.
    """
    _set({_M_ARENA_MAX: 1, _M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: _NEVER})


def use_one_arena() -> None:
    """Let all threads share what this process frees; call it before they begin. Only glibc knows this.

    A service that begins a thread for each call, for months, else scatters it over 8 arenas a core, and seems
    to leak.
    """
    _set({_M_ARENA_MAX: 1})


def give_back_freed_memory() -> None:
    """Return to the kernel what this process has kept. Without glibc nothing changes."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def _set(options: dict[int, int]) -> None:
    library = _glibc()
    if library is not None:
        for option, value in options.items():
            library.mallopt(option, value)


def _glibc() -> Any:
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None

"""Where compiled kernels are kept: in a folder that is named after the constants compiled into them.

numba compiles a kernel anew where its own file has changed. The bits of `nightflow.flags` and the constants
of `nightflow.robust` come from elsewhere and are frozen into it: with a kernel of yesterday's bits a frame
would get wrong flags. So a change of those files means another folder. It is a user's own, and one that may
be written: otherwise numba would silently keep kernels beside the code, where nothing tells of such a change.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from nightflow.folders import nearest_existing

__all__ = ["FROZEN", "are_ready", "kernel_folder", "note_ready", "use_kernel_folder"]

FROZEN = ("flags.py", "robust.py")
"""Files of the package, besides its own, whose constants stand in a kernel."""

_VARIABLE = "NUMBA_CACHE_DIR"
_PREFIX = "kernels-"
_READY = "ready"
"""File that says for which program all kernels were compiled."""
_UNUSED_DAYS = 30.0
_PACKAGE = Path(__file__).parent


def use_kernel_folder() -> None:
    """Let numba keep kernels in our folder; call it before the first kernel is declared.

    It lies in that of NUMBA_CACHE_DIR, else beside the code, else in the user's cache: in the first of these
    where this user may write. Where there is none, the choice is numba's.
    """
    digest = hashlib.sha256(b"".join((_PACKAGE / name).read_bytes() for name in FROZEN)).hexdigest()
    name = f"{_PREFIX}{digest[:12]}-{os.geteuid()}"
    folder = next(filter(_can_be_written, (parent / name for parent in _parents())), None)
    if folder is None:
        return
    with suppress(OSError):  # not there yet; what is used stays, see `note_ready`
        os.utime(folder)
    os.environ[_VARIABLE] = str(folder)
    if "numba" in sys.modules:  # it has read its environment already
        sys.modules["numba"].config.CACHE_DIR = str(folder)


def kernel_folder() -> Path | None:
    """Return the folder that `use_kernel_folder` has chosen; None where there is none."""
    folder = os.environ.get(_VARIABLE)
    return Path(folder) if folder else None


def are_ready() -> bool:
    """Return whether all kernels were compiled for this program on this processor, as `note_ready` says."""
    folder = kernel_folder()
    try:
        return folder is not None and (folder / _READY).read_bytes() == _program()
    except OSError:
        return False


def note_ready() -> None:
    """Say that all kernels are compiled, and remove the folders of programs that are long gone.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    folder = kernel_folder()
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _READY).write_bytes(_program())
    for other in folder.parent.glob(f"{_PREFIX}*"):
        if other != folder and _is_unused(other):
            shutil.rmtree(other, ignore_errors=True)


def _is_unused(folder: Path) -> bool:
    try:
        return time.time() - folder.stat().st_mtime > _UNUSED_DAYS * 86400
    except OSError:  # somebody else has just removed it
        return False


def _parents() -> list[Path]:
    """Return where the folder may lie, the best place first."""
    return [*_named(), _PACKAGE / "__pycache__", *_user_cache()]


def _named() -> list[Path]:
    named = os.environ.get(_VARIABLE)
    if not named:
        return []
    # by a process of ours that has started this one, perhaps
    return [Path(named).parent if Path(named).name.startswith(_PREFIX) else Path(named)]


def _user_cache() -> list[Path]:
    try:
        return [Path.home() / ".cache" / "nightflow"]
    except RuntimeError:  # a user without a home
        return []


def _can_be_written(folder: Path) -> bool:
    """Return whether this user can make a file there, or make the folder; what the mode says may not hold."""
    try:
        with tempfile.TemporaryFile(dir=nearest_existing(folder)):
            return True
    except OSError:
        return False


def _program() -> bytes:
    """Return what a compiled kernel is good for: this code, these versions, this processor, this user."""
    # Imported here: most commands, which import this, need none of it.
    from importlib import metadata

    from llvmlite.binding import get_host_cpu_name

    from nightflow.software import software_fingerprint

    versions = [software_fingerprint(), metadata.version("numba"), sys.version, get_host_cpu_name()]
    return "\n".join([*versions, str(os.geteuid()), ""]).encode()

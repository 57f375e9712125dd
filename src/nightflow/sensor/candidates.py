"""Which files in a watched folder are frames, and which are somebody's unfinished business.

Every tool that copies files has its own habit for the name of a half-written one: rsync and Syncthing hide
it (``.frame.fits.Xy12Zq``, ``.syncthing.frame.fits.tmp``, ``.rsync-partial/``), FTP servers and browsers
append a suffix (``.part``, ``.filepart``), proFTPD hides it (``.in.frame.fits.``), Windows tools put a tilde
in front. All of them rename at the end, so that the right name appears once and whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = ["ignored_folder", "is_candidate"]

FITS_SUFFIXES = frozenset({".fits", ".fit", ".fts"})
COMPRESSED_SUFFIXES = frozenset({".fz", ".gz"})
UNFINISHED = frozenset({".part", ".tmp"})
"""In front of the suffix, as programs put it that keep the type of a file (``frame.part.fits``); other words
there are the observer's own (``dark.temp.fits``)."""
HIDDEN_PREFIXES = (".", "~", "#", "@", "$")
"""Dot files everywhere; ``~`` of Syncthing and Windows; ``#recycle``, ``@eaDir``, ``$RECYCLE.BIN``."""
SYSTEM_FOLDERS = frozenset({"lost+found", "system volume information", "recycler"})


def is_candidate(path: Path, root: Path, excluded: Sequence[Path] = ()) -> bool:
    """Return whether a file below a watched folder has the name of a finished FITS file.

    Parameters
    ----------
    path : Path
        The file; it need not exist.
    root : Path
        The watched folder that holds it.
    excluded : sequence of Path
        Folders inside ``root`` that hold no raw frames (masters, products).
    """
    if not path.is_relative_to(root):
        return False
    folders = path.relative_to(root).parts[:-1]
    if any(ignored_folder(folder) for folder in folders):
        return False
    if any(path.is_relative_to(folder) for folder in excluded):
        return False
    return not path.name.startswith(HIDDEN_PREFIXES) and _has_fits_suffix(path)


def ignored_folder(name: str) -> bool:
    """Return whether a folder of this name is a tool's own and holds no finished frames."""
    return name.startswith(HIDDEN_PREFIXES) or name.lower() in SYSTEM_FOLDERS


def _has_fits_suffix(path: Path) -> bool:
    suffixes: list[str] = ["", "", *(suffix.lower() for suffix in path.suffixes)]
    *inner, last = suffixes
    if last in COMPRESSED_SUFFIXES and inner[-1] not in FITS_SUFFIXES:
        # `frame.fz` and `frame.001.gz` are frames; `logs.tar.gz` and `weather.csv.gz` are not.
        return not _is_file_type(inner[-1])
    if last in COMPRESSED_SUFFIXES:
        *inner, last = inner
    return last in FITS_SUFFIXES and inner[-1] not in UNFINISHED


def _is_file_type(suffix: str) -> bool:
    """Return whether a suffix names a type, unlike the end of a time or number (``.001``)."""
    return suffix[1:].isalpha()

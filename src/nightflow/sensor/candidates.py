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
TEMPORARY_SUFFIXES = frozenset(
    {".tmp", ".temp", ".part", ".partial", ".filepart", ".download", ".crdownload", ".upload"}
)
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
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if not suffixes or TEMPORARY_SUFFIXES.intersection(suffixes):
        return False
    if suffixes[-1] not in COMPRESSED_SUFFIXES:
        return suffixes[-1] in FITS_SUFFIXES
    # `frame.fits.gz` and `frame.fz` are frames; `logs.tar.gz` and `weather.csv.gz` are not.
    inner = suffixes[:-1]
    return not inner or inner[-1] in FITS_SUFFIXES or not _is_file_type(inner[-1])


def _is_file_type(suffix: str) -> bool:
    """Return whether a suffix names a type, unlike the end of a time or number (``.001``)."""
    return suffix[1:].isalpha()

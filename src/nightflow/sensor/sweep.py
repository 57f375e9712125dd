"""List the watched folders, for all that no event told of.

Network drives send no events, an event queue can overflow, and files land while nothing is running. So the
folders are listed at the start and from time to time.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from nightflow.sensor.candidates import ignored_folder, is_candidate
from nightflow.sensor.seen import Seen, seen

__all__ = ["Listing", "regular_status", "sweep"]

log = logging.getLogger(__name__)


class Listing:
    """One look at all that lies in a watched folder.

    Parameters
    ----------
    root : Path
        The watched folder.
    excluded : sequence of Path
        Folders that hold no raw frames.
    within : sequence of Path, optional
        Look only at these subfolders of ``root``.

    Attributes
    ----------
    folders : list of Path
        Those that were listed, as far as `steps` has come.
    links : list of Path
        Links to folders. They are not followed: one that leads upwards would have no end.
    fault : str or None
        Why ``root`` itself cannot be listed, as in the log; "" where it can, None where nobody has tried yet.

    Notes
    -----
    A folder that is absent or cannot be read is reported in the log and holds nothing for now.
    """

    def __init__(
        self, root: Path, excluded: Sequence[Path] = (), within: Sequence[Path] | None = None
    ) -> None:
        self._root = root
        self._excluded = excluded
        self._within = (root,) if within is None else within
        self.folders: list[Path] = []
        self.links: list[Path] = []
        self.fault: str | None = None

    def steps(self) -> Iterator[tuple[Path, Seen] | None]:
        """Yield the candidates, oldest first, because calibrations are mostly taken before what needs them.

        With each comes what was seen of it, which may be as old as the listing is long. Before the first of
        them come many None: whoever asks may do something else between any two.
        """
        found: list[tuple[Path, Seen]] = []
        for path in self._walk():
            if path is not None and is_candidate(path, self._root, self._excluded):
                status = regular_status(path)
                if status is not None:
                    found.append((path, seen(status)))
            yield None
        yield from sorted(found, key=lambda one: (one[1].mtime_ns, one[0]))

    def _walk(self) -> Iterator[Path | None]:
        for top in self._within:
            for parent, folders, files in os.walk(top, onerror=self._report):
                here = Path(parent)
                if here == self._root:
                    self.fault = ""
                self.folders.append(here)
                kept = sorted(name for name in folders if not self._ignored(here / name))
                self.links.extend(here / name for name in kept if _is_link(here / name))
                folders[:] = kept
                yield None
                yield from (here / name for name in files)

    def _report(self, error: OSError) -> None:
        fault = f"cannot be listed: {error.strerror}"
        log.warning("%s: %s", error.filename, fault)
        if Path(os.fsdecode(error.filename)) == self._root:
            self.fault = fault

    def _ignored(self, folder: Path) -> bool:
        return ignored_folder(folder.name) or folder in self._excluded


def sweep(root: Path, excluded: Sequence[Path] = (), within: Path | None = None) -> list[Path]:
    """Return the candidates in a watched folder, or within one of its subfolders; see `Listing`."""
    listing = Listing(root, excluded, None if within is None else (within,))
    return [found[0] for found in listing.steps() if found is not None]


def _is_link(folder: Path) -> bool:
    return os.path.islink(folder)  # noqa: PTH114 - Path.is_symlink raises where a disk is away


def regular_status(path: Path) -> os.stat_result | None:
    """Return what the file system says of a file; None if it is gone, or a pipe or device: no end."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("%s: cannot be looked at: %s", path, error)
        return None
    return status if stat.S_ISREG(status.st_mode) else None

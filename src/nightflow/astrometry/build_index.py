"""Build an astrometry.net index file from reference stars.

The work is done by ``build-astrometry-index`` of the astrometry.net suite (Lang et al. 2010, AJ 139, 1782), a
program of its own that is needed for building only: solving needs the finished file and nothing else.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from nightflow.catalogs.stars import ReferenceStars
from nightflow.errors import ConfigurationError, NightflowError
from nightflow.external import ProgramError, run_bounded
from nightflow.fits_output import replacing

__all__ = ["PROGRAM", "build_index", "index_command"]

PROGRAM = "build-astrometry-index"

_HEALPIX_SIDE_ARCMIN = 3517.9
"""Side of a healpix cell at nside 1."""
_CELLS_ACROSS_FIELD = 3.0
_SMALLEST_QUAD, _LARGEST_QUAD = 0.16, 0.72
"""Quad diameters in units of the field."""
_STARS_A_CELL = 12
_PASSES, _REUSES = 30, 60
_MINIMUM_STARS = 8


def build_index(
    stars: ReferenceStars,
    output: Path,
    field_arcmin: float,
    *,
    index_id: int = 32001,
    program: str = PROGRAM,
    time_limit: float = 300.0,
) -> Path:
    """Write an index file for images of about one size.

    Parameters
    ----------
    stars : ReferenceStars
        Stars with a magnitude in at least one band, at the epoch that the index shall have. The brightest
        of each part of the sky are used; those without a magnitude are left out.
    output : Path
        The index file; replaced only when the new one is complete.
    field_arcmin : float
        Shorter side of the images. Quads of 0.16 to 0.72 of it are built, so that images between 0.7 and
        1.3 times the size are solved as well.
    index_id : int
        Number that astrometry.net reports for this index.
    program : str
        Name or path of ``build-astrometry-index``.
    time_limit : float
        Seconds.

    Returns
    -------
    Path
        ``output``.

    Raises
    ------
    ConfigurationError
        The program is not installed, the field's size is not positive, or there are too few stars.
    NightflowError
        The program failed or took too long; the message holds what it said last.
    """
    executable = _find_program(program)
    if not field_arcmin > 0:
        raise ConfigurationError(f"field_arcmin = {field_arcmin}: the field's size must be above 0 arcmin")
    usable = stars.take(np.isfinite(stars.brightness()))
    if len(usable) < _MINIMUM_STARS:
        raise ConfigurationError(
            f"catalogue {stars.catalog}: {len(usable)} stars with a magnitude, an index needs "
            f"{_MINIMUM_STARS}; import a deeper catalogue or one of a wider field"
        )
    with tempfile.TemporaryDirectory(prefix="nightflow-index-") as folder:
        _star_table(usable).write(Path(folder) / "stars.fits")
        _run([executable, *index_command(field_arcmin, index_id)[1:]], Path(folder), time_limit)
        return _install(Path(folder) / "index.fits", output)


def index_command(field_arcmin: float, index_id: int) -> list[str]:
    """Return the command that makes ``index.fits`` of ``stars.fits`` (columns RA, DEC, MAG) in its folder."""
    nside = max(1, round(_HEALPIX_SIDE_ARCMIN * _CELLS_ACROSS_FIELD / field_arcmin))
    options = {
        "-i": "stars.fits",
        "-o": "index.fits",
        "-N": nside,
        "-l": round(_SMALLEST_QUAD * field_arcmin, 3),
        "-u": round(_LARGEST_QUAD * field_arcmin, 3),
        "-A": "RA",
        "-D": "DEC",
        "-S": "MAG",
        "-n": _STARS_A_CELL,
        "-p": _PASSES,
        "-R": _REUSES,
        "-L": _REUSES,
        "-r": 1,
        "-j": 1,
        "-I": index_id,
        "-t": ".",
    }
    return [PROGRAM, *(str(word) for option in options.items() for word in option), "-E"]


def _find_program(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise ConfigurationError(
            f"{program} is not installed; it comes with astrometry.net (Debian and Ubuntu: apt install "
            "astrometry.net) and is needed to build index files only, not to solve"
        )
    return found


def _star_table(stars: ReferenceStars) -> Table:
    magnitudes: NDArray[np.float32] = stars.brightness().astype(np.float32)
    table = Table({"RA": stars.ra, "DEC": stars.dec, "MAG": magnitudes})
    table.sort("MAG")
    return table


def _run(command: Sequence[str], folder: Path, time_limit: float) -> None:
    try:
        done = run_bounded(command, seconds=time_limit, folder=folder)
    except ProgramError as error:
        raise NightflowError(f"{error}; fewer stars take less time and memory") from error
    if done.status != 0 or not (folder / "index.fits").is_file():
        raise NightflowError(f"{command[0]}: exit status {done.status}: {done.last_words}")


def _install(made: Path, output: Path) -> Path:
    with replacing(output) as partial:
        shutil.copyfile(made, partial)
    return output

"""The rung `solve_field`: astrometry.net's own program on our star list.

It never sees a pixel: it gets a table of places (XYLS) and a backend configuration that lists our index
files, and leaves a WCS in a file, which is no more than a claim (`nightflow.astrometry.outside`). It is there
for machines without the wheel, and for the frames where the two versions of the solver differ.
"""

from __future__ import annotations

import math
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

from astropy.io import fits
from astropy.table import Table
from astropy.utils.exceptions import AstropyWarning

from nightflow.astrometry.accept import WALL_OVER_CPU
from nightflow.astrometry.astrometry_net import usable_index_files
from nightflow.astrometry.outside import (
    Attempt,
    first_believed,
    require_verifiable,
    scale_range,
    star_places,
)
from nightflow.astrometry.solution import Solution, SolveRequest
from nightflow.catalogs.local import LocalCatalogs
from nightflow.errors import NoSolution
from nightflow.external import Finished, not_installed, run_bounded, scratch_folder
from nightflow.instruments.profile import AstrometrySettings

__all__ = ["PROGRAM", "solve_field_command", "solve_with_solve_field"]

PROGRAM = "solve-field"

_STARS, _CONFIGURATION, _CLAIM = "stars.xyls", "backend.cfg", "claim.wcs"
_PARITY = {1: ["--parity", "pos"], -1: ["--parity", "neg"], 0: []}
"""astrometry.net's "pos" is the sky as it is: a negative determinant of CD in FITS."""
_OVERHEAD = 5.0
"""Seconds that its helpers may take before and after the search."""
_UNWANTED = ("--solved", "--match", "--rdls", "--corr", "--index-xyls", "--new-fits")


def solve_with_solve_field(
    request: SolveRequest,
    catalogs: LocalCatalogs,
    settings: AstrometrySettings,
    index_folders: Sequence[Path],
) -> Solution:
    """Solve a frame with `solve-field`: with the hints first, then blind; then verify.

    Parameters
    ----------
    request : SolveRequest
        ``scale`` narrows the search where known, ``ra``, ``dec`` and ``parity`` too.
    catalogs : LocalCatalogs
        Reference stars for the verification.
    settings : AstrometrySettings
        The bar a solution must pass.
    index_folders : sequence of Path
        Searched for index files; the packaged folder is searched after them.

    Raises
    ------
    NoSolution
        No program, no catalogue, no index file, no temporary folder, a program that crashed or ran out of
        time, or nothing that verifies. Nothing of it is left: neither process nor file.
    """
    require_verifiable(request, catalogs, settings)
    if shutil.which(PROGRAM) is None:
        raise NoSolution(not_installed(PROGRAM))
    files, damaged = usable_index_files(index_folders)
    return first_believed(
        request,
        catalogs,
        settings,
        lambda attempt: _ask(request, files, attempt),
        backend="solve_field",
        notes=damaged,
    )


def solve_field_command(request: SolveRequest, attempt: Attempt) -> list[str]:
    """Return the command that solves ``stars.xyls`` in the folder where it runs, into ``claim.wcs``."""
    ny, nx = request.shape
    command = [PROGRAM, _STARS, "--backend-config", _CONFIGURATION, "--dir", ".", "--temp-dir", "."]
    command += ["--overwrite", "--no-plots", "--width", str(nx), "--height", str(ny)]
    # what would change or reorder our list; and a fit of the distortion, which is ours
    command += ["--no-remove-lines", "--uniformize", "0", "--no-tweak", "--crpix-center"]
    command += ["--cpulimit", str(math.ceil(attempt.seconds)), "--wcs", _CLAIM]
    command += [word for option in _UNWANTED for word in (option, "none")]
    command += _PARITY[request.parity]
    scales = scale_range(request)
    if scales is not None:
        low, high = (f"{scale:.6g}" for scale in scales)
        command += ["--scale-units", "arcsecperpix", "--scale-low", low, "--scale-high", high]
    if attempt.position is not None:
        ra, dec, radius = (f"{value:.6f}" for value in attempt.position)
        command += ["--ra", ra, "--dec", dec, "--radius", radius]
    return command


def _ask(request: SolveRequest, files: Sequence[Path], attempt: Attempt) -> fits.Header:
    """Return the WCS that the program leaves."""
    places = star_places(request)
    with scratch_folder("nightflow-solve-field-") as folder:
        Table({"X": places[:, 0], "Y": places[:, 1]}).write(folder / _STARS, format="fits")
        (folder / _CONFIGURATION).write_text(_configuration(files, attempt))
        done = run_bounded(
            solve_field_command(request, attempt),
            seconds=WALL_OVER_CPU * attempt.seconds + _OVERHEAD,
            folder=folder,
        )
        claim = folder / _CLAIM
        if not claim.is_file():
            raise NoSolution(_why(done, len(places), len(files)))
        return _read(claim)


def _configuration(files: Sequence[Path], attempt: Attempt) -> str:
    lines = [f"cpulimit {math.ceil(attempt.seconds)}", *(f"index {file.resolve()}" for file in files)]
    return "\n".join(lines) + "\n"


def _read(claim: Path) -> fits.Header:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            return fits.getheader(claim)
    except (OSError, ValueError, TypeError, KeyError, IndexError, fits.VerifyError) as error:
        raise NoSolution(f"its file of the WCS cannot be read: {error}") from error


def _why(done: Finished, stars: int, files: int) -> str:
    """Return why there is no WCS; a search that ended without one has status 0, too."""
    if done.status != 0:
        return f"failed with status {done.status}: {done.last_words}"
    return f"{stars} stars match nothing in {files} index files"

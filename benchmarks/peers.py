"""How the peers are run at their best, and why: all their settings stand here.

Where a peer's default would answer another question than ours does (another clipping, another threshold), it
is given ours; where a setting only costs time, it is given the fastest that still answers the question.
"""

from __future__ import annotations

import os
import shutil
from importlib import metadata
from pathlib import Path

from benchmarks.harness import Skipped
from nightflow.external import run_bounded

__all__ = [
    "ASTROSCRAPPY", "CCDPROC_COMBINE", "PHOTUTILS_BACKGROUND_FILTER", "PHOTUTILS_DEBLEND",
    "PHOTUTILS_PROCESSES", "SOLVE_FIELD", "SOURCE_EXTRACTOR", "THREADS", "name", "program", "run",
    "solve_field_config", "source_extractor_files",
]  # fmt: skip

THREADS = min(2, os.cpu_count() or 1)
"""What both sides may use: our numba code runs in two threads, astroscrappy by OpenMP in as many as
OMP_NUM_THREADS says (`make bench` sets it to 2)."""

ASTROSCRAPPY = {
    # Our own variance: with it astroscrappy need not estimate one.
    "gain": 1.0,
    # Saturated areas are in the mask already; finding them again would be one more median of the whole frame.
    "satlevel": float("inf"),
    # The separable approximation is up to three times as fast, but takes a fifth of the star cores of a
    # well-focused frame for hits: it does not answer the question.
    "sepmed": False,
    # The cheapest of the four that respects the mask.
    "cleantype": "meanmask",
    # The other mode wants a model of the PSF.
    "fsmode": "median",
}
"""Keywords of `astroscrappy.detect_cosmics` beside the thresholds and the number of iterations, which are
ours: one."""

CCDPROC_COMBINE = {
    "method": "average",
    "sigma_clip": True,
    # By name, not as callables: astropy then clips by its compiled routine, the fastest there is.
    "sigma_clip_func": "median",
    "sigma_clip_dev_func": "mad_std",
    # Enough not to be cut into tiles, which would cost copies.
    "mem_limit": 16e9,
    # Half the memory to move; bias counts need no more.
    "dtype": "float32",
}
"""Keywords of `ccdproc.combine` beside the limits, which are ours."""

PHOTUTILS_BACKGROUND_FILTER = (3, 3)
"""Boxes over which `photutils.background.Background2D` takes medians: ours and its default."""

PHOTUTILS_DEBLEND = {"mode": "exponential", "progress_bar": False}
"""Keywords of `photutils.segmentation.SourceFinder`; the mode is sep's. The progress bar costs time."""

PHOTUTILS_PROCESSES = 1
"""Deblending in two processes takes more than twice as long as in one: they are started anew each time."""

SOURCE_EXTRACTOR = {
    "VERBOSE_TYPE": "QUIET",
    "CATALOG_TYPE": "FITS_1.0",
    # No model fitting, no check images: they are not asked for.
    "CHECKIMAGE_TYPE": "NONE",
    "CLEAN": "N",  # ours does not clean either
    "BACKPHOTO_TYPE": "LOCAL",  # ours measures the sky in an annulus
    "WEIGHT_TYPE": "NONE",
    "MEMORY_PIXSTACK": "3000000",
}
"""Configuration of source-extractor beside thresholds, mesh and apertures, which are ours."""

_LONGEST = 300.0
"""Seconds that a program may take."""

SOLVE_FIELD = [
    # The list of stars is given: no source extraction is timed, no plots or catalogues are written.
    "--no-plots", "--overwrite", "--new-fits", "none", "--rdls", "none", "--match", "none", "--corr", "none",
    "--index-xyls", "none", "--solved", "none",
    # A linear solution is asked for; SIP would only cost time.
    "--no-tweak",
    # Stars are sorted already; the cut keeps the quads few.
    "--objs", "60", "--x-column", "X", "--y-column", "Y", "--sort-column", "FLUX",
    "--crpix-center", "--cpulimit", "30",
]  # fmt: skip
"""Arguments of solve-field beside hints, size and files."""


def name(package: str) -> str:
    """Return a package's name and version."""
    return f"{package} {metadata.version(package)}"


def program(executable: str) -> str:
    """Return the path of a program.

    Raises
    ------
    Skipped
        It is not installed.
    """
    found = shutil.which(executable)
    if found is None:
        raise Skipped(f"{executable} is not installed")
    return found


def run(command: list[str], folder: Path) -> str:
    """Run a peer's program in a process group of its own; return what it printed.

    Raises
    ------
    RuntimeError
        It failed; the message ends with what it said.
    ProgramError
        It ran too long or was killed; nothing that it had started is left.
    """
    ended = run_bounded(command, seconds=_LONGEST, folder=folder)
    if ended.status != 0:
        raise RuntimeError(f"{Path(command[0]).name} ended with status {ended.status}: {ended.last_words}")
    return ended.stdout


def solve_field_config(folder: Path, index_folder: Path) -> Path:
    """Write a configuration of astrometry-engine: the one index folder, all in memory, in parallel."""
    path = folder / "astrometry.cfg"
    path.write_text(f"inparallel\ncpulimit 30\nadd_path {index_folder}\nautoindex\n")
    return path


def source_extractor_files(folder: Path, fwhm: float) -> tuple[Path, Path]:
    """Write the list of columns and the matched filter; return both paths."""
    columns, kernel = folder / "columns.param", folder / "matched.conv"
    columns.write_text(
        "XWIN_IMAGE\nYWIN_IMAGE\nFLUX_APER\nFLUXERR_APER\nFLUX_RADIUS\nFLUX_MAX\nA_IMAGE\nB_IMAGE\n"
        "THETA_IMAGE\nBACKGROUND\nFLAGS\n"
    )
    kernel.write_text(_convolution(fwhm))
    return columns, kernel


def _convolution(fwhm: float) -> str:
    """Return a Gaussian in source-extractor's format, as wide as our matched filter."""
    half = max(1, int(-(-fwhm // 1)))
    span = range(-half, half + 1)
    rows = [" ".join(f"{2.0 ** (-4 * (x * x + y * y) / fwhm**2):.6f}" for x in span) for y in span]
    return "CONV NORM\n" + "\n".join(rows) + "\n"

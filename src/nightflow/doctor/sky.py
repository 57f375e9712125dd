"""Catalogues, index files, and a real solution by the embedded solver."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from nightflow.astrometry.astrometry_net import PACKAGED_INDEX_FOLDER, run_worker
from nightflow.astrometry.index_file import describe_index
from nightflow.catalogs.local import LocalCatalogs
from nightflow.config import Settings
from nightflow.doctor.finding import Finding, fault, fine, warning
from nightflow.errors import NightflowError, NoSolution

__all__ = ["check_catalogs", "check_index_files", "check_solver"]

_SOLVER_SECONDS = 20.0
_TRIAL_INDEX = "index-hatp32-tycho2.fits"
_STARS_HDU, _TRIAL_STARS = 10, 30
_TRIAL_CENTER = (31.04, 46.69)
_TRIAL_SCALE = 3.0
_TRIAL_PIXELS = 1024


def check_catalogs(settings: Settings) -> Iterator[Finding]:
    """List the reference catalogues."""
    folder = settings.resolve(settings.paths.catalogs)
    catalogs = LocalCatalogs(folder)
    names = catalogs.names()
    if not names:
        yield warning(
            "catalogues",
            f"none in {folder}: no zero point, and no solution by pointing hint",
            "`nightflow catalog import FILE --name N`, or `nightflow catalog fetch --ra --dec --radius`",
        )
    for name in names:
        try:
            metadata = catalogs.metadata(name)
        except NightflowError as error:
            yield fault("catalogues", str(error), f"import {name} again")
            continue
        yield fine("catalogues", f"{name}: {metadata.n_stars} stars, bands {' '.join(metadata.bands) or 'none'}")


def check_index_files(settings: Settings) -> Iterator[Finding]:
    """Look into each index file of one's own."""
    folder = settings.resolve(settings.paths.index_files)
    files = sorted(folder.glob("index-*.fits")) if folder.is_dir() else []
    good = []
    for file in files:
        try:
            good.append(describe_index(file))
        except NightflowError as error:
            yield fault("index files", str(error), f"remove {file} and fetch it again")
    if good:
        smallest = min(one.smallest_arcmin for one in good)
        largest = max(one.largest_arcmin for one in good)
        yield fine("index files", f"{len(good)} in {folder}, for quads of {smallest:.0f}' to {largest:.0f}'")
    elif not files:
        yield warning(
            "index files",
            f"none in {folder}, only that of the demonstration's field: no blind solving elsewhere",
            "`nightflow index fetch --field ARCMIN`, or `nightflow index build` from a catalogue",
        )


def check_solver() -> Iterator[Finding]:
    """Let the ``astrometry`` wheel solve made-up star places, in a process of its own as in the night."""
    try:
        answer = run_worker(_trial(PACKAGED_INDEX_FOLDER / _TRIAL_INDEX), _SOLVER_SECONDS)
    except NoSolution as error:
        yield fault("solver", str(error), "install it anew: pip install --force-reinstall astrometry")
        return
    if "error" in answer:
        yield warning("solver", str(answer["error"]), "pip install 'nightflow[astrometry]'")
    elif not answer.get("matches"):
        yield fault(
            "solver", "the astrometry wheel does not solve its trial field", "install astrometry anew"
        )
    else:
        odds = max(match["logodds"] for match in answer["matches"])
        yield fine("solver", f"the astrometry wheel solves its trial field (log-odds {odds:.0f})")


def _trial(index: Path) -> dict[str, object]:
    """Return a request whose stars are those of the packaged index file, put on a made-up chip."""
    x, y = _projected(_star_places(index))
    inside = (x > 0) & (x < _TRIAL_PIXELS) & (y > 0) & (y < _TRIAL_PIXELS)
    places = np.column_stack([x[inside], y[inside]])[:_TRIAL_STARS]
    return {
        "stars": (places + 1.0).tolist(),
        "index_files": [str(index)],
        "scale": [0.95 * _TRIAL_SCALE, 1.05 * _TRIAL_SCALE],
        "position": [*_TRIAL_CENTER, 1.0],
        "parity": "both",
        "time_limit": _SOLVER_SECONDS,
    }


def _star_places(index: Path) -> np.ndarray:
    """Return right ascension and declination of the index's stars, shape (n, 2), degrees."""
    with fits.open(index, memmap=False) as hdus:
        # unit vectors as 32-bit integers over the range of the tree, or as they are
        ...

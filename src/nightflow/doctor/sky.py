"""Catalogues, index files, and a real solution by the embedded solver."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from nightflow.astrometry.astrometry_net import PACKAGED_INDEX_FOLDER, SYSTEM_INDEX_FOLDER, run_worker
from nightflow.astrometry.index_file import describe_index
from nightflow.catalogs.local import LocalCatalogs
from nightflow.config import Settings
from nightflow.doctor.finding import Finding, fault, fine, warning
from nightflow.errors import NightflowError, NoSolution

__all__ = ["check_catalogs", "check_index_files", "check_solver"]

_SOLVER_SECONDS = 20.0
_TRIAL_INDEX = "index-hatp32-tycho2.fits"
_TRIAL_STARS = 30
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
        yield fine(
            "catalogues", f"{name}: {metadata.n_stars} stars, bands {' '.join(metadata.bands) or 'none'}"
        )


def check_index_files(settings: Settings) -> Iterator[Finding]:
    """Look into each index file of one's own, and of the system's packages."""
    folder = settings.resolve(settings.paths.index_files)
    places = [one for one in (folder, SYSTEM_INDEX_FOLDER) if one.is_dir()]
    files = [file for one in places for file in sorted(one.glob("index-*.fits"))]
    good = []
    for file in files:
        try:
            good.append(describe_index(file))
        except NightflowError as error:
            yield fault("index files", str(error), f"remove {file} and fetch it again")
    if good:
        smallest = min(one.smallest_arcmin for one in good)
        largest = max(one.largest_arcmin for one in good)
        where = " and ".join(dict.fromkeys(str(one.path.parent) for one in good))
        yield fine("index files", f"{len(good)} in {where}, for quads of {smallest:.0f}' to {largest:.0f}'")
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
    """Return a request with the places of Tycho-2 stars on a made-up chip, brightest first."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = _TRIAL_CENTER
    wcs.wcs.crpix = [_TRIAL_PIXELS / 2, _TRIAL_PIXELS / 2]
    wcs.wcs.cdelt = [-_TRIAL_SCALE / 3600.0, _TRIAL_SCALE / 3600.0]
    ra, dec = _trial_stars()
    places = np.column_stack(wcs.wcs_world2pix(ra, dec, 1))
    inside = ((places > 0) & (places < _TRIAL_PIXELS)).all(axis=1)
    return {
        "stars": places[inside][:_TRIAL_STARS].tolist(),
        "index_files": [str(index)],
        "scale": [0.95 * _TRIAL_SCALE, 1.05 * _TRIAL_SCALE],
        "position": [*_TRIAL_CENTER, 1.0],
        "parity": "both",
        "time_limit": _SOLVER_SECONDS,
    }


def _trial_stars() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return right ascension and declination of the stars that the packaged index is made of, degrees."""
    with (resources.files("nightflow.simulate") / "data" / "tycho2_hatp32.csv").open() as lines:
        rows = sorted(csv.DictReader(lines), key=lambda row: float(row["vt"]))
    return np.array([float(row["ra"]) for row in rows]), np.array([float(row["dec"]) for row in rows])

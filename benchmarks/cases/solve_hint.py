"""A list of stars with pointing and scale roughly known: our ladder, our hint solver, and solve-field."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS, FITSFixedWarning, Sip

from benchmarks import peers
from benchmarks.harness import Agreement, Case, Side, Skipped, close
from benchmarks.workshop import Workshop
from nightflow.astrometry.astrometry_net import PACKAGED_INDEX_FOLDER, solve_astrometry_net
from nightflow.astrometry.ladder import select_stars, solve
from nightflow.astrometry.solution import SolveRequest
from nightflow.pipeline.solve import julian_year
from nightflow.sphere import unit_vectors

__all__ = ["agree", "hinted_request", "other_solver", "solve_field", "solve_hint_case", "solve_ladder_case"]

_STARS = 300
_HINT_OFF = 0.15
"""Degrees by which the hint is wrong in declination."""


_DRIFT_PX = (23.0, -11.0)
"""From the frame before to this one."""


@contextmanager
def solve_ladder_case(workshop: Workshop) -> Iterator[Case]:
    """The whole ladder on a frame of a known pointing: the solution of the frame before is at hand."""
    request = replace(hinted_request(workshop), previous_wcs=_frame_before(workshop))
    with _against_other(workshop, request, workshop.profile.astrometry.ladder) as case:
        yield case


@contextmanager
def solve_hint_case(workshop: Workshop) -> Iterator[Case]:
    """The first frame of a pointing: the hint solver alone on the header's pointing made worse."""
    with _against_other(workshop, hinted_request(workshop), ["hint"]) as case:
        yield case


@contextmanager
def _against_other(workshop: Workshop, request: SolveRequest, rungs: Sequence[str]) -> Iterator[Case]:
    settings = workshop.profile.astrometry.model_copy(update={"ladder": list(rungs)})
    catalogs = workshop.catalogs
    with tempfile.TemporaryDirectory(dir=workshop.folder) as name:
        solver, peer_name = other_solver(workshop, Path(name))
        yield Case(
            ours=Side(run=lambda: solve(request, catalogs, settings).wcs),
            peer=Side(run=lambda: solver(request)),
            peer_name=peer_name,
            agree=lambda ours, theirs: agree(ours, theirs, request.shape),
        )


def _frame_before(workshop: Workshop) -> WCS:
    """Return the solution of a frame that looked at the same field, its stars `_DRIFT_PX` elsewhere."""
    settings = workshop.profile.astrometry.model_copy(update={"ladder": ["hint"]})
    wcs = solve(hinted_request(workshop), workshop.catalogs, settings).wcs.deepcopy()
    wcs.wcs.crpix = wcs.wcs.crpix - np.array(_DRIFT_PX)
    if wcs.sip is not None:
        wcs.sip = Sip(wcs.sip.a, wcs.sip.b, wcs.sip.ap, wcs.sip.bp, wcs.wcs.crpix)
    return wcs


def hinted_request(workshop: Workshop) -> SolveRequest:
    """Return what the solver ladder is asked for the light frame."""
    frame, settings = workshop.calibrated, workshop.profile.astrometry
    header, shape = frame.header, (frame.data.shape[0], frame.data.shape[1])
    assert header.dec is not None
    assert header.mjd_mid is not None
    stars = workshop.measured.sources.take(select_stars(workshop.measured.sources, shape, _STARS))
    return SolveRequest(
        x=stars.x,
        y=stars.y,
        flux=stars.flux,
        shape=shape,
        ra=header.ra,
        dec=header.dec + _HINT_OFF,
        hint_error=settings.hint_error,
        scale=settings.scale,
        scale_tolerance=settings.scale_tolerance,
        parity=settings.parity,
        epoch=julian_year(header.mjd_mid),
    )


def other_solver(workshop: Workshop, folder: Path) -> tuple[Callable[[SolveRequest], WCS], str]:
    """Return solve-field, or where it is not installed the embedded solver; and its name."""
    try:
        program = peers.program("solve-field")
    except Skipped:
        catalogs, settings = workshop.catalogs, workshop.profile.astrometry
        return (
            lambda request: solve_astrometry_net(request, catalogs, settings, []).wcs,
            f"{peers.name('astrometry')} (the embedded solver as a process; solve-field is not installed)",
        )
    return (
        lambda request: solve_field(program, request, folder),
        "solve-field: the same stars, pointing and scale, one index file",
    )


def solve_field(program: str, request: SolveRequest, folder: Path) -> WCS:
    """Run solve-field on a list of stars with the hints that there are; return its WCS.

    Raises
    ------
    RuntimeError
        It failed, or found no solution.
    """
    answer = folder / "stars.wcs"
    answer.unlink(missing_ok=True)
    # FITS pixels are 1-based.
    stars = Table({"X": request.x + 1.0, "Y": request.y + 1.0, "FLUX": request.flux})
    stars.write(folder / "stars.xyls", format="fits", overwrite=True)
    said = peers.run([program, *_arguments(request, folder)], folder)
    if not answer.is_file():
        raise RuntimeError(f"solve-field found no solution: {said.strip()[-300:]}")
    with warnings.catch_warnings():
        # The header describes no image.
        warnings.simplefilter("ignore", FITSFixedWarning)
        return WCS(fits.getheader(answer))


def _arguments(request: SolveRequest, folder: Path) -> list[str]:
    """Return solve-field's arguments: the hints of the request, the index file that comes with nightflow."""
    ny, nx = request.shape
    return [
        *peers.SOLVE_FIELD,
        "--config", str(peers.solve_field_config(folder, PACKAGED_INDEX_FOLDER)),
        *_hints(request),
        "--width", str(nx), "--height", str(ny), "--wcs", "stars.wcs", "--temp-dir", str(folder),
        "stars.xyls",
    ]  # fmt: skip


def _hints(request: SolveRequest) -> list[str]:
    """Return pointing and scale as arguments, as far as the request has them."""
    hints = []
    if request.ra is not None and request.dec is not None:
        radius = request.hint_error + 0.5
        hints += ["--ra", str(request.ra), "--dec", str(request.dec), "--radius", str(radius)]
    if request.scale is not None:
        low, high = (request.scale * (1 + sign * request.scale_tolerance) for sign in (-1, 1))
        hints += ["--scale-units", "arcsecperpix", "--scale-low", f"{low:.5f}", "--scale-high", f"{high:.5f}"]
    return hints


def agree(ours: WCS, theirs: WCS, shape: tuple[int, int]) -> Agreement:
    """Compare where corners and middle of the frame lie on the sky."""
    ny, nx = shape
    x, y = np.array([0, nx - 1, 0, nx - 1, (nx - 1) / 2]), np.array([0, 0, ny - 1, ny - 1, (ny - 1) / 2])
    places = [unit_vectors(*wcs.all_pix2world(x, y, 0)) for wcs in (ours, theirs)]
    chord = np.linalg.norm(places[0] - places[1], axis=-1)
    return close("corners and middle differ by at most", float(np.degrees(chord.max()) * 3600), 2.0, '"')

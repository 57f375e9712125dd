"""Chips of a mosaic, or frames of a field, through SCAMP in one call; each judged by itself.

The stars are chosen here, a fifth of them is kept from SCAMP, and where each chip lies at the start comes
from the solution it has or from the camera's layout: SCAMP's own search by patterns is asked for only where
an exposure has neither.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from nightflow.astrometry.accept import match_radius_px
from nightflow.astrometry.plate import Plate
from nightflow.astrometry.projection import from_plane, to_plane
from nightflow.astrometry.reference import reference_stars
from nightflow.astrometry.refine import contenders, terms
from nightflow.astrometry.scamp.headers import tpv_header, wcs_of_head, write_ahead
from nightflow.astrometry.scamp.judge import judge, pairs
from nightflow.astrometry.scamp.layout import Placed, learn_layout, plate_about, predict
from nightflow.astrometry.scamp.ldac import Detections, LdacChip, chip_header, write_ldac, write_reference
from nightflow.astrometry.scamp.program import PROGRAM, REFERENCE, run_scamp, scamp_configuration
from nightflow.astrometry.solution import Solution, SolveRequest
from nightflow.catalogs.local import LocalCatalogs
from nightflow.catalogs.stars import ReferenceStars
from nightflow.errors import NoSolution
from nightflow.instruments.profile import AstrometrySettings

__all__ = ["ChipAnswer", "ChipFrame", "Exposure", "Together", "solve_together"]

Array = NDArray[np.float64]

_KEPT_BACK = 5
"""Of so many stars one is kept from SCAMP, to judge it by."""
_STARS_PER_TERM = 2
_FEWEST_USED = 12
"""Stars below which those that are kept back are too few to verify anything."""
_MATCH_HYPOTHESES = 10_000
_BESIDE = 0.05
"""In units of a chip's larger side: where its reference stars may lie beside it."""
_MARGIN = 0.02
"""Degrees around the chips in which reference stars are looked for."""


@dataclass(frozen=True, kw_only=True)
class ChipFrame:
    """One chip of one exposure.

    Attributes
    ----------
    name : str
        Of the chip; one of a camera without chips is called "".
    request : SolveRequest
        Its stars, brightest first, and what is known of the pointing.
    start : astropy.wcs.WCS or None
        A solution that stands, at least nearly; None: the layout tells.
    flux_err : ndarray, shape (n,), or None
        1-sigma errors of the request's fluxes; None: that of the photons.
    """

    name: str
    request: SolveRequest
    start: WCS | None = None
    flux_err: Array | None = None


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """What is read out after one opening of the shutter.

    Attributes
    ----------
    name : str
        Stem of its files: plain characters.
    chips : tuple of ChipFrame
    exptime : float
        Seconds.
    filter : str
    mjd : float
        UTC, middle of the exposure.
    """

    name: str
    chips: tuple[ChipFrame, ...]
    exptime: float = 1.0
    filter: str = ""
    mjd: float = 51544.5


@dataclass(frozen=True, kw_only=True)
class ChipAnswer:
    """What came of a chip.

    Attributes
    ----------
    exposure, chip : str
        Names.
    solution : Solution or None
        Verified; None where it was refused.
    reason : str
        Why; "" where it was not.
    head : astropy.io.fits.Header or None
        SCAMP's own answer, a TPV WCS; None where SCAMP was not asked.
    n_scamp : int
        Stars of the chip that SCAMP identified.
    """

    exposure: str
    chip: str
    solution: Solution | None
    reason: str = ""
    head: fits.Header | None = None
    n_scamp: int = 0


@dataclass(frozen=True, kw_only=True)
class Together:
    """What came of all.

    Attributes
    ----------
    answers : tuple of ChipAnswer
        In the order of the exposures and their chips.
    stars : ReferenceStars
        What SCAMP was given.
    degree : int
        Of the distortion.
    """

    answers: tuple[ChipAnswer, ...]
    stars: ReferenceStars
    degree: int


@dataclass(frozen=True, kw_only=True)
class _Started:
    """A chip that goes to SCAMP: where it lies, and which of its stars go along."""

    exposure: Exposure
    chip: ChipFrame
    plate: Plate
    used: NDArray[np.intp]
    stars: ReferenceStars
    n_near: int
    """Stars that have a catalogue star within the radius at the start."""


def solve_together(
    exposures: Sequence[Exposure],
    catalogs: LocalCatalogs,
    settings: AstrometrySettings,
    folder: Path,
    *,
    layout: Mapping[str, fits.Header] | None = None,
    program: str = PROGRAM,
) -> Together:
    """Solve exposures that see the same sky, all chips at once.

    Parameters
    ----------
    exposures : sequence of Exposure
    catalogs : LocalCatalogs
        Reference stars.
    settings : AstrometrySettings
        The bar, and ``settings.scamp``.
    folder : Path
        Where SCAMP works: afterwards it holds, for each exposure, NAME.fits (LDAC), NAME.ahead, NAME.head,
        and SCAMP's catalogues.
    layout : mapping, optional
        The camera's, see `nightflow.astrometry.scamp.layout`; else it is learned from the exposure that has
        most chips solved.

    Raises
    ------
    NoSolution
        No chip has a place to start from, there are no reference stars, or SCAMP itself failed or hung.
        What is wrong with single chips stands in their answers.
    OSError
        The folder cannot be written to.
    """
    plates, match = _starts(exposures, layout)
    stars = _reference(exposures, plates, catalogs, settings)
    started = [
        _started(exposure, chip, plates[exposure.name, chip.name], stars, settings)
        for exposure in exposures
        for chip in exposure.chips
        if (exposure.name, chip.name) in plates
    ]
    degree = _degree(started, settings)
    given = [exposure for exposure in exposures if any(one.exposure is exposure for one in started)]
    chips = [[one for one in started if one.exposure is exposure] for exposure in given]
    _write(folder, given, chips, stars)
    radius = max(settings.match_radius, *(1.5 * one.plate.scale for one in started))
    run = run_scamp(
        folder,
        [f"{exposure.name}.fits" for exposure in given],
        [len(of_exposure) for of_exposure in chips],
        scamp_configuration(
            degree=degree,
            crossid_arcsec=radius,
            search_deg=max(one.chip.request.hint_error for one in started) if match else 0.0,
            stability=settings.scamp.stability,
        ),
        seconds=settings.scamp.time_limit,
        program=program,
    )
    answered = {}
    for of_exposure, heads, counts in zip(chips, run.heads, run.n_matched, strict=True):
        for one, head, count in zip(of_exposure, heads, counts, strict=True):
            answer = _answer(one, head, count, stars, settings, _MATCH_HYPOTHESES if match else 1)
            answered[answer.exposure, answer.chip] = answer
    return Together(answers=_in_order(exposures, answered), stars=stars, degree=degree)


def _in_order(
    exposures: Sequence[Exposure], answered: Mapping[tuple[str, str], ChipAnswer]
) -> tuple[ChipAnswer, ...]:
    nowhere = "no WCS to start from, and no layout of the camera tells where it lies"
    return tuple(
        answered.get(
            (exposure.name, chip.name),
            ChipAnswer(exposure=exposure.name, chip=chip.name, solution=None, reason=nowhere),
        )
        for exposure in exposures
        for chip in exposure.chips
    )


def _starts(
    exposures: Sequence[Exposure], layout: Mapping[str, fits.Header] | None
) -> tuple[dict[tuple[str, str], Plate], bool]:
    """Return where chips lie at the start, about one point an exposure, and whether SCAMP must search."""
    layout = layout or _learned(exposures)
    plates, match = {}, False
    for exposure in exposures:
        known = {
            chip.name: Placed(wcs=chip.start, shape=chip.request.shape)
            for chip in exposure.chips
            if chip.start is not None
        }
        wanted = {chip.name: chip.request.shape for chip in exposure.chips if chip.name not in known}
        pointing = _pointing(exposure)
        match |= not known and pointing is not None and bool(layout)
        predicted = predict(layout, known, wanted, pointing=pointing) if layout and wanted else {}
        if known:
            ra0, dec0 = _middle(list(known.values()))
            for name, chip in known.items():
                plates[exposure.name, name] = plate_about(chip.wcs, chip.shape, ra0, dec0)
        for name, plate in predicted.items():
            plates[exposure.name, name] = plate
    if not plates:
        raise NoSolution("SCAMP: no chip has a WCS to start from, and no layout of the camera is known")
    return plates, match


def _pointing(exposure: Exposure) -> tuple[float, float] | None:
    for chip in exposure.chips:
        if chip.request.ra is not None and chip.request.dec is not None:
            return chip.request.ra, chip.request.dec
    return None


def _learned(exposures: Sequence[Exposure]) -> dict[str, fits.Header]:
    """Return the layout that the exposure with most solved chips shows; empty where it shows only one."""
    best: dict[str, Placed] = {}
    for exposure in exposures:
        known = {
            chip.name: Placed(wcs=chip.start, shape=chip.request.shape)
            for chip in exposure.chips
            if chip.start is not None
        }
        best = known if len(known) > len(best) else best
    return learn_layout(best, *_middle(list(best.values()))) if best else {}


def _middle(chips: Sequence[Placed]) -> tuple[float, float]:
    """Return a point amid the chips, ICRS degrees."""
    middles = [
        chip.wcs.all_pix2world((chip.shape[1] - 1) / 2.0, (chip.shape[0] - 1) / 2.0, 0) for chip in chips
    ]
    ra, dec = np.array(middles, float).T
    xi, eta = to_plane(ra, dec, float(ra[0]), float(dec[0]))
    centre = from_plane(np.array([xi.mean()]), np.array([eta.mean()]), float(ra[0]), float(dec[0]))
    return float(centre[0][0]), float(centre[1][0])


def _reference(
    exposures: Sequence[Exposure],
    plates: Mapping[tuple[str, str], Plate],
    catalogs: LocalCatalogs,
    settings: AstrometrySettings,
) -> ReferenceStars:
    """Return the catalogue stars on all chips, at the mean epoch."""
    chips = [
        (chip, plates[exposure.name, chip.name])
        for exposure in exposures
        for chip in exposure.chips
        if (exposure.name, chip.name) in plates
    ]
    corners = [_corners(plate, chip.request.shape) for chip, plate in chips]
    ra, dec = np.hstack(corners)
    xi, eta = to_plane(ra, dec, float(ra[0]), float(dec[0]))
    middle = 0.5 * (xi.min() + xi.max()), 0.5 * (eta.min() + eta.max())
    centre = from_plane(np.array([middle[0]]), np.array([middle[1]]), float(ra[0]), float(dec[0]))
    request = chips[0][0].request
    epoch = float(np.mean([chip.request.epoch for chip, _ in chips]))
    return reference_stars(
        catalogs,
        replace(request, epoch=epoch),
        settings,
        ra=float(centre[0][0]),
        dec=float(centre[1][0]),
        radius=float(np.max(np.hypot(xi - middle[0], eta - middle[1]))) + _MARGIN,
        minimum=settings.minimum_matches,
    )


def _corners(plate: Plate, shape: tuple[int, int]) -> tuple[Array, Array]:
    ny, nx = shape
    return plate.sky(np.array([0.0, nx - 1.0, 0.0, nx - 1.0]), np.array([0.0, 0.0, ny - 1.0, ny - 1.0]))


def _started(
    exposure: Exposure, chip: ChipFrame, plate: Plate, stars: ReferenceStars, settings: AstrometrySettings
) -> _Started:
    radius = match_radius_px(settings, plate.scale)
    chosen = contenders(plate, chip.request, stars, radius, margin=_BESIDE * max(chip.request.shape))
    near, _ = pairs(plate, chip.request, stars, radius)
    # from the third on: with the brightest goes the best of what the fit has
    used = np.delete(chosen.rows, np.arange(_KEPT_BACK // 2, len(chosen.rows), _KEPT_BACK))
    return _Started(
        exposure=exposure, chip=chip, plate=plate, used=used, stars=chosen.stars, n_near=len(near)
    )


def _degree(started: Sequence[_Started], settings: AstrometrySettings) -> int:
    """Return the highest degree for which every chip that can be verified has the stars.

    By the poorest of them: too low a degree shows in the scatter, too high a one runs away between the stars
    where nothing shows it.
    """
    used = [len(one.used) * one.n_near / max(len(one.chip.request.x), 1) for one in started]
    counts = Counter[tuple[str, str]]()
    shared = settings.scamp.stability == "instrument"
    for number, (one, count) in enumerate(zip(started, used, strict=True)):
        counts[one.chip.name, one.exposure.filter if shared else str(number)] += round(count)
    verifiable = [count for count in counts.values() if count >= _FEWEST_USED]
    supported = [
        degree
        for degree in range(1, settings.scamp.degree + 1)
        if min(verifiable, default=0) >= _STARS_PER_TERM * terms(degree)
    ]
    return max(supported, default=1)


def _write(
    folder: Path,
    exposures: Sequence[Exposure],
    chips: Sequence[Sequence[_Started]],
    stars: ReferenceStars,
) -> None:
    for exposure, of_exposure in zip(exposures, chips, strict=True):
        catalog = folder / f"{exposure.name}.fits"
        heads = [tpv_header(one.plate, one.chip.request.shape) for one in of_exposure]
        write_ldac(catalog, [_ldac(one, head) for one, head in zip(of_exposure, heads, strict=True)])
        write_ahead(catalog.with_suffix(".ahead"), heads)
    write_reference(folder / REFERENCE, _on_chips(chips, stars))


def _on_chips(chips: Sequence[Sequence[_Started]], stars: ReferenceStars) -> ReferenceStars:
    """Return the stars that some chip may see: as deep as its own, on it or just beside it."""
    places = [one.stars.ra + 1j * one.stars.dec for of_exposure in chips for one in of_exposure]
    return stars.take(np.isin(stars.ra + 1j * stars.dec, np.concatenate(places)))


def _ldac(one: _Started, head: fits.Header) -> LdacChip:
    request, exposure = one.chip.request, one.exposure
    photons = np.sqrt(np.maximum(request.flux, 1.0))
    stars = Detections(
        x=request.x,
        y=request.y,
        error=request.position_errors(),
        flux=request.flux,
        flux_err=photons if one.chip.flux_err is None else one.chip.flux_err,
        flags=np.zeros(len(request.x), np.int16),
    )
    header = chip_header(
        request.shape,
        head,
        name=one.chip.name,
        exptime=exposure.exptime,
        filter_name=exposure.filter,
        mjd=exposure.mjd,
    )
    return LdacChip(header=header, stars=stars.take(one.used))


def _answer(
    one: _Started,
    head: fits.Header,
    n_scamp: int,
    stars: ReferenceStars,
    settings: AstrometrySettings,
    hypotheses: int,
) -> ChipAnswer:
    answer = ChipAnswer(
        exposure=one.exposure.name, chip=one.chip.name, solution=None, head=head, n_scamp=n_scamp
    )
    try:
        if n_scamp < settings.minimum_matches:
            raise NoSolution(
                f"SCAMP identified {n_scamp} of its {len(one.used)} stars, {settings.minimum_matches} needed"
            )
        shape = one.chip.request.shape
        wcs = wcs_of_head(head)
        middle = wcs.all_pix2world((shape[1] - 1) / 2.0, (shape[0] - 1) / 2.0, 0)
        plate = plate_about(wcs, shape, float(middle[0]), float(middle[1]))
        found = judge(plate, one.chip.request, settings, stars, one.used, hypotheses=hypotheses)
    except NoSolution as refusal:
        return replace(answer, reason=str(refusal))
    return replace(answer, solution=found)

"""Which stars of a chip go to SCAMP, which are kept back, and what they can carry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from nightflow.astrometry.accept import match_radius_px
from nightflow.astrometry.plate import Plate
from nightflow.astrometry.projection import from_plane, to_plane
from nightflow.astrometry.reference import reference_stars
from nightflow.astrometry.refine import contenders, pairs, refine, terms
from nightflow.astrometry.scamp.frames import ChipFrame, Exposure
from nightflow.astrometry.scamp.ldac import LdacChip, chip_header
from nightflow.catalogs.local import LocalCatalogs
from nightflow.catalogs.stars import ReferenceStars
from nightflow.errors import NoSolution
from nightflow.instruments.profile import AstrometrySettings

__all__ = ["Given", "chosen_stars", "degree_for", "ldac_chip", "reference_for", "seen_by_chips"]

Array = NDArray[np.float64]

_KEPT_BACK = 5
"""Of so many stars one is kept from SCAMP, to judge it by."""
_STARS_PER_TERM = 2
_FEWEST_USED = 12
"""Stars below which those that are kept back are too few to verify anything."""
_BESIDE = 0.05
"""In units of a chip's larger side: where its reference stars may lie beside it."""
_MARGIN = 0.02
"""Degrees around the chips in which reference stars are looked for."""
_LONGEST_SPAN = 1.0
"""Years between the exposures of one call."""
_SAME_TURN = 2.0
"""Degrees within which a camera counts as turned alike."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """A chip that goes to SCAMP.

    Attributes
    ----------
    exposure : Exposure
    chip : ChipFrame
    plate : Plate
        Where it lies at the start.
    used : ndarray of int
        Rows of its request that go along.
    stars : ReferenceStars
        What it may see of the catalogue.
    n_near : int
        Stars that have a catalogue star within the match radius at the start.
    turn : str
        The same for frames with the camera turned alike. SCAMP adds the distortion that frames share in the
        plane of the sky: where the mount has flipped between them it would have the wrong sign.
    """

    exposure: Exposure
    chip: ChipFrame
    plate: Plate
    used: NDArray[np.intp]
    stars: ReferenceStars
    n_near: int
    turn: str


def chosen_stars(
    exposures: Sequence[Exposure],
    plates: Mapping[tuple[str, str], Plate],
    stars: ReferenceStars,
    settings: AstrometrySettings,
) -> list[list[Given]]:
    """Return, an exposure after the other, the chips that have a place, with the stars that go to SCAMP."""
    turned = _turned(next(iter(plates.values())))
    return [
        [
            _given(exposure, chip, plate, stars, settings, f"turn{_turn_number(plate, turned)}")
            for chip in exposure.chips
            if (plate := plates.get((exposure.name, chip.name))) is not None
        ]
        for exposure in exposures
        if any((exposure.name, chip.name) in plates for chip in exposure.chips)
    ]


def degree_for(given: Sequence[Given], settings: AstrometrySettings) -> int:
    """Return the highest degree of distortion for which every chip that can be verified has the stars.

    By the poorest of them: too low a degree shows in the scatter, too high a one runs away between the stars
    where nothing shows it.
    """
    counts = Counter[tuple[str, ...]]()
    shared = settings.scamp.stability == "instrument"
    for one in given:
        frame = f"{one.exposure.filter} {one.turn}" if shared else one.exposure.name
        # those of the stars near a catalogue star that are not kept back
        counts[one.chip.name, frame] += round(one.n_near * (1.0 - 1.0 / _KEPT_BACK))
    fewest = min((count for count in counts.values() if count >= _FEWEST_USED), default=0)
    supported = (
        degree for degree in range(1, settings.scamp.degree + 1) if fewest >= _STARS_PER_TERM * terms(degree)
    )
    return max(supported, default=1)


def reference_for(
    exposures: Sequence[Exposure],
    plates: Mapping[tuple[str, str], Plate],
    catalogs: LocalCatalogs,
    settings: AstrometrySettings,
) -> ReferenceStars:
    """Return the catalogue stars around all chips, at the mean epoch.

    Raises
    ------
    NoSolution
        No local catalogue has enough of them there, or the exposures are further apart in time than stars
        can be taken to stand still.
    """
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
    epochs = [chip.request.epoch for chip, _ in chips]
    if max(epochs) - min(epochs) > _LONGEST_SPAN:
        raise NoSolution(
            f"the exposures are of {min(epochs):.1f} to {max(epochs):.1f}: SCAMP gets one place a star; "
            f"solve those that are more than {_LONGEST_SPAN:g} year apart by themselves"
        )
    return reference_stars(
        catalogs,
        replace(request, epoch=float(np.mean(epochs))),
        settings,
        ra=float(centre[0][0]),
        dec=float(centre[1][0]),
        radius=float(np.max(np.hypot(xi - middle[0], eta - middle[1]))) + _MARGIN,
        minimum=settings.minimum_matches,
    )


def seen_by_chips(given: Sequence[Given], stars: ReferenceStars) -> ReferenceStars:
    """Return the stars that some chip may see: as deep as its own, on it or just beside it."""
    places = [one.stars.ra + 1j * one.stars.dec for one in given]
    return stars.take(np.isin(stars.ra + 1j * stars.dec, np.concatenate(places)))


def ldac_chip(given: Given, head: fits.Header) -> LdacChip:
    """Return what SCAMP gets of a chip: the cards of its WCS, ``head``, and its stars."""
    exposure = given.exposure
    header = chip_header(
        given.chip.request.shape,
        head,
        name=given.chip.name,
        exptime=exposure.exptime,
        filter_name=exposure.filter,
        instrument=given.turn,
        mjd=exposure.mjd,
    )
    return LdacChip(header=header, stars=given.chip.detections().take(given.used))


def _given(
    exposure: Exposure,
    chip: ChipFrame,
    plate: Plate,
    stars: ReferenceStars,
    settings: AstrometrySettings,
    turn: str,
) -> Given:
    radius = match_radius_px(settings, plate.scale)
    chosen = contenders(plate, chip.request, stars, radius, margin=_BESIDE * max(chip.request.shape))
    near, near_rows = pairs(plate, chip.request, stars, radius)
    # from the third on: with the brightest goes the best of what the fit has
    used = np.delete(chosen.rows, np.arange(_KEPT_BACK // 2, len(chosen.rows), _KEPT_BACK))
    used = np.setdiff1d(used, _outliers(plate, chip, chosen.stars, near_rows, radius), assume_unique=True)
    return Given(
        exposure=exposure,
        chip=chip,
        plate=plate,
        used=used,
        stars=chosen.stars,
        n_near=len(near),
        turn=turn,
    )


def _outliers(
    plate: Plate, chip: ChipFrame, stars: ReferenceStars, near: NDArray[np.intp], radius: float
) -> NDArray[np.intp]:
    """Return the stars near a catalogue star that our own robust fit of the chip leaves out.

    SCAMP weighs by the errors it is told: one bright blend that is off by ten of them draws its fit away
    from the other stars, which it then clips.
    """
    fit = refine(plate, chip.request, stars, start_radius=radius, final_radius=radius)
    if len(fit) < 0.5 * len(near):
        return np.empty(0, np.intp)
    kept = np.isin(chip.request.x[near] + 1j * chip.request.y[near], fit.x + 1j * fit.y)
    return near[~kept]


def _turned(plate: Plate) -> float:
    """Return the position angle of +y, degrees."""
    return float(np.degrees(np.arctan2(plate.cd[0, 1], plate.cd[1, 1])) % 360.0)


def _turn_number(plate: Plate, reference: float) -> int:
    """Return by how many `_SAME_TURN` a chip is turned from ``reference`` (degrees), the short way round.

    Half a turn has two ways, and one number.
    """
    off = (_turned(plate) - reference + 180.0) % 360.0 - 180.0
    return round(off / _SAME_TURN) % round(360.0 / _SAME_TURN)


def _corners(plate: Plate, shape: tuple[int, int]) -> tuple[Array, Array]:
    ny, nx = shape
    return plate.sky(np.array([0.0, nx - 1.0, 0.0, nx - 1.0]), np.array([0.0, 0.0, ny - 1.0, ny - 1.0]))

"""Which catalogue band calibrates which filter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightflow.catalogs.stars import BANDS, ReferenceStars
from nightflow.instruments.profile import PhotometrySettings
from nightflow.photcal.transforms import Transform, find_transform

__all__ = ["ASSUMED_ERROR", "BandChoice", "Reference", "choose_band", "reference_of"]

ASSUMED_ERROR = 0.02
"""Magnitudes, where a catalogue states none."""

_UNFILTERED = frozenset({"", "clear", "open", "none", "c", "l", "lum", "luminance", "w", "vr", "cv", "rggb"})
_COLORS: tuple[tuple[str, str], ...] = (
    ("B", "V"), ("V", "R"), ("V", "I"), ("g", "r"), ("g", "i"), ("r", "i"), ("BP", "RP"), ("BT", "VT"),
    ("VT", "G"),
)  # fmt: skip


@dataclass(frozen=True)
class BandChoice:
    """Band and colour of the reference magnitudes.

    Attributes
    ----------
    band : str
        Band of the reference magnitudes.
    system : str
        "Vega" or "AB".
    color : tuple of str or None
        The two bands of the colour term.
    guess : str
        Why a band of another passband had to do; "" where filter and band agree.
    transform : Transform or None
        How the band is made of others, where the catalogue lacks it.
    """

    band: str
    system: str
    color: tuple[str, str] | None
    guess: str
    transform: Transform | None = None

    @property
    def description(self) -> str:
        """The band, and what it was made of."""
        return self.band if self.transform is None else self.transform.description


@dataclass(frozen=True)
class Reference:
    """Magnitudes and colours of n reference stars, all in one system; NaN where unknown.

    Attributes
    ----------
    mag, error : ndarray of float64, shape (n,)
        Errors hold the scatter of the transform, and are assumed where the catalogue states none.
    color : ndarray of float64, shape (n,)
    color_variance, covariance : ndarray of float64, shape (n,)
        Of the colour's error, and between it and that of the magnitude; NaN where the catalogue states
        none.
    """

    mag: NDArray[np.float64]
    error: NDArray[np.float64]
    color: NDArray[np.float64]
    color_variance: NDArray[np.float64]
    covariance: NDArray[np.float64]


def choose_band(filter_name: str, stars: ReferenceStars, settings: PhotometrySettings) -> BandChoice | None:
    """Return the band for a filter, or None where the catalogue has nothing near it.

    The profile's word goes first, then the band of the filter's own name, then that band made of others by a
    published transform, then, for unfiltered frames only, the widest band there is: that is a guess, and
    says so.

    Parameters
    ----------
    filter_name : str
        Of the frame.
    stars : ReferenceStars
        Of the frame's field.
    settings : PhotometrySettings
        ``bands`` and ``colors`` of the profile.
    """
    known = [band for band in stars.mags if np.isfinite(stars.mags[band]).any()]
    named = settings.bands.get(filter_name)
    if named in known:
        return _choice(named, known, filter_name, settings, "" if named == filter_name else "by the profile")
    if filter_name in known:
        return _choice(filter_name, known, filter_name, settings, "")
    for wanted, why in ((named, "by the profile" if named != filter_name else ""), (filter_name, "")):
        transform = find_transform(wanted, known) if wanted else None
        if transform is not None and np.isfinite(transform.magnitudes(stars)).any():
            return _choice(transform.band, known, filter_name, settings, why, transform)
    if filter_name.lower() in _UNFILTERED:
        for band in ("G", "V", "VT", "r", "R"):
            if band in known:
                return _choice(band, known, filter_name, settings, "unfiltered frame")
    return None


def reference_of(choice: BandChoice, stars: ReferenceStars) -> Reference:
    """Return the reference magnitudes and colours of a choice."""
    color, variance = np.full(len(stars), np.nan), np.full(len(stars), np.nan)
    if choice.color is not None:
        first, second = choice.color
        color = np.asarray(stars.mags[first] - stars.mags[second])
        variance = _stated(first, stars) ** 2 + _stated(second, stars) ** 2
    if choice.transform is None:
        stated = _stated(choice.band, stars)
        shared = sum(
            sign * (choice.band == band) for band, sign in zip(choice.color or (), (1, -1), strict=False)
        )
        return Reference(
            mag=stars.mags[choice.band],
            error=np.where(np.isfinite(stated), stated, ASSUMED_ERROR),
            color=color,
            color_variance=variance,
            covariance=shared * stated**2,
        )
    return _transformed(choice.transform, choice, stars, color, variance)


def _transformed(
    transform: Transform,
    choice: BandChoice,
    stars: ReferenceStars,
    color: NDArray[np.float64],
    variance: NDArray[np.float64],
) -> Reference:
    base, slope = _stated(transform.base, stars), transform.slope(stars)
    first, second = (_stated(band, stars) ** 2 for band in transform.color)
    # The base may be one of the colour's own bands, as VT is of BT - VT.
    shared = (transform.base == transform.color[0]) * first - (transform.base == transform.color[1]) * second
    own = base**2 + slope**2 * (first + second) + 2 * slope * shared
    known = np.where(np.isfinite(own), own, ASSUMED_ERROR**2)
    same_color = choice.color == transform.color
    return Reference(
        mag=transform.magnitudes(stars),
        error=np.sqrt(known + transform.scatter**2),
        color=color,
        color_variance=variance,
        covariance=slope * variance + shared if same_color else np.zeros(len(stars)),
    )


def _stated(band: str, stars: ReferenceStars) -> NDArray[np.float64]:
    """Return the errors that a catalogue states, NaN where it states none."""
    unknown = np.full(len(stars), np.nan)
    errors = stars.mag_errs.get(band, unknown)
    return np.where(np.isfinite(errors) & (errors >= 0), errors, np.nan)


def _choice(
    band: str,
    known: list[str],
    filter_name: str,
    settings: PhotometrySettings,
    why: str,
    transform: Transform | None = None,
) -> BandChoice:
    guess = f"filter {filter_name!r} is calibrated to band {band} ({why}): not the same passband"
    color = _choose_color(band, known, filter_name, settings) if transform is None else transform.color
    return BandChoice(band, BANDS[band], color, guess if why else "", transform)


def _choose_color(
    band: str, known: list[str], filter_name: str, settings: PhotometrySettings
) -> tuple[str, str] | None:
    wanted = settings.colors.get(filter_name)
    # A difference of a Vega and an AB magnitude is no colour.
    if wanted and set(wanted) <= set(known) and BANDS[wanted[0]] == BANDS[wanted[1]]:
        return wanted
    pairs = [pair for pair in _COLORS if set(pair) <= set(known)]
    # A colour that holds the band itself describes the passband best.
    return next((pair for pair in pairs if band in pair), pairs[0] if pairs else None)

"""Which catalogue band calibrates which filter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nightflow.catalogs.stars import BANDS, ReferenceStars
from nightflow.instruments.profile import PhotometrySettings

__all__ = ["BandChoice", "choose_band"]

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
        Band of the catalogue.
    system : str
        "Vega" or "AB".
    color : tuple of str or None
        The two bands of the colour term.
    guess : str
        Why a band of another passband had to do; "" where filter and band agree.
    """

    band: str
    system: str
    color: tuple[str, str] | None
    guess: str


def choose_band(filter_name: str, stars: ReferenceStars, settings: PhotometrySettings) -> BandChoice | None:
    """Return the band for a filter, or None where the catalogue has nothing near it.

    The profile's word goes first, then the band of the filter's own name, then, for unfiltered frames only,
    the widest band there is: that is a guess, and says so.

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
    if filter_name.lower() in _UNFILTERED:
        for band in ("G", "V", "VT", "r", "R"):
            if band in known:
                return _choice(band, known, filter_name, settings, "unfiltered frame")
    return None


def _choice(
    band: str, known: list[str], filter_name: str, settings: PhotometrySettings, why: str
) -> BandChoice:
    guess = f"filter {filter_name!r} is calibrated to band {band} ({why}): not the same passband"
    return BandChoice(
        band, BANDS[band], _choose_color(band, known, filter_name, settings), guess if why else ""
    )


def _choose_color(
    band: str, known: list[str], filter_name: str, settings: PhotometrySettings
) -> tuple[str, str] | None:
    wanted = settings.colors.get(filter_name)
    if wanted and set(wanted) <= set(known):
        return wanted
    pairs = [pair for pair in _COLORS if set(pair) <= set(known)]
    # A colour that holds the band itself describes the passband best.
    return next((pair for pair in pairs if band in pair), pairs[0] if pairs else None)

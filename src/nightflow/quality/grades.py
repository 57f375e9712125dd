"""How good a frame is, by one table of rules: good, fair or bad, and which measure and bound say so."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np

from nightflow.instruments.quality_settings import QualitySettings

__all__ = ["RULES", "FrameMeasures", "Grade", "Graded", "Night", "Rule", "grade"]

_FEWEST = 4
"""Frames, the judged one among them, that make a night to compare with."""
_NEIGHBOURS = 4
"""Frames next in time that tell the trend of the zero point."""
_SAME_EXPOSURE = 0.02
_NOTHING_KNOWN = "no star's shape is known, and too few frames of the night are there to compare with"


class Grade(StrEnum):
    """From best to worst; ``UNKNOWN`` where there was nothing to judge by."""

    GOOD = "good"
    FAIR = "fair"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameMeasures:
    """What a frame is judged by; None where it was not measured.

    Attributes
    ----------
    mjd_mid : float
        UTC.
    object : str
    exptime : float
        Seconds.
    fwhm_px, scale : float or None
        Pixels; arcsec per pixel.
    ellipticity, trailing : float or None
        See `nightflow.quality.measures`.
    sky : float or None
        Electrons a pixel.
    n_sources : int or None
    zero_point : float or None
    zp_catalog : str or None
        Zero points of other catalogues are not compared with each other.
    """

    mjd_mid: float
    object: str
    exptime: float
    fwhm_px: float | None = None
    scale: float | None = None
    ellipticity: float | None = None
    trailing: float | None = None
    sky: float | None = None
    n_sources: int | None = None
    zero_point: float | None = None
    zp_catalog: str | None = None


@dataclass(frozen=True)
class Graded:
    """A grade and why.

    Attributes
    ----------
    grade : Grade
    reason : str
        Measures and bounds that kept it from a better one; "" of a good frame.
    """

    grade: Grade
    reason: str


class Night:
    """Frames of one night by the same camera, detector and filter, to compare each with the others.

    Parameters
    ----------
    frames : sequence of FrameMeasures
        All of them; while the night goes on those that there are so far.
    """

    def __init__(self, frames: Sequence[FrameMeasures]) -> None:
        self._frames = frames

    @cached_property
    def typical_fwhm(self) -> float | None:
        """Median width in pixels; None where too few frames tell."""
        return _percentile((one.fwhm_px for one in self._frames), 50)

    @cached_property
    def darkest_sky(self) -> float | None:
        """Electrons a pixel and second of the darkest tenth; None where too few frames tell."""
        return _percentile((_sky_rate(one) for one in self._frames), 10)

    def most_stars(self, frame: FrameMeasures) -> float | None:
        """Return the number of sources of the best tenth of the same object and exposure time."""
        return self._best_counts.get((frame.object, _step(frame.exptime)))

    def clearest(self, frame: FrameMeasures) -> float | None:
        """Return the zero point of the clearest tenth, of the same catalogue."""
        zero_points = (one.zero_point for one in self._frames if one.zp_catalog == frame.zp_catalog)
        if frame.zp_catalog not in self._clearest:
            self._clearest[frame.zp_catalog] = _percentile(zero_points, 90)
        return self._clearest[frame.zp_catalog]

    def zero_point_around(self, frame: FrameMeasures) -> float | None:
        """Return the median zero point of the frames next in time, of the same catalogue."""
        here = bisect_left(self._in_time, frame.mjd_mid, key=lambda one: one.mjd_mid)
        near = self._in_time[max(here - 2 * _NEIGHBOURS, 0) : here + 2 * _NEIGHBOURS + 1]
        others = [one for one in near if one is not frame and one.zp_catalog == frame.zp_catalog]
        others.sort(key=lambda one: abs(one.mjd_mid - frame.mjd_mid))
        values = [one.zero_point for one in others[:_NEIGHBOURS] if one.zero_point is not None]
        return float(np.median(values)) if len(values) >= _NEIGHBOURS - 1 else None

    @cached_property
    def _in_time(self) -> list[FrameMeasures]:
        known = (one for one in self._frames if one.zero_point is not None)
        return sorted(known, key=lambda one: one.mjd_mid)

    @cached_property
    def _clearest(self) -> dict[str | None, float | None]:
        return {}

    @cached_property
    def _best_counts(self) -> dict[tuple[str, int], float | None]:
        counts: dict[tuple[str, int], list[int | None]] = defaultdict(list)
        for one in self._frames:
            counts[one.object, _step(one.exptime)].append(one.n_sources)
        return {key: _percentile(values, 90) for key, values in counts.items()}


Measure = Callable[[FrameMeasures, Night], float | None]


@dataclass(frozen=True)
class Rule:
    """One measure that has bounds.

    Attributes
    ----------
    name : str
        Of the bounds in the profile's section ``quality``.
    words : str
        The value in words, for ``str.format``.
    measure : callable
        (frame, its night) -> value, the larger the worse; None where there is nothing to judge by.
    """

    name: str
    words: str
    measure: Measure


def grade(frame: FrameMeasures, night: Night, bounds: QualitySettings) -> Graded:
    """Judge a frame by every rule; the worst answer is its grade.

    Parameters
    ----------
    frame : FrameMeasures
    night : Night
        The frame among the others.
    bounds : QualitySettings
        Of the camera's profile.
    """
    worst, reasons, n_judged = Grade.GOOD, [], 0
    for rule in RULES:
        limits = getattr(bounds, rule.name)
        value = rule.measure(frame, night) if limits else None
        n_judged += value is not None
        if value is None or value <= limits[0]:
            continue
        found, limit = (Grade.BAD, limits[1]) if value > limits[1] else (Grade.FAIR, limits[0])
        reasons.append(f"{rule.name}: {rule.words.format(value)}; {found} above {limit:g}")
        worst = max(worst, found, key=list(Grade).index)
    if not n_judged and frame.fwhm_px is None:
        return Graded(Grade.UNKNOWN, _NOTHING_KNOWN)
    return Graded(worst, "; ".join(reasons))


def _percentile(values: Iterable[float | None], percent: float) -> float | None:
    """Return a percentile of what is known; None where that is too little to judge by."""
    known = [value for value in values if value is not None]
    return float(np.percentile(known, percent)) if len(known) >= _FEWEST else None


def _step(exptime: float) -> int:
    """Return the same number for exposure times that differ by a per cent or two."""
    return round(np.log(exptime) / _SAME_EXPOSURE) if exptime > 0 else 0


def _sky_rate(frame: FrameMeasures) -> float | None:
    return None if frame.sky is None or not frame.exptime > 0 else frame.sky / frame.exptime


def _relative_width(frame: FrameMeasures, night: Night) -> float | None:
    typical = night.typical_fwhm
    return None if frame.fwhm_px is None or typical is None else frame.fwhm_px / typical


def _width_arcsec(frame: FrameMeasures, _: Night) -> float | None:
    return None if frame.fwhm_px is None or frame.scale is None else frame.fwhm_px * frame.scale


def _relative_sky(frame: FrameMeasures, night: Night) -> float | None:
    rate, darkest = _sky_rate(frame), night.darkest_sky
    # Where the sky is not above zero (an unknown bias level) no ratio says anything.
    return None if rate is None or darkest is None or darkest <= 0 else rate / darkest


def _stars_lost(frame: FrameMeasures, night: Night) -> float | None:
    best = night.most_stars(frame)
    return None if frame.n_sources is None or not best else 1 - frame.n_sources / best


def _transparency(frame: FrameMeasures, night: Night) -> float | None:
    clearest = night.clearest(frame)
    return None if frame.zero_point is None or clearest is None else clearest - frame.zero_point


def _zero_point_jump(frame: FrameMeasures, night: Night) -> float | None:
    around = night.zero_point_around(frame)
    return None if frame.zero_point is None or around is None else abs(frame.zero_point - around)


RULES = (
    Rule("fwhm", "{:.2f} times the night's median", _relative_width),
    Rule("fwhm_arcsec", '{:.2f}"', _width_arcsec),
    Rule("ellipticity", "{:.2f}", lambda frame, _: frame.ellipticity),
    Rule("trailing", "{:.2f} in one direction", lambda frame, _: frame.trailing),
    Rule("sky", "{:.1f} times the night's darkest", _relative_sky),
    Rule("stars_lost", "{:.0%} of the best frames' stars are not there", _stars_lost),
    Rule("transparency", "{:.2f} mag below the night's clearest", _transparency),
    Rule("zero_point_jump", "{:.2f} mag off the frames next in time", _zero_point_jump),
)
"""What is asked of a frame, in this order."""

"""What makes a calibration frame or a master fit a frame: the matching keys, in one place.

Grouping raw frames into masters (`nightflow.masters.group`) and choosing among masters
(`nightflow.masters.choose`) both compare by `mismatches`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nightflow.detector.dark import same_exposure
from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.instruments.profile import MasterSettings

__all__ = [
    "COMPARED_WITHIN_TOLERANCE",
    "KIND_KEYS",
    "OF_A_FILTER",
    "MasterKey",
    "Mismatch",
    "counting_keys",
    "days_apart",
    "key_fields",
    "key_of",
    "mismatches",
    "same_exposure",
]


@dataclass(frozen=True, kw_only=True)
class MasterKey:
    """The fields of a frame, raw or master, that decide which calibrations fit.

    Attributes
    ----------
    kind : FrameKind
        What the frame is.
    instrument, detector, filter, gain_setting, readout_mode : str
        "" where unknown.
    shape : tuple of int
        (ny, nx) of the raw pixels.
    binning : tuple of int
        (x, y).
    exptime : float
        Seconds.
    ccd_temp : float or None
        Degrees Celsius.
    rotator : float or None
        Degrees.
    mjd_mid : float or None
        UTC, middle of the exposure or of the inputs.
    """

    kind: FrameKind
    instrument: str
    detector: str = "1"
    shape: tuple[int, int]
    binning: tuple[int, int] = (1, 1)
    gain_setting: str = ""
    readout_mode: str = ""
    ccd_temp: float | None = None
    exptime: float = 0.0
    filter: str = ""
    rotator: float | None = None
    mjd_mid: float | None = None

    @property
    def binning_text(self) -> str:
        """Binning as people write it, such as 1x1."""
        return "x".join(map(str, self.binning))

    def describe(self, wanted: MasterKey) -> str:
        """Return the frame or master in a few words, such as "flat V 0.3 d away"."""
        what = f"{self.exptime:g} s" if self.kind is FrameKind.DARK else ""
        if self.kind in OF_A_FILTER:
            what = self.filter
        return " ".join(filter(None, [str(self.kind), what, f"{days_apart(wanted, self):.1f} d away"]))


def key_of(header: FrameHeader) -> MasterKey:
    """Return the matching key of a frame or a master."""
    return MasterKey(**key_fields(header))


def key_fields(header: FrameHeader) -> dict[str, Any]:
    """Return the fields of `MasterKey` as a header has them."""
    return {name: getattr(header, name) for name in MasterKey.__dataclass_fields__}


@dataclass(frozen=True)
class Mismatch:
    """A key that rules something out, and the values in words."""

    key: str
    detail: str


Comparison = Callable[[MasterKey, MasterKey, MasterSettings], str]
"""(wanted, offered, settings) -> detail in words; "" where they match."""


def mismatches(
    kind: FrameKind,
    wanted: MasterKey,
    offered: MasterKey,
    settings: MasterSettings,
    *,
    any_exposure: bool = False,
) -> list[Mismatch]:
    """Return every key by which ``offered`` does not fit ``wanted``.

    Parameters
    ----------
    kind : FrameKind
        What is looked for. Darks must also match in temperature and exposure, flats in filter (and rotator,
        where ``settings.rotator_tolerance`` says that it matters).
    wanted : MasterKey
        Of the frame that is to be calibrated.
    offered : MasterKey
        Of a raw calibration frame or a master.
    settings : MasterSettings
        ``match`` lists the keys that count for every kind; tolerances.
    any_exposure : bool
        Darks are scaled, so their exposure need not match.
    """
    if offered.kind != kind:
        return [Mismatch("kind", f"kind {offered.kind}, not {kind}")]
    keys = [key for key in counting_keys(kind, settings) if not (any_exposure and key == "exptime")]
    found = [Mismatch(key, _comparison(key)(wanted, offered, settings)) for key in keys]
    return [mismatch for mismatch in found if mismatch.detail]


def counting_keys(kind: FrameKind, settings: MasterSettings) -> tuple[str, ...]:
    """Return the keys that are compared for a kind of master."""
    keys = dict.fromkeys([*settings.match, *KIND_KEYS.get(kind, ())])
    return tuple(key for key in keys if key != "rotator" or settings.rotator_tolerance is not None)


def days_apart(wanted: MasterKey, offered: MasterKey) -> float:
    """Return the distance in time, days; 0 where one of the times is unknown."""
    if wanted.mjd_mid is None or offered.mjd_mid is None:
        return 0.0
    return abs(wanted.mjd_mid - offered.mjd_mid)


def _equal(key: str) -> Comparison:
    def compare(wanted: MasterKey, offered: MasterKey, settings: MasterSettings) -> str:
        ours, theirs = _words(getattr(wanted, key)), _words(getattr(offered, key))
        return "" if ours == theirs else f"{key} {theirs}, not {ours}"

    return compare


def _words(value: Any) -> str:
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return str(value) or "unknown"


def _temperature(wanted: MasterKey, offered: MasterKey, settings: MasterSettings) -> str:
    if wanted.ccd_temp is None or offered.ccd_temp is None:
        return ""
    if abs(wanted.ccd_temp - offered.ccd_temp) <= settings.temperature_tolerance:
        return ""
    tolerance = settings.temperature_tolerance
    return f"ccd_temp {offered.ccd_temp:.1f} C, not within {tolerance:g} of {wanted.ccd_temp:.1f}"


def _exposure(wanted: MasterKey, offered: MasterKey, settings: MasterSettings) -> str:
    if same_exposure(wanted.exptime, offered.exptime, settings.exposure_tolerance):
        return ""
    return f"exptime {offered.exptime:g} s, not {wanted.exptime:g} s"


def _rotator(wanted: MasterKey, offered: MasterKey, settings: MasterSettings) -> str:
    tolerance = settings.rotator_tolerance
    if tolerance is None or wanted.rotator is None or offered.rotator is None:
        return ""
    apart = abs((wanted.rotator - offered.rotator + 180.0) % 360.0 - 180.0)
    if apart <= tolerance:
        return ""
    return f"rotator {offered.rotator:.1f} deg, not within {tolerance:g} of {wanted.rotator:.1f}"


KIND_KEYS: dict[FrameKind, tuple[str, ...]] = {
    FrameKind.DARK: ("ccd_temp", "exptime"),
    FrameKind.FLAT: ("filter", "rotator"),
    FrameKind.ILLUMINATION: ("filter", "rotator"),
    FrameKind.FRINGE: ("filter",),
}
"""Keys that count for one kind of master, beside those of ``MasterSettings.match``."""

OF_A_FILTER = frozenset(kind for kind, keys in KIND_KEYS.items() if "filter" in keys)
"""Kinds of which there is one a filter."""

_SPECIAL: dict[str, Comparison] = {"ccd_temp": _temperature, "exptime": _exposure, "rotator": _rotator}

COMPARED_WITHIN_TOLERANCE = frozenset(_SPECIAL)
"""Keys whose values need not be equal."""


def _comparison(key: str) -> Comparison:
    return _SPECIAL.get(key) or _equal(key)

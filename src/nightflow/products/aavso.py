"""Light curves for the AAVSO, in its Extended File Format 1.2 (aavso.org/aavso-extended-file-format)."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from nightflow.errors import ConfigurationError
from nightflow.flags import INCOMPLETE, Flag
from nightflow.lightcurves.light_curve import LightCurve
from nightflow.products.missing import refuse
from nightflow.software import SOFTWARE

__all__ = ["CODES", "FILTERS", "to_aavso"]

FILTERS = {
    **{name: name for name in ("U", "B", "V", "R", "I", "J", "H", "K", "Y", "TG", "TB", "TR", "CV", "CR")},
    **{name: name for name in ("SU", "SG", "SR", "SI", "SZ", "ZS", "HA", "O")},
    "Rc": "R",
    "Ic": "I",
    "u": "SU",
    "g": "SG",
    "r": "SR",
    "i": "SI",
    "z": "SZ",
    "up": "SU",
    "gp": "SG",
    "rp": "SR",
    "ip": "SI",
    "zs": "ZS",
}
"""Name of a filter here -> its code there."""

CODES = frozenset(FILTERS.values()) | frozenset(
    {"STU", "STV", "STB", "STY", "STHBW", "STHBN", "MA", "MB", "MI", "HAC", "GG", "GBP", "GRP", "RJ", "IJ"}
)
"""All codes that may be given; WebObs refuses the whole file for another."""

_COLUMNS = "NAME,DATE,MAG,MERR,FILT,TRANS,MTYPE,CNAME,CMAG,KNAME,KMAG,AMASS,GROUP,CHART,NOTES"
_JD_OF_MJD = 2400000.5
_LONGEST_NAME, _LONGEST_CODE, _LONGEST_NOTE = 30, 5, 1000
_DOUBTS = {int(Flag.NEIGHBOUR): "light of a neighbour", int(Flag.AMBIGUOUS): "may be another star"}
_NOT_PLAIN = re.compile(r"[^ -~]|[,#|]")
"""What may not stand in a field: the delimiter, marks of the format, what is not printable ASCII."""


def to_aavso(curve: LightCurve, *, star: str, observer: str, code: str | None = None) -> bytes:
    """Return the calibrated magnitudes of a star as a report that WebObs accepts.

    Parameters
    ----------
    curve : LightCurve
        Points without a magnitude, or whose light is not whole, are left out; those with an upper limit are
        reported as fainter than that.
    star : str
        Name or AUID by which the AAVSO knows it; 30 characters at most.
    observer : str
        The observer's code.
    code : str, optional
        Code of the filter, one of `CODES` in letters of either case, where the name of ours tells none.

    Returns
    -------
    bytes
        Times are JD in UTC at mid-exposure, not heliocentric. Magnitudes are standardised by an ensemble of
        catalogue stars and not transformed. Their errors hold that of the zero point, which holds the scatter
        of those stars; the notes say so, and where it is not known. The ensemble's own differential
        magnitudes have no place here: the format's differential ones are against a single star.

    Raises
    ------
    ConfigurationError
        The observer's code is none, the star's name too long, a filter without a code or with one that is
        none, or nothing is left.
    """
    name = _NOT_PLAIN.sub(" ", star).strip()
    code = None if code is None else code.upper()
    refuse([_fault_of_observer(observer), _fault_of_name(name), _fault_of_filters(curve, code)])
    lines = [*_records(curve, name, code)]
    if not lines:
        raise ConfigurationError(f"{name}: no usable calibrated magnitude to report")
    head = ["#TYPE=EXTENDED", f"#OBSCODE={observer.upper()}", f"#SOFTWARE={SOFTWARE}", "#DELIM=,", "#DATE=JD"]
    return "\n".join([*head, "#OBSTYPE=CCD", f"#{_COLUMNS}", *lines, ""]).encode("ascii")


def _fault_of_observer(observer: str) -> str:
    if re.fullmatch(rf"[A-Za-z0-9]{{1,{_LONGEST_CODE}}}", observer):
        return ""
    return f"observer {observer!r}: give your AAVSO code, such as --observer XYZ"


def _fault_of_name(name: str) -> str:
    if 0 < len(name) <= _LONGEST_NAME:
        return ""
    return f"star {name!r}: the AAVSO takes names of 1 to {_LONGEST_NAME} characters"


def _fault_of_filters(curve: LightCurve, code: str | None) -> str:
    """Return which filters have no code, or that the given one is none; "" where all is well."""
    if code is not None and code not in CODES:
        return f"--filter-code {code!r} is no code of the AAVSO: give one of {', '.join(sorted(CODES))}"
    used = {str(name) for name in curve["filter"][_usable(curve)]}
    unknown = [] if code else sorted(used - set(FILTERS))
    if not unknown:
        return ""
    names = ", ".join(repr(name) for name in unknown)
    return (
        f"filter {names} has no code at the AAVSO: say which with --filter-code, such as CV for unfiltered "
        "light calibrated to V"
    )


def _usable(curve: LightCurve) -> NDArray[np.bool_]:
    known = np.isfinite(curve["mag"]) | np.isfinite(curve["upper_limit"])
    return np.asarray(known & ((curve["flags"] & int(INCOMPLETE)) == 0))


def _records(curve: LightCurve, name: str, code: str | None) -> Iterator[str]:
    limit = curve["upper_limit"]
    errors = curve.total_mag_err()
    for row in np.flatnonzero(_usable(curve)):
        fainter = bool(np.isfinite(limit[row]))
        error, airmass = float(errors[row]), float(curve["airmass"][row])
        fields = (
            name,
            f"{curve['mjd_mid'][row] + _JD_OF_MJD:.6f}",
            f"<{limit[row]:.3f}" if fainter else f"{curve['mag'][row]:.4f}",
            f"{error:.4f}" if not fainter and np.isfinite(error) and error < 10 else "na",
            code or FILTERS[str(curve["filter"][row])],
            "NO",
            "STD",
            "ENSEMBLE",
            "na",
            "na",
            "na",
            f"{airmass:.4f}" if np.isfinite(airmass) else "na",
            "na",
            "na",
            _note(curve, row),
        )
        yield ",".join(fields)


def _note(curve: LightCurve, row: np.intp) -> str:
    system = _NOT_PLAIN.sub(" ", f"{curve['mag_system'][row]} ({curve['zp_band'][row]})").strip()
    level = curve.meta.get("upper_limit", "")
    notes = [f"zero point of each frame from catalogue stars: {system}"] if curve["zp_band"][row] else []
    if np.isfinite(curve["mag"][row]):
        with_it = "with" if np.isfinite(curve["zp_err"][row]) else "without"
        notes.append(f"MERR {with_it} the zero point's error")
    notes += [words for flag, words in _DOUBTS.items() if int(curve["flags"][row]) & flag]
    notes += [f"fainter-than limits at {_NOT_PLAIN.sub(' ', level)}"] if level else []
    return "; ".join(notes)[:_LONGEST_NOTE] or "na"

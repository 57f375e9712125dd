"""Light curves of asteroids in the Asteroid Lightcurve Data Exchange Format 2.3 (alcdef.org)."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from astropy.time import Time
from numpy.typing import NDArray

from nightflow.errors import ConfigurationError
from nightflow.flags import INCOMPLETE
from nightflow.lightcurves.light_curve import LightCurve
from nightflow.products.designation import designation
from nightflow.products.missing import refuse
from nightflow.software import SOFTWARE

__all__ = ["to_alcdef"]

_JD_OF_MJD = 2400000.5
_GAP = 0.4
"""Days without a point that part two nights."""
_BANDS = {one: one for one in ("U", "B", "V", "R", "I", "u", "g", "r", "i", "z")} | {"G": "GG", "VT": "V"}
_FILTERS = {"Clear": "C", "C": "C", "": "C", "Rc": "R", "Ic": "I", "up": "u", "gp": "g", "rp": "r", "ip": "i"}
_NOT_PLAIN = re.compile(r"[^ -~]|[|=]")
_LONGEST = 60


def to_alcdef(curve: LightCurve, *, name: str, observer: str, code: str = "XXX") -> bytes:
    """Return calibrated magnitudes as blocks of metadata and data, one a night and filter.

    Parameters
    ----------
    curve : LightCurve
        Points without a magnitude, or whose light is not whole, are left out.
    name : str
        Of the body.
    observer : str
        Name of the one to ask, and of the observer.
    code : str
        The observatory's at the MPC.

    Returns
    -------
    bytes
        Times are JD in UTC at mid-exposure without light-time correction; magnitudes are neither reduced to
        unit distances nor differential. Errors hold that of the zero point, where it is known.

    Raises
    ------
    ConfigurationError
        The observer is not named, the code is none, or nothing is left.
    """
    person = _plain(observer)
    usable = np.isfinite(curve["mag"]) & ((curve["flags"] & int(INCOMPLETE)) == 0)
    refuse(
        [
            "" if person else "the format names who observed: give --observer 'J. Doe'",
            ""
            if re.fullmatch(r"[A-Z0-9]{3}", code)
            else f"observatory {code!r}: give its MPC code of three characters, such as --observatory G37",
            _fault_of_bands({str(band) for band in curve["zp_band"][usable]}),
        ]
    )
    series = sorted(set(zip(curve["filter"][usable], curve["zp_band"][usable], strict=True)))
    blocks = [
        line
        for filter_name, band in series
        for rows in _nights(
            curve, np.flatnonzero(usable & (curve["filter"] == filter_name) & (curve["zp_band"] == band))
        )
        for line in _block(curve, rows, name, person, code)
    ]
    if not blocks:
        raise ConfigurationError(f"{_plain(name)}: no usable calibrated magnitude to report")
    return ("\n".join(blocks) + "\n").encode("ascii")


def _nights(curve: LightCurve, rows: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    return np.split(rows, np.flatnonzero(np.diff(curve["mjd_mid"][rows]) > _GAP) + 1)


def _block(curve: LightCurve, rows: NDArray[np.intp], name: str, person: str, code: str) -> Iterator[str]:
    called = designation(name)
    times = curve["mjd_mid"][rows]
    middle = Time(0.5 * (times[0] + times[-1]), format="mjd", scale="utc").isot
    filter_name = str(curve["filter"][rows[0]])
    band = str(curve["zp_band"][rows[0]])
    system = _plain(f"{curve['mag_system'][rows[0]]} ({band})")
    numbered = called.element == "permID"
    keys = {
        "REVISEDDATA": "FALSE",
        "OBJECTNUMBER": called.value if numbered else "0",
        "OBJECTNAME": _plain(re.sub(r"^\(?\d+\)?\s*", "", name) if numbered else name) or called.value,
        "MPCDESIG": called.value if called.element == "provID" else "",
        "CONTACTNAME": person,
        "CONTACTINFO": f"[{person}]",
        "OBSERVERS": person,
        "FACILITY": f"MPC {code}",
        "MPCCODE": code,
        "SESSIONDATE": middle[:10],
        "SESSIONTIME": middle[11:19],
        "FILTER": _FILTERS.get(filter_name, filter_name if filter_name in _BANDS else "C"),
        "MAGBAND": _BANDS[band],
        "DIFFERMAGS": "FALSE",
        "LTCAPP": "NONE",
        "LTCTYPE": "NONE",
        "REDUCEDMAGS": "NONE",
        "OBJECTRA": _hours(float(np.median(curve["ra"][rows]))),
        "OBJECTDEC": _degrees(float(np.median(curve["dec"][rows]))),
        "DELIMITER": "PIPE",
        "COMMENT": f"{SOFTWARE}; zero point of each frame from catalogue stars, "
        f"{'its error included' if np.isfinite(curve['zp_err'][rows]).all() else 'its error not known'}"
        f"; {system}".rstrip("; "),
    }
    yield "STARTMETADATA"
    for key, value in keys.items():
        if value:
            yield f"{key}={value}"
    yield "ENDMETADATA"
    errors = curve.total_mag_err()
    for row in rows:
        yield _point(curve, int(row), float(errors[row]))
    yield "ENDDATA"


def _fault_of_bands(bands: set[str]) -> str:
    """Return which bands the format does not know; "" where it knows all."""
    unknown = ", ".join(repr(band) for band in sorted(bands - set(_BANDS)))
    if not unknown:
        return ""
    return (
        f"zero points of the band {unknown}: the format knows {', '.join(sorted(_BANDS))}; map the filter to "
        "one of them in the camera's profile under [photometry.bands]"
    )


def _point(curve: LightCurve, row: int, error: float) -> str:
    airmass = float(curve["airmass"][row])
    fields = [f"{curve['mjd_mid'][row] + _JD_OF_MJD:.6f}", f"{curve['mag'][row]:.3f}"]
    fields.append(f"{max(error, 0.001):.3f}" if np.isfinite(error) else "")
    fields.append(f"{airmass:.3f}" if np.isfinite(airmass) else "")
    return "DATA=" + "|".join(fields).rstrip("|")


def _hours(ra: float) -> str:
    minutes = round((ra % 360.0) / 15.0 * 60.0) % 1440
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _degrees(dec: float) -> str:
    return f"{'-' if dec < 0 else '+'}{round(abs(dec)):02d}"


def _plain(text: str) -> str:
    return re.sub(r" +", " ", _NOT_PLAIN.sub(" ", text)).strip()[:_LONGEST].strip()

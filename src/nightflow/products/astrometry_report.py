"""Places of moving bodies for the Minor Planet Center: ADES (2022) as PSV and XML, and its 80 columns.

ADES: github.com/IAU-ADES/ADES-Master; the 80 columns: minorplanetcenter.net/iau/info/OpticalObs.html.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from astropy.time import Time

from nightflow.products.designation import designation
from nightflow.products.missing import refuse
from nightflow.software import SOFTWARE

__all__ = ["Observatory", "ObservedPosition", "to_ades_psv", "to_ades_xml", "to_mpc80"]

_ELEMENTS = (
    "permID", "provID", "trkSub", "mode", "stn", "obsTime", "ra", "dec", "rmsRA", "rmsDec", "astCat", "mag",
    "rmsMag", "band", "photCat", "exp",
)  # fmt: skip
"""Of an optical observation, in the order of the standard."""
_CATALOGS = (
    ("gaia.?(e?dr)?3", "Gaia3"), ("gaia.?(dr)?2", "Gaia2"), ("gaia.?(dr)?1", "Gaia1"),
    ("tyc(ho)?.?2", "Tyc2"), ("ucac.?5", "UCAC5"), ("ucac.?4", "UCAC4"), ("ppmxl", "PPMXL"),
    ("pan.?starrs|ps1", "PS1_DR1"),
)  # fmt: skip
"""What the name of a catalogue here holds -> its code there; all others are unknown there."""
_BANDS = {one: one for one in ("U", "B", "V", "R", "I", "u", "g", "r", "i", "z", "G")} | {
    "VT": "V",
    "BT": "B",
}
_APERTURE = re.compile(r"(\d+(?:\.\d+)?)\s*-?\s*(c?m)\b")
_DESIGNS = ("Schmidt-Cassegrain", "Schmidt", "Ritchey-Chretien", "Refractor", "Astrograph", "Reflector")
_NOT_PLAIN = re.compile(r"[^ -~]|\|")
_LONGEST_NAME = 60


@dataclass(frozen=True, kw_only=True)
class ObservedPosition:
    """One observation of a body.

    Attributes
    ----------
    mjd_mid : float
        UTC.
    ra, dec : float
        ICRS degrees.
    ra_err, dec_err : float or None
        1 sigma, arcsec, ra with the cosine of the declination in it.
    mag, mag_err : float or None
        The error holds that of the zero point, where it is known.
    band : str
        Of the magnitude.
    exptime : float or None
        Seconds.
    astrometric_catalog, photometric_catalog : str
        Names here.
    """

    mjd_mid: float
    ra: float
    dec: float
    ra_err: float | None
    dec_err: float | None
    mag: float | None
    mag_err: float | None
    band: str
    exptime: float | None
    astrometric_catalog: str
    photometric_catalog: str


@dataclass(frozen=True, kw_only=True)
class Observatory:
    """Who observed, and with what.

    Attributes
    ----------
    code : str
        The observatory's, three characters; "XXX" where it has none yet.
    observer, submitter : str
        Names.
    telescope : str
        Such as "0.5-m f/8 reflector + CCD".
    """

    code: str
    observer: str
    telescope: str
    submitter: str


Bodies = Sequence[tuple[str, Sequence[ObservedPosition]]]


def to_ades_psv(bodies: Bodies, observatory: Observatory) -> bytes:
    """Return observations in ADES, pipe-separated.

    Parameters
    ----------
    bodies : sequence of (name, positions)
    observatory : Observatory

    Raises
    ------
    ConfigurationError
        The observer is not named, the code is none, or the telescope has no aperture.
    """
    lines = ["# version=2022"]
    for group, entries in _context(observatory):
        lines.append(f"# {group}")
        lines += [f"! {key} {value}" for key, value in entries]
    records = [_optical(name, one, observatory) for name, positions in bodies for one in positions]
    used = [name for name in _ELEMENTS if any(name in record for record in records)]
    lines.append("|".join(used))
    lines += ["|".join(record.get(name, "") for name in used) for record in records]
    return ("\n".join(lines) + "\n").encode("ascii")


def to_ades_xml(bodies: Bodies, observatory: Observatory) -> bytes:
    """Return observations in ADES, as XML; parameters and errors are those of `to_ades_psv`."""
    root = ElementTree.Element("ades", version="2022")
    block = ElementTree.SubElement(root, "obsBlock")
    context = ElementTree.SubElement(block, "obsContext")
    for group, entries in _context(observatory):
        parent = ElementTree.SubElement(context, group)
        for key, value in entries:
            ElementTree.SubElement(parent, key).text = value
    data = ElementTree.SubElement(block, "obsData")
    for name, positions in bodies:
        for one in positions:
            optical = ElementTree.SubElement(data, "optical")
            for key, value in _optical(name, one, observatory).items():
                ElementTree.SubElement(optical, key).text = value
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True)) + b"\n"


def to_mpc80(bodies: Bodies, observatory: Observatory) -> bytes:
    """Return observations in 80 columns; parameters and errors are those of `to_ades_psv`."""
    code, observer, telescope = _checked(observatory)
    lines = [f"COD {code}", f"OBS {observer}", f"MEA {observer}", f"TEL {telescope}"]
    catalogs = sorted({_catalog(one.astrometric_catalog) for _, positions in bodies for one in positions})
    lines += [f"NET {one}" for one in catalogs if one != "UNK"]
    detector = _detector(telescope)
    lines += [_columns(name, one, code, detector) for name, positions in bodies for one in positions]
    return ("\n".join(lines) + "\n").encode("ascii")


def _checked(observatory: Observatory) -> tuple[str, str, str]:
    code = observatory.code.strip().upper()
    observer, telescope = _plain(observatory.observer), _plain(observatory.telescope)
    faults = {
        f"observatory {observatory.code!r}: give its MPC code, such as --observatory G37": (
            not re.fullmatch(r"[A-Z0-9]{3}", code)
        ),
        "the report names who observed: give --observer 'J. Doe'": not observer,
        f"telescope {observatory.telescope!r}: give its aperture, such as "
        "--telescope '0.5-m f/8 reflector + CCD'": not _APERTURE.search(telescope),
    }
    refuse(fault for fault, found in faults.items() if found)
    return code, observer, telescope


def _context(observatory: Observatory) -> list[tuple[str, list[tuple[str, str]]]]:
    code, observer, telescope = _checked(observatory)
    found = _APERTURE.search(telescope)
    assert found is not None
    aperture = float(found[1]) / (100.0 if found[2] == "cm" else 1.0)
    design = next((one for one in _DESIGNS if one.lower() in telescope.lower()), "Reflector")
    return [
        ("observatory", [("mpcCode", code)]),
        ("submitter", [("name", _plain(observatory.submitter) or observer)]),
        ("observers", [("name", observer)]),
        ("measurers", [("name", observer)]),
        (
            "telescope",
            [("design", design), ("aperture", f"{aperture:g}"), ("detector", _detector(telescope))],
        ),
        ("software", [("astrometry", SOFTWARE), ("photometry", SOFTWARE)]),
    ]


def _detector(telescope: str) -> str:
    return "CMO" if re.search(r"c-?mos", telescope, re.IGNORECASE) else "CCD"


def _optical(name: str, one: ObservedPosition, observatory: Observatory) -> dict[str, str]:
    """Return the elements of an observation in the order of the standard, those that are known."""
    called = designation(name)
    band = _BANDS.get(one.band)
    time = Time(one.mjd_mid, format="mjd", scale="utc", precision=2).isot
    values: dict[str, str | None] = {
        called.element: called.value,
        "mode": _detector(observatory.telescope),
        "stn": observatory.code.strip().upper(),
        "obsTime": f"{time}Z",
        "ra": f"{one.ra % 360.0:.7f}",
        "dec": f"{one.dec:.7f}",
        "rmsRA": None if one.ra_err is None else f"{max(one.ra_err, 0.001):.3f}",
        "rmsDec": None if one.dec_err is None else f"{max(one.dec_err, 0.001):.3f}",
        "astCat": _catalog(one.astrometric_catalog),
        "mag": None if one.mag is None or band is None else f"{one.mag:.2f}",
        "rmsMag": None
        if one.mag_err is None or one.mag is None or band is None
        else f"{max(one.mag_err, 0.01):.2f}",
        "band": band if one.mag is not None else None,
        "photCat": _catalog(one.photometric_catalog) if one.mag is not None and band else None,
        "exp": None if one.exptime is None else f"{one.exptime:.1f}",
    }
    if values["photCat"] == "UNK":
        # A catalogue that is not in the MPC's list would have the whole batch refused.
        values["photCat"] = None
    return {key: values[key] for key in _ELEMENTS if values.get(key)}  # type: ignore[misc]


def _columns(name: str, one: ObservedPosition, code: str, detector: str) -> str:
    band = _BANDS.get(one.band)
    mag = f"{one.mag:5.2f}{band}" if one.mag is not None and band is not None else " " * 6
    place = f"{_sexagesimal_ra(one.ra)} {_sexagesimal_dec(one.dec)}"
    # B stands for a CMOS detector, C for a CCD.
    note = {"CMO": "B", "CCD": "C"}[detector]
    return f"{designation(name).packed}  {note}{_day(one.mjd_mid)} {place}{'':10}{mag}{'':6}{code}"


def _day(mjd: float) -> str:
    """Return year, month and day to five decimals, 16 characters."""
    rounded = round(mjd, 5)
    fraction = round((rounded % 1.0) * 1e5)
    # The day itself, not one before it by the rounding of a double.
    whole = Time(round(rounded - fraction / 1e5), format="mjd", scale="utc").isot[:10]
    return f"{whole.replace('-', ' ')}.{fraction:05d}"


def _sexagesimal_ra(ra: float) -> str:
    hundredths = round((ra % 360.0) / 15.0 * 360000.0) % 8_640_000
    return f"{hundredths // 360000:02d} {hundredths // 6000 % 60:02d} {hundredths % 6000 / 100:05.2f}"


def _sexagesimal_dec(dec: float) -> str:
    tenths = round(abs(dec) * 36000.0)
    sign = "-" if dec < 0 else "+"
    return f"{sign}{tenths // 36000:02d} {tenths // 600 % 60:02d} {tenths % 600 / 10:04.1f}"


def _catalog(name: str) -> str:
    return next((code for pattern, code in _CATALOGS if re.search(pattern, name, re.IGNORECASE)), "UNK")


def _plain(text: str) -> str:
    """Return text of others in one line of plain characters."""
    return re.sub(r" +", " ", _NOT_PLAIN.sub(" ", text)).strip()[:_LONGEST_NAME].strip()

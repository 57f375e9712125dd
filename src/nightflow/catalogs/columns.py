"""Which column of a catalogue file holds which of our quantities.

Gaia's archive names and the plain names of the documentation are known. Case matters for the
one-letter bands only: ``R`` (Cousins) is not ``r`` (Sloan).
"""

from __future__ import annotations

from collections.abc import Iterable

from nightflow.catalogs.stars import BANDS

__all__ = ["known_columns", "quantity_of"]

_GAIA_BANDS = {"phot_g_mean_mag": "G", "phot_bp_mean_mag": "BP", "phot_rp_mean_mag": "RP", "g_gaia": "G"}
_TAG_ALONG = "MAG_"
"""Before a band in the columns of astrometry.net's index files, such as MAG_VT."""
_NAMES = {
    "ra": "ra",
    "ra_icrs": "ra",
    "raj2000": "ra",
    "dec": "dec",
    "de_icrs": "dec",
    "dej2000": "dec",
    "pmra": "pmra",
    "pmdec": "pmdec",
    "epoch": "epoch",
    "ref_epoch": "epoch",
    "name": "id",
    "source_id": "id",
    "gaia_id": "id",
    "id": "id",
}


def quantity_of(column: str) -> str | None:
    """Return our quantity for a file's column name, or None where it is none of ours.

    Returns
    -------
    str or None
        "ra", "dec", "pmra", "pmdec", "epoch", "id", a band of `BANDS`, or a band followed by "_err".
    """
    name = column.strip()
    band = _band_of(name)
    if band is not None:
        return band
    if name.upper().startswith(_TAG_ALONG) and name[len(_TAG_ALONG) :] in BANDS:
        return name[len(_TAG_ALONG) :]
    for suffix in ("_err", "_error"):
        if name.lower().endswith(suffix):
            band = _band_of(name[: -len(suffix)])
            return f"{band}_err" if band else None
    return _NAMES.get(name.lower())


def known_columns(columns: Iterable[str]) -> dict[str, str]:
    """Return our quantity -> the file's column; the first column that stands for a quantity wins."""
    found: dict[str, str] = {}
    for column in columns:
        quantity = quantity_of(column)
        if quantity is not None:
            found.setdefault(quantity, column)
    return found


def _band_of(name: str) -> str | None:
    if name in BANDS:
        return name
    if len(name) > 1 and name.upper() in BANDS:
        return name.upper()
    return _GAIA_BANDS.get(name.lower())

"""What a camera profile may say of a header: one table of our quantities.

The table checks the keys of a profile's ``[keywords]``, and is the table in ``docs/cameras.md``.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

__all__ = ["QUANTITIES", "Quantity", "as_markdown", "known_quantity"]


@dataclass(frozen=True)
class Quantity:
    """One thing that a header may say.

    Attributes
    ----------
    name : str
        Key in ``[keywords]``.
    unit : str
        What nightflow keeps it in.
    reads : str
        What may stand in the header, and the settings of the rule that say so.
    meaning : str
        In a sentence.
    """

    name: str
    unit: str
    reads: str
    meaning: str


_ROWS = (
    Quantity("kind", "", "text", "what the frame was taken for; judged by the rules in `[kinds]`"),
    Quantity("exptime", "s", "number; `unit` = ms, us, min", "exposure time"),
    Quantity("date_obs", "UTC", "`format` = iso (default), jd, mjd, unix, date (with `clock`)", "start"),
    Quantity("clock", "UTC", "hh:mm:ss.s", "time of day of the start, where `date_obs` is a date only"),
    Quantity("date_mid", "UTC", "as `date_obs`", "middle of the exposure; else start plus half of it"),
    Quantity("date_end", "UTC", "as `date_obs`", "end; used where neither start nor middle is there"),
    Quantity("object", "", "text", "name of the target"),
    Quantity("filter", "", "text; names are translated by `[filters]`", "filter"),
    Quantity("ra", "deg", "degrees, or sexagesimal hours; `unit` = hour for decimal hours", "pointing"),
    Quantity("dec", "deg", "degrees, decimal or sexagesimal", "pointing"),
    Quantity("altitude", "deg", "degrees", "of the telescope; gives the airmass where the pointing cannot"),
    Quantity("airmass", "", "number", "used where it cannot be computed"),
    Quantity("rotator", "deg", "degrees", "angle of the camera"),
    Quantity("latitude", "deg", "degrees, decimal or sexagesimal", "site, north positive"),
    Quantity(
        "longitude", "deg", 'as `latitude`; `sense` = "west" where west is positive', "site, east positive"
    ),
    Quantity("height", "m", "number", "site, above the ellipsoid"),
    Quantity("aperture", "m", "number; `unit` = mm", "diameter of the telescope, for the scintillation"),
    Quantity("gain", "e/ADU", "number; never an index", "conversion factor"),
    Quantity("read_noise", "e", "number", "read noise of one pixel"),
    Quantity("saturation", "ADU", "number", "raw counts at which a pixel is saturated"),
    Quantity("pedestal", "ADU", '`sense` = "add" where the header says what to add', "to be subtracted"),
    Quantity("gain_setting", "", "text", "index or name of the gain; a key of the masters"),
    Quantity("readout_mode", "", "text", "a key of the masters"),
    Quantity("ccd_temp", "deg C", "number, also as '11 C'; `unit` = K, F", "temperature of the chip"),
    Quantity("binning", "", '"3 3", "3x3" or 3', "both axes"),
    Quantity("binning_x", "", "whole number", "columns"),
    Quantity("binning_y", "", "whole number", "rows"),
    Quantity("overscan", "", "FITS section", "region that saw no light"),
    Quantity("trim", "", "FITS section", "region that saw light"),
    Quantity("detector", "", "text", "name of the chip, where a camera has several"),
    Quantity("amplifier", "", "text", "name of the amplifier, where a chip has several"),
    Quantity("chip_section", "", "FITS section, reversed for a flip", "where an amplifier's pixels belong"),
    Quantity("readout_x", "", "number; negative: from the right", "side on which the amplifier sits"),
    Quantity("readout_y", "", "number; negative: from the top", "side on which the amplifier sits"),
    Quantity("bayer", "", "text such as RGGB", "colour filter mosaic"),
    Quantity("calibrated", "", "letters B, D, F as in CALSTAT", "steps that the camera program has done"),
)

QUANTITIES: dict[str, Quantity] = {row.name: row for row in _ROWS}


def known_quantity(name: str) -> str:
    """Return ``name`` if it is a quantity.

    Raises
    ------
    ValueError
        It is none; the message names the nearest.
    """
    if name in QUANTITIES:
        return name
    nearest = difflib.get_close_matches(name, QUANTITIES, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]}?" if nearest else f"known: {', '.join(QUANTITIES)}"
    raise ValueError(f"unknown quantity {name}; {hint}")


def as_markdown() -> str:
    """Return the table as it stands in the documentation."""
    lines = ["| quantity | kept in | read from | meaning |", "|---|---|---|---|"]
    lines += [f"| `{row.name}` | {row.unit} | {row.reads} | {row.meaning} |" for row in _ROWS]
    return "\n".join(lines)

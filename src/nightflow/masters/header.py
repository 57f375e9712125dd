"""The header that stands for the inputs of a master."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.instruments.profile import MasterSettings
from nightflow.masters.keys import COMPARED_WITHIN_TOLERANCE, OF_A_FILTER

__all__ = ["common_header", "require_same_keys"]


def common_header(kind: FrameKind, headers: Sequence[FrameHeader]) -> FrameHeader:
    """Return the first input's header with the mean time and temperature and the median exposure of all."""
    times = [header.mjd_mid for header in headers if header.mjd_mid is not None]
    temperatures = [header.ccd_temp for header in headers if header.ccd_temp is not None]
    return replace(
        headers[0],
        kind=kind,
        object="",
        exptime=float(np.median([header.exptime for header in headers])),
        mjd_mid=float(np.mean(times)) if times else None,
        ccd_temp=float(np.mean(temperatures)) if temperatures else None,
        pedestal=0.0,
        ra=None,
        dec=None,
        airmass=None,
        warnings=(),
    )


def require_same_keys(kind: FrameKind, headers: Sequence[FrameHeader], settings: MasterSettings) -> None:
    """Check that inputs are of one chip and shape, and alike in what ``settings.match`` asks for.

    Raises
    ------
    ValueError
        They are not: whoever grouped them did not compare the keys.
    """
    keys = ["instrument", "detector", "shape", "binning"]
    keys += [key for key in settings.match if key not in COMPARED_WITHIN_TOLERANCE]
    if kind in OF_A_FILTER:
        keys.append("filter")
    for key in dict.fromkeys(keys):
        values = {getattr(header, key) for header in headers}
        if len(values) > 1:
            raise ValueError(f"master {kind}: inputs differ in {key}: {sorted(map(repr, values))}")

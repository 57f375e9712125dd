"""The header that stands for the inputs of a master."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nightflow.instruments.header import FrameHeader, FrameKind

__all__ = ["common_header"]


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

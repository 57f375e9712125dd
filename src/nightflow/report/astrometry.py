"""Places of moving bodies as reports for the Minor Planet Center."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from nightflow.products.astrometry_report import (
    Observatory,
    ObservedPosition,
    to_ades_psv,
    to_ades_xml,
    to_mpc80,
)
from nightflow.store.movers import ObservedMover

__all__ = ["AstrometryFormat", "astrometry"]


class AstrometryFormat(StrEnum):
    """How the places are written."""

    ADES = "ades"
    """The IAU's Astrometry Data Exchange Standard, as PSV."""
    ADES_XML = "ades-xml"
    MPC80 = "mpc80"
    """80 columns."""


_WRITERS = {
    AstrometryFormat.ADES: to_ades_psv,
    AstrometryFormat.ADES_XML: to_ades_xml,
    AstrometryFormat.MPC80: to_mpc80,
}


def astrometry(
    bodies: Sequence[ObservedMover],
    output: AstrometryFormat,
    *,
    code: str,
    observer: str,
    telescope: str = "",
) -> bytes:
    """Return the measured places of bodies as a report.

    The error of a place holds that of its centroid and that of the frame's WCS.

    Parameters
    ----------
    bodies : sequence of ObservedMover
    output : AstrometryFormat
    code : str
        The observatory's, three characters.
    observer, telescope : str
        As the report shall name them.

    Raises
    ------
    ConfigurationError
        The observer is not named, or the code is none.
    """
    observatory = Observatory(code=code, observer=observer, telescope=telescope, submitter=observer)
    listed = [(body.label, _positions(body)) for body in bodies]
    return _WRITERS[output](listed, observatory)


def _positions(body: ObservedMover) -> list[ObservedPosition]:
    columns = body.columns
    centroid = np.nan_to_num(columns["position_err"].astype(float))
    wcs = np.nan_to_num(columns["wcs_rms_arcsec"].astype(float)) / np.sqrt(2.0)
    error = np.hypot(centroid, wcs)
    mag_err = np.hypot(columns["mag_err"], np.nan_to_num(columns["zp_err"]))
    return [
        ObservedPosition(
            mjd_mid=float(columns["mjd_mid"][row]),
            ra=float(columns["ra"][row]),
            dec=float(columns["dec"][row]),
            ra_err=float(error[row]) or None,
            dec_err=float(error[row]) or None,
            mag=_known(columns["mag"][row]),
            mag_err=_known(mag_err[row]),
            band=str(columns["zp_band"][row] or columns["filter"][row]),
            exptime=float(columns["exptime"][row]),
            astrometric_catalog=str(columns["wcs_catalog"][row] or ""),
            photometric_catalog=str(columns["zp_catalog"][row] or ""),
        )
        for row in range(len(columns["mjd_mid"]))
    ]


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None

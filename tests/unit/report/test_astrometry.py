"""What a report for the Minor Planet Center takes from the measurements of a body."""

from __future__ import annotations

import numpy as np

from nightflow.report.astrometry import AstrometryFormat, astrometry
from nightflow.store.models import Mover
from nightflow.store.movers import ObservedMover


def body(**changes: list[object]) -> ObservedMover:
    columns = {
        "mjd_mid": [58568.2, 58568.3], "ra": [124.6, 124.7], "dec": [25.3, 25.3], "exptime": [300.0, 300.0],
        "position_err": [0.06, 0.06], "wcs_rms_arcsec": [0.08 * 2**0.5, np.nan],
        "mag": [17.123, 17.131], "mag_err": [0.03, 0.03], "zp_err": [0.04, np.nan], "zp_band": ["V", "V"],
        "filter": ["V", "V"], "wcs_catalog": ["gaia_dr3", None], "zp_catalog": ["gaia_dr3", None],
    }  # fmt: skip
    arrays = {name: np.array(values) for name, values in (columns | changes).items()}
    mover = Mover(id=1, night="2019-03-26", number=1, name="5945", rate_ra=14.5, rate_dec=-3.8)  # type: ignore[call-arg]
    return ObservedMover(mover=mover, columns=arrays)


def records(report: bytes) -> list[dict[str, str]]:
    rows = [line.split("|") for line in report.decode().splitlines() if not line.startswith(("#", "!"))]
    return [
        dict(zip((one.strip() for one in rows[0]), (one.strip() for one in row), strict=True))
        for row in rows[1:]
    ]


def test_errors_hold_those_of_the_wcs_and_of_the_zero_point() -> None:
    both, own = records(
        astrometry([body()], AstrometryFormat.ADES, code="688", observer="A. Nobody", telescope="0.4-m CCD")
    )
    assert (both["rmsRA"], both["rmsDec"], both["rmsMag"]) == ("0.100", "0.100", "0.05")
    assert (own["rmsRA"], own["rmsMag"]) == ("0.060", "0.03")

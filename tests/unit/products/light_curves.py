"""A light curve for the tests of the exports."""

from __future__ import annotations

import numpy as np

from nightflow.lightcurves.light_curve import LightCurve


def transit(n: int = 40, seed: int = 3) -> LightCurve:
    """Return a transit of 2.4 % in two filters, with nulls and flags."""
    rng = np.random.default_rng(seed)
    time = np.linspace(0.0, 0.28, n)
    dip = np.where(np.abs(time - 0.14) < 0.06, 0.026, 0.0)
    diff = dip + rng.normal(0.0, 0.006, n)
    names = np.where(np.arange(n) % 2 == 0, "Clear", "V").astype(object)
    columns = {
        "mjd_mid": 58107.07 + time,
        "bjd_tdb": 2458107.571234567 + time,
        "filter": names,
        "kind": np.full(n, "aperture", object),
        "mag": 11.3 + diff,
        "mag_err": np.full(n, 0.005),
        "upper_limit": np.full(n, np.nan),
        "flux": 1000.0 * 10 ** (-0.4 * diff),
        "flux_err": np.full(n, 5.0),
        "flux_ujy": np.full(n, np.nan),
        "diff_mag": diff - np.median(diff),
        "diff_mag_err": np.full(n, 0.006),
        "x": np.linspace(100, 400, n),
        "y": np.full(n, 250.5),
        "ra": np.full(n, 31.0427),
        "dec": np.full(n, 46.6878),
        "airmass": np.linspace(1.0, 1.8, n),
        "fwhm_px": np.full(n, 2.2),
        "flags": np.where(np.arange(n) == 7, 16, 0),
        "frame": np.array([f"/data/a, {number}.fits" for number in range(n)], object),
        "instrument": np.full(n, "cam", object),
        "detector": np.full(n, "1", object),
        "source_id": np.full(n, 17),
        "mag_system": np.full(n, "Vega", object),
        "zp_band": np.full(n, "V", object),
        "flux_ujy_err": np.full(n, np.nan),
        "zp_err": np.full(n, 0.012),
        "zp_origin": np.full(n, "frame", object),
        "grade": np.full(n, "good", object),
    }
    columns["mag"][3] = np.nan
    columns["diff_mag"][5] = np.nan
    return LightCurve(
        columns=columns, meta={"source": "17", "comparison_stars": "cam Clear: 3 (40%), 5 (60%)"}
    )

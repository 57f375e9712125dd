from __future__ import annotations

import numpy as np
import pytest

from nightflow.lightcurves.light_curve import COLUMNS, LightCurve
from nightflow.lightcurves.upper_limits import limits_at_level, upper_limits


def test_a_negative_flux_does_not_lower_it() -> None:
    limits = upper_limits(np.array([-5.0, 1.0, 5.9, 6.0, np.nan]), np.full(5, 2.0))
    assert limits[:3].tolist() == [6.0, 7.0, 11.9]
    assert np.isnan(limits[3:]).all()


def test_another_level_is_on_the_same_scale() -> None:
    flux = np.array([-4.0, 3.0, 8.0, 50.0])
    columns = {one.name: np.zeros(4, object if one.dtype is str else one.dtype) for one in COLUMNS}
    columns |= {
        "kind": np.array(["forced"] * 4, object),
        "flux": flux,
        "flux_err": np.full(4, 2.0),
        "mag": 25.0 - 2.5 * np.log10(np.where(flux > 0, flux, np.nan)),
        "upper_limit": 25.0 - 2.5 * np.log10([6.0, 9.0, np.nan, np.nan]),
    }
    five = limits_at_level(LightCurve(columns=columns), 5.0)
    assert five["upper_limit"][:3] == pytest.approx(25.0 - 2.5 * np.log10([10.0, 13.0, 18.0]))
    assert np.isnan(five["upper_limit"][3])
    assert five.meta["upper_limit"] == "5 sigma"

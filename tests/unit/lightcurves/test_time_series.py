from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.timeseries import TimeSeries

from nightflow.errors import ConfigurationError
from nightflow.lightcurves.light_curve import COLUMNS
from nightflow.lightcurves.time_series import to_lightkurve, to_time_series
from tests.unit.products.light_curves import transit


def test_times_units_and_nulls_are_kept() -> None:
    curve = transit()
    curve.columns["bjd_tdb"][0] = np.nan
    series = to_time_series(curve)
    assert isinstance(series, TimeSeries)
    assert len(series) == len(curve) - 1
    assert series.time.scale == "tdb"
    np.testing.assert_allclose(series.time.jd, curve["bjd_tdb"][1:], rtol=0, atol=1e-9)
    assert set(series.colnames) == {"time", *(column.name for column in COLUMNS)} - {"bjd_tdb"}
    assert series["mag"].unit == u.mag
    assert series["flux"].unit == u.electron / u.s
    assert np.flatnonzero(series["mag"].mask).tolist() == [2]
    assert np.all(series["flux_ujy"].mask)
    assert series["flags"][6] == 16
    assert series.meta["source"] == "17"


def test_astropy_folds_it_by_a_period() -> None:
    curve = transit(400)
    series = to_time_series(curve)
    folded = series.fold(period=0.14 * u.day, epoch_time=series.time[0])
    assert len(folded) == 400
    phase = (curve["bjd_tdb"] - curve["bjd_tdb"][0] + 0.07) % 0.14 - 0.07
    np.testing.assert_allclose(np.sort(folded.time.to_value("day")), np.sort(phase), atol=1e-8)


def test_lightkurve_gets_times_and_fluxes_with_units(monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, Any] = {}
    monkeypatch.setitem(
        sys.modules, "lightkurve", SimpleNamespace(LightCurve=lambda **given: made.update(given) or "curve")
    )
    curve = transit()
    curve.columns["bjd_tdb"][0] = np.nan
    assert to_lightkurve(curve) == "curve"
    assert (made["time"].scale, len(made["time"])) == ("tdb", len(curve) - 1)
    np.testing.assert_array_equal(made["flux"].value, curve["flux"][1:])
    assert str(made["flux_err"].unit) == "electron / s"


def test_without_lightkurve_the_mend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightkurve", None)
    with pytest.raises(ConfigurationError, match="pip install lightkurve"):
        to_lightkurve(transit())

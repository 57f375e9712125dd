from __future__ import annotations

import numpy as np
import pytest

from nightflow.lightcurves.light_curve import COLUMNS, LightCurve


def _columns(n: int) -> dict[str, np.ndarray]:
    return {column.name: np.zeros(n, object if column.dtype is str else column.dtype) for column in COLUMNS}


PUBLISHED = (
    "mjd_mid,bjd_tdb,filter,kind,mag,mag_err,upper_limit,flux,flux_err,flux_ujy,diff_mag,diff_mag_err,x,y,ra,dec,"
    "airmass,fwhm_px,flags,frame,source_id,mag_system,zp_band,instrument,detector,flux_ujy_err,"
    "zp_err,zp_origin,grade"
)


def test_the_published_columns_in_order() -> None:
    assert ",".join(column.name for column in COLUMNS) == PUBLISHED


def test_a_column_that_is_missing_is_named() -> None:
    columns = _columns(2)
    del columns["mag"]
    with pytest.raises(ValueError, match="without mag"):
        LightCurve(columns=columns)


def test_rows_are_taken_from_all_columns() -> None:
    columns = _columns(3) | {"mjd_mid": np.array([1.0, 2.0, 3.0])}
    curve = LightCurve(columns=columns, meta={"source": "7"}).take(np.array([True, False, True]))
    assert len(curve) == 2
    assert curve["mjd_mid"].tolist() == [1.0, 3.0]
    assert len(curve["frame"]) == 2
    assert curve.meta == {"source": "7"}

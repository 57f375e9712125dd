"""Pointing and scale of a night: rows with known offsets, trends and faults."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from PIL import Image

from nightflow.report.pointing import COLUMNS, pointing_ecsv, pointing_rows, summarise_pointing
from nightflow.report.pointing_plot import pointing_png
from nightflow.report.residual_plot import residual_png
from nightflow.report.residuals import FrameResiduals

RA, DEC = 359.999, 60.0
FLIP = 12


def night(n: int = 24, **changes: Any) -> list[dict[str, Any]]:
    """Return frames 0.2 h apart, off by (5, -8) arcsec and 6"/h in RA; the flip adds 20" in Dec."""
    rng = np.random.default_rng(1)
    rows = []
    for number in range(n):
        hours = -2.4 + 0.2 * number
        east = 5.0 + 6.0 * hours + rng.normal(0.0, 0.2)
        north = -8.0 + 20.0 * (number >= FLIP) + rng.normal(0.0, 0.2)
        header = SkyCoord(RA, DEC, unit="deg")
        solved = header.spherical_offsets_by(east * _ARCSEC, north * _ARCSEC)
        rows.append({
            "file": f"{number:04d}.fits", "instrument": "cam", "detector": "1", "filter": "R",
            "mjd_mid": 60000.1 + number / 120.0, "airmass": 1.2, "hour_angle": hours, "ra": RA, "dec": DEC,
            "ra_center": solved.ra.deg, "dec_center": solved.dec.deg,
            "scale": 1.5 * (1.0 + rng.normal(0.0, 1e-5)),
            "rotation": (0.003 * rng.normal() + 180.0 * (number >= FLIP)) % 360.0,
            "wcs_quality": "verified", "wcs_backend": "previous", "wcs_n_matched": 100, "wcs_n_expected": 120,
            "wcs_rms_arcsec": 0.2, "wcs_heldout_rms_arcsec": 0.21, "wcs_corner_rms_arcsec": 0.2,
            "wcs_corner_err_arcsec": 0.05, "lent_distortion": False,
        } | changes)  # fmt: skip
    return rows


_ARCSEC = SkyCoord(0, 0, unit="deg").ra.unit / 3600.0


def test_offsets_and_trend_are_the_true_ones() -> None:
    (found,) = summarise_pointing(pointing_rows(night()))
    assert (found.n_frames, found.n_offsets, found.n_outliers) == (24, 24, 0)
    assert found.trend_ra == pytest.approx(6.0, abs=0.3)
    assert found.trend_dec == pytest.approx(0.0, abs=0.3)
    assert found.offset_dec == pytest.approx(-8.0, abs=0.2)
    assert found.turned_dec == pytest.approx(12.0, abs=0.2)
    # 5 + 6 times the mean hour angle of either side
    assert found.offset_ra == pytest.approx(5.0 - 6.0 * 1.3, abs=0.3)
    assert found.scatter_ra == pytest.approx(0.2, abs=0.12)
    assert found.scale == pytest.approx(1.5, rel=1e-5)
    assert found.scale_scatter == pytest.approx(1e-5, rel=0.6)
    assert min(found.rotation % 360, -found.rotation % 360) < 0.002


def test_a_position_angle_is_within_a_circle() -> None:
    rows = night(6)
    for row, rotation in zip(rows, (0.2, 359.9, 359.8, 359.9, 359.8, 359.9), strict=True):
        row["rotation"] = rotation
    (found,) = summarise_pointing(pointing_rows(rows))
    assert found.rotation == pytest.approx(359.9, abs=1e-9)


def test_a_flip_is_no_change_of_rotation() -> None:
    rows = pointing_rows(night())
    assert [row["turned"] for row in rows] == [number >= FLIP for number in range(24)]
    assert max(abs(row["rotation_change"]) for row in rows) < 0.02


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"dec_center": DEC + 60.0 / 3600.0}, "pointing"),
        ({"scale": 1.5 * 1.001}, "scale"),
        ({"rotation": 0.2}, "rotation"),
        ({"wcs_rms_arcsec": 0.5}, "rms"),
    ],
)
def test_what_stands_out_is_named(change: dict[str, float], word: str) -> None:
    frames = night()
    frames[5] |= change
    rows = pointing_rows(frames)
    assert [row["outlier"] for row in rows] == [word if number == 5 else "" for number in range(24)]


def test_frames_without_a_pointing_have_no_offset() -> None:
    rows = pointing_rows(night(ra=None, dec=None))
    assert {row["offset_ra"] for row in rows} == {None}
    (found,) = summarise_pointing(rows)
    assert found.n_offsets == 0
    assert "header" not in found.line()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_frames_are_enough_for_a_report(n: int) -> None:
    rows = pointing_rows(night(n, hour_angle=None, wcs_corner_err_arcsec=None))
    assert "nothing stands out" in summarise_pointing(rows)[0].line()
    assert Image.open(BytesIO(pointing_png(rows, "2026-03-01"))).size[0] > 1000


def test_the_table_reads_back_with_units() -> None:
    table = Table.read(pointing_ecsv(pointing_rows(night()), "2026-03-01").decode(), format="ascii.ecsv")
    assert table.colnames == [column.name for column in COLUMNS]
    assert str(table["offset_ra"].unit) == "arcsec"
    assert table.meta["night"] == "2026-03-01"
    assert len(table.meta["summary"]) == 1


def test_chips_are_compared_with_themselves() -> None:
    both = night() + night(detector="2", rotation=45.0, scale=1.6)
    rows = pointing_rows(both)
    assert {row["outlier"] for row in rows} == {""}
    assert [one.detector for one in summarise_pointing(rows)] == ["1", "2"]
    picture = np.asarray(Image.open(BytesIO(pointing_png(rows, "2026-03-01"))).convert("L"))
    assert 0.002 < (picture < 128).mean() < 0.1


def residuals(n: int = 200) -> FrameResiduals:
    rng = np.random.default_rng(3)
    return FrameResiduals(
        title="a $strange_name$ \x00.fits", shape=(800, 1000), scale=1.5, x=rng.uniform(0, 999, n),
        y=rng.uniform(0, 799, n), dx=rng.normal(0.0, 0.1, n), dy=rng.normal(0.0, 0.1, n),
        mag=rng.uniform(10, 16, n), corner_errors_arcsec=(0.01, 0.02, 0.03, float("nan")),
        facts={"stars": str(n)},
    )  # fmt: skip


@pytest.mark.parametrize("n", [0, 1, 3, 200])
def test_residuals_are_drawn_however_few(n: int) -> None:
    picture = np.asarray(Image.open(BytesIO(residual_png(residuals(n)))).convert("L"))
    assert picture.shape[1] > 1000
    assert 0.002 < (picture < 160).mean() < 0.2


def test_longer_residuals_have_another_key() -> None:
    """Arrows ten times as long: the map looks alike, the key and the axes do not."""
    one = residuals()
    assert residual_png(one) == residual_png(residuals())
    assert residual_png(replace(one, dx=10 * one.dx, dy=10 * one.dy)) != residual_png(one)

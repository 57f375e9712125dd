"""A camera of several chips under one sky."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from nightflow.errors import ConfigurationError
from nightflow.simulate import (
    CameraPlan,
    FieldPlan,
    NightPlan,
    four_chips,
    quadrants,
    write_mosaic,
    write_night,
)
from nightflow.simulate.mosaic import prepare_mosaic, simulate_mosaic

CHIPS = (
    CameraPlan(name="W", shape=(96, 80), center_offset=(60.0, 0.0), overscan=16, overscan_side="left"),
    CameraPlan(name="E", shape=(96, 80), center_offset=(-60.0, 0.0), overscan=16, overscan_side="top"),
    CameraPlan(name="Q", shape=(96, 80), center_offset=(0.0, 130.0), amplifiers=quadrants((96, 80))),
)
PLAN = NightPlan.small(
    n_bias=1, n_dark=0, n_flat=0, n_lights=2, mosaic=CHIPS, field=FieldPlan(faint_limit=14.0)
)


@pytest.fixture(scope="module")
def nights():
    return prepare_mosaic(PLAN)


def test_one_file_holds_all_chips_and_amplifiers(nights) -> None:
    bias, *_ = simulate_mosaic(nights)
    hdus = bias.hdus()
    assert [hdu.name for hdu in hdus] == ["PRIMARY", "W", "E", "QA", "QB", "QC", "QD"]
    assert [hdu.header["DETECTOR"] for hdu in hdus[1:]] == ["W", "E", "Q", "Q", "Q", "Q"]
    assert hdus["W"].header["TRIMSEC"] == "[17:96,1:96]"
    assert (hdus["E"].header["BIASSEC"], hdus["E"].data.shape) == ("[1:80,97:112]", (112, 80))
    for name, region in (("W", np.s_[:, :16]), ("E", np.s_[96:])):
        level = next(frame.truth.bias_level for frame in bias.frames if frame.readouts[0].name == name)
        assert hdus[name].data[region].mean() == pytest.approx(level, abs=0.6)


def test_chips_see_one_sky_side_by_side(nights) -> None:
    west, east, _ = (night.lights[2].pointing for night in nights)
    # The optical axis lies 60 pixels to the right of the one chip's middle, 60 to the left of the other's.
    ra, dec = west.ra, west.dec
    (x_west, _), (x_east, _) = west.to_pixels(ra, dec), east.to_pixels(ra, dec)
    assert float(np.ravel(x_west)[0] - np.ravel(x_east)[0]) == pytest.approx(120.0, abs=1e-6)
    assert nights[0].lights[2].shape == nights[1].lights[2].shape


def test_chips_have_faults_and_levels_of_their_own(nights) -> None:
    west, east, _ = nights
    assert not np.array_equal(west.detector.flat, east.detector.flat)
    assert not np.array_equal(west.bias_levels, east.bias_levels)


def test_a_mosaic_is_written_with_a_truth_a_chip(tmp_path: Path) -> None:
    truths = write_mosaic(replace(PLAN, n_lights=1), tmp_path)
    assert list(truths) == ["W", "E", "Q"]
    raw = sorted((tmp_path / "raw").iterdir())
    assert [path.name for path in raw] == ["0001-bias.fits", "0002-light-R.fits"]
    with fits.open(raw[1]) as hdus:
        assert len(hdus) == 7
    for name in truths:
        summary = json.loads((tmp_path / name / "truth.json").read_text())
        assert summary["plan"]["camera"]["name"] == name
        assert fits.getdata(tmp_path / name / "truth-detector.fits", "FLAT").shape == (96, 80)
    assert (tmp_path / "catalog.csv").exists()


def test_four_chips_leave_a_gap_and_share_nothing_but_the_pattern() -> None:
    chips = four_chips(CameraPlan(shape=(100, 200)), gap=40)
    assert [chip.center_offset for chip in chips] == [(120, 70), (-120, 70), (120, -70), (-120, -70)]
    assert [chip.overscan_side for chip in chips] == ["right", "left", "top", "bottom"]
    for name in ("name", "gain", "read_noise", "bias_level"):
        assert len({getattr(chip, name) for chip in chips}) == 4


def test_what_is_no_mosaic_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="needs chips with names of their own"):
        prepare_mosaic(NightPlan.small())
    with pytest.raises(ConfigurationError, match="needs chips with names of their own"):
        prepare_mosaic(NightPlan.small(mosaic=(CHIPS[0], CHIPS[0])))
    with pytest.raises(ConfigurationError, match="each of its chips is a night of its own"):
        write_night(PLAN, tmp_path)

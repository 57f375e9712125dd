"""The whole chain on a chip of two amplifiers: electrons and their variance, and what is left out aloud."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from numpy.typing import NDArray

from nightflow.detector.chain import MasterSet, calibrate, prepare_for_master
from nightflow.frame import Frame
from nightflow.instruments.amplifiers import chip_shape
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import CameraProfile, DetectorSettings
from nightflow.instruments.registry import load_profiles
from nightflow.pipeline.identify import identify_file, read_frame
from nightflow.simulate import CameraPlan, NightPlan, quadrants, simulate_night
from tests.unit.detector.chips import LEFT, RIGHT, raw_frame
from tests.unit.detector.frames import make_master, make_profile

MATRIX = {"all": [[0.0, 1e-3], [2e-3, 0.0]]}
LINEARITY = {"R": {"polynomial": [1.0, 1e-6], "maximum": 60000}, "L": {"polynomial": [1.0], "maximum": 60000}}


def profile(detector: dict[str, Any], **calibration: Any) -> CameraProfile:
    settings = {"overscan": "median", "dark": "off", "flat": "off"} | calibration
    return make_profile(calibration=settings, detector=detector)


def exposure(left: float, right: float) -> Frame:
    """Return counts of ``left`` and ``right`` ADU above levels of 1000 and 2000 and a bias of 10."""
    data = np.zeros((8, 16))
    data[LEFT], data[:, 12:14] = 1000 + 10 + left, 1000
    data[RIGHT], data[:, 14:16] = 2000 + 10 + right, 2000
    return raw_frame(data)


BIAS = make_master("bias", np.full((8, 12), 10.0), 0.5)


def test_counts_of_both_amplifiers_become_electrons() -> None:
    frame = calibrate(exposure(3000.0, 4000.0), profile({}), MasterSet(bias=BIAS))
    assert (frame.unit, frame.data.shape) == ("electron", (8, 12))
    np.testing.assert_allclose(frame.data[LEFT], 3000 * 2, rtol=1e-6)
    np.testing.assert_allclose(frame.data[RIGHT], 4000 * 3, rtol=1e-6)
    np.testing.assert_allclose(frame.variance[LEFT], 6000 + 8**2 + (0.5 * 2) ** 2, rtol=1e-6)
    np.testing.assert_allclose(frame.variance[RIGHT], 12000 + 6**2 + (0.5 * 3) ** 2, rtol=1e-6)
    assert [line.split(":")[0] for line in frame.history] == [
        "saturation",
        "overscan",
        "trim",
        "bias",
        "variance",
        "balance",
        "variance",
        "gain",
        "bad_pixels",
    ]


def test_linearity_comes_before_the_balance_and_stretches_the_read_noise() -> None:
    frame = calibrate(exposure(3000.0, 40000.0), profile({"linearity": LINEARITY}), MasterSet(bias=BIAS))
    np.testing.assert_allclose(frame.data[LEFT], 6000, rtol=1e-6)
    np.testing.assert_allclose(frame.data[RIGHT], 41600 * 3, rtol=1e-6)
    readout = (6**2 + (0.5 * 3) ** 2) * 1.08**2
    np.testing.assert_allclose(frame.variance[RIGHT], 41600 * 3 + readout, rtol=1e-6)


def test_crosstalk_is_taken_out_of_every_kind() -> None:
    """Of a bias too: its pattern leaks as the light does."""
    camera = profile({"crosstalk": MATRIX})
    frame = prepare_for_master(exposure(0.0, 0.0), FrameKind.BIAS, camera)
    true = np.linalg.solve([[1, 1e-3], [2e-3, 1]], [10, 10])
    np.testing.assert_allclose(frame.data[LEFT], true[0], rtol=1e-5)
    np.testing.assert_allclose(frame.data[RIGHT], true[1], rtol=1e-5)


@pytest.mark.parametrize("step", ["crosstalk", "linearity"])
def test_a_profile_can_switch_a_step_off(step: str) -> None:
    known = {"crosstalk": MATRIX, "linearity": LINEARITY}
    frame = calibrate(exposure(3000.0, 4000.0), profile({step: known[step]}, **{step: False}), MasterSet())
    assert not [line for line in frame.history if line.startswith(step)]


def test_linearity_needs_a_level_of_zero() -> None:
    camera = profile({"linearity": LINEARITY}, overscan="off")
    frame = calibrate(exposure(3000.0, 4000.0), camera, MasterSet())
    assert "linearity: the bias level is still in the counts; not corrected" in frame.warnings
    with_overscan = calibrate(exposure(3000.0, 4000.0), profile({"linearity": LINEARITY}), MasterSet())
    assert any(line.startswith("linearity: corrected for L, R") for line in with_overscan.history)


def test_a_dark_is_brought_to_the_chips_gain() -> None:
    frame = prepare_for_master(exposure(100.0, 100.0), FrameKind.DARK, profile({}), MasterSet(bias=BIAS))
    np.testing.assert_allclose(frame.data[LEFT], 100 * 2 / 2.5, rtol=1e-5)
    np.testing.assert_allclose(frame.data[RIGHT], 100 * 3 / 2.5, rtol=1e-5)
    assert frame.unit == "adu"


def test_curves_are_chosen_by_the_profile() -> None:
    camera = profile({}, overscan="polynomial", overscan_order=1)
    frame = calibrate(exposure(3000.0, 4000.0), camera, MasterSet(bias=BIAS))
    assert frame.history[1].startswith("overscan: polynomial; L: 1000.00 adu subtracted")
    np.testing.assert_allclose(frame.data[RIGHT], 12000, rtol=1e-5)


def test_one_hdu_with_tables_is_the_same_chip_as_an_hdu_each(tmp_path: Path) -> None:
    """The same simulated counts, once in four HDUs as read, once in one, turned as the chip."""
    shape = (64, 80)
    matrix = ((0.0, 1e-3, 2e-3, 0.0), (0.0,) * 4, (3e-3, 0.0, 0.0, 0.0), (0.0, 0.0, 1e-3, 0.0))
    camera = CameraPlan(shape=shape, amplifiers=quadrants(shape), crosstalk=matrix, cosmic_rate=0.0)
    plan = NightPlan.small(n_bias=0, n_dark=0, n_flat=0, n_lights=1, camera=camera)
    (light,) = simulate_night(plan)
    light.hdus().writeto(tmp_path / "four.fits")
    simulator = next(one for one in load_profiles() if one.name == "simulator")
    crosstalk = {"all": [list(row) for row in matrix]}
    calibration = simulator.calibration.model_copy(update={"overscan": "median"})

    def camera_with(amplifiers: Any) -> CameraProfile:
        detector = DetectorSettings(amplifiers=amplifiers, crosstalk=crosstalk)
        return simulator.model_copy(update={"detector": detector, "calibration": calibration})

    four = camera_with("header")
    (header,) = identify_file(tmp_path / "four.fits", [four]).headers
    data, tables = in_one_hdu(read_frame(tmp_path / "four.fits", header))
    fits.writeto(tmp_path / "one.fits", data, light.header)
    one = camera_with(tables)
    results = [
        calibrate(read_frame(path, *identify_file(path, [used]).headers), used, MasterSet())
        for path, used in ((tmp_path / "four.fits", four), (tmp_path / "one.fits", one))
    ]
    np.testing.assert_array_equal(results[0].data, results[1].data)
    np.testing.assert_array_equal(results[0].variance, results[1].variance)


def in_one_hdu(frame: Frame) -> tuple[NDArray[np.float32], list[dict[str, Any]]]:
    """Return the chip with each strip of overscan below the last in columns to its right, and their tables.

    One level a frame is the same wherever its strip lies.
    """
    amplifiers = frame.header.amplifiers
    ny, nx = chip_shape(amplifiers)
    strips = [frame.data[one.overscan] for one in amplifiers]
    strips = [strip if strip.shape[0] >= strip.shape[1] else strip.T for strip in strips]
    width = max(strip.shape[1] for strip in strips)
    data = np.zeros((max(ny, max(strip.shape[0] for strip in strips)), nx + 4 * width), np.float32)
    tables = []
    for number, (one, strip) in enumerate(zip(amplifiers, strips, strict=True)):
        left = nx + number * width
        data[one.place] = one.on_chip(frame.data)
        data[: strip.shape[0], left : left + strip.shape[1]] = strip
        (y1, y2), (x1, x2) = ((part.start, part.stop) for part in one.place)
        section = f"[{x1 + 1}:{x2},{y1 + 1}:{y2}]"
        tables.append(
            {
                "name": one.name,
                "data": section,
                "chip": section,
                "overscan": f"[{left + 1}:{left + strip.shape[1]},1:{strip.shape[0]}]",
                "corner": one.corner,
                "gain": one.gain,
                "read_noise": one.read_noise,
                "saturation": one.saturation,
            }
        )
    return data, tables

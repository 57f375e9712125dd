"""A chip of four amplifiers, judged as an observer would."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from numpy.typing import NDArray

from nightflow.errors import ConfigurationError
from nightflow.simulate.amplifiers import ceiling_plane, in_order_of_readout, read_out_amplifiers
from nightflow.simulate.detector import make_detector, read_out
from nightflow.simulate.header import amplifier_header
from nightflow.simulate.night import render_frame, simulate_night
from nightflow.simulate.plan import CameraPlan, NightPlan, quadrants
from nightflow.simulate.prepare import prepare_night

SHAPE = (200, 240)
CAMERA = CameraPlan(shape=SHAPE, amplifiers=quadrants(SHAPE), bias_structure=0.0)
CHIP = make_detector(np.random.default_rng(1), CAMERA, 0.8)


def section(text: str) -> tuple[slice, slice]:
    """Return rows and columns of a FITS section, reversed ranges as steps of -1."""
    columns, rows = (part.split(":") for part in text.strip("[]").split(","))

    def as_slice(first: str, last: str) -> slice:
        a, b = int(first), int(last)
        return slice(a - 1, b) if a <= b else slice(a - 1, b - 2 if b > 1 else None, -1)

    return as_slice(*rows), as_slice(*columns)


def read(electrons: NDArray[np.float64] | float, **changes: Any) -> list[NDArray[np.float64]]:
    camera = replace(CAMERA, **changes)
    plane = np.broadcast_to(np.asarray(electrons, float), SHAPE)
    frames = read_out_amplifiers(np.random.default_rng(2), camera, CHIP, plane, 1000.0)
    return [frame.astype(float) for frame in frames]


def test_each_hdu_has_its_own_level_noise_and_side_of_the_overscan() -> None:
    for frame, amplifier in zip(read(0.0), CAMERA.amplifiers, strict=True):
        strip = frame[section(amplifier_header(CAMERA, amplifier)["BIASSEC"])]
        assert min(strip.shape) == CAMERA.overscan
        assert strip.mean() == pytest.approx(1000 + amplifier.bias_offset, abs=0.3)
        assert strip.std() == pytest.approx(amplifier.read_noise / amplifier.gain, rel=0.06)
    assert {amplifier.overscan_side for amplifier in CAMERA.amplifiers} == {"right", "left", "top", "bottom"}


def test_the_headers_sections_lead_back_to_the_chip() -> None:
    electrons = np.arange(SHAPE[0] * SHAPE[1], dtype=float).reshape(SHAPE)
    quiet = tuple(replace(one, read_noise=0.0, gain=1.0, bias_offset=0.0) for one in CAMERA.amplifiers)
    chip = np.zeros(SHAPE)
    for frame, amplifier in zip(read(electrons, amplifiers=quiet), quiet, strict=True):
        header = amplifier_header(CAMERA, amplifier)
        chip[section(header["CCDSEC"])] = frame[section(header["DATASEC"])]
    np.testing.assert_allclose(chip, 1000 + electrons, atol=0.5)


def test_a_ghost_shows_where_the_other_amplifier_was_read_with_the_star() -> None:
    electrons = np.zeros(SHAPE)
    electrons[10, 20] = 60000.0  # amplifier A, 10 rows and 20 columns from its corner
    matrix = ((0.0,) * 4, (1e-2, 0.0, 0.0, 0.0), (0.0,) * 4, (2e-2, 0.0, 0.0, 0.0))
    frames = read(electrons, crosstalk=matrix)
    for number, share in ((1, 1e-2), (3, 2e-2)):
        amplifier = CAMERA.amplifiers[number]
        data = frames[number][section(amplifier_header(CAMERA, amplifier)["DATASEC"])]
        ghost = data[10, 20] - np.median(data)
        assert ghost == pytest.approx(share * 60000 / 1.40, abs=4 * amplifier.read_noise / amplifier.gain)
    assert read(electrons)[1].max() < 1200


def test_nonlinearity_takes_its_share_at_50000_adu() -> None:
    bent = tuple(replace(one, gain=2.0, nonlinearity=0.04) for one in CAMERA.amplifiers)
    straight = tuple(replace(one, gain=2.0) for one in CAMERA.amplifiers)
    for one, other in zip(read(100000.0, amplifiers=bent), read(100000.0, amplifiers=straight), strict=True):
        assert np.max(other - one) == pytest.approx(2000, abs=1)
        assert np.min(other - one) == 0  # in the overscan


def test_one_amplifier_can_be_bent_and_have_its_overscan_anywhere() -> None:
    camera = replace(CAMERA, amplifiers=(), overscan_side="bottom", nonlinearity=0.04, gain=2.0)
    frame = read_out(np.random.default_rng(1), camera, CHIP, np.full(SHAPE, 100000.0), 1000.0).astype(float)
    assert frame.shape == (232, 240)
    assert frame[:32].mean() == pytest.approx(1000, abs=1)
    assert frame[32:].mean() == pytest.approx(1000 + 48000, abs=1)


def test_saturation_is_each_amplifiers() -> None:
    ceiling = ceiling_plane(CAMERA, 1000.0)
    lower_left = CAMERA.amplifiers[0]
    expected = (amplifier_header(CAMERA, lower_left)["SATURATE"] - 1000.0) * lower_left.gain
    assert in_order_of_readout(ceiling, lower_left)[0, 0] == pytest.approx(expected)
    assert len(np.unique(ceiling)) == 4


def test_a_file_has_an_hdu_for_each_amplifier() -> None:
    plan = NightPlan.small(n_bias=1, n_dark=0, n_flat=0, n_lights=1, camera=CAMERA)
    bias, light = simulate_night(plan)
    hdus = light.hdus()
    assert [hdu.name for hdu in hdus] == ["PRIMARY", "1A", "1B", "1C", "1D"]
    assert hdus[0].data is None
    assert {"EXPTIME", "RA", "DATE-OBS"} <= set(hdus[0].header)
    assert "GAIN" not in hdus[0].header
    assert [hdu.header["GAIN"] for hdu in hdus[1:]] == [one.gain for one in CAMERA.amplifiers]
    shapes = [readout.pixels.shape for readout in bias.readouts]
    assert shapes == [(100, 152), (100, 152), (132, 120), (132, 120)]
    again = render_frame(prepare_night(plan), prepare_night(plan).schedule[1])
    for one, other in zip(light.readouts, again.readouts, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"amplifiers": quadrants(SHAPE)[:3]}, r"together they must read a chip of \(200, 240\)"),
        ({"crosstalk": ((0.0, 1e-3), (0.0, 0.0))}, "camera.crosstalk: give 4 rows of 4 numbers"),
    ],
)
def test_a_plan_that_makes_no_chip_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        NightPlan.small(camera=replace(CAMERA, **changes))


def test_the_file_reads_back(tmp_path) -> None:
    plan = NightPlan.small(n_bias=1, n_dark=0, n_flat=0, n_lights=0, transit=None, camera=CAMERA)
    (frame,) = simulate_night(plan)
    frame.hdus().writeto(tmp_path / "a.fits")
    np.testing.assert_array_equal(fits.getdata(tmp_path / "a.fits", "1C"), frame.readouts[2].pixels)

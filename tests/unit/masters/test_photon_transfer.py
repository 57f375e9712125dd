"""Gain and read noise from pairs of frames, against a chip whose electrons are counted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nightflow.detector.master_frame import PhotonTransfer
from nightflow.instruments.amplifiers import Amplifier
from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.masters.photon_transfer import (
    amplifier_doubts,
    amplifier_read_noise_doubts,
    doubts,
    measure_gain,
    measure_read_noise,
    photon_transfer,
)
from tests.unit.detector.frames import make_header, make_master

SHAPE = (512, 640)
CAMERAS = [(1.5, 8.0), (3.67, 4.3), (0.39, 3.7), (12.0, 60.0)]


def biases(rng: np.random.Generator, gain: float, read_noise: float, count: int) -> list[NDArray[np.float32]]:
    """Whole counts with a fixed pattern, an offset of its own for each row, and a few hits."""
    pattern = rng.normal(0.0, 4.0, SHAPE)
    stack = []
    for _ in range(count):
        counts = (
            pattern + rng.normal(0.0, read_noise / gain, SHAPE) + 0.5 * rng.standard_normal((SHAPE[0], 1))
        )
        counts[rng.integers(0, SHAPE[0], 40), rng.integers(0, SHAPE[1], 40)] += 3000.0
        stack.append(np.rint(counts).astype(np.float32))
    return stack


def flats(rng: np.random.Generator, gain: float, read_noise: float, count: int) -> list[NDArray[np.float32]]:
    """A twilight: levels that fall, a gradient that turns, pixels of uneven response, gaps."""
    response = 1 + 0.01 * rng.standard_normal(SHAPE)
    x = np.arange(SHAPE[1]) / SHAPE[1]
    stack = []
    for number in range(count):
        electrons = rng.poisson(gain * 30_000 * 0.8**number * (1 + 0.05 * number * x) * response)
        counts = np.rint(electrons / gain + rng.normal(0.0, read_noise / gain, SHAPE)).astype(np.float32)
        counts[40:44] = np.nan
        stack.append(counts)
    return stack


@pytest.mark.parametrize(("gain", "read_noise"), CAMERAS)
def test_read_noise_within_two_percent(gain: float, read_noise: float) -> None:
    measured = measure_read_noise(biases(np.random.default_rng(1), gain, read_noise, 4))
    assert measured is not None
    # Rounding to whole counts is noise as well: 1/12 ADU^2.
    truth = np.hypot(read_noise / gain, 12**-0.5)
    assert measured.value == pytest.approx(truth, rel=0.02)
    assert abs(measured.value - truth) < 4 * measured.error


@pytest.mark.parametrize(("gain", "read_noise"), CAMERAS)
def test_gain_within_two_percent(gain: float, read_noise: float) -> None:
    measured = measure_gain(flats(np.random.default_rng(2), gain, read_noise, 4), read_noise / gain)
    assert measured is not None
    assert measured.value == pytest.approx(gain, rel=0.02)
    assert abs(measured.value - gain) < 4 * measured.error


def test_the_error_is_that_of_repeated_measurements() -> None:
    gains = [measure_gain(flats(np.random.default_rng(seed), 2.0, 6.0, 2), 3.0) for seed in range(24)]
    found = [one for one in gains if one is not None]
    spread = np.std([one.value for one in found])
    assert len(found) == 24
    assert np.median([one.error for one in found]) == pytest.approx(spread, rel=0.4)


@pytest.mark.parametrize("planes", [[], [np.zeros(SHAPE, np.float32)]])
def test_one_frame_is_no_pair(planes: list[NDArray[np.float32]]) -> None:
    assert measure_read_noise(planes) is None
    assert measure_gain(planes, 1.0) is None


def test_nothing_is_measured_where_there_is_no_light_or_no_pixel() -> None:
    dark = [np.zeros(SHAPE, np.float32)] * 2
    empty = [np.full(SHAPE, np.nan, np.float32)] * 2
    assert measure_gain(dark, 1.0) is None
    assert measure_gain(empty, 1.0) is None
    assert measure_read_noise(empty) is None


def test_flats_carry_the_read_noise_of_their_bias() -> None:
    rng = np.random.default_rng(5)
    noise = photon_transfer(FrameKind.BIAS, biases(rng, 2.0, 6.0, 3), None)
    bias = make_master("bias", np.zeros(SHAPE))
    bias = type(bias)(**{**vars(bias), "photon_transfer": noise})
    both = photon_transfer(FrameKind.FLAT, flats(rng, 2.0, 6.0, 3), bias)
    assert noise is not None
    assert noise.gain is None
    assert both is not None
    assert both.read_noise == noise.read_noise
    assert both.gain == pytest.approx(2.0, rel=0.02)
    assert photon_transfer(FrameKind.FLAT, flats(rng, 2.0, 6.0, 3), None) is None
    assert photon_transfer(FrameKind.DARK, biases(rng, 2.0, 6.0, 3), bias) is None


OF_BIASES = PhotonTransfer(read_noise=2.0, read_noise_err=0.01)
MEASURED = PhotonTransfer(read_noise=2.0, read_noise_err=0.01, gain=2.3, gain_err=0.01)


def header(**changes: Any) -> FrameHeader:
    return make_header(**{"gain": 2.3, "read_noise": 4.6, **changes})


def test_what_agrees_is_not_mentioned() -> None:
    assert doubts(header(), MEASURED) == ()
    assert doubts(header(gain=2.7), MEASURED) == ()
    assert doubts(header(gain=9.9), None) == ()
    assert doubts(header(gain=9.9, gain_known=False), OF_BIASES) == ()
    assert doubts(header(), OF_BIASES) == ()


def test_biases_alone_tell_of_the_read_noise() -> None:
    (said,) = doubts(header(read_noise=9.2), OF_BIASES)
    assert said == (
        "read_noise: the biases give 4.6 electron with a gain of 2.3; 9.2 is used, +100%: "
        "set detector.read_noise, or detector.gain, in the profile"
    )


def test_biases_tell_of_each_amplifier() -> None:
    rng = np.random.default_rng(4)
    planes = [np.hstack([rng.normal(0, 2.0, (128, 128)), rng.normal(0, 4.0, (128, 128))]) for _ in range(4)]
    left = Amplifier(
        name="left", data=(slice(0, 128), slice(0, 128)), place=(slice(0, 128), slice(0, 128)),
        gain=2.0, read_noise=4.0, saturation=60000.0,
    )  # fmt: skip
    right = replace(
        left, name="right", data=(slice(0, 128), slice(128, 256)), place=(slice(0, 128), slice(128, 256))
    )
    said = amplifier_read_noise_doubts(header(amplifiers=(left, right)), planes)
    assert len(said) == 1
    assert "amplifier right" in said[0]


def test_a_wrong_gain_in_use_is_named_with_its_mend() -> None:
    (said,) = doubts(header(gain=4.95, header_gain=4.95), MEASURED)
    assert "2.3 +- 0.01" in said
    assert "4.95 is used, +115%" in said
    assert "set detector.gain" in said


def test_a_wrong_header_that_the_profile_overrules_is_named() -> None:
    (said,) = doubts(header(header_gain=4.95), MEASURED)
    assert "the header says 4.95, +115%; the profile's 2.3 is used" in said


def test_an_unknown_gain_is_offered_the_measured_one() -> None:
    said = doubts(header(gain=1.0, gain_known=False, read_noise=0.0, read_noise_known=False), MEASURED)
    assert len(said) == 2
    assert "set detector.gain in the profile" in said[0]
    assert "4.6 electron; neither header nor profile has one: set detector.read_noise" in said[1]


def halves() -> tuple[Amplifier, Amplifier]:
    rows = slice(0, SHAPE[0])
    left, right = (rows, slice(0, 320)), (rows, slice(320, 640))
    return (
        Amplifier(name="A", hdu=0, data=left, place=left, gain=2.0, read_noise=6.0),
        Amplifier(name="B", hdu=0, data=right, place=right, gain=2.0, read_noise=6.0),
    )


def test_the_amplifier_with_another_gain_is_named() -> None:
    planes = flats(np.random.default_rng(8), 2.0, 6.0, 3)
    chip = header(gain=2.0, amplifiers=halves())
    assert amplifier_doubts(chip, planes, 3.0) == ()
    for plane in planes:
        plane[:, 320:] /= 1.6  # counted with 1.6 times the gain that balances it
    (said,) = amplifier_doubts(chip, planes, 3.0)
    assert "amplifier B 1.60 times the gain" in said
    assert doubts(chip, MEASURED) == ()

"""Steps that treat each amplifier on its own: saturation, overscan, trim, pedestal, balance, variance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nightflow.detector.amplifiers import amplifier_plane, assemble
from nightflow.detector.balance import balance_amplifiers
from nightflow.detector.overscan import subtract_overscan
from nightflow.detector.pedestal import subtract_pedestal
from nightflow.detector.saturation import flag_saturation
from nightflow.detector.trim import trim
from nightflow.detector.variance import attach_readout_variance, attach_variance
from nightflow.flags import Flag
from tests.unit.detector.chips import LEFT, RIGHT, chip_frame, raw_frame
from tests.unit.detector.frames import make_frame, make_master

SATURATED, BAD = int(Flag.SATURATED), int(Flag.BAD)


def test_each_amplifier_saturates_at_its_own_level() -> None:
    frame = flag_saturation(raw_frame(55000.0))
    assert (frame.flags[LEFT] == SATURATED).all()
    assert not frame.flags[:, 6:].any()
    assert frame.history[-1] == (
        "saturation: L: 48 pixels at or above 50000 adu; R: 0 pixels at or above 60000 adu"
    )


def test_each_amplifier_loses_its_own_level() -> None:
    data = np.zeros((8, 16))
    rows = np.arange(8.0)[:, np.newaxis]
    data[LEFT], data[:, 12:14] = 1000 + rows + 50, 1000 + rows
    data[RIGHT], data[:, 14:16] = 2000 - rows + 70, 2000 - rows
    frame = subtract_overscan(raw_frame(data), "row_median")
    assert (frame.data[LEFT] == 50).all()
    assert (frame.data[RIGHT] == 70).all()
    assert not frame.data[:, 12:].any()
    assert frame.history[-1].startswith("overscan: row_median; L: 1003.50 adu subtracted")


def test_a_strip_of_rows_beside_one_of_columns() -> None:
    data = np.full((8, 16), 300.0)
    data[7, 6:12] = np.arange(6.0)  # the right amplifier's strip is its last row
    frame = raw_frame(data, right={"data": (slice(0, 7), RIGHT[1]), "overscan": (slice(7, 8), RIGHT[1])})
    done = subtract_overscan(frame, "row_median").data
    assert (done[:7, 6:12] == 300 - np.arange(6.0)).all()
    assert not done[LEFT].any()


def test_an_amplifier_without_a_strip_is_named() -> None:
    frame = subtract_overscan(raw_frame(500.0, right={"overscan": None}), "median")
    assert not frame.data[LEFT].any()
    assert (frame.data[RIGHT] == 500).all()
    assert frame.warnings == (
        "overscan: amplifier R: neither header nor profile names the strip; not subtracted",
    )
    assert not frame.header.has_overscan


def test_the_parts_are_put_together_in_the_chips_orientation() -> None:
    frame = raw_frame(np.arange(128).reshape(8, 16), right={"flip_x": True})
    chip = trim(frame)
    assert chip.data.shape == (8, 12)
    assert chip.data[0].tolist() == [0, 1, 2, 3, 4, 5, 11, 10, 9, 8, 7, 6]
    assert chip.header.shape == (8, 16)
    assert "L, R put together to 12 x 8 pixels" in chip.history[-1]


def test_a_gap_is_bad() -> None:
    chip = assemble(raw_frame(7.0, right={"place": (slice(0, 8), slice(8, 14))}))
    assert chip.data.shape == (8, 14)
    assert (chip.flags[:, 6:8] == BAD).all()
    assert np.count_nonzero(chip.flags) == 16
    assert not chip.data[:, 6:8].any()


def test_what_is_put_together_cannot_be_again() -> None:
    chip = trim(raw_frame(1.0))
    with pytest.raises(ValueError, match="trim: needs the untrimmed frame"):
        trim(chip)
    with pytest.raises(ValueError, match=r"needs the chip of \(8, 12\), put together"):
        amplifier_plane(raw_frame(1.0), lambda amplifier: amplifier.gain)


def test_each_amplifier_has_its_own_pedestal() -> None:
    frame = subtract_pedestal(chip_frame(250.0, right={"pedestal": 100.0}))
    assert (frame.data[LEFT] == 250).all()
    assert (frame.data[RIGHT] == 150).all()
    assert frame.history == ("pedestal: L 0, R 100 adu subtracted",)


def test_balance_brings_all_to_the_chips_gain() -> None:
    frame = balance_amplifiers(chip_frame(1000.0))
    assert (frame.data[LEFT] == 1000 * np.float32(2 / 2.5)).all()
    assert (frame.data[RIGHT] == 1000 * np.float32(3 / 2.5)).all()
    assert [one.gain for one in frame.header.amplifiers] == [2.5, 2.5]
    assert frame.history == ("balance: L 2, R 3 electron/adu brought to 2.5",)
    np.testing.assert_array_equal(balance_amplifiers(frame).data, frame.data)


def test_one_amplifier_is_left_alone() -> None:
    frame = make_frame(np.ones((4, 4)))
    assert balance_amplifiers(frame) is frame


@pytest.mark.parametrize("step", [balance_amplifiers, attach_readout_variance, subtract_pedestal])
def test_the_unit_is_checked(step) -> None:
    with pytest.raises(ValueError, match="needs counts in adu, got electron"):
        step(replace(chip_frame(1.0), unit="electron"))


def test_a_gain_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="balance: gains must be positive"):
        balance_amplifiers(chip_frame(1.0, right={"gain": 0.0}))


def test_read_noise_and_master_bias_go_through_the_balance() -> None:
    """By hand, in electrons: read noise, 3 adu of the master times the amplifier's gain, photons."""
    master = make_master("bias", np.zeros((8, 12)), 3.0)
    frame = attach_readout_variance(chip_frame(100.0, bias_included=False), master_bias=master)
    frame = attach_variance(balance_amplifiers(frame), master_bias=master)
    electrons = frame.variance * 2.5**2
    np.testing.assert_allclose(electrons[LEFT], 8**2 + (3 * 2) ** 2 + 100 * 2, rtol=1e-6)
    np.testing.assert_allclose(electrons[RIGHT], 6**2 + (3 * 3) ** 2 + 100 * 3, rtol=1e-6)
    assert frame.warnings == ()


def test_the_overscans_own_noise_is_each_amplifiers() -> None:
    frame = attach_readout_variance(chip_frame(0.0), mode="row_median")
    share = 1 + np.pi / 2 / 2  # of a median of two columns
    np.testing.assert_allclose(frame.variance[LEFT], (8 / 2) ** 2 * share, rtol=1e-6)
    np.testing.assert_allclose(frame.variance[RIGHT], (6 / 3) ** 2 * share, rtol=1e-6)
    assert attach_readout_variance(frame) is frame

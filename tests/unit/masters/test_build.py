from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nightflow.detector.chain import MasterSet, calibrate
from nightflow.detector.master_frame import InputFile
from nightflow.errors import MissingCalibration
from nightflow.flags import Flag
from nightflow.frame import Frame
from nightflow.instruments.header import FrameKind
from nightflow.masters.build import build_master, master_fingerprint
from tests.unit.detector.frames import Detector, make_frame, make_master, make_profile

BIAS, DARK, FLAT = FrameKind.BIAS, FrameKind.DARK, FrameKind.FLAT
PROFILE = make_profile()


def frames_of(
    detector: Detector, kind: FrameKind, n: int, electrons: Any = 0, exptime: float = 0.0
) -> list[Frame]:
    return [detector.frame(kind, electrons, exptime, mjd_mid=60000 + i / 100) for i in range(n)]


def within_errors(value: np.ndarray, truth: np.ndarray, uncertainty: np.ndarray, slack: float = 0.06) -> None:
    pull = (value - truth) / uncertainty
    assert np.mean(pull) == pytest.approx(0, abs=0.05)
    assert np.std(pull) == pytest.approx(1, abs=slack)


@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("method", ["clipped_mean", "median"])
def test_master_bias_is_the_pattern_within_its_errors(n: int, method: Any) -> None:
    detector = Detector(shape=(200, 200))
    master = build_master(BIAS, frames_of(detector, BIAS, n), PROFILE, method=method)
    # the MAD of five values is known less well than their standard deviation, and is low on average
    within_errors(master.data, detector.bias, master.uncertainty, 0.06 if method == "clipped_mean" else 0.1)
    assert master.statistics.noise == pytest.approx(4, rel=0.03)
    assert master.statistics.median == pytest.approx(np.median(detector.bias), abs=0.1)
    assert master.header.kind == BIAS
    assert master.header.mjd_mid == pytest.approx(60000 + (n - 1) / 200)


def test_master_dark_has_no_bias_and_keeps_its_exposure() -> None:
    detector = Detector(shape=(200, 200), dark_rate=2.0)
    bias = detector.ideal_masters(120)["bias"]
    master = build_master(DARK, frames_of(detector, DARK, 5, exptime=120), PROFILE, MasterSet(bias=bias))
    within_errors(master.data, detector.dark * 60, master.uncertainty)
    assert master.header.exptime == 120
    assert not master.header.bias_included


def test_keys_with_a_tolerance_need_not_be_equal() -> None:
    """Whoever matches by temperature accepts what lies within its tolerance."""
    detector = Detector(shape=(60, 60))
    frames = [detector.frame("bias", 0, 0, ccd_temp=-20 + 0.1 * number) for number in range(4)]
    profile = make_profile(masters={"match": ["instrument", "shape", "ccd_temp"]})
    assert build_master(BIAS, frames, profile).header.ccd_temp == pytest.approx(-19.85)


def test_darks_that_lost_their_bias_are_not_mixed_with_those_that_hold_it() -> None:
    detector = Detector(shape=(100, 100), dark_rate=2.0)
    bias = detector.ideal_masters(120)["bias"]
    darks = frames_of(detector, DARK, 4, exptime=120)
    gone = darks[1]
    darks[1] = replace(gone, data=gone.data - bias.data, header=replace(gone.header, bias_included=False))
    master = build_master(DARK, darks, PROFILE)
    assert [file.dropped for file in master.inputs] == ["", "its bias is gone, most hold theirs", "", ""]


def test_a_dark_without_a_master_bias_says_that_it_holds_it() -> None:
    detector = Detector()
    master = build_master(DARK, frames_of(detector, DARK, 3, exptime=60), PROFILE)
    assert master.header.bias_included
    assert any("no master bias" in warning for warning in master.warnings)
    assert np.median(master.data) > 1000


@pytest.mark.parametrize("scaling", ["exposure_matched", "scaled"])
def test_master_flat_with_its_dark(scaling: str) -> None:
    """A dark-flat: without it a third of the counts would be dark current, and the flat too flat."""
    detector = Detector(shape=(200, 200), dark_rate=400.0)
    ideal = detector.ideal_masters(20)
    dark = ideal["dark"] if scaling == "exposure_matched" else detector.ideal_masters(200)["dark"]
    profile = make_profile(calibration={"dark_scaling": scaling})
    flats = [detector.frame("flat", level, 20) for level in (12000, 16000, 24000, 20000)]
    master = build_master(FLAT, flats, profile, MasterSet(bias=ideal["bias"], dark=dark))
    assert np.median(master.data) == pytest.approx(1, abs=1e-6)
    truth = detector.response / np.median(detector.response)
    assert np.std(master.data / truth) < 0.006
    assert np.mean(master.data / truth) == pytest.approx(1, abs=1e-3)


def test_a_bright_flat_weighs_no_more_than_a_dim_one() -> None:
    """Dust that came in after the bright flat is in three of four; a mean of counts would hide it."""
    detector = Detector()
    flats = [detector.frame("flat", level, 1) for level in (80000, 10000, 10000, 10000)]
    for number in (1, 2, 3):
        data = flats[number].data.copy()
        data[20:30, 20:30] -= 0.4 * (data[20:30, 20:30] - 1000)
        flats[number] = flats[number].after("dust", data=data)
    masters = MasterSet(
        bias=detector.ideal_masters(1)["bias"], dark=make_master("dark", detector.dark / 2, exptime=1.0)
    )
    master = build_master(FLAT, flats, PROFILE, masters)
    assert np.median(master.data[20:30, 20:30] / detector.response[20:30, 20:30]) == pytest.approx(
        0.6, abs=0.02
    )


def test_a_cosmic_ray_in_three_frames_is_not_in_the_master() -> None:
    detector = Detector()
    frames = frames_of(detector, BIAS, 3)
    data = frames[1].data.copy()
    data[30, 40] += 3000
    frames[1] = frames[1].after("hit", data=data)
    master = build_master(BIAS, frames, PROFILE)
    assert master.data[30, 40] == pytest.approx(detector.bias[30, 40], abs=15)


def test_bad_inputs_are_left_out_and_named() -> None:
    detector = Detector()
    frames = frames_of(detector, BIAS, 4)
    frames[2] = detector.frame("bias", 5000.0, 0.0)
    frames.append(make_frame(np.full(detector.shape, np.nan), kind=BIAS))
    inputs = [InputFile(name=f"b{i}.fits", sha256=f"{i:064}") for i in range(5)]
    master = build_master(BIAS, frames, PROFILE, inputs=inputs)
    assert [file.name for file in master.inputs if file.dropped] == ["b2.fits", "b4.fits"]
    assert [warning for warning in master.warnings if warning.startswith("left out")] == [
        f"left out b2.fits: {master.inputs[2].dropped}",
        "left out b4.fits: not one of 12288 pixels is finite",
    ]
    assert master.inputs[2].dropped.startswith("level 3")
    assert np.std(master.data - detector.bias) < 4


def test_too_few_usable_inputs_are_a_missing_calibration() -> None:
    detector = Detector()
    frames = [detector.frame("flat", level, 1) for level in (20000, 15, 30000)]
    with pytest.raises(
        MissingCalibration, match=r"master flat for bench: 2 of 3 inputs usable, 3 needed"
    ) as caught:
        build_master(FLAT, frames, PROFILE)
    assert caught.value.candidates == ("frame 1: too faint: level 1.7% of saturation, below 2%",)


def test_no_input_is_a_missing_calibration() -> None:
    with pytest.raises(MissingCalibration, match="master bias: no input"):
        build_master(BIAS, [], PROFILE)


def test_flats_whose_dark_does_not_fit_are_left_out() -> None:
    detector = Detector()
    flats = [detector.frame("flat", 20000, exptime) for exptime in (10, 10, 10, 40)]
    master = build_master(FLAT, flats, PROFILE, MasterSet(**{**detector.ideal_masters(10), "flat": None}))
    assert "does not match an exposure of 40 s" in master.inputs[3].dropped


def test_pixels_without_a_usable_value_are_flagged_and_harmless() -> None:
    detector = Detector()
    frames = []
    for frame in frames_of(detector, BIAS, 4):
        data = frame.data.copy()
        data[:, 17] = 65000
        frames.append(frame.after("column", data=data))
    master = build_master(BIAS, frames, PROFILE)
    assert (master.flags[:, 17] == Flag.BAD).all()
    assert np.count_nonzero(master.flags) == detector.shape[0]
    assert np.isfinite(master.data).all()
    assert np.isfinite(master.uncertainty).all()
    light = calibrate(detector.frame("light", 300, 60), PROFILE, MasterSet(bias=master))
    assert (light.flags[:, 17] & Flag.BAD).all()
    assert np.isfinite(light.data).all()


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (BIAS, {"binning": (2, 2)}),
        (BIAS, {"gain_setting": "1"}),
        (BIAS, {"detector": "2"}),
        (DARK, {"exptime": 61.5}),
        (FLAT, {"filter": "R"}),
    ],
)
def test_mixed_inputs_are_an_error(kind: FrameKind, change: dict[str, Any]) -> None:
    detector = Detector()
    frames = [detector.frame(kind, 20000 if kind == FLAT else 0, 60) for _ in range(3)]
    frames[1] = replace(frames[1], header=replace(frames[1].header, **change))
    with pytest.raises(ValueError, match=f"master {kind}: inputs"):
        build_master(kind, frames, PROFILE)


def test_names_must_be_as_many_as_frames() -> None:
    with pytest.raises(ValueError, match="3 frames, but 1 inputs"):
        build_master(BIAS, frames_of(Detector(), BIAS, 3), PROFILE, inputs=[InputFile(name="a", sha256="0")])


def test_the_fingerprint_can_be_told_before() -> None:
    frames = frames_of(Detector(), BIAS, 3)
    inputs = [InputFile(name=str(i), sha256=f"{i:064}") for i in range(3)]
    master = build_master(BIAS, frames, PROFILE, inputs=inputs)
    assert master.fingerprint == master_fingerprint(BIAS, PROFILE, MasterSet(), inputs)
    assert master.fingerprint == build_master(BIAS, frames[::-1], PROFILE, inputs=inputs[::-1]).fingerprint
    assert master.fingerprint != build_master(BIAS, frames, PROFILE).fingerprint


def test_the_fingerprint_rests_on_the_masters_that_are_used() -> None:
    inputs = [InputFile(name="a", sha256="0" * 64)]
    bias, dark = (make_master(kind, np.zeros((4, 4))) for kind in ("bias", "dark"))
    none, with_bias, both = MasterSet(), MasterSet(bias=bias), MasterSet(bias=bias, dark=dark)
    of = {
        (kind, name): master_fingerprint(kind, PROFILE, masters, inputs)
        for kind in (BIAS, DARK, FLAT)
        for name, masters in (("none", none), ("bias", with_bias), ("both", both))
    }
    assert of[BIAS, "none"] == of[BIAS, "both"]
    assert of[DARK, "none"] != of[DARK, "bias"] == of[DARK, "both"]
    assert len({of[FLAT, "none"], of[FLAT, "bias"], of[FLAT, "both"]}) == 3


def test_a_small_memory_gives_the_same_master() -> None:
    frames = frames_of(Detector(), BIAS, 4)
    one, other = build_master(BIAS, frames, PROFILE), build_master(BIAS, frames, PROFILE, memory_limit=0)
    np.testing.assert_array_equal(one.data, other.data)


def test_frames_are_taken_one_at_a_time() -> None:
    class Lazy(list):
        asked: list[int]

        def __getitem__(self, number):
            self.asked.append(number)
            return super().__getitem__(number)

    frames = Lazy(frames_of(Detector(), BIAS, 3))
    frames.asked = []
    inputs = [InputFile(name=str(i), sha256=str(i)) for i in range(3)]
    build_master(BIAS, frames, PROFILE, inputs=inputs)
    assert sorted(set(frames.asked)) == [0, 1, 2]
    assert len(frames.asked) <= 4


def test_the_masters_make_a_calibrated_frame() -> None:
    """All three built from noisy frames, then used: the errors of the result still hold."""
    detector = Detector(shape=(200, 200), overscan=16)
    profile = make_profile(calibration={"overscan": "median"})
    bias = build_master(BIAS, [detector.frame("bias", 0, 0, level=i) for i in range(7)], profile)
    dark = build_master(DARK, frames_of(detector, DARK, 5, exptime=60), profile, MasterSet(bias=bias))
    dark_flat = build_master(DARK, frames_of(detector, DARK, 5, exptime=5), profile, MasterSet(bias=bias))
    flats = frames_of(detector, FLAT, 5, electrons=60000, exptime=5)
    flat = build_master(FLAT, flats, profile, MasterSet(bias=bias, dark=dark_flat))
    light = calibrate(
        detector.frame("light", 800, 60, level=9.0), profile, MasterSet(bias=bias, dark=dark, flat=flat)
    )
    pull = (light.data - 800) / np.sqrt(light.variance)
    assert np.mean(light.data) == pytest.approx(800, rel=3e-3)
    assert np.std(pull) == pytest.approx(1, abs=0.03)
    assert light.warnings == ()

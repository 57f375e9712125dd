import time
from typing import Any

import ccdproc
import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData, StdDevUncertainty

from nightflow.detector.chain import STEPS, DetectorEngine, MasterSet, calibrate, prepare_for_master
from nightflow.detector.master_frame import MasterFrame
from nightflow.errors import FrameRejected
from nightflow.flags import Flag
from nightflow.frame import Frame
from nightflow.instruments.header import FrameKind
from nightflow.masters.build import build_master
from nightflow.robust import robust_sigma
from tests.unit.detector.frames import Detector, make_frame, make_master, make_profile

FULL = {"bias": "required", "dark": "required", "flat": "required"}


def profile_with(**calibration: Any):
    return make_profile(calibration={**FULL, **calibration})


@pytest.mark.parametrize("sky", [200.0, 3000.0, 40000.0])
def test_level_is_recovered_and_the_errors_are_true(sky: float) -> None:
    detector = Detector(shape=(300, 300))
    frame = detector.frame("light", sky, 60)
    result = calibrate(frame, profile_with(), MasterSet(**detector.ideal_masters(60)))
    pull = (result.data - sky) / np.sqrt(result.variance)
    assert result.unit == "electron"
    assert np.mean(result.data) == pytest.approx(sky, rel=2e-3)
    assert np.std(pull) == pytest.approx(1, abs=0.03)


def test_the_errors_stay_true_with_noisy_masters_and_row_overscan() -> None:
    """Masters of few inputs and a level from 16 pixels a row: together a tenth of the variance."""
    detector = Detector(shape=(300, 300), overscan=16)
    frame = detector.frame("light", 300.0, 60, level=25.0)
    ideal = detector.ideal_masters(60)
    noisy = {}
    for kind, sigma in (("bias", 1.0), ("dark", 1.0), ("flat", 0.02)):
        data = ideal[kind].data + detector.random.normal(0, sigma, detector.shape)
        noisy[kind] = make_master(kind, data, sigma)
    result = calibrate(frame, profile_with(overscan="row_median"), MasterSet(**noisy))
    pull = (result.data - 300) / np.sqrt(result.variance)
    assert np.std(pull) == pytest.approx(1, abs=0.03)
    assert np.mean(pull) == pytest.approx(0, abs=0.05)


def reference_chain(frame: Frame, masters: dict[str, Any], gain: float, read_noise: float) -> CCDData:
    """The same steps by ccdproc, in double precision."""
    per_adu = u.electron / u.adu

    def as_ccd(kind: str, unit: Any) -> CCDData:
        master = masters[kind]
        uncertainty = StdDevUncertainty(master.uncertainty.astype(float))
        return CCDData(master.data.astype(float), unit=unit, uncertainty=uncertainty)

    ccd = CCDData(frame.data.astype(float), unit=u.adu)
    overscan = ccd[frame.header.overscan]
    ccd = ccdproc.subtract_overscan(ccd, overscan=overscan, overscan_axis=1, median=True)
    ccd = ccdproc.trim_image(ccd[frame.header.trim])
    ccd = ccdproc.create_deviation(
        ccdproc.subtract_bias(ccd, CCDData(masters["bias"].data.astype(float), unit=u.adu)),
        gain=gain * per_adu,
        readnoise=read_noise * u.electron,
        disregard_nan=True,
    )
    ccd.uncertainty = StdDevUncertainty(np.hypot(ccd.uncertainty.array, masters["bias"].uncertainty))
    ccd = ccdproc.subtract_dark(
        ccd,
        as_ccd("dark", u.adu),
        dark_exposure=masters["dark"].header.exptime * u.s,
        data_exposure=frame.header.exptime * u.s,
        scale=True,
    )
    ccd = ccdproc.flat_correct(ccd, as_ccd("flat", u.dimensionless_unscaled), norm_value=1)
    return ccdproc.gain_correct(ccd, gain=gain * per_adu)


def test_the_chain_equals_ccdproc() -> None:
    detector = Detector(overscan=20)
    frame = detector.frame("light", 4000.0, 90, level=-13.0)
    masters = {
        "bias": make_master("bias", detector.bias - 1000, 0.7),
        "dark": make_master("dark", detector.dark * 30, 0.4, exptime=60.0),
        "flat": make_master("flat", detector.response, 0.003),
    }
    profile = profile_with(overscan="row_median", dark_scaling="scaled")
    ours = calibrate(frame, profile, MasterSet(**masters))
    theirs = reference_chain(frame, masters, detector.gain, detector.read_noise)
    np.testing.assert_allclose(ours.data, theirs.data, rtol=1e-5, atol=2e-3)
    # ccdproc does not know the uncertainty of a median of 20 pixels
    in_adu = np.pi / 2 * (detector.read_noise / detector.gain) ** 2 / 20
    missing = in_adu * (detector.gain / detector.response) ** 2
    expected = theirs.uncertainty.array**2 + missing
    np.testing.assert_allclose(ours.variance, expected, rtol=1e-4)


def test_every_step_leaves_its_line_with_the_masters_fingerprint() -> None:
    detector = Detector(overscan=20)
    masters = MasterSet(**detector.ideal_masters(60))
    result = calibrate(detector.frame("light", 500, 60), profile_with(overscan="median"), masters)
    assert [line.split(":")[0] for line in result.history] == [
        "saturation", "overscan", "trim", "bias", "variance", "dark", "flat", "gain", "bad_pixels",
    ]  # fmt: skip
    for kind in ("bias", "dark", "flat"):
        line = next(line for line in result.history if line.startswith(f"{kind}:"))
        assert masters.fingerprints[kind][:12] in line
    assert result.warnings == ()


def test_the_input_is_not_changed() -> None:
    detector = Detector()
    frame = detector.frame("light", 500, 60)
    before = frame.data.copy()
    calibrate(frame, profile_with(), MasterSet(**detector.ideal_masters(60)))
    np.testing.assert_array_equal(frame.data, before)
    assert frame.flags is None
    assert frame.history == ()


def test_missing_masters_are_warnings_and_the_rest_is_done() -> None:
    result = calibrate(Detector().frame("light", 500, 60), profile_with(), MasterSet())
    assert result.unit == "electron"
    assert [warning.split(";")[0] for warning in result.warnings if "no master" in warning] == [
        "bias: no master bias", "dark: no master dark", "flat: no master flat",
    ]  # fmt: skip
    assert any("bias level was not removed" in warning for warning in result.warnings)


def test_steps_that_are_off_use_no_master() -> None:
    frame = make_frame(np.full((8, 8), 100.0))
    off = make_profile(calibration={"bias": "off", "dark": "off", "flat": "off"})
    masters = MasterSet(**{k: make_master(k, np.full((8, 8), 7.0)) for k in ("bias", "dark", "flat")})
    np.testing.assert_array_equal(calibrate(frame, off, masters).data, 200)


def test_a_dark_that_holds_the_bias_serves_for_both() -> None:
    detector = Detector(shape=(200, 200))
    dark = make_master("dark", detector.bias + detector.dark * 30, exptime=60.0, bias_included=True)
    masters = MasterSet(dark=dark, flat=make_master("flat", detector.response))
    result = calibrate(detector.frame("light", 2000.0, 60), profile_with(), masters)
    assert np.mean(result.data) == pytest.approx(2000, rel=3e-3)
    assert result.warnings == ()
    assert np.std((result.data - 2000) / np.sqrt(result.variance)) == pytest.approx(1, abs=0.03)


def test_what_the_camera_has_done_is_not_done_again() -> None:
    masters = MasterSet(**{k: make_master(k, np.full((8, 8), 7.0)) for k in ("bias", "dark", "flat")})
    frame = make_frame(np.full((8, 8), 100.0), bias_included=False, steps_done=("bias", "dark", "flat"))
    result = calibrate(frame, profile_with(), masters)
    np.testing.assert_array_equal(result.data, 200)
    assert sum("says the header" in line for line in result.history) == 3


def test_saturation_is_judged_on_raw_counts_and_survives_the_trim() -> None:
    detector = Detector(overscan=20)
    frame = detector.frame("light", 500, 60)
    data = frame.data.copy()
    data[10, 15] = 60000
    result = calibrate(
        frame.after("hit", data=data),
        profile_with(overscan="median"),
        MasterSet(**detector.ideal_masters(60)),
    )
    assert result.flags is not None
    assert np.argwhere(result.flags & Flag.SATURATED).tolist() == [[10, 15]]


def test_user_regions_are_in_raw_coordinates() -> None:
    frame = make_frame(np.full((8, 10), 50.0), trim=(slice(2, 8), slice(3, 10)))
    profile = make_profile(
        calibration={"bias": "off", "dark": "off", "flat": "off"},
        detector={"bad_pixel_regions": ["[5:5,1:8]"]},
    )
    flags = calibrate(frame, profile, MasterSet()).flags
    assert (flags[:, 1] == Flag.BAD).all()
    assert np.count_nonzero(flags) == 6


def test_an_empty_frame_is_rejected() -> None:
    with pytest.raises(FrameRejected, match="finite"):
        calibrate(make_frame(np.full((8, 8), np.nan)), profile_with(), MasterSet())


def test_a_mosaic_is_kept_and_noted() -> None:
    pattern = np.tile([[100.0, 300.0], [300.0, 50.0]], (20, 20))
    profile = make_profile(calibration={"bias": "off", "dark": "off", "flat": "off"}, cosmic_rays={})
    result = calibrate(make_frame(pattern, bayer="RGGB"), profile, MasterSet())
    np.testing.assert_array_equal(result.data, 2 * pattern)
    assert not result.flags.any()
    assert any("RGGB: pixels left as they are" in warning for warning in result.warnings)


def test_cosmic_rays_come_last_and_are_flagged() -> None:
    detector = Detector()
    frame = detector.frame("light", 500, 60)
    data = frame.data.copy()
    data[40, 50] += 5000
    profile = make_profile(calibration=FULL, cosmic_rays={})
    result = calibrate(frame.after("hit", data=data), profile, MasterSet(**detector.ideal_masters(60)))
    assert result.flags[40, 50] == Flag.COSMIC_RAY
    assert result.history[-1].startswith("cosmic_rays: ")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (FrameKind.BIAS, ["saturation", "overscan", "trim"]),
        (FrameKind.DARK, ["saturation", "overscan", "trim", "bias"]),
        (FrameKind.FLAT, ["saturation", "overscan", "trim", "bias", "dark"]),
    ],
)
def test_calibration_frames_go_through_their_part(kind: FrameKind, expected: list[str]) -> None:
    detector = Detector(overscan=20)
    masters = MasterSet(**detector.ideal_masters(60))
    prepared = prepare_for_master(
        detector.frame(kind, 500, 60), kind, profile_with(overscan="median"), masters
    )
    assert [line.split(":")[0] for line in prepared.history] == expected
    assert prepared.unit == "adu"
    assert prepared.data.shape == detector.shape


def test_no_master_is_made_of_light() -> None:
    with pytest.raises(ValueError, match="no master is made of light frames"):
        prepare_for_master(make_frame(np.ones((4, 4))), FrameKind.LIGHT, make_profile())


def test_overscan_takes_the_level_where_the_bias_is_off() -> None:
    detector = Detector(overscan=20)
    result = calibrate(
        detector.frame("light", 500, 60),
        make_profile(calibration={"overscan": "median", "bias": "off", "dark": "off", "flat": "off"}),
        MasterSet(),
    )
    assert not result.header.bias_included
    assert result.warnings == ()


def test_step_names_are_unique_and_light_takes_them_all() -> None:
    assert len({step.name for step in STEPS}) == len(STEPS)
    assert all(FrameKind.LIGHT in step.kinds for step in STEPS)


def test_a_megapixel_is_quick() -> None:
    detector = Detector(shape=(1024, 1024))
    frame = detector.frame("light", 500.0, 60)
    masters = MasterSet(**detector.ideal_masters(60))
    profile = profile_with()
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        calibrate(frame, profile, masters)
        seconds.append(time.perf_counter() - start)
    # the goal is 60 ms on an idle machine; the bound leaves room for a busy one
    assert min(seconds) < 0.3


@pytest.mark.parametrize("gap", ["a pixel", "a row", "the strip of a row", "the strip"])
@pytest.mark.parametrize("mode", ["row_median", "median"])
def test_a_gap_in_the_strip_does_not_reach_the_sky(gap: str, mode: str) -> None:
    """The level comes from what was read, never from what was filled in."""
    detector = Detector(shape=(96, 128), overscan=16)
    frame = detector.frame("light", 3000.0, 60, level=40.0)
    holes = {
        "a pixel": (slice(50, 51), slice(130, 131)),
        "a row": (slice(50, 51), slice(None)),
        "the strip of a row": (slice(50, 51), slice(128, None)),
        "the strip": (slice(None), slice(128, None)),
    }
    frame.data[holes[gap]] = np.nan
    result = calibrate(frame, profile_with(overscan=mode), MasterSet(**detector.ideal_masters(60)))
    assert np.isfinite(result.data).all()
    if gap == "the strip":
        assert any("no finite pixel" in warning for warning in result.warnings)
        without = calibrate(frame, profile_with(overscan=mode, bias="off"), MasterSet())
        assert "variance: the bias level was not removed and counts as light" in without.warnings
        return
    good = (result.flags & int(Flag.BAD)) == 0
    assert np.count_nonzero(~good) == (128 if gap == "a row" else 0)
    rows = np.median(np.where(good, result.data, np.nan), axis=1)
    np.testing.assert_allclose(rows[~np.isnan(rows)], 3000, rtol=0.02)
    assert np.median(result.data[50]) == pytest.approx(3000, rel=0.1)  # filled in, near the sky


@pytest.mark.parametrize("engine", ["fast", "steps", "reference"])
@pytest.mark.parametrize(("same_bias", "scale"), [(True, 1.0), (True, 0.5), (False, 1.0)])
def test_errors_are_true_where_read_noise_and_few_masters_decide(
    engine: DetectorEngine, same_bias: bool, scale: float
) -> None:
    """A bias of three frames cancels, wholly or in part, with a dark that was made with it."""
    detector = Detector(shape=(300, 300), dark_rate=0.01)
    profile = profile_with(dark_scaling="scaled", flat="off")
    light_seconds = 60 * scale

    def bias() -> MasterFrame:
        return build_master(FrameKind.BIAS, [detector.frame("bias", 0, 0) for _ in range(3)], profile)

    of_the_dark = bias()
    darks = [detector.frame("dark", 0, 60) for _ in range(3)]
    dark = build_master(FrameKind.DARK, darks, profile, MasterSet(bias=of_the_dark))
    assert dark.made_with == {"bias": of_the_dark.fingerprint}
    used = MasterSet(bias=of_the_dark if same_bias else bias(), dark=dark)
    result = calibrate(detector.frame("light", 2.0, light_seconds), profile, used, engine)
    pull = (result.data - 2.0 * detector.response) / np.sqrt(result.variance)
    assert robust_sigma(pull) == pytest.approx(1, abs=0.02)

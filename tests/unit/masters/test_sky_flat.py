import numpy as np
import pytest

from nightflow.detector.illumination import divide_illumination
from nightflow.detector.master_frame import InputFile
from nightflow.errors import FrameRejected, MissingCalibration
from nightflow.flags import Flag
from nightflow.frame import Frame
from nightflow.instruments.header import FrameKind
from nightflow.masters.sky_flat import build_illumination, sky_levels
from nightflow.masters.sky_planes import sky_master_fingerprint
from tests.unit.detector.frames import make_frame, make_profile
from tests.unit.detector.skies import READ_NOISE, stars

SHAPE = (320, 400)
PROFILE = make_profile(masters={"minimum_sky_inputs": 3})


def flat_error() -> np.ndarray:
    """What the flat left: 5 % from corner to corner, curved, and on the edge as steep as in the middle."""
    y, x = np.indices(SHAPE)
    u, v = x / SHAPE[1] - 0.5, y / SHAPE[0] - 0.5
    error = 1 + 0.025 * (u + v) + 0.03 * (u**2 - v**2)
    return error / np.median(error)


def light(seed: int, level: float, response: np.ndarray, number: int = 150) -> Frame:
    """A flat-divided light, electrons, with stars of its own."""
    rng = np.random.default_rng(seed)
    expected = (level + stars(rng, SHAPE, number)) * response
    data = rng.poisson(expected) + rng.normal(0, READ_NOISE, SHAPE)
    return make_frame(data, unit="electron", mjd_mid=60000 + seed / 100).after(
        "exposed", variance=(expected + READ_NOISE**2).astype(np.float32), flags=np.zeros(SHAPE, np.uint16)
    )


def files(number: int) -> list[InputFile]:
    return [InputFile(name=f"light {n}", sha256=f"{n:064}") for n in range(number)]


def lights(number: int, response: np.ndarray) -> list[Frame]:
    return [light(n, 300.0 + 150 * n, response) for n in range(number)]


def test_a_large_scale_error_of_the_flat_is_recovered() -> None:
    truth = flat_error()
    assert np.ptp(truth) > 0.05
    master = build_illumination(lights(7, truth), PROFILE, inputs=files(7))
    assert np.abs(master.data / truth - 1).max() < 0.005
    assert np.std(master.data / truth) < 0.001
    assert np.median(master.data) == pytest.approx(1)
    assert not master.flags.any()
    assert (master.kind, master.header.filter, master.header.object) == (FrameKind.ILLUMINATION, "V", "")


def test_dividing_by_it_evens_the_sky() -> None:
    truth = flat_error()
    master = build_illumination(lights(7, truth), PROFILE, inputs=files(7))
    done = divide_illumination(make_frame(1000 * truth), master)
    assert np.abs(done.data / 1000 - 1).max() < 0.005


def test_the_uncertainty_is_that_of_the_smoothed_value() -> None:
    """Even sky: the master's scatter over places further apart than the window is what it says."""
    pulls = []
    for turn in range(4):
        frames = [light(100 * turn + n, 600.0, np.ones(SHAPE), 0) for n in range(5)]
        master = build_illumination(frames, PROFILE, inputs=files(5))
        pulls.append(((master.data - 1) / master.uncertainty)[25:-25:51, 25:-25:51])
    assert 0.6 < np.std(pulls) < 1.6


def test_small_structure_is_left_to_the_flat() -> None:
    rng = np.random.default_rng(3)
    pixels = rng.normal(1, 0.02, SHAPE)
    master = build_illumination(lights(5, pixels), PROFILE, inputs=files(5))
    assert np.std(master.data) < 0.002


def test_levels_of_the_first_chip_keep_the_ratio_of_the_chips() -> None:
    """The second chip sees 0.8 of the light of the first."""
    first, second = flat_error(), 0.8 * flat_error()
    levels = [float(np.median(frame.data)) for frame in lights(5, first)]
    master = build_illumination(lights(5, second), PROFILE, inputs=files(5), levels=levels)
    assert np.median(master.data) == pytest.approx(0.8, rel=0.005)
    assert np.abs(master.data / second - 1).max() < 0.01


def test_pixels_that_no_frame_shows_are_interpolated_or_flagged() -> None:
    frames = lights(5, flat_error())
    blind = np.zeros(SHAPE, np.uint16)
    blind[100:110, 100:110] = Flag.BAD
    blind[:, 300:] = Flag.DEAD
    frames = [frame.after("blind", flags=blind) for frame in frames]
    master = build_illumination(frames, PROFILE, inputs=files(5))
    assert not master.flags[:, :300].any()
    assert (master.flags[:, 340:] == Flag.BAD).all()
    assert np.isfinite(master.data).all()
    truth = flat_error() / np.median(flat_error()[:, :300])
    assert np.abs(master.data / truth - 1)[100:110, 100:110].max() < 0.005


def test_frames_without_sky_are_left_out_and_named() -> None:
    frames = [*lights(4, flat_error()), make_frame(np.full(SHAPE, -3.0), unit="electron")]
    covered = frames[0].after("cloud", flags=np.full(SHAPE, Flag.SATURATED, np.uint16))
    master = build_illumination([covered, *frames[1:]], PROFILE, inputs=files(5))
    assert [file.dropped for file in master.inputs[1:4]] == [""] * 3
    assert "only 0% of its pixels show sky" in master.inputs[0].dropped
    assert "no light of the sky" in master.inputs[4].dropped
    assert any("left out light 4" in warning for warning in master.warnings)
    with pytest.raises(MissingCalibration, match=r"2 of 3 inputs usable, 3 needed.*light 0: only 0%"):
        build_illumination([covered, *frames[1:3]], PROFILE, inputs=files(3))


class OneThatFails(list):
    """Frames of which one cannot be calibrated."""

    def __getitem__(self, number):
        if number == 1:
            raise FrameRejected("light1.fits: not one pixel is finite")
        return super().__getitem__(number)


def test_one_bad_light_is_left_out_and_named() -> None:
    frames = OneThatFails(lights(4, flat_error()))
    master = build_illumination(frames, PROFILE, inputs=files(4))
    assert [file.dropped for file in master.inputs] == ["", "light1.fits: not one pixel is finite", "", ""]
    levels = sky_levels(frames, PROFILE)
    assert levels[1] == "on the first chip: light1.fits: not one pixel is finite"
    np.testing.assert_allclose([levels[0], levels[2], levels[3]], [300, 600, 750], rtol=0.01)
    of_another_chip = build_illumination(
        lights(4, 0.5 * flat_error()), PROFILE, inputs=files(4), levels=levels
    )
    assert "light1.fits" in of_another_chip.inputs[1].dropped
    assert np.median(of_another_chip.data) == pytest.approx(0.5, rel=0.01)


def test_the_fingerprint_is_known_beforehand_and_follows_the_inputs() -> None:
    master = build_illumination(lights(3, flat_error()), PROFILE, inputs=files(3))
    assert master.fingerprint == sky_master_fingerprint(FrameKind.ILLUMINATION, PROFILE, files(3))
    assert master.fingerprint != sky_master_fingerprint(FrameKind.ILLUMINATION, PROFILE, files(4))
    assert master.fingerprint != sky_master_fingerprint(FrameKind.FRINGE, PROFILE, files(3))
    other = make_profile(masters={"illumination_scale": 101})
    assert master.fingerprint != sky_master_fingerprint(FrameKind.ILLUMINATION, other, files(3))


def test_inputs_must_belong_together() -> None:
    frames = lights(3, np.ones(SHAPE))
    with pytest.raises(ValueError, match="3 frames, but 2 inputs"):
        build_illumination(frames, PROFILE, inputs=files(2))
    with pytest.raises(ValueError, match="3 frames, but 1 levels"):
        build_illumination(frames, PROFILE, inputs=files(3), levels=[1.0])
    red = make_frame(frames[0].data, unit="electron", filter="R")
    with pytest.raises(ValueError, match="differ in filter"):
        build_illumination([*frames, red], PROFILE, inputs=files(4))
    with pytest.raises(ValueError, match="needs counts in electron"):
        build_illumination([make_frame(frames[0].data)], PROFILE, inputs=files(1))

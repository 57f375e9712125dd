import numpy as np
import pytest

from nightflow.detector.fringe import subtract_fringe
from nightflow.detector.master_frame import InputFile
from nightflow.errors import MissingCalibration
from nightflow.flags import Flag
from nightflow.frame import Frame
from nightflow.instruments.header import FrameKind
from nightflow.masters.fringe import build_fringe
from tests.unit.detector.frames import make_frame, make_profile
from tests.unit.detector.skies import READ_NOISE, stars

SHAPE = (400, 480)
SKY = 3000.0
PROFILE = make_profile(masters={"fringe_background": 160, "minimum_sky_inputs": 3})


def pattern() -> np.ndarray:
    """Bent fringes of 30 to 50 pixels, mean zero, rms 1."""
    y, x = np.indices(SHAPE)
    bent = x + 20 * np.sin(y / 70) + y**2 / 800
    fringes = np.sin(2 * np.pi * bent / 40) + 0.5 * np.sin(2 * np.pi * (y + x / 5) / 31)
    return (fringes - fringes.mean()) / fringes.std()


def light(seed: int, amplitude: float, sky: float = SKY, number: int = 150) -> Frame:
    """A calibrated light with fringes of ``amplitude`` electrons rms, stars and a gradient of its own."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(SHAPE)
    gradient = 1 + 0.02 * (x / SHAPE[1] - 0.5) * rng.normal() + 0.02 * (y / SHAPE[0] - 0.5) * rng.normal()
    expected = sky * gradient + stars(rng, SHAPE, number) + amplitude * pattern()
    data = rng.poisson(expected) + rng.normal(0, READ_NOISE, SHAPE)
    return make_frame(data, unit="electron", mjd_mid=60000 + seed / 100).after(
        "exposed", variance=(expected + READ_NOISE**2).astype(np.float32), flags=np.zeros(SHAPE, np.uint16)
    )


def files(number: int) -> list[InputFile]:
    return [InputFile(name=f"light {n}", sha256=f"{n:064}") for n in range(number)]


AMPLITUDES = [60.0, 40.0, 50.0, 70.0, 50.0, 45.0, 55.0, 50.0]
"""2 % of the sky or less, and not in step with it."""


@pytest.fixture(scope="module")
def master():
    frames = [light(n, amplitude, SKY * (1 + n / 10)) for n, amplitude in enumerate(AMPLITUDES)]
    return build_fringe(frames, PROFILE, inputs=files(len(frames)))


def test_the_pattern_is_recovered_with_its_errors(master) -> None:
    assert (master.kind, master.header.filter) == (FrameKind.FRINGE, "V")
    assert np.mean(master.data) == pytest.approx(0, abs=1e-3)
    scale = np.sum(master.data * pattern()) / np.sum(pattern() ** 2)
    assert scale == pytest.approx(np.median(AMPLITUDES), rel=0.1)
    pull = (master.data - scale * pattern()) / master.uncertainty
    assert np.std(pull) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("amplitude", [30.0, 50.0, 120.0])
def test_amplitudes_are_recovered_and_the_fringes_go(master, amplitude: float) -> None:
    """Truth: the amplitude that was put in, in units of that which the master has."""
    frame = light(99, amplitude)
    done = subtract_fringe(frame, master, background=160)
    own = np.sum(master.data * pattern()) / np.sum(pattern() ** 2)
    found = float(done.history[-1].split("times ")[1].split(" ")[0])
    assert found * own == pytest.approx(amplitude, rel=0.02)
    taken = frame.data - done.data
    left = amplitude * pattern() - taken
    # Of the fringes themselves: what is left has the pattern's own noise in it too.
    slope = np.sum(left * pattern()) / np.sum(pattern() ** 2)
    assert abs(slope) < 0.02 * amplitude
    smooth = left.reshape(SHAPE[0] // 8, 8, SHAPE[1] // 8, 8).mean(axis=(1, 3))
    assert np.std(smooth) < 0.1 * amplitude


def test_the_variance_of_the_pattern_is_added(master) -> None:
    frame = light(98, 50.0)
    done = subtract_fringe(frame, master, background=160)
    scale, error = (float(word) for word in done.history[-1].split("times ")[1].split(" ")[:3:2])
    expected = frame.variance + (scale * master.uncertainty) ** 2 + (error * master.data) ** 2
    np.testing.assert_allclose(done.variance, expected, rtol=1e-3)


def test_a_frame_without_fringes_is_left_alone(master) -> None:
    frame = light(97, 0.0)
    done = subtract_fringe(frame, master, background=160)
    assert done.data is frame.data
    assert done.variance is frame.variance
    assert "fringe: nothing subtracted" in done.history[-1]
    assert "not significant" in done.history[-1]


def test_masked_pixels_are_left_out_of_the_fit(master) -> None:
    frame = light(96, 50.0)
    flags, data = frame.flags.copy(), frame.data.copy()
    flags[100:300, 100:300] = Flag.SATURATED
    data[100:300, 100:300] -= 400 * pattern()[100:300, 100:300].astype(np.float32)
    done = subtract_fringe(frame.after("spoilt", data=data, flags=flags), master, background=160)
    own = np.sum(master.data * pattern()) / np.sum(pattern() ** 2)
    assert float(done.history[-1].split("times ")[1].split(" ")[0]) * own == pytest.approx(50, rel=0.03)
    nothing = frame.after("covered", flags=np.full(SHAPE, Flag.SATURATED, np.uint16))
    assert "not significant" in subtract_fringe(nothing, master, background=160).history[-1]


def test_frames_without_fringes_make_no_master() -> None:
    frames = [light(n, 50.0) for n in range(3)] + [light(10, 0.0)]
    master = build_fringe(frames, PROFILE, inputs=files(4))
    assert [file.dropped for file in master.inputs] == ["", "", "", "no fringes to be seen"]
    with pytest.raises(MissingCalibration, match=r"inputs usable, 3 needed.*no fringes to be seen"):
        build_fringe([light(n, 0.0) for n in range(4)], PROFILE, inputs=files(4))

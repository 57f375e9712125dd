import numpy as np
import pytest

from nightflow.detector.chain import MasterSet, calibrate
from nightflow.detector.trails import flag_trails
from nightflow.flags import Flag
from nightflow.instruments.profile import TrailSettings
from nightflow.simulate import FieldPlan, NightPlan, simulate_night
from tests.unit.detector.frames import make_frame, make_profile
from tests.unit.detector.skies import NOISE, distance_from_line, exposed, stars, trail_profile

SETTINGS = TrailSettings()
SHAPE = (512, 600)


def masked(frame, settings: TrailSettings = SETTINGS) -> np.ndarray:
    return (flag_trails(frame, settings).flags & int(Flag.TRAIL)) != 0


def random_line(rng: np.random.Generator) -> np.ndarray:
    """A line that crosses at least half of the frame."""
    while True:
        angle, offset = rng.uniform(0, np.pi), rng.uniform(-400, 400)
        distance = distance_from_line(SHAPE, angle, offset)
        if np.count_nonzero(np.abs(distance) < 0.5) > 0.5 * min(SHAPE):
            return distance


@pytest.mark.parametrize(("strength", "seed"), [(3.0, 1), (3.0, 2), (20.0, 3)])
def test_trails_are_found_at_any_angle_and_masked_to_their_width(strength: float, seed: int) -> None:
    """20 trails of 3 pixels' width and ``strength`` sigma a pixel, among 150 stars."""
    rng = np.random.default_rng(seed)
    found = 0
    for _ in range(20):
        profile = trail_profile(random_line(rng))
        mask = masked(exposed(rng, stars(rng, SHAPE, 150) + strength * NOISE * profile))
        found += mask[profile > 0.2].mean() > 0.95
        assert mask.sum() < 2 * np.count_nonzero(profile > 0.1)
    assert found >= 19


@pytest.mark.parametrize("number", [0, 200, 3000])
def test_fields_without_a_trail_have_none(number: int) -> None:
    rng = np.random.default_rng(number)
    for _ in range(8):
        assert not masked(exposed(rng, stars(rng, SHAPE, number))).any()


def test_the_simulators_frames_have_none() -> None:
    plan = NightPlan(n_bias=0, n_dark=0, n_flat=0, n_lights=3, field=FieldPlan())
    profile = make_profile(calibration={"bias": "off", "dark": "off", "flat": "off"})
    for simulated in simulate_night(plan):
        raw = make_frame(simulated.pixels[:, : plan.camera.shape[1]], gain=plan.camera.gain)
        flags = calibrate(raw, profile, MasterSet()).flags
        assert not (flags & int(Flag.TRAIL)).any()


def test_two_trails_are_both_found() -> None:
    rng = np.random.default_rng(4)
    one, two = (trail_profile(distance_from_line(SHAPE, a, o)) for a, o in ((0.4, 30.0), (1.9, -60.0)))
    mask = masked(exposed(rng, stars(rng, SHAPE, 100) + 5 * NOISE * (one + two)))
    assert mask[one > 0.3].mean() > 0.95
    assert mask[two > 0.3].mean() > 0.95


def test_a_trail_that_ends_in_the_frame_is_masked_to_its_end() -> None:
    rng = np.random.default_rng(5)
    profile = trail_profile(distance_from_line(SHAPE, 1.2, 0.0))
    profile[:, 350:] = 0
    mask = masked(exposed(rng, 6 * NOISE * profile))
    assert mask[profile > 0.3].mean() > 0.95
    assert not mask[:, 370:].any()


def test_a_short_streak_is_not_one() -> None:
    profile = trail_profile(distance_from_line(SHAPE, 1.2, 0.0))
    profile[:, 350:] = profile[:, :250] = 0
    assert not masked(exposed(np.random.default_rng(6), 6 * NOISE * profile)).any()


def test_a_trail_taken_for_cosmic_rays_is_still_found() -> None:
    profile = trail_profile(distance_from_line(SHAPE, 0.7, 20.0))
    frame = exposed(np.random.default_rng(7), 10 * NOISE * profile)
    flags = np.where(profile > 0.6, np.uint16(Flag.COSMIC_RAY), np.uint16(0))
    assert masked(frame.after("hits", flags=flags))[profile > 0.3].mean() > 0.95


@pytest.mark.parametrize("angle", [0.0, 45.0, 30.0])
def test_spikes_of_a_bright_star_are_none(angle: float) -> None:
    """Four spikes across the whole frame, fading as the square of the distance."""
    y, x = np.indices(SHAPE)
    radius = np.hypot(x - 300, y - 256) + 1
    light = 3e6 / (1 + (radius / 3) ** 3)
    for turn in (angle, angle + 90):
        across = distance_from_line(SHAPE, np.radians(turn), 0.0)
        light += trail_profile(across) * 3e7 / radius**2
    assert not masked(exposed(np.random.default_rng(8), np.minimum(light, 1e5))).any()


def test_bleeding_and_bad_columns_are_none() -> None:
    light = stars(np.random.default_rng(9), SHAPE, 50)
    light[:, 200:203] += 60000
    light[100:, 400] += 500
    light[300:302] += 300
    assert not masked(exposed(np.random.default_rng(10), light)).any()


@pytest.mark.parametrize("brightness", [150, 400, 1000, 4000])
def test_a_galaxy_edge_on_is_none(brightness: float) -> None:
    y, x = np.indices(SHAPE)
    along = (x - 300) * np.cos(0.5) + (y - 256) * np.sin(0.5)
    across = distance_from_line(SHAPE, 0.5 + np.pi / 2, 0.0)
    light = brightness * np.exp(-np.abs(along) / 50 - np.abs(across) / 4)
    assert not masked(exposed(np.random.default_rng(11), light)).any()


def test_flags_that_were_there_stay_and_the_history_names_the_ends() -> None:
    profile = trail_profile(distance_from_line(SHAPE, np.radians(60), 0.0))
    frame = exposed(np.random.default_rng(12), 8 * NOISE * profile)
    frame = frame.after("warm", flags=np.full(SHAPE, Flag.WARM, np.uint16))
    done = flag_trails(frame, SETTINGS)
    assert ((done.flags & int(Flag.WARM)) != 0).all()
    assert not (frame.flags & int(Flag.TRAIL)).any()
    # through (300, 256), at right angles to 60 degrees: it leaves at the left edge and at the right one
    assert "(0, 430) to (600, 84)" in done.history[-1]


def test_where_it_is_not_looked_for() -> None:
    small = exposed(np.random.default_rng(1), np.zeros((96, 128)))
    assert flag_trails(small, SETTINGS) is small
    mosaic = make_frame(np.ones(SHAPE), unit="electron", bayer="RGGB")
    assert "RGGB mosaic" in flag_trails(mosaic, SETTINGS).warnings[-1]
    with pytest.raises(ValueError, match="needs counts in electron"):
        flag_trails(make_frame(np.ones(SHAPE)), SETTINGS)
    off = make_profile(calibration={"bias": "off", "dark": "off", "flat": "off"}, trails={"enabled": False})
    history = calibrate(make_frame(np.ones(SHAPE)), off, MasterSet()).history
    assert not any("trails" in line for line in history)


def test_pixels_without_a_value_make_no_trail() -> None:
    frame = exposed(np.random.default_rng(13), np.zeros(SHAPE))
    flags = np.where(np.abs(distance_from_line(SHAPE, 0.6, 0.0)) < 3, np.uint16(Flag.BAD), np.uint16(0))
    data = np.where(flags != 0, np.float32(1e6), frame.data)
    assert not masked(frame.after("bad", flags=flags, data=data)).any()
    everything = np.full(SHAPE, Flag.BAD, np.uint16)
    assert not masked(frame.after("bad", flags=everything)).any()

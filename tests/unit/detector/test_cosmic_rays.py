import numpy as np
import pytest
from pydantic import ValidationError

from nightflow.detector.cosmic_rays import excluded_pixels, flag_cosmic_rays
from nightflow.flags import Flag, new_plane
from nightflow.frame import Frame
from nightflow.instruments.profile import CosmicRaySettings
from tests.unit.detector.frames import make_frame

SHAPE = (200, 220)
SKY, READ_NOISE = 400.0, 8.0
SETTINGS = CosmicRaySettings()


def sky_with_stars(random: np.random.Generator, fwhm: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Return noiseless electrons and the positions (x, y) of 40 stars."""
    y, x = np.indices(SHAPE)
    image = np.full(SHAPE, SKY)
    positions = random.uniform(10, np.array(SHAPE[::-1]) - 10, (40, 2))
    for (px, py), flux in zip(positions, 10 ** random.uniform(3, 5.5, 40), strict=True):
        sigma = fwhm / 2.3548
        image += flux / (2 * np.pi * sigma**2) * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2))
    return image, positions


def observe(random: np.random.Generator, image: np.ndarray) -> np.ndarray:
    return random.poisson(image) + random.normal(0, READ_NOISE, SHAPE)


def electrons(data: np.ndarray, flags: np.ndarray | None = None, **changes: object) -> Frame:
    pixels = np.asarray(data, np.float32)
    variance = np.maximum(pixels, 0) + np.float32(READ_NOISE**2)
    frame = make_frame(pixels, unit="electron", **changes)
    return frame.after("test", variance=variance, flags=flags)


def test_hits_are_found_and_stars_are_not() -> None:
    random = np.random.default_rng(11)
    truth, stars = sky_with_stars(random)
    hit = np.zeros(SHAPE, bool)
    for _ in range(30):
        y, x = random.integers(5, SHAPE[0] - 8), random.integers(5, SHAPE[1] - 8)
        if np.hypot(*(stars - [x, y]).T).min() > 8:
            hit[y, x : x + random.integers(1, 4)] = True
    data = observe(random, truth) + hit * 3000
    flagged = (flag_cosmic_rays(electrons(data), SETTINGS).flags & Flag.COSMIC_RAY) != 0
    assert hit.sum() > 30
    assert (flagged & hit).sum() >= 0.98 * hit.sum()
    cores = np.rint(stars).astype(int)
    assert not flagged[cores[:, 1], cores[:, 0]].any()
    assert (flagged & ~hit).sum() < 0.2 * hit.sum()


@pytest.mark.parametrize(
    "changes", [{}, {"method": "astroscrappy"}, {"method": "astroscrappy", "cleantype": "medmask"}]
)
def test_data_stay_as_they_are_unless_asked(changes: dict[str, str]) -> None:
    random = np.random.default_rng(12)
    data = observe(random, np.full(SHAPE, SKY))
    data[100, 100] += 5000
    frame = electrons(data)
    kept, replaced = (
        flag_cosmic_rays(frame, CosmicRaySettings(clean=clean, **changes)) for clean in (False, True)
    )
    np.testing.assert_array_equal(kept.data, frame.data)
    assert kept.flags[100, 100] == Flag.COSMIC_RAY
    assert replaced.flags[100, 100] == Flag.COSMIC_RAY | Flag.INTERPOLATED
    assert replaced.data[100, 100] == pytest.approx(SKY, abs=50)
    untouched = replaced.flags == 0
    np.testing.assert_array_equal(replaced.data[untouched], frame.data[untouched])
    np.testing.assert_array_equal(replaced.variance[untouched], frame.variance[untouched])
    assert replaced.variance[100, 100] < 2 * np.median(frame.variance)


@pytest.mark.parametrize(
    "wrong", [{"fsmode": "convolve"}, {"sepmed": True}, {"cleantype": "idw"}, {"psfsize": 8}]
)
def test_what_the_fast_way_does_not_do_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        CosmicRaySettings(**wrong)


def test_astroscrappy_takes_its_own_parameters() -> None:
    """By the model of a star of its width, a star's core is none."""
    random = np.random.default_rng(15)
    y, x = np.indices(SHAPE)
    image = SKY + 4e4 * np.exp(-((x - 60) ** 2 + (y - 60) ** 2) / 2)
    settings = CosmicRaySettings(method="astroscrappy", fsmode="convolve", psffwhm=2.4, psfsize=9)
    flags = flag_cosmic_rays(electrons(observe(random, image)), settings).flags
    assert flags[60, 60] == 0


def test_saturated_stars_and_bad_columns_are_left_alone() -> None:
    random = np.random.default_rng(13)
    y, x = np.indices(SHAPE)
    image = SKY + 3e6 / (2 * np.pi * 4) * np.exp(-((x - 60) ** 2 + (y - 60) ** 2) / 8)
    data = np.minimum(observe(random, image), 60000)
    data[:, 150] = 60000
    flags = new_plane(SHAPE)
    flags[data >= 60000] = Flag.SATURATED
    result = flag_cosmic_rays(electrons(data, flags), SETTINGS)
    near = (result.flags & Flag.COSMIC_RAY) != 0
    assert not near[45:76, 45:76].any()
    assert not near[:, 148:153].any()


def test_the_given_variance_decides() -> None:
    """The same spike of 300 electrons counts where the variance is small, not where it is large."""
    data = observe(np.random.default_rng(14), np.full(SHAPE, SKY))
    data[50, 50] = data[150, 150] = SKY + 300
    frame = electrons(data)
    assert frame.variance is not None
    variance = frame.variance.copy()
    variance[100:] *= 100
    flags = flag_cosmic_rays(frame.after("v", variance=variance), SETTINGS).flags
    assert flags[50, 50] == Flag.COSMIC_RAY
    assert flags[150, 150] == 0


def test_only_areas_of_saturation_get_a_margin() -> None:
    flags = new_plane((20, 20))
    flags[5, 5] = flags[12, 12] = flags[12, 13] = flags[13, 12] = Flag.SATURATED
    excluded = excluded_pixels(flags)
    assert excluded[5, 5]
    assert excluded[3:8, 3:8].sum() == 1
    assert excluded[10:15, 10:15].all()


def test_a_mosaic_is_left_alone_with_a_warning() -> None:
    frame = flag_cosmic_rays(electrons(np.full(SHAPE, SKY), bayer="RGGB"), SETTINGS)
    assert frame.flags is None
    assert "RGGB" in frame.warnings[0]


def test_a_frame_without_a_usable_pixel_passes() -> None:
    flags = np.full(SHAPE, Flag.BAD, np.uint16)
    assert (flag_cosmic_rays(electrons(np.full(SHAPE, SKY), flags), SETTINGS).flags == Flag.BAD).all()


def test_adu_or_no_variance_are_errors() -> None:
    with pytest.raises(ValueError, match="cosmic_rays: needs counts in electron, got adu"):
        flag_cosmic_rays(make_frame(np.ones(SHAPE)), SETTINGS)
    with pytest.raises(ValueError, match="variance"):
        flag_cosmic_rays(make_frame(np.ones(SHAPE), unit="electron"), SETTINGS)

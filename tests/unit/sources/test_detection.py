import numpy as np
import pytest
import sep
from scipy.spatial import cKDTree

from nightflow.errors import FrameRejected
from nightflow.instruments.profile import DetectionSettings
from nightflow.sources.detection import convolution_threshold, detect, is_thin, matched_filter


def sky(seed=0, shape=(200, 200)):
    return np.random.default_rng(seed).normal(0, 5, shape).astype(np.float32)


def add_star(image, x, y, total=2e4, sigma=1.4):
    yy, xx = np.mgrid[: image.shape[0], : image.shape[1]]
    image += (
        total / (2 * np.pi * sigma**2) * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * sigma**2))
    ).astype(np.float32)


def find(image, **changes):
    rms = np.full(image.shape, 5.0, np.float32)
    return detect(image, rms, np.zeros(image.shape, bool), DetectionSettings(**changes))


def test_empty_sky_holds_hardly_anything():
    found = sum(len(find(sky(seed))) for seed in range(10))
    assert found <= 1


def test_two_stars_close_together_are_taken_apart_and_say_so():
    image = sky()
    add_star(image, 100, 100)
    add_star(image, 106, 100)
    found = find(image)
    assert len(found) == 2
    assert found.blended.all()


def test_a_row_and_a_trail_are_no_sources():
    image = sky()
    image[50] += 400
    image[120:123, 20:180] += 300
    assert len(find(image)) == 0


def test_segments_cover_the_star():
    image = sky()
    add_star(image, 60, 80)
    found = find(image)
    assert found.segments[80, 60] > 0
    assert found.segments[10, 10] == 0


def test_light_everywhere_is_no_star_field():
    image = np.full((400, 400), 100.0, np.float32) + sky(1, (400, 400))
    image[::2, ::2] += 500
    with pytest.raises(FrameRejected, match="threshold"):
        detect(
            np.tile(image, (4, 4)),
            np.full((1600, 1600), 1.0, np.float32),
            np.zeros((1600, 1600), bool),
            DetectionSettings(),
        )


def test_faint_stars_are_found_in_a_field_of_bright_ones():
    """Stars 8 times as bright as their noise, every second one 20 pixels from a very bright one."""
    image, faint = sky(3, (400, 400)), []
    for row in range(20, 400, 40):
        for column in range(20, 400, 40):
            add_star(image, column, row, total=8 * 5 * np.sqrt(4 * np.pi) * 1.4)
            faint.append((column, row))
            if (row + column) % 80 == 0:
                add_star(image, column + 20, row, total=5e5)
    found = find(image)
    distance = [np.hypot(found.x - x, found.y - y).min() for x, y in faint]
    assert np.mean(np.array(distance) < 1.5) > 0.97
    assert len(found) < 1.6 * len(faint)


def test_the_threshold_is_in_units_of_the_filtered_noise():
    """A star of n times the noise of the matched filter is seen at a threshold below n, not at one above."""
    kernel_noise = 5 * np.sqrt(4 * np.pi) * 1.4
    image = sky(4, (300, 300)) * np.float32(0.01)
    add_star(image, 150, 150, total=6 * kernel_noise)
    seen = {
        threshold: len(find(image, threshold=threshold, expected_fwhm=1.4 * 2.355))
        for threshold in (5.0, 7.0)
    }
    assert seen == {5.0: 1, 7.0: 0}


def by_sep(image, rms, mask, settings):
    """What `sep.extract` finds with the same settings, and its segments."""
    kernel = matched_filter(settings.expected_fwhm)
    objects, segments = sep.extract(
        image,
        convolution_threshold(settings, kernel),
        err=rms,
        mask=mask,
        minarea=settings.minimum_area,
        filter_kernel=kernel,
        filter_type="conv",
        deblend_nthresh=settings.deblend_levels,
        deblend_cont=settings.deblend_contrast,
        segmentation_map=True,
    )
    return objects[~is_thin(objects["a"], objects["b"])], segments


@pytest.mark.parametrize(("seed", "fwhm"), [(5, 3.0), (6, 2.2), (7, 5.4)])
def test_sep_finds_the_same_sources_with_the_same_measures(seed, fwhm):
    rng = np.random.default_rng(seed)
    image, mask = sky(seed, (401, 377)), np.zeros((401, 377), bool)
    for _ in range(300):
        add_star(image, *rng.uniform(-2, 400, 2), total=10 ** rng.uniform(2.5, 5.5))
    mask[100:103, 40:300] = mask[:, 200] = True
    rms = np.full(image.shape, 5.0, np.float32) * np.linspace(0.9, 1.3, 377, dtype=np.float32)
    settings = DetectionSettings(expected_fwhm=fwhm)
    found, (theirs, segments) = detect(image, rms, mask, settings), by_sep(image, rms, mask, settings)
    here, there = np.column_stack([found.x, found.y]), np.column_stack([theirs["x"], theirs["y"]])
    distance, same = cKDTree(here).query(there)
    known = distance < 1e-3
    # What counts as the wing of a brighter one depends in sep on the order of a source's pixels.
    assert len(theirs) > 150
    assert np.count_nonzero(~known) + abs(len(found) - len(theirs)) <= 0.02 * len(theirs)
    assert np.all(np.diff(same[known]) > 0)
    np.testing.assert_array_equal(found.peak[same[known]], theirs["peak"][known])
    np.testing.assert_array_equal(found.blended[same[known]], (theirs["flag"][known] & sep.OBJ_MERGED) > 0)
    # sep shares out the pixels between blended sources by lot.
    alone = known & ((theirs["flag"] & sep.OBJ_MERGED) == 0)
    assert np.count_nonzero(alone) > 80
    np.testing.assert_allclose(found.semi_major[same[alone]], theirs["a"][alone], rtol=2e-4)
    np.testing.assert_allclose(found.semi_minor[same[alone]], theirs["b"][alone], rtol=2e-4)
    np.testing.assert_allclose(found.theta[same[alone]], theirs["theta"][alone], atol=5e-3)
    assert np.count_nonzero((found.segments > 0) != (segments > 0)) < 0.02 * np.count_nonzero(segments)


def test_a_halo_over_the_whole_frame_is_no_star_field():
    """It has one peak: nothing that would have to be taken apart."""
    yy, xx = np.mgrid[:1100, :1100]
    image = 3e5 * np.exp(-((xx - 550) ** 2 + (yy - 550) ** 2) / (2 * 400.0**2))
    with pytest.raises(FrameRejected, match="a quarter of the frame is above the threshold"):
        find(image.astype(np.float32))


def test_a_core_of_more_than_a_thousand_stars_in_one_group_is_a_star_field(monkeypatch):
    room, limit = [], sep.set_sub_object_limit
    monkeypatch.setattr(sep, "set_sub_object_limit", lambda parts: (room.append(parts), limit(parts)))
    yy, xx = np.mgrid[:400, :400]
    image = sky(7, (400, 400)) + np.float32(40.0)
    image += (3e3 * np.cos(np.pi * xx / 10) ** 8 * np.cos(np.pi * yy / 10) ** 8).astype(np.float32)
    found = find(image, deblend_contrast=0.0)
    assert room == [1024, 1024, 32767, 1024]
    assert 1400 < len(found) < 1800
    nearest = np.abs(found.x - 10 * np.rint(found.x / 10)), np.abs(found.y - 10 * np.rint(found.y / 10))
    assert np.median(np.hypot(*nearest)) < 0.3


def test_others_find_the_room_that_sep_has_as_it_was():
    before = sep.get_extract_pixstack(), sep.get_sub_object_limit()
    image = sky()
    add_star(image, 100, 100)
    add_star(image, 106, 100)
    assert len(find(image)) == 2
    assert (sep.get_extract_pixstack(), sep.get_sub_object_limit()) == before


def test_a_bleed_down_the_frame_changes_nothing_far_from_it():
    image = sky(8, (600, 600))
    rng = np.random.default_rng(8)
    for x, y, total in zip(*rng.uniform(10, 590, (2, 300)), 10 ** rng.uniform(3.3, 5.5, 300), strict=True):
        add_star(image, x, y, total=total)
    image[:, 300:303] += 5000
    rms, mask = np.full(image.shape, 5.0, np.float32), np.zeros(image.shape, bool)
    found = detect(image, rms, mask, DetectionSettings())
    theirs, _ = by_sep(image, rms, mask, DetectionSettings())
    far = np.abs(found.x - 301) > 20, np.abs(theirs["x"] - 301) > 20
    distance, _ = cKDTree(np.column_stack([theirs["x"], theirs["y"]])[far[1]]).query(
        np.column_stack([found.x, found.y])[far[0]]
    )
    assert abs(int(far[0].sum()) - int(far[1].sum())) <= 3
    assert np.mean(distance < 0.1) > 0.97

"""Deep deblending takes apart what realtime detection leaves together."""

import numpy as np

from nightflow.instruments.profile import DetectionSettings
from nightflow.sources.deep_detection import detect_deep
from nightflow.sources.detection import detect
from tests.unit.sources.psf.skies import FWHM, SKY, Stars, frame_of, lone_stars

SIDE = 200
SETTINGS = DetectionSettings()


def both(stars):
    data = frame_of(stars, SIDE, 4).data - np.float32(SKY)
    rms, nothing = np.full(data.shape, 13.2, np.float32), np.zeros(data.shape, bool)
    return detect(data, rms, nothing, SETTINGS), detect_deep(data, rms, nothing, SETTINGS)


def test_finds_more_of_close_pairs():
    """Pairs 3 FWHM apart, the second a twentieth as bright."""
    stars = lone_stars(SIDE, 2, faint=3e4, bright=6e4)
    pairs = Stars(
        np.append(stars.x, stars.x + 3 * FWHM), np.tile(stars.y, 2), np.append(stars.flux, stars.flux / 20)
    )
    realtime, deep = both(pairs)
    assert len(realtime) < 1.1 * len(stars)
    assert 1.8 * len(stars) < len(deep) <= len(pairs)


def test_makes_no_pairs_of_lone_stars():
    stars = lone_stars(SIDE, 2, faint=3e3)
    realtime, deep = both(stars)
    assert len(deep) == len(realtime) == len(stars)

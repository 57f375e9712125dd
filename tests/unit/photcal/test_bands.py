import numpy as np
import pytest

from nightflow.catalogs.stars import ReferenceStars
from nightflow.instruments.profile import PhotometrySettings
from nightflow.photcal.bands import choose_band


def stars(*bands):
    one = np.ones(1)
    return ReferenceStars(
        catalog="c", ra=one, dec=one, pmra=one, pmdec=one, epoch=2000.0, ids=np.array(["a"]),
        mags=dict.fromkeys(bands, one),
    )  # fmt: skip


def test_a_filter_is_calibrated_to_its_own_band_and_system():
    choice = choose_band("r", stars("g", "r", "V"), PhotometrySettings())
    assert (choice.band, choice.system, choice.color, choice.guess) == ("r", "AB", ("g", "r"), "")


def test_the_profile_goes_first_and_says_so():
    choice = choose_band("Clear", stars("VT", "G"), PhotometrySettings(bands={"Clear": "VT"}))
    assert choice.band == "VT"
    assert "Clear" in choice.guess


def test_an_unfiltered_frame_takes_the_widest_band_as_a_guess():
    assert choose_band("Open", stars("V", "G"), PhotometrySettings()).band == "G"


def test_no_guess_for_a_real_filter():
    assert choose_band("Ha", stars("V", "G"), PhotometrySettings()) is None


def test_a_band_of_nothing_but_nan_is_no_band():
    empty = stars("V")
    empty.mags["V"][:] = np.nan
    assert choose_band("V", empty, PhotometrySettings()) is None


@pytest.mark.parametrize("colors", [{"V": ("B", "V")}, {"V": ("V", "R")}])
def test_the_profile_may_choose_the_colour(colors):
    choice = choose_band("V", stars("B", "V", "R"), PhotometrySettings(colors=colors))
    assert choice.color == colors["V"]

"""Headers of frames that others have calibrated, each dialect as its program writes it."""

from __future__ import annotations

import ccdproc
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData

from nightflow.detector.chain import STEPS
from nightflow.instruments.done_elsewhere import steps_in
from nightflow.instruments.header import FrameHeader
from nightflow.instruments.normalise import normalise
from nightflow.instruments.own_product import OWN_STEPS
from nightflow.instruments.registry import load_profiles, recognise

PROFILES = load_profiles()
RAW: dict[str, object] = {
    "BITPIX": 16,
    "IMAGETYP": "object",
    "EXPTIME": 60.0,
    "DATE-OBS": "2012-05-05T03:04:05.67",
    "GAIN": 2.5,
    "RDNOISE": 8.0,
    "SATURATE": 60000.0,
    "BIASSEC": "[1025:1056,1:1024]",
    "TRIMSEC": "[1:1024,1:1024]",
}
IRAF: dict[str, object] = {
    "TRIM": "Mar  3 14:53 Trim data section is [1:1024,1:1024]",
    "OVERSCAN": "Mar  3 14:53 Overscan section is [1025:1056,1:1024] with mean=612.3",
    "ZEROCOR": "Mar  3 14:53 Zero level correction image is Zero",
    "FLATCOR": "Mar  3 14:54 Flat field image is FlatV with scale=10233.",
    "CCDPROC": "Mar  3 14:54 CCD processing done",
}
BANZAI: dict[str, object] = {
    "RLEVEL": 91,
    "L1STATOV": 1,
    "L1STATTR": 1,
    "L1STATBI": 1,
    "L1STATDA": 1,
    "L1STATFL": 1,
    "L1STATFR": -1,
}


def header(*cards: dict[str, object]) -> fits.Header:
    return fits.Header({key: value for some in cards for key, value in some.items()})


def read(*cards: dict[str, object], shape: tuple[int, int] = (1024, 1056)) -> FrameHeader:
    one = header(RAW, *cards)
    return normalise(one, recognise([one], PROFILES), hdu=0, shape=shape)


def test_the_steps_of_a_product_are_rows_of_the_chain() -> None:
    rows = [step.name for step in STEPS]
    assert set(OWN_STEPS) <= set(rows)
    assert set(rows) - set(OWN_STEPS) == {"not_finite", "gain", "mosaic"}


def test_a_raw_header_says_nothing() -> None:
    done = steps_in(header(RAW))
    assert (done.steps, done.gain_applied, done.trimmed, done.told_by) == ((), False, False, "")


@pytest.mark.parametrize(
    "cards",
    [
        {"OVERSCAN": 32},
        {"OVERSCAN": True},
        {"TRIM": "[1:1024,1:1024]"},
        {"ZEROCOR": False},
        {"FLATCOR": "no"},
        {"DARKCOR": "PERFORM"},
        {"RLEVEL": 0},
        {"L1STATBI": 0, "L1STATFL": -1},
        {"SUBBIAS": False},
        {"BUNIT": "adu"},
        {"BUNIT": "electron"},
    ],
)
def test_cards_of_raw_frames_that_look_alike(cards: dict[str, object]) -> None:
    """Widths, switches that are off or still to be done, and a camera that calls its integers electrons."""
    done = steps_in(header(RAW, cards))
    assert (done.steps, done.gain_applied) == ((), False)


def test_iraf() -> None:
    frame = read(IRAF, {"BITPIX": -32}, shape=(1024, 1024))
    assert {"overscan", "trim", "bias", "flat"} <= set(frame.steps_done)
    assert "dark" not in frame.steps_done
    assert not frame.bias_included
    assert (frame.trim, frame.overscan) == (None, None)
    assert (frame.gain, frame.saturation) == (2.5, 60000.0)
    assert (
        "calibrated elsewhere, says IRAF (OVERSCAN, TRIM, ZEROCOR, FLATCOR): not calibrated again"
        in frame.warnings
    )


def test_iraf_that_has_not_trimmed_leaves_the_sections() -> None:
    frame = read({"ZEROCOR": IRAF["ZEROCOR"]})
    assert frame.steps_done == ("bias",)
    assert frame.trim == (slice(0, 1024), slice(0, 1024))


def test_a_dark_takes_the_bias_with_it() -> None:
    assert steps_in(header(RAW, {"DARKCOR": "T"})).steps == ("bias", "dark")


def test_banzai_has_applied_the_gain_and_scaled_the_saturation() -> None:
    frame = read(BANZAI, {"BITPIX": -32, "GAIN": 1.0, "SATURATE": 150000.0}, shape=(1024, 1024))
    assert {"overscan", "trim", "bias", "dark", "flat"} <= set(frame.steps_done)
    assert "fringe" not in frame.steps_done
    assert (frame.gain, frame.gain_known, frame.saturation) == (1.0, True, 150000.0)


def test_banzai_by_its_level_alone() -> None:
    done = steps_in(header(RAW, {"RLEVEL": 91}))
    assert {"overscan", "trim", "bias", "dark", "flat"} <= set(done.steps)
    assert done.told_by == "BANZAI (RLEVEL)"


def ccd() -> CCDData:
    return CCDData(np.full((12, 16), 1000.0), unit="adu", meta=header(RAW))


def test_ccdproc_by_its_own_functions() -> None:
    """What the installed ccdproc really writes."""
    one = ccdproc.subtract_overscan(ccd(), fits_section="[13:16,1:12]")
    one = ccdproc.trim_image(one, fits_section="[1:12,1:12]")
    flat = CCDData(np.ones((12, 12)), unit="adu")
    one = ccdproc.subtract_bias(one, CCDData(np.zeros((12, 12)), unit="adu"))
    first = steps_in(one.to_hdu()[0].header)
    assert {"overscan", "trim", "bias"} <= set(first.steps)
    assert not {"dark", "flat"} & set(first.steps)
    assert not first.gain_applied
    one = ccdproc.gain_correct(ccdproc.flat_correct(one, flat), 2.5 * u.electron / u.adu)
    done = steps_in(one.to_hdu()[0].header)
    assert {"flat"} <= set(done.steps)
    assert (done.gain_applied, done.trimmed) == (True, True)
    assert done.left_out == ("dark",)


def test_ccdproc_in_the_history() -> None:
    one = header(RAW)
    one.add_history("ccdproc: subtract_bias with master_bias.fits")
    one.add_history("ccdproc: flat_correct")
    assert {"bias", "flat"} == set(steps_in(one).steps)


def test_electrons_are_past_all_that_is_in_adu() -> None:
    frame = read({"BUNIT": "electron", "BITPIX": -32, "ZEROCOR": IRAF["ZEROCOR"]})
    assert {"bias", "dark", "flat", "linearity"} <= set(frame.steps_done)
    assert (frame.gain, frame.header_gain, frame.saturation) == (1.0, None, 150000.0)
    assert any("dark, flat cannot be corrected any more" in one for one in frame.warnings)


def test_electrons_without_any_other_word() -> None:
    done = steps_in(header(RAW, {"BUNIT": "electron", "BITPIX": -32}))
    assert done.gain_applied
    assert done.told_by == "BUNIT = electron"


def test_the_primary_header_is_looked_into_as_well() -> None:
    done = steps_in(fits.Header({"BITPIX": -32}), header(RAW, IRAF))
    assert {"bias", "flat"} <= set(done.steps)


def test_calstat_and_other_cards_add_up() -> None:
    frame = read({"CALSTAT": "BD", "FLATCOR": IRAF["FLATCOR"]})
    assert frame.steps_done == ("bias", "dark", "flat")

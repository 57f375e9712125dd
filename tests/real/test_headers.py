"""Every trap in the headers of real cameras, through the profiles that come with nightflow."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time

from nightflow.errors import FrameHeld
from nightflow.instruments.completeness import Completeness, completeness
from nightflow.instruments.fits_file import check_pixels, read_headers, read_readouts
from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.instruments.header_wcs import header_wcs
from nightflow.instruments.normalise import normalise
from nightflow.instruments.registry import load_profiles, recognise

pytestmark = pytest.mark.real

PROFILES = load_profiles()
MILLISECOND = 1e-3 / 86400


def frame_of(path: Path) -> FrameHeader:
    """Return the normalised header of a file's first readout."""
    headers = read_headers(path)
    profile = recognise([raw.header for raw in headers], PROFILES)
    raw = next(raw for raw in headers if raw.shape)
    ny, nx = raw.shape
    return normalise(
        raw.header, profile, hdu=raw.hdu, shape=(ny, nx), primary_header=headers[0].header, path=path
    )


def frames_of(folder: Path) -> Iterator[FrameHeader]:
    for path in sorted(folder.glob("*.gz")):
        yield frame_of(path)


def mjd(utc: str) -> float:
    return float(Time(utc, scale="utc").mjd)


def test_hatp32_first_frame(shared_data: Path) -> None:
    frame = frame_of(shared_data / "hatp32_subset/HATP-32171220013343.FITS.gz")
    assert frame.instrument == "microobservatory"
    assert frame.kind is FrameKind.LIGHT
    assert (frame.object, frame.filter, frame.exptime) == ("HATP-32", "Clear", 60.0)
    assert frame.date_obs == "2017-12-20T01:33:43.317"
    assert frame.mjd_mid == pytest.approx(mjd("2017-12-20T01:34:13.317"), abs=MILLISECOND)
    assert frame.site is not None
    assert (frame.site.latitude, frame.site.longitude) == (31.68, -110.88)
    assert (frame.ra, frame.dec) == (31.312099, 46.769087)
    assert frame.ccd_temp == pytest.approx(-2.15)
    assert (frame.saturation, frame.gain_known, frame.shape) == (4095.0, False, (500, 650))
    assert [warning.split(":")[0] for warning in frame.warnings] == ["gain unknown", "read noise unknown"]


def test_hatp32_airmass_of_the_whole_night(shared_data: Path) -> None:
    """TELALT is the altitude at the start of the exposure."""
    n = 0
    for path in sorted((shared_data / "hatp32_subset").glob("*.gz")):
        altitude = float(fits.getheader(path)["TELALT"])
        assert frame_of(path).airmass == pytest.approx(1 / math.sin(math.radians(altitude)), abs=0.01), (
            path.name
        )
        n += 1
    assert n == 36


def test_hatp32_times_go_over_local_midnight(shared_data: Path) -> None:
    for path in sorted((shared_data / "hatp32_subset").glob("*.gz")):
        utc = str(fits.getheader(path)["UT-OBS"]).removesuffix("-0000")
        assert frame_of(path).mjd_mid == pytest.approx(mjd(utc) + 30 / 86400, abs=MILLISECOND)


def test_lowell_science(shared_data: Path) -> None:
    for path in sorted((shared_data / "lowell_subset/5945").glob("*.gz")):
        frame, raw = frame_of(path), fits.getheader(path)
        assert frame.instrument == "lowell42"
        assert frame.kind is FrameKind.LIGHT
        assert (frame.object, frame.filter, frame.exptime) == ("5945 Roachapproach", "VR", 300.0)
        assert frame.mjd_mid == pytest.approx(raw["MIDTIMJD"] - 2400000.5, abs=MILLISECOND)
        assert frame.mjd_mid == pytest.approx(
            mjd(f"2019-03-26T{raw['UTCSTART']}") + 150 / 86400, abs=MILLISECOND
        )
        assert frame.airmass == pytest.approx(raw["AIRMASS"], abs=0.03)
        assert (frame.ra, frame.dec) == pytest.approx((124.625, 25.332), abs=0.003)
        assert frame.site is not None
        assert (frame.site.longitude, frame.site.height) == (-111.5355, 2206.0)
        assert frame.overscan == (slice(0, 1370), slice(1387, 1432))
        assert frame.trim == (slice(0, 1370), slice(17, 1382))
        assert (frame.binning, frame.gain) == ((3, 3), 3.67)
        assert frame.warnings == ()


def test_lowell_calibrations(shared_data: Path) -> None:
    biases = list(frames_of(shared_data / "lowell_subset/zero"))
    assert [(frame.kind, frame.exptime) for frame in biases] == [(FrameKind.BIAS, 0.0)] * 10
    assert biases[0].date_obs == "2019-03-26T01:04:25.000"
    flats = list(frames_of(shared_data / "lowell_subset/flat"))
    assert {frame.kind for frame in flats} == {FrameKind.FLAT}
    assert [frame.filter for frame in flats] == ["V"] + ["VR"] * 7


def test_mit_lights(shared_data: Path) -> None:
    for path in sorted((shared_data / "mit_2018-10-12").glob("*Light*.gz")):
        frame, raw = frame_of(path), fits.getheader(path)
        assert frame.instrument == "wallace_c14"
        assert (frame.kind, frame.filter, frame.exptime) == (FrameKind.LIGHT, "Open", 180.0)
        assert frame.site is not None
        assert (frame.site.latitude, frame.site.longitude) == pytest.approx((42.61, -71.485))
        assert (frame.ra, frame.dec) == pytest.approx((63.0513, 22.8838), abs=0.001)
        # Of the start in the header; the field rises by up to 0.012 a minute.
        assert frame.airmass == pytest.approx(raw["AIRMASS"], abs=0.045)
        assert frame.airmass is not None
        assert frame.airmass < raw["AIRMASS"]
        assert (frame.gain, frame.pedestal) == (2.07, 100.0)
        assert frame.ccd_temp == pytest.approx(-20, abs=0.5)
        assert frame.mjd_mid == pytest.approx(mjd(raw["DATE-OBS"]) + 90 / 86400, abs=MILLISECOND)


def test_mit_calibrations_whatever_their_names_say(shared_data: Path) -> None:
    """The file names of the biases say 180 s."""
    folder = shared_data / "mit_2018-10-12"
    biases = [frame_of(path) for path in sorted(folder.glob("*Bias*.gz"))]
    darks = [frame_of(path) for path in sorted(folder.glob("*Dark*.gz"))]
    assert [(frame.kind, frame.exptime) for frame in biases] == [(FrameKind.BIAS, 0.0)] * 10
    assert [(frame.kind, frame.exptime) for frame in darks] == [(FrameKind.DARK, 180.0)] * 5


def test_nickel(shared_data: Path) -> None:
    frames = list(frames_of(shared_data / "nickel_2024-05-12"))
    assert {frame.instrument for frame in frames} == {"nickel"}
    assert [frame.kind for frame in frames] == [FrameKind.BIAS] * 10 + [FrameKind.FLAT] * 3 + [
        FrameKind.LIGHT
    ] * 6
    assert [frame.object for frame in frames[13:]] == [
        "PG1323-085",
        "NGC_4147",
        "NGC_3982",
        "NGC_6205",
        "UGC_9837",
        "PG1530+057",
    ]
    for frame in frames:
        assert (frame.gain, frame.gain_setting, frame.read_noise, frame.binning) == (1.795, "1", 9.5, (2, 2))
        assert frame.trim == (slice(0, 1024), slice(0, 1024))
        assert frame.overscan == (slice(0, 1024), slice(1029, 1056))
        assert frame.warnings == ()
    science = frames[13]
    assert (science.filter, science.exptime) == ("V", 60.0)
    assert science.mjd_mid == pytest.approx(mjd("2024-05-13T04:33:17.12"), abs=MILLISECOND)
    assert (science.ra, science.dec) == pytest.approx((201.415125, -8.8245833))
    # AIRMASS in the header is that of the start.
    assert science.airmass == pytest.approx(1.594, abs=0.01)


def test_nickel_bad_columns_are_where_the_profile_says(shared_data: Path) -> None:
    """Column 257 saturates over most of its length in every frame, even in a bias."""
    profile = next(profile for profile in PROFILES if profile.name == "nickel")
    assert "[256:257,1:1024]" in profile.detector.bad_pixel_regions
    for name in ("d1001", "d1047", "d1083"):
        (readout,) = read_readouts(shared_data / f"nickel_2024-05-12/{name}.fits.gz")
        saturated = (readout.data >= 65000).sum(axis=0)
        assert np.flatnonzero(saturated > 500).tolist() == [256]


def test_finder_discards_an_absurd_right_ascension(shared_data: Path) -> None:
    frame = frame_of(shared_data / "finder/FINDER-1.fits.gz")
    assert frame.instrument == "finder"
    assert (frame.kind, frame.exptime) == (FrameKind.LIGHT, 15.0)
    assert frame.mjd_mid == pytest.approx(mjd("2023-02-08T18:57:58.892"), abs=MILLISECOND)
    assert frame.warnings[0] == "ra: RA = '654.4759999999999' discarded: outside 0 to 360"
    assert (frame.ra, frame.dec) == pytest.approx((324.59166, 30.556194))
    assert (frame.gain_known, frame.gain_setting) == (True, "50.0")
    # TYC 2717-453-1 is within a degree of the stars that the frame shows.
    stars = np.genfromtxt(shared_data / "catalogues/tycho2_finder_chelles.csv", delimiter=",", names=True)
    assert abs(np.median(stars["ra"]) - 324.59166) < 1.0


@pytest.mark.parametrize(
    ("name", "hdu", "start", "exptime", "temperature", "ra"),
    [
        ("solved.fits.fz", 1, "2016-09-09T08:14:34", 120.4, 13.0, 301.56439),
        ("unsolved.fits", 0, "2016-09-09T08:12:26", 120.4, 11.0, 301.56439),
        ("tiny.fits", 0, "2016-09-09T08:12:26", 120.4, 11.0, 301.56439),
        ("pole.fits", 0, "2017-04-10T04:35:16", 30.1, 44.0, None),
        ("rotation.fits", 0, "2017-04-10T04:36:15", 25.2, 43.0, None),
    ],
)
def test_panoptes(
    shared_data: Path, name: str, hdu: int, start: str, exptime: float, temperature: float, ra: float | None
) -> None:
    frame = frame_of(shared_data / "panoptes" / name)
    assert (frame.instrument, frame.hdu, frame.kind) == ("panoptes", hdu, FrameKind.LIGHT)
    assert (frame.exptime, frame.ccd_temp, frame.ra) == (exptime, temperature, ra)
    assert frame.mjd_mid == pytest.approx(mjd(start) + exptime / 2 / 86400, abs=MILLISECOND)
    assert (frame.bayer, frame.gain_setting) == ("RGGB", "100")
    if ra is not None:
        assert frame.site is not None
        assert frame.site.longitude == -155.58
        assert frame.airmass == pytest.approx(1.132, abs=0.002)


def test_a_header_without_metadata_is_held(shared_data: Path) -> None:
    with pytest.raises(FrameHeld, match=r"no camera profile fits.*IMAGETYP is absent.*EXPTIME is absent"):
        frame_of(shared_data / "panoptes/noheader.fits")


def test_every_real_file_is_complete_and_holds_pixels(shared_data: Path) -> None:
    paths = [path for path in sorted(shared_data.rglob("*")) if path.suffix in (".gz", ".fz", ".fits")]
    assert len(paths) == 130
    for path in paths[::6]:
        answer = completeness(path)
        # Its pixels were cut out of a larger frame, whose sum stayed in the header: it is waited for.
        stale = path.name == "rotation.fits"
        assert answer.state is (Completeness.INCOMPLETE if stale else Completeness.COMPLETE), path
        assert ("DATASUM" in answer.reason) is stale
        (readout,) = read_readouts(path)
        check_pixels(readout.data, path)
        with fits.open(path) as hdus:
            np.testing.assert_array_equal(readout.data, hdus[readout.hdu].data.astype(np.float32))


def tpv(header: fits.Header, x: float, y: float) -> tuple[float, float]:
    """Evaluate SCAMP's polynomial by hand: https://fits.gsfc.nasa.gov/registry/tpvwcs/tpv.html.

    ``x`` and ``y`` are FITS pixels; returns degrees.
    """

    def card(key: str) -> float:
        return float(header[key]) if key in header else 0.0

    u, v = x - card("CRPIX1"), y - card("CRPIX2")
    xi = card("CD1_1") * u + card("CD1_2") * v
    eta = card("CD2_1") * u + card("CD2_2") * v

    def polynomial(axis: int, a: float, b: float) -> float:
        terms = [1, a, b, math.hypot(a, b), a**2, a * b, b**2, a**3, a**2 * b, a * b**2, b**3]
        return sum(card(f"PV{axis}_{order}") * term for order, term in enumerate(terms))

    xi_true, eta_true = math.radians(polynomial(1, xi, eta)), math.radians(polynomial(2, eta, xi))
    ra0, dec0 = math.radians(card("CRVAL1")), math.radians(card("CRVAL2"))
    # Gnomonic deprojection.
    denominator = math.cos(dec0) - eta_true * math.sin(dec0)
    delta = math.atan2(xi_true, denominator)
    dec = math.atan((math.sin(dec0) + eta_true * math.cos(dec0)) * math.cos(delta) / denominator)
    return math.degrees(ra0 + delta), math.degrees(dec)


def test_lowell_polynomial_at_the_corners(shared_data: Path) -> None:
    """The header says TAN, holds PV cards, and all numbers are text."""
    for path in sorted((shared_data / "lowell_subset/5945").glob("*.gz")):
        raw = fits.getheader(path)
        assert raw["CTYPE1"] == "RA---TAN"
        assert isinstance(raw["CD1_1"], str)
        wcs = header_wcs(raw)
        assert wcs is not None
        for x, y in [(1, 1), (1432, 1), (1, 1370), (1432, 1370), (716, 685)]:
            ra, dec = tpv(raw, x, y)
            found_ra, found_dec = wcs.all_pix2world([[x, y]], 1)[0]
            error = math.hypot((found_ra - ra) * math.cos(math.radians(dec)), found_dec - dec) * 3600
            assert error < 0.01


def test_lowell_calibrations_have_no_celestial_wcs(shared_data: Path) -> None:
    """Their CTYPE is "Linear Unbinned ADC Pixels"."""
    assert header_wcs(fits.getheader(shared_data / "lowell_subset/zero/20190326.0001.fits.gz")) is None


def test_panoptes_solution_with_distortion(shared_data: Path) -> None:
    """astrometry.net's header carries mangled copies of its own cards; the scale is 10.3 arcsec."""
    raw = read_headers(shared_data / "panoptes/solved.fits.fz")[1].header
    wcs = header_wcs(raw)
    assert wcs is not None
    assert wcs.sip is not None
    assert wcs.all_pix2world([[350.5, 350.5]], 1)[0] == pytest.approx(
        (303.206422334, 46.0173987483), abs=1e-6
    )
    determinant = np.linalg.det(wcs.pixel_scale_matrix)
    assert math.sqrt(abs(determinant)) * 3600 == pytest.approx(10.32, abs=0.02)

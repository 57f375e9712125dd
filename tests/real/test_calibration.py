"""Calibration of real frames: what is known of each telescope's chip must come out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import ccdproc
import numpy as np
import pytest
import sep
from astropy import units as u
from astropy.nddata import CCDData
from scipy import ndimage
from scipy.stats import trim_mean

from nightflow.detector.chain import MasterSet, calibrate, prepare_for_master
from nightflow.detector.master_frame import InputFile, MasterFrame
from nightflow.flags import UNUSABLE, Flag
from nightflow.frame import Frame
from nightflow.instruments.fits_file import read_readouts
from nightflow.instruments.header import FrameKind
from nightflow.instruments.normalise import normalise
from nightflow.instruments.profile import CameraProfile
from nightflow.instruments.registry import load_profiles, recognise
from nightflow.masters.build import build_master
from nightflow.masters.fits_io import read_master, write_master
from nightflow.masters.group import group_inputs, raw_calibration
from nightflow.masters.judge import judge
from nightflow.masters.keys import key_of

pytestmark = pytest.mark.real

BIAS, DARK, FLAT, LIGHT = FrameKind.BIAS, FrameKind.DARK, FrameKind.FLAT, FrameKind.LIGHT


@dataclass
class Night:
    """The raw frames of one folder, by file name, and the camera that wrote them."""

    profile: CameraProfile
    frames: dict[str, Frame]

    def of_kind(self, kind: FrameKind) -> dict[str, Frame]:
        return {name: frame for name, frame in self.frames.items() if frame.header.kind == kind}

    def inputs(self, kind: FrameKind, light: Frame) -> list[str]:
        """Return the names of the frames that go into the master for ``light``."""
        raws = [raw_calibration(frame.header, name) for name, frame in self.frames.items()]
        group = group_inputs(kind, key_of(light.header), raws, self.profile.masters)
        return [raw.identity for raw in group.inputs]

    def master(self, kind: FrameKind, light: Frame, masters: MasterSet | None = None) -> MasterFrame:
        names = self.inputs(kind, light)
        files = [InputFile(name=name, sha256=name) for name in names]
        return build_master(kind, [self.frames[name] for name in names], self.profile, masters, inputs=files)


def load(folder: Path, pattern: str = "*.gz") -> Night:
    profiles = load_profiles()
    frames: dict[str, Frame] = {}
    for path in sorted(folder.rglob(pattern)):
        (readout,) = read_readouts(path)
        profile = recognise([readout.header], profiles)
        header = normalise(readout.header, profile, hdu=readout.hdu, shape=readout.data.shape, path=path)
        frames[path.name] = Frame(data=readout.data, unit="adu", header=header, raw_header=readout.header)
    return Night(profile, frames)


def noise_in_errors(frame: Frame) -> float:
    """Return the scatter between diagonal neighbours in units of their errors; 1 on plain sky."""
    assert frame.variance is not None
    assert frame.flags is not None
    good = (frame.flags == 0)[1:, 1:] & (frame.flags == 0)[:-1, :-1]
    difference = frame.data[1:, 1:] - frame.data[:-1, :-1]
    pull = (difference / np.sqrt(frame.variance[1:, 1:] + frame.variance[:-1, :-1]))[good]
    return float(1.4826 * np.median(np.abs(pull - np.median(pull))))


@pytest.fixture(scope="module")
def nickel(shared_data: Path) -> Night:
    return load(shared_data / "nickel_2024-05-12")


@pytest.fixture(scope="module")
def lowell(shared_data: Path) -> Night:
    return load(shared_data / "lowell_subset")


@pytest.fixture(scope="module")
def mit(shared_data: Path) -> Night:
    return load(shared_data / "mit_2018-10-12")


@pytest.fixture(scope="module")
def nickel_masters(nickel: Night) -> MasterSet:
    light = nickel.frames["d1047.fits.gz"]
    bias = nickel.master(BIAS, light)
    return MasterSet(bias=bias, flat=nickel.master(FLAT, light, MasterSet(bias=bias)))


@pytest.fixture(scope="module")
def lowell_masters(lowell: Night) -> MasterSet:
    light = next(iter(lowell.of_kind(LIGHT).values()))
    bias = lowell.master(BIAS, light)
    return MasterSet(bias=bias, flat=lowell.master(FLAT, light, MasterSet(bias=bias)))


@pytest.fixture(scope="module")
def mit_masters(mit: Night) -> MasterSet:
    light = next(iter(mit.of_kind(LIGHT).values()))
    bias = mit.master(BIAS, light)
    return MasterSet(bias=bias, dark=mit.master(DARK, light, MasterSet(bias=bias)))


@pytest.mark.parametrize("mode", ["median", "row_median", "polynomial", "spline"])
def test_nickel_level_drifts_and_overscan_takes_it_out(nickel: Night, mode: str) -> None:
    """The strips of the night's frames wander by tens of ADU, those of the biases among them by seven."""
    settings = nickel.profile.calibration.model_copy(update={"overscan": mode})
    profile = nickel.profile.model_copy(update={"calibration": settings})
    biases = nickel.of_kind(BIAS).values()
    raw = [trim_mean(frame.data[:, :1024], 0.05, axis=None) for frame in biases]
    prepared = [trim_mean(prepare_for_master(frame, BIAS, profile).data, 0.05, axis=None) for frame in biases]
    strips = [np.median(frame.data[:, 1029:]) for frame in nickel.frames.values()]
    assert len(biases) == 10
    assert np.ptp(strips) > 30
    assert np.ptp(raw) > 5
    assert np.std(prepared, ddof=1) < 0.7
    assert np.std(prepared) < 0.35 * np.std(raw)


def test_nickel_masters_are_of_ten_biases_and_three_flats(nickel_masters: MasterSet) -> None:
    bias, flat = nickel_masters.bias, nickel_masters.flat
    assert bias is not None
    assert flat is not None
    assert [len(master.inputs) for master in (bias, flat)] == [10, 3]
    assert not [file for master in (bias, flat) for file in master.inputs if file.dropped]
    assert bias.data.shape == flat.data.shape == (1024, 1024)
    assert np.median(flat.data[flat.flags == 0]) == pytest.approx(1, abs=1e-5)


def test_nickel_columns_that_always_saturate_are_flagged(nickel: Night, nickel_masters: MasterSet) -> None:
    lights = nickel.of_kind(LIGHT)
    always = np.logical_and.reduce([frame.data[:, :1024] >= 65535 for frame in lights.values()])
    assert np.count_nonzero(always) > 900
    for frame in lights.values():
        flags = calibrate(frame, nickel.profile, nickel_masters).flags
        assert flags is not None
        assert ((flags[always] & UNUSABLE) != 0).all()
        assert np.mean((flags & UNUSABLE) != 0) < 0.02


def test_nickel_equals_ccdproc(nickel: Night, nickel_masters: MasterSet) -> None:
    frame = nickel.frames["d1047.fits.gz"]
    header, bias, flat = frame.header, nickel_masters.bias, nickel_masters.flat
    assert bias is not None
    assert flat is not None
    ours = calibrate(frame, nickel.profile, nickel_masters)
    ccd = CCDData(frame.data.astype(float), unit=u.adu)
    ccd = ccdproc.subtract_overscan(ccd, overscan=ccd[header.overscan], overscan_axis=1, median=True)
    ccd = ccdproc.subtract_bias(ccdproc.trim_image(ccd[header.trim]), CCDData(bias.data, unit=u.adu))
    ccd = ccdproc.flat_correct(ccd, CCDData(flat.data.astype(float), unit=u.one), norm_value=1)
    ccd = ccdproc.gain_correct(ccd, header.gain * u.electron / u.adu)
    alive = (ours.flags & int(Flag.DEAD)) == 0
    np.testing.assert_allclose(ours.data[alive], ccd.data[alive], rtol=2e-5, atol=5e-3)


def test_nickel_errors_are_true_on_plain_sky(nickel: Night, nickel_masters: MasterSet) -> None:
    result = calibrate(nickel.frames["d1047.fits.gz"], nickel.profile, nickel_masters)
    assert noise_in_errors(result) == pytest.approx(1, abs=0.1)


def test_lowell_flat_is_of_seven_vr_frames(lowell: Night, lowell_masters: MasterSet) -> None:
    flat = lowell_masters.flat
    assert flat is not None
    names = [file.name for file in flat.inputs]
    assert len(names) == 7
    assert "20190326.0100.fits.gz" not in names
    assert not [file for file in flat.inputs if file.dropped]
    assert flat.header.filter == "VR"
    assert flat.statistics.n_used > 6.9


def test_lowell_header_states_another_gain_than_its_flats_show(lowell_masters: MasterSet) -> None:
    """AGAIN_01 = 4.95; seven twilight flats of VR say 3.67, as in the profile."""
    flat = lowell_masters.flat
    assert flat is not None
    assert flat.photon_transfer is not None
    assert flat.photon_transfer.gain == pytest.approx(3.67, rel=0.02)
    said = [warning for warning in flat.warnings if warning.startswith("gain: photon transfer")]
    assert len(said) == 1
    assert "the header says 4.95" in said[0]
    assert "the profile's 3.67 is used" in said[0]


def test_nickel_electronics_are_those_of_the_profile(nickel_masters: MasterSet) -> None:
    """Published for this camera: 1.8 electron/adu. GAIN = 1 in its headers is an index, not a gain."""
    flat = nickel_masters.flat
    assert flat is not None
    assert flat.photon_transfer is not None
    assert flat.photon_transfer.gain == pytest.approx(1.8, rel=0.05)
    assert flat.photon_transfer.read_noise == pytest.approx(5.3, rel=0.05)
    assert not [warning for warning in flat.warnings if "photon transfer" in warning]


def test_lowell_strip_is_removed_and_errors_are_true(lowell: Night, lowell_masters: MasterSet) -> None:
    frame = list(lowell.of_kind(LIGHT).values())[5]
    result = calibrate(frame, lowell.profile, lowell_masters)
    assert frame.data.shape == (1370, 1432)
    assert result.data.shape == (1370, 1365)
    assert result.unit == "electron"
    assert noise_in_errors(result) == pytest.approx(1, abs=0.05)


def test_lowell_cosmic_rays_are_found_and_stars_are_not(lowell: Night, lowell_masters: MasterSet) -> None:
    """The sharpest frame, FWHM 2.5 pixels: hundreds of hits of 300 s, and hardly a star's core among them."""
    frame = lowell.of_kind(LIGHT)["20190326.0161.fits.gz"]
    result = calibrate(frame, lowell.profile, lowell_masters)
    hit = (result.flags & int(Flag.COSMIC_RAY)) != 0
    assert 350 < ndimage.label(hit, np.ones((3, 3)))[1] < 800
    background = sep.Background(result.data, mask=(result.flags & int(Flag.SATURATED)) != 0)
    stars = sep.extract(result.data - background.back(), 20, err=background.globalrms)
    stars = stars[(stars["npix"] > 9) & (stars["npix"] < 300) & (stars["b"] > 0.6 * stars["a"])]
    assert len(stars) > 300
    cores = hit[np.rint(stars["y"]).astype(int), np.rint(stars["x"]).astype(int)]
    assert np.mean(cores) < 0.01


def test_mit_dark_current_and_hot_pixels_are_subtracted(mit: Night, mit_masters: MasterSet) -> None:
    """A pixel's excess over the sky goes with its dark before, and no more after."""
    dark, frame = mit_masters.dark, mit.of_kind(LIGHT)["lux-180.000secs.Light.Open.00000020.fit.gz"]
    assert dark is not None
    assert (len(dark.inputs), dark.header.exptime, dark.header.bias_included) == (5, 180.0, False)
    assert frame.header.pedestal != 0
    result = calibrate(frame, mit.profile, mit_masters)
    warm = (dark.data > 150) & (dark.data < 3000)
    assert np.count_nonzero(warm) > 500
    slopes = [
        np.polyfit(dark.data[warm], data[warm] - np.median(data), 1)[0]
        for data in (frame.data, result.data / frame.header.gain)
    ]
    assert slopes[0] == pytest.approx(1, abs=0.1)
    assert slopes[1] == pytest.approx(0, abs=0.05)


def test_mit_pedestal_goes_once(mit: Night, mit_masters: MasterSet) -> None:
    """Bias and light hold the same pedestal: with or without it the sky is the same."""
    frame = next(iter(mit.of_kind(LIGHT).values()))
    result = calibrate(frame, mit.profile, mit_masters)
    biases = [np.median(bias.data) for bias in mit.of_kind(BIAS).values()]
    darks = [np.median(dark.data) for dark in mit.of_kind(DARK).values()]
    expected = (np.median(frame.data) - np.median(biases)) - (np.median(darks) - np.median(biases))
    assert np.median(result.data) / frame.header.gain == pytest.approx(expected, rel=5e-3)


def test_mit_frame_without_a_flat_says_so(mit: Night, mit_masters: MasterSet) -> None:
    frame = next(iter(mit.of_kind(LIGHT).values()))
    assert mit.inputs(FLAT, frame) == []
    result = calibrate(frame, mit.profile, mit_masters)
    assert [warning for warning in result.warnings if "master" in warning] == [
        "flat: no master flat; not corrected"
    ]
    hot = (result.flags & int(Flag.HOT)) != 0
    assert 0.0001 < np.mean(hot) < 0.01


def test_a_real_master_survives_its_file(lowell_masters: MasterSet, tmp_path: Path) -> None:
    flat = lowell_masters.flat
    assert flat is not None
    write_master(tmp_path / "flat.fits", flat)
    copy = read_master(tmp_path / "flat.fits")
    np.testing.assert_array_equal(copy.data, flat.data)
    assert copy.inputs == flat.inputs
    assert key_of(copy.header) == key_of(flat.header)


@pytest.mark.parametrize("night", ["nickel", "lowell", "mit"])
@pytest.mark.parametrize("kind", [BIAS, DARK, FLAT])
def test_vetting_rejects_no_healthy_master(
    night: str, kind: FrameKind, request: pytest.FixtureRequest
) -> None:
    """Each half of a night's set is approved against the other half, and no input is dropped."""
    taken: Night = request.getfixturevalue(night)
    masters: MasterSet = request.getfixturevalue(f"{night}_masters")
    names = taken.inputs(kind, next(iter(taken.of_kind(LIGHT).values())))
    if not names:
        pytest.skip(f"{night} has no {kind} frames")
    settings = taken.profile.masters.model_copy(update={"minimum_inputs": 1})
    profile = taken.profile.model_copy(update={"masters": settings})
    made_with = MasterSet() if kind is BIAS else masters

    def half(start: int) -> MasterFrame:
        chosen = names[start::2]
        files = [InputFile(name=name, sha256=name) for name in chosen]
        return build_master(kind, [taken.frames[name] for name in chosen], profile, made_with, inputs=files)

    whole = taken.master(kind, next(iter(taken.of_kind(LIGHT).values())), made_with)
    assert not [file for file in whole.inputs if file.dropped]
    assert judge(half(0), profile, made_with, half(1)).state == "approved"
    few = len(names) == taken.profile.masters.minimum_inputs
    assert judge(whole, taken.profile, made_with).state == ("provisional" if few else "approved")

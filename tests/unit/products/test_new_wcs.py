"""Another WCS for a file that is written: its pixels, packed or not, stay bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from nightflow.errors import ConfigurationError
from nightflow.products.new_wcs import replace_wcs
from tests.unit.astrometry.synthetic import SHAPE, make_wcs, worst_error

OLD, NEW = make_wcs(10.0, 20.0, distortion=3.0), make_wcs(10.01, 20.0, rotation=1.0)
CARDS = [fits.Card("WCS_S", 0, "verified")]


def product(path: Path, packed: bool) -> Path:
    header = OLD.to_header(relax=True)
    header["NFCAMERA"] = "simulator"
    data = np.random.default_rng(1).normal(100.0, 10.0, SHAPE).astype(np.float32)
    hdus = [fits.PrimaryHDU(data, header)]
    if packed:
        hdus = [fits.PrimaryHDU(), fits.CompImageHDU(data, header, name="SCI", compression_type="RICE_1")]
    fits.HDUList([*hdus, fits.ImageHDU(data, name="UNCERT")]).writeto(path, checksum=True)
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_only_the_wcs_changes(tmp_path: Path, packed: bool) -> None:
    path = product(tmp_path / "reduced.fits", packed)
    before = fits.getdata(path, ext=int(packed)).copy()
    replace_wcs(path, NEW, CARDS, "scamp: verified")
    with fits.open(path, checksum=True) as hdus:
        header = hdus[int(packed)].header
        assert worst_error(WCS(header), NEW) < 1e-6
        assert "A_ORDER" not in header
        assert header["WCS_S"] == 0
        assert header["HISTORY"][-1] == "scamp: verified"
        np.testing.assert_array_equal(hdus[int(packed)].data, before)
        assert hdus["UNCERT"].data.shape == SHAPE
    assert [one.name for one in tmp_path.iterdir()] == ["reduced.fits"]


def test_raw_frames_are_never_changed(tmp_path: Path) -> None:
    path = tmp_path / "raw.fits"
    fits.PrimaryHDU(np.zeros((10, 10), np.int16)).writeto(path)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="other files are not changed"):
        replace_wcs(path, NEW, CARDS, "")
    assert path.read_bytes() == before

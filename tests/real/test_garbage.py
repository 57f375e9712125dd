"""A folder of rubbish with one good frame in it."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from tests.real.nights import Night

pytestmark = pytest.mark.real

GOOD = "HATP-32171220013343.FITS.gz"


def png(_: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def ten_hdus_without_pixels(_: bytes) -> bytes:
    hdus = [fits.PrimaryHDU(), *(fits.ImageHDU(name=f"CHIP{n}") for n in range(9))]
    buffer = io.BytesIO()
    fits.HDUList(hdus).writeto(buffer)
    return buffer.getvalue()


def only_nan(good: bytes) -> bytes:
    with fits.open(io.BytesIO(good)) as hdus:
        nothing = fits.PrimaryHDU(np.full(hdus[0].data.shape, np.nan, np.float32), hdus[0].header)
    buffer = io.BytesIO()
    nothing.writeto(buffer)
    return buffer.getvalue()


GARBAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty.fits": (lambda good: b"", "empty"),
    "truncated.fits": (lambda good: good[: len(good) // 2], "truncated"),
    "picture.fits": (png, "PNG"),
    "hollow.fits": (ten_hdus_without_pixels, "pixels"),
    "nan.fits": (only_nan, "finite"),
}
"""File name -> (its content, made from that of a good frame; a word of the fault)."""


@pytest.fixture(scope="module")
def night(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Night:
    root = tmp_path_factory.mktemp("garbage")
    night = Night.prepared(root / "night", {"tycho2": shared_data / "catalogues" / "tycho2_hatp32.csv"})
    raw = root / "raw"
    raw.mkdir()
    packed = (shared_data / "hatp32_subset" / GOOD).read_bytes()
    (raw / GOOD).write_bytes(packed)
    good = gzip.decompress(packed)
    for name, (make, _) in GARBAGE.items():
        (raw / name).write_bytes(make(good))
    night.run(raw)
    return night


@pytest.mark.parametrize(("name", "fault"), [(name, fault) for name, (_, fault) in GARBAGE.items()])
def test_each_is_rejected_with_its_name_and_fault(night: Night, name: str, fault: str) -> None:
    (row,) = [row for row in night.frames() if Path(row["path"]).name == name]
    assert row["state"] == "rejected"
    assert name in row["reason"]
    assert fault in row["reason"]
    assert row["hdu"] == "0"
    assert row["kind"] == ("light" if name == "nan.fits" else "unknown")


def test_the_good_one_goes_on(night: Night) -> None:
    (row,) = [row for row in night.frames() if Path(row["path"]).name == GOOD]
    assert row["state"] == "done"


def test_run_says_which_and_ends_well(night: Night) -> None:
    assert night.exit_code == 0
    for name in GARBAGE:
        assert f"{name}: " in night.output
    assert GOOD not in night.output
    assert "1 done" in night.output
    assert "5 rejected" in night.output


def test_the_files_are_kept(night: Night) -> None:
    assert len(list((night.root.parent / "raw").iterdir())) == 6

"""Raw files in every wrapping, and every kind of garbage."""

from __future__ import annotations

import errno
import fcntl
import gzip
import hashlib
import os
import signal
import struct
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from nightflow.errors import FrameHeld, FrameRejected, RetryLater
from nightflow.instruments import fits_file
from nightflow.instruments.fits_file import content_hash, read_headers, read_readouts, select_hdus
from tests.unit.instruments.files import (
    PNG,
    counts,
    cut,
    gzipped,
    header_block,
    write,
    write_compressed,
    write_mosaic,
)

SIMPLE = "SIMPLE  =                    T"


@pytest.mark.parametrize("suffix", [".fits", ".fit", ".fts", ".FIT", ".FITS"])
def test_unsigned_counts_survive_as_float32(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", OBJECT="M 67")
    (readout,) = read_readouts(path)
    assert readout.data.dtype == np.float32
    assert readout.data.flags.c_contiguous
    assert readout.data.dtype.isnative
    np.testing.assert_array_equal(readout.data, counts())
    assert readout.header["OBJECT"] == "M 67"
    assert (readout.hdu, readout.name, readout.primary_header) == (0, "PRIMARY", None)


def test_gzip(tmp_path: Path) -> None:
    path = gzipped(write(tmp_path / "a.FITS"))
    (readout,) = read_readouts(path)
    np.testing.assert_array_equal(readout.data, counts())


def test_gzip_without_the_suffix(tmp_path: Path) -> None:
    path = gzipped(write(tmp_path / "a.fits")).rename(tmp_path / "b.fits")
    assert read_readouts(path)[0].data.shape == (40, 60)


@pytest.mark.parametrize("again", [False, True])
def test_fpack(tmp_path: Path, again: bool) -> None:
    path = write_compressed(tmp_path / "a.fits.fz", counts((64, 80)))
    path = gzipped(path) if again else path
    (readout,) = read_readouts(path)
    np.testing.assert_array_equal(readout.data, counts((64, 80)))
    assert (readout.hdu, readout.name) == (1, "SCI")
    assert readout.header["OBJECT"] == "M 67"
    assert readout.primary_header is not None
    (_, image) = read_headers(path)
    assert image.shape == (64, 80)
    assert image.header["OBJECT"] == "M 67"


@pytest.mark.parametrize(
    "data",
    [
        np.arange(600, dtype=np.uint8).reshape(20, 30),
        np.arange(-300, 300, dtype=np.int16).reshape(20, 30),
        np.arange(600, dtype=np.int32).reshape(20, 30) * 25,
        np.linspace(-1e6, 1e6, 600).reshape(20, 30),
        np.linspace(-1, 1, 600, dtype=np.float32).reshape(20, 30),
    ],
    ids=lambda data: str(data.dtype),
)
def test_every_kind_of_pixel(tmp_path: Path, data: np.ndarray) -> None:
    (readout,) = read_readouts(write(tmp_path / "a.fits", data))
    np.testing.assert_array_equal(readout.data, data.astype(np.float32))


def test_scaled_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    hdu = fits.PrimaryHDU(np.arange(600, dtype=np.float64).reshape(20, 30) / 4)
    hdu.scale("int16", bscale=0.25, bzero=10.0)
    hdu.writeto(path)
    np.testing.assert_allclose(read_readouts(path)[0].data.ravel()[:5], [0, 0.25, 0.5, 0.75, 1.0])


def test_all_chips_of_a_mosaic_and_their_primary_header(tmp_path: Path) -> None:
    path = write_mosaic(tmp_path / "m.fits")
    readouts = read_readouts(path, "all")
    assert [(readout.hdu, readout.name) for readout in readouts] == [(1, "CHIP1"), (2, "CHIP2"), (3, "CHIP3")]
    for chip, readout in enumerate(readouts, start=1):
        np.testing.assert_array_equal(readout.data, counts(seed=chip))
        assert readout.primary_header is not None


def test_named_and_numbered_chips(tmp_path: Path) -> None:
    path = write_mosaic(tmp_path / "m.fits")
    assert [readout.hdu for readout in read_readouts(path, ["chip3", 1])] == [3, 1]
    assert [readout.hdu for readout in read_readouts(path)] == [1]
    with pytest.raises(FrameHeld, match=r"m\.fits: .*'CHIP9'.*2 'CHIP2'.*mend the profile"):
        read_readouts(path, ["CHIP9"])


def test_select_hdus_takes_the_first_with_pixels() -> None:
    assert select_hdus(Path("a.fits"), "first", [(4, "A"), (5, "B")]) == [4]


def test_headers_without_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_mosaic(tmp_path / "m.fits")

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("pixels were read")

    monkeypatch.setattr(fits.hdu.image._ImageBaseHDU, "_get_scaled_image_data", refuse)
    headers = read_headers(path)
    assert [header.shape for header in headers] == [(), (40, 60), (40, 60), (40, 60)]
    assert headers[2].header["EXTNAME"] == "CHIP2"


def test_an_axis_of_length_one_is_no_axis(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", counts((1, 20, 30)))
    assert read_headers(path)[0].shape == (20, 30)
    assert read_readouts(path)[0].data.shape == (20, 30)


def test_missing_padding_is_forgiven(tmp_path: Path) -> None:
    path = cut(write(tmp_path / "a.fits"), 2880 + 40 * 60 * 2)
    np.testing.assert_array_equal(read_readouts(path)[0].data, counts())


def test_a_value_without_quotes_does_not_spoil_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    header = header_block(
        SIMPLE,
        "BITPIX  = 8",
        "NAXIS   = 2",
        "NAXIS1  = 60",
        "NAXIS2  = 48",
        "RA      = 12:34:56 / h",
        "BAD KEY = \xff",
    )
    path.write_bytes(header + bytes(range(96)) * 30)
    assert read_readouts(path)[0].data[0, 59] == 59.0
    assert "RA" in read_headers(path)[0].header


def rejected(path: Path) -> str:
    """Return the message with which both readers refuse the file."""
    with pytest.raises(FrameRejected) as headers:
        read_headers(path)
    with pytest.raises(FrameRejected) as pixels:
        read_readouts(path)
    assert str(headers.value) == str(pixels.value)
    assert str(path) in str(pixels.value)
    return str(pixels.value)


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.fits"
    path.touch()
    assert "empty file" in rejected(path)


def test_truncated_file(tmp_path: Path) -> None:
    path = cut(write(tmp_path / "a.fits"), 5000)
    assert "truncated: HDU 0 declares 7680 bytes, 5000 are present" in rejected(path)


def test_truncated_header(tmp_path: Path) -> None:
    assert "the header breaks off after 1000 bytes" in rejected(cut(write(tmp_path / "a.fits"), 1000))


def test_truncated_gzip(tmp_path: Path) -> None:
    path = gzipped(write(tmp_path / "a.fits"))
    message = rejected(cut(path, path.stat().st_size // 2))
    assert "truncated: HDU 0 declares 7680 bytes" in message
    assert "gzip stream breaks off" in message


def test_gzip_that_lacks_only_its_check_sum(tmp_path: Path) -> None:
    path = gzipped(write(tmp_path / "a.fits"))
    assert "gzip stream breaks off" in rejected(cut(path, path.stat().st_size - 3))


def test_gzip_with_a_flipped_bit(tmp_path: Path) -> None:
    path = gzipped(write(tmp_path / "a.fits"))
    content = bytearray(path.read_bytes())
    content[-6] ^= 0xFF
    path.write_bytes(content)
    assert "corrupt gzip stream" in rejected(path)


def test_truncated_fpack(tmp_path: Path) -> None:
    path = write_compressed(tmp_path / "a.fits.fz", counts((100, 100)))
    assert "truncated: HDU 1 declares" in rejected(cut(path, path.stat().st_size // 2))


def test_fpack_with_broken_tiles(tmp_path: Path) -> None:
    """Broken tiles are found when they are unpacked, or come out as other numbers; they never crash."""
    path = write_compressed(tmp_path / "a.fits.fz", counts((100, 100)))
    content = bytearray(path.read_bytes())
    content[5760 : 5760 + 800] = b"\xff" * 800
    path.write_bytes(content)
    with pytest.raises(FrameRejected, match=r"a\.fits\.fz: corrupt FITS file"):
        read_readouts(path)


@pytest.mark.parametrize(("simple", "naxis1"), [("SIMPLE  = maybe T", "60"), (SIMPLE, "  60' / unquoted")])
def test_a_header_that_astropy_cannot_make_sense_of(tmp_path: Path, simple: str, naxis1: str) -> None:
    path = tmp_path / "a.fits"
    header = header_block(simple, "BITPIX  = 8", "NAXIS   = 2", f"NAXIS1  = {naxis1}", "NAXIS2  = 48")
    path.write_bytes(header + bytes(range(96)) * 30)
    assert "corrupt FITS file" in rejected(path)


def test_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "picture.fits"
    path.write_bytes(PNG)
    assert "not FITS: begins with b'\\x89PNG" in rejected(path)


def test_ten_hdus_without_pixels(tmp_path: Path) -> None:
    path = tmp_path / "hollow.fits"
    fits.HDUList([fits.PrimaryHDU(), *[fits.ImageHDU() for _ in range(9)]]).writeto(path)
    assert "no pixels in any of its 10 HDUs" in rejected(path)


@pytest.mark.parametrize("shape", [(50,), (3, 20, 30)])
def test_images_that_have_not_two_axes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = write(tmp_path / "a.fits", counts(shape))
    with pytest.raises(FrameRejected, match=rf"an image of {len(shape)} axes .* a readout has two"):
        read_readouts(path)


@pytest.mark.parametrize(("nx", "ny", "pixels"), [(65536, 32768, "2147483648"), (46342, 46342, "2147580964")])
def test_more_pixels_than_are_read(tmp_path: Path, nx: int, ny: int, pixels: str) -> None:
    """A sparse file has all the bytes that it declares, and still is not read."""
    path = tmp_path / "huge.fits"
    header = header_block(SIMPLE, "BITPIX  = 8", "NAXIS   = 2", f"NAXIS1  = {nx}", f"NAXIS2  = {ny}")
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + nx * ny)
    assert f"{nx} x {ny} is {pixels} pixels, not fewer than 2147483648" in rejected(path)


def test_a_gzip_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightflow.instruments.fits_source.SMALL", 1 << 20)
    header = header_block(SIMPLE, "BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 30000", "NAXIS2  = 30000")
    path = tmp_path / "bomb.fits.gz"
    path.write_bytes(gzip.compress(header + bytes(8 << 20)))
    assert "asks for 1800000000 bytes, at most" in rejected(path)


def test_what_claims_too_many_pixels_is_refused_before_its_data(tmp_path: Path) -> None:
    """That the data behind the header break off is not even seen."""
    header = header_block(SIMPLE, "BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 3000", "NAXIS2  = 2000")
    path = tmp_path / "bomb.fits.gz"
    path.write_bytes(gzip.compress(header + bytes(1 << 20)))
    with pytest.raises(FrameRejected, match=r"HDU 0: 3000 x 2000 is 6000000 pixels, max_pixels = 5999999 in"):
        read_headers(path, max_pixels=5_999_999)
    with pytest.raises(FrameRejected, match="truncated"):
        read_headers(path, max_pixels=6_000_000)


def test_a_second_image_that_is_too_large_is_refused_before_its_data(tmp_path: Path) -> None:
    large = header_block(
        "XTENSION= 'IMAGE   '", "BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 300", "NAXIS2  = 200"
    )
    path = write(tmp_path / "a.fits")
    path.write_bytes(path.read_bytes() + large)
    with pytest.raises(FrameRejected, match="HDU 1: 300 x 200 is 60000 pixels"):
        read_headers(gzipped(path), max_pixels=50_000)


def test_a_large_gzip_file_is_not_unpacked_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = counts((2000, 3000))
    path = gzipped(write(tmp_path / "a.fits", pixels))
    tracemalloc.start()
    try:
        read_headers(path)
        in_memory = tracemalloc.get_traced_memory()[1]
        monkeypatch.setattr("nightflow.instruments.fits_source.SMALL", 1 << 20)
        tracemalloc.reset_peak()
        read_headers(path)
        assert tracemalloc.get_traced_memory()[1] < in_memory / 2
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(read_readouts(path)[0].data, pixels)


def test_a_full_temporary_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not the raw file that has no room; and it is tried again."""
    path = gzipped(write(tmp_path / "a.fits", counts((2000, 3000))))
    monkeypatch.setattr("nightflow.instruments.fits_source.SMALL", 1 << 20)
    monkeypatch.setattr("tempfile.TemporaryFile", lambda: Path("/dev/full").open("w+b"))  # noqa: SIM115
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "full"))
    told = rf"{path}: cannot be unpacked into the temporary folder {tmp_path}/full: No space left.*TMPDIR"
    with pytest.raises(RetryLater, match=told):
        read_readouts(path)


def test_without_a_temporary_folder_the_mend_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = gzipped(write(tmp_path / "a.fits", counts((2000, 3000))))
    monkeypatch.setattr("nightflow.instruments.fits_source.SMALL", 1 << 20)
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("tempfile._candidate_tempdir_list", lambda: [str(tmp_path / "none")])
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    with pytest.raises(RetryLater, match=rf"folder {tmp_path}/none: No usable temporary directory.*TMPDIR"):
        read_readouts(path)


def test_an_fpack_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightflow.instruments.fits_source.SMALL", 1 << 10)
    path = write_compressed(tmp_path / "bomb.fits.fz", counts((10, 10)))
    content = path.read_bytes()
    for axis in (b"1", b"2"):
        content = content.replace(
            b"ZNAXIS" + axis + b" =                   10", b"ZNAXIS" + axis + b" =                40000"
        )
    path.write_bytes(content)
    assert "40000 x 40000 pixels out of" in rejected(path)


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.fits").mkdir()
    assert "is a folder" in rejected(tmp_path / "a.fits")


@pytest.mark.parametrize("read", [read_headers, read_readouts, content_hash])
def test_a_missing_file_is_tried_again(tmp_path: Path, read: object) -> None:
    with pytest.raises(RetryLater, match=r"gone\.fits: cannot be read: No such file"):
        read(tmp_path / "gone.fits")  # type: ignore[operator]


def test_a_disk_that_goes_away_while_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.fits")

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fits_file, "walk", fail)
    with pytest.raises(RetryLater, match=r"a\.fits: cannot be read: Input/output error"):
        read_readouts(path)


def test_content_hash(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"night" * 100_000)
    assert content_hash(path) == hashlib.sha256(b"night" * 100_000).hexdigest()


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_has_no_end_is_not_read(tmp_path: Path, kind: str) -> None:
    """A pipe that nobody fills lets whoever opens it wait for good."""
    odd = tmp_path / "a.fits"
    if kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to("/dev/zero")
    for read in (content_hash, read_headers):
        with pytest.raises(RetryLater, match=r"a\.fits: cannot be read: not a regular file"):
            read(odd)


F_SETOWN_EX, F_OWNER_TID = 15, 0
"""As in Linux's fcntl.h."""


def test_a_file_that_is_lent_to_a_client_is_waited_for(tmp_path: Path) -> None:
    """A file server (NFS, Samba) holds a lease then; the system asks for it back."""
    path = write(tmp_path / "a.fits")
    lent = path.open("rb+")
    fcntl.fcntl(lent, F_SETOWN_EX, struct.pack("ii", F_OWNER_TID, threading.get_native_id()))
    fcntl.fcntl(lent, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    given_back = signal.signal(signal.SIGIO, lambda *_: lent.close())
    try:
        # In a thread: this one is free to give the file back before the lease ends by itself, after 45 s.
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(content_hash, path)
            assert asked.result() == hashlib.sha256(path.read_bytes()).hexdigest()
    finally:
        signal.signal(signal.SIGIO, given_back)
        lent.close()

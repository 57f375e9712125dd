"""Small FITS files for the tests, and ways to break them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from astropy.io import fits

BLOCK = 2880
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40


def counts(shape: tuple[int, ...] = (40, 60), seed: int = 1) -> np.ndarray:
    """Return unsigned 16-bit counts that use the whole range."""
    pixels = np.random.default_rng(seed).integers(0, 65536, shape).astype(np.uint16)
    pixels.flat[:2] = 0, 65535
    return pixels


def write(path: Path, data: np.ndarray | None = None, **cards: object) -> Path:
    """Write a single-HDU file."""
    header = fits.Header()
    for key, value in cards.items():
        header[key] = value
    fits.PrimaryHDU(counts() if data is None else data, header).writeto(path)
    return path


def write_compressed(path: Path, data: np.ndarray) -> Path:
    """Write a tile-compressed file as fpack does: an empty primary, then the image."""
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(data, name="SCI")])
    hdus[1].header["OBJECT"] = "M 67"
    hdus.writeto(path)
    return path


def write_mosaic(path: Path, n: int = 3) -> Path:
    """Write an empty primary and ``n`` chips."""
    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus += [fits.ImageHDU(counts(seed=chip), name=f"CHIP{chip}") for chip in range(1, n + 1)]
    hdus.writeto(path)
    return path


def gzipped(path: Path) -> Path:
    """Write a gzip copy beside ``path``."""
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    return packed


def cut(path: Path, size: int) -> Path:
    """Keep the first ``size`` bytes."""
    path.write_bytes(path.read_bytes()[:size])
    return path


def header_block(*cards: str) -> bytes:
    """Return a header of these cards and END, padded."""
    text = "".join(card.ljust(80) for card in (*cards, "END")).encode("latin-1")
    return text.ljust(-(-len(text) // BLOCK) * BLOCK)

"""Frames that the simulated night lacks: a closed dome, a lamp that was off, tiny ones by the thousand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.time import Time, TimeDelta

__all__ = ["bad_flat", "dome_closed", "tiny_biases"]


def dome_closed(light: Path, dark: Path, target: Path) -> None:
    """Write a light on which there is nothing, a minute after another one."""
    with fits.open(light) as hdus, fits.open(dark) as empty:
        _write(target, empty[0].data, _later(hdus[0].header, 60.0))


def bad_flat(flat: Path, bias: Path, target: Path) -> None:
    """Write a flat whose lamp was off, a second after another one."""
    with fits.open(flat) as hdus, fits.open(bias) as empty:
        _write(target, empty[0].data, _later(hdus[0].header, 1.0))


def tiny_biases(bias: Path, number: int, folder: Path) -> list[Path]:
    """Write biases of 48 x 48 pixels, each another one, of a chip that nothing else is of."""
    folder.mkdir()
    with fits.open(bias) as hdus:
        header, data = hdus[0].header.copy(), hdus[0].data[:48, :48].copy()
    for key in ("BIASSEC", "TRIMSEC", "DATASEC"):
        header.remove(key, ignore_missing=True)
    header["DETECTOR"] = "finder"
    paths = [folder / f"tiny-{index:05}.fits" for index in range(number)]
    for index, path in enumerate(paths):
        data[0, :2] = divmod(index, 256)
        _write(path, data, _later(header, 0.1 * index))
    return paths


def _later(header: fits.Header, seconds: float) -> fits.Header:
    changed = header.copy()
    start = Time(header["DATE-OBS"], scale="utc", precision=3) + TimeDelta(seconds, format="sec")
    changed["DATE-OBS"] = start.isot
    return changed


def _write(target: Path, data: np.ndarray, header: fits.Header) -> None:
    """Give a file its name when it is whole."""
    hidden = target.with_name(f".{target.name}.part")
    fits.PrimaryHDU(data, header).writeto(hidden)
    hidden.rename(target)

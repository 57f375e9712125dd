"""Detections by source-extractor (Bertin & Arnouts 1996, A&AS 117, 393), for those who want its positions.

It gets the calibrated pixels, their noise and their flags as files, and answers with an FITS_LDAC catalogue.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from nightflow.astrometry.scamp.ldac import Detections, read_ldac
from nightflow.errors import NoSolution
from nightflow.external import ProgramError, run_bounded, scratch_folder
from nightflow.flags import UNUSABLE

__all__ = ["EXTRACTOR", "extract"]

EXTRACTOR = "source-extractor"
_CATALOG = "image.cat"
_COLUMNS = (
    "NUMBER", "XWIN_IMAGE", "YWIN_IMAGE", "ERRAWIN_IMAGE", "ERRBWIN_IMAGE", "ERRTHETAWIN_IMAGE", "FLUX_AUTO",
    "FLUXERR_AUTO", "MAG_AUTO", "MAGERR_AUTO", "ALPHAWIN_J2000", "DELTAWIN_J2000", "FLAGS", "IMAFLAGS_ISO",
    "FWHM_IMAGE", "ELLIPTICITY", "SNR_WIN", "KRON_RADIUS",
)  # fmt: skip
_GAUSSIAN_FWHM, _GAUSSIAN_SIZE = 2.5, 5
"""Pixels; the matched filter."""
_REJECTED_FLAGS = 0x00FC
"""All but 1, a neighbour's light, and 2, deblended: saturated, at the edge, incomplete."""
_LARGEST_RELATIVE_ERROR = 0.2
_MAXIMUM_ELLIPTICITY = 0.5


def extract(
    data: NDArray[np.float32],
    noise: NDArray[np.float32],
    flags: NDArray[np.uint16],
    *,
    seconds: float,
    program: str = EXTRACTOR,
) -> Detections:
    """Return the stars of a calibrated frame, brightest first.

    Parameters
    ----------
    data, noise : ndarray of float32, shape (ny, nx)
        Electrons, and their standard deviation.
    flags : ndarray of uint16, shape (ny, nx)
        Bits of `nightflow.flags.Flag`; what covers an unusable pixel is left out.
    seconds : float
        Wall time after which it is killed.

    Returns
    -------
    Detections
        Those that are whole, round, not saturated, and of S/N 5 or more.

    Raises
    ------
    NoSolution
        source-extractor is missing, hung, was killed, failed, or left no readable catalogue.
    """
    try:
        with scratch_folder("nightflow-sextractor-") as folder:
            _write(folder, data, noise, flags)
            ended = run_bounded(
                [program, "image.fits", "-c", "nightflow.sex"], seconds=seconds, folder=folder
            )
            if ended.status != 0:
                raise NoSolution(f"{program} failed with status {ended.status}: {ended.last_words}")
            if not (folder / _CATALOG).is_file():
                raise NoSolution(f"{program} wrote no catalogue")
            return _stars(folder / _CATALOG)
    except ProgramError as error:
        raise NoSolution(str(error)) from error


def _write(
    folder: Path, data: NDArray[np.float32], noise: NDArray[np.float32], flags: NDArray[np.uint16]
) -> None:
    # a pixel without a noise is one that says nothing
    good = np.isfinite(data) & np.isfinite(noise) & (noise > 0)
    fits.PrimaryHDU(np.where(good, data, 0.0).astype(np.float32)).writeto(folder / "image.fits")
    fits.PrimaryHDU(np.where(good, noise, 1e30).astype(np.float32)).writeto(folder / "noise.fits")
    unusable = ((flags & int(UNUSABLE)) != 0) | ~good
    fits.PrimaryHDU(unusable.astype(np.int16)).writeto(folder / "flags.fits")
    (folder / "gauss.conv").write_text(_filter(), encoding="ascii")
    (folder / "nightflow.param").write_text("\n".join([*_COLUMNS, ""]), encoding="ascii")
    lines = [f"{key:<17} {value}" for key, value in _CONFIGURATION.items()]
    (folder / "nightflow.sex").write_text("\n".join([*lines, ""]), encoding="ascii")


_CONFIGURATION = {
    "CATALOG_NAME": _CATALOG,
    "CATALOG_TYPE": "FITS_LDAC",
    "PARAMETERS_NAME": "nightflow.param",
    "DETECT_MINAREA": "5",
    "DETECT_THRESH": "3.0",
    "ANALYSIS_THRESH": "3.0",
    "FILTER": "Y",
    "FILTER_NAME": "gauss.conv",
    "DEBLEND_NTHRESH": "64",
    "DEBLEND_MINCONT": "0.0005",
    "CLEAN": "Y",
    "CLEAN_PARAM": "0.5",
    "WEIGHT_TYPE": "MAP_RMS",
    "WEIGHT_IMAGE": "noise.fits",
    "FLAG_IMAGE": "flags.fits",
    "FLAG_TYPE": "OR",
    "SATUR_LEVEL": "1e9",
    # the stars' photons are in the noise already: with a gain, errors come out 2.8 times too large
    "GAIN": "0.0",
    "BACK_SIZE": "128",
    "BACK_FILTERSIZE": "3",
    "BACKPHOTO_TYPE": "LOCAL",
    "BACKPHOTO_THICK": "24",
    "CHECKIMAGE_TYPE": "NONE",
    "VERBOSE_TYPE": "QUIET",
    "NTHREADS": "1",
    "WRITE_XML": "N",
}


def _filter() -> str:
    half = _GAUSSIAN_SIZE // 2
    squares = np.arange(-half, half + 1) ** 2
    kernel = np.exp(-4.0 * np.log(2.0) * (squares[:, None] + squares[None, :]) / _GAUSSIAN_FWHM**2)
    return "CONV NORM\n" + "\n".join(" ".join(f"{one:.6f}" for one in row) for row in kernel) + "\n"


def _stars(catalog: Path) -> Detections:
    """Return what may be a star, brightest first."""
    (chip,) = read_ldac(catalog)
    with fits.open(catalog, memmap=False) as hdus:
        rows = hdus["LDAC_OBJECTS"].data
        hit = np.asarray(rows["IMAFLAGS_ISO"]) != 0
        elongated = np.asarray(rows["ELLIPTICITY"]) > _MAXIMUM_ELLIPTICITY
    stars = chip.stars
    good = ~hit & ~elongated & ((stars.flags & _REJECTED_FLAGS) == 0) & np.isfinite(stars.error)
    good &= (stars.flux > 0) & (stars.flux_err < _LARGEST_RELATIVE_ERROR * stars.flux)
    stars = stars.take(good)
    return stars.take(np.argsort(-stars.flux, kind="stable"))

"""Background, detection, centroids and apertures of one frame: our sep path and source-extractor."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from numpy.typing import NDArray

from benchmarks import peers
from benchmarks.cases.source_lists import SourceList, compare
from benchmarks.harness import Case, Side
from benchmarks.workshop import Workshop
from nightflow.flags import UNUSABLE, Flag
from nightflow.frame import Frame
from nightflow.instruments.profile import DetectionSettings
from nightflow.sources.fill import fill_flagged
from nightflow.sources.measure import MeasuredFrame, measure_frame

__all__ = ["cleaned", "detect_case", "equivalent_threshold", "our_list", "source_extractor"]


@contextmanager
def detect_case(workshop: Workshop) -> Iterator[Case]:
    """A calibrated frame; ours in memory, theirs from a file and into one, as it must."""
    program = peers.program("source-extractor")
    frame, profile, measured = workshop.calibrated, workshop.profile, workshop.measured
    shape = (frame.data.shape[0], frame.data.shape[1])
    with tempfile.TemporaryDirectory(dir=workshop.folder) as name:
        folder = Path(name)
        fits.writeto(folder / "image.fits", cleaned(frame))
        command = _command(program, folder, profile.detection, measured, frame.header.read_noise)
        yield Case(
            ours=Side(run=lambda: measure_frame(frame, profile.detection, profile.photometry)),
            peer=Side(run=lambda: source_extractor(command, folder)),
            peer_name="source-extractor: one process, FITS in and out",
            agree=lambda ours, theirs: compare(our_list(ours), theirs, shape),
        )


def cleaned(frame: Frame) -> NDArray[np.float32]:
    """Return the frame with its unusable pixels filled, for a program that takes no flags."""
    assert frame.flags is not None
    return fill_flagged(frame.data, (frame.flags & int(UNUSABLE & ~Flag.SATURATED)) != 0)[0]


def our_list(measured: MeasuredFrame) -> SourceList:
    """Return our sources without the aperture correction, which the peers do not make."""
    sources, factor = measured.sources, measured.aperture_correction.factor
    return SourceList(
        x=sources.x, y=sources.y, flux=sources.flux / factor, flux_err=sources.flux_err / factor
    )


def source_extractor(command: list[str], folder: Path) -> SourceList:
    """Run source-extractor and read its catalogue."""
    peers.run(command, folder)
    found = Table.read(folder / "catalog.fits", format="fits", hdu=1)
    return SourceList(
        x=np.asarray(found["XWIN_IMAGE"], float) - 1.0,
        y=np.asarray(found["YWIN_IMAGE"], float) - 1.0,
        flux=np.asarray(found["FLUX_APER"], float),
        flux_err=np.asarray(found["FLUXERR_APER"], float),
    )


def _command(
    program: str, folder: Path, detection: DetectionSettings, measured: MeasuredFrame, read_noise: float
) -> list[str]:
    """Return the command with our thresholds, mesh and aperture."""
    columns, kernel = peers.source_extractor_files(folder, detection.expected_fwhm)
    settings = peers.SOURCE_EXTRACTOR | {
        "CATALOG_NAME": "catalog.fits",
        "PARAMETERS_NAME": columns.name,
        "FILTER_NAME": kernel.name,
        "DETECT_MINAREA": str(detection.minimum_area),
        "DETECT_THRESH": str(equivalent_threshold(detection)),
        "ANALYSIS_THRESH": str(detection.threshold),
        "DEBLEND_NTHRESH": str(detection.deblend_levels),
        "DEBLEND_MINCONT": str(detection.deblend_contrast),
        "BACK_SIZE": str(detection.box),
        "BACKPHOTO_THICK": str(round(2 * measured.fwhm)),
        "PHOT_APERTURES": f"{2 * measured.aperture_radius:.3f}",
        "SEEING_FWHM": f"{measured.fwhm:.2f}",
        "GAIN": "1.0",
        "SATUR_LEVEL": "1e9",
    }
    flags = [text for key, value in settings.items() for text in (f"-{key}", value)]
    return [program, "image.fits", "-c", "/dev/null", *flags]


def equivalent_threshold(detection: DetectionSettings) -> float:
    """Return the threshold in the noise of a pixel; sep's matched filter counts in the filtered image's.

    A Gaussian of this width lowers the noise by a factor of 2 sqrt(pi) sigma.
    """
    return detection.threshold / (2 * np.sqrt(np.pi) * detection.expected_fwhm / 2.3548)

"""What the table of a night says of a frame beside its solution: noise, counts, saturation, shapes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nightflow.flag_planes import count_carrying
from nightflow.flags import Flag
from nightflow.frame import Frame
from nightflow.quality.measures import frame_trailing
from nightflow.robust import robust_sigma
from nightflow.sources.measure import MeasuredFrame

__all__ = ["FrameSummary", "summarise"]

_BRIGHT = 10.0
"""Peak over sky noise from which a star's shape is measured well enough."""


@dataclass(frozen=True, kw_only=True)
class FrameSummary:
    """Measures of one frame; NaN where there is nothing to measure.

    Attributes
    ----------
    gain : float
        Electrons per raw ADU.
    sky_rms : float
        Noise of a pixel of empty sky, electrons.
    threshold : float
        Of the detection, in units of that noise.
    n_photometry : int
        Sources with a positive flux.
    n_saturated_pixels, n_saturated_sources : int
    adu_rate_brightest, adu_rate_median, adu_rate_faintest : float
        Raw ADU per second of the unsaturated sources with a positive flux.
    fwhm_err_px : float
        1 sigma of the frame's FWHM by the scatter of its stars, pixels.
    n_fwhm_stars : int
        Stars that tell it.
    trailing, trailing_angle : float
        See `nightflow.quality.measures.frame_trailing`.
    """

    gain: float
    sky_rms: float
    threshold: float
    n_photometry: int
    n_saturated_pixels: int
    n_saturated_sources: int
    adu_rate_brightest: float
    adu_rate_median: float
    adu_rate_faintest: float
    fwhm_err_px: float
    n_fwhm_stars: int
    trailing: float
    trailing_angle: float


def summarise(frame: Frame, measured: MeasuredFrame, threshold: float) -> FrameSummary:
    """Return the summary of a calibrated frame and its sources.

    Parameters
    ----------
    frame : Frame
        With flags.
    measured : MeasuredFrame
    threshold : float
        Of the detection, in units of the local noise.
    """
    assert frame.flags is not None
    sources, header = measured.sources, frame.header
    saturated = (sources.flags & int(Flag.SATURATED)) > 0
    with_flux = np.isfinite(sources.flux) & np.isfinite(sources.flux_err) & (sources.flux > 0)
    rates = sources.flux[with_flux & ~saturated] / header.gain / header.exptime
    signal_to_noise = sources.peak / measured.sky_rms
    clean = sources.flags == 0
    widths = sources.fwhm[clean & (signal_to_noise > _BRIGHT) & np.isfinite(sources.fwhm)]
    amount, angle = frame_trailing(sources.ellipticity, sources.theta, signal_to_noise, clean)
    return FrameSummary(
        gain=header.gain,
        sky_rms=measured.sky_rms,
        threshold=threshold,
        n_photometry=int(np.count_nonzero(with_flux)),
        n_saturated_pixels=count_carrying(frame.flags, Flag.SATURATED),
        n_saturated_sources=int(np.count_nonzero(saturated)),
        adu_rate_brightest=float(rates.max()) if len(rates) else float("nan"),
        adu_rate_median=float(np.median(rates)) if len(rates) else float("nan"),
        adu_rate_faintest=float(rates.min()) if len(rates) else float("nan"),
        fwhm_err_px=robust_sigma(widths) / np.sqrt(len(widths)) if len(widths) > 1 else float("nan"),
        n_fwhm_stars=len(widths),
        trailing=amount,
        trailing_angle=angle,
    )

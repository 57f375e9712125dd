"""Step `measure`: sources of the clean frame."""

from __future__ import annotations

from typing import Any

from nightflow.config import Engine
from nightflow.errors import FrameRejected
from nightflow.pipeline.work import Context, Work
from nightflow.quality.frame_summary import summarise
from nightflow.sources.measure import FAST, Tools, measure_frame

__all__ = ["measure", "tools_of"]


def measure(work: Work, context: Context) -> dict[str, Any]:
    """Find and measure the sources.

    Raises
    ------
    FrameRejected
        The pixels hold no sky.
    """
    assert work.frame is not None
    try:
        work.measured = measure_frame(
            work.frame, work.profile.detection, work.profile.photometry, tools_of(context.settings.engine)
        )
    except FrameRejected as error:
        raise FrameRejected(f"{work.path.name}: {error}") from error
    work.summary = summarise(work.frame, work.measured, work.profile.detection.threshold)
    work.warnings.extend(work.measured.warnings)
    return {
        "n_sources": len(work.measured.sources),
        "fwhm_px": round(work.measured.fwhm, 2),
        "ellipticity": round(work.measured.ellipticity, 3),
        "sky": round(work.measured.sky, 1),
    }


def tools_of(engine: Engine) -> Tools:
    """Return what measures pixels with an engine."""
    if engine == "fast":
        return FAST
    from nightflow.sources.reference import (
        PHOTUTILS,  # seconds of import that a night at the telescope is spared
    )

    return PHOTUTILS

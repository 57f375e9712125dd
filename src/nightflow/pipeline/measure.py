"""Step `measure`: sources of the clean frame."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nightflow.config import Engine
from nightflow.errors import FrameRejected
from nightflow.instruments.profile import DetectionSettings
from nightflow.pipeline.work import Context, Work
from nightflow.quality.frame_summary import summarise
from nightflow.sources.find import FAST, Tools
from nightflow.sources.measure import measure_frame
from nightflow.sources.psf.crowding import with_psf

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
        measured = measure_frame(
            work.frame,
            work.profile.detection,
            work.profile.photometry,
            tools_of(context.settings.engine, work.profile.detection),
        )
    except FrameRejected as error:
        raise FrameRejected(f"{work.path.name}: {error}") from error
    work.measured = with_psf(measured, work.profile.detection, work.profile.photometry)
    work.summary = summarise(work.frame, work.measured, work.profile.detection.threshold)
    work.warnings.extend(work.measured.warnings)
    return {
        "n_sources": len(work.measured.sources),
        "fwhm_px": round(work.measured.fwhm, 2),
        "ellipticity": round(work.measured.ellipticity, 3),
        "sky": round(work.measured.sky, 1),
    }


def tools_of(engine: Engine, detection: DetectionSettings) -> Tools:
    """Return what measures pixels with an engine and the profile's way of detection.

    photutils takes seconds to import, which a night at the telescope is spared.
    """
    tools = FAST
    if engine == "reference":
        from nightflow.sources.reference import PHOTUTILS

        tools = PHOTUTILS
    if detection.deblending == "deep":
        from nightflow.sources.deep_detection import detect_deep

        tools = replace(tools, detect=detect_deep)
    return tools

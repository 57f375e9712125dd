"""Completeness of a frame, on request: its pixels are calibrated again, nothing is written to the ledger."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nightflow.errors import ConfigurationError
from nightflow.instruments.header import FrameKind
from nightflow.pipeline.calibrate import calibrate
from nightflow.pipeline.identify import identify_file
from nightflow.pipeline.measure import measure, tools_of
from nightflow.pipeline.work import Context, Work
from nightflow.sources.completeness import Completeness, measure_completeness
from nightflow.store.frames import frames_of
from nightflow.store.models import Exposure
from nightflow.store.overview import current_reduction

__all__ = ["frame_completeness"]

_BRIGHTER, _FAINTER = 3.0, 1.5
"""Magnitudes around the 5-sigma depth."""
_BIN = 0.25


def frame_completeness(
    context: Context, exposure: Exposure, *, per_bin: int = 100, seed: int = 1
) -> dict[str, Completeness]:
    """Return the completeness of each detector of an exposure, by magnitudes of its current reduction.

    Parameters
    ----------
    context : Context
    exposure : Exposure
        A light that was reduced.
    per_bin : int
        Stars put into each bin of 0.25 mag.
    seed : int
        Of their places and noise.

    Raises
    ------
    ConfigurationError
        It is no light, or has no zero point.
    NightflowError
        By consequence, as for a reduction.
    """
    path = Path(exposure.path)
    identified = identify_file(path, list(context.profiles.values()))
    if identified.kind is not FrameKind.LIGHT:
        raise ConfigurationError(f"{path.name} is a {identified.kind}: only lights have stars to be found")
    frames = {frame.detector: frame for frame in frames_of(context.database, exposure.id or 0)}
    found = {}
    for header in identified.headers:
        row = frames.get(header.detector)
        reduction = current_reduction(context.database, row.id or 0) if row is not None else None
        if row is None or reduction is None or reduction.zp is None or reduction.depth_5sigma is None:
            raise ConfigurationError(
                f"{path.name}, detector {header.detector}: no zero point to tell magnitudes by; "
                f"`nightflow explain {path.name}` says why"
            )
        work = Work(
            frame_id=row.id or 0,
            exposure_id=exposure.id or 0,
            path=path,
            profile=identified.profile,
            header=header,
        )
        calibrate(work, context)
        measure(work, context)
        assert work.frame is not None
        assert work.measured is not None
        if not np.isfinite(work.measured.profile.fwhm):
            raise ConfigurationError(f"{path.name}, detector {header.detector}: no star tells the profile")
        depth = reduction.depth_5sigma
        found[header.detector] = measure_completeness(
            work.frame,
            work.profile.detection,
            work.measured.profile,
            reduction.zp + 2.5 * np.log10(header.exptime),
            work.profile.photometry.total_fwhm,
            np.arange(depth - _BRIGHTER, depth + _FAINTER + 0.5 * _BIN, _BIN),
            per_bin=per_bin,
            seed=seed,
            tools=tools_of(context.settings.engine, work.profile.detection),
        )
    return found

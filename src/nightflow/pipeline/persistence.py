"""What exposures before this one saturated, whoever reduced them: remembered, or read again."""

from __future__ import annotations

from pathlib import Path

from nightflow.detector.chain import flag_raw
from nightflow.detector.persistence import SaturatedPixels, recent_window, saturated_pixels
from nightflow.errors import FrameRejected, RetryLater
from nightflow.instruments.header import FrameHeader
from nightflow.pipeline.identify import identify_file, read_frame
from nightflow.pipeline.work import Context, Work
from nightflow.store.frames import frames_between
from nightflow.store.models import Frame
from nightflow.store.overview import get_exposure

__all__ = ["saturated_before"]


def saturated_before(work: Work, context: Context) -> tuple[SaturatedPixels, ...]:
    """Return what exposures of the same detector saturated within the profile's time before this one.

    The memory knows what this process and its fellows reduced. Of others that the ledger has (reduced before
    a restart, or not yet, or no lights) the raw pixels are read: an exposure that is reduced again by itself
    gets the mask that it would get in its night.

    Parameters
    ----------
    work : Work
        A file that is away is a warning on it: what it saturated is not flagged.
    """
    seconds = work.profile.bad_pixels.persistence_seconds
    if seconds <= 0 or work.header.mjd_mid is None:
        return ()
    begin, end = recent_window(work.header, seconds)
    memory = context.saturation
    for frame in frames_between(
        context.database, work.header, begin, end, limit=memory.exposures, but=work.exposure_id
    ):
        if not memory.knows(frame.instrument, frame.detector, frame.mjd_mid or 0.0, frame.exptime):
            _read_again(work, context, frame)
    return memory.earlier(work.header)


def _read_again(work: Work, context: Context, frame: Frame) -> None:
    exposure = get_exposure(context.database, frame.exposure_id)
    assert exposure is not None
    path = Path(exposure.path)
    try:
        header = _header(path, context, frame.detector)
        saturated = saturated_pixels(flag_raw(read_frame(path, header)))
    except (FrameRejected, RetryLater) as error:
        work.warnings.append(f"persistence: what {path.name} saturated is not flagged: {error}")
        return
    if saturated is not None:
        context.saturation.remember(header, saturated)


def _header(path: Path, context: Context, detector: str) -> FrameHeader:
    identified = identify_file(path, list(context.profiles.values()))
    for header in identified.headers:
        if header.detector == detector:
            return header
    raise FrameRejected(f"{path.name} has no detector {detector} any more: `nightflow run {path}` reads it")

"""Is a file that is landing already as long as its own headers say, and its data those that they sum up?

The sensor asks this of every file it sees, often more than once, so the answer costs a few reads of header
blocks (a gzip file is unpacked, without keeping anything; one with check sums is read once it has its
length). Nothing else is judged: a file that is complete may still be rejected for what stands in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from nightflow.instruments.data_sums import wrong_data_sums
from nightflow.instruments.fits_layout import Layout, LayoutState, walk
from nightflow.instruments.fits_source import FileSource, GzipSource, open_source
from nightflow.instruments.image_size import oversize

__all__ = ["Answer", "Completeness", "completeness"]


class Completeness(StrEnum):
    """What the headers say of the file's length and of its sums."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    """Bytes are missing, or header and data do not have the sums of CHECKSUM and DATASUM: still being
    written, cut or damaged for good, or changed by a program that left the sums as they were (PANOPTES has
    such files). Only time can tell which."""
    UNKNOWN = "unknown"
    """The length cannot be told: no FITS file, or one that may still grow by extensions."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A verdict and the reason for it, in words."""

    state: Completeness
    reason: str


_STATES = {
    LayoutState.WHOLE: Completeness.COMPLETE,
    LayoutState.HEADER_CUT: Completeness.INCOMPLETE,
    LayoutState.DATA_CUT: Completeness.INCOMPLETE,
    LayoutState.RESERVED: Completeness.INCOMPLETE,
    LayoutState.TOO_LARGE: Completeness.UNKNOWN,
    LayoutState.NOT_FITS: Completeness.UNKNOWN,
}


def completeness(path: Path, *, max_pixels: int | None = None) -> Answer:
    """Return whether all bytes that the headers of ``path`` declare are there, and right as far as they tell.

    Parameters
    ----------
    path : Path
    max_pixels : int, optional
        Of one image; a file that claims more is not unpacked any further, its length stays unknown.

    Raises
    ------
    RetryLater
        The file cannot be opened or read.
    """
    with open_source(path) as source:
        layout = walk(
            source,
            maximum_size=source.maximum_size,
            objection=lambda extent: oversize(extent, max_pixels),
        )
        if layout.state is LayoutState.WHOLE:
            source.drain()
        return _judge(layout, source)


def _judge(layout: Layout, source: FileSource | GzipSource) -> Answer:
    if source.cut:
        return Answer(state=Completeness.INCOMPLETE, reason=source.fault)
    if source.fault:
        return Answer(state=Completeness.UNKNOWN, reason=source.fault)
    if layout.expects_more:
        return Answer(
            state=Completeness.INCOMPLETE, reason="the headers announce an HDU that is not there yet"
        )
    if layout.state is LayoutState.WHOLE:
        wrong = wrong_data_sums(source.content(), layout) if isinstance(source, FileSource) else {}
        if wrong:
            return Answer(state=Completeness.INCOMPLETE, reason="; ".join(wrong.values()))
        return Answer(
            state=Completeness.COMPLETE,
            reason=f"{len(layout.extents)} HDUs, {layout.declared} bytes, as the headers say",
        )
    return Answer(state=_STATES[layout.state], reason=layout.reason)

"""Frames that stable stars tie together, and what those say of the zero of each."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlmodel import Session, col

from nightflow.lightcurves.ensemble import FieldOffsets, field_offsets, tied
from nightflow.store.models import Measurement
from nightflow.store.statistics_frames import CameraFrames
from nightflow.store.statistics_rows import KIND, NO_USE, UsableRows, read_all_rows

__all__ = ["TiedFrames", "tied_frames"]

_REFERENCES = 80
"""Of a pointing."""
_MOST_REFERENCES = 400
"""Of pointings that overlap: the fit takes the cube of their number. Each pointing has its best ones; a patch
has no more than forty, or is so small that they share them."""
_FEWEST_REFERENCES = 10
_SAMPLE = 9
"""Frames of a pointing, spread over all, that its reference stars are looked for on."""


@dataclass(frozen=True, kw_only=True)
class TiedFrames:
    """Frames with a common zero, and what the stable stars say of each."""

    frames: NDArray[np.int64]
    """Ranks, ascending."""
    offsets: FieldOffsets
    references: NDArray[np.int64]


def tied_frames(session: Session, camera: CameraFrames, of_field: NDArray[np.int64]) -> list[TiedFrames]:
    """Return the groups of frames that stars tie together, each with offsets of its own.

    Chips side by side and fields far apart share no star: what the stars of one say holds for no other.
    """
    best = [_references(session, of_field, _sample(frames)) for frames in camera.pointings]
    every = np.unique(np.array([one for some in best for one in some], np.int64))
    setups = []
    for table in _groups(read_all_rows(session, every.tolist(), camera)):
        fewer = _thinned(best, np.unique(table.source))
        kept = table.take(np.isin(table.source, fewer)) if fewer is not None else table
        setups += [_setup(part) for part in _groups(kept)]
    return setups


def _thinned(best: list[list[int]], group: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return the best references of each pointing of a group; None where they are not too many."""
    if len(group) <= _MOST_REFERENCES:
        return None
    within = set(group.tolist())
    of_group = [some for some in best if within.intersection(some)]
    each = max(_MOST_REFERENCES // len(of_group), _FEWEST_REFERENCES)
    return np.unique(np.array([one for some in of_group for one in some[:each]], np.int64))


def _groups(table: UsableRows) -> list[UsableRows]:
    """Return the measurements of reference stars, split by what frames tie together."""
    _, frame = np.unique(table.frame, return_inverse=True)
    _, star = np.unique(table.source, return_inverse=True)
    label = tied(frame, star)
    return [table.take(label == one) for one in range(int(label.max(initial=-1)) + 1)]


def _setup(table: UsableRows) -> TiedFrames:
    frames, frame = np.unique(table.frame, return_inverse=True)
    references, star = np.unique(table.source, return_inverse=True)
    flux = np.full((len(frames), len(references)), np.nan)
    error = flux.copy()
    flux[frame, star], error[frame, star] = table.flux, table.flux_err
    offsets = field_offsets(flux, error, np.isfinite(flux))
    return TiedFrames(frames=frames, offsets=offsets, references=references[offsets.stars])


def _sample(frames: list[int]) -> list[int]:
    return [frames[int(one)] for one in np.unique(np.linspace(0, len(frames) - 1, _SAMPLE).astype(int))]


def _references(session: Session, of_field: NDArray[np.int64], frames: list[int]) -> list[int]:
    """Return the bright sources that are on most of these frames, the best first."""
    seen, light = func.count(), func.avg(col(Measurement.flux))
    rows = session.execute(
        select(col(Measurement.source_id), seen, light)
        .where(
            col(Measurement.reduction_id).in_(frames),
            col(Measurement.kind) == KIND,
            col(Measurement.source_id).is_not(None),
            col(Measurement.flags).op("&")(NO_USE) == 0,
            col(Measurement.flux) > 0,
        )
        .group_by(col(Measurement.source_id))
    ).all()
    known = np.isin([row[0] for row in rows], of_field)
    best = sorted(compress(rows, known), key=lambda row: (-row[1], -row[2], row[0]))[:_REFERENCES]
    return [int(row[0]) for row in best if row[0] is not None]

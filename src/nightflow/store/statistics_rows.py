"""The measurements that statistics rest on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlmodel import Session, col

from nightflow.flags import INCOMPLETE
from nightflow.lightcurves.variability import EDGE_FWHM
from nightflow.store.models import Frame, Measurement, Reduction
from nightflow.store.statistics_frames import CameraFrames

__all__ = ["KIND", "NO_USE", "UsableRows", "in_blocks", "read_all_rows", "read_rows_of"]

KIND = "aperture"
NO_USE = int(INCOMPLETE)
"""Flags of measurements that are left out."""
_AT_ONCE = 200
"""Sources in one statement."""


@dataclass(frozen=True, kw_only=True)
class UsableRows:
    """Usable measurements in the order of source and time; columns of equal length n."""

    source: NDArray[np.int64]
    frame: NDArray[np.int64]
    """Rank among the camera's frames."""
    mjd: NDArray[np.float64]
    bjd: NDArray[np.float64]
    flux: NDArray[np.float64]
    flux_err: NDArray[np.float64]
    mag: NDArray[np.float64]
    flags: NDArray[np.int64]
    width: NDArray[np.float64]
    """FWHM in that of the frame's stars; NaN where one is not known."""
    near_edge: NDArray[np.bool_]

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp] | slice) -> UsableRows:
        """Return some of the rows."""
        return UsableRows(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


def in_blocks(source_ids: Sequence[int], at_once: int = _AT_ONCE) -> Iterator[list[int]]:
    """Yield the numbers of sources, ascending, no more than ``at_once`` at a time."""
    ordered = sorted(source_ids)
    for start in range(0, len(ordered), at_once):
        yield ordered[start : start + at_once]


def read_all_rows(session: Session, sources: Sequence[int], camera: CameraFrames) -> UsableRows:
    """Return the rows of any number of sources, see `read_rows_of`."""
    parts = [read_rows_of(session, some, camera) for some in in_blocks(sources, camera.at_once)]
    parts = parts or [read_rows_of(session, [], camera)]
    names = UsableRows.__dataclass_fields__
    return UsableRows(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def read_rows_of(session: Session, sources: Sequence[int], camera: CameraFrames) -> UsableRows:
    """Return the rows of some sources on the frames of a camera with one filter, in one statement."""
    columns = (
        "source_id", "reduction_id", "mjd_mid", "bjd_tdb", "flux", "flux_err", "mag", "flags", "fwhm_px",
        "x", "y",
    )  # fmt: skip
    of_frame = (col(Reduction.fwhm_px), col(Frame.nx), col(Frame.ny))
    rows = session.execute(
        select(*(col(getattr(Measurement, one)) for one in columns), *of_frame)
        .join(Reduction, col(Measurement.reduction_id) == col(Reduction.id))
        .join(Frame, col(Reduction.frame_id) == col(Frame.id))
        .where(
            col(Measurement.source_id).in_(sources),
            col(Measurement.kind) == KIND,
            col(Measurement.filter) == camera.filter,
            col(Frame.instrument) == camera.instrument,
            col(Reduction.current),
            col(Measurement.flags).op("&")(NO_USE) == 0,
            col(Measurement.flux) > 0,
        )
        .order_by(col(Measurement.source_id), col(Measurement.mjd_mid))
    ).all()
    rows = sorted(
        (row for row in rows if row[1] in camera.ranks), key=lambda row: (row[0], camera.ranks[row[1]])
    )
    table = list(zip(*rows, strict=True)) or [()] * (len(columns) + len(of_frame))
    own, x, y, usual, nx, ny = (np.array(one, float) for one in table[8:])
    return UsableRows(
        source=np.array(table[0], np.int64),
        frame=np.array([camera.ranks[one] for one in table[1]], np.int64),
        mjd=np.array(table[2], float),
        bjd=np.array(table[3], float),
        flux=np.array(table[4], float),
        flux_err=np.array(table[5], float),
        mag=np.array(table[6], float),
        flags=np.array(table[7], np.int64),
        width=own / usual,
        near_edge=_from_edge(x, y, nx, ny) < EDGE_FWHM * usual,
    )


def _from_edge(
    x: NDArray[np.float64], y: NDArray[np.float64], nx: NDArray[np.float64], ny: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the distance from the nearest edge, pixels.

    The size is that of the raw frame: an edge that overscan was cut from counts as farther than it is.
    """
    return np.minimum(np.minimum(x + 0.5, nx - 0.5 - x), np.minimum(y + 0.5, ny - 0.5 - y))

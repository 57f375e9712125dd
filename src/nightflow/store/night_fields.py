"""What the store holds of a night, field by field, in an order that does not depend on what came first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from sqlalchemy import case, func, select
from sqlmodel import Session, col

from nightflow.epochs import julian_year
from nightflow.flags import Flag
from nightflow.lightcurves.associate import chords, reach
from nightflow.lightcurves.field_night import FieldNight
from nightflow.lightcurves.footprints import Footprints, footprints
from nightflow.sphere import unit_vectors
from nightflow.store.bulk import read_numbers
from nightflow.store.models import Exposure, Frame, Measurement, Reduction, is_detection

__all__ = ["ReducedFrame", "StoredField", "field_groups", "read_field", "solved_frames"]

_AT_ONCE = 10
"""Reductions in one statement."""
_CELL = 1.0 / 40.0
"""Of a frame's radius, at most; frames whose centres lie so near are of one field."""
_PULL = 0.15
"""Part of the FWHM by which a neighbour may pull a centroid."""


@dataclass(frozen=True, kw_only=True)
class ReducedFrame:
    """A light with a place on the sky, and its current reduction.

    Attributes
    ----------
    reduction_id : int
    sha256, detector, instrument, filter : str
    mjd_mid : float
    exptime : float
        Seconds.
    ra, dec : float
        Of its middle, ICRS degrees.
    scale : float
        Arcsec a pixel.
    rotation : float or None
        Position angle of +y, degrees.
    shape : tuple of int
        Rows, columns.
    fwhm, rms : float or None
        Of the stars, pixels; of the WCS, radial, arcsec.
    """

    reduction_id: int
    sha256: str
    detector: str
    instrument: str
    filter: str
    mjd_mid: float
    exptime: float
    ra: float
    dec: float
    scale: float
    rotation: float | None
    shape: tuple[int, int]
    fwhm: float | None
    rms: float | None

    @property
    def radius(self) -> float:
        """Arcsec from the middle to a corner."""
        return 0.5 * float(np.hypot(*self.shape)) * self.scale

    @property
    def area(self) -> float:
        """Square arcsec."""
        return self.shape[0] * self.shape[1] * self.scale**2

    @property
    def year(self) -> float:
        """Julian year."""
        return julian_year(self.mjd_mid)

    def reach(self, position_err: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return how far from its source each detection may lie, arcsec."""
        return reach(self.scale, self.fwhm, self.rms, position_err)


@dataclass(frozen=True, kw_only=True)
class StoredField:
    """The detections of one field in one night; columns of equal length n.

    Attributes
    ----------
    frames : tuple of ReducedFrame
        In the order of time, content and detector.
    night : FieldNight
        The detections, in the order of the frames and their numbers.
    number : ndarray of int32, shape (n,)
        Detection number on the frame.
    source : ndarray of int64, shape (n,)
        Number of the source that it belongs to now, 0 for none.
    """

    frames: tuple[ReducedFrame, ...]
    night: FieldNight
    number: NDArray[np.int32]
    source: NDArray[np.int64]

    @property
    def epoch(self) -> float:
        """Julian year of the middle of the field's night."""
        return 0.5 * (self.frames[0].year + self.frames[-1].year)

    @property
    def mjd_zero(self) -> float:
        """UTC at hour 0 of `night`."""
        return self.frames[0].mjd_mid

    @property
    def radius(self) -> float:
        """Arcsec between detections of one source."""
        return float(np.median([frame.reach(np.zeros(1))[0] for frame in self.frames]))


def solved_frames(session: Session, night: str) -> list[ReducedFrame]:
    """Return the lights of a night whose current reduction has a WCS."""
    rows = session.execute(
        select(
            col(Reduction.id),
            col(Exposure.sha256),
            col(Frame.detector),
            col(Frame.instrument),
            col(Frame.filter),
            col(Frame.mjd_mid),
            col(Frame.exptime),
            col(Reduction.ra_center),
            col(Reduction.dec_center),
            col(Reduction.scale),
            col(Reduction.rotation),
            col(Frame.ny),
            col(Frame.nx),
            col(Reduction.fwhm_px),
            col(Reduction.wcs_rms_arcsec),
        )
        .join(Frame, col(Reduction.frame_id) == col(Frame.id))
        .join(Exposure, col(Frame.exposure_id) == col(Exposure.id))
        .where(
            col(Frame.night) == night,
            col(Reduction.current),
            col(Frame.mjd_mid).is_not(None),
            col(Reduction.ra_center).is_not(None),
            col(Reduction.scale).is_not(None),
        )
        .order_by(col(Frame.mjd_mid), col(Exposure.sha256), col(Frame.detector))
    ).all()
    return [_frame(row) for row in rows]


def _frame(values: Any) -> ReducedFrame:
    return ReducedFrame(
        reduction_id=values[0], sha256=values[1], detector=values[2], instrument=values[3], filter=values[4],
        mjd_mid=values[5], exptime=values[6], ra=values[7], dec=values[8], scale=values[9],
        rotation=values[10], shape=(values[11], values[12]), fwhm=values[13], rms=values[14],
    )  # fmt: skip


def field_groups(frames: Sequence[ReducedFrame]) -> list[list[ReducedFrame]]:
    """Return the frames that see the same piece of sky, directly or by way of others, each group in order.

    Frames whose circles touch do, and some that miss each other by less than a tenth of a radius: those in
    one small cell of the sky stand as one, for ten thousand frames of a field make too many pairs.
    """
    if not frames:
        return []
    cells = _cells(frames)
    reach = float(2.0 * chords(cells.radius).max() + cells.diagonal.max())
    pairs = cKDTree(cells.middle).query_pairs(reach, output_type="ndarray")
    apart = np.linalg.norm(cells.middle[pairs[:, 0]] - cells.middle[pairs[:, 1]], axis=1)
    # No frame is farther from the middle of its cell than half of the diagonal.
    nearest = apart - 0.5 * cells.diagonal[pairs].sum(axis=1)
    touching = pairs[nearest <= chords(cells.radius[pairs].sum(axis=1))]
    edges = np.ones(len(touching), bool), (touching[:, 0], touching[:, 1])
    labels = connected_components(coo_array(edges, shape=(len(cells.radius),) * 2), directed=False)[1]
    groups: dict[int, list[ReducedFrame]] = {}
    for frame, label in zip(frames, labels[cells.of_frame], strict=True):
        groups.setdefault(int(label), []).append(frame)
    return list(groups.values())


@dataclass(frozen=True, kw_only=True)
class _Cells:
    """Small cubes that hold the centres of frames of about one size."""

    of_frame: NDArray[np.intp]
    middle: NDArray[np.float64]
    diagonal: NDArray[np.float64]
    radius: NDArray[np.float64]
    """Of the largest frame in it, arcsec."""


def _cells(frames: Sequence[ReducedFrame]) -> _Cells:
    centres = unit_vectors(np.array([one.ra for one in frames]), np.array([one.dec for one in frames]))
    radii = np.array([one.radius for one in frames])
    # Next to frames of a wide field those of a narrow one must not make the cells small.
    size = np.floor(np.log2(radii))
    width = _CELL * chords(2.0**size)
    key = np.column_stack([size, np.floor(centres / width[:, None])])
    _, first, of_frame = np.unique(key, axis=0, return_index=True, return_inverse=True)
    of_frame = of_frame.reshape(-1)
    radius = np.zeros(len(first))
    np.maximum.at(radius, of_frame, radii)
    middle = (key[first, 1:] + 0.5) * width[first, None]
    return _Cells(of_frame=of_frame, middle=middle, diagonal=np.sqrt(3.0) * width[first], radius=radius)


def read_field(session: Session, frames: Sequence[ReducedFrame]) -> StoredField:
    """Read the detections of these frames that have a place on the sky.

    Parameters
    ----------
    frames : sequence of ReducedFrame
        One of `field_groups`.
    """
    start = frames[0].mjd_mid
    fwhm = np.array([np.nan if one.fwhm is None else one.fwhm for one in frames], np.float32)
    parts = [_columns(session, frames, first) for first in range(0, len(frames), _AT_ONCE)]
    table = {name: np.concatenate([part.pop(name) for part in parts]) for name in list(parts[0])}
    frame = table["frame"]
    night = FieldNight(
        frame=frame,
        hours=np.array([(one.mjd_mid - start) * 24.0 for one in frames])[frame],
        ra=table["ra"],
        dec=table["dec"],
        x=table["x"],
        y=table["y"],
        reach=table["reach"],
        position_err=np.nan_to_num(table["position_err"], copy=False),
        pull=_pull(table["flags"], np.array([_fwhm(one) for one in frames], np.float32)[frame]),
        sharpness=table["fwhm_px"] / fwhm[frame],
        exposure=np.array([_exposure(one) for one in frames], np.float32)[frame],
        mag=table["mag"],
        flags=table["flags"],
        n_frames=len(frames),
        area=float(np.median([one.area for one in frames])),
        scale=float(np.median([one.scale for one in frames])),
        footprints=_footprints(frames),
    )
    return StoredField(frames=tuple(frames), night=night, number=table["number"], source=table["source_id"])


def _footprints(frames: Sequence[ReducedFrame]) -> Footprints:
    """Return what the frames cover; one whose rotation is not known is taken to stand upright."""
    return footprints(
        hours=np.array([(one.mjd_mid - frames[0].mjd_mid) * 24.0 for one in frames]),
        ra=np.array([one.ra for one in frames]),
        dec=np.array([one.dec for one in frames]),
        rotation=np.array([one.rotation or 0.0 for one in frames]),
        height=np.array([one.shape[0] * one.scale for one in frames]),
        width=np.array([one.shape[1] * one.scale for one in frames]),
    )


def _pull(flags: NDArray[np.integer], fwhm: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where((flags & int(Flag.NEIGHBOUR)) != 0, np.float32(_PULL) * fwhm, np.float32(0.0))


def _fwhm(frame: ReducedFrame) -> float:
    """Return the FWHM in arcsec; that of a sharp frame where it is not known."""
    return (frame.fwhm or 2.0) * frame.scale


def _exposure(frame: ReducedFrame) -> float:
    """Return the exposure in hours over the FWHM in arcsec."""
    return frame.exptime / 3600.0 / _fwhm(frame)


_WHOLE = ("reduction_id", "number", "source_id", "flags")
_DECIMAL = ("flux", "flux_err", "x", "y", "ra", "dec", "position_err", "fwhm_px")
_UNKNOWN = -1e30
"""Instead of null, which an array of numbers cannot hold."""


def _columns(session: Session, frames: Sequence[ReducedFrame], first: int) -> dict[str, NDArray[Any]]:
    """Return the detections of some frames, one row each, in the order of frames and numbers.

    Compact, for a night may have ten million: only the place on the sky needs more than seven digits.
    """
    some = frames[first : first + _AT_ONCE]
    names = (*_WHOLE, *_DECIMAL)
    statement = select(
        *(func.coalesce(col(getattr(Measurement, name)), 0) for name in _WHOLE),
        *(func.coalesce(col(getattr(Measurement, name)), _UNKNOWN) for name in _DECIMAL),
        case((col(Measurement.kind) == "aperture", 0), else_=1),
    ).where(
        col(Measurement.reduction_id).in_([one.reduction_id for one in some]),
        col(Measurement.mjd_mid).between(some[0].mjd_mid, some[-1].mjd_mid),
        col(Measurement.ra).is_not(None),
        is_detection(),
    )
    values = read_numbers(session, statement)
    ids = np.array([one.reduction_id for one in some])
    by_id = np.argsort(ids)
    local = by_id[np.searchsorted(ids[by_id], values[0].astype(np.int64))]
    order = np.lexsort((values[-1], values[1], local))
    # The kinds of a detection share place and source: the first of them stands for all.
    key = np.column_stack([local[order], values[1][order]])
    order = order[np.concatenate([[True], (np.diff(key, axis=0) != 0).any(axis=1)])] if len(order) else order
    table = {name: column[order] for name, column in zip(names, values, strict=False)}
    for name in _DECIMAL:
        table[name] = np.where(table[name] == _UNKNOWN, np.nan, table[name])
    local = local[order]
    bounds = np.searchsorted(local, np.arange(len(some) + 1))
    reached = [
        one.reach(table["position_err"][a:b]) for one, (a, b) in zip(some, pairwise(bounds), strict=True)
    ]
    light = np.where(table["flux"] > 0, table["flux"], np.maximum(table["flux_err"], 1e-30))
    small = {name: table[name].astype(np.float32) for name in ("x", "y", "position_err", "fwhm_px")}
    return small | {
        "frame": (first + local).astype(np.int32),
        "number": table["number"].astype(np.int32),
        "flags": table["flags"].astype(np.int32),
        # A source number has 53 bits, so a double holds it.
        "source_id": table["source_id"].astype(np.int64),
        "ra": table["ra"],
        "dec": table["dec"],
        "reach": np.concatenate(reached).astype(np.float32),
        "mag": (-2.5 * np.log10(light)).astype(np.float32),
    }

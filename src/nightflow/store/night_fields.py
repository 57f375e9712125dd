"""What the store holds of a night, field by field, in an order that does not depend on what came first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from sqlalchemy import Row, select
from sqlmodel import Session, col

from nightflow.flags import Flag
from nightflow.lightcurves.associate import reach, unit_vectors
from nightflow.lightcurves.cluster import chord
from nightflow.lightcurves.field_night import FieldNight
from nightflow.lightcurves.footprints import Footprints, footprints
from nightflow.store.models import Exposure, Frame, Measurement, Reduction, is_detection

__all__ = ["ReducedFrame", "StoredField", "field_groups", "read_field", "solved_frames"]

_AT_ONCE = 50
"""Reductions in one statement."""
_MJD_2000 = 51544.5
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
        return 2000.0 + (self.mjd_mid - _MJD_2000) / 365.25

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
    number : ndarray of int64, shape (n,)
        Detection number on the frame.
    source : ndarray of int64, shape (n,)
        Number of the source that it belongs to now, 0 for none.
    """

    frames: tuple[ReducedFrame, ...]
    night: FieldNight
    number: NDArray[np.int64]
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
    """Return the frames that see the same piece of sky, directly or by way of others, each group in order."""
    if not frames:
        return []
    centres = unit_vectors(np.array([one.ra for one in frames]), np.array([one.dec for one in frames]))
    radii = np.array([one.radius for one in frames])
    tree = cKDTree(centres)
    pairs = tree.query_pairs(chord(min(2.0 * float(radii.max()), 180.0 * 3600.0)), output_type="ndarray")
    apart = np.linalg.norm(centres[pairs[:, 0]] - centres[pairs[:, 1]], axis=1)
    touching = pairs[apart <= [chord(one) for one in radii[pairs].sum(axis=1)]]
    edges = np.ones(len(touching), bool), (touching[:, 0], touching[:, 1])
    labels = connected_components(coo_array(edges, shape=(len(frames),) * 2), directed=False)[1]
    groups: dict[int, list[ReducedFrame]] = {}
    for frame, label in zip(frames, labels, strict=True):
        groups.setdefault(int(label), []).append(frame)
    return list(groups.values())


def read_field(session: Session, frames: Sequence[ReducedFrame]) -> StoredField:
    """Read the detections of these frames that have a place on the sky.

    Parameters
    ----------
    frames : sequence of ReducedFrame
        One of `field_groups`.
    """
    index = {frame.reduction_id: number for number, frame in enumerate(frames)}
    parts = [_columns(part) for part in _detections(session, frames)]
    table = [np.concatenate(one) for one in zip(*parts, strict=True)] or [np.empty(0)] * len(_NAMES)
    values = dict(zip(_NAMES, table, strict=True))
    frame = np.array([index[one] for one in values["reduction_id"].astype(np.int64).tolist()], np.intp)
    order = np.lexsort((values["number"], frame))
    values = {name: column[order] for name, column in values.items()}
    frame = frame[order]
    start = frames[0].mjd_mid
    fwhm = np.array([np.nan if one.fwhm is None else one.fwhm for one in frames])
    bounds = np.searchsorted(frame, np.arange(len(frames) + 1))
    reached = np.concatenate(
        [one.reach(values["position_err"][a:b]) for one, (a, b) in zip(frames, pairwise(bounds), strict=True)]
    )
    light = np.where(values["flux"] > 0, values["flux"], np.maximum(values["flux_err"], 1e-30))
    night = FieldNight(
        frame=frame,
        hours=np.array([(one.mjd_mid - start) * 24.0 for one in frames])[frame],
        ra=values["ra"],
        dec=values["dec"],
        x=values["x"],
        y=values["y"],
        reach=reached,
        position_err=np.nan_to_num(values["position_err"]),
        pull=_pull(values, np.array([_fwhm(one) for one in frames])[frame]),
        sharpness=values["fwhm_px"] / fwhm[frame],
        exposure=np.array([_exposure(one) for one in frames])[frame],
        mag=-2.5 * np.log10(light),
        flags=values["flags"].astype(np.int64),
        n_frames=len(frames),
        area=float(np.median([one.area for one in frames])),
        footprints=_footprints(frames),
    )
    return StoredField(
        frames=tuple(frames),
        night=night,
        number=values["number"].astype(np.int64),
        source=values["source_id"].astype(np.int64),
    )


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


def _pull(values: dict[str, NDArray[np.float64]], fwhm: NDArray[np.float64]) -> NDArray[np.float64]:
    has_neighbour = (values["flags"].astype(np.int64) & int(Flag.NEIGHBOUR)) != 0
    return np.where(has_neighbour, _PULL * fwhm, 0.0)


def _fwhm(frame: ReducedFrame) -> float:
    """Return the FWHM in arcsec; that of a sharp frame where it is not known."""
    return (frame.fwhm or 2.0) * frame.scale


def _exposure(frame: ReducedFrame) -> float:
    """Return the exposure in hours over the FWHM in arcsec."""
    return frame.exptime / 3600.0 / _fwhm(frame)


_NAMES = (
    "reduction_id", "number", "source_id", "flux", "flux_err", "x", "y", "ra", "dec", "position_err",
    "fwhm_px", "flags",
)  # fmt: skip


def _detections(session: Session, frames: Sequence[ReducedFrame]) -> Iterator[list[Row[Any]]]:
    """Yield rows, one a detection: its kinds share place and source."""
    for start in range(0, len(frames), _AT_ONCE):
        some = frames[start : start + _AT_ONCE]
        rows = session.execute(
            select(*(col(getattr(Measurement, name)) for name in _NAMES))
            .where(
                col(Measurement.reduction_id).in_([one.reduction_id for one in some]),
                col(Measurement.mjd_mid).between(some[0].mjd_mid, some[-1].mjd_mid),
                col(Measurement.ra).is_not(None),
                is_detection(),
            )
            .order_by(col(Measurement.reduction_id), col(Measurement.number), col(Measurement.kind))
        ).all()
        yield [row for row, before in zip(rows, [None, *rows], strict=False) if _is_first(row, before)]


def _is_first(row: Row[Any], before: Row[Any] | None) -> bool:
    return before is None or tuple(row[:2]) != tuple(before[:2])


def _columns(rows: list[Row[Any]]) -> list[NDArray[np.float64]]:
    """Return columns; a source number has 53 bits, so a double holds it."""
    table = list(zip(*rows, strict=True)) or [()] * len(_NAMES)
    plain = [np.array(values, dtype=np.float64) for values in table]
    plain[_NAMES.index("source_id")] = np.nan_to_num(plain[_NAMES.index("source_id")])
    return plain

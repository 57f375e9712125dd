"""Which frames the statistics of a field rest on: by camera, filter and pointing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlmodel import Session, col

from nightflow.lightcurves.associate import chords
from nightflow.sphere import unit_vectors
from nightflow.store.models import Exposure, Frame, Reduction
from nightflow.store.patches import SkyFrames

__all__ = ["CameraFrames", "FieldFrames", "cameras_of", "field_frames"]

_AT_ONCE = 200
"""Sources that are read in one go, at most."""
_ROWS_AT_ONCE = 200_000
"""Measurements, about: the memory that it takes does not grow with the number of nights."""


@dataclass(frozen=True, kw_only=True)
class CameraFrames:
    """The frames of one camera with one filter that reach to a field, by pointing."""

    instrument: str
    filter: str
    pointings: list[list[int]]
    """Reductions; each chip has pointings of its own."""
    ranks: dict[int, int]
    """Reduction -> place among all frames by time and content, for the order in which they came is chance."""

    @property
    def at_once(self) -> int:
        """Sources that may be read in one go."""
        return int(np.clip(_ROWS_AT_ONCE // max(map(len, self.pointings)), 1, _AT_ONCE))


@dataclass(frozen=True, kw_only=True)
class FieldFrames:
    """The current frames with a WCS that may reach to a field, in an order that arrival has no part in."""

    rows: list[Any]
    """Of instrument, filter, detector, reduction; and more."""
    sky: SkyFrames


def field_frames(session: Session, places: NDArray[np.float64]) -> FieldFrames:
    """Read the frames whose declinations may reach to these places."""
    rows = list(session.execute(_frames_between(*_declinations(places))).all()) if len(places) else []
    ra, dec, scale, ny, nx = np.array([tuple(row[4:]) for row in rows], float).reshape(-1, 5).T
    cameras = {one: number for number, one in enumerate(dict.fromkeys((row[0], row[1]) for row in rows))}
    chips = {one: number for number, one in enumerate(sorted({row[2] for row in rows}))}
    sky = SkyFrames(
        center=unit_vectors(ra, dec),
        radius=chords(0.5 * np.hypot(ny, nx) * scale),
        camera=np.array([cameras[row[0], row[1]] for row in rows], np.intp),
        chip=np.array([chips[row[2]] for row in rows], np.intp),
    )
    return FieldFrames(rows=rows, sky=sky)


def _declinations(places: NDArray[np.float64]) -> tuple[float, float]:
    """Return the lowest and the highest declination of places, degrees."""
    dec = np.degrees(np.arcsin(np.clip(places[:, 2], -1.0, 1.0)))
    return float(dec.min()), float(dec.max())


def _frames_between(lowest: float, highest: float) -> Any:
    """Return the statement for frames that may see something between two declinations."""
    # No corner is farther from the middle than half of both sides together; degrees.
    reach = col(Reduction.scale) * (col(Frame.ny) + col(Frame.nx)) / 7200.0
    return (
        select(
            col(Frame.instrument), col(Frame.filter), col(Frame.detector), col(Reduction.id),
            col(Reduction.ra_center), col(Reduction.dec_center), col(Reduction.scale),
            col(Frame.ny), col(Frame.nx),
        )
        .join(Reduction, col(Reduction.frame_id) == col(Frame.id))
        .join(Exposure, col(Exposure.id) == col(Frame.exposure_id))
        .where(
            col(Reduction.current),
            col(Reduction.ra_center).is_not(None),
            col(Reduction.dec_center) + reach >= lowest,
            col(Reduction.dec_center) - reach <= highest,
        )
        .order_by(
            col(Frame.instrument), col(Frame.filter), col(Frame.mjd_mid), col(Exposure.sha256),
            col(Frame.detector),
        )
    )  # fmt: skip


def cameras_of(field: FieldFrames, places: NDArray[np.float64]) -> list[CameraFrames]:
    """Return the cameras and filters that saw a patch, with all their current frames that reach to it."""
    near = field.sky.reaching(places)
    if not len(near):
        return []
    found: dict[tuple[str, str], dict[tuple[Any, ...], list[int]]] = {}
    ranks: dict[int, int] = {}
    for one, pointing in zip(near.tolist(), field.sky.pointings(near).tolist(), strict=True):
        instrument, name, _, reduction = field.rows[one][:4]
        of_camera = found.setdefault((instrument, name), {})
        of_camera.setdefault(tuple(pointing), []).append(int(reduction))
        ranks[int(reduction)] = one
    return [
        CameraFrames(instrument=instrument, filter=name, pointings=list(pointings.values()), ranks=ranks)
        for (instrument, name), pointings in found.items()
    ]

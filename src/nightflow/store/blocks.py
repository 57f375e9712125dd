"""What the ledger knows of a night's lights and the masters that they were reduced with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import exists, func
from sqlmodel import col, or_, select

from nightflow.store.database import Database
from nightflow.store.masters import CalibrationFrame
from nightflow.store.models import Exposure, Frame, Reduction, State
from nightflow.store.narrow import landed_after, unindexed

__all__ = [
    "ReducedLight",
    "SkyLight",
    "block_lights",
    "block_masters",
    "first_chip",
    "last_light_received",
    "last_received",
    "night_lights",
    "reduced_lights",
]

ReducedLight = tuple[Frame, Reduction]


def block_masters(
    database: Database, instrument: str, detector: str, filter_name: str, night: str
) -> list[dict[str, str]]:
    """Return kind -> fingerprint of the current reductions of a block's lights, the last made first."""
    statement = (
        select(Reduction.masters)
        .join(Frame, col(Reduction.frame_id) == col(Frame.id))
        .where(
            col(Reduction.current),
            Frame.kind == "light",
            Frame.instrument == instrument,
            Frame.detector == detector,
            Frame.filter == filter_name,
            Frame.night == night,
        )
        .order_by(col(Reduction.created_at).desc(), col(Reduction.id).desc())
    )
    with database.session() as session:
        return [dict(one) for one in session.exec(statement).all()]


def last_light_received(database: Database, instrument: str, night: str) -> datetime | None:
    """Return when the last light of a camera's night landed; None where there is none."""
    statement = (
        select(func.max(Exposure.received_at))
        .join(Frame, col(Frame.exposure_id) == col(Exposure.id))
        .where(Frame.kind == "light", Frame.instrument == instrument, Frame.night == night)
    )
    with database.session() as session:
        return session.exec(statement).one()


def reduced_lights(
    database: Database, *, instrument: str | None = None, received_after: datetime | None = None
) -> list[ReducedLight]:
    """Return the lights that are done with their current reductions, ordered by (mjd_mid, id).

    Parameters
    ----------
    instrument : str, optional
        Only of this camera.
    received_after : datetime, optional
        Only those that landed later.
    """
    kind = col(Frame.kind) if received_after is None else unindexed(Frame.kind)
    statement = (
        select(Frame, Reduction)
        .join(Reduction, col(Reduction.frame_id) == col(Frame.id))
        .join(Exposure, col(Frame.exposure_id) == col(Exposure.id))
        .where(
            col(Reduction.current),
            kind == "light",
            Frame.state == State.DONE,
            unindexed(Exposure.state) == State.DONE,
        )
        .order_by(col(Frame.mjd_mid), col(Frame.id))
    )
    if instrument is not None:
        statement = statement.where(Frame.instrument == instrument)
    if received_after is not None:
        statement = statement.where(landed_after(received_after))
    with database.session() as session:
        return [(frame, reduction) for frame, reduction in session.exec(statement).all()]


@dataclass(frozen=True, kw_only=True)
class SkyLight(CalibrationFrame):
    """A light that a sky master may be made of.

    Attributes
    ----------
    ra, dec : float or None
        Degrees, of its centre where it is solved, else of the telescope.
    """

    ra: float | None
    dec: float | None


def night_lights(database: Database, instrument: str, night: str) -> list[SkyLight]:
    """Return the usable lights of a camera's night, ordered by (mjd_mid, sha256, detector).

    Usable are those that are done, and those that wait for a calibration, perhaps for what is made of them.
    """
    waits = (Frame.state == State.HELD) & (Exposure.waits_for == "calibration")
    statement = (
        select(Frame, Exposure, Reduction)
        .join(Exposure, col(Frame.exposure_id) == col(Exposure.id))
        .join(Reduction, (col(Reduction.frame_id) == col(Frame.id)) & col(Reduction.current), isouter=True)
        .where(
            Frame.kind == "light",
            Frame.instrument == instrument,
            Frame.night == night,
            or_(Frame.state == State.DONE, waits),
        )
        .order_by(col(Frame.mjd_mid), col(Exposure.sha256), col(Frame.detector))
    )
    with database.session() as session:
        return [_sky_light(*row) for row in session.exec(statement).all()]


def block_lights(database: Database, instrument: str, night: str | None = None) -> list[Frame]:
    """Return one light, the first, of each block (night, detector, filter) of a camera, in order of time."""
    lights = (
        select(func.min(Frame.id))
        .where(Frame.kind == "light", Frame.instrument == instrument, Frame.night != "")
        .group_by(col(Frame.night), col(Frame.detector), col(Frame.filter))
    )
    if night is not None:
        lights = lights.where(Frame.night == night)
    chosen = select(Frame).where(col(Frame.id).in_(lights))
    with database.session() as session:
        return list(session.exec(chosen.order_by(col(Frame.mjd_mid), col(Frame.id))).all())


def first_chip(database: Database, light: CalibrationFrame) -> CalibrationFrame:
    """Return the frame of the same exposure whose detector comes first by name."""
    statement = (
        select(Frame)
        .where(Frame.exposure_id == light.frame.exposure_id)
        .order_by(col(Frame.detector), col(Frame.id))
    )
    with database.session() as session:
        first = session.exec(statement).first()
    return light if first is None else replace(light, frame=first)


def last_received(database: Database, instrument: str) -> datetime | None:
    """Return when the last frame of a camera landed, of whatever kind; None where there is none."""
    of_camera = exists().where(
        col(Frame.exposure_id) == col(Exposure.id), col(Frame.instrument) == instrument
    )
    # From the newest back: it is among the last, and all frames of the camera are many.
    statement = select(Exposure.received_at).where(of_camera).order_by(col(Exposure.received_at).desc())
    with database.session() as session:
        return session.exec(statement.limit(1)).first()


def _sky_light(frame: Frame, exposure: Exposure, reduction: Reduction | None) -> SkyLight:
    solved = reduction is not None and reduction.ra_center is not None
    return SkyLight(
        frame=frame,
        path=exposure.path,
        sha256=exposure.sha256,
        received_at=exposure.received_at,
        ra=reduction.ra_center if solved and reduction is not None else frame.ra,
        dec=reduction.dec_center if solved and reduction is not None else frame.dec,
    )

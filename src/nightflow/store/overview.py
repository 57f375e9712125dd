"""The state of things, for `status`, `frames`, `explain` and `retry`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, exists, func, or_
from sqlmodel import Session, col, select

from nightflow.file_names import as_text
from nightflow.store.database import Database
from nightflow.store.leases import waits_since
from nightflow.store.ledger import STORE
from nightflow.store.models import Exposure, Frame, Measurement, Reduction, State, is_detection, plain_text
from nightflow.store.narrow import landed_after

__all__ = [
    "FRAME_COLUMNS",
    "RecentZeroPoint",
    "Waiting",
    "counts",
    "current_reduction",
    "done_last",
    "exposure_paths",
    "failed_since",
    "find_exposures",
    "flag_counts",
    "frame_rows",
    "get_exposure",
    "known_exposure",
    "known_paths",
    "newest_exposure",
    "nights",
    "oldest_waiting",
    "queue_length",
    "reason_without_path",
    "reductions_of",
    "unconcluded_nights",
    "waiting_of_night",
    "zero_points_since",
]

FRAME_COLUMNS = (
    "path", "hdu", "detector", "kind", "object", "filter", "exptime", "mjd_mid", "night", "airmass", "state",
    "reason", "received_at", "done_at", "fwhm_px", "ellipticity", "sky", "n_sources", "n_cosmic",
    "wcs_backend", "wcs_quality", "wcs_rms_arcsec", "wcs_heldout_rms_arcsec", "wcs_n_matched", "ra_center",
    "dec_center", "scale", "rotation", "parity", "zp", "zp_adu", "zp_err", "zp_scatter", "zp_n_stars",
    "zp_catalog", "mag_system", "color_term", "depth_5sigma", "masters", "seconds", "seconds_wcs", "version",
    "instrument", "date_obs", "ny", "nx", "ccd_temp", "gain", "width_deg", "height_deg", "fwhm_arcsec",
    "fwhm_err_px", "n_fwhm_stars", "trailing", "trailing_angle", "sky_rms", "threshold", "n_photometry",
    "n_saturated_pixels", "n_saturated_sources", "adu_rate_brightest", "adu_rate_median",
    "adu_rate_faintest", "grade", "grade_reason", "color_term_err", "zp_origin",
    "wcs_n_expected", "wcs_chance_matches", "wcs_log_false_alarm", "wcs_corner_rms_arcsec",
    "wcs_corner_err_arcsec", "wcs_distortion", "hour_angle",
)  # fmt: skip
"""Columns of `frame_rows`, in order."""

_FROM_FRAME = (
    "hdu", "detector", "kind", "object", "filter", "exptime", "mjd_mid", "night", "airmass", "instrument",
    "date_obs", "ny", "nx", "ccd_temp",
)  # fmt: skip
_FROM_REDUCTION = (
    *FRAME_COLUMNS[FRAME_COLUMNS.index("fwhm_px") : FRAME_COLUMNS.index("depth_5sigma") + 1],
    "gain", "fwhm_err_px", "n_fwhm_stars", *FRAME_COLUMNS[FRAME_COLUMNS.index("trailing") :],
)  # fmt: skip
_MASTER_ORDER = ("bias", "dark", "flat", "illumination", "fringe")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_AT_ONCE = 500
"""Exposures that one question names."""


def counts(database: Database, exposure_ids: Sequence[int] | None = None) -> dict[State, int]:
    """Return the number of exposures, of all or of these, in each state, zeros included."""
    statement = select(Exposure.state, func.count()).group_by(col(Exposure.state))
    if exposure_ids is None:
        statements = [statement]
    else:
        blocks = (exposure_ids[at : at + _AT_ONCE] for at in range(0, len(exposure_ids), _AT_ONCE))
        statements = [statement.where(col(Exposure.id).in_(block)) for block in blocks]
    found: Counter[State] = Counter()
    with database.session() as session:
        for one in statements:
            for state, number in session.exec(one).all():
                found[State(state)] += number
    return {state: found[state] for state in State}


def queue_length(database: Database) -> int:
    """Return how many exposures are waiting to be reduced or being reduced."""
    now = counts(database)
    return now[State.RECEIVED] + now[State.REDUCING]


def done_last(database: Database, number: int) -> list[int]:
    """Return the exposures that were done last, the oldest of them first."""
    done = select(Exposure.id).where(Exposure.state == State.DONE)
    newest = done.order_by(col(Exposure.done_at).desc(), col(Exposure.id).desc()).limit(number)
    with database.session() as session:
        return [exposure_id or 0 for exposure_id in session.exec(newest).all()][::-1]


def reason_without_path(exposure: Exposure) -> str:
    """Return the reason of an exposure, for where its path stands beside: most reasons name the file, too."""
    return exposure.reason.replace(f"{exposure.path}: ", "")


def failed_since(database: Database, since: datetime) -> list[Exposure]:
    """Return the exposures that have failed after a moment, in the order in which they did.

    Also those that wait, since then, for a damaged store: a person has to mend it.
    """
    waits = and_(col(Exposure.state) == State.HELD, col(Exposure.waits_for) == STORE)
    failed = select(Exposure).where(
        or_(col(Exposure.state) == State.FAILED, waits), col(Exposure.done_at) > since
    )
    with database.session() as session:
        return list(session.exec(failed.order_by(col(Exposure.done_at), col(Exposure.id))).all())


@dataclass(frozen=True, kw_only=True)
class RecentZeroPoint:
    """The zero point of a frame.

    Attributes
    ----------
    reduction_id : int
    instrument, detector, filter, path : str
    zp : float
        Magnitude of 1 electron/s.
    made_at : datetime
        When the frame was reduced.
    """

    reduction_id: int
    instrument: str
    detector: str
    filter: str
    path: str
    zp: float
    made_at: datetime


def zero_points_since(database: Database, since: datetime) -> list[RecentZeroPoint]:
    """Return the zero points of the frames that landed after a moment, in the order of their exposures."""
    statement = (
        select(Reduction, Frame, Exposure)
        .join(Frame, col(Reduction.frame_id) == col(Frame.id))
        .join(Exposure, col(Frame.exposure_id) == col(Exposure.id))
        .where(col(Reduction.current), col(Reduction.zp).is_not(None), landed_after(since))
        .order_by(col(Frame.mjd_mid), col(Reduction.id))
    )
    with database.session() as session:
        return [
            RecentZeroPoint(
                reduction_id=reduction.id or 0,
                instrument=frame.instrument,
                detector=frame.detector,
                filter=frame.filter,
                path=exposure.path,
                zp=reduction.zp,
                made_at=reduction.created_at,
            )
            for reduction, frame, exposure in session.exec(statement).all()
            if reduction.zp is not None
        ]


def known_paths(database: Database, paths: Collection[str]) -> set[str]:
    """Return which of these paths were received as raw frames."""
    asked = [as_text(path) for path in paths]
    known: set[str] = set()
    with database.session() as session:
        for start in range(0, len(asked), _AT_ONCE):
            part = asked[start : start + _AT_ONCE]
            known.update(session.exec(select(Exposure.path).where(col(Exposure.path).in_(part))).all())
    return {path for path in paths if as_text(path) in known}


def newest_exposure(database: Database) -> Exposure | None:
    """Return the exposure that was received last; None where there is none."""
    with database.session() as session:
        received = select(Exposure).order_by(col(Exposure.received_at).desc(), col(Exposure.id).desc())
        return session.exec(received.limit(1)).first()


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """An exposure that waits, or is in work.

    Attributes
    ----------
    exposure : Exposure
    since : datetime or None
        When it was queued, or was due again; None for one in work, of which the ledger does not tell: it may
        have been held or done in between.
    """

    exposure: Exposure
    since: datetime | None


def oldest_waiting(database: Database) -> Waiting | None:
    """Return the exposure that has been queued for the longest time, else one in work; None where none is."""
    queued = case((col(Exposure.state) == State.RECEIVED, waits_since()))
    waiting = select(Exposure, queued).where(col(Exposure.state).in_((State.RECEIVED, State.REDUCING)))
    oldest = waiting.order_by(queued.is_(None), queued, col(Exposure.id)).limit(1)
    with database.session() as session:
        found = session.exec(oldest).first()
    return None if found is None else Waiting(exposure=found[0], since=found[1])


def get_exposure(database: Database, exposure_id: int) -> Exposure | None:
    """Return one exposure."""
    with database.session() as session:
        return session.get(Exposure, exposure_id)


def known_exposure(database: Database, exposure_id: int) -> Exposure:
    """Return one exposure.

    Raises
    ------
    KeyError
        The ledger has no such exposure.
    """
    exposure = get_exposure(database, exposure_id)
    if exposure is None:
        raise KeyError(f"exposure {exposure_id} is not in the ledger {database.shown}")
    return exposure


def find_exposures(database: Database, name: str) -> list[Exposure]:
    """Return the exposures that ``name`` means: by path, by file name, by number, else with it in the path.

    Parameters
    ----------
    name : str
        What a person types: a path, a file name, the number of an exposure, or a part of a path. It is text;
        no character has a meaning.
    """
    name = plain_text(name)
    path = col(Exposure.path)
    # "12" is a number; "0012" is a part of a file's name.
    number = int(name) if _NUMBER.fullmatch(name) else -1
    meanings = (
        path == name,
        path.endswith("/" + name, autoescape=True),
        col(Exposure.id) == number,
        path.contains(name, autoescape=True),
    )
    with database.session() as session:
        for meaning in meanings:
            found = _exposures(session, meaning)
            if found:
                return found
    return []


def exposure_paths(database: Database) -> list[str]:
    """Return where the files of all exposures were received, each path once, in order."""
    paths = select(col(Exposure.path)).where(col(Exposure.state) != State.DUPLICATE).distinct()
    with database.session() as session:
        return sorted(session.exec(paths))


def current_reduction(database: Database, frame_id: int) -> Reduction | None:
    """Return the reduction of a frame that counts; None where it has none."""
    with database.session() as session:
        return session.exec(
            select(Reduction).where(Reduction.frame_id == frame_id, col(Reduction.current))
        ).first()


def reductions_of(database: Database, frame_id: int) -> list[Reduction]:
    """Return all versions of a frame's reduction, oldest first."""
    with database.session() as session:
        versions = select(Reduction).where(Reduction.frame_id == frame_id)
        return list(session.exec(versions.order_by(col(Reduction.version))))


def nights(database: Database, exposure_ids: Sequence[int] | None = None) -> list[str]:
    """Return the nights, by the dates of their evenings, of all frames or of those of some exposures."""
    statement = select(Frame.night).where(Frame.night != "").distinct()
    if exposure_ids is None:
        statements = [statement]
    else:
        blocks = (exposure_ids[at : at + _AT_ONCE] for at in range(0, len(exposure_ids), _AT_ONCE))
        statements = [statement.where(col(Frame.exposure_id).in_(block)) for block in blocks]
    with database.session() as session:
        return sorted({night for one in statements for night in session.exec(one)})


def flag_counts(database: Database, reduction_id: int) -> dict[int, int]:
    """Return flag word -> number of detections of a reduction that carry it, 0 for the unflagged."""
    with database.session() as session:
        rows = session.exec(
            select(Measurement.flags, func.count())
            .where(Measurement.reduction_id == reduction_id, is_detection())
            .group_by(col(Measurement.flags))
            .order_by(col(Measurement.flags))
        ).all()
    return dict(rows)


def frame_rows(
    database: Database,
    state: State | None = None,
    *,
    frame_id: int | None = None,
    night: str | None = None,
) -> list[dict[str, Any]]:
    """Return one row a frame, ordered by (mjd_mid, path, hdu); a file without any frame has one with HDU 0.

    Parameters
    ----------
    state : State, optional
        Only frames in this state.
    frame_id : int, optional
        Only this frame.
    night : str, optional
        Only frames of this night, by the date of the evening; no duplicates.

    Returns
    -------
    list of dict
        With the keys of `FRAME_COLUMNS`, ``exposure_id`` and ``reduction_id``; None is null. Times are ISO
        8601 in UTC.
    """
    statement = (
        select(Exposure, Frame, Reduction)
        .join(Frame, col(Frame.exposure_id) == col(Exposure.id), isouter=True)
        .join(Reduction, (col(Reduction.frame_id) == col(Frame.id)) & col(Reduction.current), isouter=True)
    )
    if frame_id is not None:
        statement = statement.where(col(Frame.id) == frame_id)
    if night is not None:
        statement = statement.where(col(Frame.night) == night, col(Exposure.state) != State.DUPLICATE)
    with database.session() as session:
        rows = [_frame_row(*row) for row in session.exec(statement).all()]
    wanted = [row for row in rows if state is None or row["state"] == state]
    return sorted(wanted, key=_in_order)


def _exposures(session: Session, condition: ColumnElement[bool]) -> list[Exposure]:
    return list(session.exec(select(Exposure).where(condition).order_by(col(Exposure.id))))


def _frame_row(exposure: Exposure, frame: Frame | None, reduction: Reduction | None) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys((*FRAME_COLUMNS, "exposure_id", "reduction_id"))
    row |= {"exposure_id": exposure.id, "path": exposure.path, "hdu": 0, "kind": "unknown"}
    if frame is not None:
        row |= {name: getattr(frame, name) for name in _FROM_FRAME}
        row["night"] = frame.night or None
    # A frame that was never settled shares the fate of its file.
    fate = exposure if frame is None or frame.state == State.RECEIVED else frame
    row |= {
        "state": str(fate.state),
        "reason": fate.reason or exposure.reason,
        "received_at": _iso(exposure.received_at),
        "done_at": _iso(exposure.done_at),
    }
    if reduction is not None:
        row |= {name: getattr(reduction, name) for name in _FROM_REDUCTION}
        row |= {
            "masters": _masters_text(reduction.masters),
            "seconds": sum(reduction.timings.values()),
            "seconds_wcs": reduction.timings.get("solve"),
            "version": reduction.version,
            "reduction_id": reduction.id,
        }
        row |= _angular_sizes(row)
    return row


def _angular_sizes(row: dict[str, Any]) -> dict[str, float | None]:
    """Return what follows from the scale; None on a frame without a WCS."""
    scale = row["scale"]
    pixels = {"width_deg": row["nx"], "height_deg": row["ny"], "fwhm_arcsec": row["fwhm_px"]}
    units = {"width_deg": 3600.0, "height_deg": 3600.0, "fwhm_arcsec": 1.0}
    known = scale is not None
    return {
        name: number * scale / units[name] if known and number is not None else None
        for name, number in pixels.items()
    }


def _masters_text(masters: dict[str, str]) -> str:
    def rank(kind: str) -> tuple[int, str]:
        return (_MASTER_ORDER.index(kind) if kind in _MASTER_ORDER else len(_MASTER_ORDER)), kind

    return " ".join(f"{kind}:{masters[kind][:8]}" for kind in sorted(masters, key=rank))


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="milliseconds")


def _in_order(row: dict[str, Any]) -> tuple[bool, float, str, int]:
    return row["mjd_mid"] is None, row["mjd_mid"] or 0.0, row["path"], row["hdu"]


def unconcluded_nights(database: Database) -> list[str]:
    """Return the nights with lights that have no verdict yet: no `finish` has seen their reduction."""
    lights = (
        select(Frame.night)
        .join(Reduction, col(Reduction.frame_id) == col(Frame.id))
        .where(
            col(Reduction.current),
            col(Reduction.verdict).is_(None),
            Frame.kind == "light",
            Frame.state == State.DONE,
            Frame.night != "",
        )
        .distinct()
    )
    with database.session() as session:
        return sorted(session.exec(lights).all())


def waiting_of_night(database: Database, night: str) -> int:
    """Return how many exposures of a night, or of none that is known yet, are queued or in work."""
    others = exists().where(
        col(Frame.exposure_id) == col(Exposure.id), col(Frame.night) != "", col(Frame.night) != night
    )
    waiting = select(func.count()).where(col(Exposure.state).in_((State.RECEIVED, State.REDUCING)), ~others)
    with database.session() as session:
        return int(session.exec(waiting).one())

"""Targets: what an observer cares for, fixed on the sky or moving by an ephemeris."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Text, cast
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from nightflow.catalogs.names import plain_name
from nightflow.epochs import MJD_J2000, julian_year
from nightflow.errors import ConfigurationError
from nightflow.lightcurves.associate import separation
from nightflow.lightcurves.ephemeris import EphemerisPlace, ephemeris_error, ephemeris_place
from nightflow.store.database import Database
from nightflow.store.models import Target, plain_text

__all__ = [
    "MAXIMUM_NAME", "TargetPlace", "add_target", "add_targets", "checked_target", "find_target",
    "list_targets", "position_at", "remove_targets", "target_name", "target_named", "target_places",
    "targets_near",
]  # fmt: skip

_MAS_PER_DEGREE = 3.6e6
MAXIMUM_NAME = 256
"""Characters, as many as are kept of a header's OBJECT."""


@dataclass(frozen=True, kw_only=True)
class TargetPlace:
    """Where a target is at a time.

    Attributes
    ----------
    name : str
    ra, dec : float
        ICRS degrees.
    moving : bool
        Whether an ephemeris says so.
    rate : float
        Arcsec per second on the sky; 0 without an ephemeris.
    error : float
        Arcsec by which the place between the ephemeris's rows may be wrong, NaN where unknown; 0 without one.
    spacing : float
        Days between the rows around; 0 without an ephemeris.
    """

    name: str
    ra: float
    dec: float
    moving: bool
    rate: float = 0.0
    error: float = 0.0
    spacing: float = 0.0


def add_target(
    database: Database,
    name: str,
    ra: float | None = None,
    dec: float | None = None,
    *,
    pmra: float = 0.0,
    pmdec: float = 0.0,
    epoch: float = 2000.0,
    ephemeris: Sequence[Sequence[float]] | None = None,
    type: str = "",
    notes: str = "",
) -> Target:
    """Enter a target; one of that name gets the new values.

    Parameters
    ----------
    name : str
        Text of any kind; unique. Of a longer one the first `MAXIMUM_NAME` characters.
    ra, dec : float, optional
        ICRS degrees at ``epoch``; needed without an ephemeris.
    pmra, pmdec : float
        mas/yr, pmra with the cosine of the declination in it.
    epoch : float
        Julian year.
    ephemeris : sequence of (mjd, ra, dec), optional
        UTC and ICRS degrees; at least two rows.
    type, notes : str
        For the reader.

    Raises
    ------
    ConfigurationError
        A value is not one that a place on the sky may have; the message names it.
    """
    checked = checked_target(name, ra, dec, pmra, pmdec, epoch, ephemeris, type=type, notes=notes)
    return add_targets(database, [checked])[0]


def add_targets(database: Database, checked: Sequence[Mapping[str, Any]]) -> list[Target]:
    """Enter all of these targets, as `checked_target` returns them, or none."""
    with database.write() as session:
        return [_enter(session, values) for values in checked]


def checked_target(
    name: str,
    ra: float | None = None,
    dec: float | None = None,
    pmra: float = 0.0,
    pmdec: float = 0.0,
    epoch: float = 2000.0,
    ephemeris: Sequence[Sequence[float]] | None = None,
    **described: str,
) -> dict[str, Any]:
    """Return the columns of a target, see `add_target`, if they are right.

    Raises
    ------
    ConfigurationError
        See `add_target`.
    """
    cleaned = target_name(name)
    rows = None if ephemeris is None else _sorted(ephemeris)
    _check(cleaned, ra, dec, (pmra, pmdec, epoch), rows)
    values = {"ra": ra, "dec": dec, "pmra": pmra, "pmdec": pmdec, "epoch": epoch, "ephemeris": rows}
    return {"name": cleaned} | values | described


def _enter(session: Session, values: Mapping[str, Any]) -> Target:
    target = _by_name(session, values["name"]) or Target(name=values["name"])
    for key, value in values.items():
        setattr(target, key, value)
    session.add(target)
    session.flush()
    return target


def target_name(name: str) -> str:
    """Return a name as it is kept: no blanks around, what no database takes as escapes, not too long."""
    return plain_text(name).strip()[:MAXIMUM_NAME].strip()


def remove_targets(database: Database, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take targets from the list; nothing that was measured of them is deleted.

    Frames that are reduced from now on have no aperture at their places. What was measured stays, and is read
    by position; that of a body that moves is read by its name once its ephemeris is entered again.

    Parameters
    ----------
    names : sequence of str
        As they were entered, for a similar name may be that of another star.

    Returns
    -------
    removed, unknown : list of str
        Names of targets that are gone, and names that no target has.
    """
    cleaned = list(dict.fromkeys(map(target_name, names)))
    removed, unknown = [], []
    with database.write() as session:
        for name in cleaned:
            target = _by_name(session, name)
            if target is None:
                unknown.append(name)
                continue
            session.delete(target)
            removed.append(name)
    return removed, unknown


def target_named(database: Database, name: str) -> Target | None:
    """Return the target of exactly that name."""
    with database.session() as session:
        return _by_name(session, target_name(name))


def list_targets(database: Database) -> list[Target]:
    """Return all targets by name."""
    with database.session() as session:
        return list(session.exec(select(Target).order_by(col(Target.name))))


def find_target(database: Database, name: str) -> Target | None:
    """Return the target of that name; else the only one whose name differs in case, blanks and signs only."""
    cleaned = target_name(name)
    target = target_named(database, name)
    if target is not None or not plain_name(cleaned):
        return target
    alike = [one for one in list_targets(database) if plain_name(one.name) == plain_name(cleaned)]
    return alike[0] if len(alike) == 1 else None


def position_at(target: Target, mjd: float) -> tuple[float, float] | None:
    """Return right ascension and declination at a time, ICRS degrees.

    An ephemeris is interpolated (`nightflow.lightcurves.ephemeris`); None outside of it.
    """
    if target.ephemeris is not None:
        place = ephemeris_place(target.ephemeris, mjd)
        return None if place is None else (place.ra, place.dec)
    if target.ra is None or target.dec is None:
        return None
    return _moved(target.ra, target.dec, target.pmra, target.pmdec, target.epoch, mjd)


def targets_near(
    database: Database, ra: float, dec: float, radius: float, mjd: float | None
) -> list[tuple[float, float]]:
    """Return right ascension and declination of `target_places`."""
    return [(place.ra, place.dec) for place in target_places(database, ra, dec, radius, mjd)]


def target_places(
    database: Database, ra: float, dec: float, radius: float, mjd: float | None
) -> list[TargetPlace]:
    """Return where the targets within ``radius`` degrees of a place are at a time (None: J2000), by name."""
    time = MJD_J2000 if mjd is None else mjd
    # An ephemeris is long, and a frame asks for one moment of it: its text is read, not converted each time.
    fixed = [col(getattr(Target, name)) for name in ("name", "ra", "dec", "pmra", "pmdec", "epoch")]
    with database.session() as session:
        targets = session.execute(
            select_columns(*fixed, cast(col(Target.ephemeris), Text)).order_by(col(Target.name))
        ).all()
    found = []
    for name, own_ra, own_dec, pmra, pmdec, epoch, text in targets:
        rows = None if text is None else _rows(text)
        moving = None if rows is None else ephemeris_place(rows, time)
        if moving is not None:
            there = moving.ra, moving.dec
        elif rows is None and own_ra is not None and own_dec is not None:
            there = _moved(own_ra, own_dec, pmra, pmdec, epoch, time)
        else:
            continue
        if separation(ra, dec, *there) <= radius * 3600.0:
            found.append(TargetPlace(name=name, ra=there[0], dec=there[1], **_motion(rows, moving, time)))
    return found


@lru_cache(maxsize=256)
def _rows(ephemeris: str) -> NDArray[np.float64] | None:
    """Return the rows of an ephemeris, shape (n, 3), from its text in the store; None where it says null."""
    rows = json.loads(ephemeris)
    return None if rows is None else np.array(rows, np.float64)


def _motion(rows: NDArray[np.float64] | None, place: EphemerisPlace | None, mjd: float) -> dict[str, Any]:
    """Return what a `TargetPlace` has of the motion by an ephemeris."""
    if rows is None or place is None:
        return {"moving": False}
    rate = float(np.hypot(place.rate_ra, place.rate_dec))
    return {"moving": True, "rate": rate, "error": ephemeris_error(rows, mjd), "spacing": place.spacing}


def _moved(ra: float, dec: float, pmra: float, pmdec: float, epoch: float, mjd: float) -> tuple[float, float]:
    """Return where a star of proper motion (mas/yr) is at a time, degrees."""
    years = julian_year(mjd) - epoch
    cos_dec = max(float(np.cos(np.radians(dec))), 1e-6)
    now = (ra + years * pmra / _MAS_PER_DEGREE / cos_dec) % 360.0
    return now, float(np.clip(dec + years * pmdec / _MAS_PER_DEGREE, -90.0, 90.0))


def _sorted(ephemeris: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return the rows in the order of time; those that stand twice, as parts that overlap have them, once."""
    return [list(row) for row in sorted({tuple(float(value) for value in row) for row in ephemeris})]


def _by_name(session: Session, name: str) -> Target | None:
    return session.exec(select(Target).where(Target.name == name)).first()


def _check(
    name: str,
    ra: float | None,
    dec: float | None,
    numbers: tuple[float, ...],
    ephemeris: list[list[float]] | None,
) -> None:
    if not name:
        raise ConfigurationError("a target needs a name")
    if ephemeris is None and (ra is None or dec is None):
        raise ConfigurationError(f"target {name!r}: give ra and dec in degrees, or an ephemeris")
    if ephemeris is not None and (len(ephemeris) < 2 or any(len(row) != 3 for row in ephemeris)):
        raise ConfigurationError(f"target {name!r}: an ephemeris has at least two rows of mjd, ra, dec")
    times = [row[0] for row in ephemeris or []]
    if len(set(times)) < len(times):
        twice = next(one for one in times if times.count(one) > 1)
        raise ConfigurationError(f"target {name!r}: two places in the ephemeris at mjd {twice:.8g}; keep one")
    places = [(ra, dec)] if ra is not None and dec is not None else []
    places += [(row[1], row[2]) for row in ephemeris or []]
    for place in places:
        if not (0.0 <= place[0] < 360.0 and -90.0 <= place[1] <= 90.0):
            raise ConfigurationError(f"target {name!r}: ra {place[0]}, dec {place[1]} is not on the sky")
    if not np.isfinite([*numbers, *(row[0] for row in ephemeris or [])]).all():
        raise ConfigurationError(f"target {name!r}: proper motion, epoch or time is not a finite number")

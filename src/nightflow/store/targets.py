"""Targets: what an observer cares for, fixed on the sky or moving by an ephemeris."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlmodel import Session, col, select

from nightflow.errors import ConfigurationError
from nightflow.lightcurves.associate import separation, unit_vectors
from nightflow.store.database import Database
from nightflow.store.models import Target, plain_text

__all__ = [
    "TargetPlace", "add_target", "find_target", "list_targets", "position_at", "target_places",
    "targets_near",
]  # fmt: skip

_MAS_PER_DEGREE = 3.6e6
_MJD_2000 = 51544.5


@dataclass(frozen=True, kw_only=True)
class TargetPlace:
    """Where a target is at a time, ICRS degrees, and whether an ephemeris says so."""

    ra: float
    dec: float
    moving: bool


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
        Text of any kind; unique.
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
    cleaned = plain_text(name).strip()
    rows = None if ephemeris is None else sorted([float(value) for value in row] for row in ephemeris)
    _check(cleaned, ra, dec, (pmra, pmdec, epoch), rows)
    values = {"ra": ra, "dec": dec, "pmra": pmra, "pmdec": pmdec, "epoch": epoch, "ephemeris": rows}
    with database.write() as session:
        target = _by_name(session, cleaned) or Target(name=cleaned)
        for key, value in {**values, "type": type, "notes": notes}.items():
            setattr(target, key, value)
        session.add(target)
        session.flush()
        return target


def list_targets(database: Database) -> list[Target]:
    """Return all targets by name."""
    with database.session() as session:
        return list(session.exec(select(Target).order_by(col(Target.name))))


def find_target(database: Database, name: str) -> Target | None:
    """Return the target of that name; else the only one whose name differs in case, blanks and signs only."""
    cleaned = plain_text(name).strip()
    with database.session() as session:
        target = _by_name(session, cleaned)
    if target is not None or not _letters(cleaned):
        return target
    alike = [one for one in list_targets(database) if _letters(one.name) == _letters(cleaned)]
    return alike[0] if len(alike) == 1 else None


def position_at(target: Target, mjd: float) -> tuple[float, float] | None:
    """Return right ascension and declination at a time, ICRS degrees.

    An ephemeris is interpolated on the sphere, straight between its rows; None outside of it.
    """
    if target.ephemeris is not None:
        return _interpolated(np.array(target.ephemeris), mjd)
    if target.ra is None or target.dec is None:
        return None
    years = 2000.0 + (mjd - _MJD_2000) / 365.25 - target.epoch
    cos_dec = max(float(np.cos(np.radians(target.dec))), 1e-6)
    ra = (target.ra + years * target.pmra / _MAS_PER_DEGREE / cos_dec) % 360.0
    return ra, float(np.clip(target.dec + years * target.pmdec / _MAS_PER_DEGREE, -90.0, 90.0))


def targets_near(
    database: Database, ra: float, dec: float, radius: float, mjd: float | None
) -> list[tuple[float, float]]:
    """Return right ascension and declination of `target_places`."""
    return [(place.ra, place.dec) for place in target_places(database, ra, dec, radius, mjd)]


def target_places(
    database: Database, ra: float, dec: float, radius: float, mjd: float | None
) -> list[TargetPlace]:
    """Return where the targets within ``radius`` degrees of a place are at a time (None: J2000), by name."""
    found = []
    for target in list_targets(database):
        place = position_at(target, _MJD_2000 if mjd is None else mjd)
        if place is not None and separation(ra, dec, *place) <= radius * 3600.0:
            found.append(TargetPlace(ra=place[0], dec=place[1], moving=target.ephemeris is not None))
    return found


def _by_name(session: Session, name: str) -> Target | None:
    return session.exec(select(Target).where(Target.name == name)).first()


def _letters(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


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
    places = [(ra, dec)] if ra is not None and dec is not None else []
    places += [(row[1], row[2]) for row in ephemeris or []]
    for place in places:
        if not (0.0 <= place[0] < 360.0 and -90.0 <= place[1] <= 90.0):
            raise ConfigurationError(f"target {name!r}: ra {place[0]}, dec {place[1]} is not on the sky")
    if not np.isfinite([*numbers, *(row[0] for row in ephemeris or [])]).all():
        raise ConfigurationError(f"target {name!r}: proper motion, epoch or time is not a finite number")


def _interpolated(ephemeris: np.ndarray, mjd: float) -> tuple[float, float] | None:
    times = ephemeris[:, 0]
    if not times[0] <= mjd <= times[-1]:
        return None
    vectors = unit_vectors(ephemeris[:, 1], ephemeris[:, 2])
    x, y, z = (float(np.interp(mjd, times, vectors[:, axis])) for axis in range(3))
    return float(np.degrees(np.arctan2(y, x))) % 360.0, float(np.degrees(np.arctan2(z, np.hypot(x, y))))

"""What there is of a kind of master for one frame, stored and raw, and what rules out the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from nightflow.epochs import mjd_of
from nightflow.errors import CalibrationAway, MissingCalibration
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import CameraProfile
from nightflow.masters.choose import Candidate, Choice, choose, missing_calibration
from nightflow.masters.group import Group, RawCalibration, group_inputs
from nightflow.masters.keys import MasterKey
from nightflow.store.database import Database
from nightflow.store.masters import CalibrationFrame, calibration_frames, cameras_with, masters
from nightflow.store.models import Frame as FrameRow
from nightflow.store.models import Master

__all__ = [
    "AWAY",
    "SKY_KINDS",
    "Survey",
    "identity_of",
    "key_of_row",
    "missing",
    "raw_of_row",
    "rejected_masters",
    "survey",
]

AWAY = "of their files are not where they were received"
"""In what is said of raw frames that cannot be reached."""

SKY_KINDS = (FrameKind.ILLUMINATION, FrameKind.FRINGE)
"""Masters that are made of the night's lights, at its end; see `nightflow.pipeline.sky_plan`."""


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What there is of a kind of master for a frame, and what rules out the rest.

    Attributes
    ----------
    stored : sequence of Master
        Rows of the kind, the camera and the detector.
    choice : Choice
        The best of them, and those that do not fit.
    raw : sequence of CalibrationFrame
        Raw frames of the kind within reach in time.
    group : Group
        Those of them that would make a master for the frame, and those that do not fit.
    under_other_names : tuple of str
        Where there is nothing of the kind: what the ledger has of frames of that shape under other cameras'
        names, in words.
    """

    stored: Sequence[Master]
    choice: Choice
    raw: Sequence[CalibrationFrame]
    group: Group
    under_other_names: tuple[str, ...] = ()

    def row(self, fingerprint: str) -> Master | None:
        """Return the stored master with a fingerprint, or None."""
        return next((row for row in self.stored if row.fingerprint == fingerprint), None)


def key_of_row(row: FrameRow | Master) -> MasterKey:
    """Return the matching key of a frame or a master in the store."""
    x, _, y = row.binning.partition("x")
    return MasterKey(
        kind=FrameKind(row.kind),
        instrument=row.instrument,
        detector=row.detector,
        shape=(row.ny, row.nx),
        binning=(int(x), int(y)),
        gain_setting=row.gain_setting,
        readout_mode=row.readout_mode,
        ccd_temp=row.ccd_temp,
        exptime=row.exptime,
        filter=row.filter,
        rotator=row.rotator,
        mjd_mid=row.mjd_mid,
    )


def survey(
    database: Database,
    kind: FrameKind,
    wanted: MasterKey,
    profile: CameraProfile,
    now: datetime | None = None,
) -> Survey:
    """Look at all masters and raw frames of a kind with the eyes of one frame; see `plan_master`."""
    any_exposure = kind is FrameKind.DARK and profile.calibration.dark_scaling == "scaled"
    stored = masters(database, kind=str(kind), instrument=wanted.instrument, detector=wanted.detector)
    rejected = rejected_masters(database, wanted.instrument)
    candidates = [_candidate(row, rejected) for row in stored]
    choice = choose(kind, wanted, candidates, profile.masters, any_exposure=any_exposure)
    raw = [] if kind in SKY_KINDS else _raw_frames(database, kind, wanted, profile)
    group = group_inputs(
        kind,
        wanted,
        [raw_of_row(frame) for frame in raw],
        profile.masters,
        any_exposure=any_exposure,
        now=mjd_of(now) if now is not None else None,
    )
    others = () if raw or stored or kind in SKY_KINDS else _under_other_names(database, kind, wanted)
    return Survey(stored=stored, choice=choice, raw=raw, group=group, under_other_names=others)


def missing(
    kind: FrameKind,
    wanted: MasterKey,
    found: Survey,
    profile: CameraProfile,
    refused: Sequence[MissingCalibration],
) -> MissingCalibration:
    """Return the error that says what is missing, what is nearest, and what became of the raw frames.

    Parameters
    ----------
    refused : sequence of MissingCalibration
        Why the raw frames make no usable master.
    """
    error = missing_calibration(kind, wanted, found.choice.ruled_out)
    group, needed = found.group, profile.masters.minimum_inputs
    # A set of like frames is one reason, said once.
    reasons = dict.fromkeys(f"raw {out.frame.describe(wanted)} ({out.detail})" for out in group.excluded)
    raw = list(reasons)[:3]
    if refused:
        raw.insert(0, f"{group.found} raw {kind} frames fit, but {refused[0]}")
    elif group.found:
        raw.insert(0, f"{group.found} raw {kind} frames fit, {needed} are needed")
    else:
        raw += found.under_other_names
    away = any(isinstance(one, CalibrationAway) for one in refused)
    return (CalibrationAway if away else MissingCalibration)(str(error), raw)


def _raw_frames(
    database: Database, kind: FrameKind, wanted: MasterKey, profile: CameraProfile
) -> list[CalibrationFrame]:
    reach = profile.masters.validity_days
    return calibration_frames(
        database,
        str(kind),
        instrument=wanted.instrument,
        detector=wanted.detector,
        mjd_from=wanted.mjd_mid - reach if wanted.mjd_mid is not None else None,
        mjd_until=wanted.mjd_mid + reach if wanted.mjd_mid is not None else None,
    )


def _under_other_names(database: Database, kind: FrameKind, wanted: MasterKey) -> tuple[str, ...]:
    """Return which other cameras have raw frames of that kind and shape: a profile may be a new one."""
    counted = cameras_with(database, str(kind), *wanted.shape)
    return tuple(
        f"{number} raw {kind} frames of that shape are known as {name}'s: if they are of this camera, "
        "`nightflow run --force` on their folder makes them so"
        for name, number in counted
        if name != wanted.instrument
    )


def rejected_masters(database: Database, instrument: str) -> dict[str, str]:
    """Return fingerprint -> name of the rejected masters of a camera: chips share the level of the first."""
    rows = masters(database, instrument=instrument, state="rejected")
    return {row.fingerprint: f"{row.kind} {row.fingerprint[:12]}" for row in rows}


def _candidate(row: Master, rejected: Mapping[str, str]) -> Candidate:
    key = key_of_row(row)
    spoiled = [rejected[one] for one in row.made_with.values() if one in rejected]
    return Candidate(
        **vars(key),
        valid_from=row.valid_from,
        valid_until=row.valid_until,
        state=row.state,
        reason=row.reason,
        fingerprint=row.fingerprint,
        spoiled=f"made with {' and '.join(spoiled)}, rejected since" if spoiled else "",
    )


def raw_of_row(frame: CalibrationFrame) -> RawCalibration:
    """Return what the grouping needs of a frame in the store."""
    return RawCalibration(
        **vars(key_of_row(frame.frame)),
        identity=identity_of(frame),
        received=mjd_of(frame.received_at) if frame.received_at is not None else None,
    )


def identity_of(frame: CalibrationFrame) -> str:
    """Return what a raw frame is called in a group: its content and the chip."""
    return f"{frame.sha256}:{frame.frame.detector}"

"""Build masters ahead of the frames that need them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from nightflow.errors import MissingCalibration, RetryLater
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import CameraProfile
from nightflow.masters.askers import one_of_each_set
from nightflow.masters.keys import OF_A_FILTER
from nightflow.pipeline.master_plan import MasterPlan, plan_set, wanted_kinds
from nightflow.pipeline.obtain import built
from nightflow.pipeline.reducer import Reducer
from nightflow.pipeline.sky_plan import plan_sky
from nightflow.pipeline.survey import SKY_KINDS, identity_of, key_of_row, raw_of_row
from nightflow.store.blocks import block_lights
from nightflow.store.masters import CalibrationFrame, calibration_frames, find_master
from nightflow.store.models import Frame as FrameRow

__all__ = ["build_all", "build_sky"]


def build_all(
    reducer: Reducer, *, instrument: str | None = None, night: str | None = None
) -> list[dict[str, Any]]:
    """Build every master that the frames of the ledger make; those that exist stay as they are.

    Parameters
    ----------
    reducer : Reducer
    instrument : str, optional
        Only this camera.
    night : str, optional
        Only of frames of this night, such as "2024-05-12".

    Returns
    -------
    list of dict
        One row a set: kind, instrument, filter, exptime, n_inputs, state, fingerprint, reason.
    """
    rows = []
    for name, profile in _cameras(reducer, instrument):
        for kind in wanted_kinds(profile):
            if kind not in SKY_KINDS:
                rows.extend(_build_sets(reducer, name, kind, night))
    return rows + build_sky(reducer, instrument=instrument, night=night)


def build_sky(
    reducer: Reducer, *, instrument: str | None = None, night: str | None = None
) -> list[dict[str, Any]]:
    """Build the illumination and fringe masters that the lights of the ledger make; rows as `build_all`."""
    rows: list[dict[str, Any]] = []
    for name, profile in _cameras(reducer, instrument):
        kinds = [kind for kind in wanted_kinds(profile) if kind in SKY_KINDS]
        lights = block_lights(reducer.database, name, night) if kinds else []
        rows.extend(_sky_row(reducer, kind, light) for kind in kinds for light in lights)
    return rows


def _cameras(reducer: Reducer, instrument: str | None) -> Iterator[tuple[str, CameraProfile]]:
    for name, profile in reducer.context.profiles.items():
        if instrument is None or name == instrument:
            yield name, profile


def _build_sets(
    reducer: Reducer, instrument: str, kind: FrameKind, night: str | None
) -> list[dict[str, Any]]:
    """Build the master of each set, whatever other masters its frames might have for themselves."""
    profile = reducer.context.profiles[instrument]
    rows: dict[str, dict[str, Any]] = {}
    for raw in _asked(reducer, profile, kind, night):

        def plan(wanted: FrameRow = raw.frame) -> MasterPlan:
            return plan_set(reducer.database, kind, key_of_row(wanted), profile)

        try:
            planned = plan().fingerprint
        except MissingCalibration as error:
            rows.setdefault(str(error), _missing(kind, raw.frame, str(error)))
            continue
        if planned not in rows:
            row = _built(reducer, kind, raw.frame, plan)
            rows[planned] = row
            rows.setdefault(row.pop("made"), row)
    return list({id(row): row for row in rows.values()}.values())


def _asked(
    reducer: Reducer, profile: CameraProfile, kind: FrameKind, night: str | None
) -> list[CalibrationFrame]:
    """Return a frame of each set that the frames of a night, or of all, make; of a doubtful set all."""
    known = calibration_frames(reducer.database, str(kind), instrument=profile.name)
    raw = [raw_of_row(one) for one in known]
    ours = [one for one, row in zip(raw, known, strict=True) if night is None or row.frame.night == night]
    asked = {one.identity for one in one_of_each_set(kind, ours, raw, profile.masters)}
    return [one for one in known if identity_of(one) in asked]


def _sky_row(reducer: Reducer, kind: FrameKind, light: FrameRow) -> dict[str, Any]:
    profile = reducer.context.profiles[light.instrument]
    row = _built(reducer, kind, light, lambda: plan_sky(reducer.database, kind, light, profile))
    row.pop("made")
    return row


def _built(
    reducer: Reducer, kind: FrameKind, frame: FrameRow, plan: Callable[[], MasterPlan]
) -> dict[str, Any]:
    """Return what became of a plan; ``made`` is the fingerprint in full, "" where there is none."""
    profile = reducer.context.profiles[frame.instrument]
    error = ""
    try:
        made = built(reducer.context.masters, profile, plan)[0].fingerprint
    except MissingCalibration as missing:
        error = str(missing)
        made = _refused(plan)
    except RetryLater as away:
        return {**_missing(kind, frame, str(away)), "made": ""}
    row = find_master(reducer.database, made)
    if row is None:
        return {**_missing(kind, frame, error), "made": made}
    return {
        **_missing(kind, frame, "; ".join(dict.fromkeys([row.reason, *row.statistics.get("warnings", [])]))),
        "filter": row.filter,
        "exptime": row.exptime,
        "n_inputs": row.n_inputs,
        "state": row.state,
        "fingerprint": made[:12],
        "made": made,
    }


def _refused(plan: Callable[[], MasterPlan]) -> str:
    try:
        return plan().fingerprint
    except MissingCalibration:
        return ""


def _missing(kind: FrameKind, frame: FrameRow, reason: str) -> dict[str, Any]:
    return {
        "kind": str(kind),
        "instrument": frame.instrument,
        "filter": frame.filter if kind in OF_A_FILTER else "",
        "exptime": frame.exptime,
        "n_inputs": 0,
        "state": "missing",
        "fingerprint": "",
        "reason": reason,
    }

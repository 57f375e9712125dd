"""The grade of a frame: against the night so far as it is appended, against the whole night in `finish`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from nightflow.instruments.header import FrameHeader
from nightflow.instruments.profile import CameraProfile
from nightflow.instruments.quality_settings import QualitySettings
from nightflow.pipeline.work import Work
from nightflow.quality.grades import FrameMeasures, Night, grade
from nightflow.store.database import Database
from nightflow.store.grades import Judgement, night_measures, write_judgements
from nightflow.store.records import ReductionRecord

__all__ = ["grade_night", "graded", "record_verdicts"]


def graded(record: ReductionRecord, work: Work, database: Database) -> ReductionRecord:
    """Return the record of a frame with its grade among the frames of the night that are there."""
    if work.measured is None:
        return record
    own = _of_record(record, work.header)
    found = grade(own, Night([*night_measures(database, work.frame_id), own]), work.profile.quality)
    return replace(record, grade=str(found.grade), grade_reason=found.reason)


def grade_night(
    rows: Sequence[Mapping[str, Any]], profiles: Mapping[str, CameraProfile]
) -> list[dict[str, Any]]:
    """Return the rows of a night with ``grade`` and ``grade_reason`` against the whole of it.

    Parameters
    ----------
    rows : sequence of mapping
        Of `nightflow.store.overview.frame_rows`.
    profiles : mapping of name to CameraProfile
        A camera that has none any more is judged by the usual bounds.
    """
    measures = [_of_row(row) if _is_measured(row) else None for row in rows]
    series: dict[tuple[Any, ...], list[FrameMeasures]] = defaultdict(list)
    for row, own in zip(rows, measures, strict=True):
        if own is not None:
            series[_series(row)].append(own)
    nights = {key: Night(frames) for key, frames in series.items()}
    return [
        {**row, **_grade_of(own, nights.get(_series(row)), profiles.get(row["instrument"]))}
        for row, own in zip(rows, measures, strict=True)
    ]


def _grade_of(
    own: FrameMeasures | None, night: Night | None, profile: CameraProfile | None
) -> dict[str, str | None]:
    if own is None or night is None:
        return {"grade": None, "grade_reason": None}
    found = grade(own, night, QualitySettings() if profile is None else profile.quality)
    return {"grade": str(found.grade), "grade_reason": found.reason}


def _series(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what frames that are compared have in common."""
    return row["instrument"], row["detector"], row["filter"]


def record_verdicts(database: Database, rows: Sequence[Mapping[str, Any]]) -> int:
    """Write grade and verdict of a night's rows to their reductions; return how many changed."""
    return write_judgements(
        database,
        [
            Judgement(
                reduction_id=row["reduction_id"],
                grade=row["grade"],
                grade_reason=row["grade_reason"],
                verdict=row["verdict"],
            )
            for row in rows
            if row["reduction_id"] is not None
        ],
    )


def _is_measured(row: Mapping[str, Any]) -> bool:
    """Return whether sources were looked for: where none tells a width, the other measures still speak."""
    return row["kind"] == "light" and row["n_sources"] is not None and row["state"] in ("done", "held")


def _of_row(row: Mapping[str, Any]) -> FrameMeasures:
    return FrameMeasures(
        mjd_mid=row["mjd_mid"],
        object=row["object"],
        exptime=row["exptime"],
        fwhm_px=row["fwhm_px"],
        scale=row["scale"],
        ellipticity=row["ellipticity"],
        trailing=row["trailing"],
        sky=row["sky"],
        n_sources=row["n_sources"],
        zero_point=row["zp"],
        zp_catalog=row["zp_catalog"],
    )


def _of_record(record: ReductionRecord, header: FrameHeader) -> FrameMeasures:
    return _of_row(
        {**record.values(), "mjd_mid": header.mjd_mid, "object": header.object, "exptime": header.exptime}
    )

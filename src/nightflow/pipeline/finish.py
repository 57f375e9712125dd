"""The end of a night: its definitive masters, what they change, its sources and movers, and the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightflow.errors import ConfigurationError
from nightflow.fits_output import replacing
from nightflow.nights import parse_night
from nightflow.pipeline.associate_night import NightSources, associate
from nightflow.pipeline.grade import grade_night, record_verdicts
from nightflow.pipeline.masters import build_all, build_sky
from nightflow.pipeline.night_photometry import NightPhotometry, solve_photometry
from nightflow.pipeline.optics import learn_optics
from nightflow.pipeline.outcome import Outcome
from nightflow.pipeline.reducer import Reducer
from nightflow.pipeline.run import RunReport, reduce_all
from nightflow.pipeline.survey import SKY_KINDS
from nightflow.report.night_plot import night_png
from nightflow.report.night_table import night_csv, with_verdicts
from nightflow.report.pointing import PointingSummary, pointing_ecsv, pointing_rows, summarise_pointing
from nightflow.report.pointing_plot import pointing_png
from nightflow.store.frames import exposures_of_night
from nightflow.store.models import CameraDistortion
from nightflow.store.overview import frame_rows
from nightflow.store.pointing import solved_frames
from nightflow.store.statistics import update_statistics

__all__ = ["FinishedNight", "finish_night", "write_if_changed"]


@dataclass(frozen=True, kw_only=True)
class FinishedNight:
    """What became of a night.

    Attributes
    ----------
    night : str
    masters : tuple of dict
        See `nightflow.pipeline.masters.build_all`.
    run : RunReport
        What was reduced again.
    optics : tuple of CameraDistortion
        What its frames taught of their cameras' distortion, as far as that is new.
    photometry : NightPhotometry
        Its extinction, colour terms and zero points.
    sources : NightSources
        What its detections belong to, and what moves.
    rows : tuple of dict
        The night's frames, each with its verdict.
    pointing : tuple of PointingSummary
        Pointing, scale and rotation of each chip.
    table, figure : Path
        The report; ``pointing.ecsv`` and ``pointing.png`` lie beside it.
    changed : bool
        Whether any of them is not what it was.
    """

    night: str
    masters: tuple[dict[str, Any], ...]
    run: RunReport
    optics: tuple[CameraDistortion, ...]
    photometry: NightPhotometry
    sources: NightSources
    rows: tuple[dict[str, Any], ...]
    pointing: tuple[PointingSummary, ...]
    table: Path
    figure: Path
    changed: bool


def finish_night(
    reducer: Reducer,
    night: str,
    progress: Callable[[int, int, Outcome | None], None] | None = None,
    step: Callable[[str], object] = lambda name: None,
) -> FinishedNight | None:
    """Conclude a night; again on an unchanged night changes nothing.

    Masters are built from all calibration frames of the night; each exposure whose masters, software or
    profile are not those of its last reduction is reduced again, in the order of kind, time and content, so
    that the result does not depend on the order in which the files landed. Frames of many stars teach the
    distortion of their cameras, for the nights after it. Then the night is solved for
    extinction and colour terms, which frames with too few stars borrow. All its detections are given to
    their sources at once, bodies that move are found, the statistics of the sources that were seen are
    computed anew, and the report is written.

    Parameters
    ----------
    reducer : Reducer
        With definitive masters.
    night : str
        Date of the evening, such as "2024-05-12".
    progress : callable, optional
        Told after each exposure.
    step : callable
        Told what begins, in words.

    Returns
    -------
    FinishedNight or None
        None where the ledger has no frame of that night.

    Raises
    ------
    ConfigurationError
        ``night`` is no date, or the folder of the products cannot be written to.
    """
    parse_night(night)
    exposures = exposures_of_night(reducer.database, night)
    if not exposures:
        return None
    step("masters")
    masters = build_all(reducer, night=night)
    step("reducing again what has changed")
    run = reduce_all(reducer, exposures, progress=progress)
    # The lights that were reduced just now may be what an illumination or fringe master was short of.
    sky = build_sky(reducer, night=night)
    if any(row["fingerprint"] for row in sky):
        run = _both(run, reduce_all(reducer, exposures, progress=progress))
    step("distortion of the optics")
    optics = learn_optics(reducer.database, night)
    step("extinction and colour terms")
    photometry = solve_photometry(reducer.database, reducer.context.catalogs, reducer.context.profiles, night)
    step("sources and what moves")
    sources = associate(
        reducer.database,
        night,
        reducer.settings.association,
        now=reducer.context.clock(),
        catalogs=reducer.context.catalogs,
    )
    step("statistics of the sources")
    for field in sources.fields:
        update_statistics(reducer.database, field)
    step("report")
    return FinishedNight(
        night=night,
        masters=(*(row for row in masters if row["kind"] not in SKY_KINDS), *sky),
        run=run,
        optics=tuple(optics),
        photometry=photometry,
        sources=sources,
        **_report(reducer, night),
    )


def _report(reducer: Reducer, night: str) -> dict[str, Any]:
    """Judge the frames, write the report, and return what `FinishedNight` has of it."""
    rows = with_verdicts(grade_night(frame_rows(reducer.database, night=night), reducer.context.profiles))
    record_verdicts(reducer.database, rows)
    pointing = pointing_rows(solved_frames(reducer.database, night))
    folder = reducer.settings.resolve(reducer.settings.paths.products) / night
    table, figure = folder / "night.csv", folder / "night.png"
    try:
        written = [
            write_if_changed(table, night_csv(rows).encode()),
            write_if_changed(figure, night_png(rows, night)),
            *_write_pointing(folder, pointing, night),
        ]
    except OSError as error:
        raise ConfigurationError(f"{folder}: the report cannot be written: {error}") from error
    return {
        "rows": tuple(rows),
        "pointing": tuple(summarise_pointing(pointing)),
        "table": table,
        "figure": figure,
        "changed": any(written),
    }


def _write_pointing(folder: Path, rows: list[dict[str, Any]], night: str) -> list[bool]:
    """Write the report of pointing and scale; a night without a WCS has none."""
    if not rows:
        return []
    return [
        write_if_changed(folder / "pointing.ecsv", pointing_ecsv(rows, night)),
        write_if_changed(folder / "pointing.png", pointing_png(rows, night)),
    ]


def _both(first: RunReport, second: RunReport) -> RunReport:
    """Return what two runs over the same exposures did: the last word on each."""
    again = {outcome.exposure_id for outcome in second.outcomes}
    kept = tuple(outcome for outcome in first.outcomes if outcome.exposure_id not in again)
    return RunReport(
        outcomes=(*kept, *second.outcomes),
        unchanged=second.unchanged - len(kept),
        busy=tuple(dict.fromkeys((*first.busy, *second.busy))),
    )


def write_if_changed(path: Path, content: bytes) -> bool:
    """Write a file at once or not at all; one that holds the same already is left alone.

    Raises
    ------
    OSError
        The folder cannot be made or written to.
    """
    if path.is_file() and path.read_bytes() == content:
        return False
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return True

"""`run`, `watch`, `backfill`, `finish`: reduce."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from nightflow.commands.common import (
    ConfigOption,
    batch_reducer,
    console,
    fail,
    finish_commands,
    note,
    say,
    settings_or_exit,
)
from nightflow.commands.signals import exit_on_signals
from nightflow.config import Settings, load_settings
from nightflow.errors import NightflowError
from nightflow.log_lines import LINE, LogLines
from nightflow.nights import no_frames_of
from nightflow.pipeline.backfill import Selection, known_nights, planned_files, select
from nightflow.pipeline.finish import FinishedNight, finish_night
from nightflow.pipeline.outcome import Outcome
from nightflow.pipeline.reducer import Reducer
from nightflow.pipeline.run import RunReport, reduce_all, reduce_paths
from nightflow.service.gives_way import GivesWay, run_behind
from nightflow.service.night_log import NightLog
from nightflow.shown_url import shown_url
from nightflow.store.database import Database
from nightflow.store.models import State
from nightflow.store.overview import nights
from nightflow.wording import counted

__all__ = ["backfill", "finish", "run", "watch"]

_NO_FRAMES = 2
_FEW_NIGHTS = 3
"""That are named one by one."""


class EngineName(StrEnum):
    """What computes."""

    FAST = "fast"
    REFERENCE = "reference"


class Until(StrEnum):
    """Last step of a reduction."""

    CALIBRATE = "calibrate"
    MEASURE = "measure"
    SOLVE = "solve"
    FLUX = "flux"
    APPEND = "append"


@exit_on_signals()
def run(
    paths: Annotated[list[Path], typer.Argument(help="Files or folders.")],
    config: ConfigOption = None,
    until: Annotated[
        Until, typer.Option(help="Stop after this step; what was found is recorded.")
    ] = Until.APPEND,
    force: Annotated[bool, typer.Option(help="Also files for which nothing has changed.")] = False,
    engine: Annotated[
        EngineName | None,
        typer.Option(help="fast, or ccdproc, astroscrappy and photutils; default: as in the settings."),
    ] = None,
) -> None:
    """Reduce now, in this process: calibrations first, then lights in order of time.

    Exits with 0 when every file reached a terminal state other than `failed`; rejected garbage is no failure.
    """
    settings = settings_or_exit(config)
    if engine is not None:
        settings = settings.model_copy(update={"engine": str(engine)})
    try:
        reducer = batch_reducer(settings, str(until))
        with _progress() as bar:
            task = bar.add_task("reducing", total=None)
            report = reduce_paths(
                reducer,
                paths,
                force=force,
                progress=lambda done, total, outcome: _show(bar, task, done, total, outcome),
            )
    except NightflowError as error:
        fail(str(error))
    _conclude(report, _next_step(reducer, report) if until is Until.APPEND else "")


def watch(
    config: ConfigOption = None,
    until_idle: Annotated[
        float | None, typer.Option(help="Stop when nothing was landing or queued for so many seconds.")
    ] = None,
) -> None:
    """Reduce frames as they land, until told to stop (Ctrl-C or SIGTERM); SIGHUP reads the settings anew."""
    from nightflow.service.live import watch as live  # the service brings Prefect along: seconds of import

    settings = settings_or_exit(config)
    note(f"starting on ledger {shown_url(settings.store_url)}; Ctrl-C stops")
    logging.basicConfig(level=logging.INFO, handlers=[_screen_log()])
    if settings.watch.keep_logs_days:
        logging.getLogger().addHandler(_night_log(settings))
    try:
        ended = live(settings, until_idle=until_idle, load=lambda: load_settings(config))
    except NightflowError as error:
        fail(str(error))
    console.print(_counted({str(state): number for state, number in ended.items()}))


def _screen_log() -> logging.Handler:
    handler = logging.StreamHandler()
    handler.setFormatter(LogLines(LINE))
    return handler


def _night_log(settings: Settings) -> NightLog:
    longitude = None if settings.site is None else settings.site.longitude
    folder = settings.resolve(settings.paths.logs)
    handler = NightLog(folder, keep_days=settings.watch.keep_logs_days, longitude=longitude)
    handler.setFormatter(LogLines(LINE))
    return handler


@exit_on_signals()
def backfill(
    config: ConfigOption = None,
    since: Annotated[
        str | None, typer.Option(help="First night, as YYYY-MM-DD (date of the evening).")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Last night.")] = None,
    night: Annotated[str | None, typer.Option(help="This night only.")] = None,
    path: Annotated[
        Path | None,
        typer.Option(help="Only files under this path; new ones are received."),
    ] = None,
    camera: Annotated[str | None, typer.Option(help="This camera only, by the name of its profile.")] = None,
    force: Annotated[bool, typer.Option(help="Also exposures for which nothing has changed.")] = False,
    dry_run: Annotated[
        bool, typer.Option(help="List what would be reduced; receive and reduce nothing.")
    ] = False,
) -> None:
    """Reduce old nights again: with better masters, a new catalogue, newer software.

    Exits with 2 where the ledger has no frame of the night, with 1 where a frame failed.
    """
    settings = settings_or_exit(config)
    run_behind()
    try:
        reducer = batch_reducer(settings, observer=GivesWay(Database(settings.store_url)))
        first, last, only = (_date(text) for text in (since, until, night))
        place = str(path) if path else None
        chosen = select(reducer, first, last, only, place, force, camera=camera, dry_run=dry_run)
        if (
            only is not None
            and not chosen.exposures
            and only.isoformat() not in (known := known_nights(reducer))
        ):
            _refuse_night(only.isoformat(), known)
        if dry_run:
            for one in planned_files(reducer, chosen):
                say(f"{one.path}: {one.kind}, {one.state}")
            say(chosen.summary)
            _tell_unchanged(chosen)
            return
        if not chosen.exposures and chosen.unchanged:
            left = counted(chosen.unchanged, "exposure")
            say(f"nothing to reduce: nothing has changed for {left} since the last reduction")
            _tell_unchanged(chosen)
            return
        with _progress() as bar:
            task = bar.add_task("reducing", total=len(chosen.exposures))
            report = reduce_all(
                reducer,
                chosen.exposures,
                force=True,
                progress=lambda done, total, outcome: _show(bar, task, done, total, outcome),
            )
    except NightflowError as error:
        fail(str(error))
    _conclude(report)


def _tell_unchanged(chosen: Selection) -> None:
    if chosen.unchanged:
        note("`--force` reduces also what has not changed")


@exit_on_signals()
def finish(
    night: Annotated[str, typer.Argument(help="Date of the evening, as YYYY-MM-DD.")],
    config: ConfigOption = None,
) -> None:
    """Conclude a night: definitive masters, what they change, and the report in products/NIGHT.

    Exits with 2 where the ledger has no frame of that night, with 1 where a frame failed.
    """
    settings = settings_or_exit(config)
    try:
        reducer = batch_reducer(settings)
        with _progress() as bar:
            task = bar.add_task("", total=None)
            finished = finish_night(
                reducer,
                night,
                lambda done, total, outcome: _show(bar, task, done, total, outcome),
                step=lambda name: bar.reset(task, total=None, description=name),
            )
    except NightflowError as error:
        fail(str(error))
    if finished is None:
        _refuse_night(night, known_nights(reducer))
    _tell(finished, settings.association.fastest_arcsec_per_hour)
    _conclude(finished.run)


def _refuse_night(night: str, known: Sequence[str]) -> NoReturn:
    fail(no_frames_of(night, known), _NO_FRAMES)


def _next_step(reducer: Reducer, report: RunReport) -> str:
    """Return which nights a run reduced and what concludes them; "" where it reduced none."""
    done = [outcome.exposure_id for outcome in report.outcomes if outcome.state == State.DONE]
    reduced = nights(reducer.database, done)
    if not reduced:
        return ""
    if len(reduced) <= _FEW_NIGHTS:
        return f"reduced frames of {', '.join(reduced)}; next: {finish_commands(reduced)}"
    span = f"{len(reduced)} nights, {reduced[0]} to {reduced[-1]}"
    return f"reduced frames of {span}; next: `nightflow finish NIGHT` for each"


def _tell(finished: FinishedNight, fastest: float) -> None:
    for master in finished.masters:
        if master["state"] == "missing":
            note(f"no master {master['kind']}: {master['reason']}")
    verdicts = Counter(row["verdict"] for row in finished.rows)
    for row in finished.rows:
        if row["verdict"] == "fail":
            note(f"fail: {row['path']}: {row['why']}")
    console.print(f"{verdicts['pass']} frames pass, {verdicts['fail']} fail")
    for chip in finished.pointing:
        say(chip.line())
    for learned in finished.optics:
        say(
            f"learned the distortion of {learned.optics.split(',')[0].strip('[')}: order {learned.order}, "
            f"{learned.n_frames} frames, {learned.error_px:.3f} px in the corners"
        )
    found = finished.sources
    console.print(
        f"{found.n_sources} sources, {found.n_only_tonight} of them seen on no other night; "
        f"{found.n_movers} bodies move; {found.n_loose} of {found.n_detections} detections belong to nothing",
        soft_wrap=True,
    )
    if found.fastest < fastest:
        note(
            f'bodies were looked for up to {found.fastest:.3g}"/h, not up to [association] '
            f"fastest_arcsec_per_hour = {fastest:g}: detections that belong to nothing make too many pairs; "
            "with fewer of them, or fewer frames a night, faster bodies would be found"
        )
    console.print(f"{finished.table}\n{finished.figure}", markup=False, soft_wrap=True)


def _date(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        fail(f"{text!r} is no date: write it as YYYY-MM-DD")


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def _show(bar: Progress, task: object, done: int, total: int, outcome: Outcome | None) -> None:
    bar.update(task, completed=done, total=total)  # type: ignore[arg-type]
    if outcome is not None and outcome.state not in (State.DONE, State.DUPLICATE):
        said = outcome.reason if outcome.path in outcome.reason else f"{outcome.path}: {outcome.reason}"
        bar.console.print(f"{outcome.state}: {said}", markup=False, soft_wrap=True)


def _conclude(report: RunReport, next_step: str = "") -> None:
    ended: dict[str, int] = {}
    for outcome in report.outcomes:
        ended[outcome.state] = ended.get(outcome.state, 0) + 1
    if report.unchanged:
        ended["unchanged"] = report.unchanged
    if ended or not report.busy:
        console.print(_counted(ended) or "no raw frames found")
    warned = [outcome for outcome in report.outcomes if outcome.state == State.DONE and outcome.reason]
    if warned:
        note(f"{len(warned)} done with notes, such as: {warned[0].reason}")
        note("`nightflow frames --format csv` has each in full, `nightflow explain FRAME` those of one frame")
    if next_step:
        note(next_step)
    for path in report.busy:
        note(f"{path}: another process is reducing it")
    if report.failed:
        for outcome in report.failed:
            note(f"failed: {outcome.path}: {outcome.reason}")
    if report.failed or report.busy:
        raise typer.Exit(1)


def _counted(ended: dict[str, int]) -> str:
    return ", ".join(f"{number} {state}" for state, number in ended.items() if number)

"""The store against itself and against the files that its rows speak of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from nightflow.config import Settings
from nightflow.doctor.finding import Finding, fault, fine, remark, warning
from nightflow.instruments.fits_file import is_there
from nightflow.store.consistency import EXAMPLES, Disagreement, disagreements
from nightflow.store.database import Database
from nightflow.store.masters import masters
from nightflow.store.overview import exposure_paths

__all__ = ["check_consistency"]

_RECOUNT = "`nightflow store check --mend` counts them again"
_MENDS = {
    "database file": "`nightflow store restore FILE`, or save the rest: `sqlite3 OLD .recover | sqlite3 NEW`",
    "lights without a reduction": "`nightflow run` with --force on their folder",
    "states of exposures": "`nightflow retry FRAME`",
    "masters of reductions": "`nightflow finish NIGHT` of their nights: they are reduced again",
    "observation counts": _RECOUNT,
    "detections of sources": "`nightflow finish NIGHT` gives the night's detections to their sources anew",
    "index on the sky": _RECOUNT,
}


def check_consistency(settings: Settings, database: Database) -> Iterator[Finding]:
    """Yield what was found of rows, then of files, one finding a question.

    Parameters
    ----------
    settings : Settings
        Know where the masters are.
    database : Database
    """
    yield from map(_of_rows, disagreements(database))
    yield _of_masters(settings, database)
    yield _of_raw_files(database)


def _of_rows(found: Disagreement) -> Finding:
    if not found.number:
        return fine(found.question, "agree" if found.question.endswith("s") else "whole")
    return fault(found.question, _counted(found.number, found.examples), _MENDS[found.question])


def _of_masters(settings: Settings, database: Database) -> Finding:
    folder = settings.resolve(settings.paths.masters)
    rows = [row for row in masters(database) if row.path]
    away = _away(folder / row.path for row in rows)
    if not away:
        return fine("files of masters", f"all {len(rows)} are there")
    return warning(
        "files of masters",
        _counted(len(away), away),
        "none where their raw frames are there: they are built again when they are needed",
    )


def _of_raw_files(database: Database) -> Finding:
    paths = exposure_paths(database)
    away = _away(map(Path, paths))
    if not away:
        return fine("raw files", f"all {len(paths)} are there")
    return remark(
        "raw files",
        f"{_counted(len(away), away)}: not where they were received",
        "none, unless they are to be reduced again",
    )


def _away(paths: Iterable[Path]) -> list[str]:
    return [str(path) for path in paths if not is_there(path)]


def _counted(number: int, examples: Sequence[str]) -> str:
    more = f" and {number - EXAMPLES} more" if number > EXAMPLES else ""
    return f"{number}: {'; '.join(examples[:EXAMPLES])}{more}"

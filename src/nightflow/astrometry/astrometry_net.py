"""The embedded astrometry.net solver, run as a process of its own and held to its time limit."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from astropy.io import fits

from nightflow.astrometry.accept import WALL_OVER_CPU
from nightflow.astrometry.index_file import describe_index
from nightflow.astrometry.outside import (
    Attempt,
    first_believed,
    require_verifiable,
    scale_range,
    star_places,
)
from nightflow.astrometry.solution import Solution, SolveRequest
from nightflow.catalogs.local import LocalCatalogs
from nightflow.errors import NightflowError, NoSolution
from nightflow.external import ProgramError, run_bounded
from nightflow.instruments.profile import AstrometrySettings

__all__ = [
    "PACKAGED_INDEX_FOLDER",
    "SYSTEM_INDEX_FOLDER",
    "index_files",
    "run_worker",
    "solve_astrometry_net",
    "usable_index_files",
]

PACKAGED_INDEX_FOLDER = Path(__file__).parent / "data"
"""Holds the index file of the demonstration's field."""
SYSTEM_INDEX_FOLDER = Path("/usr/share/astrometry")
"""Where Debian's packages astrometry-data-* put their index files."""

WORKER = (sys.executable, "-m", "nightflow.astrometry.astrometry_net_worker")

_QUOTED = 300
_DESCRIBED = 4096


def solve_astrometry_net(
    request: SolveRequest,
    catalogs: LocalCatalogs,
    settings: AstrometrySettings,
    index_folders: Sequence[Path],
) -> Solution:
    """Solve a frame with astrometry.net: with the hints first, then blind; then verify.

    Parameters
    ----------
    request : SolveRequest
        ``scale`` narrows the search where known, ``ra`` and ``dec`` too.
    catalogs : LocalCatalogs
        Reference stars for the verification.
    settings : AstrometrySettings
        The bar a solution must pass.
    index_folders : sequence of Path
        Searched for index files; the packaged folder is searched after them.

    Raises
    ------
    NoSolution
        No catalogue, no index file, no wheel, a solver that crashed or ran out of time, or nothing that
        verifies.
    """
    require_verifiable(request, catalogs, settings)
    files, damaged = usable_index_files(index_folders)
    return first_believed(
        request,
        catalogs,
        settings,
        lambda attempt: _ask(request, files, attempt),
        backend="astrometry_net",
        notes=damaged,
    )


def index_files(folders: Sequence[Path]) -> list[Path]:
    """Return the index files in ``folders`` and in the packaged folder, each name once, sorted by name.

    Raises
    ------
    NoSolution
        There is none.
    """
    found: dict[str, Path] = {}
    for folder in [*folders, PACKAGED_INDEX_FOLDER]:
        for file in sorted(folder.glob("index-*.fits")):
            found.setdefault(file.name, file)
    if not found:
        looked = ", ".join(str(folder) for folder in folders) or "no folder"
        raise NoSolution(
            f"no astrometry.net index file (index-*.fits) in {looked}; get some with `nightflow index`"
        )
    return [found[name] for name in sorted(found)]


def usable_index_files(folders: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Return the index files that can be read, and what is wrong with the others.

    One damaged file among many would else end the solver at its start.

    Raises
    ------
    NoSolution
        There is none, or none that is whole.
    """
    usable, damaged = [], []
    for file in index_files(folders):
        try:
            state = file.stat()
            objection = _objection(file, state.st_mtime_ns, state.st_size)
        except OSError as error:
            objection = f"index file {file}: {error}"
        if objection:
            damaged.append(objection)
        else:
            usable.append(file)
    if not usable:
        raise NoSolution("; ".join(["no usable index file", *damaged]))
    return usable, damaged


@lru_cache(_DESCRIBED)
def _objection(file: Path, changed: int, size: int) -> str:
    """Return what is wrong with an index file; asked once for each state of the file."""
    try:
        describe_index(file)
    except NightflowError as error:
        return f"index file left out: {error}"
    return ""


def run_worker(payload: dict[str, Any], time_limit: float, command: Sequence[str] = WORKER) -> dict[str, Any]:
    """Send ``payload`` to the solver's process and return its answer.

    Raises
    ------
    NoSolution
        It cannot be started, ran out of time, crashed, or answered anything but JSON.
    """
    try:
        done = run_bounded(command, seconds=time_limit, stdin=json.dumps(payload))
    except ProgramError as failure:
        if failure.signal == signal.SIGPROF:
            limit = payload["time_limit"]
            raise NoSolution(f"the solver found nothing in {limit:.1f} s of its CPU time") from failure
        raise NoSolution(f"the solver's process: {failure}") from failure
    if done.status != 0:
        raise NoSolution(f"the solver's process failed with status {done.status}: {done.last_words}")
    try:
        decoded = json.loads(done.stdout)
    except ValueError as error:
        raise NoSolution(f"the solver answered no JSON: {done.stdout[:_QUOTED]!r}") from error
    if not isinstance(decoded, dict):
        raise NoSolution(f"the solver answered no JSON object: {done.stdout[:_QUOTED]!r}")
    return decoded


def _ask(request: SolveRequest, files: Sequence[Path], attempt: Attempt) -> fits.Header:
    """Return the best claim of the solver."""
    payload = {
        "stars": star_places(request).tolist(),
        "index_files": [str(file) for file in files],
        "scale": scale_range(request),
        "position": attempt.position,
        "parity": {1: "normal", -1: "flip", 0: "both"}[request.parity],
        "time_limit": attempt.seconds,
    }
    answer = run_worker(payload, WALL_OVER_CPU * attempt.seconds)
    if "error" in answer:
        raise NoSolution(str(answer["error"]))
    if not answer.get("matches"):
        raise NoSolution(f"{len(payload['stars'])} stars match nothing in {len(files)} index files")
    best = max(answer["matches"], key=lambda match: match["logodds"])
    return fits.Header(best["cards"].items())

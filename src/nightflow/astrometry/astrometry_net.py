"""The embedded astrometry.net solver, run as a process of its own and held to its time limit."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from nightflow.astrometry.accept import Deadline, match_radius_px, verified
from nightflow.astrometry.external import ProgramError, run_bounded
from nightflow.astrometry.geometry import field_radius
from nightflow.astrometry.plate import Plate, plate_from_wcs
from nightflow.astrometry.previous import stars_on_frame
from nightflow.astrometry.reference import reference_stars
from nightflow.astrometry.solution import Solution, SolveRequest
from nightflow.astrometry.spread import cell_size, evenly
from nightflow.catalogs.local import LocalCatalogs
from nightflow.errors import NoSolution
from nightflow.instruments.profile import AstrometrySettings

__all__ = [
    "PACKAGED_INDEX_FOLDER",
    "SYSTEM_INDEX_FOLDER",
    "index_files",
    "run_worker",
    "solve_astrometry_net",
]

PACKAGED_INDEX_FOLDER = Path(__file__).parent / "data"
SYSTEM_INDEX_FOLDER = Path("/usr/share/astrometry")
"""Where Debian's packages astrometry-data-* put their index files."""
"""Holds the index file of the demonstration's field."""

WORKER = (sys.executable, "-m", "nightflow.astrometry.astrometry_net_worker")

_STARS = 60
_HINTED_SHARE = 0.2
_BLIND_SHARE = 0.25
"""Shares of the rung's time limit. A solvable frame takes well under a second, also blind on all of Tycho-2;
one that cannot be solved would take minutes where the scale is unknown."""
_WIDEST_FIELD = 15.0
"""Degrees from the middle to a corner where the scale is unknown."""
_HYPOTHESES = 10_000
"""The solver does not say how many quads it tried; it is some thousands for a frame."""
_START_RADIUS = 0.01
_QUOTED = 300


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
    if len(request.x) < settings.minimum_matches:
        raise NoSolution(f"{len(request.x)} stars detected, {settings.minimum_matches} needed")
    if not catalogs.names():
        raise NoSolution(
            "no local catalogue that could verify a solution; import one with `nightflow catalog import`"
        )
    files = index_files(index_folders)
    deadline = Deadline(request.time_limit)
    said = []
    for label, share, position in _attempts(request):
        limit = min(share * request.time_limit, deadline.left)
        try:
            if position is not None:
                _require_reference(position, request, catalogs, settings)
            cards = _best_cards(_payload(request, files, position, limit), limit)
            return _verified(cards, request, catalogs, settings)
        except NoSolution as refusal:
            said.append(f"{label}: {refusal}")
    raise NoSolution("; ".join(said))


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


def _attempts(request: SolveRequest) -> list[tuple[str, float, list[float] | None]]:
    """Return name, share of the time and position hint of each attempt."""
    blind: tuple[str, float, list[float] | None] = ("blind", _BLIND_SHARE, None)
    if request.ra is None or request.dec is None:
        return [blind]
    position = [request.ra % 360.0, request.dec, request.hint_error]
    return [("with hints", _HINTED_SHARE, position), blind]


def _require_reference(
    position: list[float], request: SolveRequest, catalogs: LocalCatalogs, settings: AstrometrySettings
) -> None:
    """Raise `NoSolution` where whatever the solver found around the hint could not be verified."""
    ra, dec, error = position
    field = field_radius(request.shape, request.scale) if request.scale is not None else _WIDEST_FIELD
    reference_stars(
        catalogs,
        request,
        settings,
        ra=ra,
        dec=dec,
        radius=error + field,
        minimum=settings.minimum_matches,
    )


def _payload(
    request: SolveRequest, files: Sequence[Path], position: list[float] | None, limit: float
) -> dict[str, Any]:
    rows = evenly(request.x, request.y, request.flux, cell_size(request.shape), _STARS)
    scale = None
    if request.scale is not None:
        scale = [
            request.scale * (1.0 - request.scale_tolerance),
            request.scale * (1.0 + request.scale_tolerance),
        ]
    return {
        # 1-based: the answer's reference pixel is then a FITS one
        "stars": np.column_stack([request.x[rows] + 1.0, request.y[rows] + 1.0]).tolist(),
        "index_files": [str(file) for file in files],
        "scale": scale,
        "position": position,
        "parity": {1: "normal", -1: "flip", 0: "both"}[request.parity],
        "time_limit": limit,
    }


def _best_cards(payload: dict[str, Any], limit: float) -> dict[str, Any]:
    answer = run_worker(payload, limit)
    if "error" in answer:
        raise NoSolution(str(answer["error"]))
    if not answer.get("matches"):
        raise NoSolution(
            f"{len(payload['stars'])} stars match nothing in {len(payload['index_files'])} index files"
        )
    best = max(answer["matches"], key=lambda match: match["logodds"])
    return dict(best["cards"])


def _verified(
    cards: dict[str, Any], request: SolveRequest, catalogs: LocalCatalogs, settings: AstrometrySettings
) -> Solution:
    header = fits.Header()
    header.update(
        {key: value for key, value in cards.items() if key not in ("SIMPLE", "BITPIX", "NAXIS", "END")}
    )
    plate: Plate = plate_from_wcs(WCS(header), request.shape)
    stars = stars_on_frame(plate, request, catalogs, settings, margin=0.1, minimum=settings.minimum_matches)
    return verified(
        plate,
        request,
        settings,
        stars,
        backend="astrometry_net",
        start_radius=max(
            _START_RADIUS * float(np.hypot(*request.shape)), match_radius_px(settings, plate.scale)
        ),
        hypotheses=_HYPOTHESES,
    )

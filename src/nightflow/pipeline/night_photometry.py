"""The photometry of a whole night: solved at its end, lent to frames with too few stars of their own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nightflow.catalogs.local import LocalCatalogs
from nightflow.instruments.profile import CameraProfile
from nightflow.photcal.night import NightFrames, NightSolution, solve_night
from nightflow.photcal.zero_fit import color_prior
from nightflow.pipeline.night_lending import lend
from nightflow.pipeline.night_rows import solution_rows
from nightflow.pipeline.night_series import Series, series_of
from nightflow.store.database import Database
from nightflow.store.lent_zero_points import write_lent
from nightflow.store.models import NightSolution as SolutionRow
from nightflow.store.night_photometry import PhotometricFrame, photometric_frames, write_night_solutions

__all__ = ["NightPhotometry", "solve_photometry"]


@dataclass(frozen=True, kw_only=True)
class NightPhotometry:
    """What became of the photometry of a night.

    Attributes
    ----------
    solutions : tuple of `nightflow.store.models.NightSolution`
        One a camera, chip and filter.
    n_lent : int
        Frames whose zero point is that of the night, as far as it changed.
    changed : bool
        Whether a row was changed.
    """

    solutions: tuple[SolutionRow, ...]
    n_lent: int
    changed: bool


def solve_photometry(
    database: Database, catalogs: LocalCatalogs, profiles: Mapping[str, CameraProfile], night: str
) -> NightPhotometry:
    """Solve a night for zero points, colour terms and extinction; again on an unchanged night changes
    nothing.

    Frames that have a zero point of their own keep it; those that have none, or one that was lent before,
    get what the night says of them.

    Parameters
    ----------
    database : Database
    catalogs : LocalCatalogs
    profiles : mapping of name to CameraProfile
        A camera that has none any more is left out.
    night : str
        Date of the evening.
    """
    groups: dict[tuple[str, str, str], list[PhotometricFrame]] = defaultdict(list)
    with database.session() as session:
        for frame in photometric_frames(session, night):
            groups[frame.instrument, frame.detector, frame.filter].append(frame)
    solved, lent = [], []
    for frames in groups.values():
        profile = profiles.get(frames[0].instrument)
        series = None if profile is None else series_of(database, catalogs, profile.photometry, frames)
        found = None if series is None else _solve(series)
        if series is None or found is None:
            continue
        solved.append(solution_rows(night, series, found))
        lent += lend(series, found)
    changed = write_night_solutions(database, night, solved)
    n_lent = write_lent(database, lent)
    return NightPhotometry(
        solutions=tuple(row for row, _ in solved), n_lent=n_lent, changed=changed or n_lent > 0
    )


def _solve(series: Series) -> NightSolution | None:
    frames = NightFrames(
        airmass=np.array([np.nan if one.airmass is None else one.airmass for one in series.frames], float),
        hours=np.array([(one.mjd_mid - series.frames[0].mjd_mid) * 24 for one in series.frames]),
    )
    return solve_night(
        frames,
        series.rows,
        series.reference,
        color_prior=color_prior(series.choice),
        with_color=series.settings.color_term,
    )

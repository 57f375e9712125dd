"""Chips of a mosaic, or frames of a field, through SCAMP in one call; each judged by itself.

The stars are chosen here, a fifth of them is kept from SCAMP, and where each chip lies at the start comes
from the solution it has or from the camera's layout. SCAMP is not asked to search.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from astropy.io import fits

from nightflow.astrometry.scamp.chosen import (
    Given,
    chosen_stars,
    degree_for,
    ldac_chip,
    reference_for,
    seen_by_chips,
)
from nightflow.astrometry.scamp.degrees import best_of, central_plate, left_out_residuals
from nightflow.astrometry.scamp.frames import ChipAnswer, Exposure, Together
from nightflow.astrometry.scamp.headers import tpv_header, wcs_cards, wcs_of_head, write_ahead
from nightflow.astrometry.scamp.judge import judge
from nightflow.astrometry.scamp.ldac import write_ldac, write_reference
from nightflow.astrometry.scamp.program import (
    PROGRAM,
    REFERENCE,
    ScampRun,
    run_scamp,
    scamp_configuration,
)
from nightflow.astrometry.scamp.starts import starts
from nightflow.catalogs.local import LocalCatalogs
from nightflow.catalogs.stars import ReferenceStars
from nightflow.errors import NoSolution
from nightflow.instruments.profile import AstrometrySettings

__all__ = ["solve_together"]

_FEWEST_KEPT = 0.5
"""Of the stars that lie near a catalogue star by its own answer; with fewer it followed a few bright ones."""


def solve_together(
    exposures: Sequence[Exposure],
    catalogs: LocalCatalogs,
    settings: AstrometrySettings,
    folder: Path,
    *,
    layout: Mapping[str, fits.Header] | None = None,
    program: str = PROGRAM,
) -> Together:
    """Solve exposures that see the same sky, all chips at once.

    Parameters
    ----------
    exposures : sequence of Exposure
    catalogs : LocalCatalogs
        Reference stars.
    settings : AstrometrySettings
        The bar, and ``settings.scamp``.
    folder : Path
        Where SCAMP works: afterwards it holds, for each exposure, NAME.fits (LDAC), NAME.ahead, NAME.head,
        and SCAMP's catalogues.
    layout : mapping, optional
        The camera's, see `nightflow.astrometry.scamp.layout`; else it is learned from the exposure that has
        most chips solved.

    Raises
    ------
    NoSolution
        No chip has a place to start from, there are no reference stars, or SCAMP itself failed or hung.
        What is wrong with single chips stands in their answers.
    OSError
        The folder cannot be written to.
    """
    plates = starts(exposures, layout, catalogs, settings)
    stars = reference_for(exposures, plates, catalogs, settings)
    given = chosen_stars(exposures, plates, stars, settings)
    everyone = [one for chips in given for one in chips]
    write_reference(folder / REFERENCE, seen_by_chips(everyone, stars))
    climb, degree = _best_run(folder, given, stars, settings, program)
    run = climb.runs[degree - 1]
    answered = {}
    for chips, heads, counts in zip(given, run.heads, run.n_matched, strict=True):
        for one, head, count in zip(chips, heads, counts, strict=True):
            answer = _answer(one, head, count, stars, settings, len(climb.runs))
            answered[one.exposure.name, one.chip.name] = answer
    return Together(answers=_in_order(exposures, answered), stars=stars, degree=degree, stopped=climb.stopped)


@dataclass(frozen=True, kw_only=True)
class _Climb:
    """SCAMP's answers degree by degree, 1 first, and why it went no higher ("": the stars bear no more)."""

    runs: list[ScampRun]
    stopped: str


def _best_run(
    folder: Path,
    given: Sequence[Sequence[Given]],
    stars: ReferenceStars,
    settings: AstrometrySettings,
    program: str,
) -> tuple[_Climb, int]:
    """Return SCAMP's answers, and which degree left-out stars support; its files are put into the folder."""
    everyone = [one for chips in given for one in chips]
    climb = _climb(folder, given, settings, degree_for(everyone, settings), program)
    heads = [[head for chips in run.heads for head in chips] for run in climb.runs]
    degree = 1 + best_of([left_out_residuals(everyone, one, stars, settings) for one in heads])
    for file in _degree_folder(folder, degree).iterdir():
        if file.name != REFERENCE:
            file.replace(folder / file.name)
    for tried in folder.glob(_degree_folder(folder, "*").name):
        shutil.rmtree(tried)
    return climb, degree


def _climb(
    folder: Path,
    given: Sequence[Sequence[Given]],
    settings: AstrometrySettings,
    highest: int,
    program: str,
) -> _Climb:
    """Call SCAMP for each degree, each in a folder of its own, until one fails.

    Raises
    ------
    NoSolution
        The first one did.
    """
    deadline = time.monotonic() + settings.scamp.time_limit
    runs: list[ScampRun] = []
    for degree in range(1, highest + 1):
        place = _degree_folder(folder, degree)
        place.mkdir()
        (place / REFERENCE).symlink_to(folder.absolute() / REFERENCE)
        try:
            runs.append(_run(place, given, settings, deadline, degree=degree, program=program))
        except NoSolution as refusal:
            if not runs:
                raise
            return _Climb(runs=runs, stopped=f"no distortion of degree {degree}: {refusal}")
    return _Climb(runs=runs, stopped="")


def _degree_folder(folder: Path, degree: int | str) -> Path:
    return folder / f".degree-{degree}"


def _run(
    folder: Path,
    given: Sequence[Sequence[Given]],
    settings: AstrometrySettings,
    deadline: float,
    *,
    degree: int,
    program: str,
) -> ScampRun:
    """Call SCAMP; once more from its own answer where frames share a model.

    SCAMP clips what lies far off the start and fits once: each frame is then a little off in its own way.
    """
    scamp = settings.scamp
    radius = max(settings.match_radius, *(1.5 * one.plate.scale for chips in given for one in chips))
    heads = [[tpv_header(one.plate, one.chip.request.shape) for one in chips] for chips in given]
    for _ in range(2 if scamp.stability == "instrument" else 1):
        _write(folder, given, heads)
        run = run_scamp(
            folder,
            [f"{chips[0].exposure.name}.fits" for chips in given],
            [len(chips) for chips in given],
            scamp_configuration(degree=degree, crossid_arcsec=radius, stability=scamp.stability),
            seconds=max(deadline - time.monotonic(), 0.0),
            program=program,
        )
        heads = [[wcs_cards(head) for head in chips] for chips in run.heads]
    return run


def _write(folder: Path, given: Sequence[Sequence[Given]], heads: Sequence[Sequence[fits.Header]]) -> None:
    for chips, starts_at in zip(given, heads, strict=True):
        catalog = folder / f"{chips[0].exposure.name}.fits"
        write_ldac(catalog, [ldac_chip(one, head) for one, head in zip(chips, starts_at, strict=True)])
        write_ahead(catalog.with_suffix(".ahead"), starts_at)


def _answer(
    one: Given,
    head: fits.Header,
    n_scamp: int,
    stars: ReferenceStars,
    settings: AstrometrySettings,
    n_degrees: int,
) -> ChipAnswer:
    answer = ChipAnswer(
        exposure=one.exposure.name,
        chip=one.chip.name,
        solution=None,
        head=head,
        n_scamp=n_scamp,
        used=one.used,
    )
    try:
        if n_scamp < settings.minimum_matches:
            raise NoSolution(
                f"SCAMP identified {n_scamp} of its {len(one.used)} stars, {settings.minimum_matches} needed"
            )
        plate = central_plate(wcs_of_head(head), one.chip.request.shape)
        tried = one.chip.hypotheses * n_degrees
        then = stars.at_epoch(one.chip.request.epoch)
        found = judge(plate, one.chip.request, settings, then, one.used, hypotheses=tried)
        if n_scamp < _FEWEST_KEPT * found.n_matched:
            raise NoSolution(
                f"SCAMP kept {n_scamp} stars in its fit, though {found.n_matched} lie near a catalogue star"
            )
    except NoSolution as refusal:
        return replace(answer, reason=str(refusal))
    return replace(answer, solution=found)


def _in_order(
    exposures: Sequence[Exposure], answered: Mapping[tuple[str, str], ChipAnswer]
) -> tuple[ChipAnswer, ...]:
    nowhere = "no WCS to start from, and no layout of the camera tells where it lies"
    return tuple(
        answered.get(
            (exposure.name, chip.name),
            ChipAnswer(exposure=exposure.name, chip=chip.name, solution=None, reason=nowhere),
        )
        for exposure in exposures
        for chip in exposure.chips
    )

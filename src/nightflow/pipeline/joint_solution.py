"""All chips of exposures, or all frames of a field, solved together by SCAMP, on request.

The pixels are calibrated and measured again, held frames too; nothing is written to the ledger here, see
`nightflow.pipeline.joint_update`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from astropy.io import fits

from nightflow.astrometry.scamp.frames import ChipFrame, Together
from nightflow.astrometry.scamp.frames import Exposure as Solved
from nightflow.astrometry.scamp.layout import Placed, learn_layout, read_layout
from nightflow.astrometry.scamp.offsets import Offsets
from nightflow.astrometry.scamp.program import PROGRAM
from nightflow.astrometry.scamp.source_extractor import EXTRACTOR, extract
from nightflow.astrometry.scamp.starts import middle_of
from nightflow.astrometry.scamp.together import solve_together
from nightflow.astrometry.solution import SolveRequest
from nightflow.astrometry.spread import cell_size, evenly
from nightflow.astrometry.wcs_header import wcs_from_text
from nightflow.errors import ConfigurationError, FrameHeld, FrameRejected, NoSolution
from nightflow.external import ProgramError, not_installed, scratch_folder
from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.instruments.profile import AstrometrySettings, CameraProfile
from nightflow.pipeline.calibrate import calibrate
from nightflow.pipeline.identify import identify_file
from nightflow.pipeline.measure import measure
from nightflow.pipeline.solve import solve_request
from nightflow.pipeline.work import Context, Work
from nightflow.products.scamp_folder import check_scamp_folder, chip_offsets, write_scamp_folder
from nightflow.report.offsets_plot import offsets_png
from nightflow.store.frames import frames_of
from nightflow.store.models import Exposure
from nightflow.store.overview import current_reduction

__all__ = ["Detector", "Joint", "file_stem", "learned_layout", "solve_jointly"]

Detector = Literal["own", "source-extractor"]

ONE = "combined_acat"
"""Stem of the files of an exposure that is solved alone."""
_STARS = 1000
"""Of each chip, at most."""
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_SUFFIXES = re.compile(r"(\.(fits|fit|fts|gz|fz))+$", re.IGNORECASE)
_NOBODY_KNOWS = 51544.5


@dataclass(frozen=True, kw_only=True)
class Joint:
    """What came of exposures that were solved together.

    Attributes
    ----------
    exposures : tuple
        What was given to SCAMP; chips that could not be measured are not in it.
    together : Together
    offsets : tuple of Offsets
        One a chip.
    frames : tuple of tuple of int
        (row of the exposure, row of the frame) of each chip.
    paths : tuple of Path
        Raw file of each chip.
    files : tuple of Path
        What was written.
    left_out : tuple of str
        Chips that could not be measured, and why.
    settings : AstrometrySettings
        By whose bar they were judged.
    """

    exposures: tuple[Solved, ...]
    together: Together
    offsets: tuple[Offsets, ...]
    frames: tuple[tuple[int, int], ...]
    paths: tuple[Path, ...]
    files: tuple[Path, ...]
    left_out: tuple[str, ...]
    settings: AstrometrySettings


def solve_jointly(
    context: Context,
    exposures: Sequence[Exposure],
    folder: Path,
    *,
    detector: Detector = "own",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Joint:
    """Measure the chips of some exposures of one camera, solve them together, write what there is to see.

    Parameters
    ----------
    context : Context
    exposures : sequence of Exposure
        Lights that see the same sky.
    folder : Path
        For the files, see `nightflow.products.scamp_folder`.
    detector : {"own", "source-extractor"}
        Whose detections SCAMP gets.
    progress : callable
        Told how many chips of how many are measured.

    Raises
    ------
    ConfigurationError
        They are no lights, or of different cameras; or the folder holds something else, or cannot be written.
    NoSolution
        A program is not installed, SCAMP has no answer, or no chip has what it needs; see `solve_together`.
    NightflowError
        By consequence, as for a reduction.
    """
    check_scamp_folder(folder)
    for program in (PROGRAM, EXTRACTOR) if detector == "source-extractor" else (PROGRAM,):
        if shutil.which(program) is None:
            raise NoSolution(not_installed(program))
    profile, chips = _identified(context, exposures)
    measured, left_out = [], []
    for number, (exposure, header, frame_id) in enumerate(chips):
        progress(number, len(chips))
        try:
            measured.append(
                (
                    exposure,
                    header,
                    frame_id,
                    _measured(context, profile, exposure, header, frame_id, detector),
                )
            )
        except (FrameRejected, FrameHeld) as error:
            left_out.append(f"{Path(exposure.path).name} {header.detector}: {error}")
    if not measured:
        raise NoSolution("no chip could be measured", left_out)
    solved = _grouped(exposures, measured)
    layout = _layout(context, profile)
    try:
        with scratch_folder("nightflow-scamp-") as scamp:
            together = solve_together(solved, context.catalogs, profile.astrometry, scamp, layout=layout)
            offsets = chip_offsets(solved, together)
            title = f"{Path(exposures[0].path).name}, {profile.name}"
            title = title if len(exposures) == 1 else f"{len(exposures)} exposures, {title}"
            files = write_scamp_folder(
                folder, scamp, solved, together, offsets, offsets_png(offsets, title), now=context.clock()
            )
    except ProgramError as error:
        raise NoSolution(f"SCAMP: {error}") from error
    return Joint(
        exposures=tuple(solved),
        together=together,
        offsets=tuple(offsets),
        frames=tuple((exposure.id or 0, frame_id) for exposure, _, frame_id, _ in measured),
        paths=tuple(Path(exposure.path) for exposure, *_ in measured),
        files=tuple(files),
        left_out=tuple(left_out),
        settings=profile.astrometry,
    )


def learned_layout(joint: Joint) -> dict[str, fits.Header]:
    """Return how the chips of the camera lie to each other, by the exposure with most of them solved.

    Raises
    ------
    NoSolution
        No chip was solved.
    """
    best: dict[str, Placed] = {}
    answers = iter(joint.together.answers)
    for exposure in joint.exposures:
        placed = {
            chip.name: Placed(wcs=answer.solution.wcs, shape=chip.request.shape)
            for chip, answer in zip(exposure.chips, answers, strict=False)
            if answer.solution is not None
        }
        best = placed if len(placed) > len(best) else best
    if not best:
        raise NoSolution("no chip was solved that could show a layout")
    return learn_layout(best, *middle_of(list(best.values())))


def _identified(
    context: Context, exposures: Sequence[Exposure]
) -> tuple[CameraProfile, list[tuple[Exposure, FrameHeader, int]]]:
    """Return the camera, and each chip with its row of the ledger."""
    chips, profiles = [], {}
    for exposure in exposures:
        path = Path(exposure.path)
        identified = identify_file(path, list(context.profiles.values()))
        if identified.kind is not FrameKind.LIGHT:
            raise ConfigurationError(
                f"{path.name} is a {identified.kind}: only lights have stars to be solved"
            )
        profiles[identified.profile.name] = identified.profile
        rows = {frame.detector: frame for frame in frames_of(context.database, exposure.id or 0)}
        for header in identified.headers:
            row = rows.get(header.detector)
            chips.append((exposure, header, row.id or 0 if row is not None else 0))
    if len(profiles) > 1:
        raise ConfigurationError(
            f"exposures of {', '.join(sorted(profiles))}: solve those of one camera at a time"
        )
    return next(iter(profiles.values())), chips


def _measured(
    context: Context,
    profile: CameraProfile,
    exposure: Exposure,
    header: FrameHeader,
    frame_id: int,
    detector: Detector,
) -> ChipFrame:
    """Calibrate and measure a chip; its pixels are let go."""
    if not frame_id:
        raise FrameHeld("not reduced yet: `nightflow run` it first")
    work = Work(
        frame_id=frame_id,
        exposure_id=exposure.id or 0,
        path=Path(exposure.path),
        profile=profile,
        header=header,
    )
    calibrate(work, context)
    measure(work, context)
    assert work.measured is not None
    request = solve_request(work, context, work.measured.sources, _STARS)
    flux_err = None
    if detector == "source-extractor":
        request, flux_err = _extracted(work, request)
    reduction = current_reduction(context.database, frame_id)
    start = wcs_from_text(reduction.wcs) if reduction is not None and reduction.wcs else None
    return ChipFrame(name=header.detector, request=request, start=start, flux_err=flux_err)


def _extracted(work: Work, request: SolveRequest) -> tuple[SolveRequest, np.ndarray]:
    """Return the request with source-extractor's detections, and the errors of their fluxes."""
    frame = work.frame
    assert frame is not None
    assert frame.variance is not None
    assert frame.flags is not None
    found = extract(
        frame.data, np.sqrt(frame.variance), frame.flags, seconds=work.profile.astrometry.scamp.time_limit
    )
    rows = evenly(found.x, found.y, found.flux, cell_size(request.shape), _STARS)
    found = found.take(rows[np.argsort(-found.flux[rows], kind="stable")])
    request = replace(request, x=found.x, y=found.y, flux=found.flux, position_error=found.error)
    return request, found.flux_err


def _grouped(
    exposures: Sequence[Exposure], measured: Sequence[tuple[Exposure, FrameHeader, int, ChipFrame]]
) -> list[Solved]:
    solved = []
    for exposure in exposures:
        own = [(header, chip) for one, header, _, chip in measured if one is exposure]
        if not own:
            continue
        header = own[0][0]
        solved.append(
            Solved(
                name=ONE if len(exposures) == 1 else file_stem(exposure),
                chips=tuple(chip for _, chip in own),
                exptime=header.exptime,
                filter=header.filter,
                mjd=header.mjd_mid if header.mjd_mid is not None else _NOBODY_KNOWS,
            )
        )
    return solved


def file_stem(exposure: Exposure) -> str:
    """Return the stem of an exposure's files: its own name as far as it is plain, and its number.

    It never begins with a hyphen: SCAMP would take it for an option.
    """
    stem = _UNSAFE.sub("_", _SUFFIXES.sub("", Path(exposure.path).name))[:60].lstrip("-") or "exposure"
    return f"{stem}-e{exposure.id}"


def _layout(context: Context, profile: CameraProfile) -> dict[str, fits.Header] | None:
    name = profile.astrometry.scamp.layout
    if not name:
        return None
    return read_layout(context.settings.resolve(context.settings.paths.cameras) / name)

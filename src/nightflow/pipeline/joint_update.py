"""What SCAMP says of frames, into the store: where it is better than what they have, they are reduced again.

A reduction is made of its WCS: places, sources, zero point, light curves. So a better one is no change of a
row, but a new version of it all; the old one stays, no longer current.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from nightflow.astrometry.scamp.frames import ChipAnswer
from nightflow.astrometry.scamp.offsets import Offsets
from nightflow.astrometry.scamp.refinement import compared
from nightflow.astrometry.solution import Quality, Solution, SolveRequest
from nightflow.astrometry.wcs_header import wcs_from_text, wcs_to_text
from nightflow.pipeline.joint_solution import Joint
from nightflow.pipeline.optics import Offers
from nightflow.pipeline.reducer import Reducer
from nightflow.pipeline.run import reduce_chips
from nightflow.pipeline.unchanged import is_current
from nightflow.products.new_wcs import replace_wcs
from nightflow.products.scamp_folder import quality_cards
from nightflow.store.models import Reduction
from nightflow.store.overview import current_reduction

__all__ = ["Standing", "Update", "compare_with_store", "update_store"]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Which WCS a chip has in the store.

    Attributes
    ----------
    backend : str
        What found it: "scamp" for a joint solution; "" without a WCS.
    taken : bool
        Whether the joint solution was taken just now.
    better : bool
        Whether the joint solution is better than what there was before.
    reason : str
        Why it is, or why the other one stands.
    """

    backend: str
    taken: bool
    better: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class Update:
    """What became of the chips.

    Attributes
    ----------
    standings : tuple of Standing
        In the order of the answers.
    products : tuple of Path
        Reduced frames, written again, whose headers hold the joint solution.
    """

    standings: tuple[Standing, ...]
    products: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class _Chip:
    """A chip of a joint solution, with all that belongs to it."""

    answer: ChipAnswer
    request: SolveRequest
    offsets: Offsets
    exposure_id: int
    frame_id: int


@dataclass(frozen=True, kw_only=True)
class _Verdict:
    better: bool
    reason: str


def compare_with_store(reducer: Reducer, joint: Joint) -> tuple[Standing, ...]:
    """Return what `update_store` would do with each chip; nothing is changed."""
    chips = _chips(joint)
    return tuple(
        Standing(backend=_backend(reducer, chip), taken=False, better=verdict.better, reason=verdict.reason)
        for chip, verdict in zip(chips, _verdicts(reducer, joint, chips), strict=True)
    )


def update_store(reducer: Reducer, joint: Joint) -> Update:
    """Reduce chips again that have a better WCS together than by themselves, and with that.

    A verified WCS stands unless the joint one is clearly better on stars that SCAMP was not given, and no
    worse in the corners, see `nightflow.astrometry.scamp.refinement.compared`. One whose distortion was lent
    by other frames stands: SCAMP knows that of these frames only. So does all of an exposure that has to be
    reduced again for other reasons: its chips would be of two plans.

    Raises
    ------
    OSError
        A reduced frame cannot be read or written.
    """
    chips = _chips(joint)
    verdicts = _verdicts(reducer, joint, chips)
    written = _reduce_again(
        reducer, [chip for chip, verdict in zip(chips, verdicts, strict=True) if verdict.better]
    )
    standings = tuple(
        _standing(reducer, chip, verdict) for chip, verdict in zip(chips, verdicts, strict=True)
    )
    products = []
    for chip, standing in zip(chips, standings, strict=True):
        path = written.get(chip.frame_id)
        if standing.taken and path is not None:
            _say_in_product(reducer, chip, path, joint.together.degree)
            products.append(path)
    return Update(standings=standings, products=tuple(products))


def _chips(joint: Joint) -> list[_Chip]:
    requests = [chip.request for exposure in joint.exposures for chip in exposure.chips]
    return [
        _Chip(answer=answer, request=request, offsets=offsets, exposure_id=exposure_id, frame_id=frame_id)
        for answer, request, offsets, (exposure_id, frame_id) in zip(
            joint.together.answers, requests, joint.offsets, joint.frames, strict=True
        )
    ]


def _verdicts(reducer: Reducer, joint: Joint, chips: list[_Chip]) -> list[_Verdict]:
    """Return whether the joint WCS of each chip is better than the one that it has, and why."""
    offers = Offers(reducer.database)
    exposures = {chip.exposure_id for chip in chips}
    current = {one for one in exposures if is_current(reducer, one, offers)}
    return [_verdict(reducer, joint, chip, is_current=chip.exposure_id in current) for chip in chips]


def _verdict(reducer: Reducer, joint: Joint, chip: _Chip, *, is_current: bool) -> _Verdict:
    if chip.answer.solution is None:
        return _Verdict(better=False, reason=chip.answer.reason)
    if not is_current:
        said = "it is queued, or settings, masters or catalogues have changed: `nightflow run` it first"
        return _Verdict(better=False, reason=said)
    reduction = current_reduction(reducer.database, chip.frame_id)
    if reduction is None or reduction.wcs_quality != Quality.VERIFIED:
        return _Verdict(better=True, reason="it had no verified WCS")
    stands = f"{reduction.wcs_backend} stands"
    if reduction.wcs_distortion:
        return _Verdict(better=False, reason=f"other frames lent their distortion: {stands}")
    comparison = compared(
        wcs_from_text(reduction.wcs),
        _corner_error(reduction),
        chip.answer,
        chip.request,
        joint.together.stars,
        joint.settings,
    )
    if comparison.objection:
        return _Verdict(better=False, reason=f"{comparison.objection}: {stands}")
    gain = f'{comparison.after_arcsec:.3f}" instead of {comparison.before_arcsec:.3f}"'
    return _Verdict(better=True, reason=f"stars that SCAMP was not given: {gain} by {reduction.wcs_backend}")


def _corner_error(reduction: Reduction) -> float:
    """Return how far off the worst corner of a frame may be, arcsec."""
    if reduction.wcs_corner_err_arcsec is None:
        return math.inf
    return math.hypot(reduction.wcs_corner_rms_arcsec or 0.0, reduction.wcs_corner_err_arcsec)


def _reduce_again(reducer: Reducer, better: list[_Chip]) -> dict[int, Path]:
    """Reduce the chips again, not their neighbours; return row of a frame -> reduced frame, where written."""
    written: dict[int, Path] = {}

    def products(frame_id: int) -> None:
        path = reducer.products(frame_id).get("reduced")
        if path is not None:
            written[frame_id] = Path(path)

    joint = reducer.context.joint
    joint.update({chip.frame_id: _solution(chip) for chip in better})
    try:
        for exposure_id in dict.fromkeys(chip.exposure_id for chip in better):
            chips = [chip.frame_id for chip in better if chip.exposure_id == exposure_id]
            reduce_chips(reducer, exposure_id, chips, products)
    finally:
        joint.clear()
    return written


def _standing(reducer: Reducer, chip: _Chip, verdict: _Verdict) -> Standing:
    backend = _backend(reducer, chip)
    if not verdict.better:
        return Standing(backend=backend, taken=False, better=False, reason=verdict.reason)
    reduction = current_reduction(reducer.database, chip.frame_id)
    if reduction is None or reduction.wcs != wcs_to_text(_solution(chip).wcs):
        reason = "it was not reduced again: `nightflow frames` says why, or another process has it"
        return Standing(backend=backend, taken=False, better=True, reason=reason)
    return Standing(backend=backend, taken=True, better=True, reason=verdict.reason)


def _backend(reducer: Reducer, chip: _Chip) -> str:
    reduction = current_reduction(reducer.database, chip.frame_id)
    return (reduction.wcs_backend or "") if reduction is not None else ""


def _say_in_product(reducer: Reducer, chip: _Chip, path: Path, degree: int) -> None:
    """Write into the header of a chip's reduced frame how good its joint solution is."""
    cards = quality_cards(chip.answer, chip.offsets, degree, reducer.context.clock())
    replace_wcs(path, _solution(chip).wcs, cards, _history(_solution(chip)))


def _solution(chip: _Chip) -> Solution:
    assert chip.answer.solution is not None
    return chip.answer.solution


def _history(found: Solution) -> str:
    return (
        f"scamp: {found.quality}, {found.n_matched} stars, rms {found.rms_arcsec:.3f} arcsec, "
        f"left-out stars {found.heldout_rms_arcsec:.3f} arcsec"
    )

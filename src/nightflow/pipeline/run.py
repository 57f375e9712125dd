"""`nightflow run`: reduce files now, in this process, calibrations first."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nightflow.errors import NightflowError
from nightflow.instruments.header import FrameKind
from nightflow.pipeline.identify import identify_file
from nightflow.pipeline.optics import Offers
from nightflow.pipeline.outcome import Outcome
from nightflow.pipeline.reduce_exposure import Products, reduce_exposure
from nightflow.pipeline.reducer import Reducer
from nightflow.pipeline.register import find_files, register_all
from nightflow.pipeline.run_lease import free_dead_runs, hand_back, kept, take, take_settled
from nightflow.pipeline.run_name import run_worker
from nightflow.pipeline.unchanged import is_current, is_duplicate, is_unchanged
from nightflow.store.deaths import is_given_up
from nightflow.store.frames import frames_of
from nightflow.store.models import Priority, State
from nightflow.store.overview import get_exposure

__all__ = ["RunReport", "reduce_all", "reduce_chips", "reduce_paths"]

_ORDER = {kind: rank for rank, kind in enumerate(FrameKind)}
"""Bias, dark, flat, light, unknown: each needs those before it."""


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What a run did.

    Attributes
    ----------
    outcomes : tuple of Outcome
        Of what was reduced now, and of what has failed since whoever had it in work died: it is not tried
        again unless somebody asks for it.
    unchanged : int
        Exposures for which there was nothing to do.
    busy : tuple of str
        Files that another process is reducing still.
    """

    outcomes: tuple[Outcome, ...]
    unchanged: int
    busy: tuple[str, ...]

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """What ended in a fault of ours."""
        return tuple(outcome for outcome in self.outcomes if outcome.state == State.FAILED)


Progress = Callable[[int, int, Outcome | None], None]
"""(done, of how many, the last outcome)."""


def reduce_paths(
    reducer: Reducer, paths: Iterable[Path], *, force: bool = False, progress: Progress | None = None
) -> RunReport:
    """Receive all files under some paths and reduce what is new or changed.

    Raises
    ------
    ConfigurationError
        A path does not exist.
    """
    received = register_all(reducer.database, find_files(paths), priority=Priority.BACKFILL)
    return reduce_all(reducer, received, force=force, progress=progress)


def reduce_all(
    reducer: Reducer,
    exposure_ids: Sequence[int],
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> RunReport:
    """Reduce exposures of the ledger: calibrations first, then lights in order of time.

    So when a light is looked at, every calibration frame is known, and with them the masters it would get.

    Parameters
    ----------
    reducer : Reducer
    exposure_ids : sequence of int
    force : bool
        Also those for which nothing has changed.
    progress : callable, optional
        Told after each.
    """
    outcomes: list[Outcome] = []
    busy: list[int] = []
    unchanged = 0
    offers = Offers(reducer.database)
    began = datetime.now(UTC)
    free_dead_runs(reducer.database, began)
    for done, exposure_id in enumerate(in_order(reducer, exposure_ids), start=1):
        outcome = None
        known = not force and is_unchanged(reducer, exposure_id, offers)
        left = known or is_duplicate(reducer, exposure_id) or _is_settled_since(reducer, exposure_id, began)
        if left:
            outcome = _given_up(reducer, exposure_id)
            unchanged += outcome is None
        elif take(reducer.database, exposure_id, force=force):
            outcome = _reduce(reducer, exposure_id)
        else:
            busy.append(exposure_id)
        if outcome is not None:
            outcomes.append(outcome)
        if progress is not None:
            progress(done, len(exposure_ids), outcome)
    left_open = [str(_path(reducer, one)) for one in busy if not _is_settled_since(reducer, one, began)]
    unchanged += len(busy) - len(left_open)
    return RunReport(outcomes=tuple(outcomes), unchanged=unchanged, busy=tuple(left_open))


def reduce_chips(
    reducer: Reducer, exposure_id: int, frame_ids: Collection[int], products: Products
) -> Outcome | None:
    """Reduce some frames of a settled exposure again, and those that are held; the others stay as they are.

    Parameters
    ----------
    frame_ids : collection of int
        Rows of the ledger.
    products : callable
        See `reduce_exposure`.

    Returns
    -------
    Outcome or None
        Of the exposure. None, and nothing done, where its frames would be of two plans
        (`nightflow.pipeline.unchanged.is_current`), it is in the queue, or another process has it.
    """
    frames = frames_of(reducer.database, exposure_id)
    again = {*frame_ids, *(frame.id or 0 for frame in frames if frame.state == State.HELD)}
    if not is_current(reducer, exposure_id) or not take_settled(reducer.database, exposure_id, again):
        return None
    return _reduce(reducer, exposure_id, only=again, products=products)


def _is_settled_since(reducer: Reducer, exposure_id: int, moment: datetime) -> bool:
    """Return whether another process, the live service say, has done since what was to be done here."""
    exposure = get_exposure(reducer.database, exposure_id)
    assert exposure is not None
    return exposure.done_at is not None and exposure.done_at >= moment


def _given_up(reducer: Reducer, exposure_id: int) -> Outcome | None:
    """Return how an exposure ended of which whoever had it in work died; None where it did not."""
    exposure = get_exposure(reducer.database, exposure_id)
    if exposure is None or not is_given_up(exposure):
        return None
    return Outcome(
        exposure_id=exposure_id,
        path=exposure.path,
        state=str(exposure.state),
        reason=exposure.reason,
        seconds=0.0,
    )


def _reduce(
    reducer: Reducer,
    exposure_id: int,
    *,
    only: Collection[int] | None = None,
    products: Products | None = None,
) -> Outcome:
    try:
        with kept(reducer.database, exposure_id):
            return reduce_exposure(reducer, exposure_id, run_worker(), only=only, products=products)
    except BaseException:
        # Interrupted, or the store broke: whoever comes next shall not wait for the lease to end.
        hand_back(reducer.database, exposure_id)
        raise


def in_order(reducer: Reducer, exposure_ids: Sequence[int]) -> list[int]:
    """Return exposures by kind (bias, dark, flat, then lights), time and content.

    The order does not depend on the order in which they landed: the same night gives the same sources.
    """
    return sorted(exposure_ids, key=lambda exposure_id: (*_rank(reducer, exposure_id), exposure_id))


def calibrations_apart(reducer: Reducer, exposure_ids: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return what others need, that is calibrations, and the rest; each in the order given."""
    first_light = _ORDER[FrameKind.LIGHT]
    needed = [one for one in exposure_ids if _kind_and_time(reducer, one)[0] < first_light]
    known = set(needed)
    return needed, [one for one in exposure_ids if one not in known]


def _rank(reducer: Reducer, exposure_id: int) -> tuple[int, float, str]:
    return (*_kind_and_time(reducer, exposure_id), _content(reducer, exposure_id))


def _kind_and_time(reducer: Reducer, exposure_id: int) -> tuple[int, float]:
    frames = frames_of(reducer.database, exposure_id)
    if frames:
        return _ORDER[FrameKind(frames[0].kind)], frames[0].mjd_mid or 0.0
    try:
        identified = identify_file(
            _path(reducer, exposure_id),
            list(reducer.context.profiles.values()),
            max_pixels=reducer.settings.max_pixels,
        )
    except NightflowError:
        # It is no calibration frame, whatever it is; the reducer will say what is wrong with it.
        return _ORDER[FrameKind.UNKNOWN], 0.0
    return _ORDER[identified.kind], identified.headers[0].mjd_mid or 0.0


def _content(reducer: Reducer, exposure_id: int) -> str:
    exposure = get_exposure(reducer.database, exposure_id)
    return exposure.sha256 if exposure is not None else ""


def _path(reducer: Reducer, exposure_id: int) -> Path:
    exposure = get_exposure(reducer.database, exposure_id)
    return Path(exposure.path if exposure is not None else "")

"""How exposures end: settled by their frames or by an error, and what their end means for others."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from nightflow.errors import NightflowError
from nightflow.instruments.fits_file import content_at
from nightflow.pipeline.fingerprints import Fingerprints
from nightflow.pipeline.outcome import LOST, Outcome
from nightflow.pipeline.raw_content import is_somewhere
from nightflow.pipeline.settle import Verdict, verdict, worst_state
from nightflow.pipeline.waiting import queue_held, queue_if_there, wake_for_calibration
from nightflow.pipeline.work import Context, Work
from nightflow.store.frames import add_warning, frames_of
from nightflow.store.ledger import CONTENT, STORE, requeue, settle_exposure
from nightflow.store.models import Exposure, Priority, State
from nightflow.store.models import Frame as FrameRow
from nightflow.store.overview import known_exposure
from nightflow.store.supersede import supersede_replaced

__all__ = ["Conclusions", "Opened"]

log = logging.getLogger(__name__)

_FIRST_RETRY, _LAST_RETRY = timedelta(minutes=5), timedelta(hours=1)
"""After which an exposure that waits for something outside is tried again; doubled each time."""


@dataclass(kw_only=True)
class Opened:
    """An exposure between `identify` and its end.

    Attributes
    ----------
    began : float
        Of `time.perf_counter`.
    path : str
    surroundings, sky : str
        What it would wait for, as it was when the file was identified.
    offered : list of str or None
        Distortions that its frames are offered; None where it was not identified.
    """

    began: float
    path: str
    surroundings: str = ""
    sky: str = ""
    offered: list[str] | None = None


@dataclass(frozen=True, kw_only=True)
class _Ended:
    """An exposure that was settled here, as long as not all is done that follows from it."""

    exposure: Exposure
    """As it was before."""
    frames: list[FrameRow]
    found: Verdict
    outcome: Outcome


class Conclusions:
    """What one process knows of the exposures that it has in work, until they have ended.

    Safe for threads that work on different exposures.

    Parameters
    ----------
    context : Context
    fingerprints : Fingerprints
    clock : callable
        Returns the time of day, aware.
    """

    def __init__(self, context: Context, fingerprints: Fingerprints, clock: Callable[[], datetime]) -> None:
        self._context = context
        self._database = context.database
        self._fingerprints = fingerprints
        self._clock = clock
        self._lock = threading.Lock()
        self._concluding = threading.Lock()
        self._opened: dict[int, Opened] = {}
        self._ended: dict[int, _Ended] = {}
        self._verdicts: dict[int, Verdict] = {}

    def open(self, exposure_id: int, path: str) -> Opened:
        """Take an exposure into work; what comes to be known of it is written into what this returns."""
        opened = Opened(began=time.perf_counter(), path=path)
        with self._lock:
            self._ended.pop(exposure_id, None)
            self._opened[exposure_id] = opened
        return opened

    def keep(self, frame_id: int, found: Verdict) -> None:
        """Remember how a frame ended until its exposure does."""
        with self._lock:
            self._verdicts[frame_id] = found

    def forget(self, exposure_id: int) -> None:
        """Let go of an exposure that is concluded, or will not be here any more."""
        with self._lock:
            self._opened.pop(exposure_id, None)
            self._ended.pop(exposure_id, None)

    def warn(self, work: Work, warning: str) -> None:
        """Add a warning to a frame that is settled, and to its exposure, which may be concluded or not."""
        with self._concluding:
            with self._lock:
                found = self._verdicts.get(work.frame_id)
                if found is not None:
                    reason = "; ".join(one for one in (found.reason, warning) if one)
                    self._verdicts[work.frame_id] = replace(found, reason=reason)
            try:
                add_warning(self._database, work.frame_id, warning)
            except NightflowError as error:
                log.warning("%s: %s; and the ledger could not be told: %s", work.path.name, warning, error)

    def conclude(self, exposure_id: int, error: BaseException | None, worker: str | None) -> Outcome:
        """Settle an exposure and do what follows; called again where the store was locked meanwhile.

        See `nightflow.pipeline.reducer.Reducer.conclude`.
        """
        with self._concluding:
            # Where the store was locked after it was settled, only what follows is left to do.
            ended = self._ended.get(exposure_id) or self._settle(exposure_id, error, worker)
            if ended.outcome.state != LOST:
                self._follow_up(ended)
        if ended.outcome.state != LOST:
            self._take_up_if_there(ended)
        self.forget(exposure_id)
        return ended.outcome

    def follow_up(self, exposure_id: int) -> None:
        """Do once more what a done exposure means for others: its process may have died before it could."""
        exposure = known_exposure(self._database, exposure_id)
        if exposure.state == State.DONE:
            with self._concluding:
                self._tell_others(exposure_id, exposure.state, frames_of(self._database, exposure_id))

    def _settle(self, exposure_id: int, error: BaseException | None, worker: str | None) -> _Ended:
        exposure = known_exposure(self._database, exposure_id)
        frames = frames_of(self._database, exposure_id)
        found = self._worst(frames) if error is None else verdict(error)
        opened = self._opened.get(exposure_id)
        settled = settle_exposure(
            self._database,
            exposure_id,
            found.state,
            found.reason,
            now=self._clock(),
            waits_for=found.waits_for,
            **self._put_off(exposure.priority) if found.waits_for in ("outside", STORE) else {},
            plan_fingerprint=self._fingerprints.conclusion(
                frames,
                found.state,
                opened.offered if opened is not None else None,
                sky=opened.sky if opened is not None else "",
            ),
            worker=worker,
        )
        outcome = Outcome(
            exposure_id=exposure_id,
            path=exposure.path,
            state=str(found.state) if settled else LOST,
            reason=found.reason,
            seconds=time.perf_counter() - opened.began if opened is not None else 0.0,
        )
        ended = _Ended(exposure=exposure, frames=frames, found=found, outcome=outcome)
        with self._lock:
            self._ended[exposure_id] = ended
            for frame in frames:
                self._verdicts.pop(frame.id or 0, None)
        return ended

    def _put_off(self, priority: int) -> dict[str, Any]:
        """Return when and how urgently an exposure is tried again that something outside keeps waiting."""
        later = Priority.after_hold(priority)
        pause = min(_FIRST_RETRY * 2 ** (Priority.holds(later) - 1), _LAST_RETRY)
        return {"retry_at": self._clock() + pause, "priority": later}

    def _follow_up(self, ended: _Ended) -> None:
        """Do what an exposure's end means for others, and for itself; more than once is no harm."""
        exposure, frames, found = ended.exposure, ended.frames, ended.found
        exposure_id = exposure.id or 0
        self._tell_others(exposure_id, found.state, frames)
        opened = self._opened.get(exposure_id)
        if found.waits_for != "calibration" or opened is None or not opened.surroundings:
            return
        if opened.surroundings != self._fingerprints.conclusion(frames, found.state, sky=opened.sky):
            # A calibration that came while this was reduced found nobody held whom it could wake.
            queue_held(self._database, [exposure_id], Priority.again(exposure.priority), self._clock())

    def _tell_others(self, exposure_id: int, state: str, frames: list[FrameRow]) -> None:
        """Retire what an exposure took the place of, and wake what waited for it."""
        now = self._clock()
        if state == State.DONE:
            supersede_replaced(self._database, exposure_id, content_at, now=now)
        wake_for_calibration(self._context, frames, now)

    def _take_up_if_there(self, ended: _Ended) -> None:
        """Queue an exposure again whose file is not away: who saw it come found the exposure in work."""
        exposure, found, now = ended.exposure, ended.found, self._clock()
        if found.waits_for == "outside":
            opened = self._opened.get(exposure.id or 0)
            renamed = opened is not None and opened.path != exposure.path
            queue_if_there(self._database, exposure, now, missing=found.missing, renamed=renamed)
        elif found.waits_for == CONTENT and is_somewhere(self._database, exposure.sha256):
            requeue(
                self._database,
                [exposure.id or 0],
                states=[State.REJECTED],
                waits_for=CONTENT,
                priority=Priority.again(exposure.priority),
                now=now,
            )

    def _worst(self, frames: list[FrameRow]) -> Verdict:
        """Return the verdict on the worst frame of an exposure."""
        with self._lock:
            known = {frame.id: self._verdicts.get(frame.id or 0) for frame in frames}
        verdicts = [known[frame.id] or Verdict(State(frame.state), frame.reason) for frame in frames]
        worst = worst_state([found.state for found in verdicts])
        return next((found for found in verdicts if found.state == worst), Verdict(State.DONE))

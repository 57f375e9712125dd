"""The reducer: one exposure's steps on the ledger, for whoever calls them.

The flows call it through tasks, one call a step; `nightflow.pipeline.reduce_exposure` calls it in a row, for
`nightflow run` and for the night when the Prefect server is away. Pixels stay in here, between `identify` and
`Reducer.settle_frame`; those of a frame with products until `Reducer.products` has written them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from nightflow.catalogs.local import LocalCatalogs
from nightflow.config import MissingCalibrationPolicy, Settings
from nightflow.errors import NightflowError, NoSolution
from nightflow.instruments.fits_file import content_at
from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.instruments.profile import CameraProfile
from nightflow.instruments.registry import load_profiles
from nightflow.pipeline.append import append
from nightflow.pipeline.calibrate import calibrate
from nightflow.pipeline.flux import flux
from nightflow.pipeline.forced import forced
from nightflow.pipeline.identify import check_calibration, identify_file, tags_of
from nightflow.pipeline.master_library import MasterLibrary
from nightflow.pipeline.measure import measure
from nightflow.pipeline.optics import Offers
from nightflow.pipeline.outcome import LOST, IdentifiedExposure, Observer, Outcome
from nightflow.pipeline.plan import (
    Sky,
    is_complete,
    plan_fingerprint,
    sky_fingerprint,
    sky_of,
    surroundings_fingerprint,
    with_offered,
)
from nightflow.pipeline.pointings import Pointings
from nightflow.pipeline.products import write_products
from nightflow.pipeline.raw_content import RawContent, find_content, is_somewhere
from nightflow.pipeline.settle import Verdict, verdict, worst_state
from nightflow.pipeline.solve import solve
from nightflow.pipeline.waiting import queue_held, queue_if_there, wake_for_calibration
from nightflow.pipeline.work import Context, Work
from nightflow.products.quota import Quota
from nightflow.store.database import Database
from nightflow.store.frames import add_warning, camera_of, frames_of, record_frames, settle_frame
from nightflow.store.leases import LeaseLost
from nightflow.store.ledger import CONTENT, requeue, settle_exposure
from nightflow.store.models import Exposure, Priority, State
from nightflow.store.models import Frame as FrameRow
from nightflow.store.overview import frame_rows, get_exposure, known_paths
from nightflow.store.supersede import supersede_replaced

__all__ = ["STEPS", "Reducer"]

log = logging.getLogger(__name__)

STEPS = ("calibrate", "measure", "solve", "flux", "append")
"""The steps of a light frame, in order."""


def _flux(work: Work, context: Context) -> dict[str, Any]:
    """Calibrate the frame, then measure on its scale what was not detected."""
    return {**flux(work, context), **forced(work, context)}


_WORKERS: dict[str, Callable[[Work, Context], dict[str, Any]]] = {
    "calibrate": calibrate,
    "measure": measure,
    "solve": solve,
    "flux": _flux,
}
_FIRST_RETRY, _LAST_RETRY = timedelta(minutes=5), timedelta(hours=1)
"""After which an exposure that waits for something outside is tried again; doubled each time."""


@dataclass(kw_only=True)
class _Opened:
    """An exposure between `identify` and `conclude`."""

    began: float
    path: str
    surroundings: str = ""
    sky: str = ""
    """What it would wait for, as it was when the file was identified."""
    offered: list[str] | None = None
    """Distortions that its frames are offered; None where it was not identified."""


@dataclass(frozen=True, kw_only=True)
class _Ended:
    """An exposure that was settled here, as long as not all is done that follows from it."""

    exposure: Exposure
    """As it was before."""
    frames: list[FrameRow]
    found: Verdict
    outcome: Outcome


class Reducer:
    """Everything one process needs to reduce exposures; safe for threads that work on different ones.

    Parameters
    ----------
    settings : Settings
    missing_calibration : "warn" or "hold"
        What follows when a required master is missing.
    until : str
        Last step; the reduction is recorded after it.
    products : bool
        Whether `products` writes files.
    definitive_masters : bool
        True where all calibration frames are in the ledger already; see
        `nightflow.pipeline.master_plan.plan_master`.
    clock : callable
        Returns the time of day, aware.
    observer : Observer, optional
    """

    def __init__(
        self,
        settings: Settings,
        *,
        missing_calibration: MissingCalibrationPolicy,
        until: str = "append",
        products: bool = True,
        definitive_masters: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        observer: Observer | None = None,
    ) -> None:
        self.settings = settings
        self.database = Database(settings.store_url)
        self.database.upgrade()
        self.until = until
        self._products = products
        self._clock = clock
        self._observer = observer
        self._lock = threading.Lock()
        self._concluding = threading.Lock()
        self._works: dict[int, Work] = {}
        self._due: dict[int, Work] = {}
        self._opened: dict[int, _Opened] = {}
        self._ended: dict[int, _Ended] = {}
        self._plans: dict[str | None, str] = {}
        self._verdicts: dict[int, Verdict] = {}
        profiles = load_profiles(settings.resolve(settings.paths.cameras))
        self.context = Context(
            settings=settings,
            missing_calibration=missing_calibration,
            database=self.database,
            profiles={profile.name: profile for profile in profiles},
            catalogs=LocalCatalogs(settings.resolve(settings.paths.catalogs)),
            masters=MasterLibrary(self.database, settings.resolve(settings.paths.masters)),
            definitive_masters=definitive_masters,
            pointings=Pointings(),
            quota=self._quota(),
            clock=clock,
        )

    def _quota(self) -> Quota | None:
        if self.settings.products.quota <= 0:
            return None
        return Quota(
            self.settings.resolve(self.settings.paths.products),
            int(self.settings.products.quota * 1e9),
            received=partial(known_paths, self.database),
        )

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps that are done, in order: those up to ``until``, and `append` to record them."""
        last = STEPS.index(self.until)
        return (*STEPS[: min(last + 1, len(STEPS) - 1)], "append")

    def plan(self, instrument: str | None) -> str:
        """Return the fingerprint of how this reducer treats a camera's frames."""
        if instrument not in self._plans:
            profile = self.context.profiles.get(instrument) if instrument else None
            self._plans[instrument] = plan_fingerprint(
                profile, self.until, self.settings.engine, self.settings.astrometry.ladder
            )
        return self._plans[instrument]

    def plan_fingerprint(self, exposure_id: int) -> str:
        """Return the fingerprint of the plan of an exposure, as far as its camera is known."""
        return self.plan(camera_of(frames_of(self.database, exposure_id)))

    def conclusion_fingerprint(
        self,
        frames: list[FrameRow],
        state: str,
        offered: Sequence[str] | None = None,
        policy: MissingCalibrationPolicy | None = None,
        sky: str = "",
    ) -> str:
        """Return what a conclusion rests on: the plan, the distortions that its frames are offered, and what
        is around where something is still wanting; behind it, of a held one, its `sky_fingerprint`.

        A held exposure, and one that ended without a verified WCS or a zero point, may fare better with
        another catalogue, index file or calibration.

        Parameters
        ----------
        frames, state
            Of the exposure.
        offered : sequence of str, optional
            See `nightflow.pipeline.optics.Offers`; without, what they are offered now.
        policy : "warn" or "hold", optional
            What followed when a required master was missing; without, what follows here.
        sky : str
            As it was when the exposure was taken up; without, as it is now.
        """
        if offered is None:
            offered = Offers(self.database).of(frames)
        instrument = camera_of(frames)
        plan = with_offered(self.plan(instrument), offered)
        if state != State.HELD and is_complete(self.database, frames):
            return plan
        around = surroundings_fingerprint(plan, self.context, instrument, policy)
        return f"{around}:{sky or self.sky_fingerprint(instrument)}" if state == State.HELD else around

    def sky_fingerprint(self, instrument: str | None, around: Sky | None = None) -> str:
        """Return the fingerprint of what a camera's exposures await that are held for a WCS or a profile.

        Where the camera is not known any profile may be the one that is waited for.

        Parameters
        ----------
        instrument : str or None
        around : tuple, optional
            What there is now, see `nightflow.pipeline.plan.sky_of`; without, it is looked up.
        """
        profiles = self.context.profiles
        names = [instrument] if instrument in profiles else sorted(profiles)
        plans = [self.plan(name) for name in names]
        return sky_fingerprint(plans, around if around is not None else sky_of(self.context))

    def identify(
        self, exposure_id: int, only: Collection[int] | None = None, worker: str | None = None
    ) -> IdentifiedExposure:
        """Open the file, recognise the camera, write one ledger row a frame.

        The pixels of calibration frames are checked here: there is nothing more to do with them until a light
        needs their master.

        Parameters
        ----------
        exposure_id : int
        only : collection of int, optional
            Rows of its frames that are taken up; the others stay as they are.
        worker : str, optional
            Where given, nothing is written of its frames once this is not the holder of the lease any more.

        Raises
        ------
        FrameRejected
            The file is unusable; the message says why.
        FrameHeld
            No camera profile fits it, or its header lacks what a reduction needs.
        RetryLater
            The file cannot be read now.
        """
        with self._observed("identify", exposure_id, exposure_id):
            return self._identify(exposure_id, only, worker)

    def _identify(
        self, exposure_id: int, only: Collection[int] | None, worker: str | None
    ) -> IdentifiedExposure:
        with self._lock:
            self._ended.pop(exposure_id, None)
        exposure = self._exposure(exposure_id)
        with self._lock:
            self._opened[exposure_id] = _Opened(began=time.perf_counter(), path=exposure.path)
        content = find_content(self.database, exposure)
        path = content.path
        profiles = list(self.context.profiles.values())
        with content.unchanged():
            identified = identify_file(path, profiles, max_pixels=self.settings.max_pixels)
        frame_ids = record_frames(self.database, exposure_id, identified.headers)
        # Before a frame is solved: a row that is written meanwhile makes it be looked at again.
        frames = frames_of(self.database, exposure_id)
        offered = Offers(self.database).of(frames)
        around = sky_of(self.context)
        sky = self.sky_fingerprint(camera_of(frames), around)
        with self._lock:
            self._opened[exposure_id].path = str(path)
            self._opened[exposure_id].offered = offered
            self._opened[exposure_id].surroundings = self._surroundings(frames, offered, sky, around)
            self._opened[exposure_id].sky = sky
        if identified.kind is not FrameKind.LIGHT:
            with content.unchanged():
                check_calibration(path, identified)
        taken = {
            row: header
            for row, header in zip(frame_ids, identified.headers, strict=True)
            if only is None or row in only
        }
        self._take_up(exposure_id, content, identified.profile, taken, worker)
        return IdentifiedExposure(
            exposure_id=exposure_id,
            path=str(path),
            kind=str(identified.kind),
            frame_ids=tuple(taken),
            title=identified.title,
            tags=tags_of(frames),
        )

    def perform(self, frame_id: int, step: str) -> dict[str, Any]:
        """Do one step of `STEPS` on a frame that was identified in this process.

        Returns
        -------
        dict
            A small summary of what was found, for the log and the UI.

        Raises
        ------
        nightflow.errors.NightflowError
            By consequence; see `nightflow.errors`.
        """
        work = self._works[frame_id]
        if step not in self.steps:
            return {"skipped": f"stops after {self.until}"}
        started = time.perf_counter()
        try:
            with self._observed(step, work.exposure_id, frame_id):
                summary = self._append(work) if step == "append" else _WORKERS[step](work, self.context)
        finally:
            work.timings[step] = time.perf_counter() - started
        return {**summary, "seconds": round(work.timings[step], 3)}

    def products(self, frame_id: int) -> dict[str, str]:
        """Write the reduced frame and its thumbnail of a settled frame; return their paths by name.

        What goes wrong is a warning of the frame, and ends nothing.
        """
        with self._lock:
            work = self._due.pop(frame_id, None)
        if work is None:
            return {}
        with self._observed("products", work.exposure_id, frame_id):
            known = len(work.warnings)
            written = write_products(work, self.context)
            for warning in work.warnings[known:]:
                self._warn(work, warning)
        return written

    def _warn(self, work: Work, warning: str) -> None:
        """Add a warning to a frame that is settled, and to its exposure, which may be concluded or not."""
        with self._concluding:
            with self._lock:
                found = self._verdicts.get(work.frame_id)
                if found is not None:
                    reason = "; ".join(one for one in (found.reason, warning) if one)
                    self._verdicts[work.frame_id] = replace(found, reason=reason)
            try:
                add_warning(self.database, work.frame_id, warning)
            except NightflowError as error:
                log.warning("%s: %s; and the ledger could not be told: %s", work.path.name, warning, error)

    def settle_frame(self, frame_id: int, error: BaseException | None = None) -> str:
        """Give a frame the state that follows from how its steps ended.

        Its arrays are forgotten, or kept for `products` where it is done.

        Returns
        -------
        str
            The state; "lost" where another process has the exposure now, and nothing was written.
        """
        work = self._works.get(frame_id)
        if work is None:
            return self._settle_frame(frame_id, error, work)
        with self._observed("settle", work.exposure_id, frame_id):
            return self._settle_frame(frame_id, error, work)

    def _settle_frame(self, frame_id: int, error: BaseException | None, work: Work | None) -> str:
        found = verdict(error)
        lost = False
        try:
            found = self._write_verdict(frame_id, found, error, work)
        except LeaseLost as gone:
            log.warning("%s", gone)
            lost = True
        # Forgotten only now: where the store was locked, this is called again.
        with self._lock:
            self._verdicts[frame_id] = found
            self._works.pop(frame_id, None)
            if work is not None and error is None and self._products and not lost:
                self._due[frame_id] = work
        return LOST if lost else str(found.state)

    def _write_verdict(
        self, frame_id: int, found: Verdict, error: BaseException | None, work: Work | None
    ) -> Verdict:
        """Write down how a frame ended; return it with the warnings that it has by now."""
        if work is not None and isinstance(error, NoSolution):
            # What was found stays to be seen: masters, FWHM, sources. Without a WCS it is in no light curve.
            self._append(work, with_measurements=False)
        if not found.reason and work is not None:
            found = replace(found, reason="; ".join(dict.fromkeys(work.warnings)))
        settle_frame(
            self.database,
            frame_id,
            found.state,
            found.reason,
            traceback=found.traceback,
            worker=work.worker if work is not None else None,
        )
        return found

    def forget(self, exposure_id: int) -> None:
        """Let go of the pixels of an exposure on which nothing is done here any more, however it ended."""
        with self._lock:
            self._ended.pop(exposure_id, None)
            for kept in (self._works, self._due):
                for row in [row for row, work in kept.items() if work.exposure_id == exposure_id]:
                    del kept[row]

    def conclude(
        self, exposure_id: int, error: BaseException | None = None, worker: str | None = None
    ) -> Outcome:
        """Settle an exposure by its frames, or by the error that kept it from being identified.

        Parameters
        ----------
        exposure_id : int
        error : BaseException, optional
            What `identify` raised.
        worker : str, optional
            Where given, only the holder of the lease may settle; one that has lost it gets an outcome in
            state "lost", and nothing is written.
        """
        with self._observed("conclude", exposure_id, exposure_id):
            with self._concluding:
                # Where the store was locked after it was settled, only what follows is left to do.
                ended = self._ended.get(exposure_id) or self._settle(exposure_id, error, worker)
                if ended.outcome.state != LOST:
                    self._follow_up(ended)
            if ended.outcome.state != LOST:
                self._take_up_if_there(ended)
            with self._lock:
                self._opened.pop(exposure_id, None)
                self._ended.pop(exposure_id, None)
        if self._observer is not None and ended.outcome.state != LOST:
            self._observer.settled(ended.outcome)
        return ended.outcome

    def _settle(self, exposure_id: int, error: BaseException | None, worker: str | None) -> _Ended:
        exposure = self._exposure(exposure_id)
        frames = frames_of(self.database, exposure_id)
        found = self._worst(frames) if error is None else verdict(error)
        opened = self._opened.get(exposure_id)
        offered = opened.offered if opened is not None else None
        settled = settle_exposure(
            self.database,
            exposure_id,
            found.state,
            found.reason,
            now=self._clock(),
            waits_for=found.waits_for,
            **self._put_off(exposure.priority) if found.waits_for == "outside" else {},
            plan_fingerprint=self.conclusion_fingerprint(
                frames, found.state, offered, sky=opened.sky if opened is not None else ""
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

    @contextmanager
    def _observed(self, step: str, exposure_id: int, row: int) -> Iterator[None]:
        if self._observer is None:
            yield
            return
        self._observer.began(step, exposure_id, row)
        try:
            yield
        except MemoryError as error:
            self._observer.exhausted(step, error)
            raise
        finally:
            self._observer.ended(step, exposure_id, row)

    def _put_off(self, priority: int) -> dict[str, Any]:
        """Return when and how urgently an exposure is tried again that something outside keeps waiting."""
        later = Priority.after_hold(priority)
        pause = min(_FIRST_RETRY * 2 ** (Priority.holds(later) - 1), _LAST_RETRY)
        return {"retry_at": self._clock() + pause, "priority": later}

    def _follow_up(self, ended: _Ended) -> None:
        """Do what an exposure's end means for others, and for itself; more than once is no harm."""
        exposure, frames, found = ended.exposure, ended.frames, ended.found
        exposure_id, now = exposure.id or 0, self._clock()
        if found.state == State.DONE:
            supersede_replaced(self.database, exposure_id, content_at, now=now)
        wake_for_calibration(self.context, frames, now)
        opened = self._opened.get(exposure_id)
        if found.waits_for != "calibration" or opened is None or not opened.surroundings:
            return
        if opened.surroundings != self.conclusion_fingerprint(frames, found.state, sky=opened.sky):
            # A calibration that came while this was reduced found nobody held whom it could wake.
            queue_held(self.database, [exposure_id], Priority.again(exposure.priority), now)

    def _take_up_if_there(self, ended: _Ended) -> None:
        """Queue an exposure again whose file is not away: who saw it come found the exposure in work."""
        exposure, found, now = ended.exposure, ended.found, self._clock()
        if found.waits_for == "outside":
            opened = self._opened.get(exposure.id or 0)
            renamed = opened is not None and opened.path != exposure.path
            queue_if_there(self.database, exposure, now, missing=found.missing, renamed=renamed)
        elif found.waits_for == CONTENT and is_somewhere(self.database, exposure.sha256):
            requeue(
                self.database,
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

    def frame_summary(self, frame_id: int) -> dict[str, Any]:
        """Return the frame's row of `nightflow frames`."""
        return next(iter(frame_rows(self.database, frame_id=frame_id)))

    def _surroundings(self, frames: Sequence[FrameRow], offered: Sequence[str], sky: str, around: Sky) -> str:
        """Return what a frame that may have to wait began with; "" where nothing is waited for."""
        if self.context.missing_calibration != "hold" or frames[0].kind != FrameKind.LIGHT:
            return ""
        instrument = camera_of(frames)
        plan = with_offered(self.plan(instrument), offered)
        return f"{surroundings_fingerprint(plan, self.context, instrument, around=around)}:{sky}"

    def _exposure(self, exposure_id: int) -> Exposure:
        exposure = get_exposure(self.database, exposure_id)
        if exposure is None:
            raise KeyError(f"exposure {exposure_id} is not in the ledger {self.database.shown}")
        return exposure

    def _take_up(
        self,
        exposure_id: int,
        content: RawContent,
        profile: CameraProfile,
        headers: Mapping[int, FrameHeader],
        worker: str | None,
    ) -> None:
        for frame_id, header in headers.items():
            work = Work(
                frame_id=frame_id,
                exposure_id=exposure_id,
                path=content.path,
                profile=profile,
                header=header,
                content=content,
                worker=worker,
                warnings=list(header.warnings),
            )
            with self._lock:
                self._works[frame_id] = work

    def _append(self, work: Work, *, with_measurements: bool | None = None) -> dict[str, Any]:
        if with_measurements is None:
            with_measurements = self.until == "append"
        return append(
            work,
            self.database,
            self.plan(work.profile.name),
            now=self._clock(),
            with_measurements=with_measurements,
        )

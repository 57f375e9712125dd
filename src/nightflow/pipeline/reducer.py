"""The reducer: one exposure's steps on the ledger, for whoever calls them.

The flows call it through tasks, one call a step; `nightflow.pipeline.reduce_exposure` calls it in a row, for
`nightflow run` and for the night when the Prefect server is away. Pixels stay in here, between `identify` and
`Reducer.settle_frame`; those of a frame with products until `Reducer.products` has written them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from nightflow.catalogs.local import LocalCatalogs
from nightflow.config import MissingCalibrationPolicy, Settings
from nightflow.errors import FrameRejected, NoSolution
from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.instruments.profile import CameraProfile
from nightflow.instruments.registry import load_profiles
from nightflow.pipeline.append import append
from nightflow.pipeline.calibrate import calibrate
from nightflow.pipeline.conclusion import Conclusions
from nightflow.pipeline.fingerprints import Fingerprints
from nightflow.pipeline.flux import flux
from nightflow.pipeline.forced import forced
from nightflow.pipeline.identify import Identified, check_calibration, identify_file, tags_of
from nightflow.pipeline.master_library import MasterLibrary
from nightflow.pipeline.measure import measure
from nightflow.pipeline.optics import Offers
from nightflow.pipeline.outcome import LOST, IdentifiedExposure, Observer, Outcome
from nightflow.pipeline.plan import sky_of
from nightflow.pipeline.pointings import Pointings
from nightflow.pipeline.products import write_products
from nightflow.pipeline.raw_content import RawContent, find_content
from nightflow.pipeline.settle import Verdict, verdict
from nightflow.pipeline.solve import solve
from nightflow.pipeline.work import Context, Work
from nightflow.products.quota import Quota
from nightflow.store.database import Database
from nightflow.store.frames import camera_of, frames_of, record_frames, settle_frame
from nightflow.store.leases import LeaseLost
from nightflow.store.overview import frame_rows, known_exposure, known_paths

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
        self._works: dict[int, Work] = {}
        self._due: dict[int, Work] = {}
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
        self.fingerprints = Fingerprints(self.context, until)
        self._conclusions = Conclusions(self.context, self.fingerprints, clock)

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
        LeaseLost
            ``worker`` holds the exposure no more.
        """
        with self._observed("identify", exposure_id, exposure_id):
            return self._identify(exposure_id, only, worker)

    def _identify(
        self, exposure_id: int, only: Collection[int] | None, worker: str | None
    ) -> IdentifiedExposure:
        exposure = known_exposure(self.database, exposure_id)
        opened = self._conclusions.open(exposure_id, exposure.path)
        content = find_content(self.database, exposure.path, exposure.sha256)
        path = content.path
        profiles = list(self.context.profiles.values())
        with content.unchanged():
            identified = identify_file(path, profiles, max_pixels=self.settings.max_pixels)
        frame_ids = record_frames(self.database, exposure_id, identified.headers, worker=worker)
        # Before a frame is solved: a row that is written meanwhile makes it be looked at again.
        frames = frames_of(self.database, exposure_id)
        offered = Offers(self.database).of(frames)
        opened.path, opened.offered = str(path), offered
        taken = {
            row: header
            for row, header in zip(frame_ids, identified.headers, strict=True)
            if only is None or row in only
        }
        if identified.kind is FrameKind.LIGHT:
            around = sky_of(self.context)
            opened.sky = self.fingerprints.sky(camera_of(frames), around)
            opened.surroundings = self.fingerprints.surroundings(frames, offered, opened.sky, around)
            self._take_up(exposure_id, content, identified.profile, taken, worker)
        else:
            self._settle_calibrations(content, identified, taken, worker)
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
                self._conclusions.warn(work, warning)
        return written

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
        self._conclusions.keep(frame_id, found)
        with self._lock:
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
        self._conclusions.forget(exposure_id)
        with self._lock:
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
            outcome = self._conclusions.conclude(exposure_id, error, worker)
        if self._observer is not None and outcome.state != LOST:
            self._observer.settled(outcome)
        return outcome

    def follow_up(self, exposure_id: int) -> None:
        """Do what follows from the end of an exposure that is done, where its process died too early for it.

        Where it was done already, nothing changes.
        """
        self._conclusions.follow_up(exposure_id)

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

    def frame_summary(self, frame_id: int) -> dict[str, Any]:
        """Return the frame's row of `nightflow frames`."""
        return next(iter(frame_rows(self.database, frame_id=frame_id)))

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

    def _settle_calibrations(
        self,
        content: RawContent,
        identified: Identified,
        headers: Mapping[int, FrameHeader],
        worker: str | None,
    ) -> None:
        """Settle frames that take no steps by a look at their pixels."""
        unusable: FrameRejected | None = None
        try:
            with content.unchanged():
                check_calibration(content.path, identified)
        except FrameRejected as error:
            unusable = error
        found = verdict(unusable)
        for frame_id, header in headers.items():
            reason = found.reason or "; ".join(dict.fromkeys(header.warnings))
            settle_frame(self.database, frame_id, found.state, reason, worker=worker)
        if unusable is not None:
            raise unusable

    def _append(self, work: Work, *, with_measurements: bool | None = None) -> dict[str, Any]:
        if with_measurements is None:
            with_measurements = self.until == "append"
        return append(
            work,
            self.database,
            self.fingerprints.plan(work.profile.name),
            now=self._clock(),
            with_measurements=with_measurements,
        )

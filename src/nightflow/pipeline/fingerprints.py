"""The fingerprints by which one process knows how it treats exposures, and what is around them."""

from __future__ import annotations

from collections.abc import Sequence

from nightflow.config import MissingCalibrationPolicy
from nightflow.instruments.header import FrameKind
from nightflow.pipeline.optics import Offers
from nightflow.pipeline.plan import (
    Sky,
    is_complete,
    plan_fingerprint,
    sky_fingerprint,
    sky_of,
    surroundings_fingerprint,
    with_offered,
)
from nightflow.pipeline.work import Context
from nightflow.store.frames import camera_of, frames_of
from nightflow.store.models import Frame as FrameRow
from nightflow.store.models import State

__all__ = ["Fingerprints"]


class Fingerprints:
    """Fingerprints of a reducer's plans and of what they rest on.

    Parameters
    ----------
    context : Context
    until : str
        Last step that is done.
    """

    def __init__(self, context: Context, until: str) -> None:
        self._context = context
        self._until = until
        self._plans: dict[str | None, str] = {}

    def plan(self, instrument: str | None) -> str:
        """Return the fingerprint of how a camera's frames are treated."""
        if instrument not in self._plans:
            settings = self._context.settings
            profile = self._context.profiles.get(instrument) if instrument else None
            self._plans[instrument] = plan_fingerprint(
                profile, self._until, settings.engine, settings.astrometry.ladder
            )
        return self._plans[instrument]

    def plan_of(self, exposure_id: int) -> str:
        """Return the fingerprint of the plan of an exposure, as far as its camera is known."""
        return self.plan(camera_of(frames_of(self._context.database, exposure_id)))

    def conclusion(
        self,
        frames: list[FrameRow],
        state: str,
        offered: Sequence[str] | None = None,
        policy: MissingCalibrationPolicy | None = None,
        sky: str = "",
    ) -> str:
        """Return what a conclusion rests on: the plan, the distortions that its frames are offered, and what
        is around where something is still wanting; behind it, of a held one, the fingerprint of its `sky`.

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
            offered = Offers(self._context.database).of(frames)
        instrument = camera_of(frames)
        plan = with_offered(self.plan(instrument), offered)
        if state != State.HELD and is_complete(self._context.database, frames):
            return plan
        around = surroundings_fingerprint(plan, self._context, instrument, policy)
        return f"{around}:{sky or self.sky(instrument)}" if state == State.HELD else around

    def sky(self, instrument: str | None, around: Sky | None = None) -> str:
        """Return the fingerprint of what a camera's exposures await that are held for a WCS or a profile.

        Where the camera is not known any profile may be the one that is waited for.

        Parameters
        ----------
        instrument : str or None
        around : tuple, optional
            What there is now, see `nightflow.pipeline.plan.sky_of`; without, it is looked up.
        """
        profiles = self._context.profiles
        names = [instrument] if instrument in profiles else sorted(profiles)
        plans = [self.plan(name) for name in names]
        return sky_fingerprint(plans, around if around is not None else sky_of(self._context))

    def surroundings(self, frames: Sequence[FrameRow], offered: Sequence[str], sky: str, around: Sky) -> str:
        """Return what a frame that may have to wait begins with; "" where nothing is waited for."""
        if self._context.missing_calibration != "hold" or frames[0].kind != FrameKind.LIGHT:
            return ""
        instrument = camera_of(frames)
        plan = with_offered(self.plan(instrument), offered)
        return f"{surroundings_fingerprint(plan, self._context, instrument, around=around)}:{sky}"

"""Cosmic rays in one calibrated frame: our step and astroscrappy, with the same parameters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import astroscrappy
import numpy as np
from numpy.typing import NDArray

from benchmarks import peers
from benchmarks.cases.calibrate import without_cosmic_rays
from benchmarks.harness import Agreement, Case, Side, both
from benchmarks.workshop import Workshop
from nightflow.detector.chain import calibrate
from nightflow.detector.cosmic_rays import excluded_pixels, flag_cosmic_rays
from nightflow.flags import Flag
from nightflow.frame import Frame
from nightflow.instruments.profile import CosmicRaySettings

__all__ = ["agree", "astroscrappy_mask", "cosmic_ray_case"]


@contextmanager
def cosmic_ray_case(workshop: Workshop) -> Iterator[Case]:
    """A frame that went through the chain but for its cosmic rays."""
    shop = workshop.detector
    frame = calibrate(shop.raw, without_cosmic_rays(shop.profile), shop.masters)
    settings = shop.profile.cosmic_rays
    yield Case(
        ours=Side(run=lambda: flag_cosmic_rays(frame, settings)),
        peer=Side(run=lambda: astroscrappy_mask(frame, settings)),
        peer_name=f"{peers.name('astroscrappy')}: niter {settings.niter}, sepmed False; {shop.size}",
        agree=agree,
    )


def astroscrappy_mask(frame: Frame, settings: CosmicRaySettings) -> NDArray[np.bool_]:
    """Return the pixels that astroscrappy takes for hits."""
    assert frame.flags is not None
    hit, _ = astroscrappy.detect_cosmics(
        frame.data,
        inmask=excluded_pixels(frame.flags),
        invar=frame.variance,
        sigclip=settings.sigclip,
        sigfrac=settings.sigfrac,
        objlim=settings.objlim,
        niter=settings.niter,
        **peers.ASTROSCRAPPY,
    )
    return np.asarray(hit, bool)


def agree(ours: Frame, theirs: NDArray[np.bool_]) -> Agreement:
    """Compare the two masks: 99.99 % of all pixels, and 99.5 % of those that either side flags."""
    assert ours.flags is not None
    mask = (ours.flags & int(Flag.COSMIC_RAY)) != 0
    same = float(np.mean(mask == theirs))
    either = int(np.count_nonzero(mask | theirs))
    shared = np.count_nonzero(mask & theirs) / either if either else 0.0
    return both(
        Agreement(same >= 0.9999, f"{same:.4%} of pixels alike"),
        Agreement(shared >= 0.995, f"{shared:.2%} of {either} flagged ones"),
    )

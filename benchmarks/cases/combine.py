"""A stack of bias frames into one: ours and ccdproc, with the same clipping."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import ccdproc
import numpy as np
from astropy import units as u
from astropy.nddata import CCDData

from benchmarks import peers
from benchmarks.harness import Agreement, Case, Side, both, close
from benchmarks.workshop import Workshop
from nightflow.masters.combine import CombinedFrame, combine

__all__ = ["agree", "ccdproc_combine", "combine_case"]


@contextmanager
def combine_case(workshop: Workshop) -> Iterator[Case]:
    """Raw counts in memory on both sides."""
    stack, sigma = workshop.bias_stack, workshop.profile.masters.clip_sigma
    frames = [CCDData(frame.astype(np.float32), unit=u.adu) for frame in stack]
    yield Case(
        # Without the floor under the MAD, which ccdproc does not have.
        ours=Side(run=lambda: combine(stack, sigma=sigma, noise_floor=0.0, threads=peers.THREADS)),
        peer=Side(run=lambda: ccdproc_combine(frames, sigma)),
        peer_name=f"{peers.name('ccdproc')}: combine, {len(frames)} frames, median and MAD clipped once",
        agree=agree,
    )


def ccdproc_combine(frames: list[CCDData], sigma: float) -> CCDData:
    """Return the mean of what is left after clipping."""
    return ccdproc.combine(
        frames, sigma_clip_low_thresh=sigma, sigma_clip_high_thresh=sigma, **peers.CCDPROC_COMBINE
    )


def agree(ours: CombinedFrame, theirs: CCDData) -> Agreement:
    """Compare the means.

    A value that lies on the clipping limit to the last bit may fall on either side of it: counts are whole
    numbers, so that happens.
    """
    error = np.maximum(ours.scatter / np.sqrt(ours.n_used), 1e-3)
    difference = np.abs(ours.data - theirs.data) / error
    return both(
        close("means differ by at most", float(difference.max()), 2.0, " standard errors"),
        close("share of pixels that differ", float(np.mean(difference > 0.01)), 1e-3),
    )

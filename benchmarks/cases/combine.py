"""A stack of bias frames into one: ours and ccdproc, with the same clipping."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ccdproc
import numpy as np
from astropy import units as u
from astropy.nddata import CCDData

from benchmarks import peers
from benchmarks.harness import Agreement, Case, Side, both, close
from benchmarks.workshop import Workshop
from nightflow.masters.combine import CombinedFrame, combine

__all__ = ["agree", "ccdproc_combine", "combine_case"]

MEMORY_LIMIT = 2.0
"""GiB."""


@contextmanager
def combine_case(workshop: Workshop) -> Iterator[Case]:
    """Raw counts in memory on both sides; beside it, the memory of a build from the files."""
    shop = workshop.detector
    stack, sigma = shop.bias_stack, shop.profile.masters.clip_sigma
    frames = [CCDData(frame.astype(np.float32), unit=u.adu) for frame in stack]
    memory = _peak_memory(shop)
    yield Case(
        # Without the floor under the MAD, which ccdproc does not have.
        ours=Side(run=lambda: combine(stack, sigma=sigma, noise_floor=0.0, threads=peers.THREADS)),
        peer=Side(run=lambda: ccdproc_combine(frames, sigma)),
        peer_name=f"{peers.name('ccdproc')}: combine, {len(frames)} frames, median and MAD once; {shop.size}",
        agree=lambda ours, theirs: both(agree(ours, theirs), memory),
    )


def _peak_memory(workshop: Workshop) -> Agreement:
    """Return whether a process that builds a master bias of the files stays within its bound."""
    files = [str(path) for path in workshop.files("bias", workshop.scale.n_bias)]
    said = peers.run(
        [sys.executable, "-m", "benchmarks.peak_memory", str(workshop.cameras), *files], Path.cwd()
    )
    return close("peak memory of a build from files", int(said) / 2**30, MEMORY_LIMIT, " GiB")


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

"""Is a candidate solution right? Evidence, and the bar it must pass.

A fit always looks good on the stars it was fitted to. What counts here: stars left out of the fit in
turn, how many stars would match by chance, how many of those that should be there are there, and
whether the scale is the camera's.
"""

from __future__ import annotations

import numpy as np
from scipy.special import gammainc, gammaln

from nightflow.astrometry.corners import corner_figures
from nightflow.astrometry.evidence import Evidence
from nightflow.astrometry.matching import mutual_pairs
from nightflow.astrometry.refine import Contenders, Fit, contenders, heldout_rms, radial_rms, terms
from nightflow.astrometry.solution import SolveRequest
from nightflow.catalogs.stars import ReferenceStars
from nightflow.instruments.profile import AstrometrySettings

__all__ = ["Evidence", "examine", "faults", "log_false_alarm", "rms_limit"]

LOG_FALSE_ALARM = -6.0
"""Highest log10 of the probability that chance matches this well somewhere among all that was tried."""
_MAXIMUM_RMS = 2.0
"""Arcsec."""
_MAXIMUM_RMS_PX = 0.6
_MINIMUM_FRACTION = 0.2
_MAXIMUM_SHEAR = 0.03
_SHIFTS = 8
_LOCAL_STEPS = (6.0, 9.0)
"""Radii by which the catalogue is displaced to count chance where the stars are dense."""


def examine(fit: Fit, request: SolveRequest, stars: ReferenceStars, *, hypotheses: int) -> Evidence:
    """Gather the evidence for ``fit``, which won among ``hypotheses`` candidates."""
    chosen = contenders(fit.plate, request, stars, fit.radius)
    chance = _chance_matches(chosen, request, fit.radius)
    corners = corner_figures(fit, request.shape)
    largest, smallest = np.linalg.svd(fit.plate.cd, compute_uv=False)
    return Evidence(
        n_matched=len(fit),
        n_expected=min(len(chosen.predicted), len(chosen.rows)),
        rms_arcsec=radial_rms(fit),
        heldout_rms_arcsec=heldout_rms(fit),
        chance_matches=chance,
        log_false_alarm=log_false_alarm(len(fit) - terms(fit.plate.order), chance, hypotheses),
        scale=fit.plate.scale,
        shear=float(1.0 - smallest / largest),
        corner_rms_arcsec=corners.rms_arcsec,
        n_corner=corners.n_stars,
        corner_errors_arcsec=corners.errors_arcsec,
    )


def faults(evidence: Evidence, request: SolveRequest, settings: AstrometrySettings) -> list[str]:
    """Return what keeps a candidate from being verified; empty where nothing does."""
    found = []
    if evidence.n_matched < settings.minimum_matches:
        found.append(f"{evidence.n_matched} stars matched, {settings.minimum_matches} needed")
    limit = rms_limit(settings, evidence.scale)
    if not evidence.heldout_rms_arcsec <= limit:
        found.append(f'left-out stars scatter by {evidence.heldout_rms_arcsec:.2f}", limit {limit:.2f}"')
    if evidence.n_matched < _MINIMUM_FRACTION * evidence.n_expected:
        found.append(f"only {evidence.n_matched} of {evidence.n_expected} expected stars matched")
    if evidence.log_false_alarm > LOG_FALSE_ALARM:
        found.append(
            f"chance alone would match {evidence.chance_matches:.1f} stars "
            f"(log false-alarm probability {evidence.log_false_alarm:.1f}, limit {LOG_FALSE_ALARM:.0f})"
        )
    if request.scale is not None and abs(evidence.scale / request.scale - 1.0) > request.scale_tolerance:
        found.append(
            f'scale {evidence.scale:.3f}"/px is more than {100 * request.scale_tolerance:.1f} % '
            f"off the camera's {request.scale:.3f}\"/px"
        )
    if evidence.shear > _MAXIMUM_SHEAR:
        found.append(f"pixels would be skewed by {100 * evidence.shear:.1f} %")
    return found


def rms_limit(settings: AstrometrySettings, scale: float) -> float:
    """Return by how much (arcsec, radial) left-out stars may scatter where a pixel has ``scale`` arcsec.

    Unless the profile says it: 2", and for coarse pixels 0.6 of one. Stars matched by chance within the
    match radius of 1.5 pixels would scatter by 1.06.
    """
    if settings.maximum_rms is not None:
        return settings.maximum_rms
    return max(_MAXIMUM_RMS, _MAXIMUM_RMS_PX * scale)


def log_false_alarm(n_matched: int, chance_matches: float, hypotheses: int) -> float:
    """Return log10 of ``hypotheses`` times the Poisson probability of ``n_matched`` or more matches.

    Parameters
    ----------
    n_matched : int
        Matches beyond those that the free parameters can force.
    chance_matches : float
        Mean number of matches by chance.
    hypotheses : int
        Candidates among which this one won.
    """
    trials = float(np.log10(max(hypotheses, 1)))
    if n_matched <= 0:
        return trials
    mean = max(chance_matches, 1e-3)
    tail = float(gammainc(n_matched, mean))
    if tail > 0.0:
        return trials + float(np.log10(tail))
    # below the smallest float: the first term of the tail is nearly all of it
    return trials + float((n_matched * np.log(mean) - mean - gammaln(n_matched + 1)) / np.log(10.0))


def _chance_matches(chosen: Contenders, request: SolveRequest, radius: float) -> float:
    """Return the mean number of matches with the catalogue displaced: far, and by a few radii.

    The far shifts, wrapped round the frame's edges, tell chance on the frame as a whole; the near ones tell
    it where detections and stars are dense in the same place, as in a cluster.
    """
    ny, nx = request.shape
    seen = np.column_stack([request.x[chosen.rows], request.y[chosen.rows]])
    size = np.array([nx, ny], float)
    far, near = [], []
    for k in range(1, _SHIFTS + 1):
        # shifts by the golden ratio are spread evenly and never near zero
        step = np.array([(0.618034 * k) % 1.0, (0.754878 * k) % 1.0])
        moved = (chosen.predicted + np.clip(step, 0.1, 0.9) * size + 0.5) % size - 0.5
        far.append(len(mutual_pairs(seen, moved, radius)[0]))
        angle = 2.0 * np.pi * k / _SHIFTS
        step = _LOCAL_STEPS[k % 2] * radius * np.array([np.cos(angle), np.sin(angle)])
        near.append(len(mutual_pairs(seen, chosen.predicted + step, radius)[0]))
    per_star = len(seen) * np.pi * radius**2 / (nx * ny)
    floor = len(chosen.predicted) * min(per_star, 1.0)
    return max(float(np.mean(far)), float(np.mean(near)), floor)

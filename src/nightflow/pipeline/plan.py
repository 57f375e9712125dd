"""Fingerprints: has anything changed that a reduction rests on?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from nightflow.astrometry.solution import Quality
from nightflow.config import Engine, MissingCalibrationPolicy
from nightflow.errors import RetryLater
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import CameraProfile
from nightflow.pipeline.work import Context
from nightflow.software import software_fingerprint
from nightflow.store.database import Database
from nightflow.store.masters import count_calibration_frames, masters
from nightflow.store.models import Frame as FrameRow
from nightflow.store.models import State
from nightflow.store.overview import current_reduction

__all__ = [
    "Sky", "is_complete", "plan_fingerprint", "reduction_fingerprint", "sky_fingerprint", "sky_of",
    "surroundings_fingerprint", "with_offered",
]  # fmt: skip


Sky = tuple[list[tuple[str, str]], list[str], list[Any]]
"""Catalogues, index files, and the site's order of solvers."""


def plan_fingerprint(
    profile: CameraProfile | None,
    until: str = "append",
    engine: Engine = "fast",
    ladder: Sequence[str] | None = None,
) -> str:
    """Return the fingerprint of how an exposure is reduced: software, profile, last step, engine, solvers.

    The policy on missing calibrations is not in it: it decides whether a frame waits, never what its
    reduction gives.

    Parameters
    ----------
    profile : CameraProfile or None
        None where no camera was recognised.
    until : str
        Last step.
    engine : {"fast", "reference"}
        What computes; the results differ in rounding.
    ladder : sequence of str, optional
        The site's order of solvers, in place of the profile's.
    """
    content = profile.model_dump(mode="json") if profile is not None else None
    if content is not None and ladder is not None:
        # in its place: naming the profile's own order changes nothing
        content["astrometry"]["ladder"] = list(ladder)
    return _digest([software_fingerprint(), content, until, engine])


def reduction_fingerprint(
    plan: str,
    masters: dict[str, str],
    catalog: str,
    quality: str = "none",
    excluded_targets: int = 0,
    forced_targets: Sequence[tuple[float, float]] = (),
    distortion: str = "",
    wcs: Sequence[float] = (),
    persistence: str = "",
) -> str:
    """Return the fingerprint of one reduction: its plan and what it was given.

    Parameters
    ----------
    plan : str
        See `plan_fingerprint`.
    masters : dict of str to str
        Kind -> fingerprint of those used.
    catalog : str
        Reference catalogue, and which import of it.
    quality : str
        How far the WCS may be trusted.
    excluded_targets : int
        Sources that were kept out of the zero point.
    forced_targets : sequence of (ra, dec)
        Where targets were measured, detected or not.
    distortion : str
        Fingerprints of the distortions that were offered for the WCS; "" without one.
    wcs : sequence of float
        What tells the WCS from another one, see `nightflow.astrometry.geometry.sky_grid`.
    persistence : str
        Fingerprint of the pixels flagged for what earlier exposures saturated; "" without.
    """
    given = [catalog, quality, excluded_targets, list(forced_targets), distortion, list(wcs), persistence]
    return _digest([plan, sorted(masters.items()), *given])


def surroundings_fingerprint(
    plan: str,
    context: Context,
    instrument: str | None,
    policy: MissingCalibrationPolicy | None = None,
    *,
    around: Sky | None = None,
) -> str:
    """Return the fingerprint of what a held exposure may be waiting for, beside its plan.

    Catalogues, index files, the site's solver ladder, how many calibration frames of its camera there are and
    which masters are rejected, and the policy on missing calibrations (the context's, without another one).
    What it is offered of its camera's distortion is in the plan, see `with_offered`. Where `sky_of` was asked
    already, ``around`` is what it said.
    """
    calibrations = [
        count_calibration_frames(context.database, str(kind), instrument=instrument)
        for kind in (FrameKind.BIAS, FrameKind.DARK, FrameKind.FLAT)
        if instrument is not None
    ]
    catalogs, index_files, ladder = around if around is not None else sky_of(context)
    rejected = [row.fingerprint for row in masters(context.database, instrument=instrument, state="rejected")]
    known = [catalogs, index_files, calibrations, rejected, ladder]
    return _digest([plan, policy or context.missing_calibration, *known])


def sky_fingerprint(plans: Sequence[str], around: Sky) -> str:
    """Return the fingerprint of what an exposure that is held for its WCS or its camera may be waiting for.

    Plans, catalogues, index files, the site's solver ladder; no calibrations: they come every night.
    """
    return _digest([list(plans), *around])


def sky_of(context: Context) -> Sky:
    """Return what solving rests on beside the plan: catalogues, index files, and the site's ladder.

    Raises
    ------
    RetryLater
        A folder of catalogues or index files cannot be listed now.
    """
    try:
        catalogs = [(name, context.catalogs.metadata(name).created) for name in context.catalogs.names()]
        index_files = sorted(file.name for folder in context.index_folders for file in folder.glob("*.fits"))
    except OSError as error:
        raise RetryLater(
            f"{error.filename or 'catalogues'}: cannot be listed now: {error.strerror}"
        ) from error
    site = context.settings.astrometry
    return catalogs, index_files, [site.ladder, bool(site.nova_key.get_secret_value())]


def with_offered(plan: str, offered: Sequence[str]) -> str:
    """Return the fingerprint of a plan and of the distortions that frames are offered; without, its own."""
    return _digest([plan, *offered]) if offered else plan


def is_complete(database: Database, frames: Sequence[FrameRow]) -> bool:
    """Return whether every light frame that is done has a verified WCS and a zero point."""
    for frame in frames:
        if frame.kind == FrameKind.LIGHT and frame.state == State.DONE:
            reduction = current_reduction(database, frame.id or 0)
            if reduction is None or reduction.zp is None or reduction.wcs_quality != Quality.VERIFIED:
                return False
    return True


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

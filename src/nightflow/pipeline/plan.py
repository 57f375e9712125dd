"""Fingerprints: has anything changed that a reduction rests on?"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from nightflow import __version__
from nightflow.instruments.profile import CameraProfile

__all__ = ["plan_fingerprint", "reduction_fingerprint"]


def plan_fingerprint(profile: CameraProfile | None, policy: str, until: str = "append") -> str:
    """Return the fingerprint of how an exposure is reduced: software, camera profile, policy, last step.

    Parameters
    ----------
    profile : CameraProfile or None
        None where no camera was recognised.
    policy : str
        What follows from a missing calibration.
    until : str
        Last step.
    """
    content = profile.model_dump(mode="json") if profile is not None else None
    return _digest([__version__, content, policy, until])


def reduction_fingerprint(plan: str, masters: dict[str, str], catalog: str) -> str:
    """Return the fingerprint of one reduction: its plan, the masters used, the reference catalogue."""
    return _digest([plan, sorted(masters.items()), catalog])


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

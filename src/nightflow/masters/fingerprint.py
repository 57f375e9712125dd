"""Name a master by what it was made of, so that the same one is never made twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from nightflow.instruments.profile import CameraProfile

__all__ = ["RECIPE_VERSION", "fingerprint", "recipe"]

RECIPE_VERSION = 3
"""To be raised when the same inputs and settings would give other pixels."""

_OF_THE_PIXELS = {"name", "hdus", "keywords", "filters", "detector", "calibration", "masters"}
"""Sections of a profile that bear on the pixels of every master."""

_OF_THE_FLAGS = {"bad_pixels", "cosmic_rays", "trails"}
"""Those that bear on which pixels of a light are left out of a master made of lights."""

_OF_THE_CHOICE = {
    "match", "minimum_inputs", "minimum_sky_inputs", "rotator_tolerance", "set_count", "set_gap_minutes",
    "block_gap_minutes", "sky_offset", "temperature_tolerance", "validity_days",
}  # fmt: skip
"""Settings of ``masters`` that decide which frames go in and where the master is used. The inputs' own hashes
stand for the former; every other setting of the section counts, whoever adds it."""


def recipe(
    profile: CameraProfile,
    masters: Mapping[str, str],
    method: str,
    detector: str = "1",
    *,
    of_lights: bool = False,
) -> dict[str, Any]:
    """Return what, besides its inputs, decides a master's pixels.

    Parameters
    ----------
    profile : CameraProfile
        Only what bears on masters counts; other settings may change and the master stays.
    masters : mapping of str to str
        Kind -> fingerprint of the masters that are taken off the inputs.
    method : str
        How they are combined.
    detector : str
        Which chip: the files of a mosaic hold the inputs of several masters.
    of_lights : bool
        Its inputs are lights: what their pixels are flagged by counts, too.
    """
    settings = profile.model_dump(
        mode="json",
        include=_OF_THE_PIXELS | (_OF_THE_FLAGS if of_lights else set()),
        exclude={"masters": _OF_THE_CHOICE},
    )
    return {
        "version": RECIPE_VERSION,
        "detector": detector,
        "method": method,
        "masters": dict(masters),
        "settings": settings,
    }


def fingerprint(kind: str, recipe: Mapping[str, Any], inputs: Iterable[str]) -> str:
    """Return the SHA-256 over kind, recipe and the inputs' hashes; the inputs' order does not matter."""
    content = json.dumps([kind, recipe, sorted(inputs)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()

"""How SCAMP solves the chips of a mosaic, or the frames of a field, together."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nightflow.instruments.settings_model import SettingsModel

__all__ = ["ScampSettings"]


class ScampSettings(SettingsModel):
    """SCAMP's part of the astrometry: what it may fit, from where it starts, how long it may take."""

    degree: int = Field(3, ge=1, le=4)
    """Highest degree of the distortion in pixels; lower where stars left out of the fit do not ask for it."""
    stability: Literal["exposure", "instrument"] = "exposure"
    """Whether each exposure has a distortion of its own, or a chip and filter the same on all frames."""
    layout: str = ""
    """File beside the profile that says how the chips lie to each other, as `nightflow scamp --learn` writes;
    empty: it is learned from the exposure with most chips solved."""
    time_limit: float = Field(120.0, gt=0)
    """Seconds for all calls of SCAMP together, one a degree; and for source-extractor on one chip."""

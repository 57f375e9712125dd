"""The section of a camera profile that says which frames are good."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from nightflow.instruments.settings_model import SettingsModel

__all__ = ["Bounds", "QualitySettings"]

_Positive = Annotated[float, Field(gt=0)]


def _ascending(bounds: tuple[float, float] | Literal[False]) -> tuple[float, float] | Literal[False]:
    if bounds is not False and bounds[0] > bounds[1]:
        raise ValueError(f"{list(bounds)}: the bound of fair must not be above that of bad")
    return bounds


Bounds = Annotated[tuple[_Positive, _Positive] | Literal[False], AfterValidator(_ascending)]
"""Above the first a frame is fair, above the second bad; ``false`` switches the rule off."""


class QualitySettings(SettingsModel):
    """Bounds of the grades; see `nightflow.quality.grades` for what is compared with what."""

    fwhm: Bounds = (1.4, 1.8)
    """In units of the night's median of the camera and the filter."""
    fwhm_arcsec: Bounds = False
    """The width itself."""
    ellipticity: Bounds = (0.2, 0.35)
    """1 - b/a, median of the stars."""
    trailing: Bounds = (0.15, 0.3)
    """Ellipticity that all stars have in one direction: tracking, wind."""
    sky: Bounds = (2.0, 5.0)
    """In units of the night's darkest tenth."""
    stars_lost: Bounds = (0.3, 0.5)
    """Share of the stars, of the best frames of the same object and exposure time, that is not there."""
    transparency: Bounds = (0.3, 0.75)
    """Magnitudes of the zero point below the night's clearest tenth."""
    zero_point_jump: Bounds = (0.1, 0.3)
    """Magnitudes of the zero point off those of the frames next in time."""

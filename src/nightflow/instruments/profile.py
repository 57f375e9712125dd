"""Camera profiles: a camera is a small TOML file.

`CameraProfile` says what may stand in one. An unknown key raises and names its nearest
neighbour. Everything but ``name``, ``recognise`` and the keyword map has a default.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    field_validator,
)

from nightflow.instruments.amplifier_settings import AmplifierSettings, LinearitySettings
from nightflow.instruments.detector_settings import (
    BadPixelSettings,
    CalibrationSettings,
    CosmicRaySettings,
    DetectorSettings,
    OverscanMode,
    Policy,
    TrailSettings,
)
from nightflow.instruments.master_settings import InputLimits, MasterSettings, VettingSettings
from nightflow.instruments.quality_settings import QualitySettings
from nightflow.instruments.quantities import known_quantity
from nightflow.instruments.scamp_settings import ScampSettings
from nightflow.instruments.settings_model import SettingsModel

__all__ = [
    "AmplifierSettings",
    "AstrometrySettings",
    "BadPixelSettings",
    "CalibrationSettings",
    "CameraProfile",
    "CosmicRaySettings",
    "DetectionSettings",
    "InputLimits",
    "KeywordRule",
    "Ladder",
    "LinearitySettings",
    "MasterSettings",
    "OverscanMode",
    "PhotometrySettings",
    "Policy",
    "Rung",
    "ScampSettings",
    "TrailSettings",
    "VettingSettings",
]

Rung = Literal["previous", "header", "hint", "astrometry_net", "solve_field", "nova", "scamp"]


def _with_a_start(ladder: list[Rung]) -> list[Rung]:
    """Check that SCAMP, which refines and finds nothing, does not come first."""
    if ladder and ladder[0] == "scamp":
        raise ValueError("scamp refines what another rung has found: name one before it")
    return ladder


Ladder = Annotated[list[Rung], AfterValidator(_with_a_start)]


def _expression(text: str) -> str:
    """Check a regular expression."""
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return text


Expression = Annotated[str, AfterValidator(_expression)]
"""A regular expression, searched anywhere, case ignored."""

QuantityName = Annotated[str, AfterValidator(known_quantity)]


def _keys(value: Any) -> Any:
    """Let ``filter = "FILTER"`` and ``filter = ["FILTER", "FILTNAM"]`` stand for a whole rule."""
    if isinstance(value, str):
        return {"keys": [value]}
    if isinstance(value, list):
        return {"keys": value}
    return value


class KeywordRule(SettingsModel):
    """Where one of our quantities stands in the camera's header.

    The first key that exists, is not blank and can be read wins; then the ``fallback``, another such rule;
    ``value`` is the answer where none does (with ``fixed`` it is the answer always).
    """

    keys: list[str] = []
    value: float | int | str | bool | None = None
    fixed: bool = False
    unit: Literal["", "K", "F", "C", "hour", "ms", "us", "s", "min", "mm", "m"] = ""
    """Unit of a number: "K" or "F" for temperatures, "hour" for an RA in hours, "ms" for an exposure,
    "mm" for an aperture."""
    format: Literal["", "iso", "jd", "mjd", "date", "unix"] = ""
    """For times: "iso" (default), "jd", "mjd", "date" (needs ``clock``), "unix"."""
    sense: Literal["", "west", "add"] = ""
    """"west" for longitudes that grow towards west; "add" for a pedestal that is to be added."""
    when: dict[str, Expression] = {}
    """The rule holds only where these keywords match; a keyword must exist to match."""
    range: tuple[float, float] | None = None
    """A number outside is discarded with a warning, and the next key is tried."""
    guess: str = ""
    """What is assumed when this rule gives the answer; becomes a warning on every such frame."""
    fallback: Annotated[KeywordRule | None, BeforeValidator(_keys)] = None


Rule = Annotated[KeywordRule, BeforeValidator(_keys)]


class SiteSettings(SettingsModel):
    """Fixed site; header keywords win where the profile maps them."""

    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)
    height: float = 0.0


class DetectionSettings(SettingsModel):
    """Background and source detection, after SExtractor."""

    box: int = Field(64, ge=4)
    threshold: float = Field(4.0, gt=0)
    """In units of the local noise."""
    minimum_area: int = Field(5, ge=1)
    deblend_levels: int = Field(32, ge=1)
    deblend_contrast: float = Field(0.005, ge=0, le=1)
    expected_fwhm: float = Field(3.0, gt=0)
    """Pixels; the width of the matched filter."""
    deblending: Literal["realtime", "deep"] = "realtime"
    """"realtime" by sep; "deep" by photutils, with 64 levels and a contrast of 0.0005 at most: for nights
    that are reduced again at leisure, as it takes many times as long."""


class AstrometrySettings(SettingsModel):
    """The solver ladder and the bar that a solution must pass."""

    scale: float | None = None
    """Arcsec per pixel at ``scale_binning``; None: unknown."""
    scale_binning: int = Field(1, ge=1)
    """The binning at which ``scale`` holds."""
    scale_tolerance: float = Field(0.05, gt=0)
    parity: Literal[-1, 0, 1] = 0
    """+1 as on the sky, -1 mirrored, 0 unknown."""
    ladder: Ladder = ["previous", "hint", "astrometry_net", "solve_field"]
    trust_header: Literal["none", "scale_rotation", "full"] = "none"
    hint_error: float = Field(1.0, gt=0)
    """Degrees by which the pointing hint may be wrong."""
    catalogs: list[str] = []
    """Local catalogues in order of preference; empty: whichever covers the field."""
    minimum_matches: int = Field(6, ge=1)
    maximum_rms: float | None = Field(None, gt=0)
    """Arcsec, radial, of stars that were not used in the fit; None: 2" or 0.6 pixels, whichever is more."""
    match_radius: float = Field(3.0, gt=0)
    """Arcsec; never below 1.5 pixels."""
    time_limit: float = Field(30.0, gt=0)
    """Seconds of CPU time for one rung; after four times as long it is ended in any case."""
    require: Literal["verified", "provisional", "none"] = "provisional"
    """A frame with less than this is held."""
    scamp: ScampSettings = ScampSettings()


class PhotometrySettings(SettingsModel):
    """Apertures and the flux calibration."""

    aperture_fwhm: float = Field(1.5, gt=0)
    """Aperture radius in units of the frame's FWHM."""
    minimum_radius: float = Field(2.5, gt=0)
    annulus_fwhm: tuple[float, float] = (4.0, 6.0)
    total_fwhm: float = Field(4.0, gt=0)
    """Radius in FWHM within which all the light counts as a star's: fluxes are corrected to it. Seeing has
    wings without an end; where the reference magnitudes come from a known diaphragm, that is the radius."""
    catalogs: list[str] = []
    bands: dict[str, str] = {}
    """Our filter -> the catalogue's band, such as {Clear = "VT"}."""
    colors: dict[str, tuple[str, str]] = {}
    """Our filter -> the two bands of the colour term, such as {V = ["B", "V"]}."""
    color_term: bool = True
    telescope_aperture: float | None = Field(None, gt=0)
    """Metres; wins over the header. Where it is known, the errors hold the scintillation."""
    scintillation: float = Field(1.0, ge=0)
    """Young's constant: 1 by his formula; 1.3 to 1.7 were measured at good sites (Osborn et al. 2015)."""
    minimum_stars: int = Field(3, ge=1)
    match_radius: float = Field(3.0, gt=0)
    """Arcsec; never below 1.5 pixels."""
    forced_targets: bool = True
    """Whether every target in the field is measured, detected or not."""
    forced_sources: int = Field(200, ge=0)
    """How many known sources are measured on a frame that did not detect them; the most often seen first."""
    psf: Literal["never", "crowded", "always"] = "crowded"
    """Whether stars are measured by the frame's PSF, too, besides their apertures: rows of kind psf."""
    psf_crowding: float = Field(0.05, ge=0, le=1)
    """Fraction of the bright stars with another one within 2.5 FWHM above which a frame is crowded."""


class CameraProfile(SettingsModel):
    """One camera.

    Attributes
    ----------
    extends : str
        Name of a profile whose settings hold where this one says nothing (all but ``name``,
        ``description``, ``recognise`` and ``needs``).
    recognise : dict
        Header keyword -> regular expression (case ignored, searched anywhere). All must match.
        A camera that is recognised by more keywords wins over one recognised by fewer.
    needs : list
        Quantities that the header must give. A profile without ``recognise`` is the last resort for
        every header that has them.
    hdus : "first", "all" or list
        Which image HDUs hold the readouts: the first with pixels, all with pixels, or names/indices.
    keywords : dict
        Our quantity -> where it stands; `nightflow.instruments.quantities` lists the quantities.
    kinds : dict
        Kind -> list of rules; a rule maps a quantity or keyword to a regular expression, all must match;
        the first kind with a matching rule wins, in the order bias, dark, flat, light.
    filters : dict
        The camera's filter name -> ours.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    description: str = ""
    extends: str = ""
    recognise: dict[str, Expression] = {}
    needs: list[QuantityName] = []
    hdus: Literal["first", "all"] | list[str | int] = "first"
    keywords: dict[QuantityName, Rule] = {}
    kinds: dict[Literal["bias", "dark", "flat", "light"], list[dict[str, Expression]]] = {}
    filters: dict[str, str] = {}
    site: SiteSettings | None = None
    detector: DetectorSettings = DetectorSettings()
    calibration: CalibrationSettings = CalibrationSettings()
    masters: MasterSettings = MasterSettings()
    bad_pixels: BadPixelSettings = BadPixelSettings()
    vetting: VettingSettings = VettingSettings()
    cosmic_rays: CosmicRaySettings = CosmicRaySettings()
    trails: TrailSettings = TrailSettings()
    detection: DetectionSettings = DetectionSettings()
    astrometry: AstrometrySettings = AstrometrySettings()
    photometry: PhotometrySettings = PhotometrySettings()
    quality: QualitySettings = QualitySettings()

    @field_validator("kinds")
    @classmethod
    def _kinds_name_quantities(cls, kinds: Any) -> Any:
        """Small letters name our quantities, capitals the header's keywords."""
        for rule in (rule for rules in kinds.values() for rule in rules):
            for key in rule:
                if key != key.upper():
                    known_quantity(key)
        return kinds

"""Camera profiles: a camera is a small TOML file.

`CameraProfile` says what may stand in one. An unknown key raises and names its nearest
neighbour. Everything but ``name``, ``recognise`` and the keyword map has a default.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from nightflow.instruments.bad_regions import MEND, parse_bad_region
from nightflow.instruments.quantities import known_quantity
from nightflow.instruments.values import parse_section

__all__ = [
    "AstrometrySettings",
    "BadPixelSettings",
    "CalibrationSettings",
    "CameraProfile",
    "CosmicRaySettings",
    "DetectionSettings",
    "KeywordRule",
    "MasterSettings",
    "PhotometrySettings",
    "Policy",
    "TrailSettings",
]

Policy = Literal["off", "optional", "required"]
"""A calibration step: never done; done where a master exists (else a warning); needed."""

Rung = Literal["previous", "header", "hint", "astrometry_net"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _expression(text: str) -> str:
    """Check a regular expression."""
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return text


def _section(text: str) -> str:
    """Check a FITS section."""
    if parse_section(text) is None:
        raise ValueError('not a FITS section such as "[1025:1056,1:1024]"')
    return text


def _bad_region(text: str) -> str:
    """Check a region of bad pixels."""
    if parse_bad_region(text) is None:
        raise ValueError(f"no region of bad pixels; {MEND}")
    return text


Expression = Annotated[str, AfterValidator(_expression)]
"""A regular expression, searched anywhere, case ignored."""

Section = Annotated[str, AfterValidator(_section)]
"""A region in FITS notation: 1-based, both ends included, columns first."""

BadRegionText = Annotated[str, AfterValidator(_bad_region)]
"""See `nightflow.instruments.bad_regions`."""

QuantityName = Annotated[str, AfterValidator(known_quantity)]


def _keys(value: Any) -> Any:
    """Let ``filter = "FILTER"`` and ``filter = ["FILTER", "FILTNAM"]`` stand for a whole rule."""
    if isinstance(value, str):
        return {"keys": [value]}
    if isinstance(value, list):
        return {"keys": value}
    return value


class KeywordRule(_Model):
    """Where one of our quantities stands in the camera's header.

    The first key that exists, is not blank and can be read wins; then the ``fallback``, another such rule;
    ``value`` is the answer where none does (with ``fixed`` it is the answer always).
    """

    keys: list[str] = []
    value: float | int | str | bool | None = None
    fixed: bool = False
    unit: Literal["", "K", "F", "C", "hour", "ms", "us", "s", "min"] = ""
    """Unit of a number: "K" or "F" for temperatures, "hour" for an RA in hours, "ms" for an exposure."""
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


class SiteSettings(_Model):
    """Fixed site; header keywords win where the profile maps them."""

    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)
    height: float = 0.0


class DetectorSettings(_Model):
    """What the header of this camera does not say, or says wrongly. Values here win over the header."""

    gain: float | None = Field(None, gt=0)
    read_noise: float | None = Field(None, ge=0)
    saturation: float | None = Field(None, gt=0)
    overscan: Section | None = None
    """FITS section of the raw frame, such as "[1025:1056,1:1024]"; else the header's keyword."""
    trim: Section | None = None
    bayer: str = ""
    bad_pixel_regions: list[BadRegionText] = []
    """Regions of the raw frame that are flagged bad: "[256:256,1:1024]", "column 256", "pixel 40 512"."""
    bad_pixel_file: str = ""
    """A text file of such regions, one a line; its path starts at the folder of the profile's own file."""


class CalibrationSettings(_Model):
    """Which detector steps are run."""

    overscan: Literal["off", "median", "row_median"] = "off"
    bias: Policy = "required"
    dark: Policy = "optional"
    dark_scaling: Literal["exposure_matched", "scaled"] = "exposure_matched"
    flat: Policy = "required"
    flat_low: float = 0.2
    """Pixels of the normalised flat below this are dead."""
    flat_high: float = 5.0
    illumination: Policy = "off"
    """A dark-sky flat on top of the flat, made of the night's own lights."""
    fringe: Policy = "off"
    """The pattern of the night sky's lines, scaled to each frame and subtracted."""


class BadPixelSettings(_Model):
    """Which pixels the masters show to be bad, and whether they are filled."""

    hot_sigma: float = Field(5.0, gt=0)
    """Dark counts above the surroundings, in units of the master dark's noise, from which a pixel is warm or
    hot. With 5, 99 of 100 pixels that are truly 6.1 or more above are found."""
    hot_variance: float = Field(1.0, gt=0)
    """A pixel is hot where its excess of dark current adds so many times the variance of a typical pixel."""
    cold_sigma: float = Field(0.0, ge=0)
    """Dark counts below the surroundings, in the same units, from which a pixel is bad; 0: off."""
    dead_sigma: float = Field(10.0, gt=0)
    """Response below the surroundings, in units of the master flat's own scatter, from which a pixel is dead,
    if it is below ``dead_response`` too."""
    dead_response: float = Field(0.5, gt=0, le=1)
    """In units of the surroundings. A pixel that sees more light than that is mended by the flat."""
    column_sigma: float = Field(5.0, ge=0)
    """Columns off the median of their neighbours by so many times the columns' scatter are bad; 0: off."""
    column_window: int = Field(11, ge=3, le=101)
    """Columns in that median."""
    method: Literal["threshold", "ccdmask"] = "threshold"
    """"ccdmask" also flags what `ccdproc.ccdmask` finds in the master flat."""
    persistence_seconds: float = Field(0.0, ge=0)
    """For how long pixels stay flagged after an exposure that saturated them; 0: not at all."""
    fill: Literal["none", "gaussian", "median"] = "none"
    """What takes the place of bad, hot and dead pixels; their flags stay."""
    fill_sigma: float = Field(1.0, gt=0, le=10)
    """Pixels; standard deviation of the Gaussian that weights the neighbours."""
    fill_radius: int = Field(2, ge=1, le=20)
    """The median is that of the good pixels in a square of 2 * fill_radius + 1."""
    fill_minimum: int = Field(4, ge=1)
    """A pixel with fewer good ones in that square is left as it is."""


class TrailSettings(_Model):
    """Trails of satellites and aircraft."""

    enabled: bool = True
    threshold: float = Field(2.5, gt=0)
    """In units of the noise of 4 x 4 pixels, from which they count as part of a trail."""
    minimum_length: float = Field(0.3, gt=0, le=1)
    """In units of the frame's shorter side."""
    maximum_count: int = Field(8, ge=1, le=100)
    """Trails looked for in one frame."""


class MasterSettings(_Model):
    """How masters are grouped, combined and chosen."""

    minimum_inputs: int = Field(3, ge=1)
    temperature_tolerance: float = 1.0
    exposure_tolerance: float = 0.02
    """Relative; 0.02 means 2 %."""
    validity_days: float = 30.0
    clip_sigma: float = 4.0
    illumination_scale: int = Field(51, ge=3)
    """Pixels; a dark-sky flat is smoothed over squares of this side: only the large scale is kept."""
    fringe_background: int = Field(256, ge=32)
    """Pixels; the sky is taken off on a mesh of this size, which must be wider than a fringe."""
    match: list[str] = ["instrument", "detector", "binning", "gain_setting", "readout_mode", "shape"]


class CosmicRaySettings(_Model):
    """L.A.Cosmic (van Dokkum 2001), with astroscrappy's parameter names."""

    enabled: bool = True
    method: Literal["fast", "astroscrappy"] = "fast"
    """"fast" evaluates L.A.Cosmic only where it can find anything; "astroscrappy" everywhere, with the same
    result: it is there to be compared with."""
    sigclip: float = 4.5
    sigfrac: float = 0.3
    objlim: float = 5.0
    niter: int = Field(1, ge=1)
    """The first iteration finds 98 of 100 pixels that four find, in 40 % of the time."""


class DetectionSettings(_Model):
    """Background and source detection with sep."""

    box: int = 64
    threshold: float = 4.0
    """In units of the local noise."""
    minimum_area: int = 5
    deblend_levels: int = 32
    deblend_contrast: float = 0.005
    expected_fwhm: float = 3.0
    """Pixels; the width of the matched filter."""


class AstrometrySettings(_Model):
    """The solver ladder and the bar that a solution must pass."""

    scale: float | None = None
    """Arcsec per pixel at ``scale_binning``; None: unknown."""
    scale_binning: int = Field(1, ge=1)
    """The binning at which ``scale`` holds."""
    scale_tolerance: float = 0.05
    parity: Literal[-1, 0, 1] = 0
    """+1 as on the sky, -1 mirrored, 0 unknown."""
    ladder: list[Rung] = ["previous", "hint", "astrometry_net"]
    trust_header: Literal["none", "scale_rotation", "full"] = "none"
    hint_error: float = 1.0
    """Degrees by which the pointing hint may be wrong."""
    catalogs: list[str] = []
    """Local catalogues in order of preference; empty: whichever covers the field."""
    minimum_matches: int = 6
    maximum_rms: float = 2.0
    """Arcsec, radial, of stars that were not used in the fit."""
    match_radius: float = 3.0
    """Arcsec; never below 1.5 pixels."""
    time_limit: float = 30.0
    """Seconds for one rung."""
    require: Literal["verified", "provisional", "none"] = "provisional"
    """A frame with less than this is held."""


class PhotometrySettings(_Model):
    """Apertures and the flux calibration."""

    aperture_fwhm: float = 1.5
    """Aperture radius in units of the frame's FWHM."""
    minimum_radius: float = 2.5
    annulus_fwhm: tuple[float, float] = (4.0, 6.0)
    total_fwhm: float = 4.0
    """Radius in FWHM within which all the light counts as a star's: fluxes are corrected to it. Seeing has
    wings without an end; where the reference magnitudes come from a known diaphragm, that is the radius."""
    catalogs: list[str] = []
    bands: dict[str, str] = {}
    """Our filter -> the catalogue's band, such as {Clear = "VT"}."""
    colors: dict[str, tuple[str, str]] = {}
    """Our filter -> the two bands of the colour term, such as {V = ["B", "V"]}."""
    color_term: bool = True
    minimum_stars: int = 3
    match_radius: float = 3.0
    """Arcsec; never below 1.5 pixels."""


class CameraProfile(_Model):
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
    cosmic_rays: CosmicRaySettings = CosmicRaySettings()
    trails: TrailSettings = TrailSettings()
    detection: DetectionSettings = DetectionSettings()
    astrometry: AstrometrySettings = AstrometrySettings()
    photometry: PhotometrySettings = PhotometrySettings()

    @field_validator("kinds")
    @classmethod
    def _kinds_name_quantities(cls, kinds: Any) -> Any:
        """Small letters name our quantities, capitals the header's keywords."""
        for rule in (rule for rules in kinds.values() for rule in rules):
            for key in rule:
                if key != key.upper():
                    known_quantity(key)
        return kinds

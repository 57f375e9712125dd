"""Camera profiles: a camera is a small TOML file.

`CameraProfile` says what may stand in one. An unknown key raises and names its nearest
neighbour. Everything but ``name``, ``recognise`` and the keyword map has a default.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from nightflow.instruments.amplifier_settings import (
    AmplifierSettings,
    AmplifiersSetting,
    CrosstalkMatrix,
    LinearitySettings,
    Section,
)
from nightflow.instruments.quantities import known_quantity

__all__ = [
    "AmplifierSettings",
    "AstrometrySettings",
    "CalibrationSettings",
    "CameraProfile",
    "CosmicRaySettings",
    "DetectionSettings",
    "KeywordRule",
    "LinearitySettings",
    "MasterSettings",
    "OverscanMode",
    "PhotometrySettings",
    "Policy",
]

Policy = Literal["off", "optional", "required"]
"""A calibration step: never done; done where a master exists (else a warning); needed."""

OverscanMode = Literal["off", "median", "row_median", "polynomial", "spline"]

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
    bad_pixel_regions: list[Section] = []
    """FITS sections of the raw frame that are flagged bad, such as "[256:256,1:1024]"."""
    amplifiers: AmplifiersSetting = []
    """Where a chip is read by several amplifiers: "header" where the HDUs say themselves which pixels go
    where (keywords ``trim``, ``overscan``, ``chip_section``), else a table for each."""
    hdus_per_chip: int = Field(0, ge=0)
    """HDUs that follow one another and make one chip; 0: those of one ``detector`` name, or as many as
    ``amplifiers`` speaks of."""
    linearity: dict[str, LinearitySettings] = {}
    """Amplifier, chip, or "all" -> true counts for measured ones; empty: the counts are taken as linear."""
    crosstalk: dict[str, CrosstalkMatrix] = {}
    """Chip, or "all" -> [victim][source], in the order of the amplifiers; empty: none."""

    def tables_give(self, name: str) -> bool:
        """Return whether every amplifier has its own "gain", "read_noise" or "saturation" in its table."""
        tables = [] if self.amplifiers == "header" else self.amplifiers
        return bool(tables) and all(getattr(table, name) is not None for table in tables)


class CalibrationSettings(_Model):
    """Which detector steps are run."""

    overscan: OverscanMode = "off"
    """One level a frame ("median"), one a line of the strip ("row_median"), or a curve along the strip."""
    overscan_order: int = Field(3, ge=0, le=9)
    """Degree of the curve with overscan = "polynomial"."""
    overscan_knots: int = Field(8, ge=1, le=200)
    """Pieces of the cubic curve with overscan = "spline"."""
    overscan_clip: float = Field(3.5, gt=1)
    """Lines that lie off the curve by more than so many standard deviations do not count."""
    crosstalk: bool = True
    """Whether ``detector.crosstalk`` is applied."""
    linearity: bool = True
    """Whether ``detector.linearity`` is applied."""
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


class MasterSettings(_Model):
    """How masters are grouped, combined and chosen."""

    minimum_inputs: int = Field(3, ge=1)
    temperature_tolerance: float = 1.0
    exposure_tolerance: float = 0.02
    """Relative; 0.02 means 2 %."""
    validity_days: float = 30.0
    clip_sigma: float = 4.0
    match: list[str] = ["instrument", "detector", "binning", "gain_setting", "readout_mode", "shape"]


class CosmicRaySettings(_Model):
    """L.A.Cosmic (van Dokkum 2001), with astroscrappy's parameter names."""

    enabled: bool = True
    method: Literal["fast", "astroscrappy"] = "fast"
    """"fast" evaluates L.A.Cosmic only where it can find anything; "astroscrappy" everywhere, with the same
    result: it is there to be compared with."""
    sigclip: float = 4.5
    sigfrac: float = 0.3
    objlim: float = 3.5
    """Of hits 10 sigma high, 97 to 99 of 100 are found; of the star cores at a FWHM of 1.5 pixels 1 of 100 is
    taken for one, at 2.3 and more none. astroscrappy's own default, 5, finds 96 to 98."""
    niter: int = Field(1, ge=1)
    """The first iteration finds 98 of 100 pixels that four find, in 40 % of the time."""
    clean: bool = False
    """Replace the pixels that were hit, too, and flag them INTERPOLATED; by default they are only flagged."""
    sepmed: bool = False
    """Take the separable approximation of medians, as astroscrappy does by default: it is quicker there, and
    takes a fifth of the star cores of a well-focused frame for hits."""
    cleantype: Literal["median", "medmask", "meanmask", "idw"] = "meanmask"
    fsmode: Literal["median", "convolve"] = "median"
    psfmodel: Literal["gauss", "gaussx", "gaussy", "moffat"] = "gauss"
    psffwhm: float = Field(2.5, gt=0)
    """Pixels; of the model that ``fsmode = "convolve"`` compares with."""
    psfsize: int = Field(7, ge=3)
    """Pixels, odd."""

    @model_validator(mode="after")
    def _fast_is_one_of_many(self) -> Self:
        """Refuse what the fast implementation does not do, rather than do something else."""
        asked = {"sepmed": self.sepmed, "cleantype": self.cleantype, "fsmode": self.fsmode}
        known = {"sepmed": False, "cleantype": "meanmask", "fsmode": "median"}
        for key, value in asked.items():
            if self.method == "fast" and value != known[key]:
                raise ValueError(
                    f'{key} = {value!r} needs method = "astroscrappy"; "fast" knows {known[key]!r}'
                )
        if self.psfsize % 2 == 0:
            raise ValueError(f"psfsize = {self.psfsize}: must be odd")
        return self


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
    cosmic_rays: CosmicRaySettings = CosmicRaySettings()
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

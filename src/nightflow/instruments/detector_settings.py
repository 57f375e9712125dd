"""The sections of a camera profile that say what is done to pixels."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from nightflow.instruments.amplifier_settings import (
    AmplifiersSetting,
    CrosstalkMatrix,
    LinearitySettings,
    Section,
)
from nightflow.instruments.bad_regions import MEND, parse_bad_region
from nightflow.instruments.settings_model import SettingsModel

__all__ = [
    "BadPixelSettings",
    "CalibrationSettings",
    "CosmicRaySettings",
    "DetectorSettings",
    "OverscanMode",
    "Policy",
    "TrailSettings",
]

Policy = Literal["off", "optional", "required"]
"""A calibration step: never done; done where a master exists (else a warning); needed."""

OverscanMode = Literal["off", "median", "row_median", "polynomial", "spline"]


def _bad_region(text: str) -> str:
    """Check a region of bad pixels."""
    if parse_bad_region(text) is None:
        raise ValueError(f"no region of bad pixels; {MEND}")
    return text


BadRegionText = Annotated[str, AfterValidator(_bad_region)]
"""See `nightflow.instruments.bad_regions`."""


class DetectorSettings(SettingsModel):
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


class CalibrationSettings(SettingsModel):
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
    flat_low: float = Field(0.2, gt=0)
    """Pixels of the normalised flat below this are dead."""
    flat_high: float = Field(5.0, gt=0)
    illumination: Policy = "off"
    """A dark-sky flat on top of the flat, made of the night's own lights."""
    fringe: Policy = "off"
    """The pattern of the night sky's lines, scaled to each frame and subtracted."""


class BadPixelSettings(SettingsModel):
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


class TrailSettings(SettingsModel):
    """Trails of satellites and aircraft."""

    enabled: bool = True
    threshold: float = Field(2.5, gt=0)
    """In units of the noise of 4 x 4 pixels, from which they count as part of a trail."""
    minimum_length: float = Field(0.3, gt=0, le=1)
    """In units of the frame's shorter side."""
    maximum_count: int = Field(8, ge=1, le=100)
    """Trails looked for in one frame."""


class CosmicRaySettings(SettingsModel):
    """L.A.Cosmic (van Dokkum 2001), with astroscrappy's parameter names."""

    enabled: bool = True
    method: Literal["fast", "astroscrappy"] = "fast"
    """"fast" evaluates L.A.Cosmic only where it can find anything; "astroscrappy" everywhere, with the same
    result: it is there to be compared with."""
    sigclip: float = Field(4.5, gt=0)
    sigfrac: float = Field(0.3, gt=0)
    objlim: float = Field(4.5, gt=0)
    """Of hits 10 sigma high, 97 to 99 of 100 are found. Of the cores of simulated stars with a FWHM of 1.5
    pixels 1 in 700 is taken for a hit, of those of a real telescope 1 in 200 (with 3.5 it was 1 in 20
    there, for one hit more in 100); at a FWHM of 2.3 and more none is."""
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

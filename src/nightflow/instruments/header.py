"""The normalised header: what the pipeline knows of a frame, whoever wrote it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from nightflow.instruments.amplifiers import Amplifier

__all__ = ["FrameHeader", "FrameKind", "Site"]


class FrameKind(StrEnum):
    """What a frame was taken for, or a master stands for.

    ILLUMINATION (a dark-sky flat) and FRINGE are kinds of master alone: they are made of light frames.
    """

    BIAS = "bias"
    DARK = "dark"
    FLAT = "flat"
    LIGHT = "light"
    ILLUMINATION = "illumination"
    FRINGE = "fringe"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where the telescope stands.

    Attributes
    ----------
    latitude, longitude : float
        Degrees, WGS84; longitude is positive towards east.
    height : float
        Metres above the ellipsoid.
    """

    latitude: float
    longitude: float
    height: float = 0.0


@dataclass(frozen=True, kw_only=True)
class FrameHeader:
    """Metadata of one detector's readout in nightflow's own terms.

    Every string that came from a file is text and nothing else: never a path
    component, SQL or HTML as it is.

    Attributes
    ----------
    instrument : str
        Name of the camera profile.
    detector : str
        Name of the chip inside the camera ("1" where there is only one).
    hdu : int
        Index of the image HDU in the file; of the first one, where the chip is spread over several.
    kind : FrameKind
        What the frame was taken for.
    object, filter : str
        As the profile maps them; "" where unknown.
    exptime : float
        Seconds.
    date_obs : str
        Start of the exposure, UTC, ISO 8601 without zone; "" where unknown.
    mjd_mid : float or None
        Middle of the exposure, UTC.
    shape : tuple of int
        (ny, nx) of the raw pixels, overscan included.
    binning : tuple of int
        (x, y).
    gain : float
        Electrons per ADU.
    read_noise : float
        Electrons; 0 where unknown.
    header_gain, header_read_noise : float or None
        What the file's own header says of both, also where the profile knows better.
    read_noise_known : bool
        False where neither header nor profile gives a read noise: the noise of the sky is measured instead.
    gain_known : bool
        False where neither header nor profile gives a gain that can be trusted: error bars then say so.
    saturation : float
        Raw ADU at and above which a pixel is saturated.
    pedestal : float
        ADU to be subtracted from the raw counts.
    bias_included : bool
        True where the counts still hold their bias level (False: already subtracted).
    steps_done : tuple of str
        Rows of `nightflow.detector.chain.STEPS` that the camera program, or whoever had the frame before, has
        done already; () for raw counts. Where "trim" is among them, ``shape`` is that of the trimmed frame.
        Electrons have a ``gain`` of 1.
    gain_setting, readout_mode : str
        As in the header, for matching masters; "" where unknown.
    ccd_temp : float or None
        Degrees Celsius.
    ra, dec : float or None
        Pointing hint, ICRS degrees. None where absent or absurd.
    aperture : float or None
        Diameter of the telescope, metres.
    rotator : float or None
        Degrees.
    airmass : float or None
        Of the middle of the exposure, computed from site and pointing where both are known, else the
        header's. Light frames only.
    site : Site or None
        None where neither header nor profile says.
    overscan, trim : tuple of slice or None
        (rows, columns), 0-based, of the raw array. None where the amplifiers have their own.
    amplifiers : tuple of Amplifier
        Those that read the chip, where there are several or one that reads backwards; () for one
        amplifier, of which all is said above. Where they differ, ``gain`` is the one that they are all
        brought to, ``read_noise`` their root mean square, ``saturation`` the lowest of them.
    bayer : str
        Colour filter mosaic such as "RGGB"; "" for a monochrome chip.
    warnings : tuple of str
        Each guess and each discarded value.
    """

    instrument: str
    detector: str = "1"
    hdu: int = 0
    kind: FrameKind
    object: str = ""
    filter: str = ""
    exptime: float
    date_obs: str = ""
    mjd_mid: float | None = None
    shape: tuple[int, int]
    binning: tuple[int, int] = (1, 1)
    gain: float = 1.0
    read_noise: float = 0.0
    header_gain: float | None = None
    header_read_noise: float | None = None
    read_noise_known: bool = True
    gain_known: bool = True
    saturation: float = 65535.0
    pedestal: float = 0.0
    bias_included: bool = True
    steps_done: tuple[str, ...] = ()
    gain_setting: str = ""
    readout_mode: str = ""
    ccd_temp: float | None = None
    ra: float | None = None
    dec: float | None = None
    aperture: float | None = None
    rotator: float | None = None
    airmass: float | None = None
    site: Site | None = None
    overscan: tuple[slice, slice] | None = None
    trim: tuple[slice, slice] | None = None
    amplifiers: tuple[Amplifier, ...] = ()
    bayer: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def hdus(self) -> tuple[int, ...]:
        """The HDUs that hold the chip's pixels, in the order in which the raw array stacks them."""
        return tuple(sorted({amplifier.hdu for amplifier in self.amplifiers})) or (self.hdu,)

    @property
    def longitude(self) -> float | None:
        """Of the site, degrees towards east; None where it is not known."""
        return None if self.site is None else self.site.longitude

    @property
    def has_overscan(self) -> bool:
        """Whether the strip is known, of every amplifier where there are several."""
        if self.amplifiers:
            return all(amplifier.overscan is not None for amplifier in self.amplifiers)
        return self.overscan is not None

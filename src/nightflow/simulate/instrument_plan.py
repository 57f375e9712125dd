"""Plan of telescope, filters and camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["AmplifierPlan", "CameraPlan", "Passband", "TelescopePlan", "default_passbands", "quadrants"]

Side = Literal["right", "left", "top", "bottom"]


@dataclass(frozen=True, kw_only=True)
class Passband:
    """One filter with what telescope, chip and air make of it.

    Attributes
    ----------
    zero_point : float
        Magnitude of 1 electron/s outside of the atmosphere, for a star of colour 0.
    color_term : float
        catalogue magnitude = instrumental + zero point + color_term * (V - R).
    extinction : float
        Magnitudes per airmass.
    extinction_color : float
        Change of the extinction per magnitude of V - R.
    sky : float
        Dark sky in magnitudes per square arcsec at the zenith.
    """

    zero_point: float
    color_term: float
    extinction: float
    extinction_color: float
    sky: float


def default_passbands() -> dict[str, Passband]:
    """Return B, V, R and I of a 20 cm telescope under a suburban sky."""
    return {
        "B": Passband(zero_point=19.75, color_term=0.11, extinction=0.25, extinction_color=-0.040, sky=22.0),
        "V": Passband(zero_point=19.95, color_term=0.06, extinction=0.15, extinction_color=-0.008, sky=21.1),
        "R": Passband(zero_point=20.05, color_term=-0.08, extinction=0.10, extinction_color=-0.004, sky=20.5),
        "I": Passband(zero_point=19.60, color_term=0.03, extinction=0.06, extinction_color=0.0, sky=19.3),
    }


@dataclass(frozen=True, kw_only=True)
class TelescopePlan:
    """Optics and mount.

    Attributes
    ----------
    aperture : float
        Metres; sets the scintillation.
    scale : float
        Arcsec per pixel.
    rotation : float
        Position angle of +y before the flip in degrees, north through east.
    parity : int
        +1 as on the sky, -1 mirrored.
    optics_fwhm : float
        Width of the stars without any seeing, pixels.
    focus_drift : float
        Pixels by which that width changes over the run.
    beta : float
        Exponent of the Moffat profile.
    ellipticity : float
        1 - b/a, typical; it wanders with the tracking.
    field_growth : float
        Relative growth of the stars' width from the axis to the corner.
    vignetting : float
        Throughput in the corner; 1 on the axis.
    pointing_error : float
        Arcsec, rms per axis; another draw on either side of the meridian.
    drift : float
        Arcsec per hour.
    jitter : float
        Arcsec, rms per axis from frame to frame.
    flip : bool
        Turn over by 180 degrees after the target has crossed the meridian.
    flip_delay_minutes : float
        How long after.
    distortion : float
        Relative displacement of a star in the corner; a cubic of the distance from the axis, positive for a
        pincushion.
    """

    aperture: float = 0.20
    scale: float = 3.0
    rotation: float = 2.7
    parity: int = 1
    optics_fwhm: float = 2.5
    focus_drift: float = 0.25
    beta: float = 3.2
    ellipticity: float = 0.05
    field_growth: float = 0.06
    vignetting: float = 0.78
    pointing_error: float = 70.0
    drift: float = 12.0
    jitter: float = 1.0
    flip: bool = True
    flip_delay_minutes: float = 5.0
    distortion: float = 0.0


@dataclass(frozen=True, kw_only=True)
class AmplifierPlan:
    """One of several amplifiers of a chip; each is written as an HDU of its own, in the order of its readout.

    Attributes
    ----------
    name : str
        AMPNAME.
    columns, rows : tuple of int
        First pixel and end, counted from 0, of the part of the chip that it reads.
    corner : tuple of str
        ("lower" or "upper", "left" or "right"): the corner of its part that it reads first.
    overscan_side : str
        Where in its HDU the overscan lies; to the right is after a row's last pixel was read.
    gain, read_noise : float
        Electrons per ADU; electrons.
    bias_offset : float
        ADU above the camera's bias level.
    nonlinearity : float
        Share of the signal that is lost at 50,000 ADU; it grows in proportion to the signal.
    """

    name: str
    columns: tuple[int, int]
    rows: tuple[int, int]
    corner: tuple[Literal["lower", "upper"], Literal["left", "right"]] = ("lower", "left")
    overscan_side: Side = "right"
    gain: float = 1.5
    read_noise: float = 8.0
    bias_offset: float = 0.0
    nonlinearity: float = 0.0


def quadrants(
    shape: tuple[int, int],
    *,
    gains: tuple[float, float, float, float] = (1.40, 1.52, 1.61, 1.47),
    read_noises: tuple[float, float, float, float] = (7.0, 8.5, 9.5, 6.5),
    bias_offsets: tuple[float, float, float, float] = (0.0, 140.0, -90.0, 310.0),
    overscan_sides: tuple[Side, Side, Side, Side] = ("right", "left", "top", "bottom"),
    nonlinearities: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
) -> tuple[AmplifierPlan, ...]:
    """Return amplifiers A to D for a chip of ``shape``: lower left, lower right, upper left, upper right."""
    (ny, nx), (middle_y, middle_x) = shape, (shape[0] // 2, shape[1] // 2)
    plans = []
    for number, name in enumerate("ABCD"):
        upper, right = divmod(number, 2)
        plans.append(
            AmplifierPlan(
                name=name,
                columns=(middle_x, nx) if right else (0, middle_x),
                rows=(middle_y, ny) if upper else (0, middle_y),
                corner=("upper" if upper else "lower", "right" if right else "left"),
                overscan_side=overscan_sides[number],
                gain=gains[number],
                read_noise=read_noises[number],
                bias_offset=bias_offsets[number],
                nonlinearity=nonlinearities[number],
            )
        )
    return tuple(plans)


@dataclass(frozen=True, kw_only=True)
class CameraPlan:
    """The chip and its electronics.

    Attributes
    ----------
    name : str
        DETECTOR in the headers.
    shape : tuple of int
        (ny, nx) pixels that see the sky.
    center_offset : tuple of float
        (x, y) of the optical axis from the middle of the chip, pixels; not (0, 0) for a chip of a mosaic.
    overscan : int
        Columns (rows, where it lies at the top or the bottom) of overscan.
    overscan_side : str
        Where it lies in the file.
    gain : float
        Electrons per ADU.
    read_noise : float
        Electrons.
    full_well : float
        Electrons that a pixel holds.
    bias_level : float
        ADU, mean of the night.
    bias_drift : float
        ADU by which the level wanders.
    bias_structure : float
        ADU, rms of the fixed pattern.
    dark_rate : float
        Electrons per second and pixel.
    hot_fraction : float
        Share of the pixels that are hot: 0.5 to 100 electrons per second.
    n_dead_columns : int
        Columns that hardly see light.
    pixel_response : float
        Relative rms of the pixel response.
    n_dust : int
        Shadows of dust specks.
    cosmic_rate : float
        Cosmic-ray hits per minute on the chip.
    temperature : float
        Degrees Celsius.
    nonlinearity : float
        Share of the signal that is lost at 50,000 ADU; it grows in proportion to the signal.
    amplifiers : tuple of AmplifierPlan
        Empty: one, described by this plan. Else gain, read noise, side of the overscan and non-linearity are
        theirs, and the plan's gain is no more than a measure of the light in the flats.
    crosstalk : tuple of tuple of float
        [victim][source] in the order of the amplifiers: share of the source's signal that the victim adds to
        its own at the same time. Empty: none.
    """

    name: str = "1"
    shape: tuple[int, int] = (1024, 1024)
    center_offset: tuple[float, float] = (0.0, 0.0)
    overscan: int = 32
    gain: float = 1.5
    read_noise: float = 8.0
    full_well: float = 120_000.0
    bias_level: float = 1000.0
    bias_drift: float = 12.0
    bias_structure: float = 3.0
    dark_rate: float = 0.05
    hot_fraction: float = 4e-4
    n_dead_columns: int = 1
    pixel_response: float = 0.008
    n_dust: int = 0
    cosmic_rate: float = 20.0
    temperature: float = -20.0
    overscan_side: Side = "right"
    nonlinearity: float = 0.0
    amplifiers: tuple[AmplifierPlan, ...] = ()
    crosstalk: tuple[tuple[float, ...], ...] = ()

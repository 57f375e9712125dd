"""What was put into the frames, for those who want to check what came out."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from astropy.table import Table

from nightflow.simulate.cosmic_rays import CosmicRays
from nightflow.simulate.detector import Detector
from nightflow.simulate.plan import NightPlan
from nightflow.simulate.scene import Scene
from nightflow.simulate.sky import BAND_SLOPES, magnitude_in
from nightflow.simulate.transit import Transit

__all__ = ["FrameTruth", "NightTruth", "frame_table", "star_table"]

_NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class FrameTruth:
    """The truth about one frame; NaN where a quantity has no meaning for its kind.

    Attributes
    ----------
    name : str
        File name.
    kind, filter : str
        bias, dark, flat or light; filter "" where closed.
    exptime : float
        Seconds.
    mjd_start, mjd_mid : float
        UTC.
    bias_level : float
        ADU of the overscan.
    n_cosmic_hits, n_cosmic_pixels : int
        Particles, and pixels that they touched.
    bjd_tdb : float
        Mid-exposure for the target.
    airmass : float
        Mid-exposure.
    flipped : bool
        After the meridian flip.
    crval1, crval2, crpix1, crpix2, cd1_1, cd1_2, cd2_1, cd2_2 : float
        The true TAN WCS of the trimmed frame in FITS convention (CRPIX counts from 1), without distortion.
    distortion : float
        Relative, in the corner; see `nightflow.simulate.plan.TelescopePlan`.
    scale, rotation, parity : float, float, int
        Arcsec per pixel; position angle of +y in degrees, north through east; +1 as on the sky.
    zero_point : float
        Magnitude of 1 electron/s for a star of colour V - R = 0, extinction and cloud included, where the
        flat (median 1) is 1.
    color_term : float
        Of that frame, second-order extinction included:
        catalogue = instrumental + zero_point + color_term * (V - R).
    extinction, cloud : float
        Magnitudes taken by clear air (colour 0) and by cloud.
    fwhm_px, ellipticity : float
        Of a star on the axis; ellipticity is 1 - b/a.
    sky : float
        Electrons a pixel in the middle of the frame where the flat is 1.
    target_flux : float
        Relative to the target's catalogue magnitude: the transit.
    n_saturated : int
        Pixels at the end of the well or of the converter.
    """

    name: str
    kind: str
    filter: str
    exptime: float
    mjd_start: float
    mjd_mid: float
    bias_level: float
    n_cosmic_hits: int = 0
    n_cosmic_pixels: int = 0
    bjd_tdb: float = _NAN
    airmass: float = _NAN
    flipped: bool = False
    crval1: float = _NAN
    crval2: float = _NAN
    crpix1: float = _NAN
    crpix2: float = _NAN
    cd1_1: float = _NAN
    cd1_2: float = _NAN
    cd2_1: float = _NAN
    cd2_2: float = _NAN
    scale: float = _NAN
    rotation: float = _NAN
    parity: int = 0
    zero_point: float = _NAN
    color_term: float = _NAN
    extinction: float = _NAN
    cloud: float = _NAN
    fwhm_px: float = _NAN
    ellipticity: float = _NAN
    sky: float = _NAN
    target_flux: float = _NAN
    n_saturated: int = 0
    distortion: float = 0.0


@dataclass(frozen=True, kw_only=True)
class NightTruth:
    """The truth about a night.

    Attributes
    ----------
    plan : NightPlan
        What was simulated.
    scene : Scene
        Stars at the epoch of the night, variables, movers.
    detector : Detector
        The chip.
    transit : Transit or None
        The target's.
    frames : list of FrameTruth
        In order of time.
    cosmic_rays : dict of str to CosmicRays
        File name -> what hit that frame.
    """

    plan: NightPlan
    scene: Scene
    detector: Detector
    transit: Transit | None
    frames: list[FrameTruth] = field(default_factory=list)
    cosmic_rays: dict[str, CosmicRays] = field(default_factory=dict)


def frame_table(frames: list[FrameTruth]) -> Table:
    """Return one row a frame, columns named like the attributes of `FrameTruth`."""
    columns: dict[str, list[Any]] = {
        entry.name: [getattr(frame, entry.name) for frame in frames] for entry in fields(FrameTruth)
    }
    return Table(columns)


def star_table(scene: Scene) -> Table:
    """Return every star at the epoch of the night: positions, magnitudes per band, colour, variability."""
    stars = scene.stars
    columns: dict[str, Any] = {"row": np.arange(len(stars)), "ra": stars.ra, "dec": stars.dec}
    columns |= {band: magnitude_in(band, stars.v, stars.v_r) for band in BAND_SLOPES}
    columns |= {"v_r": stars.v_r, "is_target": stars.is_target, "amplitude": np.zeros(len(stars))}
    columns |= {"period_hours": np.full(len(stars), _NAN)}
    for row, curve in scene.light_curves.items():
        columns["period_hours"][row] = getattr(curve, "period_hours", _NAN)
        columns["amplitude"][row] = getattr(curve, "amplitude", getattr(curve, "depth", _NAN))
    table = Table(columns)
    table.meta["epoch"] = stars.epoch
    return table

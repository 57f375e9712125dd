"""A night from its plan, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from nightflow.simulate.amplifiers import ceiling_plane, read_out_amplifiers
from nightflow.simulate.atmosphere import scintillation, sky_rate
from nightflow.simulate.cosmic_rays import CosmicRays, draw_cosmic_rays
from nightflow.simulate.detector import read_out, saturation_level
from nightflow.simulate.header import amplifier_header, chip_header, exposure_header, frame_header
from nightflow.simulate.plan import CameraPlan, NightPlan
from nightflow.simulate.prepare import LightConditions, Night, frame_stream, prepare_night
from nightflow.simulate.render import collect_light, paint_stars, sky_plane, star_rates
from nightflow.simulate.scene import PointSources
from nightflow.simulate.schedule import ScheduledFrame
from nightflow.simulate.truth import FrameTruth

__all__ = ["Readout", "SimulatedFrame", "expected_light", "render_frame", "simulate_night"]

Array = NDArray[np.float64]

_FLAT_LEVEL = 0.42
"""Mean level of the flats in units of the saturation level."""


@dataclass(frozen=True, kw_only=True)
class Readout:
    """What one amplifier wrote.

    Attributes
    ----------
    name : str
        EXTNAME, where it is an extension.
    pixels : ndarray of uint16, shape (ny, nx), overscan included
        Raw counts.
    header : astropy.io.fits.Header
        Of the HDU.
    """

    name: str
    pixels: NDArray[np.uint16]
    header: fits.Header

    def hdu(self) -> fits.ImageHDU:
        """Return the extension ready for writing."""
        return fits.ImageHDU(self.pixels, self.header, name=self.name)


@dataclass(frozen=True, kw_only=True)
class SimulatedFrame:
    """One rendered frame of one chip.

    Attributes
    ----------
    name : str
        File name; names sort by time.
    header : astropy.io.fits.Header
        Of the file, without a WCS.
    readouts : tuple of Readout
        One an amplifier.
    truth : FrameTruth
        What went into it.
    cosmic_rays : CosmicRays
        What hit it.
    """

    name: str
    header: fits.Header
    readouts: tuple[Readout, ...]
    truth: FrameTruth
    cosmic_rays: CosmicRays

    @property
    def pixels(self) -> NDArray[np.uint16]:
        """Raw counts, shape (ny, nx + overscan); of the first amplifier, where there are several."""
        return self.readouts[0].pixels

    def hdu(self) -> fits.PrimaryHDU:
        """Return the frame of a chip of one amplifier ready for writing."""
        return fits.PrimaryHDU(self.pixels, self.header)

    def hdus(self) -> fits.HDUList:
        """Return the file: one HDU, or the exposure's header and an extension for each amplifier."""
        if self.readouts[0].header is self.header:
            return fits.HDUList([self.hdu()])
        return fits.HDUList([fits.PrimaryHDU(header=self.header), *(one.hdu() for one in self.readouts)])


def simulate_night(plan: NightPlan) -> Iterator[SimulatedFrame]:
    """Yield the frames of a night in order of time; the same plan gives the same pixels.

    Raises
    ------
    ConfigurationError
        The field cannot be observed on that date.
    """
    night = prepare_night(plan)
    for frame in night.schedule:
        yield render_frame(night, frame)


def expected_light(
    night: Night, frame: ScheduledFrame, rng: np.random.Generator | None = None
) -> tuple[Array, PointSources]:
    """Return what stars and sky would free on a perfect chip, and the sources.

    Parameters
    ----------
    night : Night
        The night.
    frame : ScheduledFrame
        One of its lights.
    rng : numpy.random.Generator, optional
        Source of the scintillation; without it no star twinkles.

    Returns
    -------
    electrons : ndarray, shape (ny, nx)
        Expectation, without flat, dark current and noise.
    sources : PointSources
        What shines.
    """
    plan, light = night.plan, night.lights[frame.number]
    band = plan.passbands[frame.filter]
    sources = night.scene.sources(frame.filter, frame.mjd_mid, light.bjd_tdb, frame.exptime)
    x, y = light.pointing.to_pixels(sources.ra, sources.dec)
    rates = star_rates(sources, band, light.airmass, light.cloud, _twinkle(plan, light, frame, rng, len(x)))
    sky = sky_rate(band, plan.telescope.scale, light.sky_factor)
    plane = sky_plane(plan.camera, light.pointing, sky * frame.exptime, plan.atmosphere.sky_gradient)
    return plane + paint_stars(plan.camera, x, y, rates * frame.exptime, light.shape), sources


def _twinkle(
    plan: NightPlan,
    light: LightConditions,
    frame: ScheduledFrame,
    rng: np.random.Generator | None,
    n_stars: int,
) -> Array:
    if rng is None:
        return np.ones(n_stars)
    rms = scintillation(plan.telescope.aperture, light.airmass, plan.site.height, frame.exptime)
    return np.clip(1.0 + rms * rng.standard_normal(n_stars), 0.0, None)


def render_frame(night: Night, frame: ScheduledFrame) -> SimulatedFrame:
    """Render one frame of a night."""
    plan = night.plan
    rng = frame_stream(plan, frame.number)
    bias_level = float(night.bias_levels[frame.number - 1])
    incoming = _incoming(night, frame, rng)
    _, electrons = collect_light(rng, night.detector, incoming, frame.exptime)
    cosmics = draw_cosmic_rays(rng, plan.camera.shape, plan.camera.cosmic_rate, frame.exptime)
    electrons[cosmics.y, cosmics.x] += cosmics.electrons
    planes = _planes(night, rng, electrons, bias_level)
    truth = _frame_truth(night, frame, bias_level, cosmics, electrons)
    temperature = plan.camera.temperature + 0.05 * float(rng.standard_normal())
    alone = not plan.chip and not plan.camera.amplifiers
    header = (frame_header if alone else exposure_header)(plan, frame, truth.airmass, temperature)
    headers = [header] if alone else _extension_headers(plan.camera)
    return SimulatedFrame(
        name=truth.name,
        header=header,
        readouts=tuple(
            Readout(name=_extension_name(one), pixels=pixels, header=one)
            for one, pixels in zip(headers, planes, strict=True)
        ),
        truth=truth,
        cosmic_rays=cosmics,
    )


def _planes(
    night: Night, rng: np.random.Generator, electrons: Array, bias_level: float
) -> list[NDArray[np.uint16]]:
    camera = night.plan.camera
    if camera.amplifiers:
        return read_out_amplifiers(rng, camera, night.detector, electrons, bias_level)
    return [read_out(rng, camera, night.detector, electrons, bias_level)]


def _extension_headers(camera: CameraPlan) -> list[fits.Header]:
    return [amplifier_header(camera, one) for one in camera.amplifiers] or [chip_header(camera)]


def _extension_name(header: fits.Header) -> str:
    return f"{header['DETECTOR']}{header.get('AMPNAME', '')}"


def _incoming(night: Night, frame: ScheduledFrame, rng: np.random.Generator) -> Array:
    camera = night.plan.camera
    if frame.kind == "light":
        return expected_light(night, frame, rng)[0]
    if frame.kind == "flat":
        level = _FLAT_LEVEL * (saturation_level(camera) - camera.bias_level) * camera.gain
        return np.full(camera.shape, level * rng.uniform(0.85, 1.15))
    return np.zeros(camera.shape)


def _frame_truth(
    night: Night, frame: ScheduledFrame, bias_level: float, cosmics: CosmicRays, electrons: Array
) -> FrameTruth:
    ceiling = ceiling_plane(night.plan.camera, bias_level)
    return FrameTruth(
        name=f"{frame.number:04d}-{frame.kind}{'-' * bool(frame.filter)}{frame.filter}.fits",
        kind=frame.kind,
        filter=frame.filter,
        exptime=frame.exptime,
        mjd_start=frame.mjd_start,
        mjd_mid=frame.mjd_mid,
        bias_level=bias_level,
        n_cosmic_hits=cosmics.n_hits,
        n_cosmic_pixels=len(cosmics.x),
        n_saturated=int(np.count_nonzero(electrons >= ceiling)),
        **(_light_truth(night, frame) if frame.kind == "light" else {}),
    )


def _light_truth(night: Night, frame: ScheduledFrame) -> dict[str, Any]:
    light, band = night.lights[frame.number], night.plan.passbands[frame.filter]
    pointing = light.pointing
    clear_air = band.extinction * light.airmass
    target = int(np.argmax(night.scene.stars.is_target))
    return {
        "bjd_tdb": light.bjd_tdb,
        "airmass": light.airmass,
        "flipped": pointing.flipped,
        "crval1": pointing.ra,
        "crval2": pointing.dec,
        "crpix1": pointing.x + 1.0,
        "crpix2": pointing.y + 1.0,
        **{f"cd{i + 1}_{j + 1}": float(pointing.cd[i, j]) for i in (0, 1) for j in (0, 1)},
        "distortion": pointing.distortion,
        "scale": pointing.scale,
        "rotation": pointing.rotation,
        "parity": pointing.parity,
        "zero_point": band.zero_point - clear_air - light.cloud,
        "color_term": band.color_term - band.extinction_color * light.airmass,
        "extinction": clear_air,
        "cloud": light.cloud,
        "fwhm_px": light.shape.fwhm,
        "ellipticity": light.shape.ellipticity,
        "sky": sky_rate(band, pointing.scale, light.sky_factor) * frame.exptime,
        "target_flux": float(night.scene.relative_flux(light.bjd_tdb)[target]),
    }

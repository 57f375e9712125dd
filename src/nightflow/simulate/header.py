"""FITS headers of the simulated camera."""

from __future__ import annotations

from astropy.io import fits
from astropy.time import Time

from nightflow.simulate.amplifiers import as_camera
from nightflow.simulate.detector import saturation_level, with_overscan
from nightflow.simulate.instrument_plan import AmplifierPlan, CameraPlan, Side
from nightflow.simulate.plan import NightPlan
from nightflow.simulate.schedule import ScheduledFrame

__all__ = ["amplifier_header", "chip_header", "exposure_header", "frame_header"]

_IMAGE_TYPES = {"bias": "bias", "dark": "dark", "flat": "flat", "light": "object"}


def frame_header(plan: NightPlan, frame: ScheduledFrame, airmass: float, temperature: float) -> fits.Header:
    """Return the header of one frame: what the camera's software knows, so no WCS.

    Parameters
    ----------
    plan : NightPlan
        The night.
    frame : ScheduledFrame
        The exposure.
    airmass : float
        At mid-exposure; written for lights alone.
    temperature : float
        Of the chip, degrees Celsius.
    """
    header = exposure_header(plan, frame, airmass, temperature)
    header.insert("IMAGETYP", ("DETECTOR", plan.camera.name, "chip"))
    camera = chip_header(plan.camera)
    for card in camera.cards[1:]:  # the chip's name stands further up
        header.insert("SITELAT", card)
    return header


def exposure_header(
    plan: NightPlan, frame: ScheduledFrame, airmass: float, temperature: float
) -> fits.Header:
    """Return what holds for all chips of an exposure; parameters as `frame_header`."""
    header = fits.Header()
    header["INSTRUME"] = ("nightflow-sim", "simulated camera")
    header["TELESCOP"] = (f"simulated {plan.telescope.aperture:.2f} m", "aperture")
    header["APTDIA"] = (1000.0 * plan.telescope.aperture, "[mm] aperture")
    header["IMAGETYP"] = (_IMAGE_TYPES[frame.kind], "bias, dark, flat or object")
    header["EXPTIME"] = (frame.exptime, "[s] open shutter")
    start = Time(frame.mjd_start, format="mjd", scale="utc", precision=3)
    header["DATE-OBS"] = (start.isot, "UTC, start of the exposure")
    if frame.filter:
        header["FILTER"] = (frame.filter, "filter")
    if frame.kind == "light":
        header["OBJECT"] = (plan.field.name, "target")
        header["RA"] = (plan.field.ra, "[deg] ICRS, commanded pointing")
        header["DEC"] = (plan.field.dec, "[deg] ICRS, commanded pointing")
        header["AIRMASS"] = (round(airmass, 4), "middle of the exposure")
    header["CCD-TEMP"] = (round(temperature, 2), "[deg C]")
    _add_site(header, plan)
    return header


def chip_header(camera: CameraPlan) -> fits.Header:
    """Return what the HDU of a chip of one amplifier says of it."""
    header = fits.Header()
    header["DETECTOR"] = (camera.name, "chip")
    header["GAIN"] = (camera.gain, "[electron/ADU]")
    header["RDNOISE"] = (camera.read_noise, "[electron]")
    header["SATURATE"] = (saturation_level(camera), "[ADU] end of the trusted range")
    header["XBINNING"] = (1, "pixels")
    header["YBINNING"] = (1, "pixels")
    _, light = with_overscan(camera.shape, camera.overscan, camera.overscan_side)
    if camera.overscan:
        header["BIASSEC"] = (
            _overscan_section(camera.shape, camera.overscan, camera.overscan_side),
            "overscan",
        )
    header["TRIMSEC"] = (_section(light), "pixels that see the sky")
    return header


def amplifier_header(camera: CameraPlan, amplifier: AmplifierPlan) -> fits.Header:
    """Return what the HDU of one of several amplifiers says; its pixels are in the order of the readout."""
    (x1, x2), (y1, y2) = amplifier.columns, amplifier.rows
    shape = y2 - y1, x2 - x1
    _, light = with_overscan(shape, camera.overscan, amplifier.overscan_side)
    vertical, horizontal = amplifier.corner
    columns = f"{x2}:{x1 + 1}" if horizontal == "right" else f"{x1 + 1}:{x2}"
    rows = f"{y2}:{y1 + 1}" if vertical == "upper" else f"{y1 + 1}:{y2}"
    header = fits.Header()
    header["DETECTOR"] = (camera.name, "chip")
    header["AMPNAME"] = (amplifier.name, "amplifier")
    header["GAIN"] = (amplifier.gain, "[electron/ADU]")
    header["RDNOISE"] = (amplifier.read_noise, "[electron]")
    header["SATURATE"] = (saturation_level(as_camera(camera, amplifier)), "[ADU] end of the trusted range")
    if camera.overscan:
        section = _overscan_section(shape, camera.overscan, amplifier.overscan_side)
        header["BIASSEC"] = (section, "overscan")
    header["DATASEC"] = (_section(light), "pixels that see the sky")
    header["CCDSEC"] = (f"[{columns},{rows}]", "where they belong on the chip")
    return header


def _section(region: tuple[slice, slice]) -> str:
    rows, columns = region
    return f"[{columns.start + 1}:{columns.stop},{rows.start + 1}:{rows.stop}]"


def _overscan_section(shape: tuple[int, int], overscan: int, side: Side) -> str:
    (rows, columns), (ny, nx) = with_overscan(shape, overscan, side)[0], shape
    return {
        "right": f"[{nx + 1}:{columns},1:{ny}]",
        "left": f"[1:{overscan},1:{ny}]",
        "top": f"[1:{nx},{ny + 1}:{rows}]",
        "bottom": f"[1:{nx},1:{overscan}]",
    }[side]


def _add_site(header: fits.Header, plan: NightPlan) -> None:
    header["SITELAT"] = (plan.site.latitude, "[deg] WGS84")
    header["SITELONG"] = (plan.site.longitude, "[deg] WGS84, positive towards east")
    header["SITEELEV"] = (plan.site.height, "[m]")

"""FITS headers of the simulated camera."""

from __future__ import annotations

from astropy.io import fits
from astropy.time import Time

from nightflow.simulate.detector import saturation_level
from nightflow.simulate.plan import NightPlan
from nightflow.simulate.schedule import ScheduledFrame

__all__ = ["frame_header"]

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
    header = fits.Header()
    header["INSTRUME"] = ("nightflow-sim", "simulated camera")
    header["TELESCOP"] = (f"simulated {plan.telescope.aperture:.2f} m", "aperture")
    header["DETECTOR"] = (plan.camera.name, "chip")
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
    _add_camera(header, plan, temperature)
    _add_site(header, plan)
    return header


def _add_camera(header: fits.Header, plan: NightPlan, temperature: float) -> None:
    camera = plan.camera
    ny, nx = camera.shape
    header["CCD-TEMP"] = (round(temperature, 2), "[deg C]")
    header["GAIN"] = (camera.gain, "[electron/ADU]")
    header["RDNOISE"] = (camera.read_noise, "[electron]")
    header["SATURATE"] = (saturation_level(camera), "[ADU] end of the trusted range")
    header["XBINNING"] = (1, "pixels")
    header["YBINNING"] = (1, "pixels")
    if camera.overscan:
        header["BIASSEC"] = (f"[{nx + 1}:{nx + camera.overscan},1:{ny}]", "overscan")
    header["TRIMSEC"] = (f"[1:{nx},1:{ny}]", "pixels that see the sky")


def _add_site(header: fits.Header, plan: NightPlan) -> None:
    header["SITELAT"] = (plan.site.latitude, "[deg] WGS84")
    header["SITELONG"] = (plan.site.longitude, "[deg] WGS84, positive towards east")
    header["SITEELEV"] = (plan.site.height, "[m]")

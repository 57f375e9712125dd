"""From raw counts to electrons with variance and flags, without cosmic rays: ours and ccdproc."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import ccdproc
import numpy as np
from astropy import units as u
from astropy.io.fits import Header
from astropy.nddata import CCDData, StdDevUncertainty
from numpy.typing import NDArray

from benchmarks import peers
from benchmarks.harness import Agreement, Case, Side, both, close
from benchmarks.workshop import Workshop
from nightflow.detector.chain import calibrate
from nightflow.detector.master_frame import MasterFrame, MasterSet
from nightflow.detector.overscan import overscan_variance
from nightflow.flags import Flag
from nightflow.frame import Frame
from nightflow.instruments.header import FrameHeader
from nightflow.instruments.profile import CalibrationSettings, CameraProfile

__all__ = ["agree", "calibrate_case", "ccdproc_chain", "ccdproc_masters", "without_cosmic_rays"]


@contextmanager
def calibrate_case(workshop: Workshop) -> Iterator[Case]:
    """One light frame with bias, dark and flat, in memory on both sides."""
    shop = workshop.detector
    profile, raw, masters = without_cosmic_rays(shop.profile), shop.raw, shop.masters
    theirs = ccdproc_masters(masters)
    yield Case(
        ours=Side(run=lambda: calibrate(raw, profile, masters)),
        peer=Side(run=lambda: ccdproc_chain(raw.data, raw.header, theirs, profile.calibration)),
        peer_name=f"{peers.name('ccdproc')}: overscan, trim, deviation, bias, dark, flat, gain; {shop.size}",
        agree=agree,
    )


def without_cosmic_rays(profile: CameraProfile) -> CameraProfile:
    """Return the profile with cosmic rays and trails left alone."""
    off = {
        name: getattr(profile, name).model_copy(update={"enabled": False})
        for name in ("cosmic_rays", "trails")
    }
    return profile.model_copy(update=off)


def ccdproc_masters(masters: MasterSet) -> dict[str, CCDData]:
    """Return our masters as ccdproc takes them; it is not asked to make them."""
    units = {"bias": u.adu, "dark": u.adu, "flat": u.dimensionless_unscaled}
    return {kind: _ccd(getattr(masters, kind), unit) for kind, unit in units.items()}


def _ccd(master: MasterFrame | None, unit: u.UnitBase) -> CCDData:
    if master is None:
        raise ValueError("the benchmark needs bias, dark and flat")
    header = Header({"EXPTIME": master.header.exptime})
    return CCDData(master.data, unit=unit, uncertainty=StdDevUncertainty(master.uncertainty), header=header)


def ccdproc_chain(
    data: NDArray[np.float32],
    header: FrameHeader,
    masters: dict[str, CCDData],
    settings: CalibrationSettings,
) -> CCDData:
    """Return the frame in electrons with its uncertainty, by ccdproc's functions in our order."""
    assert header.overscan is not None
    assert header.trim is not None
    ccd = CCDData(data, unit=u.adu, header=Header({"EXPTIME": header.exptime}))
    strip = ccd[header.overscan]
    ccd = ccdproc.subtract_overscan(ccd, overscan=strip, overscan_axis=1, median=True)
    ccd = ccdproc.trim_image(ccd[header.trim])
    ccd = ccdproc.subtract_bias(ccd, masters["bias"])
    # Of the bias-subtracted counts; our variance also holds what the overscan level brings in.
    noise = float(
        np.hypot(header.read_noise, header.gain * overscan_variance(header, settings.overscan) ** 0.5)
    )
    # The bias's own noise is not added: the dark, made with it, takes it off again.
    ccd = ccdproc.create_deviation(
        ccd, gain=header.gain * u.electron / u.adu, readnoise=noise * u.electron, disregard_nan=True
    )
    ccd = ccdproc.subtract_dark(ccd, masters["dark"], exposure_time="EXPTIME", exposure_unit=u.s)
    # The dead columns of the flat.
    with np.errstate(divide="ignore", invalid="ignore"):
        ccd = ccdproc.flat_correct(ccd, masters["flat"], norm_value=1.0)
    return ccdproc.gain_correct(ccd, header.gain, gain_unit=u.electron / u.adu)


def agree(ours: Frame, theirs: CCDData) -> Agreement:
    """Compare electrons and their uncertainty where the response is known on both sides."""
    assert ours.variance is not None
    assert ours.flags is not None
    good = (ours.flags & int(Flag.BAD | Flag.DEAD)) == 0
    deviation = np.sqrt(ours.variance)[good]
    difference = np.abs(ours.data - theirs.data)[good] / deviation
    relative = np.abs(deviation / theirs.uncertainty.array[good] - 1)
    return both(
        close("electrons differ by at most", float(difference.max()), 1e-3, " sigma"),
        close("uncertainties by", float(relative.max()), 1e-3),
    )

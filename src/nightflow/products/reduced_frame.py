"""Reduced frames as FITS files: science, mask and uncertainty in the layout of `astropy.nddata.CCDData`.

The first HDU holds the electrons, with the header as it was read minus what reduction has made wrong
(scaling, sections, pedestal, a raw WCS) plus what is known now. ``MASK``, ``UNCERT`` (standard
deviation) and ``FLAGS`` (the bits behind the mask) follow. Where they are compressed (FITS Standard 4.0,
section 10), an empty primary HDU goes before them, and `astropy.nddata.CCDData.read` must be told ``hdu=1``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from astropy.io import fits
from astropy.io.fits.hdu.compressed import DITHER_SEED_CHECKSUM, SUBTRACTIVE_DITHER_2
from astropy.time import Time, TimeDelta

from nightflow.astrometry.wcs_header import remove_wcs, write_wcs
from nightflow.fits_output import card, printable, replacing
from nightflow.flags import UNUSABLE, Flag
from nightflow.frame import Frame
from nightflow.instruments.header import FrameHeader, Site
from nightflow.photcal.jansky import FluxScale

__all__ = ["Compression", "TargetPlace", "clean_header", "reduced_header", "write_reduced"]

Compression = Literal["none", "lossless", "rice"]
"""No tiles; gzip, which keeps every bit; or what `fpack` does: floats rounded to a sixteenth of the noise."""

_FRACTION_OF_NOISE = 16.0
"""Steps a standard deviation of the noise (Pence, White & Seaman 2010, PASP 122, 1065): adds 0.02 % to it."""

STALE = re.compile(
    # layout of the raw file and its compression
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|EXTNAME|EXTVER|EXTLEVEL|INHERIT|END"
    r"|CHECKSUM|DATASUM|ZHECKSUM|ZDATASUM|FZALGOR|FZTILE|ZIMAGE|ZTABLE|ZCMPTYPE|ZBITPIX|ZNAXIS\d*|ZTILE\d+"
    r"|ZNAME\d+|ZVAL\d+|ZSIMPLE|ZEXTEND|ZTENSION|ZPCOUNT|ZGCOUNT|ZQUANTIZ|ZDITHER0|ZBLANK|ZSCALE|ZZERO"
    # counts that are no more what they were
    r"|BSCALE|BZERO|BLANK|BUNIT|PEDESTAL|DATAMIN|DATAMAX|GAIN|EGAIN|CBLACK|CWHITE|CALSTAT|SWMODIFY"
    r"|PHOTZP|PHOTBAND|PHOTSYS|PHOTAB|PHOTERR"
    # sections of the raw frame
    r"|BIASSEC|TRIMSEC|DATASEC|CCDSEC|AMPSEC|DETSEC|AMPNAME|ATM\d_\d|ATV\d|COVER|ROVER|LT[MV]\d(_\d)?"
    # what `remove_wcs` leaves of a WCS of the raw frame: alternate ones
    r"|(WCSNAME|WCSAXES|CTYPE\d|CUNIT\d|CRVAL\d|CRPIX\d|CDELT\d|CD\d_\d|PC\d_\d|PV\d_\d+|CNAME\d|CRDER\d|CSYER\d)[A-Z]"
    r"|(EQUINOX|RADESYS|LONPOLE|LATPOLE)[A-Z]|EPOCH|PLTSOLVD"
    # times and places that are written anew in UTC and degrees east
    r"|DATE-OBS|DATE-BEG|DATE-AVG|DATE-END|MJD-OBS|MJD-BEG|MJD-AVG|MJD-END|TIMESYS|MJDREF|AIRMASS|OBSGEO-[BLHXYZ]|SITELONG|SITELAT|SITEELEV"
)


@dataclass(frozen=True, kw_only=True)
class TargetPlace:
    """Where the target is at the time of the exposure: ICRS degrees, and who says so."""

    ra: float
    dec: float
    origin: str


def write_reduced(
    path: Path,
    frame: Frame,
    *,
    masters: Mapping[str, str] | None = None,
    software: str = "",
    target: TargetPlace | None = None,
    compression: Compression = "none",
    scale: FluxScale | None = None,
) -> None:
    """Write a reduced frame under a temporary name, then rename it.

    Parameters
    ----------
    path : Path
        Chosen by the caller, never out of a header's text.
    frame : Frame
        Electrons, with variance and flags; its ``wcs`` is written where there is one.
    masters : mapping of str to str, optional
        Kind -> fingerprint of the masters that were used.
    software : str
        Name and version of what reduced it.
    target : TargetPlace, optional
        Written as RA-OBJ and DEC-OBJ.
    compression : {"none", "lossless", "rice"}
        How the pixels are packed; ``path`` should end in .fz where they are.
    scale : FluxScale, optional
        Write microjansky a pixel; see `nightflow.photcal.jansky`.

    Raises
    ------
    ValueError
        The frame has no variance or no flags: it is not calibrated.
    OSError
        The folder cannot be written to, or the disk is full.
    """
    if frame.variance is None or frame.flags is None:
        raise ValueError("write_reduced: needs a calibrated frame, with variance and flags")
    unit, factor = (frame.unit, np.float32(1)) if scale is None else ("uJy", np.float32(scale.factor))
    uncertainty = fits.Header([("UTYPE", "StdDevUncertainty", "one standard deviation"), ("BUNIT", unit)])
    header = reduced_header(frame, masters or {}, software, target)
    if scale is not None:
        header.update(_flux_cards(scale))
    planes = fits.HDUList(
        [
            fits.PrimaryHDU(np.asarray(frame.data, np.float32) * factor, header),
            fits.ImageHDU(((frame.flags & int(UNUSABLE)) != 0).astype(np.uint8), name="MASK"),
            fits.ImageHDU(np.sqrt(frame.variance, dtype=np.float32) * factor, uncertainty, name="UNCERT"),
            fits.ImageHDU(frame.flags.astype(np.int16), _flags_header(), name="FLAGS"),
        ]
    )
    with replacing(path) as temporary:
        _packed(planes, compression).writeto(temporary, overwrite=True, checksum=True)


def _packed(planes: fits.HDUList, compression: Compression) -> fits.HDUList:
    if compression == "none":
        return planes
    return fits.HDUList([fits.PrimaryHDU(), *(_tiles(plane, compression) for plane in planes)])


def _tiles(plane: Any, compression: Compression) -> fits.CompImageHDU:
    name = plane.name if plane.name != "PRIMARY" else "SCI"
    if plane.data.dtype.kind != "f":
        return fits.CompImageHDU(plane.data, plane.header, name=name, compression_type="RICE_1")
    if compression == "lossless":
        return fits.CompImageHDU(
            plane.data, plane.header, name=name, compression_type="GZIP_2", quantize_level=0.0
        )
    return fits.CompImageHDU(
        plane.data,
        plane.header,
        name=name,
        compression_type="RICE_1",
        quantize_level=_FRACTION_OF_NOISE,
        quantize_method=SUBTRACTIVE_DITHER_2,
        dither_seed=DITHER_SEED_CHECKSUM,
    )


def reduced_header(
    frame: Frame, masters: Mapping[str, str], software: str, target: TargetPlace | None = None
) -> fits.Header:
    """Return the header of the science HDU."""
    header, unreadable = clean_header(frame.raw_header)
    for keyword, value, comment in _known(frame.header, frame.unit):
        if value is not None and value != "":
            fitting = card(keyword, value, comment)
            header[keyword] = (fitting.value, fitting.comment)
    if target is not None:
        header["RA-OBJ"] = (target.ra, f"[deg] ICRS, {target.origin}")
        header["DEC-OBJ"] = (target.dec, f"[deg] ICRS, {target.origin}")
    for kind, fingerprint in masters.items():
        header[f"NF{kind[:6].upper()}"] = fingerprint
    if software:
        header["SOFTWARE"] = printable(software)
    for line in frame.history:
        header.add_history(printable(line))
    for line in (*frame.header.warnings, *frame.warnings):
        header.add_comment(printable(f"warning: {line}"))
    if unreadable:
        header.add_comment(printable(f"raw cards that could not be read: {', '.join(unreadable)}"))
    if frame.wcs is not None:
        write_wcs(header, frame.wcs)
    return header


def clean_header(raw: fits.Header) -> tuple[fits.Header, list[str]]:
    """Return a raw header without stale cards, and the keywords of cards that no reader could parse."""
    kept, unreadable = fits.Header(), []
    for one in raw.cards:
        try:
            keyword, value, comment = one.keyword, one.value, one.comment
            if not STALE.fullmatch(keyword) and not isinstance(value, fits.card.Undefined):
                kept.append(card(keyword, value, comment), end=True)
        except (fits.VerifyError, ValueError):
            unreadable.append(printable(one.rawkeyword))
    remove_wcs(kept)
    return kept, unreadable


def _known(header: FrameHeader, unit: str) -> list[tuple[str, Any, str]]:
    """Return what the pipeline knows for certain, as (keyword, value, comment)."""
    return [
        ("BUNIT", unit, "unit of the pixels"),
        ("GAIN", 1.0, "[electron/electron] already applied"),
        ("RAWGAIN", header.gain, "[electron/adu] that was applied"),
        ("RDNOISE", header.read_noise, "[electron]"),
        ("NFCAMERA", header.instrument, "camera profile"),
        ("NFDETECT", header.detector, "chip of the camera"),
        ("OBJECT", header.object, ""),
        ("FILTER", header.filter, ""),
        ("EXPTIME", header.exptime, "[s]"),
        *_times(header),
        ("AIRMASS", header.airmass, "at the middle of the exposure"),
        *_place(header.site),
    ]


def _flux_cards(scale: FluxScale) -> list[tuple[str, Any, str]]:
    """Return what a reader needs to know of pixels in microjansky."""
    return [
        ("BUNIT", "uJy", "unit of the pixels"),
        ("GAIN", 1 / scale.factor, "[electron/uJy]"),
        ("PHOTZP", scale.zero_point, "[mag] AB magnitude of 1 uJy"),
        ("PHOTBAND", printable(scale.band), "band of the zero point, at colour 0"),
        ("PHOTSYS", scale.system, "system of the reference magnitudes"),
        ("PHOTAB", scale.vega_to_ab, "[mag] added to them to come to AB"),
        ("PHOTERR", scale.relative_error, "relative 1 sigma of the scale, all pixels alike"),
    ]


def _place(site: Site | None) -> list[tuple[str, Any, str]]:
    """Return the site, in keywords that many cameras use but not all with this sign.

    Not as OBSGEO-*: wcslib has an ellipsoid of its own and every reader of the WCS would be warned of it.
    """
    if site is None:
        return []
    return [
        ("SITELONG", site.longitude, "[deg] positive towards east"),
        ("SITELAT", site.latitude, "[deg] positive towards north"),
        ("SITEELEV", site.height, "[m]"),
    ]


def _times(header: FrameHeader) -> list[tuple[str, Any, str]]:
    if header.mjd_mid is None:
        return [("DATE-OBS", header.date_obs, "UTC, start of the exposure")]
    middle = Time(header.mjd_mid, format="mjd", scale="utc", precision=3)
    start = middle - TimeDelta(header.exptime / 2, format="sec")
    return [
        ("TIMESYS", "UTC", ""),
        ("DATE-OBS", header.date_obs or start.isot, "start of the exposure"),
        ("MJD-OBS", start.mjd, "[d] start of the exposure"),
        ("DATE-AVG", middle.isot, "middle of the exposure"),
        ("MJD-AVG", header.mjd_mid, "[d] middle of the exposure"),
    ]


def _flags_header() -> fits.Header:
    bits = [(f"FLAG{flag.value.bit_length() - 1:02d}", flag.value, str(flag.name).lower()) for flag in Flag]
    return fits.Header(bits)

"""From a raw header to a `FrameHeader`, by the rules of a camera profile.

Nothing here knows a camera: every dialect, unit and sign comes from the profile. Whatever is guessed or
discarded on the way becomes a warning on the frame.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from astropy.io import fits

from nightflow.errors import FrameHeld, FrameRejected
from nightflow.instruments.detector_facts import (
    Conversion,
    binning_of,
    conversion_of,
    region_of,
    saturation_of,
    steps_done,
)
from nightflow.instruments.done_elsewhere import DoneElsewhere, in_order, steps_in
from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.instruments.header_amplifier import header_amplifier, whole
from nightflow.instruments.header_reader import Found, HeaderReader
from nightflow.instruments.header_time import (
    ExposureTimes,
    exposure_time,
    exposure_times,
    times_without_date,
)
from nightflow.instruments.kinds import frame_kind
from nightflow.instruments.own_product import as_written, is_own_product
from nightflow.instruments.pointing import frame_airmass, pointing_hint, site_of
from nightflow.instruments.profile import CameraProfile
from nightflow.instruments.values import parse_number, parse_temperature

__all__ = ["normalise"]


def normalise(
    raw_header: fits.Header,
    profile: CameraProfile,
    *,
    hdu: int,
    shape: tuple[int, int],
    primary_header: fits.Header | None = None,
    path: Path | None = None,
) -> FrameHeader:
    """Return what the header of one HDU says, in nightflow's terms.

    Where the HDUs name the amplifiers of a chip themselves, it holds the one of this HDU, and
    `nightflow.instruments.chips.join_chips` makes one header of those of a chip.

    Parameters
    ----------
    raw_header : astropy.io.fits.Header
        Of the image HDU. Untrusted.
    profile : CameraProfile
        Of the camera that wrote it.
    hdu : int
        Index of the HDU in the file.
    shape : tuple of int
        (ny, nx) of the raw pixels.
    primary_header : astropy.io.fits.Header, optional
        Looked into for what ``raw_header`` does not say.
    path : Path, optional
        For the messages.

    Raises
    ------
    FrameHeld
        The kind of the frame cannot be told, a frame other than a bias has no exposure time, or a light frame
        no time. The message names the keywords that were looked for: the profile may be mended.
    FrameRejected
        The only time of a light frame is of a year before 1 or after 9999.
    """
    if is_own_product([raw_header] if primary_header is None else [raw_header, primary_header]):
        profile = as_written(profile)
    reader = HeaderReader(raw_header, profile, primary_header)
    elsewhere = steps_in(raw_header, primary_header)
    where = f"{path}: " if path else ""
    exptime = exposure_time(reader)
    kind = frame_kind(reader, profile, exptime)
    try:
        exptime = _require_exptime(reader, kind, exptime)
        times = exposure_times(reader, exptime)
        _require_time(reader, kind, times)
        return _assemble(reader, profile, kind, exptime, times, elsewhere, raw_header, hdu, shape)
    except (FrameHeld, FrameRejected) as error:
        raise type(error)(f"{where}camera {profile.name}: {error}") from error


def _require_exptime(reader: HeaderReader, kind: FrameKind, exptime: float | None) -> float:
    if kind is FrameKind.UNKNOWN:
        raise FrameHeld(
            f"cannot tell bias, dark, flat or light: {reader.looked_for('kind')}; add a rule to [kinds]"
        )
    if exptime is not None and (exptime > 0 or kind not in (FrameKind.LIGHT, FrameKind.DARK)):
        return exptime
    if exptime is not None:
        raise FrameHeld(
            f"a {kind} of {exptime:g} s: {reader.looked_for('exptime')}; mend keywords.exptime or [kinds]"
        )
    if kind is FrameKind.BIAS:
        reader.warnings.append("no exposure time in the header: taken as 0 s for a bias")
        return 0.0
    raise FrameHeld(
        f"a {kind} without an exposure time: {reader.looked_for('exptime')}; mend keywords.exptime"
    )


def _require_time(reader: HeaderReader, kind: FrameKind, times: ExposureTimes) -> None:
    if times.middle is not None:
        return
    looked_for = "; ".join(reader.looked_for(name) for name in ("date_obs", "date_mid", "date_end", "clock"))
    if kind is FrameKind.LIGHT and (wrong := times_without_date(reader)):
        raise FrameRejected(f"a light without a time: {wrong} is outside the years 1 to 9999")
    if kind is FrameKind.LIGHT:
        raise FrameHeld(f"a light without a time: {looked_for}; mend keywords.date_obs")
    reader.warnings.append("no time in the header: the nearest master cannot be told by time")


def _assemble(
    reader: HeaderReader,
    profile: CameraProfile,
    kind: FrameKind,
    exptime: float,
    times: ExposureTimes,
    elsewhere: DoneElsewhere,
    raw_header: fits.Header,
    hdu: int,
    shape: tuple[int, int],
) -> FrameHeader:
    ra, dec = pointing_hint(reader)
    site = site_of(reader, profile)
    conversion = conversion_of(reader, profile)
    done = in_order({*steps_done(reader), *elsewhere.steps})
    _tell(reader, elsewhere)
    saturation = saturation_of(reader, profile, raw_header)
    if elsewhere.gain_applied:
        saturation *= 1.0 if elsewhere.saturation_scaled else conversion.gain
        conversion = _in_electrons(conversion)
    overscan = trim = amplifier = None
    if not elsewhere.trimmed:
        overscan = region_of(reader, "overscan", profile.detector.overscan, shape)
        trim = region_of(reader, "trim", profile.detector.trim, shape)
    if profile.detector.amplifiers == "header" and not elsewhere.trimmed:
        amplifier = header_amplifier(reader, hdu, trim or whole(shape), overscan, conversion, saturation)
    light = kind is FrameKind.LIGHT
    return FrameHeader(
        instrument=profile.name,
        detector=reader.text("detector") or "1",
        hdu=hdu,
        kind=kind,
        object=reader.text("object"),
        filter=_filter(reader, profile),
        exptime=exptime,
        date_obs=times.date_obs,
        mjd_mid=times.middle,
        shape=shape,
        binning=binning_of(reader),
        gain=conversion.gain,
        gain_known=conversion.gain_known,
        read_noise=conversion.read_noise,
        read_noise_known=conversion.read_noise_known,
        header_gain=conversion.header_gain,
        header_read_noise=conversion.header_read_noise,
        saturation=saturation,
        pedestal=conversion.pedestal,
        bias_included="bias" not in done,
        steps_done=done,
        gain_setting=reader.text("gain_setting"),
        readout_mode=reader.text("readout_mode"),
        ccd_temp=reader.number("ccd_temp", _temperature),
        ra=ra,
        dec=dec,
        aperture=reader.number("aperture", _metres, within=(0.005, 100.0)),
        rotator=reader.number("rotator"),
        airmass=frame_airmass(reader, site, ra, dec, times.middle) if light else None,
        site=site,
        overscan=overscan,
        trim=trim,
        amplifiers=() if amplifier is None else (amplifier,),
        bayer=profile.detector.bayer or reader.text("bayer"),
        warnings=tuple(dict.fromkeys(reader.warnings)),
    )


def _tell(reader: HeaderReader, elsewhere: DoneElsewhere) -> None:
    """Warn of what others have done, so that nobody wonders at the masters that are not used."""
    if not elsewhere.told_by:
        return
    words = f"calibrated elsewhere, says {elsewhere.told_by}: not calibrated again"
    if elsewhere.left_out:
        words += (
            f"; in electrons already, so that {', '.join(elsewhere.left_out)} cannot be corrected any more"
        )
    reader.warnings.append(words)


def _in_electrons(conversion: Conversion) -> Conversion:
    """Return the conversion of pixels that are electrons: what the header says of a gain is past."""
    return replace(conversion, gain=1.0, gain_known=True, header_gain=None, pedestal=0.0)


def _metres(found: Found) -> float | None:
    number = parse_number(found.value)
    return None if number is None else number / (1000.0 if found.rule.unit == "mm" else 1.0)


def _temperature(found: Found) -> float | None:
    return parse_temperature(found.value, found.rule.unit)


def _filter(reader: HeaderReader, profile: CameraProfile) -> str:
    """Return our name of the filter: by the profile's table, exactly or else whatever the case."""
    name = reader.text("filter")
    number = parse_number(name)
    if number is not None and number.is_integer():
        name = f"{number:.0f}"
    folded = {theirs.casefold(): ours for theirs, ours in profile.filters.items()}
    return profile.filters.get(name, folded.get(name.casefold(), name))

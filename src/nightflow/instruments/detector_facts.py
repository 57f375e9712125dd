"""Gain, noise, saturation, regions and binning of a readout: the profile's word first, then the header's."""

from __future__ import annotations

from dataclasses import dataclass

from astropy.io import fits

from nightflow.errors import FrameHeld
from nightflow.instruments.header_reader import Found, HeaderReader, card_value
from nightflow.instruments.profile import CameraProfile, DetectorSettings
from nightflow.instruments.values import parse_binning, parse_number, parse_section

__all__ = ["Conversion", "binning_of", "conversion_of", "region_of", "saturation_of", "steps_done"]

LARGEST_GAIN = 500.0
SMALLEST_READ_NOISE = 0.01
"""Electrons. No camera has less: a 0 in a header stands for "not known"."""
LARGEST_BINNING = 32
_STEPS = {"B": "bias", "Z": "bias", "D": "dark", "F": "flat"}
_NO_STEP = "M"
"""Letter of CALSTAT for a master frame, which says nothing of steps."""

Region = tuple[slice, slice]


@dataclass(frozen=True)
class Conversion:
    """How raw counts become electrons.

    Attributes
    ----------
    gain : float
        Electrons per ADU; 1 where unknown.
    gain_known : bool
        False where neither profile nor header gives it.
    read_noise : float
        Electrons; 0 where unknown.
    read_noise_known : bool
        False where neither profile nor header gives it.
    header_gain, header_read_noise : float or None
        What the header says, whatever the profile has; None where it says nothing.
    pedestal : float
        ADU to be subtracted from the raw counts.
    """

    gain: float
    gain_known: bool
    read_noise: float
    read_noise_known: bool
    header_gain: float | None
    header_read_noise: float | None
    pedestal: float


def conversion_of(reader: HeaderReader, profile: CameraProfile) -> Conversion:
    """Return gain, read noise and pedestal; 1, 0 and 0 where unknown, the first two with a warning."""
    known = profile.detector
    header_gain = _stated(reader, "gain", (1e-3, LARGEST_GAIN), known.gain)
    header_read_noise = _stated(reader, "read_noise", (SMALLEST_READ_NOISE, 1e4), known.read_noise)
    gain = known.gain or header_gain
    read_noise = header_read_noise if known.read_noise is None else known.read_noise
    if gain is None and not known.tables_give("gain"):
        reader.warnings.append("gain unknown: 1 electron per ADU assumed, error bars are not to be trusted")
    if read_noise is None and not known.tables_give("read_noise"):
        reader.warnings.append(
            "read noise unknown: the noise of the sky is measured instead; "
            "give detector.read_noise in the profile"
        )
    pedestal = reader.number("pedestal", _pedestal)
    return Conversion(
        gain=gain or 1.0,
        gain_known=gain is not None,
        read_noise=read_noise or 0.0,
        read_noise_known=read_noise is not None,
        header_gain=header_gain,
        header_read_noise=header_read_noise,
        pedestal=pedestal or 0.0,
    )


def _stated(
    reader: HeaderReader, quantity: str, within: tuple[float, float], known: float | None
) -> float | None:
    """Return what the header says; where the profile knows better, nobody is told of what cannot be read."""
    said = len(reader.warnings)
    number = reader.number(quantity, within=within)
    if known is not None:
        del reader.warnings[said:]
    return number


def _pedestal(found: Found) -> float | None:
    number = parse_number(found.value)
    return -number if number is not None and found.rule.sense == "add" else number


def saturation_of(reader: HeaderReader, profile: CameraProfile, raw_header: fits.Header) -> float:
    """Return the raw ADU at which a pixel is saturated: profile, header, else what the integers can hold."""
    if profile.detector.saturation is not None:
        return profile.detector.saturation
    level = reader.number("saturation", within=(1.0, 1e10))
    return _largest_integer(reader, profile.detector, raw_header) if level is None else level


def _largest_integer(reader: HeaderReader, known: DetectorSettings, raw_header: fits.Header) -> float:
    bits = parse_number(card_value(raw_header, "BITPIX"))
    zero = parse_number(card_value(raw_header, "BZERO")) or 0.0
    if bits == 8:
        return 255.0
    if bits == 16:
        return 32767.0 + zero
    if not known.tables_give("saturation"):
        reader.warnings.append("saturation unknown: 65535 ADU assumed")
    return 65535.0


def region_of(
    reader: HeaderReader, quantity: str, fixed: str | None, shape: tuple[int, int]
) -> Region | None:
    """Return the (rows, columns) of overscan or trim, 0-based; None where there is none.

    Raises
    ------
    FrameHeld
        The profile gives a region that does not fit into the frame: a subframe, or another readout.
    """
    if fixed is not None:
        region = parse_section(fixed)
        if region is None or not _fits(region, shape):
            raise FrameHeld(
                f"detector.{quantity} = {fixed} does not fit {shape[1]} x {shape[0]} pixels; "
                "a subframe or another readout mode needs a profile of its own"
            )
        return region

    def read(found: Found) -> Region | None:
        section = parse_section(found.value)
        return section if section is not None and _fits(section, shape) else None

    return reader.find(quantity, read)


def _fits(region: Region, shape: tuple[int, int]) -> bool:
    return all(part.stop <= length for part, length in zip(region, shape, strict=True))


def binning_of(reader: HeaderReader) -> tuple[int, int]:
    """Return (x, y); 1 where the header says nothing. A sign (a direction of readout) is dropped."""
    both = reader.find("binning", lambda found: parse_binning(found.value))
    if both is not None:
        return both
    return _factor(reader, "binning_x"), _factor(reader, "binning_y")


def _factor(reader: HeaderReader, quantity: str) -> int:
    number = reader.number(quantity, within=(-LARGEST_BINNING, LARGEST_BINNING))
    return max(1, abs(round(number))) if number is not None else 1


def steps_done(reader: HeaderReader) -> tuple[str, ...]:
    """Return which of bias, dark and flat the camera program has done already, as CALSTAT says.

    A dark that was subtracted took the bias with it (CALSTAT "D"), unless it was itself bias-subtracted,
    which implies "B": either way no bias is left in the counts. CALSTAT is MaxIm DL's, one letter a step: B
    (or Z, "zero") bias, D dark, F flat; M marks a master. Blanks and commas may part the letters. Any other
    text is discarded with a warning: that a word holds a "B" says nothing of a bias.
    """
    letters = reader.find("calibrated", _calibration_letters) or ""
    done = [step for step in dict.fromkeys(_STEPS.values()) if step in {_STEPS.get(one) for one in letters}]
    if "dark" in done and "bias" not in done:
        done.insert(0, "bias")
    if done:
        reader.warnings.append(
            f"the camera program has already done: {', '.join(done)} (CALSTAT = {letters})"
        )
    return tuple(done)


def _calibration_letters(found: Found) -> str | None:
    if not isinstance(found.value, str):  # a logical F is no flat
        return None
    letters = "".join(found.value.upper().replace(",", " ").split())
    return letters if set(letters) <= {*_STEPS, *_NO_STEP} else None

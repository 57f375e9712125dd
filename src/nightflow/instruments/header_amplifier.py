"""One amplifier as the header of its HDU describes it: the sections of IRAF's and NOAO's CCD headers.

DATASEC and BIASSEC are regions of the HDU; CCDSEC (of the chip) or DETSEC (of the mosaic) says where the
data belong, a range written backwards being a flip; ATM1_1 and ATM2_2 are negative where the amplifier
reads from the right or the top (Valdes 1998, "Guide to the NOAO Mosaic Data Handling System").
"""

from __future__ import annotations

from nightflow.instruments.amplifiers import CORNERS, Amplifier, Region
from nightflow.instruments.detector_facts import Conversion
from nightflow.instruments.header_reader import HeaderReader
from nightflow.instruments.values import parse_oriented_section

__all__ = ["header_amplifier", "whole"]


def header_amplifier(
    reader: HeaderReader,
    hdu: int,
    data: Region,
    overscan: Region | None,
    conversion: Conversion,
    saturation: float,
) -> Amplifier | None:
    """Return the amplifier that a header describes; None where it gives no place on the chip.

    Its ``place`` is as the header has it: in unbinned pixels, of the chip or of the whole mosaic.

    Parameters
    ----------
    reader : HeaderReader
        Quantities ``chip_section``, ``amplifier``, ``readout_x`` and ``readout_y`` are read.
    hdu : int
        Index of the HDU.
    data, overscan : tuple of slice
        Regions of the HDU.
    conversion : Conversion
        Gain, read noise and pedestal of the HDU.
    saturation : float
        Raw ADU.
    """
    section = reader.find("chip_section", lambda found: parse_oriented_section(found.value))
    if section is None:
        return None
    rows, columns, flip_y, flip_x = section
    return Amplifier(
        name=reader.text("amplifier") or f"hdu{hdu}",
        hdu=hdu,
        data=data,
        place=(rows, columns),
        overscan=overscan,
        flip_x=flip_x,
        flip_y=flip_y,
        corner=CORNERS[_backwards(reader, "readout_y", flip_y), _backwards(reader, "readout_x", flip_x)],
        gain=conversion.gain,
        read_noise=conversion.read_noise,
        saturation=saturation,
        pedestal=conversion.pedestal,
    )


def whole(shape: tuple[int, int]) -> Region:
    """Return the region of all pixels."""
    return slice(0, shape[0]), slice(0, shape[1])


def _backwards(reader: HeaderReader, quantity: str, flipped: bool) -> bool:
    """Return whether the chip is read against its axis; pixels stand in the file as read unless said."""
    sign = reader.number(quantity)
    return flipped if sign is None else sign < 0

"""Bring the amplifiers of a chip to one gain, so that from here on it is a chip like any other."""

from __future__ import annotations

from dataclasses import replace

from nightflow.detector.amplifiers import amplifier_plane
from nightflow.detector.checks import require_unit
from nightflow.frame import Frame

__all__ = ["balance_amplifiers"]


def balance_amplifiers(frame: Frame) -> Frame:
    """Multiply each amplifier's counts by its gain over the chip's, a variance that is there by its square.

    Parameters
    ----------
    frame : Frame
        ADU, bias subtracted, put together. A chip of one amplifier is returned as it is.

    Returns
    -------
    Frame
        ADU of ``header.gain``, which every amplifier of its header now has.

    Raises
    ------
    ValueError
        The counts are not in ADU, a gain is not positive, or the amplifiers' pixels are not in their places.
    """
    require_unit(frame, "balance", "adu")
    header = frame.header
    if not header.amplifiers:
        return frame
    gains = {amplifier.name: amplifier.gain for amplifier in header.amplifiers}
    if min(*gains.values(), header.gain) <= 0:
        raise ValueError(f"balance: gains must be positive, got {gains} and {header.gain} for the chip")
    factor = amplifier_plane(frame, lambda amplifier: amplifier.gain / header.gain)
    listed = ", ".join(f"{name} {gain:g}" for name, gain in gains.items())
    balanced = tuple(replace(amplifier, gain=header.gain) for amplifier in header.amplifiers)
    return frame.after(
        f"balance: {listed} electron/adu brought to {header.gain:g}",
        data=frame.data * factor,
        variance=None if frame.variance is None else frame.variance * factor**2,
        header=replace(header, amplifiers=balanced),
    )

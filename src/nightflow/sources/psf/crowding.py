"""How crowded a frame is, and whether that asks for PSF photometry."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nightflow.flags import Flag

__all__ = ["PsfChoice", "crowding", "is_psf_wanted"]

PsfChoice = Literal["never", "crowded", "always"]

_FEWEST = 50
"""Sources below which a frame is not crowded, whatever they are."""


def crowding(flags: NDArray[np.uint16]) -> float:
    """Return the fraction of sources with a neighbour's light in their aperture; NaN for fewer than 50."""
    if len(flags) < _FEWEST:
        return float("nan")
    return float(np.mean((flags & int(Flag.NEIGHBOUR)) > 0))


def is_psf_wanted(choice: PsfChoice, bound: float, flags: NDArray[np.uint16]) -> bool:
    """Return whether a frame gets PSF photometry.

    Parameters
    ----------
    choice : {"never", "crowded", "always"}
        Of the profile.
    bound : float
        Crowding above which a frame is crowded.
    flags : ndarray of uint16, shape (n,)
        Of the sources of the frame.
    """
    return choice == "always" or (choice == "crowded" and crowding(flags) > bound)

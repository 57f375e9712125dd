"""A master calibration in memory, as the detector steps use it.

How masters are made, chosen and stored is the business of `nightflow.masters`; the steps need
no more than these two classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from nightflow.instruments.header import FrameHeader, FrameKind

__all__ = [
    "InputFile",
    "MasterFrame",
    "MasterSet",
    "MasterStatistics",
    "PhotonTransfer",
    "SaturatedPixels",
]


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """One raw frame that was offered to a master.

    Attributes
    ----------
    name : str
        What a reader knows the frame by. Untrusted text.
    sha256 : str
        Hash of the file (of the pixels where there is no file).
    dropped : str
        Why it was left out; "" where it was used.
    """

    name: str
    sha256: str
    dropped: str = ""


@dataclass(frozen=True, kw_only=True)
class MasterStatistics:
    """What is worth knowing of a master without opening its pixels.

    Attributes
    ----------
    median, mad : float
        Of the unflagged pixels; ``mad`` is the scaled one (a standard deviation for Gaussian pixels).
    noise : float
        Typical standard deviation of one input's pixel about the master. ADU, for a flat relative.
    n_used : float
        Mean number of inputs that a pixel kept after clipping.
    """

    median: float
    mad: float
    noise: float
    n_used: float


@dataclass(frozen=True, kw_only=True)
class PhotonTransfer:
    """What the inputs of a master tell of the electronics, each value with its standard error.

    Attributes
    ----------
    read_noise, read_noise_err : float
        ADU. Of the biases; a flat carries that of the bias that was taken off it.
    gain, gain_err : float or None
        Electrons per ADU. Of flats alone.
    """

    read_noise: float
    read_noise_err: float
    gain: float | None = None
    gain_err: float | None = None


@dataclass(frozen=True, kw_only=True)
class MasterFrame:
    """A master bias, dark or flat.

    Attributes
    ----------
    header : FrameHeader
        Of what the master stands for: kind, matching keys, typical exposure, temperature and time of its
        inputs. ``bias_included`` tells whether a master dark still holds the bias.
    data : ndarray of float32, shape (ny, nx)
        ADU; for a flat, response relative to a median of 1. Trimmed, finite everywhere.
    uncertainty : ndarray of float32, shape (ny, nx)
        One standard deviation of ``data``.
    flags : ndarray of uint16, shape (ny, nx)
        Bits of `nightflow.flags.Flag`: BAD where no input had a usable value.
    inputs : tuple of InputFile
        Everything that was offered, with the reason where it was left out.
    fingerprint : str
        SHA-256 of kind, recipe and the inputs' hashes.
    statistics : MasterStatistics
    photon_transfer : PhotonTransfer or None
        Of biases and flats of which at least two were used.
    made_with : mapping of str to str
        Kind -> fingerprint of the masters that were taken off the inputs.
    history, warnings : tuple of str
        What was done to the inputs; what was guessed or left out.
    """

    header: FrameHeader
    data: NDArray[np.float32] = field(repr=False)
    uncertainty: NDArray[np.float32] = field(repr=False)
    flags: NDArray[np.uint16] = field(repr=False)
    inputs: tuple[InputFile, ...]
    fingerprint: str
    statistics: MasterStatistics
    photon_transfer: PhotonTransfer | None = None
    made_with: Mapping[str, str] = field(default_factory=dict)
    history: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def kind(self) -> FrameKind:
        """Bias, dark or flat."""
        return self.header.kind

    @property
    def label(self) -> str:
        """Kind and the head of the fingerprint, for lines of history."""
        return f"master_{self.kind} {self.fingerprint[:12]}"


@dataclass(frozen=True, kw_only=True)
class SaturatedPixels:
    """The pixels that one exposure saturated.

    Attributes
    ----------
    mjd_begin, mjd_end : float
        UTC, when the exposure began and ended.
    shape : tuple of int
        (ny, nx) of the trimmed frame.
    index : ndarray of int32, shape (n,)
        Into the flattened frame.
    """

    mjd_begin: float
    mjd_end: float
    shape: tuple[int, int]
    index: NDArray[np.int32] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class MasterSet:
    """The masters of one frame; None where there is none.

    For a flat field frame, ``dark`` is the one that fits the flat's exposure (the dark-flat). What a dark-sky
    flat adds to the flat is ``illumination``; ``fringe`` is the pattern of the night sky's lines.
    ``saturated_before`` is no master: what earlier exposures of the detector saturated, for the persistence.
    """

    bias: MasterFrame | None = None
    dark: MasterFrame | None = None
    flat: MasterFrame | None = None
    illumination: MasterFrame | None = None
    fringe: MasterFrame | None = None
    saturated_before: tuple[SaturatedPixels, ...] = ()

    @classmethod
    def of(cls, masters: Mapping[str, MasterFrame]) -> MasterSet:
        """Return the set of masters given by kind."""
        return cls(
            bias=masters.get("bias"),
            dark=masters.get("dark"),
            flat=masters.get("flat"),
            illumination=masters.get("illumination"),
            fringe=masters.get("fringe"),
        )

    @property
    def fingerprints(self) -> dict[str, str]:
        """Kind -> fingerprint of the masters that are present."""
        present = {field.name: getattr(self, field.name) for field in fields(self)}
        return {kind: one.fingerprint for kind, one in present.items() if isinstance(one, MasterFrame)}

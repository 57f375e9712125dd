"""Flags that follow from the masters alone: hot, warm, dead, bad columns, and what ccdmask finds.

A master is looked through once, however many frames are reduced with it. What is kept are the few pixels that
stand out: whether one of them is hot or warm depends on the exposure, which is a matter of microseconds.

Two questions are asked of a pixel of the master dark. Does it stand out? Its counts are then more than
``hot_sigma`` times the master's noise above those around it: more than noise makes a normal pixel differ. The
noise is the scatter of the pixels around it, so that amplifier glow neither hides hot pixels nor makes any.
And does it matter? The dark current that it has beyond the typical one adds, in the frame's own exposure, as
much variance as a normal pixel has in the dark: ``dark * t >= read_noise**2`` where the typical dark current
is negligible. Both: HOT. Only the first: WARM, which may be used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightflow.detector.bad_columns import BadColumn, find_bad_columns
from nightflow.detector.checks import set_flag
from nightflow.detector.master_frame import MasterFrame, MasterSet
from nightflow.detector.seen_masters import SeenMasters
from nightflow.detector.surroundings import measure_surroundings
from nightflow.flags import UNUSABLE, Flag, new_plane
from nightflow.instruments.profile import BadPixelSettings

__all__ = ["MasterDefects", "master_defects", "master_flags"]

_LEAST_COLUMN_NOISE = 3.0
"""In units of one dark's or bias's noise: a column that is off by less goes with the master, and every column
that is flagged costs the stars on it."""
_LEAST_COLUMN_RESPONSE = 0.05
"""A column that sees light by this much more or less is taken care of by the flat."""
_HALF = 0.5
"""Of what makes a pixel hot, where the master tells of no noise."""
_SAMPLED_PIXELS = 200_000
_TWO_SIGMA = 0.97725
"""Share of a Gaussian below two standard deviations."""
_MOST_SKEWED = 1.5


@dataclass(frozen=True)
class MasterDefects:
    """The pixels that masters show to be bad.

    Attributes
    ----------
    shape : tuple of int
        (ny, nx).
    index : ndarray of int64, shape (n,)
        Into the flattened plane; one pixel may stand there twice.
    flags : ndarray of uint16, shape (n,)
        Bits of `nightflow.flags.Flag`.
    """

    shape: tuple[int, int]
    index: NDArray[np.int64]
    flags: NDArray[np.uint16]

    def count(self, flag: Flag) -> int:
        """Return how many pixels have ``flag``."""
        return len(np.unique(self.index[(self.flags & int(flag)) != 0]))

    def set_in(self, plane: NDArray[np.uint16]) -> None:
        """Set the bits in a plane of flags; its others stay."""
        np.bitwise_or.at(plane.reshape(-1), self.index, self.flags)


def master_flags(
    master_dark: MasterFrame | None,
    master_flat: MasterFrame | None,
    exptime: float,
    settings: BadPixelSettings,
    *,
    master_bias: MasterFrame | None = None,
) -> NDArray[np.uint16]:
    """Return the flags that follow from the masters, for an exposure of ``exptime`` seconds.

    Parameters
    ----------
    master_dark, master_flat, master_bias : MasterFrame or None
        At least one; of one shape. The bias shows bad columns, and is taken off a dark that still holds it.
    exptime : float
        Seconds, of the frame.
    settings : BadPixelSettings
        The limits.

    Returns
    -------
    ndarray of uint16, shape (ny, nx)
        HOT, WARM, DEAD and BAD. The masters' own flags are not in it.

    Raises
    ------
    ValueError
        No master, or masters of several shapes.
    """
    defects = master_defects(
        MasterSet(bias=master_bias, dark=master_dark, flat=master_flat), exptime, settings
    )
    plane = new_plane(defects.shape)
    defects.set_in(plane)
    return plane


def master_defects(masters: MasterSet, exptime: float, settings: BadPixelSettings) -> MasterDefects:
    """Return what `master_flags` returns, as the list of the pixels with flags.

    Raises
    ------
    ValueError
        No master, or masters of several shapes.
    """
    present = [master for master in (masters.bias, masters.dark, masters.flat) if master is not None]
    shapes = {master.data.shape for master in present}
    if len(shapes) != 1:
        raise ValueError(f"bad_pixels: needs masters of one shape, got {sorted(shapes)}")
    ny, nx = shapes.pop()
    parts = []
    if masters.dark is not None:
        parts.append(_dark_defects(masters.dark, masters.bias, exptime, settings))
    if masters.flat is not None:
        parts.append(_flat_defects(masters.flat, settings))
    if masters.bias is not None and settings.column_sigma:
        parts.append(_bias_defects(masters.bias, settings))
    index = [part[0] for part in parts]
    flags = [part[1] for part in parts]
    return MasterDefects((ny, nx), np.concatenate([_NONE[0], *index]), np.concatenate([_NONE[1], *flags]))


_Defects = tuple[NDArray[np.int64], NDArray[np.uint16]]
_NONE: _Defects = (np.zeros(0, np.int64), np.zeros(0, np.uint16))


@dataclass(frozen=True)
class _Outstanding:
    """Pixels of a master dark that stand out, and its bad columns."""

    index: NDArray[np.int64]
    excess: NDArray[np.float32]
    """Counts above the surroundings, ADU."""
    level: NDArray[np.float32]
    """Of the surroundings, ADU."""
    noisy: bool
    """Whether the master has any noise that a pixel can stand out of."""
    others: _Defects


def _dark_defects(
    dark: MasterFrame, bias: MasterFrame | None, exptime: float, settings: BadPixelSettings
) -> _Defects:
    taken = bias if dark.header.bias_included else None
    arrays = (dark.data, dark.flags) if taken is None else (dark.data, dark.flags, taken.data)
    found = _SEEN.get("dark", arrays, settings, lambda: _look_through_dark(dark, taken, settings))
    header = dark.header
    to_electrons = header.gain * (exptime / header.exptime if header.exptime > 0 else 1.0)
    level_is_current = taken is not None or not header.bias_included
    current = np.maximum(found.level, 0) * to_electrons if level_is_current else 0.0
    variance = header.read_noise**2 or (dark.statistics.noise * header.gain) ** 2
    ratio = found.excess * to_electrons / np.maximum(settings.hot_variance * (variance + current), 1e-12)
    flags = np.where(ratio >= 1, Flag.HOT, Flag.WARM).astype(np.uint16)
    kept = slice(None) if found.noisy else ratio >= _HALF
    return (
        np.concatenate([found.index[kept], found.others[0]]),
        np.concatenate([flags[kept], found.others[1]]),
    )


def _look_through_dark(
    dark: MasterFrame, bias: MasterFrame | None, settings: BadPixelSettings
) -> _Outstanding:
    counts = dark.data if bias is None else dark.data - bias.data
    usable = (dark.flags & int(UNUSABLE)) == 0
    around = measure_surroundings(counts, usable)
    excess = counts - around.level
    noise = around.scatter * np.float32(_skewness(excess, around.scatter, usable))
    if not noise.any():
        noise = np.full_like(noise, np.median(dark.uncertainty[usable]) if usable.any() else 0)
    noisy = bool(noise.any())
    index = np.flatnonzero(usable & (excess > settings.hot_sigma * noise))
    cold = usable & (excess < -settings.cold_sigma * noise) if settings.cold_sigma and noisy else None
    others = _columns(counts, usable, settings, _LEAST_COLUMN_NOISE * dark.statistics.noise)
    if cold is not None:
        others = _joined(others, np.flatnonzero(cold), Flag.BAD)
    return _Outstanding(index, excess.ravel()[index], around.level.ravel()[index], noisy, others)


def _skewness(excess: NDArray[np.float32], scatter: NDArray[np.float32], usable: NDArray[np.bool_]) -> float:
    """Return by how much the noise is wider upwards than about its middle, 1 where it is not.

    Dark current differs from pixel to pixel more upwards than downwards. Where it outweighs the read noise,
    limits in units of a symmetric noise would take the upper end of the normal pixels for hot ones. The
    bound keeps a chip full of hot pixels from hiding them.
    """
    step = max(1, excess.size // _SAMPLED_PIXELS)
    above, noise = excess.ravel()[::step], scatter.ravel()[::step]
    known = usable.ravel()[::step] & (noise > 0)
    if not known.any():
        return 1.0
    upper = np.quantile(above[known] / noise[known], _TWO_SIGMA)
    return float(np.clip(upper / 2, 1, _MOST_SKEWED))


def _flat_defects(flat: MasterFrame, settings: BadPixelSettings) -> _Defects:
    return _SEEN.get("flat", (flat.data, flat.flags), settings, lambda: _look_through_flat(flat, settings))


def _look_through_flat(flat: MasterFrame, settings: BadPixelSettings) -> _Defects:
    usable = (flat.flags & int(UNUSABLE)) == 0
    around = measure_surroundings(flat.data, usable)
    lit = usable & (around.level > 0)
    relative = np.divide(flat.data, around.level, out=np.ones_like(flat.data), where=lit)
    scatter = np.divide(around.scatter, around.level, out=np.zeros_like(relative), where=lit)
    weak = relative < np.minimum(1 - settings.dead_sigma * scatter, np.float32(settings.dead_response))
    found = _columns(flat.data, lit, settings, _LEAST_COLUMN_RESPONSE)
    found = _joined(found, np.flatnonzero(lit & weak), Flag.DEAD)
    if settings.method == "ccdmask":
        found = _joined(found, np.flatnonzero(_ccdmask(flat.data)), Flag.BAD)
    return found


def _ccdmask(response: NDArray[np.float32]) -> NDArray[np.bool_]:
    import ccdproc  # a second to load, and needed by few

    return np.asarray(ccdproc.ccdmask(response), bool)


def _bias_defects(bias: MasterFrame, settings: BadPixelSettings) -> _Defects:
    def look_through() -> _Defects:
        usable = (bias.flags & int(UNUSABLE)) == 0
        return _columns(bias.data, usable, settings, _LEAST_COLUMN_NOISE * bias.statistics.noise)

    return _SEEN.get("bias", (bias.data, bias.flags), settings, look_through)


def _columns(
    data: NDArray[np.float32], usable: NDArray[np.bool_], settings: BadPixelSettings, least: float
) -> _Defects:
    if not settings.column_sigma:
        return _NONE
    columns = find_bad_columns(
        data, usable, sigma=settings.column_sigma, window=settings.column_window, least=least
    )
    return _joined(_NONE, _pixels_of(columns, data.shape[1]), Flag.BAD)


def _pixels_of(columns: list[BadColumn], width: int) -> NDArray[np.int64]:
    """Return the indices of the columns' pixels in the flattened plane."""
    parts = [np.arange(one.rows.start, one.rows.stop) * width + one.column for one in columns]
    return np.concatenate([_NONE[0], *parts])


def _joined(defects: _Defects, index: NDArray[np.int64], flag: Flag) -> _Defects:
    flags = new_plane((1, len(index)))[0]
    set_flag(flags, slice(None), flag)
    return np.concatenate([defects[0], index]), np.concatenate([defects[1], flags])


_SEEN = SeenMasters()

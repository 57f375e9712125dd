"""The period of a variable star: Lomb-Scargle with its false-alarm probability (astropy.timeseries)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.timeseries import LombScargle
from numpy.typing import NDArray

__all__ = ["Period", "find_period"]

_FEWEST = 12
_SAMPLES_A_PEAK = 10.0
_FEWEST_SAMPLES = 5.0
"""A peak, at least: between two of five it still has 97 % of its power."""
_HIGHEST = 100.0
"""Cycles a day."""
_IRREGULAR_HIGHEST = 10.0
"""Cycles a day up to which is looked where measurements are rarer but not regular."""
_REGULAR = 0.95
"""Power of the spectral window, beyond which a frequency and its alias are the same."""
_MOST_FREQUENCIES = 1_000_000
"""They take some seconds; with five samples a peak, enough for 5 years up to 100 cycles a day, 11 to 50."""
_AT_ONCE = 410_000
"""Five times as many are just below a power of two: the Fourier transform behind takes so many."""
_MOST_PEAKS = 30
"""That are looked at closely; long gaps make hundreds that are nearly as high."""
_ZOOMS = 3
_EDGE = 1.02


@dataclass(frozen=True, kw_only=True)
class Period:
    """The highest peak.

    Attributes
    ----------
    days, error : float
        Period and its error, which is that of the peak, not of picking an alias (Montgomery & O'Donoghue
        1999, Delta Scuti Star Newsletter 13, 28).
    false_alarm : float
        Probability of a peak as high from noise (Baluev 2008, MNRAS 385, 1279).
    amplitude : float
        Half of the peak-to-peak range of the sine, magnitudes.
    """

    days: float
    error: float
    false_alarm: float
    amplitude: float


def find_period(
    time: NDArray[np.float64], mag: NDArray[np.float64], error: NDArray[np.float64]
) -> Period | None:
    """Return the period of the sine that fits best; None where the measurements tell none.

    Looked for are periods from twice the typical distance of the measurements (0.1 d where they are rarer,
    but not at regular times: that keeps aliases apart, Eyer & Bartholdi 1999, A&AS 135, 1) to the length of
    the whole; one that wants to be longer still is none. The grid has five to ten samples for the width of a
    peak, the inverse of the length. Where that were more than can be looked at, the shortest periods are left
    out: a coarser grid would pass by most of all periods instead.

    Parameters
    ----------
    time : ndarray of float64, shape (n,)
        Days.
    mag, error : ndarray of float64, shape (n,)
        Magnitudes.
    """
    span = float(np.ptp(time)) if len(time) else 0.0
    if len(time) < _FEWEST or span <= 0:
        return None
    # The probability takes the variance of the times as a difference of squares: days since 4713 BC cancel.
    time = time - time.min()
    lowest, highest = 1.0 / span, _highest(time, span)
    if highest <= lowest:
        return None
    model = LombScargle(time, mag, error)
    peaks, step = _peaks(model, lowest, highest, _step(lowest, highest, span))
    best = _highest_peak(model, peaks, step)
    if best < _EDGE * lowest:
        return None
    sine, cosine = model.model_parameters(best)[1:3]
    amplitude = float(np.hypot(sine, cosine))
    width = _frequency_error(time, error, mag - model.model(time, best), amplitude)
    power = float(model.power(np.array([best]), method="cython")[0])
    false_alarm = model.false_alarm_probability(
        power, method="baluev", minimum_frequency=lowest, maximum_frequency=highest
    )
    return Period(
        days=1.0 / best, error=float(width / best**2), false_alarm=float(false_alarm), amplitude=amplitude
    )


def _highest(time: NDArray[np.float64], span: float) -> float:
    """Return the highest frequency that the times tell from others, and that can be looked at."""
    steps = np.diff(np.sort(time))
    rate = 1.0 / float(np.median(steps[steps > 0]))
    highest = 0.5 * rate
    if highest < _IRREGULAR_HIGHEST and _window(time, rate, span) < _REGULAR:
        highest = _IRREGULAR_HIGHEST
    return min(highest, _HIGHEST, _MOST_FREQUENCIES / (_FEWEST_SAMPLES * span))


def _window(time: NDArray[np.float64], rate: float, span: float) -> float:
    """Return the highest power of the spectral window about the rate of the measurements: 1 for a clock's."""
    number = int(np.clip(0.2 * rate * span * _FEWEST_SAMPLES, 11, 2000)) | 1
    return max(
        float(np.abs(np.exp(2j * np.pi * one * time).mean()) ** 2)
        for one in rate * np.linspace(0.9, 1.1, number)
    )


def _step(lowest: float, highest: float, span: float) -> float:
    """Return the step of the grid, cycles a day."""
    affordable = _MOST_FREQUENCIES / ((highest - lowest) * span)
    return 1.0 / (span * float(np.clip(affordable, _FEWEST_SAMPLES, _SAMPLES_A_PEAK)))


def _peaks(
    model: LombScargle, lowest: float, highest: float, step: float
) -> tuple[NDArray[np.float64], float]:
    """Return where the highest peaks are, and the step of the grid; in bounded memory.

    Their heights are those of parabolas: between two samples a peak may be higher than one that a sample hit.
    """
    number = max(int(np.ceil((highest - lowest) / step)) + 1, 50)
    step = (highest - lowest) / (number - 1)
    places, heights = np.empty(0), np.empty(0)
    for start in range(0, number, _AT_ONCE):
        # With a sample of the next block on either side, so that a peak between blocks is seen.
        samples = np.arange(max(start - 1, 0), min(start + _AT_ONCE + 1, number))
        frequency = lowest + step * samples
        place, height = _maxima(frequency, model.power(frequency, assume_regular_frequency=True))
        places, heights = np.concatenate([places, place]), np.concatenate([heights, height])
        order = np.argsort(-heights, kind="stable")[:_MOST_PEAKS]
        places, heights = places[order], heights[order]
    return places, step


def _maxima(
    frequency: NDArray[np.floating], power: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return place and height of the peaks, from the parabola through three samples; ends as they are."""
    beside = np.pad(power, 1, constant_values=-np.inf)
    peaks = np.flatnonzero((power >= beside[:-2]) & (power >= beside[2:]))
    inner = (peaks > 0) & (peaks < len(power) - 1)
    left, right = (np.where(inner, beside[peaks + side], 0.0) for side in (0, 2))
    bend = np.where(inner, left - 2.0 * power[peaks] + right, 0.0)
    flat = bend >= 0.0
    shift = np.where(flat, 0.0, 0.5 * (left - right) / np.where(flat, 1.0, bend))
    height = power[peaks] - np.where(flat, 0.0, 0.25 * (left - right) * shift)
    return np.asarray(frequency[peaks] + shift * (frequency[1] - frequency[0])), np.asarray(height)


def _highest_peak(model: LombScargle, peaks: NDArray[np.float64], step: float) -> float:
    """Return the frequency of the highest of some peaks, looked at with ever finer grids."""
    fine = (peaks[:, None] + step * np.linspace(-1.0, 1.0, 21)).ravel()
    best = _at_maximum(model, fine)
    step /= 10.0
    for _ in range(_ZOOMS):
        best = _at_maximum(model, best + step * np.linspace(-1.0, 1.0, 41))
        step /= 20.0
    return best


def _at_maximum(model: LombScargle, frequency: NDArray[np.float64]) -> float:
    frequency = frequency[frequency > 0]
    return float(frequency[int(np.argmax(model.power(frequency, method="cython")))])


def _frequency_error(
    time: NDArray[np.float64],
    error: NDArray[np.float64],
    residual: NDArray[np.float64],
    amplitude: float,
) -> float:
    """Return the error of the frequency of a sine, errors scaled to what is left over.

    For equal errors and evenly spread times it is that of Montgomery & O'Donoghue; it also holds where most
    measurements are of one night and the span is that of a few.
    """
    weight = 1.0 / error**2
    scale = float((weight * residual**2).sum()) / max(len(time) - 4, 1)
    spread = float((weight * (time - np.average(time, weights=weight)) ** 2).sum())
    return float(np.sqrt(0.5 * scale / spread) / (np.pi * max(amplitude, 1e-9)))

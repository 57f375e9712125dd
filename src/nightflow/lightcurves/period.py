"""The period of a variable star: Lomb-Scargle with its false-alarm probability (astropy.timeseries)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.timeseries import LombScargle
from numpy.typing import NDArray

__all__ = ["Period", "find_period"]

_FEWEST = 12
_SAMPLES_A_PEAK = 10
_HIGHEST = 100.0
"""Cycles a day."""
_MOST_FREQUENCIES = 400_000
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

    Looked for are periods from twice the typical distance of the measurements to the length of the whole; one
    that wants to be longer still is none.

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
    steps = np.diff(np.sort(time))
    typical = float(np.median(steps[steps > 0]))
    lowest, highest = 1.0 / span, min(0.5 / typical, _HIGHEST)
    if highest <= lowest:
        return None
    number = int(min((highest - lowest) * span * _SAMPLES_A_PEAK, _MOST_FREQUENCIES))
    frequency = np.linspace(lowest, highest, max(number, 50))
    model = LombScargle(time, mag, error)
    power = model.power(frequency)
    best = _refined(model, frequency, power)
    if best < _EDGE * lowest:
        return None
    sine, cosine = model.model_parameters(best)[1:3]
    amplitude = float(np.hypot(sine, cosine))
    residual = mag - model.model(time, best)
    noise = float(np.std(residual, ddof=3)) if len(time) > 3 else float(np.median(error))
    width = np.sqrt(6.0 / len(time)) * noise / (np.pi * span * max(amplitude, 1e-9))
    false_alarm = model.false_alarm_probability(
        float(np.max(power)), method="baluev", minimum_frequency=lowest, maximum_frequency=highest
    )
    return Period(
        days=1.0 / best, error=float(width / best**2), false_alarm=float(false_alarm), amplitude=amplitude
    )


def _refined(model: LombScargle, frequency: NDArray[np.float64], power: NDArray[np.float64]) -> float:
    """Return the frequency of the highest peak, from a fine grid around the best of the coarse one."""
    peak = int(np.argmax(power))
    low, high = frequency[max(peak - 1, 0)], frequency[min(peak + 1, len(frequency) - 1)]
    fine = np.linspace(low, high, 201)
    return float(fine[int(np.argmax(model.power(fine)))])

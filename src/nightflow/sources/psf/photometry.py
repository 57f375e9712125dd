"""PSF photometry of a frame: build the PSF, fit all stars, find what they hid, and again."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import sep
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nightflow.errors import FrameRejected
from nightflow.flags import FLAG_DTYPE, UNUSABLE, Flag
from nightflow.robust import robust_sigma
from nightflow.sources.aperture import aperture_flags
from nightflow.sources.aperture_correction import ApertureCorrection
from nightflow.sources.background import measure_background
from nightflow.sources.clean_pixels import CleanPixels
from nightflow.sources.empty_apertures import EmptyApertures, empty_apertures
from nightflow.sources.psf.build import PsfCheck, build_psf
from nightflow.sources.psf.companions import find_companions
from nightflow.sources.psf.fit import FIT_FWHM, FitPixels, StarFits, fit_stars
from nightflow.sources.psf.model import PsfModel, moffat_psf
from nightflow.sources.psf.stars import choose_stars
from nightflow.sources.stellar_profile import StellarProfile

__all__ = ["CrowdedPixels", "NoPsf", "PsfPhotometry", "PsfSources", "measure_psf"]

Array = NDArray[np.float64]

_ROUNDS = 3
_FIRST_STEPS, _NEXT_STEPS = 5, 3
"""Steps of the fits on the way, where places are new and where only the PSF is: the last one goes on to the
end."""
_CLOSEST = 0.4
"""In FWHM: nearer, two stars are one (Stetson 1987 takes 0.37)."""
_SIGNIFICANT = 4.0
"""Signal-to-noise ratio that a star found in the residuals must keep in the fit."""
_CONTAMINATED = 0.02
"""Part of an aperture's light that comes from neighbours, from which on it is flagged."""
_TIE_SIGNAL_TO_NOISE = 30.0
_TIE_STARS = 100
_FEWEST_TIES = 5
_TIE_NEIGHBOURS = 0.2
"""Light of neighbours in an aperture, in parts of the star's own, up to which it ties the scales."""
_BLENDED = 1.0
"""In FWHM: whoever has another star so near is flagged."""


class NoPsf(Exception):  # noqa: N818 - an answer, not a failure: the apertures stand
    """The frame has no PSF photometry; the message says why."""


@dataclass(frozen=True, kw_only=True)
class CrowdedPixels:
    """A frame as PSF photometry takes it.

    Attributes
    ----------
    data : ndarray of float32, shape (ny, nx)
        Background-subtracted electrons.
    variance : ndarray of float32, shape (ny, nx)
        Electrons squared, photon noise of the sources included.
    flags : ndarray of uint16, shape (ny, nx)
    sky_rms : float
        Noise of a pixel of empty sky, electrons.
    box : int
        Mesh of the background, pixels.
    profile : StellarProfile
        Of the frame's stars.
    radius : float
        Of the frame's aperture, pixels.
    correction : ApertureCorrection
        Of the frame.
    clean : CleanPixels
        The same pixels, as apertures are put on them.
    scintillation : float
        Relative scatter that it gives each flux.
    independent : bool
        False where pixels are running means that share their noise.
    """

    data: NDArray[np.float32]
    variance: NDArray[np.float32]
    flags: NDArray[np.uint16]
    sky_rms: float
    box: int
    profile: StellarProfile
    radius: float
    correction: ApertureCorrection
    clean: CleanPixels
    scintillation: float = 0.0
    independent: bool = True


@dataclass(frozen=True, kw_only=True)
class PsfSources:
    """Stars measured by the PSF; columns of equal length n.

    Attributes
    ----------
    detection : ndarray of int, shape (n,)
        Row of the detection that the star is; -1 for one that was found in the residuals. Those come last.
    x, y, x_err, y_err : ndarray of float64, shape (n,)
        0-based pixels, and 1 sigma by the variance of the pixels.
    flux, flux_err : ndarray of float64, shape (n,)
        Electrons of the whole star, on the scale of the aperture fluxes. The error is that of the fit with
        the neighbours free, and what the apertures' have: what neighbouring pixels share of the noise, as
        far as the PSF sums it; scintillation; and that part of the aperture
        correction's error that changes over the field. What ties the scales is common to all and not in it.
    chi2 : ndarray of float64, shape (n,)
        Of the fitted pixels, per degree of freedom.
    flags : ndarray of uint16, shape (n,)
        Bits of the fitted pixels; NEIGHBOUR where another star is nearer than the FWHM.
    """

    detection: NDArray[np.intp]
    x: Array
    y: Array
    x_err: Array
    y_err: Array
    flux: Array
    flux_err: Array
    chi2: Array
    flags: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, kw_only=True)
class PsfPhotometry:
    """What PSF photometry found of a frame.

    Attributes
    ----------
    sources : PsfSources
    psf : PsfModel
    check : PsfCheck or None
        None where the PSF is the profile of the frame, for want of stars.
    contaminated : ndarray of bool, shape (n_detections,)
        Detections whose aperture holds more than 2 % of light from neighbours.
    tie, tie_err : float
        Aperture flux over PSF flux, and 1 sigma of it; it is common to all stars and in their fluxes. The
        error is NaN, and the tie 1, where fewer than 5 stars give it.
    n_tie : int
        Stars that give it.
    left : CleanPixels
        The frame without its stars, and without the background that showed then.
    taken : ndarray of float64, shape (n,)
        Light that each of ``sources`` had in its aperture and ``left`` has not, electrons.
    empty_apertures : EmptyApertures
        Of ``left``, at places where stars have less than the sky's noise.
    n_left : int
        Fainter stars that show in the residuals, not measured: at most as many are as were detected.
    """

    sources: PsfSources
    psf: PsfModel
    check: PsfCheck | None
    contaminated: NDArray[np.bool_]
    tie: float
    tie_err: float
    n_tie: int
    left: CleanPixels = field(repr=False)
    taken: Array = field(repr=False)
    empty_apertures: EmptyApertures
    n_left: int = 0

    def described(self) -> str:
        """Return in words how it was done, for the record of the reduction."""
        new = int(np.count_nonzero(self.sources.detection < 0))
        if self.check is None:
            made = "by the frame's mean profile, for want of PSF stars"
        else:
            made = (
                f"PSF of {self.check.n_terms} terms over the field from {self.check.n_stars} stars, which "
                f"misses held-out ones by {100 * self.check.error:.1f} % (chi2 {self.check.chi2:.2f})"
            )
        tied = (
            f"tied to the apertures by {self.n_tie} stars, {self.tie:.4f} +- {self.tie_err:.4f}"
            if self.n_tie >= _FEWEST_TIES
            else "not tied to the apertures, for want of bright stars: all fluxes may be off alike"
        )
        left = f", {self.n_left} fainter ones left there" if self.n_left else ""
        return (
            f"PSF photometry of {len(self.sources)} stars, {new} of them found in the residuals{left}: "
            f"{made}; {tied}"
        )


@dataclass(frozen=True)
class _Fitted:
    pixels: FitPixels
    psf: PsfModel
    check: PsfCheck | None
    fits: StarFits
    detection: NDArray[np.intp]
    n_left: int


def measure_psf(frame: CrowdedPixels, x: Array, y: Array) -> PsfPhotometry:
    """Fit the PSF to all stars of a frame, and to those that show in the residuals.

    Three rounds: fit, measure the background of the residuals, build the PSF anew from neighbour-subtracted
    stars, fit, look for companions in the residuals.

    Parameters
    ----------
    frame : CrowdedPixels
    x, y : ndarray of float64, shape (n,)
        Of the detections, 0-based pixels.

    Raises
    ------
    NoPsf
        No star could be fitted, or the frame has no star's width.
    """
    if not frame.independent:
        raise NoPsf("no PSF photometry: the pixels of a colour mosaic's luminance share their noise")
    if len(x) == 0 or not np.isfinite(frame.profile.fwhm):
        raise NoPsf("no PSF photometry: the frame has no star whose width is known")
    fitted = _iterate(frame, np.asarray(x, float), np.asarray(y, float))
    if len(fitted.fits) == 0:
        raise NoPsf("no PSF photometry: not one star could be fitted")
    fitted = _in_order(fitted)
    fits = fitted.fits
    model = fitted.psf.image(fits.x, fits.y, fits.flux)
    left = _without_stars(frame, fitted, model)
    empty = empty_apertures(replace(left, sky_mask=left.sky_mask | (model > frame.sky_rms)))
    tie, tie_err, n_tie = _tie(frame, fitted, model, left)
    return PsfPhotometry(
        sources=_sources(frame, fitted, tie, empty),
        psf=fitted.psf,
        check=fitted.check,
        contaminated=_contaminated(frame, fitted, model, x, y),
        tie=tie,
        tie_err=tie_err,
        n_tie=n_tie,
        left=left,
        taken=fits.flux,
        empty_apertures=empty,
        n_left=fitted.n_left,
    )


def _in_order(fitted: _Fitted) -> _Fitted:
    """Return the stars in the order of the detections, those found in the residuals last."""
    none = np.iinfo(np.intp).max
    order = np.argsort(np.where(fitted.detection < 0, none, fitted.detection), kind="stable")
    return replace(fitted, fits=fitted.fits.take(order), detection=fitted.detection[order])


def _without_stars(frame: CrowdedPixels, fitted: _Fitted, model: Array) -> CleanPixels:
    left = (fitted.pixels.data - model).astype(np.float32)
    return replace(frame.clean, data=left, sky_mask=~np.isfinite(fitted.pixels.noise))


def _iterate(frame: CrowdedPixels, x: Array, y: Array) -> _Fitted:
    psf, check = moffat_psf(frame.profile, frame.radius, frame.data.shape), None
    pixels, detection = _fit_pixels(frame), np.arange(len(x))
    # Where more would show than were detected, the core of a cluster, they are not stars but its grain.
    n_detections, n_left = len(x), 0
    fits = fit_stars(pixels, psf, x, y, most_steps=_FIRST_STEPS)
    for round_ in range(_ROUNDS):
        fits, detection = _pruned(fits, detection, psf.fwhm)
        pixels = _without_background(frame, pixels, psf, fits)
        built = build_psf(pixels, psf, fits, choose_stars(fits, psf, _unflagged(frame, fits, psf)))
        if built is not None:
            psf, check = built
        if round_ == _ROUNDS - 1:
            break
        fits = fit_stars(pixels, psf, fits.x, fits.y, fits.flux, _NEXT_STEPS)
        fits, detection = _pruned(fits, detection, psf.fwhm)
        new_x, new_y = find_companions(pixels, psf, fits, check.error if check is not None else 0.0)
        n_new = min(len(new_x), n_detections - int(np.count_nonzero(detection < 0)))
        n_left = len(new_x) - n_new
        x, y = np.append(fits.x, new_x[:n_new]), np.append(fits.y, new_y[:n_new])
        detection = np.append(detection, np.full(n_new, -1))
        fits = fit_stars(pixels, psf, x, y, most_steps=_FIRST_STEPS)
    fits, detection = _final(pixels, psf, fits, detection)
    return _Fitted(pixels, psf, check, fits, detection, n_left)


def _fit_pixels(frame: CrowdedPixels) -> FitPixels:
    # Subtracted light has no noise of its own: what is left is that of sky and readout.
    noise = frame.variance - frame.data
    noise[(frame.flags & int(UNUSABLE)) > 0] = np.inf
    return FitPixels(data=frame.data, noise=noise, least=(0.5 * frame.sky_rms) ** 2)


def _final(
    pixels: FitPixels, psf: PsfModel, fits: StarFits, detection: NDArray[np.intp]
) -> tuple[StarFits, NDArray[np.intp]]:
    """Fit to the end, and again where some of the stars turn out to be none."""
    while True:
        fits = fit_stars(pixels, psf, fits.x, fits.y, fits.flux)
        kept = _kept(fits, detection, psf.fwhm)
        if kept.all():
            return fits, detection
        fits, detection = fits.take(kept), detection[kept]


def _pruned(fits: StarFits, detection: NDArray[np.intp], fwhm: float) -> tuple[StarFits, NDArray[np.intp]]:
    kept = _kept(fits, detection, fwhm)
    return fits.take(kept), detection[kept]


def _kept(fits: StarFits, detection: NDArray[np.intp], fwhm: float) -> NDArray[np.bool_]:
    """Return which stars stay: those that have light, stayed at their place, and are no part of a brighter
    one.
    """
    least = np.where(detection < 0, _SIGNIFICANT, 1.0)
    kept = fits.covered & ~fits.moved & (fits.flux > least * fits.flux_err)
    pairs = cKDTree(np.column_stack([fits.x, fits.y])).query_pairs(_CLOSEST * fwhm, output_type="ndarray")
    fainter = np.where(fits.flux[pairs[:, 0]] < fits.flux[pairs[:, 1]], pairs[:, 0], pairs[:, 1])
    kept[fainter] = False
    return kept


def _without_background(frame: CrowdedPixels, pixels: FitPixels, psf: PsfModel, fits: StarFits) -> FitPixels:
    """Take off the background that the residuals still have: a mesh on the stars themselves lies too high."""
    model = psf.image(fits.x, fits.y, fits.flux)
    residual = (pixels.data - model).astype(np.float32)
    noisy = np.asarray(model > frame.sky_rms)
    try:
        level = measure_background(residual, ~np.isfinite(pixels.noise) | noisy, frame.box).level
    except FrameRejected:
        return pixels
    return replace(pixels, data=pixels.data - level)


def _unflagged(frame: CrowdedPixels, fits: StarFits, psf: PsfModel) -> NDArray[np.bool_]:
    bits = _pixel_bits(frame, fits, 2 * psf.fwhm)
    return (bits & int(UNUSABLE | Flag.EDGE | Flag.INTERPOLATED)) == 0


def _pixel_bits(frame: CrowdedPixels, fits: StarFits, radius: float) -> NDArray[np.uint16]:
    return aperture_flags(frame.flags, fits.x, fits.y, radius)


def _sources(frame: CrowdedPixels, fitted: _Fitted, tie: float, empty: EmptyApertures) -> PsfSources:
    fits = fitted.fits
    flags = _pixel_bits(frame, fits, FIT_FWHM * fitted.psf.fwhm)
    pairs = cKDTree(np.column_stack([fits.x, fits.y])).query_pairs(_BLENDED * fitted.psf.fwhm)
    for one, other in pairs:
        flags[[one, other]] |= FLAG_DTYPE(Flag.NEIGHBOUR)
    factor, factor_err = frame.correction.at(fits.x, fits.y)
    flux = tie * factor * fits.flux
    fit_err = empty.full_error(fits.flux, fits.flux_err, _relative_area(frame, fitted.psf))
    return PsfSources(
        detection=fitted.detection,
        x=fits.x,
        y=fits.y,
        x_err=fits.x_err,
        y_err=fits.y_err,
        flux=flux,
        flux_err=np.hypot(tie * factor * fit_err, flux * np.hypot(factor_err, frame.scintillation)),
        chi2=fits.chi2,
        flags=flags,
    )


def _relative_area(frame: CrowdedPixels, psf: PsfModel) -> float:
    """Return the area over which a fit sums the sky's noise (King 1983, PASP 95, 163), in apertures."""
    ny, nx = psf.shape
    light = psf.sampled(0.5 * nx, 0.5 * ny, 1)
    return float(1 / np.square(light).sum() / (np.pi * frame.radius**2))


def _contaminated(
    frame: CrowdedPixels, fitted: _Fitted, model: Array, x: Array, y: Array
) -> NDArray[np.bool_]:
    """Return which detections' apertures hold more than 2 % of other stars' light."""
    own = np.full(len(x), np.nan)
    known = fitted.detection >= 0
    own[fitted.detection[known]] = fitted.fits.flux[known]
    light = sep.sum_circle(model, x, y, frame.radius, subpix=0)[0]
    # One that was no star of its own in the fit is a part of another.
    return np.asarray(~(light - own <= _CONTAMINATED * own))


def _tie(frame: CrowdedPixels, fitted: _Fitted, model: Array, left: CleanPixels) -> tuple[float, float, int]:
    """Return aperture flux over PSF flux of bright stars that have been freed from their neighbours."""
    fits, psf = fitted.fits, fitted.psf
    light = sep.sum_circle(model, fits.x, fits.y, frame.radius, subpix=0)[0]
    usable = _unflagged(frame, fits, psf) & (fits.flux > _TIE_SIGNAL_TO_NOISE * fits.flux_err)
    usable &= np.abs(light - fits.flux) < _TIE_NEIGHBOURS * fits.flux
    rows = np.flatnonzero(usable)
    rows = rows[np.argsort(-fits.flux[rows], kind="stable")[:_TIE_STARS]]
    if len(rows) < _FEWEST_TIES:
        return 1.0, float("nan"), len(rows)
    own = np.array([_light_alone(psf, fits, int(row), frame.radius) for row in rows])
    ratio = (own + left.fluxes(fits.x[rows], fits.y[rows]).flux) / fits.flux[rows]
    kept = ratio[np.abs(ratio - np.median(ratio)) <= max(3 * robust_sigma(ratio), 1e-6)]
    return float(np.median(kept)), float(np.std(kept) * np.sqrt(np.pi / 2 / len(kept))), len(kept)


def _light_alone(psf: PsfModel, fits: StarFits, row: int, radius: float) -> float:
    """Return what the aperture holds of one star of the model, by whole and part pixels."""
    x, y, flux = (getattr(fits, name)[row : row + 1] for name in ("x", "y", "flux"))
    return float(sep.sum_circle(psf.image(x, y, flux), x, y, radius, subpix=0)[0][0])

"""Where chips lie before SCAMP has seen them: by a solution of their own, or by the camera's layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from astropy.io import fits

from nightflow.astrometry.plate import Plate
from nightflow.astrometry.previous import solve_shifted
from nightflow.astrometry.projection import from_plane, to_plane
from nightflow.astrometry.scamp.frames import Exposure
from nightflow.astrometry.scamp.layout import Placed, learn_layout, plate_about, predict
from nightflow.catalogs.local import LocalCatalogs
from nightflow.errors import NoSolution
from nightflow.instruments.profile import AstrometrySettings

__all__ = ["middle_of", "solved_chips", "starts"]


def starts(
    exposures: Sequence[Exposure],
    layout: Mapping[str, fits.Header] | None,
    catalogs: LocalCatalogs,
    settings: AstrometrySettings,
) -> dict[tuple[str, str], Plate]:
    """Return where chips lie at the start, about one point an exposure.

    Where no chip of an exposure is solved, the layout is put where the telescope looks by its own word, and
    the first chip whose stars agree on a shift takes the others along.

    Parameters
    ----------
    layout : mapping or None
        The camera's; None: that of the exposure with most chips solved.
    catalogs, settings : LocalCatalogs, AstrometrySettings
        For exposures without a solved chip.

    Returns
    -------
    dict of (exposure, chip) to Plate
        Chips that nothing is known of are not in it.

    Raises
    ------
    NoSolution
        There is no chip to start from at all.
    """
    layout = layout or _learned(exposures)
    plates: dict[tuple[str, str], Plate] = {}
    for exposure in exposures:
        known = solved_chips(exposure) or _anchored(exposure, layout, catalogs, settings)
        wanted = {chip.name: chip.request.shape for chip in exposure.chips if chip.name not in known}
        if known:
            centre = middle_of(list(known.values()))
            for name, chip in known.items():
                plates[exposure.name, name] = plate_about(chip.wcs, chip.shape, *centre)
            predicted = predict(layout, known, wanted)
            plates |= {(exposure.name, name): plate for name, plate in predicted.items()}
    if not plates:
        raise NoSolution("SCAMP: no chip has a WCS to start from, and no layout of the camera is known")
    return plates


def solved_chips(exposure: Exposure) -> dict[str, Placed]:
    """Return the chips of an exposure that have a WCS to start from."""
    return {
        chip.name: Placed(wcs=chip.start, shape=chip.request.shape)
        for chip in exposure.chips
        if chip.start is not None
    }


def middle_of(chips: Sequence[Placed]) -> tuple[float, float]:
    """Return a point amid the chips, ICRS degrees."""
    middles = [
        chip.wcs.all_pix2world((chip.shape[1] - 1) / 2.0, (chip.shape[0] - 1) / 2.0, 0) for chip in chips
    ]
    ra, dec = np.array(middles, float).T
    xi, eta = to_plane(ra, dec, float(ra[0]), float(dec[0]))
    centre = from_plane(np.array([xi.mean()]), np.array([eta.mean()]), float(ra[0]), float(dec[0]))
    return float(centre[0][0]), float(centre[1][0])


def _learned(exposures: Sequence[Exposure]) -> dict[str, fits.Header]:
    best = max((solved_chips(exposure) for exposure in exposures), key=len, default={})
    return learn_layout(best, *middle_of(list(best.values()))) if best else {}


def _anchored(
    exposure: Exposure,
    layout: Mapping[str, fits.Header],
    catalogs: LocalCatalogs,
    settings: AstrometrySettings,
) -> dict[str, Placed]:
    """Return one chip that is found where layout and pointing put it, shifted; empty where none is."""
    wanted = {chip.name: chip.request.shape for chip in exposure.chips}
    predicted = predict(layout, {}, wanted, pointing=_pointing(exposure))
    for chip in exposure.chips:
        try:
            if chip.name in predicted:
                found = solve_shifted(
                    predicted[chip.name], chip.request, catalogs, settings, backend="layout"
                )
                return {chip.name: Placed(wcs=found.wcs, shape=chip.request.shape)}
        except NoSolution:
            continue
    return {}


def _pointing(exposure: Exposure) -> tuple[float, float] | None:
    for chip in exposure.chips:
        if chip.request.ra is not None and chip.request.dec is not None:
            return chip.request.ra, chip.request.dec
    return None

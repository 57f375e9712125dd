"""What a catalogue calls the sources of a night: each by the star that most of its detections are.

Frame by frame the first one to see a source names it, and a blend of two stars is now the one, now the other.
Here all frames have a voice, so that it does not matter which came first.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sqlmodel import Session, col, select

from nightflow.catalogs.local import LocalCatalogs
from nightflow.errors import ConfigurationError
from nightflow.lightcurves.associate import associate, match_radius
from nightflow.lightcurves.night import NONE
from nightflow.store.database import Database
from nightflow.store.models import Reduction
from nightflow.store.night_association import NO_STAR, CatalogStar
from nightflow.store.night_fields import ReducedFrame, StoredField

__all__ = ["most_named", "night_names"]

log = logging.getLogger(__name__)

_AT_ONCE = 500


def night_names(
    database: Database, catalogs: LocalCatalogs, field: StoredField, source: NDArray[np.intp]
) -> dict[int, CatalogStar]:
    """Return the star that each source is, by the catalogue that its frames were measured against.

    Parameters
    ----------
    field : StoredField
    source : ndarray of intp, shape (n,)
        Index of the source of each detection; `nightflow.lightcurves.night.NONE`.

    Returns
    -------
    dict of int to CatalogStar
        By the index of the source; `NO_STAR` for one that no catalogue of its frames has. Those of which no
        frame was measured against a catalogue are left out. Frames whose catalogue is no longer here have no
        voice, with a warning in the log; what they see is `NO_STAR` by no other frame's word.
    """
    votes: dict[int, Counter[CatalogStar]] = {}
    unasked: set[int] = set()
    gone: dict[str, list[str]] = {}
    bounds = field.night.bounds()
    with database.session() as session:
        used = _catalogs(session, field.frames)
    for number, frame in enumerate(field.frames):
        here = np.arange(bounds[number], bounds[number + 1])
        here = here[source[here] != NONE]
        name = used.get(frame.reduction_id)
        if not name or not len(here):
            continue
        try:
            stars = _stars(catalogs, name, frame, field.night.ra[here], field.night.dec[here])
        except ConfigurationError as error:
            gone.setdefault(str(error), []).append(frame.sha256[:12])
            unasked.update(source[here].tolist())
            continue
        for one in np.unique(source[here]).tolist():
            votes.setdefault(one, Counter())
        for row, star in stars.items():
            votes[int(source[here[row]])][star] += 1
    for message, frames in gone.items():
        log.warning(
            "%s; %d of %d frames of a field have no voice in what its stars are called, the first of them %s",
            message, len(frames), len(field.frames), frames[0],
        )  # fmt: skip
    return {
        one: most_named(counts) if counts else NO_STAR
        for one, counts in votes.items()
        if counts or one not in unasked
    }


def most_named(votes: Counter[CatalogStar]) -> CatalogStar:
    """Return the star of most detections; of several the first by catalogue and name."""
    return min(votes, key=lambda star: (-votes[star], star))


def _catalogs(session: Session, frames: Sequence[ReducedFrame]) -> dict[int, str]:
    """Return the catalogue of each reduction: of its zero point, else of its WCS."""
    used: dict[int, str] = {}
    for start in range(0, len(frames), _AT_ONCE):
        some = [frame.reduction_id for frame in frames[start : start + _AT_ONCE]]
        columns = select(col(Reduction.id), col(Reduction.zp_catalog), col(Reduction.wcs_catalog))
        for reduction, of_flux, of_wcs in session.exec(columns.where(col(Reduction.id).in_(some))):
            used[int(reduction or 0)] = of_flux or of_wcs or ""
    return used


def _stars(
    catalogs: LocalCatalogs,
    name: str,
    frame: ReducedFrame,
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
) -> dict[int, CatalogStar]:
    """Return the star that each of these detections of a frame is."""
    at_its_own = catalogs.cone(name, frame.ra, frame.dec, frame.radius / 3600.0)
    now = at_its_own.at_epoch(frame.year)
    partner = associate(ra, dec, now.ra, now.dec, match_radius(frame.scale)).source
    return {
        row: CatalogStar(
            catalog=name,
            catalog_id=str(at_its_own.ids[star]),
            ra=float(at_its_own.ra[star]),
            dec=float(at_its_own.dec[star]),
            pmra=float(at_its_own.pmra[star]),
            pmdec=float(at_its_own.pmdec[star]),
        )
        for row, star in enumerate(partner.tolist())
        if star >= 0
    }

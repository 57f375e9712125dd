"""Files for people: the reduced frame and its thumbnail, written once the rows are committed."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from nightflow.config import Settings
from nightflow.fits_output import replacing
from nightflow.instruments.header import FrameHeader
from nightflow.nights import night_of
from nightflow.photcal.jansky import FluxScale, flux_scale
from nightflow.pipeline.residuals import work_residuals
from nightflow.pipeline.work import Context, Work
from nightflow.products.disk_room import keep_room
from nightflow.products.reduced_frame import TargetPlace, write_reduced
from nightflow.products.thumbnail import write_thumbnail
from nightflow.report.residuals import FrameResiduals
from nightflow.software import SOFTWARE
from nightflow.store.database import Database
from nightflow.store.targets import find_target, position_at

__all__ = ["product_stem", "write_products"]

log = logging.getLogger(__name__)

_BYTES_A_PIXEL = 14
"""Of a reduced frame at most: pixels, their deviation, mask and flags."""
_PICTURE = 2_000_000
"""Bytes of a thumbnail and of headers, at most."""
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_SUFFIXES = re.compile(r"(\.(fits|fit|fts|gz|fz))+$", re.IGNORECASE)


def product_stem(work: Work, settings: Settings) -> Path:
    """Return the products' path without its ending: night, exposure and detector, no text of the header.

    The file's own name is kept as far as its characters are plain.
    """
    night = (
        night_of(work.header.mjd_mid, work.header.longitude) if work.header.mjd_mid is not None else "undated"
    )
    name = _UNSAFE.sub("_", _SUFFIXES.sub("", work.path.name))[:80].lstrip(".") or "frame"
    folder = settings.resolve(settings.paths.products) / night
    return folder / f"{name}-e{work.exposure_id}-f{work.frame_id}"


def write_products(work: Work, context: Context) -> dict[str, str]:
    """Write what there is; a full or read-only disk costs the files, never the frame, and is said.

    Nothing is written that would leave less room on the disk than `notify.room_gib`. Where the settings have
    a quota, the oldest products make room first.

    What was written before under the ending of another compression goes. A reduction that stopped early and
    is not the one that stands writes nothing.

    Returns
    -------
    dict
        "reduced", "thumbnail" and, where asked for, "residuals" -> path, of what was written.
    """
    if work.frame is None or work.superseded_by:
        return {}
    stem, compression = product_stem(work, context.settings), context.settings.products.compression
    ending, other = (".fits", ".fits.fz") if compression == "none" else (".fits.fz", ".fits")
    reduced, thumbnail = stem.with_name(stem.name + ending), stem.with_name(stem.name + ".png")
    written: dict[str, str] = {}
    try:
        keep_room(
            context.settings.resolve(context.settings.paths.products),
            _BYTES_A_PIXEL * work.frame.data.size + _PICTURE,
            room_gib=context.settings.notify.room_gib,
            quota=context.quota,
        )
        write_reduced(
            reduced,
            work.frame,
            masters=work.masters,
            software=f"{SOFTWARE}, engine {context.settings.engine}",
            target=_target(work.header, context.database),
            compression=compression,
            scale=_scale(work, context.settings),
        )
        written["reduced"] = str(reduced)
        reduced.with_name(stem.name + other).unlink(missing_ok=True)
        sources = work.measured.sources if work.measured is not None else None
        write_thumbnail(thumbnail, work.frame.data, sources)
        written["thumbnail"] = str(thumbnail)
        written |= _write_residuals(stem, work, context.settings)
    except Exception as error:
        message = f"products not written: {type(error).__name__}: {error}"
        log.warning("%s: %s", work.path.name, message, exc_info=not isinstance(error, OSError))
        work.warnings.append(message)
    return written


def _write_residuals(stem: Path, work: Work, settings: Settings) -> dict[str, str]:
    """Draw the residuals of the WCS, where the settings ask for it; what an older WCS left goes."""
    path = stem.with_name(stem.name + "-residuals.png")
    found = work_residuals(work) if settings.products.residual_plots else None
    if found is None:
        path.unlink(missing_ok=True)
        return {}
    with replacing(path) as temporary:
        temporary.write_bytes(_png(found))
    return {"residuals": str(path)}


def _png(found: FrameResiduals) -> bytes:
    """Draw; matplotlib takes a second to import, which a night without such pictures is spared."""
    from nightflow.report.residual_plot import residual_png

    return residual_png(found)


def _scale(work: Work, settings: Settings) -> FluxScale | None:
    """Return the scale to microjansky, where the settings ask for it and the zero point allows it."""
    if settings.products.unit != "microjansky":
        return None
    solution = work.calibration.solution if work.calibration is not None else None
    scale = None
    if solution is not None:
        scale = flux_scale(
            solution.zero_point,
            solution.error,
            work.header.exptime,
            system=solution.system,
            band=solution.band,
        )
    if scale is None:
        lack = "no zero point" if solution is None else f"no known AB magnitude of band {solution.band}"
        work.warnings.append(f"products.unit = microjansky: {lack}; the reduced frame is in electrons")
    return scale


def _target(header: FrameHeader, database: Database) -> TargetPlace | None:
    """Return the place of the store's target that OBJECT names; else where the telescope was pointed to."""
    target = find_target(database, header.object) if header.object else None
    place = position_at(target, header.mjd_mid) if target is not None and header.mjd_mid is not None else None
    if place is not None:
        return TargetPlace(ra=place[0], dec=place[1], origin="target list, at this time")
    if header.ra is None or header.dec is None:
        return None
    return TargetPlace(ra=header.ra, dec=header.dec, origin="pointing in the raw header")

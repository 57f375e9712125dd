"""Step `append`: the reduction and its measurements, in one transaction."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightflow.astrometry.evidence import Evidence
from nightflow.astrometry.geometry import sky_grid
from nightflow.astrometry.wcs_header import wcs_to_text
from nightflow.errors import FrameRejected
from nightflow.flag_planes import count_carrying
from nightflow.flags import Flag
from nightflow.lightcurves.times import bjd_tdb, hour_angle
from nightflow.pipeline.grade import graded
from nightflow.pipeline.optics import optics
from nightflow.pipeline.plan import reduction_fingerprint
from nightflow.pipeline.psf_rows import with_psf_rows
from nightflow.pipeline.work import Work
from nightflow.software import SOFTWARE
from nightflow.sources.table import SourceTable, no_sources
from nightflow.store.database import Database
from nightflow.store.records import MeasurementColumns, ReductionRecord, WcsStarsRecord
from nightflow.store.writer import append as write

__all__ = ["append"]


def append(
    work: Work, database: Database, plan: str, *, now: datetime, with_measurements: bool = True
) -> dict[str, Any]:
    """Commit what the steps before found; a frame is `done` only after this.

    Parameters
    ----------
    work : Work
        After its last step.
    database : Database
    plan : str
        Fingerprint of the plan, see `nightflow.pipeline.plan`.
    now : datetime
        Aware.
    with_measurements : bool
        False where the reduction stopped before the light curves on request: then a reduction that is in the
        light curves stays the current one.

    Raises
    ------
    FrameRejected
        Not one measurement is a finite number.
    LeaseLost
        Another process has the exposure now; nothing was written.
    """
    sources = work.measured.sources if work.measured is not None and with_measurements else no_sources()
    columns = with_psf_rows(_columns(work, sources), work)
    if work.forced is not None and with_measurements:
        columns = columns.and_those(work.forced)
    dropped = int(np.count_nonzero(~columns.usable()))
    if dropped and dropped == len(columns):
        raise FrameRejected(f"{work.path.name}: not one of its {dropped} measurements is a finite number")
    if dropped:
        work.warnings.append(f"{dropped} of {len(columns)} measurements are no finite numbers: left out")
    record = graded(_record(work, plan), work, database)
    result = write(
        database, work.frame_id, record, columns, now=now, keep_complete=not with_measurements,
        wcs_stars=_wcs_stars(work), worker=work.worker,
    )  # fmt: skip
    if result.kept_complete:
        work.superseded_by = result.version
        work.warnings.append(
            f"stopped early; version {result.version} of the frame stands, in rows and files"
        )
    return {
        "version": result.version,
        "changed": result.changed,
        "measurements": result.n_measurements,
        "new_sources": result.n_new_sources,
    }


def _record(work: Work, plan: str) -> ReductionRecord:
    return ReductionRecord(
        software=SOFTWARE,
        plan_fingerprint=reduction_fingerprint(
            plan,
            work.masters,
            work.reference,
            str(work.solution.quality) if work.solution is not None else "none",
            work.excluded_targets,
            work.forced_targets,
            # Where none was lent, what was offered may still have led to other stars.
            " ".join(work.offered),
            _sky_grid(work),
            work.persistence,
        ),
        masters=work.masters,
        warnings=tuple(dict.fromkeys(work.warnings)),
        timings={step: round(seconds, 4) for step, seconds in work.timings.items()},
        **_measured_values(work),
        **_wcs_values(work),
        **_photometric_values(work),
    )


def _measured_values(work: Work) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if work.frame is not None and work.frame.flags is not None:
        values["n_cosmic"] = count_carrying(work.frame.flags, Flag.COSMIC_RAY)
    if work.measured is not None:
        values |= {
            "fwhm_px": work.measured.fwhm,
            "ellipticity": work.measured.ellipticity,
            "sky": work.measured.sky,
            "n_sources": len(work.measured.sources),
        }
    if work.summary is not None:
        values |= asdict(work.summary)
    return values


def _wcs_values(work: Work) -> dict[str, Any]:
    solution = work.solution
    if solution is None:
        return {}
    return {
        "wcs": wcs_to_text(solution.wcs),
        "wcs_backend": solution.backend,
        "wcs_catalog": solution.catalog,
        "wcs_quality": str(solution.quality),
        "wcs_rms_arcsec": solution.rms_arcsec,
        "wcs_heldout_rms_arcsec": solution.heldout_rms_arcsec,
        "wcs_n_matched": solution.n_matched,
        "ra_center": solution.ra_center,
        "dec_center": solution.dec_center,
        "scale": solution.scale,
        "rotation": solution.rotation,
        "parity": solution.parity,
        "wcs_distortion": _lent(work) or None,
        "hour_angle": hour_angle(work.header.mjd_mid, solution.ra_center, work.header.longitude),
        **_evidence(solution.evidence),
    }


def _evidence(evidence: Evidence | None) -> dict[str, Any]:
    if evidence is None:
        return {}
    return {
        "wcs_n_expected": evidence.n_expected,
        "wcs_chance_matches": evidence.chance_matches,
        "wcs_log_false_alarm": evidence.log_false_alarm,
        "wcs_corner_rms_arcsec": evidence.corner_rms_arcsec,
        "wcs_corner_err_arcsec": evidence.corner_error_arcsec,
    }


def _lent(work: Work) -> str:
    """Return the fingerprint of the distortion that the frame was lent; "" without one."""
    lent = work.solution.lent if work.solution is not None else None
    return lent.fingerprint if lent is not None else ""


def _sky_grid(work: Work) -> list[float]:
    """Return what tells the frame's WCS from another one; [] without one."""
    if work.solution is None or work.frame is None:
        return []
    return sky_grid(work.solution.wcs, (work.frame.data.shape[0], work.frame.data.shape[1]))


def _wcs_stars(work: Work) -> WcsStarsRecord | None:
    """Return the stars of a verified WCS, to a thousandth of a pixel."""
    solution = work.solution
    if solution is None or solution.stars is None or solution.evidence is None or work.frame is None:
        return None
    stars = solution.stars
    return WcsStarsRecord(
        optics=optics(work.header, (work.frame.data.shape[0], work.frame.data.shape[1])),
        corner_errors_arcsec=tuple(round(one, 4) for one in solution.evidence.corner_errors_arcsec),
        stars={
            name: np.round(getattr(stars, name), digits)
            for name, digits in (
                ("x", 3), ("y", 3), ("dx", 3), ("dy", 3), ("ra", 8), ("dec", 8), ("mag", 2), ("error", 3),
            )
        },
    )  # fmt: skip


def _photometric_values(work: Work) -> dict[str, Any]:
    if work.calibration is None:
        return {}
    solution = work.calibration.solution
    return {
        "zp": solution.zero_point,
        "zp_adu": solution.zero_point_adu,
        "zp_err": solution.error,
        "zp_scatter": solution.scatter,
        "zp_n_stars": solution.n_stars,
        "zp_catalog": solution.catalog,
        "zp_band": solution.band,
        "mag_system": solution.system,
        "color_term": solution.color_term,
        "color_term_err": solution.color_term_error,
        "zp_origin": solution.origin,
        "depth_5sigma": solution.depth_5sigma,
    }


def _columns(work: Work, sources: SourceTable) -> MeasurementColumns:
    header, calibration = work.header, work.calibration
    assert header.mjd_mid is not None, "a light without a time is refused when it is identified"
    unknown = np.full(len(sources), np.nan)
    calibrated = calibration is not None and len(sources) > 0
    ra, dec = _sky_positions(work, sources)
    return MeasurementColumns(
        number=np.arange(len(sources)),
        kind="aperture",
        flux=sources.flux / header.exptime,
        flux_err=sources.flux_err / header.exptime,
        mag=calibration.mag if calibration is not None and calibrated else unknown,
        mag_err=calibration.mag_err if calibration is not None and calibrated else unknown,
        x=sources.x,
        y=sources.y,
        ra=ra,
        dec=dec,
        fwhm_px=sources.fwhm,
        flags=sources.flags,
        position_err=_position_errors(work, sources),
        catalog=work.identity if work.solution is not None and len(sources) else None,
        bjd_tdb=bjd_tdb(header.mjd_mid, ra, dec, header.site),
        mjd_mid=header.mjd_mid,
        filter=header.filter,
    )


def _position_errors(work: Work, sources: SourceTable) -> NDArray[np.float64]:
    if work.solution is None:
        return np.full(len(sources), np.nan)
    return np.hypot(sources.x_err, sources.y_err) / np.sqrt(2.0) * work.solution.scale


def _sky_positions(work: Work, sources: SourceTable) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if work.solution is None or len(sources) == 0:
        return np.full(len(sources), np.nan), np.full(len(sources), np.nan)
    ra, dec = work.solution.wcs.all_pix2world(sources.x, sources.y, 0)
    return ra % 360.0, dec

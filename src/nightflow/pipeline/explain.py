"""Why a frame came out as it did: its rows, its masters and their rivals, its solution, its flags.

Reads the store and nothing else; no file is opened and nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nightflow.flags import MEANINGS, Flag
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import CameraProfile
from nightflow.pipeline.explain_masters import MasterStory, explain_masters
from nightflow.store.database import Database
from nightflow.store.frames import frames_of
from nightflow.store.masters import masters_with
from nightflow.store.models import Exposure, Frame, Master, Reduction
from nightflow.store.overview import current_reduction, flag_counts, reductions_of

__all__ = ["ExposureStory", "FlagCount", "FrameStory", "explain"]

_EXPOSURE = (
    "id", "path", "sha256", "size", "state", "reason", "waits_for", "attempts", "received_at", "done_at",
    "retry_at", "prefect_run_id",
)  # fmt: skip
_FRAME = (
    "id", "hdu", "detector", "kind", "instrument", "object", "filter", "exptime", "date_obs", "mjd_mid",
    "night", "ny", "nx", "binning", "gain_setting", "readout_mode", "ccd_temp", "rotator", "ra", "dec",
    "airmass", "state", "reason", "traceback",
)  # fmt: skip
_MEASURES = ("fwhm_px", "ellipticity", "sky", "n_sources", "n_cosmic")
_WCS = (
    "wcs_backend", "wcs_quality", "wcs_rms_arcsec", "wcs_heldout_rms_arcsec", "wcs_n_matched",
    "wcs_n_expected", "wcs_chance_matches", "wcs_log_false_alarm", "wcs_corner_rms_arcsec",
    "wcs_corner_err_arcsec", "wcs_distortion", "ra_center",
    "dec_center", "scale", "rotation", "parity",
)  # fmt: skip
_FLUX = (
    "zp", "zp_err", "zp_origin", "zp_scatter", "zp_n_stars", "zp_catalog", "zp_band", "mag_system",
    "color_term", "color_term_err", "zp_adu", "depth_5sigma",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class FlagCount:
    """How many measurements of a frame carry one flag, and what it means."""

    flag: str
    measurements: int
    meaning: str


@dataclass(frozen=True, kw_only=True)
class FrameStory:
    """One frame.

    Attributes
    ----------
    frame : dict
        Its normalised header, state and reason.
    masters : tuple of MasterStory
        Of a light frame; one a kind that its camera's profile asks for.
    went_into : tuple of str
        Of a calibration frame: the masters that it was offered to, and why one left it out.
    measures, wcs, flux : dict
        What the current reduction found; empty where it did not get so far.
    warnings : tuple of str
    timings : dict
        Step -> seconds.
    measurements, unflagged : int
    flags : tuple of FlagCount
        A measurement with two flags counts for both.
    versions : tuple of dict
        Every reduction of the frame: version, created_at, current, software.
    """

    frame: dict[str, Any]
    masters: tuple[MasterStory, ...]
    went_into: tuple[str, ...]
    measures: dict[str, Any]
    wcs: dict[str, Any]
    flux: dict[str, Any]
    warnings: tuple[str, ...]
    timings: dict[str, float]
    measurements: int
    unflagged: int
    flags: tuple[FlagCount, ...]
    versions: tuple[dict[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class ExposureStory:
    """One exposure and its frames."""

    exposure: dict[str, Any]
    frames: tuple[FrameStory, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain lists and dictionaries, for JSON."""
        return asdict(self)


def explain(database: Database, profiles: Mapping[str, CameraProfile], exposure: Exposure) -> ExposureStory:
    """Tell all that the store knows of an exposure.

    Parameters
    ----------
    database : Database
    profiles : mapping of name to CameraProfile
    exposure : Exposure
        See `nightflow.store.overview.find_exposures`.
    """
    frames = frames_of(database, exposure.id or 0)
    return ExposureStory(
        exposure=_values(exposure, _EXPOSURE),
        frames=tuple(
            _frame_story(database, profiles.get(frame.instrument), frame, Path(exposure.path).name)
            for frame in frames
        ),
    )


def _frame_story(database: Database, profile: CameraProfile | None, frame: Frame, name: str) -> FrameStory:
    frame_id = frame.id or 0
    reduction = current_reduction(database, frame_id)
    counts = flag_counts(database, reduction.id or 0) if reduction is not None else {}
    is_light = frame.kind == FrameKind.LIGHT
    used = reduction.masters if reduction is not None else {}
    return FrameStory(
        frame=_values(frame, _FRAME),
        masters=explain_masters(database, profile, frame, used) if is_light and profile is not None else (),
        went_into=tuple(_place_in(row, name) for row in masters_with(database, frame_id)),
        measures=_of(reduction, _MEASURES),
        wcs=_of(reduction, _WCS) if reduction is not None and reduction.wcs_backend else {},
        flux=_of(reduction, _FLUX) if reduction is not None and reduction.zp is not None else {},
        warnings=tuple(reduction.warnings) if reduction is not None else (),
        timings=dict(reduction.timings) if reduction is not None else {},
        measurements=sum(counts.values()),
        unflagged=counts.get(0, 0),
        flags=_flags(counts),
        versions=tuple(_version(one) for one in reductions_of(database, frame_id)),
    )


def _place_in(master: Master, name: str) -> str:
    """Return a master that a frame was offered to, and why the frame was left out where it was."""
    _, found, why = master.reason.partition(f"left out {name}: ")
    fault = why.partition("; left out ")[0]
    return f"{master.kind} {master.fingerprint[:12]}" + (f": left out: {fault}" if found else "")


def _flags(counts: Mapping[int, int]) -> tuple[FlagCount, ...]:
    found = []
    for flag in Flag:
        number = sum(many for word, many in counts.items() if word & flag)
        if number:
            found.append(FlagCount(flag=str(flag.name).lower(), measurements=number, meaning=MEANINGS[flag]))
    return tuple(found)


def _version(reduction: Reduction) -> dict[str, Any]:
    return _values(reduction, ("version", "created_at", "current", "software"))


def _of(reduction: Reduction | None, names: tuple[str, ...]) -> dict[str, Any]:
    return _values(reduction, names) if reduction is not None else {}


def _values(row: Exposure | Frame | Reduction, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}

"""What one worker holds of one frame between the steps, and what all frames share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from nightflow.astrometry.astrometry_net import PACKAGED_INDEX_FOLDER, SYSTEM_INDEX_FOLDER
from nightflow.astrometry.solution import Solution
from nightflow.catalogs.local import LocalCatalogs
from nightflow.config import MissingCalibrationPolicy, Settings
from nightflow.detector.persistence import SaturationMemory
from nightflow.frame import Frame
from nightflow.instruments.header import FrameHeader
from nightflow.instruments.profile import CameraProfile
from nightflow.photcal.solution import FluxCalibration
from nightflow.pipeline.master_library import MasterLibrary
from nightflow.pipeline.pointings import Pointings
from nightflow.pipeline.raw_content import RawContent
from nightflow.products.quota import Quota
from nightflow.quality.frame_summary import FrameSummary
from nightflow.sources.measure import MeasuredFrame
from nightflow.store.database import Database
from nightflow.store.records import CatalogIdentity, MeasurementColumns

__all__ = ["Context", "Work"]


@dataclass(frozen=True, kw_only=True)
class Context:
    """What every frame shares: settings, store, cameras, catalogues, and what is kept warm.

    Attributes
    ----------
    settings : Settings
    missing_calibration : "warn" or "hold"
        What follows when a required master is missing.
    database : Database
    profiles : mapping of name to CameraProfile
    catalogs : LocalCatalogs
    masters : MasterLibrary
    definitive_masters : bool
        See `nightflow.pipeline.master_plan.plan_master`.
    pointings : Pointings
        Last verified solutions.
    saturation : SaturationMemory
        What the last exposures saturated.
    joint : dict of int to Solution
        Row of a frame -> the solution that it has together with others: it takes the place of the ladder's.
    quota : Quota or None
        Of the products; None: no bound.
    clock : callable
        Returns the time of day, aware.
    """

    settings: Settings
    missing_calibration: MissingCalibrationPolicy
    database: Database
    profiles: dict[str, CameraProfile]
    catalogs: LocalCatalogs
    masters: MasterLibrary
    definitive_masters: bool
    pointings: Pointings
    saturation: SaturationMemory = field(default_factory=SaturationMemory)
    joint: dict[int, Solution] = field(default_factory=dict)
    quota: Quota | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    @property
    def index_folders(self) -> list[Path]:
        """Folders of astrometry.net index files: the user's, those that come with nightflow, the system's."""
        own = self.settings.resolve(self.settings.paths.index_files)
        return [own, PACKAGED_INDEX_FOLDER, SYSTEM_INDEX_FOLDER]


@dataclass(kw_only=True)
class Work:
    """One frame on its way; each step fills in what it finds."""

    frame_id: int
    exposure_id: int
    path: Path
    profile: CameraProfile
    header: FrameHeader
    content: RawContent | None = None
    """Of the file, where it was compared to the ledger's."""
    worker: str | None = None
    """In whose name its exposure is leased: without the lease nothing is written; None: nobody looks."""
    frame: Frame | None = None
    masters: dict[str, str] = field(default_factory=dict)
    """Kind -> fingerprint of the masters used."""
    persistence: str = ""
    """Fingerprint of the pixels flagged for what earlier exposures saturated; "" without."""
    measured: MeasuredFrame | None = None
    summary: FrameSummary | None = None
    offered: tuple[str, ...] = ()
    """Fingerprints of the distortions that its WCS might be lent."""
    solution: Solution | None = None
    calibration: FluxCalibration | None = None
    reference: str = ""
    """Reference catalogue of the zero point and which import of it; "" without one."""
    identity: CatalogIdentity | None = None
    """Which of the sources are stars of the reference catalogue."""
    excluded_targets: int = 0
    """Sources kept out of the zero point because they are targets."""
    forced: MeasurementColumns | None = None
    """Apertures at places that were known beforehand."""
    forced_targets: tuple[tuple[float, float], ...] = ()
    """Places of the targets among them, ICRS degrees."""
    superseded_by: int = 0
    """Version that stands in place of this reduction, which stopped early; 0: this one stands."""
    warnings: list[str] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)
    """Step -> seconds."""

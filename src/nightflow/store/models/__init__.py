"""The tables. The ledger (exposure, frame) is the truth; Prefect executes and shows."""

from __future__ import annotations

from nightflow.store.models.column_types import PlainText, UtcDateTime, finite, plain_text
from nightflow.store.models.ledger import Exposure, Frame, Priority, State
from nightflow.store.models.masters import Master, MasterBuild, MasterInput
from nightflow.store.models.movers import Mover, MoverDetection
from nightflow.store.models.nights import NightSolution, NightZeroPoint
from nightflow.store.models.reductions import CameraDistortion, Reduction, WcsStars
from nightflow.store.models.sources import (
    Measurement,
    Source,
    SourceHistory,
    SourceStatistics,
    Target,
    is_detection,
)

__all__ = [
    "CameraDistortion",
    "Exposure",
    "Frame",
    "Master",
    "MasterBuild",
    "MasterInput",
    "Measurement",
    "Mover",
    "MoverDetection",
    "NightSolution",
    "NightZeroPoint",
    "PlainText",
    "Priority",
    "Reduction",
    "Source",
    "SourceHistory",
    "SourceStatistics",
    "State",
    "Target",
    "UtcDateTime",
    "WcsStars",
    "finite",
    "is_detection",
    "plain_text",
]

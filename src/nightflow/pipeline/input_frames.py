"""The inputs of a master, read (and calibrated) when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import overload

from nightflow.detector.chain import calibrate
from nightflow.detector.master_frame import MasterSet
from nightflow.errors import ContentGone, FrameRejected, RetryLater
from nightflow.frame import Frame
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import CameraProfile
from nightflow.masters.keys import key_of, mismatches
from nightflow.pipeline.identify import identify_file, read_frame
from nightflow.pipeline.raw_content import find_content
from nightflow.pipeline.survey import key_of_row
from nightflow.store.database import Database
from nightflow.store.masters import CalibrationFrame

__all__ = ["CalibratedLights", "RawFrames"]


class RawFrames(Sequence[Frame]):
    """Raw frames that are read when asked for, so that a set of any size needs the memory of one.

    Reading one raises `RetryLater` where its content cannot be had now, at whatever path: it is away, and no
    fault is found with it.

    Parameters
    ----------
    database : Database
        Knows where they lie.
    inputs : sequence of CalibrationFrame
    profile : CameraProfile
        Of their camera.
    """

    def __init__(
        self, database: Database, inputs: Sequence[CalibrationFrame], profile: CameraProfile
    ) -> None:
        self._database = database
        self._inputs = inputs
        self._profile = profile

    def __len__(self) -> int:
        return len(self._inputs)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | Sequence[Frame]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return self._read(self._inputs[index])

    def _read(self, one: CalibrationFrame) -> Frame:
        try:
            content = find_content(self._database, one.path, one.sha256)
            with content.unchanged():
                return self._read_file(content.path, one)
        except (ContentGone, RetryLater) as away:
            raise RetryLater(f"a master waits for a raw {one.frame.kind}: {away}") from away

    def _read_file(self, path: Path, one: CalibrationFrame) -> Frame:
        identified = identify_file(path, [self._profile])
        header = next((one_of for one_of in identified.headers if one_of.hdu == one.frame.hdu), None)
        if header is None:
            raise FrameRejected(f"{path}: HDU {one.frame.hdu} is gone: the file is another one now")
        known, found = key_of_row(one.frame), key_of(header)
        others = mismatches(known.kind, known, found, self._profile.masters)
        if others or (known.kind is FrameKind.LIGHT and known.filter != found.filter):
            words = (
                "; ".join(other.detail for other in others) or f"filter {found.filter}, not {known.filter}"
            )
            raise FrameRejected(
                f"{path}: the profile {self._profile.name} reads its header differently now: {words}; "
                "run on its folder again"
            )
        return read_frame(path, header)


class CalibratedLights(RawFrames):
    """Lights that are read and calibrated when asked for.

    Parameters
    ----------
    database : Database
    inputs : sequence of CalibrationFrame
    profile : CameraProfile
        Of their camera.
    masters : MasterSet
        With which all of them are calibrated; sky masters that are not among them are no step of theirs.
    """

    def __init__(
        self,
        database: Database,
        inputs: Sequence[CalibrationFrame],
        profile: CameraProfile,
        masters: MasterSet,
    ) -> None:
        super().__init__(database, inputs, profile)
        without = {kind: "off" for kind in ("illumination", "fringe") if getattr(masters, kind) is None}
        self._steps = profile.model_copy(
            update={"calibration": profile.calibration.model_copy(update=without)}
        )
        self._masters = masters

    def _read(self, one: CalibrationFrame) -> Frame:
        return calibrate(super()._read(one), self._steps, self._masters)

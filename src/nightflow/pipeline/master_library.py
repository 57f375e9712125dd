"""Masters as files: built on first need, once, and read from then on."""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import overload

from nightflow.detector.master_frame import InputFile, MasterFrame, MasterSet, PhotonTransfer
from nightflow.errors import FrameRejected, MissingCalibration
from nightflow.frame import Frame
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import CameraProfile
from nightflow.masters.build import build_master
from nightflow.masters.fits_io import CorruptMaster, read_master, write_master
from nightflow.pipeline.identify import identify_file, read_frame
from nightflow.pipeline.master_plan import METHOD, MasterPlan, plan_again
from nightflow.store.builds import building
from nightflow.store.database import Database
from nightflow.store.masters import CalibrationFrame, add_master, find_master
from nightflow.store.models import Master

__all__ = ["MasterLibrary"]

log = logging.getLogger(__name__)

_ALWAYS = 1e9
"""MJD, and its negative, between which every frame lies: the validity of a master without a time."""


class MasterLibrary:
    """The folder of masters, with the last used ones in memory; safe for threads and processes.

    A file that was lost or damaged is built again from the raw frames that it was built from.

    Parameters
    ----------
    database : Database
        Has a row for each master, and the lock for building one.
    folder : Path
        Where the files are.
    capacity : int
        Masters kept in memory.
    """

    def __init__(self, database: Database, folder: Path, capacity: int = 12) -> None:
        self._database = database
        self._folder = folder
        self._capacity = capacity
        self._lock = threading.Lock()
        self._warm: OrderedDict[str, MasterFrame] = OrderedDict()

    def get(self, plan: MasterPlan, profile: CameraProfile) -> MasterFrame:
        """Return the master of a plan, built now if it has to be.

        Raises
        ------
        MissingCalibration
            Too few of its inputs are usable; or its file is lost or damaged, and so are the raw frames or
            the settings that it was built with.
        """
        with self._lock:
            if plan.fingerprint in self._warm:
                self._warm.move_to_end(plan.fingerprint)
                return self._warm[plan.fingerprint]
        master = self._obtain(plan, profile)
        with self._lock:
            self._warm[plan.fingerprint] = master
            while len(self._warm) > self._capacity:
                self._warm.popitem(last=False)
        return master

    def _obtain(self, plan: MasterPlan, profile: CameraProfile) -> MasterFrame:
        if plan.row is not None:
            try:
                return self._read(plan.row)
            except (CorruptMaster, FileNotFoundError) as damage:
                log.warning("%s; it is built again", damage)
        return self._build_once(plan, profile)

    def _read(self, row: Master) -> MasterFrame:
        return read_master(self._folder / row.path)

    def _build_once(self, plan: MasterPlan, profile: CameraProfile) -> MasterFrame:
        worker = f"{os.getpid()}-{threading.get_ident()}"
        with building(self._database, plan.fingerprint, worker):
            row = find_master(self._database, plan.fingerprint)
            if row is not None:
                try:
                    return self._read(row)  # built by another worker while this one waited
                except (CorruptMaster, FileNotFoundError) as damage:
                    plan = plan_again(self._database, row, profile, str(damage))
            try:
                return self._build(plan, profile)
            except MissingCalibration as error:
                # The same inputs would be refused again for every frame of the night, and in the next run.
                add_master(self._database, _refused_row(plan, profile, str(error)), _frame_ids(plan))
                raise

    def _build(self, plan: MasterPlan, profile: CameraProfile) -> MasterFrame:
        needs = {str(kind): self.get(need, profile) for kind, need in plan.needs.items()}
        inputs = [InputFile(name=Path(one.path).name, sha256=one.sha256) for one in plan.inputs]
        frames = _Frames(plan.inputs, profile)
        master = build_master(plan.kind, frames, profile, MasterSet.of(needs), inputs=inputs, method=METHOD)
        name = f"{profile.name}-{plan.kind}-{plan.fingerprint[:16]}.fits"
        self._folder.mkdir(parents=True, exist_ok=True)
        write_master(self._folder / name, master)
        row = _row(master, plan, profile, name)
        add_master(self._database, row, _frame_ids(plan))
        return master


class _Frames(Sequence[Frame]):
    """Raw frames that are read when asked for, so that a set of any size needs the memory of one."""

    def __init__(self, inputs: Sequence[CalibrationFrame], profile: CameraProfile) -> None:
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
        one = self._inputs[index]
        path = Path(one.path)
        if not path.exists():
            raise FrameRejected(f"{path}: the raw file is gone")
        identified = identify_file(path, [self._profile])
        header = next((one_of for one_of in identified.headers if one_of.hdu == one.frame.hdu), None)
        if header is None:
            raise FrameRejected(f"{path}: HDU {one.frame.hdu} is gone: the file is another one now")
        return read_frame(path, header)


def _measured(transfer: PhotonTransfer | None) -> dict[str, float]:
    """Return what photon transfer gave, by the names of the store: electrons where the gain is known."""
    if transfer is None:
        return {}
    found = {"measured_read_noise_adu": transfer.read_noise}
    if transfer.gain is None or transfer.gain_err is None:
        return found
    return {
        **found,
        "measured_gain": transfer.gain,
        "measured_gain_err": transfer.gain_err,
        "measured_read_noise": transfer.read_noise * transfer.gain,
    }


def _frame_ids(plan: MasterPlan) -> list[int]:
    return [one.frame.id for one in plan.inputs if one.frame.id is not None]


def _refused_row(plan: MasterPlan, profile: CameraProfile, reason: str) -> Master:
    """Return the row of a set that makes no master: rejected, without a file, never tried again."""
    first = plan.inputs[0].frame
    mjd_mid = first.mjd_mid or 0.0
    return Master(
        kind=str(plan.kind),
        instrument=first.instrument,
        detector=first.detector,
        filter=first.filter if plan.kind is FrameKind.FLAT else "",
        exptime=first.exptime,
        ny=first.ny,
        nx=first.nx,
        binning=first.binning,
        gain_setting=first.gain_setting,
        readout_mode=first.readout_mode,
        ccd_temp=first.ccd_temp,
        mjd_mid=mjd_mid,
        valid_from=mjd_mid - profile.masters.validity_days,
        valid_until=mjd_mid + profile.masters.validity_days,
        path="",
        fingerprint=plan.fingerprint,
        n_inputs=0,
        state="rejected",
        reason=reason,
        created_at=datetime.now(UTC),
    )


def _row(master: MasterFrame, plan: MasterPlan, profile: CameraProfile, name: str) -> Master:
    first = plan.inputs[0].frame
    header, statistics = master.header, master.statistics
    mjd_mid, reach = header.mjd_mid, profile.masters.validity_days
    if mjd_mid is None:
        mjd_mid, reach = 0.0, _ALWAYS
    dropped = [file for file in master.inputs if file.dropped]
    return Master(
        kind=str(plan.kind),
        instrument=header.instrument,
        detector=header.detector,
        filter=header.filter if plan.kind is FrameKind.FLAT else "",
        exptime=header.exptime,
        # Masters match frames by the raw shape; the master's own pixels are trimmed.
        ny=first.ny,
        nx=first.nx,
        binning=f"{header.binning[0]}x{header.binning[1]}",
        gain_setting=header.gain_setting,
        readout_mode=header.readout_mode,
        ccd_temp=header.ccd_temp,
        mjd_mid=mjd_mid,
        valid_from=mjd_mid - reach,
        valid_until=mjd_mid + reach,
        path=name,
        fingerprint=plan.fingerprint,
        n_inputs=len(master.inputs) - len(dropped),
        statistics={
            **vars(statistics),
            **_measured(master.photon_transfer),
            "warnings": list(master.warnings),
        },
        state="approved",
        reason="; ".join(f"left out {file.name}: {file.dropped}" for file in dropped),
        created_at=datetime.now(UTC),
    )

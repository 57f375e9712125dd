"""Masters as files: built on first need, once, vetted, and read from then on."""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nightflow.detector.master_frame import InputFile, MasterFrame, MasterSet, PhotonTransfer
from nightflow.errors import MissingCalibration, RetryLater
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import CameraProfile
from nightflow.masters.build import build_master
from nightflow.masters.fits_io import CorruptMaster, read_master, write_master
from nightflow.masters.judge import Judgement
from nightflow.masters.keys import OF_A_FILTER
from nightflow.pipeline.input_frames import RawFrames
from nightflow.pipeline.master_plan import FIRST_CHIP, METHOD, MasterPlan
from nightflow.pipeline.plan_again import plan_again
from nightflow.pipeline.sky_masters import SKY_BUILDERS, SkyBuilder, build_sky_master
from nightflow.pipeline.survey import SKY_KINDS
from nightflow.pipeline.vetting import vetted
from nightflow.store.builds import building
from nightflow.store.database import Database
from nightflow.store.masters import add_master, find_master
from nightflow.store.models import Master

__all__ = ["MasterLibrary", "RejectedMaster"]

log = logging.getLogger(__name__)

_ALWAYS = 1e9
"""MJD, and its negative, between which every frame lies: the validity of a master without a time."""


class RejectedMaster(MissingCalibration):
    """The master that was asked for is rejected; another plan may do without it."""


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
    sky_builders : mapping of FrameKind to callable
        What makes illumination and fringe masters of calibrated lights.
    """

    def __init__(
        self,
        database: Database,
        folder: Path,
        capacity: int = 12,
        sky_builders: Mapping[FrameKind, SkyBuilder] = SKY_BUILDERS,
    ) -> None:
        self._database = database
        self._folder = folder
        self._capacity = capacity
        self._sky_builders = sky_builders
        self._lock = threading.Lock()
        self._warm: OrderedDict[str, MasterFrame] = OrderedDict()

    def get(self, plan: MasterPlan, profile: CameraProfile) -> MasterFrame:
        """Return the master of a plan, built and vetted now if it has to be.

        Raises
        ------
        RejectedMaster
            It, or one that it needs, is rejected, perhaps by the vetting that it went through now.
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
                return self._usable(plan.row)
            except (CorruptMaster, FileNotFoundError) as damage:
                log.warning("%s; it is built again", damage)
        return self._build_once(plan, profile)

    def _read(self, row: Master) -> MasterFrame:
        try:
            return read_master(self._folder / row.path)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise RetryLater(f"{self._folder / row.path}: cannot be read now: {error}") from error

    def _usable(self, row: Master) -> MasterFrame:
        if row.state == "rejected":
            raise RejectedMaster(f"master {row.kind} {row.fingerprint[:12]} is rejected: {row.reason}")
        return self._read(row)

    def _build_once(self, plan: MasterPlan, profile: CameraProfile) -> MasterFrame:
        worker = f"{os.getpid()}-{threading.get_ident()}"
        with building(self._database, plan.fingerprint, worker):
            row = find_master(self._database, plan.fingerprint)
            if row is not None:
                try:
                    return self._usable(row)  # built by another worker while this one waited
                except (CorruptMaster, FileNotFoundError) as damage:
                    plan = plan_again(self._database, row, profile, str(damage))
            needs = self._masters_of(plan.needs, profile)
            return self._enter(plan, profile, needs, self._masters_of(plan.first_chip_needs, profile))

    def _masters_of(self, plans: Mapping[FrameKind, MasterPlan], profile: CameraProfile) -> MasterSet:
        return MasterSet.of({str(kind): self.get(need, profile) for kind, need in plans.items()})

    def _enter(
        self, plan: MasterPlan, profile: CameraProfile, needs: MasterSet, first_chip: MasterSet
    ) -> MasterFrame:
        """Build a master, write it, vet it and give it its row."""
        try:
            made = self._made(plan, profile, needs, first_chip)
            master = replace(made, fingerprint=plan.fingerprint)
        except MissingCalibration as error:
            # The same inputs would be refused again for every frame of the night, and in the next run.
            add_master(self._database, _refused_row(plan, profile, str(error)), _frame_ids(plan))
            raise
        except OSError as error:
            raise RetryLater(f"master {plan.kind}: cannot be built now: {error} (TMPDIR?)") from error
        name = f"{profile.name}-{plan.kind}-{plan.fingerprint[:16]}.fits"
        self._write(name, master)
        ids = _frame_ids(plan)
        judgement = vetted(self._database, self._read, master, set(ids), profile, needs)
        row = add_master(
            self._database, _row(master, plan, profile, name, judgement, _made_with(needs, first_chip)), ids
        )
        if row.state != "approved":
            log.warning("master %s %s is %s: %s", row.kind, row.fingerprint[:12], row.state, row.reason)
        if row.state == "rejected":
            raise RejectedMaster(f"master {row.kind} {row.fingerprint[:12]} is rejected: {row.reason}")
        return master

    def _write(self, name: str, master: MasterFrame) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_master(self._folder / name, master)
        except OSError as error:
            raise RetryLater(f"{self._folder / name}: cannot be written now: {error}") from error

    def _made(
        self, plan: MasterPlan, profile: CameraProfile, needs: MasterSet, first_chip: MasterSet
    ) -> MasterFrame:
        inputs = [InputFile(name=Path(one.path).name, sha256=one.sha256) for one in plan.inputs]
        if plan.kind in SKY_KINDS:
            return build_sky_master(
                self._sky_builders, plan, profile, needs, first_chip, inputs, self._database
            )
        frames = RawFrames(self._database, plan.inputs, profile)
        return build_master(plan.kind, frames, profile, needs, inputs=inputs, method=METHOD)


def _made_with(needs: MasterSet, first_chip: MasterSet) -> dict[str, str]:
    """Return kind -> fingerprint of what a master was made with, the first chip's with a prefix."""
    of_the_first = {f"{FIRST_CHIP}{kind}": one for kind, one in first_chip.fingerprints.items()}
    return needs.fingerprints | of_the_first


def _statistics(master: MasterFrame, made_with: Mapping[str, str], judgement: Judgement) -> dict[str, Any]:
    """Return what is kept of a master beside its keys: numbers, what it was made with, how vetting went."""
    return {
        **vars(master.statistics),
        **_measured(master.photon_transfer),
        "warnings": list(master.warnings),
        "made_with": dict(made_with),
        "vetted": judgement.state,
    }


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
        filter=first.filter if plan.kind in OF_A_FILTER else "",
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
        statistics={"vetted": "rejected"},
        state="rejected",
        reason=reason,
        created_at=datetime.now(UTC),
        rotator=first.rotator,
    )


def _row(
    master: MasterFrame,
    plan: MasterPlan,
    profile: CameraProfile,
    name: str,
    judgement: Judgement,
    made_with: Mapping[str, str],
) -> Master:
    first = plan.inputs[0].frame
    header = master.header
    mjd_mid, reach = header.mjd_mid, profile.masters.validity_days
    if mjd_mid is None:
        mjd_mid, reach = 0.0, _ALWAYS
    dropped = [file for file in master.inputs if file.dropped]
    return Master(
        kind=str(plan.kind),
        instrument=header.instrument,
        detector=header.detector,
        filter=header.filter if plan.kind in OF_A_FILTER else "",
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
        statistics=_statistics(master, made_with, judgement),
        state=judgement.state,
        reason=judgement.reason,
        created_at=datetime.now(UTC),
        rotator=first.rotator,
    )

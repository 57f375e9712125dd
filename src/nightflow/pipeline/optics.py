"""The optics of a chip: what its frames teach of them at the end of a night, and what a frame is lent."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from nightflow.astrometry.distortion import FEWEST_STARS, Distortion, StarField, learn_distortion
from nightflow.astrometry.projection import to_plane
from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.nights import night_of
from nightflow.store.database import Database
from nightflow.store.distortions import (
    Teacher,
    distortion_of,
    drop_distortions,
    offered_fingerprints,
    teachers_up_to,
    write_distortion,
)
from nightflow.store.models import CameraDistortion, plain_text
from nightflow.store.models import Frame as FrameRow

__all__ = ["Offers", "known_distortions", "learn_optics", "optics"]

_Chip = tuple[str, str, str, str]
"""Camera, chip, binning, readout mode."""


def optics(header: FrameHeader, shape: tuple[int, int]) -> str:
    """Return what decides where light falls on a chip, as text: frames that share it share a distortion.

    Camera, chip, binning, readout mode, the window that was read, and the shape of the reduced frame. Filters
    share it: what they bend differently is part of the scatter. The parity of a frame, known once it is
    solved, is asked for beside it.
    """
    trim = None if header.trim is None else [(part.start, part.stop) for part in header.trim]
    return json.dumps(
        [header.instrument, header.detector, list(header.binning), header.readout_mode, trim, list(shape)]
    )


def known_distortions(
    database: Database, header: FrameHeader, shape: tuple[int, int]
) -> tuple[Distortion, ...]:
    """Return what is known of a chip's distortion when a frame is solved, one for each parity.

    It is that of the last night before the frame's own which taught any: the same for all frames of a night,
    whenever they are reduced.
    """
    if header.mjd_mid is None:
        return ()
    night = night_of(header.mjd_mid, header.longitude)
    rows = (distortion_of(database, optics(header, shape), parity, night) for parity in (1, -1))
    return tuple(_distortion(row) for row in rows if row is not None)


class Offers:
    """Which rows lights are offered, as far as the ledger tells; read once a camera and night, then kept.

    The window that was read and the shape are not in the ledger: the rows of all of them stand here. One too
    many makes a frame be looked at again in vain, and no more.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[tuple[str, str], dict[_Chip, list[str]]] = {}

    def of(self, frames: Sequence[FrameRow]) -> list[str]:
        """Return the fingerprints of what the frames of an exposure are offered, in order, each once."""
        lights = [one for one in frames if one.kind == FrameKind.LIGHT and one.night]
        return sorted({found for one in lights for found in self._of_camera(one).get(_chip_of_row(one), [])})

    def _of_camera(self, frame: FrameRow) -> dict[_Chip, list[str]]:
        key = frame.instrument, frame.night
        if key not in self._known:
            chips: dict[_Chip, list[str]] = {}
            for optics_of_row, fingerprint in offered_fingerprints(self._database, *key):
                chips.setdefault(_chip_of_optics(optics_of_row), []).append(fingerprint)
            self._known[key] = chips
        return self._known[key]


def _chip_of_optics(text: str) -> _Chip:
    """Return what of `optics` the ledger tells too, in the words of the ledger."""
    instrument, detector, (x, y), readout_mode = json.loads(text)[:4]
    return instrument, plain_text(detector), f"{x}x{y}", plain_text(readout_mode)


def _chip_of_row(frame: FrameRow) -> _Chip:
    return frame.instrument, frame.detector, frame.binning, frame.readout_mode


def learn_optics(database: Database, night: str) -> list[CameraDistortion]:
    """Let the frames of a night, and of those before it, teach the distortion of their chips.

    A row that an earlier look at the night left, and that its frames no longer support, is deleted.

    Returns
    -------
    list of CameraDistortion
        The rows that are new or changed; again on an unchanged night there are none.
    """
    changed, kept = [], []
    for (key, parity), teachers in sorted(teachers_up_to(database, night, FEWEST_STARS).items()):
        ny, nx = json.loads(key)[-1]
        found = learn_distortion([_field(one, (ny, nx)) for one in teachers], (ny, nx), parity)
        if found is None:
            continue
        kept.append((key, parity))
        row = CameraDistortion(
            optics=key,
            parity=parity,
            night=night,
            ny=ny,
            nx=nx,
            order=found.order,
            a=list(found.a),
            b=list(found.b),
            n_frames=found.n_frames,
            scatter_px=found.scatter_px,
            error_px=found.error_px,
            fingerprint=found.fingerprint,
            taught_by=[one.sha256 for one in teachers],
        )
        if write_distortion(database, row):
            changed.append(row)
    drop_distortions(database, night, kept)
    return changed


def _field(teacher: Teacher, shape: tuple[int, int]) -> StarField:
    xi, eta = to_plane(teacher.stars["ra"], teacher.stars["dec"], teacher.ra_center, teacher.dec_center)
    return StarField(
        u=teacher.stars["x"] - (shape[1] - 1) / 2.0,
        v=teacher.stars["y"] - (shape[0] - 1) / 2.0,
        xi=np.asarray(xi),
        eta=np.asarray(eta),
    )


def _distortion(row: CameraDistortion) -> Distortion:
    return Distortion(
        shape=(row.ny, row.nx),
        parity=row.parity,
        order=row.order,
        a=tuple(row.a),
        b=tuple(row.b),
        n_frames=row.n_frames,
        scatter_px=row.scatter_px,
        error_px=row.error_px,
    )

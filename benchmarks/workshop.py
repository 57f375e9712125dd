"""The data that benchmarks share, made from a seed when first asked for."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from benchmarks.scale import Scale
from benchmarks.stores import Postgres, StorePair, postgres_pair, sqlite_pair
from nightflow.catalogs.importer import import_catalog
from nightflow.catalogs.local import LocalCatalogs
from nightflow.detector.chain import calibrate
from nightflow.detector.master_frame import MasterSet
from nightflow.frame import Frame
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import CameraProfile
from nightflow.instruments.registry import load_profiles
from nightflow.masters.build import build_master
from nightflow.pipeline.identify import identify_file, read_frame
from nightflow.simulate.instrument_plan import CameraPlan, TelescopePlan
from nightflow.simulate.night import render_frame
from nightflow.simulate.plan import NightPlan
from nightflow.simulate.prepare import Night, field_catalog, prepare_night
from nightflow.simulate.sky_plan import AtmospherePlan, FieldPlan
from nightflow.simulate.write import write_catalog, write_frame
from nightflow.sources.measure import MeasuredFrame, measure_frame

__all__ = ["CATALOG", "Workshop", "night_plan"]

CATALOG = "field"
"""Name of the local catalogue."""

PROFILE = """
name = "bench"
extends = "simulator"
recognise = {{ INSTRUME = "^nightflow-sim$", DETECTOR = "^bench$" }}
[astrometry]
scale = {scale}
"""

_COSMIC_RATE = 20.0 / 1024**2
"""Hits a minute and pixel, those of the simulator's own camera."""


def night_plan(scale: Scale) -> NightPlan:
    """Return the plan of a night on a dense field; in pixels all scales look alike."""
    return NightPlan(
        seed=20,
        n_bias=scale.n_bias,
        n_dark=3,
        n_flat=3,
        n_lights=1,
        telescope=TelescopePlan(scale=scale.pixel, optics_fwhm=2.0),
        atmosphere=AtmospherePlan(seeing=2.8 * scale.pixel),
        camera=CameraPlan(
            name="bench", shape=(scale.side, scale.side), cosmic_rate=_COSMIC_RATE * scale.side**2
        ),
        field=FieldPlan(density=1600.0 * (scale.side / 2048) ** 2, catalog_limit=16.0),
    )


class Workshop:
    """A folder, a night in it, and the servers that are running; gone when the block ends.

    Parameters
    ----------
    scale : Scale
    plan : NightPlan, optional
        Of the night; by default that of `night_plan`.
    """

    def __init__(self, scale: Scale, plan: NightPlan | None = None) -> None:
        self.scale = scale
        self._plan = plan or night_plan(scale)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @cached_property
    def detector(self) -> Workshop:
        """The workshop of the detector's benchmarks, with a night of its own where its frames are larger."""
        if self.scale.detector_side == self.scale.side:
            return self
        return self._stack.enter_context(Workshop(replace(self.scale, side=self.scale.detector_side)))

    @property
    def size(self) -> str:
        """Of its frames, in words."""
        return f"{self.scale.side} x {self.scale.side}"

    @cached_property
    def folder(self) -> Path:
        """Temporary."""
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="nightflow-bench-")))

    @cached_property
    def night(self) -> Night:
        """The night whose frames are used."""
        return prepare_night(self._plan)

    def files(self, kind: str, count: int) -> list[Path]:
        """Return the first ``count`` raw files of a kind, written when they are asked for."""
        folder = self.folder / "raw"
        folder.mkdir(exist_ok=True)
        scheduled = [frame for frame in self.night.schedule if frame.kind == kind][:count]
        written = sorted(folder.glob(f"*-{kind}*.fits"))
        missing = scheduled[len(written) :]
        return [*written, *(write_frame(render_frame(self.night, frame), folder) for frame in missing)][
            :count
        ]

    @cached_property
    def cameras(self) -> Path:
        """Folder of the camera's profile."""
        folder = self.folder / "cameras"
        folder.mkdir()
        (folder / "bench.toml").write_text(PROFILE.format(scale=self.scale.pixel))
        return folder

    @cached_property
    def profile(self) -> CameraProfile:
        """Of the simulated camera."""
        return next(profile for profile in load_profiles(self.cameras) if profile.name == "bench")

    def read(self, path: Path) -> Frame:
        """Return one raw frame."""
        return read_frame(path, identify_file(path, [self.profile]).headers[0])

    @cached_property
    def bias_stack(self) -> NDArray[np.uint16]:
        """Raw bias frames, shape (n, ny, nx)."""
        return np.stack([fits.getdata(path) for path in self.files("bias", self.scale.n_bias)])

    @cached_property
    def raw(self) -> Frame:
        """A light frame as it was read."""
        return self.read(self.files("light", 1)[0])

    @cached_property
    def masters(self) -> MasterSet:
        """Bias, dark and flat of the light frame."""

        def build(kind: FrameKind, count: int, masters: MasterSet) -> MasterSet:
            frames = [self.read(path) for path in self.files(str(kind), count)]
            return replace(masters, **{str(kind): build_master(kind, frames, self.profile, masters)})

        made = build(FrameKind.BIAS, 5, MasterSet())
        made = build(FrameKind.DARK, 3, made)
        # The flats are too short for a dark current; the master dark is that of the lights' exposure.
        flat = build(FrameKind.FLAT, 3, replace(made, dark=None)).flat
        return replace(made, flat=flat)

    @cached_property
    def calibrated(self) -> Frame:
        """The light frame in electrons, with its cosmic rays flagged."""
        return calibrate(self.raw, self.profile, self.masters)

    @cached_property
    def measured(self) -> MeasuredFrame:
        """Its sources."""
        return measure_frame(self.calibrated, self.profile.detection, self.profile.photometry)

    @cached_property
    def catalog_file(self) -> Path:
        """The catalogue of the field, to be imported."""
        file = self.folder / "catalog.csv"
        write_catalog(field_catalog(self.night), file)
        return file

    @cached_property
    def catalogs(self) -> LocalCatalogs:
        """The same, imported."""
        folder = self.folder / "catalogs"
        import_catalog(self.catalog_file, CATALOG, folder)
        return LocalCatalogs(folder)

    @cached_property
    def postgres(self) -> Postgres:
        """A running server."""
        return self._stack.enter_context(Postgres.started())

    @cached_property
    def sqlite_stores(self) -> StorePair:
        """Filled SQLite stores, with and without indexes."""
        return self._stack.enter_context(sqlite_pair(self.folder, self.scale))

    @cached_property
    def postgres_stores(self) -> StorePair:
        """Filled Postgres stores, with and without indexes."""
        return self._stack.enter_context(postgres_pair(self.postgres, self.scale))

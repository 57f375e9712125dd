"""A small observatory for the tests of the pipeline: tiny frames of a camera of its own, steps of straw."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from nightflow.config import Settings, load_settings
from nightflow.pipeline import reducer as reducer_module
from nightflow.pipeline.outcome import Outcome
from nightflow.pipeline.reduce_exposure import reduce_exposure
from nightflow.pipeline.reducer import Reducer
from nightflow.pipeline.register import register
from nightflow.store.frames import frames_of
from nightflow.store.leases import lease_exposure
from nightflow.store.models import Exposure
from nightflow.store.models import Frame as FrameRow
from nightflow.store.overview import get_exposure
from tests.unit.store.builders import everything

START = datetime(2026, 3, 1, 22, 0, tzinfo=UTC)
SHAPE = (32, 40)
BIAS_LEVEL = 500.0

PROFILE = """
name = "tinycam"
recognise = { INSTRUME = "^tinycam$" }
calibration = { bias = "required", dark = "off", flat = "required" }
hdus = "all"
[keywords]
kind = "IMAGETYP"
exptime = "EXPTIME"
date_obs = "DATE-OBS"
object = "OBJECT"
filter = "FILTER"
detector = "CHIP"
gain_setting = "GAINSET"
[kinds]
bias = [{ kind = "^bias$" }]
dark = [{ kind = "^dark$" }]
flat = [{ kind = "^flat$" }]
light = [{ kind = "^light$" }]
[detector]
gain = 2.0
read_noise = 5.0
"""


def pixels(kind: str, seed: int) -> NDArray[np.uint16]:
    """Return counts as such a camera would: a bias with noise, and light on top where the shutter opened."""
    rng = np.random.default_rng(seed)
    light = {"bias": 0.0, "flat": 20000.0, "light": 300.0}[kind]
    return rng.normal(BIAS_LEVEL + light, 2.5 + np.sqrt(light / 2), SHAPE).clip(0).astype(np.uint16)


class Station:
    """Settings, store and camera in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.raw = root / "raw"
        self.raw.mkdir(parents=True)
        (root / "cameras").mkdir()
        self.set_profile(PROFILE)
        (root / "nightflow.toml").write_text("")
        self.settings: Settings = load_settings(root / "nightflow.toml")
        self._opened: list[Reducer] = []

    def set_profile(self, text: str) -> None:
        (self.root / "cameras" / "tinycam.toml").write_text(text)

    def close(self) -> None:
        for reducer in self._opened:
            reducer.database.close()

    def reducer(self, **options: Any) -> Reducer:
        options = {"missing_calibration": "warn", "products": False, "definitive_masters": True} | options
        self._opened.append(Reducer(self.settings, **options))
        return self._opened[-1]

    def frame(
        self, name: str, kind: str = "light", *, hours: float = 0.0, chips: int = 1, **cards: Any
    ) -> Path:
        """Write a raw file taken ``hours`` after 22:00 UTC."""
        seed = sum(map(ord, name))
        known = {
            "INSTRUME": "tinycam",
            "IMAGETYP": kind,
            "EXPTIME": 0.0 if kind == "bias" else 30.0,
            "DATE-OBS": (START + timedelta(hours=hours)).isoformat().removesuffix("+00:00"),
            "OBJECT": "M 67",
            "FILTER": "V",
        } | cards
        hdus = [fits.PrimaryHDU(header=fits.Header(known))]
        for chip in range(chips):
            header = fits.Header(known | {"CHIP": f"chip{chip}"})
            hdus.append(fits.ImageHDU(pixels(kind, seed + 1000 * chip), header))
        path = self.raw / name
        fits.HDUList(hdus).writeto(path)
        return path

    def calibrations(self, kind: str, count: int = 3, *, hours: float = -4.0, **cards: Any) -> list[Path]:
        tag = f"{hours:+.0f}{cards.get('FILTER', '')}"
        return [
            self.frame(f"{kind}{tag}-{n}.fits", kind, hours=hours + n / 60, **cards) for n in range(count)
        ]


def entered(reducer: Reducer, path: Path) -> int:
    """Receive a file; return its exposure."""
    return register(reducer.database, path, priority=0, now=START).exposure_id


def reduced(reducer: Reducer, path: Path) -> Outcome:
    """Receive, lease and reduce a file."""
    exposure_id = entered(reducer, path)
    assert lease_exposure(reducer.database, exposure_id, "test", now=START, seconds=600) is not None
    return reduce_exposure(reducer, exposure_id)


def exposure(reducer: Reducer, exposure_id: int) -> Exposure:
    found = get_exposure(reducer.database, exposure_id)
    assert found is not None
    return found


def only_frame(reducer: Reducer, exposure_id: int) -> FrameRow:
    (frame,) = frames_of(reducer.database, exposure_id)
    return frame


def rows(reducer: Reducer) -> dict[str, list[Any]]:
    return everything(reducer.database)


def steps_of_straw(monkeypatch: Any, **faults: BaseException) -> list[tuple[int, str]]:
    """Replace the steps before `append` by some that note (frame, step), or raise what is given for them."""
    story: list[tuple[int, str]] = []

    def straw(step: str) -> Any:
        def work(work: Any, context: Any) -> dict[str, Any]:
            story.append((work.frame_id, step))
            if step in faults:
                raise faults[step]
            return {}

        return work

    for step in ("calibrate", "measure", "solve", "flux"):
        monkeypatch.setitem(reducer_module._WORKERS, step, straw(step))
    return story

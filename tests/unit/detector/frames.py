"""A detector of known parts, for the tests: bias pattern, dark current, response, noise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from nightflow.detector.master_frame import InputFile, MasterFrame, MasterStatistics
from nightflow.flags import new_plane
from nightflow.frame import Frame
from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.instruments.profile import CameraProfile

SHAPE = (96, 128)


def make_header(**changes: Any) -> FrameHeader:
    values: dict[str, Any] = {
        "instrument": "bench",
        "kind": FrameKind.LIGHT,
        "exptime": 60.0,
        "filter": "V",
        "shape": SHAPE,
        "gain": 2.0,
        "read_noise": 8.0,
        "saturation": 60000.0,
        "mjd_mid": 60000.25,
    }
    return FrameHeader(**{**values, **changes})


def make_frame(data: Any, *, unit: str = "adu", **changes: Any) -> Frame:
    pixels = np.asarray(data, np.float32)
    return Frame(
        data=pixels,
        unit=unit,
        header=make_header(**{"shape": pixels.shape, **changes}),
        raw_header=fits.Header(),
    )


def make_master(
    kind: str, data: Any, uncertainty: Any = 0.0, flags: Any = None, **changes: Any
) -> MasterFrame:
    pixels = np.asarray(data, np.float32)
    exptime = {"bias": 0.0}.get(kind, 60.0)
    return MasterFrame(
        header=make_header(
            **{
                "kind": FrameKind(kind),
                "shape": pixels.shape,
                "bias_included": kind == "bias",
                "exptime": exptime,
                **changes,
            }
        ),
        data=pixels,
        uncertainty=np.broadcast_to(np.float32(uncertainty), pixels.shape).astype(np.float32),
        flags=new_plane(pixels.shape) if flags is None else flags,
        inputs=(InputFile(name="a", sha256="0" * 64),),
        fingerprint=f"{kind:0<64}",
        statistics=MasterStatistics(median=float(np.median(pixels)), mad=1.0, noise=1.0, n_used=1.0),
    )


def make_profile(**sections: Any) -> CameraProfile:
    sections.setdefault("cosmic_rays", {"enabled": False})
    return CameraProfile(name="bench", **sections)


@dataclass
class Detector:
    """A chip whose every part is known; `expose` reads it out in ADU, with noise."""

    shape: tuple[int, int] = SHAPE
    gain: float = 2.0
    read_noise: float = 8.0
    seed: int = 7
    dark_rate: float = 0.5
    overscan: int = 0
    bias: NDArray[np.float64] = field(init=False)
    dark: NDArray[np.float64] = field(init=False)
    response: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        y, x = np.indices(self.shape)
        self.bias = 1000 + 3 * np.sin(x / 5) + self.random.normal(0, 2, self.shape)
        self.dark = self.dark_rate * (1 + 0.2 * self.random.random(self.shape))
        vignetting = 1 - 0.3 * ((x / self.shape[1] - 0.5) ** 2 + (y / self.shape[0] - 0.5) ** 2)
        self.response = vignetting * self.random.normal(1, 0.01, self.shape)
        self.response /= np.median(self.response)

    def expose(self, electrons: Any, exptime: float, level: float = 0.0) -> NDArray[np.float32]:
        """Return raw ADU of ``electrons`` of light, with the electronics drifted by ``level``."""
        mean = electrons * self.response + self.dark * exptime
        counts = self.random.poisson(mean) + self.random.normal(0, self.read_noise, self.shape)
        raw = counts / self.gain + self.bias + level
        if self.overscan:
            strip = self.random.normal(0, self.read_noise / self.gain, (self.shape[0], self.overscan))
            raw = np.hstack([raw, 1000 + level + strip])
        return raw.astype(np.float32)

    def frame(self, kind: str, electrons: Any, exptime: float, level: float = 0.0, **changes: Any) -> Frame:
        sections: dict[str, Any] = {}
        if self.overscan:
            rows, columns = self.shape
            sections = {
                "overscan": (slice(0, rows), slice(columns, columns + self.overscan)),
                "trim": (slice(0, rows), slice(0, columns)),
            }
        return make_frame(
            self.expose(electrons, exptime, level),
            **{
                "kind": FrameKind(kind),
                "exptime": exptime,
                "gain": self.gain,
                "read_noise": self.read_noise,
                **sections,
                **changes,
            },
        )

    def ideal_masters(self, exptime: float) -> dict[str, MasterFrame]:
        """Return masters without noise."""
        level = 1000.0 if self.overscan else 0.0
        return {
            "bias": make_master("bias", self.bias - level),
            "dark": make_master("dark", self.dark * exptime / self.gain, exptime=exptime),
            "flat": make_master("flat", self.response),
        }

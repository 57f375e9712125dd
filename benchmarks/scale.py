"""How large the data of the benchmarks are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["FULL", "QUICK", "STANDARD", "Scale"]

FIELD_ARCMIN = 40.0
"""Side of every field: the index file that comes with nightflow is for images of about this size."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Sizes.

    Attributes
    ----------
    name : str
    side : int
        Pixels along each side of a frame of 40'. It holds 1,500 stars that can be measured where it is 2048,
        6,000 where it is 4096.
    detector_side : int
        The same for the benchmarks of the detector's steps alone, whose peers can be waited for at full size.
    n_bias : int
        Frames in the stack of the combination.
    n_stored_frames, n_stored_stars : int
        Frames in the store that questions are put to, and stars on each.
    n_stored_sources : int
        Sources elsewhere on the sky, in the same store.
    n_append_stars, n_append_frames : int
        Stars on the frame that is appended, and frames of the same field that are there already.
    seconds : float
        For the timed rounds of one benchmark.
    """

    name: str
    side: int
    detector_side: int
    n_bias: int
    n_stored_frames: int
    n_stored_stars: int
    n_stored_sources: int
    n_append_stars: int
    n_append_frames: int
    seconds: float

    @property
    def pixel(self) -> float:
        """Arcsec per pixel."""
        return 60.0 * FIELD_ARCMIN / self.side

    def described(self) -> dict[str, Any]:
        """Return the sizes as plain values."""
        return asdict(self)


QUICK = Scale(
    name="quick",
    side=768,
    detector_side=768,
    n_bias=30,
    n_stored_frames=20,
    n_stored_stars=200,
    n_stored_sources=5_000,
    n_append_stars=200,
    n_append_frames=10,
    seconds=2.0,
)
STANDARD = Scale(
    name="standard",
    side=2048,
    detector_side=4096,
    n_bias=30,
    n_stored_frames=200,
    n_stored_stars=1_500,
    n_stored_sources=200_000,
    n_append_stars=6_000,
    n_append_frames=334,
    seconds=12.0,
)
FULL = Scale(
    name="full",
    side=4096,
    detector_side=4096,
    n_bias=30,
    n_stored_frames=400,
    n_stored_stars=6_000,
    n_stored_sources=1_000_000,
    n_append_stars=6_000,
    n_append_frames=334,
    seconds=30.0,
)

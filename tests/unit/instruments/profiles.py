"""Profiles and headers for the tests."""

from __future__ import annotations

from typing import Any

from astropy.io import fits

from nightflow.instruments.header_reader import HeaderReader
from nightflow.instruments.profile import CameraProfile


def profile(**settings: Any) -> CameraProfile:
    """Return a profile named "test"."""
    return CameraProfile(**{"name": "test", **settings})


def header(**cards: object) -> fits.Header:
    """Return a header of these cards; "_" in a name stands for "-"."""
    return fits.Header({key.replace("_", "-"): value for key, value in cards.items()})


def reader(cards: dict[str, object], keywords: dict[str, Any] | None = None, **settings: Any) -> HeaderReader:
    """Return a reader of these cards through this keyword map."""
    return HeaderReader(fits.Header(cards), profile(keywords=keywords or {}, **settings))

"""A frame at a glance: its picture and its key measures, as Markdown.

Names of objects and filters come from headers, that is, from anyone: whatever stands in them is shown
as text.
"""

from __future__ import annotations

import base64
import io
import re
import string
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

__all__ = ["card_key", "card_title", "frame_card", "plain"]

PICTURE_PIXELS = 384
"""Longer side of the embedded picture: about 15 kB, so that a night of cards stays small."""
JPEG_QUALITY = 80

_SPECIAL = re.compile(f"[{re.escape(string.punctuation)}]")
"""All that Markdown lets be escaped: what is harmless in one place begins a list or a link in another."""


def frame_card(summary: Mapping[str, Any], thumbnail: Path | None = None) -> str:
    """Return the Markdown of a frame.

    Parameters
    ----------
    summary : mapping
        Keys as the columns of ``nightflow frames``; what is absent or None is left out.
    thumbnail : Path, optional
        A picture of the frame; a smaller copy is embedded.
    """
    parts = [f"# {plain(card_title(summary))}", _verdict(summary)]
    if thumbnail is not None and thumbnail.is_file():
        parts.append(f"![the frame]({picture_uri(thumbnail)})")
    rows = [(label, text) for label, text in _measures(summary) if text]
    if rows:
        parts.append(
            "\n".join(
                ["| Measure | Value |", "|---|---|", *(f"| {label} | {text} |" for label, text in rows)]
            )
        )
    return "\n\n".join(parts)


def card_title(summary: Mapping[str, Any]) -> str:
    """Return file, object and filter."""
    name = Path(str(summary.get("path") or "")).name
    return " ".join(str(part) for part in (name, summary.get("object"), summary.get("filter")) if part)


def card_key(frame_id: int) -> str:
    """Return the artifact's key: the same for every reduction of a frame, so that they line up."""
    return f"frame-{frame_id}"


def plain(text: str) -> str:
    """Return text that Markdown shows as it is, in one line.

    By backslashes: Prefect's pages show HTML's character references as they are written.
    """
    line = "".join(char if char.isprintable() else " " for char in text)
    return _SPECIAL.sub(r"\\\g<0>", line)


def picture_uri(path: Path) -> str:
    """Return a small JPEG copy of a picture as a ``data:`` address, which needs no server."""
    with Image.open(path) as picture:
        small = picture.convert("RGB")
    small.thumbnail((PICTURE_PIXELS, PICTURE_PIXELS))
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _verdict(summary: Mapping[str, Any]) -> str:
    state, reason = plain(str(summary.get("state") or "unknown")), plain(str(summary.get("reason") or ""))
    return f"**{state}**: {reason}" if reason else f"**{state}**"


def _number(form: str) -> Callable[[Any], str]:
    return lambda value: format(value, form)


_MEASURES: tuple[tuple[str, str, Callable[[Any], str], str], ...] = (
    ("Mid-exposure", "mjd_mid", _number(".6f"), "MJD UTC"),
    ("Exposure", "exptime", _number("g"), "s"),
    ("Airmass", "airmass", _number(".3f"), ""),
    ("FWHM", "fwhm_px", _number(".2f"), "px"),
    ("Ellipticity", "ellipticity", _number(".2f"), ""),
    ("Sky", "sky", _number(".1f"), "electrons/px"),
    ("Sources", "n_sources", _number("d"), ""),
    ("Cosmic-ray pixels", "n_cosmic", _number("d"), ""),
    ("WCS", "wcs_quality", lambda value: plain(str(value)), ""),
    ("WCS by", "wcs_backend", lambda value: plain(str(value)), ""),
    ("WCS rms", "wcs_rms_arcsec", _number(".2f"), "arcsec"),
    ("WCS stars", "wcs_n_matched", _number("d"), ""),
    ("Centre RA", "ra_center", _number(".5f"), "deg"),
    ("Centre Dec", "dec_center", _number("+.5f"), "deg"),
    ("Scale", "scale", _number(".3f"), "arcsec/px"),
    ("Zero point", "zp", _number(".3f"), "mag"),
    ("Zero point error", "zp_err", _number(".3f"), "mag"),
    ("Zero point stars", "zp_n_stars", _number("d"), ""),
    ("Catalogue", "zp_catalog", lambda value: plain(str(value)), ""),
    ("Depth, 5 sigma", "depth_5sigma", _number(".2f"), "mag"),
    ("Masters", "masters", lambda value: plain(str(value)), ""),
    ("Reduced in", "seconds", _number(".2f"), "s"),
)


def _measures(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (label, f"{show(summary[key])} {unit}".strip())
        for label, key, show, unit in _MEASURES
        if summary.get(key) not in (None, "")
    ]

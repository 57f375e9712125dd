"""The dashboard's pictures: found or drawn by the number of a row, never by a path of the address."""

from __future__ import annotations

import io
import threading
from pathlib import Path

from nightflow.lightcurves.light_curve import LightCurve
from nightflow.products.lightcurve_plot import draw
from nightflow.report.target_curve import target_curve
from nightflow.store.database import Database
from nightflow.store.models import Frame, Target

__all__ = ["Pictures"]

_DPI = 110
_UNDATED = "undated"
_KEPT = 64


class Pictures:
    """Thumbnails and light curves, as PNG.

    Parameters
    ----------
    database : Database
    products : Path
        Folder of the products; nothing outside of it is served.
    """

    def __init__(self, database: Database, products: Path) -> None:
        self._database = database
        self._products = products
        self._lock = threading.Lock()
        self._drawn: dict[int, tuple[int, bytes]] = {}

    def thumbnail(self, frame_id: int) -> bytes | None:
        """Return a frame's thumbnail; None where there is no such frame, or it has none."""
        with self._database.session() as session:
            frame = session.get(Frame, frame_id)
        if frame is None:
            return None
        # Two numbers and a date of our own make the name: no text of a header or an address.
        pattern = f"*-e{frame.exposure_id:d}-f{frame_id:d}.png"
        found = sorted((self._products / (frame.night or _UNDATED)).glob(pattern))
        return self._read(found[0]) if found else None

    def light_curve(self, target_id: int) -> bytes | None:
        """Return the light curve of a target; None where there is no such target, or nothing was measured."""
        with self._database.session() as session:
            target = session.get(Target, target_id)
        curve = target_curve(self._database, target) if target is not None else None
        if target is None or curve is None:
            return None
        # Figures are drawn one at a time, and only when there is something new to see.
        with self._lock:
            stamp = _stamp(target, curve)
            kept = self._drawn.get(target_id)
            if kept is None or kept[0] != stamp:
                if len(self._drawn) >= _KEPT:
                    self._drawn.clear()
                kept = self._drawn[target_id] = stamp, _png(target, curve)
            return kept[1]

    def _read(self, path: Path) -> bytes | None:
        """Return a file of the products folder; None where a link leads out of it."""
        real = path.resolve()
        return real.read_bytes() if real.is_relative_to(self._products.resolve()) else None


def _stamp(target: Target, curve: LightCurve) -> int:
    return hash((target.name, *(curve[name].tobytes() for name in ("mjd_mid", "diff_mag", "mag", "flags"))))


def _png(target: Target, curve: LightCurve) -> bytes:
    picture = io.BytesIO()
    draw(curve, title=target.name).savefig(picture, format="png", dpi=_DPI)
    return picture.getvalue()

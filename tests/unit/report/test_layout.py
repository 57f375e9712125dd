"""Nothing of a picture is cut off, and no text lies on another."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.quiver import QuiverKey
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from nightflow.astrometry.scamp.offsets import Offsets
from nightflow.report.offsets_plot import draw_offsets
from nightflow.report.residual_plot import draw_residuals
from tests.unit.report.test_pointing import residuals

TITLE = "3 exposures, mosaic-light-0012-R.fits, a camera of eighteen chips"
ARROW = 65.0
"""Pixels that the arrow of a key takes, left of its label."""


def offsets(width: float, height: float, n: int = 60) -> Offsets:
    rng = np.random.default_rng(5)
    ra, dec = 80.0 + width * rng.uniform(-0.5, 0.5, n), 10.0 + height * rng.uniform(-0.5, 0.5, n)
    return Offsets(
        exposure="one", chip="A", ra=ra, dec=dec, d_ra=rng.normal(0.0, 150.0, n),
        d_dec=rng.normal(0.0, 150.0, n), left_out=np.arange(n) % 5 == 0,
    )  # fmt: skip


def texts(figure: Figure) -> list[Bbox]:
    """Return where all texts but the numbers along the axes are drawn, and the arrows of the keys."""
    figure.draw_without_rendering()
    ticks = [label for axes in figure.axes for label in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    found = [
        text for text in figure.findobj(Text) if text.get_text() and text.get_visible() and text not in ticks
    ]
    boxes = [text.get_window_extent() for text in found]
    for key in figure.findobj(QuiverKey):
        label = key.text.get_window_extent()
        boxes.append(Bbox.from_extents(label.x0 - ARROW, label.y0, label.x1, label.y1))
    return boxes


@pytest.mark.parametrize(
    "figure",
    [
        *(draw_offsets([offsets(*field)], TITLE) for field in ((0.3, 0.3), (3.0, 0.3), (0.3, 3.0))),
        *(
            draw_residuals(replace(residuals(), title=TITLE, shape=shape))
            for shape in ((1000, 1000), (500, 2000), (2000, 500))
        ),
    ],
)
def test_texts_are_apart_and_inside(figure: Figure) -> None:
    boxes = texts(figure)
    assert len(boxes) >= 8
    for box in boxes:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
    assert not [(one, other) for one, other in combinations(boxes, 2) if one.overlaps(other)]

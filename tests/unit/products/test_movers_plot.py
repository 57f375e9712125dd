"""The figure of bodies that moved."""

from __future__ import annotations

import numpy as np

from nightflow.products.movers_plot import draw_movers
from nightflow.store.models import Mover
from nightflow.store.movers import ObservedMover


def body(n: int = 8) -> ObservedMover:
    """Return a body that moves east by 10 arcsec an hour."""
    hours = np.linspace(-1.0, 1.0, n)
    columns = {
        "mjd_mid": 61100.0 + hours / 24.0,
        "ra": 10.0 + hours * 10.0 / 3600.0,
        "dec": np.zeros(n),
        "position_err": np.full(n, 0.05),
    }
    mover = Mover(
        night="2026-03-01", number=1, instrument="cam", mjd=61100.0, ra=10.0, dec=0.0, rate_ra=10.0,
        rate_ra_err=0.01, rate_dec=0.0, rate_dec_err=0.01, position_angle=90.0, position_angle_err=0.1,
        rms_arcsec=0.05, n=n, n_frames=n, false_alarm=1e-9,
    )  # fmt: skip
    return ObservedMover(mover=mover, columns=columns)


def test_the_legend_hides_no_point() -> None:
    figure = draw_movers([body()])
    figure.draw_without_rendering()
    residual = figure.axes[1]
    legend = residual.get_legend()
    assert legend is not None
    place = legend.get_window_extent()
    assert place.x0 >= residual.bbox.x1
    assert place.x1 <= figure.bbox.x1

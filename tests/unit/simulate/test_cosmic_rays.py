"""Cosmic rays: how many, how much charge, what shapes."""

from __future__ import annotations

import numpy as np
import pytest

from nightflow.simulate.cosmic_rays import draw_cosmic_rays

SHAPE = (600, 800)


def test_hits_are_poisson_with_the_rate_asked_for() -> None:
    counts = [draw_cosmic_rays(np.random.default_rng(s), SHAPE, 20.0, 30.0).n_hits for s in range(400)]
    assert np.mean(counts) == pytest.approx(10.0, abs=0.6)
    assert np.var(counts) == pytest.approx(10.0, rel=0.25)


def test_pixels_are_on_the_chip_and_listed_once() -> None:
    rays = draw_cosmic_rays(np.random.default_rng(5), SHAPE, 600.0, 60.0)
    assert rays.x.min() >= 0
    assert rays.x.max() < SHAPE[1]
    assert rays.y.max() < SHAPE[0]
    assert len(np.unique(rays.y * SHAPE[1] + rays.x)) == len(rays.x)
    assert rays.electrons.min() > 0


def test_a_muon_leaves_what_its_path_demands() -> None:
    rays = draw_cosmic_rays(np.random.default_rng(6), SHAPE, 500.0, 60.0)
    # 20 um of silicon free 1600 electrons on a straight way through; slanted and curled ones more.
    per_hit = rays.electrons.sum() / rays.n_hits
    assert 1600 < per_hit < 8000


def test_some_tracks_are_long_and_most_are_spots() -> None:
    sizes = np.array(
        [len(draw_cosmic_rays(np.random.default_rng([7, s]), SHAPE, 1.0, 60.0).x) for s in range(400)]
    )
    hit = sizes[sizes > 0]
    assert np.median(hit) < 20
    assert hit.max() > 30


def test_no_exposure_no_hits() -> None:
    rays = draw_cosmic_rays(np.random.default_rng(8), SHAPE, 20.0, 0.0)
    assert (rays.n_hits, len(rays.x), len(rays.electrons)) == (0, 0, 0)

from __future__ import annotations

import numpy as np
import pytest

from nightflow.astrometry.transforms import Transforms, gathered, similarities

RNG = np.random.default_rng(8)
A, B = 0.001 * np.exp(0.7j), 0.3 - 0.2j


@pytest.mark.parametrize("mirrored", [False, True])
def test_similarity_of_a_triangle_is_recovered(mirrored):
    z = RNG.uniform(-500, 500, (5, 3)) + 1j * RNG.uniform(-500, 500, (5, 3))
    w = A * (np.conj(z) if mirrored else z) + B
    found = similarities(z, w, mirrored=np.full(5, mirrored))
    np.testing.assert_allclose(found.a, A)
    np.testing.assert_allclose(found.b, B)


def test_fullest_cell_comes_first_with_its_mean():
    scatter = 1e-4 * (RNG.normal(size=30) + 1j * RNG.normal(size=30))
    agreeing = Transforms(a=np.full(30, A), b=B + scatter, mirrored=np.ones(30, bool))
    strangers = Transforms(
        a=0.001 * np.exp(1j * RNG.uniform(-3, 3, 200)),
        b=RNG.uniform(-1, 1, 200) + 1j * RNG.uniform(-1, 1, 200),
        mirrored=RNG.uniform(size=200) < 0.5,
    )
    both = Transforms(
        a=np.append(agreeing.a, strangers.a),
        b=np.append(agreeing.b, strangers.b),
        mirrored=np.append(agreeing.mirrored, strangers.mirrored),
    )
    best = gathered(both, 1.0, 10)
    assert len(best) == 10
    assert best.mirrored[0]
    assert abs(best.b[0] - B) < 1e-3
    assert np.angle(best.a[0]) == pytest.approx(0.7, abs=1e-3)


def test_parities_do_not_share_a_cell():
    both = Transforms(a=np.full(2, A), b=np.full(2, B), mirrored=np.array([False, True]))
    assert len(gathered(both, 1.0, 10)) == 2


def test_nothing_gathers_to_nothing():
    empty = Transforms(a=np.empty(0, complex), b=np.empty(0, complex), mirrored=np.empty(0, bool))
    assert len(gathered(empty, 1.0, 10)) == 0

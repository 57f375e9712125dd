"""The table of quantities."""

from __future__ import annotations

import pytest

from nightflow.instruments.quantities import QUANTITIES, known_quantity


def test_an_unknown_quantity_names_its_neighbour() -> None:
    assert known_quantity("exptime") == "exptime"
    with pytest.raises(ValueError, match=r"unknown quantity read_nois; did you mean read_noise\?"):
        known_quantity("read_nois")
    with pytest.raises(ValueError, match="known: kind, exptime"):
        known_quantity("zzzz")


def test_every_quantity_is_explained() -> None:
    assert all(row.reads and row.meaning for row in QUANTITIES.values())

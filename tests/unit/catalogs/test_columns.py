from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightflow.catalogs.columns import known_columns, quantity_of
from nightflow.catalogs.stars import BANDS


@pytest.mark.parametrize(
    ("column", "quantity"),
    [
        ("R", "R"), ("r", "r"), ("B", "B"), ("g", "g"), ("G", "G"), ("vt", "VT"), ("VT", "VT"), ("Bp", "BP"),
        ("g_gaia", "G"), ("phot_g_mean_mag", "G"), ("phot_bp_mean_mag", "BP"),
        ("phot_rp_mean_mag_error", "RP_err"),
        ("V_err", "V_err"), ("v", None), ("b", None), ("RA", "ra"), ("Dec", "dec"), ("pmRA", "pmra"),
        ("ref_epoch", "epoch"), ("gaia_id", "id"), ("source_id", "id"), ("name", "id"), ("parallax", None),
        ("ra_error", None), ("pmra_error", None),
    ],
)  # fmt: skip
def test_names(column, quantity):
    assert quantity_of(column) == quantity


def test_first_column_wins():
    assert known_columns(["ra", "raj2000", "G", "g_gaia"]) == {"ra": "ra", "G": "G"}


@given(st.text())
def test_any_text_is_a_known_quantity_or_none(text):
    bands = {*BANDS, *(f"{band}_err" for band in BANDS)}
    assert quantity_of(text) in {None, "ra", "dec", "pmra", "pmdec", "epoch", "id", *bands}

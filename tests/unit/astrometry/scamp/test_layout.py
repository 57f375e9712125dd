"""How chips lie to each other: learned once, put onto another sky."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nightflow.astrometry.scamp.layout import (
    Placed,
    learn_layout,
    plate_about,
    predict,
    read_layout,
    write_layout,
)
from nightflow.errors import ConfigurationError
from tests.unit.astrometry.scamp import mosaic
from tests.unit.astrometry.synthetic import SHAPE, make_wcs, worst_error

CHIPS = mosaic.chips(3, 2)
THERE = mosaic.pointing(ra=10.0, dec=-5.0, rotation=3.0)
HERE = mosaic.pointing(ra=200.0, dec=70.0, rotation=181.0)


def placed(where, chip) -> Placed:
    return Placed(wcs=mosaic.true_wcs(where, chip), shape=mosaic.SHAPE)


@pytest.fixture(scope="module")
def layout():
    return learn_layout({chip.name: placed(THERE, chip) for chip in CHIPS}, 10.0, -5.0)


def test_plate_about_a_point_beside_the_chip() -> None:
    wcs = make_wcs(40.0, 20.0, rotation=30.0, distortion=6.0)
    plate = plate_about(wcs, SHAPE, 40.6, 20.3)
    assert (plate.ra0, plate.dec0) == (40.6, 20.3)
    assert worst_error(plate.to_wcs(SHAPE), wcs) < 0.01
    assert plate.y0 > SHAPE[0]


def test_linear_stays_linear() -> None:
    wcs = make_wcs(40.0, 20.0)
    assert plate_about(wcs, SHAPE, 40.0, 20.0).order == 1


def test_chips_without_a_place_are_put_where_the_others_say(layout) -> None:
    known = {chip.name: placed(HERE, chip) for chip in CHIPS[:2]}
    wanted = {chip.name: mosaic.SHAPE for chip in CHIPS[2:]}
    found = predict(layout, known, wanted)
    assert set(found) == set(wanted)
    for chip in CHIPS[2:]:
        assert mosaic.worst_error(found[chip.name].to_wcs(mosaic.SHAPE), HERE, chip) < 0.05


def test_a_pointing_alone_places_them_roughly(layout) -> None:
    same_turn = mosaic.pointing(ra=200.0, dec=30.0, rotation=3.0)
    found = predict(layout, {}, {CHIPS[0].name: mosaic.SHAPE}, pointing=(200.0, 30.0 + 5 / 3600))
    error = mosaic.worst_error(found[CHIPS[0].name].to_wcs(mosaic.SHAPE), same_turn, CHIPS[0])
    assert error == pytest.approx(5.0, abs=0.2)


def test_nothing_known_is_nothing_said(layout) -> None:
    assert predict(layout, {}, {CHIPS[0].name: mosaic.SHAPE}) == {}
    assert predict(layout, {}, {"another": mosaic.SHAPE}, pointing=(1.0, 2.0)) == {}


def test_layout_survives_the_file(layout, tmp_path: Path) -> None:
    write_layout(tmp_path / "camera.ahead", layout)
    again = read_layout(tmp_path / "camera.ahead")
    assert list(again) == [chip.name for chip in CHIPS]
    for name, header in layout.items():
        assert again[name]["CRPIX1"] == pytest.approx(header["CRPIX1"], abs=1e-8)
        assert again[name]["PV1_7"] == pytest.approx(header["PV1_7"], rel=1e-8)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("CCD02", "CCD01"), "chip 2 has EXTNAME 'CCD01'"),
        (lambda text: text.replace("EXTNAME", "XXTNAME"), "chip 1 has EXTNAME ''"),
        (lambda text: text.replace("CRVAL2", "XRVAL2"), "no card CRVAL2"),
        (lambda text: "", "no chip in it"),
    ],
)
def test_broken_layouts_name_the_mend(layout, tmp_path: Path, change, said: str) -> None:
    write_layout(tmp_path / "camera.ahead", layout)
    text = (tmp_path / "camera.ahead").read_text()
    (tmp_path / "camera.ahead").write_text(change(text))
    with pytest.raises(ConfigurationError, match=said):
        read_layout(tmp_path / "camera.ahead")
    with pytest.raises(ConfigurationError, match="no readable layout"):
        read_layout(tmp_path / "absent.ahead")


def test_a_layout_from_crooked_chips_is_that_of_the_truth(layout) -> None:
    """The turns of single chips are in it, not only their places."""
    turns = []
    for chip in CHIPS:
        header = layout[chip.name]
        turns.append(np.degrees(np.arctan2(header["CD1_2"], header["CD2_2"])) - 3.0 - chip.turn)
    assert np.ptp(turns) < 0.05

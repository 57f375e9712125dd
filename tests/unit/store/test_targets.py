from __future__ import annotations

from pathlib import Path

import pytest

from nightflow.errors import ConfigurationError
from nightflow.store.database import Database
from nightflow.store.target_files import import_ephemeris, import_targets
from nightflow.store.targets import (
    add_target,
    find_target,
    list_targets,
    position_at,
    target_places,
    targets_near,
)
from tests.unit.store.builders import count

J2000 = 51544.5


def test_adding_again_changes_the_target(database: Database) -> None:
    add_target(database, "HAT-P-32", 31.0, 46.0)
    add_target(database, "HAT-P-32", 31.0427, 46.6878, type="exoplanet", notes="transit")
    (target,) = list_targets(database)
    assert (target.ra, target.type, target.notes) == (31.0427, "exoplanet", "transit")


@pytest.mark.parametrize("name", ["HAT-P-32", "hat p 32", "HATP32"])
def test_names_are_found_in_any_spelling(database: Database, name: str) -> None:
    add_target(database, "HAT-P-32", 31.0, 46.0)
    add_target(database, "HAT-P-33", 32.0, 46.0)
    found = find_target(database, name)
    assert found is not None
    assert found.name == "HAT-P-32"


def test_a_spelling_of_two_is_none(database: Database) -> None:
    add_target(database, "AB 1", 1.0, 1.0)
    add_target(database, "A B1", 2.0, 2.0)
    assert find_target(database, "ab1") is None
    exact = find_target(database, "AB 1")
    assert exact is not None
    assert exact.ra == 1.0
    assert find_target(database, "?!") is None


@pytest.mark.parametrize(
    "name", ["'; DROP TABLE target; --", "../../x", "<script>alert(1)</script>", "☄" * 10_000, "nul\x00nul"]
)
def test_hostile_names_are_text(database: Database, name: str) -> None:
    add_target(database, name, 1.0, 2.0)
    found = find_target(database, name)
    assert found is not None
    assert found.name == name.replace("\x00", "\\x00")[:256]
    assert count(database, "target") == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": " ", "ra": 1.0, "dec": 1.0}, "needs a name"),
        ({"name": "x", "ra": 1.0}, "give ra and dec"),
        ({"name": "x", "ra": 360.0, "dec": 0.0}, "ra 360.0, dec 0.0 is not on the sky"),
        ({"name": "x", "ra": 1.0, "dec": float("nan")}, "not on the sky"),
        ({"name": "x", "ra": 1.0, "dec": 1.0, "pmra": float("inf")}, "not a finite number"),
        ({"name": "x", "ephemeris": [[1.0, 2.0, 3.0]]}, "at least two rows"),
        (
            {"name": "x", "ephemeris": [[1.0, 2.0, 3.0], [1.0, 2.1, 3.0]]},
            "two places in the ephemeris at mjd 1; keep one",
        ),
    ],
)
def test_what_is_no_target_is_named(database: Database, values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        add_target(database, **values)  # type: ignore[arg-type]


def test_proper_motion(database: Database) -> None:
    # Barnard's star: Hipparcos values; ten years are 103.6 arcsec north and 8 arcsec west.
    star = add_target(database, "Barnard", 269.452, 4.693, pmra=-798.58, pmdec=10328.12, epoch=2000.0)
    place = position_at(star, J2000 + 3652.5)
    assert place is not None
    assert (place[1] - 4.693) * 3600 == pytest.approx(103.28, abs=0.01)
    assert (place[0] - 269.452) * 3600 * 0.99665 == pytest.approx(-7.986, abs=0.01)


def test_an_ephemeris_is_interpolated_over_right_ascension_zero(database: Database) -> None:
    moving = add_target(database, "5945", ephemeris=[[100.0, 359.9, 10.0], [101.0, 0.1, 10.2]])
    place = position_at(moving, 100.5)
    assert place is not None
    assert min(place[0], 360 - place[0]) == pytest.approx(0.0, abs=1e-4)
    assert place[1] == pytest.approx(10.1, abs=1e-3)
    assert position_at(moving, 99.9) is None
    assert position_at(moving, 101.1) is None


def test_targets_near_a_place(database: Database) -> None:
    add_target(database, "in", 10.0, 0.5)
    add_target(database, "out", 12.0, 0.0)
    add_target(database, "moving", ephemeris=[[100.0, 10.0, 0.0], [101.0, 20.0, 0.0]])
    assert targets_near(database, 10.0, 0.0, 1.0, 100.0) == [
        pytest.approx((10.0, 0.5)),
        pytest.approx((10.0, 0.0)),
    ]
    assert targets_near(database, 10.0, 0.0, 1.0, 101.0) == [pytest.approx((10.0, 0.5))]
    assert targets_near(database, 10.0, 0.0, 1.0, None) == [pytest.approx((10.0, 0.5))]


def test_the_place_of_a_moving_target_tells_of_its_motion(database: Database) -> None:
    """A degree a day along the equator is 1/24 arcsec a second."""
    rows = [[100.0 + day, 10.0 + day, 0.0] for day in range(9)]
    # Parts of it that overlap are one.
    assert add_target(database, "moving", ephemeris=[*rows, *rows[-2:]]).ephemeris == rows
    (place,) = target_places(database, 14.5, 0.0, 0.1, 104.5)
    assert (place.name, place.moving, place.spacing) == ("moving", True, 1.0)
    assert place.rate == pytest.approx(1 / 24, rel=1e-4)
    assert place.error < 0.01
    # Entered again, it is elsewhere at once.
    add_target(database, "moving", ephemeris=[[day, ra, 5.0] for day, ra, _ in rows])
    assert target_places(database, 14.5, 0.0, 0.1, 104.5) == []
    add_target(database, "moving", 14.5, 0.0)
    (place,) = target_places(database, 14.5, 0.0, 0.1, 104.5)
    assert (place.moving, place.rate) == (False, 0.0)


def test_import_of_a_list(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "targets.csv"
    path.write_text(
        "# my list\nName, RA, Dec, pmra, type, notes\n"
        'A,31.0427,46.6878,5.5,exoplanet,"a, b"\n\nB,02:04:10,-46:41:16,,,\n'
    )
    a, b = import_targets(database, path)
    assert (a.ra, a.pmra, a.type, a.notes) == (31.0427, 5.5, "exoplanet", "a, b")
    assert b.ra == pytest.approx(31.041667, abs=1e-6)
    assert b.dec == pytest.approx(-46.687778, abs=1e-6)
    assert len(list_targets(database)) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column name, ra, dec; it has none"),
        ("name,ra\nA,1\n", "no column dec; it has name, ra"),
        ("name,ra,dec\nA,1,2\nB,x,2\n", "line 3: ra = 'x' is not a number"),
        ("name,ra,dec\nA,1:99:xx,2\n", "line 2: ra = '1:99:xx' is not an angle"),
        ("name,ra,dec\n# no\nA,1,99\n", "line 3: target 'A'.*not on the sky"),
        ("name,ra,dec\nA,1,2,3\n", "line 2: 4 values for 3 columns"),
    ],
)
def test_faults_of_a_list_are_named_and_nothing_of_it_is_entered(
    database: Database, tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "targets.csv"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        import_targets(database, path)
    assert list_targets(database) == []


def test_a_file_that_is_no_text_is_named(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "targets.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="cannot be read as CSV"):
        import_targets(database, path)
    with pytest.raises(
        ConfigurationError, match=r"absent\.csv: there is no such file; name a CSV of name, ra"
    ):
        import_targets(database, tmp_path / "absent.csv")


def test_import_of_an_ephemeris(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "5945.csv"
    path.write_text("mjd,ra,dec\n101,10.2,1\n100,10,1\n")
    target = import_ephemeris(database, "5945", path, type="asteroid")
    assert target.ephemeris == [[100.0, 10.0, 1.0], [101.0, 10.2, 1.0]]
    assert target.type == "asteroid"

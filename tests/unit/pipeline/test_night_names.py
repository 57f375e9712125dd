"""The star that a source is, whichever frame comes first."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from nightflow.catalogs.importer import import_catalog
from nightflow.catalogs.local import LocalCatalogs
from nightflow.config import AssociationSettings
from nightflow.pipeline.associate_night import NightSources, associate
from nightflow.pipeline.night_names import most_named
from nightflow.store.database import Database
from nightflow.store.night_association import CatalogStar
from nightflow.store.records import CatalogIdentity
from nightflow.store.writer import append
from tests.unit.store.builders import MJD, START, add_frame, columns, count, record
from tests.unit.store.conftest import *  # noqa: F403  (the stores of both kinds)
from tests.unit.store.field_nights import NIGHT

RA, DEC = 132.8, 11.8
PM = {"Left": (50.0, -30.0), "Right": (-10.0, 20.0)}
"""Of two stars 2" east and west of the place, which one detection holds."""
EAST = 1.0 / 3600.0 / np.cos(np.radians(DEC))


@pytest.fixture
def catalogs(tmp_path: Path) -> LocalCatalogs:
    # The catalogue's epoch is that of the frames: what moves is not what this is about.
    year = 2000.0 + (MJD - 51544.5) / 365.25
    lines = ["source_id,ra,dec,pmra,pmdec,phot_g_mean_mag,ref_epoch"]
    places = {"Left": RA + 2 * EAST, "Right": RA - 2 * EAST, "Alone": RA + 0.05}
    for name, ra in places.items():
        pmra, pmdec = PM.get(name, (0.0, 0.0))
        lines.append(f"{name},{ra:.9f},{DEC},{pmra},{pmdec},12.0,{year}")
    for catalog, part in {"mine": lines, "bare": [lines[0], lines[-1]]}.items():
        file = tmp_path / f"{catalog}.csv"
        file.write_text("\n".join(part) + "\n")
        import_catalog(file, catalog, tmp_path / "catalogs")
    return LocalCatalogs(tmp_path / "catalogs")


def take(database: Database, number: int, nearer: str, *, days: float = 0.0) -> None:
    """Append a frame on which the blend lies nearer to one of its stars, and is named after it.

    Or, measured against a catalogue that has neither, has no name.
    """
    shift = {"Left": 0.4, "Right": -0.4, "Neither": 0.0}[nearer] * EAST
    catalog = "bare" if nearer == "Neither" else "mine"
    pm = PM.get(nearer, (0.0, 0.0))
    identity = CatalogIdentity(
        catalog=catalog,
        known=np.array([nearer in PM, True]),
        ids=np.array([nearer if nearer in PM else "", "Alone"], object),
        pmra=np.array([pm[0], 0.0]),
        pmdec=np.array([pm[1], 0.0]),
    )
    mjd = MJD + days + number * 0.005
    chain = record(
        scale=1.0, fwhm_px=3.0, wcs_rms_arcsec=0.2, ra_center=RA, dec_center=DEC, zp_catalog=catalog
    )
    frame = add_frame(database, f"{days}-{number}", mjd_mid=mjd, shape=(2048, 2048))
    places = np.array([RA + shift, RA + 0.05]), np.array([DEC, DEC])
    append(database, frame, chain, columns(*places, mjd=mjd, catalog=identity), now=START)


def put_in_order(database: Database, catalogs: LocalCatalogs, night: str = NIGHT) -> NightSources:
    return associate(database, night, AssociationSettings(), now=START, catalogs=catalogs)


def stars(database: Database) -> list[tuple[str, float, float]]:
    with database.session() as session:
        rows = session.execute(text("SELECT catalog_id, pmra, pmdec FROM source ORDER BY catalog_id"))
        return [tuple(row) for row in rows]


SEEN = ["Right", "Left", "Left", "Right", "Left", "Left"]


@pytest.mark.parametrize("order", [range(6), [3, 0, 1, 2, 4, 5], range(5, -1, -1)])
def test_a_blend_is_the_star_that_most_detections_are(
    database: Database, catalogs: LocalCatalogs, order: list[int]
) -> None:
    for number in order:
        take(database, number, SEEN[number])
    put_in_order(database, catalogs)
    assert stars(database) == [("Alone", 0.0, 0.0), ("Left", *PM["Left"])]
    assert put_in_order(database, catalogs).changed is False


def test_of_as_many_it_is_the_first_by_name(database: Database, catalogs: LocalCatalogs) -> None:
    for number in (1, 0, 3, 2):
        take(database, number, ["Left", "Right"][number % 2])
    put_in_order(database, catalogs)
    assert stars(database)[1] == ("Left", *PM["Left"])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_nights_the_one_with_more_detections_says_which(
    database: Database, catalogs: LocalCatalogs, order: tuple[int, int]
) -> None:
    nights = [(["Left"] * 3, 0.0, NIGHT), (["Right"] * 5, 2.0, "2026-03-02")]
    for seen, days, night in (nights[one] for one in order):
        for number, nearer in enumerate(seen):
            take(database, number, nearer, days=days)
        put_in_order(database, catalogs, night)
    assert stars(database) == [("Alone", 0.0, 0.0), ("Right", *PM["Right"])]
    assert count(database, "source") == 2


def places(database: Database) -> list[tuple[float, float, int]]:
    with database.session() as session:
        rows = session.execute(text("SELECT ra, epoch, n_position FROM source ORDER BY ra"))
        return [tuple(row) for row in rows]


def test_of_two_nights_with_as_many_the_earlier_one_says_which(
    database: Database, catalogs: LocalCatalogs
) -> None:
    nights = [("Left", 0.0, NIGHT), ("Right", 2.0, "2026-03-02")]
    found = []
    for order in ((0, 1), (1, 0)):
        with database.write() as session:
            for table in ("measurement", "source", "reduction"):
                session.execute(text(f"DELETE FROM {table}"))
        for nearer, days, night in (nights[one] for one in order):
            for number in range(3):
                take(database, number, nearer, days=days)
            put_in_order(database, catalogs, night)
        found.append((stars(database), places(database)))
        assert stars(database) == [("Alone", 0.0, 0.0), ("Left", *PM["Left"])]
    assert found[0] == found[1]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_where_the_night_that_decides_sees_no_star_there_is_none(
    database: Database, catalogs: LocalCatalogs, order: tuple[int, int]
) -> None:
    """Whichever comes first; a frame that comes later may name the source until that night speaks again."""
    nights = [(["Left"] * 3, 0.0, NIGHT), (["Neither"] * 5, 2.0, "2026-03-02")]
    for seen, days, night in (nights[one] for one in order):
        for number, nearer in enumerate(seen):
            take(database, number, nearer, days=days)
        put_in_order(database, catalogs, night)
    put_in_order(database, catalogs, "2026-03-02")
    assert stars(database) == [("", 0.0, 0.0), ("Alone", 0.0, 0.0)]
    for _, _, night in nights:
        assert put_in_order(database, catalogs, night).changed is False


def test_where_the_catalogue_is_gone_names_stay(database: Database, tmp_path: Path) -> None:
    for number in range(4):
        take(database, number, "Right")
    put_in_order(database, LocalCatalogs(tmp_path / "none"))
    assert [row[0] for row in stars(database)] == ["Alone", "Right"]


def test_where_one_frame_s_catalogue_is_gone_the_others_speak(
    database: Database, catalogs: LocalCatalogs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Most of them, that is, and not the first one that had a name for it."""
    for number, nearer in enumerate(["Neither", "Left", "Right", "Right"]):
        take(database, number, nearer)
    shutil.rmtree(tmp_path / "catalogs" / "bare")
    put_in_order(database, catalogs)
    assert stars(database) == [("Alone", 0.0, 0.0), ("Right", *PM["Right"])]
    (said,) = [one.message for one in caplog.records if "no voice" in one.message]
    assert "bare" in said
    assert "1 of 4 frames" in said


def test_what_only_others_miss_keeps_its_name(
    database: Database, catalogs: LocalCatalogs, tmp_path: Path
) -> None:
    """The frame that named it cannot be asked: that the catalogue of the others lacks it is no proof."""
    take(database, 0, "Left")
    for number in range(1, 4):
        take(database, number, "Neither")
    shutil.rmtree(tmp_path / "catalogs" / "mine")
    put_in_order(database, catalogs)
    assert stars(database) == [("Alone", 0.0, 0.0), ("Left", *PM["Left"])]
    assert put_in_order(database, catalogs).changed is False


def test_stars_without_a_name_are_told_apart_by_their_place() -> None:
    one, other = (
        CatalogStar(catalog="mine", catalog_id="", ra=ra, dec=0.0, pmra=0.0, pmdec=0.0) for ra in (1.0, 2.0)
    )
    assert most_named(Counter({one: 2, other: 3})) == other
    assert most_named(Counter({other: 3, one: 3})) == one

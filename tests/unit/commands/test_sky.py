from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from astropy.table import Table
from sqlalchemy import Engine, event

from nightflow.astrometry.astrometry_net import PACKAGED_INDEX_FOLDER
from nightflow.catalogs import online
from nightflow.catalogs.routes import Route
from nightflow.commands import sky
from tests.unit.commands.conftest import Observatory

CONE = ("--ra", "31.04", "--dec", "46.69", "--radius", "0.2")


def answer(_: online.Cone) -> Table:
    return Table({"id": [7], "ra": [31.04], "dec": [46.69], "G": [12.0]})


def away(_: online.Cone) -> Table:
    raise ConnectionError("no route to host")


def routes(monkeypatch: pytest.MonkeyPatch, **queries: online.Query) -> None:
    routes = {name: Route(query=query) for name, query in queries.items()}
    service = replace(online.SERVICES["gaia"], routes=routes)
    monkeypatch.setattr(sky, "SERVICES", {"gaia": service})


def test_a_cone_is_fetched_and_listed(empty: Observatory, monkeypatch: pytest.MonkeyPatch) -> None:
    routes(monkeypatch, first=away, second=answer)
    result = empty("catalog", "fetch", *CONE)
    assert result.exit_code == 0
    assert "1 stars in gaia (1 new): bands G, epoch 2016" in result.stdout
    routes(monkeypatch, first=away)
    assert "1 stars in gaia (all were here)" in empty("catalog", "fetch", *CONE).stdout
    (row,) = json.loads(empty("catalog", "list", "--format", "json").stdout)
    assert (row["name"], row["stars"]) == ("gaia", 1)
    assert row["source"] == "Gaia DR3"


def test_the_sky_around_all_targets_is_fetched(empty: Observatory, monkeypatch: pytest.MonkeyPatch) -> None:
    routes(monkeypatch, first=answer)
    nobody = empty("catalog", "fetch", "--targets", "--radius", "0.2")
    assert "targets: none" in nobody.stdout
    assert empty("targets", "add", "HAT-P-32", "--ra", "31.04", "--dec", "46.69").exit_code == 0
    told = empty("catalog", "fetch", "--targets", "--radius", "0.2")
    assert "1 new stars in gaia; targets: 1 fetched" in told.stdout
    routes(monkeypatch, first=away)
    assert "targets: 1 here" in empty("catalog", "fetch", "--targets", "--radius", "0.2").stdout
    empty("targets", "add", "M 67", "--ra", "132.8", "--dec", "11.8")
    half = empty("catalog", "fetch", "--targets", "--radius", "0.2")
    assert half.exit_code == 1
    assert "M 67: Gaia DR3 around ra 132.8" in half.stderr
    assert empty("catalog", "fetch", "--targets", *CONE).exit_code == 1
    assert "no place" in empty("catalog", "fetch", "--radius", "1", "--ra", "3").stderr


def test_without_a_network_both_failures_are_told(
    empty: Observatory, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes(monkeypatch, archive=away, vizier=away)
    result = empty("catalog", "fetch", *CONE)
    assert result.exit_code == 1
    assert "archive: ConnectionError: no route to host" in result.stderr
    assert "vizier: ConnectionError: no route to host" in result.stderr
    assert "nightflow catalog import" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--ra", "400", "--dec", "0", "--radius", "1"), "is not on the sky"),
        (("--ra", "40", "--dec", "0", "--radius", "90"), "radius 90"),
        ((*CONE, "--name", "../x"), "../x"),
    ],
)
def test_a_cone_that_cannot_be_meant_asks_nobody(
    empty: Observatory, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str
) -> None:
    routes(monkeypatch, first=answer)
    result = empty("catalog", "fetch", *words)
    assert result.exit_code == 1
    assert message in result.stderr


def test_index_files_are_fetched_from_a_folder(empty: Observatory) -> None:
    source = PACKAGED_INDEX_FOLDER.as_uri()
    result = empty("index", "fetch", "index-hatp32-tycho2.fits", "--url", source)
    assert result.exit_code == 0
    assert "128 stars, quads of 8' to 36'" in result.stdout
    assert [file.name for file in (empty.root / "index-files").iterdir()] == ["index-hatp32-tycho2.fits"]


def test_an_index_that_is_not_there_exits_with_1(empty: Observatory, tmp_path: Path) -> None:
    result = empty("index", "fetch", "--scale", "7", "--url", tmp_path.as_uri())
    assert result.exit_code == 1
    assert "index-4107.fits" in result.stderr
    assert empty("index", "fetch").exit_code == 1
    assert "scale 99" in empty("index", "fetch", "--scale", "99").stderr


def test_a_catalogue_that_does_not_read_exits_with_1(empty: Observatory, tmp_path: Path) -> None:
    file = tmp_path / "stars.csv"
    file.write_text("x,y\n1,2\n")
    result = empty("catalog", "import", str(file), "--name", "mine")
    assert result.exit_code == 1
    assert "no column for ra and dec" in result.stderr
    assert empty("index", "build", "none", *CONE, "--field", "30").exit_code == 1


def names(dome: Observatory) -> list[str]:
    return [row["name"] for row in json.loads(dome("targets", "list", "--format", "json").stdout)]


def test_targets_are_removed_by_name_and_by_file(empty: Observatory, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("name,ra,dec\nA 1,10,20\nB 2,11,21\nC 3,12,22\n")
    assert empty("targets", "import", str(file)).exit_code == 0
    other = empty("targets", "remove", "a1")
    assert (other.exit_code, other.stdout) == (1, "")
    assert "'A 1' is spelled like it" in other.stderr
    assert empty("targets", "remove").exit_code == 1
    assert names(empty) == ["A 1", "B 2", "C 3"]
    assert "target A 1 removed" in empty("targets", "remove", "A 1").stdout
    assert names(empty) == ["B 2", "C 3"]
    by_file = empty("targets", "remove", "--file", str(file))
    assert by_file.exit_code == 0
    assert "A 1: no target is called so" in by_file.stderr
    assert names(empty) == []


def test_a_moving_target_that_is_removed_says_how_its_curve_is_read(
    empty: Observatory, tmp_path: Path
) -> None:
    file = tmp_path / "ephemeris.csv"
    file.write_text("mjd,ra,dec\n61100,10,20\n61101,10.1,20\n")
    empty("targets", "add", "Vesta", "--ephemeris", str(file))
    assert "once its ephemeris is added again" in empty("targets", "remove", "Vesta").stdout


def test_adding_a_target_reads_that_one_alone(empty: Observatory) -> None:
    assert empty("targets", "add", "A", "--ra", "1", "--dec", "2").stdout == "target A\n"
    asked: list[str] = []

    def listen(*arguments: object) -> None:
        asked.append(str(arguments[2]))

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        again = empty("targets", "add", "A", "--ra", "3", "--dec", "2")
    finally:
        event.remove(Engine, "before_cursor_execute", listen)
    assert again.stdout == "target A: new values, it was at RA 1.00000 Dec +2.00000\n"
    reads = [one for one in asked if one.startswith("SELECT") and "FROM target" in one]
    assert reads
    assert all("target.name = " in one or "target.id = " in one for one in reads)

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sized
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from pyarrow import parquet
from typer.testing import CliRunner

from nightflow.cli import app
from nightflow.lightcurves.light_curve import COLUMNS
from tests.unit.commands.conftest import LIGHTS, TARGET, Observatory

pytestmark = pytest.mark.xdist_group("commands")

PLACE = ("--ra", str(TARGET[0]), "--dec", str(TARGET[1]))
PUBLISHED = [
    "mjd_mid",
    "bjd_tdb",
    "filter",
    "kind",
    "mag",
    "mag_err",
    "upper_limit",
    "flux",
    "flux_err",
    "flux_ujy",
    "diff_mag",
    "diff_mag_err",
    "x",
    "y",
    "ra",
    "dec",
    "airmass",
    "fwhm_px",
    "flags",
    "frame",
    "source_id",
]


def test_a_light_curve_as_csv_has_the_published_columns(reduced: Observatory) -> None:
    result = reduced("lightcurve", *PLACE)
    assert result.exit_code == 0
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert set(PUBLISHED) <= set(rows[0])
    assert len(rows) == LIGHTS
    places = np.array([[float(row["ra"]), float(row["dec"])] for row in rows])
    assert np.hypot(*(places - TARGET).T) == pytest.approx(0.0, abs=1 / 3600)


def test_an_empty_answer_exits_with_2(reduced: Observatory) -> None:
    result = reduced("lightcurve", "--ra", "200", "--dec", "-10")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "nothing was measured at RA 200.0000 Dec -10.0000" in result.stderr
    assert "there is nothing in any filter and kind" in result.stderr


def test_an_empty_answer_names_what_was_asked_for_and_what_there_is(reduced: Observatory) -> None:
    blue = reduced("lightcurve", *PLACE, "--filter", "B")
    assert blue.exit_code == 2
    assert "in filter 'B', kind aperture; there is aperture in 'R'" in blue.stderr
    fitted = reduced("lightcurve", *PLACE, "--kind", "psf")
    assert fitted.exit_code == 2
    assert "in kind psf; there is aperture in 'R'" in fitted.stderr


@pytest.mark.parametrize(
    "words", [(), ("--ra", "10"), ("--ra", "400", "--dec", "0"), ("--ra", "10", "--dec", "91"), ("nobody",)]
)
def test_a_question_that_cannot_be_meant_exits_with_1(reduced: Observatory, words: tuple[str, ...]) -> None:
    result = reduced("lightcurve", *words)
    assert result.exit_code == 1
    if words == ("--ra", "10"):
        assert "--ra 10.0 without --dec: give both" in result.stderr


def test_formats_that_are_read_back(reduced: Observatory, tmp_path: Path) -> None:
    config = ["--config", str(reduced.root / "nightflow.toml")]
    readers: dict[str, Callable[[Path], Sized]] = {
        "ecsv": lambda file: Table.read(file, format="ascii.ecsv"),
        "votable": lambda file: Table.read(file, format="votable"),
        "parquet": parquet.read_table,
    }
    for name, read in readers.items():
        result = CliRunner().invoke(app, ["lightcurve", *PLACE, "--format", name, *config])
        file = tmp_path / f"curve.{name}"
        file.write_bytes(result.stdout_bytes)
        assert len(read(file)) == LIGHTS


def test_a_plot_is_a_picture(reduced: Observatory, tmp_path: Path) -> None:
    file = tmp_path / "curve.png"
    assert reduced("lightcurve", *PLACE, "--plot", str(file)).exit_code == 0
    assert file.read_bytes().startswith(b"\x89PNG")


def test_a_plot_goes_into_a_folder_that_is_there(reduced: Observatory, tmp_path: Path) -> None:
    result = reduced("lightcurve", *PLACE, "--plot", str(tmp_path / "none" / "curve.png"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"there is no folder {tmp_path / 'none'}; make it" in result.stderr
    assert not (tmp_path / "none").exists()
    assert "cannot be written" in reduced("lightcurve", *PLACE, "--plot", str(tmp_path)).stderr


def test_reports_of_two_formats_stand_side_by_side(dome: Observatory, tmp_path: Path) -> None:
    dome("targets", "add", "HAT-P-32", *PLACE)
    for name, observer in (("aavso", "XYZ"), ("alcdef", "J. Doe")):
        assert dome("export", str(tmp_path / "out"), "--format", name, "--observer", observer).exit_code == 0
    written = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert [name.split(".", 1)[1] for name in written] == ["aavso.txt", "alcdef.txt"]
    assert all(name.startswith("HAT-P-32-") for name in written)
    dome("targets", "add", "a star before it", "--ra", "200", "--dec", "-10")
    dome("export", str(tmp_path / "out"), "--format", "aavso", "--observer", "XYZ")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == written


def test_targets_by_name_and_their_export(dome: Observatory, tmp_path: Path) -> None:
    name = "../../HAT-P-32 <b>"
    dome("targets", "add", name, *PLACE, "--type", "transit")
    dome("targets", "add", "Empty field", "--ra", "200", "--dec", "-10")
    assert dome("lightcurve", name).exit_code == 0
    assert dome("lightcurve", "Empty field").exit_code == 2
    out = tmp_path / "out"
    result = dome("export", str(out), "--format", "csv", "--plots")
    assert "1 light curves" in result.stdout
    assert "Empty field: nothing was measured" in result.stderr
    assert sorted(file.suffix for file in out.iterdir()) == [".csv", ".png"]
    assert all(file.parent == out and "<" not in file.name for file in out.iterdir())


def test_a_moving_target_is_measured_where_its_ephemeris_has_it(dome: Observatory, tmp_path: Path) -> None:
    ephemeris = tmp_path / "e.csv"
    ephemeris.write_text("mjd,ra,dec\n60000,10,10\n60001,11,10\n")
    dome("targets", "add", "Ceres", "--ephemeris", str(ephemeris))
    assert dome("lightcurve", "Ceres").exit_code == 2
    assert "2 rows" in dome("targets", "list", "--format", "csv").stdout
    rows = [f"{mjd},{TARGET[0]},{TARGET[1]}" for mjd in (60900, 61100)]
    ephemeris.write_text("\n".join(["mjd,ra,dec", *rows]))
    dome("targets", "add", "Vesta", "--ephemeris", str(ephemeris))
    # What is there is a star of the catalogue.
    assert dome("lightcurve", "Vesta").exit_code == 2


def test_one_target_that_cannot_be_reported_keeps_no_other_back(dome: Observatory, tmp_path: Path) -> None:
    dome("targets", "add", "x" * 31, *PLACE)
    dome("targets", "add", "z cyg", *PLACE)
    result = dome("export", str(tmp_path), "--format", "aavso", "--observer", "XYZ")
    assert result.exit_code == 1
    assert "names of 1 to 30 characters" in result.stderr
    assert "1 light curves could not be written as aavso" in result.stderr
    assert [file.name.split("-")[0] for file in tmp_path.glob("*.txt")] == ["z_cyg"]


def test_targets_are_imported(dome: Observatory, tmp_path: Path) -> None:
    file = tmp_path / "targets.csv"
    file.write_text("name,ra,dec\nA,10,20\nB,11,21\n")
    assert "2 targets" in dome("targets", "import", str(file)).stdout
    for words in (("import",), ("add", "Vesta", "--ephemeris")):
        missing = dome("targets", *words, str(tmp_path / "none.csv"))
        assert missing.exit_code == 1
        assert "none.csv: there is no such file; name a CSV of " in missing.stderr


def test_a_report_for_the_aavso(reduced: Observatory) -> None:
    words = ("lightcurve", *PLACE, "--format", "aavso")
    refused = reduced(*words)
    assert refused.exit_code == 1
    assert "give your AAVSO code, such as --observer XYZ" in refused.stderr
    lines = reduced(*words, "--observer", "XYZ").stdout.splitlines()
    assert lines[0] == "#TYPE=EXTENDED"
    assert sum(not line.startswith("#") for line in lines) == LIGHTS


def test_each_column_is_described_with_its_unit_and_what_its_error_holds(empty: Observatory) -> None:
    told = empty("lightcurve", "--columns")
    assert told.exit_code == 0
    lines = told.stdout.splitlines()
    assert [line.split()[0] for line in lines[: len(COLUMNS)]] == [column.name for column in COLUMNS]
    # The bits of the flags come after the column of that name.
    by_name = {line.split()[0]: line for line in reversed(lines) if line}
    for column in COLUMNS:
        assert f" {column.unit} " in by_name[column.name]
    errors = [column for column in COLUMNS if column.name.endswith("_err")]
    assert len(errors) == 5
    assert all("1 sigma of" in column.description for column in errors)
    assert "without that of the zero point" in by_name["mag_err"]
    assert "saturated: " in by_name["8"]
    assert "--columns" in empty("lightcurve", "--help").stdout

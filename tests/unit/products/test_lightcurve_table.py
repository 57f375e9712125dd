from __future__ import annotations

import csv
import io
import warnings
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io.votable import parse, validate
from astropy.table import QTable, Table

from nightflow.errors import ConfigurationError
from nightflow.lightcurves.light_curve import COLUMNS, LightCurve
from nightflow.products.lightcurve_table import FORMATS, encode, to_table, write
from tests.unit.products.light_curves import transit

NAMES = [column.name for column in COLUMNS]


def _read(content: bytes, format: str) -> Table:
    if format == "parquet":
        return Table(pq.read_table(io.BytesIO(content)).to_pydict())
    if format == "votable":
        return Table.read(io.BytesIO(content), format="votable")
    return Table.read(content.decode(), format="ascii.ecsv" if format == "ecsv" else "ascii.csv")


@pytest.fixture(params=[name for name in FORMATS if name != "parquet"])
def format(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_values_come_back_to_the_last_digit(format: str) -> None:
    curve = transit()
    table = _read(encode(curve, format), format)
    assert table.colnames == NAMES
    assert np.array_equal(table["bjd_tdb"], curve["bjd_tdb"])
    assert np.array_equal(table["flags"], curve["flags"])
    assert [str(name) for name in table["frame"]] == curve["frame"].tolist()


def test_nulls_come_back_as_nulls(format: str) -> None:
    table = _read(encode(transit(), format), format)
    assert np.flatnonzero(np.ma.getmaskarray(table["mag"])).tolist() == [3]
    assert np.flatnonzero(np.ma.getmaskarray(table["diff_mag"])).tolist() == [5]
    assert np.ma.getmaskarray(table["flux_ujy"]).all()


def test_parquet_comes_back_with_nulls_units_and_notes() -> None:
    curve = transit()
    table = pq.read_table(io.BytesIO(encode(curve, "parquet")))
    assert table.column_names == NAMES
    assert table["bjd_tdb"].to_pylist() == curve["bjd_tdb"].tolist()
    assert table["mag"].null_count == 1
    assert table["flux_ujy"].null_count == len(curve)
    assert table.schema.field("flux").metadata[b"unit"] == b"electron / s"
    assert table.schema.metadata[b"source"] == b"17"


def test_astropy_reads_parquet_with_units_and_notes() -> None:
    pytest.importorskip("pandas")
    curve = transit()
    table = QTable.read(io.BytesIO(encode(curve, "parquet")), format="parquet")
    assert str(table["flux"].unit) == "electron / s"
    assert table["flux"].info.description.startswith("Flux of the whole star above")
    assert np.array_equal(table["bjd_tdb"].value, curve["bjd_tdb"])
    assert np.isnan(table["mag"][3])
    assert table["frame"].tolist() == curve["frame"].tolist()
    assert table.meta == curve.meta


def test_a_votable_has_each_note_as_a_parameter() -> None:
    notes = parse(io.BytesIO(encode(transit(), "votable"))).get_first_table().params
    assert {one.name: one.value for one in notes} == transit().meta


def test_csv_is_plain_and_an_empty_cell_is_null() -> None:
    rows = list(csv.DictReader(io.StringIO(encode(transit(), "csv").decode())))
    assert list(rows[0]) == NAMES
    assert rows[3]["mag"] == ""
    assert rows[0]["flux_ujy"] == ""
    assert rows[7]["flags"] == "16"
    assert float(rows[0]["bjd_tdb"]) == 2458107.571234567


def test_ecsv_carries_units_and_notes() -> None:
    table = _read(encode(transit(), "ecsv"), "ecsv")
    assert str(table["flux"].unit) == "electron / s"
    assert str(table["ra"].unit) == "deg"
    assert table.meta["comparison_stars"].startswith("cam Clear")


def test_votable_follows_its_standard() -> None:
    content = encode(transit(), "votable")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        document = parse(io.BytesIO(content), verify="exception")
    assert document.get_first_table().nrows == 40
    assert validate(io.BytesIO(content), output=None)


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_light_curve_has_its_columns(name: str) -> None:
    none = transit().take(np.zeros(40, bool))
    table = _read(encode(none, name), name)
    assert table.colnames == NAMES
    assert len(table) == 0


@pytest.mark.parametrize("name", FORMATS)
def test_hostile_names_are_text(name: str) -> None:
    columns = dict(transit().take(np.arange(3)).columns)
    hostile = ["</FIELD><script>alert(1)</script>", '"; DROP TABLE source; --', "a\nb,c"]
    columns["frame"] = np.array(hostile, object)
    table = _read(encode(LightCurve(columns=columns), name), name)
    assert [str(value) for value in table["frame"]] == hostile


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(
        ConfigurationError, match="'xls' is not known; use one of csv, ecsv, votable, parquet"
    ):
        encode(transit(), "xls")


def test_the_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    path.write_text("old")
    write(transit(), path)
    assert path.read_bytes() == encode(transit())
    assert [one.name for one in tmp_path.iterdir()] == ["curve.csv"]


def test_the_table_is_masked_and_described() -> None:
    table = to_table(transit())
    assert table["mag"].mask.tolist().index(True) == 3
    assert table["diff_mag"].description

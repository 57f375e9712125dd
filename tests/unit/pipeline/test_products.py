"""Files for people: their names are safe, their failure costs no frame."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from nightflow.astrometry.solution import FittedStars
from nightflow.config import NotifySettings, ProductSettings
from nightflow.frame import Frame
from nightflow.instruments.header import FrameHeader, FrameKind, Site
from nightflow.instruments.registry import load_profiles
from nightflow.pipeline import products
from nightflow.pipeline.products import product_stem, write_products
from nightflow.pipeline.work import Work
from nightflow.store.targets import add_target
from tests.unit.pipeline.station import Station

PROFILE = load_profiles()[0]


def work(name: str = "d1047.fits.gz", **cards: Any) -> Work:
    values = {
        "instrument": "nickel",
        "kind": FrameKind.LIGHT,
        "object": "PG1323-086",
        "filter": "V",
        "exptime": 60.0,
        "mjd_mid": 60443.19,
        "shape": (24, 30),
        "site": Site(latitude=37.3, longitude=-121.6, height=1283.0),
    } | cards
    header = FrameHeader(**values)
    data = np.random.default_rng(1).normal(100, 5, (24, 30)).astype(np.float32)
    frame = Frame(
        data=data,
        unit="electron",
        header=header,
        raw_header=fits.Header(),
        variance=np.full_like(data, 25),
        flags=np.zeros(data.shape, np.uint16),
    )
    return Work(
        frame_id=7, exposure_id=5, path=Path("/raw") / name, profile=PROFILE, header=header, frame=frame
    )


def test_the_folder_is_the_evening_at_the_site(station: Station) -> None:
    stem = product_stem(work(), station.settings)
    assert stem == station.root / "products" / "2024-05-12" / "d1047-e5-f7"
    assert product_stem(work(mjd_mid=None), station.settings).parent.name == "undated"


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("frame.FIT", "frame"),
        ("a.b.fits.fz", "a.b"),
        ("....fits", "frame"),
        (".fits", "frame"),
        ("M 67; rm -rf ~.fits", "M_67_rm_-rf_"),
        ("ünïcode.fits", "_n_code"),
        ("new\nline\x00.fits", "new_line_"),
        ("x" * 200 + ".fits", "x" * 80),
    ],
)
def test_a_file_name_becomes_plain(station: Station, name: str, stem: str) -> None:
    assert product_stem(work(name), station.settings).name == f"{stem}-e5-f7"


def test_another_compression_leaves_one_file(station: Station) -> None:
    context = station.reducer().context
    plain = Path(write_products(work(), context)["reduced"])
    rice = context.settings.model_copy(update={"products": ProductSettings(compression="rice")})
    packed = Path(write_products(work(), replace(context, settings=rice))["reduced"])
    assert packed.name == plain.name + ".fz"
    assert not plain.exists()
    write_products(work(), context)
    assert plain.exists()
    assert not packed.exists()


def test_residuals_are_drawn_where_asked_for(station: Station) -> None:
    """And go when they are not asked for any more."""
    one = work()
    zeros = np.zeros(8)
    one.solution = SimpleNamespace(  # type: ignore[assignment]
        stars=FittedStars(
            x=np.arange(8.0), y=zeros, dx=zeros, dy=zeros, ra=zeros, dec=zeros, mag=zeros, error=zeros
        ),
        evidence=SimpleNamespace(corner_errors_arcsec=(0.1,) * 4, corner_rms_arcsec=0.2),
        scale=1.0, backend="hint", rms_arcsec=0.1, heldout_rms_arcsec=0.1, lent=None,
    )  # fmt: skip
    context = station.reducer().context
    assert set(write_products(one, context)) == {"reduced", "thumbnail"}
    wanted = context.settings.model_copy(update={"products": ProductSettings(residual_plots=True)})
    written = write_products(one, replace(context, settings=wanted))
    assert set(written) == {"reduced", "thumbnail", "residuals"}
    assert Path(written["residuals"]).read_bytes().startswith(b"\x89PNG")
    write_products(one, context)
    assert not Path(written["residuals"]).exists()


def test_the_engine_is_named(station: Station) -> None:
    context = station.reducer().context
    settings = context.settings.model_copy(update={"engine": "reference"})
    written = write_products(work(), replace(context, settings=settings))
    assert fits.getheader(written["reduced"])["SOFTWARE"].endswith("engine reference")


@pytest.mark.parametrize("text", ["../../etc/passwd", "/abs/olute", "a/b", "..", "\x00", "'; DROP TABLE"])
def test_no_text_of_a_header_is_in_a_path(station: Station, text: str) -> None:
    hostile = work(object=text, filter=text, detector=text, instrument=text, date_obs=text)
    assert product_stem(hostile, station.settings) == product_stem(work(), station.settings)
    written = write_products(hostile, station.reducer().context)
    assert {Path(path).parent for path in written.values()} == {station.root / "products" / "2024-05-12"}


def test_the_same_name_from_two_folders_makes_two_products(station: Station) -> None:
    one, other = work(), work()
    other.exposure_id, other.frame_id = 6, 8
    assert product_stem(one, station.settings) != product_stem(other, station.settings)


def test_frame_and_thumbnail_are_written(station: Station) -> None:
    written = write_products(work(), station.reducer().context)
    np.testing.assert_array_equal(fits.getdata(written["reduced"]).shape, (24, 30))
    assert Path(written["thumbnail"]).read_bytes().startswith(b"\x89PNG")


def test_packed_frames_end_in_fz(station: Station) -> None:
    context = station.reducer().context
    packed = context.settings.model_copy(update={"products": ProductSettings(compression="lossless")})
    written = write_products(work(), replace(context, settings=packed))
    assert written["reduced"].endswith("d1047-e5-f7.fits.fz")
    assert fits.getdata(written["reduced"], "SCI").shape == (24, 30)


def test_the_targets_place_comes_from_the_list_else_from_the_pointing(station: Station) -> None:
    context = station.reducer().context
    pointed = write_products(work(object="M 1", ra=83.6, dec=22.0), context)["reduced"]
    assert fits.getheader(pointed)["RA-OBJ"] == 83.6
    add_target(context.database, "M 1", 83.63, 22.01)
    listed = write_products(work(object="m1", ra=83.6, dec=22.0), context)["reduced"]
    assert fits.getheader(listed)["RA-OBJ"] == pytest.approx(83.63)
    assert "RA-OBJ" not in fits.getheader(write_products(work(object=""), context)["reduced"])


def test_before_calibration_there_is_nothing_to_write(station: Station) -> None:
    early = work()
    early.frame = None
    assert write_products(early, station.reducer().context) == {}


def test_a_folder_that_cannot_be_made_costs_the_files_and_is_said(
    station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    (station.root / "products").write_text("in the way")
    frame = work()
    with caplog.at_level(logging.WARNING):
        assert write_products(frame, station.reducer().context) == {}
    (warning,) = frame.warnings
    assert warning.startswith("products not written: ")
    assert "d1047.fits.gz" in caplog.text


@pytest.fixture
def disk(station: Station, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A disk with 1 GiB left besides what the products take."""

    def usage(_: object) -> SimpleNamespace:
        taken = sum(file.stat().st_size for file in (station.root / "products").rglob("*") if file.is_file())
        return SimpleNamespace(free=room.free - taken)

    room = SimpleNamespace(free=2**30)
    monkeypatch.setattr(shutil, "disk_usage", usage)
    return room


def test_products_leave_room_for_the_ledger(
    station: Station, disk: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    frame, context = work(), station.reducer().context
    disk.free = 5 * 2**30
    assert write_products(frame, context) == {}
    (warning,) = frame.warnings
    assert warning.startswith("products not written: NoRoom: ")
    assert "5.0 GiB left on its disk, notify.room_gib = 5 are to stay free" in warning
    assert "Traceback" not in caplog.text
    disk.free = 5 * 2**30 + 2**23
    assert set(write_products(work(), context)) == {"reduced", "thumbnail"}


def test_where_all_of_the_disk_may_be_filled_products_are_written(
    station: Station, disk: SimpleNamespace
) -> None:
    context = station.reducer().context
    settings = context.settings.model_copy(update={"notify": NotifySettings(room_gib=0)})
    disk.free = 2**20
    assert write_products(work(), replace(context, settings=settings))


def test_with_a_quota_the_oldest_products_leave_the_room(station: Station, disk: SimpleNamespace) -> None:
    station.settings = station.settings.model_copy(update={"products": ProductSettings(quota=100)})
    context = station.reducer().context
    old = station.root / "products" / "2024-05-01" / "old-e1-f1.fits"
    old.parent.mkdir(parents=True)
    old.write_bytes(bytes(2**23))
    disk.free = 5 * 2**30 + 2**23
    assert set(write_products(work(), context)) == {"reduced", "thumbnail"}
    assert not old.exists()
    disk.free = 5 * 2**30
    frame = work()
    assert write_products(frame, context) == {}
    assert "products not written: NoRoom" in frame.warnings[0]


def test_a_full_disk_costs_the_files_and_leaves_no_half_one(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fits.HDUList, "writeto", full)
    frame = work()
    assert write_products(frame, station.reducer().context) == {}
    assert "No space left on device" in frame.warnings[0]
    assert [path for path in (station.root / "products").rglob("*") if path.is_file()] == []


def test_a_reduced_frame_that_stands_is_named_though_its_picture_failed(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(products, "write_thumbnail", full)
    frame = work()
    written = write_products(frame, station.reducer().context)
    assert list(written) == ["reduced"]
    assert Path(written["reduced"]).is_file()
    assert "No space left on device" in frame.warnings[0]

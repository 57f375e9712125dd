from __future__ import annotations

from pathlib import Path

import pytest
from astropy.io import fits
from typer.testing import CliRunner

from nightflow.cli import app
from nightflow.demo import night
from nightflow.errors import NightflowError


def test_simulate_writes_frames_catalogue_and_truth(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["simulate", str(tmp_path / "n"), "--small", "--lights", "1"])
    assert result.exit_code == 0
    assert f"12 frames in {tmp_path / 'n' / 'raw'}" in result.stdout.replace("\n", "")
    assert len(list((tmp_path / "n" / "raw").glob("*.fits"))) == 12
    assert (tmp_path / "n" / "catalog.csv").is_file()


@pytest.mark.parametrize(
    ("camera", "hdus"), [("amplifiers", "1A 1B 1C 1D"), ("mosaic", "CCD1 CCD2 CCD3 CCD4")]
)
def test_simulate_has_cameras_of_several_hdus(tmp_path: Path, camera: str, hdus: str) -> None:
    words = ["simulate", str(tmp_path), "--small", "--lights", "1", "--camera", camera]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0
    assert "12 frames in" in result.stdout
    with fits.open(tmp_path / "raw" / "0012-light-R.fits") as light:
        assert [hdu.name for hdu in light[1:]] == hdus.split()


def test_simulate_into_a_file_exits_with_1(tmp_path: Path) -> None:
    (tmp_path / "n").touch()
    result = CliRunner().invoke(app, ["simulate", str(tmp_path / "n"), "--small", "--lights", "1"])
    assert result.exit_code == 1
    assert "Traceback" not in result.output


def test_a_demo_that_cannot_start_its_server_exits_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise NightflowError("the Prefect server did not start")

    monkeypatch.setattr(night, "run_demo", broken)
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code == 1
    assert "did not start" in result.output

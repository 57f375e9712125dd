from __future__ import annotations

import csv
import io
import json

import pytest

from nightflow.commands import common, ledger
from tests.unit.commands.conftest import CALIBRATIONS, LIGHTS, NIGHT, Observatory

pytestmark = pytest.mark.xdist_group("commands")

PUBLISHED = [
    "path",
    "hdu",
    "detector",
    "kind",
    "object",
    "filter",
    "exptime",
    "mjd_mid",
    "night",
    "airmass",
    "state",
    "reason",
    "received_at",
    "done_at",
    "fwhm_px",
    "ellipticity",
    "sky",
    "n_sources",
    "n_cosmic",
    "wcs_backend",
    "wcs_quality",
    "wcs_rms_arcsec",
    "wcs_heldout_rms_arcsec",
    "wcs_n_matched",
    "ra_center",
    "dec_center",
    "scale",
    "rotation",
    "parity",
    "zp",
    "zp_adu",
    "zp_err",
    "zp_scatter",
    "zp_n_stars",
    "zp_catalog",
    "mag_system",
    "color_term",
    "depth_5sigma",
    "masters",
    "seconds",
    "seconds_wcs",
    "version",
    "instrument",
    "date_obs",
    "ny",
    "nx",
    "ccd_temp",
    "gain",
    "width_deg",
    "height_deg",
    "fwhm_arcsec",
    "fwhm_err_px",
    "n_fwhm_stars",
    "trailing",
    "trailing_angle",
    "sky_rms",
    "threshold",
    "n_photometry",
    "n_saturated_pixels",
    "n_saturated_sources",
    "adu_rate_brightest",
    "adu_rate_median",
    "adu_rate_faintest",
    "grade",
    "grade_reason",
    "color_term_err",
    "zp_origin",
    "wcs_n_expected",
    "wcs_chance_matches",
    "wcs_log_false_alarm",
    "wcs_corner_rms_arcsec",
    "wcs_corner_err_arcsec",
    "wcs_distortion",
    "hour_angle",
    "exposure_id",
]


def test_frames_as_csv_have_the_published_columns(reduced: Observatory) -> None:
    rows = list(csv.DictReader(io.StringIO(reduced("frames", "--format", "csv").stdout)))
    assert list(rows[0]) == PUBLISHED
    assert len(rows) == LIGHTS + CALIBRATIONS
    assert {row["night"] for row in rows} == {NIGHT}
    bias = next(row for row in rows if row["kind"] == "bias")
    assert bias["zp"] == ""
    lights = [row for row in rows if row["kind"] == "light"]
    assert {row["wcs_quality"] for row in lights} == {"verified"}
    assert [float(row["scale"]) for row in lights] == pytest.approx([3.0] * LIGHTS, abs=0.01)
    assert [row["mjd_mid"] for row in rows] == sorted((row["mjd_mid"] for row in rows), key=float)
    assert {row["grade"] for row in lights} <= {"good", "fair", "bad"}
    assert {row["zp_origin"] for row in lights} == {"frame"}
    for row in lights:
        assert 0 < float(row["color_term_err"]) < 0.05
        assert 0 < int(row["n_photometry"]) <= int(row["n_sources"])
        assert 0 < float(row["adu_rate_faintest"]) < float(row["adu_rate_median"])
        assert float(row["width_deg"]) == pytest.approx(int(row["nx"]) * 3.0 / 3600, rel=0.01)
        assert 0 < float(row["fwhm_err_px"]) < 0.3


def test_frames_of_one_state(reduced: Observatory) -> None:
    assert json.loads(reduced("frames", "--state", "failed", "--format", "json").stdout) == []
    wrong = reduced("frames", "--state", "lost")
    assert wrong.exit_code == 2
    assert "lost" in wrong.output


def test_frames_as_a_table_names_each_file(reduced: Observatory) -> None:
    table = reduced("frames").stdout
    assert table.count("verifi") == LIGHTS
    assert table.count(NIGHT) == LIGHTS + CALIBRATIONS
    rows = json.loads(reduced("frames", "--format", "json").stdout)
    named = {f"{row['exposure_id']} {row['path'].rpartition('/')[2]}" for row in rows}
    assert named <= {" ".join(line.split()[:2]) for line in table.splitlines()}


def test_what_most_frames_say_is_told_once_and_each_says_its_own(
    reduced: Observatory, monkeypatch: pytest.MonkeyPatch
) -> None:
    common_to_all = "dark: master b6d97ab67768 is provisional: 3 inputs, no more than needed"
    reasons = [common_to_all, common_to_all, f"{common_to_all}; no flat in V for simulator", ""]
    rows = [
        dict.fromkeys(PUBLISHED)
        | {"path": f"/raw/{number}.fits", "kind": "light", "state": "done", "reason": reason}
        for number, reason in enumerate([*reasons, "/raw/4.fits: not FITS: begins with a PNG"])
    ]
    monkeypatch.setattr(ledger, "frame_rows", lambda *_: rows)
    monkeypatch.setattr(common.console, "width", 200)
    told = reduced("frames")
    assert "no flat in V for simulator" in told.stdout
    assert "not FITS: begins with a PNG" in told.stdout
    assert "/raw/4.fits: not FITS" not in told.stdout
    assert common_to_all not in told.stdout
    assert told.stderr.strip() == f"3 of the 5 frames: {common_to_all}"


def test_chips_of_a_file_are_told_apart(reduced: Observatory, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "detector" not in reduced("frames").stdout
    rows = [
        dict.fromkeys(PUBLISHED)
        | {"path": "/raw/light.fits", "detector": chip, "kind": "light", "object": "M 67", "night": NIGHT}
        | {"state": "held", "reason": "fewer than 8 catalogue stars within 0.33 deg", "wcs_quality": "none"}
        for chip in ("CCD1", "CCD2")
    ]
    monkeypatch.setattr(ledger, "frame_rows", lambda *_: rows)
    monkeypatch.setattr(common.console, "width", 80)
    table = reduced("frames").stdout
    for chip in ("CCD1", "CCD2"):
        assert f"light.fits {chip} light M 67: fewer than 8" in table
        assert table.count(chip) == 2


def test_status_as_json(reduced: Observatory) -> None:
    status = json.loads(reduced("status", "--format", "json").stdout)
    assert status["states"]["done"] == LIGHTS + CALIBRATIONS
    assert set(status["states"]) == {
        "received", "reducing", "done", "held", "rejected", "failed", "duplicate"
    }  # fmt: skip
    assert status["queue"] == 0
    assert status["last_error"] is None


def test_status_tells_the_last_error(dome: Observatory) -> None:
    bad = dome.root / "bad.fits"
    bad.touch()
    dome("run", str(bad))
    assert json.loads(dome("status", "--format", "json").stdout)["last_error"]["state"] == "rejected"
    said = dome("status").stdout
    assert said.count(str(bad)) == 1
    assert "bad.fits (rejected, " in said
    assert "ago): empty file" in said


def test_retry_queues_by_name_number_and_state(dome: Observatory) -> None:
    assert "1 put back" in dome("retry", "0012-light-R.fits").stdout
    assert "1 put back" in dome("retry", "13").stdout
    assert json.loads(dome("status", "--format", "json").stdout)["queue"] == 2
    rest = dome("retry", "--state", "done").stdout.splitlines()
    assert rest[0].startswith(f"{LIGHTS + CALIBRATIONS - 2} put back")
    assert rest[-1] == f"  and {LIGHTS + CALIBRATIONS - 2 - common.LISTED} more"
    assert len(rest) == common.LISTED + 2


def test_retry_says_what_it_queued(dome: Observatory) -> None:
    rows = json.loads(dome("frames", "--format", "json").stdout)
    (number,) = (row["exposure_id"] for row in rows if row["path"].endswith("0012-light-R.fits"))
    assert dome("retry", "0012-light").stdout.splitlines()[1:] == [f"  {number}  0012-light-R.fits"]


def test_retry_takes_no_exposure_of_which_only_a_part_of_the_name_is_meant(dome: Observatory) -> None:
    refused = dome("retry", "light")
    assert refused.exit_code == 1
    assert f"{LIGHTS} exposures are called 'light'; say which, by number or name" in refused.stderr
    assert json.loads(dome("status", "--format", "json").stdout)["queue"] == 0


def test_versions_of_an_overwritten_file_are_told_apart_and_retried_by_number(dome: Observatory) -> None:
    landed = dome.root / "overwritten.fits"
    for raw in sorted(dome.raw.glob("*bias*"))[:2]:
        landed.write_bytes(raw.read_bytes() + bytes(2880))
        dome("run", str(landed))
    rows = [
        row
        for row in csv.DictReader(io.StringIO(dome("frames", "--format", "csv").stdout))
        if row["path"] == str(landed)
    ]
    first, second = (row["exposure_id"] for row in rows)
    assert first != second
    refused = dome("retry", "overwritten.fits")
    assert refused.exit_code == 1
    assert f"  {first}  " in refused.stderr
    assert f"  {second}  " in refused.stderr
    assert dome("retry", second).stdout.splitlines()[1:] == [f"  {second}  overwritten.fits"]


def test_retry_says_why_it_leaves_an_exposure(dome: Observatory) -> None:
    copy = dome.root / "delivered-twice.fits"
    copy.write_bytes(min(dome.raw.glob("*light*")).read_bytes())
    dome("run", str(copy))
    left = dome("retry", "delivered-twice.fits")
    assert left.stdout.strip() == "0 put back into the queue"
    assert "delivered-twice.fits is duplicate: it is left as it is" in left.stderr


def test_retry_says_what_is_missing(reduced: Observatory) -> None:
    assert "say which" in reduced("retry").stderr
    assert "say which" in reduced("retry", "a", "--state", "done").stderr
    nothing = reduced("retry", "no-such-frame")
    assert nothing.exit_code == 1
    assert "no exposure is called 'no-such-frame'" in nothing.stderr

from __future__ import annotations

import json
import shutil

import pytest

from tests.unit.commands.conftest import Observatory

pytestmark = pytest.mark.xdist_group("commands")


def test_a_light_is_explained_for_a_person(reduced: Observatory) -> None:
    result = reduced("explain", "0012-light-R.fits")
    assert result.exit_code == 0
    text = result.stdout
    assert "night 2025-10-24" in text
    for kind in ("bias", "dark", "flat"):
        assert f"\n  {kind} " in text
    assert text.count("why: the only one that fits") == 3
    assert "wcs         verified by" in text
    assert "stars of field" in text
    assert "version 1   current" in text


def test_the_json_holds_numbers_that_agree_with_the_frame(reduced: Observatory) -> None:
    story = json.loads(reduced("explain", "0012", "--format", "json").stdout)
    (frame,) = story["frames"]
    rows = json.loads(reduced("frames", "--format", "json").stdout)
    row = next(row for row in rows if row["path"].endswith("0012-light-R.fits"))
    assert frame["flux"]["zp"] == row["zp"]
    assert frame["wcs"]["wcs_n_matched"] == row["wcs_n_matched"]
    assert frame["measurements"] == row["n_sources"]
    assert sum(frame["timings"].values()) == pytest.approx(row["seconds"])
    masters = {master["kind"]: master["used"] for master in frame["masters"]}
    assert {kind: used["n_inputs"] for kind, used in masters.items()} == {"bias": 5, "dark": 3, "flat": 3}


def test_it_is_told_where_the_zero_point_is_from(dome: Observatory) -> None:
    (frame,) = json.loads(dome("explain", "0012", "--format", "json").stdout)["frames"]
    flux = frame["flux"]
    assert (flux["zp_origin"], flux["zp_n_stars"] > 20) == ("frame", True)
    # Of the simulator's R band, at an airmass between 1 and 2.
    assert flux["color_term"] == pytest.approx(-0.074, abs=4 * flux["color_term_err"])
    assert 0 < flux["color_term_err"] < 0.05
    own = f"own fit from {flux['zp_n_stars']} stars of field, scatter {flux['zp_scatter']:.3f}"
    term = f"colour term {flux['color_term']:.3f} +- {flux['color_term_err']:.3f}"
    told = dome("explain", "0012").stdout
    assert f" for 1 ADU/s; {own}; {term}; 5 sigma" in told
    assert "(Vega R) for 1 electron/s, " in told
    with dome.database as database, database.write() as session:
        session.connection().exec_driver_sql(
            "UPDATE reduction SET zp_origin = 'night', zp_n_stars = 2, color_term = NULL"
        )
    lent = "lent by the night, 2 stars of field on the frame itself; no colour term; 5 sigma"
    assert lent in dome("explain", "0012").stdout
    rows = json.loads(dome("frames", "--format", "json").stdout)
    assert {row["zp_origin"] for row in rows if row["kind"] == "light"} == {"night"}


def test_every_flag_is_counted_and_decoded(reduced: Observatory) -> None:
    (frame,) = json.loads(reduced("explain", "0012", "--format", "json").stdout)["frames"]
    with reduced.database as database, database.session() as session:
        from sqlalchemy import text

        rows = session.connection().execute(
            text(
                "SELECT m.flags FROM measurement m JOIN reduction r ON r.id = m.reduction_id "
                "WHERE r.current AND r.frame_id = :frame"
            ),
            {"frame": frame["frame"]["id"]},
        )
        words = [word for (word,) in rows]
    bits = {"bad": 1, "hot": 2, "warm": 4, "saturated": 8, "cosmic_ray": 16, "dead": 32, "interpolated": 64}
    bits |= {"edge": 128, "neighbour": 256, "trail": 512, "persistence": 1024}
    wanted = {name: sum(bool(word & bit) for word in words) for name, bit in bits.items()}
    counted = {flag["flag"]: flag["measurements"] for flag in frame["flags"]}
    assert counted == {name: number for name, number in wanted.items() if number}
    assert counted["edge"] > 0
    assert frame["unflagged"] == words.count(0)


def test_a_calibration_names_the_master_that_it_went_into(reduced: Observatory) -> None:
    text = reduced("explain", "0003-bias.fits").stdout
    assert "into master bias" in text
    assert "wcs" not in text


def test_a_number_means_an_exposure_and_a_fragment_a_file(reduced: Observatory) -> None:
    assert reduced("explain", "1").stdout.splitlines()[0].endswith("0001-bias.fits")
    assert reduced("explain", "0001").stdout.splitlines()[0].endswith("0001-bias.fits")


def test_a_file_that_was_delivered_twice_has_one_story(dome: Observatory) -> None:
    again = dome.root / "again"
    again.mkdir()
    shutil.copy(dome.raw / "0012-light-R.fits", again)
    assert dome("run", str(again)).exit_code == 0
    assert dome("explain", "0012-light-R.fits").stdout.splitlines()[0] == str(dome.raw / "0012-light-R.fits")
    told = dome("explain", str(again / "0012-light-R.fits"))
    assert "duplicate: same content as" in told.stdout


def test_what_means_several_is_listed(reduced: Observatory) -> None:
    result = reduced("explain", "light")
    assert result.exit_code == 1
    assert "3 exposures are called 'light'" in result.stderr
    assert "0014-light-R.fits" in result.stderr
    assert reduced("explain", "nothing-of-that-name").exit_code == 1


def test_a_frame_without_its_master_tells_what_ruled_out_the_nearest(dome: Observatory) -> None:
    flat = json.loads(dome("masters", "list", "--kind", "flat", "--format", "json").stdout)[0]
    dome("masters", "reject", str(flat["id"]), "--reason", "lamp off")
    dome("run", str(dome.raw))
    text = dome("explain", "0012").stdout
    assert "flat        (required) none used" in text
    assert f"not: master {flat['fingerprint'][:12]}" in text
    assert "state rejected" in text


def test_a_file_that_was_never_recognised(dome: Observatory) -> None:
    bad = dome.root / "bad.fits"
    bad.touch()
    dome("run", str(bad))
    text = dome("explain", "bad.fits").stdout
    assert "rejected" in text
    assert "empty file" in text
    assert "never recognised" in text


def test_a_copy_is_told_to_be_one(dome: Observatory) -> None:
    original = next(dome.raw.glob("*light*.fits"))
    copy = dome.root / "copy.fits"
    shutil.copy(original, copy)
    dome("run", str(copy))
    text = dome("explain", "copy.fits").stdout
    assert "duplicate" in text
    assert "none: another file has the same content" in text


def test_a_name_cannot_steer_the_terminal(dome: Observatory) -> None:
    bad = dome.root / "\x1b[31mred.fits"
    bad.touch()
    dome("run", str(bad))
    assert "\x1b" not in dome("explain", "red.fits").stdout
    assert "\x1b" not in dome("frames").stdout


def test_each_warning_and_each_missing_master_is_told_once(dome: Observatory) -> None:
    with dome.database as database, database.write() as session:
        session.connection().exec_driver_sql(
            'UPDATE reduction SET warnings = \'["gain unknown; 1 assumed", "no colour term"]\''
        )
        for table in ("frame", "exposure"):
            session.connection().exec_driver_sql(
                f"UPDATE {table} SET reason = 'gain unknown; 1 assumed; no colour term; dome was shut'"
            )
    told = dome("explain", "0012").stdout
    for text in ("gain unknown; 1 assumed", "dome was shut", "  warning     no colour term\n"):
        assert told.count(text) == 1
    with dome.database as database, database.write() as session:
        session.connection().exec_driver_sql("UPDATE frame SET reason = 'gain unknown; 1 assumed'")
        session.connection().exec_driver_sql("UPDATE exposure SET reason = 'gain unknown; 1 assumed'")
    assert dome("explain", "0012").stdout.count("done, with the warnings below") == 2

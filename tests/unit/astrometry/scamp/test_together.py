"""Mosaics and fields through the real SCAMP, against a truth of which neither knows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from nightflow.astrometry.scamp.layout import Placed, learn_layout
from nightflow.astrometry.scamp.together import solve_together
from nightflow.astrometry.solution import Quality
from nightflow.catalogs.local import LocalCatalogs
from nightflow.errors import NoSolution
from nightflow.instruments.profile import AstrometrySettings, ScampSettings
from nightflow.products.scamp_folder import chip_offsets, write_scamp_folder
from nightflow.report.offsets_plot import offsets_png
from tests.unit.astrometry.scamp import mosaic

pytestmark = pytest.mark.system

SETTINGS = AstrometrySettings(scale=mosaic.SCALE)
STARS = mosaic.sky(150.0)
HERE = mosaic.pointing()
THREE = mosaic.chips(3, 1)


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> LocalCatalogs:
    return mosaic.catalogs(tmp_path_factory.mktemp("catalogs"), STARS)


@pytest.fixture(scope="module")
def exposure():
    return mosaic.exposure("combined_acat", HERE, THREE, STARS)


def errors(together, where, chips) -> list[float]:
    assert [answer.reason for answer in together.answers] == [""] * len(chips)
    return [
        mosaic.worst_error(answer.solution.wcs, where, chip)
        for answer, chip in zip(together.answers, chips, strict=True)
    ]


def test_eighteen_chips_in_one_call(catalogs: LocalCatalogs, tmp_path: Path) -> None:
    """From 1.6" off, by distortion and pointing, to 0.05" of the truth in every corner."""
    chips = mosaic.chips()
    whole = mosaic.exposure("combined_acat", HERE, chips, STARS)
    before = [
        mosaic.worst_error(frame.start, HERE, chip) for frame, chip in zip(whole.chips, chips, strict=True)
    ]
    assert min(before) > 0.5
    assert max(before) > 1.3
    (tmp_path / "scamp").mkdir()
    together = solve_together([whole], catalogs, SETTINGS, tmp_path / "scamp")
    assert together.degree == 3
    assert max(errors(together, HERE, chips)) < 0.05
    for answer in together.answers:
        assert answer.solution.quality is Quality.VERIFIED
        assert answer.solution.backend == "scamp"
        assert 60 < answer.n_scamp < 160
        # noise of the centroids, 0.01 to 0.05 pixels an axis
        assert 0.005 < answer.solution.heldout_rms_arcsec < 0.04
    offsets = chip_offsets([whole], together)
    out = tmp_path / "out"
    scamp = tmp_path / "scamp"
    write_scamp_folder(
        out, scamp, [whole], together, offsets, offsets_png(offsets, "18 chips"), now=datetime.now(UTC)
    )
    for chip in chips:
        header = fits.Header.fromfile(out / f"{chip.name}_img.head", padding=True)
        assert mosaic.worst_error(WCS(header), HERE, chip) < 0.05
    with fits.open(out / "combined_acat.fits") as hdus:
        assert len(hdus) == 1 + 2 * len(chips)
    assert len((out / "scamp_coord.txt").read_text().splitlines()) == sum(
        len(frame.request.x) for frame in whole.chips
    )
    assert (out / "radec_off.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "merged_1.cat").is_file()


def test_head_is_the_solution(catalogs, exposure, tmp_path: Path) -> None:
    """What is passed on as SIP and what SCAMP wrote as TPV are the same sky."""
    from nightflow.astrometry.scamp.headers import wcs_of_head

    together = solve_together([exposure], catalogs, SETTINGS, tmp_path)
    for answer, chip in zip(together.answers, THREE, strict=True):
        assert answer.head["CTYPE1"] == "RA---TPV"
        corners = np.array([[0, 0], [mosaic.SHAPE[1] - 1, 0], [0, mosaic.SHAPE[0] - 1]], float)
        apart = wcs_of_head(answer.head).all_pix2world(corners, 0) - answer.solution.wcs.all_pix2world(
            corners, 0
        )
        assert np.abs(apart).max() * 3600.0 < 0.003
        assert mosaic.worst_error(wcs_of_head(answer.head), HERE, chip) < 0.05


def test_linear_solutions_are_plain_tan(catalogs, exposure, tmp_path: Path) -> None:
    linear = SETTINGS.model_copy(update={"scamp": ScampSettings(degree=1)})
    together = solve_together([exposure], catalogs, linear, tmp_path)
    for answer, chip in zip(together.answers, THREE, strict=True):
        assert answer.head["CTYPE1"] == "RA---TAN"
        assert mosaic.worst_error(answer.solution.wcs, HERE, chip) < 1.5


def test_a_chip_without_a_place_is_put_by_the_layout(catalogs, exposure, tmp_path: Path) -> None:
    before = mosaic.pointing(ra=80.0, dec=-40.0, rotation=11.0)
    layout = learn_layout(
        {chip.name: Placed(wcs=mosaic.true_wcs(before, chip), shape=mosaic.SHAPE) for chip in THREE},
        before.ra,
        before.dec,
    )
    lost = replace(
        exposure, chips=(exposure.chips[0], *(replace(one, start=None) for one in exposure.chips[1:]))
    )
    together = solve_together([lost], catalogs, SETTINGS, tmp_path, layout=layout)
    assert max(errors(together, HERE, THREE)) < 0.05
    without = solve_together([lost], catalogs, SETTINGS, tmp_path)
    assert [answer.solution is None for answer in without.answers] == [False, True, True]
    assert "no layout of the camera" in without.answers[1].reason


def test_a_pointing_and_a_layout_are_enough(catalogs, exposure, tmp_path: Path) -> None:
    """30" off in pointing, no chip solved."""
    before = mosaic.pointing(ra=80.0, dec=-40.0)
    layout = learn_layout(
        {chip.name: Placed(wcs=mosaic.true_wcs(before, chip), shape=mosaic.SHAPE) for chip in THREE},
        before.ra,
        before.dec,
    )
    hint = {"ra": HERE.ra + 30.0 / 3600.0, "dec": HERE.dec - 10.0 / 3600.0}
    lost = replace(
        exposure,
        chips=tuple(replace(one, start=None, request=replace(one.request, **hint)) for one in exposure.chips),
    )
    assert (
        max(errors(solve_together([lost], catalogs, SETTINGS, tmp_path, layout=layout), HERE, THREE)) < 0.05
    )
    with pytest.raises(NoSolution, match="no chip has a WCS to start from"):
        solve_together([lost], catalogs, SETTINGS, tmp_path)


def test_another_field_is_refused(catalogs, exposure, tmp_path: Path) -> None:
    """SCAMP ends with status 0 and writes headers; nothing of it may pass."""
    far = mosaic.pointing(ra=HERE.ra + 0.06, dec=HERE.dec + 0.05)
    wrong = replace(
        exposure,
        chips=tuple(
            replace(one, start=mosaic.rough_wcs(far, chip))
            for one, chip in zip(exposure.chips, THREE, strict=True)
        ),
    )
    together = solve_together([wrong], catalogs, SETTINGS, tmp_path)
    assert [answer.solution for answer in together.answers] == [None] * 3
    assert all(answer.head is not None for answer in together.answers)
    assert "SCAMP identified" in together.answers[0].reason


def test_one_bad_chip_is_refused_by_itself(catalogs, exposure, tmp_path: Path) -> None:
    """Detections of no sky on one chip; the others are as good as ever."""
    rng = np.random.default_rng(9)
    n = len(exposure.chips[1].request.x)
    noise = replace(exposure.chips[1].request, x=rng.uniform(0, 1055, n), y=rng.uniform(0, 1023, n))
    spoiled = replace(
        exposure, chips=(exposure.chips[0], replace(exposure.chips[1], request=noise), exposure.chips[2])
    )
    first, second, third = solve_together([spoiled], catalogs, SETTINGS, tmp_path).answers
    assert second.solution is None
    assert second.reason
    for answer, chip in ((first, THREE[0]), (third, THREE[2])):
        assert mosaic.worst_error(answer.solution.wcs, HERE, chip) < 0.06


def test_frames_of_a_field_share_a_distortion(tmp_path: Path) -> None:
    """Some 22 stars a chip are too few for a cubic; on six frames, on both sides of the pier, they do."""
    stars = mosaic.sky(25.0)
    local = mosaic.catalogs(tmp_path / "catalogs", stars)
    chips = mosaic.chips(2, 1)
    pointings = [
        mosaic.pointing(ra=150.0 + 0.01 * k, dec=30.0 - 0.008 * k, rotation=12.0 + 180.0 * (k > 2))
        for k in range(6)
    ]
    exposures = [
        mosaic.exposure(f"frame{k}", where, chips, stars, seed=k) for k, where in enumerate(pointings)
    ]
    worst = {}
    for stability in ("exposure", "instrument"):
        settings = SETTINGS.model_copy(update={"scamp": ScampSettings(stability=stability)})
        together = solve_together(exposures, local, settings, tmp_path)
        worst[stability] = [
            mosaic.worst_error(answer.solution.wcs, where, chip)
            for answer, (where, chip) in zip(
                together.answers, [(where, chip) for where in pointings for chip in chips], strict=True
            )
        ]
    assert np.median(worst["instrument"]) < 0.5 * np.median(worst["exposure"])
    assert np.median(worst["instrument"]) < 0.1


def test_a_plain_camera_gets_a_plain_solution(
    tmp_path: Path, catalogs: LocalCatalogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without distortion a cubic would only run away in the corners."""
    monkeypatch.setattr(mosaic, "CUBIC", 0.0)
    monkeypatch.setattr(mosaic, "QUADRATIC", 0.0)
    plain = mosaic.exposure("combined_acat", HERE, THREE, STARS)
    together = solve_together([plain], catalogs, SETTINGS, tmp_path)
    assert together.degree == 1
    assert max(errors(together, HERE, THREE)) < 0.01
    # the files are those of this degree, not of the last one tried
    assert "PV1_" not in (tmp_path / "combined_acat.head").read_text(errors="replace")


def moving_stars():
    """Return `STARS` with proper motions of 0.5" a year an axis: SCAMP's mean epoch is 0.6 pixels off."""
    rng = np.random.default_rng(4)
    pmra, pmdec = rng.normal(0.0, 500.0, (2, len(STARS)))
    return replace(STARS, pmra=pmra, pmdec=pmdec)


def test_each_frame_is_judged_at_its_own_epoch(tmp_path: Path) -> None:
    stars, chips = moving_stars(), THREE[:1]
    local = mosaic.catalogs(tmp_path / "catalogs", stars)
    exposures = [
        mosaic.exposure(f"frame{k}", HERE, chips, stars.at_epoch(epoch), seed=k)
        for k, epoch in enumerate((2016.05, 2016.95))
    ]
    (tmp_path / "scamp").mkdir()
    together = solve_together(exposures, local, SETTINGS, tmp_path / "scamp")
    assert [answer.reason for answer in together.answers] == ["", ""]
    # by the stars of the middle of the year it would be 0.32"
    assert max(answer.solution.heldout_rms_arcsec for answer in together.answers) < 0.15
    offsets = chip_offsets(exposures, together)
    assert max(np.std(one.d_ra) for one in offsets) < 150.0


def test_frames_of_many_years_are_refused(catalogs, tmp_path: Path) -> None:
    exposures = [
        mosaic.exposure(f"frame{k}", HERE, THREE[:1], STARS.at_epoch(epoch))
        for k, epoch in enumerate((2016.0, 2017.5))
    ]
    with pytest.raises(NoSolution, match=r"2016\.0 to 2017\.5: .* more than 1 year apart"):
        solve_together(exposures, catalogs, SETTINGS, tmp_path)


def test_a_degree_that_fails_costs_no_lower_one(catalogs, exposure, tmp_path: Path) -> None:
    """The program is asked once a degree, and dies at the third."""
    count, program = tmp_path / "count", tmp_path / "scamp-with-a-limit"
    count.write_text("")
    program.write_text(
        f'#!/bin/sh\necho >> {count}\n[ $(wc -l < {count}) -lt 3 ] || kill -SEGV $$\nexec scamp "$@"\n'
    )
    program.chmod(0o755)
    (tmp_path / "scamp").mkdir()
    together = solve_together([exposure], catalogs, SETTINGS, tmp_path / "scamp", program=str(program))
    assert together.degree == 2
    assert together.stopped.startswith("no distortion of degree 3: scamp-with-a-limit was ended by SIGSEGV")
    assert max(errors(together, HERE, THREE)) < 0.2
    assert len(count.read_text()) == 3
    names = {path.name for path in (tmp_path / "scamp").iterdir()}
    assert {"combined_acat.fits", "combined_acat.head", "merged_1.cat", "nightflow.scamp"} <= names
    assert not any("degree" in name for name in names)
    told = (tmp_path / "scamp" / "nightflow.scamp").read_text().split()
    assert told[told.index("DISTORT_DEGREES") + 1] == "2"


def test_a_single_chip_is_a_mosaic_of_one(catalogs, exposure, tmp_path: Path) -> None:
    single = replace(exposure, chips=(replace(exposure.chips[0], name=""),))
    assert errors(solve_together([single], catalogs, SETTINGS, tmp_path), HERE, THREE[:1])[0] < 0.05

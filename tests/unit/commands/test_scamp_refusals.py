"""What `nightflow scamp` finds wrong before any work, and what it says; SCAMP need not be there."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from nightflow.astrometry.scamp.frames import ChipAnswer, Together
from nightflow.astrometry.solution import Quality, Solution
from nightflow.cli import app
from nightflow.commands import scamp
from nightflow.instruments.profile import AstrometrySettings
from nightflow.pipeline.joint_solution import Joint
from nightflow.pipeline.joint_update import Standing, Update
from tests.unit.astrometry.synthetic import make_stars, make_wcs

SOLVED = Solution(
    wcs=make_wcs(80.0, 10.0), backend="scamp", quality=Quality.VERIFIED, rms_arcsec=0.1,
    heldout_rms_arcsec=0.1, n_matched=50, ra_center=80.0, dec_center=10.0, scale=3.0, rotation=0.0, parity=1,
    catalog="made-up",
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "message"), [("none/x.ahead", "there is no folder"), ("", "it is a folder")]
)
def test_a_layout_that_cannot_be_written_is_told_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    def work(*_: object) -> None:
        pytest.fail("the store was opened")

    monkeypatch.setattr(scamp, "open_store", work)
    done = CliRunner().invoke(app, ["scamp", "light", "--learn", str(tmp_path / name)])
    assert done.exit_code == 1
    assert message in done.stderr


def test_one_chip_is_one_chip(capsys: pytest.CaptureFixture[str]) -> None:
    answer = ChipAnswer(exposure="one", chip="CCD1", solution=SOLVED)
    joint = Joint(
        exposures=(), together=Together(answers=(answer,), stars=make_stars(80.0, 10.0, 0.1, 3), degree=2),
        offsets=(), frames=((1, 1),), paths=(), files=(Path("out/scamp.xml"),), left_out=(),
        settings=AstrometrySettings(),
    )  # fmt: skip
    standing = Standing(backend="scamp", taken=True, better=True, reason="")
    update = Update(standings=(standing,), products=())
    scamp._tell(joint, update, ["2026-03-01", "2026-03-02"])
    told = capsys.readouterr().err
    assert "1 chip verified, 0 refused" in told
    assert "new WCS: 1 chip in the store" in told
    assert "`nightflow finish 2026-03-01`, `nightflow finish 2026-03-02`" in told

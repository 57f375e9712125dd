"""What a person sees of a night in the Prefect UI, and what the form of a backfill does, in a browser."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nightflow.store.models import State
from tests.e2e.conftest import Server, deploy, pool_worker, wait_until, watcher_of
from tests.e2e.observatory import SETTINGS, Observatory

playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.system,
    pytest.mark.xdist_group("prefect-server"),
    pytest.mark.timeout(600),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian's package chromium)"),
]

NIGHT = "2025-10-24"
FAILED, DONE = "0012-light-R.fits", "0013-light-R.fits"
PATIENCE = 120
"""Seconds."""
ON_A_PAGE = 10
"""Runs that are listed at first, the newest."""
SITE = """
[site]
latitude = 28.76
longitude = -17.88
"""


@pytest.fixture(scope="module")
def page() -> Iterator[playwright.Page]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 2400})
        page.set_default_timeout(1000 * PATIENCE)
        yield page
        browser.close()


@pytest.fixture(scope="module")
def observatory(
    tmp_path_factory: pytest.TempPathFactory, prefect_server: Server, small_night: Path
) -> Iterator[Observatory]:
    """A night that was reduced, but for one light whose catalogue was damaged; deployments and a worker."""
    root = tmp_path_factory.mktemp("observatory")
    settings = SETTINGS.format(missing_calibration="warn", url=prefect_server.url) + SITE
    with watcher_of(root, settings) as watcher:
        observatory = Observatory(watcher, small_night)
        first, *others = observatory.frames("light")[:4]
        calibrations = observatory.frames("bias", "dark", "flat")
        watcher.start()
        with damaged(sorted((root / "catalogs").rglob("*.parquet"))):
            observatory.deliver(first)
            wait_until(lambda: observatory.settled(1), PATIENCE, "the first light to fail")
        observatory.deliver(*calibrations)
        n_frames = 1 + len(calibrations)
        wait_until(lambda: observatory.settled(n_frames), PATIENCE, "calibrations to settle")
        observatory.deliver(*others)
        n_frames += len(others)
        wait_until(lambda: observatory.settled(n_frames), PATIENCE, "the night to settle")
        made = deploy(root, prefect_server.url)
        assert made.returncode == 0, made.stderr
        with pool_worker(root, prefect_server.url):
            yield observatory


@contextmanager
def damaged(files: list[Path]) -> Iterator[None]:
    """Files with something else in them, as a disk that fails leaves them."""
    assert files
    contents = [file.read_bytes() for file in files]
    for file in files:
        file.write_bytes(b"damaged")
    yield
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)


def title(name: str, row: dict[str, Any]) -> str:
    """Return the name of a frame's run."""
    return " ".join(filter(None, (name, row["object"] or row["kind"], row["filter"])))


def open_deployment(page: playwright.Page, server: Server, name: str) -> None:
    page.goto(f"{server.url.removesuffix('/api')}/deployments")
    page.get_by_role("link", name=name, exact=True).first.click()


def open_run(page: playwright.Page, light: str) -> None:
    page.get_by_placeholder("Search by run name").fill(light)
    page.get_by_role("link", name=f"{light} HAT-P-32 R", exact=True).click()


def test_the_runs_of_the_night_stand_under_their_deployment(
    page: playwright.Page, prefect_server: Server, observatory: Observatory, tmp_path: Path
) -> None:
    rows = observatory.rows()
    open_deployment(page, prefect_server, "live")
    page.get_by_text(re.compile(f"^ *{len(rows)} Flow runs")).wait_for()
    for name in sorted(rows.keys() - {FAILED})[-ON_A_PAGE:]:
        page.get_by_role("link", name=title(name, rows[name]), exact=True).wait_for()
    page.screenshot(path=tmp_path / "runs.png")
    open_run(page, DONE)
    for step in ("calibrate", "measure", "solve", "flux", "append"):
        page.get_by_text(re.compile(f"{step} frame [0-9]+")).first.wait_for()
    page.screenshot(path=tmp_path / "run.png")


def test_a_frame_has_a_card_with_its_picture(
    page: playwright.Page, prefect_server: Server, observatory: Observatory, tmp_path: Path
) -> None:
    open_deployment(page, prefect_server, "live")
    open_run(page, DONE)
    page.get_by_text("Artifacts", exact=True).click()
    page.get_by_role("link", name=re.compile("frame-[0-9]+")).first.click()
    picture = page.get_by_role("img", name="the frame")
    picture.wait_for()
    page.screenshot(path=tmp_path / "card.png")
    assert picture.evaluate("one => one.complete && one.naturalWidth > 100")
    shown = page.inner_text("body")
    row = observatory.rows()[DONE]
    assert row["reason"] in shown, "as it was written, without the signs that keep Markdown off"
    assert re.search(rf"Zero point\s+{row['zp']:.3f} mag", shown)


def test_a_failed_run_shows_its_reason(
    page: playwright.Page, prefect_server: Server, observatory: Observatory, tmp_path: Path
) -> None:
    assert observatory.rows()[FAILED]["state"] == State.FAILED
    open_deployment(page, prefect_server, "live")
    open_run(page, FAILED)
    page.get_by_text("Failed", exact=True).first.wait_for()
    page.get_by_text(re.compile(r"ArrowInvalid: Could not open Parquet.*\.parquet")).first.wait_for()
    page.screenshot(path=tmp_path / "failed.png")


def test_the_form_starts_a_backfill_that_completes(
    page: playwright.Page, prefect_server: Server, observatory: Observatory, tmp_path: Path
) -> None:
    open_deployment(page, prefect_server, "backfill")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").click()
    field(page, "night").get_by_role("button", name="date", exact=True).click()
    field(page, "night").get_by_text("Select date").click()
    page.locator("input[type=date]").fill(NIGHT)
    page.get_by_role("button", name="Apply", exact=True).click()
    field(page, "force").get_by_role("switch").click()
    field(page, "dry_run").get_by_role("switch").click()
    page.screenshot(path=tmp_path / "form.png")
    page.get_by_role("button", name="Submit", exact=True).click()
    name = f"backfill {NIGHT}"
    ended = {"name": {"any_": [name]}, "state": {"name": {"any_": ["Completed"]}}}
    wait_until(
        lambda: prefect_server.find("flow_runs", flow_runs=ended),
        PATIENCE,
        "the backfill to complete",
    )
    open_deployment(page, prefect_server, "backfill")
    page.get_by_role("link", name=name, exact=True).click()
    page.get_by_text("Completed", exact=True).first.wait_for()
    page.get_by_text(re.compile(f"{len(observatory.rows())} done")).first.wait_for()
    page.screenshot(path=tmp_path / "backfill.png")
    assert {row["state"] for row in observatory.rows().values()} == {State.DONE}


def field(page: playwright.Page, name: str) -> playwright.Locator:
    """Return a field of a form, by the name of its parameter."""
    return page.locator(".schema-form-property").filter(has_text=re.compile(rf"^\s*{name} \(Optional\)"))

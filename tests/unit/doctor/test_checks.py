from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from nightflow.astrometry.astrometry_net import PACKAGED_INDEX_FOLDER
from nightflow.config import Settings, load_settings
from nightflow.doctor import services, sky, storage
from nightflow.doctor.cameras import check_cameras
from nightflow.doctor.finding import Finding, Level
from nightflow.doctor.kernels import check_kernels
from nightflow.doctor.packages import check_packages
from nightflow.doctor.services import check_cluster, check_prefect, check_programs
from nightflow.doctor.settings_check import check_telling, wrong_settings
from nightflow.doctor.sky import check_catalogs, check_index_files, check_solver
from nightflow.doctor.storage import check_disk, check_folders, check_store
from nightflow.doctor.timekeeping import check_clock, check_tables
from nightflow.errors import ConfigurationError, NoSolution
from nightflow.store.database import Database

NOW = datetime(2026, 11, 21, 22, 0, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(root=tmp_path)


def levels(findings: list[Finding], subject: str | None = None) -> list[Level]:
    return [one.level for one in findings if subject in (None, one.subject)]


def only(findings: Iterator[Finding]) -> Finding:
    (finding,) = findings
    return finding


def test_the_packages_of_this_environment_are_right() -> None:
    assert set(levels(list(check_packages()))) == {Level.OK}


@pytest.mark.parametrize(
    ("requirement", "message"),
    [
        ("no-such-package-as-this>=1", "no-such-package-as-this is not installed"),
        ("numpy>=999", "numpy>=999 is needed"),
        ("astropy<1", "astropy<1 is needed"),
    ],
)
def test_a_package_that_is_missing_or_old_is_a_fault(requirement: str, message: str) -> None:
    faults = [one for one in check_packages([requirement]) if one.level is Level.FAULT]
    assert len(faults) == 1
    assert message in faults[0].message
    assert "make setup" in faults[0].mend


def test_extras_are_not_asked_for() -> None:
    found = list(check_packages(['no-such-package-as-this; extra == "test"']))
    assert set(levels(found)) == {Level.OK}


def test_a_store_that_is_not_there_yet_is_no_fault_and_is_not_made(settings: Settings) -> None:
    finding = only(check_store(settings))
    assert finding.level is Level.WARNING
    assert list(settings.root.iterdir()) == []


def test_a_store_is_looked_into_without_a_change(settings: Settings) -> None:
    with Database(settings.store_url) as database:
        database.upgrade()
    found = list(check_store(settings))
    assert levels(found) == [Level.OK, Level.OK]
    assert "0 exposures" in found[0].message


def test_old_tables_are_told_and_left_to_the_next_command(settings: Settings) -> None:
    with Database(settings.store_url) as database:
        database.upgrade("0001")
        found = list(check_store(settings))
        assert levels(found) == [Level.WARNING, Level.OK]
        assert "revision 0001" in found[0].message
        with database.session() as session:
            version = (
                session.connection().execute(text("SELECT version_num FROM alembic_version")).scalar_one()
            )
        assert version == "0001"


def test_tables_of_a_newer_nightflow_are_a_fault(settings: Settings) -> None:
    with Database(settings.store_url) as database:
        database.upgrade()
        with database.write() as session:
            session.connection().execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert levels(list(check_store(settings))) == [Level.FAULT, Level.OK]


def test_a_store_that_is_none_or_locked_is_a_fault(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = settings.root / "nightflow.sqlite"
    file.write_text("this is no database at all, and it is longer than a header would be" * 10)
    finding = only(check_store(settings))
    assert finding.level is Level.FAULT
    assert "not an SQLite database" in finding.message
    file.unlink()
    monkeypatch.setattr(storage, "_LOCK_PATIENCE", 0.1)
    with Database(settings.store_url) as database:
        database.upgrade()
        with database.write():
            assert "locked" in next(one.message for one in check_store(settings) if one.level is Level.FAULT)


def test_folders_are_there_or_can_be_made(settings: Settings) -> None:
    (settings.root / "incoming").mkdir()
    assert set(levels(list(check_folders(settings)))) == {Level.OK}
    (settings.root / "incoming").rmdir()
    (settings.root / "masters").touch()
    found = {one.subject: one for one in check_folders(settings)}
    assert found["watch.folders"].level is Level.WARNING
    assert "mkdir -p" in found["watch.folders"].mend
    assert found["paths.masters"].level is Level.FAULT
    assert "is a file" in found["paths.masters"].message


@pytest.mark.parametrize(("limit", "level"), [(3, Level.WARNING), (8192, Level.OK)])
def test_more_folders_than_the_system_watches(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, limit: int, level: Level
) -> None:
    for night in ("a", "b"):
        (settings.root / "incoming" / night).mkdir(parents=True)
    monkeypatch.setattr(storage, "watch_limit", lambda: limit)
    found = {one.subject: one for one in check_folders(settings)}["watch.events"]
    assert found.level is level
    assert found.message == f"3 folders to watch, the system allows {limit}"


def test_a_link_to_a_network_disk_is_not_counted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is listed; what it looks like here says nothing."""
    disk = tmp_path / "disk"
    (disk / "a").mkdir(parents=True)
    (settings.root / "incoming").symlink_to(disk)
    monkeypatch.setattr(storage, "watch_limit", lambda: 8192)
    monkeypatch.setattr(storage, "is_silent", lambda folder: folder.is_relative_to(disk))
    found = {one.subject: one for one in check_folders(settings)}["watch.events"]
    assert found.message == "0 folders to watch, the system allows 8192"


def test_a_disk_that_hangs_is_a_fault_and_no_end(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (settings.root / "incoming").mkdir()
    back = threading.Event()

    def hangs(path: Path) -> bool:
        if path.name == "incoming":
            back.wait(60)
        return True

    monkeypatch.setattr(Path, "is_dir", hangs)
    monkeypatch.setattr(os, "walk", lambda _: iter([back.wait(60)]))
    monkeypatch.setattr(storage, "watch_limit", lambda: 8192)
    monkeypatch.setattr(storage, "_DISK_PATIENCE", 0.5)
    monkeypatch.setattr(storage, "_COUNT_PATIENCE", 0.1)
    found = {one.subject: one for one in check_folders(settings)}
    back.set()
    assert found["watch.folders"].level is Level.FAULT
    assert f"{settings.root / 'incoming'}: no answer in 0.5 s" in found["watch.folders"].message
    assert found["watch.events"].level is Level.WARNING
    assert found["paths.masters"].level is Level.OK


def test_a_disk_that_fails_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(shutil, "disk_usage", fails)
    finding = only(check_disk(settings))
    assert finding.level is Level.FAULT
    assert finding.message == f"{settings.root}: Input/output error"


@pytest.mark.parametrize(("free", "level"), [(0.5e9, Level.FAULT), (5e9, Level.WARNING), (50e9, Level.OK)])
def test_a_full_disk_is_told_before_the_night(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, free: float, level: Level
) -> None:
    usage = type(shutil.disk_usage("/"))(100e9, 100e9 - free, free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert set(levels(list(check_disk(settings)))) == {level}


def test_a_profile_that_does_not_parse_is_named(settings: Settings) -> None:
    assert only(check_cameras(settings)).level is Level.OK
    folder = settings.root / "cameras"
    folder.mkdir()
    (folder / "mine.toml").write_text('name = "mine"\nrecognize = { INSTRUME = "x" }\n')
    finding = only(check_cameras(settings))
    assert finding.level is Level.FAULT
    assert "mine.toml" in finding.message
    assert "did you mean recognise?" in finding.message


def test_catalogues_are_counted(settings: Settings, tmp_path: Path) -> None:
    from nightflow.catalogs.importer import import_catalog

    assert only(check_catalogs(settings)).level is Level.WARNING
    stars = tmp_path / "stars.csv"
    stars.write_text("ra,dec,V\n10,20,9\n10.1,20,8\n")
    import_catalog(stars, "mine", settings.root / "catalogs")
    finding = only(check_catalogs(settings))
    assert (finding.level, finding.message) == (Level.OK, "mine: 2 stars, bands V")


def test_index_files_are_looked_into(settings: Settings) -> None:
    assert only(check_index_files(settings)).level is Level.WARNING
    folder = settings.root / "index-files"
    folder.mkdir()
    shutil.copy(PACKAGED_INDEX_FOLDER / "index-hatp32-tycho2.fits", folder / "index-1.fits")
    assert "quads of 8' to 36'" in only(check_index_files(settings)).message
    (folder / "index-2.fits").write_text("half a file")
    assert levels(list(check_index_files(settings))) == [Level.FAULT, Level.OK]


def test_the_solver_solves_its_trial_field() -> None:
    pytest.importorskip("astrometry_extension", reason="the extra `astrometry` is not installed")
    finding = only(check_solver())
    assert finding.level is Level.OK, finding.message
    assert "solves its trial field" in finding.message


@pytest.mark.parametrize(
    ("answer", "level"),
    [({"error": "the astrometry wheel is not installed"}, Level.WARNING), ({"matches": []}, Level.FAULT)],
)
def test_a_solver_that_is_absent_or_blind_is_told(
    monkeypatch: pytest.MonkeyPatch, answer: dict[str, object], level: Level
) -> None:
    monkeypatch.setattr(sky, "run_worker", lambda *_: answer)
    assert only(check_solver()).level is level


def test_a_solver_that_crashes_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise NoSolution("the solver's process was ended by SIGSEGV")

    monkeypatch.setattr(sky, "run_worker", crash)
    finding = only(check_solver())
    assert finding.level is Level.FAULT
    assert "SIGSEGV" in finding.message


class _Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/api/health" else 500)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"true")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def prefect() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Health) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def with_server(tmp_path: Path, **values: object) -> Settings:
    return Settings(root=tmp_path, prefect=values)  # type: ignore[arg-type]


def test_a_healthy_server_is_fine(prefect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(check_prefect(with_server(tmp_path, api_url=f"{prefect}/api/"))).level is Level.OK
    monkeypatch.setenv("PREFECT_API_URL", f"{prefect}/api")
    assert only(check_prefect(Settings(root=tmp_path))).level is Level.OK


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/api", "file:///etc/passwd", "nonsense", "http://[bad/api"]
)
def test_a_server_that_is_absent_is_a_warning(tmp_path: Path, url: str) -> None:
    assert only(check_prefect(with_server(tmp_path, api_url=url), patience=1.0)).level is Level.WARNING


def test_a_server_that_is_ill_or_not_wanted(
    prefect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert only(check_prefect(with_server(tmp_path, api_url=prefect))).level is Level.WARNING
    assert only(check_prefect(Settings(root=tmp_path))).level is Level.WARNING
    assert only(check_prefect(with_server(tmp_path, enabled=False))).level is Level.NOTE


def with_cluster(address: str, store: str = "postgresql+psycopg://me@db/nightflow") -> Settings:
    return Settings(prefect={"dask_address": address}, store={"url": store})  # type: ignore[arg-type]


def test_a_cluster_is_looked_for_where_the_settings_name_one(
    prefect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nightflow.pipeline.cluster.find_spec", lambda name: name)
    assert list(check_cluster(Settings())) == []
    assert only(check_cluster(with_cluster(prefect.replace("http", "tcp")))).level is Level.OK
    for address in ("tcp://127.0.0.1:9", "tcp://[bad:8786", "tcp://127.0.0.1:99999"):
        assert only(check_cluster(with_cluster(address), patience=1.0)).level is Level.WARNING
    finding = only(check_cluster(with_cluster("tcp://127.0.0.1:9", "sqlite:///nightflow.sqlite")))
    assert finding.level is Level.FAULT, "a backfill would fail"
    assert "nightflow.sqlite" in finding.message


OR_ANOTHER = "or name another address ([prefect] api_url, else PREFECT_API_URL)"


@pytest.mark.parametrize(
    ("address", "mend"),
    [
        ("", "start one: prefect server start;"),
        ("http://127.0.0.1:4200/api", "start one: prefect server start;"),
        ("http://localhost:4200/api", "start one: prefect server start;"),
        ("http://127.0.0.1:9/api", f"start one: prefect server start --port 9, {OR_ANOTHER};"),
        ("http://127.0.0.1/api", f"start one: prefect server start --port 80, {OR_ANOTHER};"),
        ("http://127.0.0.2:4200/api", f"start one: prefect server start --host 127.0.0.2, {OR_ANOTHER};"),
        ("http://[::1]:9/api", f"start one: prefect server start --host ::1 --port 9, {OR_ANOTHER};"),
        ("http://dome:4200/api", f"start a server on dome, port 4200, {OR_ANOTHER};"),
        ("https://me:se@same@10.0.0.5/api", f"start a server on 10.0.0.5, port 443, {OR_ANOTHER};"),
        ("http://me:12/34@dome/api", "write it as http://127.0.0.1:4200/api"),
        ("http://127.0.0.1:99999/api", "write it as http://127.0.0.1:4200/api"),
    ],
)
def test_an_absent_server_is_started_where_the_address_looks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, mend: str
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionRefusedError

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr(services.urllib.request, "urlopen", refuse)
    found = only(check_prefect(with_server(tmp_path, api_url=address)))
    assert found.level is Level.WARNING
    assert found.mend.startswith(mend)
    assert "same" not in found.message + found.mend


def test_who_is_not_told_is_a_note(tmp_path: Path) -> None:
    found = list(check_telling(Settings(root=tmp_path)))
    assert [(one.subject, one.level) for one in found] == [("site", Level.NOTE), ("notify", Level.NOTE)]
    told = {"site": {"latitude": 37.2, "longitude": -2.5}, "notify": {"command": ["/bin/mail"]}}
    assert list(check_telling(Settings(root=tmp_path, **told))) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "mend"),
    [
        (b"[watch]\nfolders = [1, \nx", "mend line 3 of {file}"),
        (b"[watch]\nfolders = [", "mend the end of {file}"),
        (b"[watch]\nworkerz = 2", "mend watch.workerz in {file}"),
        (b"# Almer\xeda", "mend {file}, or its rights"),
        (None, "`nightflow init DIR`"),
    ],
)
def test_wrong_settings_are_to_be_mended_and_not_made_anew(
    tmp_path: Path, content: bytes | None, mend: str
) -> None:
    file = tmp_path / "nightflow.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError) as error:
        load_settings(file)
    found = wrong_settings(error.value, file)
    assert found.level is Level.FAULT
    assert found.mend.startswith(mend.format(file=file))


def test_a_wrong_value_of_the_environment_is_mended_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "nightflow.toml"
    file.touch()
    monkeypatch.setenv("NIGHTFLOW_WATCH__WORKERS", "many")
    with pytest.raises(ConfigurationError) as error:
        load_settings(file)
    assert wrong_settings(error.value, file).mend == "mend NIGHTFLOW_WATCH__WORKERS in the environment"


@pytest.mark.parametrize(
    ("variable", "value", "content", "place"),
    [
        ("nightflow_watch__workers", "many", "", "nightflow_watch__workers in the environment"),
        ("NIGHTFLOW_WATCH__FOLDERS", "[1]", "", "NIGHTFLOW_WATCH__FOLDERS in the environment"),
        (
            "NIGHTFLOW_SITE",
            '{"latitude": "north", "longitude": 1}',
            "",
            "NIGHTFLOW_SITE in the environment",
        ),
        (
            "NIGHTFLOW_SITE",
            '{"longitude": 1}',
            "[site]\nlatitude = 'north'",
            "site.latitude in {file}",
        ),
    ],
)
def test_the_variable_is_named_that_sets_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, content: str, place: str
) -> None:
    file = tmp_path / "nightflow.toml"
    file.write_text(content)
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as error:
        load_settings(file)
    assert wrong_settings(error.value, file).mend == f"mend {place.format(file=file)}"


def test_a_variable_that_is_no_json_is_not_mended_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "nightflow.toml"
    file.touch()
    monkeypatch.setenv("NIGHTFLOW_WATCH__FOLDERS", "/data")
    with pytest.raises(ConfigurationError) as error:
        load_settings(file)
    told = wrong_settings(error.value, file)
    assert "NIGHTFLOW_WATCH__FOLDERS" in told.message
    assert told.mend.startswith("write what is a list or a table as JSON")


def test_settings_that_cannot_be_looked_at_are_not_made_anew(tmp_path: Path) -> None:
    """As in a folder that may not be searched; a name that is too long fails for root, too."""
    file = tmp_path / ("n" * 300) / "nightflow.toml"
    found = wrong_settings(ConfigurationError(f"{file}: cannot be read"), file)
    assert found.mend.startswith(f"mend {file}, or its rights")


def test_absent_programs_are_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services.shutil, "which", lambda name: "/usr/bin/scamp" if name == "scamp" else None)
    found = {one.subject: one for one in check_programs()}
    assert found["scamp"].level is Level.OK
    assert [found[name].level for name in ("solve-field", "source-extractor")] == [Level.NOTE] * 2
    assert found["source-extractor"].message.startswith("optional, ")
    assert "apt install source-extractor" in found["source-extractor"].message
    assert not found["source-extractor"].mend


@pytest.mark.parametrize(("answer", "level"), [("yes", Level.OK), ("no", Level.WARNING), ("", Level.NOTE)])
def test_the_clock_is_as_right_as_the_system_says(answer: str, level: Level) -> None:
    assert only(check_clock(datetime.now(UTC), answer)).level is level


def test_a_clock_that_is_years_behind_is_a_fault() -> None:
    assert only(check_clock(datetime(2019, 1, 1, tzinfo=UTC), "yes")).level is Level.FAULT


def test_tables_that_have_ended_are_told() -> None:
    assert levels(list(check_tables(NOW))) == [Level.OK, Level.OK]
    assert levels(list(check_tables(datetime(2060, 1, 1, tzinfo=UTC)))) == [Level.WARNING, Level.WARNING]


def test_kernels_are_compiled_and_kept() -> None:
    found = [only(check_kernels()) for _ in range(2)]
    assert levels(found) == [Level.OK, Level.OK]
    assert found[1].message.startswith("cached, ")


WITHOUT_A_PLACE = """
import tempfile
def refuse(*_, **__): raise PermissionError("a read-only disk")
made, tempfile.TemporaryFile = tempfile.TemporaryFile, refuse
import nightflow
tempfile.TemporaryFile = made
from numba.core import caching
caching._CacheLocator.ensure_cache_path = refuse
from nightflow.doctor.kernels import check_kernels
[found] = check_kernels()
print(found.level, found.message, found.mend, sep="|")
"""


def test_without_a_place_for_kernels_that_is_a_fault_with_its_mend() -> None:
    """As the service has it whose home and packages are read-only: numba refuses at import."""
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_A_PLACE], env=environment, capture_output=True, text=True, check=True
    )
    level, message, mend = ended.stdout.split("|")
    assert level == "fault"
    assert "cannot cache function" in message
    assert "NUMBA_CACHE_DIR" in mend

"""Masters are built once, kept as files, and built again when a file is lost."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import numpy as np
import pytest

from nightflow.detector.master_frame import MasterFrame
from nightflow.errors import CalibrationAway, MissingCalibration, RetryLater
from nightflow.frame import Frame
from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.pipeline import input_frames, master_library
from nightflow.pipeline.master_plan import MasterPlan, plan_master
from nightflow.pipeline.reducer import Reducer
from nightflow.pipeline.survey import key_of_row
from nightflow.store.masters import master_inputs, masters
from tests.unit.pipeline.station import (
    BIAS_LEVEL,
    PROFILE,
    Station,
    entered,
    only_frame,
    reduced,
    steps_of_straw,
)
from tests.unit.store.builders import in_processes


@pytest.fixture
def light(station: Station, monkeypatch: pytest.MonkeyPatch) -> int:
    """A light frame in the ledger, with three biases and three flats."""
    steps_of_straw(monkeypatch)
    reducer = station.reducer()
    for kind in ("bias", "flat"):
        for path in station.calibrations(kind):
            reduced(reducer, path)
    return reduced(reducer, station.frame("light.fits")).exposure_id


def plan(reducer: Reducer, light: int, kind: str = "bias") -> MasterPlan:
    wanted = key_of_row(only_frame(reducer, light))
    return plan_master(
        reducer.database, FrameKind(kind), wanted, reducer.context.profiles["tinycam"], definitive=True
    )


def get(reducer: Reducer, light: int, kind: str = "bias") -> MasterFrame:
    return reducer.context.masters.get(plan(reducer, light, kind), reducer.context.profiles["tinycam"])


def files(station: Station) -> list[Path]:
    return sorted((station.root / "masters").iterdir())


def test_it_is_built_on_first_need(station: Station, light: int) -> None:
    reducer = station.reducer()
    assert not (station.root / "masters").exists()
    master = get(reducer, light)
    assert np.median(master.data) == pytest.approx(BIAS_LEVEL, abs=1)
    (row,) = masters(reducer.database)
    assert row.n_inputs == 3
    assert row.fingerprint == master.fingerprint
    assert [path.name for path in files(station)] == [row.path]
    assert row.path == f"tinycam-bias-{row.fingerprint[:16]}.fits"
    assert [Path(one.path).name for one in master_inputs(reducer.database, row.id or 0)] == [
        f"bias-4-{n}.fits" for n in range(3)
    ]


def test_a_flat_brings_its_bias_along(station: Station, light: int) -> None:
    reducer = station.reducer()
    flat = get(reducer, light, "flat")
    assert np.median(flat.data) == pytest.approx(1, abs=1e-3)
    assert [row.kind for row in masters(reducer.database)] == ["bias", "flat"]


def test_it_is_read_from_then_on(station: Station, light: int, monkeypatch: pytest.MonkeyPatch) -> None:
    first = get(station.reducer(), light)
    monkeypatch.setattr(master_library, "build_master", _never)
    again = get(station.reducer(), light)
    np.testing.assert_array_equal(again.data, first.data)


def test_the_last_used_stay_in_memory(station: Station, light: int, monkeypatch: pytest.MonkeyPatch) -> None:
    reducer = station.reducer()
    first = get(reducer, light)
    monkeypatch.setattr(master_library, "read_master", _never)
    assert get(reducer, light) is first


def test_calibrations_without_a_time_serve_every_night(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps_of_straw(monkeypatch)
    reducer = station.reducer()
    for number in range(3):
        reduced(reducer, station.frame(f"bias{number}.fits", "bias", **{"DATE-OBS": ""}))
    light = reduced(reducer, station.frame("light.fits")).exposure_id
    assert np.median(get(reducer, light).data) == pytest.approx(BIAS_LEVEL, abs=1)
    (row,) = masters(reducer.database)
    assert row.valid_from < only_frame(reducer, light).mjd_mid < row.valid_until
    assert plan(reducer, light).row is not None


def test_memory_is_bounded(station: Station, light: int) -> None:
    reducer = station.reducer()
    library = master_library.MasterLibrary(reducer.database, station.root / "masters", capacity=1)
    profile = reducer.context.profiles["tinycam"]
    first = library.get(plan(reducer, light), profile)
    library.get(plan(reducer, light, "flat"), profile)
    assert library.get(plan(reducer, light), profile) is not first


def test_threads_build_it_once(station: Station, light: int, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    build = master_library.build_master

    def counted(*arguments, **options):
        built.append(threading.get_ident())
        return build(*arguments, **options)

    monkeypatch.setattr(master_library, "build_master", counted)
    reducers = [station.reducer(), station.reducer()]
    start = threading.Barrier(4)
    found: list[MasterFrame] = []

    def work(reducer: Reducer) -> None:
        start.wait(10)
        found.append(get(reducer, light))

    threads = [threading.Thread(target=work, args=(reducer,)) for reducer in reducers * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 4
    assert len(built) == 1
    assert len(masters(reducers[0].database)) == 1


def test_processes_build_it_once(station: Station, light: int) -> None:
    answers = in_processes(_build_in_a_process, [(str(station.root), light)] * 2)
    assert len({fingerprint for fingerprint, _ in answers}) == 1
    assert sum(built for _, built in answers) == 1
    assert len(files(station)) == 1


def _build_in_a_process(root: str, light: int) -> tuple[str, int]:
    from nightflow.config import load_settings

    built = []
    build = master_library.build_master
    master_library.build_master = lambda *a, **k: (built.append(1), build(*a, **k))[1]
    settings = load_settings(Path(root) / "nightflow.toml")
    reducer = Reducer(settings, missing_calibration="warn", definitive_masters=True)
    try:
        return get(reducer, light).fingerprint, len(built)
    finally:
        reducer.database.close()


class TestHealing:
    """What is lost or damaged is built again of the same raw frames, to the same pixels."""

    @pytest.mark.parametrize("damage", ["lost", "cut", "changed"])
    @pytest.mark.parametrize("kind", ["bias", "flat"])
    def test_it_is_built_again(
        self, station: Station, light: int, damage: str, kind: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        first = get(station.reducer(), light, kind)
        (file,) = (path for path in files(station) if f"-{kind}-" in path.name)
        _spoil(file, damage)
        reducer = station.reducer()
        with caplog.at_level(logging.WARNING):
            healed = get(reducer, light, kind)
        assert file.name in caplog.text
        np.testing.assert_array_equal(healed.data, first.data)
        assert healed.fingerprint == first.fingerprint
        assert len([row for row in masters(reducer.database) if row.kind == kind]) == 1
        np.testing.assert_array_equal(get(station.reducer(), light, kind).data, first.data)

    def test_without_its_raw_frames_the_message_says_the_mend(self, station: Station, light: int) -> None:
        get(station.reducer(), light)
        (file,) = files(station)
        file.unlink()
        (station.raw / "bias-4-1.fits").unlink()
        with pytest.raises(
            MissingCalibration, match=r"raw frames of it are gone, too: .*bias-4-1\.fits"
        ) as no:
            get(station.reducer(), light)
        assert file.name in str(no.value)
        assert "nightflow masters reject" in str(no.value)

    def test_with_other_settings_it_would_be_another_master(self, station: Station, light: int) -> None:
        planned = station.reducer()
        get(planned, light)
        old = plan(planned, light)
        files(station)[0].unlink()
        station.set_profile(PROFILE + "[masters]\nclip_sigma = 3.0\n")
        reducer = station.reducer()
        with pytest.raises(MissingCalibration, match="make another master now"):
            reducer.context.masters.get(old, reducer.context.profiles["tinycam"])
        assert plan(reducer, light).fingerprint != old.fingerprint

    def test_a_light_goes_through(self, station: Station, light: int) -> None:
        get(station.reducer(), light)
        _spoil(files(station)[0], "cut")
        reducer = station.reducer()
        profile = reducer.context.profiles["tinycam"]
        again = reducer.context.masters.get(plan(reducer, light), profile)
        assert again.data.shape == (32, 40)


def test_a_refusal_is_remembered(station: Station, light: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too few usable inputs: the night's other frames need not read them all again to know."""
    tried = []

    def refuse(*_: object, **__: object) -> MasterFrame:
        tried.append(1)
        raise MissingCalibration("master bias: 1 of 3 inputs is usable")

    monkeypatch.setattr(master_library, "build_master", refuse)
    reducer = station.reducer()
    for _ in range(3):
        with pytest.raises(MissingCalibration, match="1 of 3 inputs"):
            get(reducer, light)
    assert len(tried) == 1
    refused = masters(reducer.database)
    assert [(row.state, row.path, row.n_inputs) for row in refused] == [("rejected", "", 0)]
    assert "1 of 3 inputs" in refused[0].reason


def test_a_file_that_vanishes_in_the_middle_is_no_refusal(
    station: Station, light: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planned with its file there, read without: it is tried again, and nothing is put down."""
    reducer = station.reducer()
    planned = plan(reducer, light)
    away = station.raw / "bias-4-1.fits"
    away.rename(away.with_suffix(".away"))
    profile = reducer.context.profiles["tinycam"]
    with pytest.raises(RetryLater, match=r"waits for a raw bias: .*bias-4-1\.fits: cannot be read"):
        reducer.context.masters.get(planned, profile)
    assert masters(reducer.database) == []
    away.with_suffix(".away").rename(away)
    assert reducer.context.masters.get(planned, profile).statistics.n_used == pytest.approx(3, abs=0.1)


class TestACopyOfARawFrame:
    """Where a raw frame is not where it was received any more, what the ledger knows of its copies counts."""

    @pytest.fixture
    def raw(self, station: Station, light: int) -> Path:
        return station.raw / "bias-4-1.fits"

    @staticmethod
    def filed(raw: Path) -> Path:
        copy = raw.with_name("filed.fits")
        copy.write_bytes(raw.read_bytes())
        return copy

    @staticmethod
    def overwrite(raw: Path) -> bytes:
        """Put another frame of the same size in its place, as a camera does that uses names again."""
        content = raw.read_bytes()
        raw.write_bytes(raw.with_name("flat-4-1.fits").read_bytes())
        assert raw.stat().st_size == len(content)
        return content

    def test_a_master_is_made_of_it(self, station: Station, light: int, raw: Path) -> None:
        reducer = station.reducer()
        planned, copy = plan(reducer, light), self.filed(raw)
        entered(reducer, copy)
        raw.unlink()
        assert plan(reducer, light).fingerprint == planned.fingerprint
        get(reducer, light)
        (row,) = masters(reducer.database)
        assert (row.fingerprint, row.n_inputs) == (planned.fingerprint, 3)
        assert str(copy) in [one.path for one in master_inputs(reducer.database, row.id or 0)]

    def test_a_lost_master_is_made_again_of_it(self, station: Station, light: int, raw: Path) -> None:
        first = get(station.reducer(), light)
        reducer = station.reducer()
        entered(reducer, self.filed(raw))
        raw.unlink()
        files(station)[0].unlink()
        np.testing.assert_array_equal(get(reducer, light).data, first.data)

    def test_of_one_that_was_overwritten_before_its_copy_was_known(
        self, station: Station, light: int, raw: Path
    ) -> None:
        """Planned as if it were there, it is waited for: no master lacks it, and no set is refused."""
        reducer = station.reducer()
        planned, copy = plan(reducer, light), self.filed(raw)
        self.overwrite(raw)
        with pytest.raises(RetryLater, match=r"raw bias: .*bias-4-1\.fits: the file is another one now"):
            reducer.context.masters.get(planned, reducer.context.profiles["tinycam"])
        with pytest.raises(CalibrationAway, match=r"1 of their files are not where .*bias-4-1\.fits"):
            plan(reducer, light)
        assert masters(reducer.database) == []
        entered(reducer, copy)
        get(reducer, light)
        (row,) = masters(reducer.database)
        assert (row.fingerprint, row.n_inputs, row.statistics["warnings"]) == (planned.fingerprint, 3, [])

    def test_without_one_it_is_away_until_it_is_back(self, station: Station, light: int, raw: Path) -> None:
        reducer = station.reducer()
        planned, content = plan(reducer, light), self.overwrite(raw)
        entered(reducer, raw)
        with pytest.raises(CalibrationAway, match=r"1 of their files are not where .*bias-4-1\.fits"):
            plan(reducer, light)
        raw.write_bytes(content)
        assert plan(reducer, light).fingerprint == planned.fingerprint

    def test_one_that_is_replaced_while_it_is_read_is_waited_for(
        self, station: Station, light: int, raw: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reducer = station.reducer()
        planned, read = plan(reducer, light), input_frames.read_frame

        def replaced(path: Path, header: FrameHeader) -> Frame:
            if path == raw:
                raw.write_bytes(b"being written")
            return read(path, header)

        monkeypatch.setattr(input_frames, "read_frame", replaced)
        with pytest.raises(RetryLater, match=r"bias-4-1\.fits: the file is another one now"):
            reducer.context.masters.get(planned, reducer.context.profiles["tinycam"])
        assert masters(reducer.database) == []


def test_what_a_profile_reads_otherwise_now_is_left_out(station: Station, light: int) -> None:
    planned = plan(station.reducer(), light, "flat")
    station.set_profile(PROFILE + '[filters]\nV = "R"\n')
    reducer = station.reducer()
    with pytest.raises(MissingCalibration, match="reads its header differently now: filter R, not V"):
        reducer.context.masters.get(planned, reducer.context.profiles["tinycam"])


def test_a_folder_that_cannot_be_written_to_is_tried_again_later(station: Station, light: int) -> None:
    (station.root / "masters").write_text("no folder")
    reducer = station.reducer()
    with pytest.raises(RetryLater, match="cannot be written now"):
        get(reducer, light)
    assert masters(reducer.database) == []
    (station.root / "masters").unlink()
    assert get(reducer, light).data.shape == (32, 40)


def _never(*_: object, **__: object) -> None:
    raise AssertionError("this was to be done once")


def _spoil(file: Path, damage: str) -> None:
    content = bytearray(file.read_bytes())
    if damage == "lost":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    else:
        content[2880 * 4 + 100] ^= 0xFF
        content[len(content) // 3] ^= 0xFF
        file.write_bytes(content)

"""Retries by the class of the error, and the reducer of the process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prefect.states import Failed

import tasks.context as context
from nightflow.errors import ConfigurationError, FrameHeld, FrameRejected, MissingCalibration, RetryLater
from nightflow.service.gives_way import GivesWay
from tasks.append import append
from tasks.calibrate import calibrate
from tasks.context import batch_reduction, current_reducer, use_reducer
from tasks.flux import flux
from tasks.identify import identify
from tasks.lease import lease
from tasks.measure import measure
from tasks.options import may_pass
from tasks.products import products
from tasks.settle import conclude, settle
from tasks.solve import solve


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (RetryLater("locked"), True),
        (FrameRejected("trailed"), False),
        (FrameHeld("no catalogue"), False),
        (MissingCalibration("no flat"), False),
        (ValueError("bug"), False),
    ],
)
def test_only_what_passes_is_tried_again(error: Exception, again: bool) -> None:
    state: Any = Failed(data=error, message="")
    assert asyncio.run(may_pass(None, None, state)) is again  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "task", [lease, identify, calibrate, measure, solve, flux, append, products, settle, conclude]
)
def test_every_step_is_tried_at_most_twice_more_and_nothing_is_kept(task: Any) -> None:
    assert task.retries == 2
    assert max(task.retry_delay_seconds) <= 5
    assert task.retry_condition_fn is may_pass
    assert task.persist_result is False
    assert task.isasync


def test_the_registered_reducer_is_used() -> None:
    reducer: Any = object()
    use_reducer(reducer)
    try:
        assert current_reducer() is reducer
    finally:
        use_reducer(None)


def test_a_process_that_nobody_prepared_reads_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "nightflow.toml"
    settings.write_text('[watch]\nmissing_calibration = "warn"\n')
    monkeypatch.setenv("NIGHTFLOW_CONFIG", str(settings))
    use_reducer(None)
    try:
        reducer = current_reducer()
        assert reducer.settings.root == tmp_path
        assert reducer.context.missing_calibration == "warn"
        assert current_reducer() is reducer
        reducer.database.close()
    finally:
        use_reducer(None)


def test_a_batch_has_a_reducer_with_definitive_masters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "nightflow.toml"
    settings.write_text('[watch]\nmissing_calibration = "hold"\n[run]\nmissing_calibration = "warn"\n')
    monkeypatch.setenv("NIGHTFLOW_CONFIG", str(settings))
    use_reducer(None)
    try:
        live = current_reducer()
        with batch_reduction():
            batch = current_reducer()
            assert current_reducer() is batch
        assert current_reducer() is live
        assert [one.context.definitive_masters for one in (live, batch)] == [False, True]
        assert [one.context.missing_calibration for one in (live, batch)] == ["hold", "warn"]
        assert [isinstance(one._observer, GivesWay) for one in (live, batch)] == [False, True]
        live.database.close()
        batch.database.close()
    finally:
        use_reducer(None)


def test_without_settings_it_says_how_to_make_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTFLOW_CONFIG", str(tmp_path / "absent.toml"))
    use_reducer(None)
    with pytest.raises(ConfigurationError, match="nightflow init"):
        current_reducer()
    assert context._reducers == {}

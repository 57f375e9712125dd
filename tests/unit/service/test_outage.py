"""What is away is said once, and asked again ever less often."""

from __future__ import annotations

import logging

import pytest

from nightflow.errors import ConfigurationError, RetryLater
from nightflow.service.outage import Outage


def test_pauses_double_up_to_a_bound_and_begin_anew() -> None:
    outage = Outage("the store", first_seconds=1.0, longest_seconds=5.0)
    assert [outage.failed(RetryLater("locked")) for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert outage.lasts
    outage.answered()
    assert not outage.lasts
    assert outage.failed(RetryLater("locked")) == 1.0


def test_each_reason_is_said_once_and_the_end_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    times = iter([100.0, 163.0])
    outage = Outage("the store", clock=lambda: next(times))
    for error in (RetryLater("locked"), RetryLater("locked"), ConfigurationError("no such file")):
        outage.failed(error)
    outage.answered()
    outage.answered()
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "the store is away; what lands meanwhile waits on the disk",
        "the store is away; what lands meanwhile waits on the disk",
        "the store is back after 63 s",
    ]

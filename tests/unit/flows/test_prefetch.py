"""What a run says of the sky that could not be had."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import flows.prefetch as module
from flows.prefetch import NAMED, prefetch


def test_it_says_which_targets_and_which_service(monkeypatch: pytest.MonkeyPatch) -> None:
    away = [
        {"target": f"HATP-{number}", "state": "away", "n_new": 0, "reason": "gaia: no route"}
        for number in range(NAMED + 2)
    ]
    here = {"target": "M 67", "state": "here", "n_new": 0, "reason": ""}

    async def fetch(service: str, radius: float, limit_mag: float | None) -> list[dict[str, Any]]:
        return [here, *away]

    async def table(rows: list[dict[str, Any]], key: str, description: str) -> None:
        assert len(rows) == 1 + len(away)

    monkeypatch.setattr(module, "prefetch_catalog", fetch)
    monkeypatch.setattr(module, "acreate_table_artifact", table)
    state = asyncio.run(prefetch.fn(service="apass"))
    assert state.is_failed()
    assert state.message == ("5 away, 1 here: apass for HATP-0, HATP-1, HATP-2, and 2 more (gaia: no route)")

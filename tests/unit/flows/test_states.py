"""How the ledger's states are shown in Prefect."""

from __future__ import annotations

import pytest

from flows.states import MESSAGE_CHARACTERS, run_state


def test_done_says_how_long_it_took() -> None:
    state = run_state("done", "", 1.234)
    assert (state.name, state.message, state.is_completed()) == ("Completed", "in 1.23 s", True)


@pytest.mark.parametrize(
    ("state", "name"), [("held", "Held"), ("rejected", "Rejected"), ("duplicate", "Duplicate")]
)
def test_what_was_dealt_with_is_completed_under_its_own_name(state: str, name: str) -> None:
    shown = run_state(state, "no flat for V")
    assert (shown.name, shown.message, shown.is_completed()) == (name, "no flat for V", True)


def test_only_our_fault_is_red() -> None:
    shown = run_state("failed", "ValueError: bug", 0.5)
    assert shown.is_failed()
    assert shown.message == "ValueError: bug; in 0.50 s"


def test_a_long_reason_is_cut() -> None:
    assert len(run_state("held", "x" * 10_000).message or "") == MESSAGE_CHARACTERS

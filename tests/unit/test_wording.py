from __future__ import annotations

import pytest

from nightflow.wording import counted, first_few


@pytest.mark.parametrize(("number", "said"), [(0, "0 faults"), (1, "1 fault"), (2, "2 faults")])
def test_one_is_singular(number: int, said: str) -> None:
    assert counted(number, "fault") == said


def test_the_first_few_are_named_and_the_others_counted() -> None:
    assert first_few(["a", "b"], 2) == "a, b"
    assert first_few(["a", "b", "c", "d"], 2) == "a, b, and 2 more"

"""Two workers of a pool, on one Postgres ledger, reduce one night together."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.pools import Night, doubled, reduce_night
from benchmarks.stores import Postgres
from nightflow.simulate import NightPlan, write_night
from nightflow.store.models import State

pytestmark = [pytest.mark.e2e, pytest.mark.soak, pytest.mark.timeout(1200)]


def measures(night: Night) -> dict[str, tuple[int | None, float | None]]:
    """Return sources and zero point of each light."""
    return {
        Path(row["path"]).name: (row["n_sources"], row["zp"]) for row in night.rows if row["kind"] == "light"
    }


def test_no_exposure_twice_and_the_rows_of_one_alone(tmp_path: Path) -> None:
    # As many that there is something left to do when the helper's process is up.
    night = tmp_path / "night"
    write_night(NightPlan.small(n_lights=40, cadence=360.0), night)
    files = sorted(path.name for path in (night / "raw").glob("*.fits"))
    with Postgres.started() as postgres:
        alone = reduce_night(tmp_path / "alone", night, postgres.new_database(), 1)
        together = reduce_night(tmp_path / "together", night, postgres.new_database(), 2)
    assert [len(share) for share in alone.shares] == [len(files)]
    assert len(together.shares) == 2, "the helper had its share"
    assert sorted(file for share in together.shares for file in share) == files
    assert doubled(together) == []
    assert {row["state"] for row in together.rows} == {State.DONE}
    assert measures(together).keys() == measures(alone).keys()
    for name, (n_sources, zero_point) in measures(alone).items():
        assert measures(together)[name] == (n_sources, pytest.approx(zero_point, abs=1e-3))

from dataclasses import replace
from datetime import UTC, datetime

from sqlmodel import col, select

from nightflow.store.frames import record_frames
from nightflow.store.ledger import receive, settle_exposure
from nightflow.store.models import Reduction, Source, State
from nightflow.store.overview import get_exposure
from nightflow.store.supersede import supersede_replaced
from nightflow.store.writer import append
from tests.unit.store.builders import columns, header, record, stars

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def reduced(database, sha256, **changes):
    exposure_id = receive(database, "/raw/a.fits", sha256, 10, now=NOW).exposure_id
    frame_id = record_frames(database, exposure_id, [replace(header(), **changes)])[0]
    append(database, frame_id, record(), columns(*stars(20)), now=NOW)
    settle_exposure(database, exposure_id, State.DONE, "", now=NOW)
    return exposure_id, frame_id


def current(database):
    with database.session() as session:
        return list(session.exec(select(Reduction.frame_id).where(col(Reduction.current))))


def test_the_same_frame_written_anew_is_in_the_light_curves_once(database):
    old, _ = reduced(database, "a" * 64)
    new, frame = reduced(database, "b" * 64)
    assert supersede_replaced(database, new) == [old]
    assert current(database) == [frame]
    gone = get_exposure(database, old)
    assert gone.state == State.REJECTED
    assert f"exposure {new}" in gone.reason
    with database.session() as session:
        assert {source.n_obs for source in session.exec(select(Source))} == {1}


def test_another_moment_under_a_path_used_again_stays(database):
    old, frame = reduced(database, "a" * 64)
    new, other = reduced(database, "b" * 64, mjd_mid=header().mjd_mid + 1.0)
    assert supersede_replaced(database, new) == []
    assert sorted(current(database)) == sorted([frame, other])
    assert get_exposure(database, old).state == State.DONE

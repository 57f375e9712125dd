"""Frames teach a chip's distortion at the end of a night; later frames of that chip, and no other, get it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from nightflow.astrometry.projection import from_plane
from nightflow.instruments.header import FrameHeader
from nightflow.nights import night_of
from nightflow.pipeline.optics import Offers, known_distortions, learn_optics, optics
from nightflow.store.database import Database
from nightflow.store.frames import frames_of
from nightflow.store.records import WcsStarsRecord
from nightflow.store.writer import append
from tests.unit.store.builders import MJD, START, add_frame, columns, everything, header, record, sha, stars

SHAPE = (800, 1000)
SCALE = 1.5 / 3600.0
BENT = 0.02


def field(seed: int, bent: float = BENT, n: int = 150) -> dict[str, np.ndarray]:
    """Return the stars of a frame whose optics are a cubic, at 0 h on the equator."""
    rng = np.random.default_rng(seed)
    u, v = rng.uniform(-500, 500, n), rng.uniform(-400, 400, n)
    bend = 1.0 + bent * (u**2 + v**2) / (500.0**2 + 400.0**2)
    ra, dec = from_plane(-SCALE * u * bend, SCALE * v * bend, 0.0, 0.0)
    noise = rng.normal(0.0, 0.05, (2, n))
    zeros = np.zeros(n)
    return {
        "x": u + 499.5 + noise[0], "y": v + 399.5 + noise[1], "dx": noise[0], "dy": noise[1],
        "ra": ra, "dec": dec, "mag": zeros + 12.0, "error": zeros + 0.05,
    }  # fmt: skip


def teach(database: Database, seeds: Sequence[int], *, day: int = 0, **changes: object) -> None:
    """Reduce a frame for each seed, in this order; the time of each follows from its seed."""
    bent = float(changes.pop("bent", BENT))  # type: ignore[arg-type]
    quality = str(changes.pop("quality", "verified"))
    lent = changes.pop("lent", None)
    solved = {"wcs_n_matched": 150, "parity": 1, "ra_center": 0.0, "dec_center": 0.0}
    for seed in seeds:
        mjd = MJD + day + seed / 1440.0
        frame = add_frame(database, f"{day}-{seed}{changes or ''}.fits", mjd_mid=mjd, **changes)
        append(
            database, frame,
            record(f"{day}-{seed}", **solved, wcs_quality=quality, wcs_distortion=lent),
            columns(*stars(3), mjd=mjd), now=START,
            wcs_stars=WcsStarsRecord(optics=optics(header(**changes), SHAPE), stars=field(seed, bent)),
        )  # fmt: skip


def later(**changes: object) -> FrameHeader:
    return header(**({"mjd_mid": MJD + 5} | changes))


NIGHT = night_of(MJD, header().longitude)
NEXT = night_of(MJD + 1, header().longitude)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(f"sqlite:///{tmp_path}/store.sqlite")
    found.upgrade()
    yield found
    found.close()


def test_what_is_learned_is_what_the_optics_do(database: Database) -> None:
    teach(database, range(5))
    (row,) = learn_optics(database, NIGHT)
    assert (row.night, row.n_frames, len(row.taught_by)) == (NIGHT, 5, 5)
    (found,) = known_distortions(database, later(), SHAPE)
    assert found.fingerprint == row.fingerprint
    # the best affine model about the cubic has a part in it that the sky's scale cannot tell from it
    corner = np.array([499.5]), np.array([399.5])
    edge = np.array([499.5]), np.array([0.0])
    stretch = [float(np.hypot(*found.flattened(*one))[0] / np.hypot(*one)[0]) for one in (corner, edge)]
    r2 = (499.5**2) / (499.5**2 + 399.5**2)
    assert stretch[0] / stretch[1] == pytest.approx((1 + BENT) / (1 + BENT * r2), abs=2e-4)


def test_order_of_arrival_means_nothing(database: Database, tmp_path: Path) -> None:
    teach(database, range(5))
    other = Database(f"sqlite:///{tmp_path}/other.sqlite")
    other.upgrade()
    teach(other, [3, 1, 4, 0, 2])
    (one,), (two,) = learn_optics(database, NIGHT), learn_optics(other, NIGHT)
    other.close()
    assert one.fingerprint == two.fingerprint
    assert one.taught_by == two.taught_by


def test_an_unchanged_night_changes_nothing(database: Database) -> None:
    teach(database, range(5))
    learn_optics(database, NIGHT)
    before = everything(database)
    assert learn_optics(database, NIGHT) == []
    assert everything(database) == before


def test_a_frame_gets_what_earlier_nights_taught(database: Database) -> None:
    """Neither its own night nor a later one: it gets the same before and after its night is finished."""
    teach(database, range(4))
    (first,) = learn_optics(database, NIGHT)
    teach(database, range(4), day=1, bent=2 * BENT)
    (second,) = learn_optics(database, NEXT)
    assert first.fingerprint != second.fingerprint
    of_night = [
        [one.fingerprint for one in known_distortions(database, later(mjd_mid=MJD + day), SHAPE)]
        for day in (-9, 0, 1, 5)
    ]
    assert of_night == [[], [], [first.fingerprint], [second.fingerprint]]


def test_what_is_no_longer_supported_goes(database: Database) -> None:
    """All frames of the night are reduced again, to no verified WCS; the row of another night stays."""
    teach(database, range(4))
    teach(database, range(4), day=1)
    (first,) = learn_optics(database, NIGHT)
    (second,) = learn_optics(database, NEXT)
    for frame in range(5, 9):
        append(database, frame, record("again"), columns(*stars(3), mjd=MJD + 1), now=START)
    assert learn_optics(database, NEXT) == []
    (found,) = known_distortions(database, later(), SHAPE)
    assert found.fingerprint == first.fingerprint != second.fingerprint
    before = everything(database)
    assert learn_optics(database, NEXT) == []
    assert everything(database) == before


def finish(database: Database, day: int) -> None:
    """Reduce the frames of a night by what they are offered, then learn; two of five do better alone."""
    mjd = MJD + day
    offered = known_distortions(database, later(mjd_mid=mjd), SHAPE)
    print_of_offer = offered[0].fingerprint if offered else ""
    for seed in range(5):
        name = f"{day}-{seed}.fits"
        lent = print_of_offer if seed > 1 and print_of_offer else None
        append(
            database, add_frame(database, name, mjd_mid=mjd + seed / 1440.0),
            record(
                f"{name} {print_of_offer}", wcs_n_matched=150, parity=1, ra_center=0.0, dec_center=0.0,
                wcs_quality="verified", wcs_distortion=lent,
            ),
            columns(*stars(3), mjd=mjd), now=START,
            wcs_stars=WcsStarsRecord(optics=optics(header(), SHAPE), stars=field(10 * day + seed)),
        )  # fmt: skip
    learn_optics(database, night_of(mjd, header().longitude))


def told(database: Database) -> tuple[list[Any], list[Any]]:
    """Return the rows, and which one each frame was lent."""
    with database.session() as session:
        rows = session.execute(text("SELECT night, fingerprint, taught_by FROM camera_distortion ORDER BY 1"))
        lent = session.execute(
            text(
                "SELECT sha256, wcs_distortion FROM reduction JOIN frame ON frame.id = frame_id "
                "JOIN exposure ON exposure.id = exposure_id WHERE current ORDER BY 1"
            )
        )
        return list(rows), list(lent)


@pytest.mark.parametrize("first", [(1, 0, 2), (2, 1, 0), (0, 2, 1)])
def test_order_of_nights_means_nothing(database: Database, tmp_path: Path, first: tuple[int, ...]) -> None:
    """Finished in any order, then in that of time, they have what they have in the order of time alone."""
    in_order = Database(f"sqlite:///{tmp_path}/other.sqlite")
    in_order.upgrade()
    for day in range(3):
        finish(in_order, day)
    for day in (*first, 0, 1, 2):
        finish(database, day)
    found, expected = told(database), told(in_order)
    in_order.close()
    assert found == expected
    assert len({lent for _, lent in expected[1]}) == 3


@pytest.mark.parametrize(
    "other",
    [
        {"instrument": "othercam"},
        {"detector": "2"},
        {"binning": (2, 2)},
        {"readout_mode": "mirrored"},
        {"trim": (slice(0, 800), slice(50, 1050))},
    ],
)
def test_another_chip_gets_nothing(database: Database, other: dict[str, object]) -> None:
    teach(database, range(5))
    learn_optics(database, NIGHT)
    assert known_distortions(database, later(**other), SHAPE) == ()


def test_another_shape_gets_nothing(database: Database) -> None:
    teach(database, range(5))
    learn_optics(database, NIGHT)
    assert known_distortions(database, later(), SHAPE[::-1]) == ()


def test_last_year_teaches_nothing(database: Database) -> None:
    teach(database, range(5))
    teach(database, range(2), day=370)
    assert learn_optics(database, night_of(MJD + 370, header().longitude)) == []


def test_a_long_night_is_asked_evenly(database: Database) -> None:
    teach(database, range(24))
    (row,) = learn_optics(database, NIGHT)
    asked = [int(one) for one in np.linspace(0, 23, 10).round()]
    assert row.taught_by == [sha(f"0-{seed}.fits") for seed in asked]


def test_what_is_not_verified_teaches_nothing(database: Database) -> None:
    teach(database, range(5), quality="provisional")
    assert learn_optics(database, NIGHT) == []


def test_what_was_lent_a_distortion_teaches_none(database: Database) -> None:
    teach(database, range(5))
    (row,) = learn_optics(database, NIGHT)
    teach(database, range(5), day=1, lent=row.fingerprint)
    assert learn_optics(database, NEXT) == []


def test_what_is_not_current_teaches_nothing(database: Database) -> None:
    teach(database, range(3))
    frame = 1
    append(database, frame, record("again"), columns(*stars(3), mjd=MJD), now=START)
    assert learn_optics(database, NIGHT) == []


def test_a_changed_lens_is_learned_anew(database: Database) -> None:
    """Ten frames of the new optics beside three of the old: those of the old are strange."""
    teach(database, range(3))
    learn_optics(database, NIGHT)
    teach(database, range(10), day=1, bent=-BENT)
    learn_optics(database, NEXT)
    (found,) = known_distortions(database, later(), SHAPE)
    assert found.n_frames == 10
    corner = np.array([499.5]), np.array([399.5])
    edge = np.array([499.5]), np.array([0.0])
    assert np.hypot(*found.flattened(*corner)) / np.hypot(*corner) < np.hypot(*found.flattened(*edge)) / 499.5


def test_what_the_ledger_tells_is_what_a_frame_is_offered(database: Database) -> None:
    """Also where names hold what no database takes."""
    for number, strange in enumerate(("", '"];\x00 drop table', "\ud800%_\\")):
        same: dict[str, Any] = {"detector": f"chip{strange}", "readout_mode": strange, "binning": (2, 1)}
        teach(database, range(3), **same)
        learn_optics(database, NIGHT)
        add_frame(database, f"later {number}", mjd_mid=MJD + 1, **same)
        (frame,) = frames_of(database, 4 * (number + 1))
        (offered,) = known_distortions(database, later(mjd_mid=MJD + 1, **same), SHAPE)
        assert Offers(database).of([frame]) == [offered.fingerprint]
        assert Offers(database).of([frame.model_copy(update={"binning": "1x1"})]) == []
        assert Offers(database).of([frame.model_copy(update={"kind": "flat"})]) == []


def test_text_of_a_header_is_text(database: Database) -> None:
    strange = later(readout_mode='"];\x00 drop table\ud800')
    assert known_distortions(database, strange, SHAPE) == ()
    assert optics(strange, SHAPE) != optics(replace(strange, readout_mode=""), SHAPE)

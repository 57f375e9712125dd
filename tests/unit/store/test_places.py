from __future__ import annotations

from nightflow.store.copies import move
from nightflow.store.database import Database
from nightflow.store.ledger import receive
from nightflow.store.places import Place, places_of
from tests.unit.store.builders import START, sha


def test_own_place_first_and_where_another_content_of_that_size_was(database: Database) -> None:
    for path, content, size in (
        ("/acq/a.fits", "a", 10),
        ("/archive/a.fits", "a", 10),
        ("/acq/a.fits", "b", 10),
        ("/archive/a.fits", "c", 20),
        ("/acq/d.fits", "d", 10),
    ):
        receive(database, path, sha(content), size, now=START)
    acq = Place(path="/acq/a.fits", size=10, shared=True)
    archive = Place(path="/archive/a.fits", size=10, shared=False)
    asked = {sha("a"), sha("d"), sha("never seen")}
    assert places_of(database, asked) == {
        sha("a"): [acq, archive],
        sha("d"): [Place(path="/acq/d.fits", size=10, shared=False)],
    }
    move(database, sha("a"), acq.path, archive.path)
    assert places_of(database, {sha("a")}) == {sha("a"): [archive, acq]}

"""One raw file to its rows in the store: ours, and the usual programs one after another.

Both sides read the file and know the masters. Ours goes the way of `nightflow run`, ledger included, without
the files for people, which are written off the latency path.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from astropy.io import fits
from scipy.spatial import cKDTree
from sqlalchemy import select
from sqlmodel import col

from benchmarks.cases.other_chain import ChainAnswer, OtherChain
from benchmarks.cases.solve_hint import agree as same_sky
from benchmarks.cases.source_lists import SourceList, compare
from benchmarks.harness import Agreement, Case, Side, both, close
from benchmarks.workshop import CATALOG, Workshop
from nightflow.astrometry.wcs_header import wcs_from_text
from nightflow.catalogs.importer import import_catalog
from nightflow.config import PathSettings, Settings, StoreSettings
from nightflow.heap import keep_freed_memory
from nightflow.pipeline.outcome import Outcome
from nightflow.pipeline.reduce_exposure import reduce_exposure
from nightflow.pipeline.reducer import Reducer
from nightflow.pipeline.register import register
from nightflow.pipeline.run import reduce_paths
from nightflow.store.frames import frames_of
from nightflow.store.leases import lease_exposure
from nightflow.store.models import Measurement, Priority, Reduction, State

__all__ = ["agree", "chain_case"]

_MATCH = 1.5
"""Pixels."""


@contextmanager
def chain_case(workshop: Workshop) -> Iterator[Case]:
    """Every round gets a file of its own: the same frame with another card."""
    side = workshop.scale.side
    keep_freed_memory()  # as every process that reduces; the other side runs in it, too
    with tempfile.TemporaryDirectory(dir=workshop.folder) as name:
        folder = Path(name)
        copy = _copier(workshop.files("light", 1)[0], folder)
        reducer = _reducer(workshop, folder)
        with closing(reducer.database), OtherChain(workshop, folder) as other:
            yield Case(
                ours=Side(
                    run=lambda one: reduce_exposure(reducer, one), fresh=lambda: _leased(reducer, copy())
                ),
                peer=Side(run=other.reduce, fresh=copy),
                peer_name=other.name,
                agree=lambda ours, theirs: agree(_stored(reducer, ours), theirs, (side, side)),
            )


def _copier(light: Path, folder: Path) -> Callable[[], Path]:
    """Return what writes one more copy of a file, of other content."""
    numbers = itertools.count()
    pixels, header = fits.getdata(light, do_not_scale_image_data=False), fits.getheader(light)

    def copy() -> Path:
        number = next(numbers)
        path = folder / f"round-{number:03d}-{light.name}"
        fits.writeto(path, pixels, fits.Header([*header.cards, ("ROUND", number)]))
        return path

    return copy


def _reducer(workshop: Workshop, folder: Path) -> Reducer:
    """Return a reducer that has its masters and has solved a frame of this pointing, as in the night."""
    settings = Settings(
        root=folder,
        store=StoreSettings(url="sqlite:///store.sqlite"),
        paths=PathSettings(cameras=workshop.cameras),
    )
    import_catalog(workshop.catalog_file, CATALOG, folder / "catalogs")
    reducer = Reducer(settings, missing_calibration="hold", products=False, definitive_masters=True)
    calibrations = [
        path
        for kind, count in (("bias", 5), ("dark", 3), ("flat", 3))
        for path in workshop.files(kind, count)
    ]
    report = reduce_paths(reducer, [*calibrations, workshop.files("light", 1)[0]])
    wrong = [
        f"{outcome.path}: {outcome.reason}" for outcome in report.outcomes if outcome.state != State.DONE
    ]
    if wrong:
        raise RuntimeError(f"frames that were not reduced: {'; '.join(wrong)}")
    return reducer


def _leased(reducer: Reducer, path: Path) -> int:
    """Receive a file and take it up; return the exposure."""
    now = datetime.now(UTC)
    exposure = register(reducer.database, path, priority=Priority.LIVE, now=now).exposure_id
    if lease_exposure(reducer.database, exposure, "bench", now=now, seconds=600.0) is None:
        raise RuntimeError(f"{path.name} could not be taken up")
    return exposure


def _stored(reducer: Reducer, outcome: Outcome) -> ChainAnswer:
    """Return what our side left in the store."""
    if outcome.state != State.DONE:
        raise RuntimeError(f"{outcome.path} is {outcome.state}: {outcome.reason}")
    frame = frames_of(reducer.database, outcome.exposure_id)[0]
    wanted = [col(getattr(Measurement, name)) for name in ("x", "y", "flux", "flux_err", "mag")]
    of_frame = (col(Reduction.frame_id) == frame.id, col(Reduction.current))
    with reducer.database.session() as session:
        wcs = session.scalars(select(Reduction.wcs).where(*of_frame)).one()
        rows = session.execute(
            select(*wanted)
            .join(Reduction, col(Measurement.reduction_id) == col(Reduction.id))
            .where(*of_frame)
        ).all()
    x, y, flux, flux_err, mag = np.array(rows, float).T
    return ChainAnswer(
        sources=SourceList(x=x, y=y, flux=flux * frame.exptime, flux_err=flux_err * frame.exptime),
        mag=mag,
        wcs=wcs_from_text(wcs),
    )


def agree(ours: ChainAnswer, theirs: ChainAnswer, shape: tuple[int, int]) -> Agreement:
    """Compare sources, places on the sky and magnitudes."""
    return both(
        compare(ours.sources, theirs.sources, shape, place_limit=0.1),
        same_sky(ours.wcs, theirs.wcs, shape),
        close("magnitudes differ by", _magnitude_offset(ours, theirs), 0.03),
    )


def _magnitude_offset(ours: ChainAnswer, theirs: ChainAnswer) -> float:
    """Return the median difference of the sources that stand at a signal to noise of 20 and more."""
    here, there = ours.sources, theirs.sources
    distance, partner = cKDTree(np.column_stack([there.x, there.y])).query(np.column_stack([here.x, here.y]))
    same = (distance < _MATCH) & (here.flux > 20 * here.flux_err)
    return float(abs(np.nanmedian(ours.mag[same] - theirs.mag[partner[same]])))

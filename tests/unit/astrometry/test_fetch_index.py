from __future__ import annotations

import functools
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from nightflow.astrometry.astrometry_net import PACKAGED_INDEX_FOLDER
from nightflow.astrometry.fetch_index import SCALES, fetch_index, file_name, names_wanted, scales_for_field
from nightflow.astrometry.index_file import describe_index
from nightflow.errors import ConfigurationError, NightflowError, RetryLater

INDEX = PACKAGED_INDEX_FOLDER / "index-hatp32-tycho2.fits"
NAME = "index-4110.fits"


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """Folder that holds an index file, a picture and half an index."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    shutil.copy(INDEX, folder / NAME)
    (folder / "index-half.fits").write_bytes(INDEX.read_bytes()[:60_000])
    (folder / "index-text.fits").write_text("<html>404, but with status 200</html>")
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(folder / "index-image.fits")
    return folder


@pytest.fixture
def address(mirror: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(mirror))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_index_comes_over_http(address: str, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    found = fetch_index(NAME, tmp_path / "ours", address + "/", progress=lambda *one: told.append(one))
    assert found.path == tmp_path / "ours" / NAME
    assert found.path.read_bytes() == INDEX.read_bytes()
    assert told[-1] == (INDEX.stat().st_size, INDEX.stat().st_size)


def test_an_index_comes_from_a_folder_and_stays(mirror: Path, tmp_path: Path) -> None:
    first = fetch_index(NAME, tmp_path / "ours", mirror.as_uri())
    stamp = first.path.stat().st_mtime_ns
    shutil.rmtree(mirror)
    assert fetch_index(NAME, tmp_path / "ours", mirror.as_uri()) == first
    assert first.path.stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("index-text.fits", "no readable FITS file"),
        ("index-image.fits", "no astrometry.net index: it lacks quads"),
        ("index-half.fits", "cut off|no astrometry.net index|no readable FITS"),
    ],
)
def test_what_is_no_index_is_not_kept(address: str, tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(NightflowError, match=message) as caught:
        fetch_index(name, tmp_path / "ours", address)
    assert f"{address}/{name}" in str(caught.value)
    assert list((tmp_path / "ours").iterdir()) == []


def test_a_server_without_it_or_no_server_is_worth_another_try(address: str, tmp_path: Path) -> None:
    with pytest.raises(RetryLater, match="404"):
        fetch_index("index-4119.fits", tmp_path, address)
    with pytest.raises(RetryLater, match=r"index-4119\.fits"):
        fetch_index("index-4119.fits", tmp_path, "http://127.0.0.1:9")
    with pytest.raises(RetryLater):
        fetch_index("index-4119.fits", tmp_path, (tmp_path / "nowhere").as_uri())
    assert not list(tmp_path.glob("index-*"))


class _Trickle(BaseHTTPRequestHandler):
    """Announces much, sends little, ends early."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.wfile.write(b"SIMPLE  =")
        if "slow" in self.path:
            self.server.stop.wait(5)  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def trickle() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Trickle) as server:
        server.stop = threading.Event()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.stop.set()  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


def test_a_download_that_ends_early_or_stalls_leaves_nothing(trickle: str, tmp_path: Path) -> None:
    with pytest.raises(RetryLater):
        fetch_index("index-early.fits", tmp_path, trickle)
    with pytest.raises(RetryLater, match="timed out"):
        fetch_index("index-slow.fits", tmp_path, trickle, time_limit=0.3)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["../index-1.fits", "index-1.fits/../x", "/etc/passwd", "index-.fits", "4107", "index-a b.fits"]
)
def test_a_name_is_no_path(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="an index file is called"):
        fetch_index(name, tmp_path, "http://127.0.0.1:9")


def test_an_address_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="begin with http"):
        fetch_index(NAME, tmp_path, "ftp://somewhere")


def test_scales_for_a_field() -> None:
    assert scales_for_field(50.0) == [7, 8, 9]
    assert file_name(7) == "index-4107.fits"
    with pytest.raises(ConfigurationError, match="narrower than the narrowest"):
        scales_for_field(10.0)
    with pytest.raises(ConfigurationError, match="scale 3"):
        file_name(3)


@pytest.mark.parametrize("field", [30.0, 56.0, 123.0, 600.0, 2000.0])
def test_every_scale_that_is_chosen_fits_the_field(field: float) -> None:
    chosen = scales_for_field(field)
    assert all(SCALES[scale][0] <= field and SCALES[scale][1] >= 0.2 * field for scale in chosen)
    assert chosen == list(range(chosen[0], chosen[-1] + 1))


def test_names_scales_and_fields_add_up() -> None:
    assert names_wanted(["index-a.fits"], [8], 50.0) == [
        "index-a.fits",
        "index-4108.fits",
        "index-4107.fits",
        "index-4109.fits",
    ]
    with pytest.raises(ConfigurationError, match="say which"):
        names_wanted([], [], None)


def test_an_index_tells_its_quads() -> None:
    found = describe_index(INDEX)
    # As its README says: 128 stars, 879 quads of 8' to 36'.
    assert (found.n_stars, found.n_quads) == (128, 879)
    assert (found.smallest_arcmin, found.largest_arcmin) == pytest.approx((8.0, 36.0), abs=0.01)


@pytest.mark.parametrize("length", [0, 100, 2880, 50_000, 108_000])
def test_a_file_that_is_cut_off_is_no_index(tmp_path: Path, length: int) -> None:
    cut = tmp_path / NAME
    cut.write_bytes(INDEX.read_bytes()[:length])
    with pytest.raises(NightflowError, match=r"index-4110\.fits: "):
        describe_index(cut)

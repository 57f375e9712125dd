"""Names of finished frames, and of everything else that lands in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightflow.sensor.candidates import ignored_folder, is_candidate

ROOT = Path("/incoming")


@pytest.mark.parametrize(
    "name",
    [
        "d1047.fits", "D1047.FIT", "m51-001.fts", "a.fits.fz", "a.FITS.GZ", "a.fz", "frame.001.fits",
        "night 1/été/M 31.fits", "2024-05-12T01:02:03.456.fits", "frame001.gz", "x.0001.fz",
        "dark.temp.fits", "M31.download.fits.gz", "flat.partial.fit", "a.part.1.fits",
    ],
)  # fmt: skip
def test_a_finished_frame_is_a_candidate(name: str) -> None:
    assert is_candidate(ROOT / name, ROOT)


@pytest.mark.parametrize(
    "name",
    [
        ".d1047.fits.Xy12Zq", ".d1047.fits", ".~tmp~/d1047.fits", ".rsync-partial/d1047.fits",  # rsync
        ".syncthing.d1047.fits.tmp", "~syncthing~d1047.fits.tmp", ".stversions/d1047.fits",  # Syncthing
        "d1047.fits.filepart", "d1047.fits.part", "d1047.fits.crdownload", ".in.d1047.fits.",  # FTP, browsers
        "d1047.part.fits", "d1047.tmp.fits", "d1047.tmp.fits.fz",
        "~$d1047.fits", "._d1047.fits",  # Windows, macOS
        "@eaDir/d1047.fits", "#recycle/d1047.fits", "$RECYCLE.BIN/d1047.fits", "lost+found/d1047.fits",
        "preview.png", "weather.csv.gz", "logs.tar.gz", "fits", "notes.fits.txt", "archive.zip",
    ],
)  # fmt: skip
def test_unfinished_or_foreign_files_are_not(name: str) -> None:
    assert not is_candidate(ROOT / name, ROOT)


def test_products_inside_the_watched_folder_are_not_taken_for_raw_frames() -> None:
    excluded = [ROOT / "products"]
    assert not is_candidate(ROOT / "products/2024-05-12/d1047.fits", ROOT, excluded)
    assert is_candidate(ROOT / "products-of-the-night/d1047.fits", ROOT, excluded)


def test_only_the_part_below_the_watched_folder_counts() -> None:
    root = Path("/home/.cache/incoming")
    assert is_candidate(root / "d1047.fits", root)
    assert not is_candidate(Path("/elsewhere/d1047.fits"), root)


@given(
    st.text(st.characters(exclude_characters="/\0"), min_size=1).filter(lambda name: name not in (".", ".."))
)
def test_any_name_gets_an_answer_and_a_hidden_one_is_refused(name: str) -> None:
    assert not is_candidate(ROOT / f".{name}", ROOT)
    assert isinstance(is_candidate(ROOT / name, ROOT), bool)


@given(
    st.sampled_from(["fits", "FIT", "fts", "fits.fz", "Fits.Gz"]),
    st.from_regex(r"[a-z0-9_-]{1,12}", fullmatch=True),
)
def test_a_plain_name_with_a_fits_suffix_is_always_taken(suffix: str, stem: str) -> None:
    assert is_candidate(ROOT / f"{stem}.{suffix}", ROOT)


def test_ignored_folders() -> None:
    assert ignored_folder(".stfolder")
    assert ignored_folder("System Volume Information")
    assert not ignored_folder("2024-05-12")

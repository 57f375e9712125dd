import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from astropy.io import fits

from nightflow.fits_output import card, printable, remove_leftovers, replacing


def test_nothing_is_there_before_the_end_and_all_of_it_after(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.fits"
    with replacing(path) as temporary:
        temporary.write_text("content")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert path.read_text() == "content"
    assert [file.name for file in path.parent.iterdir()] == ["a.fits"]


def test_an_error_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_goes_when_it_is_old(tmp_path: Path) -> None:
    night = tmp_path / "products" / "2026-01-01"
    night.mkdir(parents=True)
    old, fresh, foreign = night / f".{'a' * 32}.tmp", night / f".{'b' * 32}.tmp", night / ".notes.tmp"
    for path in (old, fresh, foreign):
        path.write_text("half")
        os.utime(path, (1e9, 1e9))
    os.utime(fresh, (1e9 + 3000, 1e9 + 3000))
    now = datetime.fromtimestamp(1e9 + 3601, UTC)
    assert remove_leftovers(tmp_path / "products", now) == 1
    assert sorted(night.iterdir()) == sorted([fresh, foreign])
    assert remove_leftovers(tmp_path / "absent", now) == 0


def test_what_gets_its_name_while_leftovers_are_looked_for_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are looked for beside those who write."""
    left, written = (tmp_path / f".{letter * 32}.tmp" for letter in "ab")
    for path in (left, written):
        path.write_text("half")
        os.utime(path, (1e9, 1e9))
    lstat = Path.lstat

    def renamed_before(path: Path) -> os.stat_result:
        if path == written:
            path.rename(tmp_path / "whole.fits")
        return lstat(path)

    monkeypatch.setattr(Path, "is_symlink", lambda _: False)
    monkeypatch.setattr(Path, "lstat", renamed_before)
    assert remove_leftovers(tmp_path, datetime.fromtimestamp(1e9 + 3601, UTC)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["whole.fits"]


def test_the_file_may_be_read_by_whom_the_umask_allows(tmp_path: Path) -> None:
    plain, ours = tmp_path / "plain", tmp_path / "ours"
    plain.write_text("x")
    with replacing(ours) as temporary:
        temporary.write_text("x")
    assert ours.stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize(
    ("text", "expected"), [("V", "V"), ("a\nb\x00", "a?b?"), ("Zürich", "Z?rich"), ("~ '", "~ '"), ("", "")]
)
def test_text_that_fits_cannot_hold(text: str, expected: str) -> None:
    assert printable(text) == expected


@pytest.mark.parametrize("length", [1, 40, 60, 67, 68, 69, 100])
def test_a_card_never_complains_and_keeps_its_value(length: int) -> None:
    made = card("OBJECT", "x" * length, "the name of what was looked at, in so many words")
    header = fits.Header([made])
    assert header["OBJECT"] == "x" * length
    assert fits.Header.fromstring(header.tostring())["OBJECT"] == "x" * length


def test_a_card_of_a_long_number_cuts_its_comment() -> None:
    made = card("SITELONG", -111.23456789012345, "degrees, positive towards east " * 3)
    assert made.value == -111.23456789012345
    assert "degrees, positive towards east".startswith(made.comment[:20])


def test_a_card_has_no_control_characters() -> None:
    assert card("OBJECT", "M\x1b31\u00e9").value == "M?31?"

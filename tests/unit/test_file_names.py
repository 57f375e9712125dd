"""Whatever a file is called, its name can be written down and found again."""

from __future__ import annotations

import os

import pytest

from nightflow.file_names import as_named, as_text


@pytest.mark.parametrize(
    "name",
    [
        b"/raw/M67_001.fits",
        "/raw/Köln 001.fits".encode(),
        "/raw/Köln_001.fits".encode("latin-1"),
        b"/raw/\xff\x80\xe9.fits",
        rb"/raw/K\udcf6ln.fits",
        rb"/raw/back\slash \x5c \x5cudcf6 \n.fits",
        b"/raw/\\\xf6.fits",
    ],
)
def test_a_name_comes_back_as_the_bytes_that_it_was(name: bytes) -> None:
    text = as_text(os.fsdecode(name))
    assert text.encode("utf-8").isascii() or text == name.decode()
    assert os.fsencode(as_named(text)) == name


def test_a_name_that_is_text_stays_as_it_is() -> None:
    assert as_text(r"/raw/Köln\001.fits") == r"/raw/Köln\001.fits"


def test_two_names_are_never_one_text() -> None:
    assert as_text(os.fsdecode(b"K\xf6ln.fits")) != as_text(r"K\udcf6ln.fits")

"""Raw files as streams of bytes: plain ones, and gzip ones unpacked within a bound.

`open_source` gives a `nightflow.instruments.fits_layout.ByteSource` whatever the file is. What lies in the
file (a gzip stream that breaks off) and what lies outside it (a network disk that went away) stay apart:
the first is part of the answer, the second is raised as `RetryLater`.
"""

from __future__ import annotations

import errno
import gzip
import io
import os
import shutil
import stat
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from nightflow.errors import FrameRejected, RetryLater
from nightflow.file_names import as_named

__all__ = [
    "FileSource",
    "GzipSource",
    "is_absent",
    "largest_content",
    "open_regular",
    "open_source",
    "os_errors",
]

GZIP_MAGIC = b"\x1f\x8b"
CHUNK = 1 << 20
SMALL = 256 << 20
"""Bytes that any file may unpack to, and that are kept in memory of one; more goes to a temporary file."""
MAXIMUM_RATIO = 200
"""A larger file may unpack to so many times its size: raw frames reach 10, deflate at most 1032."""


def largest_content(size: int) -> int:
    """Return the bytes to which a packed file of ``size`` bytes may grow."""
    return max(SMALL, MAXIMUM_RATIO * size)


@contextmanager
def os_errors(path: Path) -> Iterator[None]:
    """Turn an error of the operating system into `RetryLater`, naming the file.

    Raises
    ------
    RetryLater
        The file is not there (yet, or any more) or cannot be read: a network disk may be away.
    FrameRejected
        ``path`` is a folder.
    """
    try:
        yield
    except IsADirectoryError as error:
        raise FrameRejected(f"{path}: is a folder, not a file") from error
    except OSError as error:
        if error.errno is None:
            raise
        raise RetryLater(f"{path}: cannot be read: {error.strerror}") from error


def is_absent(error: RetryLater) -> bool:
    """Return whether what `os_errors` made of an error says that there is no such file."""
    return isinstance(error.__cause__, FileNotFoundError | NotADirectoryError)


@contextmanager
def _unpacking(path: Path) -> Iterator[None]:
    """Tell a fault of the temporary folder from one of the file that is unpacked into it."""
    try:
        yield
    except OSError as error:
        raise RetryLater(
            f"{path}: cannot be unpacked into the temporary folder {_temporary_folder()}: {error.strerror}; "
            "make room there, or set TMPDIR to a folder that has it"
        ) from error


def _temporary_folder() -> str:
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:  # none of those that are usual can be written
        return os.environ.get("TMPDIR", "/tmp")


class FileSource:
    """A plain file of ``size`` bytes; nothing below FITS can be wrong with it."""

    fault = ""
    cut = False
    maximum_size: int | None = None

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file = file
        self.size = size

    def read(self, count: int) -> bytes:
        """Return the next ``count`` bytes, fewer at the end."""
        return self.file.read(count)

    def skip(self, count: int) -> int:
        """Step over ``count`` bytes and return how many of them are there."""
        here = max(0, min(count, self.size - self.file.tell()))
        self.file.seek(here, io.SEEK_CUR)
        return here

    def content(self) -> BinaryIO:
        """Return the file itself, at its start."""
        self.file.seek(0)
        return self.file

    def drain(self) -> None:
        """Nothing stands behind the last HDU that matters."""


class GzipSource:
    """A gzip file, unpacked as it is read.

    Attributes
    ----------
    fault : str
        What broke the stream, in words; "" while it is sound.
    cut : bool
        The fault is that the stream breaks off.
    maximum_size : int
        Bytes to which this file may unpack.
    """

    def __init__(self, path: Path, file: BinaryIO, size: int, *, keep: bool) -> None:
        self._path = path
        self._stream = gzip.GzipFile(fileobj=file, mode="rb")
        self._kept: BinaryIO = io.BytesIO()
        self._in_memory = True
        self._keep = keep
        self.fault = ""
        self.cut = False
        self.maximum_size: int | None = largest_content(size)

    def read(self, count: int) -> bytes:
        """Return the next ``count`` unpacked bytes, fewer at the end or where the stream breaks off."""
        parts = []
        while count > 0 and (part := self._read_some(min(count, CHUNK))):
            parts.append(part)
            count -= len(part)
        block = b"".join(parts)
        if self._keep:
            self._store(block)
        return block

    def skip(self, count: int) -> int:
        """Unpack ``count`` bytes and return how many of them are there."""
        done = 0
        while done < count and (part := self.read(min(count - done, CHUNK))):
            done += len(part)
        return done

    def content(self) -> BinaryIO:
        """Return what was unpacked so far, at its start, to be read only; needs ``keep``."""
        if not self._in_memory and self._kept.writable():
            # astropy takes a file that can be written for one to be changed
            with _unpacking(self._path), self._kept as written:
                written.flush()
                self._kept = os.fdopen(os.dup(written.fileno()), "rb")
        self._kept.seek(0)
        return self._kept

    def drain(self) -> None:
        """Read on to the check sum behind the data, over at most `SMALL` bytes."""
        self._keep = False
        self.skip(SMALL)

    def close(self) -> None:
        """Give up what was kept; what of it had no room on the disk any more is told already."""
        with suppress(OSError):
            self._kept.close()

    def _store(self, block: bytes) -> None:
        with _unpacking(self._path):
            if self._in_memory and self._kept.tell() + len(block) > SMALL:
                kept, self._kept = self._kept, tempfile.TemporaryFile()  # noqa: SIM115  # closed by `close`
                self._in_memory = False
                kept.seek(0)
                shutil.copyfileobj(kept, self._kept, CHUNK)
            self._kept.write(block)

    def _read_some(self, count: int) -> bytes:
        if self.fault:
            return b""
        try:
            return self._stream.read1(count)
        except EOFError:
            self.cut = True
            self.fault = "truncated: the gzip stream breaks off"
        except (gzip.BadGzipFile, zlib.error) as error:
            self.fault = f"corrupt gzip stream: {error}"
        return b""


def open_regular(path: Path) -> io.BufferedReader:
    """Open a file for reading, and nothing that has no end: a pipe that nobody fills, a device.

    Parameters
    ----------
    path : Path
        As the ledger writes it, see `nightflow.file_names`.

    Raises
    ------
    OSError
        It is no regular file, or cannot be opened.
    """
    return open(as_named(path), "rb", opener=_regular)


def _regular(path: str, flags: int) -> int:
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK)
    except BlockingIOError:  # a file server has lent this file to a client, and asks for it back
        descriptor = os.open(path, flags)
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind) or stat.S_ISDIR(kind):  # `open` itself refuses a folder
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a regular file", path)


@contextmanager
def open_source(path: Path, *, keep: bool = False) -> Iterator[FileSource | GzipSource]:
    """Open ``path`` for `nightflow.instruments.fits_layout.walk`.

    Parameters
    ----------
    path : Path
        Plain or gzip; the first bytes decide, not the name. As the ledger writes it, see
        `nightflow.file_names`.
    keep : bool
        Keep what is unpacked, for `GzipSource.content`.

    Raises
    ------
    RetryLater
        The file cannot be opened or read.
    """
    with os_errors(path), open_regular(path) as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        file.seek(0)
        if not packed:
            yield FileSource(file, size)
            return
        with closing(GzipSource(path, file, size, keep=keep)) as source:
            yield source

"""External programs, held to a time: started in a group of their own, which is gone when this returns.

A solver may hang, crash, fill its output, or leave children that ignore SIGTERM. Whatever it does, and
whatever is raised in us meanwhile, its whole group gets SIGKILL, its head is reaped and its pipes are closed.
A signal that ends us without raising anything leaves it running, and its temporary folder: SIGKILL always,
SIGTERM and SIGHUP unless they are made an exit (`nightflow.commands.signals`).
The head is reaped last: until then the group's number stays taken, so that the signal can hit nobody else,
also where the head has ended long before its children.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from nightflow.errors import NightflowError

__all__ = ["Finished", "ProgramError", "not_installed", "run_bounded", "scratch_folder", "without"]

_PACKAGES = {
    "solve-field": "astrometry.net",
    "build-astrometry-index": "astrometry.net",
    "scamp": "scamp",
    "source-extractor": "source-extractor",
}
"""Optional programs, and what brings them on Debian and Ubuntu."""

_KEPT = 4 * 2**20
_CHUNK = 2**16
_TICK = 0.02
"""Seconds between looks at whether the head has ended; where it closed its pipes it is asked sooner."""
_SOON = 0.002
_GRACE = 2.0
"""Seconds that a group which got SIGKILL has to close its pipes and to be reaped."""
_QUOTED = 300
_OURS = "NIGHTFLOW_"
"""How our variables begin, in capitals: settings are read in any case. They hold the store's password, keys,
the address of a webhook; another program needs none of them."""
_GIVEN_ON = "NIGHTFLOW_CONFIG"
"""The only one of ours that programs get: one that is told something may ask `nightflow` for more, where
store and password stand in that file; those that were set in the environment it does not know."""
_PASSWORDS = frozenset(
    {
        "PGPASSWORD",
        "PREFECT_API_AUTH_STRING",
        "PREFECT_API_DATABASE_CONNECTION_URL",
        "PREFECT_API_DATABASE_PASSWORD",
        "PREFECT_API_KEY",
        "PREFECT_CLIENT_CUSTOM_HEADERS",
        "PREFECT_SERVER_API_AUTH_STRING",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL",
        "PREFECT_SERVER_DATABASE_PASSWORD",
    }
)
"""Of other programs than ours; who starts one that needs some of them adds them."""


class ProgramError(NightflowError):
    """A program is missing, cannot be started, was ended by a signal, or did not end in time.

    Attributes
    ----------
    signal : int or None
        The signal that ended it, where it was one, and not ours.
    """

    def __init__(self, message: str, signal: int | None = None) -> None:
        self.signal = signal
        super().__init__(message)


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A program that ended by itself.

    Attributes
    ----------
    status : int
        Its exit status, 0 or more.
    stdout, stderr : str
        The last 4 MiB of each, if not asked otherwise; bytes that are no UTF-8 are replaced.
    """

    status: int
    stdout: str
    stderr: str

    @property
    def last_words(self) -> str:
        """The end of what it complained of, on one line."""
        return _last_words(self.stderr or self.stdout)


def run_bounded(
    command: Sequence[str],
    *,
    seconds: float,
    folder: Path | None = None,
    stdin: str = "",
    environment: Mapping[str, str] | None = None,
    kept: int = _KEPT,
    secrets: Sequence[str] = (),
) -> Finished:
    """Run a program to its end or to its limit of time; afterwards no process of its group is left.

    Parameters
    ----------
    command : sequence of str
        Program and arguments; no shell.
    seconds : float
        Wall time after which the group is killed.
    folder : Path, optional
        Where it runs and, by TMPDIR, puts its temporary files.
    stdin : str
        What it may read.
    environment : mapping, optional
        Variables to add to those that we have; what is ours alone (NIGHTFLOW_...) and passwords are not among
        those.
    kept : int
        Bytes of each output stream that are kept, the last ones; the rest is read and dropped.
    secrets : sequence of str
        What must not be read in anything it says: `without` takes it out.

    Returns
    -------
    Finished
        Whatever its exit status. A child that outlives the head is killed when the head ends.

    Raises
    ------
    ProgramError
        It is missing, cannot be started, was ended by a signal, or did not end in time; the message says
        which, with its last words.
    """
    deadline = time.monotonic() + seconds
    name = Path(command[0]).name
    process = _start(command, folder, environment)
    pipes = _Pipes(process, stdin.encode(), kept)
    try:
        in_time = _wait(process, pipes, deadline)
    finally:
        _end_group(process)
        pipes.drain(time.monotonic() + _GRACE)
        _reap(process)
    # before anything is cut: half a secret would be found no more
    stdout, stderr = (_without_any(secrets, pipes.text(name)) for name in ("stdout", "stderr"))
    said = _last_words(stderr or stdout)
    if not in_time:
        raise ProgramError(_with(f"{name} did not end in {seconds:.1f} s and was ended", said))
    if process.returncode is None:
        raise ProgramError(f"{name} cannot be ended: process {process.pid} does not answer SIGKILL")
    if process.returncode < 0:
        number = -process.returncode
        raise ProgramError(_with(f"{name} was ended by {_signal_name(number)}", said), number)
    return Finished(status=process.returncode, stdout=stdout, stderr=stderr)


def not_installed(program: str) -> str:
    """Return what to say of a program that is not there: where it comes from, as far as that is known."""
    package = _PACKAGES.get(program)
    mend = f" (Debian and Ubuntu: apt install {package})" if package else ""
    return f"{program} is not installed: no such program on PATH{mend}"


def without(secret: str, text: str) -> str:
    """Return a text without a secret: as it is, and as Python or JSON would quote it."""
    if not secret:
        return text
    for form in (json.dumps(secret)[1:-1], repr(secret)[1:-1], secret):
        text = text.replace(form, "<key>")
    return text


def _without_any(secrets: Sequence[str], text: str) -> str:
    for secret in sorted(secrets, key=len, reverse=True):  # one may be a part of another
        text = without(secret, text)
    return text


def _is_secret(name: str) -> bool:
    return name in _PASSWORDS or (name.startswith(_OURS) and name != _GIVEN_ON)


@contextlib.contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """Yield a new temporary folder, which is removed with all that is in it, whatever happens.

    Raises
    ------
    ProgramError
        It cannot be made, or any OSError of the block; one that names a file elsewhere is not said to be
        of this folder.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=prefix))
    except OSError as error:
        raise ProgramError(f"no temporary folder: {error}; is TMPDIR writable?") from error
    try:
        yield folder
    except OSError as error:
        named = isinstance(error.filename, str | os.PathLike)
        elsewhere = named and not Path(error.filename).is_relative_to(folder)
        raise ProgramError(str(error) if elsewhere else f"temporary folder {folder}: {error}") from error
    finally:
        _remove(folder)


def _start(
    command: Sequence[str], folder: Path | None, environment: Mapping[str, str] | None
) -> subprocess.Popen[bytes]:
    variables = {name: value for name, value in os.environ.items() if not _is_secret(name.upper())}
    variables |= environment or {}
    if folder is not None:
        variables["TMPDIR"] = str(folder)
    try:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        if shutil.which(command[0]) is None:
            raise ProgramError(not_installed(command[0])) from error
        raise ProgramError(f"{command[0]} cannot be started: {error}") from error
    except (OSError, ValueError) as error:
        raise ProgramError(f"{command[0]} cannot be started: {error}") from error


class _Pipes:
    """The three pipes of a process: fed and emptied without ever waiting for one alone."""

    def __init__(self, process: subprocess.Popen[bytes], stdin: bytes, kept: int) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._left, self._kept = memoryview(stdin), kept
        self._said = {"stdout": bytearray(), "stderr": bytearray()}
        self._selector = selectors.DefaultSelector()
        self._add(process.stdout, selectors.EVENT_READ, "stdout")
        self._add(process.stderr, selectors.EVENT_READ, "stderr")
        self._add(process.stdin, selectors.EVENT_WRITE, "stdin")

    def _add(self, pipe: IO[bytes], event: int, name: str) -> None:
        os.set_blocking(pipe.fileno(), False)
        self._selector.register(pipe, event, name)

    @property
    def open(self) -> bool:
        """Whether the other side holds one of them."""
        return bool(self._selector.get_map())

    def pump(self, seconds: float) -> None:
        """Move what can be moved; wait for it no longer than ``seconds``."""
        for key, _ in self._selector.select(seconds):
            goes_on = self._feed(key.fd) if key.data == "stdin" else self._take(key.fd, key.data)
            if not goes_on:
                self._selector.unregister(key.fileobj)
                _close(key.fileobj)

    def drain(self, until: float) -> None:
        """Read to the end of the pipes, which the dead have closed, and close them."""
        self._left = self._left[:0]
        while self.open and (left := until - time.monotonic()) > 0.0:
            self.pump(left)
        for key in list(self._selector.get_map().values()):
            _close(key.fileobj)
        self._selector.close()

    def text(self, name: str) -> str:
        return self._said[name].decode(errors="replace")

    def _feed(self, descriptor: int) -> bool:
        try:
            written = os.write(descriptor, self._left[:_CHUNK]) if self._left else 0
        except BlockingIOError:
            return True
        except OSError:  # it does not want to know: its answer will tell
            return False
        self._left = self._left[written:]
        return bool(self._left)

    def _take(self, descriptor: int, name: str) -> bool:
        piece = os.read(descriptor, _CHUNK)
        said = self._said[name]
        said += piece
        if len(said) > 2 * self._kept or not piece:
            del said[: -self._kept]
        return bool(piece)


def _wait(process: subprocess.Popen[bytes], pipes: _Pipes, deadline: float) -> bool:
    """Return whether the head ended before the deadline; it is not reaped."""
    while not _has_ended(process):
        left = deadline - time.monotonic()
        if left <= 0.0:
            return False
        if pipes.open:
            pipes.pump(min(left, _TICK))
        else:
            time.sleep(min(left, _SOON))
    return True


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # reaped by somebody else
        return True


def _end_group(process: subprocess.Popen[bytes]) -> None:
    # a group whose only member is a dead head refuses the signal on some systems
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _reap(process: subprocess.Popen[bytes]) -> None:
    # a process in the midst of a dead network disk's call does not even die of SIGKILL
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE)


def _close(pipe: object) -> None:
    with contextlib.suppress(OSError):
        pipe.close()  # type: ignore[attr-defined]


def _remove(folder: Path) -> None:
    """Remove a folder; what a program that is just dying still writes is removed at the second go."""
    for _ in range(5):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(_TICK)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _last_words(text: str) -> str:
    return " ".join(text[-_QUOTED:].split())


def _with(message: str, said: str) -> str:
    return f"{message}: {said}" if said else message

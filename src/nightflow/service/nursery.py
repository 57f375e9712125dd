"""A process that forks the workers, and buries them.

It is forked from the service's main thread before any other thread begins, with all imports done: a worker
forked from it is warm after milliseconds, at the start as much as in the middle of the night, and shares
the pages of what was imported. The service itself, which has threads by then, must not fork.

Whatever way the service ends, its nursery ends with it, and the workers with that.
"""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import os
import select
import signal
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Self

from nightflow.errors import NightflowError, RetryLater
from nightflow.mortal import die_with

__all__ = ["Nursery", "NurseryGone"]

EXIT_SECONDS = 1.0
"""How long the nursery may take to end what is left of its workers."""
_NOTE = struct.Struct("!cqq")
"""What it is about, the worker's process, its status."""
_FORK, _KILL, _BORN, _EXITED = b"f", b"k", b"b", b"x"
_FIRST_TO_GO = "500"
"""Of a worker, where memory ends: the kernel shall choose it, and not the service or a database."""
_PR_SET_CHILD_SUBREAPER = 36


class NurseryGone(NightflowError):  # noqa: N818  # what happened
    """The process that forks workers is no more; the service has to be started anew."""


class Nursery:
    """The service's handle on it. Start it in the main thread, with no other one running.

    Parameters
    ----------
    serve : callable
        What a worker does: called in the new process with its end of the pipe; the process ends with it.
    prepare : callable
        Called in the nursery before the first worker is forked; must begin no thread.
    """

    def __init__(
        self, serve: Callable[[Connection], object], prepare: Callable[[], object] = lambda: None
    ) -> None:
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        service = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            _to_the_end(lambda: _nurse(theirs, serve, prepare, service))
        theirs.close()
        self._control = ours
        self._loop: asyncio.AbstractEventLoop | None = None
        self._expected: deque[asyncio.Future[tuple[int, asyncio.Future[int]]]] = deque()
        self._living: dict[int, asyncio.Future[int]] = {}
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and what workers there are."""
        self._control.close()
        patience = time.monotonic() + EXIT_SECONDS
        with suppress(ChildProcessError):
            while os.waitpid(self.pid, os.WNOHANG)[0] == 0:
                if time.monotonic() > patience:  # the number is its own still: it has not been reaped
                    os.kill(self.pid, signal.SIGKILL)
                time.sleep(0.01)

    async def fork(self) -> tuple[int, Connection, asyncio.Future[int]]:
        """Return a new worker's process, our end of its pipe, and its exit status, which is to come.

        Raises
        ------
        RetryLater
            The system refuses another process now, for want of memory or of processes that may be.
        NurseryGone
        """
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
            loop.add_reader(self._control, self._listen)
        ours, theirs = Pipe()
        born: asyncio.Future[tuple[int, asyncio.Future[int]]] = loop.create_future()
        self._expected.append(born)
        try:
            socket.send_fds(self._control, [_NOTE.pack(_FORK, 0, 0)], [theirs.fileno()])
            pid, exited = await born
        except OSError as error:
            raise NurseryGone(f"no worker can be started any more: {error}") from error
        finally:
            theirs.close()
        return pid, ours, exited

    def kill(self, pid: int) -> None:
        """End a worker and what it has started at once; nothing happens where it has ended."""
        with suppress(OSError):
            self._control.sendall(_NOTE.pack(_KILL, pid, 0))

    def _listen(self) -> None:
        try:
            heard = self._control.recv(4096)
        except OSError:
            heard = b""
        if not heard:
            self._bury_all()
            return
        self._rest += heard
        while len(self._rest) >= _NOTE.size:
            note, self._rest = self._rest[: _NOTE.size], self._rest[_NOTE.size :]
            self._take(*_NOTE.unpack(note))

    def _take(self, kind: bytes, pid: int, status: int) -> None:
        assert self._loop is not None
        if kind == _EXITED:
            ended = self._living.pop(pid, None)
            if ended is not None and not ended.done():
                ended.set_result(status)
            return
        born = self._expected.popleft()
        if pid > 0:
            self._living[pid] = self._loop.create_future()
        if not born.done() and pid > 0:
            # With its end, which may have come before anybody asks for it.
            born.set_result((pid, self._living[pid]))
        elif not born.done():
            born.set_exception(RetryLater(f"no worker can be started now: {os.strerror(status)}"))

    def _bury_all(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._control)
        for born in self._expected:
            if not born.done():
                born.set_exception(NurseryGone("the process that starts workers is no more"))
        for ended in self._living.values():
            if not ended.done():
                ended.set_result(-signal.SIGKILL)
        self._expected.clear()
        self._living.clear()


def _nurse(
    control: socket.socket,
    serve: Callable[[Connection], object],
    prepare: Callable[[], object],
    service: int,
) -> None:
    """Fork workers when asked, say when they end, and end with the service."""
    die_with(service)
    _adopt()
    _deaf()
    prepare()
    wake, waker = socket.socketpair()
    for one in (wake, waker):
        one.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    workers: set[int] = set()
    while True:
        ready, _, _ = select.select([control, wake], [], [])
        if wake in ready:
            with suppress(BlockingIOError):
                wake.recv(4096)
        _bury(control, workers)
        if control in ready and not _obey(control, serve, workers):
            break
    for pid in workers:
        _end(pid)
    with suppress(ChildProcessError):
        while os.waitpid(-1, 0):
            for pid in _children():
                _end(pid)


def _obey(control: socket.socket, serve: Callable[[Connection], object], workers: set[int]) -> bool:
    """Do what the service asks for; False where it is gone."""
    try:
        note, fds, _, _ = socket.recv_fds(control, _NOTE.size, 1)
    except OSError:
        return False
    if not note:
        return False
    while len(note) < _NOTE.size:
        note += control.recv(_NOTE.size - len(note))
    kind, pid, _ = _NOTE.unpack(note)
    if kind == _KILL and pid in workers:
        _end(pid)
    elif kind == _FORK:
        born, fault = _fork(serve, fds[0], control)
        os.close(fds[0])
        if born:
            workers.add(born)
        control.sendall(_NOTE.pack(_BORN, born, fault))
    return True


def _fork(serve: Callable[[Connection], object], fd: int, control: socket.socket) -> tuple[int, int]:
    """Return the new worker's process; 0 and the error's number where there is none."""
    nursery = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        return 0, error.errno or 0
    if pid == 0:
        control.close()
        _to_the_end(lambda: _grow_up(serve, fd, nursery))
    with suppress(OSError):  # the worker has done it, or has ended
        os.setpgid(pid, pid)
    return pid, 0


def _grow_up(serve: Callable[[Connection], object], fd: int, nursery: int) -> None:
    """Become a worker: the head of a group of its own, deaf to signals, and mortal."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with suppress(OSError):
        os.setpgid(0, 0)
    die_with(nursery)  # elsewhere than on Linux its pipe tells
    # A crash in a library leaves the lines of Python that led there in the log.
    with suppress(OSError):
        faulthandler.enable(sys.__stderr__.fileno() if sys.__stderr__ is not None else 2)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO)
    serve(Connection(fd))


def _bury(control: socket.socket, workers: set[int]) -> None:
    """Say which workers have ended, and end what they have left."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if pid == 0:
            break
        if pid in workers:
            workers.discard(pid)
            with suppress(OSError):
                control.sendall(_NOTE.pack(_EXITED, pid, os.waitstatus_to_exitcode(status)))
    for pid in _children() - workers:
        _end(pid)


def _adopt() -> None:
    """Become the parent of what dead workers leave: solvers, whose groups are their own (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _children() -> set[int]:
    own = os.getpid()
    try:
        return {int(pid) for pid in Path(f"/proc/{own}/task/{own}/children").read_text().split()}
    except OSError:
        return set()


def _end(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _deaf() -> None:
    """Leave it to the service what a signal to the whole group means (Ctrl-C, a stop by systemd).

    By a handler that does nothing: programs that are started from here listen again, unlike after SIG_IGN.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)


def _to_the_end(work: Callable[[], object]) -> None:
    """Do this and nothing else in a forked process, whatever its parent wanted to do next."""
    status = 1
    try:
        work()
        status = 0
    except BaseException:  # noqa: BLE001  # shown, and the process ends
        sys.excepthook(*sys.exc_info())
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)

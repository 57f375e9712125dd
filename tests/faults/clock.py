"""A clock that can be set, for processes that were started under it; those of others go on."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

__all__ = ["SteppedClock"]

# What Python, SQLite and the libraries ask for the time of day. Clocks that only measure are left alone, as
# they are where somebody sets a machine's clock.
SOURCE = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile long long *step;

__attribute__((constructor)) static void find(void) {
    int file = open(getenv("FAULTS_CLOCK"), O_RDONLY);
    step = mmap(0, sizeof *step, PROT_READ, MAP_SHARED, file, 0);
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    long failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *step;
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec fine;
    clock_gettime(CLOCK_REALTIME, &fine);
    now->tv_sec = fine.tv_sec;
    now->tv_usec = fine.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *where) {
    struct timespec fine;
    clock_gettime(CLOCK_REALTIME, &fine);
    if (where) *where = fine.tv_sec;
    return fine.tv_sec;
}
"""


class SteppedClock:
    """Made by a C compiler: ask first whether there is one (`can_be_made`).

    Attributes
    ----------
    environment : dict of str to str
        Of the processes that shall live by it.
    """

    def __init__(self, folder: Path) -> None:
        source, library = folder / "clock.c", folder / "clock.so"
        self._file = folder / "clock.step"
        source.write_text(SOURCE)
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source], check=True, timeout=60)
        self.set(0)
        self.environment = {"LD_PRELOAD": str(library), "FAULTS_CLOCK": str(self._file)}

    @staticmethod
    def can_be_made() -> bool:
        """Return whether there is a C compiler."""
        return shutil.which("cc") is not None

    def set(self, seconds: int) -> None:
        """Let it show so many seconds more than the true time."""
        with self._file.open("r+b" if self._file.exists() else "w+b") as file:
            file.write(struct.pack("q", seconds))

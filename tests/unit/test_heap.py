"""Freed memory that a process keeps, and gives back: as the kernel counts it, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's heap")

SCRIPT = """
import os, resource, threading
import numpy as np
from nightflow.heap import give_back_freed_memory, keep_freed_memory
from nightflow.service.memory import memory_of

def frame():
    return [np.ones(16_000_000, np.float32).sum() for _ in range(4)]

def in_a_thread():
    thread = threading.Thread(target=frame)
    thread.start()
    thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if {keep}:
    keep_freed_memory()
in_a_thread()
before = in_a_thread()
faults = in_a_thread() - before
held = memory_of(os.getpid())
give_back_freed_memory()
print(faults, held, memory_of(os.getpid()))
"""


def figures(keep: bool) -> tuple[int, int, int]:
    script = SCRIPT.format(keep=keep)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    faults, held, after = map(int, done.stdout.split())
    return faults, held, after


def test_planes_of_the_last_frame_are_used_for_the_next() -> None:
    plain, kept = figures(keep=False), figures(keep=True)
    plane = 64_000_000
    assert kept[1] > plain[1] + 0.9 * plane
    assert kept[2] < kept[1] - 0.9 * plane
    assert kept[0] < 200
    assert kept[0] < plain[0] / 2


ARENAS = """
import ctypes, sys, threading
from nightflow.heap import use_one_arena

if {one}:
    use_one_arena()
library = ctypes.CDLL(None)
library.malloc.restype = library.fopen.restype = ctypes.c_void_p
together = threading.Barrier(4)

def work():
    together.wait()
    assert library.malloc(100)
    together.wait()

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
told = ctypes.c_void_p(library.fopen(sys.argv[1].encode(), b"w"))
assert library.malloc_info(0, told) == 0
library.fclose(told)
"""


def arenas(told: Path, *, one: bool) -> int:
    subprocess.run([sys.executable, "-c", ARENAS.format(one=one), told], check=True)
    return told.read_text().count("<heap nr=")


def test_threads_of_a_service_share_one_arena(tmp_path: Path) -> None:
    assert arenas(tmp_path / "plain", one=False) > 1
    assert arenas(tmp_path / "one", one=True) == 1


BATCH = """
import os
import numpy as np
from nightflow.heap import keep_freed_memory
from nightflow.service.memory import memory_of
from tasks.context import batch_reduction

keep_freed_memory()
with batch_reduction():
    np.ones(32_000_000, np.float32)
    held = memory_of(os.getpid())
print(held, memory_of(os.getpid()))
"""


def test_a_process_that_lives_on_after_its_batch_holds_no_planes_of_it() -> None:
    """A worker of a cluster: while it seems to be full it is given nothing."""
    done = subprocess.run([sys.executable, "-c", BATCH], capture_output=True, text=True, check=True)
    held, after = map(int, done.stdout.split())
    assert after < held - 100_000_000

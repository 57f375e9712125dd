"""`python -m benchmarks.peak_memory CAMERAS FILE...`: build a master bias, print the peak memory in bytes."""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from pathlib import Path

from nightflow.detector.master_frame import InputFile
from nightflow.frame import Frame
from nightflow.instruments.fits_file import content_hash
from nightflow.instruments.header import FrameKind
from nightflow.instruments.registry import load_profiles
from nightflow.masters.build import build_master
from nightflow.pipeline.identify import identify_file, read_frame


def main(cameras: Path, files: Sequence[Path]) -> int:
    """Return the peak in bytes; each file is read when its turn comes, as the master library does."""
    profiles = load_profiles(cameras)
    identified = [identify_file(path, profiles) for path in files]

    class Frames(Sequence[Frame]):
        def __len__(self) -> int:
            return len(files)

        def __getitem__(self, number: int) -> Frame:  # type: ignore[override]
            return read_frame(files[number], identified[number].headers[0])

    build_master(FrameKind.BIAS, Frames(), identified[0].profile, inputs=_inputs(files))
    return _peak()


def _peak() -> int:
    """Return this program's peak: what the kernel counts over exec holds the parent's memory, too."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _inputs(files: Sequence[Path]) -> list[InputFile]:
    return [InputFile(name=path.name, sha256=content_hash(path)) for path in files]


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]))

"""The kernels: are they compiled, and may they be kept?"""

from __future__ import annotations

from collections.abc import Iterator

from nightflow.doctor.finding import Finding, fault, fine
from nightflow.kernel_cache import kernel_folder, note_ready

__all__ = ["check_kernels"]

_MEND = "set NUMBA_CACHE_DIR to a folder that this user may write, as deployments/systemd does"


def check_kernels() -> Iterator[Finding]:
    """Compile what is not compiled yet, for the user who asks: the first frame need not wait for it."""
    try:
        from nightflow.rehearsal import rehearse  # numba and scipy; without a place for kernels it refuses

        rehearsed = rehearse()
        note_ready()
    except (OSError, RuntimeError) as error:
        yield fault("kernels", f"they cannot be compiled and kept: {error}", _MEND)
        return
    how = "compiled in {:.0f} s" if rehearsed.compiled else "cached, {:.1f} s"
    yield fine("kernels", f"{how.format(rehearsed.seconds)}: {kernel_folder() or 'where numba keeps them'}")

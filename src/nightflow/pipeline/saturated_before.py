"""What exposures before this one saturated, whoever reduced them: remembered, or read again."""

from __future__ import annotations

from pathlib import Path

from nightflow.detector.chain import flag_raw
from nightflow.detector.master_frame import SaturatedPixels
from nightflow.detector.persistence import Window, saturated_pixels, shutter_times
from nightflow.errors import FrameRejected
from nightflow.instruments.header import FrameHeader
from nightflow.pipeline.identify import identify_file, read_frame
from nightflow.pipeline.work import Context, Work
from nightflow.store.frames import get_frame, lights_before
from nightflow.store.models import Frame

__all__ = ["saturated_before"]

_MOST = 1000
"""Exposures before a frame that are looked at; each costs memory, of every process."""
_MOST_READ = 8
"""Files read again for one frame: it waits for them."""
_MARGIN = 1.0
"""Seconds that the store's choice is wider: it rounds otherwise."""


def saturated_before(work: Work, context: Context) -> tuple[SaturatedPixels, ...]:
    """Return what lights of the same detector saturated that ended within the profile's time before this one.

    The memory knows what this process and its fellows reduced. Of others that were identified (reduced before
    a restart, or in work elsewhere) the raw pixels are read: an exposure that is reduced again by itself gets
    the mask that it would get in its night.

    Parameters
    ----------
    work : Work
        What cannot be read again is a warning on it.
    """
    header, seconds = work.header, work.profile.bad_pixels.persistence_seconds
    window = Window.of(header, seconds)
    if window is None:
        return ()
    lights = _lights(work, context, window)
    if len(lights) > _MOST:
        del lights[_MOST:]
        work.warnings.append(
            f"persistence: more than {_MOST} exposures ended in the {seconds:g} s before this one; only what "
            f"the last {_MOST} saturated is flagged: lower [bad_pixels] persistence_seconds"
        )
    # Twice: this one is still to come, and others before it is its turn to be forgotten.
    context.saturation.make_room(2 * len(lights))
    found = {one.mjd_end: one for one in context.saturation.earlier(header, seconds)}
    unknown = [(light, path) for light, path in lights if _times(light)[1] not in found]
    for light, path in unknown[:_MOST_READ]:
        try:
            again = _read_again(light, path, context)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with another file, this frame goes on
            work.warnings.append(f"persistence: what {path.name} saturated is not flagged: {error}")
            continue
        found[again.mjd_end] = again
    if len(unknown) > _MOST_READ:
        work.warnings.append(
            f"persistence: {len(unknown) - _MOST_READ} of {len(lights)} exposures before this one are not "
            "known any more: `nightflow backfill` of the night reduces it in order"
        )
    return tuple(found[end] for end in sorted(found))


def _lights(work: Work, context: Context, window: Window) -> list[tuple[Frame, Path]]:
    """Return the lights before this one with their files, the last one first; one more than are looked at."""
    row, wide = get_frame(context.database, work.frame_id), window.widened(_MARGIN)
    ended = wide.first_end, wide.last_end
    lights = lights_before(context.database, row, begin=wide.begin, ended=ended, limit=_MOST + 1)
    return [(light, Path(path)) for light, path in lights if window.holds(*_times(light))]


def _times(light: Frame) -> tuple[float, float]:
    return shutter_times(light.mjd_mid or 0.0, light.exptime)


def _read_again(light: Frame, path: Path, context: Context) -> SaturatedPixels:
    header = _header(light, path, context)
    saturated = saturated_pixels(flag_raw(read_frame(path, header)))
    if saturated is None:
        raise FrameRejected(f"{path.name} was calibrated elsewhere and does not say what was saturated")
    context.saturation.learn(header, saturated)
    return saturated


def _header(light: Frame, path: Path, context: Context) -> FrameHeader:
    identified = identify_file(path, list(context.profiles.values()), max_pixels=context.settings.max_pixels)
    for header in identified.headers:
        known = (light.instrument, light.detector, light.mjd_mid, light.exptime)
        if (header.instrument, header.detector, header.mjd_mid, header.exptime) == known:
            return header
    raise FrameRejected(f"{path.name} is another exposure now")

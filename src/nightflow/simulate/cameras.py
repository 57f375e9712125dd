"""Cameras that are made of more than one chip with one amplifier, ready for a plan."""

from __future__ import annotations

from dataclasses import replace

from nightflow.simulate.instrument_plan import CameraPlan, Side, quadrants

__all__ = ["four_amplifiers", "four_chips"]

_SIDES: tuple[Side, ...] = ("right", "left", "top", "bottom")


def four_amplifiers(camera: CameraPlan) -> CameraPlan:
    """Return the camera with an amplifier of its own for each quadrant of its chip; see `quadrants`."""
    return replace(camera, amplifiers=quadrants(camera.shape))


def four_chips(camera: CameraPlan, gap: int = 40) -> tuple[CameraPlan, ...]:
    """Return four such cameras round the optical axis, CCD1 to CCD4, for `NightPlan.mosaic`.

    They differ in gain, level and read noise, and in the side of the overscan.

    Parameters
    ----------
    camera : CameraPlan
        Each of them but for what they differ in.
    gap : int
        Pixels between them.
    """
    (ny, nx), chips = camera.shape, []
    for number, side in enumerate(_SIDES):
        upper, right = divmod(number, 2)
        chips.append(
            replace(
                camera,
                name=f"CCD{number + 1}",
                center_offset=((0.5 - right) * (nx + gap), (0.5 - upper) * (ny + gap)),
                overscan_side=side,
                gain=camera.gain * (0.90 + 0.07 * number),
                read_noise=camera.read_noise * (0.85 + 0.10 * number),
                bias_level=camera.bias_level + 60.0 * number,
            )
        )
    return tuple(chips)

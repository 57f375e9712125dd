"""An observatory simulator with a physics of its own, for the demo, the tests and the benchmarks.

Nothing here is shared with the reducer, so that an error in one cannot hide in the other.
The way of one frame::

    plan      what to observe, with which telescope and camera (`NightPlan`)
    schedule  when each frame is taken
    sky       stars, their colours and light curves (`Scene`)
    atmosphere, optics   what the night does to each frame
    render    electrons on the chip
    detector  pixel response, dark current, cosmic rays, readout
    amplifiers, mosaic   a chip that several amplifiers read, a camera of several chips
    write     FITS files, the field's catalogue and the truth
"""

from nightflow.simulate.bodies import with_asteroids
from nightflow.simulate.cameras import four_amplifiers, four_chips
from nightflow.simulate.mosaic import write_mosaic
from nightflow.simulate.night import SimulatedFrame, simulate_night
from nightflow.simulate.plan import (
    AmplifierPlan,
    AtmospherePlan,
    CameraPlan,
    FieldPlan,
    NightPlan,
    SitePlan,
    TelescopePlan,
    TransitPlan,
    quadrants,
)
from nightflow.simulate.scene import Asteroid, Sinusoid
from nightflow.simulate.truth import FrameTruth, NightTruth
from nightflow.simulate.write import write_night

__all__ = [
    "AmplifierPlan",
    "Asteroid",
    "AtmospherePlan",
    "CameraPlan",
    "FieldPlan",
    "FrameTruth",
    "NightPlan",
    "NightTruth",
    "SimulatedFrame",
    "Sinusoid",
    "SitePlan",
    "TelescopePlan",
    "TransitPlan",
    "four_amplifiers",
    "four_chips",
    "quadrants",
    "simulate_night",
    "with_asteroids",
    "write_mosaic",
    "write_night",
]

"""An observatory simulator with a physics of its own, for the demo, the tests and the benchmarks.

Nothing here is shared with the reducer, so that an error in one cannot hide in the other.
The way of one frame::

    plan      what to observe, with which telescope and camera (`NightPlan`)
    schedule  when each frame is taken
    sky       stars, their colours and light curves (`Scene`)
    atmosphere, optics   what the night does to each frame
    render    electrons on the chip
    detector  pixel response, dark current, cosmic rays, readout
    write     FITS files, the field's catalogue and the truth
"""

from nightflow.simulate.night import SimulatedFrame, simulate_night
from nightflow.simulate.plan import (
    AtmospherePlan,
    CameraPlan,
    FieldPlan,
    NightPlan,
    SitePlan,
    TelescopePlan,
    TransitPlan,
)
from nightflow.simulate.scene import Asteroid, Sinusoid
from nightflow.simulate.truth import FrameTruth, NightTruth
from nightflow.simulate.write import write_night

__all__ = [
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
    "simulate_night",
    "write_night",
]

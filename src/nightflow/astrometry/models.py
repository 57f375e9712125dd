"""The models of a frame that compete: by its own stars, and with the distortion of its camera."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from nightflow.astrometry.distortion import Distortion, bent, straight
from nightflow.astrometry.plate import Plate
from nightflow.astrometry.refine import Fit, left_out_scatter, refine
from nightflow.astrometry.solution import SolveRequest
from nightflow.catalogs.stars import ReferenceStars

__all__ = ["FittedModels", "fitted_models"]


@dataclass(frozen=True, kw_only=True)
class FittedModels:
    """A frame's own model and, where there is one to lend, the one with the camera's distortion.

    Attributes
    ----------
    own : Fit
        Of the order that the frame's stars support.
    lent : Fit or None
        Similarity or affine, with a distortion that was given.
    distortion : Distortion or None
        The one that was given.
    """

    own: Fit
    lent: Fit | None = None
    distortion: Distortion | None = None

    @property
    def tried(self) -> int:
        """How many models there are."""
        return 1 if self.lent is None else 2

    def by_merit(self) -> Iterator[tuple[Fit, Distortion | None]]:
        """Yield the fits, each with the distortion it was lent, the better one first."""
        own, lent = (self.own, None), (self.lent, self.distortion)
        if lent[0] is None:
            yield own
        elif self._is_lent_better(lent[0]):
            yield lent[0], lent[1]
            yield own
        else:
            yield own
            yield lent[0], lent[1]

    def _is_lent_better(self, lent: Fit) -> bool:
        """Whether left-out stars, the same ones for both models, come out better with the lent distortion."""
        # the larger set: a model that is too stiff has dropped the stars that speak against it
        stars = lent if len(lent) >= len(self.own) else self.own
        with_lent = left_out_scatter(replace(stars, plate=lent.plate))
        alone = left_out_scatter(replace(stars, plate=self.own.plate))
        return not alone <= with_lent


def fitted_models(
    guess: Plate, request: SolveRequest, stars: ReferenceStars, *, start_radius: float, final_radius: float
) -> FittedModels:
    """Refine ``guess`` with each model.

    Parameters
    ----------
    start_radius, final_radius : float
        Pixels, see `nightflow.astrometry.refine.refine`.
    """
    radii = {"start_radius": max(start_radius, final_radius), "final_radius": final_radius}
    own = refine(straight(guess, request.shape), request, stars, **radii)
    for distortion in request.distortions:
        start = bent(guess, distortion) if distortion.shape == request.shape else None
        if start is not None:
            return FittedModels(own=own, lent=refine(start, request, stars, **radii), distortion=distortion)
    return FittedModels(own=own)

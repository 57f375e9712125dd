"""The association of a night against lists of detections whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from nightflow.flags import Flag
from nightflow.lightcurves.bodies import MovingBody
from nightflow.lightcurves.field_night import FieldNight, KnownSources, Rules
from nightflow.lightcurves.motion import Plane
from nightflow.lightcurves.night import NONE, AssociatedNight, associate_night
from tests.unit.lightcurves.sky_lists import Body, Observed, Sky, observe


def known_sources(ra: NDArray[np.float64], dec: NDArray[np.float64], *, stands: bool = True) -> KnownSources:
    nothing = np.empty(0)
    return KnownSources(ra=ra, dec=dec, stands=np.full(len(ra), stands), star_ra=nothing, star_dec=nothing)


NOBODY = known_sources(np.empty(0), np.empty(0))
BODIES = (
    Body(x=-300, y=0, rate_x=30, rate_y=10),
    Body(x=100, y=100, rate_x=14.5, rate_y=-3.8),
    Body(x=-200, y=-200, rate_x=200, rate_y=0),
    Body(x=0, y=-300, rate_x=2, rate_y=1),
)


def rules(sky: Sky) -> Rules:
    return Rules(radius=max(1.0, 3.6 * sky.wcs_error, 0.5 * sky.fwhm))


def associated(sky: Sky, known: KnownSources = NOBODY) -> tuple[Observed, AssociatedNight]:
    seen = observe(sky)
    return seen, associate_night(seen.night, known, rules(sky))


def share_right(truth: NDArray[np.intp], source: NDArray[np.intp]) -> tuple[float, int]:
    """Return the part of the stars' measurements on their star's source, and how many sources stars have."""
    right, sources = 0, set()
    for star in np.unique(truth[truth >= 0]):
        own = source[truth == star]
        own = own[own != NONE]
        if len(own):
            best = int(np.bincount(own).argmax())
            right += int((own == best).sum())
            sources.add(best)
    return right / int((truth >= 0).sum()), len(sources)


def true_rate(truth: Body, body: MovingBody, sky: Sky) -> tuple[float, float]:
    """Return the rate to east and north where the body is: away from the field's centre they are turned."""
    hours = np.array([body.line.t - 0.01, body.line.t + 0.01])
    ra, dec = Plane(*sky.center).lift(truth.x + hours * truth.rate_x, truth.y + hours * truth.rate_y)
    x, y = body.plane.project(ra, dec)
    return float(np.ptp(x) * np.sign(truth.rate_x) / 0.02), float(np.diff(y)[0] / 0.02)


def test_rates_pull_as_their_errors_say() -> None:
    pulls = []
    for seed in range(1, 9):
        seen, found = associated(Sky(bodies=BODIES, seed=seed, n_stars=120))
        for body in found.bodies:
            (number,) = set(seen.truth[body.rows].tolist())
            rate_x, rate_y = true_rate(BODIES[-2 - number], body, Sky())
            error = body.line.rate_err
            pulls.append([(body.line.rate_x - rate_x) / error, (body.line.rate_y - rate_y) / error])
    assert len(pulls) == 8 * len(BODIES)
    assert np.abs(np.mean(pulls, axis=0)).max() < 0.5
    assert 0.75 < np.std(pulls) < 1.25


def row_of(night: FieldNight, rows: NDArray[np.intp]) -> FieldNight:
    names = ("frame", "hours", "ra", "dec", "x", "y", "reach", "position_err", "pull")
    names += ("sharpness", "exposure", "mag", "flags")
    return replace(night, **{name: getattr(night, name)[rows] for name in names})


@pytest.mark.parametrize(
    "share", [pytest.param(0.25, id="a quarter"), pytest.param(1.0, id="whole", marks=pytest.mark.soak)]
)
def test_three_thousand_stars_two_hundred_pairs_dropouts_and_a_flip(share: float) -> None:
    """As dense in both."""
    n_stars, n_pairs, n_false = (int(share * number) for number in (3000, 200, 60))
    n_frames = 60 if share < 1 else 100
    sky = Sky(
        n_stars=n_stars, n_pairs=n_pairs, n_frames=n_frames, side=3600.0 * share**0.5, flip_at=n_frames // 2,
        false_a_frame=n_false, blends=0.1,
    )  # fmt: skip
    seen, found = associated(sky)
    right, n_sources = share_right(seen.truth, found.source)
    assert right >= 0.999
    assert n_sources == n_stars
    # Beyond the stars, what false detections and blends make by chance.
    assert found.n_new <= n_stars * 1.001 + n_pairs
    assert found.bodies == ()
    pairs = list(zip(found.source[found.source != NONE], seen.night.frame[found.source != NONE], strict=True))
    assert len(set(pairs)) == len(pairs)


def test_bodies_are_found_at_their_rates_and_nothing_else_is_one() -> None:
    seen, found = associated(Sky(bodies=BODIES))
    assert len(found.bodies) == len(BODIES)
    for body in found.bodies:
        (number,) = set(seen.truth[body.rows].tolist())
        rate_x, rate_y = true_rate(BODIES[-2 - number], body, Sky())
        assert len(body.rows) > 0.8 * 40 * 0.9
        assert abs(body.line.rate_x - rate_x) < 4 * body.line.rate_err
        assert abs(body.line.rate_y - rate_y) < 4 * body.line.rate_err
        assert body.line.rate_err < 0.05
        assert (found.source[body.rows] == NONE).all()
    assert share_right(seen.truth, found.source)[0] >= 0.999


def test_a_body_that_is_away_for_twenty_frames_is_one_body() -> None:
    """Behind a bright star, say: a line is not followed for as long, its two pieces are put together."""
    sky = Sky(n_frames=60, bodies=BODIES[:1])
    seen = observe(sky)
    away = (seen.truth == -2) & (seen.night.frame >= 20) & (seen.night.frame < 40)
    assert away.sum() > 12
    found = associate_night(row_of(seen.night, np.flatnonzero(~away)), NOBODY, rules(sky))
    assert len(found.bodies) == 1
    assert len(found.bodies[0].rows) > 0.8 * 40 * 0.9
    assert found.bodies[0].n_frames > 55


@pytest.mark.parametrize("seed", [1, 4])
def test_a_body_that_haze_hides_after_six_frames_gathers_no_junk_of_the_whole_night(seed: int) -> None:
    """After hours a line may be anywhere within 36", where one of 50 false detections may lie, too."""
    sky = Sky(
        n_stars=20, n_frames=200, side=1200.0, cadence=0.03, dropout=0.0, false_a_frame=50, wcs_error=0.05,
        seed=seed, bodies=(Body(x=-100, y=50, rate_x=40, rate_y=15, flux=20000.0),),
    )  # fmt: skip
    seen = observe(sky)
    clear = np.flatnonzero((seen.truth != -2) | (seen.night.frame < 6))
    found = associate_night(row_of(seen.night, clear), NOBODY, rules(sky))
    assert [seen.truth[clear][body.rows].tolist() for body in found.bodies] == [[-2] * 6]
    assert found.bodies[0].n_frames == 6


def test_a_night_of_too_many_pairs_says_up_to_which_rate_it_was_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import nightflow.lightcurves.tracklets as module

    sky = Sky(bodies=BODIES[:3], n_stars=30)
    seen, found = associated(sky)
    assert (found.fastest, len(found.bodies)) == (300.0, 3)
    monkeypatch.setattr(module, "_MOST_PAIRS", 100)
    fewer = associate_night(seen.night, NOBODY, rules(sky))
    assert fewer.fastest < 200
    assert all(body.line.rate < fewer.fastest for body in fewer.bodies)
    # The pairs grow with the square of the rate.
    monkeypatch.setattr(module, "_MOST_PAIRS", 400)
    assert associate_night(seen.night, NOBODY, rules(sky)).fastest == pytest.approx(2.0 * fewer.fastest)


def test_what_was_put_to_a_body_says_nothing_against_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import nightflow.lightcurves.night as module

    def spoilt(night: object, body: MovingBody, *_: object) -> MovingBody:
        return replace(body, line=replace(body.line, rms=99.0))

    monkeypatch.setattr(module, "extended", spoilt)
    assert len(associated(Sky(bodies=BODIES[:2], n_stars=60, n_frames=20))[1].bodies) == 2


@pytest.mark.parametrize("seed", range(2, 8))
def test_no_body_moves_where_none_does(seed: int) -> None:
    sky = Sky(seed=seed, n_stars=250, n_pairs=40, false_a_frame=150, blends=0.2, n_frames=30)
    assert associated(sky)[1].bodies == ()


@pytest.mark.parametrize("center", [(0.0005, 3.0), (215.0, 89.8), (130.0, -89.99)])
def test_where_right_ascension_begins_and_at_the_poles(center: tuple[float, float]) -> None:
    seen, found = associated(Sky(center=center, n_frames=12, n_stars=100, bodies=BODIES[:1]))
    assert share_right(seen.truth, found.source) == (1.0, 100)
    (body,) = found.bodies
    assert body.line.rate == pytest.approx(np.hypot(30, 10), rel=0.01)


def test_known_sources_keep_their_stars_and_the_rest_is_new() -> None:
    seen = observe(Sky(n_stars=60, false_a_frame=0, n_frames=12))
    first = associate_night(seen.night, NOBODY, rules(Sky()))
    half = known_sources(first.ra[:30], first.dec[:30])
    again = associate_night(seen.night, half, rules(Sky()))
    assert again.n_new == first.n_new - 30
    np.testing.assert_array_equal(again.source < 30, first.source < 30)
    np.testing.assert_array_equal(again.source[first.source < 30], first.source[first.source < 30])


def test_strays_of_a_frame_are_not_held_against_all_sources_of_the_field(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import nightflow.lightcurves.night as module

    seen = observe(Sky(n_stars=60, false_a_frame=0, n_frames=12))
    first = associate_night(seen.night, NOBODY, rules(Sky()))
    # On two of twelve frames nothing clusters, but what is known takes what it can reach.
    rows = np.flatnonzero(seen.night.frame < 2)
    elsewhere = first.dec[0] + np.linspace(2.0, 20.0, 3000)
    known = known_sources(np.append(first.ra, np.full(3000, first.ra[0])), np.append(first.dec, elsewhere))
    sizes = []
    real = module.associate

    def spy(ra: NDArray, dec: NDArray, source_ra: NDArray, *rest: NDArray) -> object:
        sizes.append(len(source_ra))
        return real(ra, dec, source_ra, *rest)

    monkeypatch.setattr(module, "associate", spy)
    found = associate_night(row_of(seen.night, rows), known, replace(rules(Sky()), fraction=0.9))
    np.testing.assert_array_equal(found.source, first.source[rows])
    assert len(sizes) > 1
    assert sorted(sizes)[-2] <= 60


def test_a_single_frame_gives_unconfirmed_sources_and_two_confirm_them() -> None:
    one = associated(Sky(n_frames=1, n_stars=50, false_a_frame=5, dropout=0.0))[1]
    assert (one.n_new, (one.source == NONE).sum()) == (55, 0)
    two = associated(Sky(n_frames=2, n_stars=50, false_a_frame=5, dropout=0.0))[1]
    assert two.n_new == 60
    assert np.bincount(two.source).tolist().count(2) == 50
    three = associated(Sky(n_frames=3, n_stars=50, false_a_frame=5, dropout=0.0))[1]
    assert (three.n_new, (three.source == NONE).sum()) == (50, 15)


def test_what_is_doubtful_makes_no_source() -> None:
    seen = observe(Sky(n_frames=1, n_stars=50, false_a_frame=0))
    flags = np.where(np.arange(len(seen.night)) < 5, int(Flag.COSMIC_RAY), 0)
    found = associate_night(replace(seen.night, flags=flags), NOBODY, rules(Sky()))
    assert (found.source[:5] == NONE).all()
    assert found.n_new == len(seen.night) - 5


def test_a_catalogue_star_does_not_move_whatever_its_places_say() -> None:
    sky = Sky(bodies=BODIES[3:], n_stars=100, false_a_frame=0)
    seen, found = associated(sky)
    assert len(found.bodies) == 1
    ra, dec = Plane(*sky.center).lift(*_middle_of(BODIES[3], sky))
    star = KnownSources(
        stands=np.zeros(0, bool),
        ra=np.empty(0),
        dec=np.empty(0),
        star_ra=np.atleast_1d(ra),
        star_dec=np.atleast_1d(dec),
    )
    assert associate_night(seen.night, star, rules(sky)).bodies == ()


def _middle_of(body: Body, sky: Sky) -> tuple[float, float]:
    hour = 0.5 * (sky.n_frames - 1) * sky.cadence
    return body.x + body.rate_x * hour, body.y + body.rate_y * hour


def test_a_sharp_spot_that_keeps_its_pixel_is_no_body() -> None:
    seen, found = associated(Sky(bodies=BODIES[:1], n_stars=100))
    assert len(found.bodies) == 1
    rows = seen.truth == -2
    x, y = np.where(rows, 512.0, seen.night.x), np.where(rows, 77.0, seen.night.y)
    still = replace(seen.night, x=x, y=y)
    # A comet that the telescope follows keeps its pixel, too, but looks like a star.
    assert len(associate_night(still, NOBODY, rules(Sky())).bodies) == 1
    blurred = replace(seen.night, sharpness=np.where(rows, 2.5, 1.0))
    assert associate_night(blurred, NOBODY, rules(Sky())).bodies == ()
    # A body that is fast enough leaves a trail.
    long = replace(blurred, exposure=np.full(len(rows), 0.05))
    assert len(associate_night(long, NOBODY, rules(Sky())).bodies) == 1
    sharp = replace(still, sharpness=np.where(rows, 0.4, 1.0))
    assert associate_night(sharp, NOBODY, rules(Sky())).bodies == ()


DRIFT = Body(x=314.0, y=-100.0, rate_x=-262.0, rate_y=20.0, flux=40.0)
"""As fast as the telescope drifts under the sky, or as the body that it follows moves."""


def keeps_its_place(*, wander: float, guiding: float, share: float, seed: int) -> tuple[Observed, Sky]:
    """Return what goes with the chip, on a ``share`` of the frames.

    It is off its line on the sky by ``wander``, and from its pixel by ``guiding`` more, both in pixels.
    """
    sky = Sky(
        scale=5.0, fwhm=10.0, side=1200.0, n_stars=60, n_frames=13, cadence=0.2, dropout=0.0,
        bodies=(DRIFT,), seed=seed,
    )  # fmt: skip
    seen = observe(sky)
    rng = np.random.default_rng(100 + seed)
    own = np.flatnonzero(seen.truth == -2)
    off = rng.normal(0.0, 1.0, (2, len(own)))
    ra, dec, x, y = (getattr(seen.night, name).copy() for name in ("ra", "dec", "x", "y"))
    ra[own] += wander * off[0] * sky.scale / 3600.0 / np.cos(np.radians(dec[own]))
    dec[own] += wander * off[1] * sky.scale / 3600.0
    x[own], y[own] = 238.0 + (wander + guiding) * off[0], 223.0 + (wander + guiding) * off[1]
    missed = own[1:-1][rng.permutation(len(own) - 2)[: round((1.0 - share) * len(own))]]
    left = np.setdiff1d(np.arange(len(x)), missed)
    night = row_of(replace(seen.night, ra=ra, dec=dec, x=x, y=y), left)
    return replace(seen, night=night, truth=seen.truth[left]), sky


@pytest.mark.parametrize("seed", [1, 2, 9, 10])
def test_a_patch_of_warm_pixels_under_which_the_sky_drifts_is_no_body(seed: int) -> None:
    """As on frames of HAT-P-32 without a dark: on 8 of 13, and off its line by 1.9 errors."""
    seen, sky = keeps_its_place(wander=0.45, guiding=0.0, share=0.6, seed=seed)
    assert associate_night(seen.night, NOBODY, rules(sky)).bodies == ()


@pytest.mark.parametrize("seed", [1, 2, 9, 10])
@pytest.mark.parametrize(
    ("guiding", "wander", "share"),
    [
        pytest.param(0.0, 0.0, 0.6, id="well followed, often hidden"),
        pytest.param(1.5, 0.0, 0.6, id="badly followed, often hidden"),
        pytest.param(0.0, 0.45, 1.0, id="errors too small"),
    ],
)
def test_a_body_that_the_telescope_follows_is_one(
    seed: int, guiding: float, wander: float, share: float
) -> None:
    seen, sky = keeps_its_place(wander=wander, guiding=guiding, share=share, seed=seed)
    (body,) = associate_night(seen.night, NOBODY, rules(sky)).bodies
    assert set(seen.truth[body.rows].tolist()) == {-2}
    assert body.line.rate == pytest.approx(np.hypot(262.0, 20.0), rel=0.02)


def test_detections_that_could_go_elsewhere_are_marked() -> None:
    sky = Sky(n_stars=60, n_pairs=0, false_a_frame=0, dropout=0.0, n_frames=12)
    seen = observe(sky)
    assert not associate_night(seen.night, NOBODY, rules(sky)).ambiguous.any()
    near = np.flatnonzero(seen.truth == 0)
    twin = row_of(seen.night, np.concatenate([np.arange(len(seen.night)), near]))
    dec = twin.dec.copy()
    dec[-len(near) :] += 1.2 * rules(sky).radius / 3600.0
    order = np.argsort(twin.frame, kind="stable")
    wide = replace(twin, dec=dec, reach=np.full(len(dec), 2.0 * rules(sky).radius))
    found = associate_night(row_of(wide, order), NOBODY, rules(sky))
    marked = np.zeros(len(dec), bool)
    marked[order] = found.ambiguous
    assert marked[near].all()
    assert marked[-len(near) :].all()
    assert not np.delete(marked[: -len(near)], near).any()


def test_marks_do_not_wrap_round_in_a_night_of_many_frames_and_sources() -> None:
    """65,536 frames of as many sources: the number of one frame's source is that of none on another."""
    many = 2**16
    seen = observe(Sky(n_stars=1, n_pairs=0, n_frames=1, false_a_frame=0, dropout=0.0))
    night = row_of(seen.night, np.zeros(3, np.intp))
    night = replace(
        night,
        frame=np.array([0, 0, many], np.int32),
        hours=np.array([0.0, 0.0, 5.0]),
        dec=night.dec + np.array([0.0, 1.0, 0.0]) / 3600.0,
        reach=np.full(3, 2.0),
        n_frames=many + 1,
    )
    far = night.dec[0] + 1.0 + np.arange(many - 2) / 3600.0
    known = known_sources(np.full(many - 1, night.ra[0]), np.append(night.dec[0], far))
    found = associate_night(night, known, rules(Sky()))
    assert (found.source.tolist(), len(found.ra) + 1) == ([0, NONE, 0], many)
    assert found.ambiguous.tolist() == [True, False, False]


def test_a_source_must_be_on_a_part_of_the_frames_where_that_is_asked_for() -> None:
    sky = Sky(n_stars=80, dropout=0.8, n_frames=40, false_a_frame=0)
    seen = observe(sky)
    all_of_them = associate_night(seen.night, NOBODY, rules(sky))
    strict = associate_night(seen.night, NOBODY, replace(rules(sky), fraction=0.3))
    assert all_of_them.n_new > 75
    assert strict.n_new < 20


def _first_half(night: FieldNight) -> FieldNight:
    half = night.frame < night.n_frames // 2
    columns = {
        name: getattr(night, name)[half]
        for name in night.__dataclass_fields__
        if name not in ("n_frames", "area", "scale", "footprints")
    }
    return replace(night, **columns, n_frames=night.n_frames // 2)


def test_a_look_at_half_of_the_night_hides_no_slow_body() -> None:
    """There it still stood, and was called a star; other nights have not seen it."""
    sky = Sky(n_stars=120, n_frames=40, cadence=0.1, dropout=0.05, wcs_error=0.05, false_a_frame=5, bodies=(
        Body(x=100.0, y=50.0, rate_x=0.75, rate_y=0.0, flux=30000.0),
    ))  # fmt: skip
    seen = observe(sky)
    early = associate_night(_first_half(seen.night), NOBODY, rules(sky))
    assert not early.bodies
    called = np.unique(early.source[early.source != NONE])
    places = early.ra[called], early.dec[called]
    for known, number in ((known_sources(*places, stands=False), 1), (known_sources(*places), 0)):
        assert len(associate_night(seen.night, known, rules(sky)).bodies) == number


def test_hot_pixels_that_cluster_are_no_source() -> None:
    sky = Sky(n_stars=60, n_frames=20, dropout=0.0, false_a_frame=0)
    seen = observe(sky)
    pixel = seen.truth == 5
    flags = np.where(pixel, seen.night.flags | int(Flag.HOT), seen.night.flags)
    found = associate_night(replace(seen.night, flags=flags), NOBODY, rules(sky))
    assert (found.source[pixel] == NONE).all()
    assert found.n_new == 59
    first = np.flatnonzero(pixel)[:1]
    known = known_sources(seen.night.ra[first], seen.night.dec[first])
    assert (associate_night(replace(seen.night, flags=flags), known, rules(sky)).source[pixel] == 0).all()

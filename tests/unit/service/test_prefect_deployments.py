"""When the night's end is scheduled."""

import pytest

from nightflow.config import SiteSettings
from nightflow.service.prefect_deployments import dawn_crons, noon_cron


def by_month(latitude: float, longitude: float) -> dict[int, float]:
    """Return month -> hour (UTC)."""
    fields = [one.split() for one in dawn_crons(SiteSettings(latitude=latitude, longitude=longitude))]
    assert all(one[2] == one[4] == "*" for one in fields)
    return {int(month): int(hour) + int(minute) / 60.0 for minute, hour, _, month, _ in fields}


def test_on_la_palma_it_follows_the_seasons():
    """Nautical dawn is at 05:15 UTC in mid-June and at 07:05 in early January there."""
    hours = by_month(28.76, -17.88)
    assert sorted(hours) == list(range(1, 13))
    assert hours[6] == pytest.approx(5.25 + 0.5, abs=0.2)
    assert hours[1] == pytest.approx(7.1 + 0.5, abs=0.2)


def test_far_west_and_far_east_of_greenwich_it_is_the_local_morning():
    for longitude in (-155.0, 149.0):
        local = {(hour + longitude / 15.0) % 24.0 for hour in by_month(-30.0, longitude).values()}
        assert min(local) > 4.0
        assert max(local) < 7.5


def test_where_it_does_not_get_dark_there_is_no_schedule():
    assert set(range(1, 13)) - set(by_month(65.0, 25.0)) == {5, 6, 7}


@pytest.mark.parametrize(
    ("longitude", "cron"), [(0.0, "30 12 * * *"), (-155.5, "52 22 * * *"), (149.06, "34 2 * * *")]
)
def test_days_work_is_done_by_day(longitude: float, cron: str):
    assert noon_cron(SiteSettings(latitude=0.0, longitude=longitude), 30) == cron

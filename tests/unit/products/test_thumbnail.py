import numpy as np
import pytest
from PIL import Image

from nightflow.products.thumbnail import stretch, write_thumbnail


def test_stretch_orders_brightness_and_survives_nan():
    data = np.random.default_rng(1).normal(100, 5, (60, 80)).astype(np.float32)
    data[30, 40] = 5000
    data[0, 0] = np.nan
    grey = stretch(data)
    assert grey.dtype == np.uint8
    assert grey[30, 40] == grey.max()
    assert np.median(grey) < 180


@pytest.mark.parametrize("data", [np.full((20, 20), np.nan, np.float32), np.zeros((20, 20), np.float32)])
def test_nothing_to_see_is_no_error(data):
    assert stretch(data).shape == data.shape


def test_picture_is_small_and_y_points_up(tmp_path):
    data = np.zeros((1000, 1500), np.float32)
    data[900:, :] = 100.0
    write_thumbnail(tmp_path / "sub" / "t.png", data, None)
    picture = np.asarray(Image.open(tmp_path / "sub" / "t.png").convert("L"))
    assert max(picture.shape) <= 512
    assert picture[:20].mean() > picture[-20:].mean()
    assert not list((tmp_path / "sub").glob(".*"))

"""How different two pictures look."""

import numpy as np
import pytest
from PIL import Image

from walk import eye


def test_distance_is_nought_for_equals_only_and_one_from_black_to_white():
    black, white = (np.full((64, 64, 3), level, np.uint8) for level in (0, 255))
    almost = black.copy()
    almost[5, 7] = 3
    black_, white_, almost_ = map(eye.features, (black, white, almost))
    assert eye.distance(black_, black_) == 0
    assert eye.distance(black_, white_) == pytest.approx(1, abs=1e-3)
    assert 0 < eye.distance(black_, almost_) < 0.01


def test_distance_adds_up_along_a_slow_change():
    rng = np.random.default_rng(0)
    a, b = rng.uniform(60, 200, (2, 64, 64, 3))
    start, middle, end = (eye.features(np.round(a + (b - a) * t).astype(np.uint8)) for t in (0, 0.5, 1))
    halves = eye.distance(start, middle) + eye.distance(middle, end)
    assert eye.distance(start, end) == pytest.approx(halves, rel=0.1)


def test_a_picture_may_be_pils_with_an_alpha_channel_or_without():
    array = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
    for picture in (Image.fromarray(array), Image.fromarray(array).convert("RGBA")):
        assert eye.distance(eye.features(picture), eye.features(array)) == 0


def test_a_large_pictures_features_stay_small():
    assert sum(part.nbytes for part in eye.features(np.zeros((2048, 1024, 3), np.uint8))) < 2e6

"""Points between points: against SciPy, and against what smoothness means."""

import math

import numpy as np
import pytest
import scipy.spatial
import torch

from walk.geometry import path, points_along, slerp, swing


def noises(count, size=16384, seed=0):
    return list(torch.randn(count, size, generator=torch.Generator().manual_seed(seed)))


def curve(points, closed, steps):
    """The smooth path through the points, `steps` places for each segment."""
    segments = len(points) if closed else len(points) - 1
    places = []
    for k in range(segments):
        ends = [points[i % len(points)] if closed or 0 <= i < len(points) else None for i in range(k - 1, k + 3)]
        places += [path([ends[1]])(0), *(path(ends)(i / steps) for i in range(1, steps))]
    return torch.stack([*places, points[0] if closed else points[-1]])


def degrees(a, b):
    return math.degrees(math.acos(torch.clamp(torch.dot(a, b) / (a.norm() * b.norm()), -1, 1)))


@pytest.mark.parametrize("t", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_slerp_between_unit_vectors_is_scipys(t):
    a, b = (v.double() / v.double().norm() for v in noises(2, size=5))
    expected = scipy.spatial.geometric_slerp(a.numpy(), b.numpy(), t)
    np.testing.assert_allclose(slerp(a, b, t).numpy(), expected, atol=1e-12)


def test_slerp_treats_every_vector_of_the_last_dimension_on_its_own():
    a, b = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    together = slerp(a, b, 0.3)
    for i in range(3):
        for j in range(4):
            torch.testing.assert_close(together[i, j], slerp(a[i, j], b[i, j], 0.3))


def test_lengths_change_evenly_while_directions_turn():
    a, b = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 4.0])
    assert slerp(a, b, 0.5).norm() == pytest.approx(3)


@pytest.mark.parametrize(
    ("a", "b"),
    [([1.0, 0.0], [1.0, 0.0]), ([1.0, 0.0], [1.0, 1e-9]), ([1.0, 0.0], [-1.0, 0.0]), ([0.0, 0.0], [0.0, 1.0])],
    ids=["equal", "nearly equal", "opposite", "without length"],
)
def test_where_no_great_circle_is_defined_the_way_is_straight(a, b):
    a, b = torch.tensor(a), torch.tensor(b)
    torch.testing.assert_close(path([a, b])(0.25), torch.lerp(a, b, 0.25))
    assert path([None, a, b, a])(0.25).isfinite().all()
    assert path([b, a, b, None])(0.25).isfinite().all()


@pytest.mark.parametrize("closed", [False, True])
def test_noise_keeps_its_variance_along_the_smooth_path(closed):
    points = noises(4)
    scale = torch.stack(points).norm(dim=1)
    lengths = curve(points, closed, 24).norm(dim=1)
    # 1.3 % is how much the drawn noises differ from each other; a plain lerp would lose 29 %.
    assert lengths.min() > scale.min() * 0.998
    assert lengths.max() < scale.max() * 1.002
    equal = curve([p / p.norm() for p in points], closed, 24).norm(dim=1)
    torch.testing.assert_close(equal, torch.ones_like(equal), atol=1e-6, rtol=0)


def test_the_smooth_path_turns_no_corner_and_slerp_does():
    points, tiny = [p.double() for p in noises(5)], 1e-3
    ends = [None, *points, None]
    for k in range(1, 4):
        arriving = points[k] - path(ends[k - 1 : k + 3])(1 - tiny)
        leaving = path(ends[k : k + 4])(tiny) - points[k]
        assert degrees(arriving, leaving) < 0.5
        assert arriving.norm() / leaving.norm() == pytest.approx(1, abs=0.01)  # nor a change of speed

        arriving = points[k] - path(points[k - 1 : k + 1])(1 - tiny)
        leaving = path(points[k : k + 2])(tiny) - points[k]
        assert 80 < degrees(arriving, leaving) < 100


def test_a_closed_smooth_path_has_no_corner_at_its_seam():
    (a, b, c), tiny = [p.double() for p in noises(3)], 1e-3
    arriving = a - path([b, c, a, b])(1 - tiny)
    leaving = path([c, a, b, c])(tiny) - a
    assert degrees(arriving, leaving) < 0.5
    assert arriving.norm() / leaving.norm() == pytest.approx(1, abs=0.01)


def test_the_smooth_path_has_an_even_speed():
    steps = torch.diff(curve(noises(6), True, 48), dim=0).norm(dim=1)
    assert steps.max() / steps.min() < 1.25


def test_points_on_one_great_circle_are_joined_by_it():
    angles = torch.arange(6, dtype=torch.float64) * 0.7
    points = list(torch.stack([angles.cos(), angles.sin(), torch.zeros(6)], dim=1))
    for i in range(1, 10):
        expected = torch.stack([torch.cos(angles[2] + 0.07 * i), torch.sin(angles[2] + 0.07 * i), torch.tensor(0.0)])
        torch.testing.assert_close(path(points[1:5])(i / 10), expected.double())


@pytest.mark.parametrize("size", [3, 768, 16384])
def test_the_path_rests_between_points_that_coincide(size):
    """On all of the way, wherever it comes from and goes to: what a walk takes for one picture is one."""
    a, b, c = noises(3, size=size)
    for points in ([a, b, b, c], [a, b, b, a], [None, b, b, c], [a, b, b, None], [b, b, b, b], [-b, b, b, c], [b, b]):
        for t in (2**-32, 0.1, 0.5, 0.77, 1 - 2**-32):
            torch.testing.assert_close(path(points)(t), b, rtol=1e-6, atol=1e-6)


def test_a_noise_that_swings_out_keeps_its_variance():
    a, b = torch.randn(2, 100_000, generator=torch.Generator().manual_seed(0))
    for part in (0, 0.25, 0.5, 0.9, 1):
        c = swing(a, b, part)
        assert float(c.var()) == pytest.approx(1, abs=0.02)
        assert float((c * a).mean()) == pytest.approx(math.cos(part * math.pi / 2), abs=0.02)
    assert torch.equal(swing(a, b, 0), a)


def test_a_path_that_turns_back_stays_between_its_points():
    a, b = noises(2, size=3)
    a, b = a / a.norm(), b / b.norm()
    way = degrees(a, b)
    for i in range(1, 10):
        place = path([b, a, b, a])(i / 10)
        assert degrees(a, place) + degrees(place, b) == pytest.approx(way, abs=0.1)


@pytest.mark.parametrize("size", [5, 50000], ids=["together", "one after the other"])
@pytest.mark.parametrize("count", [2, 4])
def test_points_of_several_ways_at_once_do_not_depend_on_each_other(count, size):
    some = [path(noises(count, size, seed)) for seed in range(3)]
    still = path(noises(1, size))
    points = points_along([*some, still], [0.2, 0.5, 0.9, 0.4])
    for point, way, t in zip(points, some, (0.2, 0.5, 0.9)):
        torch.testing.assert_close(point, way(t), atol=1e-6, rtol=0)
    assert points[3].equal(still(0))
    assert points_along([some[2], still, some[2], some[0]], [0.1, 0.5, 0.9, 0.3])[2].equal(points[2])
    assert points_along([still, still], [0.0, 0.5]).equal(torch.stack([still(0)] * 2))


def test_lengths_change_without_a_corner_too():
    lengths = (1.0, 2.0, 5.0, 6.0, 6.5)
    points = [
        length * torch.nn.functional.normalize(x.double(), dim=0) for length, x in zip(lengths, noises(5, size=9))
    ]
    speeds = (curve(points, False, 300).norm(dim=-1).diff() * 300).tolist()
    for k in (300, 600, 900):
        assert speeds[k - 1] == pytest.approx(speeds[k], rel=0.04)

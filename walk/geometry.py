"""Points on and between spheres. Tensors in, tensors out.

The vectors lie along the last dimension; every function works on all of them at once. Directions
turn on the unit sphere and lengths change along with them, so that Gaussian noise keeps its
variance (K. Shoemake, 'Animating rotation with quaternion curves', SIGGRAPH 1985; why it matters:
Bodin et al., 'Linear combinations of Gaussian latents', ICLR 2025).

Knows no keyframes and no frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

# Below this sine two directions count as one, or as opposite, where no great circle is the shortest.
_PARALLEL = 1e-5

# How many numbers `points_along` works on at a time: limited by the memory of a GPU, and by the caches of a CPU.
ON_GPU, ON_CPU = 2**20, 2**16

_Constants = tuple[Tensor, ...]


class Way(NamedTuple):
    """A curve, with all that can be computed before it is known where on it. `path` makes it."""

    curve: Callable[[_Constants, Tensor], Tensor] | None  # at t, a tensor with as many dimensions; None: it stays
    constants: _Constants  # the curve's; or the one point
    dtype: torch.dtype

    def __call__(self, t: float) -> Tensor:
        """The point at t, from 0 (the start) to 1 (the end)."""
        return points_along([self], [t])[0]


def path(points: Sequence[Tensor | None]) -> Way:
    """The way through `points`, tensors of one shape (..., d).

    One point: it stays there. Two: the great circle between them. Four: the part from the second to the
    third of a curve through all four, without a corner; the first and the last may be None, where the
    curve has an end. Computed in float64 on the points' device (in float32 where that has no more),
    returned in their dtype. What does not depend on t is computed only once.
    """
    if len(points) == 1:
        (point,) = points
        assert point is not None
        return Way(None, (point,), point.dtype)
    before, a, b, after = points if len(points) == 4 else (None, *points, None)
    assert a is not None
    assert b is not None
    dtype, fine = a.dtype, torch.float32 if a.device.type == "mps" else torch.float64
    a, b = a.to(fine), b.to(fine)
    before, after = (None if p is None else p.to(fine) for p in (before, after))
    if len(points) == 2:
        u, v = _unit(a), _unit(b)
        return Way(_on_great_circle, (a, b, u, v, _angle(u, v), _norm(a), _norm(b)), dtype)
    return Way(_on_curve, _curve(before, a, b, after), dtype)


def points_along(ways: Sequence[Way], ts: Sequence[float]) -> Tensor:
    """The point of each way at its t, stacked: (ways, ..., d). The ways are through points of one shape and dtype, and of
    one kind, apart from those that stay at one point.

    On a GPU all of them take as many calls as one. A point's last bit may depend on how many there are and on which of
    them it is, but never on what the others are.
    """
    lead = next((way for way in ways if way.curve), None)
    if lead is None:
        return torch.stack([way.constants[0] for way in ways])
    assert lead.curve is not None
    rows = [(way.constants, t) if way.curve else (lead.constants, 0.0) for way, t in zip(ways, ts)]
    first = lead.constants[0]
    at_a_time = max(1, (ON_GPU if first.is_cuda else ON_CPU) // first.numel())
    points = []
    for some in (rows[i : i + at_a_time] for i in range(0, len(rows), at_a_time)):
        constants = tuple(map(torch.stack, zip(*(constants for constants, _ in some))))
        t = torch.stack([first.new_full((1,) * first.ndim, t) for _, t in some])
        points.append(lead.curve(constants, t).to(lead.dtype))
    result = torch.cat(points)
    for row, way in enumerate(ways):
        if not way.curve:
            result[row] = way.constants[0]
    return result


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Spherical linear interpolation from a (t = 0) to b (t = 1); shapes (..., d).

    The direction turns along the great circle at constant speed, the length changes linearly.
    Vectors of one direction, of opposite directions, or of no length are interpolated linearly.
    """
    return path([a, b])(t)


def swing(noise: Tensor, other: Tensor, part: float) -> Tensor:
    """A Gaussian noise, turned by this part (0..1) of a quarter turn toward another that is independent of it; its
    variance stays (Bodin et al., 2025)."""
    angle = part * math.pi / 2
    return math.cos(angle) * noise + math.sin(angle) * other


def _on_great_circle(constants: _Constants, t: Tensor) -> Tensor:
    a, b, u, v, angle, r, s = constants
    defined = (torch.sin(angle) > _PARALLEL) & (r > 0) & (s > 0)
    return torch.where(defined, torch.lerp(r, s, t) * _turned(u, v, angle, t), torch.lerp(a, b, t))


def _curve(before: Tensor | None, a: Tensor, b: Tensor, after: Tensor | None) -> _Constants:
    """The control points of a curve from a to b with these neighbours, their angles and lengths: for `_on_curve`.

    Directions follow a cubic Bezier curve on the sphere, made by de Casteljau's construction with
    great circles for lines (Shoemake 1985, section 4.2; Park & Ravani, 'Bezier curves on
    Riemannian manifolds', 1995). Its velocity at a depends on before, a and b alone, so segments
    meet without a corner and with one speed. Lengths follow the same curve on a line.
    """
    u, v = _unit(a), _unit(b)
    leave = _velocity(None if before is None else _log(u, _unit(before)), _log(u, v))
    arrive = _velocity(_log(v, u), None if after is None else _log(v, _unit(after)))
    c, d = _exp(u, leave / 3), _exp(v, -arrive / 3)
    r, s = _norm(a), _norm(b)
    leave = _velocity(None if before is None else _norm(before) - r, s - r)
    arrive = _velocity(r - s, None if after is None else _norm(after) - s)
    return u, c, d, v, _angle(u, c), _angle(c, d), _angle(d, v), r, r + leave / 3, s - arrive / 3, s


def _on_curve(constants: _Constants, t: Tensor) -> Tensor:
    u, c, d, v, *angles, r, x, y, s = constants
    p, q, w = (_turned(*ends, angle, t) for ends, angle in zip(((u, c), (c, d), (d, v)), angles))
    p, q = _turned(p, q, _angle(p, q), t), _turned(q, w, _angle(q, w), t)
    direction = _turned(p, q, _angle(p, q), t)
    # The same cubic, by its Bernstein polynomials.
    length = (1 - t) ** 3 * r + 3 * t * (1 - t) ** 2 * x + 3 * t**2 * (1 - t) * y + t**3 * s
    return length * direction


def _turned(u: Tensor, v: Tensor, angle: Tensor, t: Tensor) -> Tensor:
    """Along the great circle from one unit vector to another, or, where there is none, the straight line."""
    sine = torch.sin(angle)
    defined = sine > _PARALLEL
    divisor = torch.where(defined, sine, 1.0)
    near, far = (torch.where(defined, torch.sin(part * angle) / divisor, part) for part in (1 - t, t))
    return near * u + far * v


def _velocity(back: Tensor | None, ahead: Tensor | None) -> Tensor:
    """The curve's velocity at a point, from the tangents back to the point before and ahead to the next.

    Its direction is a Catmull-Rom spline's, its speed the harmonic mean of the distances on both sides:
    about even along the path, and zero (a rest) beside points that coincide. Where the path turns
    back sharply it slows down. At an end of the path it heads for the only neighbour.
    """
    if back is None:
        assert ahead is not None
        return ahead
    if ahead is None:
        return -back
    chord = ahead - back
    p, q = _norm(back), _norm(ahead)
    speed = 2 * p * q / (p + q).clamp_min(_PARALLEL)
    return chord * (speed / torch.maximum(_norm(chord), speed).clamp_min(_PARALLEL))


def _exp(point: Tensor, velocity: Tensor) -> Tensor:
    """The point that a great circle reaches after unit time which leaves a unit vector with this velocity."""
    angle = _norm(velocity)
    return torch.cos(angle) * point + torch.sinc(angle / torch.pi) * velocity


def _log(point: Tensor, other: Tensor) -> Tensor:
    """The velocity at a unit vector whose great circle reaches the other after unit time."""
    angle = _angle(point, other)
    tangent = other - (point * other).sum(-1, keepdim=True) * point
    return tangent / torch.sinc(angle / torch.pi).clamp_min(_PARALLEL)


def _angle(u: Tensor, v: Tensor) -> Tensor:
    """Between unit vectors, (..., 1), in radians; exact for tiny angles, where arccos is not."""
    return 2 * torch.atan2(_norm(u - v), _norm(u + v))  # W. Kahan, 'Computing cross-products', section 13


def _norm(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=-1, keepdim=True)


def _unit(x: Tensor) -> Tensor:
    return x / _norm(x).clamp_min(torch.finfo(x.dtype).tiny)

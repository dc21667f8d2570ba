"""Points on and between spheres. Tensors in, tensors out.

The vectors lie along the last dimension; every function works on all of them at once. Directions
turn on the unit sphere and lengths change along with them, so that Gaussian noise keeps its
variance (K. Shoemake, 'Animating rotation with quaternion curves', SIGGRAPH 1985; why it matters:
Bodin et al., 'Linear combinations of Gaussian latents', ICLR 2025).

Knows no keyframes and no frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Way = Callable[[float], Tensor]  # the point a part t (0..1) of the way along

# Below this sine two directions are one (or opposite: no great circle is then the shortest).
_PARALLEL = 1e-5


def path(points: Sequence[Tensor | None]) -> Way:
    """The way through `points`, tensors of one shape (..., d).

    One point: it stays there. Two: the great circle between them. Four: the part from the second to the
    third of a curve through all four, without a corner; the first and the last may be None, where the
    curve has an end. Computed in float64 on the points' device (in float32 where that has no more),
    returned in their dtype. What does not depend on t is computed but once.
    """
    if len(points) == 1:
        (point,) = points
        assert point is not None
        return lambda t: point
    before, a, b, after = points if len(points) == 4 else (None, *points, None)
    assert a is not None
    assert b is not None
    dtype, fine = a.dtype, torch.float32 if a.device.type == "mps" else torch.float64
    a, b = a.to(fine), b.to(fine)
    before, after = (None if p is None else p.to(fine) for p in (before, after))
    way = _great_circle(a, b) if len(points) == 2 else _smooth(before, a, b, after)
    return lambda t: way(t).to(dtype)


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Spherical linear interpolation from a (t = 0) to b (t = 1); shapes (..., d).

    The direction turns along the great circle at constant speed, the length changes linearly.
    Vectors of one direction, of opposite directions, or of no length are interpolated linearly.
    """
    return path([a, b])(t)


def _great_circle(a: Tensor, b: Tensor) -> Way:
    arc, defined = _arc(_unit(a), _unit(b))
    r, s = _norm(a), _norm(b)
    defined &= (r > 0) & (s > 0)
    return lambda t: torch.where(defined, torch.lerp(r, s, t) * arc(t), torch.lerp(a, b, t))


def _smooth(before: Tensor | None, a: Tensor, b: Tensor, after: Tensor | None) -> Way:
    """From a to b on a curve that also knows its next neighbours.

    Directions follow a cubic Bezier curve on the sphere, made by de Casteljau's construction with
    great circles for lines (Shoemake 1985, section 4.2; Park & Ravani, 'Bezier curves on
    Riemannian manifolds', 1995). Its velocity at a depends on before, a and b alone, so segments
    meet without a corner and with one speed. Lengths follow the same curve on a line.
    """
    u, v = _unit(a), _unit(b)
    leave = _velocity(None if before is None else _log(u, _unit(before)), _log(u, v))
    arrive = _velocity(_log(v, u), None if after is None else _log(v, _unit(after)))
    c, d = _exp(u, leave / 3), _exp(v, -arrive / 3)
    first, second, third = (_arc(*ends)[0] for ends in ((u, c), (c, d), (d, v)))

    def direction(t: float) -> Tensor:
        p, q, r = first(t), second(t), third(t)
        return _arc(_arc(p, q)[0](t), _arc(q, r)[0](t))[0](t)

    r, s = _norm(a), _norm(b)
    leave = _velocity(None if before is None else _norm(before) - r, s - r)
    arrive = _velocity(r - s, None if after is None else _norm(after) - s)
    x, y = r + leave / 3, s - arrive / 3

    def length(t: float) -> Tensor:
        # The same cubic, by its Bernstein polynomials.
        return (1 - t) ** 3 * r + 3 * t * (1 - t) ** 2 * x + 3 * t**2 * (1 - t) * y + t**3 * s

    return lambda t: length(t) * direction(t)


def _arc(u: Tensor, v: Tensor) -> tuple[Way, Tensor]:
    """The great circle from a unit vector to another, and where there is one; else the straight line."""
    angle = _angle(u, v)
    sine = torch.sin(angle)
    defined = sine > _PARALLEL
    over = torch.where(defined, sine, 1.0)

    def way(t: float) -> Tensor:
        near, far = (torch.where(defined, torch.sin(part * angle) / over, part) for part in (1 - t, t))
        return near * u + far * v

    return way, defined


def _velocity(back: Tensor | None, ahead: Tensor | None) -> Tensor:
    """Of the curve at a point, from the ways back to the point before and ahead to the next.

    Its direction is a Catmull-Rom spline's, its speed the harmonic mean of both sides' distances:
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
    """Where a great circle leads that leaves a unit vector with this tangent, after unit time."""
    angle = _norm(velocity)
    return torch.cos(angle) * point + torch.sinc(angle / torch.pi) * velocity


def _log(point: Tensor, other: Tensor) -> Tensor:
    """The tangent at a unit vector whose great circle reaches the other after unit time."""
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

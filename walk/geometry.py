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

Line = Callable[[Tensor, Tensor, float], Tensor]

# Below this sine two directions are one (or opposite: no great circle is then the shortest).
_PARALLEL = 1e-5


def along(points: Sequence[Tensor | None], t: float) -> Tensor:
    """The point a part t (0..1) of the way along a path through `points`, tensors of one shape (..., d).

    One point: itself. Two: the great circle between them. Four: the part from the second to the
    third of a curve through all four, without a corner; the first and the last may be None, where
    the curve has an end. Computed in float64, returned in the points' dtype.
    """
    if len(points) == 1:
        (point,) = points
        assert point is not None
        return point
    *_, a, b = points if len(points) == 2 else points[:3]
    assert a is not None
    assert b is not None
    if len(points) == 2:
        return slerp(a.double(), b.double(), t).to(a.dtype)
    before, after = (None if p is None else p.double() for p in (points[0], points[3]))
    return smooth(before, a.double(), b.double(), after, t).to(a.dtype)


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Spherical linear interpolation from a (t = 0) to b (t = 1); shapes (..., d).

    The direction turns along the great circle at constant speed, the length changes linearly.
    Vectors of one direction, of opposite directions, or of no length are interpolated linearly.
    """
    u, v = _unit(a), _unit(b)
    length = torch.lerp(_norm(a), _norm(b), t)
    angle = _angle(u, v)
    sine = torch.sin(angle)
    turned = (torch.sin((1 - t) * angle) * u + torch.sin(t * angle) * v) / sine
    defined = (sine > _PARALLEL) & (_norm(a) > 0) & (_norm(b) > 0)
    return torch.where(defined, length * turned, torch.lerp(a, b, t))


def smooth(before: Tensor | None, a: Tensor, b: Tensor, after: Tensor | None, t: float) -> Tensor:
    """From a (t = 0) to b (t = 1) on a curve that also knows its next neighbours; shapes (..., d).

    Directions follow a cubic Bezier curve on the sphere, made by de Casteljau's construction with
    great circles for lines (Shoemake 1985, section 4.2; Park & Ravani, 'Bezier curves on
    Riemannian manifolds', 1995). Its velocity at a depends on before, a and b alone, so segments
    meet without a corner and with one speed. Lengths follow the same curve on a line.
    """
    u, v = _unit(a), _unit(b)
    leave = _velocity(None if before is None else _log(u, _unit(before)), _log(u, v))
    arrive = _velocity(_log(v, u), None if after is None else _log(v, _unit(after)))
    direction = _bezier(u, _exp(u, leave / 3), _exp(v, -arrive / 3), v, t)

    r, s = _norm(a), _norm(b)
    leave = _velocity(None if before is None else _norm(before) - r, s - r)
    arrive = _velocity(r - s, None if after is None else _norm(after) - s)
    return direction * _bezier(r, r + leave / 3, s - arrive / 3, s, t, torch.lerp)


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


def _bezier(a: Tensor, b: Tensor, c: Tensor, d: Tensor, t: float, line: Line = slerp) -> Tensor:
    ab, bc, cd = line(a, b, t), line(b, c, t), line(c, d, t)
    return line(line(ab, bc, t), line(bc, cd, t), t)


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

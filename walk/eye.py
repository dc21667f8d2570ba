"""The eye: how different two pictures look, and how uneven a film's steps are.

Knows arrays of pixels; no walks, films or files.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

SIDE = 128  # pixels on the short side, or up to twice as many, to which a picture is reduced
ONE = 2**14  # stands for 1 in 16 bits: no two of our numbers are further apart than 2
CONTRAST = 0.1  # of OKLab: where a detail's contrast begins to saturate
LEAST = 16  # pixels on the short side of what the pyramid splits once more
STILL = 0.1  # of the mean step: a smaller one is none, as where a walk rests

# sRGB levels to linear light; that to cones; their cube roots to OKLab (Ottosson 2020).
_LEVELS = np.arange(256) / 255
_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)
_M1 = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    np.float32,
)
_M2 = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ],
    np.float32,
)


class Features(NamedTuple):
    """What the eye takes from a picture, for `distance`."""

    pyramid: np.ndarray  # (3, n), int16
    levels: np.ndarray  # (height, width, 3), int16


def features(picture: np.ndarray | Image.Image) -> Features:
    """Of a picture, PIL's or (height, width, 3) uint8. Both parts are in units of 1 / ONE.

    levels: of sRGB, 0 .. 1.
    pyramid: a normalised Laplacian pyramid (V. Laparra, J. Balle, A. Berardino & E. P. Simoncelli, 'Perceptual
    image quality assessment using a normalized Laplacian pyramid', 2016) of OKLab (B. Ottosson, 'A
    perceptual color space for image processing', 2020): on every scale z is what the 2x2 means f leave
    out of x, and y is z adapted to the contrast around it.
    """
    picture = picture if isinstance(picture, np.ndarray) else np.asarray(picture.convert("RGB"))
    step = max(1, min(picture.shape[:2]) // SIDE)
    levels = block_means(picture, step)
    light = block_means(_LINEAR.take(picture), step)
    with np.errstate(divide="ignore"):  # of black; its root comes out as 0
        roots = np.exp(np.log(_M1 @ light.reshape(-1, 3).T) / np.float32(3))  # several times as fast as cbrt
    x = (_M2 @ roots).reshape(3, *light.shape[:2])
    scales = []
    while min(x.shape[1:]) >= LEAST:
        _, h, w = x.shape
        z = x[:, : h // 2 * 2, : w // 2 * 2].reshape(3, h // 2, 2, w // 2, 2).copy()
        f = _means_of_four(z)
        z -= f[:, :, None, :, None]
        contrast = np.sqrt(_means_of_four(z[0] ** 2 + z[1] ** 2 + z[2] ** 2))
        z /= (1 + contrast / CONTRAST)[:, None, :, None]
        scales.append(z.reshape(3, -1))
        x = f
    scales.append(x.reshape(3, -1))
    return _in_own_pages(
        np.rint(np.concatenate(scales, axis=1) * np.float32(ONE)), np.rint(levels * np.float32(ONE / 255))
    )


def distance(a: Features, b: Features) -> float:
    """How much the eye sees change between two pictures: a metric, 0 for nothing and 1 from black to white.

    The mean of two: each scale's mean colour difference, summed, which agrees with FLIP, a model of how the
    eye compares two pictures; and the root mean square of the levels, which weighs large changes in a few
    places as ColorVideoVDP does, a model of how it sees one follow the other (tests/benchmarks/distances.py).
    """
    pyramid = (a.pyramid - b.pyramid).astype(np.float32)
    pyramid *= pyramid
    scales = np.sqrt(pyramid[0] + pyramid[1] + pyramid[2]) @ _weights(*a.levels.shape[:2])
    levels = (a.levels - b.levels).astype(np.float32).ravel()
    return float(scales + math.sqrt(levels @ levels / levels.size)) / (2 * ONE)


def usual(steps: Sequence[float]) -> float:
    """The median of the steps that move; 0 where nothing moves."""
    still = STILL * sum(steps) / max(len(steps), 1)
    moving = [step for step in steps if step > still]
    return float(np.median(moving)) if moving else 0.0


def unevenness(steps: Sequence[float]) -> float:
    """The largest step over the usual one; 0 where nothing moves."""
    median = usual(steps)
    return max(steps) / median if median else 0.0


def block_means(x: np.ndarray, step: int) -> np.ndarray:
    """Means, float32, over step x step pixels of (height, width, channels); incomplete blocks are left out."""
    h, w, channels = x.shape[0] // step, x.shape[1] // step, x.shape[2]
    blocks = x[: h * step, : w * step].reshape(h, step, w, step, channels)
    lines = sum((blocks[:, i] for i in range(1, step)), start=blocks[:, 0].astype(np.float32))  # numpy's mean is slow
    return sum((lines[:, :, i] for i in range(1, step)), start=lines[:, :, 0]) / np.float32(step * step)


def _means_of_four(x: np.ndarray) -> np.ndarray:
    """Means over 2x2: of (..., h, 2, w, 2)."""
    columns = x[..., 0, :, :] + x[..., 1, :, :]
    return (columns[..., 0] + columns[..., 1]) / np.float32(4)


def _in_own_pages(pyramid: np.ndarray, levels: np.ndarray) -> Features:
    """In memory pages of their own: arrays that stay, among others that come and go, leave holes, and memory would grow
    with the film."""
    pages = np.frombuffer(mmap.mmap(-1, 2 * (pyramid.size + levels.size)), np.int16)
    pages[: pyramid.size] = pyramid.ravel()
    pages[pyramid.size :] = levels.ravel()
    return Features(pages[: pyramid.size].reshape(pyramid.shape), pages[pyramid.size :].reshape(levels.shape))


@lru_cache
def _weights(height: int, width: int) -> np.ndarray:
    """Of each number in a row of the pyramid, so that every scale counts by its mean."""
    parts = []
    while min(height, width) >= LEAST:
        height, width = height // 2, width // 2
        parts.append(np.full(4 * height * width, 1 / (4 * height * width), np.float32))
    return np.concatenate([*parts, np.full(height * width, 1 / (height * width), np.float32)])

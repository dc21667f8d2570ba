"""The part of a sound that a film plays: an exact number of samples, and for a loop, without a click at the seam.

Knows no beats, no frames and no files.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from walk.sounds import Sound

FADE = 0.03  # seconds in which a loop's end fades into its start


def part(sound: Sound, start_sample: int, count: int) -> Sound:
    """Exactly `count` samples from `start_sample` on, with silence where the sound has none."""
    samples = np.zeros((count, sound.samples.shape[1]), np.float32)
    first, last = max(start_sample, 0), min(start_sample + count, len(sound.samples))
    if first < last:
        samples[first - start_sample : last - start_sample] = sound.samples[first:last]
    return dataclasses.replace(sound, samples=samples)


def loop(sound: Sound, start_sample: int, count: int) -> Sound:
    """The same part, but its end meets its start without a click when it is played round and round.

    What comes before the part fades in under its end, so that the first beat stays as it is. If nothing comes before it,
    what comes after it fades out under its start; if nothing comes after it either, both ends fade within 5 ms. Fades take
    FADE seconds or less. If the ends meet already, nothing changes.
    """
    samples = part(sound, start_sample, count).samples
    longest = min(round(FADE * sound.rate), count // 2)
    if not longest or _meets(samples):
        return dataclasses.replace(sound, samples=samples)
    before = min(longest, start_sample)
    after = min(longest, len(sound.samples) - start_sample - count)
    if max(before, after) < min(longest, 0.001 * sound.rate):
        _fade_ends(samples, min(count // 2, round(0.005 * sound.rate)))
    elif before >= after:
        samples[-before:] = _blend(samples[-before:], sound.samples[start_sample - before : start_sample])
    else:
        beyond = sound.samples[start_sample + count : start_sample + count + after]
        samples[:after] = _blend(beyond, samples[:after])
    return dataclasses.replace(sound, samples=_eased(samples, sound.rate))


def stretch(sound: Sound, count: int) -> Sound:
    """A loop, resampled to `count` samples: a little slower and lower, or faster and higher."""
    samples, length = sound.samples, len(sound.samples)
    if count == length:
        return sound
    import soxr

    beyond = min(length, 4096)  # samples past both ends, where the loop begins again: more than the filter's length
    wide = soxr.resample(np.concatenate([samples[-beyond:], samples, samples[:beyond]]), length, count)
    first, peak = round(beyond * count / length), np.abs(samples).max(initial=0)
    return dataclasses.replace(sound, samples=wide[first : first + count].clip(-peak, peak))  # no louder than it was


def _meets(samples: np.ndarray) -> bool:
    """Whether neither the step across the seam nor the change of slope there is unusual for the sound."""
    seam = np.concatenate([samples[-2:], samples[:2]])
    step, bend = np.abs(np.diff(seam, axis=0))[1:2], np.abs(np.diff(seam, 2, axis=0))
    return bool((step <= _quantile(samples, 1, 0.99)).all() and (bend <= _quantile(samples, 2, 0.99)).all())


def _quantile(samples: np.ndarray, n: int, share: float) -> np.ndarray:
    """The quantile, at this share, of each channel's absolute n-th differences."""
    differences = np.abs(np.diff(samples, n, axis=0))
    return np.quantile(differences, share, axis=0) if len(differences) else np.zeros(samples.shape[1])


def _blend(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A cross-fade from a to b. Its gains follow from how alike they are, so that loudness neither swells nor dips on the
    way: linear for equal sounds, of equal power for unlike ones (M. Fink, M. Holters & U. Zoelzer, 'Signal-matched
    power-complementary cross-fading and dry-wet mixing', DAFx 2016)."""
    t = (np.arange(len(a), dtype=np.float32)[:, None] + 0.5) / len(a)
    alike = float((a * b).sum()) / (math.sqrt(float((a * a).sum()) * float((b * b).sum())) + 1e-12)
    gain = 1 / np.sqrt((1 - t) ** 2 + t**2 + 2 * max(alike, 0) * t * (1 - t))
    return np.clip(((1 - t) * a + t * b) * gain, -1, 1)


def _fade_ends(samples: np.ndarray, count: int) -> None:
    rise = np.linspace(0, 1, max(count, 1), dtype=np.float32)[:, None]
    samples[: len(rise)] *= rise
    samples[-len(rise) :] *= rise[::-1]


def _eased(samples: np.ndarray, rate: int) -> np.ndarray:
    """The samples, with the last millisecond bent so that the step across the seam is no larger than most in the sound."""
    largest = _quantile(samples, 1, 0.95)
    step = samples[0] - samples[-1]
    excess = step - np.clip(step, -largest, largest)
    count = min(len(samples) // 2, max(1, rate // 1000))
    samples[-count:] += np.linspace(0, 1, count + 1, dtype=np.float32)[1:, None] * excess
    return samples

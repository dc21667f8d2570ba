"""The part of a sound that a film plays: exactly so many samples, and in a loop without a click at the seam.

Knows no beats, no frames and no files.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from walk.sounds import Sound

FADE = 0.03  # seconds in which a loop's end becomes its start


def part(sound: Sound, start_sample: int, count: int) -> Sound:
    """`count` samples from `start_sample` on, exactly; silence where the sound has none."""
    samples = np.zeros((count, sound.samples.shape[1]), np.float32)
    first, last = max(start_sample, 0), min(start_sample + count, len(sound.samples))
    if first < last:
        samples[first - start_sample : last - start_sample] = sound.samples[first:last]
    return dataclasses.replace(sound, samples=samples)


def closed(sound: Sound, start_sample: int, count: int) -> Sound:
    """As `part`, but its end meets its start without a click when it is played round and round.

    What comes before the part fades in under its end, so that the first beat stays as it is; where the
    sound begins there, what comes after it fades out under its start; where there is nothing else, both fade
    within 5 ms. If they meet already, nothing changes. Takes FADE seconds or less.
    """
    samples = part(sound, start_sample, count).samples
    most = min(round(FADE * sound.rate), count // 2)
    if not most or _meets(samples):
        return dataclasses.replace(sound, samples=samples)
    before = min(most, start_sample)
    after = min(most, len(sound.samples) - start_sample - count)
    if max(before, after) < min(most, 0.001 * sound.rate):
        _fade_ends(samples, min(count // 2, round(0.005 * sound.rate)))
    elif before >= after:
        samples[-before:] = _blend(samples[-before:], sound.samples[start_sample - before : start_sample])
    else:
        beyond = sound.samples[start_sample + count : start_sample + count + after]
        samples[:after] = _blend(beyond, samples[:after])
    return dataclasses.replace(sound, samples=_eased(samples, sound.rate))


def stretched(sound: Sound, count: int) -> Sound:
    """A loop in so many samples: a little slower and lower, or faster and higher."""
    samples, long = sound.samples, len(sound.samples)
    if count == long:
        return sound
    import soxr

    past = min(long, 4096)  # samples beyond its ends, where it begins again: more than the filter hears
    wide = soxr.resample(np.concatenate([samples[-past:], samples, samples[:past]]), long, count)
    first, most = round(past * count / long), np.abs(samples).max(initial=0)  # nothing gets louder than it was
    return dataclasses.replace(sound, samples=wide[first : first + count].clip(-most, most))


def _meets(samples: np.ndarray) -> bool:
    """Whether neither the step across the seam nor its bend is unusual for the sound."""
    seam = np.concatenate([samples[-2:], samples[:2]])
    step, bend = np.abs(np.diff(seam, axis=0))[1:2], np.abs(np.diff(seam, 2, axis=0))
    return bool((step <= _usual(samples, 1, 0.99)).all() and (bend <= _usual(samples, 2, 0.99)).all())


def _usual(samples: np.ndarray, n: int, share: float) -> np.ndarray:
    """What this share of each channel's n-th differences does not exceed."""
    differences = np.abs(np.diff(samples, n, axis=0))
    return np.quantile(differences, share, axis=0) if len(differences) else np.zeros(samples.shape[1])


def _blend(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """From a to b. Gains for signals as alike as these, so that none swells or dips on the way (M. Fink,
    M. Holters & U. Zoelzer, 'Signal-matched power-complementary cross-fading and dry-wet mixing', DAFx 2016):
    linear for the same sound, of equal power for unlike ones."""
    t = (np.arange(len(a), dtype=np.float32)[:, None] + 0.5) / len(a)
    alike = float((a * b).sum()) / (math.sqrt(float((a * a).sum()) * float((b * b).sum())) + 1e-12)
    gain = 1 / np.sqrt((1 - t) ** 2 + t**2 + 2 * max(alike, 0) * t * (1 - t))
    return np.clip(((1 - t) * a + t * b) * gain, -1, 1)


def _fade_ends(samples: np.ndarray, count: int) -> None:
    rise = np.linspace(0, 1, max(count, 1), dtype=np.float32)[:, None]
    samples[: len(rise)] *= rise
    samples[-len(rise) :] *= rise[::-1]


def _eased(samples: np.ndarray, rate: int) -> np.ndarray:
    """The last millisecond bent so that the step across the seam is no larger than most that the sound has."""
    usual = _usual(samples, 1, 0.95)
    step = samples[0] - samples[-1]
    excess = step - np.clip(step, -usual, usual)
    count = min(len(samples) // 2, max(1, rate // 1000))
    samples[-count:] += np.linspace(0, 1, count + 1, dtype=np.float32)[1:, None] * excess
    return samples

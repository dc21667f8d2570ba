"""A soundtrack becomes arrays: onset envelope, beats, bars.

Onsets are where bands of the spectrum grow louder; beats are found by dynamic programming at a tempo that is chosen
here, since a prior on tempi would double slow music and halve fast. A tempo may drift; where another one begins, what
follows is listened to on its own. Spectra are averaged over a sound's channels, since stereo in anti-phase would cancel
in a sum of samples.

Knows no frames, no keyframes and no files, and imports SciPy only to listen.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from weakref import WeakKeyDictionary

import numpy as np

from walk import Error
from walk.rates import METER
from walk.sounds import Sound

ENVELOPE_RATE = 100  # values a second
SLOWEST, FASTEST = 58, 185  # beats a minute that are looked for; any tempo can be given
# From and to how many Hz: kick and bass; voices and guitars; hats and cymbals. The edges are mixing engineers' (L. di
# Gar Kulka, 'Equalization: the highest, most sustained expression of the recordist's heart', Recording
# Engineer/Producer, 1972).
RANGES = {"low": (0.0, 250.0), "mid": (250.0, 4000.0), "high": (4000.0, math.inf)}

_RATE = 2 * ENVELOPE_RATE  # spectra a second; a moment is a two-hundredth of a second
_WINDOW = 0.0232  # seconds of a spectrum: 1024 samples at 44.1 kHz
_LEAD = 8  # spectra before the sound's beginning, so that what begins with it is an onset
_LAG = 2  # spectra within which a band must grow louder
_TEMPO_STEP = 0.0025  # between the logarithms of the tempi that are tried
EARLY = 0.02  # seconds by which a beat at 0 may be heard early; one so near the end is the next part's
_NEAR_OFFSET = 0.05  # seconds from the user's offset within which a beat is the one that is meant
_GAPS = 8  # gaps between beats whose median tells the tempo, whether a beat is missing or a hand taps unevenly
_TEMPO_VARIES = 1.03  # fastest over slowest tempo, from which on both are told
_EVEN = 0.002  # seconds between the longest and the shortest beat of one tempo
_BANDS = 40
# Hz: where bands begin, have their centre and end, evenly spaced in Slaney's mels, which are linear below 1 kHz (15 mels)
# and logarithmic above (M. Slaney, 'Auditory Toolbox', 1998). From 20 Hz to 16 kHz.
_MELS = np.linspace(0.3, 15 + 27 * math.log(16, 6.4), _BANDS + 2)
_EDGES = np.where(_MELS < 15, _MELS * 200 / 3, 1000 * 6.4 ** ((_MELS - 15) / 27))
_KICK, _SNARE = (0, 200), (1500, 5000)  # Hz: where bass drums and snares have most of their energy
_SETTING_IN = 6  # moments at the beginning in which the sound itself sets in
_CHUNK = 2048  # spectra at a time
SPECTRA_DONE, BEATS_DONE = 65, 80  # per cent of the work, once the spectra and once the beats are known
_SILENCE = 1e-8  # power of a sound whose loudest moment is only its last bit
AUDIBLE = 1e-6  # of the loudest moment's power: 60 dB
_EXPONENT = 0.3  # loudness is power to this (S. S. Stevens, 'On the psychophysical law', 1957)
_RIPPLE = 0.005  # of the loudest moment: by so much a steady low tone seems to come and go
_WEAKEST = 0.1  # of the loudest moment: where no onset is stronger, none has strength 1
_DRUM_AND_BASS = 1.2  # how much stronger bass drums are between beats than on them; in drum and bass 1.3 at least
_PIECE = 12.0  # seconds that are listened to on their own, for their own tempo
_SAME_TEMPO = 0.04  # log of the ratio to a tempo, or to two or three times it; what is nearer is followed as a drift
# How much more emphasis two tempi must have than one; in tests/benchmarks/beats.py 1.02 is the most for one.
_TWO_TEMPI = 1.15
_LEAST_LIKENESS = 0.1  # mean autocorrelation at a beat, two, a bar and two; less is no pulse
# How much stronger onsets must be at uneven beats than anywhere, or else these are what noise happens to do: 1.46 is the
# most in 33 pieces of swelling sines and noise, 2.4 the least in the songs of tests/benchmarks/beats.py.
_LEAST_EMPHASIS = 1.5
_TIGHTNESS = 600.0  # how unwilling beats are to leave their tempo; librosa's default is 100
_LOOP_SLACK = 0.1  # beats by which a loop may be longer or shorter than its bars, or begin too late
_LOOP_BONUS = 2.0  # standard deviations of evidence, in favour of a loop's first beat as the first of a bar
_METERS = (3, 4)
_TELLING = 600.0  # seconds of beats that tell the meter; to hear a mix of two hours once more takes a minute
_LEAST_F = 4.0  # times as much variance, for bars of three; in the songs of tests/benchmarks/beats.py 4.7 is the least
_LEAST_CHANGE = 0.05  # standard deviation of harmonic change; drums and noise have less, examples/loop.ogg has 0.18
_SEMITONES = 55 * 2 ** (np.arange(-0.5, 61) / 12)  # Hz: edges of semitones, from A1 on


@dataclass(frozen=True)
class Rhythm:
    """What is heard in a sound. Times are seconds from its beginning, increasing.

    beats: () where there is no pulse.
    bars: those of the beats that begin a bar.
    envelope: strength of percussive onsets, ENVELOPE_RATE values a second from time 0 on, each 0 .. 1,
        where 0 is nothing and 1 the strongest in the whole sound (less, if all are faint beside sustained sounds).
    """

    beats: tuple[float, ...]
    bars: tuple[float, ...]
    envelope: tuple[float, ...]


def listen(
    sound: Sound,
    meter: int = METER,
    bpm: float | None = None,
    offset: float | None = None,
    beats: Sequence[float] | None = None,
    bars: Sequence[float] | None = None,
    report: Callable[[int], object] = lambda percent: None,
    part: tuple[float, float] | None = None,
) -> Rhythm:
    """The beats, bars and onsets of a sound; beats and bars are heard unless they are given. Where the tempo changes
    from one moment to the next, each piece is listened to on its own.

    meter: beats in a bar.
    bpm: beats a minute; the beats are then exactly even, and lie where the onsets are.
    offset: seconds at which a bar begins, which may be before or past the sound. With bpm, all beats follow from it;
        otherwise bars are counted from the beat nearest to it, and if none is within 50 ms of it, all beats of that piece
        are moved so that one is there.
    beats, bars: in seconds; bars without beats are ignored.
    report: called with how much is done, in per cent.
    part: the seconds that matter, from and to; the rest helps to hear them. If they have much clearer beats when they are
        listened to on their own, these are all that is heard: it is a short passage at another tempo.

    No content of a sound makes it fail: samples that are not numbers are silence, and silence has no beats and an
    envelope of zeros. Raises Error for a bpm that is not positive or a meter below 1.
    """
    _check(bpm, meter)
    length = float(sound.seconds)
    loudness, onsets = _features(sound, report)
    if beats is not None:
        pieces = [np.array([time for time in beats if 0 <= time < length])]
    elif bpm is not None:
        pieces = [_at_tempo(onsets, bpm, offset, length)]
    else:
        pieces = _audible_pieces(onsets, loudness, meter, length, part)
    report(BEATS_DONE)
    anchor = _piece_at(pieces, offset)
    if beats is None and bpm is None:
        pieces[anchor] = _moved_to(pieces[anchor], offset, length)
        pieces = _joined(pieces)
    if beats is None or bars is None:
        bars = []
        for i, piece in enumerate(pieces):
            bars += piece[_downbeat(sound, onsets, piece, meter, offset if i == anchor else None) :: meter].tolist()
    report(100)
    return Rhythm(
        _rounded(np.concatenate(pieces)),
        _rounded([time for time in bars if 0 <= time < length]),
        _envelope(onsets, loudness),
    )


def strength(sound: Sound, part: str | None = None) -> tuple[float, ...]:
    """The envelope alone, as `listen` returns it, of the whole sound or of one of RANGES.

    The ranges' edges are as soft as bands are wide: 90 Hz and 400 Hz. A drum's attack has some of every frequency. Zeros if
    all of a range is AUDIBLE below the sound's loudest moment: that is only rounding noise.
    """
    loudness, onsets = _features(sound)
    low, high = RANGES[part] if part else (0.0, math.inf)
    if part and (sound.rate / 2 <= low or _bands_between(loudness, low, high).max(initial=0) < AUDIBLE**_EXPONENT):
        onsets = np.zeros_like(onsets)
    return _envelope(_bands_between(onsets, low, high), loudness)


def grid(bpm: float, meter: int, offset: float, seconds: float) -> Rhythm:
    """The rhythm of a tempo, without any sound, from 0 to `seconds`.

    offset: seconds at which a bar begins. The envelope is a pulse on each beat that fades to 1/e in a tenth of a second;
    it is 1 on the first beat of a bar, and 0.6 on the others. Raises Error like `listen`.
    """
    _check(bpm, meter)
    beats = _even_beats(60 / bpm, offset, seconds)
    first = -round((beats[0] - offset) * bpm / 60) % meter if len(beats) else 0
    moments = np.arange(math.ceil(seconds * ENVELOPE_RATE)) / ENVELOPE_RATE
    # The moment nearest to a beat has its full strength.
    last = np.searchsorted(beats - 0.5 / ENVELOPE_RATE, moments, side="right") - 1
    since = np.maximum(moments - beats[last], 0) if len(beats) else moments
    strength = np.where((last - first) % meter, 0.6, 1.0) * (last >= 0)
    return Rhythm(_rounded(beats), _rounded(beats[first::meter]), _rounded(strength * np.exp(-since / 0.1)))


def tempi(beats: Sequence[float]) -> tuple[float, ...]:
    """(beats a minute,) or, where the tempo varies, (slowest, fastest); () for fewer than three beats."""
    if len(beats) < 3:
        return ()
    gaps = np.diff(beats)
    medians = np.median(np.lib.stride_tricks.sliding_window_view(gaps, min(_GAPS, len(gaps))), axis=1)
    slowest, fastest = 60 / float(medians.max()), 60 / float(medians.min())
    if fastest > _TEMPO_VARIES * slowest:
        return slowest, fastest
    return (60 / float(gaps[np.abs(gaps / np.median(gaps) - 1) < 0.1].mean()),)


def tempo(beats: Sequence[float]) -> str:
    """The tempo of three beats or more, as in '120 beats a minute' or '100-140 beats a minute'."""
    return f"{'-'.join(f'{bpm:.4g}' for bpm in tempi(beats))} beats a minute"


def _check(bpm: float | None, meter: int) -> None:
    if bpm is not None and not 0 < bpm < math.inf:
        raise Error(f"bpm {bpm:g} is not a tempo; give beats a minute, such as 128")
    if meter < 1:
        raise Error(f"meter {meter} is not a meter; give the beats in a bar, such as 4")


def _rounded(values: Sequence[float] | np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)


# Onsets

_FEATURES: WeakKeyDictionary[Sound, tuple[np.ndarray, np.ndarray]] = WeakKeyDictionary()


def _features(sound: Sound, report: Callable[[int], object] = lambda percent: None) -> tuple[np.ndarray, np.ndarray]:
    """(loudness, onsets) of a sound. Computed once in its lifetime, since three minutes of sound take a second."""
    if sound not in _FEATURES:
        loudness = _loudness(sound, report)
        _FEATURES[sound] = loudness, _onsets(loudness)
    return _FEATURES[sound]


def _loudness(sound: Sound, report: Callable[[int], object]) -> np.ndarray:
    """(spectra, bands): about how loud each band is, relative to the sound's loudest moment.

    Spectrum k has its middle at (k - _LEAD) / _RATE seconds, whatever the sample rate.
    """
    from scipy.fft import rfft  # four times as fast as NumPy's for many short spectra in single precision

    samples = _finite(sound.samples)
    size = max(16, round(_WINDOW * sound.rate))
    n_fft = 1 << (size - 1).bit_length()
    window = np.hanning(size + 2)[1:-1].astype(np.float32)
    window *= 2 / window.sum()
    filters = _filters(np.fft.rfftfreq(n_fft, 1 / sound.rate))
    centres = np.round(np.arange(-_LEAD, len(samples) * _RATE / sound.rate) * sound.rate / _RATE).astype(int)

    power = np.zeros((len(centres), _BANDS), np.float32)
    for number, channel in enumerate(samples.T):
        for i in range(0, len(centres), _CHUNK):
            # Samples of this chunk alone: two hours of stereo are 2.5 GB.
            firsts = centres[i : i + _CHUNK] - size // 2
            some = _between(channel, firsts[0], firsts[-1] + size)
            moments = np.lib.stride_tricks.sliding_window_view(some, size)
            spectra = rfft(moments[firsts - firsts[0]] * window, n_fft)
            power[i : i + _CHUNK] += (spectra.real**2 + spectra.imag**2) @ filters / samples.shape[1]
            report(round(SPECTRA_DONE * (number + min(1, (i + _CHUNK) / len(centres))) / samples.shape[1]))
    loudest = power.sum(axis=1).max(initial=0)
    return (power / loudest) ** _EXPONENT if loudest > _SILENCE else np.zeros_like(power)


def _between(channel: np.ndarray, first: int, end: int) -> np.ndarray:
    """The samples from one on to before another; zeros where there are none."""
    zeros = max(-first, 0), max(end - max(len(channel), first), 0)
    return np.pad(channel[max(first, 0) : max(end, 0)], zeros)


def _finite(samples: np.ndarray) -> np.ndarray:
    """The samples as float32, with 0 for those that are not finite numbers."""
    samples = np.asarray(samples, np.float32)
    if np.isfinite(samples.min(initial=0)) and np.isfinite(samples.max(initial=0)):
        return samples
    return np.nan_to_num(samples, nan=0, posinf=0, neginf=0)


def _filters(hertz: np.ndarray) -> np.ndarray:
    """(frequencies, bands): the share of each frequency, in Hz, that belongs to each band."""
    low, centre, high = _EDGES[:-2], _EDGES[1:-1], _EDGES[2:]
    rise, fall = (hertz[:, None] - low) / (centre - low), (high - hertz[:, None]) / (high - centre)
    return np.maximum(np.minimum(rise, fall), 0).astype(np.float32)


def _onsets(loudness: np.ndarray) -> np.ndarray:
    """(moments, bands): how much louder each band grows; moment k is at k / _RATE seconds.

    It must be louder than both the band and its neighbours were before, so that a vibrato is not an onset (S. Boeck &
    G. Widmer, 'Maximum filter vibrato suppression for onset detection', DAFx 2013). Loudness grows fastest within 2 ms
    of where drums begin, so no latency needs to be subtracted.
    """
    from scipy.ndimage import maximum_filter1d

    before = maximum_filter1d(loudness, 3, axis=1)[_LEAD - _LAG : len(loudness) - _LAG]
    onsets = np.maximum(loudness[_LEAD:] - before, 0)
    onsets[-math.ceil(_WINDOW / 2 * _RATE) :] = 0  # where the sound breaks off there is none
    strength = onsets.sum(axis=1, keepdims=True)
    return onsets * np.maximum(1 - _RIPPLE * loudness.sum(axis=1).max(initial=0) / (strength + 1e-12), 0)


def _envelope(onsets: np.ndarray, loudness: np.ndarray) -> tuple[float, ...]:
    """The strength of onsets at every second moment: the largest there and beside it, less the median, relative to the
    strongest.

    Where the sound sets in, perhaps in the middle of music, it is no stronger than the strongest onset after that.
    """
    strength = onsets.sum(axis=1)
    strength = np.maximum(strength - np.median(strength), 0) if len(strength) else strength
    strength[:_SETTING_IN] = np.minimum(strength[:_SETTING_IN], strength[_SETTING_IN:].max(initial=0))
    padded = np.pad(strength, (1, 2))
    peaks = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])[: len(strength)]
    strongest = max(peaks.max(initial=0), _WEAKEST * loudness.sum(axis=1).max(initial=0))
    return _rounded(peaks[::2] / strongest if strongest else peaks[::2])


# Beats


def _even_beats(period: float, first: float, seconds: float, early: float = 0.0) -> np.ndarray:
    """Beats every `period` from 0 to before `seconds`, so that one would be at `first`; one up to `early` before 0 is at 0."""
    k = np.arange(math.ceil((-first - early) / period - 1e-9), math.ceil((seconds - first) / period - 1e-9))
    return np.maximum(first + k * period, 0)


def _at_tempo(onsets: np.ndarray, bpm: float, offset: float | None, length: float) -> np.ndarray:
    """Beats of a known tempo, with one at `offset`, or else where the onsets are strongest."""
    period = 60 / bpm
    if offset is not None:
        return _even_beats(period, offset, length)
    strength = _levelled(onsets.sum(axis=1))
    firsts = np.arange(0, min(period, length), 1 / _RATE)
    sums = [_strength_at(strength, _even_beats(period, first, length)).sum() for first in firsts]
    beats = _fitted(strength, period, float(firsts[np.argmax(sums)]) if sums else 0.0, length)
    return _fitted(strength, period, beats[0] + period / 2, length) if _drum_is_between(onsets, beats) else beats


def _fitted(strength: np.ndarray, period: float, first: float, length: float) -> np.ndarray:
    """Beats of this tempo, one of them about at `first`, shifted together to the strongest onsets near them."""
    beats = _even_beats(period, first, length)
    if not len(beats):
        return beats
    times, weights = _peaks(strength, beats)
    first = beats[0] + float(np.average(times - beats, weights=weights))
    first -= period * math.ceil(first / period - 1)  # the first that is not before the sound
    return _even_beats(period, 0.0 if period - first < EARLY / 2 else first, length)


def _audible_pieces(
    onsets: np.ndarray, loudness: np.ndarray, meter: int, length: float, part: tuple[float, float] | None = None
) -> list[np.ndarray]:
    """The beats of each piece with a tempo of its own, as far as the sound is audible. part: as for `listen`."""
    audible = np.flatnonzero(loudness[_LEAD:].sum(axis=1) > AUDIBLE**_EXPONENT) / _RATE  # seconds
    if not len(audible):
        return [np.zeros(0)]
    first, end = max(audible[0] - 0.03, 0), min(audible[-1] + 0.03, length - EARLY)
    found = _pieces(onsets, meter)
    if part and (own := _clearer_alone(onsets, np.concatenate(found), meter, part)) is not None:
        found = [own]
    pieces = [beats[(beats >= first) & (beats < end)] for beats in found]
    return [beats for beats in pieces if len(beats)] or [np.zeros(0)]


def _beats(onsets: np.ndarray, meter: int) -> np.ndarray:
    """The beats of one tempo: first the tempo, then beats at about that tempo, then their exact times; none without a
    pulse."""
    strength = _levelled(onsets.sum(axis=1))
    period = _period(strength, meter)
    if period is None:
        return np.zeros(0)
    slow = next((p for p in (2 * period, period) if 120 / FASTEST <= p <= 60 / SLOWEST), None)
    if slow is not None:
        period = slow / 2 if _is_half_tempo(onsets, _tracked_on_drums(onsets, strength, slow), meter) else slow
    beats = _refined(onsets, strength, _tracked_on_drums(onsets, strength, period), period)
    uneven = len(beats) > 2 and np.ptp(np.diff(beats)) > _EVEN
    return beats[:0] if uneven and _emphasis(strength, beats, range(len(strength))) < _LEAST_EMPHASIS else beats


def _moved_to(beats: np.ndarray, offset: float | None, length: float) -> np.ndarray:
    """The beats, all moved by so much that one of them is at `offset`, unless one is near it."""
    if offset is None or len(beats) < 2:
        return beats
    gaps = np.diff(beats)
    gap, nearest = float(np.median(gaps)), float(beats[np.argmin(np.abs(beats - offset))])
    if abs(offset - nearest) > gap and np.ptp(gaps) > _EVEN:
        return beats  # uneven beats say nothing of a moment so far away
    shift = offset - nearest - gap * round((offset - nearest) / gap)
    if abs(shift) <= _NEAR_OFFSET:
        return beats
    before, after = ([beats[0] - gaps[0]], []) if shift > 0 else ([], [beats[-1] + gaps[-1]])  # they fill the gap
    moved = np.concatenate([before, beats, after]) + shift
    return moved[(moved > -EARLY) & (moved < length - EARLY)].clip(0)


def _levelled(strength: np.ndarray) -> np.ndarray:
    """Strength relative to the 8 seconds around, so that quiet passages have beats as well."""
    from scipy.ndimage import uniform_filter1d

    around = uniform_filter1d(strength.astype(float) ** 2, 8 * _RATE + 1, mode="constant")
    around = np.sqrt(np.maximum(around, 0))  # rounding can take a running sum below 0
    return strength / np.maximum(around, 0.02 * around.max(initial=0) + 1e-9)


def _strength_at(strength: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The largest strength within 20 ms of each of these times, in seconds."""
    peaks = _peak_nearby(strength)
    return peaks[np.clip(np.round(times * _RATE).astype(int), 0, len(peaks) - 1)]


def _peak_nearby(strength: np.ndarray) -> np.ndarray:
    """The largest strength within 20 ms of each moment."""
    from scipy.ndimage import maximum_filter1d

    return maximum_filter1d(strength, round(0.04 * _RATE) + 1)


def _period(strength: np.ndarray, meter: int) -> float | None:
    """Seconds of a beat, or of two beats, or of half of one; None where nothing repeats.

    It is the period with the largest mean autocorrelation at a beat, two beats, a bar and two bars: a dotted beat has
    onsets on its multiples too, but bars do not repeat there.
    """
    from scipy.ndimage import gaussian_filter1d

    x = gaussian_filter1d(strength - strength.mean(), 0.01 * _RATE) if len(strength) else strength
    size = min(int(len(x) * 0.75), int(_RATE * 2.1 * 60 / SLOWEST * meter))
    periods = np.exp(np.arange(math.log(60 / FASTEST), math.log(60 / SLOWEST), _TEMPO_STEP))
    if size < 2 * periods[0] * _RATE or not x.any():
        return None
    acf = np.fft.irfft(np.abs(np.fft.rfft(x, 2 * len(x))) ** 2)[:size] / (1 - np.arange(size) / len(x))
    lags = np.outer(sorted({1, 2, meter, 2 * meter}), periods) * _RATE
    likeness = np.interp(lags, np.arange(size), acf / acf[0], right=0).sum(axis=0) / (lags < size).sum(axis=0).clip(1)
    likeness[lags[1] >= size] = 0  # too long to be heard twice
    best = int(np.argmax(likeness))
    third = best - round(math.log(3) / _TEMPO_STEP)  # where three beats are as alike as one, one is the beat
    if third >= 4 and likeness[third - 4 : third + 5].max() > 0.95 * likeness[best]:
        best = third - 4 + int(np.argmax(likeness[third - 4 : third + 5]))
    return float(periods[best]) if likeness[best] > _LEAST_LIKENESS else None


def _tracked_on_drums(onsets: np.ndarray, strength: np.ndarray, period: float) -> np.ndarray:
    """Beats about a period apart, in seconds: those of the drums, not those of the hats between them."""
    beats = _tracked(strength, period)
    return (beats[1:] + beats[:-1]) / 2 if _drum_is_between(onsets, beats) else beats


def _is_half_tempo(onsets: np.ndarray, times: np.ndarray, meter: int) -> bool:
    """Whether these are only every second beat.

    Then drums are as strong between them as on them, and bass drum and snare do not take turns on them, as they do on the
    beats of most music. Weights: tests/benchmarks/beats.py.
    """
    if len(times) < 4:
        return False
    between = (times[1:] + times[:-1]) / 2
    drums = _drum_strength(onsets, 0, 5000)
    filled = _strength_at(drums, between).mean() / (_strength_at(drums, times).mean() + 1e-9)
    alike = 0.5  # of neighbours; in bars of three, beats alternate anyway
    if meter % 2 == 0:
        kick, snare = _drum_strength(onsets, *_KICK), _drum_strength(onsets, *_SNARE)
        pairs = [_alternating(x, times) for x in (kick, snare)]
        alike = min((less + 1e-9) / (more + 1e-9) for less, more in pairs)
        (_, kicks), (snares, more_snares) = pairs
        backbeats = snares > 0.8 * more_snares and snares > 3 * _alternating(snare, between)[1]
        if backbeats and _alternating(kick, between)[1] > _DRUM_AND_BASS * kicks:
            return True  # a snare on each, and bass drums between them: drum and bass
    tempo = 60 / float(np.median(np.diff(times)))
    return bool(1.2 * (min(filled, 1.2) - 0.5) + (alike - 0.5) > 0.3 * math.log2(tempo / 78))


def _alternating(x: np.ndarray, times: np.ndarray) -> tuple[float, float]:
    """(less, more): the mean strength at every second of these times and at the others, the smaller first."""
    less, more = sorted((_strength_at(x, times[::2]).mean(), _strength_at(x, times[1::2]).mean()))
    return float(less), float(more)


def _drum_is_between(onsets: np.ndarray, times: np.ndarray) -> bool:
    """Whether the bass drum is between these beats. (A soft one can be weaker than the hats, which then pass for beats.)

    In the songs of tests/benchmarks/beats.py bass lines make low onsets at most 1.3 times as strong there as on beats;
    where hats were taken for beats, they are 1.8 times as strong at least. A bass note now and then is not enough.
    """
    if len(times) < 4:
        return False
    kick = _drum_strength(onsets, *_KICK)
    between = _strength_at(kick, (times[1:] + times[:-1]) / 2).mean()
    return bool(between > max(1.6 * _strength_at(kick, times).mean(), 3))


def _drum_strength(onsets: np.ndarray, low: float, high: float) -> np.ndarray:
    return _levelled(_bands_between(onsets, low, high).sum(axis=1))


def _bands_between(onsets: np.ndarray, low: float, high: float) -> np.ndarray:
    """The bands whose centres are from `low` Hz to below `high`."""
    return onsets[:, (low <= _EDGES[1:-1]) & (_EDGES[1:-1] < high)]


def _tracked(strength: np.ndarray, period: float) -> np.ndarray:
    """Beats about a period apart, in seconds: those with the largest sum of strength, less _TIGHTNESS times the squared
    logarithm of each gap over the period (D. Ellis, 'Beat tracking by dynamic programming', 2007).

    A gap is at least half a period, so the moments within half a period do not depend on one another.
    """
    from scipy.ndimage import convolve1d

    beat = round(_RATE * period)
    kernel = np.exp(-0.5 * (np.arange(-beat, beat + 1) * 32 / beat) ** 2)
    local = convolve1d(strength / strength.std(ddof=1), kernel, mode="constant")
    gaps = np.arange(round(beat / 2), 2 * beat + 1)
    cost = _TIGHTNESS * np.log(gaps / beat) ** 2
    sums = np.concatenate([np.full(gaps[-1], -math.inf), local])  # of the best beats that end at each moment
    before = np.full(len(local), -1)  # the beat before one at each moment
    for first in range(gaps[0], len(local), gaps[0]):
        moments = np.arange(first, min(first + gaps[0], len(local)))
        options = sums[moments[:, None] - gaps + gaps[-1]] - cost
        best = options.argmax(axis=1)
        sums[moments + gaps[-1]] += options[moments - first, best]
        before[moments] = moments - gaps[best]
    sums = sums[gaps[-1] :]
    before[: np.argmax(local >= 0.01 * local.max())] = -1

    rise = np.diff(sums)
    tops = 1 + np.flatnonzero((rise > 0) & (np.append(rise[1:], 0) <= 0))
    beats = [int(tops[sums[tops] >= 0.5 * np.median(sums[tops])][-1])]
    while before[beats[-1]] >= 0:
        beats.append(int(before[beats[-1]]))
    return np.array(beats[::-1]) / _RATE


def _refined(onsets: np.ndarray, strength: np.ndarray, beats: np.ndarray, period: float) -> np.ndarray:
    """Beats moved to a straight line through the onsets near all of them, if they have one tempo, or else to one through
    those of their neighbours. They continue at their tempo to both ends of the sound."""
    if len(beats) < 2:
        return np.zeros(0)
    # k: the beats' numbers, where one may be missing
    k = np.concatenate([[0], np.cumsum(np.maximum(1, np.round(np.diff(beats) / period)))])
    times, weights = _peaks(strength, beats)
    line = _straight_line(k, times, weights, 0.7)
    if line is None:  # where a kick fades, hats between may have been taken for beats
        even = _one_tempo(onsets, strength, period)
        line = _straight_line(np.arange(len(even)), *_peaks(strength, even), 0.9)
    if line is not None:
        return _even_beats(line[1], line[0], len(strength) / _RATE, EARLY)

    # Each beat by a line through its neighbours, and missing ones, too.
    inner = []
    for i in np.arange(k[-1] + 1):
        near = slice(np.searchsorted(k, i - 4), np.searchsorted(k, i + 4, side="right"))
        inner.append(_fitted_line(k[near] - i, times[near], weights[near] * (5 - np.abs(k[near] - i)))[0])
    first_gap, last_gap = inner[1] - inner[0], inner[-1] - inner[-2]
    before = inner[0] - first_gap * np.arange(1, inner[0] / first_gap + 1)[::-1]
    after = inner[-1] + last_gap * np.arange(1, (len(strength) / _RATE - inner[-1]) / last_gap)
    beats = np.concatenate([before, inner, after])
    return np.maximum(beats[beats > -EARLY], 0)


def _straight_line(k: np.ndarray, times: np.ndarray, weights: np.ndarray, share: float) -> tuple[float, float] | None:
    """(start, step) of the line start + step * k, if this share of the times, by weight, is on it; else None."""
    start, step = _fitted_line(k, times, weights)
    off = np.abs(times - start - k * step)
    return (start, step) if weights[off < 0.015].sum() > share * weights.sum() else None


def _one_tempo(onsets: np.ndarray, strength: np.ndarray, period: float) -> np.ndarray:
    """Even beats: of tempi near this one, the one with most onsets on its half beats; of these, the half with the stronger
    onsets, or with the bass drum."""
    count = 8 * len(strength)
    spectrum = np.fft.rfft(strength, count)
    low, high = (math.ceil(2 / period * factor * count / _RATE) for factor in (0.98, 1.02))
    at = low + int(np.argmax(np.abs(spectrum[low:high])))
    period = 2 * count / _RATE / at
    first = -float(np.angle(spectrum[at])) / (2 * math.pi) * period / 2
    length = len(strength) / _RATE
    beats, between = (_even_beats(period, start, length) for start in (first, first + period / 2))
    if _strength_at(strength, between).sum() > _strength_at(strength, beats).sum():
        beats, between = between, beats
    return between if _drum_is_between(onsets, beats) else beats


def _peaks(strength: np.ndarray, beats: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(seconds, strength) of the strongest moment within 40 ms of each beat, by a parabola through three."""
    reach = round(0.04 * _RATE) + 1
    padded = np.pad(strength, (reach, reach + 1))
    near = np.round(beats * _RATE).astype(int)[:, None] + np.arange(2 * reach + 1)
    values = padded[np.minimum(near, len(padded) - 1)]
    best = values[:, 1:-1].argmax(axis=1) + 1
    a, b, c = (values[np.arange(len(beats)), best + side] for side in (-1, 0, 1))
    bend = np.maximum(2 * b - a - c, 1e-9)
    shift = np.clip(0.5 * (c - a) / bend, -0.5, 0.5)
    moments = near[:, 0] + best - reach + shift
    return np.where(b > 0, moments / _RATE, beats), b + 1e-6


def _fitted_line(k: np.ndarray, times: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """(start, step) of the line start + step * k through most of the times: least squares, three times, each time without
    those farthest off."""
    kept = weights
    for _ in range(3):
        mean_k, mean_time = np.average(k, weights=kept), np.average(times, weights=kept)
        spread = (kept * (k - mean_k) ** 2).sum()
        step = (kept * (k - mean_k) * (times - mean_time)).sum() / spread if spread else 0.0
        off = np.abs(times - mean_time - step * (k - mean_k))
        kept = weights * (off <= max(0.01, 2 * float(np.median(off))))
    return float(mean_time - step * mean_k), float(step)


# Tempi that change


def _pieces(onsets: np.ndarray, meter: int) -> list[np.ndarray]:
    """The beats of each piece that has a tempo of its own."""
    size = round(_PIECE * _RATE)

    @functools.lru_cache(None)  # once, however often it is divided: a mix of two hours may have forty tempi
    def heard_alone(first: int) -> np.ndarray:
        return _beats(onsets[first : first + size], meter) + first / _RATE

    def divided(start: int, end: int) -> list[np.ndarray]:
        piece = onsets[start:end]
        beats = _beats(piece, meter)
        change = _tempo_change(piece, beats, start, heard_alone)
        if change is None:
            return [beats + start / _RATE]
        return [*divided(start, start + change), *divided(start + change, end)]

    return divided(0, len(onsets))


def _tempo_change(
    onsets: np.ndarray, beats: np.ndarray, start: int, heard_alone: Callable[[int], np.ndarray]
) -> int | None:
    """The moment in which another tempo begins; None if nowhere the beats that are heard on their own in the parts before
    and after a moment have much more emphasis than these. So a drift stays one piece.

    start: the moment of the sound at which these onsets begin. heard_alone: the beats of the part of the sound from a
        moment on, in its time."""
    size = round(_PIECE * _RATE)
    if not len(beats) or len(onsets) < 2 * size:
        return None
    strength = _levelled(onsets.sum(axis=1))
    firsts = range(-start % (size // 4), len(onsets) - size + 1, size // 4)  # the same parts for every piece
    parts = {first: heard_alone(start + first) - start / _RATE for first in firsts}
    largest, best = 0.0, None
    for first in firsts[4:]:  # with a whole part before
        sooner, later = parts[first - size], parts[first]
        if min(len(sooner), len(later)) < 4 or _is_multiple(sooner, later):
            continue
        halves = range(first - size, first), range(first, first + size)
        own = [_emphasis(strength, part, half) for part, half in zip((sooner, later), halves)]
        # Half a tempo may have more emphasis than the tempo itself.
        one = [min(_emphasis(strength, beats, half), limit) for half, limit in zip(halves, own)]
        if min(own) > _LEAST_EMPHASIS and sum(own) > max(largest, _TWO_TEMPI * sum(one)):
            largest, best = sum(own), (sooner, later)
    return best and round((_seam(strength, *best) - EARLY) * _RATE)


def _clearer_alone(onsets: np.ndarray, beats: np.ndarray, meter: int, part: tuple[float, float]) -> np.ndarray | None:
    """The beats of a part that is listened to on its own, if they have much more emphasis there than these have, which
    were heard in all of the sound."""
    first, end = (min(round(seconds * _RATE), len(onsets)) for seconds in part)
    if end - first >= len(onsets) - _LEAD:  # there is nothing around it
        return None
    own = _beats(onsets[first:end], meter) + first / _RATE
    around = beats[(beats * _RATE >= first) & (beats * _RATE < end)]
    if len(own) < 4:
        return None
    # Half a tempo may have more emphasis than the tempo itself.
    if len(around) > 1 and _is_multiple(own, around) and len(own) < 0.7 * len(around):
        return None
    strength = _levelled(onsets.sum(axis=1))
    mine, theirs = (_emphasis(strength, each, range(first, end)) for each in (own, around))
    return own if mine > max(_LEAST_EMPHASIS, _TWO_TEMPI * theirs) else None


def _emphasis(strength: np.ndarray, beats: np.ndarray, moments: range) -> float:
    """How many times as strong onsets are at the beats within these moments as they are anywhere in them."""
    inside = beats[(beats * _RATE >= moments.start) & (beats * _RATE < moments.stop)]
    around = _peak_nearby(strength[moments.start : moments.stop]).mean()
    return float(_strength_at(strength, inside).mean() / (around + 1e-9)) if len(inside) else 0.0


def _is_multiple(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether the tempi of two rows of beats are about the same, or one is two or three times the other: that is another
    way to hear it, not another tempo."""
    ratio = float(np.median(np.diff(a)) / np.median(np.diff(b)))
    return min(abs(math.log(ratio / times)) for times in (1 / 3, 1 / 2, 1, 2, 3)) < _SAME_TEMPO


def _seam(strength: np.ndarray, sooner: np.ndarray, later: np.ndarray) -> float:
    """When the later beats take over, in seconds: up to there the sooner beats have most strength, and from there on the
    later ones, if both continue into each other."""
    a, b = (float(np.median(np.diff(beats))) for beats in (sooner, later))
    means = [_strength_at(strength, beats).mean() for beats in (sooner, later)]
    sooner = np.append(sooner, sooner[-1] + a * np.arange(1, _PIECE / 2 / a))
    later = np.append(later[0] - b * np.arange(1, _PIECE / 2 / b)[::-1], later)
    before = np.append(0, np.cumsum(a * _strength_at(strength, sooner) / means[0]))
    after = np.cumsum((b * _strength_at(strength, later) / means[1])[::-1])[::-1]
    return float(later[np.argmax(before[np.searchsorted(sooner, later - b / 2)] + after)])


def _piece_at(pieces: list[np.ndarray], offset: float | None) -> int:
    """The index of the last piece that begins before `offset`; 0 if none does."""
    begun = [i for i, beats in enumerate(pieces) if offset is not None and len(beats) and beats[0] <= offset]
    return begun[-1] if begun else 0


def _joined(pieces: list[np.ndarray]) -> list[np.ndarray]:
    """The pieces, each without beats that are less than half of the next piece's first gap before that begins."""
    return [*(a[a < b[0] - np.diff(b[:2]).sum() / 2] for a, b in pairwise(pieces)), pieces[-1]]


# Bars


def _downbeat(sound: Sound, onsets: np.ndarray, beats: np.ndarray, meter: int, offset: float | None) -> int:
    """The index of the first beat that begins a bar: by the offset, or else by harmony, bass drum and snare."""
    if len(beats) < 2:
        return 0
    gap = float(np.median(np.diff(beats)))
    if offset is not None:
        k = int(np.argmin(np.abs(beats - offset)))
        return (k + round((offset - beats[k]) / gap)) % meter
    evidence = _evidence(sound, onsets, beats, meter)
    means = [evidence[first::meter].mean() for first in range(min(meter, len(beats)))]
    # What begins on a beat and lasts a whole number of bars is most often a loop, cut where a bar begins.
    count = float(sound.seconds) / gap
    is_loop = beats[0] < _LOOP_SLACK * gap and abs(count - round(count)) < _LOOP_SLACK and round(count) % meter == 0
    means[0] += _LOOP_BONUS if is_loop else 0.05
    return int(np.argmax(means))


def _evidence(sound: Sound, onsets: np.ndarray, beats: np.ndarray, meter: int) -> np.ndarray:
    """How much of each beat sounds like the first of a bar."""
    kick, snare = (_strength_at(_drum_strength(onsets, *band), beats) for band in (_KICK, _SNARE))
    harmony = _standardised(_harmonic_novelty(sound, beats, meter), least=_LEAST_CHANGE)
    harmony = harmony.clip(max=2)  # lest one change outvote the rest
    return 2 * harmony + _standardised(kick) - 0.5 * _standardised(snare)


def in_three(sound: Sound, beats: Sequence[float]) -> bool:
    """Whether these beats make bars of three rather than of four: by the variance of the evidence for a bar's first beat
    between places in a bar over that within them (R. A. Fisher's F). A fast waltz may be heard as bars of two dotted beats;
    then the beats of bars of three are tried, too."""
    beats = [beat for beat in beats if beat < beats[0] + _TELLING]
    if len(beats) < 4 * len(_METERS):
        return False
    loudness, onsets = (some[: _LEAD + round((beats[0] + _TELLING) * _RATE)] for some in _features(sound))
    candidates = [np.array(beats)]
    shorter = np.concatenate(_audible_pieces(onsets, loudness, 3, float(sound.seconds)))
    if len(shorter) > len(beats) and math.isclose(
        np.median(np.diff(shorter)), np.median(np.diff(candidates[0])) * 2 / 3, rel_tol=0.02
    ):
        candidates.append(shorter)
    for times in candidates:
        evidence = _evidence(sound, onsets, times, 4)
        three, four = (_f_statistic(evidence, meter) for meter in _METERS)
        if three > _LEAST_F * max(four, 1):
            return True
    return False


def _f_statistic(evidence: np.ndarray, meter: int) -> float:
    """The variance between places in a bar over that within them."""
    places = [evidence[first::meter] for first in range(meter)]
    between = sum(len(place) * (place.mean() - evidence.mean()) ** 2 for place in places) / (meter - 1)
    within = sum(((place - place.mean()) ** 2).sum() for place in places) / (len(evidence) - meter)
    return float(between / (within + 1e-9))


def _standardised(x: np.ndarray, least: float = 1e-9) -> np.ndarray:
    """x in standard deviations from its mean; they are taken for `least` if they are less."""
    return (x - x.mean()) / max(float(x.std()), least)


def _harmonic_novelty(sound: Sound, beats: np.ndarray, meter: int) -> np.ndarray:
    """How different the notes from each beat on are from those before it: 1 - the cosine of their loudnesses by semitone,
    for a beat on both sides plus for half a bar on both sides."""
    from scipy.fft import rfft

    size = round(sound.rate * min(float(np.median(np.diff(beats))), 1.0))
    n_fft = 1 << size.bit_length()
    edges = np.clip(np.round(_SEMITONES * n_fft / sound.rate).astype(int), 0, n_fft // 2)
    window = np.hanning(size).astype(np.float32)[:, None]
    samples = _finite(sound.samples)
    notes = []
    for first in np.round(beats * sound.rate).astype(int):
        played = samples[first : first + size]  # less at the end
        spectrum = rfft(played * window[: len(played)], n_fft, axis=0)
        power = np.concatenate([[0.0], np.cumsum((spectrum.real**2 + spectrum.imag**2).sum(axis=1))])
        notes.append(np.diff(power[edges]) ** _EXPONENT)
    return _novelty(np.array(notes), 1) + _novelty(np.array(notes), max(2, meter // 2))


def _novelty(rows: np.ndarray, n: int) -> np.ndarray:
    """1 - the cosine between the sums of n rows from each row on and of the n before it; 0 for silence, and the mean for
    the first n rows, which have too few before them."""
    padded = np.pad(rows, ((0, n), (0, 0)))
    sums = sum((padded[i : i + len(rows)] for i in range(n)), np.zeros_like(rows))
    loud = np.linalg.norm(sums, axis=1, keepdims=True)
    unit = sums / (loud + 1e-9)
    changes = (loud[n:, 0] > 0) * (1 - (unit[n:] * unit[:-n]).sum(axis=1))
    return np.concatenate([np.full(min(n, len(rows)), changes.mean() if len(changes) else 0.0), changes])

"""A soundtrack becomes arrays: onset envelope, beats, bars.

Onsets are where bands of the spectrum grow louder, beats are found by dynamic programming at a tempo
that is chosen here: a prior on tempi doubles slow music and halves fast. A tempo may drift; where another one
begins, what follows is heard for itself. Spectra are averaged over a sound's channels, since stereo in
anti-phase would cancel in a sum of samples.

Knows no frames, no keyframes and no files, and imports SciPy only to listen.
"""

from __future__ import annotations

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

_RATE = 2 * ENVELOPE_RATE  # spectra a second
_WINDOW = 0.0232  # seconds of a spectrum: 1024 samples at 44.1 kHz
_LEAD = 8  # spectra before the sound's beginning, so that what begins with it is an onset
_LAG = 2  # spectra in which a band must grow louder
_FINE = 0.0025  # between tempi that are tried, of each
EARLY = 0.02  # seconds by which a beat at 0 may be heard early; one so near the end is the next part's
_APART = 0.05  # seconds; a beat that is further from where the user says that one is, is another
_USUAL = 8  # beats whose median tells a tempo, so that neither a missing one nor a hand that taps does
_VARIES = 1.03  # times as fast is another tempo to tell of
_STEADY = 0.002  # seconds between the longest and the shortest beat of one tempo
_BANDS = 40
# Hz: where bands begin, have their centre and end, evenly spaced by Slaney's mels, which are linear below 1 kHz (15 mels)
# and logarithmic above (M. Slaney, 'Auditory Toolbox', 1998). From 20 Hz to 16 kHz.
_MELS = np.linspace(0.3, 15 + 27 * math.log(16, 6.4), _BANDS + 2)
_EDGES = np.where(_MELS < 15, _MELS * 200 / 3, 1000 * 6.4 ** ((_MELS - 15) / 27))
_KICK, _SNARE = (0, 200), (1500, 5000)  # Hz, where most of them is
_START = 6  # moments in which a sound sets in
_CHUNK = 2048  # spectra at a time
SPECTRA, FOLLOWED = 65, 80  # per cent of the work that is done with the spectra, and with the beats
_SILENCE = 1e-8  # power of a sound whose loudest moment is but its last bit
AUDIBLE = 1e-6  # of the loudest moment's power: 60 dB
_LOUDNESS = 0.3  # power of power (S. S. Stevens, 'On the psychophysical law', 1957)
_RIPPLE = 0.005  # of the loudest moment: so much a steady low tone seems to come and go
_WEAKEST = 0.1  # of the loudest moment: where no onset is stronger, none has strength 1
_BACK = 1.2  # times as strong as on beats are bass drums between those that are snares; in drum and bass 1.3 at least
_PIECE = 12.0  # seconds in which a tempo is heard for itself
_OTHER = 0.04  # of a tempo, or of two or three times it; what is nearer is followed as a drift
_BETTER = 1.15  # times what one tempo's beats hold; in tests/benchmarks/beats.py 1.02 at most where they were right
_PULSE = 0.1  # autocorrelation at a beat, two, a bar and two: less is no pulse
# How much stronger what begins must be at beats that are not even, or else they are what noise happens to do: 1.46 at
# most in 33 pieces of swelling sines and noise, 2.4 at least in the songs of tests/benchmarks/beats.py.
_FAINT = 1.5
_TIGHT = 600.0  # how unwilling beats are to leave their tempo; librosa's default is 100
_CUT = 0.1  # beats that a loop may be longer or shorter than its bars, or begin too late
_FIRST = 2.0  # deviations of what is heard, for a loop's first beat to begin its first bar
_METERS = (3, 4)
_CLEAR = 4.0  # times as much variance, for bars of three; in the songs of tests/benchmarks/beats.py 4.7 is the least
_HARMONY = 0.05  # of deviation; less is what drums and noise leave of it. In examples/loop.ogg it is 0.18
_NOTES = 55 * 2 ** (np.arange(-0.5, 61) / 12)  # Hz between semitones, from A1 on


@dataclass(frozen=True)
class Rhythm:
    """What was heard. Times are seconds from the sound's beginning, increasing.

    beats: () where there is no pulse.
    bars: those of the beats that begin a bar.
    envelope: strength of percussive onsets, ENVELOPE_RATE values a second from time 0, each 0 .. 1,
        where 0 is nothing and 1 the strongest in the whole sound (less, if all of it is faint beside what sounds on).
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
) -> Rhythm:
    """The beats, bars and onsets of a sound; beats and bars as they are given, or as they are heard. Where its tempo
    changes from one moment to the next, each piece is heard for itself.

    meter: beats in a bar.
    bpm: beats a minute; the beats are then exactly even, and lie where the onsets are.
    offset: seconds of a beat that begins a bar, also before or past the sound. With bpm all beats follow
        from it, otherwise the bars are counted from the beat nearest to it; if none is within 50 ms of it, all of its
        piece are moved so that one is there.
    beats, bars: seconds; bars without beats are ignored.
    report: called with how much is done, in per cent.

    Never fails for what is in a sound: samples that are not numbers are silence, and silence has no
    beats and an envelope of zeros. Raises Error for a bpm that is not positive or a meter below 1.
    """
    _check(bpm, meter)
    length = float(sound.seconds)
    loudness, onsets = _heard(sound, report)
    if beats is not None:
        pieces = [np.array([time for time in beats if 0 <= time < length])]
    elif bpm is not None:
        pieces = [_even(onsets, bpm, offset, length)]
    else:
        pieces = _follow(onsets, loudness, meter, length)
    report(FOLLOWED)
    of = _piece_of(pieces, offset)
    if beats is None and bpm is None:
        pieces[of] = _moved(pieces[of], offset, length)
        pieces = _joined(pieces)
    if beats is None or bars is None:
        bars = []
        for i, piece in enumerate(pieces):
            bars += piece[_downbeat(sound, onsets, piece, meter, offset if i == of else None) :: meter].tolist()
    report(100)
    heard = np.concatenate(pieces)
    return Rhythm(_times(heard), _times([time for time in bars if 0 <= time < length]), _envelope(onsets, loudness))


def strength(sound: Sound, part: str | None = None) -> tuple[float, ...]:
    """The envelope alone, as `listen` has it; of all of the sound, or of one of RANGES.

    Their edges are as soft as bands are wide: 90 Hz and 400 Hz. A drum's attack has something of every frequency. Zeros, if
    all of a range is AUDIBLE below the sound's loudest moment: what is there is the noise of its numbers.
    """
    loudness, onsets = _heard(sound)
    of = RANGES[part] if part else (0.0, math.inf)
    if part and (sound.rate / 2 <= of[0] or _of_bands(loudness, *of).max(initial=0) < AUDIBLE**_LOUDNESS):
        onsets = np.zeros_like(onsets)
    return _envelope(_of_bands(onsets, *of), loudness)


def grid(bpm: float, meter: int, offset: float, seconds: float) -> Rhythm:
    """The beats of a tempo, without any sound, for so many seconds from 0 on.

    offset: seconds of a beat that begins a bar. The envelope is a pulse on each beat that fades to 1/e
    in a tenth of a second; a bar begins with 1, its other beats have 0.6. Raises Error like `listen`.
    """
    _check(bpm, meter)
    beats = _steady(60 / bpm, offset, seconds)
    first = -round((beats[0] - offset) * bpm / 60) % meter if len(beats) else 0
    moments = np.arange(math.ceil(seconds * ENVELOPE_RATE)) / ENVELOPE_RATE
    last = np.searchsorted(beats - 0.5 / ENVELOPE_RATE, moments, side="right") - 1  # the nearest moment has all of it
    since = np.maximum(moments - beats[last], 0) if len(beats) else moments
    strength = np.where((last - first) % meter, 0.6, 1.0) * (last >= 0)
    return Rhythm(_times(beats), _times(beats[first::meter]), _times(strength * np.exp(-since / 0.1)))


def tempi(beats: Sequence[float]) -> tuple[float, ...]:
    """(beats a minute,); where they vary, (slowest, fastest); () of less than three beats."""
    if len(beats) < 3:
        return ()
    gaps = np.diff(beats)
    usual = np.median(np.lib.stride_tricks.sliding_window_view(gaps, min(_USUAL, len(gaps))), axis=1)
    slowest, fastest = 60 / float(usual.max()), 60 / float(usual.min())
    if fastest > _VARIES * slowest:
        return slowest, fastest
    return (60 / float(gaps[np.abs(gaps / np.median(gaps) - 1) < 0.1].mean()),)


def tempo(beats: Sequence[float]) -> str:
    """As in '120 beats a minute', or '100-140 beats a minute'; of three beats or more."""
    return f"{'-'.join(f'{bpm:.4g}' for bpm in tempi(beats))} beats a minute"


def _check(bpm: float | None, meter: int) -> None:
    if bpm is not None and not 0 < bpm < math.inf:
        raise Error(f"bpm {bpm:g} is not a tempo; give beats a minute, such as 128")
    if meter < 1:
        raise Error(f"meter {meter} is not a meter; give the beats in a bar, such as 4")


def _times(values: Sequence[float] | np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)


# Onsets

_HEARD: WeakKeyDictionary[Sound, tuple[np.ndarray, np.ndarray]] = WeakKeyDictionary()


def _heard(sound: Sound, report: Callable[[int], object] = lambda percent: None) -> tuple[np.ndarray, np.ndarray]:
    """(loudness, onsets), worked out once for as long as the sound is there: a second for three minutes."""
    if sound not in _HEARD:
        loudness = _loudness(sound, report)
        _HEARD[sound] = loudness, _onsets(loudness)
    return _HEARD[sound]


def _loudness(sound: Sound, report: Callable[[int], object]) -> np.ndarray:
    """(spectra, bands): about how loud each band is, relative to the sound's loudest moment.

    Spectrum k is of the moment (k - _LEAD) / _RATE, whatever the sample rate.
    """
    from scipy.fft import rfft  # of many short spectra in single precision it makes four while NumPy makes one

    samples = _finite(sound.samples)
    size = max(16, round(_WINDOW * sound.rate))
    n_fft = 1 << (size - 1).bit_length()
    window = np.hanning(size + 2)[1:-1].astype(np.float32)
    window *= 2 / window.sum()
    bands = _bands(np.fft.rfftfreq(n_fft, 1 / sound.rate))
    centres = np.round(np.arange(-_LEAD, len(samples) * _RATE / sound.rate) * sound.rate / _RATE).astype(int)
    before = size // 2 - centres[0]

    power = np.zeros((len(centres), _BANDS), np.float32)
    for number, channel in enumerate(samples.T):
        moments = np.lib.stride_tricks.sliding_window_view(np.pad(channel, (before, size)), size)
        for i in range(0, len(centres), _CHUNK):
            spectra = rfft(moments[centres[i : i + _CHUNK] - centres[0]] * window, n_fft)
            power[i : i + _CHUNK] += (spectra.real**2 + spectra.imag**2) @ bands / samples.shape[1]
            report(round(SPECTRA * (number + min(1, (i + _CHUNK) / len(centres))) / samples.shape[1]))
    loudest = power.sum(axis=1).max(initial=0)
    return (power / loudest) ** _LOUDNESS if loudest > _SILENCE else np.zeros_like(power)


def _finite(samples: np.ndarray) -> np.ndarray:
    """What is no number is silence."""
    samples = np.asarray(samples, np.float32)
    if np.isfinite(samples.min(initial=0)) and np.isfinite(samples.max(initial=0)):
        return samples
    return np.nan_to_num(samples, nan=0, posinf=0, neginf=0)


def _bands(hertz: np.ndarray) -> np.ndarray:
    """(frequencies, bands): how much of each frequency each band hears; nothing, where it is above what is given."""
    low, centre, high = _EDGES[:-2], _EDGES[1:-1], _EDGES[2:]
    rise, fall = (hertz[:, None] - low) / (centre - low), (high - hertz[:, None]) / (high - centre)
    return np.maximum(np.minimum(rise, fall), 0).astype(np.float32)


def _onsets(loudness: np.ndarray) -> np.ndarray:
    """(moments, bands): how much louder each band grows; moment k is k / _RATE.

    Louder than the band and its neighbours were before, so that a vibrato is not an onset (S. Boeck &
    G. Widmer, 'Maximum filter vibrato suppression for onset detection', DAFx 2013). Loudness grows
    fastest within 2 ms of where drums begin, so that no latency needs to be taken off.
    """
    from scipy.ndimage import maximum_filter1d

    before = maximum_filter1d(loudness, 3, axis=1)[_LEAD - _LAG : len(loudness) - _LAG]
    onsets = np.maximum(loudness[_LEAD:] - before, 0)
    onsets[-math.ceil(_WINDOW / 2 * _RATE) :] = 0  # that the sound breaks off there is none
    strength = onsets.sum(axis=1, keepdims=True)
    return onsets * np.maximum(1 - _RIPPLE * loudness.sum(axis=1).max(initial=0) / (strength + 1e-12), 0)


def _envelope(onsets: np.ndarray, loudness: np.ndarray) -> tuple[float, ...]:
    """Every second moment, with the stronger of its neighbours; what is always there is taken off.

    That the sound sets in, maybe in the midst of music, is no stronger than what begins in it.
    """
    strength = onsets.sum(axis=1)
    strength = np.maximum(strength - np.median(strength), 0) if len(strength) else strength
    strength[:_START] = np.minimum(strength[:_START], strength[_START:].max(initial=0))
    wide = np.pad(strength, (1, 2))
    wide = np.maximum(np.maximum(wide[:-2], wide[1:-1]), wide[2:])[: len(strength)]
    most = max(wide.max(initial=0), _WEAKEST * loudness.sum(axis=1).max(initial=0))
    return _times(wide[::2] / most if most else wide[::2])


# Beats


def _steady(period: float, first: float, seconds: float, early: float = 0.0) -> np.ndarray:
    """Every `period` from 0 on and before `seconds`, one of them at `first`. What is a little early is at 0."""
    k = np.arange(math.ceil((-first - early) / period - 1e-9), math.ceil((seconds - first) / period - 1e-9))
    return np.maximum(first + k * period, 0)


def _even(onsets: np.ndarray, bpm: float, offset: float | None, length: float) -> np.ndarray:
    """Beats of a known tempo, from `offset` or where most begins."""
    period = 60 / bpm
    if offset is not None:
        return _steady(period, offset, length)
    strength = _levelled(onsets.sum(axis=1))
    firsts = np.arange(0, min(period, length), 1 / _RATE)
    sums = [_at(strength, _steady(period, first, length)).sum() for first in firsts]
    beats = _fitted(strength, period, float(firsts[np.argmax(sums)]) if sums else 0.0, length)
    return _fitted(strength, period, beats[0] + period / 2, length) if _is_between(onsets, beats) else beats


def _fitted(strength: np.ndarray, period: float, first: float, length: float) -> np.ndarray:
    """Beats of this tempo, one of them about at `first`, moved together to where most begins near them."""
    beats = _steady(period, first, length)
    if not len(beats):
        return beats
    times, weights = _peaks(strength, beats)
    first = beats[0] + float(np.average(times - beats, weights=weights))
    first -= period * math.ceil(first / period - 1)  # the first that is not before the sound
    return _steady(period, 0.0 if period - first < EARLY / 2 else first, length)


def _follow(onsets: np.ndarray, loudness: np.ndarray, meter: int, length: float) -> list[np.ndarray]:
    """Beats as they are heard, piece by piece."""
    audible = np.flatnonzero(loudness[_LEAD:].sum(axis=1) > AUDIBLE**_LOUDNESS) / _RATE
    if not len(audible):
        return [np.zeros(0)]
    first, end = max(audible[0] - 0.03, 0), min(audible[-1] + 0.03, length - EARLY)
    pieces = [beats[(beats >= first) & (beats < end)] for beats in _pieces(onsets, meter)]
    return [beats for beats in pieces if len(beats)] or [np.zeros(0)]


def _heard_beats(onsets: np.ndarray, meter: int) -> np.ndarray:
    """A tempo, beats at about that tempo, and then their exact times; none where there is no pulse."""
    strength = _levelled(onsets.sum(axis=1))
    period = _period(strength, meter)
    if period is None:
        return np.zeros(0)
    slow = next((p for p in (2 * period, period) if 120 / FASTEST <= p <= 60 / SLOWEST), None)
    if slow is not None:
        period = slow / 2 if _is_half(onsets, _on_drums(onsets, strength, slow), meter) else slow
    beats = _exact(onsets, strength, _on_drums(onsets, strength, period), period)
    uneven = len(beats) > 2 and np.ptp(np.diff(beats)) > _STEADY
    return beats[:0] if uneven and _held(strength, beats, range(len(strength))) < _FAINT else beats


def _moved(beats: np.ndarray, offset: float | None, length: float) -> np.ndarray:
    """Beats that were heard, all sooner or later by so much that one of them is at `offset`, if none was near."""
    if offset is None or len(beats) < 2:
        return beats
    gaps = np.diff(beats)
    gap, nearest = float(np.median(gaps)), float(beats[np.argmin(np.abs(beats - offset))])
    if abs(offset - nearest) > gap and np.ptp(gaps) > _STEADY:
        return beats  # from so far nobody can tell
    apart = offset - nearest - gap * round((offset - nearest) / gap)
    if abs(apart) <= _APART:
        return beats
    room = [[beats[0] - gaps[0]], []] if apart > 0 else [[], [beats[-1] + gaps[-1]]]  # that they leave
    moved = np.concatenate([room[0], beats, room[1]]) + apart
    return moved[(moved > -EARLY) & (moved < length - EARLY)].clip(0)


def _levelled(strength: np.ndarray) -> np.ndarray:
    """Relative to the 8 seconds around, so that quiet passages have beats as well."""
    from scipy.ndimage import uniform_filter1d

    around = uniform_filter1d(strength.astype(float) ** 2, 8 * _RATE + 1, mode="constant")
    around = np.sqrt(np.maximum(around, 0))  # rounding can take a running sum below 0
    return strength / np.maximum(around, 0.02 * around.max(initial=0) + 1e-9)


def _at(strength: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The strongest within 20 ms of each time."""
    near = _near(strength)
    return near[np.clip(np.round(times * _RATE).astype(int), 0, len(near) - 1)]


def _near(strength: np.ndarray) -> np.ndarray:
    """The strongest within 20 ms of each moment."""
    from scipy.ndimage import maximum_filter1d

    return maximum_filter1d(strength, round(0.04 * _RATE) + 1)


def _period(strength: np.ndarray, meter: int) -> float | None:
    """Seconds of a beat, or of two or half a beat; None where nothing repeats.

    The one whose autocorrelation is largest at a beat, two, a bar and two bars: a dotted beat has
    onsets on its multiples too, but bars do not repeat there.
    """
    from scipy.ndimage import gaussian_filter1d

    x = gaussian_filter1d(strength - strength.mean(), 0.01 * _RATE) if len(strength) else strength
    size = min(int(len(x) * 0.75), int(_RATE * 2.1 * 60 / SLOWEST * meter))
    periods = np.exp(np.arange(math.log(60 / FASTEST), math.log(60 / SLOWEST), _FINE))
    if size < 2 * periods[0] * _RATE or not x.any():
        return None
    acf = np.fft.irfft(np.abs(np.fft.rfft(x, 2 * len(x))) ** 2)[:size] / (1 - np.arange(size) / len(x))
    lags = np.outer(sorted({1, 2, meter, 2 * meter}), periods) * _RATE
    likeness = np.interp(lags, np.arange(size), acf / acf[0], right=0).sum(axis=0) / (lags < size).sum(axis=0).clip(1)
    likeness[lags[1] >= size] = 0  # too long to be heard twice
    best = int(np.argmax(likeness))
    third = best - round(math.log(3) / _FINE)  # where three beats are as alike as one, one is the beat
    if third >= 4 and likeness[third - 4 : third + 5].max() > 0.95 * likeness[best]:
        best = third - 4 + int(np.argmax(likeness[third - 4 : third + 5]))
    return float(periods[best]) if likeness[best] > _PULSE else None


def _on_drums(onsets: np.ndarray, strength: np.ndarray, period: float) -> np.ndarray:
    """Seconds of beats about a period apart, and not those of hats between."""
    beats = _tracked(strength, period)
    return (beats[1:] + beats[:-1]) / 2 if _is_between(onsets, beats) else beats


def _is_half(onsets: np.ndarray, times: np.ndarray, meter: int) -> bool:
    """Whether these beats are every second one only.

    Then drums are as strong between beats as on them; and of two neighbours not one has the bass drum
    and the other the snare, which is how most music marks its beats. Weights: tests/benchmarks/beats.py.
    """
    if len(times) < 4:
        return False
    between = (times[1:] + times[:-1]) / 2
    drums = _drums(onsets, 0, 5000)
    filled = _at(drums, between).mean() / (_at(drums, times).mean() + 1e-9)
    alike = 0.5  # in bars of three, beats alternate anyway
    if meter % 2 == 0:
        kick, snare = _drums(onsets, *_KICK), _drums(onsets, *_SNARE)
        pairs = [_by_turns(x, times) for x in (kick, snare)]
        alike = min((less + 1e-9) / (more + 1e-9) for less, more in pairs)
        (_, kicks), (snares, most) = pairs
        backbeats = snares > 0.8 * most and snares > 3 * _by_turns(snare, between)[1]
        if backbeats and _by_turns(kick, between)[1] > _BACK * kicks:
            return True  # a snare on each, and bass drums between them: drum and bass
    tempo = 60 / float(np.median(np.diff(times)))
    return bool(1.2 * (min(filled, 1.2) - 0.5) + (alike - 0.5) > 0.3 * math.log2(tempo / 78))


def _by_turns(x: np.ndarray, times: np.ndarray) -> tuple[float, float]:
    """(less, more) of what is at every second of these times, and at the others."""
    less, more = sorted((_at(x, times[::2]).mean(), _at(x, times[1::2]).mean()))
    return float(less), float(more)


def _is_between(onsets: np.ndarray, times: np.ndarray) -> bool:
    """Whether the bass drum is between these beats: hats there can be stronger than a soft one.

    In the songs of tests/benchmarks/beats.py bass lines make it at most 1.3 times as strong there, and where hats were
    taken for beats it is 1.8 times at least. A bass note now and then is not enough.
    """
    if len(times) < 4:
        return False
    kick = _drums(onsets, *_KICK)
    between = _at(kick, (times[1:] + times[:-1]) / 2).mean()
    return bool(between > max(1.6 * _at(kick, times).mean(), 3))


def _drums(onsets: np.ndarray, low: float, high: float) -> np.ndarray:
    return _levelled(_of_bands(onsets, low, high).sum(axis=1))


def _of_bands(onsets: np.ndarray, low: float, high: float) -> np.ndarray:
    """Those with their centres from `low` Hz on and below `high`."""
    return onsets[:, (low <= _EDGES[1:-1]) & (_EDGES[1:-1] < high)]


def _tracked(strength: np.ndarray, period: float) -> np.ndarray:
    """Seconds of beats about a period apart: those with the most strength, less _TIGHT times the square of the
    logarithm by which each beat is longer or shorter (D. Ellis, 'Beat tracking by dynamic programming', 2007).

    A beat takes half a period at least, so that the moments of half a period know nothing of one another.
    """
    from scipy.ndimage import convolve1d

    beat = round(_RATE * period)
    near = np.exp(-0.5 * (np.arange(-beat, beat + 1) * 32 / beat) ** 2)
    local = convolve1d(strength / strength.std(ddof=1), near, mode="constant")
    gaps = np.arange(round(beat / 2), 2 * beat + 1)
    cost = _TIGHT * np.log(gaps / beat) ** 2
    sums = np.concatenate([np.full(gaps[-1], -math.inf), local])  # of the best beats up to one at each moment
    before = np.full(len(local), -1)
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


def _exact(onsets: np.ndarray, strength: np.ndarray, beats: np.ndarray, period: float) -> np.ndarray:
    """Beats on the straight line through all onsets near them, if they have one tempo; else through those
    of their neighbours. They go on at their tempo to both ends of the sound."""
    if len(beats) < 2:
        return np.zeros(0)
    k = np.concatenate([[0], np.cumsum(np.maximum(1, np.round(np.diff(beats) / period)))])
    times, weights = _peaks(strength, beats)
    even = _straight(k, times, weights, 0.7)
    if even is None:  # where a kick fades, hats between may have been taken for beats
        grid = _one_tempo(onsets, strength, period)
        even = _straight(np.arange(len(grid)), *_peaks(strength, grid), 0.9)
    if even is not None:
        return _steady(even[1], even[0], len(strength) / _RATE, EARLY)

    inner = []
    for i in np.arange(k[-1] + 1):
        near = np.abs(k - i) <= 4
        inner.append(_line(k[near] - i, times[near], weights[near] * (5 - np.abs(k[near] - i)))[0])
    head, tail = inner[1] - inner[0], inner[-1] - inner[-2]
    before = inner[0] - head * np.arange(1, inner[0] / head + 1)[::-1]
    after = inner[-1] + tail * np.arange(1, (len(strength) / _RATE - inner[-1]) / tail)
    beats = np.concatenate([before, inner, after])
    return np.maximum(beats[beats > -EARLY], 0)


def _straight(k: np.ndarray, times: np.ndarray, weights: np.ndarray, share: float) -> tuple[float, float] | None:
    """(start, step) of the line start + step * k, if this share of the times is on it."""
    start, step = _line(k, times, weights)
    off = np.abs(times - start - k * step)
    return (start, step) if weights[off < 0.015].sum() > share * weights.sum() else None


def _one_tempo(onsets: np.ndarray, strength: np.ndarray, period: float) -> np.ndarray:
    """Beats of the one tempo near this one whose half beats most onsets are on: where more begins, or the bass drum is."""
    count = 8 * len(strength)
    spectrum = np.fft.rfft(strength, count)
    low, high = (math.ceil(2 / period * by * count / _RATE) for by in (0.98, 1.02))
    at = low + int(np.argmax(np.abs(spectrum[low:high])))
    period = 2 * count / _RATE / at
    first = -float(np.angle(spectrum[at])) / (2 * math.pi) * period / 2
    length = len(strength) / _RATE
    beats, between = (_steady(period, start, length) for start in (first, first + period / 2))
    if _at(strength, between).sum() > _at(strength, beats).sum():
        beats, between = between, beats
    return between if _is_between(onsets, beats) else beats


def _peaks(strength: np.ndarray, beats: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(seconds, strength) of the strongest moment within 40 ms of each beat, by a parabola through three."""
    reach = round(0.04 * _RATE) + 1
    wide = np.pad(strength, (reach, reach + 1))
    near = np.round(beats * _RATE).astype(int)[:, None] + np.arange(2 * reach + 1)
    values = wide[np.minimum(near, len(wide) - 1)]
    best = values[:, 1:-1].argmax(axis=1) + 1
    a, b, c = (values[np.arange(len(beats)), best + side] for side in (-1, 0, 1))
    bend = np.maximum(2 * b - a - c, 1e-9)
    shift = np.clip(0.5 * (c - a) / bend, -0.5, 0.5)
    moments = near[:, 0] + best - reach + shift
    return np.where(b > 0, moments / _RATE, beats), b + 1e-6


def _line(k: np.ndarray, times: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """(start, step) of the line start + step * k that most of the times are on: least squares, thrice,
    each time without those farthest off."""
    kept = weights
    for _ in range(3):
        at, when = np.average(k, weights=kept), np.average(times, weights=kept)
        spread = (kept * (k - at) ** 2).sum()
        step = (kept * (k - at) * (times - when)).sum() / spread if spread else 0.0
        off = np.abs(times - when - step * (k - at))
        kept = weights * (off <= max(0.01, 2 * float(np.median(off))))
    return float(when - step * at), float(step)


# Tempi that change


def _pieces(onsets: np.ndarray, meter: int) -> list[np.ndarray]:
    """The beats of each piece that has a tempo of its own."""
    beats = _heard_beats(onsets, meter)
    at = _tempo_change(onsets, beats, meter)
    if at is None:
        return [beats]
    return [*_pieces(onsets[:at], meter), *(piece + at / _RATE for piece in _pieces(onsets[at:], meter))]


def _tempo_change(onsets: np.ndarray, beats: np.ndarray, meter: int) -> int | None:
    """The moment in which another tempo begins; None where these beats hold about as much of what begins as those that
    are heard in the parts before and after it, each for itself. So a drift stays one piece."""
    size = round(_PIECE * _RATE)
    if not len(beats) or len(onsets) < 2 * size:
        return None
    strength = _levelled(onsets.sum(axis=1))
    firsts = range(0, len(onsets) - size + 1, size // 4)
    parts = {first: _heard_beats(onsets[first : first + size], meter) + first / _RATE for first in firsts}
    most, found = 0.0, None
    for first in firsts[4:]:  # with a whole part before
        sooner, later = parts[first - size], parts[first]
        if min(len(sooner), len(later)) < 4 or _is_multiple(sooner, later):
            continue
        halves = range(first - size, first), range(first, first + size)
        own = [_held(strength, heard, half) for heard, half in zip((sooner, later), halves)]
        one = [min(_held(strength, beats, half), held) for half, held in zip(halves, own)]  # a half tempo may hold more
        if min(own) > _FAINT and sum(own) > max(most, _BETTER * sum(one)):
            most, found = sum(own), (sooner, later)
    return found and round((_seam(strength, *found) - EARLY) * _RATE)


def _held(strength: np.ndarray, beats: np.ndarray, moments: range) -> float:
    """How much stronger what begins in these moments is at beats than it is anywhere."""
    inside = beats[(beats * _RATE >= moments.start) & (beats * _RATE < moments.stop)]
    around = _near(strength[moments.start : moments.stop]).mean()
    return float(_at(strength, inside).mean() / (around + 1e-9)) if len(inside) else 0.0


def _is_multiple(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether beats are about as far apart as others, or two or three times: that is another hearing, no other tempo."""
    ratio = float(np.median(np.diff(a)) / np.median(np.diff(b)))
    return min(abs(math.log(ratio / times)) for times in (1 / 3, 1 / 2, 1, 2, 3)) < _OTHER


def _seam(strength: np.ndarray, sooner: np.ndarray, later: np.ndarray) -> float:
    """The seconds of the first of the later beats, where both go on into each other: up to there the sooner beats
    hold most, and from there on the later."""
    a, b = (float(np.median(np.diff(beats))) for beats in (sooner, later))
    usual = [_at(strength, beats).mean() for beats in (sooner, later)]
    sooner = np.append(sooner, sooner[-1] + a * np.arange(1, _PIECE / 2 / a))
    later = np.append(later[0] - b * np.arange(1, _PIECE / 2 / b)[::-1], later)
    before = np.append(0, np.cumsum(a * _at(strength, sooner) / usual[0]))
    after = np.cumsum((b * _at(strength, later) / usual[1])[::-1])[::-1]
    return float(later[np.argmax(before[np.searchsorted(sooner, later - b / 2)] + after)])


def _piece_of(pieces: list[np.ndarray], offset: float | None) -> int:
    """Which piece has this moment: the last that begins before it."""
    begun = [i for i, beats in enumerate(pieces) if offset is not None and len(beats) and beats[0] <= offset]
    return begun[-1] if begun else 0


def _joined(pieces: list[np.ndarray]) -> list[np.ndarray]:
    """Without the last beat of a piece where the next piece begins sooner than half of its own beats later."""
    return [*(a[a < b[0] - np.diff(b[:2]).sum() / 2] for a, b in pairwise(pieces)), pieces[-1]]


# Bars


def _downbeat(sound: Sound, onsets: np.ndarray, beats: np.ndarray, meter: int, offset: float | None) -> int:
    """Which beat begins the first bar: the one at `offset`, or as harmony, bass drum and snare have it."""
    if len(beats) < 2:
        return 0
    gap = float(np.median(np.diff(beats)))
    if offset is not None:
        k = int(np.argmin(np.abs(beats - offset)))
        return (k + round((offset - beats[k]) / gap)) % meter
    evidence = _evidence(sound, onsets, beats, meter)
    sums = [evidence[first::meter].mean() for first in range(min(meter, len(beats)))]
    # What begins on a beat and lasts a whole number of bars is a loop, mostly, that was cut where a bar begins.
    count = float(sound.seconds) / gap
    cut = beats[0] < _CUT * gap and abs(count - round(count)) < _CUT and round(count) % meter == 0
    sums[0] += _FIRST if cut else 0.05
    return int(np.argmax(sums))


def _evidence(sound: Sound, onsets: np.ndarray, beats: np.ndarray, meter: int) -> np.ndarray:
    """How much of each beat sounds like the first of a bar."""
    kick, snare = (_at(_drums(onsets, *band), beats) for band in (_KICK, _SNARE))
    harmony = _relative(_new_harmony(sound, beats, meter), least=_HARMONY)
    harmony = harmony.clip(max=2)  # lest one change outvote the rest
    return 2 * harmony + _relative(kick) - 0.5 * _relative(snare)


def in_three(sound: Sound, beats: Sequence[float]) -> bool:
    """Whether these beats are bars of three rather than of four: the variance of what sounds like a bar's first beat
    between places in a bar over that within them (R. A. Fisher's F). A fast waltz may be heard as bars of two dotted beats;
    then those that are heard as three."""
    if len(beats) < 4 * len(_METERS):
        return False
    loudness, onsets = _heard(sound)
    heard = [np.array(beats)]
    shorter = np.concatenate(_follow(onsets, loudness, 3, float(sound.seconds)))
    if len(shorter) > len(beats) and math.isclose(
        np.median(np.diff(shorter)), np.median(np.diff(heard[0])) * 2 / 3, rel_tol=0.02
    ):
        heard.append(shorter)
    for times in heard:
        evidence = _evidence(sound, onsets, times, 4)
        three, four = (_by_place(evidence, meter) for meter in _METERS)
        if three > _CLEAR * max(four, 1):
            return True
    return False


def _by_place(evidence: np.ndarray, meter: int) -> float:
    places = [evidence[first::meter] for first in range(meter)]
    between = sum(len(place) * (place.mean() - evidence.mean()) ** 2 for place in places) / (meter - 1)
    within = sum(((place - place.mean()) ** 2).sum() for place in places) / (len(evidence) - meter)
    return float(between / (within + 1e-9))


def _relative(x: np.ndarray, least: float = 1e-9) -> np.ndarray:
    """In deviations from the mean; one that is less says nothing."""
    return (x - x.mean()) / max(float(x.std()), least)


def _new_harmony(sound: Sound, beats: np.ndarray, meter: int) -> np.ndarray:
    """How unlike the notes from each beat on are to those before it: 1 - the cosine of their loudnesses by
    semitone, for a beat on both sides and for half a bar, summed."""
    from scipy.fft import rfft

    size = round(sound.rate * min(float(np.median(np.diff(beats))), 1.0))
    n_fft = 1 << size.bit_length()
    edges = np.clip(np.round(_NOTES * n_fft / sound.rate).astype(int), 0, n_fft // 2)
    window = np.hanning(size).astype(np.float32)[:, None]
    padded = np.pad(_finite(sound.samples), ((0, size), (0, 0)))
    notes = []
    for first in np.round(beats * sound.rate).astype(int):
        spectrum = rfft(padded[first : first + size] * window, n_fft, axis=0)
        power = np.concatenate([[0.0], np.cumsum((spectrum.real**2 + spectrum.imag**2).sum(axis=1))])
        notes.append(np.diff(power[edges]) ** _LOUDNESS)
    return _change(np.array(notes), 1) + _change(np.array(notes), max(2, meter // 2))


def _change(rows: np.ndarray, n: int) -> np.ndarray:
    """1 - the cosine between the sum of n rows from each row on and of the n before it; 0 for silence, and the mean for
    the first n, of which it says nothing."""
    padded = np.pad(rows, ((0, n), (0, 0)))
    sums = sum((padded[i : i + len(rows)] for i in range(n)), np.zeros_like(rows))
    loud = np.linalg.norm(sums, axis=1, keepdims=True)
    unit = sums / (loud + 1e-9)
    changes = (loud[n:, 0] > 0) * (1 - (unit[n:] * unit[:-n]).sum(axis=1))
    return np.concatenate([np.full(min(n, len(rows)), changes.mean() if len(changes) else 0.0), changes])

"""Makes loop.ogg: eight bars at 112 beats a minute, in stereo, for films that move to music.

    pip install soundfile
    python examples/make_loop.py [loop.ogg]

Everything is synthesised here and may be used freely. Sounds are placed on a ring: what rings on past the end
is heard at the start, so that the file loops without a gap. At 112 beats a minute, eight bars are exactly
756000 samples.
"""

import sys
from pathlib import Path

import numpy as np
import soundfile

RATE, BPM, BARS = 44100, 112, 8
BEAT = 60 / BPM
LENGTH = round(BARS * 4 * BEAT * RATE)
CHORDS = [(45, 60, 64, 67, 71), (41, 60, 64, 65, 69), (48, 55, 60, 64, 71), (43, 59, 62, 67, 69)]  # MIDI: Am9 F C G
ARPEGGIO = [0, 2, 1, 3, 2, 0, 3, 1]
rng = np.random.default_rng(112)


def hertz(note):
    return 440 * 2 ** ((note - 69) / 12)


def seconds(duration):
    return np.arange(int(duration * RATE)) / RATE


def between(low, high, x):
    """x without what is below `low` or above `high` Hz."""
    spectrum, f = np.fft.rfft(x), np.fft.rfftfreq(len(x), 1 / RATE)
    return np.fft.irfft(spectrum / np.sqrt((1 + (low / np.maximum(f, 1)) ** 6) * (1 + (f / high) ** 6)), len(x))


def kick():
    t = seconds(0.4)
    return np.sin(2 * np.pi * (48 * t + 4.5 * (1 - np.exp(-t / 0.025)))) * np.exp(-t / 0.13) * np.minimum(t / 0.001, 1)


def clap():
    t = seconds(0.3)
    hands = sum(
        np.where(t >= d, np.exp(-np.maximum(t - d, 0) / s), 0) for d, s in [(0, 0.006), (0.011, 0.006), (0.022, 0.06)]
    )
    return between(900, 7000, rng.normal(0, 0.5, len(t))) * hands


def hat(decay):
    t = seconds(0.3)
    return between(7500, 15000, rng.normal(0, 0.5, len(t))) * np.exp(-t / decay)


def bass(note, duration):
    t = seconds(duration)
    wave = sum(np.sin(2 * np.pi * hertz(note) * h * t) / h**1.6 for h in range(1, 7))
    return wave * np.minimum(t / 0.006, 1) * np.minimum((duration - t) / 0.03, 1) * np.exp(-t / 0.5)


def pluck(note):
    t = seconds(0.9)
    return sum(
        np.sin(2 * np.pi * hertz(note) * h * t) * np.exp(-t * (2 + 4 * h)) / h for h in range(1, 6)
    ) * np.minimum(t / 0.003, 1)


def pad(notes, duration):
    """(n, 2): each note twice, a little out of tune, one on each side; a soft attack and release."""
    t = seconds(duration + 0.5)
    shape = np.minimum(np.minimum(t / 0.15, 1), np.minimum((duration + 0.5 - t) / 0.5, 1))
    sides = []
    for detune in (0.9975, 1.0025):
        saws = [np.sin(2 * np.pi * hertz(n) * detune * h * t + n * h) / h**1.5 for n in notes for h in range(1, 8)]
        sides.append(between(150, 2500, np.sum(saws, axis=0)))
    return np.stack(sides, axis=1) * shape[:, None]


def put(ring, at_beat, wave, gain, pan=0.0):
    """Adds a sound at a beat; pan from -1 (left) to 1 (right), with constant power."""
    if wave.ndim == 1:
        angle = (pan + 1) * np.pi / 4
        wave = wave[:, None] * [np.cos(angle), np.sin(angle)]
    np.add.at(ring, (round(at_beat * BEAT * RATE) + np.arange(len(wave))) % LENGTH, gain * wave)


def main():
    drums, tune = np.zeros((LENGTH, 2)), np.zeros((LENGTH, 2))
    for bar in range(BARS):
        beat, (root, *notes) = 4 * bar, CHORDS[bar % 4]
        full = bar >= BARS // 2
        for k in range(4):
            put(drums, beat + k, kick(), 0.75)
        for k in (1, 3):
            put(drums, beat + k, clap(), 0.45)
        for k in range(8 if full else 4):
            step = k / 2 if full else k + 0.5
            put(drums, beat + step, hat(0.09 if step % 1 else 0.03), 0.3 if step % 1 else 0.17, 0.25)
        for step, length in [(0, 0.7), (1.5, 0.4), (2.5, 0.4), (3.5, 0.4)]:
            put(tune, beat + step, bass(root - 12, length * BEAT), 0.36)
        put(tune, beat, pad(notes, 4 * BEAT), 0.085)
        for k in range(8):
            if full or k % 4 in (0, 3):
                note = notes[ARPEGGIO[k]] + 12
                for echo, side in enumerate((-0.3, 0.7, -0.7)):
                    put(tune, beat + k / 2 + 0.75 * echo, pluck(note), 0.22 * 0.4**echo, side)
    if bar == BARS - 1:  # a fill that leads back
        for k, step in enumerate((3.25, 3.5, 3.75)):
            put(drums, 4 * bar + step, clap(), 0.2 + 0.08 * k, 0.2)

    # Everything but the drums makes room for the bass drum.
    beats = np.arange(LENGTH) / RATE / BEAT % 1
    tune *= (1 - 0.5 * np.exp(-beats / 0.18))[:, None]
    mix = np.tanh(1.1 * (drums + tune))
    mix *= 10 ** (-3 / 20) / np.abs(mix).max()

    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "loop.ogg"
    with soundfile.SoundFile(path, "w", RATE, 2, format="OGG", subtype="VORBIS", compression_level=0.55) as file:
        for i in range(0, LENGTH, 4096):  # all at once is too much for libsndfile's encoder
            file.write(mix[i : i + 4096])
    print(path)


if __name__ == "__main__":
    main()

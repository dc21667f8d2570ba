"""What is heard in a sound, against the beats that it was made with; and loops, against its own steps."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import mir_eval
import numpy as np
import pytest
from benchmarks.beats import HELD_OUT, TUNED, song
from scipy.signal import butter, sawtooth, sosfilt

from walk import Error, audio, excerpts
from walk.audio import ENVELOPE_RATE, grid, listen
from walk.beatfile import read_beats
from walk.sounds import Sound

RATE = 22050


def clicks(bpm, seconds=12.0, rate=RATE, first=0.25):
    """(a sound of short clicks, their seconds)."""
    times = np.arange(first, seconds - 0.02, 60 / bpm)
    samples = np.zeros((int(seconds * rate), 1), np.float32)
    for time in times:
        samples[round(time * rate) : round((time + 0.003) * rate)] = 0.8
    return Sound(samples, rate), times


def noise(seconds=5.0, channels=2, level=0.1, seed=0):
    return np.random.default_rng(seed).normal(0, level, (int(seconds * RATE), channels)).astype(np.float32)


def tone(hertz=440.0, seconds=5.0):
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)[:, None]


def f_measure(truth, heard):
    return mir_eval.beat.f_measure(*(mir_eval.beat.trim_beats(np.array(times)) for times in (truth, heard)))


# Beats


@pytest.mark.parametrize(
    ("bpm", "rate"), [(60, 22050), (83, 44100), (120, 48000), (147.3, 8000), (180, 44100), (60, 48000), (180, 22050)]
)
def test_every_click_is_a_beat_within_10_ms_and_nothing_else_is(bpm, rate):
    sound, times = clicks(bpm, rate=rate)
    beats = np.array(listen(sound).beats)
    assert len(beats) == len(times)
    assert np.abs(beats - times).max() < 0.01


@pytest.mark.parametrize("bpm", [60, 120, 180])
def test_the_envelope_peaks_within_a_sixtieth_of_a_second_of_clicks(bpm):
    sound, times = clicks(bpm)
    envelope = np.array(listen(sound).envelope)
    peaks = np.flatnonzero((envelope > 0.5) & (envelope >= np.roll(envelope, 1)) & (envelope > np.roll(envelope, -1)))
    assert len(peaks) == len(times)
    assert np.abs(peaks / ENVELOPE_RATE - times).max() < 1 / 60


@pytest.mark.parametrize("seed", range(4))
def test_beats_are_those_that_ellis_recursion_finds(seed):
    rng = np.random.default_rng(seed)
    strength, period = rng.random(1500) ** 8, rng.uniform(0.1, 0.8)
    beat, n = round(period * 200), len(strength)
    spread = np.arange(n)[:, None] - np.arange(n)
    local = (np.exp(-0.5 * (spread * 32 / beat) ** 2) * (abs(spread) <= beat)) @ strength / strength.std(ddof=1)
    sums, before = np.zeros(n), np.full(n, -1)
    for i in range(n):
        back = [
            (sums[i - gap] - 600 * np.log(gap / beat) ** 2, i - gap)
            for gap in range(round(beat / 2), min(2 * beat, i) + 1)
        ]
        best, before[i] = max(back, default=(0, -1))
        sums[i] = local[i] + best
    beats = audio._tracked(strength, period)
    moments = np.round(beats * 200).astype(int)
    assert moments[0] < 2 * beat
    assert [before[i] for i in moments[1:]] == moments[:-1].tolist()
    tops = [i for i in range(1, n) if sums[i] > sums[i - 1] and (i == n - 1 or sums[i] >= sums[i + 1])]
    assert moments[-1] == max(i for i in tops if sums[i] >= np.median(sums[tops]) / 2)


# The whole sweep is tests/benchmarks/beats.py; these are of tempi and seeds of their own.
SONGS = [
    ("four on the floor", 64, 44100),
    ("rock", 172, 22050),
    ("sixteenth hats", 88, 48000),
    ("half-time", 78, 22050),
    ("syncopated bass", 118, 44100),
    ("swing", 137, 22050),
    ("fade-in", 72, 22050),
    ("by hand", 157, 22050),
    ("disco", 126, 22050),
    ("waltz", 96, 22050),
    ("shuffle", 110, 22050),
    ("busy", 101, 22050),
    ("no drums", 86, 22050),
    ("soft kick", 124, 44100),
    ("soft kick", 93, 22050),
    ("soft kick", 150, 48000),
    ("falling kick", 124, 44100),
    ("loud hats", 69, 22050),
    ("loud hats", 86, 44100),
    ("drifting tempo", 134, 22050),
    ("drum and bass", 172, 22050),
    ("drum and bass", 160, 22050),
]


@pytest.mark.parametrize(("name", "bpm", "rate"), SONGS, ids=str)
def test_beats_and_bars_of_a_song_are_those_it_was_made_with(name, bpm, rate):
    style = (TUNED | HELD_OUT)[name]
    sound, beats, bars = song(style, bpm, rate, seconds=24, seed=1000 + bpm)
    heard = listen(sound, meter=style.get("meter", 4))
    assert f_measure(beats, heard.beats) > 0.95
    assert f_measure(bars, heard.bars) > 0.9
    assert audio.in_three(sound, heard.beats) == (name == "waltz")
    assert np.median([np.abs(np.array(heard.beats) - beat).min() for beat in beats]) < 0.012


@pytest.mark.parametrize(
    ("name", "bpm"),
    [
        *[("one tempo, then another", bpm) for bpm in (72, 126)],
        *[("then a little faster", bpm) for bpm in (97, 158)],
        *[("then by a third", bpm) for bpm in (72, 97, 158)],
    ],
)
def test_beats_and_bars_go_on_at_another_tempo_where_the_song_does(name, bpm):
    sound, beats, bars = song(HELD_OUT[name], bpm, RATE, seconds=36, seed=bpm)
    heard = listen(sound)
    assert f_measure(beats, heard.beats) > 0.97
    assert f_measure(bars, heard.bars) > 0.95


def test_each_of_three_tempi_is_heard_and_bars_are_counted_anew_in_it():
    parts = [clicks(bpm, 18, first=0.2)[0].samples for bpm in (90, 125, 104)]
    times = np.concatenate([18 * i + np.arange(0.2, 17.98, 60 / bpm) for i, bpm in enumerate((90, 125, 104))])
    heard = listen(Sound(np.concatenate(parts), RATE))
    assert f_measure(times, heard.beats) > 0.97
    assert max(np.diff(heard.beats)) < 1.0


def test_each_part_of_a_mix_of_many_tempi_is_listened_to_once(monkeypatch):
    """Before, again for every tempo that came before it: two hours took five minutes."""
    parts = [clicks(bpm, 36, first=0.2)[0].samples for bpm in (90, 125, 104, 141, 97, 118)]
    heard, beats_of = [], audio._beats
    monkeypatch.setattr(audio, "_beats", lambda onsets, meter: heard.append(len(onsets)) or beats_of(onsets, meter))
    listen(Sound(np.concatenate(parts), RATE))
    assert heard.count(12 * 200) <= 6 * 36 / 3


def test_an_offset_counts_the_bars_of_the_tempo_that_it_is_in():
    sound, _, _ = song(HELD_OUT["one tempo, then another"], 100, RATE, seconds=36, seed=1)
    heard = listen(sound)
    later = [i for i, beat in enumerate(heard.beats) if beat > 24]
    moved = listen(sound, offset=heard.beats[later[0]])
    assert moved.beats == heard.beats
    assert [bar for bar in moved.bars if bar > 24] == [heard.beats[i] for i in later[::4]]
    assert [bar for bar in moved.bars if bar < 15] == [bar for bar in heard.bars if bar < 15]


@pytest.mark.parametrize("seed", range(4))
def test_swelling_tones_in_faint_noise_have_no_beats(seed):
    """Before, 110 beats a minute or another tempo was heard in each."""
    generator, k = np.random.default_rng(seed), np.arange(40 * RATE) / RATE
    swell = [0.5 + 0.5 * np.sin(2 * np.pi * k / seconds + seconds) for seconds in (13, 17, 11, 19, 23, 20)]
    tones = [np.sin(2 * np.pi * hertz * k) for hertz in (110, 164.8, 220, 277, 330.3)]
    air = sosfilt(butter(2, [300, 1200], "band", fs=RATE, output="sos"), generator.normal(0, 0.2, len(k)))
    samples = sum(a * b for a, b in zip([*tones, air], swell)) * np.clip(np.minimum(k, 40 - k) / 8, 0, 1)
    assert listen(Sound((0.15 * samples[:, None]).astype(np.float32), RATE)).beats == ()


@pytest.mark.parametrize("bpm", [63, 78, 104, 128])
def test_beats_of_a_known_tempo_are_on_the_drums_and_not_on_louder_hats_between(bpm):
    sound, beats, _ = song(HELD_OUT["loud hats"], bpm, RATE, seconds=20, seed=bpm)
    assert f_measure(beats, listen(sound, bpm=bpm).beats) > 0.95


@pytest.mark.parametrize(("name", "bpm"), [("waltz", 72), ("waltz", 120), ("bossa", 72), ("rock", 72), ("busy", 120)])
def test_only_bars_of_three_sound_like_bars_of_three(name, bpm):
    """Nor do other songs: above."""
    sound, _, _ = song((TUNED | HELD_OUT)[name], bpm, RATE, seconds=24, seed=bpm)
    assert audio.in_three(sound, listen(sound).beats) == (name == "waltz")


def test_ten_minutes_tell_whether_a_mix_sounds_like_bars_of_three(monkeypatch):
    """Before, all of it was listened to once more, while the bar stood at 100 %."""
    times, tested = np.arange(0.25, 1200, 0.5), []
    sound = Sound(np.zeros((1200 * 400, 1), np.float32), 400)
    monkeypatch.setattr(audio, "_pieces", lambda onsets, meter: tested.append(len(onsets)) or [np.zeros(0)])
    monkeypatch.setattr(audio, "_evidence", lambda sound, onsets, beats, meter: tested.append(beats[-1]) or beats % 1)
    audio._FEATURES[sound] = np.ones((1200 * 200 + 8, 40)), np.ones((1200 * 200, 40))
    assert not audio.in_three(sound, times)
    assert max(tested[0] / 200, tested[1]) < 601


def test_too_few_beats_are_no_bars_of_three():
    sound, _ = clicks(120, seconds=2.0)
    assert not audio.in_three(sound, listen(sound).beats)


def test_in_silence_the_first_beat_of_a_tempo_begins_a_bar():
    heard = listen(Sound(np.zeros((8 * RATE, 1), np.float32), RATE), bpm=100)
    assert heard.bars[0] == heard.beats[0]


def test_a_beat_a_moment_before_the_sounds_end_is_none():
    """It was one of nine, half a millisecond before the end of four seconds, where a tone beside the drums moved it."""
    sound, times = clicks(120, seconds=8.5, first=0)
    for late in (-0.015, -0.001, 0.0, 0.001):
        part = Sound(sound.samples[: round((4 - late) * RATE)], RATE)
        assert len(listen(part).beats) == 8 == sum(times < 3.99)


def test_beats_are_heard_in_anti_phase_stereo_and_on_one_side():
    sound, times = clicks(100)
    for sides in ([1, -1], [1, 0]):
        beats = np.array(listen(Sound(sound.samples * np.float32(sides), RATE)).beats)
        assert len(beats) == len(times)
        assert np.abs(beats - times).max() < 0.01


def test_samples_that_are_no_numbers_move_no_beat():
    sound, times = clicks(100)
    for k, value in enumerate((np.nan, np.inf, -np.inf)):
        sound.samples[RATE * (k + 2) : RATE * (k + 2) + 50] = value
    assert f_measure(times, listen(sound).beats) == 1


def test_beats_end_with_the_sound_that_has_them():
    sound, times = clicks(120, seconds=8)
    beats = listen(Sound(np.pad(sound.samples, ((3 * RATE, 5 * RATE), (0, 0))), RATE)).beats
    assert len(beats) == len(times)
    assert beats[0] == pytest.approx(times[0] + 3, abs=0.01)


NOTHING = {
    "no samples": np.zeros((0, 2)),
    "one sample": np.ones((1, 1)),
    "less than a spectrum": noise(0.01),
    "silence": np.zeros((5 * RATE, 2)),
    "silence, dithered": np.random.default_rng(0).integers(-1, 2, (5 * RATE, 2)) / 32768,
    "a constant": np.full((5 * RATE, 1), 0.5),
    "a sine": tone(),
    "a low sine": tone(41.2),
    "a single click": np.eye(5 * RATE, 1, -2 * RATE),
    "noise": noise(),
    "a second of noise": noise(1),
    "no numbers": np.full((5 * RATE, 2), np.nan),
}


@pytest.mark.parametrize("samples", NOTHING.values(), ids=NOTHING)
def test_without_a_pulse_there_are_no_beats_and_nothing_fails(samples):
    sound = Sound(np.asarray(samples, np.float32), RATE)
    heard = listen(sound)
    assert heard.beats == heard.bars == ()
    assert len(heard.envelope) == -(-len(samples) * ENVELOPE_RATE // RATE) or len(heard.envelope) == 1
    assert all(0 <= value <= 1 for value in heard.envelope)
    even = listen(sound, bpm=120)
    assert len(even.beats) == int(np.ceil(len(samples) / RATE / 0.5 - 1e-9)) or even.beats[0] > 0


@pytest.mark.parametrize("name", ["silence", "silence, dithered", "no numbers", "a sine", "a constant"])
def test_the_envelope_of_what_never_begins_anything_is_zero(name):
    assert max(listen(Sound(np.asarray(NOTHING[name], np.float32), RATE)).envelope) < 0.01


def test_a_quiet_intro_does_not_dance():
    sound, _ = clicks(120, seconds=10)
    sound.samples[: 5 * RATE] *= 10 ** (-40 / 20)
    envelope = listen(sound).envelope
    quiet, loud = max(envelope[:490]), max(envelope[500:])
    assert 0 < quiet < 0.1
    assert loud == 1


def test_of_one_range_other_drums_are_faint():
    """Kicks and hats alternate."""
    k = np.arange(RATE // 5) / RATE
    kick, hat = (
        a * np.sin(2 * np.pi * hertz * k) * np.exp(-fade * k) for a, hertz, fade in ((0.7, 60, 14), (0.1, 8000, 60))
    )
    samples = np.zeros((6 * RATE, 1), np.float32)
    for i in range(11):
        samples[(i + 1) * RATE // 2 :][: len(k), 0] += hat if i % 2 else kick
    sound = Sound(samples, RATE)
    for part, loud in (("low", 0), ("high", 1)):
        near = np.array(audio.strength(sound, part))[:, None][50 * np.arange(1, 12)[:, None] + np.arange(-3, 4), 0]
        assert near.max(axis=1)[loud::2].min() > 4 * near.max(axis=1)[1 - loud :: 2].max(), part
    assert audio.strength(sound) == listen(sound).envelope


def test_what_nobody_hears_of_a_range_is_nothing_to_follow():
    bursts = noise(channels=1) * (np.arange(5 * RATE) % 3000 < 300)[:, None]
    assert not any(audio.strength(Sound(tone(220) + 1e-4 * bursts, RATE), "high"))
    assert any(audio.strength(Sound(tone(220) + 1e-1 * bursts, RATE), "high"))


def test_a_fast_waltz_that_is_heard_in_two_sounds_like_bars_of_three():
    """Its bass and chords fade so slowly that a bar is as good as two long beats."""
    k, beat = np.arange(RATE // 2) / RATE, 0.4

    def tone_of(hertz, level):
        return level * sawtooth(2 * np.pi * hertz * k) * np.exp(-4 * k) * (k < 0.5)

    kick = 0.8 * np.sin(2 * np.pi * (45 * k + 6.7 * (1 - np.exp(-18 * k)))) * np.exp(-9 * k) * (k < 0.25)
    chord = sum(tone_of(hertz, 0.12) * (k < 0.25) for hertz in (261.6, 329.6, 392))
    samples = np.zeros(round(72 * beat * RATE))
    for i in range(72):
        hit = chord if i % 3 else kick + tone_of([65, 49, 73, 55][i // 3 % 4], 0.7)
        start = round(i * beat * RATE)
        samples[start : start + len(k)] += hit[: len(samples) - start]
    sound = Sound(samples[:, None].astype(np.float32) / 2, RATE)
    assert audio.tempo(listen(sound).beats) == "100 beats a minute"
    assert audio.in_three(sound, listen(sound).beats)


def test_a_range_above_what_the_sound_can_hold_is_silent():
    assert max(audio.strength(Sound(noise(channels=1), 7000), "high")) == 0


def test_drums_are_onsets_and_vibrato_is_not():
    t = np.arange(8 * RATE) / RATE
    voice = sum(np.sin(h * (2 * np.pi * 300 * t + 4 * np.sin(2 * np.pi * 6 * t))) / h for h in range(1, 8)) * 0.2
    sound, times = clicks(60, seconds=8)
    envelope = np.array(listen(Sound(sound.samples + voice[:, None].astype(np.float32), RATE)).envelope)
    drums = np.abs(np.arange(len(envelope))[:, None] / ENVELOPE_RATE - times).min(axis=1) < 0.03
    drums[:5] = True  # the voice begins
    assert envelope[~drums].max() < 0.4 * np.median([envelope[round(t * ENVELOPE_RATE) - 2 :][:5].max() for t in times])


# What the user knows


def test_beats_of_a_known_tempo_are_exactly_even_and_where_the_onsets_are():
    sound, times = clicks(128)
    beats = listen(sound, bpm=128).beats
    assert np.diff(beats) == pytest.approx(60 / 128, abs=2e-4)
    assert np.abs(np.array(beats)[-len(times) :] - times).max() < 0.01
    assert len(listen(sound, bpm=64).beats) < 0.6 * len(beats)


@pytest.mark.parametrize("bpm", [100, 124, 140])
def test_a_loop_whose_beats_are_all_alike_begins_with_a_bar(bpm):
    """As it was cut; each beat's noise is another."""
    generator = np.random.default_rng(bpm)
    samples = np.zeros(round(32 * 60 / bpm * RATE))
    k = np.arange(RATE // 8) / RATE
    for i in range(32):
        hit = np.sin(2 * np.pi * 60 * k) * np.exp(-20 * k) + 0.2 * generator.normal(size=len(k)) * np.exp(-40 * k)
        samples[(start := round(i * 60 / bpm * RATE)) : start + len(k)] += hit
    heard = listen(Sound((0.5 * samples[:, None]).astype(np.float32), RATE))
    assert heard.beats[0] < 0.02
    assert heard.bars == heard.beats[::4]


@pytest.mark.parametrize(("bpm", "first"), [(93, 0.0), (100, 0.1), (120, 0.35), (128, 0.0), (140, 0.1)])
def test_of_drums_alone_the_loudest_kicks_begin_bars(bpm, first):
    seconds = np.arange(round(0.3 * RATE)) / RATE
    kick = np.sin(2 * np.pi * (50 * seconds + 2 * (1 - np.exp(-30 * seconds)))) * np.exp(-12 * seconds)
    samples, times = np.zeros(21 * RATE), np.arange(first, 20, 60 / bpm)
    for number, time in enumerate(times):
        start = round(time * RATE)
        samples[start : start + len(kick)] += kick * (0.55 if number % 4 else 0.9)
    bars = np.array(listen(Sound(samples[: 20 * RATE, None].astype(np.float32), RATE)).bars)
    assert len(bars) > 5
    assert np.abs(bars[:, None] - times[::4]).min(axis=1).max() < 0.03


def test_an_offset_is_a_beat_that_begins_a_bar():
    sound, _ = clicks(128)
    heard = listen(sound, bpm=120, offset=1.1)
    assert heard.beats[:4] == pytest.approx((0.1, 0.6, 1.1, 1.6))
    assert heard.bars[:2] == pytest.approx((1.1, 3.1))
    assert listen(sound, bpm=120, offset=1.1 - 40).bars == heard.bars


def test_an_offset_near_a_beat_says_only_where_bars_begin():
    sound, times = clicks(120)
    for offset in (times[2] + 0.04, times[2] - 0.04, times[2] + 2, times[2] - 2, times[2] + 60):
        heard = listen(sound, offset=offset)
        assert np.abs(np.array(heard.beats) - times).max() < 0.01
        assert heard.bars == heard.beats[2::4]


@pytest.mark.parametrize("first", [0.25, 0.6])
def test_beats_that_were_heard_elsewhere_than_the_user_says_are_moved_there_at_their_tempo(first):
    sound, times = clicks(97, first=first)
    gap = 60 / 97
    for offset in (times[3] + gap / 2, times[3] - 0.1, times[3] + 0.06, times[3] + gap / 3 - 40 * gap):
        heard = listen(sound, offset=offset)
        assert np.diff(heard.beats) == pytest.approx(gap, abs=2e-4)
        apart = (np.array(heard.beats) - offset) / gap
        assert np.abs(apart - np.round(apart)).max() * gap < 0.002
        assert heard.beats[0] < first + gap
        assert 12 - gap - 0.02 <= heard.beats[-1] < 12
        bars = (np.array(heard.bars) - offset) / (4 * gap)
        assert np.abs(bars - np.round(bars)).max() * gap < 0.002


def test_beats_of_a_drifting_tempo_are_moved_to_what_is_known_near_them_alone():
    sound = song(HELD_OUT["drifting tempo"], 110, RATE, 24, seed=3)[0]
    heard = np.array(listen(sound).beats)
    between = (heard[8] + heard[9]) / 2
    moved = np.array(listen(sound, offset=between).beats)
    assert np.abs(moved - between).min() < 1e-3
    assert abs(len(moved) - len(heard)) <= 1
    assert np.diff(moved) == pytest.approx(np.diff(heard)[: len(moved) - 1], abs=0.05)
    assert listen(sound, offset=between + 300).beats == tuple(heard)


def test_given_beats_are_the_beats():
    sound, _ = clicks(120)
    heard = listen(sound, beats=[0.5, 1.5, 2.25, 99.0], bars=[0.5, 99.0])
    assert heard.beats == (0.5, 1.5, 2.25)
    assert heard.bars == (0.5,)
    assert listen(sound, beats=[0.5, 1.5, 2.25], meter=2, offset=1.5).bars == (1.5,)


@pytest.mark.parametrize("options", [dict(bpm=0.0), dict(bpm=-1.0), dict(bpm=float("nan")), dict(meter=0)], ids=str)
def test_a_tempo_or_meter_that_is_none_is_refused(options):
    with pytest.raises(Error, match=r"give (beats a minute, such as 128|the beats in a bar)"):
        listen(clicks(120)[0], **options)


def test_a_grid_of_beats_does_not_drift():
    rhythm = grid(143.0, 3, 0.5, 3600.0)
    assert rhythm.beats[-1] == pytest.approx(0.5 - 60 / 143 + (len(rhythm.beats) - 1) * 60 / 143, abs=1e-4)
    assert len(rhythm.beats) == 3600 * 143 / 60
    assert rhythm.bars == rhythm.beats[1::3]


def test_a_grid_pulses_on_its_beats_and_most_on_bars():
    rhythm = grid(120.0, 4, 1.0, 8.0)
    assert rhythm.bars == (1, 3, 5, 7)
    assert len(rhythm.envelope) == 8 * ENVELOPE_RATE
    assert [rhythm.envelope[round(bar * ENVELOPE_RATE)] for bar in rhythm.bars] == [1] * 4
    assert rhythm.envelope[50] == 0.6
    assert rhythm.envelope[95] < 0.1
    assert grid(120.0, 4, 0.0, 0.0) == audio.Rhythm((), (), ())


# Files of beats

BEATS = {
    "plain": "0.5\n1.0\n\n1:01.5\n",
    "with comments": "# by ear\n0.5\r\n1.0\r\n61.5",
    "Audacity's labels": "0.500000\t0.500000\tA\n1.000000\t1.000000\tB\n61.500000\t61.500000\tC 1\n",
    "Audacity's, without names": "0.500000\t0.500000\t\n1.000000\t1.000000\t\n61.500000\t61.500000\t\n",
    "Sonic Visualiser's": 'TIME,LABEL\n0.5,"New Point"\n1.0,"128.1 bpm"\n61.5,\n',
}


@pytest.mark.parametrize("text", BEATS.values(), ids=BEATS)
def test_beats_are_read_as_other_tools_write_them(tmp_path, text):
    (tmp_path / "beats.txt").write_text(text)
    assert read_beats(tmp_path / "beats.txt") == ((0.5, 1.0, 61.5), None)


@pytest.mark.parametrize(
    "text", ["0.5\t3\n1.0\t4\n1.5\t1\n2.0\t2\n2.5\t1\n", "0.5 3.0\n1 4.0\n1.5 1.0\n2 2.0\n2.5 1.0"]
)
def test_numbered_beats_say_where_bars_begin(tmp_path, text):
    (tmp_path / "beats.txt").write_text(text)
    assert read_beats(tmp_path / "beats.txt") == ((0.5, 1.0, 1.5, 2.0, 2.5), (1.5, 2.5))


WRONG = {
    "0.5\nsoon\n": r"beats.txt:2: 'soon' does not begin with a time; a file of beats is",
    "0.5\n\n0.4\n": r"beats.txt:3: 0.4 is not after 0.5; beats must increase",
    "0.5\n0.5\n": r"beats.txt:2: 0.5 is not after 0.5",
    "0.5\n-1\n": r"beats.txt:2: '-1' does not begin with a time",
    "[00:12.00] a line of a song\n": r"beats.txt:1: '\[00:12.00\] a line",
    "# nothing\n\n": "beats.txt has no beats in it",
    "0.0,0.5,1.0\n": "beats.txt has one beat in it",
    "a cat\na dog\n": "beats.txt has no beats in it",
    "": "beats.txt has no beats in it",
    "0.5\0\n": "binary file",
    "9" * (1 << 21): "larger than a megabyte",
}


@pytest.mark.parametrize(("text", "message"), WRONG.items(), ids=map(str, range(len(WRONG))))
def test_errors_in_a_file_of_beats_name_the_line(tmp_path, text, message):
    (tmp_path / "beats.txt").write_text(text)
    with pytest.raises(Error, match=message):
        read_beats(tmp_path / "beats.txt")


def test_what_is_no_file_of_beats_is_refused(tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"0.5 \xe4\n")
    for path, message in (("latin.txt", "not UTF-8"), ("none.txt", "does not exist"), ("", "is a folder")):
        with pytest.raises(Error, match=message):
            read_beats(tmp_path / path)


# Parts and loops


def test_a_part_is_exact_to_the_sample_and_silent_beyond_the_sound():
    sound = Sound(noise(1), RATE)
    assert np.array_equal(excerpts.part(sound, 123, 4567).samples, sound.samples[123 : 123 + 4567])
    late = excerpts.part(sound, RATE - 10, 30).samples
    assert np.array_equal(late[:10], sound.samples[-10:])
    assert not late[10:].any()
    assert len(excerpts.part(sound, 5 * RATE, 7).samples) == 7


STYLES = list((TUNED | HELD_OUT).values())


def loops():
    """(sound, start, count) of many cuts: in the midst of a sound, at its beginning, at its end, and all of it."""
    rng = np.random.default_rng(1)
    for i in range(8):
        sound, _, bars = song(STYLES[2 * i], rng.uniform(60, 180), RATE, 12, seed=i)
        for k in range(6):
            start = round((bars[k % 2] if k < 2 else rng.uniform(0, 5)) * RATE)
            count = round(rng.uniform(0.2, 5) * RATE)
            yield sound, start, count
            yield Sound(sound.samples[start:], RATE), 0, count
            yield Sound(sound.samples[: start + count], RATE), start, count
            yield Sound(sound.samples[start : start + count], RATE), 0, count


def test_the_step_across_a_loops_seam_is_one_that_the_sound_has_anyway():
    plain = []
    for sound, start, count in loops():
        samples = excerpts.loop(sound, start, count).samples
        assert samples.shape == (count, 2)
        usual = np.quantile(np.abs(np.diff(samples, axis=0)), 0.99, axis=0)
        assert (np.abs(samples[0] - samples[-1]) <= usual).all()
        cut = excerpts.part(sound, start, count).samples
        plain.append((np.abs(cut[0] - cut[-1]) > usual).any())
    assert np.mean(plain) > 0.1  # so it would have clicked


def test_a_loops_first_beat_stays_as_it_is_where_the_sound_begins_before_it():
    sound = Sound(noise(4), RATE)
    samples = excerpts.loop(sound, RATE, 2 * RATE).samples
    fade = round(excerpts.FADE * RATE)
    assert np.array_equal(samples[:-fade], sound.samples[RATE : 3 * RATE - fade])


def test_a_loops_end_stays_as_it_is_where_only_after_it_there_is_more():
    sound = Sound(noise(4), RATE)
    samples = excerpts.loop(sound, 0, 2 * RATE).samples
    kept = slice(round(excerpts.FADE * RATE), -RATE // 1000)
    assert np.array_equal(samples[kept], sound.samples[: 2 * RATE][kept])


@pytest.mark.parametrize("start", [0, RATE])
def test_a_loop_is_as_loud_at_its_seam_as_elsewhere(start):
    def decibels(x):
        return 10 * np.log10((x**2).mean())

    fade = round(excerpts.FADE * RATE)
    seams = []
    for seed in range(20):
        samples = excerpts.loop(Sound(noise(4, seed=seed), RATE), start, 2 * RATE).samples
        twice = np.concatenate([samples, samples])
        seams.append(decibels(twice[2 * RATE - fade : 2 * RATE + fade]) - decibels(samples))
    assert abs(np.mean(seams)) < 0.3


def test_a_loop_that_meets_already_is_left_alone():
    t = np.arange(2 * RATE) / RATE
    tones = [np.sin(2 * np.pi * hertz * t + hertz) for hertz in (110, 220, 331, 440)]
    sound = Sound(0.2 * np.sum(tones, axis=0)[:, None].astype(np.float32), RATE)
    assert np.array_equal(excerpts.loop(sound, 0, len(t)).samples, sound.samples)


def test_a_part_of_what_repeats_is_closed_without_a_trace():
    t = np.arange(4 * RATE) / RATE
    sound = Sound((0.5 * np.sin(2 * np.pi * 100 * t))[:, None].astype(np.float32), RATE)
    samples = excerpts.loop(sound, RATE, RATE).samples
    assert samples == pytest.approx(sound.samples[:RATE], abs=1e-3)


def test_a_tone_that_meets_itself_upside_down_fades_through_silence():
    """Where its loop is half a wave too long: what swells there would click."""
    t = np.arange(4 * RATE) / RATE
    sound = Sound((0.3 * np.sin(2 * np.pi * 100 * t + 1))[:, None].astype(np.float32), RATE)
    samples = excerpts.loop(sound, RATE, RATE + RATE // 200).samples
    assert np.abs(np.diff(samples, axis=0)).max() < 1.5 * np.abs(np.diff(sound.samples, axis=0)).max()


def test_what_is_on_the_left_stays_there():
    samples = noise(4)
    samples[:, 1] = 0
    for start in (0, RATE):
        closed = excerpts.loop(Sound(samples, RATE), start, 2 * RATE).samples
        assert closed[:, 0].any()
        assert not closed[:, 1].any()


@pytest.mark.parametrize("count", [RATE - 60, RATE, RATE + 61])
def test_a_stretched_loop_has_the_same_waves_and_goes_on_without_a_seam(count):
    waves = np.column_stack([np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE) for hertz in (100, 7000)])
    loop = excerpts.stretch(Sound((0.5 * waves).astype(np.float32), RATE), count).samples
    assert loop.shape == (count, 2)
    spectra = 2 / count * np.abs(np.fft.rfft(loop, axis=0))  # to which a seam would be noise
    for channel, hertz in enumerate((100, 7000)):
        assert spectra[hertz, channel] == pytest.approx(0.5, abs=1e-3)
        assert np.delete(spectra[:, channel], hertz).max() < 1e-4


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_the_shortest_loops_have_as_many_samples_as_asked_for(count):
    for start in (0, 100):
        assert excerpts.loop(Sound(noise(1), RATE), start, count).samples.shape == (count, 2)
        assert excerpts.loop(Sound(noise(1)[:count], RATE), 0, count).samples.shape == (count, 2)


def test_importing_audio_imports_no_scipy():
    script = "import sys, walk.audio; print(sorted({'scipy', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip() == "[]"


def test_the_example_loop_has_its_tempo_and_meets_its_start():

    from walk.sounds import read_sound

    sound = read_sound(Path(__file__).parent.parent / "examples" / "loop.ogg")
    assert sound.samples.shape == (756000, 2)
    assert np.abs(sound.samples).max() < 10 ** (-1 / 20)
    heard = listen(sound)
    assert np.abs(np.array(heard.beats) - np.arange(32) * 60 / 112).max() < 0.01
    assert heard.bars == heard.beats[::4]
    assert np.array_equal(excerpts.loop(sound, 0, 756000).samples, sound.samples)
    assert all(b > a for a, b in pairwise(heard.beats))


def steep():
    """A second of one level, and a second of another."""
    return Sound(np.concatenate([np.full((RATE, 1), level, np.float32) for level in (0.5, -0.5)]), RATE)


def test_a_loop_of_all_of_a_sound_fades_within_five_milliseconds_at_its_ends():
    sound, fade = steep(), round(0.005 * RATE)
    samples = excerpts.loop(sound, 0, 2 * RATE).samples
    assert np.array_equal(samples[fade:-fade], sound.samples[fade:-fade])
    assert np.abs(np.diff(samples[:fade], axis=0)).max() < 0.01
    assert np.abs(np.diff(samples[-fade:], axis=0)).max() < 0.01
    assert abs(samples[0] - samples[-1]) < 0.01


def test_ten_milliseconds_before_a_loop_are_enough_to_fade_in_under_its_end():
    sound, before = steep(), RATE // 100
    samples = excerpts.loop(sound, before, len(sound.samples) - before).samples
    assert np.array_equal(samples[:-before], sound.samples[before:-before])


def test_a_part_after_a_sounds_end_is_silent():
    samples = excerpts.part(Sound(noise(1), RATE), RATE + 10, 100).samples
    assert samples.shape == (100, 2)
    assert not samples.any()


def test_of_a_loops_end_that_has_faded_well_nothing_more_is_bent():
    sound = Sound(noise(4), RATE)
    for start in range(RATE, RATE + 50):
        samples = excerpts.loop(sound, start, 2 * RATE).samples
        if not np.array_equal(samples, excerpts.part(sound, start, 2 * RATE).samples):
            assert samples[-1] == pytest.approx(sound.samples[start - 1], abs=0.02), start


@pytest.mark.parametrize("channels", [1, 2])
def test_how_much_was_heard_is_told_and_only_grows(channels):
    told = []
    noise = np.random.default_rng(0).normal(size=(60 * 8000, channels)).astype(np.float32)
    listen(Sound(noise, 8000), report=told.append)
    assert told == sorted(told)
    assert told[-1] == 100
    assert len(told) > 5 * channels

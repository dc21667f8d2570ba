"""How well are beats, tempo octaves and bars heard in music whose beats are known?

    pip install mir_eval
    nice python tests/benchmarks/beats.py [--styles rock ...] [--tempi 60 75 ...] [--seconds 30]

The music is synthesised here: drums (decaying tones and noises), bass, chords and a melody, with
uneven loudness and, in some styles, uneven time, as played by hand; then background noise. Styles
in TUNED were looked at while `walk.audio` was written, those in HELD_OUT were not, but for two things
learned there: that alternation says nothing in bars of three, and how weak the pulse of a drifting tempo is.
The last eight were users': 'soft kick', 'falling kick' (to half its strength in the middle of the song) and 'loud hats',
whose beats were heard on the hats; 'drum and bass' and 'double time', on the snares; and songs that go on at another
tempo halfway.

Prints a line a style, then one JSON line: for each style and for all, the mean and least F-measure
of the beats (70 ms, the first 5 s left out: mir_eval's defaults), the median error of those that
were found, the share of songs with the right tempo, and the share of songs whose bars were right.
"""

import argparse
import functools
import json
import time
from collections.abc import Callable
from typing import Any

import mir_eval
import numpy as np
from scipy.signal import butter, sosfilt

from walk import audio
from walk.sounds import Sound

# A bar in steps: 4 a beat, or 3 where `triplets`. X loud, x normal, o soft.
TUNED: dict[str, dict[str, Any]] = {
    "four on the floor": dict(kick="X...X...X...X...", clap="....x.......x...", hat="..x...x...x...x.", bass="..x...x...x...x."),
    "rock": dict(kick="X.......X.......", snare="....X.......X...", hat="x.o.x.o.x.o.x.o.", bass="x...o...x...o..."),
    "rock, eighth bass": dict(kick="X.....x.X.......", snare="....X.......X...", hat="x.o.x.o.x.o.x.o.", bass="x.x.x.x.x.x.x.x."),
    "sixteenth hats": dict(kick="X.......X.x.....", snare="....X.......X...", hat="xooo" * 4, bass="x.....x.x......."),
    "half-time": dict(kick="X...............", snare="........X.......", hat="x...x...x...x...", bass="x.........x....."),
    "syncopated bass": dict(kick="X.....x...x.....", snare="....X.......X...", hat="x.x.x.x.x.x.x.x.", bass="x..x..x...x.x.x."),
    "swing": dict(triplets=True, kick="X.....X.....", snare="...x.....x..", hat="x.xx.xx.xx.x", bass="x..x..x..x.."),
    "pad and melody": dict(kick="X.......X.......", snare="....o.......o...", melody=0.8, pad=0.5, noise=0.03),
    "fade-in": dict(kick="X.......X.......", snare="....X.......X...", hat="x.x.x.x.x.x.x.x.", bass="x.......x.......", fade=12.0),
    "by hand": dict(kick="X.....o.X.......", snare="....X..o....X...", hat="x.o.x.o.x.o.x.o.", bass="x...x...x...x...", loose=0.008, melody=0.3),
}  # fmt: skip
HELD_OUT: dict[str, dict[str, Any]] = {
    "disco": dict(kick="X...X...X...X...", snare="....X.......X...", hat="xxoxxxoxxxoxxxox", bass="x.o.x.o.x.o.x.o.", pad=0.2),
    "two-step": dict(kick="X.........X.....", snare="....X.......X...", hat="x.x.x.x.x.x.x.x.", bass="x.....x...x.....", pad=0.2),
    "bossa": dict(kick="X..xX..xX..xX..x", clap="x..x..x...x..x..", hat="xoxoxoxoxoxoxoxo", bass="x..xx..xx..xx..x", pad=0.15),
    "one drop": dict(kick="........X.......", snare="........X.......", hat="x.x.x.x.x.x.x.x.", bass="x..x..x.....x...", pad=0.1),
    "waltz": dict(meter=3, kick="X...........", snare="....o...o...", bass="x...........", pad=0.2, melody=0.4),
    "shuffle": dict(triplets=True, kick="X.....X..o..", snare="...X.....X..", hat="x.xx.xx.xx.x", bass="x.xx.xx.xx.x", melody=0.3),
    "pumping pad": dict(kick="X...X...X...X...", pad=0.6, bass="..x...x...x...x.", noise=0.02),
    "no drums": dict(bass="x.......x.......", melody=0.9, pad=0.2),
    "busy": dict(kick="X..x..x...x..x..", snare="....X..o.o..X..o", hat="xoxoxoxoxoxoxoxo", bass="x.xx.x.xx.xx.x.x", melody=0.7, noise=0.03),
    "soft kick": dict(kick="X...X...X...X...", hat="..X...X...X...X.", bass="..x...x...x...x.", soft=0.012),
    "falling kick": dict(kick="X...X...X...X...", hat="..X...X...X...X.", bass="..x...x...x...x.", fall=0.5),
    "loud hats": dict(kick="X.......X.......", snare="....o.......o...", hat="..X...X...X...X.", pad=0.4, loud=3.0, soft=0.012),
    "drifting tempo": dict(kick="X.......X.......", snare="....X.......X...", hat="x.o.x.o.x.o.x.o.", bass="x...o...x...o...", drift=0.05, loose=0.005),
    "drum and bass": dict(kick="x.........x.....", snare="....X..o....X..o", hat="o.o.o.o.o.o.o.o.", bass="x...............", pad=0.2),
    "double time": dict(kick="X.........X.....", snare="....X.......X...", hat="o.o.o.o.o.o.o.o.", bass="x.........x....."),
    "one tempo, then another": dict(kick="X...X...X...X...", snare="....x.......x...", hat="..x...x...x...x.", bass="..x...x...x...x.", pad=0.2, then=1.4),
    "then a little faster": dict(kick="X.......X.......", snare="....X.......X...", hat="x.o.x.o.x.o.x.o.", bass="x...o...x...o...", then=1.1),
    "then by a third": dict(kick="X.....x.X.......", snare="....X.......X...", hat="x.x.x.x.x.x.x.x.", bass="x.x.x.x.x.x.x.x.", pad=0.2, loose=0.004, then=4 / 3),
}  # fmt: skip
LEVELS = {"X": 1.0, "x": 0.7, "o": 0.35}
RATES = (44100, 22050, 48000)


def song(style: dict[str, Any], bpm: float, rate: int = 44100, seconds: float = 30, seed: int = 0):
    """(sound, beats, bars): a stereo Sound in this style, and the seconds of its beats and first beats."""
    rng = np.random.default_rng(seed)
    n = int(rate * seconds)
    out = np.zeros((n + 2 * rate, 2))
    meter, steps = style.get("meter", 4), 3 if style.get("triplets") else 4
    kit = _kit(rng, rate, style.get("soft", 0.001))
    roots = 41.2 * 2 ** (rng.choice([0, 3, 5, 7, 8, 10], 64) / 12)
    roots[1:] = np.where(roots[1:] == roots[:-1], roots[1:] * 2 ** (2 / 12), roots[1:])

    step = 60 / bpm / steps
    then = style.get("then", 1.0)
    then = then if bpm * then <= audio.FASTEST else 1 / then
    count = int(seconds / step * max(then, 1)) + 1
    speed = 1 + style.get("drift", 0) * np.sin(2 * np.pi * np.arange(count) * step / 25 + rng.uniform(0, 6))
    speed[round(seconds / 2 / step / meter / steps) * meter * steps :] *= then
    first = rng.uniform(0, 0.5)
    times = first + np.concatenate([[0], np.cumsum(step / speed)[:-1]])
    bar_steps = meter * steps

    def play(at: float, wave: np.ndarray, level: float, pan: float = 0.0) -> None:
        at += rng.normal(0, style.get("loose", 0))
        i = max(0, round(at * rate))
        if i < n:
            wave = wave[: len(out) - i] * level * rng.uniform(0.85, 1.1)
            out[i : i + len(wave), 0] += wave * (1 - max(pan, 0))
            out[i : i + len(wave), 1] += wave * (1 + min(pan, 0))

    for k, at in enumerate(times):
        place, root = k % bar_steps, roots[k // bar_steps % 64]
        for name, (wave, gain, pan) in kit.items():
            if mark := style.get(name, "").replace(".", " ").ljust(bar_steps)[place].strip():
                fallen = style.get("fall", 1.0) if name == "kick" and at > seconds / 2 else 1.0
                louder = style.get("loud", 1.0) if name == "hat" else 1.0
                play(at, wave, gain * LEVELS[mark] * fallen * louder, pan)
        if mark := style.get("bass", "").replace(".", " ").ljust(bar_steps)[place].strip():
            play(at, _tone(root, 0.9 * 60 / bpm, rate, 6, 0.01), 0.35 * LEVELS[mark])
        if style.get("pad") and place == 0:
            for ratio in (4, 4 * 2 ** (4 / 12), 4 * 2 ** (7 / 12)):
                play(at, _pad(root * ratio, bar_steps * step, rate), style["pad"] * 0.3, rng.uniform(-0.6, 0.6))
        if place % (steps // 2 or 1) == 0 and rng.random() < style.get("melody", 0) * (0.6 if place % steps else 1):
            play(at, _tone(root * 8 * 2 ** (rng.choice([0, 3, 5, 7, 10]) / 12), 0.5, rate, 4, 0.008), 0.25, 0.3)

    out = out[:n] / np.abs(out[:n]).max() * 0.8
    out += rng.normal(0, style.get("noise", 0.003), out.shape)
    if fade := style.get("fade"):
        out *= np.clip(np.arange(n) / rate / fade, 0, 1)[:, None] ** 2
    beats, bars = times[::steps], times[::bar_steps]
    sound = Sound(np.clip(out, -1, 1).astype(np.float32), rate)
    return sound, beats[beats < seconds - 0.05], bars[bars < seconds - 0.05]


def _kit(rng: np.random.Generator, rate: int, soft: float) -> dict[str, tuple[np.ndarray, float, float]]:
    """(wave, gain, pan) of each drum; tuned a little differently for each song. soft: seconds of the kick's attack."""
    t = np.arange(int(0.4 * rate)) / rate
    noise = rng.normal(0, 0.4, len(t))
    attack = np.minimum(t / 0.001, 1)
    low, high = rng.uniform(42, 60), rng.uniform(120, 250)
    kick = np.sin(2 * np.pi * (low * t + high * 0.02 * (1 - np.exp(-t / 0.02)))) * np.exp(-t / rng.uniform(0.06, 0.14))
    snare = _above(1200, noise, rate) * np.exp(-t / rng.uniform(0.05, 0.09))
    snare += 0.5 * np.sin(2 * np.pi * rng.uniform(160, 220) * t) * np.exp(-t / 0.05)
    clap = _above(900, noise, rate) * sum(np.where(t >= d, np.exp(-(t - d) / 0.02), 0) for d in (0, 0.008, 0.016))
    hat = _above(7000, noise, rate) * np.exp(-t / rng.uniform(0.02, 0.05))
    kick *= np.minimum(t / soft, 1)
    levels = {"kick": (kick, 0.9), "snare": (snare, 0.7), "clap": (clap, 0.4), "hat": (hat, 0.35)}
    return {
        name: (wave * (attack if name != "kick" else 1), gain, rng.uniform(-0.3, 0.3) * (name != "kick"))
        for name, (wave, gain) in levels.items()
    }


def _above(hertz: float, x: np.ndarray, rate: int) -> np.ndarray:
    return sosfilt(butter(2, hertz, "high", fs=rate, output="sos"), x)


@functools.lru_cache(maxsize=64)  # a song has few of them, and many times
def _tone(hertz: float, seconds: float, rate: int, harmonics: int, attack: float) -> np.ndarray:
    t = np.arange(int(seconds * rate)) / rate
    wave = sum(np.sin(2 * np.pi * hertz * h * t) / h for h in range(1, harmonics + 1) if hertz * h < rate / 2)
    return wave * np.minimum(t / attack, 1) * np.exp(-2 * t / seconds) * np.minimum((seconds - t) / 0.01, 1)


@functools.lru_cache(maxsize=16)  # and chords
def _pad(hertz: float, seconds: float, rate: int) -> np.ndarray:
    t = np.arange(int(seconds * rate)) / rate
    wave = sum(np.sin(2 * np.pi * hertz * d * t) + 0.4 * np.sin(4 * np.pi * hertz * d * t) for d in (0.997, 1.003))
    return wave * np.minimum(1, np.minimum(t, seconds - t) / min(0.15, seconds / 4))


def marks(
    sound: Sound, beats: np.ndarray, bars: np.ndarray, meter: int, listen: Callable = audio.listen
) -> dict[str, float]:
    """What is right and wrong in what was heard."""
    heard = listen(sound, meter=meter)
    found = mir_eval.beat.trim_beats(np.array(heard.beats))
    truth = mir_eval.beat.trim_beats(beats)
    f = mir_eval.beat.f_measure(truth, found)
    errors = [np.abs(found - t).min() for t in truth] if len(found) else [1.0]
    near = [e for e in errors if e < 0.07] or [1.0]
    bar_f = mir_eval.beat.f_measure(mir_eval.beat.trim_beats(bars), mir_eval.beat.trim_beats(np.array(heard.bars)))
    tempo = np.median(np.diff(truth)) / np.median(np.diff(found)) if len(found) > 1 else 0
    return {"f": f, "bars": bar_f, "error_ms": 1000 * float(np.median(near)), "tempo": float(tempo)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--styles", nargs="*", default=[*TUNED, *HELD_OUT])
    parser.add_argument(
        "--tempi", nargs="*", type=float, default=[60, 67, 75, 84, 93, 104, 112, 120, 128, 140, 152, 166, 180]
    )
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    begun, result = time.perf_counter(), {}
    for group, styles in (("tuned", TUNED), ("held out", HELD_OUT)):
        rows = []
        for name in [name for name in options.styles if name in styles]:
            style = styles[name]
            mine = []
            for i, bpm in enumerate(options.tempi):
                made = song(style, bpm, RATES[i % 3], options.seconds, options.seed + i)
                mine.append(marks(*made, style.get("meter", 4)))
            wrong = [f"{bpm:.0f}x{m['tempo']:.2f}" for bpm, m in zip(options.tempi, mine) if m["f"] < 0.95]
            lost = [f"{bpm:.0f}" for bpm, m in zip(options.tempi, mine) if m["f"] >= 0.95 and m["bars"] < 0.9]
            result[name] = summary(mine)
            rows += mine
            print(f"{name:20}", result[name], "wrong:", *wrong, "| bars:", *lost, flush=True)
        if rows:
            result[group] = summary(rows)
    result["seconds"] = round(time.perf_counter() - begun)
    print(json.dumps(result))


def summary(rows: list[dict[str, float]]) -> dict[str, float]:
    f = [row["f"] for row in rows]
    return {
        "mean": round(float(np.mean(f)), 3),
        "least": round(min(f), 3),
        "error_ms": round(float(np.median([row["error_ms"] for row in rows])), 1),
        "tempo": round(float(np.mean([abs(row["tempo"] - 1) < 0.04 for row in rows])), 3),
        "bars": round(float(np.mean([row["bars"] > 0.9 for row in rows])), 3),
    }


if __name__ == "__main__":
    main()

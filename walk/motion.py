"""The walk that flags ask for: which position each frame shows, with a sound or a tempo or without.

Knows flags and music; no files but the sound's, and no models.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from walk import Error, Walk, flags, formats, lyrics, pace, rates, recipe, sounds, timeline
from walk.flags import given
from walk.keyframes import Keyframe, prompt_file
from walk.progress import Listener
from walk.rates import METER
from walk.text import format_time, plural, short

if TYPE_CHECKING:
    from walk.music import Music, Request

RHYTHM = {"audio", "bpm", "beats"}  # flags with which a film has beats
LANDING = ("beat", "bar")  # paces that land on something
INAUDIBLE = 0.02  # of a bar: so much more or less of a loop nobody hears


def paces(chosen: dict[str, Any]) -> tuple[str, str]:
    """How the prompts move, and how the noise does."""
    prompts = chosen.get("pace", "energy" if "audio" in chosen and not chosen.get("ease") else "even")
    return prompts, chosen.get("pace_noise", prompts)


def pace_of_each(chosen: dict[str, Any], keyframes: Sequence[Keyframe]) -> list[str]:
    """How the prompts move from each keyframe to the next."""
    return [keyframe.pace or paces(chosen)[0] for keyframe in keyframes]


def used_paces(chosen: dict[str, Any], keyframes: Sequence[Keyframe]) -> set[str]:
    """All paces of a film: the flags', and those that keyframes have of their own."""
    own = {keyframe.pace for keyframe in keyframes if keyframe.pace is not None}
    return own | set(paces(chosen))


def pulses(chosen: dict[str, Any], keyframes: Sequence[Keyframe]) -> bool:
    """Whether the noise swings with the music anywhere."""
    return any(_depths(chosen, keyframes))


def _depths(chosen: dict[str, Any], keyframes: Sequence[Keyframe]) -> list[float]:
    """How far the noise swings from each keyframe to the next."""
    return [chosen.get("pulse", 0.0) if keyframe.pulse is None else keyframe.pulse for keyframe in keyframes]


def find_music(
    chosen: dict[str, Any], keyframes: Sequence[Keyframe], out: Path, folder: Path, listener: Listener
) -> Music | None:
    """What the film moves to, if anything: heard, told of, and kept in the run folder."""
    if not RHYTHM & set(chosen):
        return None
    from walk.music import hear, tempo

    request = _request(chosen, keyframes)
    music = hear(Path(chosen["audio"]), request, folder, listener) if "audio" in chosen else tempo(request)
    bars = request.bars or music.bars
    listener.say(_summary(music, chosen, bars))
    if not music.rhythm.beats:
        _check_needs_no_beats(music, chosen, keyframes)
    for note in _notes(music, chosen, bars, out):
        listener.note(note)
    if music.sound and formats.holds_sound(out):
        rate = formats.sound_rate(out, music.sound.rate)
        if rate != music.sound.rate:
            listener.say(f"{out.suffix} cannot hold {music.sound.rate} samples a second: the film will have {rate}")
    return music


def _check_needs_no_beats(music: Music, chosen: dict[str, Any], keyframes: Sequence[Keyframe]) -> None:
    """Raise Error for a pace that lands on beats, of which the film has none."""
    of_all = zip(("--pace ", "--pace-noise "), paces(chosen))
    for what, name in (*of_all, *(("pace=", keyframe.pace) for keyframe in keyframes)):
        if name not in LANDING:
            continue
        if "beats" in chosen:
            none = (
                f"none of the beats in {chosen['beats']} comes in the {format_time(float(music.seconds))} of the film"
            )
            better = "give another part, or" if "audio" in chosen else "make it longer, or give"
        else:
            none, better = f"no beats are heard in {music.name}", "give --bpm, or"
        raise Error(f"{none}, and {what}{name} moves on them; {better} another {what.strip()}")


def _request(chosen: dict[str, Any], keyframes: Sequence[Keyframe]) -> Request:
    """What a film asks of a sound or a tempo. A tempo is as long as the keyframes need it, unless flags say how long."""
    from walk.music import Request

    asked = given(chosen, "start", "seconds", "frames", "bars", "meter", "bpm", "offset", "listen", closed="loop")
    if {"seconds", "bars"} & set(chosen):  # which say how long it is; --frames may agree
        asked.pop("frames", None)
    if "beats" in chosen:
        asked["beats"] = Path(chosen["beats"])
    if "audio" not in chosen and "frames" in asked:
        asked["seconds"] = asked.pop("frames") / chosen["fps"]
    request = Request(chosen["fps"], **asked, strength=pulses(chosen, keyframes))
    if "audio" in chosen or request.bpm is None or request.seconds is not None or request.bars is not None:
        return request
    bars = _bars_needed(keyframes, request.closed, request.bpm, request.beats_per_bar)
    return dataclasses.replace(request, bars=bars)


def _bars_needed(keyframes: Sequence[Keyframe], closed: bool, bpm: Fraction, meter: int) -> int:
    """How many bars of a tempo a film needs: one for each pair of keyframes, but enough for those that say when they come."""
    beats, needed = 60 / bpm, [len(keyframes) - 1 + closed]
    for k, keyframe in enumerate(keyframes):
        following = len(keyframes) - 1 - k + closed
        for unit, number in (
            *((unit, getattr(keyframe, unit)) for unit in ("time", "beat", "bar")),
            (keyframe.until_in, keyframe.until),
        ):
            if number and unit == "time":
                needed.append(math.ceil(Fraction(repr(number)) / beats / meter) + following)
            elif number:
                each = meter if unit == "beat" else 1
                needed.append(max(math.ceil(number / each), math.ceil((number - 1) / each) + following))
    return max(needed)


def _summary(music: Music, chosen: dict[str, Any], bars: float) -> str:
    """'song.mp3: 1:02.5, from 0:10 on, 120 beats a minute, 31 bars'"""
    from walk import audio

    beats = music.rhythm.beats
    parts = [format_time(float(music.seconds))]
    if music.sound and music.start != chosen.get("start", 0):
        parts.append(f"from {format_time(float(music.start))} on")
    if len(beats) > 2 and (music.sound or "beats" in chosen):  # else the tempo is its name
        parts.append(audio.tempo(beats))
    if not beats:
        parts.append("no beats")
    elif bars:
        parts.append(_bars(bars))
    return f"{music.name}: {', '.join(parts)}"


def _bars(count: float) -> str:
    if abs(count - round(count)) < INAUDIBLE:
        return plural(round(count), "bar")
    text = f"{count:.1f}"
    return f"about {plural(round(count), 'bar')}" if text.endswith(".0") else f"{text} bars"


def _notes(music: Music, chosen: dict[str, Any], bars: float, out: Path) -> Iterator[str]:
    """What may surprise in how the film moves to it, and in how it plays it."""
    if chosen.get("loop"):
        yield from _stumbles(music, bars, chosen.get("meter", METER))
    yield from music.notes
    if music.sound and not formats.holds_sound(out):
        yield f"{out.suffix or 'a folder'} has no sound: the film moves to {music.name} without playing it"
    elif music.sound:
        yield from filter(None, (sounds.muffling_note(out, music.sound), sounds.clipping_note(music.name, music.sound)))


def _stumbles(music: Music, bars: float, meter: int) -> Iterator[str]:
    """A note if a loop is not of whole bars; one of less than two, of whole beats."""
    beats = music.rhythm.beats
    if abs(bars - round(bars)) >= INAUDIBLE:
        whole = music.whole_bars if music.sound else round(bars)  # a sound has no more of them
        better = f"; --bars {whole} ends on a bar line" if whole else ""
        yield f"the loop is {_bars(bars)} long, so the beat stumbles where it begins again{better}"
    if not bars and len(beats) > 1:
        beat = beats[1] - beats[0]
        count = float(music.seconds) / beat
        if abs(count - round(count)) >= INAUDIBLE * meter:
            yield (
                f"the loop is {count:.1f} beats long, so the beat stumbles where it begins again; --bars 1 lasts "
                f"{format_time(round(meter * beat, 2))}"
            )


def lay_out(chosen: dict[str, Any], keyframes: tuple[Keyframe, ...], music: Music | None, listener: Listener) -> Walk:
    """The keyframes, laid out in time as the flags and the music say."""
    timing = given(chosen, "frames", "seconds", "fps", "ease", closed="loop") | {"smooth": is_smooth(chosen)}
    file = prompt_file(chosen["prompts"])
    is_song = file is not None and file.suffix.lower() in lyrics.SUFFIXES
    # A loop leads back to its first keyframe, and would at one stroke if the last one rested to its end.
    pause = lyrics.PAUSE if timing.get("closed") else 0.0
    if music is None:
        if file is not None and is_song and (asked := _seconds_asked(timing)):
            keyframes = _sung(keyframes, 0.0, asked, file.name, "a longer film", pause, listener)
        return Walk.through(keyframes, **timing)
    # 1. As long as the music.
    fps, rhythm = chosen["fps"], music.rhythm
    frames = rates.nearest(music.seconds * fps)
    rates.check_length(frames)
    if chosen.get("frames", frames) != frames:
        length = next(
            (f"--{name} {float(chosen[name]):g}" for name in ("seconds", "bars") if name in chosen), music.name
        )
        raise Error(
            f"--frames {chosen['frames']} does not agree with {length}, which lasts {plural(frames, 'frame')}; drop --frames"
        )
    # 2. Keyframes at moments of it.
    if is_song:
        another = "another --start, or a longer part"
        keyframes = _sung(keyframes, float(music.start), float(music.seconds), music.name, another, pause, listener)
    of_part = "; to see a part of a longer film, give its own command with walk part --from"
    remedy = of_part if {"start", "seconds", "bars"} & set(chosen) else ""
    keyframes = timeline.beats_to_seconds(keyframes, rhythm.beats, rhythm.bars, music.name, remedy)
    align = chosen.get("align", flags.ALIGN[0])
    moments = {"bar": (rhythm.bars, rhythm.beats), "beat": (rhythm.beats,), "off": ()}[align]
    # 3. What is done of the way from frame to frame.
    laid = functools.partial(
        Walk.through, keyframes, moments=moments, **{**timing, "seconds": music.seconds, "frames": None}
    )
    prompts, noise = paces(chosen)
    apart = "pace_noise" in chosen and (noise != prompts or used_paces(chosen, keyframes) != {prompts})
    walk = laid(
        strides=_strides_by_segment(chosen, keyframes, music, frames, laid),
        noise_strides=_strides(noise, chosen, music, frames) if apart else None,
    )
    if pulses(chosen, keyframes):
        walk = dataclasses.replace(walk, pulse=_pulse(walk, _depths(chosen, keyframes), music))
    if note := _off_the_moments(align, walk, keyframes, music, chosen):
        listener.note(note)
    return walk


def is_smooth(chosen: dict[str, Any]) -> bool:
    return chosen.get("path", flags.PATHS[0]) == "smooth"


def _strides_by_segment(
    chosen: dict[str, Any],
    keyframes: Sequence[Keyframe],
    music: Music,
    frames: int,
    laid: Callable[[], Walk],
) -> Sequence[float | None]:
    """What is done of the way in each frame: at the pace of the keyframe before it.

    laid: returns the walk, as far as it does not depend on paces.
    """
    used = pace_of_each(chosen, keyframes)
    strides = {each: _strides(each, chosen, music, frames) for each in set(used)}
    if len(strides) == 1:
        return strides[used[0]]
    keys = laid().reached(frame - 0.5 for frame in range(frames))  # before each frame
    return [strides[used[k]][frame] if strides[used[k]] else None for frame, k in enumerate(keys)]


def _strides(name: str, chosen: dict[str, Any], music: Music, frames: int) -> list[float]:
    """What is done of the way in each frame at a pace, as `Walk.through` takes it."""
    from walk.audio import ENVELOPE_RATE

    fps, react = chosen["fps"], given(chosen, "react")
    if name == "beat":
        return pace.on_beats(music.rhythm.beats, frames, fps, **react)
    if name == "bar":
        return pace.on_bars(music.rhythm.bars, float(music.seconds), frames, fps, **react)
    if name == "energy":
        return pace.with_energy(music.rhythm.envelope, ENVELOPE_RATE, frames, fps, **react)
    return []


def _pulse(walk: Walk, depths: Sequence[float], music: Music) -> tuple[float, ...]:
    """How far each frame's noise swings out: as strong as the music is, times the depth of the keyframe before it."""
    from walk.audio import ENVELOPE_RATE

    most = max(depths)
    shares = [depths[k] / most for k in walk.reached(range(walk.frames))]
    film = (walk.frames, walk.fps, walk.closed, shares)
    if envelope := music.strength or music.rhythm.envelope:
        strengths = pace.strengths(envelope, ENVELOPE_RATE, *film)
    else:  # of written beats there is no sound
        strengths = pace.strikes(music.rhythm.beats, *film)
    return tuple(round(most * strength, 4) for strength in strengths)


def _seconds_asked(timing: dict[str, Any]) -> float:
    """Seconds of a film, as flags say; 0: they do not."""
    return float(timing.get("seconds", timing.get("frames", 0) / timing["fps"]))


def _sung(
    keyframes: tuple[Keyframe, ...],
    start: float,
    seconds: float,
    name: str,
    remedy: str,
    pause: float,
    listener: Listener,
) -> tuple[Keyframe, ...]:
    """The lines of a song that come in the part of it, from `start` on, that the film plays. name: of the song. remedy: for
    too few. pause: after their rests, before its end."""
    part = timeline.excerpt(keyframes, start, seconds, pause)
    if len(part) < 2:
        raise Error(
            f"of {plural(len(keyframes), 'line')} {len(part) or 'none'} comes in the {format_time(seconds)} of "
            f"{name} that the film plays, and a walk needs two; give {remedy}"
        )
    if late := sum((keyframe.time or 0.0) >= start + seconds for keyframe in keyframes):
        after = "comes after the film's end, and is" if late == 1 else "come after the film's end, and are"
        listener.note(f"{late} of {plural(len(keyframes), 'line')} {after} not shown")
    return part


def _off_the_moments(
    align: str, walk: Walk, keyframes: Sequence[Keyframe], music: Music, chosen: dict[str, Any]
) -> str:
    """A note if there are too few bar lines, or beats, for the keyframes; else ''."""
    bars, beats = music.rhythm.bars, music.rhythm.beats
    if align == "beat" and beats and (off := _off(walk, keyframes, beats)):
        return f"{off} of {len(keyframes)} keyframes {'comes' if off == 1 else 'come'} between beats, since there are too few"
    if align != "bar":
        return ""
    off = _off(walk, keyframes, bars) if bars else 0
    if not off:
        return ""
    if between := _off(walk, keyframes, (*bars, *beats)):
        where = f"{'comes' if off == 1 else 'come'} between bar lines, {between} of them between beats"
    else:
        where = f"{'is' if off == 1 else 'are'} moved to beats between bar lines"
    enough = len(keyframes) - (not walk.closed)
    more = f"; --bars {enough} has one for each" if "bars" in chosen and chosen["bars"] < enough else ""
    return f"{off} of {len(keyframes)} keyframes {where}, since there are too few bar lines{more}"


def _off(walk: Walk, keyframes: Sequence[Keyframe], moments: Sequence[float]) -> int:
    """How many keyframes without a time arrive on none of the moments, but for an open walk's ends."""
    on = {rates.nearest(Fraction(repr(moment)) * walk.fps) for moment in moments}
    inner, (arrivals, _) = range(1, len(keyframes) - (not walk.closed)), walk.landmarks()
    return sum(keyframes[k].time is None and arrivals[k] not in on for k in inner)


def as_it_was(
    chosen: dict[str, Any], keyframes: tuple[Keyframe, ...], positions: recipe.Positions
) -> tuple[Music | None, Walk]:
    """Of a film that is made again: its own sound, and its frames where they were."""
    walk = Walk(keyframes, (), chosen["fps"], chosen.get("loop", False), is_smooth(chosen)).with_positions(
        *positions[:3]
    )
    if "audio" not in chosen:
        return None, walk
    from walk.audio import Rhythm
    from walk.music import Music

    path = Path(chosen["audio"])
    sound = sounds.read_sound(path)
    if not sounds.fits(sound, walk.seconds, walk.fps):
        raise Error(
            f"{path} has been cut since it was made: its sound lasts {short(sound.seconds)} s, and its recipe is that of "
            f"a film of {short(walk.seconds)} s; give the song that it was made with, as --audio"
        )
    return Music(path.name, sound, walk.seconds, Rhythm((), (), ())), walk

"""What a film moves to: the part of a sound that it plays, and the beats in it. Heard once, and kept.

Joins walk.audio and walk.sounds; knows no keyframes. What was heard is written down beside the film's
frames, so that neither another version of a library nor a sound that has moved changes a film that
was begun.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from walk import Error, audio, beatfile, digests, excerpts, sounds
from walk.audio import EARLY, ENVELOPE_RATE, Rhythm
from walk.files import at_home, reading, write_whole, writing
from walk.progress import Listener
from walk.rates import METER, check_length, nearest
from walk.sounds import Sound
from walk.text import format_time, plural

CONTEXT = 15  # seconds around a part that are heard, too: beats are known by what comes before and after
THREE = "it sounds like three beats in a bar; if it has, give --meter 3"
UNLIKE = 0.15  # seconds between the ends of a song and its stem; what encoders add is less
AT_ONCE = 0.01  # seconds: a sound that was cut on a bar line begins with it, and not within its first beat
SLACK = 0.15  # of a bar that may be missing at a sound's end


@dataclass(frozen=True, eq=False)
class Music:
    """name: of the sound, or of the tempo. sound: what the film plays; None: there is only a tempo.
    seconds: of the film. rhythm: in the film's time. notes: what the user should know. start: where in the sound, or
    after the tempo's first moment, the film begins, in seconds. strength: as the rhythm's envelope, but 1 is the strongest
    of the whole sound; (): it was not asked for."""

    name: str
    sound: Sound | None
    seconds: Fraction
    rhythm: Rhythm
    notes: tuple[str, ...] = ()
    start: Fraction = Fraction(0)
    strength: tuple[float, ...] = ()

    @property
    def bars(self) -> float:
        """How many bars it is long, with the parts of bars at its ends; 0 where there are no two bar lines to tell."""
        lines = self.rhythm.bars
        if len(lines) < 2:
            return 0.0
        before, after = lines[0] / (lines[1] - lines[0]), (float(self.seconds) - lines[-1]) / (lines[-1] - lines[-2])
        return before + len(lines) - 1 + after

    @property
    def whole_bars(self) -> int:
        """How many it has from one bar line to the next, as `bars` asks for them."""
        return max(len(_bar_lines(self.rhythm, float(self.seconds))) - 1, 0)


@dataclass(frozen=True)
class _Part:
    """Of a sound, in samples, which fill so many seconds of film; and what is heard in it, in the film's time."""

    first: int
    count: int
    seconds: Fraction
    rhythm: Rhythm
    notes: tuple[str, ...]
    three: bool = False  # whether it sounds like three beats in a bar
    strength: tuple[float, ...] = ()


def hear(
    path: Path,
    folder: Path,
    fps: Fraction,
    closed: bool = False,
    start: Fraction = Fraction(0),
    seconds: Fraction | None = None,
    frames: int | None = None,
    bars: int | None = None,
    meter: int | None = None,
    bpm: Fraction | None = None,
    offset: Fraction | None = None,
    beats: Path | None = None,
    listen: Path | str | None = None,
    strength: bool = False,
    listener: Listener | None = None,
) -> Music:
    """The sound of a film, and its beats.

    start, seconds: which part of the sound; None: up to its end.
    frames: instead of seconds, at `fps`; the last may be longer than the sound by half of it.
    bars: instead of seconds, and from the first bar line after `start` on.
    closed: the part's end meets its start, and it is stretched to a whole number of frames at `fps`. (Cut there, it would
        begin its first beat twice, or break off its last.)
    meter: beats in a bar; None: four, and a note if it sounds like three.
    bpm, offset, beats: what is known of the beats, in the time of the sound file (see `walk.audio.listen`).
    listen: what the envelope is of, if not of all of the sound: a stem, in the time of the sound file, or one of
        `walk.audio.RANGES`.
    strength: whether it is also to be known how strong it is in the whole sound.
    folder: where what was heard is kept, and found again by the sound's contents and all of these.

    Raises Error if the sound, the beats or the stem cannot be read, or there is not as much of it, or nothing in what
    is to be listened to.
    """
    path = at_home(path)
    asks, meter = meter is None, meter or METER
    begin = max(start - CONTEXT, Fraction(0))
    if frames is not None:
        seconds = _of_frames(path, start, frames, fps)
    sound = _around(path, begin, start, seconds)
    _check_offset(path, offset, begin + sound.seconds)
    first = nearest((start - begin) * sound.rate)
    there = len(sound.samples) - first
    known = _written(beats, None if asks else meter) if beats else None
    asked = [digests.of_file(path), *map(str, (start, seconds, bars, closed and fps, meter, bpm, offset, known))]
    stem = None if listen is None else stem_of(listen)
    band = None if stem or listen is None else str(listen).lower()
    if listen is not None:  # else nothing more, so that films go on that were begun before there was a choice
        asked.append(_digest(stem) if stem else str(band))
    asked += ["strength"] * strength
    kept = folder / f"sound-{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]}.json"
    part = _kept(kept)
    if part is None:
        followed = _as_much(stem, begin, sound.seconds) if stem else sound
        listener = listener or Listener()
        listener.say(f"listening to {path.name}")
        given = _within(known, float(begin), float(sound.seconds)) if known else None
        with listener.progress("listening", 100, after=2, unit="%") as progress:
            rhythm = audio.listen(
                sound,
                meter,
                None if bpm is None else float(bpm),
                None if offset is None else float(offset - begin),
                given.beats if given else None,
                given.bars if given else None,
                progress.reached,
            )
        if listen is not None:
            rhythm = dataclasses.replace(rhythm, envelope=audio.strength(followed, band))
        count = there if seconds is None else nearest(seconds * sound.rate)
        rhythm = _within(rhythm, float(start - begin), count / sound.rate)
        part = _cut(path.name, sound.rate, first, count, rhythm, fps, closed, bars)
        if meter == METER and offset is None and beats is None:
            heard = [beat + float(start - begin) for beat in rhythm.beats]
            part = dataclasses.replace(part, three=audio.in_three(sound, heard))
        if listen is not None:
            came, went = (Fraction(sample, sound.rate) for sample in (part.first, part.first + part.count))
            _check_strength(part, stem.name if stem else f"{path.name} ({listen})", begin + came, begin + went)
            notes = _stem_notes(stem, path, followed, went, 1 / fps) if stem else ()
            part = dataclasses.replace(part, notes=part.notes + notes)
        if strength:
            whole = sound if not start and seconds is None and not stem else sounds.read_sound(stem or path)
            part = dataclasses.replace(part, strength=_strength(audio.strength(whole, band), begin, part, sound.rate))
        _keep(kept, part)
    cut = excerpts.closed if closed else excerpts.part
    played = excerpts.stretched(cut(sound, part.first, part.count), nearest(part.seconds * sound.rate))
    notes = (*filter(None, [sound.damage]), *part.notes, *[THREE] * (asks and part.three))
    return Music(
        path.name, played, part.seconds, part.rhythm, notes, begin + Fraction(part.first, sound.rate), part.strength
    )


def stem_of(listen: Path | str) -> Path | None:
    """The file that is to be listened to, if it is not one of `walk.audio.RANGES`."""
    return None if str(listen).lower() in audio.RANGES else at_home(listen)


def tempo(
    fps: Fraction,
    closed: bool = False,
    seconds: Fraction | None = None,
    bars: int | None = None,
    meter: int | None = None,
    bpm: Fraction | None = None,
    offset: Fraction = Fraction(0),
    beats: Path | None = None,
) -> Music:
    """Beats without a sound: of a tempo, or of a file. The film lasts so many bars, or seconds, or as long as the file's beats.

    Raises Error like `hear`.
    """
    if beats is not None:
        heard, name = _written(beats, meter), beats.name
        seconds = seconds or Fraction(repr(heard.beats[-1]))
    else:
        assert bpm is not None
        meter = meter or METER
        name = f"{float(bpm):g} beats a minute"
        seconds = seconds or offset + ((bars or 0) + 1) * meter * 60 / bpm
        check_length(nearest(seconds * fps))
        heard = audio.grid(float(bpm), meter, float(offset), float(seconds))
    if bars is None:
        return Music(name, None, seconds, _within(heard, 0.0, float(seconds)))
    part = _cut(name, 10**6, 0, nearest(seconds * 10**6), heard, fps, closed, bars)
    return Music(name, None, part.seconds, part.rhythm, part.notes, Fraction(part.first, 10**6))


def _of_frames(path: Path, start: Fraction, frames: int, fps: Fraction) -> Fraction | None:
    """Seconds of so many frames; None: as many as there are to the sound's end."""
    there = nearest((sounds.length_of(path) - start) * fps)
    if there <= 0:
        sounds.read_sound(path, start)  # which says that this is past its end
    if frames > there:
        raise Error(
            f"--frames {frames} is more than {path.name} lasts from there, {plural(there, 'frame')}; give fewer"
        )
    return None if frames == there else frames / fps


def _around(path: Path, begin: Fraction, start: Fraction, seconds: Fraction | None) -> Sound:
    """The sound from `begin` on, and what follows the part that is asked for, as far as there is any."""
    try:
        sound = sounds.read_sound(path, begin, None if seconds is None else start - begin + seconds + CONTEXT)
    except Error:
        sound = None  # it ends before that
    if sound is None or sound.seconds <= start - begin:
        sounds.read_sound(path, start, seconds)  # which says what is wrong, if the part is not there
    return sound or sounds.read_sound(path, begin)


def _check_offset(path: Path, offset: Fraction | None, end: Fraction) -> None:
    """Raise Error if the sound, of which there is as much as up to `end`, has no bar there."""
    if offset is None or offset < end:
        return
    if offset >= (length := sounds.length_of(path)):
        raise Error(f"--offset {float(offset):g} s is past the end; {path.name} lasts {float(length):.4g} s")


def _digest(path: Path) -> str:
    with reading(path, "; give a sound file, or low, mid or high"):
        return digests.of_file(path)


def _as_much(path: Path, begin: Fraction, seconds: Fraction) -> Sound:
    """A sound from `begin` on, for so many seconds, or for as many as there are."""
    try:
        return sounds.read_sound(path, begin, seconds)
    except Error:  # it ends before that
        sound = sounds.read_sound(path)  # which says what is wrong, if it is something else
    return dataclasses.replace(sound, samples=sound.samples[nearest(begin * sound.rate) :])


def _check_strength(part: _Part, name: str, start: Fraction, end: Fraction) -> None:
    """Raise Error if nothing begins in what is followed. start, end: of the part, in the time of the sound."""
    if not any(part.rhythm.envelope):
        times = f"{format_time(float(start))} to {format_time(float(end))}"
        raise Error(f"there is nothing to follow in {name} from {times}, which the film plays; give another --listen")


def _stem_notes(path: Path, song: Path, stem: Sound, seconds: Fraction, frame: Fraction) -> tuple[str, ...]:
    """What the user should know of a song's stem that the film follows for so many seconds from its beginning on."""
    notes = [stem.damage] if stem.damage else []
    if seconds - stem.seconds > frame:  # less cannot be seen
        end = format_time(float(seconds - stem.seconds))
        notes.append(f"{path.name} ends {end} before the film does, and is silent from there on")
        return tuple(notes)
    lasts, other = (float(sounds.length_of(whole)) for whole in (path, song))
    if abs(lasts - other) > UNLIKE:
        told = f"{path.name} lasts {format_time(lasts)}, and {song.name} {format_time(other)}"
        notes.append(f"{told}: it is followed as if both began together")
    return tuple(notes)


def _cut(
    name: str,
    rate: int,
    first: int,
    count: int,
    rhythm: Rhythm,
    fps: Fraction,
    closed: bool,
    bars: int | None,
) -> _Part:
    """The whole number of bars, or in a loop of frames, that is asked for."""
    start, seconds = Fraction(0), Fraction(count, rate)
    notes: list[str] = []
    if bars is not None:
        if not rhythm.beats:
            raise Error(f"no beats are heard in {name} there, and so no bars; give --bpm, or --seconds for --bars")
        lines = _bar_lines(rhythm, float(seconds))
        if len(lines) <= bars:
            raise Error(f"{name} has {plural(max(len(lines) - 1, 0), 'whole bar')} there, and --bars asks for {bars}")
        start, seconds = (Fraction(round(x * 1e6), 10**6) for x in (lines[0], lines[bars] - lines[0]))
        start = start if start > AT_ONCE else Fraction(0)
    first, count = first + nearest(start * rate), nearest(seconds * rate)
    part = _within(rhythm, float(start), float(seconds))
    if closed:
        exact, frames = seconds, max(nearest(seconds * fps), 1)
        seconds = frames / fps
        part = _stretched(part, float(seconds / exact))
        percent = round(float(100 * (seconds / exact - 1)), 2)
        if percent:
            what, are = (plural(bars, "bar"), "is" if bars == 1 else "are") if bars else (name, "is")
            notes.append(
                f"{what} {are} {float(exact):.4g} s; the loop of {plural(frames, 'frame')} plays {abs(percent):g} % "
                f"{'slower' if percent > 0 else 'faster'}"
            )
    return _Part(first, count, seconds, part, tuple(notes))


def _written(path: Path, meter: int | None) -> Rhythm:
    """What a file of beats says; each first of so many begins a bar. Raises Error if it says itself which do, and a meter
    was given."""
    beats, bars = beatfile.read_beats(at_home(path))
    if meter and bars:
        raise Error(f"{path} says itself which beats begin a bar; leave out --meter")
    return Rhythm(beats, bars or beats[:: meter or METER], ())


def _within(rhythm: Rhythm, start: float, seconds: float) -> Rhythm:
    """The same in the time of a part; its onsets as strong as if they were all. A beat that was heard a moment before
    the part is at its beginning, and one a moment before its end is the next part's."""
    beats, bars = (
        tuple(max(round(time - start, 4), 0.0) for time in times if -EARLY <= time - start < seconds - EARLY)
        for times in (rhythm.beats, rhythm.bars)
    )
    first = round(start * ENVELOPE_RATE)
    envelope = rhythm.envelope[first : first + math.ceil(seconds * ENVELOPE_RATE)]
    most = max(envelope, default=0) or 1
    return Rhythm(beats, bars, tuple(round(value / most, 4) for value in envelope))


def _stretched(rhythm: Rhythm, by: float) -> Rhythm:
    beats, bars = (tuple(round(time * by, 4) for time in times) for times in (rhythm.beats, rhythm.bars))
    envelope, last = rhythm.envelope, len(rhythm.envelope) - 1
    return Rhythm(beats, bars, tuple(envelope[min(round(k / by), last)] for k in range(round(len(envelope) * by))))


def _strength(whole: tuple[float, ...], begin: Fraction, part: _Part, rate: int) -> tuple[float, ...]:
    """Of a part of a sound. begin: in it, where the part's samples are counted from."""
    first = round((begin + Fraction(part.first, rate)) * ENVELOPE_RATE)
    played = Fraction(part.count, rate)
    some = whole[first : first + math.ceil(played * ENVELOPE_RATE)]
    return _stretched(Rhythm((), (), some), float(part.seconds / played)).envelope


def _bar_lines(rhythm: Rhythm, seconds: float) -> list[float]:
    """Where bars begin, and where the last one ends, if that is about where the sound does."""
    lines = list(rhythm.bars)
    if len(lines) > 1:
        end = lines[-1] + lines[-1] - lines[-2]
        if end <= seconds + SLACK * (lines[-1] - lines[-2]):
            lines.append(end)
    return lines


def _keep(path: Path, part: _Part) -> None:
    data = dataclasses.asdict(part) | {"seconds": str(part.seconds)}
    with writing(path.parent, "; give another --out"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(data).encode())


def _kept(path: Path) -> _Part | None:
    """What was heard before; None if nothing was, or it is damaged."""
    try:
        data = json.loads(path.read_text("utf-8"))
        rhythm = Rhythm(**{name: tuple(values) for name, values in data["rhythm"].items()})
        made = {"seconds": Fraction(data["seconds"]), "rhythm": rhythm, "notes": tuple(data["notes"])}
        made["strength"] = tuple(data.get("strength", ()))
        return _Part(**data | made)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None

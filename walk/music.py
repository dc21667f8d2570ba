"""What a film moves to: the part of a sound that it plays, and the beats in it. Listened to once, and kept.

Joins walk.audio and walk.sounds; knows no keyframes. What is heard is kept in the run folder, so that neither another
version of a library nor a sound file that has moved changes a film that was begun.
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

CONTEXT = 15  # seconds before and after the part that are listened to as well: they tell where its beats are
THREE = "it sounds like three beats in a bar; if it has, give --meter 3"
UNLIKE = 0.15  # seconds by which the lengths of a song and its stem may differ; what encoders add is less
AT_ONCE = 0.01  # seconds: a bar line so soon is the sound's beginning, which was cut there
SLACK = 0.15  # of a bar that may be missing at a sound's end


@dataclass(frozen=True)
class Request:
    """What a film asks of a sound or a tempo.

    fps: frames a second.
    closed: the part's end meets its start, and it is stretched to a whole number of frames. (Cut there instead, it would
        begin its first beat twice, or break off its last.)
    start, seconds: which part of the sound; seconds None: to its end.
    frames: instead of seconds; the last frame may end after the sound, by half its length.
    bars: instead of seconds, from the first bar line after `start` on.
    meter: beats in a bar; None: four, with a note if it sounds like three.
    bpm, offset: what is known of the beats, in the time of the sound file (see `walk.audio.listen`).
    beats: a file that says where they are (`walk.beatfile`), in the same time.
    listen: whose onsets the envelope shows: a stem, in the time of the sound file, or one of `walk.audio.RANGES`; None:
        those of the whole sound.
    strength: whether `Music.strength` is wanted.
    """

    fps: Fraction
    closed: bool = False
    start: Fraction = Fraction(0)
    seconds: Fraction | None = None
    frames: int | None = None
    bars: int | None = None
    meter: int | None = None
    bpm: Fraction | None = None
    offset: Fraction | None = None
    beats: Path | None = None
    listen: Path | str | None = None
    strength: bool = False

    @property
    def beats_per_bar(self) -> int:
        return self.meter or METER

    @property
    def stem(self) -> Path | None:
        return None if self.listen is None else stem_of(self.listen)

    @property
    def band(self) -> str | None:
        """One of `walk.audio.RANGES`."""
        return None if self.listen is None or self.stem else str(self.listen).lower()


@dataclass(frozen=True, eq=False)
class Music:
    """What a film moves to.

    name: of the sound, or of the tempo.
    sound: what the film plays; None: there is only a tempo.
    seconds: the film's length.
    rhythm: in the film's time.
    notes: what the user should know.
    start: where the film begins, in seconds of the sound, or of the tempo's beats.
    strength: like the rhythm's envelope, but 1 is the strongest onset of the whole sound file; () unless requested.
    """

    name: str
    sound: Sound | None
    seconds: Fraction
    rhythm: Rhythm
    notes: tuple[str, ...] = ()
    start: Fraction = Fraction(0)
    strength: tuple[float, ...] = ()

    @property
    def bars(self) -> float:
        """The film's length in bars, with the parts of bars at its ends; 0 with fewer than two bar lines."""
        lines = self.rhythm.bars
        if len(lines) < 2:
            return 0.0
        before, after = lines[0] / (lines[1] - lines[0]), (float(self.seconds) - lines[-1]) / (lines[-1] - lines[-2])
        return before + len(lines) - 1 + after

    @property
    def whole_bars(self) -> int:
        """How many bars it has from bar line to bar line, as `Request.bars` counts them."""
        return max(len(_bar_lines(self.rhythm, float(self.seconds))) - 1, 0)


@dataclass(frozen=True)
class _Part:
    """The part of a sound that the film plays, and what is heard in it, as the run folder keeps it (as JSON, with these
    names).

    first, count: its samples, counted from where the sound around it begins.
    seconds: of film that it fills.
    rhythm, notes, strength: as in `Music`.
    three: whether it sounds like three beats in a bar.
    """

    first: int
    count: int
    seconds: Fraction
    rhythm: Rhythm
    notes: tuple[str, ...]
    three: bool = False
    strength: tuple[float, ...] = ()


def hear(path: Path, request: Request, folder: Path, listener: Listener | None = None) -> Music:
    """The part of a sound that a film plays, and its beats.

    folder: where what is heard is kept, and found again by the sound's contents and the request.

    Raises Error if the sound, the beats or the stem cannot be read, if the sound is too short, or if nothing begins in
    what is to be listened to.
    """
    # 1. The sound around the part.
    path = at_home(path)
    if request.frames is not None:
        request = dataclasses.replace(request, seconds=_seconds_of_frames(path, request), frames=None)
    begin, sound = _read_around(path, request)

    # 2. What is heard in it, now or before.
    known = _read_rhythm(request.beats, request.meter) if request.beats else None
    kept = folder / f"sound-{_key(path, request, known)}.json"
    part = _load(kept)
    if part is None:
        part = _listen(path, sound, begin, request, known, listener or Listener())
        _save(kept, part)

    # 3. What the film plays of it.
    cut = excerpts.loop if request.closed else excerpts.part
    played = excerpts.stretch(cut(sound, part.first, part.count), nearest(part.seconds * sound.rate))
    damage = [sound.damage] if sound.damage else []
    three = [THREE] if part.three and request.meter is None else []
    start = begin + Fraction(part.first, sound.rate)
    return Music(path.name, played, part.seconds, part.rhythm, (*damage, *part.notes, *three), start, part.strength)


def heard(path: Path, request: Request, listener: Listener) -> Music:
    """The beats that a film of this part of a sound moves to, without the sound. Raises Error like `hear`."""
    begin, sound = _read_around(path, request)
    if sound.damage:
        listener.note(sound.damage)
    part = _listen(path, sound, begin, request, None, listener)
    three = (THREE,) * (part.three and request.meter is None)
    return Music(path.name, None, part.seconds, part.rhythm, three, request.start)


def stem_of(listen: Path | str) -> Path | None:
    """The file that is to be listened to; None for one of `walk.audio.RANGES`."""
    return None if str(listen).lower() in audio.RANGES else at_home(listen)


def tempo(request: Request) -> Music:
    """Beats without a sound: at a tempo, or from a file. The film lasts as many bars or seconds as are requested, or else
    as long as the file's beats.

    Raises Error like `hear`.
    """
    if request.beats is not None:
        rhythm, name = _read_rhythm(request.beats, request.meter), request.beats.name
        seconds = request.seconds or Fraction(repr(rhythm.beats[-1]))
    else:
        bpm, meter, offset = request.bpm, request.beats_per_bar, request.offset or Fraction(0)
        assert bpm is not None
        name = f"{float(bpm):g} beats a minute"
        seconds = request.seconds or offset + ((request.bars or 0) + 1) * meter * 60 / bpm
        check_length(nearest(seconds * request.fps))
        rhythm = audio.grid(float(bpm), meter, float(offset), float(seconds))
    if request.bars is None:
        return Music(name, None, seconds, _within(rhythm, 0.0, float(seconds)))
    start, _, seconds, rhythm, notes = _cut(name, seconds, rhythm, request)
    return Music(name, None, seconds, rhythm, notes, start)


# The sound around the part


def _seconds_of_frames(path: Path, request: Request) -> Fraction | None:
    """How long the requested frames last; None if they are all up to the sound's end."""
    frames, fps = request.frames or 0, request.fps
    available = nearest((sounds.length_of(path) - request.start) * fps)
    if available <= 0:
        sounds.read_sound(path, request.start)  # which says that this is past its end
    if frames > available:
        raise Error(
            f"--frames {frames} is more than {path.name} lasts from there, {plural(available, 'frame')}; give fewer"
        )
    return None if frames == available else frames / fps


def _read_around(path: Path, request: Request) -> tuple[Fraction, Sound]:
    """(begin, sound): the sound from CONTEXT before the requested part, in seconds, to CONTEXT after it; or from its
    beginning, or to its end."""
    begin = max(request.start - CONTEXT, Fraction(0))
    end = None if request.seconds is None else request.start + request.seconds
    sound = sounds.read_sound(path, begin, None if end is None else end + CONTEXT - begin, whole=False)
    if begin + sound.seconds <= (request.start if end is None else end):
        sounds.read_sound(path, request.start, request.seconds)  # which says what is wrong, if the part is not there
    _check_offset(path, request.offset, begin + sound.seconds)
    return begin, sound


def _check_offset(path: Path, offset: Fraction | None, end: Fraction) -> None:
    """Raise Error if the offset is past the sound's end. end: of what was read of it, in seconds."""
    if offset is None or offset < end:
        return
    if offset >= (length := sounds.length_of(path)):
        raise Error(f"--offset {float(offset):g} s is past the end; {path.name} lasts {float(length):.4g} s")


# What is heard in it


def _listen(
    path: Path, sound: Sound, begin: Fraction, request: Request, known: Rhythm | None, listener: Listener
) -> _Part:
    """The requested part of a sound and what is heard in it.

    sound: read from `begin` seconds into its file.
    known: the rhythm from a file, in the time of the sound file.
    """
    rate, start, stem = sound.rate, request.start - begin, request.stem
    followed = sounds.read_sound(stem, begin, sound.seconds, whole=False) if stem else sound
    listener.say(f"listening to {path.name}")
    rhythm = _rhythm_of(sound, begin, request, known, listener)
    if request.listen is not None:
        rhythm = dataclasses.replace(rhythm, envelope=audio.strength(followed, request.band))
    first = nearest(start * rate)
    count = len(sound.samples) - first if request.seconds is None else nearest(request.seconds * rate)
    rhythm = _within(rhythm, float(start), count / rate)
    three = False
    if request.beats_per_bar == METER and request.offset is None and request.beats is None:
        three = audio.in_three(sound, [beat + float(start) for beat in rhythm.beats])
    later, exact, seconds, rhythm, notes = _cut(path.name, Fraction(count, rate), rhythm, request)
    first, count = first + nearest(later * rate), nearest(exact * rate)
    if request.listen is not None:
        end = Fraction(first + count, rate)
        name = stem.name if stem else f"{path.name} ({request.listen})"
        _check_envelope(rhythm, name, begin + Fraction(first, rate), begin + end)
        notes += _stem_notes(stem, path, followed, end, 1 / request.fps) if stem else ()
    part = _Part(first, count, seconds, rhythm, notes, three)
    if request.strength:
        whole = sound if not request.start and request.seconds is None and not stem else sounds.read_sound(stem or path)
        part = dataclasses.replace(part, strength=_strength(audio.strength(whole, request.band), begin, part, rate))
    return part


def _rhythm_of(sound: Sound, begin: Fraction, request: Request, known: Rhythm | None, listener: Listener) -> Rhythm:
    """The rhythm of all that was read of a sound, in its time, which is `begin` at 0."""
    known = _within(known, float(begin), float(sound.seconds)) if known else None
    start = request.start - begin
    end = sound.seconds if request.seconds is None else start + request.seconds
    with listener.progress("listening", 100, after=2, unit="%") as progress:
        return audio.listen(
            sound,
            request.beats_per_bar,
            None if request.bpm is None else float(request.bpm),
            None if request.offset is None else float(request.offset - begin),
            known.beats if known else None,
            known.bars if known else None,
            progress.reached,
            (float(start), float(end)),
        )


def _check_envelope(rhythm: Rhythm, name: str, start: Fraction, end: Fraction) -> None:
    """Raise Error if nothing begins in what is followed. start, end: of the part, in seconds of the sound file."""
    if not any(rhythm.envelope):
        times = f"{format_time(float(start))} to {format_time(float(end))}"
        raise Error(f"there is nothing to follow in {name} from {times}, which the film plays; give another --listen")


def _stem_notes(path: Path, song: Path, stem: Sound, end: Fraction, frame: Fraction) -> tuple[str, ...]:
    """What the user should know of a song's stem.

    path, song: their files. stem: read from where the song was.
    end: of the part that the film plays, in seconds of what was read.
    frame: seconds of a frame.
    """
    notes = [stem.damage] if stem.damage else []
    if end - stem.seconds > frame:  # less cannot be seen
        missing = format_time(float(end - stem.seconds))
        notes.append(f"{path.name} ends {missing} before the film does, and is silent from there on")
        return tuple(notes)
    stem_length, song_length = (float(sounds.length_of(file)) for file in (path, song))
    if abs(stem_length - song_length) > UNLIKE:
        lengths = f"{path.name} lasts {format_time(stem_length)}, and {song.name} {format_time(song_length)}"
        notes.append(f"{lengths}: it is followed as if both began together")
    return tuple(notes)


def _cut(
    name: str, seconds: Fraction, rhythm: Rhythm, request: Request
) -> tuple[Fraction, Fraction, Fraction, Rhythm, tuple[str, ...]]:
    """The whole number of bars that is requested, stretched to a whole number of frames if the film is closed.

    name: of the sound or the tempo. seconds: its length.

    Returns (start, seconds of sound, seconds of film, rhythm in the film's time, notes).
    """
    start, exact, bars = Fraction(0), seconds, request.bars
    if bars is not None:
        if not rhythm.beats:
            none, give = f"no beats are heard in {name} there", "give --bpm, or --seconds for --bars"
            if request.beats:
                none, give = f"none of the beats in {request.beats} comes in the part", "give --seconds for --bars"
            raise Error(f"{none}, and so no bars; {give}")
        lines = _bar_lines(rhythm, float(seconds))
        if len(lines) <= bars:
            whole = max(len(lines) - 1, 0)
            better = f"--bars {whole}" if whole else "--seconds for --bars"
            raise Error(f"{name} has {plural(whole, 'whole bar')} there, and --bars asks for {bars}; give {better}")
        start, exact = (Fraction(round(x * 1e6), 10**6) for x in (lines[0], lines[bars] - lines[0]))
        start = start if start > AT_ONCE else Fraction(0)
    rhythm = _within(rhythm, float(start), float(exact))
    if not request.closed:
        return start, exact, exact, rhythm, ()
    frames = max(nearest(exact * request.fps), 1)
    seconds = frames / request.fps
    rhythm = _stretched(rhythm, float(seconds / exact))
    percent = round(float(100 * (seconds / exact - 1)), 2)
    if not percent:
        return start, exact, seconds, rhythm, ()
    what, are = (plural(bars, "bar"), "is" if bars == 1 else "are") if bars else (name, "is")
    note = (
        f"{what} {are} {float(exact):.4g} s; the loop of {plural(frames, 'frame')} plays {abs(percent):g} % "
        f"{'slower' if percent > 0 else 'faster'}"
    )
    return start, exact, seconds, rhythm, (note,)


def _read_rhythm(path: Path, meter: int | None) -> Rhythm:
    """The beats and bars of a file of beats; if it does not say which beats begin a bar, the first of every `meter` do.

    Raises Error if it does say so, and a meter was given.
    """
    beats, bars = beatfile.read_beats(at_home(path))
    if meter and bars:
        raise Error(f"{path} says itself which beats begin a bar; leave out --meter")
    return Rhythm(beats, bars or beats[:: meter or METER], ())


def _within(rhythm: Rhythm, start: float, seconds: float) -> Rhythm:
    """A part of a rhythm, in the part's time; its strongest onset has strength 1. A beat that was heard up to EARLY before
    the part is at its beginning, and one as little before its end is the next part's."""
    beats, bars = (
        tuple(max(round(time - start, 4), 0.0) for time in times if -EARLY <= time - start < seconds - EARLY)
        for times in (rhythm.beats, rhythm.bars)
    )
    first = round(start * ENVELOPE_RATE)
    envelope = rhythm.envelope[first : first + math.ceil(seconds * ENVELOPE_RATE)]
    largest = max(envelope, default=0) or 1
    return Rhythm(beats, bars, tuple(round(value / largest, 4) for value in envelope))


def _stretched(rhythm: Rhythm, factor: float) -> Rhythm:
    """A rhythm that takes `factor` times as long."""
    beats, bars = (tuple(round(time * factor, 4) for time in times) for times in (rhythm.beats, rhythm.bars))
    envelope, last = rhythm.envelope, len(rhythm.envelope) - 1
    count = round(len(envelope) * factor)
    return Rhythm(beats, bars, tuple(envelope[min(round(k / factor), last)] for k in range(count)))


def _strength(whole: tuple[float, ...], begin: Fraction, part: _Part, rate: int) -> tuple[float, ...]:
    """The part's strength, stretched as it is.

    whole: the strength of the whole sound file. begin: seconds in it from where the part's samples are counted.
    """
    first = round((begin + Fraction(part.first, rate)) * ENVELOPE_RATE)
    played = Fraction(part.count, rate)
    envelope = whole[first : first + math.ceil(played * ENVELOPE_RATE)]
    return _stretched(Rhythm((), (), envelope), float(part.seconds / played)).envelope


def _bar_lines(rhythm: Rhythm, seconds: float) -> list[float]:
    """Where bars begin, in seconds, and where the last one ends if the sound, of this length, goes on until about there."""
    lines = list(rhythm.bars)
    if len(lines) > 1:
        end = lines[-1] + lines[-1] - lines[-2]
        if end <= seconds + SLACK * (lines[-1] - lines[-2]):
            lines.append(end)
    return lines


# What the run folder keeps


def _key(path: Path, request: Request, known: Rhythm | None) -> str:
    """A name for what is heard of a sound with these contents for this request. It stays the same from version to version:
    films that were begun go on with what was heard."""
    closed_fps = request.closed and request.fps
    values = (request.start, request.seconds, request.bars, closed_fps, request.beats_per_bar)
    key = [digests.of_file(path), *map(str, (*values, request.bpm, request.offset, known))]
    if request.listen is not None:  # otherwise no entry: films were begun before there was a choice
        key.append(_stem_digest(request.stem) if request.stem else str(request.band))
    key += ["strength"] * request.strength
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]


def _stem_digest(path: Path) -> str:
    with reading(path, "; give a sound file, or low, mid or high"):
        return digests.of_file(path)


def _save(path: Path, part: _Part) -> None:
    data = dataclasses.asdict(part) | {"seconds": str(part.seconds)}
    with writing(path.parent, "; give another --out"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(data).encode())


def _load(path: Path) -> _Part | None:
    """What was heard before; None if nothing was, or the file is damaged."""
    try:
        data = json.loads(path.read_text("utf-8"))
        rhythm = Rhythm(**{name: tuple(values) for name, values in data["rhythm"].items()})
        typed = {"seconds": Fraction(data["seconds"]), "rhythm": rhythm, "notes": tuple(data["notes"])}
        typed["strength"] = tuple(data.get("strength", ()))
        return _Part(**data | typed)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None

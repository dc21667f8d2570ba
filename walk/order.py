"""What a film's flags ask for: its walk, its settings, its sound and its place; and the same, told by a finished film.

Everything that can be refused without a model is refused here. Renders nothing and prints nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import math
import os
import re
import shlex
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from walk import (
    Error,
    Settings,
    Walk,
    films,
    flags,
    formats,
    lyrics,
    pace,
    png,
    rates,
    read_prompts,
    recipe,
    sounds,
    timeline,
    video,
)
from walk.files import lines_of, read_input, read_text
from walk.flags import given
from walk.keyframes import WORDS, Keyframe, check_no_tensors, prompt_file, read_lines
from walk.progress import Listener
from walk.rates import METER
from walk.recipe import Recipe
from walk.settings import BUILT_IN
from walk.text import as_flag, either, format_time, plural, short, together

if TYPE_CHECKING:
    from walk.music import Music


WHOLE = 0.02  # of a bar: nobody hears that so much is missing
NAME = 60  # letters of a film's name, at most
RESTS = 0.5  # of --react, from which on a film is said to rest on its beats
RHYTHM = {"audio", "bpm", "beats"}  # flags with which a film has beats
_PULSES = ("beat", "bar")  # paces that land on something
_TO_SOUND = ("bars", "meter", "align", "pace", "pace_noise", "react", "pulse")  # flags that say how it moves to them


class Again(NamedTuple):
    """Of a film that is made again. weights: of the model that made it. upscaler: the digest of what enlarged its frames.
    positions: where its frames stay; None: they are laid out anew."""

    weights: str
    upscaler: str
    positions: recipe.Positions | None


@dataclass(frozen=True)
class Order:
    """walk: as it was asked for; frames may move to be even. out: the film. folder: its run. look: what the film's
    encoder is told. flags: that were given. music: what the film moves to. again: if it is another one made again.
    written: the keyframes without the times that were found for them, if they were."""

    walk: Walk
    settings: Settings
    out: Path
    folder: Path
    look: dict[str, Any]
    flags: dict[str, Any] = field(default_factory=dict)
    music: Music | None = None
    again: Again | None = None
    written: tuple[Keyframe, ...] = ()

    @property
    def placed(self) -> bool:
        """Whether frames are where those of another film are."""
        return self.again is not None and self.again.positions is not None

    @property
    def describe(self) -> bool:
        """Whether the film says what made it."""
        return not self.flags.get("no_metadata")

    @property
    def even(self) -> bool:
        """Whether frames are to be moved so that they look evenly far apart."""
        return self.flags.get("speed") != "path" and not self.placed  # which are even already

    @property
    def constant(self) -> bool:
        """Whether keyframes are to come where the speed stays the same throughout."""
        return self.even and self.flags.get("speed") == "constant"

    def timed(self, lengths: Sequence[float]) -> Order:
        """The same with such keyframes. lengths: of the ways from one to the next, to the eye."""
        walk = self.walk
        keyframes = timeline.space_by_length(walk.keyframes, lengths, walk.frames, walk.fps, walk.closed)
        ease = bool(self.flags.get("ease"))
        timed = Walk.through(
            keyframes,
            walk.frames,
            fps=walk.fps,
            closed=walk.closed,
            smooth=walk.smooth,
            ease=ease,
            strides=None if ease else [1.0] * walk.frames,
        )
        return dataclasses.replace(self, walk=timed, written=walk.keyframes)

    def sound_of(self, out: Path) -> sounds.Sound | None:
        """What a film of this name plays, if anything."""
        return self.music.sound if self.music and formats.holds_sound(out) else None

    @property
    def rests(self) -> tuple[float, ...]:
        """Beats or bars that the film rests on, in seconds."""
        if self.music is None or self.placed or self.flags.get("react", 1) < RESTS:
            return ()
        return {"beat": self.music.rhythm.beats, "bar": self.music.rhythm.bars}.get(paces(self.flags)[0], ())


# Flags that were meant for the model that a film was made with.
OF_MODEL = ("width", "height", "steps", "guidance", "scheduler", "dtype", "batch", "compile", "denoiser")
# Flags of which each says what the other does.
EXCLUSIVE = (("seconds", "bars"), ("bpm", "beats"), ("offset", "beats"), ("ease", "pace"), ("ease", "react"))


def read_order(
    chosen: dict[str, Any],
    listener: Listener,
    loaded: Settings | None = None,
    again: Again | None = None,
    looking: bool = False,
) -> Order:
    """Of checked flags (`walk.flags.checked`). Raises Error for whatever can be refused without a model.

    loaded: the settings of a model that a program has loaded. again: of what `replayed` tells the flags. looking: only at
    what is there, so that the film may be under way, or be anything.
    """
    places = again.positions if again else None
    if "prompts" not in chosen:
        raise Error("--prompts is missing; give a prompt file, or the prompts themselves")
    if isinstance(chosen["prompts"], list) and "-" in chosen["prompts"]:
        raise Error("- stands for prompts on standard input, and for all of them; give it alone")
    if chosen["prompts"] == "-":
        chosen = chosen | {"prompts": _typed()}
    if "seed" in chosen and chosen.get("seeds", WORDS) != WORDS:
        raise Error(
            "--seed and --seeds were both given; --seed counts up from keyframe to keyframe, --seeds lists them"
        )
    if places is None:
        _check_together(chosen)
    file = prompt_file(chosen["prompts"])
    if file is not None and file.suffix.lower() in formats.SUFFIXES and os.path.isfile(file):
        raise Error(f"{file} is not a prompt file; if it is a film, walk info {file} tells its prompts")
    notes: list[str] = []
    asked_of = given(chosen, "seed", "seeds", "negative", "style")
    keyframes = read_prompts(chosen["prompts"], **asked_of, tell=notes.append, fps=chosen.get("fps", rates.FPS))
    if chosen.get("speed") == "constant":
        timeline.check_rests(keyframes)
    if loaded is None:
        check_no_tensors(keyframes)
    if len(keyframes) == 1 and os.path.isdir(keyframes[0].prompt):
        raise Error(f"{keyframes[0].prompt} is a folder; give a prompt file, or prompts")
    texts = _texts(chosen["prompts"])
    if len(texts) > 1:
        _check_quotes(texts)
    for note in notes:
        listener.say(f"note: {note}")
    _tell_asides(file, listener)
    out, folder = _paths(chosen)
    folder = _run_folder(chosen["run"], out) if "run" in chosen else folder
    look = given(chosen, "size", "quality", "codec")
    asked = chosen.get("fps", rates.FPS)
    shown = formats.shown_fps(out, asked)
    video.validate(out, **look, sound="audio" in chosen and formats.holds_sound(out), fps=shown)
    if not looking:
        _check_paths(out, folder)
    elif not folder.is_dir():  # before anything is heard, and kept there
        raise no_frames(folder)
    if places is not None:
        music, walk = _again(chosen | {"fps": shown}, keyframes, places)
    else:
        chosen = chosen | {"fps": shown}  # lest keyframes come at other times than they were given
        keyframes = timeline.frames_to_seconds(keyframes, shown)
        with _untouched(folder):
            music = _music(chosen, keyframes, out, folder, listener)
            walk = _walk(chosen, keyframes, music, listener)
    listener.say(
        f"{len(walk.keyframes)} keyframes, {plural(walk.frames, 'frame')}, "
        f"{format_time(float(walk.seconds))} at {_rate(walk.fps)} frames a second"
    )
    if shown != asked:
        listener.say(f"{out.suffix} cannot show {_rate(asked)} frames a second: the film will have {_rate(shown)}")
    if not looking:
        _tell_before(chosen, walk.keyframes, out, folder, listener, counted=not again)
    return Order(walk, settings(chosen, loaded), out, folder, look, chosen, music, again)


def settings(chosen: dict[str, Any], loaded: Settings | None = None) -> Settings:
    """That the flags choose; of a model that is loaded, its own where they say nothing."""
    if loaded is None:
        return flags.settings(chosen)
    told = {name: value for name, value in given(chosen, *flags.SETTINGS).items() if value is not None}
    return dataclasses.replace(loaded, **told)


def _typed() -> list[str]:
    """Prompts that come on standard input."""
    name = "standard input"
    lines = lines_of(name, read_input(name, "prompts are UTF-8 text, one a line"))
    if not lines:
        raise Error(f"{name} has no prompts; write one a line")
    return [line for _, line in lines]


def _texts(prompts: str | Path | Keyframe | Sequence[str | Keyframe]) -> list[str]:
    """Prompts as somebody has written them."""
    some = [prompts] if isinstance(prompts, (str, Path, Keyframe)) else prompts
    return [it.prompt if isinstance(it, Keyframe) else str(it) for it in some]


def _check_quotes(prompts: list[str]) -> None:
    """Raise Error for prompts that are the words of one."""
    words = not any(" " in prompt.strip() for prompt in prompts)
    if words and len(prompts) > 2 and {"a", "an", "the"} & set(prompts) and max(map(len, prompts)) > 2:
        raise Error(
            f"these are {len(prompts)} prompts of one word each: {together([repr(prompt) for prompt in prompts])}; put a "
            "prompt of several words in quotes"
        )


def _tell_asides(file: Path | None, listener: Listener) -> None:
    """A note of what is left out of subtitles."""
    if file is None or file.suffix.lower() not in lyrics.SUFFIXES:
        return
    if asides := lyrics.asides(read_text(file, "the lines of a song are UTF-8 text"), file.name):
        stand = "line stands" if len(asides) == 1 else "lines stand"
        are = f"'{asides[0]}', and is" if len(asides) == 1 else f"such as '{asides[0]}', and are"
        listener.say(f"note: {len(asides)} {stand} in brackets in {file.name}, {are} left out")


@contextlib.contextmanager
def _untouched(folder: Path) -> Iterator[None]:
    """Of what is refused, nothing that was heard is left in a run folder that was not there."""
    there = folder.exists()
    try:
        yield
    except Error:
        if not there:
            with contextlib.suppress(OSError):
                for heard in folder.glob("sound-*.json"):
                    heard.unlink()
                folder.rmdir()
        raise


def _tell_before(
    chosen: dict[str, Any],
    keyframes: Sequence[Keyframe],
    out: Path,
    folder: Path,
    listener: Listener,
    counted: bool,
) -> None:
    """A note if the film that is here is of other prompts, and will be replaced; and, where seeds are `counted`, of prompts
    that have other ones than in it, for no reason but their place in the list."""
    from walk.manifest import read_manifest

    try:
        before = read_manifest(folder).walk.keyframes
    except Error:
        return
    if out.exists() and not {keyframe.prompt for keyframe in before} & {keyframe.prompt for keyframe in keyframes}:
        listener.say(f"note: {out} is of other prompts, and will be replaced; to keep it, stop, and give another --out")
    if chosen.get("seeds", WORDS) != WORDS or not counted:
        return
    was: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for a, keyframe in enumerate(before):
        was[keyframe.identity[:2]].append(a)
    pairs = [(was[it.identity[:2]].pop(0), b) for b, it in enumerate(keyframes) if was[it.identity[:2]]]
    moved = [(a, b) for a, b in pairs if before[a].seed != keyframes[b].seed == before[a].seed + b - a]
    if not moved:
        return
    remedy = f"end their lines in | seed=, which was {before[moved[0][0]].seed} of keyframe {moved[0][1] + 1}"
    with contextlib.suppress(Error):
        made = read_lines(read_recipe(str(out)).prompts)
        if [keyframe.identity for keyframe in made] == [keyframe.identity for keyframe in before]:
            styled = ", and with the style" * ("style" in chosen)
            remedy = (
                f"stop, and take their lines from walk info {shlex.quote(str(out))}, where they end in | seed={styled}"
            )
    have = "prompt has another seed" if len(moved) == 1 else "prompts have other seeds"
    listener.say(
        f"note: {len(moved)} {have} than in the film that is here, since seeds follow the order of the list; to keep "
        f"their pictures, {remedy}"
    )


def _check_together(chosen: dict[str, Any]) -> None:
    """Raise Error for flags that contradict each other, or need one that is not there."""
    for one, other in EXCLUSIVE:
        if one in chosen and other in chosen:
            raise Error(f"--{one} and --{other} were both given; give one of them")
    known = RHYTHM & set(chosen)
    if "start" in chosen and "audio" not in chosen:
        raise Error("--start says where in a sound to begin; give --audio, too")
    if known and chosen.get("speed") == "constant":
        raise Error("--speed constant says when keyframes come, and so does a sound or a tempo; give one of them")
    for name in ("bars", "offset", "meter", "align", "pulse"):
        if chosen.get(name) and not known:
            raise Error(f"--{name} needs a sound or a tempo; give --audio, or --bpm")
    for name in ("pace", "pace_noise"):
        if chosen.get(name) == "energy" and "audio" not in chosen:
            raise Error(f"{as_flag(name)} energy follows a sound; give --audio")
        if chosen.get(name) in _PULSES and not known:
            raise Error(f"{as_flag(name)} {chosen[name]} needs beats; give --audio, --bpm or --beats")
    if "react" in chosen and set(paces(chosen)) == {"even"}:
        raise Error("--react says how far the pace departs from even; give --pace energy, beat or bar, too")
    if "listen" in chosen and "audio" not in chosen:
        raise Error("--listen says what of a sound is followed; give --audio, too")
    if "listen" in chosen and "energy" not in paces(chosen) and "pulse" not in chosen:
        raise Error("--listen says whose energy is followed; give --pace energy, --pace-noise energy or --pulse, too")


def paces(chosen: dict[str, Any]) -> tuple[str, str]:
    """Of the prompts and of the noise."""
    pace = chosen.get("pace", "energy" if "audio" in chosen and not chosen.get("ease") else "even")
    return pace, chosen.get("pace_noise", pace)


def _music(
    chosen: dict[str, Any], keyframes: Sequence[Keyframe], out: Path, folder: Path, listener: Listener
) -> Music | None:
    """What the film moves to, if anything."""
    if not RHYTHM & set(chosen):
        return None
    from walk import audio, music

    fps = chosen.get("fps", rates.FPS)
    seconds, frames = chosen.get("seconds"), None if {"seconds", "bars"} & set(chosen) else chosen.get("frames")
    how = {"closed": chosen.get("loop", False), **given(chosen, "bars", "meter", "bpm", "offset")}
    if "beats" in chosen:
        how["beats"] = Path(chosen["beats"])
    if "audio" in chosen:
        heard = music.hear(
            Path(chosen["audio"]),
            folder,
            fps,
            seconds=seconds,
            frames=frames,
            **given(chosen, "start", "listen"),
            **how,
            strength=bool(chosen.get("pulse")),
            listener=listener,
        )
    else:
        seconds = seconds if frames is None else frames / fps
        if "beats" not in chosen and seconds is None:
            how.setdefault("bars", _bars_needed(keyframes, how["closed"], how["bpm"], how.get("meter", METER)))
        heard = music.tempo(fps, seconds=seconds, **how)
    beats = heard.rhythm.beats
    tempo = f", {audio.tempo(beats)}" if len(beats) > 2 else ""
    speed = tempo if heard.sound or "beats" in chosen else ""  # else that is its name
    many = how.get("bars") or heard.bars
    long = _bars(many)
    told = f", {long}" if many else ""
    moved = heard.sound and heard.start != chosen.get("start", 0)
    begins = f", from {format_time(float(heard.start))} on" if moved else ""
    listener.say(f"{heard.name}: {format_time(float(heard.seconds))}{begins}{speed}{told if beats else ', no beats'}")
    if not beats and (pulse := next((name for name in paces(chosen) if name in _PULSES), None)):
        raise Error(
            f"no beats are heard in {heard.name}, and --pace {pulse} moves on them; give --bpm, or another --pace"
        )
    if how["closed"] and abs(many - round(many)) >= WHOLE:
        cut = f"the loop is {long} long, so the beat stumbles where it begins again"
        whole = heard.whole_bars if heard.sound else round(many)  # a sound has no more of them
        better = f"; --bars {whole} ends on a bar line" if whole else ""
        listener.say(f"note: {cut}{better}")
    if how["closed"] and not many and len(beats) > 1 and (stumbles := _stumbles(heard, how.get("meter", METER))):
        listener.say(f"note: {stumbles}")
    for note in heard.notes:
        listener.say(f"note: {note}")
    if heard.sound and not formats.holds_sound(out):
        listener.say(
            f"note: {out.suffix or 'a folder'} has no sound: the film moves to {heard.name} without playing it"
        )
        return heard
    if heard.sound and (rate := formats.heard_rate(out, heard.sound.rate)) != heard.sound.rate:
        listener.say(f"{out.suffix} cannot hold {heard.sound.rate} samples a second: the film will have {rate}")
    if heard.sound and (lost := sounds.muffled(out, heard.sound)):
        listener.say(f"note: {lost}")
    if heard.sound and (loud := sounds.cut_off(heard.name, heard.sound)):
        listener.say(f"note: {loud}")
    return heard


def _stumbles(music: Music, meter: int) -> str:
    """A note if a loop of less than two bars is not of whole beats."""
    gap = music.rhythm.beats[1] - music.rhythm.beats[0]
    many = float(music.seconds) / gap
    if abs(many - round(many)) < WHOLE * meter:
        return ""
    return (
        f"the loop is {many:.1f} beats long, so the beat stumbles where it begins again; --bars 1 lasts "
        f"{format_time(round(meter * gap, 2))}"
    )


def _bars_needed(keyframes: Sequence[Keyframe], closed: bool, bpm: Fraction, meter: int) -> int:
    """Of a tempo: one for each pair, but at least up to where keyframes are to be."""
    beats, needed = 60 / bpm, [len(keyframes) - 1 + closed]
    for k, keyframe in enumerate(keyframes):
        following = len(keyframes) - 1 - k + closed
        for name, number in (
            *((name, getattr(keyframe, name)) for name in ("time", "beat", "bar")),
            (keyframe.until_in, keyframe.until),
        ):
            if number and name == "time":
                needed.append(math.ceil(Fraction(repr(number)) / beats / meter) + following)
            elif number:
                each = meter if name == "beat" else 1
                needed.append(max(math.ceil(number / each), math.ceil((number - 1) / each) + following))
    return max(needed)


def _bars(many: float) -> str:
    if abs(many - round(many)) < WHOLE:
        return plural(round(many), "bar")
    text = f"{many:.1f}"
    return f"about {plural(round(many), 'bar')}" if text.endswith(".0") else f"{text} bars"


def _walk(chosen: dict[str, Any], keyframes: tuple[Keyframe, ...], music: Music | None, listener: Listener) -> Walk:
    timing = given(chosen, "frames", "seconds", "fps", "ease", closed="loop")
    smooth = chosen.get("path", flags.PATHS[0]) == "smooth"
    if music is None:
        return Walk.through(keyframes, smooth=smooth, **timing)
    fps, rhythm = chosen.get("fps", rates.FPS), music.rhythm
    frames = rates.nearest(music.seconds * fps)
    rates.check_length(frames)
    if chosen.get("frames", frames) != frames:
        length = next(
            (f"--{name} {float(chosen[name]):g}" for name in ("seconds", "bars") if name in chosen), music.name
        )
        raise Error(
            f"--frames {chosen['frames']} does not agree with {length}, which lasts {plural(frames, 'frame')}; drop --frames"
        )
    file = prompt_file(chosen["prompts"])
    if file is not None and file.suffix.lower() in lyrics.SUFFIXES:
        # A loop leads back to its first keyframe, and would at one stroke if the last one rested to its end.
        pause = lyrics.PAUSE if timing.get("closed") else 0.0
        keyframes = _sung(keyframes, music, pause, listener)
    keyframes = timeline.beats_to_seconds(keyframes, rhythm.beats, rhythm.bars, music.name)
    moments = {"bar": (rhythm.bars, rhythm.beats), "beat": (rhythm.beats,), "off": ()}
    prompts, noise = paces(chosen)
    align = chosen.get("align", flags.ALIGN[0])
    walk = Walk.through(
        keyframes,
        smooth=smooth,
        moments=moments[align],
        strides=_steps(prompts, chosen, music, frames, fps),
        noise_strides=None if noise == prompts else _steps(noise, chosen, music, frames, fps),
        **{**timing, "seconds": music.seconds, "frames": None},
    )
    if depth := chosen.get("pulse"):
        pulse = tuple(round(depth * part, 4) for part in _strengths(music, frames, fps, walk.closed))
        walk = dataclasses.replace(walk, pulse=pulse)
    if align == "bar" and rhythm.bars and (off := _off(walk, keyframes, rhythm.bars)):
        comes = "comes" if off == 1 else "come"
        if between := _off(walk, keyframes, (*rhythm.bars, *rhythm.beats)):
            where = f"{comes} between bar lines, {between} of them between beats"
        else:
            where = f"{'is' if off == 1 else 'are'} moved to beats between bar lines"
        enough = len(keyframes) - (not walk.closed)
        more = f"; --bars {enough} has one for each" if "bars" in chosen and chosen["bars"] < enough else ""
        listener.say(f"note: {off} of {len(keyframes)} keyframes {where}, since there are too few bar lines{more}")
    return walk


def _off(walk: Walk, keyframes: Sequence[Keyframe], moments: Sequence[float]) -> int:
    """How many keyframes without a time arrive on none of the moments, but for an open walk's ends."""
    there = {rates.nearest(Fraction(repr(moment)) * walk.fps) for moment in moments}
    inner, (keys, _) = range(1, len(keyframes) - (not walk.closed)), walk.landmarks()
    return sum(keyframes[k].time is None and keys[k] not in there for k in inner)


def _sung(keyframes: tuple[Keyframe, ...], music: Music, pause: float, listener: Listener) -> tuple[Keyframe, ...]:
    """The lines of a song that come in the part of it that the film plays. pause: after their rests, before its end."""
    start, seconds = float(music.start), float(music.seconds)
    part = timeline.excerpt(keyframes, start, seconds, pause)
    if len(part) < 2:
        raise Error(
            f"of {plural(len(keyframes), 'line')} {len(part) or 'none'} comes in the {format_time(seconds)} of "
            f"{music.name} that the film plays, and a walk needs two; give another --start, or a longer part"
        )
    if late := sum((keyframe.time or 0.0) >= start + seconds for keyframe in keyframes):
        after = "comes after the film's end, and is" if late == 1 else "come after the film's end, and are"
        listener.say(f"note: {late} of {plural(len(keyframes), 'line')} {after} not shown")
    return part


def _again(
    chosen: dict[str, Any], keyframes: tuple[Keyframe, ...], places: recipe.Positions
) -> tuple[Music | None, Walk]:
    """A film's own sound, and its frames where they were."""
    positions, noise, pulse = places
    fps, closed, smooth = chosen["fps"], chosen.get("loop", False), chosen.get("path", flags.PATHS[0]) == "smooth"
    walk = Walk(keyframes, positions, fps, closed, smooth, noise, pulse)
    if "audio" not in chosen:
        return None, walk
    from walk.audio import Rhythm
    from walk.music import Music

    path = Path(chosen["audio"])
    sound = sounds.read_sound(path)
    if not sounds.fits(sound, walk.seconds, fps):
        raise Error(
            f"{path} has been cut since it was made: its sound lasts {short(sound.seconds)} s, and its recipe is that of "
            f"a film of {short(walk.seconds)} s; give the song that it was made with, as --audio"
        )
    return Music(path.name, sound, walk.seconds, Rhythm((), (), ())), walk


def _steps(name: str, chosen: dict[str, Any], music: Music, frames: int, fps: Fraction) -> list[float]:
    """As `Walk.through` takes them."""
    from walk.audio import ENVELOPE_RATE

    react = given(chosen, "react")
    if name == "beat":
        return pace.on_beats(music.rhythm.beats, frames, fps, **react)
    if name == "bar":
        return pace.on_bars(music.rhythm.bars, float(music.seconds), frames, fps, **react)
    if name == "energy":
        return pace.with_energy(music.rhythm.envelope, ENVELOPE_RATE, frames, fps, **react)
    return []


def _strengths(music: Music, frames: int, fps: Fraction, closed: bool) -> list[float]:
    """How strong it is at each frame, 0 .. 1."""
    from walk.audio import ENVELOPE_RATE

    if envelope := music.strength or music.rhythm.envelope:
        return pace.strengths(envelope, ENVELOPE_RATE, frames, fps, closed)
    return pace.strikes(music.rhythm.beats, frames, fps, closed)  # of written beats there is no sound


def _paths(chosen: dict[str, Any]) -> tuple[Path, Path]:
    """The film, and its run folder beside it."""
    prompts = chosen["prompts"]
    if "out" in chosen:
        out = expanded(chosen["out"])
        if chosen["out"].endswith(("/", os.sep)) and out.name:
            if out.suffix:
                better = f"{out.with_name(out.name.replace('.', '_'))}/"
                raise Error(f"--out {out}/: the name of a folder of PNG files has no dot in it; give {better}, say")
            return out, out.with_name(out.name + ".walk")
    elif file := prompt_file(prompts):
        out = Path(file.stem + ".mp4")
    else:
        out = Path(slug(_texts(prompts)) + ".mp4")
    with contextlib.suppress(OSError):  # a name too long for the file system is refused later
        if out.is_dir():
            pictures = out if out.name and not out.suffix else out / "frames"
            raise Error(
                f"--out {out} is a folder; give the film's name, such as {out / 'film.mp4'}, or {pictures}/ for PNG files"
            )
    if not out.suffix and out.name == out.name.strip("."):  # a folder's has no dot either
        raise Error(f"{out}: a film's name ends in {either(formats.SUFFIXES)}; for a folder of PNG files, write {out}/")
    return out, out.with_suffix(".walk")


def _run_folder(name: str, out: Path) -> Path:
    """One that was named. It lies beside the films that are made from it, of which it notes the names."""
    from walk.film import is_beside

    folder = expanded(name)
    if folder.suffix != ".walk":
        raise Error(f"--run {folder}: a run folder's name ends in .walk, as in {folder.name or 'film'}.walk")
    _check_writable(folder, "--run")
    if not is_beside(out, folder):
        raise Error(
            f"--run {folder} is not beside {out}, and knows the films that are made from it by their names; give --out "
            f"{folder.with_name(out.name)}"
        )
    return folder


def expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise Error(f"{path} cannot be written: there is no such home folder; give another --out") from None


def slug(prompts: Sequence[str]) -> str:
    """A file's name from all of the prompts: films of other prompts shall not replace each other."""
    words = " ".join(re.split(r"\|\s*[\w-]+\s*=", prompt)[0] for prompt in prompts)  # settings left out
    name = re.sub(r"\W+", "-", words.lower()).strip("-") or "film"
    if len(name) <= NAME:
        return name
    return f"{name[: NAME - 7].strip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _check_paths(out: Path, folder: Path) -> None:
    """Raise Error if the film cannot be written, or would replace what walk has not made."""
    from walk.film import check_free
    from walk.run import alone

    _check_writable(out)
    check_free(out, folder)
    with alone(folder):  # or an Error before anything heavy is loaded
        pass


def no_frames(folder: Path) -> Error:
    """Where a film is to be looked at."""
    return Error(f"no frames of this film are in {folder}; a rough cut is made while, or after, some are rendered")


def rough(out: Path) -> Path:
    """The name of a film's rough cut. Raises Error if it cannot be written, or would replace what is none."""
    from walk.film import check_rough

    out = out.with_name(f"{out.stem}.rough{out.suffix or '.mp4'}")
    _check_writable(out)
    check_rough(out)
    return out


def check_sheet(out: Path) -> None:
    """Raise Error if a sheet cannot be written, or would replace a picture that is none."""
    if out.suffix.lower() != ".png":
        raise Error(f"{out}: a sheet's name ends in .png, as in sheet.png")
    _check_writable(out)
    with contextlib.suppress(OSError):
        if not out.exists() or png.is_whole(out, "Software", "walk"):
            return
    raise Error(f"{out} exists and is not a sheet of walk's, so it is not overwritten; give another --out")


def _check_writable(out: Path, flag: str = "--out") -> None:
    if len(os.fsencode(out.name)) > 220:  # of 255: there has to be room for a temporary name
        raise Error(f"{out} cannot be written ({os.strerror(errno.ENAMETOOLONG)}); give another {flag}")
    above = out.absolute().parents
    parent = next((parent for parent in above if os.path.exists(parent)), above[-1])  # of a drive there may be none
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise Error(f"{out} cannot be written: {parent} is not a folder that you may write to; give another {flag}")


def read_recipe(film: str) -> Recipe:
    """A film's recipe, of which every flag has been checked like one that was typed."""
    check_is_film(film)
    made = recipe.from_text(films.read_metadata(Path(film)).comment, film)
    try:
        unknown = [name for name, _ in made.flags if name not in flags.COMMANDS["recipe"].flags]
        if unknown:
            raise Error(f"there is no flag --{unknown[0][:60]}")
        flags.checked([f"--{name}={value}" for name, value in made.flags], "recipe")
        read_lines(made.prompts)
    except Error as error:
        raise Error(f"{film}: the recipe is damaged: {error}") from None
    return made


def replayed(film: str, made: Recipe, chosen: dict[str, Any], another: bool = False) -> tuple[dict[str, Any], Again]:
    """The flags that make a film again, with those that were chosen in place of its recipe's; and what else is known of
    it. Raises Error for what would have to be moved, and cannot be. another: by another model, for which some of them
    were not meant."""
    path, out = Path(film), Path(chosen.get("out", Path(film).with_name(f"{Path(film).stem}-again{Path(film).suffix}")))
    carried = {name: flags.ALL[name].parse(text) for name, text in made.flags}
    weights = recipe.weights(made)
    if weights and "model" not in chosen and not re.match("sha256 |commit ", weights):  # as `walk.hub.identity` says it
        raise Error(f"{film} is of a program's own model, '{carried.get('model')}'; run that program, or give --model")
    if another:
        carried = {name: value for name, value in carried.items() if name not in OF_MODEL}
        if carried.get("upscale") == flags.OWN:
            del carried["upscale"]
    elif carried.get("model") == BUILT_IN:  # which walk has enlarged otherwise, before it told how
        carried.setdefault("upscale", flags.NONE)
    beats = carried.pop("beats", None)  # no path that a film names is opened
    # 1. What is chosen takes the place of what contradicts it.
    for one, other in (*EXCLUSIVE, ("frames", "seconds"), ("frames", "bars")):
        for name, instead in ((one, other), (other, one)):
            if name in chosen and chosen[name] is not False:
                carried.pop(instead, None)
    if "react" not in chosen and set(paces(carried | chosen)) == {"even"}:
        carried.pop("react", None)
    if RHYTHM & set(chosen) and carried.get("speed") == "constant":
        carried.pop("speed")
    if out.suffix.lower() != path.suffix.lower():  # which another format may not have
        carried = {name: value for name, value in carried.items() if name not in ("codec", "quality")}
    # 2. Its frames stay where they are, or are laid out anew.
    keyframes = read_lines(made.prompts)
    moved = bool(set(chosen) & set(flags.TIMING))
    carried.setdefault("fps", rates.FPS)
    fps = formats.shown_fps(out, chosen.get("fps", carried["fps"]))
    long = {"frames", "seconds"} & set(chosen) or RHYTHM & {*carried, *chosen}  # what says how long it is to be
    stretched = "frames" in carried and fps != carried["fps"] and not long
    if stretched and any(keyframe.time is not None for keyframe in keyframes):  # lest they move
        carried["seconds"], moved = carried.pop("frames") / carried["fps"], True
    if made.positions and RHYTHM & set(carried):
        moved |= formats.shown_fps(out, carried["fps"]) != carried["fps"]  # lest it leaves its tempo
    if made.positions == recipe.UNTOLD and not moved:
        raise Error(f"{film} is too long to carry where its frames are; make it again by its own command or program")
    if moved and beats and not RHYTHM & set(chosen):
        raise Error(f"{film} moves to the beats in {beats}, which it does not carry; give that file as --beats")
    # 3. It moves to its own sound, which is that part already.
    if "audio" in carried and "audio" not in chosen and path.suffix.lower() == ".gif":
        if moved:
            raise Error(f"{film} has no sound to move to; give the one that it was made with as --audio")
        carried = {name: value for name, value in carried.items() if name not in ("audio", "listen")}
    elif "audio" in carried and "audio" not in chosen:
        bar = _own_bar(film, carried) if moved and not {"offset", "beats"} & set(chosen) else None
        carried = {name: value for name, value in carried.items() if name not in ("start", "bars", "offset", "seconds")}
        carried |= {"audio": film} | ({} if bar is None else {"offset": bar})
    if moved or not made.positions:
        _check_followed(film, carried, chosen)
    if made.positions and moved and RHYTHM & set(carried):  # as long as the music is
        carried.pop("frames", None)
    network = carried.get("upscale", flags.NONE)
    if "upscale" not in chosen and network in without_folders(made) and not expanded(network).is_file():
        raise Error(
            f"{film} was enlarged by {network}, which is not here, and films carry no folders; give --upscale PATH, or none"
        )
    told = {"prompts": list(keyframes), "out": chosen.get("out", str(out))}
    return carried | chosen | told, Again(weights, recipe.upscaler(made), None if moved else made.positions or None)


def _own_bar(film: str, carried: dict[str, Any]) -> Fraction | None:
    """Where in the film's own sound a bar begins, if its recipe says it of the sound from which that was taken."""
    if "bars" in carried:  # it begins on a bar line
        return Fraction(0)
    if "offset" not in carried:
        return None
    bar: Fraction = carried["offset"] - carried.get("start", 0)
    if bar < 0 and "bpm" in carried:
        bar %= carried.get("meter", METER) * 60 / carried["bpm"]
    if bar < 0:
        raise Error(
            f"{film} moves to bars that are counted from before it begins; give where in it a bar begins, as --offset"
        )
    return bar


def _check_followed(film: str, carried: dict[str, Any], chosen: dict[str, Any]) -> None:
    """Raise Error for a stem that would have to be found, or put in its place in a sound that is but a part now. What
    is not followed any more is taken out of what the film carries."""
    from walk.music import stem_of

    listen = chosen.get("listen", carried.get("listen"))
    if "energy" not in paces(carried | chosen) and "pulse" not in carried | chosen:
        carried.pop("listen", None)
    elif listen and stem_of(listen) and not {"listen", "audio"} <= set(chosen):
        raise Error(
            f"{listen} is followed in the time of the sound that {film} was made with; give both, as --listen and "
            "--audio"
        )


def check_is_film(path: str) -> None:
    """Raise Error for a folder; for one of frames that walk has exported, with what to do."""
    folder = Path(path)
    if os.path.isdir(folder) and os.path.isdir(f"{folder}.walk"):
        raise Error(
            f"{folder} is a folder of frames, which has no recipe and no rate; its command with --out {folder}.mp4 makes "
            "a film of them"
        )
    if os.path.isdir(path):
        raise Error(f"{path} is a folder; give a film, {either(formats.SUFFIXES)}")


def metadata(
    order: Order, walk: Walk, settings: Settings, refined: bool = False, upscale: str | None = None
) -> films.Metadata:
    """What the film says of itself. walk, settings: complete ones, as they were rendered. refined: frames are also where
    those of an earlier film were, which its recipe must tell. upscale: what enlarged them."""
    from walk import film

    chosen = order.flags
    walk = dataclasses.replace(walk, keyframes=order.written) if order.written else walk
    timed = bool(RHYTHM & set(chosen))
    asked = timed and "frames" in chosen and not {"audio", "bars"} & set(chosen)
    if asked and not order.placed:  # that it is to stay so long
        chosen = {"seconds": walk.seconds} | chosen
    by_program = order.placed and "speed" not in chosen
    deciding: dict[str, object] = {
        **({} if by_program else {"speed": chosen.get("speed", flags.SPEEDS[0])}),
        **{name: True for name in ("loop", "ease") if chosen.get(name)},
        **(given(chosen, *_TO_SOUND) if timed else {}),
        **{name: float(chosen[name]) for name in ("start", "seconds", "offset", "bpm") if timed and name in chosen},
        **{name: Path(chosen[name]).name for name in ("audio", "beats") if name in chosen},
        **({"listen": _without_folder(chosen["listen"])} if "listen" in chosen else {}),
        **({"upscale": upscale} if upscale else {}),
        **order.look,
    }
    return film.described(walk, settings, deciding, refined or order.music is not None or order.placed)


def without_folders(made: Recipe) -> list[str]:
    """The files that a recipe names, of whose folders it knows nothing."""
    from walk.music import stem_of

    told = dict(made.flags)
    if "listen" in told and not stem_of(told["listen"]):
        del told["listen"]
    if "/" in told.get("upscale", "/") or told["upscale"] in (flags.OWN, flags.NONE):  # the hub's, or a model's
        told.pop("upscale", None)
    return [told[name] for name in ("audio", "beats", "listen", "upscale") if name in told]


def _without_folder(listen: str) -> str:
    """As --listen understands it: a file named low stays one."""
    from walk.music import stem_of

    file = stem_of(listen)
    return listen if file is None else file.name if stem_of(file.name) else f"./{file.name}"


def _rate(fps: Fraction) -> str:
    return str(fps) if fps.denominator == 1 else f"{float(fps):.6g}"

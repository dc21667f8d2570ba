"""What a film's flags ask for: its walk, its settings, its sound and its place; and what the film tells of them.

Everything that can be refused without a model is refused here. Renders nothing and prints nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from walk import (
    Error,
    Settings,
    Walk,
    between,
    flags,
    formats,
    images,
    lyrics,
    motion,
    paths,
    probe,
    rates,
    read_prompts,
    sounds,
    timeline,
    video,
)
from walk.files import lines_of, read_input, read_text
from walk.flags import EXCLUSIVE, WHAT, given
from walk.keyframes import WORDS, Keyframe, Subject, check_no_tensors, prompt_file
from walk.motion import LANDING, RHYTHM, pace_of_each, pulses, used_paces
from walk.progress import Listener
from walk.rates import nearest
from walk.replay import Again
from walk.text import as_flag, format_time, plural, short_clock, together

if TYPE_CHECKING:
    from walk.music import Music

_TO_SOUND = ("bars", "meter", "align", "pace", "pace_noise", "react", "pulse")  # flags that say how it moves to one
SHIFTS = 8  # seeds that a note tells one by one
Moment = tuple[str, float]  # as `walk.keyframes.read_moment` tells it
RESTS = 0.5  # of --react, from which on a film is said to rest on its beats


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
        """Whether each frame is where another film's is, which is made again."""
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

    @functools.cached_property
    def thinned(self) -> between.Thinned:
        """Its walk, of which not every frame is rendered if the others are to be interpolated."""
        rendered = self.again.positions.rendered if self.again and self.again.positions else ()
        return between.thinned(self.walk, self.flags.get("interpolate", 1), rendered)

    def timed(self, lengths: Sequence[float]) -> Order:
        """With keyframes where one speed brings them. lengths: of the ways from one to the next, to the eye."""
        walk = self.walk
        return self.arriving(timeline.space_by_length(walk.keyframes, lengths, walk.frames, walk.fps, walk.closed))

    def arriving(self, timed: Sequence[Keyframe]) -> Order:
        """At one speed, with its keyframes at these times. Raises Error if they do not fit in the film."""
        walk, ease = self.walk, bool(self.flags.get("ease"))
        moved = Walk.through(
            timed,
            walk.frames,
            fps=walk.fps,
            closed=walk.closed,
            smooth=walk.smooth,
            ease=ease,
            strides=None if ease else [1.0] * walk.frames,
        )
        return dataclasses.replace(self, walk=moved, written=walk.keyframes)

    def sound_of(self, out: Path) -> sounds.Sound | None:
        """What a film of this name plays, if anything."""
        return self.music.sound if self.music and formats.holds_sound(out) else None

    def frames_between(self, start: Moment | None, end: Moment | None) -> range:
        """The frames from one moment on and up to another. None: the film's beginning, or its end. Raises Error for
        moments that are not in it, or in the wrong order."""
        first = 0 if start is None else self._frame("--from", start)
        last = self.walk.frames if end is None else self._frame("--to", end)
        if first >= last:
            earlier = (
                self._told("--to", end, last) if end else f"the film's end, {format_time(float(self.walk.seconds))},"
            )
            later = self._told("--from", start, first) if start else "its beginning"
            raise Error(f"{earlier} is not after {later}; give a later --to, or an earlier --from")
        return range(first, last)

    def _told(self, flag: str, moment: Moment, frame: int) -> str:
        """'--from 0:15.75' or '--from bar=9 (0:15.75)'"""
        unit, number = moment
        if unit == "time":
            return f"{flag} {short_clock(float(number))}"
        return f"{flag} {unit}={number:g} ({short_clock(float(frame / self.walk.fps))})"

    def _frame(self, flag: str, moment: Moment) -> int:
        """The frame at a moment. flag: that names it."""
        unit, number = moment
        if unit == "frame":
            frame = int(number)
        elif unit == "time":
            frame = nearest(Fraction(str(number)) * self.walk.fps)
        elif self.music is None:
            raise Error(f"{flag} {unit}={number:g} needs a sound or a tempo; give --audio, --bpm or --beats, or a time")
        else:
            times = self.music.rhythm.beats if unit == "beat" else self.music.rhythm.bars
            second = timeline.second_of(f"{flag} is at", unit, number, times, self.music.name)
            frame = nearest(Fraction(str(round(second, 6))) * self.walk.fps)
        if frame > self.walk.frames:
            length = f"{format_time(float(self.walk.seconds))}, {plural(self.walk.frames, 'frame')}"
            raise Error(f"{self._told(flag, moment, frame)} is after the film's end; it lasts {length}")
        return frame

    @property
    def landing(self) -> dict[int, str]:
        """By keyframe, 'beat' or 'bar': on each of these the film rests, from there to the next keyframe."""
        if self.music is None or self.placed or self.flags.get("react", 1) < RESTS:
            return {}
        used = enumerate(pace_of_each(self.flags, self.walk.keyframes))
        return {k: name for k, name in used if name in LANDING}

    @property
    def rests(self) -> tuple[float, ...]:
        """Beats or bars that the film rests on, in seconds."""
        landing, found = self.landing, set()
        if self.music is None or not landing:
            return ()
        for name, moments in (("beat", self.music.rhythm.beats), ("bar", self.music.rhythm.bars)):
            keys = self.walk.reached(moment * float(self.walk.fps) - 0.5 for moment in moments)
            found |= {moment for moment, k in zip(moments, keys) if landing.get(k) == name}
        return tuple(sorted(found))


def read_order(
    chosen: dict[str, Any],
    listener: Listener,
    loaded: Settings | None = None,
    again: Again | None = None,
    looking: bool = False,
) -> Order:
    """Of checked flags (`walk.flags.checked`). Raises Error for whatever can be refused without a model.

    loaded: the settings of a model that a program has loaded. again: of what `replayed` tells the flags. looking: only at
    the frames that exist, so that the film may be under way, or be anything.
    """
    # 1. The keyframes.
    chosen = with_prompts(chosen)
    positions = again.positions if again else None
    if "interpolator" in chosen and chosen.get("interpolate", 1) == 1:
        raise Error(
            "--interpolator makes frames between rendered ones, and all are rendered; give --interpolate 2, too"
        )
    if positions is None:
        _check_together(chosen)
    keyframes = read_keyframes(chosen, listener, tensors=loaded is not None)
    asked = settings(chosen, keyframes, loaded)
    if asked.ip_adapter and not any(keyframe.image for keyframe in keyframes):
        listener.note("no prompt has a picture beside it, so the model is shown none")
    if not looking:
        pictures = list(dict.fromkeys(keyframe.image for keyframe in keyframes if keyframe.image))
        with listener.progress("reading pictures", len(pictures), after=2, unit="pictures") as progress:
            for count, image in enumerate(pictures, 1):
                images.check(image)
                progress.reached(count)
    if positions is None:
        _check_movement(chosen, keyframes)
    # 2. Where the film and its frames go, and how it looks.
    out, folder = paths.film_and_run(chosen)
    look = given(chosen, "size", "quality", "codec")
    asked_fps = chosen.get("fps", rates.FPS)
    fps = formats.shown_fps(out, asked_fps)
    video.validate(out, **look, sound="audio" in chosen and formats.holds_sound(out), fps=fps)
    if not looking:
        paths.check_film(out, folder)
    elif not folder.is_dir():  # before anything is heard, and kept there
        raise paths.no_frames(folder)
    # 3. The walk.
    chosen = chosen | {"fps": fps}  # lest keyframes come at other times than they were given
    if positions is None:
        keyframes = timeline.frames_to_seconds(keyframes, fps)
        with _untouched(folder):
            music = motion.find_music(chosen, keyframes, out, folder, listener)
            walk = motion.lay_out(chosen, keyframes, music, listener)
    else:
        music, walk = motion.as_it_was(chosen, keyframes, positions)
    order = Order(walk, asked, out, folder, look, chosen, music, again)
    about = "about " * order.constant  # since keyframes, which are, will come at other times
    thinned = "" if order.thinned.is_whole else f", {about}{len(order.thinned.rendered)} of which are rendered"
    listener.say(
        f"{len(walk.keyframes)} keyframes, {plural(walk.frames, 'frame')}{thinned}, "
        f"{format_time(float(walk.seconds))} at {_rate(walk.fps)} frames a second"
    )
    if fps != asked_fps:
        listener.say(f"{out.suffix} cannot show {_rate(asked_fps)} frames a second: the film will have {_rate(fps)}")
    if not looking:
        _tell_of_film_before(chosen, walk.keyframes, out, folder, listener, counted=not again)
    return order


def settings(chosen: dict[str, Any], keyframes: Sequence[Keyframe], loaded: Settings | None = None) -> Settings:
    """What the flags, and pictures beside prompts, ask of a model; of one that is loaded, its own settings where they say
    nothing."""
    pictured = any(keyframe.image for keyframe in keyframes)
    named = [name for name in ("ip_adapter", "image_weight", "image_style") if chosen.get(name)]
    # The first two are in the recipe of a film whose model, which was loaded, was shown none.
    if named and not {"ip_adapter", "image_weight"} <= chosen.keys() and not pictured:
        raise Error(
            f"{as_flag(named[0])} is for pictures beside prompts, and there are none; add | image=FILE to a prompt"
        )
    if loaded is None:
        asked = flags.settings(chosen)
        return dataclasses.replace(asked, ip_adapter="own") if pictured and not asked.ip_adapter else asked
    changed = {name: value for name, value in given(chosen, *flags.SETTINGS).items() if value is not None}
    return dataclasses.replace(loaded, **changed)


def with_prompts(chosen: dict[str, Any]) -> dict[str, Any]:
    """The flags, with the prompts of standard input in place of '-'."""
    if "prompts" not in chosen:
        raise Error("--prompts is missing; give a prompt file, or the prompts themselves")
    if isinstance(chosen["prompts"], list) and "-" in chosen["prompts"]:
        raise Error("- stands for prompts on standard input, and for all of them; give it alone")
    if "seed" in chosen and chosen.get("seeds", WORDS) != WORDS:
        raise Error(
            "--seed and --seeds were both given; --seed counts up from keyframe to keyframe, --seeds lists them"
        )
    if chosen["prompts"] != "-":
        return chosen
    name = "standard input"
    lines = lines_of(name, read_input(name, "prompts are UTF-8 text, one a line"))
    if not lines:
        raise Error(f"{name} has no prompts; write one a line")
    return chosen | {"prompts": [line for _, line in lines]}


def _check_together(chosen: dict[str, Any]) -> None:
    """Raise Error for flags that contradict each other, or need one that was not given."""
    for one, other in EXCLUSIVE:
        if one in chosen and other in chosen:
            raise Error(f"--{one} and --{other} were both given; give one of them")
    rhythm = RHYTHM & set(chosen)
    if "start" in chosen and "audio" not in chosen:
        raise Error("--start says where in a sound to begin; give --audio, too")
    if rhythm and chosen.get("speed") == "constant":
        raise Error("--speed constant says when keyframes come, and so does a sound or a tempo; give one of them")
    for name in ("bars", "offset", "meter", "align", "pulse"):
        if chosen.get(name) and not rhythm:
            raise Error(f"--{name} needs a sound or a tempo; give --audio, or --bpm")
    for name in ("pace", "pace_noise"):
        if chosen.get(name) == "energy" and "audio" not in chosen:
            raise Error(f"{as_flag(name)} energy follows a sound; give --audio")
        if chosen.get(name) in LANDING and not rhythm:
            raise Error(f"{as_flag(name)} {chosen[name]} needs beats; give --audio, --bpm or --beats")
    if "listen" in chosen and "audio" not in chosen:
        raise Error("--listen says what of a sound is followed; give --audio, too")


def _check_movement(chosen: dict[str, Any], keyframes: Sequence[Keyframe]) -> None:
    """Raise Error for paces and pulses of keyframes that need a sound or a tempo, and for flags that none of them needs."""
    for k, keyframe in enumerate(keyframes):
        name = f"{timeline.keyframe_name(keyframes, k)} has"
        if keyframe.pace == "energy" and "audio" not in chosen:
            raise Error(f"{name} pace=energy, which follows a sound; give --audio")
        if (keyframe.pace in LANDING or keyframe.pulse) and not RHYTHM & set(chosen):
            setting = f"pace={keyframe.pace}" if keyframe.pace in LANDING else f"pulse={keyframe.pulse:g}"
            raise Error(f"{name} {setting}, which needs a sound or a tempo; give --audio, or --bpm")
    used = used_paces(chosen, keyframes)
    if "react" in chosen and used == {"even"}:
        raise Error("--react says how far the pace departs from even; give --pace energy, beat or bar, too")
    if "listen" in chosen and "energy" not in used and not pulses(chosen, keyframes):
        raise Error("--listen says whose energy is followed; give --pace energy, --pace-noise energy or --pulse, too")


def read_keyframes(chosen: dict[str, Any], listener: Listener, tensors: bool = False) -> tuple[Keyframe, ...]:
    """The keyframes of prompts, with notes of what in them is read in a special way, or left out. tensors: whether some
    may stand for tensors."""
    prompts = chosen["prompts"]
    file = prompt_file(prompts)
    if file is not None and file.suffix.lower() in formats.SUFFIXES and os.path.isfile(file):
        raise Error(
            f"{file} is not a prompt file; if it is a film, walk info {file} tells its prompts, and walk replay {file} makes it again"
        )
    notes: list[str] = []
    asked = given(chosen, *WHAT[1:])
    keyframes = read_prompts(prompts, **asked, tell=notes.append, fps=chosen.get("fps", rates.FPS))
    if chosen.get("speed") == "constant":
        timeline.check_rests(keyframes)
    if file is not None and file.suffix.lower() in lyrics.SUFFIXES:
        notes += _asides(file)
    for note in notes:
        listener.note(note)
    if not tensors:
        check_no_tensors(keyframes)
    _check_misread(prompts, keyframes)
    return keyframes


def _asides(file: Path) -> Iterator[str]:
    """A note of what is left out of subtitles."""
    if asides := lyrics.asides(read_text(file, "the lines of a song are UTF-8 text"), file.name):
        stand = "line stands" if len(asides) == 1 else "lines stand"
        are = f"'{asides[0]}', and is" if len(asides) == 1 else f"such as '{asides[0]}', and are"
        yield f"{len(asides)} {stand} in brackets in {file.name}, {are} left out"


def _check_misread(prompts: Any, keyframes: Sequence[Keyframe]) -> None:
    """Raise Error for prompts that are a folder, or the words of one prompt without quotes."""
    if len(keyframes) == 1 and os.path.isdir(folder := keyframes[0].prompt):
        pictures = f", or {folder}/ for the pictures in it" * bool(images.inside(Path(folder)))
        raise Error(f"{folder} is a folder; give a prompt file, or prompts{pictures}")
    words = [it for it in prompts if isinstance(it, str)] if isinstance(prompts, list) else []
    single = len(words) > 1 and not any(" " in word.strip() for word in words)
    if single and {"a", "an", "the"} & set(words) and max(map(len, words)) > 2:
        raise Error(
            f"these are {len(words)} prompts of one word each: {together([repr(word) for word in words])}; put a prompt "
            "of several words in quotes"
        )


@contextlib.contextmanager
def _untouched(folder: Path) -> Iterator[None]:
    """Where a film is refused, remove what was heard for it, if its run folder did not exist before."""
    existed = folder.exists()
    try:
        yield
    except Error:
        if not existed:
            with contextlib.suppress(OSError):
                for heard in folder.glob("sound-*.json"):
                    heard.unlink()
                folder.rmdir()
        raise


def _tell_of_film_before(
    chosen: dict[str, Any],
    keyframes: Sequence[Keyframe],
    out: Path,
    folder: Path,
    listener: Listener,
    counted: bool,
) -> None:
    """A note if the film of this name is of other prompts, and will be replaced; and, where seeds are `counted`, of
    prompts that have other ones than in it, for no reason but their place in the list."""
    from walk.manifest import read_manifest

    try:
        before = read_manifest(folder).walk.keyframes
    except Error:
        return
    if out.exists() and not {keyframe.title for keyframe in before} & {keyframe.title for keyframe in keyframes}:
        listener.note(f"{out} is of other prompts, and will be replaced; to keep it, stop, and give another --out")
    if not counted or chosen.get("seeds", WORDS) != WORDS:
        return
    shifted = _shifted(before, keyframes)
    if not shifted:
        return
    told = [f"{k + 1} in | seed={seed}" for k, seed in shifted[:SHIFTS]]
    if more := shifted[SHIFTS:]:
        told.append(f"and so on, to {more[-1][0] + 1} in | seed={more[-1][1]}")
    one = len(shifted) == 1
    have = "prompt has another seed" if one else "prompts have other seeds"
    listener.note(
        f"{len(shifted)} {have} than in the film that is here, since seeds follow the order of the list; to keep "
        f"{'its picture, end the line' if one else 'their pictures, end the lines'} of keyframe {', '.join(told)}"
    )


def _shifted(before: Sequence[Keyframe], keyframes: Sequence[Keyframe]) -> list[tuple[int, int]]:
    """(index, seed before) of keyframes whose seed has changed just as much as their place in the list."""
    earlier: defaultdict[Subject, list[int]] = defaultdict(list)
    for a, keyframe in enumerate(before):
        earlier[keyframe.subject].append(a)
    pairs = [(earlier[it.subject].pop(0), b) for b, it in enumerate(keyframes) if earlier[it.subject]]
    return [(b, before[a].seed) for a, b in pairs if before[a].seed != keyframes[b].seed == before[a].seed + b - a]


def metadata(
    order: Order,
    walk: Walk,
    settings: Settings,
    refined: bool = False,
    upscale: str | None = None,
    interpolator: str | None = None,
) -> probe.Metadata:
    """What the film says of itself. walk, settings: complete ones, as they were rendered. refined: frames are also where
    those of an earlier film were, which its recipe must tell. upscale: what enlarged them. interpolator: what made those
    that were not rendered."""
    from walk import film

    chosen = order.flags
    walk = dataclasses.replace(walk, keyframes=order.written) if order.written else walk
    has_rhythm = bool(RHYTHM & set(chosen))
    if has_rhythm and "frames" in chosen and not {"audio", "bars"} & set(chosen) and not order.placed:
        chosen = {"seconds": walk.seconds} | chosen  # that it is to stay so long
    by_program = order.placed and "speed" not in chosen
    deciding: dict[str, object] = {
        **({} if by_program else {"speed": chosen.get("speed", flags.SPEEDS[0])}),
        **{name: True for name in ("loop", "ease") if chosen.get(name)},
        **(given(chosen, *_TO_SOUND) if has_rhythm else {}),
        **{
            name: float(chosen[name]) for name in ("start", "seconds", "offset", "bpm") if has_rhythm and name in chosen
        },
        **{name: Path(chosen[name]).name for name in ("audio", "beats") if name in chosen},
        **({"listen": _without_folder(chosen["listen"])} if "listen" in chosen else {}),
        **({"upscale": upscale} if upscale else {}),
        **(given(chosen, "interpolate") | {"interpolator": interpolator} if interpolator else {}),
        **order.look,
    }
    rendered = () if order.thinned.is_whole else order.thinned.rendered
    return film.describe(walk, settings, deciding, refined or order.music is not None or order.placed, rendered)


def _without_folder(listen: str) -> str:
    """As --listen understands it: a file named low stays one."""
    from walk.music import stem_of

    file = stem_of(listen)
    return listen if file is None else file.name if stem_of(file.name) else f"./{file.name}"


def _rate(fps: Fraction) -> str:
    return str(fps) if fps.denominator == 1 else f"{float(fps):.6g}"

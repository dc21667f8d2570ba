"""The command: parse, join the parts, show progress, print errors. The only file that prints.

stdout gets the film's path (or what else was asked for) and nothing else; what is for the eye goes
to stderr.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import errno
import functools
import gc
import io
import json
import math
import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median, pvariance
from typing import TYPE_CHECKING, Any

from walk import (
    Error,
    OutOfMemoryError,
    Settings,
    Walk,
    __version__,
    flags,
    lyrics,
    pace,
    read_prompts,
    recipe,
    timeline,
    video,
)
from walk.flags import given
from walk.keyframes import Keyframe, format_time, plural, prompt_file
from walk.recipe import Recipe
from walk.settings import BUILT_IN

if TYPE_CHECKING:
    import numpy as np

    from walk import sheet
    from walk.models import Model
    from walk.music import Music
    from walk.render import Batch, Renderer
    from walk.run import Run
    from walk.speed import Features, Pacer

PLAIN_SECONDS = 10  # between lines of progress where there is no terminal
SEEDS = 16
MAX_SEEDS = 256  # on one sheet
ENCODING = 45e-9  # seconds that a pixel's encoding and watching take on two cores, for estimates
BEGUN = time.monotonic()
BENCH_FRAMES = 720  # half a minute
SPARE = 0.15  # more batches when the speed is even: some pictures become no frames, some batches have empty places
TURN = 0.6  # of the way between two keyframes, between two pictures of a first look, is worth a note
M_ARENA_MAX = -8  # as malloc.h of glibc numbers it
HURRY = 2.5  # a segment that many times as fast as the median is worth a warning


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit status: 0, 1 if what was to be checked is wrong, 2 for
    what the user can mend, 130 if stopped."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    name = arguments[0] if arguments and arguments[0] in COMMANDS else ""
    if not arguments or arguments == ["help"] or {"-h", "--help"} & set(arguments):
        print(flags.help_text(name))
        return 0
    if "--version" in arguments:
        print(f"walk {__version__}")
        return 0
    _prepare_libraries()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the terminal cannot show is no reason to fail
        sys.stdout.reconfigure(errors="backslashreplace")
    for number in ("SIGTERM", "SIGHUP"):  # a kill, or a closed terminal, stops like Ctrl-C
        if hasattr(signal, number):
            signal.signal(getattr(signal, number), signal.default_int_handler)
    try:
        import fire
        from fire.decorators import SetParseFns

        parse = SetParseFns(**{name: flag.parse for name, flag in flags.COMMANDS[name].flags.items()})
        checked = flags.checked(arguments[1:] if name else arguments, name)
        result = fire.Fire(parse(COMMANDS[name]), command=checked, name="walk")
    except Error as error:
        print(f"walk: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"\nwalk: stopped; {str(stop) or 'nothing was begun'}", file=sys.stderr)
        return 130
    return int(isinstance(result, _Wrong))


# Commands. Each returns what belongs on stdout, and Fire prints it.


def _halving(command: Callable[..., str]) -> Callable[..., str]:
    """Where so many frames at a time find no room, the command once more with half of them. Frames are then those
    of the smaller batch, as if it had been so from the start."""

    @functools.wraps(command)
    def tried(**chosen: Any) -> str:
        while True:
            try:
                return command(**chosen)
            except Error as error:
                full = error if isinstance(error, OutOfMemoryError) else error.__cause__
                if not isinstance(full, OutOfMemoryError) or full.batch == 1:
                    raise
                chosen |= {"batch": full.batch // 2}
                del full
            gc.collect()  # else what is left of the model fills the memory that it is to be loaded into
            say = _quiet if chosen.get("quiet") else _say
            say(f"{2 * chosen['batch']} frames at a time find no room in memory; going on with {chosen['batch']}")

    return tried


@_halving
def film(**chosen: Any) -> str:
    """Make the film that the flags describe; returns its path."""
    order = _order(chosen)
    pictures = _Pictures(order)
    with _opened(order, pictures) as run, _Work(order, pictures, run) as work:
        run = run.decide(run.decided(work.read) or _looked(order, run, work).walk) if _is_even(order) else run
        work.make(run)
        work.settle()
        if not work.rendered:
            work.say_found()
        frames = run.frames()
        metadata = _metadata(order, run) if order.describe else None
        with _Progress(order.say, f"making {order.out.name}", len(frames), after=2) as progress:
            run.claim(order.out.name)
            sound = order.music.sound if order.music else None
            video.encode(
                frames, order.out, run.walk.fps, **order.look, metadata=metadata, sound=sound, report=progress.reached
            )
    if order.out.suffix:
        _watch(order, run.walk)
    return str(order.out)


@_halving
def preview(**chosen: Any) -> str:
    """Render the keyframes and what lies half-way, as the film will; returns the path of a picture of them."""
    from walk import sheet, speed

    # 1. The pictures: nearly all of them are frames of the film, too.
    order = _order(chosen)
    picture = order.out.with_name(order.out.stem + ".preview.png")
    _check_sheet(picture)
    pictures = _Pictures(order)
    fewer = speed.quick(pictures.settings)
    quick = chosen.get("quick", False) and fewer != pictures.settings
    if quick:
        pictures.settings = fewer
        order = dataclasses.replace(order, folder=order.folder / "quick")
    with _opened(order, pictures) as run, _Work(order, pictures, run, "rendering the preview") as work:
        before = run.decided(work.read) if _is_even(order) else None
        pacer = _looked(order, run, work, further=False)
        walk = before or pacer.walk
        run = run.at(walk)
        seen = {position for position, _ in pacer.distances}
        indices = [*_landmarks(walk)[0], *(_half_way(walk, k, seen) for k in range(walk.segments))]
        work.make(run, indices)
        work.settle()
        shown = [run.picture(index) for index in indices]
        left, size = len(run.missing()), run.size()

    # 2. What they tell.
    steps, along = (speed.predicted(some, pacer.distances) for some in (walk, pacer.asked))
    notes = [*_notes(order, walk, steps, pictures), *_turns(pacer.asked, pacer.distances)]
    count = len(walk.keyframes)
    drawn = sheet.preview(walk, shown[:count], shown[count:], steps, notes, _drawn(order.music), along)
    _save_sheet(drawn, picture)
    for note in notes:
        order.say(f"note: {note}")
    if not quick:
        _say_estimate(order, walk, pictures, work.seconds, left, size)
    return str(picture)


@_halving
def seeds(**chosen: Any) -> str:
    """Render one prompt from several seeds; returns the path of a sheet of them."""
    from walk import sheet
    from walk.render import render

    count, first = chosen.get("count", SEEDS), chosen.get("from", 0)
    if count > MAX_SEEDS:
        raise Error(f"--count {count} is too many for one sheet; the limit is {MAX_SEEDS}")
    prompt = chosen["prompt"]
    keyframes = read_prompts([prompt], seeds=range(first, first + count), **given(chosen, "negative"))
    out = _expanded(chosen.get("out", f"{_slug(prompt)}.seeds.png"))
    if out.suffix.lower() != ".png":
        raise Error(f"{out}: a sheet's name ends in .png, as in seeds.png")
    _check_sheet(out)
    say = _quiet if chosen.get("quiet") else _say
    order = _Order(keyframes, None, Settings(**given(chosen, *flags.SETTINGS)), out, out, {}, say)
    pictures = _Pictures(order)
    walk = Walk(keyframes, tuple(map(float, range(count))), Fraction(1))
    shown = {}
    model = pictures.loaded()
    with _Progress(say, "rendering", count) as progress:
        for index, picture in render(model, walk, range(count)):
            shown[index] = picture
            progress.reached(len(shown))
    _save_sheet(sheet.seeds([shown[i] for i in range(count)], [k.seed for k in keyframes], prompt), out)
    return str(out)


def info(film: str, **chosen: Any) -> str:
    """What made a film, as a prompt file, or as JSON."""
    made = _read_recipe(film)
    if chosen.get("json"):
        return recipe.to_text(made)
    return recipe.as_prompt_file(made, f"{Path(film).stem}.txt")


def replay(**chosen: Any) -> str:
    """Make a film again from its recipe, with whatever flags change of it; returns the new film's path."""
    path = chosen.pop("film")
    made = _read_recipe(path)
    flags_ = {name: flags.ALL[name].parse(text) for name, text in made.flags}
    flags_.pop("beats", None)  # no path that a film names is opened
    for name, other in (("frames", "seconds"), ("seconds", "frames"), ("bars", "frames"), ("bars", "seconds")):
        if name in chosen:
            flags_.pop(other, None)
    chosen.setdefault("out", str(Path(path).with_name(f"{Path(path).stem}-again{Path(path).suffix}")))
    if "audio" in flags_ and "audio" not in chosen:  # the film's own sound is that part already
        flags_ = {name: value for name, value in flags_.items() if name not in ("start", "bars", "offset", "seconds")}
        flags_["audio"] = path
    if made.positions and not set(chosen) & set(flags.TIMING):
        chosen["places"] = made.positions
    elif made.positions:  # as long as the music is
        flags_.pop("frames", None)
    return film(**flags_ | chosen, prompts=list(made.prompts), weights=made.made_with[1] if made.made_with[1:] else "")


def diff(film: str, other: str) -> str | None:
    """What differs in the recipes of two films; nothing if they are the same."""
    return "\n".join(recipe.differences(_read_recipe(film), _read_recipe(other))) or None


def prune(folder: str, yes: bool = False) -> str | None:
    """Frames that a run folder's newest film does not use: listed, or removed."""
    from walk.run import unused

    paths = unused(Path(folder))
    total = sum(path.stat().st_size for path in paths)
    if yes:
        for path in paths:
            path.unlink()
    done = "removed" if yes else "not used; add --yes to remove them"
    _say(f"{plural(len(paths), 'frame')}, {_bytes(total)}: {done}")
    return None if yes else "\n".join(map(str, paths)) or None


class _Wrong(str):
    """What a command found that is not as it should be."""


def check(film: str) -> str:
    """What a film is, and what is wrong with it."""
    from walk.check import check

    with _Progress(_say, f"reading {film}", len(video.timestamps(Path(film))[0]), after=2) as progress:
        report = check(Path(film), progress.reached)
    lines = [
        *report.facts,
        *(f"{_clock(seconds)}  {fault}" for seconds, fault in report.faults),
    ]
    if report.faults:
        return _Wrong("\n".join(lines))
    return "\n".join([*lines, "nothing is wrong"])


def doctor() -> str:
    """What this machine can do, and what to do where it cannot."""
    from walk.doctor import examine

    findings = examine(Path())
    lines = [
        f"{'-' if it.remedy else 'ok':<4}{it.text}" + (f"\n    {it.remedy}" if it.remedy else "") for it in findings
    ]
    text = "\n".join(lines)
    return _Wrong(text) if any(finding.fatal for finding in findings) else text


@_halving
def bench(**chosen: Any) -> str:
    """How fast a model's frames are made on this machine, and where the time goes."""
    import tempfile

    from walk.bench import measure

    say = _quiet if chosen.get("quiet") else _say
    order = _Order((), None, Settings(**given(chosen, *flags.SETTINGS)), Path(), Path(), {}, say)
    pictures = _Pictures(order)
    model = pictures.loaded()
    say("making frames")
    with tempfile.TemporaryDirectory() as folder:
        it = measure(model, Path(folder))
    settings = model.settings
    frames = chosen.get("frames", BENCH_FRAMES)
    told = {
        "model": settings.model, "device": settings.device, "dtype": settings.dtype, "batch": settings.batch,
        "width": settings.width, "height": settings.height, "steps": settings.steps,
        "frames_a_second": round(it.rate, 4), "load": round(pictures.startup, 2), "first_batch": round(it.first, 3),
        "encode_a_prompt": round(it.encode, 4), "denoise": round(it.denoise / it.total, 4),
        "decode": round(it.decode / it.total, 4), "idle": round(it.idle / it.total, 4),
        "write_beside": round(it.write / it.total, 4), "frames": frames,
        "film": round(pictures.startup + it.film(frames), 1),
    }  # fmt: skip
    if chosen.get("json"):
        return json.dumps(told)
    shares = ", ".join(f"{name} {told[name]:.0%}" for name in ("denoise", "decode", "idle"))
    return "\n".join(
        [
            f"{settings.model}, {settings.width}x{settings.height}, {settings.steps} steps, {settings.batch} at a time, "
            f"{settings.dtype} on {settings.device}",
            f"{it.rate:.3g} frames a second: {shares}; writing, beside that, {it.write / it.total:.0%}",
            f"once: {pictures.startup:.1f} s to load, {it.first:.1f} s for the first batch, {it.encode:.2g} s a prompt",
            f"a film of {frames} frames: about {format_time(round(told['film']))}",
        ]
    )


def list_models() -> str:
    """Models with a short name, and whether they are on this machine."""
    from walk import hub
    from walk.catalogue import CATALOGUE

    rows = [("name", "pixels", "steps", "guidance", "here", "licence", "hub id")]
    rows.append((BUILT_IN, "128", "4", "1", "yes", "MIT", "built in"))
    for it in CATALOGUE:
        here = "yes" if hub.is_here(it.repo) else "no"
        rows.append((it.name, str(it.side), str(it.steps), f"{it.guidance:g}", here, it.licence, it.repo))
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


COMMANDS: dict[str, Callable[..., str | None]] = {
    "": film,
    "preview": preview,
    "seeds": seeds,
    "info": info,
    "replay": replay,
    "diff": diff,
    "check": check,
    "bench": bench,
    "models": list_models,
    "doctor": doctor,
    "prune": prune,
}


# What the flags ask for


@dataclass(frozen=True)
class _Order:
    keyframes: tuple[Keyframe, ...]
    walk: Walk | None
    settings: Settings
    out: Path
    folder: Path
    look: dict[str, Any]
    say: Callable[[str], None]
    flags: dict[str, Any] = field(default_factory=dict)
    music: Music | None = None

    @property
    def describe(self) -> bool:
        return not self.flags.get("no_metadata")


def _order(chosen: dict[str, Any]) -> _Order:
    """Everything that can be refused without a model, is."""
    if "prompts" not in chosen:
        raise Error("--prompts is missing; give a prompt file, or the prompts themselves")
    if "seed" in chosen and "seeds" in chosen:
        raise Error(
            "--seed and --seeds were both given; --seed counts up from keyframe to keyframe, --seeds lists them"
        )
    if "places" not in chosen:
        _check_together(chosen)
    say = _quiet if chosen.get("quiet") else _say
    keyframes = read_prompts(chosen["prompts"], **given(chosen, "seed", "seeds", "negative", "style"))
    settings = Settings(**given(chosen, *flags.SETTINGS))
    out, folder = _places(chosen)
    look = given(chosen, "size", "quality", "codec")
    video.validate(out, **look, sound="audio" in chosen)
    _check_places(out, folder)
    if "places" in chosen:
        music, walk = _again(chosen, keyframes)
    else:
        music = _music(chosen, keyframes, out, folder, say)
        walk = _walk(chosen, keyframes, music)
    say(
        f"{len(walk.keyframes)} keyframes, {plural(walk.frames, 'frame')}, "
        f"{format_time(float(walk.seconds))} at {_rate(walk.fps)} frames a second"
    )
    shown = video.shown_fps(out, walk.fps)
    if shown != walk.fps:
        say(f"{out.suffix} cannot show that rate: the film will have {_rate(shown)} frames a second")
    return _Order(walk.keyframes, walk, settings, out, folder, look, say, chosen, music)


def _check_together(chosen: dict[str, Any]) -> None:
    """Raise Error for flags that contradict each other, or need one that is not there."""
    together = [
        ("seconds", "bars"),
        ("bpm", "beats"),
        ("offset", "beats"),
        *(("ease", name) for name in ("pace", "react")),
    ]
    for one, other in together:
        if one in chosen and other in chosen:
            raise Error(f"--{one} and --{other} were both given; give one of them")
    known = {"audio", "bpm", "beats"} & set(chosen)
    for name in ("start", "bars", "offset", "meter", "align"):
        if name in chosen and not known:
            raise Error(f"--{name} needs a sound or a tempo; give --audio, or --bpm")
    if "start" in chosen and "audio" not in chosen:
        raise Error("--start says where in a sound to begin; give --audio, too")
    for name in ("pace", "pace_noise"):
        if chosen.get(name) == "energy" and "audio" not in chosen:
            raise Error(f"--{name} energy follows a sound; give --audio")
        if chosen.get(name) == "beat" and not known:
            raise Error(f"--{name} beat needs beats; give --audio, --bpm or --beats")
    if "react" in chosen and set(_paces(chosen)) == {"even"}:
        raise Error("--react says how far the pace departs from even; give --pace energy or --pace beat, too")


def _paces(chosen: dict[str, Any]) -> tuple[str, str]:
    """Of the prompts and of the noise."""
    pace = chosen.get("pace", "energy" if "audio" in chosen and not chosen.get("ease") else "even")
    return pace, chosen.get("pace_noise", pace)


def _music(
    chosen: dict[str, Any], keyframes: Sequence[Keyframe], out: Path, folder: Path, say: Callable[[str], None]
) -> Music | None:
    """What the film moves to, if anything."""
    if not {"audio", "bpm", "beats"} & set(chosen):
        return None
    from walk import music

    fps = chosen.get("fps", timeline.FPS)
    seconds = chosen.get("seconds")
    how = {"closed": chosen.get("loop", False), **given(chosen, "bars", "meter", "bpm", "offset")}
    if "beats" in chosen:
        how["beats"] = Path(chosen["beats"])
    if "audio" in chosen:
        heard = music.hear(
            Path(chosen["audio"]), folder, fps, seconds=seconds, **given(chosen, "start"), **how, report=say
        )
    else:
        if "frames" in chosen and seconds is None:
            seconds = chosen["frames"] / fps
        if "beats" not in chosen and seconds is None:
            how.setdefault("bars", len(keyframes) - 1 + how["closed"])
        heard = music.tempo(fps, seconds=seconds, **how)
    beats, bars = heard.rhythm.beats, heard.rhythm.bars
    speed = f", {60 / median(b - a for a, b in pairwise(beats)):.4g} beats a minute" if len(beats) > 2 else ""
    say(f"{heard.name}: {format_time(float(heard.seconds))}{speed}, {plural(len(bars), 'bar')}")
    for note in heard.notes:
        say(f"note: {note}")
    if heard.sound and (rate := video.heard_rate(out, heard.sound.rate)) != heard.sound.rate:
        say(f"{out.suffix} cannot hold {heard.sound.rate} samples a second: the film will have {rate}")
    return heard


def _walk(chosen: dict[str, Any], keyframes: tuple[Keyframe, ...], music: Music | None) -> Walk:
    timing = given(chosen, "frames", "seconds", "fps", "ease", closed="loop")
    smooth = chosen.get("path", flags.PATHS[0]) == "smooth"
    if music is None:
        return Walk.through(
            timeline.timed(keyframes, (), (), "there is no sound or tempo (--audio, --bpm) that"),
            smooth=smooth,
            **timing,
        )
    fps, rhythm = chosen.get("fps", timeline.FPS), music.rhythm
    frames = timeline.frame_count(music.seconds, fps)
    if chosen.get("frames", frames) != frames:
        raise Error(
            f"--frames {chosen['frames']} does not agree with {music.name}, which makes {frames}; drop --frames"
        )
    file = prompt_file(chosen["prompts"])
    if file is not None and file.suffix.lower() in lyrics.SUFFIXES:
        keyframes = timeline.within(keyframes, float(chosen.get("start", 0)), float(music.seconds))
    keyframes = timeline.timed(keyframes, rhythm.beats, rhythm.bars, music.name)
    moments = {"bar": (rhythm.bars, rhythm.beats), "beat": (rhythm.beats,), "off": ()}
    prompts, noise = (_steps(name, chosen, music, frames, fps) for name in _paces(chosen))
    return Walk.through(
        keyframes,
        smooth=smooth,
        moments=moments[chosen.get("align", flags.ALIGN[0])],
        steps=prompts,
        noise_steps=noise,
        **{**timing, "seconds": music.seconds, "frames": None},
    )


def _again(chosen: dict[str, Any], keyframes: tuple[Keyframe, ...]) -> tuple[Music | None, Walk]:
    """A film's own sound, and its frames where they were."""
    positions, noise = chosen["places"]
    fps, closed, smooth = chosen["fps"], chosen.get("loop", False), chosen.get("path", flags.PATHS[0]) == "smooth"
    walk = Walk(keyframes, positions, fps, closed, smooth, noise)
    if "audio" not in chosen:
        return None, walk
    from walk.audio import Rhythm
    from walk.music import Music

    path = Path(chosen["audio"])
    return Music(path.name, video.read_sound(path), walk.seconds, Rhythm((), (), ())), walk


def _steps(name: str, chosen: dict[str, Any], music: Music, frames: int, fps: Fraction) -> list[float] | None:
    from walk.audio import ENVELOPE_RATE

    react = given(chosen, "react")
    if name == "beat":
        return pace.on_beats(music.rhythm.beats, frames, fps, **react)
    if name == "energy":
        return pace.with_energy(music.rhythm.envelope, ENVELOPE_RATE, frames, fps, **react)
    return None


def _places(chosen: dict[str, Any]) -> tuple[Path, Path]:
    """The film, and its run folder beside it."""
    prompts = chosen["prompts"]
    if "out" in chosen:
        out = _expanded(chosen["out"])
        if chosen["out"].endswith(("/", os.sep)) and not out.suffix:
            return out, out.with_name(out.name + ".walk") if out.name else out
    elif file := prompt_file(prompts):
        out = Path(file.stem + ".mp4")
    else:
        out = Path(_slug(prompts if isinstance(prompts, str) else prompts[0]) + ".mp4")
    with contextlib.suppress(OSError):  # a name too long for the file system is refused later
        if out.is_dir():
            raise Error(
                f"--out {out} is a folder; give the film's name, such as {out / 'film.mp4'}, or {out}/ for PNG files"
            )
    if not out.suffix:
        raise Error(
            f"{out}: a film's name ends in {video.either(video.SUFFIXES)}; for a folder of PNG files, write {out}/"
        )
    return out, out.with_suffix(".walk")


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise Error(f"{path} cannot be written: there is no such home folder; give another --out") from None


def _slug(prompt: str) -> str:
    return re.sub(r"\W+", "-", prompt.split("|")[0].lower())[:40].strip("-") or "film"


def _check_places(out: Path, folder: Path) -> None:
    """Raise Error if the film cannot be written, or would replace what walk has not made."""
    from walk.run import films

    with contextlib.suppress(OSError):
        if out.exists() and not folder.is_dir():
            raise Error(
                f"{out} exists and has no {folder.name} beside it, so it is not overwritten; give another --out"
            )
        if out.exists() and out.name not in films(folder):
            raise Error(
                f"{out} exists and was not made from {folder.name}, so it is not overwritten; give another --out"
            )
        if folder.exists() and not folder.is_dir():
            raise Error(f"{folder} cannot be written ({os.strerror(errno.ENOTDIR)}); give another --out")
    _check_writable(out)


def _check_sheet(out: Path) -> None:
    """Raise Error if a sheet cannot be written, or would replace a picture that is none."""
    from PIL import Image

    _check_writable(out)
    with contextlib.suppress(OSError):
        if not out.exists():
            return
        with Image.open(out) as picture:
            if picture.info.get("Software") == "walk":
                return
    raise Error(f"{out} exists and is no sheet of walk's, so it is not overwritten; give another --out")


def _check_writable(out: Path) -> None:
    if len(os.fsencode(out.name)) > 230:  # of 255: there has to be room for a temporary name
        raise Error(f"{out} cannot be written ({os.strerror(errno.ENAMETOOLONG)}); give another --out")
    parent = next(parent for parent in out.absolute().parents if parent.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise Error(f"{out} cannot be written: {parent} is not a folder that you may write to; give another --out")


def _read_recipe(film: str) -> Recipe:
    """A film's recipe, of which every flag has been checked like one that was typed."""
    made = recipe.from_text(video.read_metadata(Path(film)).comment, film)
    try:
        unknown = [name for name, _ in made.flags if name not in flags.COMMANDS["recipe"].flags]
        if unknown:
            raise Error(f"there is no flag --{unknown[0][:60]}")
        flags.checked([f"--{name}={value}" for name, value in made.flags], "recipe")
        read_prompts(made.prompts)
    except Error as error:
        raise Error(f"{film}: the recipe is damaged: {error}") from None
    return made


def _metadata(order: _Order, run: Run) -> video.Metadata:
    walk, chosen = run.walk, order.flags
    deciding: dict[str, object] = {
        "frames": walk.frames,
        "fps": walk.fps,
        "path": "smooth" if walk.smooth else "slerp",
        "speed": chosen.get("speed", flags.SPEEDS[0]),
        **{name: True for name in ("loop", "ease") if chosen.get(name)},
        **given(chosen, "bars", "meter", "align", "pace", "pace_noise", "react"),
        **{name: float(chosen[name]) for name in ("start", "offset", "bpm") if name in chosen},
        **{name: Path(chosen[name]).name for name in ("audio", "beats") if name in chosen},
        **order.look,
    }
    positions = (walk.positions, walk.noise) if order.music else None
    made = recipe.compose(walk.keyframes, deciding, run.settings, positions)
    keys, _ = _landmarks(walk)
    starts = sorted((index / walk.fps, keyframe.prompt) for index, keyframe in zip(keys, walk.keyframes))
    title = f"{walk.keyframes[0].prompt} – {walk.keyframes[-1].prompt}"
    return video.Metadata(title, recipe.to_text(made), tuple(starts))


# The work


class _Pictures:
    """Renders what runs miss. The model is found at once, and loaded when the first picture is."""

    def __init__(self, order: _Order) -> None:
        from walk import models

        self.say = order.say
        self.startup = 0.0  # seconds until the model is there
        if order.settings.model == BUILT_IN:
            self.say("toybox, the built-in model, draws things in a toy style; for others see --model")
        with contextlib.ExitStack() as shown:
            files: dict[Path, _Progress] = {}

            def reading(path: Path, done: int, size: int) -> None:
                if path not in files:
                    bar = _Progress(self.say, f"reading {path.name}", size >> 20, after=2, unit="MiB")
                    files[path] = shown.enter_context(bar)
                files[path].reached(done >> 20)

            self.settings = models.complete(order.settings, reading)
        if order.settings.batch is None:
            self.settings = _as_there_was_room(self.settings, order.folder)
        if order.flags.get("weights", self.settings.weights) != self.settings.weights:
            self.say("note: the model is not the one that made that film, so its pictures will differ")
        self._model: Model | None = None
        self.startup = time.monotonic() - BEGUN

    def loaded(self) -> Model:
        from walk import models

        if self._model is None:
            self.say("loading the model" + ", and compiling it with the first pictures" * self.settings.compile)
            begun = time.monotonic()
            with contextlib.redirect_stderr(io.StringIO()):  # several libraries' bars and advice
                self._model = models.load(self.settings)
            self.startup += time.monotonic() - begun
        return self._model


def _as_there_was_room(settings: Settings, folder: Path) -> Settings:
    """With the smaller batch of the run that is there, if it is the same but for that: its frames still serve."""
    from walk.run import read_manifest

    with contextlib.suppress(Error):
        before = read_manifest(folder)[1]
        if (before.batch or 0) < (settings.batch or 0):
            smaller = dataclasses.replace(settings, batch=before.batch)
            return smaller if smaller.deciding() == before.deciding() else settings
    return settings


def _is_even(order: _Order) -> bool:
    return order.flags.get("speed", flags.SPEEDS[0]) == "even" and "places" not in order.flags  # even already


def _opened(order: _Order, pictures: _Pictures) -> Run:
    from walk.run import Run

    assert order.walk is not None
    return Run(order.folder, order.walk, pictures.settings, order.describe, decided=not _is_even(order))


def _looked(order: _Order, run: Run, work: _Work, further: bool = True) -> Pacer:
    """Has found out where the frames belong, and on the way rendered most of them."""
    from walk import speed

    def at(*positions: float) -> Run:
        return run.at(dataclasses.replace(run.walk, positions=positions, noise=()))

    pacer = speed.Pacer(run.walk, lambda position: work.look(at(position)), _is_even(order), further)
    batch = run.settings.batch or 1
    if not further:
        work.progress.expect(len(pacer.unseen()))

    def following(seen: list[float]) -> list[float]:
        pacer.saw(seen)
        wanted = pacer.wanted(batch)
        work.prepare(at(*wanted))
        return wanted

    before: list[float] = []
    with ThreadPoolExecutor(1) as aside, work.looked_at():
        wanted = pacer.wanted(batch)
        while wanted or before:
            after = aside.submit(following, before)  # while these are rendered
            work.make(at(*wanted))
            before, wanted = wanted, after.result()
    return pacer


class _Work:
    """The frames that a command needs: found or rendered, with progress. Whatever ends it says how much is kept."""

    def __init__(self, order: _Order, pictures: _Pictures, run: Run, what: str = "rendering") -> None:
        self.order, self.pictures, self.run, self.what = order, pictures, run, what
        self.progress = _Progress(order.say, "reading frames", len(set(run.fingerprints)), after=2)
        self.asked: set[str] = set()  # fingerprints
        self.rendered: dict[str, Future[None] | None] = {}  # fingerprints; done when on the disk, None when on the way
        self.features: dict[str, Future[Features]] = {}  # of those rendered that were not looked at
        self.looking = False
        self.renderer: Renderer | None = None
        self.seconds: list[float] = []  # that a batch took
        self.found = 0  # frames
        self._saving = contextlib.ExitStack()

    def __enter__(self) -> _Work:
        self.progress.__enter__()
        self.save = self._saving.enter_context(self.run.saver())
        return self

    def __exit__(self, kind: object, error: BaseException | None, *_: object) -> None:
        self.progress.__exit__()
        try:
            self._saving.close()
        except (Error, KeyboardInterrupt) as late:
            error = error or late
        kept = f"{len(self)} of {self.frames} frames are safe in {self.order.folder}; run the same command to go on"
        if isinstance(error, Error):
            raise Error(f"{error}; {kept}") from error
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(kept) from None

    def __len__(self) -> int:
        """How many of the frames are there."""
        return min(max(len(self.run), self.run.count(self.asked)), self.frames)

    @property
    def frames(self) -> int:
        return self.order.walk.frames if self.order.walk else 0

    def make(self, run: Run, indices: Sequence[int] | None = None) -> None:
        """All frames of the run's walk, or these. They may still be on their way, at most until nothing is missing in
        a call to come."""
        asked = {run.fingerprints[index] for index in (range(run.walk.frames) if indices is None else indices)}
        missing = [index for index in run.missing(indices, self.read) if run.fingerprints[index] not in self.rendered]
        found = len(asked - self.asked) - len(missing)
        self.run = run
        self.asked |= asked
        self.found += found
        if self.rendered:
            self.progress.skip(found)
        elif missing:
            self._begin()
        if missing:
            self._render(missing)
        else:
            self._finish()

    def read(self) -> None:
        """One more frame that was found has been read."""
        if not self.rendered:
            self.progress.more(1)

    def settle(self) -> None:
        """Until everything is on the disk."""
        self._finish()
        self.save.wait(0)

    @contextlib.contextmanager
    def looked_at(self) -> Iterator[None]:
        """What is made meanwhile will be looked at, in another thread."""
        self.looking = True
        try:
            yield
        finally:
            self.looking = False
            for features in list(self.features.values()):  # after an error, somebody may wait for them for ever
                features.cancel()

    def look(self, run: Run) -> Features:
        """What the eye takes from the one frame of this run."""
        from walk import speed

        fingerprint = run.fingerprints[0]
        if features := self.features.get(fingerprint):
            seen = features.result()
            del self.features[fingerprint]
            return seen
        if saved := self.rendered.get(fingerprint):
            saved.result()
        return speed.features(run.picture(0))

    def prepare(self, run: Run) -> None:
        """In another thread: frames that will be made next."""
        if self.renderer is not None:
            self.renderer.prepare(run.walk, [i for i in range(run.walk.frames) if not run.has(i)])

    def _render(self, indices: Sequence[int]) -> None:
        from walk.render import Renderer, batches

        run = self.run
        if self.renderer is None:
            self.renderer = Renderer(self.pictures.loaded().at(run.settings))
        names = [run.fingerprints[index] for index in indices]
        self.rendered |= dict.fromkeys(names)
        if self.looking:
            self.features |= {name: Future() for name in names}
        begun = time.monotonic()
        self._keep(self.renderer.render(run.walk, indices, run))
        count = len(batches(indices, run.settings.batch or 1))
        self.seconds += [(time.monotonic() - begun) / count] * count

    def _finish(self) -> None:
        if self.renderer is not None:
            self._keep(self.renderer.finish())

    def _keep(self, rendered: Iterator[tuple[Run, Batch]]) -> None:
        for run, pictures in rendered:
            save = self.save.at(run)
            for index, picture in pictures:
                fingerprint = run.fingerprints[index]
                self.rendered[fingerprint] = save(index, picture)
                if features := self.features.get(fingerprint):
                    self.save.pool.submit(_see, features, picture)
            self.progress.more(len(pictures))

    def _begin(self) -> None:
        self.say_found()
        self.pictures.loaded()
        self.progress.__exit__()
        self.progress = _Progress(self.order.say, self.what, self.progress.total - self.found).__enter__()

    def say_found(self) -> None:
        damaged = len(self.run.damaged)
        if len(self) or damaged:
            again = f", {damaged} damaged and made again" if damaged else ""
            self.order.say(f"{len(self)} of {self.frames} frames are in {self.order.folder} already{again}")


def _see(features: Future[Features], picture: np.ndarray) -> None:
    from walk import speed

    if features.set_running_or_notify_cancel():
        try:
            features.set_result(speed.features(picture))
        except BaseException as error:  # else whoever waits for it never hears
            features.set_exception(error)


def _drawn(music: Music | None) -> sheet.Music | None:
    import numpy as np

    from walk import sheet

    if music is None:
        return None
    samples, rate = (music.sound.samples, music.sound.rate) if music.sound else (np.zeros((0, 1)), 0)
    return sheet.Music(samples, rate, music.rhythm.beats, music.rhythm.bars)


def _watch(order: _Order, walk: Walk) -> None:
    """Read the film as a player would, and say how even it is, and what is wrong with it."""
    from walk import speed
    from walk.check import check

    with _Progress(order.say, f"watching {order.out.name}", walk.frames, after=2) as progress:
        report = check(order.out, progress.reached)
    if report.steps:
        steps = [100 * step for step in report.steps]  # black to white is 100
        figures = f"PPL {sum(steps):.0f}, PDV {pvariance(steps):.2g}"
        along = ""
        if order.walk is not None and walk != order.walk:
            before = speed.unevenness(speed.predicted(order.walk, list(zip(walk.positions, report.steps))))
            along = f" (along the path about {before:.1f})"
        largest = f"the largest {speed.unevenness(report.steps):.1f} times the median{along}"
        order.say(f"steps from frame to frame, to the eye: {figures}, {largest}")
    for seconds, fault in report.faults:
        order.say(f"note: {_clock(seconds)}  {fault}")


def _half_way(walk: Walk, k: int, seen: set[float]) -> int:
    """The frame about half-way from a keyframe to the next, one of those seen if possible."""
    inside = [index for index, position in enumerate(walk.positions) if k < position < k + 1]
    known = [index for index in inside if walk.positions[index] in seen]
    return min(known or inside or range(walk.frames), key=lambda index: abs(walk.positions[index] - k - 0.5))


def _landmarks(walk: Walk) -> tuple[list[int], list[int]]:
    """Indices of the frames that show the keyframes, and how many frames it is from each to the next."""
    keys = [walk.positions.index(float(k)) for k in range(len(walk.keyframes))]
    following = [*keys[1:], *(keys[:1] if walk.closed else [])]
    return keys, [(b - a) % walk.frames for a, b in zip(keys, following)]


def _notes(order: _Order, walk: Walk, steps: Sequence[float], pictures: _Pictures) -> list[str]:
    """What a user would want to know before a long render."""
    from walk import models

    model = pictures.loaded()
    notes = [f"keyframe {k + 1}: {note}" for k, keyframe in enumerate(walk.keyframes) for note in model.notes(keyframe)]
    width, height = models.native_size(pictures.settings)
    if (width, height) != (pictures.settings.width, pictures.settings.height):
        notes.append(
            f"the model was made for {width}x{height}, not {pictures.settings.width}x{pictures.settings.height}"
        )
    rounds = [*steps, *steps]  # a closed walk's segments may run past its last frame
    speeds = [sum(rounds[key : key + length]) / length for key, length in zip(*_landmarks(walk))]
    for k, turning in enumerate(speeds):
        if len(speeds) > 2 and turning > HURRY * median(speeds) > 0:
            notes.append(
                f"{walk.leg(k)} is {turning / median(speeds):.1f} times as fast as the rest; give it more time"
            )
    return notes


def _turns(walk: Walk, distances: Sequence[tuple[float, float]]) -> list[str]:
    """Where a first look cannot tell a steep turn from a jump, which no frame comes between."""
    notes = []
    for start in range(walk.segments):
        gaps = [(position, distance) for position, distance in distances if start <= position < start + 1]
        at, most = max(gaps, key=lambda gap: gap[1], default=(0.0, 0.0))
        share = most / (sum(distance for _, distance in gaps) or 1)
        later = [index for index, position in enumerate(walk.positions) if at < position < start + 1]
        if len(gaps) > 3 and share > TURN and later:
            notes.append(
                f"{_clock(float(min(later) / walk.fps))}: {share:.0%} of the way from {walk.leg(start)} is one turn; "
                "the film follows it as finely as it can, and says so if it jumps"
            )
    return notes


def _say_estimate(
    order: _Order, walk: Walk, pictures: _Pictures, batches: Sequence[float], left: int, size: float
) -> None:
    """batches: the seconds that some took. left: frames."""
    if not left:
        order.say("all frames are there already")
    elif batches:
        width, height = video.film_size(
            (pictures.settings.width or 0, pictures.settings.height or 0), order.look.get("size")
        )
        more = left * (1 + SPARE * _is_even(order))
        seconds = pictures.startup + (math.ceil(more / (pictures.settings.batch or 1)) + 1) * median(batches)
        seconds += walk.frames * width * height * ENCODING
        order.say(f"the film: about {format_time(round(seconds))} more, {_bytes(size * walk.frames)} of frames")


def _save_sheet(sheet: Any, path: Path) -> None:
    from PIL import PngImagePlugin

    from walk.run import write_whole

    info = PngImagePlugin.PngInfo()
    info.add_text("Software", "walk")
    data = io.BytesIO()
    sheet.save(data, "png", pnginfo=info)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data.getvalue())
    except OSError as error:
        raise Error(f"{path} cannot be written ({error.strerror})") from None


# What is shown


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _quiet(text: str) -> None:
    pass


class _Progress:
    """A bar on a terminal; elsewhere a line now and then. It begins with the first count."""

    def __init__(
        self, say: Callable[[str], None], what: str, total: int, after: float = 0, unit: str = "frames"
    ) -> None:
        self.say, self.what, self.total, self.after, self.unit = say, what, total, after, unit
        self.count = 0
        self.begun = self.told = time.monotonic()
        self.bar: Any = None

    def __enter__(self) -> _Progress:
        if self.say is _say and sys.stderr.isatty() and self.total:
            from tqdm import tqdm

            self.bar = tqdm(
                total=self.total,
                desc=self.what,
                unit=f" {self.unit}",
                file=sys.stderr,
                dynamic_ncols=True,
                delay=self.after,
            )
        return self

    def more(self, count: int) -> None:
        self.reached(self.count + count)

    def skip(self, count: int) -> None:
        """So many need not be done after all."""
        self.expect(self.total - count)

    def expect(self, total: int) -> None:
        self.total = total
        if self.bar is not None:
            self.bar.total = total
            self.bar.refresh()

    def reached(self, count: int) -> None:
        if count > self.total:
            self.expect(count)
        self.count = count
        now = time.monotonic()
        if self.bar is not None:
            self.bar.update(count - self.bar.n)
        elif now - self.told > PLAIN_SECONDS or (self.told == self.begun and not self.after):
            self.told = now
            rate = count / max(now - self.begun, 1e-9)
            left = round((self.total - count) / max(rate, 1e-9))
            self.say(
                f"{self.what}: {count} of {self.total} {self.unit}, {rate:.3g} a second, {left // 60}:{left % 60:02d} left"
            )

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()


def _clock(seconds: float) -> str:
    return f"{int(seconds // 60)}:{seconds % 60:06.3f}"


def _bytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _rate(fps: Fraction) -> str:
    return str(fps) if fps.denominator == 1 else f"{float(fps):.6g}"


def _prepare_libraries() -> None:
    """What heavy libraries are to know before they are imported, in the environment as they read it."""
    for name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        os.environ.setdefault(name, "error")  # their warnings are for developers
    # torch's threads wait for each other by spinning. That is a fifth faster on an idle machine, but
    # where others want its cores, a render was seen to take three to ten times as long.
    if _others_are_at_work():
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Each thread would keep memory of its own, and a long film's would grow by a fifteenth. (Only glibc knows this.)
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def _others_are_at_work() -> bool:
    """Whether other processes keep wanting a processor. Only Linux tells how many do at this moment."""
    waiting = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        for _ in range(5):
            waiting.append(int(Path("/proc/loadavg").read_text().split()[3].split("/")[0]))
            time.sleep(0.01)
    return min(waiting, default=1) > 1  # one is this process

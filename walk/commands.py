"""The commands: each joins the parts, and returns what belongs on stdout.

A `walk.progress.Listener` is told what is for the eye. Knows no arguments as they are typed, and no exit status.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import io
import json
import math
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from walk import (
    Error,
    OutOfMemoryError,
    Settings,
    Walk,
    ffmpeg,
    films,
    flags,
    formats,
    order,
    outlook,
    read_prompts,
    recipe,
    sounds,
)
from walk.files import at_home, write_whole, writing
from walk.flags import given
from walk.keyframes import Keyframe, prompt_file, read_lines
from walk.order import Again, Order
from walk.progress import Bars, Listener, in_bytes
from walk.rates import METER
from walk.settings import BUILT_IN, LARGEST
from walk.text import as_word, clock, format_time, plural, together

if TYPE_CHECKING:
    from walk import sheet
    from walk.larger import Trial
    from walk.lazy import LazyModel
    from walk.models import Model
    from walk.run import Run
    from walk.speed import Earlier
    from walk.upscale import Network
    from walk.work import Look, Work

MAX_SEEDS = 256  # on one sheet
SHOWN = 2 / 3  # of the pictures; less is worth one, too
PATIENCE = 2.0  # seconds


# Each command returns what belongs on stdout.


def _halving(command: Callable[..., str]) -> Callable[..., str]:
    """Where so many frames at a time find no room, the command once more with half of them: frames are then those of
    the smaller batch, as if it had been so from the start. Where not even one does, once more with less of the model on
    the GPU at a time."""

    @functools.wraps(command)
    def tried(**chosen: Any) -> str:
        while True:
            try:
                return command(**chosen)
            except Error as error:
                full = error if isinstance(error, OutOfMemoryError) else error.__cause__
                if not isinstance(full, OutOfMemoryError) or not full.instead:
                    raise
                if chosen.get("loaded") and "low_memory" in full.instead:  # whoever has loaded it, decides where it is
                    raise
                many = f"{full.batch} frames at a time do not fit in memory; going on with {full.batch // 2}"
                whole = "the whole model does not fit on the GPU; going on with --low-memory"
                said = whole if "low_memory" in full.instead else many
                chosen |= full.instead
                del full
            gc.collect()  # else what is left of the model fills the memory that it is to be loaded into
            _listener(chosen).say(said)

    return tried


@_halving
def film(*, loaded: Model | None = None, again: Again | None = None, **chosen: Any) -> str:
    """Make the film that the flags describe; returns its path. loaded: the model, in a program. again: another film that
    they are of."""
    listener = _listener(chosen)
    asked = order.read_order(chosen, listener, loaded.settings if loaded else None, again)
    for note in outlook.surprises(asked.walk, asked.rests, asked.music is not None) if not asked.placed else ():
        listener.say(f"note: {note}")
    with _importing(listener):
        from walk.run import Run, alike
        from walk.work import Work  # and with it torch, after what can be refused without

    network = _network(asked, listener)
    told = network.name if network else asked.flags.get("upscale")
    frames = len(set(asked.walk.coordinates))
    model = _found(asked.settings, listener, asked.walk.keyframes, asked.folder, frames, loaded, asked.walk)
    if again and again.weights != model.settings.weights:
        listener.say("note: the model is not the one that made that film, so its pictures will differ")
    shown = _shown(asked, model.settings, listener, network)
    if again and again.upscaler and again.upscaler != (shown.network.digest if shown.network else ""):
        listener.say("note: the upscaler is not the one that enlarged that film's frames, so they will differ")
    if other := alike(asked.folder, asked.walk, model.settings):
        listener.say(f"note: {other} has these frames; --run {as_word(other)} uses them")
    opened = Run(asked.folder, asked.walk, model.settings, asked.describe, decided=not asked.even)
    with opened as run, Work(run, model, listener) as work:
        asked, run, looked = _at_one_speed(asked, run, work, listener)
        run = work.evenly(run, looked) if asked.even else run
        work.finished(run)
        _assemble(asked, run, work, shown, told, listener)
    if asked.out.suffix:
        try:
            _watch(asked, run.walk, listener)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{asked.out} is made, but was not checked") from None
    return as_word(asked.out)


@_halving
def preview(*, loaded: Model | None = None, **chosen: Any) -> str:
    """Render the keyframes and what lies half-way, as the film will; returns the path of a picture of them."""
    # 1. The pictures: nearly all of them are frames of the film, too.
    listener = _listener(chosen)
    picture = None
    if chosen.get("out", "").lower().endswith(".png"):
        picture = order.expanded(chosen.pop("out"))
    asked = order.read_order(chosen, listener, loaded.settings if loaded else None)
    with _importing(listener):
        from walk import larger, sheet
        from walk.run import Run
        from walk.upscale import Upscaler
        from walk.work import Work

    if picture:
        listener.say(
            f"its frames are kept in {asked.folder}, for {asked.out}; to name another film give --out FILE.mp4"
        )
    picture = picture or asked.out.with_name(asked.out.stem + ".preview.png")
    order.check_sheet(picture)
    network = _network(asked, listener)
    model = _found(asked.settings, listener, asked.walk.keyframes, asked.folder, loaded=loaded, walk=asked.walk)
    shown = _shown(asked, model.settings, listener, network)
    fewer = outlook.quick(model.settings)
    quick = chosen.get("quick", False) and fewer != model.settings
    if chosen.get("quick") and not quick:
        many = plural(fewer.steps or 1, "denoising step")
        listener.say(f"note: --quick changes nothing, since the model takes {many} anyway")
    settings, folder = (fewer, asked.folder / "quick") if quick else (model.settings, asked.folder)
    with (
        Run(folder, asked.walk, settings, asked.describe, decided=False) as run,
        Work(run, model, listener, "rendering the preview") as work,
    ):
        asked, run, looked = _at_one_speed(asked, run, work, listener)
        look = work.first_look(run, asked.even, looked)

    # 2. What they tell.
    model.tell_notes()
    walk, along, music = look.run.walk, look.along, asked.music is not None
    steps = look.steps(walk)
    turns = [] if asked.rests else outlook.turns(along, look.distances)  # else it is meant to come at once
    surprises = [
        *outlook.surprises(asked.walk, asked.rests, music),
        *outlook.hurries(walk, steps, music),
        *turns,
    ]
    for note in surprises:
        listener.say(f"note: {note}")
    notes = [*model.notes(), *surprises]
    tried = None
    if shown.network and not quick:
        work.release()
        upscaler = Upscaler(shown.network, settings)
        tried = larger.trial(look.run, upscaler, shown.pictures, look.pictures[0], listener)
    closer = None
    if tried and shown.network and "upscale" in asked.flags:
        closer = sheet.Closer(tried.picture, look.pictures[0], shown.network.name)
    middles = [sheet.middle(picture, shown.film) for picture in look.pictures]
    count = len(walk.keyframes)
    drawn = sheet.preview(
        walk, middles[:count], middles[count:], steps, notes, _drawn(asked), look.steps(along), closer
    )
    _save_sheet(drawn, picture)
    if not quick:
        listener.say(_left(asked, look, work, model, shown, tried))
    return as_word(picture)


def _left(asked: Order, look: Look, work: Work, model: LazyModel, shown: _Shown, tried: Trial | None) -> str:
    """How much of a film is still to be made after a preview, and how long that will take."""
    missing, walk = look.missing, look.run.walk
    enlarging, filled = (tried.seconds, tried.bytes) if tried else (0.0, 0)
    if not missing and not filled:
        return "all frames are there already"
    left, of_it = f"{plural(missing, 'frame')} more", ""
    if work.seconds or not missing:  # else nothing had to be rendered, and nobody knows how long that takes
        batches, loading = work.seconds or [0.0], model.seconds if missing else 0.0
        rendering = outlook.seconds_left(walk, model.settings, asked.even, missing, batches, shown.film)
        left, of_it = f"about {format_time(round(loading + rendering + enlarging))} more", "of it "
    if round(enlarging):
        left += f", {format_time(round(enlarging))} {of_it}to enlarge its frames"
    return f"the film: {left}, {_bytes(look.run.size() * walk.frames + filled)} of frames"


def rough(**chosen: Any) -> str:
    """A film out of the frames that are there, be others still under way or not; returns its path."""
    listener = _listener(chosen)
    asked = order.read_order(chosen, listener, looking=True)
    out = order.rough(asked.out)
    with _importing(listener):
        from walk import film, roughcut, run, video
    network = _network(asked, listener)
    settings = _found(asked.settings, listener, asked.walk.keyframes, asked.folder, walk=asked.walk).settings
    size = "{}x{}".format(*_shown(asked, settings, listener, network).film)
    find = run.newest if asked.constant else run.decided
    decided = find(asked.folder, asked.walk, settings) if asked.even else None
    if asked.constant and decided is None:
        listener.say("note: keyframes come evenly in it; when one speed brings them is known when the film is made")
    walk = decided.walk if decided else asked.walk
    shown = _stand_ins(asked, walk, settings, spreading=asked.even and not decided and not walk.has_own_noise)
    sound = asked.sound_of(out)
    held = roughcut.longest_hold(walk.coordinates, shown) / walk.fps
    listener.say(
        f"{plural(len(set(shown)), 'picture')} for {plural(walk.frames, 'frame')}, of which one is held for up to "
        f"{format_time(round(float(held), 2))}"
    )
    with listener.progress(f"making {out.name}", walk.frames, after=2) as progress:
        video.encode(
            shown,
            out,
            walk.fps,
            metadata=film.ROUGH,
            sound=sound,
            report=progress.reached,
            **asked.look | {"size": size},
        )
    return as_word(out)


def _stand_ins(asked: Order, walk: Walk, settings: Settings, spreading: bool) -> list[Path]:
    """For each frame of a walk its own picture, or the nearest on the path, of those that are there and whole."""
    from walk import roughcut, run

    own, there = run.by_index(asked.folder, walk, settings), run.by_place(asked.folder, walk, settings)
    turn = len(walk.keyframes) if walk.closed else math.inf
    while own or there:
        near = there | {walk.positions[index]: path for index, path in own.items()}
        cut = roughcut.cut(walk.positions, near, turn, spreading)
        shown = [near[place] if spreading else own.get(index, near[place]) for index, place in enumerate(cut)]
        broken = {path for path in set(shown) if not run.is_whole(path)}
        if not broken:
            return shown
        own = {index: path for index, path in own.items() if path not in broken}
        there = {place: path for place, path in there.items() if path not in broken}
    raise order.no_frames(asked.folder)


@_halving
def seeds(*, loaded: Model | None = None, **chosen: Any) -> str:
    """Render one prompt from several seeds; returns the path of a sheet of them."""
    count, first = chosen.get("count", flags.SEEDS), chosen.get("from", 0)
    if count > MAX_SEEDS:
        raise Error(f"--count {count} is too many for one sheet; the limit is {MAX_SEEDS}")
    prompt = chosen["prompt"]
    if prompt == "-" or prompt_file(prompt):
        what = "standard input" if prompt == "-" else "a file"
        raise Error(f"walk seeds draws one prompt, and {prompt} is {what}; give one of the prompts in it")
    keyframes = read_prompts([prompt], seeds=range(first, first + count), **given(chosen, "negative", "style"))
    prompt = keyframes[0].prompt  # in its style
    out = order.expanded(chosen.get("out", f"{order.slug([prompt])}.seeds{f'-from-{first}' if first else ''}.png"))
    order.check_sheet(out)
    listener = _listener(chosen)
    with _importing(listener):
        from walk import sheet
        from walk.render import render
    found = _found(order.settings(chosen, loaded.settings if loaded else None), listener, keyframes[:1], loaded=loaded)
    walk = Walk(keyframes, tuple(map(float, range(count))), Fraction(1))
    shown = {}
    model = found.loaded()
    found.tell_notes()
    with listener.progress("rendering", count, unit="pictures") as progress:
        try:
            for index, picture in render(model, walk, range(count)):
                shown[index] = picture
                progress.reached(len(shown))
        except KeyboardInterrupt:
            raise KeyboardInterrupt("no sheet is made") from None
    _save_sheet(sheet.seeds([shown[i] for i in range(count)], [k.seed for k in keyframes], prompt), out)
    return as_word(out)


def info(film: str, **chosen: Any) -> str:
    """What made a film, as a prompt file, or as JSON."""
    made = order.read_recipe(film)
    if chosen.get("json"):
        return recipe.to_text(made)
    return recipe.as_prompt_file(made, f"{Path(film).stem}.txt", order.without_folders(made))


def replay(**chosen: Any) -> str:
    """Make a film again from its recipe, with whatever flags change of it; returns the new film's path."""
    path = chosen.pop("film")
    made, other = order.read_recipe(path), False
    if "model" in chosen:
        from walk import downloads, hub

        own = chosen.get("denoiser", dict(made.flags).get("denoiser", "own")) == "own"
        with in_bytes(_listener(chosen)) as report, downloads.reporting(report):
            other = not recipe.weights(made).startswith(hub.model_identity(chosen["model"], own, report))
    if other and set(order.OF_MODEL) - set(chosen):
        _listener(chosen).say("another model: its own size, steps, guidance and scheduler are taken, unless given")
    asked, again = order.replayed(path, made, chosen, other)
    return film(again=again, **asked)


def diff(film: str, other: str) -> str | None:
    """What differs in the recipes of two films."""
    lines = recipe.differences(order.read_recipe(film), order.read_recipe(other))
    if not lines:
        Bars().say("nothing differs")  # stdout stays empty, as diff's does
    return "\n".join(lines) or None


def prune(folder: str, yes: bool = False) -> str | None:
    """Frames that a run folder's newest film does not use: listed, or removed."""
    from walk.run import ages, unused

    with unused(Path(folder)) as paths:
        total = sum(path.stat().st_size for path in paths)
        for path in paths if yes else ():
            try:
                path.unlink()
            except OSError as error:
                raise Error(f"{path} cannot be removed ({error.strerror})") from None
    done = "removed" if yes else f"not used{_by(*ages(Path(folder)))}; add --yes to remove these frames"
    Bars().say(f"{plural(len(paths), 'frame')}, {_bytes(total)}: {done}")
    return None if yes else "\n".join(map(str, paths)) or None


def _by(newest: str, older: Sequence[str]) -> str:
    """Which film of a folder counts for `prune`, and which do not."""
    by = f" by {newest}, the newest film of this folder" if newest else " by the walk begun last" if older else ""
    return by + (f"; {together(older)} {'is' if len(older) == 1 else 'are'} older" if older else "")


class Wrong(str):
    """What a command found that is not as it should be."""


def check(film: str, **chosen: Any) -> str:
    """What a film is, and what is wrong with it; in a picture, too."""
    from walk import sheet
    from walk.check import check

    order.check_is_film(film)
    if out := order.expanded(chosen["out"]) if "out" in chosen else None:
        order.check_sheet(out)
    count = len(films.timestamps(Path(film))[0])
    drawn: dict[int, Any] = dict.fromkeys(sheet.some(count) if out else ())

    def see(index: int, picture: Any) -> None:
        if index in drawn:
            drawn[index] = sheet.reduced(picture)

    made = None
    with contextlib.suppress(Error):
        made = order.read_recipe(film)
    with Bars().progress(f"reading {film}", count, after=2) as progress:
        told = dict(made.flags) if made else {}
        report = check(Path(film), progress.reached, _rests(made, count), see, "loop" in told)
        damage = ffmpeg.complaint(Path(film))
    uneven = bool(order.RHYTHM & told.keys())  # it moves to them
    facts = [*report.facts, *([report.movement(uneven)] if report.largest else []), *_cut(made, count)]
    wrong = [
        *([f"it is damaged: {damage}"] if damage else []),
        *(f"{clock(seconds)}  {fault}" for seconds, fault in report.faults),
    ]
    if out:
        chapters = films.read_metadata(Path(film)).chapters if made else ()  # others' are no keyframes
        marks = [(float(start), title) for start, title in chapters]
        pictures = [(report.times[index], picture) for index, picture in drawn.items()]
        _save_sheet(sheet.film(Path(film).name, facts, pictures, report.times, report.steps, marks, wrong), out)
        Bars().say(f"drawn in {out}")
    if chosen.get("json"):
        movement = {"largest": report.largest, "ppl": report.ppl, "pdv": report.pdv}
        text = json.dumps({"film": film} | dataclasses.asdict(report) | movement | {"facts": facts, "damage": damage})
    else:
        text = "\n".join([*facts, *(wrong or ["nothing is wrong"])])
    return Wrong(text) if wrong else text


def _rests(made: recipe.Recipe | None, count: int) -> set[int]:
    """Frames of a film that are meant to look like the one before, if its recipe tells of so many where they are."""
    if made and made.positions and len(made.positions[0]) == count:
        with contextlib.suppress(Error):
            (positions, noise, pulse), closed = made.positions, "loop" in dict(made.flags)
            walk = Walk(read_lines(made.prompts), positions, Fraction(1), closed, noise=noise, pulse=pulse)
            return walk.rests()
    return set()


def _cut(made: recipe.Recipe | None, count: int) -> Iterator[str]:
    """A fact more, if the film has not as many frames as its recipe makes."""
    frames = dict(made.flags).get("frames") if made else None
    if frames is not None and frames != str(count):
        yield f"its recipe is that of a film of {plural(int(frames), 'frame')}"


def beats(audio: str, **chosen: Any) -> str:
    """The beats of a sound, as a file of beats."""
    from walk.audio import FASTEST, SLOWEST, in_three, listen, tempi, tempo
    from walk.beatfile import as_file
    from walk.music import THREE

    path, start = at_home(audio), chosen.get("start", Fraction(0))
    sound = sounds.read_sound(path, start, chosen.get("seconds"))
    shown = Bars()
    if sound.damage:
        shown.say(f"note: {sound.damage}")
    shown.say(f"listening to {path.name}")
    bpm = float(chosen["bpm"]) if "bpm" in chosen else None
    offset = float(chosen["offset"] - start) if "offset" in chosen else None
    meter = chosen.get("meter", METER)
    with shown.progress("listening", 100, after=2, unit="%") as progress:
        rhythm = listen(sound, meter, bpm, offset, report=progress.reached)
    if not rhythm.beats:
        there = " there" if {"start", "seconds"} & set(chosen) else ""
        raise Error(f"no beats are heard in {audio}{there}; give --bpm, if you know its tempo")
    if bpm is None and (heard := tempi(rhythm.beats)):
        others = [f" (or {x:.4g}: --bpm {x:.4g})" for x in (2 * heard[0], heard[0] / 2) if SLOWEST <= x <= FASTEST]
        shown.say(f"{path.name}: {tempo(rhythm.beats)}{''.join(others) if len(heard) == 1 else ''}")
    if "meter" not in chosen and offset is None and in_three(sound, rhythm.beats):
        shown.say(f"note: {THREE}")
    return as_file(rhythm, meter, path.name, float(start))


def doctor() -> str:
    """What this machine can do, and what to do where it cannot."""
    from walk.doctor import examine

    findings = examine(Path())
    lines = [
        f"{'-' if it.remedy else 'ok':<4}{it.text}" + (f"\n    {it.remedy}" if it.remedy else "") for it in findings
    ]
    text = "\n".join(lines)
    return Wrong(text) if any(finding.fatal for finding in findings) else text


@_halving
def bench(**chosen: Any) -> str:
    """How fast a model's frames are made on this machine, and where the time goes."""
    listener, frames = _listener(chosen), chosen.get("frames", flags.BENCH_FRAMES)
    with _importing(listener):
        from walk.bench import LEAST, SECONDS, measure
    found = _found(flags.settings(chosen), listener, frames=frames)
    model = found.loaded()
    with tempfile.TemporaryDirectory() as folder, listener.progress("timing", LEAST + 1, unit="batches") as progress:
        it = measure(model, Path(folder), SECONDS, lambda: progress.more(1))
    settings, startup = model.settings, found.seconds
    told = {
        "model": settings.model, "device": settings.device, "dtype": settings.dtype, "batch": settings.batch,
        "width": settings.width, "height": settings.height, "steps": settings.steps,
        "frames_a_second": round(it.rate, 4), "load": round(startup, 2), "first_batch": round(it.first, 3),
        "encode_a_prompt": round(it.encode, 4), "denoise": round(it.denoise / it.total, 4),
        "decode": round(it.decode / it.total, 4), "idle": round(it.idle / it.total, 4),
        "write_beside": round(it.write / it.total, 4), "frames": frames,
        "film": round(startup + it.film(frames), 1),
    }  # fmt: skip
    if chosen.get("json"):
        return json.dumps(told)
    shares = ", ".join(f"{name} {told[name]:.0%}" for name in ("denoise", "decode", "idle"))
    return "\n".join(
        [
            f"{settings.model}, {settings.width}x{settings.height}, {settings.steps} steps, {settings.batch} at a time, "
            f"{settings.dtype} on {settings.device}",
            f"{it.rate:.3g} frames a second: {shares}; writing, beside that, {it.write / it.total:.0%}",
            f"once: {startup:.1f} s to load, {it.first:.1f} s for the first batch, {it.encode:.2g} s a prompt",
            f"a film of {frames} frames: about {format_time(round(told['film']))}",
        ]
    )


def list_models() -> str:
    """Models with a short name, and whether they are on this machine."""
    from walk import hub
    from walk.catalogue import CATALOGUE

    rows = [("name", "pixels", "steps", "guidance", "here", "licence", "hub id")]
    for it in CATALOGUE:
        here = "yes" if it.name == BUILT_IN or hub.is_downloaded(it.repo) else "no"
        rows.append((it.name, str(it.side), str(it.steps), f"{it.guidance:g}", here, it.licence, it.repo))
    rows += [("", "", "", "", "yes", "", repo) for repo in hub.other_downloads()]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


COMMANDS: dict[str, Callable[..., str | None]] = {
    "": film,
    "preview": preview,
    "rough": rough,
    "seeds": seeds,
    "info": info,
    "replay": replay,
    "diff": diff,
    "check": check,
    "beats": beats,
    "bench": bench,
    "models": list_models,
    "doctor": doctor,
    "prune": prune,
}


# What commands share


def _found(
    settings: Settings,
    listener: Listener,
    keyframes: Sequence[Keyframe] = (),
    folder: Path | None = None,
    frames: int = 0,
    loaded: Model | None = None,
    walk: Walk | None = None,
) -> LazyModel:
    with _importing(listener):
        from walk.lazy import LazyModel
        from walk.loading import import_diffusers

        if loaded is None:
            import_diffusers()
    if loaded is not None:
        return LazyModel(settings, listener, keyframes, model=loaded.at(settings))
    if settings.model == BUILT_IN:
        listener.say("using toybox, the built-in model, which draws toys; walk models lists others for --model")
    found = LazyModel(settings, listener, keyframes, folder, frames, walk=walk)
    found.seconds = time.monotonic() - listener.begun
    return found


@contextlib.contextmanager
def _importing(listener: Listener) -> Iterator[None]:
    """Say what takes so long, if it does: mostly one or two seconds, on a busy machine ten. Once."""

    def say() -> None:
        if not listener.waits:
            listener.waits = True
            listener.say("importing torch and diffusers")

    timer = threading.Timer(PATIENCE, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _at_one_speed(asked: Order, run: Run, work: Work, listener: Listener) -> tuple[Order, Run, dict[int, Earlier]]:
    """With keyframes where the speed stays the same, if that is asked for; and what was looked at to find out."""
    if not asked.constant:
        return asked, run, {}
    lengths, looked = work.survey(run)
    asked = asked.timed(lengths)
    run = run.at(asked.walk)
    work.turn_to(run)
    apart = [float(frames / asked.walk.fps) for frames in asked.walk.landmarks()[1]]
    listener.say(f"at one speed, keyframes come {min(apart):.1f} to {max(apart):.1f} s after one another")
    return asked, run, looked


def _drawn(asked: Order) -> sheet.Music | None:
    import numpy as np

    from walk import audio, sheet

    music = asked.music
    if music is None:
        return None
    samples, rate = (music.sound.samples, music.sound.rate) if music.sound else (np.zeros((0, 1)), 0)
    drawn = sheet.Music(samples, rate, music.rhythm.beats, music.rhythm.bars)
    if "listen" in asked.flags:
        followed = np.array(music.rhythm.envelope)[:, None]
        drawn = drawn._replace(followed=followed, followed_rate=audio.ENVELOPE_RATE)
    return drawn


class _Shown(NamedTuple):
    """How frames are shown. film, pictures: (width, height) of the film, and of what it is made of. network: what
    enlarges them, if anything does."""

    film: tuple[int, int]
    pictures: tuple[int, int]
    network: Network | None


def _network(asked: Order, listener: Listener) -> Network | None:
    """What is to enlarge the pictures, if anything: the model's own, where nothing else is asked for."""
    name, model = asked.flags.get("upscale", flags.OWN), asked.settings.model
    if name == flags.NONE:
        return None
    from walk import downloads, hub, upscale

    with in_bytes(listener) as report, downloads.reporting(report):
        path = hub.find_own_upscaler(model) if name == flags.OWN else hub.find_upscaler(name)
    if path is None and "upscale" in asked.flags:
        raise Error(f"{model} has no upscaler of its own; give a file as --upscale, or none")
    if path is None:
        return None
    own_name = name == flags.OWN or not os.path.exists(at_home(name))  # as the hub's are
    return upscale.read(path)._replace(name=name if own_name else path.name)


def _shown(asked: Order, settings: Settings, listener: Listener, network: Network | None) -> _Shown:
    """A model's own network makes a film clearer, where it enlarges its pictures anyway; another one makes it larger.

    Raises Error for a film that would be too wide, or enlarged for nothing. A note where much of its pictures is cut off.
    """
    frame, size, codec = (settings.width or 0, settings.height or 0), asked.look.get("size"), asked.look.get("codec")
    scale = network.scale if network else 1
    large = scale * frame[0], scale * frame[1]
    own = network is not None and network.name == flags.OWN
    whole = frame if own else large
    film = formats.film_size(whole, size, asked.out, codec)
    covering = formats.covering(whole, size, film)
    share = math.prod(film) / math.prod(covering)
    if share < SHOWN:
        more = "; give --width and --height of nearly its proportions for more"
        listener.say(
            f"note: --size {size} shows {share:.0%} of the pictures, which are {frame[0]}x{frame[1]}"
            + more * (settings.model != BUILT_IN)  # which knows one size
        )
    if scale > 1 and covering[0] <= frame[0]:
        if own:
            return _Shown(film, frame, None)
        raise Error(
            "--upscale enlarges for nothing, since the film is no larger than its pictures, {}x{}; give a larger --size, "
            "or --upscale none".format(*frame)
        )
    if scale > 1 and not own and covering[0] > large[0]:
        listener.say(
            "note: the upscaler makes pictures of {}x{}, and the film's are scaled to {}x{}".format(*large, *covering)
        )
    pictures = min(large, covering)
    if max(pictures) > LARGEST:
        raise Error(f"--upscale would make pictures of {pictures[0]}x{pictures[1]}; give a --size of up to {LARGEST}")
    return _Shown(film, pictures, network)


def _assemble(asked: Order, run: Run, work: Work, shown: _Shown, told: str | None, listener: Listener) -> None:
    """The frames of a run become its film, unless it is there. told: what the film says of --upscale."""
    from walk.film import as_shown, is_finished, make
    from walk.larger import Larger, forget
    from walk.upscale import Upscaler

    sound = asked.sound_of(asked.out)

    def described(other: Run | None) -> films.Metadata | None:
        settings = as_shown(run, other)
        return order.metadata(asked, run.walk, settings, run.manifest.refined, told) if asked.describe else None

    with contextlib.ExitStack() as held:
        larger = other = None
        if shown.network is None:
            forget(run)
        else:
            larger = held.enter_context(Larger(run, Upscaler(shown.network, run.settings), shown.pictures))
            other = larger.run
        if is_finished(run, asked.out, described(other), sound, other, **asked.look):
            listener.say(f"{asked.out} is finished already")
            return
        if larger:
            work.release()
            work.enlarged = larger.count
            larger.enlarge(listener)
            other = larger.run  # in other tiles by now, perhaps
        with listener.progress(f"making {asked.out.name}", run.walk.frames, after=2) as progress:
            make(run, asked.out, described(other), sound, progress.reached, other, **asked.look)


def _watch(asked: Order, walk: Walk, listener: Listener) -> None:
    """Read the film as a player would, and say how even it is, and what is wrong with it."""
    from walk import speed
    from walk.check import check

    try:
        with listener.progress(f"watching {asked.out.name}", walk.frames, after=2) as progress:
            report = check(asked.out, progress.reached, asked.walk.rests(), closed=walk.closed)
    except Error as error:  # the film is there all the same
        listener.say(f"note: {error}")
        return
    if report.largest:
        along, uneven = "", bool(asked.music or asked.placed)
        if walk != asked.walk and not uneven:
            before = speed.unevenness(speed.predicted(asked.walk, list(zip(walk.positions, report.steps))))
            along = f" (equal steps along the path: {before:.1f} times)"
        listener.say(report.movement(uneven, along))
    if report.still - len(asked.walk.rests()) / walk.frames >= outlook.STILL:  # more than it was meant to
        listener.say(f"note: the film stands still for {report.still:.0%} of its length")
    for seconds, fault in report.faults:
        listener.say(f"note: {clock(seconds)}  {fault}")
    if any("picture jumps:" in fault for _, fault in report.faults):
        listener.say("note: where it jumps, another seed for the next keyframe, or one more between, may help")


def _save_sheet(sheet: Any, path: Path) -> None:
    from PIL import PngImagePlugin

    info = PngImagePlugin.PngInfo()
    info.add_text("Software", "walk")
    data = io.BytesIO()
    sheet.save(data, "png", pnginfo=info)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data.getvalue())


# What is shown


def _listener(chosen: dict[str, Any]) -> Listener:
    return Listener() if chosen.get("quiet") else Bars()


def _bytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


# How they are called


def called(
    command: str, prompts: str | Path | Sequence[str | Keyframe], words: Mapping[str, str], model: Model | None = None
) -> str:
    """A command in a program, with flags as they would be typed, and a model that is loaded already. Returns what it would
    print; raises Error."""
    if "torch" not in sys.modules:  # else it is too late
        share_processors()
    known = flags.COMMANDS[command].flags
    if "prompt" in known:  # of which there is one
        words = {"prompt": str(prompts), **words}
    checked = flags.checked([f"--{name}={word}" for name, word in words.items()], command)
    pairs = (argument.removeprefix("--").split("=", 1) for argument in checked)
    chosen = {name: known[name].parse(word) for name, word in pairs}
    if "prompt" not in known:
        chosen["prompts"] = prompts
    return str(COMMANDS[command](**({} if model is None else {"loaded": model}), **chosen))


def share_processors() -> None:
    """torch's threads wait for each other by spinning, in GNU's OpenMP for 300,000 rounds. Where others wanted a core, a
    render then took up to twelve times as long as on an idle machine; if they sleep after a thousand, twice. On an idle
    machine that costs a thirtieth."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")

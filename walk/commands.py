"""The commands: each joins the parts, and returns what belongs on stdout.

A `walk.progress.Listener` is told what is for the eye. Knows no arguments as they are typed, and no exit status.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import json
import math
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from walk import (
    Error,
    OutOfMemoryError,
    Settings,
    Walk,
    excerpts,
    ffmpeg,
    flags,
    outlook,
    paths,
    probe,
    recipe,
    sounds,
)
from walk import order as orders
from walk.files import at_home, write_whole, writing
from walk.kept import Kept
from walk.keyframes import WORDS, Keyframe, Subject, prompt_file, read_lines
from walk.motion import RHYTHM, used_paces
from walk.order import Order
from walk.progress import Bars, Listener, in_bytes
from walk.rates import nearest
from walk.replay import OF_MODEL, Again, files_named, read_recipe, replayed, told_own_movement, told_walk
from walk.settings import BUILT_IN
from walk.text import as_word, clock, either, format_time, plural, quoted, together

if TYPE_CHECKING:
    from walk import interpolate, sheet
    from walk.enlargement import Enlargement
    from walk.inbetweens import Inbetweens
    from walk.larger import Trial
    from walk.lazy import LazyModel
    from walk.manifest import Manifest
    from walk.models import Model
    from walk.run import Run
    from walk.speed import Earlier
    from walk.work import Look, Work

MAX_SEEDS = 256  # on one sheet
MOST_ALIKE = 8  # faults of a film that are listed
PATIENCE = 2.0  # seconds
WATCHING = 0.3  # seconds between looks at a file


# Commands that need a model


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
                full = _out_of_memory(error)
                if full is None or not full.instead:
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


def _out_of_memory(error: Error) -> OutOfMemoryError | None:
    """That it ran out of memory, if that is what an error is, or is from."""
    return next((it for it in (error, error.__cause__) if isinstance(it, OutOfMemoryError)), None)


@_halving
def film(*, loaded: Model | None = None, again: Again | None = None, **chosen: Any) -> str:
    """Make the film that the flags describe; returns its path. loaded: the model, in a program. again: another film that
    they are of."""
    # 1. What is asked for, and whether it can be made.
    listener = _listener(chosen)
    order = orders.read_order(chosen, listener, loaded.settings if loaded else None, again)
    if not order.placed:
        listener.notes(outlook.surprises(order.walk, order.rests, order.music is not None, order.landing))
    with _importing(listener):
        from walk.run import Run
        from walk.work import Work  # and with it torch, after what can be refused without
    pictures = len(set(order.thinned.walk.coordinates))
    model, enlargement, interpolation = _prepared(order, listener, loaded, pictures)
    if chosen.get("batch", 1) > pictures and not again:
        each = f"is more than the film's {plural(pictures, 'picture')}, and a batch takes as long as a full one"
        listener.note(f"--batch {chosen['batch']} {each}")
    if again:
        _tell_unlike(again, model.settings, enlargement, interpolation, listener)
    _tell_alike(order, model.settings, listener)
    if not again:
        _tell_other_seeds(order, listener)
    # 2. Its frames, and the film of them.
    opened = Run(order.folder, order.thinned.walk, model.settings, order.describe, decided=not order.even)
    with opened as run, Work(run, model, listener) as work:
        order, run, looked = _at_one_speed(order, run, work, listener)
        run = work.evenly(run, looked) if order.even else run
        work.finished(run)
        _assemble(order, run, work, enlargement, interpolation, listener)
    # 3. As a player will show it.
    if order.out.suffix:
        try:
            _watch(order, order.thinned.filled(run.walk), listener)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{order.out} is made, but was not checked") from None
    return as_word(order.out)


@_halving
def preview(*, loaded: Model | None = None, **chosen: Any) -> str:
    """Render the keyframes and what lies half-way, as the film will; returns the path of a picture of them."""
    if not chosen.pop("watch", False):
        return _preview(chosen, loaded)
    file = prompt_file(chosen.get("prompts", ()))
    if file is None or file.is_dir():
        raise Error("--watch waits for changes of a prompt file; give one as --prompts")
    listener, kept = _listener(chosen), Kept()
    watched = f"{file.name} is watched for changes, until Ctrl-C"
    state = _state(file)
    drawn = _preview(dict(chosen), loaded, kept)
    from walk.run import BusyError  # which that has imported

    listener.say(f"{drawn} is drawn; {watched}")
    shown = True  # whether the picture is of the file as it is
    try:
        while True:
            time.sleep(WATCHING)
            if (now := _state(file)) in (state, None):
                continue
            state, shown = now, False
            try:
                drawn = _preview(dict(chosen), loaded, kept)
                shown = True
                listener.say(f"{drawn} is drawn; {watched}")
            except BusyError as error:  # such as a film of the same prompts, which takes its time
                listener.note(f"{error}; {file.name} is drawn when it is done")
                _wait_for(error.folder)
                state = None
            except Error as error:
                if _out_of_memory(error):
                    raise
                listener.note(f"{error}; {watched}")
    except KeyboardInterrupt:
        if not shown:
            raise KeyboardInterrupt(f"{drawn} shows {file.name} as it was before") from None
    return drawn


def _state(file: Path) -> tuple[int, int] | None:
    """What changes whenever a file is written; None while it is not there, as in the middle of being replaced."""
    with contextlib.suppress(OSError):
        stat = file.stat()
        return stat.st_mtime_ns, stat.st_size
    return None


def _wait_for(folder: Path) -> None:
    """Until no other process has the run folder open."""
    from walk.run import BusyError, locked

    while True:
        try:
            with locked(folder):
                return
        except BusyError:
            time.sleep(WATCHING)


def _preview(chosen: dict[str, Any], loaded: Model | None, kept: Kept | None = None) -> str:
    """kept: where the model stays."""
    # 1. What is asked for, and whether it can be drawn.
    listener = _listener(chosen)
    picture = None
    if chosen.get("out", "").lower().endswith(".png"):
        picture = paths.expanded(chosen.pop("out"))
    order = orders.read_order(chosen, listener, loaded.settings if loaded else None)
    with _importing(listener):
        from walk.run import Run
        from walk.work import Work
    if picture:
        listener.say(
            f"its frames are kept in {order.folder}, where a film {order.out} finds them; --out FILE.mp4 names another"
        )
    picture = picture or order.out.with_name(order.out.stem + ".preview.png")
    paths.check_sheet(picture)
    model, enlargement, interpolation = _prepared(order, listener, loaded, kept=kept)
    fewer = outlook.quick(model.settings)
    quick = chosen.get("quick", False) and fewer != model.settings
    if chosen.get("quick") and not quick:
        many = plural(fewer.steps or 1, "denoising step")
        listener.note(f"--quick changes nothing, since the model takes {many} anyway")
    # 2. The pictures: nearly all of them are frames of the film, too.
    settings, folder = (fewer, order.folder / "quick") if quick else (model.settings, order.folder)
    with (
        Run(folder, order.thinned.walk, settings, order.describe, decided=False) as run,
        Work(run, model, listener, "rendering the preview") as work,
    ):
        order, run, looked = _at_one_speed(order, run, work, listener)
        look = work.first_look(run, order.even, looked)
    model.tell_notes()
    # 3. What they tell.
    surprises = _surprises(order, look)
    listener.notes(surprises)
    notes, tried, between = [*model.notes(), *surprises], None, (0.0, 0)
    if enlargement.network and not quick:
        work.release()
        tried = _try_upscaler(enlargement, look, settings, listener)
    if interpolation and not quick and (look.missing or not order.out.exists()):  # else it has been made, most likely
        work.release()
        shown = tried.picture if tried else look.pictures[0]
        between = _try_interpolation(order, interpolation, settings, shown)
    drawn = _draw_preview(order, look, notes, enlargement, tried)
    _save_sheet(drawn, picture)
    loading, batches = model.seconds, work.seconds
    if kept:  # a film loads the model once more, and renders at the same pace
        loading = kept.seconds = max(kept.seconds, loading)
        batches = kept.batches = batches or kept.batches
    if not quick:
        listener.say(_time_left(order, look, loading, batches, model.settings, enlargement, tried, between))
    return as_word(picture)


def _surprises(order: Order, look: Look) -> list[str]:
    """What may surprise in a film, as far as a first look tells."""
    walk, has_music = order.thinned.filled(look.run.walk), order.music is not None
    return [
        *outlook.surprises(order.walk, order.rests, has_music, order.landing),
        *outlook.hurries(walk, look.steps(walk), has_music),
        *outlook.turns(order.walk, look.distances, order.landing),
    ]


def _try_upscaler(enlargement: Enlargement, look: Look, settings: Settings, listener: Listener) -> Trial | None:
    """One picture enlarged, and how long that took."""
    from walk import larger
    from walk.upscale import Upscaler

    assert enlargement.network is not None
    upscaler = Upscaler(enlargement.network, settings)
    return larger.trial(look.run, upscaler, enlargement.pictures, look.pictures[0], listener)


def _try_interpolation(
    order: Order, interpolation: interpolate.Network, settings: Settings, picture: Any
) -> tuple[float, int]:
    """What all frames will take that are interpolated: seconds, and bytes of files until the film is made. picture: a
    rendered one."""
    from walk import png
    from walk.interpolate import Interpolator

    count = sum(spot.share > 0 for spot in order.thinned.spots)
    each = Interpolator(interpolation, settings).seconds(picture, picture[::-1])
    return count * each, count * len(png.encode(picture, {}))


def _draw_preview(order: Order, look: Look, notes: Sequence[str], enlargement: Enlargement, tried: Trial | None) -> Any:
    from walk import sheet

    closer, walk, network = None, order.thinned.filled(look.run.walk), enlargement.network
    if tried and network and "upscale" in order.flags:
        closer = sheet.Closer(tried.picture, look.pictures[0], network.name)
    pictures = [sheet.middle(picture, enlargement.film) for picture in look.pictures]
    count = len(walk.keyframes)
    steps, along = look.steps(walk), look.steps(order.walk)
    return sheet.preview(walk, pictures[:count], pictures[count:], steps, notes, _music_for_sheet(order), along, closer)


def _music_for_sheet(order: Order) -> sheet.Music | None:
    import numpy as np

    from walk import audio, sheet

    music = order.music
    if music is None:
        return None
    samples, rate = (music.sound.samples, music.sound.rate) if music.sound else (np.zeros((0, 1)), 0)
    drawn = sheet.Music(samples, rate, music.rhythm.beats, music.rhythm.bars)
    if "listen" in order.flags:
        followed = np.array(music.rhythm.envelope)[:, None]
        drawn = drawn._replace(followed=followed, followed_rate=audio.ENVELOPE_RATE)
    return drawn


def _time_left(
    order: Order,
    look: Look,
    loading: float,
    batches: Sequence[float],
    settings: Settings,
    enlargement: Enlargement,
    tried: Trial | None,
    between: tuple[float, int],
) -> str:
    """How much of a film is still to be made after a preview, and how long that will take. loading: seconds until the
    model is there. batches: seconds that some took. between: seconds and bytes that interpolating will take."""
    more, filling = between
    missing, walk = look.missing, order.walk
    enlarging, filled = (tried.seconds, tried.bytes) if tried else (0.0, 0)
    if not missing and not filled and not round(more):
        return "all frames are there already"
    left, of_it = f"{plural(missing, 'frame')} more", ""
    if batches or not missing:  # else nothing had to be rendered, and nobody knows how long that takes
        rendering = outlook.seconds_left(walk, settings, order.even, missing, batches or [0.0], enlargement.film)
        took = (loading if missing else 0.0) + rendering + enlarging + more
        left, of_it = f"about {format_time(round(took))} more", "of it "
    if round(enlarging):
        left += f", {format_time(round(enlarging))} {of_it}to enlarge its frames"
    if round(more):
        left += f", {format_time(round(more))} {of_it}to interpolate"
    return f"the film: {left}, {_bytes(look.run.size() * look.run.walk.frames + filled + filling)} of frames"


def rough(**chosen: Any) -> str:
    """A film out of the frames that exist so far, be others still under way or not; returns its path."""
    # 1. Which frames belong in it, as far as that is known.
    listener = _listener(chosen)
    order = orders.read_order(chosen, listener, looking=True)
    out = paths.rough_cut(order.out)
    with _importing(listener):
        from walk import roughcut
    model, enlargement, _ = _prepared(order, listener, looking=True)
    order, decided = _where_decided(order, model.settings)
    if order.constant and decided is None:
        listener.note(
            "keyframes are spaced evenly in it; where one speed puts them is known only when the film is made"
        )
    walk = order.thinned.filled(decided.walk) if decided else order.walk
    # 2. Those that exist, and for others the nearest.
    spreading = order.even and not decided and not walk.has_own_noise
    pictures = _stand_ins(order.folder, walk, model.settings, spreading)
    held = roughcut.longest_hold(walk.coordinates, pictures) / walk.fps
    listener.say(
        f"{plural(len(set(pictures)), 'picture')} for {plural(walk.frames, 'frame')}, of which one is held for up to "
        f"{format_time(round(float(held), 2))}"
    )
    # 3. The film.
    _save_cut(pictures, order.sound_of(out), out, order, enlargement, listener)
    return as_word(out)


def _where_decided(order: Order, settings: Settings) -> tuple[Order, Manifest | None]:
    """Where the frames of an even film belong, if that is known; and the order, at one speed with its keyframes where the
    film has them."""
    from walk import run

    if not order.constant:
        return order, run.decided(order.folder, order.thinned.walk, settings) if order.even else None
    if film := run.newest(order.folder, order.thinned.walk, settings):
        with contextlib.suppress(Error):  # a longer film's do not fit
            timed = order.arriving(film.walk.keyframes)
            if timed.thinned.walk.frames == film.walk.frames:
                return timed, film
    return order, None


def _save_cut(
    pictures: Sequence[Path],
    sound: sounds.Sound | None,
    out: Path,
    order: Order,
    enlargement: Enlargement,
    listener: Listener,
) -> None:
    """A film of these pictures, which looks as that of the order will, but has even sides, which a folder need not have."""
    from walk import film, video

    look = order.look | {"size": "{}x{}".format(*(side // 2 * 2 for side in enlargement.film))}
    with listener.progress(f"making {out.name}", len(pictures), after=2) as progress:
        video.encode(pictures, out, order.walk.fps, metadata=film.ROUGH, sound=sound, report=progress.reached, **look)


@_halving
def part(*, loaded: Model | None = None, **chosen: Any) -> str:
    """Render a film's frames from one moment to another, and make a film of these alone; returns its path."""
    # 1. Which frames, and whether they can be made.
    listener = _listener(chosen)
    start, end = chosen.pop("from", None), chosen.pop("to", None)
    if start is None and end is None:
        raise Error(
            "give --from, --to or both, such as --from bar=9 --to bar=17; without them, walk makes the whole film"
        )
    order = orders.read_order(chosen, listener, loaded.settings if loaded else None)
    out = paths.rough_cut(order.out, "part")
    shown = order.frames_between(start, end)
    fps = order.walk.fps
    listener.say(
        f"of them {plural(len(shown), 'frame')}, from {format_time(round(float(shown.start / fps), 2))} to "
        f"{format_time(round(float(shown.stop / fps), 2))}"
    )
    with _importing(listener):
        from walk import inbetweens
        from walk.run import Run
        from walk.work import Work
    needed = len(order.thinned.needed(shown))
    model, enlargement, interpolation = _prepared(order, listener, loaded, needed)
    _tell_alike(order, model.settings, listener)
    # 2. The frames, which are those of the film.
    opened = Run(order.folder, order.thinned.walk, model.settings, order.describe, decided=False)
    with opened as run:  # until the film is made: another walk here would remove what is interpolated for it
        with Work(run, model, listener) as work:
            order, run, looked = _at_one_speed(order, run, work, listener)
            run = work.part(run, order.thinned.needed(shown), order.even, looked)
            made: list[Path] = []
            if interpolation:
                work.release()
                full = _inbetweens(order, run, interpolation)
                made = full.make(listener, shown)
                pictures = full.frames(shown)
            else:
                pictures = run.frames(shown)
        # 3. The film of them.
        sound = order.sound_of(out)
        if sound:
            first, after = (nearest(frame / fps * sound.rate) for frame in (shown.start, shown.stop))
            sound = excerpts.part(sound, first, after - first)
        _save_cut(pictures, sound, out, order, enlargement, listener)
        inbetweens.forget(order.folder, made)  # those of a film that was stopped stay
    return as_word(out)


def _stand_ins(folder: Path, walk: Walk, settings: Settings, spreading: bool) -> list[Path]:
    """For each frame of a walk its own picture, or the nearest on the path, of those that exist and are whole."""
    from walk import roughcut, run

    own, placed = run.by_index(folder, walk, settings), run.by_place(folder, walk, settings)
    turn = len(walk.keyframes) if walk.closed else math.inf
    while own or placed:
        near = placed | {walk.positions[index]: path for index, path in own.items()}
        cut = roughcut.cut(walk.positions, near, turn, spreading)
        pictures = [near[place] if spreading else own.get(index, near[place]) for index, place in enumerate(cut)]
        broken = {path for path in set(pictures) if not run.is_whole(path)}
        if not broken:
            return pictures
        own = {index: path for index, path in own.items() if path not in broken}
        placed = {place: path for place, path in placed.items() if path not in broken}
    raise paths.no_frames(folder)


@_halving
def seeds(*, loaded: Model | None = None, **chosen: Any) -> str:
    """Render each prompt from several seeds; returns the path of a sheet of them."""
    # 1. What is asked for, and whether it can be drawn.
    listener = _listener(chosen)
    chosen = orders.with_prompts(chosen)
    film = orders.read_keyframes(chosen, listener, tensors=loaded is not None)
    prompts = _seeds_in_film(film)
    if len(prompts) == 1 and len(film) > 1 and chosen.get("seeds", WORDS) != WORDS:
        raise Error("--seeds are those of the film's prompts; which ones to draw of a prompt, --from and --count say")
    numbers = _numbers(chosen, prompts)
    for prompt in (subject.prompt for subject in prompts):
        if prompt.isdecimal():
            listener.note(f"{prompt} is drawn as a prompt; how many seeds, --count {prompt} would say")
    shown = dict.fromkeys((it, seed) for it, own in prompts.items() for seed in (*own[:1], *numbers))
    keyframes = tuple(Keyframe(it.prompt, seed, it.negative_prompt, image=it.image) for it, seed in shown)
    out = _name_of_sheet(chosen, prompts, numbers[0])
    paths.check_sheet(out)
    # 2. The pictures.
    with _importing(listener):
        from walk.render import render
    settings = orders.settings(chosen, film, loaded.settings if loaded else None)
    lazy = _lazy_model(settings, listener, film, loaded=loaded)
    walk = Walk(keyframes, tuple(map(float, range(len(keyframes)))), Fraction(1))
    pictures = {}
    model = lazy.loaded()
    lazy.tell_notes()
    with listener.progress("rendering", walk.frames, unit="pictures") as progress:
        try:
            for index, picture in render(model, walk, range(walk.frames)):
                pictures[keyframes[index].subject, keyframes[index].seed] = picture
                progress.reached(len(pictures))
        except KeyboardInterrupt:
            if not pictures:
                raise KeyboardInterrupt("no sheet is made") from None
    # 3. The sheet.
    try:
        _save_sheet(_draw_seeds(prompts, numbers, pictures), out)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{plural(len(pictures), 'picture')} were drawn, but no sheet is made") from None
    if len(pictures) < walk.frames:
        raise KeyboardInterrupt(f"{out} shows the {len(pictures)} of {walk.frames} pictures that were made")
    return as_word(out)


def _seeds_in_film(film: Sequence[Keyframe]) -> dict[Subject, list[int]]:
    """The seeds that each prompt, with what belongs to it, has in the film of these keyframes. There is none of one
    keyframe; of that, a seed counts only if it is given."""
    seeds: dict[Subject, list[int]] = {keyframe.subject: [] for keyframe in film}
    for keyframe in film if len(film) > 1 or film[0].seed else ():
        seeds[keyframe.subject].append(keyframe.seed)
    return seeds


def _numbers(chosen: dict[str, Any], prompts: Mapping[Subject, Sequence[int]]) -> range:
    """The seeds to choose from. prompts: as `_seeds_in_film` tells them. Raises Error for more than a sheet can show."""
    own = any(prompts.values())
    count, first = chosen.get("count", flags.SEEDS_EACH if own else flags.SEEDS), chosen.get("from", 0)
    if (total := len(prompts) * (count + own)) > MAX_SEEDS:
        asked = f"{plural(len(prompts), 'prompt')} with {plural(count, 'seed')}" + " each, and the film's own," * own
        fitting = MAX_SEEDS // len(prompts) - own
        less = (
            f"--count {fitting}" + ", or fewer prompts" * own if fitting > 0 else f"{MAX_SEEDS // 2} prompts, or fewer"
        )
        raise Error(f"{asked} are {total} pictures, and a sheet has room for {MAX_SEEDS}; give {less}")
    return range(first, first + count)


def _name_of_sheet(chosen: dict[str, Any], prompts: Iterable[Subject], first: int) -> Path:
    file = prompt_file(chosen["prompts"])
    name = paths.own_name(file) if file else paths.slug([subject.title for subject in prompts])  # in its style
    return paths.expanded(chosen.get("out", f"{name}.seeds{f'-from-{first}' if first else ''}.png"))


def _draw_seeds(
    prompts: Mapping[Subject, Sequence[int]], numbers: range, pictures: Mapping[tuple[Subject, int], Any]
) -> Any:
    """pictures: of each prompt from each seed, as far as they were made."""
    from walk import sheet

    choices = []
    for it, own in prompts.items():
        made = {seed: pictures[it, seed] for seed in (*own[:1], *numbers) if (it, seed) in pictures}
        choices.append(sheet.Choice(it.title, it.negative_prompt, own, made))
    if not any(prompts.values()):
        return sheet.seeds([*made.values()], [*made], choices[0].prompt)
    return sheet.choices([it for it in choices if it.film[0] in it.pictures], numbers)


def replay(**chosen: Any) -> str:
    """Make a film again from its recipe, with whatever flags change of it; returns the new film's path."""
    path = chosen.pop("film")
    made, another = read_recipe(path), False
    if "model" in chosen:
        from walk import downloads, hub

        own = chosen.get("denoiser", dict(made.flags).get("denoiser", "own")) == "own"
        with in_bytes(_listener(chosen)) as report, downloads.reporting(report):
            another = not recipe.weights(made).startswith(hub.model_identity(chosen["model"], own, report))
    if another and set(OF_MODEL) - set(chosen):
        _listener(chosen).say("another model: its own size, steps, guidance and scheduler are taken, unless given")
    if told := told_own_movement(made, chosen):
        _listener(chosen).note(told)
    chosen, again = replayed(path, made, chosen, another)
    return film(again=again, **chosen)


@_halving
def bench(**chosen: Any) -> str:
    """How fast a model's frames are made on this machine, and where the time goes."""
    listener, frames = _listener(chosen), chosen.get("frames", flags.BENCH_FRAMES)
    with _importing(listener):
        from walk.bench import LEAST, SECONDS, measure
    lazy = _lazy_model(flags.settings(chosen), listener, pictures=frames)
    model = lazy.loaded()
    with tempfile.TemporaryDirectory() as folder, listener.progress("timing", LEAST + 1, unit="batches") as progress:
        it = measure(model, Path(folder), SECONDS, lambda: progress.more(1))
    settings, startup = model.settings, lazy.seconds
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


# Commands that read, and tell


class Wrong(str):
    """What a command found that is not as it should be."""


def info(film: str, **chosen: Any) -> str:
    """What made a film, as a prompt file, or as JSON."""
    made = read_recipe(film)
    if chosen.get("json"):
        return recipe.to_text(made)
    return recipe.as_prompt_file(made, f"{Path(film).stem}-again.txt", files_named(made))


def diff(film: str, other: str) -> str | None:
    """What differs in the recipes of two films."""
    lines = recipe.differences(read_recipe(film), read_recipe(other))
    if not lines:
        Bars().say("nothing differs")  # stdout stays empty, as diff's does
    return "\n".join(lines) or None


def prune(folder: str, yes: bool = False) -> str | None:
    """Frames that a run folder's newest film does not use: listed, or removed."""
    from walk.run import ages, unused

    with unused(Path(folder)) as frames:
        total = sum(frame.stat().st_size for frame in frames)
        for frame in frames if yes else ():
            try:
                frame.unlink()
            except OSError as error:
                raise Error(f"{frame} cannot be removed ({error.strerror})") from None
    counting = _film_that_counts(*ages(Path(folder)))
    done = "removed" if yes else f"not used{counting}; add --yes to remove these frames"
    Bars().say(f"{plural(len(frames), 'frame')}, {_bytes(total)}: {done}")
    return None if yes else "\n".join(map(str, frames)) or None


def _film_that_counts(newest: str, older: Sequence[str]) -> str:
    """Which film of a folder counts for `prune`, and which do not."""
    by = f" by {newest}, the newest film of this folder" if newest else " by the walk begun last" if older else ""
    return by + (f"; {together(older)} {'is' if len(older) == 1 else 'are'} older" if older else "")


def check(film: str, **chosen: Any) -> str:
    """What a film is, and what is wrong with it; in a picture, too."""
    # 1. The film, and what it tells of itself.
    from walk import sheet
    from walk.check import check

    paths.check_is_film(film)
    if out := paths.expanded(chosen["out"]) if "out" in chosen else None:
        paths.check_sheet(out)
    count = len(probe.timestamps(Path(film))[0])
    drawn: dict[int, Any] = dict.fromkeys(sheet.sampled(count) if out else ())
    made = None
    with contextlib.suppress(Error):
        made = read_recipe(film)
    carried = dict(made.flags) if made else {}

    # 2. What a player sees and hears of it.
    def see(index: int, picture: Any) -> None:
        if index in drawn:
            drawn[index] = sheet.reduced(picture)

    with Bars().progress(f"reading {film}", count, after=2) as progress:
        told = told_walk(made, count) if made else None
        meant = {"rests": told.rests(), "swings": told.swings()} if told else {}
        report = check(Path(film), progress.reached, **meant, see=see, closed="loop" in carried)
        damage = ffmpeg.complaint(Path(film))

    # 3. What is wrong.
    uneven = bool(RHYTHM & carried.keys())  # it moves to them
    movement = [report.movement(uneven)] if report.largest else []
    missing = [*_frames_missing(made, count)]
    facts = [*report.facts, *movement, *missing]
    wrong = [*([f"it is damaged: {damage}"] if damage else []), *_lines_of(report.faults)]
    if out:
        # Others' are no keyframes, and those of a film that was cut are elsewhere.
        chapters = probe.read_metadata(Path(film)).chapters if made and not missing else ()
        marks = [(float(start), title) for start, title in chapters]
        pictures = [(report.times[index], picture) for index, picture in drawn.items()]
        warnings = [*report.warnings, *wrong]
        _save_sheet(sheet.film(Path(film).name, facts, pictures, report.times, report.steps, marks, warnings), out)
        Bars().say(f"drawn in {out}")
    if chosen.get("json"):
        figures = {"largest": report.largest, "ppl": report.ppl, "pdv": report.pdv}
        text = json.dumps({"film": film} | dataclasses.asdict(report) | figures | {"facts": facts, "damage": damage})
    else:
        fine = "otherwise nothing is wrong" if report.warnings else "nothing is wrong"
        text = "\n".join([*facts, *report.warnings, *(wrong or [fine])])
    return Wrong(text) if wrong else text


def _lines_of(faults: Sequence[tuple[float, str]]) -> list[str]:
    """A line for each fault; of many that are alike, for the first and the last."""
    often, seen, lines = Counter(fault for _, fault in faults), Counter[str](), []
    for seconds, fault in faults:
        seen[fault] += 1
        left_out = often[fault] - MOST_ALIKE
        if left_out > 0 and MOST_ALIKE <= seen[fault] < often[fault]:
            continue
        last = f" (the last of {often[fault]}; {left_out} between are not listed)" * (
            left_out > 0 and seen[fault] == often[fault]
        )
        lines.append(f"{clock(seconds)}  {fault}{last}")
    return lines


def _frames_missing(made: recipe.Recipe | None, count: int) -> Iterator[str]:
    """A fact more, if the film has not as many frames as its recipe makes."""
    frames = dict(made.flags).get("frames") if made else None
    if frames is not None and frames != str(count):
        yield f"its recipe is that of a film of {plural(int(frames), 'frame')}"


def beats(audio: str, **chosen: Any) -> str:
    """The beats of a sound, as a file of beats."""
    from walk.audio import FASTEST, SLOWEST, tempi, tempo
    from walk.beatfile import as_file
    from walk.music import Request, heard

    path, listener = at_home(audio), Bars()
    request = Request(Fraction(1), **flags.given(chosen, "start", "seconds", "bpm", "offset", "meter"))
    music = heard(path, request, listener)
    rhythm = music.rhythm
    if not rhythm.beats:
        there = " there" if {"start", "seconds"} & set(chosen) else ""
        raise Error(f"no beats are heard in {audio}{there}; give --bpm, if you know its tempo")
    if request.bpm is None and (found := tempi(rhythm.beats)):
        others = [f" (or {x:.4g}: --bpm {x:.4g})" for x in (2 * found[0], found[0] / 2) if SLOWEST <= x <= FASTEST]
        listener.say(f"{path.name}: {tempo(rhythm.beats)}{''.join(others) if len(found) == 1 else ''}")
    for note in music.notes:
        listener.note(note)
    return as_file(rhythm, request.beats_per_bar, path.name, float(request.start))


def doctor() -> str:
    """What this machine can do, and what to do where it cannot."""
    from walk.doctor import examine

    findings = examine(Path())
    lines = [
        f"{'-' if it.remedy else 'ok':<4}{it.text}" + (f"\n    {it.remedy}" if it.remedy else "") for it in findings
    ]
    text = "\n".join(lines)
    return Wrong(text) if any(finding.fatal for finding in findings) else text


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
    "part": part,
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


def _prepared(
    order: Order,
    listener: Listener,
    loaded: Model | None = None,
    pictures: int = 0,
    kept: Kept | None = None,
    looking: bool = False,
) -> tuple[LazyModel, Enlargement, interpolate.Network | None]:
    """The model, not loaded yet; how large the film is; and what makes frames that are not rendered, unless one is
    only looking at those that exist. Raises Error for what can be refused before that."""
    with _importing(listener):
        from walk import enlargement, inbetweens
    network = enlargement.find_network(order, listener)  # first, lest a long download ends in its refusal
    interpolation = None if looking else inbetweens.find_network(order, listener)
    walk = order.thinned.walk
    model = _lazy_model(order.settings, listener, walk.keyframes, order.folder, pictures, loaded, walk, kept)
    return model, enlargement.plan(order, model.settings, network, listener), interpolation


def _lazy_model(
    settings: Settings,
    listener: Listener,
    keyframes: Sequence[Keyframe] = (),
    folder: Path | None = None,
    pictures: int = 0,
    loaded: Model | None = None,
    walk: Walk | None = None,
    kept: Kept | None = None,
) -> LazyModel:
    with _importing(listener):
        from walk.lazy import LazyModel
        from walk.loading import import_diffusers

        if loaded is None:
            import_diffusers()
    if loaded is not None:
        return LazyModel(settings, listener, keyframes, model=loaded.at(settings))
    if settings.model == BUILT_IN and not (kept and kept.model):
        listener.say("using toybox, the built-in model, which draws toys; walk models lists others for --model")
    model = LazyModel(settings, listener, keyframes, folder, pictures, walk=walk, kept=kept)
    model.seconds = time.monotonic() - listener.begun
    return model


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
        with _uninterrupted():
            yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """In an interactive session, such as a notebook, an interrupt waits for the end: torch, once it is half imported,
    cannot be imported again, and the session would be lost."""
    ours = threading.current_thread() is threading.main_thread()  # which alone hears signals
    if not ours or not hasattr(sys, "ps1") or "torch" in sys.modules:
        yield
        return
    heard: list[int] = []
    usual = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if usual is None else usual)  # None: of another language's
    if heard:
        raise KeyboardInterrupt


def _tell_alike(order: Order, settings: Settings, listener: Listener) -> None:
    """A note if the film's frames are in another folder."""
    from walk.run import alike

    if other := alike(order.folder, order.thinned.walk, settings):
        listener.note(f"{other} has these frames; --run {quoted(as_word(other))} uses them")


def _tell_other_seeds(order: Order, listener: Listener) -> None:
    """A note if the film replaces one of the same prompts with other seeds: whoever tries seeds may want to keep both."""
    with contextlib.suppress(Error):  # there is none, or it has no recipe
        before, now = read_lines(read_recipe(str(order.out)).prompts), order.walk.keyframes
        same_prompts = [it.subject for it in before] == [it.subject for it in now]
        if same_prompts and [it.seed for it in before] != [it.seed for it in now]:
            listener.note(
                f"{order.out}, which has other seeds, will be replaced; another --out, with --run "
                f"{quoted(as_word(order.folder))}, keeps both"
            )


def _tell_unlike(
    again: Again,
    settings: Settings,
    enlargement: Enlargement,
    interpolation: interpolate.Network | None,
    listener: Listener,
) -> None:
    """Notes if a film is not made again by what made it."""
    if again.weights != settings.weights:
        listener.note("the model is not the one that made that film, so its pictures will differ")
    if again.upscaler and again.upscaler != (enlargement.network.digest if enlargement.network else ""):
        listener.note("the upscaler is not the one that enlarged that film's frames, so they will differ")
    if again.interpolator and interpolation and again.interpolator != interpolation.digest:
        listener.note("the interpolator is not the one that made some of that film's frames, so they will differ")


def _at_one_speed(order: Order, run: Run, work: Work, listener: Listener) -> tuple[Order, Run, dict[int, Earlier]]:
    """With keyframes where the speed stays the same, if that is asked for; and what was looked at to find out."""
    if not order.constant:
        return order, run, {}
    lengths, looked = work.survey(run)
    order = order.timed(lengths)
    run = run.at(order.thinned.walk)
    work.turn_to(run)
    apart = [float(frames / order.walk.fps) for frames in order.walk.landmarks()[1]]
    listener.say(f"at one speed, keyframes come {min(apart):.1f} to {max(apart):.1f} s after one another")
    return order, run, looked


def _inbetweens(order: Order, shown: Run, interpolation: interpolate.Network) -> Inbetweens:
    """All frames of the film. shown: the run of those that are rendered, or of these enlarged."""
    from walk.inbetweens import Inbetweens
    from walk.interpolate import Interpolator

    return Inbetweens(shown, order.thinned, Interpolator(interpolation, shown.settings), order.folder)


def _assemble(
    order: Order,
    run: Run,
    work: Work,
    enlargement: Enlargement,
    interpolation: interpolate.Network | None,
    listener: Listener,
) -> None:
    """The frames of a run become its film, unless it is finished."""
    from walk import inbetweens
    from walk.film import Shown, as_shown, is_finished, make
    from walk.inbetweens import Inbetweens
    from walk.larger import Larger, forget
    from walk.upscale import Upscaler

    sound = order.sound_of(order.out)

    def described(shown: Shown | None) -> probe.Metadata | None:
        if not order.describe:
            return None
        walk, settings, refined = order.thinned.filled(run.walk), as_shown(run, shown), run.manifest.refined
        name = interpolation.name if interpolation else None
        return orders.metadata(order, walk, settings, refined, enlargement.name, name)

    def with_inbetweens(enlarged: Run | None) -> Shown | None:
        return _inbetweens(order, enlarged or run, interpolation) if interpolation else enlarged

    with contextlib.ExitStack() as held:
        larger = enlarged = None
        if enlargement.network is None:
            forget(run)
        else:
            upscaler = Upscaler(enlargement.network, run.settings)
            larger = held.enter_context(Larger(run, upscaler, enlargement.pictures))
            enlarged = larger.run
        shown = with_inbetweens(enlarged)
        if is_finished(run, order.out, described(shown), sound, shown, **order.look):
            run.record_newest(order.out.name)
            listener.say(f"{order.out} is finished already")
            if isinstance(shown, Inbetweens):  # a kill may have come before that
                inbetweens.forget(order.folder, shown.made)
            return
        if larger:
            work.release()
            work.enlarged = larger.count
            larger.enlarge(listener)
            shown = with_inbetweens(larger.run)  # in other tiles by now, perhaps
        if isinstance(shown, Inbetweens):
            work.release()
            shown.make(listener)
        with listener.progress(f"making {order.out.name}", order.walk.frames, after=2) as progress:
            make(run, order.out, described(shown), sound, progress.reached, shown, **order.look)
        inbetweens.forget(order.folder)


def _watch(order: Order, walk: Walk, listener: Listener) -> None:
    """Read the film as a player would, and say how even it is, and what is wrong with it."""
    from walk import eye, speed
    from walk.check import check

    try:
        with listener.progress(f"watching {order.out.name}", walk.frames, after=2) as progress:
            report = check(order.out, progress.reached, order.walk.rests(), walk.swings(), closed=walk.closed)
    except Error as error:  # the film is made all the same
        listener.note(str(error))
        return
    if report.largest:
        along, uneven = "", bool(order.music or order.placed)
        asked = order.thinned.filled(order.thinned.walk)  # as order.walk, but for the last digits
        if walk != asked and not uneven:
            before = eye.unevenness(speed.predicted_steps(asked, list(zip(walk.positions, report.steps))))
            along = f" (equal steps along the path: {before:.1f} times)"
        listener.say(report.movement(uneven, along))
    if report.still - len(order.walk.rests()) / walk.frames >= outlook.STILL:  # more than it was meant to
        listener.note(f"the film stands still for {report.still:.0%} of its length")
    for line in _lines_of(report.faults):
        listener.note(line)
    if any("picture jumps:" in fault for _, fault in report.faults):
        listener.note("where it jumps, another seed for the next keyframe, or one more between, may help")
    for line in report.warnings:
        listener.note(line)
    if report.warnings:
        listener.note(f"where it flashes, {either(_calmer(order))} may help")


def _calmer(order: Order) -> list[str]:
    """What may keep a film of this kind from flashing."""
    own = any(keyframe.pulse for keyframe in order.walk.keyframes)
    paced = order.music and used_paces(order.flags, order.walk.keyframes) != {"even"}
    ways = {"a smaller --pulse": order.flags.get("pulse"), "a smaller pulse=": own, "a smaller --react": paced}
    return [*(way for way, helps in ways.items() if helps), "keyframes further apart", "prompts nearer in brightness"]


def _save_sheet(sheet: Any, path: Path) -> None:
    import numpy as np

    from walk import png

    data = png.encode(np.asarray(sheet), dict([paths.SHEET]))
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)


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
    checked = flags.checked([f"--{name}={word}" for name, word in words.items()], command)
    pairs = (argument.removeprefix("--").split("=", 1) for argument in checked)
    chosen = {name: known[name].parse(word) for name, word in pairs}
    chosen["prompts"] = prompts
    return str(COMMANDS[command](**({} if model is None else {"loaded": model}), **chosen))


def share_processors() -> None:
    """torch's threads wait for each other by spinning, in GNU's OpenMP for 300,000 rounds. Where others wanted a core, a
    render then took up to twelve times as long as on an idle machine; if they sleep after a thousand, twice. On an idle
    machine that costs a thirtieth."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")

"""A model that is found at once and loaded when the first picture is to be rendered: with the settings of before, if a
film is continued; compiled, if that pays. It says once what of its prompts it will not understand.

Knows no flags and no films, and prints nothing: a `walk.progress.Listener` is told.
"""

from __future__ import annotations

import dataclasses
import gc
import math
import time
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from walk import Error, Settings, Walk, embeddings, machine, models
from walk.bench import KEYFRAMES
from walk.kept import Kept
from walk.keyframes import Keyframe
from walk.manifest import fingerprints
from walk.models import Model
from walk.progress import Listener, in_bytes
from walk.render import render
from walk.run import best_served, finished
from walk.text import format_time

NAMED = 8  # of more than twice as many keyframes that a note applies to
LARGER = 2  # times as many pixels as a model was made for are worth a warning

# Compiling takes minutes and gains little, or up to a half, so it is tried only for long renders.
COMPILED = ("cuda",)  # devices; a CPU gains nothing
LONG = 15 * 60.0  # seconds, at least,
MANY = 40  # and batches, at least; up to eight are rendered for nothing when it is tried
GAIN = 0.03  # of the time is worth keeping a compiled model


class LazyModel:
    """A model that is found at once, and loaded when the first picture is to be rendered."""

    def __init__(
        self,
        settings: Settings,
        listener: Listener | None = None,
        keyframes: Sequence[Keyframe] = (),
        folder: Path | None = None,
        frames: int = 0,
        model: Model | None = None,
        walk: Walk | None = None,
        kept: Kept | None = None,
    ) -> None:
        """settings: what is not set is filled in. keyframes, walk: that it will render. frames: how many pictures.
        folder: a run folder whose frames shall serve, even if they were rendered in smaller batches, or by a compiled
        model. model: one with these settings that is loaded already. kept: where it is found if it is loaded already, and
        left for others.

        Raises Error like `walk.models.complete`.
        """
        self.listener = listener or Listener()
        self.keyframes = keyframes
        self.seconds = 0.0  # that loading took
        self._model, self._notes_told = model, False
        self._kept = kept
        self._given = model is not None
        if model is not None:
            self.settings = model.settings
            return
        with in_bytes(self.listener) as report:
            self.settings = models.complete(settings, report)
        if folder is not None and keyframes:
            self.settings = _as_rendered_before(self.settings, settings.batch is None, keyframes, folder, walk)
        if self.settings.compile is None:
            self._choose(frames)

    def loaded(self) -> Model:
        if self._model is None and self._kept and self._kept.model:
            if self._kept.model.settings == self.settings:
                self._model = self._kept.model
            else:
                self._kept.model = None
                self._free()
        if self._model is None:
            compiling = ", and compiling it with the first pictures" if self.settings.compile else ""
            self.listener.say("loading the model" + compiling)
            begun = time.monotonic()
            self._model = models.load(self.settings)
            self.seconds += time.monotonic() - begun
        if self._kept:
            self._kept.model = self._model
        return self._model

    def release(self) -> None:
        """Give back its memory, unless somebody else has loaded the model, or it is kept."""
        if not self._given and not self._kept:
            self._model = None
            self._free()

    def _free(self) -> None:
        gc.collect()
        machine.release(self.settings.device)

    def _choose(self, frames: int) -> None:
        """Choose whether to compile the model for so many frames, by trying: neither how long compiling takes nor what
        it gains can be told from the model and the machine."""
        compiled = dataclasses.replace(self.settings, compile=True)
        self.settings = dataclasses.replace(self.settings, compile=False)
        few = frames < MANY * (self.settings.batch or 1)
        if few or self.settings.low_memory or self.settings.device.split(":")[0] not in COMPILED:
            return
        try:
            models.check_compiles(self.settings)
        except Error as error:
            self._say_not_compiled(error)
            return
        for keyframe in self.keyframes:  # while the text encoders have the GPU for themselves; the model keeps it
            self.loaded().encode(keyframe)
        usual = self._rate(self.loaded(), "timing the model")
        if frames / usual < LONG:
            self.listener.say(f"not compiled: the frames take {format_time(round(frames / usual))} as it is")
            return
        begun = time.monotonic()
        try:
            other = self.loaded().at(compiled)
        except Error as error:
            self._say_not_compiled(error)
            return
        if self._pays(other, frames, usual, begun):
            self.settings, self._model = compiled, other
            return
        del other  # nothing that is compiled goes back to how it was
        self._model = None
        gc.collect()  # else it still fills the memory that it is to be loaded into again, since it refers to itself

    def _pays(self, compiled: Model, frames: int, usual: float, begun: float) -> bool:
        """Whether compiling, which began at `begun`, saves time worth having over so many frames at the usual rate."""
        try:
            rate = self._rate(compiled, "compiling the model, and timing it")
        except Exception as error:  # the compiler's, or for want of memory: a mere trial must not cost anybody a film
            self._say_not_compiled(error)
            return False
        took, saved = time.monotonic() - begun, frames / usual - frames / rate
        rates = f"{rate:.3g} frames a second instead of {usual:.3g}"
        if saved <= GAIN * frames / usual:
            self.listener.say(f"not compiled: {rates}")
            return False
        self.listener.say(f"compiled in {format_time(round(took))}: {rates}, which saves {format_time(round(saved))}")
        return True

    def _say_not_compiled(self, error: Exception) -> None:
        why = str(error).strip() or type(error).__name__
        self.listener.say(f"not compiled: {why.splitlines()[0].partition(';')[0]}")

    def _rate(self, model: Model, what: str) -> float:
        """Frames a second, of the third batch: when a GPU hands out a batch, it has begun with the next."""
        batch, begun = model.settings.batch or 1, 0.0
        walk = Walk.through(KEYFRAMES, frames=4 * batch)
        with self.listener.progress(what, 3 * batch) as progress:
            for count, _ in enumerate(render(model, walk, range(walk.frames)), 1):
                progress.reached(count)
                if count == 2 * batch:
                    begun = time.perf_counter()
                if count == 3 * batch:
                    break
        rate = batch / (time.perf_counter() - begun)  # Windows' other clock stands still for 16 ms at a time
        machine.wait(model.settings.device)
        return rate

    def notes(self) -> list[str]:
        """What the model will not understand of its prompts, and whether it was made for other pictures."""
        model = self.loaded()
        numbers: defaultdict[str, list[int]] = defaultdict(list)  # by note, of the keyframes that it applies to
        for k, keyframe in enumerate(self.keyframes):
            for note in model.notes(keyframe):
                numbers[note].append(k + 1)
        notes = [*getattr(model, "remarks", ())]
        notes += [f"{_keyframes(some, len(self.keyframes))}: {note}" for note, some in numbers.items()]
        if self._given:  # whoever loaded or made it knows what for
            return notes
        size, native = (self.settings.width, self.settings.height), models.native_size(self.settings)
        if size != native:
            unusual = f"the model was made for {native[0]}x{native[1]}, not {size[0]}x{size[1]}"
            larger = math.prod(map(int, size)) >= LARGER * math.prod(native)  # type: ignore[arg-type]
            notes.append(
                unusual + ": such pictures may be noise, or show things twice; --size enlarges a film" * larger
            )
        notes += models.unusual(self.settings)
        prompts = [text for keyframe in self.keyframes for text in (keyframe.prompt, keyframe.negative_prompt)]
        notes += embeddings.unsaid(self.settings.embeddings(), prompts)
        if self.settings.device == "cpu":
            notes += machine.unusable().values()
        return notes

    def tell_notes(self) -> None:
        """Say the notes, once."""
        if self._notes_told:
            return
        self._notes_told = True
        self.listener.notes(self.notes())


def _keyframes(numbers: Sequence[int], of: int) -> str:
    """'keyframe 2', 'keyframes 2, 3', 'every keyframe'; of very many, the first."""
    if len(numbers) == of > 1:
        return "every keyframe"
    named = numbers if len(numbers) <= 2 * NAMED else numbers[:NAMED]
    more = f" and {len(numbers) - NAMED} more" * (len(named) < len(numbers))
    return f"keyframe{'s' * (len(numbers) > 1)} {', '.join(map(str, named))}{more}"


def _as_rendered_before(
    settings: Settings, free: bool, keyframes: Sequence[Keyframe], folder: Path, asked: Walk | None
) -> Settings:
    """The settings, but with the batch, if `free`, and compiled or not, if that is open, as most of the keyframes' pictures
    in a run folder were rendered: so these serve. (A larger batch may not have fitted in memory.) Few pictures, as a
    preview leaves them, decide nothing about compiling."""
    walks = [Walk(tuple(keyframes), tuple(map(float, range(len(keyframes)))), Fraction(1))]
    if asked and asked.pulse:  # then the film may show none of these, but swung out
        keys = asked.landmarks()[0]
        places = (asked.positions, asked.noise, asked.pulse)
        walks.append(asked.with_positions(*([some[key] for key in keys] if some else [] for some in places)))
    batches = [settings.batch or 1]
    while free and batches[0] > 1:
        batches.insert(0, batches[0] // 2)
    compiles = (True, False) if settings.compile is None else (settings.compile,)
    able = [dataclasses.replace(settings, batch=batch, compile=it) for batch in batches for it in compiles]
    best, count = best_served(folder, {it: {name for walk in walks for name in fingerprints(walk, it)} for it in able})
    if not count:
        return settings
    if settings.compile is None and not best.compile and len(finished(folder)) < MANY * (best.batch or 1):
        best = dataclasses.replace(best, compile=None)
    return best

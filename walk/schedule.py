"""A scheduler that keeps no GPU waiting: what it works out for a number of steps is kept from the first batch on.

To read a number that lies on a GPU, or to bring one there, waits until all is done that the GPU was given, and then the
GPU has nothing to do. diffusers' pipelines have their scheduler plan its steps anew at each call, and hand it timesteps
that lie on the GPU; several schedulers look something up by those at every step. Stochastic ones draw noise, which must
not be another in each frame: they are given it.

Knows no models and no pictures.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from walk import Error

# What a scheduler raises for steps and models that it is not made for. RuntimeError, too, where no model is at work that
# may find no room in memory.
_UNFIT = ArithmeticError, AssertionError, IndexError, TypeError, ValueError
REFUSALS = *_UNFIT, RuntimeError

_Draw = Callable[..., Tensor]  # diffusers' own way to draw noise, or ours, which is handed that first
_draw: ContextVar[_Draw | None] = ContextVar("_draw", default=None)  # of each thread its own
_installing = threading.Lock()


def keep(scheduler: Any) -> Callable[[Iterable[Tensor]], None]:
    """Change one of diffusers' schedulers, so that it plans the same steps but once, and from then on finds its
    timesteps on the CPU. What it makes of a picture stays the same.

    A pipeline asks in the same order each time; what it hands over the first time is what is kept.
    Its methods raise Error for steps and models that it is not made for, and where they would draw noise that nobody
    has given or seeded: it would be another in every run.

    Returns a function: give it the noise of the next pictures' steps, a tensor for each draw.
    """
    plans: dict[str, _Plan] = {}
    plan: _Plan  # the one that is followed
    noises: Iterator[Tensor] = iter(())

    def drawn(
        usual: _Draw, shape: Any, generator: Any = None, device: Any = None, dtype: Any = None, **how: Any
    ) -> Any:
        if (given := next(noises, None)) is not None:
            return given.reshape(shape).to(device, dtype)
        if generator is None:
            name = type(scheduler).__name__
            raise Error(f"{name} draws noise of its own, so that no two runs would agree; give another --scheduler")
        return usual(shape, generator, device, dtype, **how)  # of which nobody knew; the same for all frames

    def handed(method: str) -> Any:
        usual = getattr(scheduler, method)

        @functools.wraps(usual)
        def call(given: Tensor, timestep: Any, *args: Any, **more: Any) -> Any:
            scheduler.timesteps = plan.timesteps
            with _fits(scheduler), _drawing(scheduler, drawn):
                return usual(given, plan.here(method, timestep), *args, **more)

        return call

    set_timesteps = scheduler.set_timesteps

    @functools.wraps(set_timesteps)
    def planned(*args: Any, **more: Any) -> None:
        nonlocal plan
        wanted = repr((args, sorted(more.items())))
        if wanted not in plans:
            with _fits(scheduler):
                set_timesteps(*args, **more)
            if hasattr(scheduler, "set_begin_index") and scheduler.begin_index is None:
                scheduler.set_begin_index(0)  # it would look its first timestep up, which may be there twice
            plans[wanted] = _Plan({name: value for name, value in vars(scheduler).items() if name not in ours})
        plan = plans[wanted]
        plan.begin(scheduler)

    ours = {name: handed(name) for name in ("scale_model_input", "step") if hasattr(scheduler, name)}
    ours["set_timesteps"] = planned
    for name, method in ours.items():
        setattr(scheduler, name, method)

    def give(those: Iterable[Tensor]) -> None:
        nonlocal noises
        noises = iter(those)

    return give


@contextlib.contextmanager
def _fits(scheduler: Any) -> Iterator[None]:
    try:
        yield
    except _UNFIT as error:
        name, why = type(scheduler).__name__, str(error).rstrip(".") or type(error).__name__
        raise Error(
            f"{name} does not fit this model or its steps: {why}; try another --scheduler or --steps"
        ) from error


@contextlib.contextmanager
def _drawing(scheduler: Any, draw: _Draw) -> Iterator[None]:
    """Within which one of diffusers' schedulers draws its noise so, in this thread."""
    _install(sys.modules[type(scheduler).step.__module__])
    before = _draw.set(draw)
    try:
        yield
    finally:
        _draw.reset(before)


def _install(module: ModuleType) -> None:
    """What asks, whenever a module's schedulers draw noise, how this thread wants it. For good: a function that is put
    there and taken away again, other threads would meet, too."""
    with _installing:
        usual = getattr(module, "randn_tensor", None)
        if usual is not None and not isinstance(usual, _Asking):
            module.randn_tensor = _Asking(usual)  # type: ignore[attr-defined]


class _Asking:
    def __init__(self, usual: _Draw) -> None:
        self.usual = usual

    def __call__(self, *args: Any, **how: Any) -> Tensor:
        draw = _draw.get()
        return draw(self.usual, *args, **how) if draw else self.usual(*args, **how)


def draws(scheduler: Any, steps: int) -> int:
    """How often one of diffusers' schedulers draws noise on the way of so many steps, as far as that can be told."""
    own = type(scheduler).from_config(scheduler.config)
    stepping, planning = (inspect.signature(method).parameters for method in (own.step, own.set_timesteps))
    if "generator" not in stepping:
        return 0
    count = 0

    def counted(usual: _Draw, shape: Any, *_: Any, **how: Any) -> Tensor:
        nonlocal count
        count += 1
        return torch.zeros(shape)

    more = {"eta": 0.0} if "eta" in stepping else {}
    plan: dict[str, Any] = {}
    if "intermediate_timesteps" in planning and steps != 2:
        plan["intermediate_timesteps"] = None
    if "mu" in planning and own.config.get("use_dynamic_shifting"):
        plan["mu"] = 1.0  # which follows from the picture's size, and moves steps, but adds none
    sample = torch.zeros(1, 4, 8, 8)
    # Past its last step, or what it does not take: that is told when it is used.
    with contextlib.suppress(*REFUSALS), _drawing(own, counted):
        own.set_timesteps(steps, **plan)
        for timestep in own.timesteps:
            if hasattr(own, "scale_model_input"):
                own.scale_model_input(sample, timestep)  # else some complain
            own.step(torch.zeros_like(sample), timestep, sample, generator=torch.Generator(), **more)
    return count


class _Plan:
    """What a scheduler is before its first step, and which timesteps it is handed, call by call."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state
        self.timesteps = state["timesteps"].cpu()
        self.known: dict[str, list[Any]] = {}
        self.calls: dict[str, int] = {}

    def begin(self, scheduler: Any) -> None:
        vars(scheduler).update({name: list(v) if isinstance(v, list) else v for name, v in self.state.items()})
        self.calls = {}

    def here(self, method: str, timestep: Any) -> Any:
        known = self.known.setdefault(method, [])
        call = self.calls[method] = self.calls.get(method, 0) + 1
        if call > len(known):
            known.append(timestep.cpu() if isinstance(timestep, Tensor) else timestep)
        return known[call - 1]

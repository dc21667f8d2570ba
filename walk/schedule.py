"""A scheduler that keeps no GPU waiting: what it works out for a number of steps is kept from the first batch on.

To read a number from a GPU, or to bring one there, is to wait until the GPU has done all that it was given, and then it
has nothing to do. diffusers' pipelines have their scheduler plan its steps anew at each call, and hand it timesteps
that lie on the GPU; several schedulers look something up by those at every step. Stochastic schedulers draw noise,
which must not be different in each frame: they are given theirs.

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

# What a scheduler raises for steps and models that it is not made for. RuntimeError, too, but only where no model is at
# work, which may run out of memory.
_UNFIT = ArithmeticError, AssertionError, IndexError, TypeError, ValueError
REFUSALS = *_UNFIT, RuntimeError

_Draw = Callable[..., Tensor]  # diffusers' `randn_tensor`, or ours, whose first argument is that
_thread_draw: ContextVar[_Draw | None] = ContextVar("_thread_draw", default=None)  # each thread has its own
_redirecting = threading.Lock()


class Planner:
    """In the place of a scheduler's methods: it plans the same steps only once, and from then on finds its timesteps on
    the CPU. What it makes of a picture stays the same.

    A pipeline calls the methods in the same order each time; what it hands over the first time is what is kept.
    They raise Error for steps and models that the scheduler is not made for, and where it would draw noise that nobody
    has given or seeded: that would be different in every run.
    """

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.noises: Iterator[Tensor] = iter(())
        self.plans: dict[str, _Plan] = {}  # by the arguments of `set_timesteps`
        self.plan: _Plan  # the one that is followed
        ours: dict[str, Callable[..., Any]] = {
            name: functools.partial(self._call, name)
            for name in ("scale_model_input", "step")
            if hasattr(scheduler, name)
        }
        ours["set_timesteps"] = functools.partial(self._set_timesteps)
        self.usual = {name: getattr(scheduler, name) for name in ours}
        for name, method in ours.items():  # with the usual signature, which pipelines read
            setattr(scheduler, name, functools.update_wrapper(method, self.usual[name]))

    def give(self, noises: Iterable[Tensor]) -> None:
        """The noise of the next pictures' steps, a tensor for each draw."""
        self.noises = iter(noises)

    def _set_timesteps(self, *args: Any, **more: Any) -> None:
        scheduler, wanted = self.scheduler, repr((args, sorted(more.items())))
        if wanted not in self.plans:
            with _fits(scheduler):
                self._plan_steps(*args, **more)
            if hasattr(scheduler, "set_begin_index") and scheduler.begin_index is None:
                scheduler.set_begin_index(0)  # it would look its first timestep up, which may be there twice
            self.plans[wanted] = _Plan({k: value for k, value in vars(scheduler).items() if k not in self.usual})
        self.plan = self.plans[wanted]
        self.plan.begin(scheduler)

    def _plan_steps(self, *args: Any, **more: Any) -> None:
        """The usual `set_timesteps`; for Apple's GPUs on the CPU, since they have no float64, in which some schedulers
        plan (KDPM2DiscreteScheduler with Karras' sigmas)."""
        device = more.get("device")
        if device is None or torch.device(device).type != "mps":
            self.usual["set_timesteps"](*args, **more)
            return
        self.usual["set_timesteps"](*args, **more | {"device": "cpu"})
        timesteps = self.scheduler.timesteps
        self.scheduler.timesteps = timesteps.to(device, torch.float32 if timesteps.is_floating_point() else None)

    def _call(self, name: str, tensor: Tensor, /, timestep: Any, *args: Any, **more: Any) -> Any:
        """The usual `step` or `scale_model_input`, with a timestep on the CPU."""
        self.scheduler.timesteps = self.plan.timesteps
        with _fits(self.scheduler), _drawing(self.scheduler, self._draw):
            return self.usual[name](tensor, self.plan.on_cpu(name, timestep), *args, **more)

    def _draw(
        self, usual: _Draw, shape: Any, generator: Any = None, device: Any = None, dtype: Any = None, **how: Any
    ) -> Tensor:
        if (noise := next(self.noises, None)) is not None:
            return noise.reshape(shape).to(device, dtype)
        if generator is None:
            name = type(self.scheduler).__name__
            raise Error(f"{name} draws noise of its own, so that no two runs would agree; give another --scheduler")
        return usual(shape, generator, device, dtype, **how)  # missed by `count_draws`; the same for all frames


@contextlib.contextmanager
def _fits(scheduler: Any) -> Iterator[None]:
    """Raise Error if a scheduler fails within because it is not made for the model or its steps."""
    try:
        yield
    except _UNFIT as error:
        name, why = type(scheduler).__name__, str(error).rstrip(".") or type(error).__name__
        raise Error(
            f"{name} does not fit this model or its steps: {why}; try another --scheduler or --steps"
        ) from error


@contextlib.contextmanager
def _drawing(scheduler: Any, draw: _Draw) -> Iterator[None]:
    """Within, in this thread, one of diffusers' schedulers draws its noise by `draw`."""
    _redirect_draws(sys.modules[type(scheduler).step.__module__])
    before = _thread_draw.set(draw)
    try:
        yield
    finally:
        _thread_draw.reset(before)


def _redirect_draws(module: ModuleType) -> None:
    """Let a module's schedulers draw noise as each thread wants it. For good: other threads would meet a function that
    is put there and taken away again, too."""
    with _redirecting:
        usual = getattr(module, "randn_tensor", None)
        if usual is not None and not isinstance(usual, _ThreadDraw):
            module.randn_tensor = _ThreadDraw(usual)  # type: ignore[attr-defined]


class _ThreadDraw:
    """In the place of diffusers' `randn_tensor`: draws as this thread wants it."""

    def __init__(self, usual: _Draw) -> None:
        self.usual = usual

    def __call__(self, *args: Any, **how: Any) -> Tensor:
        draw = _thread_draw.get()
        return draw(self.usual, *args, **how) if draw else self.usual(*args, **how)


def count_draws(scheduler: Any, steps: int) -> int:
    """How often one of diffusers' schedulers draws noise in so many steps, as far as that can be told."""
    fresh = type(scheduler).from_config(scheduler.config)
    step_parameters = inspect.signature(fresh.step).parameters
    if "generator" not in step_parameters:
        return 0
    count = 0

    def counted(usual: _Draw, shape: Any, *_: Any, **how: Any) -> Tensor:
        nonlocal count
        count += 1
        return torch.zeros(shape)

    plan_parameters = inspect.signature(fresh.set_timesteps).parameters
    plan: dict[str, Any] = {}
    if "intermediate_timesteps" in plan_parameters and steps != 2:
        plan["intermediate_timesteps"] = None
    if "mu" in plan_parameters and fresh.config.get("use_dynamic_shifting"):
        plan["mu"] = 1.0  # follows from the picture's size; it moves steps, but adds none
    eta = {"eta": 0.0} if "eta" in step_parameters else {}
    sample = torch.zeros(1, 4, 8, 8)
    # Of a step too many, or arguments that it does not take, the user hears when the scheduler is used.
    with contextlib.suppress(*REFUSALS), _drawing(fresh, counted):
        fresh.set_timesteps(steps, **plan)
        for timestep in fresh.timesteps:
            if hasattr(fresh, "scale_model_input"):
                fresh.scale_model_input(sample, timestep)  # else some complain
            fresh.step(torch.zeros_like(sample), timestep, sample, generator=torch.Generator(), **eta)
    return count


class _Plan:
    """A scheduler's state before its first step, and the timesteps that it is handed, call by call."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state
        self.timesteps = state["timesteps"].cpu()
        self.handed: dict[str, list[Any]] = {}  # by the method's name, in the order of its calls
        self.calls: dict[str, int] = {}  # how many there were of each method since the first step

    def begin(self, scheduler: Any) -> None:
        vars(scheduler).update({name: list(v) if isinstance(v, list) else v for name, v in self.state.items()})
        self.calls = {}

    def on_cpu(self, method: str, timestep: Any) -> Any:
        """The timestep of a method's next call, copied from the GPU only if this is the first time."""
        handed = self.handed.setdefault(method, [])
        call = self.calls[method] = self.calls.get(method, 0) + 1
        if call > len(handed):
            handed.append(timestep.cpu() if isinstance(timestep, Tensor) else timestep)
        return handed[call - 1]

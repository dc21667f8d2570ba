"""A device of its own that lies in main memory: what would run on a GPU runs there, with the same numbers.

As on a GPU, tensors of two devices must not meet, and where one has to be waited for is known. To run as a program, since
torch keeps the device once it has it: python elsewhere.py FAMILY ... prints, as JSON, for each family how many levels
its pictures are from a CPU's, and where in the code the second film of a model waits.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import torch
from torch.utils import backend_registration

NAME = "elsewhere"
CPU = torch.device("cpu")
aten = torch.ops.aten
READ = (aten._local_scalar_dense.default, aten.nonzero.default, aten.equal.default)
waits: collections.Counter[str] = collections.Counter()


class Device(str):
    """Which is taken for an NVIDIA GPU."""

    __slots__ = ()

    def startswith(self, prefix, *_):
        return prefix == "cuda"


class There(torch.Tensor):
    """A tensor there; `here` holds its numbers."""

    @staticmethod
    def __new__(cls, here):
        more = {"dtype": here.dtype, "layout": here.layout, "device": torch.device(NAME, 0)}
        offset = here.storage_offset()
        made = torch.Tensor._make_wrapper_subclass(cls, here.shape, here.stride(), offset, **more)
        made.here = here
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, *args, **(kwargs or {}))

    def tolist(self):
        wait()
        return self.here.tolist()


def wait():
    """Remember who waits: the innermost line that is neither torch's nor ours."""
    frames = [frame for frame in traceback.extract_stack() if "/torch/" not in frame.filename]
    *_, frame = (frame for frame in frames if frame.filename != __file__)
    *_, name = frame.filename.split("site-packages/")
    waits[f"{name}: {frame.line}"] += 1


def there(here):
    with torch.inference_mode(False):  # else its views could not be taken outside
        return There(here)


def leaves(value):
    """What is in tuples, lists and dicts. (torch's own tree functions take half of all the time.)"""
    if not isinstance(value, (tuple, list, dict)):
        return [value]
    return [leaf for each in (value.values() if isinstance(value, dict) else value) for leaf in leaves(each)]


def mapped(change, kind, value):
    """With what is of this kind changed."""
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, dict):
        return {name: mapped(change, kind, each) for name, each in value.items()}
    return type(value)([mapped(change, kind, each) for each in value]) if type(value) in (tuple, list) else value


@functools.cache
def is_made_of_others(func):
    return torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd")


def run(func, *args, device=None, **kwargs):
    if func is aten._has_compatible_shallow_copy_type.default:
        return isinstance(args[0], There) == isinstance(args[1], There)
    if is_made_of_others(func):
        return func.decompose(*args, **kwargs | ({} if device is None else {"device": device}))
    tensors = [value for value in leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
    theirs = [tensor for tensor in tensors if isinstance(tensor, There)]
    if func is aten.copy_.default:
        to_there, *asynchronous = isinstance(args[0], There), *args[2:], kwargs.get("non_blocking")
        if len(theirs) == 1 and not (to_there and any(asynchronous)):
            wait()
    else:
        to_there = bool(theirs) if device is None else torch.device(device).type == NAME
        if func in READ or (theirs and not to_there):
            wait()
        apart = [tensor for tensor in tensors if tensor.ndim and not isinstance(tensor, There)]
        if theirs and apart and func is not aten._to_copy.default:
            raise RuntimeError(f"{func} was given tensors here, {[tuple(each.shape) for each in apart]}, and there")
    kwargs |= {} if device is None else {"device": CPU}
    kwargs |= {"pin_memory": False} if kwargs.get("pin_memory") else {}
    here, more = mapped(lambda tensor: tensor.here, There, (args, kwargs))
    known = {id(tensor.here): tensor for tensor in theirs}
    made = func(*here, **more)
    if not to_there:
        return made
    return mapped(lambda each: known[id(each)] if id(each) in known else there(each), torch.Tensor, made)


class Module(backend_registration._DummyBackendModule):
    def get_amp_supported_dtype(self):
        return [torch.float16, torch.bfloat16]


def install():
    """Returns what keeps it alive."""
    backend_registration._setup_privateuseone_for_python_backend(NAME, Module())
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    torch._C._set_only_lift_cpu_tensors(True)  # else torch.tensor would go past us
    every, some = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    every.fallback(run, "PrivateUse1")
    for name in ("default", "start", "start_step"):  # torch would make these grow, which ours cannot
        func = getattr(aten.arange, name)

        def arange(*args, func=func, device=None, pin_memory=None, **kwargs):
            return there(func(*args, **kwargs))

        some.impl(func.name().removeprefix("aten::"), arange, "PrivateUse1")
    return every, some


def films(name):
    """(how many levels a film there is from one here, where the second one waits); of a family, perhaps with
    ' --low_memory', and that on a device smaller than the denoiser with ' --low_memory small'."""
    from oracle import levels
    from test_families import BUILDERS, KEYFRAMES, SIZE, film

    from walk import Settings, Walk, loading, machine, models

    name, _, sparing = name.partition(" ")
    folder = BUILDERS[name](Path(tempfile.mkdtemp()))
    walk = dataclasses.replace(Walk.through(KEYFRAMES, frames=5), pulse=(0.0, 0.5, 0.0, 1.0, 0.2))
    settings = models.complete(Settings(model=str(folder), device="cpu", steps=2, batch=2, **SIZE))
    expected = film(models.load(settings), walk)
    pipe, _ = loading.load(folder, settings)
    object.__setattr__(settings, "device", Device(NAME))
    object.__setattr__(settings, "low_memory", bool(sparing))
    with (
        mock.patch.object(loading, "load", return_value=(pipe, [])),
        mock.patch.object(torch.cuda, "get_device_properties", return_value=SimpleNamespace(total_memory=8 * 10**9)),
        mock.patch.object(machine, "reset_peak"),
        mock.patch.object(machine, "is_large", return_value="small" in sparing),
    ):
        model = models.load(settings)
        film(model, Walk.through(KEYFRAMES, frames=3))
        waits.clear()
        found = film(model, walk)
    return int(max(levels(found[index], expected[index]) for index in expected)), dict(waits)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    kept = install()
    print(json.dumps({name: films(name) for name in sys.argv[1:]}))

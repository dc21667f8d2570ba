"""Files of weights of small networks, as people share them: tensors by name, and nothing but tensors.

Knows no networks, and none of walk's models.
"""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from walk import Error, digests
from walk.loading import reason

# Keys that trainers put weights under.
_WRAPPERS = ("params_ema", "params", "model_state_dict", "state_dict", "model", "net")


def read_weights(path: Path) -> dict[str, Tensor]:
    """By name, without what trainers wrap them in. From a .pth or .pkl nothing but tensors is read.

    Raises ValueError for a file that is damaged, holds a program, or has no tensors.
    """
    try:
        if path.suffix == ".safetensors":
            found: Any = safetensors.torch.load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, LookupError):  # the last of other files, read as a pickle
        raise ValueError("it is damaged, or holds a program, which walk does not run") from None
    for name in _WRAPPERS:
        found = found[name] if isinstance(found, dict) and isinstance(found.get(name), dict) else found
    weights = found if isinstance(found, dict) else {}
    weights = {str(name): tensor for name, tensor in weights.items() if isinstance(tensor, Tensor) and tensor.ndim}
    if not weights:
        raise ValueError("it has no weights")
    return {name.removeprefix("module."): tensor for name, tensor in weights.items()}


def fit_half(weights: dict[str, Tensor]) -> bool:
    """Whether all of them are numbers of float16."""
    most = torch.finfo(torch.float16).max
    return all(float(tensor.float().abs().max()) < most for tensor in weights.values() if tensor.numel())


@contextlib.contextmanager
def unchanged(path: Path) -> Iterator[str]:
    """The digest of a file. Raises Error if it has another one when what is within is done."""
    digest = digests.of_file(path)
    yield digest
    if digests.of_file(path) != digest:
        raise Error(f"{path} was changed while it was read; run the same command again")


@contextlib.contextmanager
def blaming(path: Path, what: str, flag: str) -> Iterator[None]:
    """Whatever fails within is raised as an Error about this file, which is no `what`, and about the flag that names it."""
    try:
        yield
    except Exception as error:
        raise Error(f"{path} is no {what} that is known: {reason(error)}; give another {flag}") from error

"""What a GPU does for a denoiser is recorded, and from then on played back in one call (CUDA graphs).

A step of Stable Diffusion is more than a thousand kernels. To start them one by one takes Python 20 to 40 ms; where the
GPU needs less for them, as of few rows, or of small pictures, it waits. Played back, the same kernels compute the same
bytes. (PyTorch's notes 'CUDA semantics', section 'CUDA Graphs'.)

Knows no pipelines and no pictures.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map_only

MOST = 8  # recordings, of inputs of different shapes


class Recorder:
    """In the place of a module's `forward`: where a call is one that there was before, it is recorded and played back.

    What cannot be recorded is called as usual.
    """

    def __init__(self, module: torch.nn.Module, may: Callable[[], bool]) -> None:
        """may: tells, once this is `ready`, whether there is room for what a call takes of memory, once more."""
        self.module, self.usual, self.may = module, module.forward, may
        self.called: set[Any] = set()  # what was: libraries choose their ways, and take memory, at the first call
        self.recordings: dict[Any, _Recording] = {}
        self.able, self.ready = True, False
        functools.update_wrapper(self, self.usual)
        module.forward = self

    def remove(self) -> None:
        self.module.forward = self.usual

    def __call__(self, *args: Any, **more: Any) -> Any:
        leaves, shape = tree_flatten((args, more))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        told = ((leaf.shape, leaf.stride(), leaf.dtype) if isinstance(leaf, Tensor) else repr(leaf) for leaf in leaves)
        key = (str(shape), *told)
        there = next(self.module.parameters()).device
        again = key in self.called and self.ready and all(tensor.device == there for tensor in tensors)
        self.called.add(key)
        if self.able and again and key not in self.recordings and len(self.recordings) < MOST:
            self._record(key, args, more)
        if recording := self.recordings.get(key):
            return recording.played(tensors)
        return self.usual(*args, **more)

    def _record(self, key: Any, args: Any, more: Any) -> None:
        try:
            if self.may():
                self.recordings[key] = _Recording(self.usual, args, more)
                return
        except RuntimeError:  # it waits for the GPU, or found no room after all
            self.recordings.clear()
        self.able = False


class _Recording:
    def __init__(self, usual: Callable[..., Any], args: Any, more: Any) -> None:
        args, more = tree_map_only(Tensor, torch.clone, (args, more))
        self.inputs = [leaf for leaf in tree_flatten((args, more))[0] if isinstance(leaf, Tensor)]
        self.graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.current_stream()
        try:
            # Another thread may give the GPU work meanwhile, and take memory.
            with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
                self.made = usual(*args, **more)
        finally:
            torch.cuda.set_stream(stream)  # which a recording that fails leaves behind

    def played(self, tensors: list[Tensor]) -> Any:
        for here, given in zip(self.inputs, tensors):
            here.copy_(given)
        self.graph.replay()
        return tree_map_only(Tensor, torch.clone, self.made)  # the next call's will lie there

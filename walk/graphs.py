"""What a GPU does for a denoiser is recorded, and from then on played back in one call (CUDA graphs).

A step of Stable Diffusion is more than a thousand kernels. To start them one by one takes Python 20 to 40 ms; where the
GPU needs less for them, as of few rows, or of small pictures, it waits. Played back, the same kernels compute the same
bytes. (PyTorch's notes 'CUDA semantics', section 'CUDA Graphs'.)

Knows no pipelines and no pictures.
"""

from __future__ import annotations

import contextlib
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
        self.pool: Any = None  # of memory, for all of them: what one has made is fetched before the next is played
        self.able, self.ready = True, False
        functools.update_wrapper(self, self.usual)
        module.forward = self

    def stop(self) -> None:
        """Give back the memory, and record no more."""
        self.recordings.clear()
        self.able = False

    def restart(self) -> None:
        """Record once more, when it is known again what pictures take."""
        self.recordings.clear()
        self.pool = None  # which torch takes no more, once all that was recorded there is gone
        self.able, self.ready = True, False

    def remove(self) -> None:
        self.stop()
        vars(self.module).pop("forward", None)

    def __call__(self, *args: Any, **more: Any) -> Any:
        leaves, shape = tree_flatten((args, more))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        told = ((leaf.shape, leaf.stride(), leaf.dtype) if isinstance(leaf, Tensor) else repr(leaf) for leaf in leaves)
        key = (str(shape), *told)
        if key not in self.recordings and key in self.called and self._can_record(tensors):
            self._record(key, args, more)
        self.called.add(key)
        if recording := self.recordings.get(key):
            return recording.played(tensors)
        return self.usual(*args, **more)

    def _can_record(self, tensors: list[Tensor]) -> bool:
        there = next(self.module.parameters()).device
        known = self.able and self.ready and len(self.recordings) < MOST
        return known and all(tensor.device == there for tensor in tensors)

    def _record(self, key: Any, args: Any, more: Any) -> None:
        try:
            if self.may():
                self.pool = self.pool or torch.cuda.graph_pool_handle()
                self.recordings[key] = _Recording(self.usual, args, more, self.pool)
                return
        except RuntimeError:  # it waits for the GPU, or found no room after all
            pass
        self.stop()


class _Recording:
    @torch.inference_mode()
    def __init__(self, usual: Callable[..., Any], args: Any, more: Any, pool: Any) -> None:
        args, more = tree_map_only(Tensor, torch.clone, (args, more))
        self.inputs = [leaf for leaf in tree_flatten((args, more))[0] if isinstance(leaf, Tensor)]
        self.graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.current_stream()
        try:
            # Another thread may give the GPU work meanwhile, and take memory.
            with torch.cuda.graph(self.graph, pool, capture_error_mode="thread_local"):
                self.made = usual(*args, **more)
        except RuntimeError:
            torch.cuda.set_stream(stream)
            # torch takes what CUDA broke off for going on, and would never again give memory back.
            with contextlib.suppress(AttributeError, RuntimeError):
                torch._C._cuda_endAllocateToPool(stream.device_index, pool)
                torch._C._cuda_releasePool(stream.device_index, pool)
            raise

    @torch.inference_mode()
    def played(self, tensors: list[Tensor]) -> Any:
        for here, given in zip(self.inputs, tensors):
            here.copy_(given)
        self.graph.replay()
        return tree_map_only(Tensor, torch.clone, self.made)  # the next call's will lie there

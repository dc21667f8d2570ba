"""Parts of a model that are on a GPU only while they work there: whole, or block by block.

Knows no pipelines and no pictures.
"""

from __future__ import annotations

import collections
import contextlib
import functools
from collections.abc import Iterable, Iterator
from typing import Any

import torch


@contextlib.contextmanager
def lent(part: torch.nn.Module, device: str) -> Iterator[None]:
    """A part on a GPU while it works there. What it holds stays in main memory, too, and is not brought back, since
    nothing of it changes."""
    with _Loan(part.modules()) as loan:
        loan.bring(device)
        yield


@contextlib.contextmanager
def passed(part: torch.nn.Module, device: str) -> Iterator[None]:
    """As `lent`, but block by block, for a part that is larger than the GPU: while one works, the next one is brought.
    At every call that takes as long as the copying, if that is more than the work."""
    blocks = [block for each in part.children() if isinstance(each, torch.nn.ModuleList) for block in each]
    within = {id(module) for block in blocks for module in block.modules()}
    stream = _beside(device)
    worked: collections.deque[Any] = collections.deque()
    with contextlib.ExitStack() as stack:
        rest = stack.enter_context(_Loan(module for module in part.modules() if id(module) not in within))
        rest.bring(device)
        loans = [stack.enter_context(_Loan(block.modules())) for block in blocks]
        for block, loan, following in zip(blocks, loans, [*loans[1:], *loans[:1]]):

            def before(*_: Any, loan: _Loan = loan) -> None:
                loan.bring(device, stream)
                loan.arrive(stream)

            def after(*_: Any, loan: _Loan = loan, following: _Loan = following) -> None:
                loan.take_back()
                if stream is not None:  # until the block before has made room, else they would pile up there
                    worked.append(torch.cuda.current_stream(device).record_event())
                    if len(worked) > 1:
                        worked.popleft().synchronize()
                following.bring(device, stream)

            for hook in (block.register_forward_pre_hook(before), block.register_forward_hook(after)):
                stack.callback(hook.remove)
        yield


@functools.cache
def _beside(device: str) -> Any:
    """A GPU's stream for what is brought there: one, since memory is used again only by the stream that took it."""
    return torch.cuda.Stream(device) if torch.device(device).type == "cuda" else None  # type: ignore[no-untyped-call]


class _Loan:
    """What modules hold, and where it lies in main memory."""

    def __init__(self, modules: Iterable[torch.nn.Module]) -> None:
        self.held: list[dict[str, Any]] = [it for each in modules for it in (each._parameters, each._buffers)]
        self.kept = [dict(each) for each in self.held]
        self.there = False

    def __enter__(self) -> _Loan:
        return self

    def __exit__(self, *_: object) -> None:
        self.take_back()

    def bring(self, device: str, stream: Any = None) -> None:
        """stream: beside which a GPU goes on with its work."""
        if self.there:
            return
        self.there = True
        with torch.inference_mode(False), torch.cuda.stream(stream):
            for each in self.held:
                each |= {name: None if it is None else it.detach().to(device) for name, it in each.items()}

    def arrive(self, stream: Any) -> None:
        """Before a GPU works with it."""
        if stream is None:
            return
        working = torch.cuda.current_stream(stream.device)
        working.wait_stream(stream)
        for tensor in (it for each in self.held for it in each.values() if it is not None):
            tensor.record_stream(working)  # else its place could be filled again before that work is done

    def take_back(self) -> None:
        for each, here in zip(self.held, self.kept):
            each |= here
        self.there = False

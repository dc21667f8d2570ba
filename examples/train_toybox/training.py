"""A training run that may be killed at any instant: it goes on from its last checkpoint, two minutes old at most."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

SAVE = 120  # seconds between checkpoints
REPORT = 30  # seconds between lines


class Training:
    """AdamW on a cosine that ends when the minutes are spent, with a running average of the weights.

    Iterate over it, and call `learn` once in each round. In the end the modules hold the average.
    """

    def __init__(
        self, path: Path, modules: list[nn.Module], rate: float, minutes: float, decay=0.01, momentum=0.9
    ) -> None:
        self.path, self.rate, self.minutes = path, rate, minutes
        self.modules = nn.ModuleList(modules)
        self.weights = [weight for weight in self.modules.parameters() if weight.requires_grad]
        self.average = [weight.detach().clone() for weight in self.weights]
        self.optimizer = torch.optim.AdamW(self.weights, rate, betas=(momentum, 0.99), weight_decay=decay, fused=True)
        self.step = self.seen = 0
        self.spent = 0.0  # seconds
        torch.backends.cudnn.benchmark = True  # all batches have one shape
        if path.exists():
            self.load()

    def load(self) -> None:
        device = self.weights[0].device
        saved = torch.load(self.path, map_location=device, weights_only=True)
        self.modules.load_state_dict(saved["modules"])
        self.optimizer.load_state_dict(saved["optimizer"])
        torch._foreach_copy_(self.average, saved["average"])
        self.step, self.seen, self.spent = saved["step"], saved["seen"], saved["spent"]
        print(f"going on from {self.path}: {self.seen} pictures seen in {self.spent / 60:.1f} minutes", flush=True)

    def save(self) -> None:
        saved = {
            "modules": self.modules.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "step": self.step,
            "seen": self.seen,
            "spent": self.spent,
        }
        part = self.path.with_suffix(".part")
        torch.save(saved, part)
        os.replace(part, self.path)

    def __iter__(self) -> Iterator[None]:
        before = saved = reported = time.monotonic()
        while self.spent < self.minutes * 60:
            yield
            now = time.monotonic()
            self.spent, before = self.spent + now - before, now
            if now - reported > REPORT:
                print(self.line, flush=True)
                reported = now
            if now - saved > SAVE:
                self.save()
                saved = now
        if before != saved:
            self.save()
        with torch.no_grad():
            torch._foreach_copy_(self.weights, self.average)

    def learn(self, loss: Tensor, pictures: int, **figures: Tensor) -> None:
        """One step down the loss."""
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        done = min(self.spent / (self.minutes * 60), 1)
        rate = self.rate * min(1, (self.step + 1) / 150) * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.step, self.seen = self.step + 1, self.seen + pictures
        kept = min(0.998, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.weights, 1 - kept)
        if self.step == 1 or self.step % 10 == 0:
            kept = 0.9 if self.step > 1 else 0.0
            new = {"loss": loss, **figures}
            old = getattr(self, "figures", dict.fromkeys(new, 0.0))
            self.figures = {name: kept * old[name] + (1 - kept) * float(value.detach()) for name, value in new.items()}
            told = ", ".join(f"{name} {value:.4f}" for name, value in self.figures.items())
            self.line = f"{self.spent / 60:.1f} minutes, step {self.step}, {self.seen} pictures, {told}"

"""What stays from one preview to the next while a prompt file is watched. Knows no torch, so that it is there at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from walk.models import Model


@dataclass
class Kept:
    """A model that stays loaded from one LazyModel to the next, as long as they ask for the same one. seconds: that it
    took until it was loaded. batches: seconds that the last ones took, of whoever has rendered any."""

    model: Model | None = None
    seconds: float = 0.0
    batches: list[float] = field(default_factory=list)

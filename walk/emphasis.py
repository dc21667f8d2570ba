r"""Words that count for more or for less: a (red:1.3) apple on a (blue:0.7) background.

The notation is that of AUTOMATIC1111's web UI, but for parentheses without a number, which stay what
they are; so does one after a backslash. Within each other, numbers multiply.

Knows text alone; what becomes of the numbers is the model's business.
"""

from __future__ import annotations

import re

MOST = 4.0


def weights(prompt: str) -> tuple[str, list[float]]:
    """The words without the notation, and for each of their characters how much it counts: 1, or what was given.

    Raises ValueError with the number that is none, or over MOST.
    """
    letters: list[tuple[str, float]] = []
    opened: list[int] = []  # where in the letters parentheses are
    for sign in re.findall(r"\\[()]|.", prompt, re.DOTALL):
        letters.append((sign[-1], 1.0))
        if sign == "(":
            opened.append(len(letters) - 1)
        elif sign == ")" and opened:
            start = opened.pop()
            inside = "".join(letter for letter, _ in letters[start + 1 : -1])
            if match := re.fullmatch(r"(.*\S)\s*:\s*(\d+\.?\d*|\.\d+)\s*", inside, re.DOTALL):
                weight = float(match[2])
                if weight > MOST:
                    raise ValueError(match[2])
                kept = letters[start + 1 : start + 1 + len(match[1])]
                letters[start:] = [(letter, before * weight) for letter, before in kept]
    return "".join(letter for letter, _ in letters), [weight for _, weight in letters]


def plain(prompt: str) -> str:
    """The words alone."""
    return weights(prompt)[0]

r"""Words that count for more or for less: a (red:1.3) apple on a (blue:0.7) background.

The notation is that of AUTOMATIC1111's web UI, but for parentheses without a number, which stay what
they are; so does one after a backslash. Within each other, numbers multiply.

Knows text alone; what becomes of the numbers is the model's business.
"""

from __future__ import annotations

import re

MOST = 4.0
DIGITS = 16  # of a number at most, with spaces around it


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
            colon = next(
                (k for k in range(len(letters) - 2, max(start, len(letters) - DIGITS), -1) if letters[k][0] == ":"), 0
            )
            number = "".join(letter for letter, _ in letters[colon + 1 : -1]).strip() if colon else ""
            words = letters[start + 1 : colon]
            if re.fullmatch(r"\d+\.?\d*|\.\d+", number) and any(not letter.isspace() for letter, _ in words):
                if float(number) > MOST:
                    raise ValueError(number)
                while words[-1][0].isspace():
                    words.pop()
                letters[start:] = [(letter, before * float(number)) for letter, before in words]
    return "".join(letter for letter, _ in letters), [weight for _, weight in letters]


def plain(prompt: str) -> str:
    """The words alone."""
    return weights(prompt)[0]

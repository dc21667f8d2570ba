r"""Words that count for more or for less: a (red:1.3) apple on a (blue:0.7) background.

The notation is that of AUTOMATIC1111's web UI, but for parentheses without a number, which stay what
they are; so does one after a backslash. Within each other, numbers multiply.

Knows text alone; what becomes of the numbers is the model's business.
"""

from __future__ import annotations

import re

MOST = 4.0
DEEP = 20  # parentheses within each other; more are letters
DIGITS = 16  # of a number at most, with spaces around it

_LEFTOVER = re.compile(
    r"""^(?:\d{1,3}[.)]|[-*•])(?=\s)                   # a list's
    |^["“„«](?=[^"“”„«»]+["“”»]$)|^'(?=[^']+'$)       # around all of it
    |<(?:lora|lyco):[^<>]+>
    |\(\(+[^()]+\)\)+(?!\+)
    |\([^()]+\)\++(?=[\s,.]|$)                   # compel's
    |(?<!\S)--(?:no?|neg|negative)\s(?:(?!\s--[a-z])[^|])+
    |(?<!\S)--[a-z]+\b(?:[\s=][^\s,-][^\s,]*)?    # Midjourney's
    |(?<=[^\W\d_])::\s*-?\.?\d[\d.]*(?!\w)|(?<=\w)::(?=\s|$)
    |(?-i:(?<![A-Z][\s,])(?<=[\s,])(?:AND|BREAK)(?=[\s,]|$)(?!\s[A-Z]{2}))  # alone among small letters
    |\{[^{}|]*\|[^{}]*\}
    |(?<!\w)__[^\W_][\w/-]{0,60}?__(?!\w)
    |\bembedding:[\w.-]+
    |(?<![\w|])(?:seed|time|until|beat|bar|frame)=\d[\d:.]*|(?<![\w|])negative=[^|]+
    |\[\[+[^][]+\]\]+
    |\[[^][|]+\|[^][]+\]
    |\[[^][]*[^\W\d_]:+\s*\d*\.?\d+\]
    |\([^()]*[^\W\d_]:[-+]?\d+(?:[.,]\d+)*  # a weight, whose
    (?:\)|(?=[^()]*(?:\(|$)))               # number is none, or whose parenthesis is not closed
    """,
    re.VERBOSE | re.IGNORECASE,
)


def weights(prompt: str) -> tuple[str, list[float]]:
    """The words without the notation, and for each of their characters how much it counts: 1, or what was given.

    Raises ValueError with the number that is none, or over MOST.
    """
    letters: list[tuple[str, float]] = []
    opened: list[int] = []  # where in the letters parentheses are
    for sign in re.findall(r"\\[()]|.", prompt, re.DOTALL):
        letters.append((sign[-1], 1.0))
        if sign == "(" and len(opened) < DEEP:
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


def leftovers(prompt: str) -> list[str]:
    """What looks like notation, of walk's or of another tool's, but is read as letters: in its order, each once.

    An unclosed (panda:1.5, a number that is none as in (panda:1,5), settings without a bar before them;
    AUTOMATIC1111's ((panda)), [[panda]], [fox:panda:0.5], [fox|panda], <lora:panda:0.8>, AND, BREAK, {fox|panda},
    and __animal__; a list's 1. or -, and quotes around all of it; compel's (panda)++, ComfyUI's embedding:panda,
    Midjourney's panda::1.5 and --ar 16:9.
    Parentheses and brackets around plain words are not among them, nor are times and proportions, 3:4.
    """
    return list(dict.fromkeys(match[0] for match in _LEFTOVER.finditer(unescaped(prompt))))


def unescaped(prompt: str) -> str:
    """The words alone, with spaces for parentheses after a backslash, which are no notation."""
    return plain(re.sub(r"\\[()]", "\0\0", prompt)).replace("\0", " ")  # a space could make a number of what is before

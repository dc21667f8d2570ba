r"""Words that count for more or for less: a (red:1.3) apple on a (blue:0.7) background.

The notation is that of AUTOMATIC1111's web UI, except that parentheses without a number stay what they
are; so does one after a backslash. Within each other, numbers multiply.

Knows text alone; what becomes of the numbers is up to the model.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MOST = 4.0  # the largest weight
DEEP = 20  # parentheses within each other at most; more are letters
DIGITS = 16  # characters of a number at most, with the spaces around it

_LEFTOVER = re.compile(  # its groups name the kinds of a Leftover
    r"""^(?P<number>\d{1,3}[.)])(?=\s)|^(?P<bullet>[-*•])(?=\s)       # a list's
    |^(?P<quote>["“„«](?=[^"“”„«»]+["“”»]$)|'(?=[^']+'$))           # around all of it
    |(?P<lora><(?:lora|lyco):[^<>]+>)|(?P<hypernet><hypernet:[^<>]+>)
    |(?P<louder>\(\(+[^()]+\)\)+(?!\+))
    |(?P<plus>\([^()]+\)\++(?=[\s,.]|$))                   # compel's
    |(?P<option>(?<!\S)--(?:no?|neg|negative|(?:negative_)?prompt)\s(?:(?!\s--[a-z])[^|])+
        |(?<!\S)--[a-z][a-z_]*\b(?:[\s=](?:"[^"]*"|[^\s,-][^\s,]*))?)       # Midjourney's, and those of the web UI's script
    |(?P<ratio>(?<=[^\W\d_])::\s*-?\.?\d[\d.]*(?!\w)|(?<=\w)::(?=\s|$))
    |(?P<divider>(?-i:(?<![A-Z][\s,])(?<=[\s,])(?:AND|BREAK)(?=[\s,]|$)(?!\s[A-Z]{2})))  # alone among small letters
    |(?P<choice>\{[^{}|]*\|[^{}]*\})
    |(?P<wildcard>(?<!\w)__[^\W_][\w/-]{0,60}?__(?!\w))
    |(?P<embedding>\bembedding:[\w.-]+)
    |(?P<setting>(?<![\w|])(?:seed|time|until|beat|bar|frame|pulse)=\.?\d[\d:.]*
        |(?<![\w|])pace=[a-z]+|(?<![\w|])negative=[^|]+)
    |(?P<quieter>\[\[+[^][]+\]\]+)
    |(?P<steps>\[[^][|]+\|[^][]+\]
        |\[[^][]*[^\W\d_]:+\s*\d*\.?\d+\])
    |(?P<heading>^\[[^][|]+\]$)
    |(?P<weight>\([^()]*[^\W\d_]:[-+]?\d+(?:[.,]\d+)*    # whose number is none,
        (?:\)|(?=[^()]*(?:\(|$)))                         # or whose parenthesis is not closed
        |\([^()`]*:`[^`]+`\s*\))                           # or whose number is computed, as in Deforum
    """,
    re.VERBOSE | re.IGNORECASE,
)


class Leftover(NamedTuple):
    """What looks like notation, but is read as letters."""

    kind: str  # a group of _LEFTOVER
    text: str


def weights(prompt: str) -> tuple[str, list[float]]:
    """The words without the notation, and the weight of each of their characters: 1 where there is no other.

    Raises ValueError with the number of a weight over MOST.
    """
    letters: list[tuple[str, float]] = []
    opened: list[int] = []  # indices of parentheses in the letters
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


def without_weights(prompt: str) -> str:
    """The words alone."""
    return weights(prompt)[0]


def leftovers(prompt: str) -> list[Leftover]:
    """What looks like notation, walk's or another tool's, but is read as letters: in the prompt's order, each text once.

    A weight whose parenthesis is not closed, or whose number is none, as in (panda:1,5); settings without a bar before
    them; Deforum's (panda:`t/9`); AUTOMATIC1111's ((panda)), [[panda]], [fox:panda:0.5], [fox|panda], <lora:panda:0.8>,
    <hypernet:panda:1>, AND, BREAK, {fox|panda}, and __animal__, and its script's --cfg_scale 7; a list's 1. or -, and
    quotes or brackets around all of it, as of a [chorus]; compel's (panda)++, ComfyUI's embedding:panda, Midjourney's
    panda::1.5 and --ar 16:9.
    Parentheses and brackets around some plain words are not among them, nor are times and proportions, 3:4.
    """
    matches = _LEFTOVER.finditer(unescaped(prompt))
    return list({match[0]: Leftover(match.lastgroup or "", match[0]) for match in matches}.values())


def unescaped(prompt: str) -> str:
    """The words alone, with spaces for parentheses after a backslash, which are no notation."""
    text = re.sub(r"\\[()]", "\0\0", prompt)
    return without_weights(text).replace("\0", " ")  # a space could make a number of what is before

"""What of a prompt a model will not understand, in words for the user.

Knows the words that the built-in model has seen, and no other model.
"""

from __future__ import annotations

import difflib
import functools
import re

from walk.hub import find
from walk.settings import BUILT_IN
from walk.text import plural

QUOTED = 8  # words, of the beginning and the end of what is not read
NAMED = 8  # words that the built-in model has never seen, of a prompt
_FILLERS = ("and", "with", "to", "by", "at", "near", "next", "over", "for", "from", "is", "as", "no", "its")


_MIDJOURNEY = {
    **dict.fromkeys(("no", "neg", "negative", "n"), "write | negative={}"),
    **dict.fromkeys(("ar", "aspect", "w", "h"), "give --width and --height"),
    "seed": "write | seed={}",
    "style": "give --style",
    "steps": "give --steps",
    "cfg": "give --guidance",
}


def shortened(text: str) -> str:
    """Quoted: all of it, or its beginning and its end."""
    words = text.split()
    if len(words) <= 3 * QUOTED:
        return f"'{text}'"
    start, end = " ".join(words[:QUOTED]), " ".join(words[-QUOTED:])
    return f"'{start} ... {end}' ({len(words)} words)"


def leftover(text: str) -> str:
    """Of what `emphasis.leftovers` finds: what becomes of it, and what was meant."""
    if text.startswith("<"):
        return f"'{text}' is read as words; give --lora {text[1:-1].partition(':')[2]}"
    if text.startswith(("((", "[[")):
        depth = len(text) - len(text.lstrip(text[0]))
        weight = 1.1 ** (depth if text[0] == "(" else -depth)
        return f"'{text}' is read as it stands; give ({text.strip('()[]')}:{weight:.2g})"
    if text.startswith("["):
        return f"'{text}' is read as it stands: words stay the same from step to step"
    if text.startswith("--"):
        name, _, value = text[2:].strip(" ,.").replace("=", " ").partition(" ")
        way = _MIDJOURNEY.get(name.lower(), "").format(value.strip() or "...")
        return f"'{text.strip()}' is read as words" + (f"; {way}" if way else "")
    if re.match(r"[a-z]+=", text, re.IGNORECASE):
        return f"'{text}' is read as words; give it after a bar: | {text}"
    if text.endswith("+"):
        words, _, more = text.rpartition(")")
        return f"'{text}' is read as it stands; give {words}:{1.1 ** len(more):.2g})"
    if "::" in text:
        return f"'{text[1:]}' is read as it stands; words that count for more are (words:1.5)"
    if text.startswith("{"):
        return f"'{text}' is read as it stands: none of them is chosen"
    if text.startswith("__"):
        return f"'{text}' is read as it stands: no word takes its place"
    if text.lower().startswith("embedding:"):
        return f"'{text}' is read as words: embeddings are not loaded"
    if text in ("AND", "BREAK"):
        return f"'{text}' is read as a word: a prompt is not divided there"
    if text.endswith(")"):
        return f"'{text}' is read as it stands: its weight is not a number such as 1.5"
    return f"'{text}' is read as it stands: its parenthesis is not closed"


def _words(text: str) -> dict[str, None]:
    """In their order, each once."""
    return dict.fromkeys(re.findall(r"[^\W\d_]+", re.sub(r"['’]s\b", "", text.lower())))


@functools.lru_cache
def _vocabulary() -> dict[str, None]:
    """Every word of the captions that the built-in model learned from."""
    lines = (find(BUILT_IN) / "words.txt").read_text("utf-8").splitlines()
    return _words(" ".join(line for line in lines if not line.startswith("#")))


def unknown(prompt: str) -> list[str]:
    """A note of the words that the built-in model has never seen, if there are any."""
    words = [word for word in _words(prompt) if word not in {*_vocabulary(), *_FILLERS}]
    if not words:
        return []
    more = f" and {plural(len(words) - NAMED, 'more word')}" if len(words) > NAMED else ""
    return [f"the built-in model has never seen {', '.join(map(_named, words[:NAMED]))}{more}, and guesses"]


def _named(word: str) -> str:
    """With what may have been meant: a slip of one letter, but not in the first one. Of shorter words, and further
    off, most suggestions are another word: a frog for fog, a nest for best, a blueberry for blurry."""
    able = sorted(each for each in _vocabulary().keys() - set(_FILLERS) if each[0] == word[0])
    near = difflib.get_close_matches(word, able, n=1, cutoff=0.85) if len(word) >= 5 else []
    return f"'{word}'" + (f" (it knows '{near[0]}')" if near else "")

"""What made a film's frames, in words: the names of frames, and walk.json, which says where they belong.

A frame's name is its fingerprint, a digest of all that decides its pixels. So whatever gives a frame other pixels gives
it another name, and whatever does not (fps, a longer film, a prompt elsewhere in the walk) finds it again.

Knows no pictures, and of a run folder no more than its walk.json.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from walk import Error, __version__
from walk.keyframes import Keyframe
from walk.settings import Settings
from walk.timeline import Walk, by_segment

FILE = "walk.json"


@dataclass(frozen=True)
class Manifest:
    """A film's walk and settings; and where its frames belong, if that was found out.

    asked: the walk as it was before; None: its frames are where they were asked for.
    rows: of each frame, which of its batch it takes.
    refined: where they belong follows from an earlier film, too, so that nobody can find it out again.
    """

    walk: Walk
    settings: Settings
    asked: Walk | None = None
    rows: tuple[int, ...] = ()
    refined: bool = False

    def text(self) -> bytes:
        found: dict[str, Any] = {}
        if self.asked:
            found = {"asked_positions": self.asked.positions, "asked_noise": self.asked.noise}
            found |= {"rows": self.rows, "refined": self.refined}
        return json.dumps(
            {
                "version": __version__,
                "keyframes": [dataclasses.asdict(keyframe) for keyframe in self.walk.keyframes],
                "positions": self.walk.positions,
                "fps": str(self.walk.fps),
                "closed": self.walk.closed,
                "smooth": self.walk.smooth,
                "noise": self.walk.noise,
                **({"pulse": self.walk.pulse} if self.walk.pulse else {}),
                "settings": dataclasses.asdict(self.settings),
                **found,
            },
            indent=1,
            ensure_ascii=False,
        ).encode()

    def rows_of(self) -> dict[str, int]:
        """The rows by the frames' names."""
        return dict(zip(fingerprints(self.walk, self.settings), self.rows))

    def belongs(self, walk: Walk) -> dict[int, dict[float, float]]:
        """By segment of a walk that is asked for, where the places within it belong: those of a segment here with the
        same keyframes around it and frames at the same places."""
        if not self.asked:
            return {}
        there = {segment: start for start, segment in enumerate(_segments(self.asked))}
        found = self._found(self.asked)
        return {start: found[there[it]] for start, it in enumerate(_segments(walk)) if it in there}

    def near(self, walk: Walk) -> dict[int, dict[float, float]]:
        """By segment of a walk that is asked for, what is known of one here with the same keyframes around it, with as many
        frames or others: the places that were asked for, in order, and where they belong."""
        if not self.asked or self.asked.has_own_noise or walk.has_own_noise:
            return {}
        found = self._found(self.asked)
        there = {told: found[start] for start, told in reversed([*enumerate(_around(self.asked))])}
        return {start: dict(sorted(there.get(told, {}).items())) for start, told in enumerate(_around(walk))}

    def _found(self, asked: Walk) -> dict[int, dict[float, float]]:
        found: defaultdict[int, dict[float, float]] = defaultdict(dict)
        for old, new in zip(asked.positions + asked.noise, self.walk.positions + self.walk.noise):
            if old % 1:
                found[int(old)][old - int(old)] = new - int(old)
        return found


def read_manifest(folder: Path | str) -> Manifest:
    """What a run folder says of its newest film. Raises Error if it is none, or damaged."""
    path = Path(folder) / FILE
    try:
        return read(path)
    except OSError:
        raise Error(f"{folder} is not a run folder: it has no {FILE}; give the FILM.walk beside a film") from None


def read(path: Path) -> Manifest:
    """Raises Error for what is damaged, and OSError."""
    try:
        data = json.loads(path.read_text("utf-8"))
        keyframes = tuple(Keyframe(**keyframe) for keyframe in data["keyframes"])
        if not re.fullmatch(r"\d{1,20}(/\d{1,20})?", data["fps"]):  # 1e99999999 would be worked out
            raise ValueError(data["fps"])
        walk = Walk(
            keyframes,
            positions=tuple(data["positions"]),
            fps=Fraction(data["fps"]),
            closed=data["closed"],
            smooth=data["smooth"],
            noise=tuple(data["noise"]),
            pulse=tuple(data.get("pulse", ())),
        )
        settings = Settings(**data["settings"] | {"software": tuple(data["settings"]["software"])})
        _check_plain(settings)
    except (Error, ValueError, ArithmeticError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Error(f"{path} is damaged ({error})") from None
    try:
        asked = dataclasses.replace(walk, positions=data["asked_positions"], noise=data["asked_noise"])
        rows, batch = tuple(data["rows"]), settings.batch or 1
        if asked.frames == len(rows) == walk.frames and all(isinstance(it, int) and 0 <= it < batch for it in rows):
            return Manifest(walk, settings, asked, rows, bool(data["refined"]))
    except (Error, ValueError, ArithmeticError, TypeError, KeyError):
        pass  # the film is what it is, wherever its frames were asked for
    return Manifest(walk, settings)


def _check_plain(settings: Settings) -> None:
    """Raise TypeError or ValueError for what no settings of ours hold where `Settings` takes what it is given."""
    json.dumps(dataclasses.asdict(settings), ensure_ascii=False).encode()
    kinds: dict[str, Any] = {
        "weights": str,
        "low_memory": bool,
        "compile": (bool, type(None)),
        "scheduler": (str, type(None)),
    }
    for name, kind in kinds.items():
        if not isinstance(getattr(settings, name), kind):
            raise TypeError(f"{name} {getattr(settings, name)!r}")
    if not all(isinstance(it, str) for it in settings.software):
        raise TypeError(f"software {settings.software!r}")


def fingerprints(walk: Walk, settings: Settings) -> list[str]:
    """For each frame a digest, 16 hexadecimal digits, of everything that decides its pixels."""
    settled = _settled(settings)
    result = []
    for index in range(walk.frames):
        digest = settled.copy()
        digest.update(canonical(place(walk, index)))
        result.append(digest.hexdigest()[:16])
    return result


@functools.lru_cache
def _settled(settings: Settings) -> Any:
    return hashlib.sha256(canonical(settings.deciding()))


def place(walk: Walk, index: int) -> list[object]:
    """The keyframes around a frame, and how far it is between them; the same of its noise, if that is elsewhere, and how
    far it swings out."""
    found: list[object] = []
    for positions in filter(None, (walk.positions, walk.noise)):
        places, t = walk.neighbours(positions[index])
        around = [None if k is None else walk.keyframes[k] for k in places]
        found += [[None if k is None else k.identity for k in around], t]
    found = found if found[:2] != found[2:] else found[:2]
    return [*found, "pulse", walk.pulse[index]] if walk.pulse and walk.pulse[index] else found


def told(walk: Walk) -> list[object]:
    """What positions are positions on."""
    return [walk.closed, walk.smooth, *(keyframe.identity for keyframe in walk.keyframes)]


def canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _segments(walk: Walk) -> list[object]:
    """Of each what decides where its frames belong: the keyframes around it, and the places that were asked for."""
    paths, noises = by_segment(walk.positions), by_segment(walk.noise)
    return [
        (around, *(tuple(position - start for position in some.get(start, ())) for some in (paths, noises)))
        for start, around in enumerate(_around(walk))
    ]


def _around(walk: Walk) -> list[tuple[tuple[str, str, int] | None, ...]]:
    """Of each segment the keyframes around it."""
    around: list[Sequence[int | None]] = [walk.neighbours(start + 0.5)[0] for start in range(walk.segments)]
    return [tuple(None if k is None else walk.keyframes[k].identity for k in some) for some in around]

"""What made a film's frames: their fingerprints, and walk.json, which says where they belong.

A frame is named by its fingerprint, a digest of all that decides its pixels. So whatever gives a frame other pixels
gives it another name, and after any other change (fps, a longer film, a prompt elsewhere) it is found again.

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
    """A film's walk and settings; and if its frames were moved to where they belong, from where.

    asked: the walk before they were moved; None: its frames are where they were asked for.
    rows: which row of its batch each frame takes.
    refined: where the frames belong depends on an earlier film, too, so that it cannot be found out again.
    """

    walk: Walk
    settings: Settings
    asked: Walk | None = None
    rows: tuple[int, ...] = ()
    refined: bool = False

    def text(self) -> bytes:
        """As walk.json."""
        before: dict[str, Any] = {}
        if self.asked:
            before = {"asked_positions": self.asked.positions, "asked_noise": self.asked.noise}
            before |= {"rows": self.rows, "refined": self.refined}
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
                **before,
            },
            indent=1,
            ensure_ascii=False,
        ).encode()

    def rows_by_name(self) -> dict[str, int]:
        """By fingerprint, the row that each frame takes."""
        return dict(zip(fingerprints(self.walk, self.settings), self.rows))

    def moves(self, walk: Walk) -> dict[int, dict[float, float]]:
        """Where this film has put frames that a walk asks for: by segment of the walk, {place asked for: place}.

        Only of segments that this film has, too: with the same keyframes around them, and frames asked for at the same
        places."""
        if not self.asked:
            return {}
        here = {segment: start for start, segment in enumerate(_segments(self.asked))}
        moves = self._moves(self.asked)
        return {start: moves[here[segment]] for start, segment in enumerate(_segments(walk)) if segment in here}

    def related_moves(self, walk: Walk) -> dict[int, dict[float, float]]:
        """As `moves`, in order of the places, but also of segments in which this film has another number of frames: the
        keyframes around them are the same."""
        if not self.asked or self.asked.has_own_noise or walk.has_own_noise:
            return {}
        moves = self._moves(self.asked)
        here = {around: moves[start] for start, around in reversed([*enumerate(_around(self.asked))])}
        return {start: dict(sorted(here.get(around, {}).items())) for start, around in enumerate(_around(walk))}

    def _moves(self, asked: Walk) -> dict[int, dict[float, float]]:
        moves: defaultdict[int, dict[float, float]] = defaultdict(dict)
        for old, new in zip(asked.positions + asked.noise, self.walk.positions + self.walk.noise):
            if old % 1:
                moves[int(old)][old - int(old)] = new - int(old)
        return moves


def read_manifest(folder: Path | str) -> Manifest:
    """The manifest of a run folder's newest film. Raises Error if the folder has none, or a damaged one."""
    path = Path(folder) / FILE
    try:
        return read(path)
    except OSError:
        raise Error(f"{folder} is not a run folder: it has no {FILE}; give the FILM.walk beside a film") from None


def read(path: Path) -> Manifest:
    """The manifest in a file. Raises Error if it is damaged, and OSError."""
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
        if "asked_positions" not in data:
            return Manifest(walk, settings)
        asked = dataclasses.replace(walk, positions=data["asked_positions"], noise=data["asked_noise"])
        rows, batch = tuple(data["rows"]), settings.batch or 1
        if not asked.frames == len(rows) == walk.frames or not all(
            isinstance(it, int) and 0 <= it < batch for it in rows
        ):
            raise ValueError("rows")
        return Manifest(walk, settings, asked, rows, bool(data["refined"]))
    except (Error, ValueError, ArithmeticError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Error(f"{path} is damaged ({error})") from None


def _check_plain(settings: Settings) -> None:
    """Raise TypeError or ValueError for values that are not of their type, where `Settings` itself does not check."""
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
    begun = _digest_of(settings)
    result = []
    for index in range(walk.frames):
        digest = begun.copy()
        digest.update(canonical(place(walk, index)))
        result.append(digest.hexdigest()[:16])
    return result


@functools.lru_cache
def _digest_of(settings: Settings) -> Any:
    return hashlib.sha256(canonical(settings.deciding()))


def place(walk: Walk, index: int) -> list[object]:
    """Of a frame, the keyframes around it and how far it is between them; the same of its noise, if that is elsewhere;
    and how far it swings out."""
    parts: list[object] = []
    for positions in filter(None, (walk.positions, walk.noise)):
        neighbours, t = walk.neighbours(positions[index])
        parts += [[None if k is None else walk.keyframes[k].identity for k in neighbours], t]
    parts = parts if parts[:2] != parts[2:] else parts[:2]
    return [*parts, "pulse", walk.pulse[index]] if walk.pulse and walk.pulse[index] else parts


def path_identity(walk: Walk) -> list[object]:
    """What two walks must share for the same position to mean the same picture."""
    return [walk.closed, walk.smooth, *(keyframe.identity for keyframe in walk.keyframes)]


def canonical(value: object) -> bytes:
    """As JSON, always in the same bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _segments(walk: Walk) -> list[object]:
    """For each segment what decides where its frames belong: the keyframes around it, and the places asked for."""
    paths, noises = by_segment(walk.positions), by_segment(walk.noise)
    return [
        (around, *(tuple(position - start for position in each.get(start, ())) for each in (paths, noises)))
        for start, around in enumerate(_around(walk))
    ]


def _around(walk: Walk) -> list[tuple[tuple[str | float, ...] | None, ...]]:
    """The identities of the keyframes around each segment."""
    around: list[Sequence[int | None]] = [walk.neighbours(start + 0.5)[0] for start in range(walk.segments)]
    return [tuple(None if k is None else walk.keyframes[k].identity for k in numbers) for numbers in around]

"""The command: parse, join the parts, show progress, print errors. The only file that prints.

stdout gets the film's path and nothing else; what is for the eye goes to stderr.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import errno
import io
import os
import re
import signal
import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from walk import Error, Settings, Walk, __version__, read_prompts, video
from walk.keyframes import format_time, parse_time, plural, prompt_file
from walk.settings import BUILT_IN
from walk.timeline import FPS, SECONDS_A_SEGMENT, parse_fps

if TYPE_CHECKING:
    from walk.run import Run

PLAIN_SECONDS = 10  # between lines of progress where there is no terminal


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit status: 0, 2 for what the user can mend, 130 if stopped."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments or arguments == ["help"] or {"-h", "--help"} & set(arguments):
        print(help_text())
        return 0
    if "--version" in arguments:
        print(f"walk {__version__}")
        return 0
    _prepare_libraries()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a film's name that the terminal cannot show is no reason to fail
        sys.stdout.reconfigure(errors="backslashreplace")
    for name in ("SIGTERM", "SIGHUP"):  # a kill, or a closed terminal, stops like Ctrl-C
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    try:
        import fire
        from fire.decorators import SetParseFns

        parse = SetParseFns(**{name: flag.parse for name, flag in _FLAGS.items()})
        # Fire would make the film first and complain of an unknown flag afterwards.
        fire.Fire(parse(film), command=checked(arguments), name="walk")
    except Error as error:
        print(f"walk: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"\nwalk: stopped; {str(stop) or 'nothing was begun'}", file=sys.stderr)
        return 130
    return 0


def film(**flags: Any) -> str:
    """Make the film that the flags describe; returns its path."""
    # 1. Everything that can be refused without a model.
    if "prompts" not in flags:
        raise Error("--prompts is missing; give a prompt file, or the prompts themselves")
    if "seed" in flags and "seeds" in flags:
        raise Error(
            "--seed and --seeds were both given; --seed counts up from keyframe to keyframe, --seeds lists them"
        )
    say = _quiet if flags.get("quiet") else _say
    keyframes = read_prompts(flags["prompts"], **_given(flags, "seed", "seeds", "negative"))
    timing = _given(flags, "frames", "seconds", "fps", "ease", closed="loop")
    walk = Walk.through(keyframes, smooth=flags.get("path", PATHS[0]) == "smooth", **timing)
    settings = Settings(**_given(flags, *SETTINGS))
    out, folder = _places(flags)
    look = _given(flags, "size", "quality")
    video.validate(out, **look)
    _check_places(out, folder)
    say(
        f"{len(keyframes)} keyframes, {plural(walk.frames, 'frame')}, "
        f"{format_time(float(walk.seconds))} at {_rate(walk.fps)} frames a second"
    )

    # 2. What only the model knows; weights are not loaded yet.
    from walk import models
    from walk.run import Run

    if settings.model == BUILT_IN:
        say("toybox, the built-in model, draws things in a toy style; for others see --model")
    settings = models.complete(settings)

    # 3. The work. A frame, once saved, is safe.
    with Run(folder, walk, settings) as run, _nothing_is_lost(run):
        _verify(run, say)
        _render(run, say)
        frames = run.frames()
        with _Progress(say, f"making {out.name}", len(frames), after=2) as progress:
            video.encode(frames, out, walk.fps, **look, report=progress.reached)
    return str(out)


def _verify(run: Run, say: Callable[[str], None]) -> None:
    found = len(run)
    damaged = 0
    with _Progress(say, "checking frames", found, after=2) as progress:
        for count, (_, whole) in enumerate(run.check(), 1):
            damaged += not whole
            progress.reached(count)
    if found:
        again = f", {damaged} damaged and made again" if damaged else ""
        say(f"{len(run)} of {run.walk.frames} frames are in {run.folder} already{again}")


def _render(run: Run, say: Callable[[str], None]) -> None:
    missing, batch = run.missing(), run.settings.batch or 1
    if not missing:
        return
    from walk import models
    from walk.render import render

    say("loading the model")
    with contextlib.redirect_stderr(io.StringIO()):  # several libraries' bars and advice
        model = models.load(run.settings)
    with _Progress(say, "rendering", len(missing)) as progress, run.saver() as save:
        for count, (index, picture) in enumerate(render(model, run.walk, missing), 1):
            save(index, picture)
            if count % batch == 0 or count == len(missing):  # a batch arrives all at once
                progress.reached(count)


@contextlib.contextmanager
def _nothing_is_lost(run: Run) -> Iterator[None]:
    """Whatever ends the work says how much of it is kept."""

    def kept() -> str:
        return f"{len(run)} of {run.walk.frames} frames are safe in {run.folder}; run the same command to go on"

    try:
        yield
    except Error as error:
        raise Error(f"{error}; {kept()}") from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt(kept()) from None


def _places(flags: dict[str, Any]) -> tuple[Path, Path]:
    """The film, and its run folder beside it."""
    prompts = flags["prompts"]
    if "out" in flags:
        try:
            out = Path(flags["out"]).expanduser()
        except RuntimeError:
            raise Error(f"{flags['out']} cannot be written: there is no such home folder; give another --out") from None
    elif file := prompt_file(prompts):
        out = Path(file.stem + ".mp4")
    else:
        first = prompts if isinstance(prompts, str) else prompts[0]
        out = Path((re.sub(r"\W+", "-", first.split("|")[0].lower())[:40].strip("-") or "film") + ".mp4")
    with contextlib.suppress(OSError):  # a name too long for the file system is refused below
        if out.is_dir():
            raise Error(f"--out {out} is a folder; give the film's name, such as {out / 'film.mp4'}")
    return out, out.with_suffix(".walk") if out.name else out


def _check_places(out: Path, folder: Path) -> None:
    """Raise Error if the film cannot be written, or would replace what walk has not made."""
    try:
        if out.exists() and not folder.is_dir():
            raise Error(
                f"{out} exists and has no {folder.name} beside it, so it is not overwritten; give another --out"
            )
        if len(os.fsencode(out.name)) > 230:  # of 255: there has to be room for a temporary name
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    except OSError as error:
        raise Error(f"{out} cannot be written ({error.strerror}); give another --out") from None
    parent = next(parent for parent in out.absolute().parents if parent.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise Error(f"{out} cannot be written: {parent} is not a folder that you may write to; give another --out")


# Flags


class Flag(NamedTuple):
    value: str  # how its value is called in the help; '' for a switch
    parse: Callable[[str], Any]  # raises ValueError
    expects: str  # what is accepted, for errors
    help: str


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d{1,1000}", text):
        raise ValueError(text)
    return int(text)


def _count(text: str) -> int:
    number = _integer(text)
    if number < 1:
        raise ValueError(text)
    return number


def _decimal(text: str) -> float:
    if not re.fullmatch(r"\d+(\.\d*)?|\.\d+", text):
        raise ValueError(text)
    return float(text)


def _integers(text: str) -> list[int]:
    return [_integer(part.strip()) for part in text.strip("[]() ").split(",")]


def _duration(text: str) -> Fraction:
    seconds = Fraction(repr(parse_time(text)))
    if not seconds:
        raise ValueError(text)
    return seconds


def _fps(text: str) -> Fraction:
    fps = parse_fps(text)
    if not fps:
        raise ValueError(text)
    return fps


def _path(text: str) -> str:
    if text not in PATHS:
        raise ValueError(text)
    return text


def _prompts(text: str) -> str | list[str]:
    """A file or a prompt, or a list of prompts as `checked` joins them or as Python writes it."""
    if text.startswith("["):
        with contextlib.suppress(ValueError, SyntaxError):
            values = ast.literal_eval(text)
            if isinstance(values, list) and values:
                return [str(value) for value in values]
    return text


PATHS = ("smooth", "slerp")
SETTINGS = ("model", "steps", "guidance", "scheduler", "width", "height", "device", "dtype", "batch")
_WHOLE = "a whole number, 1 or more"

# fmt: off
FLAGS: dict[str, dict[str, Flag]] = {
    "What is seen": {
        "prompts": Flag("FILE | PROMPT ...", _prompts, "a prompt file, or prompts", "a file with one prompt a line, or the prompts themselves"),
        "seed": Flag("N", _integer, "a whole number", "keyframe i starts from the noise of seed N + i (0)"),
        "seeds": Flag("N,N,...", _integers, "whole numbers with commas between", "a seed for each prompt, one for all, or several for one prompt"),
        "negative": Flag("TEXT", str, 'text, or "" for none', "what no picture should show"),
    },
    "When": {
        "frames": Flag("N", _count, _WHOLE, "frames in the film"),
        "seconds": Flag("S", _duration, "seconds (12.5) or minutes:seconds (1:02.5), over 0", f"or its length: 12.5, 1:02.5 ({SECONDS_A_SEGMENT} for each pair of keyframes)"),
        "fps": Flag("N", _fps, "a number over 0, such as 25, 23.976 or 24000/1001", f"frames a second, 23.976 or 24000/1001, too ({FPS})"),
        "loop": Flag("", bool, "", "lead back to the first keyframe, for playing round and round"),
        "path": Flag("smooth | slerp", _path, "smooth or slerp", "smooth turns no corner at keyframes; slerp: great circles (smooth)"),
        "ease": Flag("", bool, "", "slow down at keyframes"),
    },
    "How": {
        "model": Flag("NAME", str, "a model", f"a diffusers folder, or a hub id ({BUILT_IN}, built in)"),
        "steps": Flag("N", _count, _WHOLE, "denoising steps (the model's)"),
        "guidance": Flag("X", _decimal, "a number, 0 or more", "how closely to follow the prompt; 1 and less: off (the model's)"),
        "scheduler": Flag("NAME", str, "a name", "such as EulerDiscreteScheduler (the model's)"),
        "width": Flag("PIXELS", _count, _WHOLE, "of the pictures (the model's)"),
        "height": Flag("PIXELS", _count, _WHOLE, "of the pictures (the model's)"),
        "device": Flag("NAME", str, "a name", "cpu, cuda, cuda:1, mps (the fastest there is)"),
        "dtype": Flag("NAME", str, "a name", "float32, float16, bfloat16 (float16 on cuda, else float32)"),
        "batch": Flag("N", _count, _WHOLE, "frames denoised together (by their size, up to 8)"),
    },
    "The film": {
        "out": Flag("FILE.mp4", str, "a file name", "the film; its frames are kept in FILE.walk (the prompt file's name)"),
        "size": Flag("PIXELS", _count, _WHOLE, f"its short side; pictures are scaled to it (theirs, at least {video.SHORT_SIDE})"),
        "quality": Flag("CRF", _integer, "a whole number", f"0 is lossless, 51 the worst ({video.QUALITY})"),
        "quiet": Flag("", bool, "", "print nothing but the film's path"),
    },
}
# fmt: on
_FLAGS = {name: flag for group in FLAGS.values() for name, flag in group.items()}


def checked(arguments: Sequence[str]) -> list[str]:
    """The arguments, each as --name=value, or Error: unknown, repeated, without a value, malformed."""
    values = _split(arguments)
    result = []
    for name, given in values.items():
        flag = _FLAGS[name]
        if not flag.value:
            extra = given[1:] if given and given[0].lower() in ("true", "false") else given
            if extra:
                raise Error(f"--{name} takes no value, but '{extra[0]}' follows it")
            if not given or given[0].lower() == "true":
                result.append(f"--{name}=True")
            continue
        if not given or (given == [""] and name != "negative"):
            raise Error(f"--{name} needs a value; give {flag.expects}")
        if len(given) > 1 and name != "prompts":
            raise Error(f"--{name} takes one value, but '{given[1]}' follows '{given[0]}'; quote a value with spaces")
        text = given[0] if len(given) == 1 else repr(given)
        try:
            flag.parse(text)
        except ValueError:
            raise Error(f"--{name} {text} is not possible; give {flag.expects}") from None
        result.append(f"--{name}={text}")
    return result


def _split(arguments: Sequence[str]) -> dict[str, list[str]]:
    """Every flag's values: what follows it up to the next flag, or what its = leads to."""
    values: dict[str, list[str]] = {}
    name = None
    for argument in arguments:
        if re.match(r"[-–—]+[A-Za-z]|--$", argument):
            head, equals, value = argument.partition("=")
            name = head.lstrip("-–—").replace("-", "_")
            if name not in _FLAGS or not re.match(r"--[A-Za-z]", head):
                near = _nearest_flag(name)
                hint = f"did you mean --{near}? (walk --help lists them all)" if near else "walk --help lists them all"
                raise Error(f"there is no flag {head}; {hint}")
            if name in values:
                raise Error(f"--{name} was given twice")
            values[name] = [value] if equals else []
        elif name is None:
            raise Error(f"'{argument}' follows no flag; prompts come after --prompts")
        else:
            values[name].append(argument)
    return values


_ELSEWHERE = {  # what other tools call it
    "cfg": "guidance", "cfg_scale": "guidance", "closed": "loop", "duration": "seconds", "interpolation": "path",
    "length": "seconds", "n": "frames", "num_frames": "frames", "num_inference_steps": "steps", "output": "out",
    "sampler": "scheduler", "o": "out",
}  # fmt: skip


def _nearest_flag(name: str) -> str | None:
    if name in _FLAGS or name in _ELSEWHERE:
        return _ELSEWHERE.get(name, name)
    begun = [flag for flag in _FLAGS if (name and flag.startswith(name)) or name.startswith(flag + "_")]
    near = begun or difflib.get_close_matches(name, _FLAGS, n=1)
    return near[0] if near else None


def _given(flags: dict[str, Any], *names: str, **renamed: str) -> dict[str, Any]:
    """Of these flags those that were given, so that defaults stay where they are defined."""
    keys = {name: name for name in names} | renamed
    return {key: flags[name] for key, name in keys.items() if name in flags}


def help_text() -> str:
    lines = [
        "walk makes a film that walks through what a text-to-image model knows.",
        "",
        "  walk --prompts prompts.txt --frames 200",
        '  walk --prompts "a red apple" "a green frog" --seconds 8 --loop',
        '  walk --prompts "a robot in the city at night" --seeds 1,2,3',
        "",
        "Run the same command again to go on after a stop; change it to render only what changes.",
    ]
    for title, flags in FLAGS.items():
        lines += ["", f"{title} (defaults in brackets):" if title == "What is seen" else f"{title}:"]
        for name, flag in flags.items():
            head = f"  --{name} {flag.value}".rstrip()
            gap = "" if len(head) < 25 else "\n" + " " * 26
            lines.append(f"{head:<26}".rstrip() + gap + flag.help if gap else f"{head:<26}{flag.help}")
    lines += ["", "  --help, --version", "", *textwrap.wrap(_PROMPT_FILE, 92)]
    return "\n".join(lines)


_PROMPT_FILE = (
    "A prompt file is UTF-8 with one prompt a line; lines from # are skipped. A line may end in settings: "
    "a fox in the snow | seed=7 | time=1:02.5 | negative=blurry"
)


# What is shown


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _quiet(text: str) -> None:
    pass


class _Progress:
    """A bar on a terminal; elsewhere a line now and then."""

    def __init__(self, say: Callable[[str], None], what: str, total: int, after: float = 0) -> None:
        self.say, self.what, self.total, self.after = say, what, total, after
        self.begun = self.told = time.monotonic()
        self.bar: Any = None

    def __enter__(self) -> _Progress:
        if self.say is _say and sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(
                total=self.total, desc=self.what, unit=" frames", file=sys.stderr, dynamic_ncols=True, delay=self.after
            )
        return self

    def reached(self, count: int) -> None:
        now = time.monotonic()
        if self.bar is not None:
            self.bar.update(count - self.bar.n)
        elif now - self.told > PLAIN_SECONDS or (self.told == self.begun and not self.after):
            self.told = now
            rate = count / max(now - self.begun, 1e-9)
            left = round((self.total - count) / rate)
            self.say(
                f"{self.what}: {count} of {self.total} frames, {rate:.3g} a second, {left // 60}:{left % 60:02d} left"
            )

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()


def _rate(fps: Fraction) -> str:
    return str(fps) if fps.denominator == 1 else f"{float(fps):.6g}"


def _prepare_libraries() -> None:
    """What heavy libraries are to know before they are imported, in the environment as they read it."""
    for name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        os.environ.setdefault(name, "error")  # their warnings are for developers
    # Else torch's threads wait for each other by spinning: where a single other process is busy, a
    # render on two cores was seen to take three to four times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")

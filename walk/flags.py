"""What each command takes: its flags, and how they are read, each by itself.

Fire would run a command first and complain of an unknown flag afterwards, so it gets checked ones only.
Knows texts; does nothing and prints nothing.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import os
import re
import textwrap
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from walk import Error, formats, images
from walk.keyframes import WORDS, looks_like_a_file, read_moment
from walk.pace import PACES, REACT
from walk.rates import FPS, METER, MOST_BEATS, parse_fps, rate
from walk.settings import BUILT_IN, Settings
from walk.text import as_flag, parse_time, together
from walk.timeline import SECONDS_A_SEGMENT


class Flag(NamedTuple):
    value: str  # what the help calls its value; '' for a switch
    parse: Callable[[str], Any]  # raises ValueError
    expects: str  # what is accepted, for errors
    help: str
    alone: str = ""  # what it means without a value


def _switch(text: str) -> bool:
    return text == "True"


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


def _meter(text: str) -> int:
    number = _count(re.sub(r"(\d+)/[1-9]\d*", r"\1", text))  # 3/4 has three
    if number > MOST_BEATS:
        raise ValueError(text)
    return number


def _integers(text: str) -> list[int]:
    """From '1,2,3', '1 2 3' or '1-3'."""
    result: list[int] = []
    for part in re.split(r"\s*,\s*|\s+", text.strip("[]() ")):
        first, dash, last = part.partition("-") if part[:1] != "-" else (part, "", "")
        numbers = _integer(first), _integer(last if dash else first)
        if not 0 <= numbers[1] - numbers[0] < MANY:
            raise ValueError(text)
        result += range(numbers[0], numbers[1] + 1)
    return result


def _seeds(text: str) -> list[int] | str:
    return WORDS if text.lower() == WORDS else _integers(text)


def _duration(text: str) -> Fraction:
    seconds = _moment(text)
    if not seconds:
        raise ValueError(text)
    return seconds


def _moment(text: str) -> Fraction:
    return Fraction(repr(parse_time(text)))


def _size(text: str) -> int | str:
    both = formats.sides(text.lower().replace("×", "x"))
    return "{}x{}".format(*both) if both else _count(text.removesuffix("p"))  # 1080p


def _share(text: str) -> float:
    number = _decimal(text)
    if number > 1:
        raise ValueError(text)
    return number


def _tempo(text: str) -> Fraction:
    tempo = Fraction(repr(_decimal(text)))
    if not 20 <= tempo <= 400:
        raise ValueError(text)
    return tempo


def _fps(text: str) -> Fraction:
    fps = parse_fps(text)
    if not fps:
        raise ValueError(text)
    return rate(fps)


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(text)
        return text.lower()

    return parse


def _dtype(text: str) -> str:
    return {"fp16": "float16", "half": "float16", "bf16": "bfloat16", "fp32": "float32"}.get(text.lower(), text)


def _listed(text: str) -> str:
    return "" if text.lower() == "none" else text


def _upscaler(text: str) -> str:
    return text.lower() if text.lower() in (OWN, NONE) else text


def _interpolator(text: str) -> str:
    return text.lower() if text.lower() in (OWN, BLEND) else text


def _spacing(text: str) -> int:
    number = _count(text)
    if number > SPACING:
        raise ValueError(text)
    return number


def _scheduler(text: str) -> str | None:
    return None if text.lower() == "own" else text


def _prompts(text: str) -> str | list[str]:
    """A file or a prompt, or a list of prompts as `checked` joins them or as Python writes it."""
    if text.startswith("["):
        with contextlib.suppress(ValueError, SyntaxError):
            values = ast.literal_eval(text)
            if isinstance(values, list) and values:
                return [str(value) for value in values]
    return text


def _compiling(text: str) -> bool | None:
    known = {"on": True, "off": False, "auto": None, "true": True, "false": False}  # Python's own, of a program
    return known[_one_of(*known)(text)]


OWN, NONE = "own", "none"  # upscalers; the first also what is usual elsewhere
BLEND = "blend"  # the interpolator that is no network
SPACING = 16  # frames from a rendered one to the next, at most
MANY = 10_000  # seeds in a range
_NAMED = ("lora", "embedding")  # of which several may be given
_LISTS = ("seeds", *_NAMED)  # with commas or blanks between
PATHS = ("smooth", "slerp")
SPEEDS = ("even", "constant", "path")
ALIGN = ("bar", "beat", "off")
SEEDS, SEEDS_EACH = 16, 8  # on a sheet of one prompt; and of each of several
BENCH_FRAMES = 720  # half a minute
# Flags of which a film carries the outcome: its keyframes.
WHAT = ("prompts", "seed", "seeds", "negative", "image", "style")
_PACE = "even, energy, beat or bar"
_TIME = "seconds (12.5) or minutes:seconds (1:02.5)"
_MOMENT = "a time, such as 1:02.5, or bar=9, beat=32 or frame=48"
_WHOLE = "a whole number, 1 or more"

# fmt: off
FLAGS: dict[str, dict[str, Flag]] = {
    "Prompts": {
        "prompts": Flag("FILE | PROMPT ...", _prompts, "a prompt file, or prompts", "a prompt file, - for stdin, lyrics (.lrc, .srt, .vtt), pictures, or prompts"),
        "seed": Flag("N", _integer, "a whole number", "seed of the first keyframe; each later one gets 1 more (0)"),
        "seeds": Flag("N,N,... | words", _seeds, "whole numbers with commas between, 1-8, or words", "one for each prompt, or for all; 1-8 for one prompt; words: from its words"),
        "negative": Flag("TEXT", str, 'text, or "" for none', "what no picture should show; only with models that use guidance (none)"),
        "image": Flag("FILE", str, "a picture's file", "a picture to resemble, for all prompts that have none; with Stable Diffusion 1, LCM, SDXL or Flux (none)"),
        "style": Flag("TEXT", str, "text with {} in it", "words around every prompt, such as \"an oil painting of {}\" (none)"),
    },
    "Timing": {
        "frames": Flag("N", _count, _WHOLE, "length of the film in frames (as --seconds says)"),
        "seconds": Flag("S", _duration, f"{_TIME}, over 0", f"or in time: 12.5, 1:02.5 (the sound's, or {SECONDS_A_SEGMENT} for each pair of prompts)"),
        "fps": Flag("N", _fps, "a number over 0, such as 25, 23.976 or 24000/1001", f"frames a second, such as 25, 23.976 or 24000/1001 ({FPS})"),
        "loop": Flag("", _switch, "", "lead back to the first keyframe, for endless playback"),
        "path": Flag("smooth | slerp", _one_of(*PATHS), "smooth or slerp", "smooth: no corners at keyframes; slerp: great circles (smooth)"),
        "speed": Flag("even | constant | path", _one_of(*SPEEDS), "even, constant or path", "even to the eye between keyframes, or constant throughout, which moves the keyframes; path: equal steps along the path (even)"),
        "ease": Flag("", _switch, "", "slow down at each keyframe"),
        "pace": Flag("even | energy | beat | bar", _one_of(*PACES), _PACE, "move evenly, with the sound's energy, or to arrive on each beat or bar (even; energy with --audio)"),
        "pace_noise": Flag("NAME", _one_of(*PACES), _PACE, "another pace for the noise, while the prompts keep theirs (as --pace)"),
        "pulse": Flag("X", _share, "a number from 0 to 1", "how far the noise swings with the sound or tempo, also at rest, 0 to 1 (0)"),
        "react": Flag("X", _share, "a number from 0 to 1", "how far the pace departs from even, 0 to 1 ({energy:g}; {beat:g} for beat and bar)".format(**REACT)),
    },
    "Music": {
        "audio": Flag("FILE", str, "a sound file", "a sound to move to, and the film's sound: .mp3, .wav, ..., or a video"),
        "start": Flag("TIME", _moment, _TIME, "where in the sound the film begins, 12.5 or 1:02.5 (0)"),
        "bars": Flag("N", _count, _WHOLE, "length of the film in bars, from the first bar line after --start"),
        "align": Flag("bar | beat | off", _one_of(*ALIGN), "bar, beat or off", "what keyframes without a time are moved to; off: nothing (bar)"),
        "bpm": Flag("X", _tempo, "a number from 20 to 400", "tempo in beats a minute, with --audio or without (detected)"),
        "offset": Flag("TIME", _moment, _TIME, "where in the sound a bar begins (detected)"),
        "meter": Flag("N", _meter, f"a whole number up to {MOST_BEATS}", f"beats in a bar ({METER})"),
        "beats": Flag("FILE", str, "a file name", "a file of beats: seconds, one beat a line (detected)"),
        "listen": Flag("FILE | low | mid | high", str, "a sound file, low, mid or high", "what --pace energy and --pulse follow: a stem of the sound, or its low, mid or high notes (all of it)"),
    },
    "Model": {
        "model": Flag("NAME", str, "a model", f"a short name (see walk models), hub id, folder or file ({BUILT_IN}, built in)"),
        "lora": Flag("NAME:WEIGHT,...", _listed, "a .safetensors file or a hub id, and its weight if not 1", "LoRA files or hub ids, each with its weight if not 1 (none)"),
        "embedding": Flag("NAME:WORD,...", _listed, "a .safetensors, .pt or .bin file or a hub id, and the word if not its own", "words learned from files (textual inversion), each with its word if not its name (none)"),
        "clip_skip": Flag("N", _count, _WHOLE, "read prompts at the text encoder's Nth last layer; many anime models want 2 (1)"),
        "ip_adapter": Flag("FILE", str, "own, or a .safetensors file", "what reads pictures beside prompts: an IP-Adapter, or for Flux Redux (the usual one)"),
        "image_weight": Flag("X", _share, "a number from 0 to 1", "how much pictures beside prompts count, 0 to 1 (0.6; with Flux, and of styles, 1)"),
        "image_style": Flag("", _switch, "", "of these pictures, take the style alone; with SDXL"),
        "steps": Flag("N", _count, _WHOLE, "denoising steps (the model's)"),
        "guidance": Flag("X", _decimal, "a number, 0 or more", "how closely pictures follow the prompt; 0: no guidance (the model's)"),
        "scheduler": Flag("NAME", _scheduler, "a name", "the sampler, such as \"Euler a\" or \"DPM++ 2M Karras\" (own)"),
        "width": Flag("PIXELS", _count, _WHOLE, "width of the pictures that the model makes (the model's)"),
        "height": Flag("PIXELS", _count, _WHOLE, "height of the pictures that the model makes (the model's)"),
        "device": Flag("NAME", str, "a name", "cpu, cuda, cuda:1 or mps (the fastest available)"),
        "dtype": Flag("NAME", _dtype, "a name", "float32, float16 or bfloat16 (the model's on cuda, else float32)"),
        "decoder": Flag("own | tiny | FILE", str, "own, tiny, or a VAE's file, folder or hub id", "tiny: faster, a little softer; or another VAE, file or hub id (own)"),
        "denoiser": Flag("FILE", str, "own, or a .safetensors or .gguf file", "other denoiser weights: fine-tuned, or a .gguf for a small GPU (own)"),
        "compile": Flag("on | off | auto", _compiling, "on, off or auto", "torch.compile, slow to start and then faster; auto: if that pays (auto)", "on"),
        "low_memory": Flag("", _switch, "", "keep each part of the model on the GPU only while it works"),
        "batch": Flag("N", _count, _WHOLE, "frames denoised together (chosen by size and GPU, at most 16)"),
    },
    "Output": {
        "out": Flag("FILE.mp4", str, "a file name", "the film: .mp4, .webm, .mov, .gif, or FOLDER/ for PNG files (PROMPTS.mp4)"),
        "run": Flag("FOLDER.walk", str, "a run folder", "the folder of its frames; another film's, to share its frames (FILM.walk)"),
        "codec": Flag("NAME", str.lower, "a codec", "h264, h265, av1, vp9, prores, hap, hapq, dxv, or ffmpeg's name (by suffix)"),
        "no_metadata": Flag("", _switch, "", "leave prompts, settings and chapters out of the film and of new frames"),
        "size": Flag("PIXELS | WxH", _size, "its short side's pixels, such as 1080, or both sides, such as 1080x1920", f"short side, or both, cropped to fit (the pictures'; films {formats.SHORT_SIDE} or more)"),
        "upscale": Flag("FILE | none", _upscaler, "an upscaler's file, .safetensors or .pth, own or none", "a network that enlarges frames, such as ESRGAN (own, if the model has one)"),
        "interpolate": Flag("N", _spacing, f"a whole number from 1 to {SPACING}", "render one frame in N, and interpolate the others (1: render all)"),
        "interpolator": Flag("FILE | blend", _interpolator, "a file of RIFE's, .safetensors, .pth or .pkl, own or blend", "what interpolates: RIFE, from its file, or blend, which mixes two frames (RIFE; toybox: blend)"),
        "quality": Flag("CRF", _integer, "a whole number", f"1 (best) to 51 (worst) for h264; other codecs have other scales ({formats.QUALITY})"),
        "quiet": Flag("", _switch, "", "print nothing but the result"),
    },
}
# fmt: on


def _only(*names: str) -> dict[str, Flag]:
    return {name: ALL[name] for name in names}


ALL = {name: flag for group in FLAGS.values() for name, flag in group.items()}
SETTINGS = tuple(FLAGS["Model"])
MUSIC = tuple(FLAGS["Music"])
TIMING = (*FLAGS["Timing"], *MUSIC)  # what decides where frames are on the path
RECIPE = tuple(
    name for name in ALL if name not in (*WHAT, "out", "run", "quiet")
)  # what decides a film, not where it lies
# Flags of which each says what the other does.
EXCLUSIVE = (("seconds", "bars"), ("bpm", "beats"), ("offset", "beats"), ("ease", "pace"), ("ease", "react"))


class Command(NamedTuple):
    words: tuple[str, ...]  # what bare words stand for, in order
    flags: dict[str, Flag]
    usage: str
    summary: str


_FILM = Flag("FILE", str, "a file name", "a film")
COMMANDS = {
    "": Command((), ALL, "--prompts FILE ...", "make a film"),
    "preview": Command(
        (),
        ALL
        | {
            "quick": Flag("", _switch, "", "fewer denoising steps, for a first look"),
            "watch": Flag("", _switch, "", "draw it again whenever the prompt file is saved, until Ctrl-C"),
        },
        "--prompts FILE ...",
        "before the film, draw its keyframes, what lies between, and its speed; --out FILE.png "
        "names the picture, --out FILE.mp4 the film whose frames it renders",
    ),
    "rough": Command(
        (),
        ALL,
        "--prompts FILE ...",
        "make FILM.rough.mp4 from the frames rendered so far, at any moment; the nearest one stands "
        "in for each that is missing",
    ),
    "part": Command(
        (),
        ALL
        | {
            "from": Flag("TIME | bar=N", read_moment, _MOMENT, "where in the film the part begins (its beginning)"),
            "to": Flag("TIME | bar=N", read_moment, _MOMENT, "where in the film it ends (its end)"),
        },
        "--from TIME --to TIME --prompts FILE ...",
        "render a part of the film, and make FILM.part.mp4 of it; the film uses its frames",
    ),
    "seeds": Command(
        (),
        {
            **_only("prompts"),
            "count": Flag("N", _count, _WHOLE, f"how many seeds ({SEEDS}; for each of several prompts {SEEDS_EACH})"),
            "from": Flag("N", _integer, "a whole number", "the first seed (0)"),
            **_only("seed", "seeds", "negative", "image", "style", *SETTINGS, "quiet"),
            "out": Flag("FILE.png", str, "a file name", "the sheet (PROMPTS.seeds.png)"),
        },
        "FILE | PROMPT ...",
        "draw each prompt with several seeds, on a numbered sheet to choose from",
    ),
    "info": Command(
        ("film",),
        {"film": _FILM, "json": Flag("", _switch, "", "print JSON, for programs")},
        "FILM",
        "print how a film was made: its prompts, as a prompt file, and the command",
    ),
    "replay": Command(
        ("film",),
        {
            "film": _FILM,
            **{name: flag for name, flag in ALL.items() if name not in WHAT},
        },
        "FILM",
        "make a film again from its recipe, as FILM-again, with flags changed; --run FILM.walk reuses its frames",
    ),
    "diff": Command(
        ("film", "other"), {"film": _FILM, "other": _FILM}, "FILM FILM", "list how the recipes of two films differ"
    ),
    "check": Command(
        ("film",),
        {
            "film": _FILM,
            "out": Flag("FILE.png", str, "a file name", "also draw a contact sheet, with the film's speed"),
            "json": Flag("", _switch, "", "print JSON, for programs"),
        },
        "FILM",
        "read a film, and report black, repeated, damaged or jumping frames, and flashing; --out FILE.png draws a "
        "contact sheet",
    ),
    "beats": Command(
        ("audio",),
        {
            **_only("audio", "offset", "meter"),
            "start": ALL["start"]._replace(help="where in the sound to begin, 12.5 or 1:02.5 (0)"),
            "seconds": ALL["seconds"]._replace(help="how long to listen, 12.5 or 1:02.5 (to the end)"),
            "bpm": ALL["bpm"]._replace(help="tempo in beats a minute (detected)"),
        },
        "SONG",
        "print a sound's beats, as a file to correct for --beats or other tools",
    ),
    "bench": Command(
        (),
        {
            **_only(*SETTINGS, "quiet"),
            "frames": Flag("N", _count, _WHOLE, f"estimate the time of a film of this many frames ({BENCH_FRAMES})"),
            "json": Flag("", _switch, "", "print JSON, for programs"),
        },
        "--model NAME ...",
        "measure a model's frames a second on this machine, and where the time goes",
    ),
    "models": Command((), {}, "", "list models by short name, with licences, and which are on this machine"),
    "doctor": Command((), {}, "", "report what this machine can do, and how to fix what it cannot"),
    "prune": Command(
        ("folder",),
        {
            "folder": Flag("FOLDER", str, "a run folder", "a run folder"),
            "yes": Flag("", _switch, "", "remove these frames"),
        },
        "FOLDER.walk",
        "list frames that a folder's newest film does not use; --yes removes them",
    ),
}


def checked(arguments: Sequence[str], command: str = "") -> list[str]:
    """The arguments, each as --name=value, or Error: unknown, repeated, without a value, malformed."""
    flags = COMMANDS[command].flags
    values = _split(arguments, command)
    result = []
    for name, given in values.items():
        flag = flags[name]
        if not flag.value:
            extra = given[1:] if given and given[0].lower() in ("true", "false") else given
            if extra:
                raise Error(f"{as_flag(name)} takes no value, but '{extra[0]}' follows it")
            result.append(f"--{name}={not given or given[0].lower() == 'true'}")
            continue
        given = given or [flag.alone] * bool(flag.alone)
        if any("\0" in word for word in given):  # which a program can give
            raise Error(f"{as_flag(name)} has a NUL in it; give {flag.expects}")
        if name in COMMANDS[command].words and given == [""]:
            raise _missing(name, command)
        if not given or (given == [""] and name != "negative"):
            raise Error(f"{as_flag(name)} needs a value; give {flag.expects}")
        if name in _LISTS and len(given) > 1:
            given = [",".join(text.strip(",") for text in given)]
        if len(given) > 1 and name != "prompts":
            raise Error(
                f"{as_flag(name)} takes one value, but '{given[1]}' follows '{given[0]}'; quote a value with spaces"
                + (', in double quotes ("")' if given[0].startswith("'") else "")
            )
        if name == "prompts":
            _check_prompts(given)
        text = given[0] if len(given) == 1 else repr(given)
        try:
            flag.parse(text)
        except ValueError:
            raise Error(f"{as_flag(name)} {textwrap.shorten(text, 60)} is not valid; give {flag.expects}") from None
        result.append(f"--{name}={text}")
    for word in COMMANDS[command].words:
        if word not in values:
            raise _missing(word, command)
    return result


def _missing(word: str, command: str) -> Error:
    return Error(f"walk {command} needs {COMMANDS[command].flags[word].expects}: {_usage(command)}")


def _check_prompts(prompts: Sequence[str]) -> None:
    # For Windows' cmd, 'a fox' is two words.
    halves = [prompt for prompt in prompts if re.fullmatch(r"'[^\s']+|[^\s']+'", prompt)]
    if halves and halves[0].startswith("'") and halves[-1].endswith("'"):
        raise Error(
            f'{halves[0]} has a single quote, which is a letter like others in this shell; put prompts in double ones ("")'
        )
    for prompt in prompts:
        split = not re.search(r"\s", prompt) and len(re.findall("[“”„]", prompt)) % 2  # “a red apple” is three words
        if split and {prompt[:1], prompt[-1:]} & {*"“”„"}:
            raise Error(
                f'{prompt} has a curly quote, which is a letter like others here; put prompts in straight ones ("")'
            )
        if len(prompts) > 1 and prompt.endswith("/") and os.path.isdir(prompt):
            raise Error(
                f"{prompt} is a folder; give it alone, or the pictures in it, {prompt}*.jpg, say, among other prompts"
            )
        if len(prompts) > 1 and looks_like_a_file(prompt) and not images.is_name(prompt):
            raise Error(f"'{prompt}' looks like a file; give one prompt file, or prompts, not both")


def _split(arguments: Sequence[str], command: str) -> dict[str, list[str]]:
    """Every flag's values: what follows it up to the next flag, or what its = leads to."""
    flags, words = COMMANDS[command].flags, list(COMMANDS[command].words)
    help_line = f"walk {command} --help".replace("  ", " ")
    values: dict[str, list[str]] = {}
    name = None
    for argument in arguments:
        if re.match(r"[-–—]+[A-Za-z]|--$", argument):
            head, equals, value = argument.partition("=")
            name = head.lstrip("-–—").replace("-", "_")
            if name not in flags or not re.match(r"--[A-Za-z]", head):
                if command == "replay" and name in WHAT:
                    way = "walk info FILM > FILM-again.txt, and walk --prompts FILM-again.txt"
                    raise Error(
                        f"{as_flag(name)} is not for a film that is made again as it was; to change its prompts: {way}"
                    )
                if os.path.lexists(argument):
                    raise Error(f"{argument} begins like a flag; a file of that name is written ./{argument}")
                hint = _hint(name, command, help_line)
                if " " in argument and not equals:
                    hint = "a prompt that begins with a dash goes into a file, one a line"
                raise Error(f"there is no flag {textwrap.shorten(head, 60)}; {hint}")
            if name in values and name not in _NAMED:
                raise Error(f"{as_flag(name)} was given twice")
            values.setdefault(name, []).extend([value] if equals else [])
        elif name is not None:
            values[name].append(argument)
        elif words:
            values[words.pop(0)] = [argument]
        elif "prompts" in flags and (
            command == "seeds" or " " in argument.strip() or looks_like_a_file(argument) or os.path.isfile(argument)
        ):
            name = "prompts"  # what else could it be
            values[name] = [argument]
        elif command:
            raise Error(f"'{argument}' is one too many: {_usage(command)}")
        else:
            near_command = difflib.get_close_matches(argument, filter(None, COMMANDS), n=1, cutoff=0.7)
            hint = f"; did you mean walk {near_command[0]}?" if near_command else ", each in quotes"
            raise Error(f"'{argument}' is not a command; prompts come after --prompts{hint}")
    return values


_ELSEWHERE = {  # what other tools call it; of several flags the first that a command has
    "guidance": "cfg cfg_scale scale",
    "out": "o output output_dir output_path output_name outdir save_dir name filename film folder",
    "frames": "n count num_interpolation_steps interpolation_steps",
    "count": "n num_images images num_images_per_prompt",
    "seconds": "duration length",
    "fps": "framerate frame_rate",
    "loop": "closed seamless",
    "path": "interpolation slerp smooth",
    "audio": "music song sound",
    "start": "audio_start_sec audio_start audio_offset",
    "bpm": "tempo",
    "model": "checkpoint ckpt ckpt_path pretrained_model_name_or_path",
    "denoiser": "unet transformer",
    "embedding": "embeddings textual_inversion ti",
    "image": "init_image ip_adapter_image reference image_prompt",
    "ip_adapter": "ipadapter",
    "image_weight": "ip_adapter_scale image_strength ip_scale",
    "clip_skip": "clip_stop_at_last_layers clipskip",
    "negative": "n_prompt neg_prompt",
    "decoder": "vae vae_path",
    "ease": "easing",
    "scheduler": "sampler sampler_name",
    "device": "gpu cpu cuda",
    "dtype": "fp16 half no_half precision",
    "low_memory": "lowvram medvram offload cpu_offload",
    "interpolate": "frame_interpolation frame_interpolation_x_amount interpolation_multiplier multiplier exp rife film cadence diffusion_cadence interp",
    "interpolator": "frame_interpolation_engine rife_model frame_interpolation_model interpolation_model",
    "upscale": "upsample upscaler upscale_model esrgan realesrgan hires hires_fix enable_hr hr_scale hr_upscaler",
    "size": "resolution crop aspect aspect_ratio landscape portrait",
    "quality": "crf",
    "run": "frames_in frames_dir run_folder",
}
_WAYS = {  # what no flag is for
    "resume": "run the same command again to go on after a stop",
    "continue": "run the same command again to go on after a stop",
    "preview": "walk preview --prompts FILE ... looks before the long render",
    "quick": "walk preview --quick is a first look",
    **dict.fromkeys(
        (
            *("zoom", "angle", "rotate", "translate", "pan", "animation_mode"),
            *("strength", "denoising_strength", "init", "img2img", "controlnet"),
        ),
        "walk moves through what a model knows rather than moving a camera over its pictures, and makes each of them from "
        "noise; --image FILE has them resemble a picture",
    ),
    **dict.fromkeys(
        ("xformers", "opt_sdp_attention", "opt_sdp_no_mem_attention", "opt_split_attention"),
        "walk computes attention as torch does, which is fast without a flag",
    ),
    "no_half_vae": "walk decodes in float32 where a VAE would overflow in float16",
    "hypernetwork": "walk knows LoRAs and embeddings, but no hypernetworks",
    **dict.fromkeys(("batch_count", "n_iter"), "walk seeds PROMPT --count N draws a prompt with several seeds"),
}
_NEAR = 0.72  # likeness, by difflib: at less, most are other words and no slips, as --name for --frames


def _hint(name: str, command: str, help_line: str) -> str:
    films = {"prompts", "run"} <= COMMANDS[command].flags.keys()
    if name in _WAYS and films and name not in COMMANDS[command].flags:
        return _WAYS[name]
    if not set(COMMANDS[command].flags) - set(COMMANDS[command].words):
        return f"walk {command} takes none"
    near = _nearest_flag(name.lower(), COMMANDS[command].flags)
    return f"did you mean {as_flag(near)}? ({help_line} lists them all)" if near else f"{help_line} lists them all"


def _nearest_flag(name: str, flags: dict[str, Flag]) -> str | None:
    if name in flags:
        return name
    known = [flag for flag, names in _ELSEWHERE.items() if name in names.split()]
    if known:
        return next((flag for flag in known if flag in flags), None)
    begun = [flag for flag in flags if (name and flag.startswith(name)) or name.startswith(flag + "_")]
    ended = [flag for flag in flags if name.endswith("_" + flag)]
    near = begun or ended or difflib.get_close_matches(name, flags, n=1, cutoff=_NEAR)
    return near[0] if near else None


def given(flags: dict[str, Any], *names: str, **renamed: str) -> dict[str, Any]:
    """Of these flags those that were given, so that defaults stay where they are defined."""
    keys = {name: name for name in names} | renamed
    return {key: flags[name] for key, name in keys.items() if name in flags}


def settings(flags: dict[str, Any]) -> Settings:
    """What flags ask of a model. Whether to compile it is left open unless they say."""
    return Settings(**{"compile": None} | given(flags, *SETTINGS))


def help_text(command: str = "") -> str:
    """What `walk --help`, or the help of a command, prints."""
    if command:
        usage, summary = _usage(command), COMMANDS[command].summary
        if command in ("preview", "rough", "part", "replay"):
            own = {name: flag for name, flag in COMMANDS[command].flags.items() if name not in ALL}
            more = [
                "and all the flags of walk --help"
                + f" but {together([as_flag(name) for name in WHAT])}" * (command == "replay")
            ]
        else:
            own, more = COMMANDS[command].flags, []
        own = {name: flag for name, flag in own.items() if name not in COMMANDS[command].words}
        parts = [[usage], textwrap.wrap(summary[0].upper() + summary[1:] + ".", 92), _table(own), more]
        return "\n\n".join("\n".join(part) for part in parts if part)
    lines = [
        "walk makes a film that walks through what a text-to-image model knows.",
        "",
        "  walk --prompts prompts.txt --frames 200",
        '  walk --prompts "a red apple" "a green frog" --seconds 8 --loop',
        '  walk --prompts "a robot in the city at night" --seeds 1,2,3',
        "",
        "After a stop, run the same command again to go on. After a change, it renders only what changed.",
        "You can omit --prompts if a prompt file, or a prompt of several words, comes first.",
    ]
    for title, flags in FLAGS.items():
        lines += ["", f"{title} (defaults in brackets):" if title == "Prompts" else f"{title}:", *_table(flags)]
    lines += ["", "Other commands (each has a --help):"]
    for name, other in COMMANDS.items():
        if name:
            lines += _row(_usage(name), other.summary)
    lines += ["", "  --help, --version", "", *textwrap.wrap(_PROMPT_FILE, 92)]
    return "\n".join(lines)


def _usage(command: str) -> str:
    return f"walk {command} {COMMANDS[command].usage}".strip()


def _table(flags: dict[str, Flag]) -> list[str]:
    return [line for name, flag in flags.items() for line in _row(f"{as_flag(name)} {flag.value}", flag.help)]


def _row(head: str, text: str) -> list[str]:
    """What something is called, and beside it, or below if that is long, what it does."""
    head = f"  {head}".rstrip()
    beside = len(head) < 25
    first = f"{head:<26}" if beside else " " * 26
    lines = textwrap.wrap(text, 100, initial_indent=first, subsequent_indent=" " * 26, break_on_hyphens=False)
    return lines if beside else [head, *lines]


_PROMPT_FILE = (
    "A prompt file is UTF-8 text with one prompt a line; lines that begin with # are skipped. A line may end in "
    "settings: a fox in the snow | seed=7 | time=1:02.5 | negative=blurry. Instead of a time, give frame=48, beat=32 or "
    "bar=9; until=1:05 or until=bar=11 holds the picture until then; pace=bar and pulse=0.5 say how it moves on; "
    "image=fox.jpg is a picture to resemble. On a line of their own, these are for all prompts after them. (red:1.5) gives a "
    "word more weight, (red:0.5) less."
)

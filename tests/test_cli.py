"""The command: what each flag becomes, and the whole message of everything that it refuses.

A refusal is exit status 2, nothing on stdout, no traceback, and a folder left as it was.
"""

import os
import re
import subprocess
import sys
import tempfile
import textwrap
from fractions import Fraction
from pathlib import Path

import filelock
import pytest

from walk import Error, __version__, cli, commands, flags, order, progress
from walk.keyframes import MAX_SEED

LIST = "(walk --help lists them all)"
WHOLE = "a whole number, 1 or more"
TIME = "seconds (12.5) or minutes:seconds (1:02.5), over 0"
FPS = "a number over 0, such as 25, 23.976 or 24000/1001"
FORMAT = "a prompt file is UTF-8 text with one prompt a line"
MODEL = (
    "a model is toybox (built in), a short name such as sdxl (walk models lists them), a diffusers folder, "
    "a .safetensors checkpoint, or a hub id such as stable-diffusion-v1-5/stable-diffusion-v1-5"
)
AB = ["--prompts", "a red apple", "a green frog"]
CHEAP = ["--steps", "1", "--width", "32", "--height", "32", "--size", "64"]
CLOSED = ["sh", "-c", 'exec "$0" -m walk "$@" 2>&-', sys.executable]  # without stderr


@pytest.fixture(autouse=True)
def _in_an_empty_folder(empty_folder):
    """Before any other fixture."""


@pytest.fixture
def refusal(capsys, monkeypatch):
    """What the user is told by a command that is refused."""
    monkeypatch.setattr("walk.run.Run", lambda *_, **__: pytest.fail("this was not refused"))

    def of(*arguments):
        before = tree(Path())
        status = cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert (status, out) == (2, "")
        assert tree(Path()) == before
        *_, last = err.splitlines()
        assert "Traceback" not in err
        assert last.startswith("walk: ")
        return last.removeprefix("walk: ")

    return of


@pytest.fixture
def received(monkeypatch, capsys):
    """The flags that reach the film, as it is given them."""

    def of(*arguments):
        reached = {}
        monkeypatch.setitem(commands.COMMANDS, "", lambda **chosen: reached.update(chosen) or "film.mp4")
        status = cli.main(arguments)
        assert (status, *capsys.readouterr()) == (0, "film.mp4\n", "")
        return reached

    return of


def tree(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def command(*arguments, python=()):
    """The command as a process of its own."""
    root = str(Path(cli.__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, *python, "-m", "walk", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def brief(parameter):
    return ascii(parameter)[:60]


# The process


def test_whoever_reads_may_leave():
    """As `walk models | head -1` does."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        done = subprocess.run([sys.executable, "-m", "walk", "models"], stdout=gone, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (141, "")


def test_comments_of_commands_that_are_pasted_into_zsh_or_cmd_are_no_arguments(received):
    heard = received("--prompts", "a fox", "--seeds", "1-3", "#", "one", "prompt,", "several", "noises")
    assert heard["seeds"] == [1, 2, 3]


def test_a_prompt_of_a_sign_hides_no_flags(received):
    assert received("--prompts", "a fox", "#", "--seed", "7")["seed"] == 7


def test_whoever_reads_may_leave_on_windows():
    """Where a write to a pipe that nobody reads is an invalid argument (CPython's `Popen._stdin_write` says so, too)."""
    script = """
        import errno, io, sys
        from walk.__main__ import process
        class Gone(io.RawIOBase):
            def writable(self): return True
            def write(self, data):
                sys.platform = "win32"
                raise OSError(errno.EINVAL, "Invalid argument")
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(Gone()))
        sys.argv = ["walk", "models"]
        process()
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(os.name != "posix", reason="there is no sh")
def test_where_stderr_is_closed_a_refusal_is_its_exit_status_alone():
    """And a film its name: below."""
    done = subprocess.run([*CLOSED, *AB, "--frames", "1"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")


def test_a_stop_while_modules_are_imported_is_no_traceback():
    stop = """
        import sys
        class Stop:
            def find_spec(name, *_):
                if name == "walk.cli":
                    raise KeyboardInterrupt
        sys.meta_path.insert(0, Stop)
        from walk.__main__ import process
        process()
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(stop)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\nwalk: stopped\n")


# Help, and what it costs


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"], [*AB, "--frames", "0", "--help"]])
def test_help_is_the_result_that_was_asked_for(arguments, capsys):
    status = cli.main(arguments)
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    assert out.startswith("walk makes a film that walks through what a text-to-image model knows.\n")


def test_help_names_every_flag_and_fits_a_terminal(capsys):
    cli.main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    assert re.findall(r"^  --([\w-]+)", "\n".join(lines), re.MULTILINE) == [
        name.replace("_", "-") for name in flags.ALL
    ] + ["help"]
    assert re.findall(r"^  walk ([a-z]+)", "\n".join(lines), re.MULTILINE) == [
        name for name in commands.COMMANDS if name
    ]
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("name", [name for name in commands.COMMANDS if name])
def test_each_command_has_a_help_that_fits_a_terminal(name, capsys):
    for arguments in ([name, "--help"], [name, "-h"], [name, "x", "--help"]):
        assert cli.main(arguments) == 0
        out, err = capsys.readouterr()
        assert (out.splitlines()[0], err) == (f"walk {name} {flags.COMMANDS[name].usage}".strip(), "")
        assert max(map(len, out.splitlines())) <= 100


@pytest.mark.parametrize("name", ["preview", "rough", "replay"])
def test_a_command_that_takes_a_films_flags_says_so_in_one_line(name):
    assert "and all the flags of walk --help" in flags.help_text(name)


def test_version_is_told(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"walk {__version__}\n"


def test_a_notebook_in_which_the_command_runs_goes_on():
    run = """
        import runpy, sys
        sys.ps1, sys.argv = "In: ", ["walk", "--version"]
        try:
            runpy.run_module("walk", run_name="__main__")
        except SystemExit as end:
            print("goes on after", end)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(run)], capture_output=True, text=True)
    assert done.stdout == f"walk {__version__}\ngoes on after 0\n"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["--help"], 0), (["--version"], 0), (["--promtps", "a.txt"], 2), ([*AB, "--frames", "1", "--size", "99"], 2)],
)
def test_help_and_what_is_refused_at_once_import_no_heavy_library(arguments, status):
    done = command(*arguments, python=["-X", "importtime"])
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert done.returncode == status
    assert "walk.cli" in imported
    assert imported.isdisjoint({"torch", "diffusers", "transformers", "huggingface_hub", "moviepy", "scipy"})


# A process of its own


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--promtps", "a.txt"], f"there is no flag --promtps; did you mean --prompts? {LIST}"),
        (["--prompts", "nosuch.txt"], f"nosuch.txt does not exist; {FORMAT}"),
    ],
)
def test_a_refusal_is_one_line_on_stderr_and_exit_status_2(arguments, message):
    done = command(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"walk: {message}\n")


@pytest.mark.parametrize("speed", ["even", "path"])
def test_reading_many_frames_again_shows_how_far_it_is(tiny_folder, capsys, monkeypatch, speed):
    command = [*AB, "--frames", "12", "--speed", speed, "--model", str(tiny_folder), "--out", "film.mp4", *CHEAP]
    assert cli.main(command) == 0
    monkeypatch.setattr(progress, "PLAIN_SECONDS", -1)  # tell of every frame
    capsys.readouterr()
    assert cli.main(command) == 0
    told = re.findall(r"reading frames: (\d+) of (\d+) frames", capsys.readouterr().err)
    assert told == [(str(count), "12") for count in range(1, 13)]


@pytest.mark.skipif(os.name != "posix", reason="there is no sh")
def test_where_stderr_is_closed_a_film_is_made_and_the_same_command_again_finds_it_whole(tiny_folder, capsys):
    arguments = [*AB, "--frames", "3", *CHEAP, "--model", str(tiny_folder), "--out", "new/film.mp4"]

    done = subprocess.run([*CLOSED, *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "new/film.mp4\n")
    assert sorted(path.name for path in Path("new").iterdir()) == ["film.mp4", "film.walk"]

    assert cli.main(arguments) == 0
    out, err = capsys.readouterr()
    assert out == "new/film.mp4\n"
    *said, steps = err.splitlines()
    assert said == [
        "2 keyframes, 3 frames, 0.125 s at 24 frames a second",
        "3 of 3 frames are in new/film.walk already",
        "new/film.mp4 is finished already",
    ]
    assert re.fullmatch(
        r"movement, to the eye: the largest step from frame to frame is 1\.\d times the usual; PPL \d+, PDV [\d.]+",
        steps,
    )


def test_who_names_no_model_is_told_of_the_built_in_one(monkeypatch, capsys):
    def stop(*_, **__):
        raise Error("that was it")

    monkeypatch.setattr("walk.run.Run", stop)
    assert cli.main([*AB, "--frames", "3"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "2 keyframes, 3 frames, 0.125 s at 24 frames a second",
        "using toybox, the built-in model, which draws toys; walk models lists others for --model",
        "walk: that was it",
    ]


def test_a_stop_before_the_first_frame_says_so(monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(order, "read_prompts", stop)
    assert cli.main(AB) == 130
    assert capsys.readouterr() == ("", "\nwalk: stopped; nothing was begun, and nothing is lost\n")


def test_what_is_not_the_users_fault_keeps_its_traceback(monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(order, "read_prompts", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(AB)


# What each flag becomes


@pytest.mark.parametrize(
    "prompts",
    [
        ["a red apple", "a green frog"],
        ["it's \"quoted\", isn't it?", "a, b", "[c]", "['d']", "e=f", "-1", "ö | seed=3", "g\nh\\n"],
        ["1984", "007", "1e3", "None", "True", "(1, 2)", "{}"],
        ["a", "a"],
    ],
)
def test_several_prompts_stay_the_texts_that_they_are(received, prompts):
    assert received("--prompts", *prompts) == {"prompts": prompts}
    assert received("--seed", "3", "--prompts", *prompts, "--loop") == {"prompts": prompts, "seed": 3, "loop": True}
    assert received(f"--prompts={prompts[0]}", *prompts[1:]) == {"prompts": prompts}


@pytest.mark.parametrize(
    "prompt",
    ["a.txt", "1984", "007", "1e3", "3,5", "None", "True", "(1, 2)", "{'a': 1}", "[a fox]", "[", "a=b", "🙂", " a"],
)
def test_one_prompt_stays_the_text_that_it_is(received, prompt):
    assert received("--prompts", prompt) == received(f"--prompts={prompt}") == {"prompts": prompt}


def test_a_list_of_prompts_may_be_written_as_python_writes_it(received):
    assert received("--prompts", '["a fox", "it\'s", 1984]') == {"prompts": ["a fox", "it's", "1984"]}


def test_prompts_need_no_flag_where_they_come_first(received):
    assert received("a.txt", "--frames", "9") == {"prompts": "a.txt", "frames": 9}
    assert received("a fox", "an owl", "boats", "--loop") == {"prompts": ["a fox", "an owl", "boats"], "loop": True}
    Path("words").write_text("a fox\nan owl")
    assert received("words") == {"prompts": "words"}


@pytest.mark.parametrize(
    ("given", "seeds"),
    [(["1,2,3"], [1, 2, 3]), (["3-6"], [3, 4, 5, 6]), (["1", "2"], [1, 2]), (["1,", "2"], [1, 2]), (["7 9-9"], [7, 9])],
    ids=str,
)
def test_seeds_are_numbers_or_ranges(received, given, seeds):
    assert received("--seeds", *given, *AB)["seeds"] == seeds


def test_seeds_by_words_may_begin_anywhere(received):
    assert received("--seeds", "words", "--seed", "7", *AB) == {"seeds": "words", "seed": 7, "prompts": AB[1:]}


def test_a_prompt_may_be_the_word_help(received):
    assert received("--prompts", "help", "me") == {"prompts": ["help", "me"]}


def test_a_value_may_begin_with_a_hyphen_after_an_equals_sign(received):
    assert received("--prompts=-a-", "--negative=--b", "--out=-c.mp4") == {
        "prompts": "-a-",
        "negative": "--b",
        "out": "-c.mp4",
    }


@pytest.mark.parametrize(
    ("flag", "text", "value"),
    [
        *[("seed", "0", 0), ("seed", "007", 7), ("seed", str(MAX_SEED), MAX_SEED), ("seed", "-1", -1)],
        *[("seeds", "7", [7]), ("seeds", "1,2,3", [1, 2, 3]), ("seeds", "1, 2, 3", [1, 2, 3])],
        *[("seeds", "[1, 2]", [1, 2]), ("seeds", "(1,2)", [1, 2])],
        *[("negative", "", ""), ("negative", "7", "7"), ("negative", "None", "None"), ("negative", "a, b", "a, b")],
        *[("frames", "200", 200), ("steps", "1", 1), ("width", "64", 64), ("height", "64", 64), ("batch", "8", 8)],
        *[("seconds", "12.5", Fraction(25, 2)), ("seconds", "0.1", Fraction(1, 10))],
        *[("seconds", "1:02.5", Fraction(125, 2)), ("seconds", "1:00:00", Fraction(3600))],
        *[("fps", "25", Fraction(25)), ("fps", "0.5", Fraction(1, 2)), ("fps", "24000/1001", Fraction(24000, 1001))],
        *[("fps", "23.976", Fraction(24000, 1001)), ("fps", "29.97", Fraction(30000, 1001))],
        *[("guidance", "0", 0.0), ("guidance", "7.5", 7.5), ("guidance", ".5", 0.5)],
        *[
            ("path", "smooth", "smooth"),
            ("path", "slerp", "slerp"),
            ("speed", "path", "path"),
            ("codec", "av1", "av1"),
            ("size", "720", 720),
            ("size", "1080X1920", "1080x1920"),
            ("size", "64×48", "64x48"),
            ("quality", "0", 0),
        ],
        *[("model", "1984", "1984"), ("scheduler", "None", "None"), ("device", "cuda:1", "cuda:1")],
        *[("dtype", "float16", "float16"), ("out", "my film.mp4", "my film.mp4"), ("out", "1", "1")],
    ],
)
def test_a_value_follows_its_flag_or_an_equals_sign(received, flag, text, value):
    for arguments in ([f"--{flag}", text], [f"--{flag}={text}"]):
        reached = received(*arguments)
        assert reached == {flag: value}
        assert type(reached[flag]) is type(value)


@pytest.mark.parametrize("flag", ["loop", "ease", "quiet", "no_metadata"])
def test_a_switch_is_on_when_named_unless_it_is_false(received, flag):
    for arguments in ([f"--{flag}"], [f"--{flag}=true"], [f"--{flag}", "True"]):
        assert received(*arguments) == {flag: True}
    for arguments in ([f"--{flag}=false"], [f"--{flag}=False"], [f"--{flag}", "false"]):
        assert received(*arguments) == {flag: False}


# Flags that are refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--promtps", "a"], f"there is no flag --promtps; did you mean --prompts? {LIST}"),
        ([*AB, "--frame", "5"], f"there is no flag --frame; did you mean --frames? {LIST}"),
        ([*AB, "--fram=5"], f"there is no flag --fram; did you mean --frames? {LIST}"),
        ([*AB, "--Frames", "5"], f"there is no flag --Frames; did you mean --frames? {LIST}"),
        ([*AB, "-frames", "5"], f"there is no flag -frames; did you mean --frames? {LIST}"),
        ([*AB, "--num-steps", "5"], f"there is no flag --num-steps; did you mean --steps? {LIST}"),
        ([*AB, "--xyzzy"], "there is no flag --xyzzy; walk --help lists them all"),
        (["--frames", "5"], "--prompts is missing; give a prompt file, or the prompts themselves"),
        (["--loop"], "--prompts is missing; give a prompt file, or the prompts themselves"),
        (["--prompts", "a sign", "owl”"], "owl” has a curly quote, which is a letter like others here; put prompts in straight ones (\"\")"),
        (["--prompts", "'a", "red", "fox'", "'a", "frog'"], "'a has a single quote, which is a letter like others in this shell; put prompts in double ones (\"\")"),
        ([*AB, "--style", "'an", "oil", "{}'"], "--style takes one value, but 'oil' follows ''an'; quote a value with spaces, in double quotes (\"\")"),
        (["a.txt"], "a.txt does not exist; a prompt file is UTF-8 text with one prompt a line"),
        (["--prompts", "“a", "red", "apple”"], "“a has a curly quote, which is a letter like others here; put prompts in straight ones (\"\")"),
        (["replay", "film.mp4", "--negative", "blurry"], "--negative is not for a film that is made again as it was; to change its prompts: walk info FILM > FILM-again.txt, and walk --prompts FILM-again.txt"),
        (["replay", "film.mp4", "--seed", "5"], "--seed is not for a film that is made again as it was; to change its prompts: walk info FILM > FILM-again.txt, and walk --prompts FILM-again.txt"),
        (["prewiev", *AB], "'prewiev' is not a command; prompts come after --prompts; did you mean walk preview?"),
        (["previw", *AB], "'previw' is not a command; prompts come after --prompts; did you mean walk preview?"),
        (["recipe", *AB], "'recipe' is not a command; prompts come after --prompts, each in quotes"),
        (["preview", "--frames", "5"], "--prompts is missing; give a prompt file, or the prompts themselves"),
        (["preview", "word"], "'word' is one too many: walk preview --prompts FILE ..."),
        (["models", "--json"], "there is no flag --json; walk models takes none"),
        (["diff", "film.mp4", "other.mp4", "--json"], "there is no flag --json; walk diff takes none"),
        (["doctor", "extra"], "'extra' is one too many: walk doctor"),
        (["preview", *AB, "--quik"], "there is no flag --quik; did you mean --quick? (walk preview --help lists them all)"),
        ([*AB, "--quick"], "there is no flag --quick; walk preview --quick is a first look"),
        (["seeds"], "--prompts is missing; give a prompt file, or the prompts themselves"),
        (["seeds", "a", "fox"], "these are 2 prompts of one word each: 'a' and 'fox'; put a prompt of several words in quotes"),
        (["seeds", "a fox", "list.txt"], "'list.txt' looks like a file; give one prompt file, or prompts, not both"),
        (["seeds", "a fox", "--loop"], "there is no flag --loop; walk seeds --help lists them all"),
        (["seeds", "a fox", "--count", "0"], f"--count 0 is not valid; give {WHOLE}"),
        (["seeds", "a fox", "--from", "x"], "--from x is not valid; give a whole number"),
        (["info"], "walk info needs a file name: walk info FILM"),
        (["info", "--json"], "walk info needs a file name: walk info FILM"),
        (["info", ""], "walk info needs a file name: walk info FILM"),
        (["replay", "--steps", "5"], "walk replay needs a file name: walk replay FILM"),
        (["replay", "a.mp4", *AB], "--prompts is not for a film that is made again as it was; to change its prompts: walk info FILM > FILM-again.txt, and walk --prompts FILM-again.txt"),
        (["diff", "a.mp4"], "walk diff needs a file name: walk diff FILM FILM"),
        (["diff", "a.mp4", "b.mp4", "c.mp4"], "'c.mp4' is one too many: walk diff FILM FILM"),
        (["prune"], "walk prune needs a run folder: walk prune FOLDER.walk"),
        ([*AB, "--compile", "fast"], "--compile fast is not valid; give on, off or auto"),
        (["prune", "a.walk", "--yes=5"], "--yes takes no value, but '5' follows it"),
        (["a red apple", *AB], "--prompts was given twice"),
        ([""], "'' is not a command; prompts come after --prompts, each in quotes"),
        (["--"], "there is no flag --; walk --help lists them all"),
        ([*AB, "--frames", "5", "--frames", "5"], "--frames was given twice"),
        ([*AB, "--frames=5", "--frames", "6"], "--frames was given twice"),
        ([*AB, *AB], "--prompts was given twice"),
        ([*AB, "--loop", "--loop"], "--loop was given twice"),
        ([*AB, "--frames", "5", "6"], "--frames takes one value, but '6' follows '5'; quote a value with spaces"),
        ([*AB, "--frames=5", "6"], "--frames takes one value, but '6' follows '5'; quote a value with spaces"),
        ([*AB, "--out", "my", "film.mp4"], "--out takes one value, but 'film.mp4' follows 'my'; quote a value with spaces"),
        ([*AB, "--loop", "3"], "--loop takes no value, but '3' follows it"),
        ([*AB, "--loop=3"], "--loop takes no value, but '3' follows it"),
        ([*AB, "--ease", "yes"], "--ease takes no value, but 'yes' follows it"),
        ([*AB, "--quiet="], "--quiet takes no value, but '' follows it"),
        ([*AB, "--loop", "true", "false"], "--loop takes no value, but 'false' follows it"),
        ([*AB, "--quiet", "false", "a blue whale"], "--quiet takes no value, but 'a blue whale' follows it"),
        ([*AB, "--seed", "1", "--seeds", "1,2"], "--seed and --seeds were both given; --seed counts up from keyframe to keyframe, --seeds lists them"),
    ],
    ids=brief,
)  # fmt: skip
def test_flags_that_are_not_understood_are_refused(refusal, arguments, message):
    assert refusal(*arguments) == message


EXPECTED = {
    **{
        "prompts": "a prompt file, or prompts",
        "seed": "a whole number",
        "seeds": "whole numbers with commas between, 1-8, or words",
    },
    **{
        "negative": 'text, or "" for none',
        "frames": WHOLE,
        "seconds": TIME,
        "fps": FPS,
        "path": "smooth or slerp",
        "speed": "even, constant or path",
        "model": "a model",
    },
    **{"steps": WHOLE, "guidance": "a number, 0 or more", "scheduler": "a name", "width": WHOLE, "height": WHOLE},
    **{
        "device": "a name",
        "dtype": "a name",
        "batch": WHOLE,
        "out": "a file name",
        "codec": "a codec",
        "size": "its short side's pixels, such as 1080, or both sides, such as 1080x1920",
        "quality": "a whole number",
    },
}


@pytest.mark.parametrize(
    ("command", "meant"),
    [
        ("walk", {"out": "name output_dir film -o", "frames": "num_interpolation_steps n-frames -n", "model": "checkpoint model_path"}),
        ("walk", {"size": "resolution aspect", "upscale": "upsample", "decoder": "vae", "start": "audio_start_sec", "fps": "frame_rate", "audio": "song", "low_memory": "lowvram"}),
        ("walk", {"steps": "num_inference_steps ddim_steps", "dtype": "torch_dtype fp16", "width": "-W"}),
        ("walk", {"clip_skip": "CLIP_stop_at_last_layers", "dtype": "no-half", "negative": "n_prompt", "upscale": "hires-fix hr-scale"}),
        ("walk", {None: "check format xyzzy strength end preset tiled xformers silent"}),
        ("seeds", {"count": "num_images -n", "out": "output", None: "loop preview continue n_frames"}),
        ("bench", {"frames": "num_frames", None: "prompt_file seeds sound resume"}),
    ],
)  # fmt: skip
def test_flags_of_other_tools_are_told_ours_and_only_those(command, meant):
    for ours, theirs in meant.items():
        for name in theirs.split():
            flag = name if name[0] == "-" else f"--{name}"
            words = ["a fox"] if command == "seeds" else []
            with pytest.raises(Error) as refused:
                flags.checked([*words, flag], command.replace("walk", ""))
            hint = str(refused.value).partition("; ")[2]
            shown = ours and ours.replace("_", "-")
            assert hint.startswith(f"did you mean --{shown}? (" if ours else "walk "), (command, name, hint)


def test_what_no_flag_is_for_is_told_in_words(refusal):
    again = "run the same command again to go on after a stop"
    assert refusal(*AB, "--resume") == f"there is no flag --resume; {again}"
    for name, way in (
        ("xformers", "walk computes attention as torch does, which is fast without a flag"),
        ("no-half-vae", "walk decodes in float32 where a VAE would overflow in float16"),
        ("batch-count", "walk seeds PROMPT --count N draws a prompt with several seeds"),
    ):
        assert refusal(*AB, f"--{name}") == f"there is no flag --{name}; {way}"
    dashes = "a prompt that begins with a dash goes into a file, one a line"
    assert refusal("--prompts", "-a fox", "an owl") == f"there is no flag -a fox; {dashes}"
    looks = "walk preview --prompts FILE ... looks before the long render"
    assert refusal(*AB, "--preview") == f"there is no flag --preview; {looks}"
    moves = (
        "walk moves through what a model knows rather than moving a camera over its pictures, and makes each of them"
    )
    for flag in ("--zoom", "--rotate", "--strength", "--init", "--controlnet"):
        resembles = "--image FILE has them resemble a picture"
        assert refusal(*AB, flag, "0.5") == f"there is no flag {flag}; {moves} from noise; {resembles}"
    for flag in ("--init-image", "--ip-adapter-image"):
        assert refusal(*AB, flag, "a.png").startswith(f"there is no flag {flag}; did you mean --image?")


@pytest.mark.parametrize(
    "prompt",
    ["a neon sign that says “open”", "“open” on a sign", "“open”", "a screen of 27”", "„offen“", "dogs’ “home”"],
)
def test_curly_quotes_that_no_shell_has_split_are_letters(received, prompt):
    assert received("--prompts", prompt, "a frog")["prompts"] == [prompt, "a frog"]


@pytest.mark.parametrize(
    "prompts", [["cats'", "dogs'"], ["'fox'", "a frog"], ["'tis spring", "cats'"], ["dogs'", "'twas"]]
)
def test_single_quotes_that_no_shell_has_split_are_letters(received, prompts):
    assert received("--prompts", *prompts)["prompts"] == prompts


@pytest.mark.parametrize("flag", EXPECTED)
def test_a_flag_without_its_value_is_refused(refusal, flag):
    message = f"--{flag} needs a value; give {EXPECTED[flag]}"
    assert refusal(f"--{flag}") == message
    assert refusal(f"--{flag}", "--loop") == message
    if flag != "negative":  # of which nothing is something
        assert refusal(f"--{flag}", "") == refusal(f"--{flag}=") == message


@pytest.mark.parametrize(
    ("flag", "texts"),
    [
        *[
            (flag, "0 -1 -0 2.5 nan inf 1e3 1,000 x")
            for flag in ("frames", "steps", "width", "height", "batch", "size")
        ],
        ("seed", "1.5 nan inf 1e3 x 0x10 1,2"),
        ("seeds", "word words,1 1.5 nan 1, ,1 1,,2 a,b 1;2 3-1 1-2-3 1-99999 1-99999999999999999999 []"),
        ("seconds", "0 0.0 0:00 -1 nan inf 1e3 3:75 1s x"),
        ("fps", "0 0.0 0/5 -24 nan inf 1e3 24/0 24/1.001 x"),
        ("guidance", "-1 nan inf 1e3 7,5 x"),
        ("quality", "17.5 nan inf x"),
        ("path", "straight smoothly 0"),
        ("speed", "fast evenly 2"),
    ],
)
def test_a_value_that_a_flag_cannot_have_is_refused(refusal, flag, texts):
    for text in texts.split():
        message = f"--{flag} {text} is not valid; give {EXPECTED[flag]}"
        assert refusal(*AB, f"--{flag}", text) == message
        assert refusal(*AB, f"--{flag}={text}") == message


# Values that do not fit


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "1001"], "steps 1001 is out of range; it is a whole number from 1 to 1000"),
        (["--batch", "1025"], "batch 1025 is out of range; it is a whole number from 1 to 1024"),
        (["--width", "4"], "width 4 is out of range; it is a whole number from 8 to 8192"),
        (["--height", "9000"], "height 9000 is out of range; it is a whole number from 8 to 8192"),
        (["--guidance", "100.5"], "guidance 100.5 is out of range; it is a number from 0 to 100"),
        (["--fps", "1001"], "fps 1001 is out of range; it is a number from 0.01 to 1000"),
        (["--bpm", "120", "--seconds", "99999999"], "2399999976 frames are too many; the limit is 1000000"),
        (["--style", "#red {}"], "style '#red {}' begins with #, which makes a prompt a comment"),
        (["--frames", "1000001"], "1000001 frames are too many; the limit is 1000000"),
        (["--seed", "-1"], f"seed -1 is out of range; seeds are whole numbers from 0 to {MAX_SEED}, and none is drawn at random"),
        (["--seeds", "1,-2"], f"seed -2 is out of range; seeds are whole numbers from 0 to {MAX_SEED}"),
        (["--seeds", "1,2,3"], "2 prompts and 3 seeds; give one seed for each prompt, one seed for all, or several seeds for one prompt"),
        (["--size", "511"], "size 511 is not possible; the film's short side is an even number from 16 to 8192"),
        (["--size", "14"], "size 14 is not possible; the film's short side is an even number from 16 to 8192"),
        (["--size", "1080x1921"], "size 1080x1921 is not possible; each of the film's sides is an even number from 16 to 8192"),
        (["--size", "8194"], "size 8194 is not possible; the film's short side is an even number from 16 to 8192"),
        (["--quality", "60"], "quality 60 is out of range; for h264 it is a whole number from 1 (best) to 51"),
        (["--quality", "-1"], "quality -1 is out of range; for h264 it is a whole number from 1 (best) to 51"),
        (["--dtype", "float64"], "dtype 'float64' is unknown; it is auto, float32, float16, bfloat16"),
        (["--quality", "5", "--out", "a.gif"], "quality 5 has no meaning for gif; leave it out"),
        (["--quality", "64", "--out", "a.webm"], "quality 64 is out of range; for vp9 it is a whole number from 0 (best) to 63"),
        (["--negative", "blurry | text"], "negative prompt 'blurry | text' has a bar or control characters; it is plain text"),
        (["--negative", "a\x1b[2J"], "negative prompt 'a\\x1b[2J' has a bar or control characters; it is plain text"),
        (["--device", "gpu"], "device 'gpu' is unknown; it is auto, cpu, cuda, cuda:1 or mps"),
    ],
    ids=brief,
)  # fmt: skip
def test_a_value_out_of_range_is_refused(refusal, arguments, message):
    assert refusal(*AB, *arguments) == message


@pytest.mark.parametrize(
    ("out", "codec", "told"),
    [
        ("a.mp4", "vp9", r"in \.mp4; it goes into \.webm"),
        ("a.mp4", "HAP", r"in \.mp4; it goes into \.mov"),
        ("a.gif", "h264", r"in \.gif; it goes into \.mp4 or \.mov"),
        ("a/", "h264", r"in a folder; it goes into \.mp4 or \.mov"),
        ("a.mp4", "x264", r"in \.mp4; did you mean h264\?"),
        ("a.mp4", "magic", r"in \.mp4; this ffmpeg has h264, .* for it"),
    ],
)
def test_a_codec_that_the_format_has_not_is_refused_with_where_it_goes_or_with_what_there_is(refusal, out, codec, told):
    said = refusal(*AB, "--out", out, "--codec", codec)
    assert re.fullmatch(f"codec {codec.lower()} is not possible {told}", said)


TIGHT = "give them more room: a later time, more frames, or a higher fps"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a", "b", "c", "--frames", "2"], "3 keyframes do not fit in 2 frames; give at least one frame for each"),
        (["a", "b", "--frames", "1"], "2 keyframes do not fit in 1 frame; give at least one frame for each"),
        (["a", "b", "--seconds", "0.01"], "2 keyframes do not fit in 0 frames (0.01 s at 24 a second); give at least one frame for each"),
        (["a", "--seeds", "1,2,3", "--frames", "2", "--loop"], "3 keyframes do not fit in 2 frames; give at least one frame for each"),
        (["a", "b", "--frames", "5", "--seconds", "9"], "5 frames and 9 seconds (216 frames) do not agree; give one of them"),
        (["a", "b", "--frames", "25", "--seconds", "1:00", "--fps", "25"], "25 frames and 60 seconds (1500 frames) do not agree; give one of them"),
        (["a", "b | time=20", "--frames", "25"], "keyframe 2 ('b') is at 20 s, frame 480, but the film is 1.04 s long, 25 frames; give an earlier time, or a longer film"),
        (["a", f"{'b' * 50} | time=1:00", "--seconds", "2.5"], f"keyframe 2 ('{'b' * 39}…') is at 1:00, frame 1440, but the film is 2.5 s long, 60 frames; give an earlier time, or a longer film"),
        (["a", "b | frame=24 | until=99", "c", "--seconds", "3"], "keyframe 2 ('b') rests until 1:39, frame 2376, but the film is 3 s long, 72 frames; give an earlier time, or a longer film"),
        (["a", "b | time=0.5", "c | frame=6"], "keyframe 3 ('c') is at 0.25 s, before keyframe 2 ('b') at 0.5 s; times must increase from keyframe to keyframe"),
        (["a", "b | beat=3 | until=0.5", "--bpm", "60"], "keyframe 2 ('b') is to rest until 0.5 s, which is not after beat 3"),
        (["a", "b | frame=48 | until=0.5"], "keyframe 2 ('b') is to rest until 0.5 s, which is not after frame 48"),
        (["a", "b | time=12:30:00"], "1080001 frames are too many, since keyframe 2 ('b') comes at 750:00; the limit is 1000000"),
        (["a", "b | time=0.01", "c"], f"keyframe 1 ('a') and keyframe 2 ('b') would be shown on the same frame; {TIGHT}"),
        (["a", "b | time=1", "c | time=1.01"], f"keyframe 2 ('b') and keyframe 3 ('c') would be shown on the same frame; {TIGHT}"),
        (["a"], "a walk needs two keyframes or more; give another prompt, or several seeds for this one (--seeds 1-3)"),
        (["a", "--seeds", "7"], "a walk needs two keyframes or more; give another prompt, or several seeds for this one (--seeds 1-3)"),
    ],
    ids=brief,
)  # fmt: skip
def test_keyframes_that_do_not_fit_the_film_are_refused(refusal, arguments, message):
    assert refusal("--prompts", *arguments) == message


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (["nosuch.txt"], f"nosuch.txt does not exist; {FORMAT}"),
        (
            ["./folder"],
            "folder is a folder without pictures; give a prompt file, or a folder of .png, .jpg or .webp files",
        ),
        (["empty.txt"], f"empty.txt has nothing in it; {FORMAT}"),
        (
            ["bad.txt"],
            "bad.txt:2: unknown setting sede=; did you mean seed=? (settings are seed=, time=, beat=, bar=, frame=, until=, pace=, pulse=, negative= and image=)",
        ),
        (["a fox", "bad.txt"], "'bad.txt' looks like a file; give one prompt file, or prompts, not both"),
        (["a fox", ""], "prompt 2 is empty"),
        (["a fox", "# a frog"], "prompt 2 begins with #, which makes it a comment"),
        (["a fox", "a frog\x1b[2J"], "prompt 2: 'a frog\\x1b[2J' has control characters"),
        (["~nosuchuser/a.txt"], f"~nosuchuser/a.txt does not exist; {FORMAT}"),
    ],
    ids=brief,
)
def test_prompts_that_are_none_are_refused(refusal, prompts, message):
    Path("folder").mkdir()
    Path("empty.txt").touch()
    Path("bad.txt").write_text("a fox\na frog | sede=3\n")
    assert refusal("--prompts", *prompts) == message


@pytest.mark.parametrize("prompt", ["a fox in the snow, " * 20, "雪の中の狐、" * 20], ids=brief)
def test_a_prompt_may_be_longer_than_a_file_name(refusal, prompt):
    # A size that is refused only after prompts, seeds and the film's name have been understood.
    message = "size 511 is not possible; the film's short side is an even number from 16 to 8192"
    assert refusal("--prompts", prompt, "--seeds", "1,2", "--size", "511") == message


# The film's name


@pytest.mark.parametrize(
    ("prompts", "name"),
    [
        (["prompts.txt"], "prompts.mp4"),
        (["sub/my.prompts.txt"], "my.prompts.mp4"),
        (["~/prompts.txt"], "prompts.mp4"),
        (["A red apple!", "a green frog"], "a-red-apple-a-green-frog.mp4"),
        (["A Fox | seed=3", "b"], "a-fox-b.mp4"),
        (["a fox | oil on canvas | seed=3", "b"], "a-fox-oil-on-canvas-b.mp4"),
        (["ein Fuß im Schnee", "b"], "ein-fuß-im-schnee-b.mp4"),
        (["a " * 40, "b"], f"{'a-' * 27}f11dd5.mp4"),
        (["🙂", "..."], "film.mp4"),
        (["black/white or so", "b"], "black-white-or-so-b.mp4"),
    ],
    ids=brief,
)
def test_a_film_without_a_name_gets_that_of_its_prompts_and_overwrites_none(
    refusal, monkeypatch, tmp_path, prompts, name
):
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    Path("sub").mkdir()
    for file in ("prompts.txt", "sub/my.prompts.txt"):
        Path(file).write_text("a fox\na frog")
    Path(name).write_bytes(b"holidays")
    folder = Path(name).with_suffix(".walk")
    message = f"{name} exists and has no {folder} beside it, so it is not overwritten; move it, or give another --out"
    assert refusal("--prompts", *prompts) == message


def test_a_folder_where_another_walk_is_at_work_is_refused_before_anything_is_loaded(refusal):
    Path("film.walk").mkdir()
    with filelock.FileLock("film.walk/lock"):
        message = "another walk is at work in film.walk; wait for it, or give another --out"
        assert refusal(*AB, "--out", "film.mp4") == message


def test_a_film_that_walk_did_not_make_is_left_as_it_is(refusal):
    Path("film.mp4").write_bytes(b"holidays")
    message = "film.mp4 exists and has no film.walk beside it, so it is not overwritten; move it, or give another --out"
    assert refusal(*AB, "--out", "film.mp4") == message
    Path("film.walk").write_text("a file, not a run")
    assert refusal(*AB, "--out", "film.mp4") == message
    assert Path("film.mp4").read_bytes() == b"holidays"


@pytest.mark.parametrize(
    ("out", "message"),
    [
        *[(name, f"{name}: a film's name ends in .mp4, .webm, .mov or .gif; for a folder of PNG files, write {name}/") for name in ("film", "sub/film")],
        *[(name, f"{name}: a film's name ends in .mp4, .webm, .mov or .gif; a folder of PNG files is written FOLDER/") for name in ("film.avi", "film.gif.png", ".mp4", "f.", "sub/..")],
        ("folder", "--out folder is a folder; give the film's name, such as folder/film.mp4, or folder/ for PNG files"),
        ("folder/", "folder exists and has no folder.walk beside it, so it is not overwritten; move it, or give another --out"),
        *[(name, f"--out {name}: the name of a folder of PNG files has no dot in it; give {better}, say") for name, better in (("a.v2/", "a_v2/"), ("film.mp4/", "film_mp4/"))],
        ("./", "--out . is a folder; give the film's name, such as film.mp4, or frames/ for PNG files"),
        (".", "--out . is a folder; give the film's name, such as film.mp4, or frames/ for PNG files"),
        ("folder.mp4", "--out folder.mp4 is a folder; give the film's name, such as folder.mp4/film.mp4, or folder.mp4/frames/ for PNG files"),
        ("file/film.mp4", "file/film.mp4 cannot be written: {here}/file is not a folder that you may write to; give another --out"),
        ("file/a/film.mp4", "file/a/film.mp4 cannot be written: {here}/file is not a folder that you may write to; give another --out"),
    ],
    ids=brief,
)  # fmt: skip
def test_a_film_that_cannot_be_written_is_refused_before_it_is_made(refusal, tmp_path, out, message):
    for name in ("folder", "folder.mp4"):
        Path(name).mkdir()
    Path("folder/000000.png").write_text("kept")
    Path("file").write_text("kept")
    assert refusal(*AB, "--out", out) == message.format(here=tmp_path)


@pytest.mark.parametrize("more", [[], ["--frames", "5"], ["--speed", "path"]], ids=str)
def test_a_run_folder_whose_place_is_taken_is_refused_before_the_model_is_loaded(monkeypatch, capsys, more):
    from walk import models

    monkeypatch.setattr(models, "load", lambda *_: pytest.fail("this was not refused"))
    Path("film.walk").write_text("kept")
    assert cli.main([*AB, *more, "--quiet", "--out", "film.mp4"]) == 2
    message = "film.walk cannot be written (Not a directory); give another --out"
    assert capsys.readouterr() == ("", f"walk: {message}\n")
    assert tree(Path()) == {Path("film.walk"): b"kept"}


def test_a_run_folder_of_somebody_elses_is_refused_before_anything_is_loaded(refusal, monkeypatch):
    Path("film.walk").mkdir()
    access = os.access  # root may do everything
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "film.walk" and access(path, mode))
    message = "film.walk cannot be written (Permission denied); give another --out"
    assert refusal(*AB, "--out", "film.mp4") == message


@pytest.mark.parametrize("arguments", [[*AB], ["check", "film.mp4"], ["beats", "song.wav"]], ids=lambda given: given[0])
def test_where_there_is_no_room_for_temporary_files_that_is_said(refusal, monkeypatch, arguments):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nosuchfolder"])
    assert refusal(*arguments).startswith("there is no room for temporary files")


@pytest.mark.parametrize("out", ["~nosuchuser/film.mp4", f"{'x' * 300}.mp4", f"{'x' * 217}.mp4"], ids=brief)
def test_a_film_whose_name_the_system_cannot_have_is_refused_without_a_traceback(refusal, out):
    assert refusal(*AB, "--out", out).startswith(f"{out} cannot be written")


@pytest.mark.parametrize(
    "arguments",
    [
        ["x" * 300],
        [*AB, "--run", f"{'x' * 300}.walk"],
        ["--prompts", f"{'x' * 300}.mp4"],
        ["prune", f"{'x' * 300}.walk"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_other_names_that_the_system_cannot_have_are_refused_too(refusal, arguments):
    assert "x" * 300 in refusal(*arguments)


@pytest.mark.parametrize(
    ("words", "means"),
    [
        (["--lora", "a:0.5", "--lora", "b"], {"lora": "a:0.5,b"}),
        (["--lora", "a:0.5", "b"], {"lora": "a:0.5,b"}),
        (["--lora", "none"], {"lora": ""}),
        (["--scheduler", "own"], {"scheduler": None}),
        (["--dtype", "fp16"], {"dtype": "float16"}),
        (["--dtype", "BF16"], {"dtype": "bfloat16"}),
    ],
    ids=" ".join,
)
def test_what_is_meant_is_understood(monkeypatch, words, means):
    reached = {}
    monkeypatch.setitem(commands.COMMANDS, "", lambda **chosen: reached.update(chosen) or "film.mp4")
    assert cli.main([*AB, *words]) == 0
    assert {name: reached[name] for name in means} == means


# What only the model and the machine know


@pytest.fixture
def no_accelerator(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.usefixtures("no_accelerator")
@pytest.mark.parametrize("device", ["cuda", "cuda:1", "cuda:x", "mps", "cpu:1"])
def test_a_device_that_is_not_there_is_refused(refusal, device):
    assert refusal(*AB, "--device", device) == f"there is no device {device} here; there is cpu"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--width", "100"], "width 100 is not possible with this model; nearest are 96 and 104 (multiples of 8)"),
        (["--height", "133"], "height 133 is not possible with this model; nearest are 128 and 136 (multiples of 8)"),
        (["--width", "9"], "width 9 is not possible with this model; nearest are 8 and 16 (multiples of 8)"),
    ],
)
def test_a_size_that_the_model_cannot_make_is_refused_with_those_that_it_can(refusal, arguments, message):
    assert refusal(*AB, *arguments) == message


def test_options_with_which_no_scheduler_can_be_made_are_refused(refusal):
    message = refusal(*AB, "--scheduler", "Euler:num_train_timesteps=0")
    assert message.startswith("EulerDiscreteScheduler does not fit this model: ")
    assert message.endswith("; give another --scheduler")


def test_a_scheduler_that_does_not_fit_the_model_is_refused_with_all_that_do(refusal):
    for name in ("Eulr", "FlowMatchEulerDiscreteScheduler", "1"):
        message = refusal(*AB, "--scheduler", name)
        start, names = re.split("[Tt]hese fit: ", message)
        assert start.startswith(f"scheduler '{name}' is unknown or does not fit this model; ")
        assert ("did you mean Euler" in start) == ("Eul" in name)
        assert {"Euler a", "DPM++ 2M", "DDIM", "Euler", "UniPC"} < set(names.split(", "))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("folder", f"folder is a folder without a model_index.json; {MODEL}"),
        ("./folder", f"folder is a folder without a model_index.json; {MODEL}"),
        ("file", f"file is a file; {MODEL}"),
        ("file.safetensors", "file.safetensors is damaged (it does not begin as safetensors files do)"),
        *[(name, f"there is no model '{name}' here; {MODEL}") for name in ("nosuch", "./nosuch", "/no/such", "a/b/c", "~/x")],
        ("https://civitai.com/models/1", "https://civitai.com/models/1 is an address; download its file, and give that as --model"),
    ],
    ids=brief,
)  # fmt: skip
def test_a_model_that_is_not_there_is_refused(refusal, model, message):
    Path("folder").mkdir()
    for name in ("file", "file.safetensors"):
        Path(name).touch()
    assert refusal(*AB, "--model", model) == message


@pytest.mark.parametrize("model", ["walk-tests/no-such-model", "walk-tests/no-such-model@v2"])
def test_a_model_of_the_hub_is_refused_at_once_while_the_hub_is_off(refusal, monkeypatch, model):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert refusal(*AB, "--model", model) == (
        "walk-tests/no-such-model is not on this machine and the hub is switched off (HF_HUB_OFFLINE); "
        "go online, or choose a model that is here (toybox is built in)"
    )


@pytest.mark.parametrize(
    "model", ["org/name.git", "org/na--me", "org/-name", "models/..", "x" * 300, "~nosuchuser/x"], ids=brief
)
def test_a_model_whose_name_the_hub_or_the_system_cannot_have_is_refused_like_any_other(refusal, model):
    assert refusal(*AB, "--model", model) == f"there is no model '{model}' here; {MODEL}"


# What is told before the work


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--frames", "5"], "2 keyframes, 5 frames, 0.208 s at 24 frames a second"),
        ([], "2 keyframes, 49 frames, 2.04 s at 24 frames a second"),
        (["--loop"], "2 keyframes, 96 frames, 4 s at 24 frames a second"),
        (["--fps", "23.976"], "2 keyframes, 49 frames, 2.04 s at 23.976 frames a second"),
        (["--fps", "24000/1001"], "2 keyframes, 49 frames, 2.04 s at 23.976 frames a second"),
        (["--seconds", "1:00", "--fps", "12.5"], "2 keyframes, 750 frames, 1:00 at 12.5 frames a second"),
    ],
    ids=brief,
)
def test_the_film_is_told_in_numbers_before_it_is_made(capsys, arguments, line):
    assert cli.main([*AB, *arguments, "--model", "./nosuch"]) == 2
    assert capsys.readouterr().err.splitlines()[0] == line


def test_the_length_of_a_long_film_is_not_told_in_powers_of_ten(capsys):
    assert cli.main([*AB, "--seconds", "20:00", "--fps", "2", "--model", "./nosuch"]) == 2
    assert "e+" not in capsys.readouterr().err.splitlines()[0]


def test_quiet_leaves_nothing_but_the_result_or_the_error(capfd, tiny_folder):
    """Of libraries too, which may write for themselves."""
    assert cli.main([*AB, "--quiet", "--model", "./nosuch"]) == 2
    assert capfd.readouterr() == ("", f"walk: there is no model './nosuch' here; {MODEL}\n")
    film = [*AB, "--frames", "3", *CHEAP, "--model", str(tiny_folder), "--out", "film.mp4"]
    assert cli.main([*film, "--quiet"]) == 0
    assert capfd.readouterr() == ("film.mp4\n", "")


def test_an_error_at_work_says_how_much_of_it_is_kept(monkeypatch, capsys, tiny_folder):
    from walk.run import Run

    save, left = Run.save, [1]

    def fail(*arguments):
        if not left:
            raise Error("the disk is full")
        left.pop()
        save(*arguments)

    monkeypatch.setattr(Run, "save", fail)
    model = ["--model", str(tiny_folder)]
    assert cli.main([*AB, "--frames", "3", *CHEAP, *model, "--quiet", "--out", "film.mp4"]) == 2
    assert capsys.readouterr() == (
        "",
        "walk: the disk is full; 1 of 3 frames are safe in film.walk; run the same command to go on\n",
    )


def test_a_file_whose_name_begins_like_a_flag_is_told_how_to_be_written(refusal):
    Path("-p.mp4").write_bytes(b"")
    assert refusal("info", "-p.mp4") == "-p.mp4 begins like a flag; a file of that name is written ./-p.mp4"


def test_a_model_that_cannot_be_written_down_is_refused(refusal):
    message = "model './mod\\udcc3l' is not UTF-8 text; give its file another name"
    assert refusal(*AB, "--model", "./mod\udcc3l") == message


def test_a_film_in_place_of_a_prompt_file_is_said_to_be_none(refusal):
    Path("film.mp4").write_bytes(b"\0 film")
    assert (
        refusal("film.mp4")
        == "film.mp4 is not a prompt file; if it is a film, walk info film.mp4 tells its prompts, and walk replay film.mp4 makes it again"
    )


@pytest.mark.parametrize(
    ("words", "flags"),
    [(["help"], ["--help"]), (["help", "seeds"], ["seeds", "--help"]), (["version"], ["--version"])],
    ids=str,
)
def test_help_and_version_may_be_asked_for_in_words(capsys, words, flags):
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert cli.main(flags) == 0
    assert said == capsys.readouterr().out != ""

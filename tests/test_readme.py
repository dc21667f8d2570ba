"""README, the help and the code agree."""

import re
import runpy
import shlex
import statistics
from pathlib import Path

import pytest

from walk import __version__, flags, probe, read_prompts
from walk.check import check

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_readme_shows_the_help_as_it_is():
    assert flags.help_text() + "\n" in blocks("text")


@pytest.mark.parametrize(
    "line", [line for block in blocks("sh") for line in block.splitlines() if re.search(r"(^|&& )walk ", line)]
)
def test_every_command_in_readme_is_understood(line):
    _, *words = shlex.split(line.split("&&")[-1].split(" > ")[0], comments=True)
    name = words[0] if words[0] in flags.COMMANDS else ""
    flags.checked(words[1:] if name else words, name)


def test_the_code_in_readme_makes_an_even_film_and_a_keyframe(tmp_path, monkeypatch, capsys):
    once, code, more = blocks("python")
    (tmp_path / "examples").symlink_to(ROOT / "examples", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(once.replace("frames=200", "frames=12"), names)
    assert names["film"].path == Path("night.mp4")
    capsys.readouterr()
    exec(code.replace("frames=200", "frames=12"), names)
    assert "12 of 12 frames are in night.walk already" in capsys.readouterr().err
    assert len(probe.timestamps(Path("night.mp4"))[0]) == 12
    steps = check(names["film"]).steps  # as README says of the film of its first lines
    assert max(steps) < 3 * statistics.median(steps)
    exec(more, names)
    assert names["half"].prompt.startswith("half an owl (tensors ")


@pytest.mark.parametrize(
    ("name", "shorter"),
    [("library", {"frames=32": "frames=4"}), ("own_model", {"frames=48": "frames=12", "SIDE = 256": "SIDE = 64"})],
)
def test_the_examples_make_their_films_and_go_on_with_them(tmp_path, monkeypatch, name, shorter):
    monkeypatch.chdir(tmp_path)
    code = (ROOT / "examples" / f"{name}.py").read_text("utf-8")
    for usual, small in shorter.items():
        assert code.count(usual) == 1
        code = code.replace(usual, small)
    Path("example.py").write_text(code, "utf-8")
    before = []
    for _ in range(2):
        runpy.run_path("example.py", run_name="__main__")
        (made,) = tmp_path.glob("*.mp4")
        assert len(probe.timestamps(made)[0]) == (4 if name == "library" else 12)
        before.append(sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.rglob("*.png")))
    assert before[0] == before[1]


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.txt")), ids=lambda path: path.name)
def test_every_example_is_a_prompt_file(path):
    assert len(read_prompts(path)) >= 3


def test_the_changelog_knows_this_version():
    assert re.search(rf"^## {re.escape(__version__)}\b", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)

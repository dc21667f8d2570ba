"""The fences between the modules (see the file tree in README)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "walk"
MODULES = sorted(path.stem for path in PACKAGE.glob("[!_]*.py"))

# Who may import a library; whoever is not named here may not.
FENCES = {
    "torch": {
        *("geometry", "given", "graphs", "layout", "loading", "machine", "models", "offload", "render", "schedule"),
    },
    "diffusers": {"hub", "loading"},
    "transformers": {"loading"},
    "huggingface_hub": {"hub", "loading"},
    "subprocess": {"ffmpeg"},
    "gguf": {"loading"},
    "moviepy": {"check"},
    "scipy": {"audio"},
    "soxr": {"excerpts"},
    "imageio_ffmpeg": {"ffmpeg"},
    "fire": {"cli"},
    "isal": {"png"},
    "tqdm": {"cli", "progress"},
}
# What each module may know of the others: only what is below it.
BELOW = {
    "digests": set(),
    "emphasis": set(),
    "files": set(),
    "text": set(),
    "lyrics": set(),
    "keyframes": {"emphasis", "files", "lyrics", "text"},
    "pace": set(),
    "progress": set(),
    "settings": set(),
    "timeline": {"keyframes", "text"},
    "geometry": set(),
    "graphs": set(),
    "layout": set(),
    "machine": {"settings"},
    "notes": {"emphasis", "hub", "settings", "text"},
    "catalogue": {"settings"},
    "hub": {"catalogue", "digests", "families", "settings"},
    "families": set(),
    "samplers": set(),
    "loading": {"digests", "families", "hub", "machine", "samplers", "schedule", "settings"},
    "offload": set(),
    "schedule": set(),
    "models": {
        *("catalogue", "digests", "emphasis", "families", "graphs", "hub", "keyframes", "layout", "loading"),
        *("machine", "notes", "offload", "schedule", "settings"),
    },
    "given": {"keyframes", "models", "settings"},
    "render": {"geometry", "machine", "models", "timeline"},
    "recipe": {"keyframes", "settings", "text"},
    "png": set(),
    "manifest": {"keyframes", "settings", "timeline"},
    "run": {"files", "manifest", "png", "settings", "timeline"},
    "sheet": {"text", "timeline"},
    "speed": {"timeline"},
    "gif": {"files"},
    "ffmpeg": {"timeline"},
    "formats": {"ffmpeg", "text"},
    "films": {"ffmpeg", "gif"},
    "sounds": {"ffmpeg", "text", "timeline"},
    "video": {"ffmpeg", "files", "films", "formats", "gif", "sounds", "text", "timeline"},
    "audio": {"sounds"},
    "beatfile": {"audio", "files", "text"},
    "excerpts": {"sounds"},
    "music": {
        *("audio", "beatfile", "digests", "excerpts", "files", "pace", "progress", "sounds", "text"),
        "timeline",
    },
    "check": {"ffmpeg", "films", "speed", "text"},
    "bench": {"keyframes", "machine", "models", "render", "run", "timeline"},
    "doctor": {"ffmpeg", "hub", "machine", "models"},
    "film": {"digests", "films", "recipe", "run", "sounds", "video"},
    "flags": {"formats", "keyframes", "pace", "settings", "text", "timeline"},
    "outlook": {"settings", "text", "timeline"},
    "order": {
        *(
            "audio",
            "files",
            "film",
            "films",
            "flags",
            "formats",
            "keyframes",
            "lyrics",
            "manifest",
            "music",
            "pace",
            "png",
            "progress",
        ),
        *("recipe", "run", "sounds", "text", "timeline", "video"),
    },
    "api": {"cli", "keyframes", "models"},
    "lazy": {"bench", "keyframes", "machine", "manifest", "models", "progress", "render", "run", "text"},
    "work": {"lazy", "models", "progress", "render", "run", "speed", "timeline"},
}


def imported(module):
    """Every module that one imports, anywhere in its code."""
    names = set()
    for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("module", MODULES)
def test_heavy_libraries_stay_behind_their_fences(module):
    libraries = {name.split(".")[0] for name in imported(module)}
    assert not {name for name, allowed in FENCES.items() if module not in allowed} & libraries


def test_every_module_but_the_command_which_may_know_all_has_its_place():
    assert sorted([*BELOW, "cli"]) == MODULES


@pytest.mark.parametrize("module", BELOW)
def test_imports_point_down(module):
    known = {name.split(".")[1] for name in imported(module) if name.startswith("walk.")} & set(MODULES)
    assert known <= BELOW[module]


@pytest.mark.parametrize("module", [m for m in MODULES if m not in ("cli", "progress")])
def test_only_the_command_prints_and_what_shows_progress(module):
    calls = [
        node.func
        for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text("utf-8")))
        if isinstance(node, ast.Call)
    ]
    assert not [call for call in calls if isinstance(call, ast.Name) and call.id == "print"]


def test_importing_walk_imports_nothing_heavy():
    script = "import sys, walk; print(sorted({'torch', 'diffusers', 'transformers', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip() == "[]"

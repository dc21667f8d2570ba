"""The fences between the modules (see the file tree in README)."""

import ast
import functools
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "walk"
# Programs that no test runs on a CPU.
PROGRAMS = [
    ROOT / "tests" / "test_gpu.py",
    *(ROOT / "tests" / "benchmarks").glob("*.py"),
    *(ROOT / "examples").rglob("*.py"),
]
MODULES = sorted(path.stem for path in PACKAGE.glob("[!_]*.py"))

# Who may import a library; whoever is not named here may not.
FENCES = {
    "torch": {
        *("channels_last", "cuda_graphs", "embeddings", "geometry", "given", "loading", "machine", "models"),
        *("interpolate", "offload", "reading", "render", "schedule", "sharedweights", "upscale", "vision"),
    },
    "diffusers": {"hub", "loading", "vision"},
    "transformers": {"loading", "vision"},
    "huggingface_hub": {"downloads", "hub", "loading"},
    "subprocess": {"ffmpeg"},
    "gguf": {"loading"},
    "spandrel": {"upscale"},
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
    "foreign": {"text"},
    "lyrics": set(),
    "images": {"files", "text"},
    "keyframes": {"emphasis", "files", "foreign", "images", "lyrics", "pace", "text"},
    "pace": set(),
    "progress": {"text"},
    "rates": set(),
    "settings": set(),
    "timeline": {"keyframes", "rates", "text"},
    "geometry": set(),
    "cuda_graphs": set(),
    "channels_last": set(),
    "machine": {"settings"},
    "notes": {"emphasis", "hub", "settings", "text"},
    "catalogue": {"settings"},
    "downloads": {"digests"},
    "hub": {"catalogue", "digests", "downloads", "families", "files", "settings", "text"},
    "families": set(),
    "samplers": {"text"},
    "loading": {"digests", "families", "hub", "machine", "samplers", "schedule", "settings"},
    "embeddings": {"hub", "loading"},
    "offload": set(),
    "schedule": set(),
    "reading": {"embeddings", "emphasis", "families", "hub", "keyframes", "loading", "machine", "settings", "vision"},
    "vision": {"digests", "downloads", "families", "files", "hub", "images", "loading", "settings"},
    "models": {
        *("catalogue", "channels_last", "cuda_graphs", "digests", "downloads", "embeddings", "emphasis", "families"),
        *("hub", "keyframes", "loading", "machine", "notes", "offload", "reading", "schedule", "settings", "vision"),
    },
    "given": {"keyframes", "models", "settings"},
    "render": {"geometry", "keyframes", "machine", "models", "timeline"},
    "recipe": {"keyframes", "settings", "text"},
    "png": set(),
    "manifest": {"keyframes", "settings", "timeline"},
    "roughcut": set(),
    "run": {"files", "manifest", "png", "settings", "timeline"},
    "sheet": {"images", "text", "timeline"},
    "eye": set(),
    "flashes": set(),
    "speed": {"eye", "timeline"},
    "gif": set(),
    "ffmpeg": {"files", "rates"},
    "formats": {"ffmpeg", "text"},
    "probe": {"ffmpeg", "gif"},
    "sounds": {"ffmpeg", "rates", "text"},
    "video": {"ffmpeg", "files", "formats", "gif", "png", "probe", "rates", "sounds", "text"},
    "audio": {"rates", "sounds"},
    "beatfile": {"audio", "files", "text"},
    "excerpts": {"sounds"},
    "music": {"audio", "beatfile", "digests", "excerpts", "files", "progress", "rates", "sounds", "text"},
    "check": {"eye", "ffmpeg", "flashes", "probe", "text"},
    "bench": {"keyframes", "machine", "models", "rates", "render", "run", "timeline"},
    "doctor": {"downloads", "ffmpeg", "machine", "models"},
    "film": {"digests", "ffmpeg", "files", "probe", "recipe", "run", "settings", "sounds", "video"},
    "flags": {"formats", "images", "keyframes", "pace", "rates", "settings", "text", "timeline"},
    "outlook": {"rates", "settings", "text", "timeline"},
    "paths": {"film", "formats", "images", "keyframes", "png", "run", "text"},
    "motion": {
        *("audio", "flags", "formats", "keyframes", "lyrics", "music", "pace", "progress", "rates", "recipe", "sounds"),
        *("text", "timeline"),
    },
    "replay": {
        *(
            "probe",
            "flags",
            "formats",
            "images",
            "keyframes",
            "motion",
            "music",
            "paths",
            "rates",
            "recipe",
            "settings",
        ),
    },
    "order": {
        *(
            "between",
            "files",
            "film",
            "probe",
            "flags",
            "formats",
            "images",
            "keyframes",
            "lyrics",
            "manifest",
            "motion",
            "music",
        ),
        *("paths", "progress", "rates", "replay", "settings", "sounds", "text", "timeline", "video"),
    },
    "enlargement": {"downloads", "files", "flags", "formats", "hub", "order", "progress", "settings", "upscale"},
    "api": {"commands", "keyframes", "models", "text"},
    "cli": {"commands", "flags"},
    "kept": {"models"},
    "lazy": {
        "bench",
        "embeddings",
        "kept",
        "keyframes",
        "machine",
        "manifest",
        "models",
        "progress",
        "render",
        "run",
        "text",
    },
    "sharedweights": {"digests", "loading"},
    "upscale": {"loading", "machine", "settings", "sharedweights"},
    "interpolate": {"machine", "settings", "sharedweights"},
    "between": {"timeline"},
    "inbetweens": {
        *(
            "between",
            "downloads",
            "files",
            "flags",
            "hub",
            "interpolate",
            "manifest",
            "order",
            "png",
            "progress",
            "run",
        ),
        "settings",
    },
    "larger": {"manifest", "png", "progress", "run", "text", "upscale"},
    "work": {"eye", "lazy", "models", "outlook", "progress", "render", "run", "speed", "text", "timeline"},
}


@functools.cache
def parsed(module):
    return ast.parse((PACKAGE / f"{module}.py").read_text("utf-8"))


@functools.cache
def imported(module):
    """Every module that one imports, anywhere in its code."""
    names = set()
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_heavy_libraries_stay_behind_their_fences():
    strangers = {}
    for module in MODULES:
        libraries = {name.split(".")[0] for name in imported(module)}
        strangers[module] = {name for name, allowed in FENCES.items() if module not in allowed} & libraries
    assert {module: names for module, names in strangers.items() if names} == {}


def test_every_module_but_the_commands_which_may_know_all_has_its_place():
    assert sorted([*BELOW, "commands"]) == MODULES


def test_imports_point_down():
    above = {}
    for module, below in BELOW.items():
        known = {name.split(".")[1] for name in imported(module) if name.startswith("walk.")} & set(MODULES)
        above[module] = known - below
    assert {module: names for module, names in above.items() if names} == {}


def test_only_the_command_prints_and_what_shows_progress():
    prints = [
        f"{module}:{node.lineno}"
        for module in MODULES
        if module not in ("cli", "progress")
        for node in ast.walk(parsed(module))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert prints == []


def test_importing_walk_imports_nothing_heavy():
    script = "import sys, walk; print(sorted({'torch', 'diffusers', 'transformers', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize("path", sorted(PROGRAMS), ids=lambda path: path.name)
def test_what_a_program_uses_of_walk_is_there(path):
    nodes = [*ast.walk(ast.parse(path.read_text("utf-8")))]
    used = {}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "walk":
            module = importlib.import_module(node.module)
            for name in (alias.name for alias in node.names):
                used[name] = getattr(module, name, None) or importlib.import_module(f"{node.module}.{name}")
    variables = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    modules = {name: it for name, it in used.items() if inspect.ismodule(it) and name not in variables}
    missing = [
        f"{node.lineno}: {node.value.id}.{node.attr}"
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules
        if not hasattr(modules[node.value.id], node.attr)
    ]
    assert missing == []

"""Examines whether this machine can make films, and says what to do about what is wrong. Prints nothing."""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path
from typing import NamedTuple

from walk import Error, downloads, ffmpeg, machine, models

MINUTE = 60 * 24 * 0.5e6  # bytes of frames of 512x512 in a minute
LIBRARIES = ("torch", "diffusers", "transformers", "numpy", "imageio-ffmpeg", "moviepy", "pillow")


class Finding(NamedTuple):
    text: str
    remedy: str = ""  # '' if nothing is wrong
    fatal: bool = False  # no film can be made before it is remedied


def examine(folder: Path) -> list[Finding]:
    """Everything worth knowing before a film is made in this folder; takes some seconds."""
    return [*_devices(), *_ffmpeg(), *_versions(), *_disk(folder), *_hub(), *_built_in()]


def _devices() -> list[Finding]:
    usable = [Finding(f"{name}: {about}, computes in {dtype}") for name, about, dtype in machine.devices()]
    unusable = [why.partition("; ") for why in machine.unusable().values()]
    if len(usable) == 1 and not unusable:
        remedy = "large models will take minutes a frame; with a GPU, install the torch build for it (pytorch.org)"
        usable = [usable[0]._replace(remedy=remedy)]
    return [*usable, *(Finding(text, remedy) for text, _, remedy in unusable)]


def _ffmpeg() -> list[Finding]:
    try:
        encoders = ffmpeg.encoders()
    except Error as error:
        text, _, remedy = str(error).partition("; ")
        return [Finding(text, remedy, fatal=True)]
    if "libx264" not in encoders:
        return [Finding("ffmpeg has no H.264 encoder", "pip install --force-reinstall imageio-ffmpeg", fatal=True)]
    hardware = [name for name in encoders if name.endswith(("_nvenc", "_videotoolbox", "_qsv", "_amf"))]
    software = ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "prores_ks", "hap", "dxv")
    others = f"; hardware encoders, if the hardware is there: {', '.join(hardware)}" if hardware else ""
    return [Finding(f"ffmpeg: {', '.join(name for name in software if name in encoders)}{others}")]


def _versions() -> list[Finding]:
    return [Finding(", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES))]


def _disk(folder: Path) -> list[Finding]:
    free = shutil.disk_usage(folder).free
    text = f"disk: {free / 1e9:.1f} GB free here; a minute of 512x512 frames takes about {MINUTE / 1e9:.1f} GB"
    if free < MINUTE / 10:
        return [Finding(text, "make room, or give an --out elsewhere", fatal=True)]
    return [Finding(text, "make room, or give an --out elsewhere" if free < 2 * MINUTE else "")]


def _hub() -> list[Finding]:
    if downloads.hub_answers():
        return [Finding("the Hugging Face hub answers")]
    remedy = "only models on this machine can be used: go online, unset HF_HUB_OFFLINE, or give --model a folder"
    return [Finding("the Hugging Face hub does not answer", remedy)]


def _built_in() -> list[Finding]:
    if models.built_in_is_whole():
        return [Finding("toybox, the built-in model, is whole")]
    return [Finding("toybox, the built-in model, is damaged", "install walk again", fatal=True)]

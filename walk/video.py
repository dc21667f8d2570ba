"""Frames become a film. The only file that starts ffmpeg.

ffmpeg comes with imageio-ffmpeg, so that none need be installed; moviepy reads back what it made.
Knows files and rates, and no walks.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
from PIL import Image

from walk import Error

QUALITY = 17  # x264's constant rate factor: 0 lossless, 17 hardly told from the frames, 51 worst
SHORT_SIDE = 512  # pixels; smaller pictures are enlarged to it
SUFFIXES = (".mp4",)


def encode(
    frames: Sequence[Path],
    out: Path | str,
    fps: Fraction,
    size: int | None = None,
    quality: int = QUALITY,
    report: Callable[[int], object] = lambda count: None,
) -> None:
    """Make a film of PNG files of one size: H.264, yuv420p, BT.709, at a constant rate.

    size: pixels on the film's short side; None: the frames' own, but 512 at least.
    quality: x264's constant rate factor, 0 (lossless) to 51.
    report: called with the number of frames handed over so far.

    The film appears whole and checked, or not at all. Raises Error if it cannot be made.
    """
    out = Path(out)
    validate(out, size, quality)
    with Image.open(frames[0]) as first:
        width, height = film_size(first.size, size)
    for leftover in out.parent.glob(f".{out.name}.*.part"):
        leftover.unlink(missing_ok=True)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        _feed(_command(part, fps, width, height, quality), frames, report)
        check(part, len(frames), fps, (width, height))
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, out)
    except OSError as error:
        raise Error(f"{out} cannot be written ({error.strerror})") from None
    finally:
        part.unlink(missing_ok=True)


def validate(out: Path, size: int | None = None, quality: int = QUALITY) -> None:
    """Raise Error for what `encode` would refuse."""
    if out.suffix.lower() not in SUFFIXES:
        raise Error(f"{out}: a film's name ends in {' or '.join(SUFFIXES)}, as in film.mp4")
    if size is not None and (size % 2 or not 16 <= size <= 8192):
        raise Error(f"size {size} is not possible; the film's short side is an even number from 16 to 8192")
    if not 0 <= quality <= 51:
        raise Error(f"quality {quality} is out of range; it is a whole number from 0 (lossless) to 51")


def film_size(frame: tuple[int, int], size: int | None = None) -> tuple[int, int]:
    """(width, height) of the film for frames of this size; both even, as yuv420p needs."""
    short = size or max(SHORT_SIDE, min(frame))
    width, height = (round(Fraction(side * short, min(frame)) / 2) * 2 for side in frame)
    return width, height


def check(film: Path, frames: int, fps: Fraction, size: tuple[int, int]) -> None:
    """Raise Error unless the film has exactly these frames, at exactly this rate and size."""
    from moviepy.video.io.ffmpeg_reader import ffmpeg_parse_infos

    try:
        shown = tuple(ffmpeg_parse_infos(os.path.abspath(film))["video_size"])
    except (OSError, KeyError) as error:
        raise Error(f"the film that ffmpeg made cannot be read: {error}") from None
    times = _timestamps(film)
    wrong = []
    if len(times) != frames:
        wrong.append(f"{len(times)} frames instead of {frames}")
    elif times != [index / fps for index in range(frames)]:
        wrong.append(f"frames that are not at {fps} a second")
    if shown != size:
        wrong.append("{}x{} pixels instead of {}x{}".format(*shown, *size))
    if wrong:
        raise Error(f"the film that ffmpeg made has {' and '.join(wrong)}")


def _command(out: Path, fps: Fraction, width: int, height: int, quality: int) -> list[str]:
    scale = f"scale={width}:{height}:flags=lanczos+accurate_rnd+full_chroma_int+full_chroma_inp"
    tags = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
    return [
        *_ffmpeg(),
        # The PNG files as they are, one after the other: ffmpeg decodes them, and nothing is kept.
        *("-f", "image2pipe", "-c:v", "png", "-framerate", str(fps), "-i", "-"),
        # Unless told, ffmpeg converts with BT.601, and players then show other colours. Older versions
        # take the tags from the options, newer ones from the frames.
        *("-vf", f"{scale}:out_color_matrix=bt709:out_range=tv,format=yuv420p,{tags}"),
        *("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"),
        *("-c:v", "libx264", "-crf", str(quality)),
        *("-movflags", "+faststart", "-f", "mp4", "-y", f"file:{out}"),
    ]


def _feed(command: list[str], frames: Sequence[Path], report: Callable[[int], object]) -> None:
    """Run ffmpeg with the files' bytes on its standard input."""
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=complaints)
        assert process.stdin is not None
        try:
            for count, frame in enumerate(frames, 1):
                process.stdin.write(frame.read_bytes())
                report(count)
            process.stdin.close()
            status = process.wait()
        except BrokenPipeError:
            status = process.wait()
        finally:
            process.kill()
            process.wait()
        if status:
            complaints.seek(0)
            lines = complaints.read().decode(errors="replace").strip().splitlines() or [f"exit status {status}"]
            full = next((line for line in lines if "No space left" in line), None)
            raise Error("the disk is full" if full else f"ffmpeg could not make the film: {lines[-1]}")


def _timestamps(film: Path) -> list[Fraction]:
    """When each frame is shown, in seconds, in order. Exact, and read without decoding."""
    command = [*_ffmpeg(), "-i", f"file:{film}", "-map", "0:v:0", "-c", "copy", "-f", "framecrc", "-"]
    lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    tick = next((Fraction(line.split()[-1]) for line in lines if line.startswith("#tb 0:")), Fraction(0))
    return sorted(int(line.split(",")[2]) * tick for line in lines if line and not line.startswith("#"))


def _ffmpeg() -> list[str]:
    return [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-nostdin"]

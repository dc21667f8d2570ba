"""How ffmpeg is run: the only file that starts it. It comes with imageio-ffmpeg, so that none need be installed.

Knows files and streams, and not what is asked of ffmpeg.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import IO

import imageio_ffmpeg
import numpy as np

from walk import Error
from walk.files import reading
from walk.rates import nearest

# A film may come from anybody: one that is a playlist would make ffmpeg open the files that it names.
_FILMS = "mov,matroska,webm,gif,avi,mpegts,flv,ogg"
_SOUNDS = "3gp,aac,ac3,aiff,amr,ape,asf,au,caf,dts,eac3,flac,mp3,mpc,mpc8,mpeg,nut,tak,tta,voc,w64,wav,wv"
_SAFE = ["-protocol_whitelist", "file", "-format_whitelist", _FILMS]
_SAFE_SOUND = ["-protocol_whitelist", "file", "-format_whitelist", f"{_FILMS},{_SOUNDS}"]
_HEAD = 29  # bytes of a PNG, up to its size and kind
FAINTEST = 2**-16  # of full scale: half of the smallest step of 16 bits


def program() -> list[str]:
    """The beginning of each ffmpeg command. Raises Error if there is no ffmpeg."""
    try:
        path = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:
        path = ""
    if not shutil.which(path):
        by_user = "IMAGEIO_FFMPEG_EXE" in os.environ
        raise Error(
            f"IMAGEIO_FFMPEG_EXE names {path}, which is not a program; name another, or leave it out"
            if by_user
            else "there is no ffmpeg; pip install --force-reinstall imageio-ffmpeg"
        )
    return [path, "-hide_banner", "-loglevel", "error", "-nostdin"]


@functools.cache
def encoders() -> dict[str, str]:
    """{encoder: its codec} for all video encoders that this ffmpeg lists."""
    text = subprocess.run([*program(), "-encoders"], capture_output=True, text=True, check=False).stdout
    return {name: codec or name for name, codec in re.findall(r"^ V\S+ (\w\S*)(?:.*\(codec (\w+)\))?", text, re.M)}


def feed(command: list[str], frames: Sequence[Path], report: Callable[[int], object]) -> None:
    """Run ffmpeg with the frames' bytes on its standard input. report: called with how many are done: half of the work is
    to hand them over, and half to encode them, which may be seconds behind.

    Raises Error if it fails, or if the frames are not all of one size and kind.
    """
    quiet, head = os.environ | {"SVT_LOG": "1"}, b""  # errors only
    with tempfile.TemporaryFile() as log:
        command = [*command, "-progress", "pipe:1"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=quiet)
        assert process.stdin is not None
        assert process.stdout is not None
        encoded = [0]
        follower = threading.Thread(target=_follow, args=(process.stdout, encoded), daemon=True)
        follower.start()
        try:
            for count, frame in enumerate(frames, 1):
                with reading(frame):
                    data = frame.read_bytes()
                head = head or data[:_HEAD]
                if data[:_HEAD] != head:  # ffmpeg would scale it
                    raise Error(f"{frame} is not a picture of the same size and kind as {frames[0]}")
                try:
                    process.stdin.write(data)
                except OSError:  # nobody reads the pipe any more; Windows calls that an invalid argument
                    break
                report((count + encoded[0]) // 2)
            with contextlib.suppress(OSError):
                process.stdin.close()
            while follower.is_alive():
                follower.join(0.25)
                report((len(frames) + encoded[0]) // 2)
            status = process.wait()
        finally:
            process.kill()
            with contextlib.suppress(OSError):  # or Python would complain later of what was not written
                process.stdin.close()
            follower.join()
            process.stdout.close()
            process.wait()
        if status:
            log.seek(0)
            complaints = log.read().decode(errors="replace")
            if "No space left" in complaints:
                raise Error("the disk is full")
            # The first line says why, as in "[h264_nvenc @ 0x1] Cannot load libcuda.so.1"; the others follow from it.
            why = (complaints.strip() or f"exit status {status}").splitlines()[0].rpartition("] ")[2]
            raise Error(f"ffmpeg could not make the film: {why}")
        report(len(frames))


def _follow(progress: IO[bytes], encoded: list[int]) -> None:
    """Keep in `encoded` how many frames ffmpeg says that it has encoded."""
    for line in progress:
        if line.startswith(b"frame="):
            encoded[0] = int(line[6:])


@contextlib.contextmanager
def _at_work(
    command: list[str], errors: IO[bytes] | int = subprocess.DEVNULL
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """(process, what it writes); it ends on leaving, though there may be hours more."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout
        finally:
            process.kill()  # before the pipe is closed, or it would complain of that


def copy_pictures(film: Path, copy: Path, odd: bool) -> bool:
    """Copy a film's pictures, without metadata. Returns whether there was room. Raises OSError for what cannot be read.

    They are not decoded unless they come at odd moments or from a GIF: for some of its delays, such as 0.17 s, ffmpeg
    guesses a wrong rate. These are copied at 25 a second, whenever they came, so that a reader gets each of them once;
    those of a GIF keep their size, and others are at most 640 pixels wide, since decoded pictures need room.
    """
    try:
        copy.touch()
    except OSError:
        return False
    # Only the pictures: what a decoder needs before a sound's start would make them late.
    gif = film.suffix.lower() == ".gif"
    rate, codec = (["-r", "25"], ["ffv1"]) if gif or odd else ([], ["copy"])
    if odd and not gif:
        # As red, green and blue: the copy would not say which matrix made other numbers of them.
        codec += ["-vf", "scale='min(iw,640)':-2", "-pix_fmt", "bgr0"]
    safe = [*_SAFE, *rate, "-i", f"file:{film}", "-map", "0:v:0", "-map_chapters", "-1", "-map_metadata", "-1"]
    command = [*program(), *safe, "-c", *codec, "-f", "nut", "-y", f"file:{copy}"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode and not re.search(b"No space left|File too large|quota exceeded", done.stderr):
        raise OSError(f"{film} is not a film that ffmpeg can read")
    return not done.returncode


def read(film: Path, *options: str, track: str = "v:0") -> str:
    """What ffmpeg prints when it reads a film's pictures, or another track, with these options. Raises Error if there are
    none."""
    check_readable(film)
    command = [*program(), *_SAFE, "-i", f"file:{film}", "-map", f"0:{track}", *options, "-"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise Error(f"{film} is not a film that ffmpeg can read")
    return (done.stdout or done.stderr).decode(errors="replace")


def first_frame_info(film: Path) -> str:
    """What ffmpeg says of a film's first frame, after the film's own texts."""
    return read(film, "-frames:v", "1", "-vf", "showinfo", "-map_metadata", "-1", "-f", "null", "-loglevel", "info")


def complaint(film: Path) -> str:
    """The first complaint of ffmpeg when it decodes all the pictures and the sound of a film; '' if there is none."""
    check_readable(film)
    command = [*program(), *_SAFE, "-i", f"file:{film}", "-map", "0:v:0", "-map", "0:a:0?", "-f", "null", "-"]
    lines = subprocess.run(command, capture_output=True, check=False).stderr.decode(errors="replace").splitlines()
    # Frames closer together than the film's own unit of time are no damage, but the null muxer cannot count them.
    complaints = [line.rpartition("] ")[2] for line in lines if "Application provided invalid" not in line]
    return complaints[0] if complaints else ""


def check_readable(path: Path) -> None:
    """Raise Error for a file that cannot be read, of which ffmpeg would complain in its own way, and for a pipe, since
    sounds and films are read twice."""
    with reading(path):
        if path.is_fifo():
            raise Error(f"{path} is a pipe, and would be read more than once; give a file")
        path.open("rb").close()


# Reading sound


def is_silent(film: Path) -> bool:
    """Whether nothing can be heard in a film's first sound track, which is read only until something is.

    Raises Error if it cannot be decoded.
    """
    check_readable(film)
    command = [*program(), *_SAFE, "-i", f"file:{film}", "-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "f32le", "-"]
    with _at_work(command) as (process, output):
        if any(np.abs(np.frombuffer(chunk, "<f4")).max() > FAINTEST for chunk in _chunks(output, None)):
            return False
        if process.wait():
            raise Error(f"the sound of {film} cannot be played")
    return True


def decode_sound(path: Path, start: Fraction, seconds: Fraction | None) -> tuple[np.ndarray, int, int, str]:
    """(samples, rate, number, report) of a part of a file's first sound track.

    seconds: None: to its end.
    samples: (n, channels) float32. rate: samples a second; 0 if there is no sound.
    number: of samples a channel from the beginning of the file to the end of the part. report: what ffmpeg printed.
    """
    # Whatever the format, the samples come as big-endian floats after a header with their rate and channels.
    plain = ["-map", "0:a:0", "-map_metadata", "-1", "-map_chapters", "-1", "-c:a", "pcm_f32be", "-f", "au", "-"]
    command = [*program(), "-loglevel", "info", "-nostats", *_SAFE_SOUND, "-i", f"file:{path}", *plain]
    with tempfile.TemporaryFile() as log:
        with _at_work(command, log) as (process, output):
            samples, rate, number = _read_au(output, start, seconds)
            if seconds is None:
                process.wait()
        log.seek(0)
        return samples, rate, number, log.read().decode(errors="replace")


def _read_au(stream: IO[bytes], start: Fraction, seconds: Fraction | None) -> tuple[np.ndarray, int, int]:
    """(samples, rate, number) as `decode_sound` returns them, from a stream in Sun's au format."""
    head = stream.read(24)
    if len(head) < 24:
        return np.zeros((0, 1), np.float32), 0, 0
    _, offset, _, _, rate, channels = struct.unpack(">4s5I", head)
    stream.read(offset - len(head))
    size = 4 * channels  # bytes of a sample
    # Samples are counted, since a place that is looked up in a compressed file is not exact.
    skipped = sum(map(len, _chunks(stream, nearest(start * rate) * size)))
    data = bytearray()  # grows in place: an hour of stereo is more than a gigabyte
    for chunk in _chunks(stream, None if seconds is None else max(1, nearest(seconds * rate)) * size):
        data += np.frombuffer(chunk, ">f4", len(chunk) // 4).astype(np.float32).tobytes()
    count = len(data) // size
    samples = np.frombuffer(data, np.float32, count * channels).reshape(count, channels)
    return samples, rate, skipped // size + count


def _chunks(stream: IO[bytes], size: int | None) -> Iterator[bytes]:
    """The next bytes of a stream, of this size altogether, or None: to its end."""
    while chunk := stream.read(1 << 20 if size is None else min(size, 1 << 20)):
        size = None if size is None else size - len(chunk)
        yield chunk

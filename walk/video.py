"""Frames and a sound become a film, which is checked. Its format follows from its name's suffix (walk.formats).

Knows files and rates, no walks and no music.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from walk import Error, ffmpeg, formats, gif, png, probe
from walk.files import flush, held_note, replace, sync_folder, writing
from walk.probe import Metadata, Pictures, Track
from walk.rates import nearest, rate
from walk.sounds import Sound, fits, layout_of
from walk.text import short

TITLE = 255  # bytes of a chapter's title at most: many players read a list that has no room for more
_SYSTEM_FILES = re.compile(r"\.DS_Store|Thumbs\.db|desktop\.ini|\._.*")  # file managers leave them where they look


def encode(
    frames: Sequence[Path | str],
    out: Path | str,
    fps: Fraction | float | str,
    size: int | str | None = None,
    quality: int | None = None,
    codec: str | None = None,
    metadata: Metadata | None = None,
    report: Callable[[int], object] = lambda count: None,
    sound: Sound | None = None,
    placing: Callable[[Path], object] = lambda part: None,
) -> None:
    """Make a film of PNG files of one size, at a constant rate, in BT.709 (or in RGB, as GIF, PNG, HAP or DXV).

    out: its suffix is one of formats.FORMATS; without one it is a folder, for the frames as they are.
    fps: as `walk.rates.rate` reads it; a GIF takes the nearest that it can show (`formats.shown_fps`), a folder none.
    size: pixels on the film's short side, or both sides, '1080x1920', which frames are scaled to cover, and cropped evenly
        where they overhang; None: the frames' own size, but a short side of 512 at least (unless `out` is a folder).
    quality: on the encoder's own scale (formats.ENCODERS); None: its default.
    codec: one of the format's codecs, or an encoder by ffmpeg's own name, such as h264_nvenc.
    metadata: what the film says of itself; None: nothing. A GIF has room only for the comment, a folder for nothing.
    report: called with how many frames are done.
    sound: what is heard from the first frame on, as long as the pictures to half a frame; it keeps its channels and its
        rate, or gets the nearest that the format has (`formats.sound_rate`). A film of one frame may have less: silence
        follows.
    placing: called with the path of the complete and checked film just before it is moved to `out`.

    The film appears complete and checked, or not at all; on one machine, the same input gives the same bytes. Raises
    Error if it cannot be made.
    """
    out, pictures = Path(out), [*map(Path, frames)]
    encoder = formats.encoder_for(out, size, quality, codec, sound is not None)
    if not pictures:
        raise Error(f"{out} would have no frames; a film has one or more")
    native = _size_of(pictures[0])
    shape = formats.film_size(native, size, out, codec)
    scaled = formats.scaled_size(native, size, shape)
    fps = formats.shown_fps(out, rate(fps))
    sound = sound and _fitted(sound, len(pictures) / fps, fps)
    bare = metadata is None
    metadata = _storable(metadata) if metadata and encoder != "png" else None
    if metadata and encoder == "gif":
        metadata = Metadata("", metadata.comment)
    with tempfile.TemporaryDirectory() as scratch, _replacing(out) as part:
        source = [*ffmpeg.program(), "-f", "image2pipe", "-c:v", "png", "-framerate", str(fps), "-i", "-"]
        target = [*formats.format_of(out).options.split(), "-fflags", "+bitexact", "-y", f"file:{part}"]
        if encoder == "png":
            _export(pictures, part, scaled, shape, bare, report)
        elif encoder == "gif":
            _gif(source, target, Path(scratch, "palette.png"), pictures, scaled, shape, report)
            if metadata:
                gif.put_comment(part, metadata.comment)
        else:
            sound_input, sound_output = _sound_options(probe.temporary_path(out, "sound"), sound, out)
            texts = _metadata_options(Path(scratch, "texts"), metadata, len(pictures) / fps, 2 if sound else 1)
            video_options = _video_options(encoder, quality, scaled, shape)
            ffmpeg.feed([*source, *sound_input, *texts, *sound_output, *video_options, *target], pictures, report)
        expected = (sound.channels, formats.sound_rate(out, sound.rate)) if sound else None
        check(part, len(pictures), fps, shape, metadata, expected)
        placing(part)


def validate(
    out: Path | str,
    size: int | str | None = None,
    quality: int | None = None,
    codec: str | None = None,
    sound: bool = False,
    fps: Fraction | None = None,
) -> None:
    """Raise Error for arguments that `encode` would refuse, and for an encoder that does not work on this machine."""
    out = Path(out)
    encoder = formats.encoder_for(out, size, quality, codec, sound)
    if fps is not None and fps > (most := formats.row(encoder).fastest):
        raise Error(f"{encoder} makes up to {most} frames a second; give another --codec, or a lower --fps")
    if not out.suffix:
        _check_replaceable(out)
    if encoder in formats.ENCODERS:
        return
    # ffmpeg lists hardware encoders whether or not the hardware is there. Two frames will tell.
    with tempfile.TemporaryDirectory() as scratch:
        frame = Path(scratch, "frame.png")
        Image.new("RGB", (512, 512)).save(frame)
        try:
            encode([frame] * 2, frame.with_suffix(out.suffix), Fraction(25), None, quality, encoder)
        except Error as error:
            raise Error(f"codec {encoder} does not work on this machine: {error}") from None


def check(
    film: Path,
    frames: int,
    fps: Fraction,
    size: tuple[int, int],
    metadata: Metadata | None = None,
    sound: tuple[int, int] | None = None,
) -> None:
    """Raise Error unless the film has exactly this number of frames, at exactly this rate and size, and this metadata.

    sound: (channels, samples a second) of the sound, which must last as long as the frames (half a frame and a packet
        more or less); None: it is not checked.
    """
    track = found = None
    try:
        if film.is_dir():
            pictures = _pictures_in(film, fps)
        elif metadata:
            pictures, track, found = probe.tracks_and_metadata(film)
        else:
            pictures, track = probe.tracks(film)
    except Error:
        raise Error("the film that ffmpeg made cannot be read") from None
    times, actual_size, tick = pictures
    # WebM counts thousandths of a second; everywhere else time is exact.
    slack = tick / 2 if tick == Fraction(1, 1000) else 0
    wrong = []
    if len(times) != frames:
        wrong.append(f"{len(times)} frames instead of {frames}")
    elif any(abs(time - index / fps) > slack for index, time in enumerate(times)):
        wrong.append(f"frames that are not at {fps} a second")
    if actual_size != size:
        wrong.append("{}x{} pixels instead of {}x{}".format(*actual_size, *size))
    if metadata and found != _storable(metadata):
        wrong.append("other metadata than it was given")
    if sound:
        wrong += _sound_faults(track, *sound, frames / fps, fps)
    if wrong:
        raise Error(f"the film that ffmpeg made has {' and '.join(wrong)}")


def _size_of(picture: Path) -> tuple[int, int]:
    try:
        with Image.open(picture) as opened:
            return opened.size
    except OSError:
        raise Error(f"{picture} is not a whole picture") from None


def _check_replaceable(out: Path) -> None:
    """Raise Error if there is something here that is not an earlier export, which a folder must not replace."""
    with writing(out):
        names = pictures_of(out) if os.path.lexists(out) else []
    for index, name in enumerate(names):
        if name != f"{index:06d}.png":
            raise Error(
                f"{out} has {name} in it, so it is not an earlier export, and is not replaced; give another name"
            )


def pictures_of(folder: Path) -> list[str]:
    """The names of an export's pictures, in order."""
    return sorted(name for name in os.listdir(folder) if not _SYSTEM_FILES.fullmatch(name))


def _fitted(sound: Sound, seconds: Fraction, fps: Fraction) -> Sound:
    """The sound for pictures that last `seconds`. Raises Error if it has another length."""
    half = 1 / (2 * fps)
    if seconds - sound.seconds > half and seconds <= 1 / fps:  # a film of one frame
        missing = nearest(seconds * sound.rate) - len(sound.samples)
        return dataclasses.replace(sound, samples=np.pad(sound.samples, ((0, missing), (0, 0))))
    if not fits(sound, seconds, fps):
        lengths = f"the sound lasts {short(sound.seconds)} s, and the pictures {short(seconds)} s"
        raise Error(f"{lengths}; they may differ by half a frame, {short(half)} s")
    return sound


def _video_options(encoder: str, quality: int | None, scaled: tuple[int, int], size: tuple[int, int]) -> list[str]:
    """The options that scale, crop, convert and encode the pictures, and name their colour space."""
    row = formats.row(encoder)
    matrix = tags = colours = ""
    if row.pixels.startswith("yuv"):
        # By default ffmpeg converts with BT.601, and players then show other colours. Older versions take the tags from
        # the options, newer ones from the frames.
        matrix = ":out_color_matrix=bt709:out_range=tv"
        tags = ",setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
        colours = "-colorspace bt709 -color_primaries bt709 -color_trc bt709 -color_range tv"
    return [
        *(
            "-vf",
            f"{_scale_filter(scaled)}{matrix}{_crop_filter(scaled, size)},format={row.pixels}{tags}",
            *colours.split(),
        ),
        *("-c:v", *encoder.split()),
        *row.options.format(row.quality[0] if row.quality and quality is None else quality).split(),
        *(("-tag:v", "hvc1") if ffmpeg.encoders().get(encoder) == "hevc" else ()),  # the only tag that Apple plays
    ]


def _scale_filter(size: tuple[int, int]) -> str:
    return "scale={}:{}:flags=lanczos+accurate_rnd+full_chroma_int+full_chroma_inp".format(*size)


def _crop_filter(scaled: tuple[int, int], size: tuple[int, int]) -> str:
    """The filter that crops pictures of any size to their middle, in the proportion of `size` to `scaled`."""
    return f",crop=iw*{size[0]}/{scaled[0]}:ih*{size[1]}/{scaled[1]}" if scaled != size else ""


def _gif(
    source: list[str],
    target: list[str],
    palette: Path,
    frames: Sequence[Path],
    scaled: tuple[int, int],
    size: tuple[int, int],
    report: Callable[[int], object],
) -> None:
    """Make a GIF in two passes: one palette for all frames, then the film. (In one pass ffmpeg keeps them in memory.)"""
    # Sorting every colour of large frames would take longer than all the rest: a sample of the pixels will do.
    small = "scale={}:{}:flags=neighbor".format(*formats.film_size(scaled, min(128, *scaled), "film.gif"))
    find = f"{small}{_crop_filter(scaled, size)},palettegen=stats_mode=full:reserve_transparent=0"
    # A dither pattern that stands still. Error diffusion is nearer to the colours, but makes still surfaces flicker (six
    # times as much), and takes half as many bytes again.
    use = f"[0:v]{_scale_filter(scaled)}{_crop_filter(scaled, size)}[film];[film][1:v]paletteuse=dither=bayer:bayer_scale=2"
    first = [*source, "-vf", find, "-c:v", "png", "-f", "image2pipe", f"file:{palette}"]
    second = [*source, "-i", f"file:{palette}", "-filter_complex", use, *target]
    ffmpeg.feed(first, frames, lambda count: report(count // 2))
    ffmpeg.feed(second, frames, lambda count: report((len(frames) + count) // 2))


def _sound_options(file: Path, sound: Sound | None, out: Path) -> tuple[list[str], list[str]]:
    """(input options, output options) that put the sound into a film. file: to which its samples are written for that."""
    rate = formats.sound_rate(out, sound.rate) if sound else 1
    # So that lengths are exact to the sample, and chapters to the millisecond. By default ffmpeg uses a unit of its own,
    # and newer versions the pictures'.
    clock = [] if out.suffix.lower() == ".webm" else ["-movie_timescale", str(math.lcm(rate, 1000))]
    if sound is None:
        return [], clock
    file.write_bytes(np.ascontiguousarray(sound.samples, "<f4"))  # NumPy's own `tofile` does not say why it fails
    channels = ["-ac", str(sound.channels)] if sound.channels < 3 else ["-ch_layout", layout_of(sound)]
    read = ["-f", "f32le", "-ar", str(sound.rate), *channels, "-i"]
    codec = formats.format_of(out).sound.format(128 * sound.channels).split()
    anonymous = ["-flags:a", "+bitexact", "-metadata:s:a:0", "encoder="]
    return [*read, f"file:{file}"], ["-map", "1:a", "-ar", str(rate), *codec, *clock, *anonymous]


def _metadata_options(file: Path, metadata: Metadata | None, seconds: Fraction, index: int) -> list[str]:
    """The options that put the metadata, or none, into a film.

    file: to which it is written for that, as ffmpeg's input of this index. seconds: the film's length.
    """
    anonymous = ["-metadata:s:v:0", "encoder="]  # otherwise ffmpeg names it
    if metadata is None:
        return ["-map", "0:v", "-map_metadata", "-1", "-map_chapters", "-1", *anonymous]
    lines = [";FFMETADATA1", f"title={_escaped(metadata.title)}", f"comment={_escaped(metadata.comment)}"]
    starts = [int(start * 1000) for start, _ in metadata.chapters]
    ends = [*starts[1:], max(int(seconds * 1000), *starts, 0)]
    for (_, title), start, end in zip(metadata.chapters, starts, ends):
        lines += ["[CHAPTER]", "TIMEBASE=1/1000", f"START={start}", f"END={end}", f"title={_escaped(title)}"]
    file.write_bytes("\n".join([*lines, ""]).encode())
    maps = f"-map 0:v -map_metadata {index} -map_chapters {index}"
    return ["-f", "ffmetadata", "-i", f"file:{file}", *maps.split(), *anonymous]


def _escaped(text: str) -> str:
    # For ffmpeg a line goes on after any backslash at its end, even an escaped one. There, an escaped NUL comes in between,
    # of which nothing is left.
    return re.sub(r"[=;#\\\r\n]", r"\\\g<0>", text) + "\\\0" * text.endswith("\\")


def _storable(metadata: Metadata) -> Metadata:
    """The metadata as a film can hold it: UTF-8 without NUL, with chapter titles of a length that players read.

    Chapters start at whole milliseconds, rounded up (otherwise one would show the frame before its first), and the first
    starts with the film: QuickTime has no room for anything before it.
    """

    def clean(text: str, end: int | None = None) -> str:
        data = text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace")
        return data[:end].decode("utf-8", "ignore")

    starts = [Fraction(math.ceil(start * 1000), 1000) for start, _ in metadata.chapters]
    titles = [clean(title, TITLE) for _, title in metadata.chapters]
    chapters = tuple(zip([Fraction(0), *starts[1:]], titles))
    return Metadata(clean(metadata.title), clean(metadata.comment), chapters)


def _sound_faults(track: Track | None, channels: int, rate: int, seconds: Fraction, fps: Fraction) -> Iterator[str]:
    """What is wrong with the sound of a film whose pictures last `seconds`."""
    if track is None:
        yield "no sound"
        return
    if track.channels != channels:
        yield f"sound with {track.channels} channels instead of {channels}"
    if track.rate != rate:
        yield f"sound of {track.rate} samples a second instead of {rate}"
    if track.start > track.packet:
        yield f"sound that starts at {short(track.start)} s"
    if abs(track.end - seconds) > 1 / (2 * fps) + track.packet:
        yield f"sound to {short(track.end)} s with pictures to {short(seconds)} s"


@contextlib.contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """A temporary name beside `out` for a file or a folder, which replaces `out` in the end, or is removed on an error.
    Parent folders are made."""
    for path in out.parent.glob("*.part"):
        if re.fullmatch(rf"\.{re.escape(out.name)}\.\d+(\.\w+)?\.part", path.name):
            with contextlib.suppress(OSError):  # a leftover that cannot be removed does no harm
                if path.name.endswith(".old.part") and not out.exists():
                    replace(path, out)  # a kill came before the new folder took its place
                else:
                    _remove(path)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    old = probe.temporary_path(out, "old")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if not out.suffix:
            _check_replaceable(out)
        yield part
        for path in part.iterdir() if part.is_dir() else [part]:
            with path.open("rb+") as file:
                flush(file.fileno())
        if part.is_dir() and out.exists():
            replace(out, old)  # one folder cannot replace another atomically
        try:
            replace(part, out)
        except BaseException:
            if os.path.lexists(old):
                replace(old, out)
            raise
        sync_folder(out.parent)
        _remove(old)
    except ConnectionError:  # raised by whoever follows the progress, and has gone
        raise
    except OSError as error:
        raise Error(f"{out} cannot be written ({error.strerror or error}){held_note(error)}") from None
    finally:
        for path in (part, probe.temporary_path(out, "sound")):
            with contextlib.suppress(OSError):
                _remove(path)


def _remove(path: Path) -> None:
    """Remove a file, or a folder with nothing in it but PNG files and what file managers leave."""
    if path.is_dir() and not path.is_symlink():
        for file in path.iterdir():
            if file.suffix == ".png" or _SYSTEM_FILES.fullmatch(file.name):
                file.unlink(missing_ok=True)  # ._ files vanish with the files that they belong to
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def _export(
    frames: Sequence[Path],
    folder: Path,
    scaled: tuple[int, int],
    size: tuple[int, int],
    bare: bool,
    report: Callable[[int], object],
) -> None:
    """Write the frames into a folder, numbered as other tools expect: as they are, or resized and cropped to `size`, and
    without the texts in them if `bare`."""
    folder.mkdir()
    left, top = ((whole - part) // 2 for whole, part in zip(scaled, size))
    for index, frame in enumerate(frames):
        target = folder / f"{index:06d}.png"
        try:
            with Image.open(frame) as image:
                changed = None  # the picture, unless the file can be copied
                if image.size != size or bare:
                    changed = image.resize(scaled, Image.Resampling.LANCZOS)
                    changed = changed.crop((left, top, left + size[0], top + size[1]))
                else:
                    image.verify()
        except (OSError, SyntaxError):
            raise Error(f"{frame} is not a whole picture") from None
        if changed and changed.mode == "RGB":
            target.write_bytes(png.encode(np.asarray(changed), {}))
        elif changed:
            changed.info.clear()
            changed.save(target, compress_level=1)
        else:
            shutil.copyfile(frame, target)
        report(index + 1)


def _pictures_in(folder: Path, fps: Fraction) -> Pictures:
    """What `probe.timestamps` returns of a film, of an export."""
    pictures = [folder / name for name in pictures_of(folder)]
    return Pictures([index / fps for index in range(len(pictures))], _size_of(pictures[0]), Fraction(0))

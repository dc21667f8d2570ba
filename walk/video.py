"""Frames become a film. The only file that starts ffmpeg.

ffmpeg comes with imageio-ffmpeg, so that none need be installed. What is made follows from the name's
suffix (FORMATS), and how an encoder is asked for quality from ENCODERS. Knows files and rates, no walks.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import imageio_ffmpeg
from PIL import Image

from walk import Error

QUALITY = 17  # x264's constant rate factor: 0 lossless, 17 hardly told from the frames, 51 worst
SHORT_SIDE = 512  # pixels; smaller pictures are enlarged to it
TITLE = 255  # bytes of a chapter's title; the list that many players read would be cut there

# It may be anybody's film: one that is a playlist would make ffmpeg open what it names.
_SAFE = ["-protocol_whitelist", "file", "-format_whitelist", "mov,matroska,webm,gif,avi,mpegts,flv,ogg"]


@dataclass(frozen=True)
class Metadata:
    """What a film says of itself. A chapter is (start in seconds, title), and lasts until the next or the end."""

    title: str
    comment: str
    chapters: tuple[tuple[Fraction, str], ...] = ()


class Format(NamedTuple):
    codecs: tuple[str, ...]  # the first is the default
    options: str  # for the file
    video: bool = True  # YUV pictures, whose sides are even, and room for metadata


class Encoder(NamedTuple):
    options: str  # {} is the quality
    quality: tuple[int, int, int] | None = None  # default, best, worst; None: there is nothing to choose
    pixels: str = "yuv420p"


FORMATS = {
    ".mp4": Format(("h264", "h265", "av1"), "-f mp4 -movflags +faststart"),
    ".webm": Format(("vp9", "av1"), "-f webm"),
    # QuickTime's older tags, which ffmpeg writes unless told, hold 64 kB at most.
    ".mov": Format(("prores", "h264", "h265"), "-f mov -movflags +faststart+use_metadata_tags"),
    ".gif": Format(("gif",), "-f gif -loop 0", video=False),  # 0: for ever
    "": Format(("png",), "", video=False),  # a folder
}
SUFFIXES = tuple(suffix for suffix in FORMATS if suffix)

CODECS = {  # which encoder makes it: the first that this ffmpeg has
    "h264": ("libx264",),
    "h265": ("libx265",),
    "av1": ("libsvtav1", "libaom-av1"),  # SVT is ten times as fast, but not in every build
    "vp9": ("libvpx-vp9",),
    "prores": ("prores_ks",),
    "gif": ("gif",),
    "png": ("png",),
}

# Each default is as near to the frames as x264's 17 (SSIM of 0.998 for the built-in model's). Encoders
# that would sign the stream with their name and settings are asked not to, or the note is taken out.
ENCODERS = {
    "libx264": Encoder("-crf {} -bsf:v filter_units=remove_types=6", (QUALITY, 0, 51)),
    "libx265": Encoder("-crf {} -x265-params info=0:log-level=error", (18, 0, 51)),
    "libsvtav1": Encoder("-crf {} -preset 6", (20, 1, 63)),
    "libaom-av1": Encoder("-crf {} -b:v 0 -cpu-used 6 -row-mt 1", (20, 0, 63)),
    "libvpx-vp9": Encoder("-crf {} -b:v 0 -deadline good -cpu-used 2 -row-mt 1", (20, 0, 63)),
    "prores_ks": Encoder("-profile:v 2 -vendor apl0", None, "yuv422p10le"),  # 2: ProRes 422
    "gif": Encoder("", None, "pal8"),
    "png": Encoder("", None, "rgb24"),
    # By ffmpeg's own names only, and tried before they are used (`validate`).
    "prores*": Encoder("-profile:v 2", None, "yuv422p10le"),
    "librav1e": Encoder("-qp {} -speed 6", (60, 0, 255)),
    "*_nvenc": Encoder("-preset slow -rc vbr -cq {} -b:v 0", (19, 1, 51)),
    "*_qsv": Encoder("-global_quality {}", (19, 1, 51)),
    "*_amf": Encoder("-rc cqp -qp_i {0} -qp_p {0}", (19, 0, 51)),
    "*_videotoolbox": Encoder("-q:v {}", (75, 100, 1)),
    "*": Encoder("-b:v 20M"),  # what ffmpeg gives unless told can be 200 kbit a second
}


def encode(
    frames: Sequence[Path],
    out: Path | str,
    fps: Fraction,
    size: int | None = None,
    quality: int | None = None,
    codec: str | None = None,
    metadata: Metadata | None = None,
    report: Callable[[int], object] = lambda count: None,
) -> None:
    """Make a film of PNG files of one size, at a constant rate, in BT.709 (or as GIF or PNG, in RGB).

    out: its suffix is one of FORMATS; without one it is a folder, for the frames as they are.
    fps: a GIF takes the nearest that it can show (`shown_fps`), a folder none.
    size: pixels on the film's short side; None: the frames' own, but 512 at least (in a folder: theirs).
    quality: on the encoder's own scale (ENCODERS); None: its default.
    codec: one of the format's codecs, or an encoder by ffmpeg's own name, such as h264_nvenc.
    metadata: what the film says of itself; None: nothing. There is no room for it in a GIF or a folder.
    report: called with the number of frames handed over so far.

    The film appears whole and checked, or not at all; on one machine, the same input gives the same
    bytes. Raises Error if it cannot be made.
    """
    out = Path(out)
    encoder = _choose(out, size, quality, codec)
    with Image.open(frames[0]) as first:
        shape = film_size(first.size, size, out)
    fps = shown_fps(out, fps)
    bare = metadata is None
    metadata = _storable(metadata) if metadata and _format(out).video else None
    with tempfile.TemporaryDirectory() as scratch, _whole(out) as part:
        source = [*_ffmpeg(), "-f", "image2pipe", "-c:v", "png", "-framerate", str(fps), "-i", "-"]
        target = [*_format(out).options.split(), "-fflags", "+bitexact", "-y", f"file:{part}"]
        if encoder == "png":
            _export(frames, part, shape, bare, report)
        elif encoder == "gif":
            _gif(source, target, Path(scratch, "palette.png"), frames, shape, report)
        else:
            texts = _texts(Path(scratch, "texts"), metadata, len(frames) / fps)
            _feed([*source, *texts, *_pictures(encoder, quality, shape), *target], frames, report)
        check(part, len(frames), fps, shape, metadata)


def validate(out: Path | str, size: int | None = None, quality: int | None = None, codec: str | None = None) -> None:
    """Raise Error for what `encode` would refuse, and for an encoder that does not work on this machine."""
    out = Path(out)
    encoder = _choose(out, size, quality, codec)
    if not out.suffix:
        _check_replaceable(out)
    if encoder in ENCODERS:
        return
    # ffmpeg lists hardware encoders whether or not the hardware is there. Two frames will tell.
    with tempfile.TemporaryDirectory() as scratch:
        frame = Path(scratch, "frame.png")
        Image.new("RGB", (512, 512)).save(frame)
        try:
            encode([frame] * 2, frame.with_suffix(out.suffix), Fraction(25), None, quality, encoder)
        except Error as error:
            raise Error(f"codec {encoder} does not work on this machine: {error}") from None


def film_size(frame: tuple[int, int], size: int | None = None, out: Path | str = "film.mp4") -> tuple[int, int]:
    """(width, height) of the film for frames of this size; both even, but for GIF and PNG."""
    out = Path(out)
    short = size or max(SHORT_SIDE if out.suffix else 0, min(frame))
    step = 2 if _format(out).video else 1
    width, height = (round(Fraction(side * short, min(frame)) / step) * step for side in frame)
    return width, height


def shown_fps(out: Path | str, fps: Fraction) -> Fraction:
    """The nearest rate that this format can show: any, but GIF counts whole hundredths of a second."""
    if _format(Path(out)) is not FORMATS[".gif"]:
        return fps
    # Browsers take a delay of less than two for a mistake, and wait for ten.
    delays = [min(max(delay, 2), 65535) for delay in (math.floor(100 / fps), math.ceil(100 / fps))]
    return min((Fraction(100, delay) for delay in delays), key=lambda rate: abs(rate - fps))


def check(film: Path, frames: int, fps: Fraction, size: tuple[int, int], metadata: Metadata | None = None) -> None:
    """Raise Error unless the film has exactly these frames, at exactly this rate and size, and this metadata."""
    try:
        times, shown, tick = _pictures_in(film, fps) if film.is_dir() else _packets(film)
    except Error:
        raise Error("the film that ffmpeg made cannot be read") from None
    # WebM counts thousandths of a second; everywhere else time is exact.
    slack = tick / 2 if tick == Fraction(1, 1000) else 0
    wrong = []
    if len(times) != frames:
        wrong.append(f"{len(times)} frames instead of {frames}")
    elif any(abs(time - index / fps) > slack for index, time in enumerate(times)):
        wrong.append(f"frames that are not at {fps} a second")
    if shown != size:
        wrong.append("{}x{} pixels instead of {}x{}".format(*shown, *size))
    if metadata and read_metadata(film) != _storable(metadata):
        wrong.append("other metadata than it was given")
    if wrong:
        raise Error(f"the film that ffmpeg made has {' and '.join(wrong)}")


def read_metadata(film: Path) -> Metadata:
    """What any film's container says of it; '' where it says nothing. Raises Error if it is no film."""
    # With one frame, as it is, so that a sound file, which has none, is refused.
    text = _read(film, "-c", "copy", "-frames:v", "1", "-f", "ffmetadata")
    sections: list[tuple[str, dict[str, str]]] = []
    for line in re.findall(r"((?:\\.|[^\\\n])*)\n", text, re.DOTALL):
        if pair := re.match(r"((?:\\.|[^\\=])*)=(.*)", line, re.DOTALL):
            key, value = (re.sub(r"\\(.)", r"\1", part, flags=re.DOTALL) for part in pair.groups())
            sections[-1][1].setdefault(key.lower(), value)  # Matroska shouts its keys
        else:
            sections.append((line, {}))
    said = sections[0][1]
    chapters = [values for name, values in sections if name == "[CHAPTER]"]
    return Metadata(
        said.get("title", ""),
        said.get("comment", ""),
        tuple((Fraction(it["timebase"]) * int(it["start"]), it.get("title", "")) for it in chapters),
    )


def timestamps(film: Path) -> tuple[list[Fraction], tuple[int, int]]:
    """When each frame of any film is shown, in seconds and in order; and (width, height). Decodes nothing."""
    return _packets(film)[:2]


def colour_tags(film: Path) -> str:
    """How any film tells players to read its colours, in ffmpeg's words, as in 'yuv420p, tv, bt709'."""
    # The film's own texts come before what the filter says of the frame.
    text = _read(film, "-frames:v", "1", "-vf", "showinfo", "-map_metadata", "-1", "-f", "null", "-loglevel", "info")
    return ", ".join(re.findall(rf" {key}:(\w+)", text)[-1] for key in ("fmt", "color_range", "color_space"))


@functools.cache
def encoders() -> dict[str, str]:
    """The video encoders that this ffmpeg lists, and the codec that each makes."""
    text = subprocess.run([*_ffmpeg(), "-encoders"], capture_output=True, text=True, check=False).stdout
    return {name: codec or name for name, codec in re.findall(r"^ V\S+ (\w\S*)(?:.*\(codec (\w+)\))?", text, re.M)}


def bare_copy(film: Path, copy: Path) -> None:
    """The film's pictures and sound, not decoded, without metadata: readers that parse ffmpeg's report
    are led astray by a prompt that looks like one. Raises Error if it is no film."""
    safe = [*_SAFE, "-i", f"file:{film}", "-map", "0:v:0", "-map", "0:a?", "-map_chapters", "-1", "-map_metadata", "-1"]
    command = [*_ffmpeg(), *safe, "-c", "copy", "-f", "nut", "-y", f"file:{copy}"]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        raise Error(f"{film} is no film that ffmpeg can read")


# What encode would refuse


def _format(out: Path) -> Format:
    suffix = out.suffix.lower()
    if suffix not in FORMATS or (not suffix and ("." in out.name or not out.name)):
        raise Error(f"{out}: a film's name ends in {either(SUFFIXES)}; a folder of PNG files is written FOLDER/")
    return FORMATS[suffix]


def _choose(out: Path, size: int | None, quality: int | None, codec: str | None) -> str:
    """ffmpeg's name of the encoder, or Error for what this format or this encoder cannot do."""
    form = _format(out)
    if size is not None and ((form.video and size % 2) or not 16 <= size <= 8192):
        number = "an even number" if form.video else "a number"
        raise Error(f"size {size} is not possible; the film's short side is {number} from 16 to 8192")
    codec = codec or form.codecs[0]
    encoder = _encoder(out.suffix or "a folder", form, codec)
    scale = _row(encoder).quality
    if quality is not None and scale is None:
        raise Error(f"quality {quality} has no meaning for {codec}; leave it out")
    if quality is not None and scale and not min(scale[1:]) <= quality <= max(scale[1:]):
        raise Error(
            f"quality {quality} is out of range; for {codec} it is a whole number from {scale[1]} (best) to {scale[2]}"
        )
    return encoder


def _encoder(where: str, form: Format, codec: str) -> str:
    """The encoder for a codec, or for its own name, or Error that says what there is."""
    families = ["hevc" if name == "h265" else name for name in form.codecs]  # as ffmpeg calls them
    # Not those that take frames only in the device's memory, or make RGB, which hardly anything plays.
    fitting = [name for name, family in encoders().items() if family in families]
    fitting = [name for name in fitting if not name.endswith(("_vaapi", "_vulkan", "rgb"))]
    there = {name: [encoder for encoder in CODECS[name] if encoder in fitting] for name in form.codecs}
    there = {name: names for name, names in there.items() if names}
    there |= {name: [name] for name in sorted(fitting) if name not in CODECS}
    if codec not in there:
        raise Error(f"codec {codec} is not possible in {where}; this ffmpeg has {either(list(there)) or 'none'} for it")
    return there[codec][0]


def _check_replaceable(out: Path) -> None:
    """Raise Error if a folder cannot be put here: something else is than an earlier export."""
    try:
        names = sorted(os.listdir(out)) if os.path.lexists(out) else []
    except OSError as error:
        raise Error(f"{out} cannot be written ({error.strerror})") from None
    for index, name in enumerate(names):
        if name != f"{index:06d}.png":
            raise Error(f"{out} has {name} in it, so it is no earlier export, and is not replaced; give another name")


def either(names: Sequence[str]) -> str:
    """'a, b or c'."""
    return " or ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


# How ffmpeg is asked


def _pictures(encoder: str, quality: int | None, size: tuple[int, int]) -> list[str]:
    """The options that scale, convert and encode, and say what the colours are."""
    row = _row(encoder)
    tags = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
    return [
        # Unless told, ffmpeg converts with BT.601, and players then show other colours. Older versions
        # take the tags from the options, newer ones from the frames.
        *("-vf", f"{_scale(size)}:out_color_matrix=bt709:out_range=tv,format={row.pixels},{tags}"),
        *("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"),
        *("-c:v", encoder, *row.options.format(row.quality[0] if row.quality and quality is None else quality).split()),
        *(("-tag:v", "hvc1") if encoders()[encoder] == "hevc" else ()),  # Apple plays no other
    ]


def _scale(size: tuple[int, int]) -> str:
    return "scale={}:{}:flags=lanczos+accurate_rnd+full_chroma_int+full_chroma_inp".format(*size)


def _gif(
    source: list[str],
    target: list[str],
    palette: Path,
    frames: Sequence[Path],
    size: tuple[int, int],
    report: Callable[[int], object],
) -> None:
    """Twice through the frames: one palette for all of them, then the film. (At one go ffmpeg keeps them in memory.)"""
    # Every colour of large frames would take longer to sort than all the rest: a pixel here and there will do.
    find = "scale={}:{}:flags=neighbor,palettegen=stats_mode=full:reserve_transparent=0"
    find = find.format(*film_size(size, min(128, *size), "film.gif"))
    # A pattern that stands still. Error diffusion is nearer to the colours, but it boils in still
    # surfaces (six times the flicker), and takes half as many bytes again.
    use = f"[0:v]{_scale(size)}[film];[film][1:v]paletteuse=dither=bayer:bayer_scale=2"
    first = [*source, "-vf", find, "-c:v", "png", "-f", "image2pipe", f"file:{palette}"]
    second = [*source, "-i", f"file:{palette}", "-filter_complex", use, *target]
    _feed(first, frames, lambda count: report(count // 2))
    _feed(second, frames, lambda count: report((len(frames) + count) // 2))


def _texts(file: Path, metadata: Metadata | None, seconds: Fraction) -> list[str]:
    """The options that put the metadata into a film, by way of this file; or nothing at all."""
    silence = ["-metadata:s:v:0", "encoder="]  # else ffmpeg names it
    if metadata is None:
        return ["-map_metadata", "-1", "-map_chapters", "-1", *silence]
    lines = [";FFMETADATA1", f"title={_escaped(metadata.title)}", f"comment={_escaped(metadata.comment)}"]
    starts = [int(start * 1000) for start, _ in metadata.chapters]
    ends = [*starts[1:], max(int(seconds * 1000), *starts, 0)]
    for (_, title), start, end in zip(metadata.chapters, starts, ends):
        lines += ["[CHAPTER]", "TIMEBASE=1/1000", f"START={start}", f"END={end}", f"title={_escaped(title)}"]
    file.write_bytes("\n".join([*lines, ""]).encode())
    maps = "-map 0:v -map_metadata 1 -map_chapters 1"
    return ["-f", "ffmetadata", "-i", f"file:{file}", *maps.split(), *silence]


def _escaped(text: str) -> str:
    # To ffmpeg a line goes on after any backslash, even one that is escaped itself. At the end of a
    # text an escaped NUL, of which nothing is left, comes between.
    return re.sub(r"[=;#\\\r\n]", r"\\\g<0>", text) + "\\\0" * text.endswith("\\")


def _storable(metadata: Metadata) -> Metadata:
    """The metadata as a film can hold it: UTF-8, without NUL; titles of a length that players read.

    Chapters start at whole milliseconds, rounded up (otherwise one would show the frame before its
    first), and the first starts with the film: QuickTime has no room for anything before it.
    """

    def clean(text: str, end: int | None = None) -> str:
        data = text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace")
        return data[:end].decode("utf-8", "ignore")

    starts = [Fraction(math.ceil(start * 1000), 1000) for start, _ in metadata.chapters]
    titles = [clean(title, TITLE) for _, title in metadata.chapters]
    chapters = tuple(zip([Fraction(0), *starts[1:]], titles))
    return Metadata(clean(metadata.title), clean(metadata.comment), chapters)


def _feed(command: list[str], frames: Sequence[Path], report: Callable[[int], object]) -> None:
    """Run ffmpeg with the files' bytes on its standard input."""
    quiet = os.environ | {"SVT_LOG": "1"}  # errors only
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said, env=quiet)
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
            said.seek(0)
            complaints = said.read().decode(errors="replace")
            if "No space left" in complaints:
                raise Error("the disk is full")
            # The first says why, as in "[h264_nvenc @ 0x1] Cannot load libcuda.so.1"; the others, that it was in vain.
            why = (complaints.strip() or f"exit status {status}").splitlines()[0].rpartition("] ")[2]
            raise Error(f"ffmpeg could not make the film: {why}")


def _packets(film: Path) -> tuple[list[Fraction], tuple[int, int], Fraction]:
    """What `timestamps` gives, and the unit in which this file counts time."""
    lines = _read(film, "-c", "copy", "-f", "framecrc").splitlines()
    head = dict(line[1:].split(" 0: ") for line in lines if " 0: " in line)
    tick = Fraction(head["tb"])
    width, height = map(int, head["dimensions"].split("x"))
    times = [int(line.split(",")[2]) * tick for line in lines if not line.startswith("#")]
    return sorted(times), (width, height), tick


def _read(film: Path, *options: str) -> str:
    """What ffmpeg tells of a film's pictures, or Error if there are none."""
    safe = ["-protocol_whitelist", "file", "-format_whitelist", "mov,matroska,webm,gif,avi,mpegts,flv,ogg"]
    try:
        film.open("rb").close()
    except OSError as error:
        raise Error(f"{film} cannot be read ({error.strerror})") from None
    command = [*_ffmpeg(), *safe, "-i", f"file:{film}", "-map", "0:v:0", *options, "-"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise Error(f"{film} is no film that ffmpeg can read")
    return (done.stdout or done.stderr).decode(errors="replace")


def _row(encoder: str) -> Encoder:
    return next(row for pattern, row in ENCODERS.items() if fnmatch(encoder, pattern))


def _ffmpeg() -> list[str]:
    return [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-nostdin"]


# What lies on the disk


@contextlib.contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A name beside `out` for a file or a folder, which takes its place in the end, or is removed."""
    for path in out.parent.glob("*.part"):
        if re.fullmatch(rf"\.{re.escape(out.name)}\.\d+(\.old)?\.part", path.name):
            _remove(path)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    old = out.with_name(f".{out.name}.{os.getpid()}.old.part")
    try:
        if not out.suffix:
            _check_replaceable(out)
        yield part
        for path in part.iterdir() if part.is_dir() else [part]:
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        if part.is_dir() and out.exists():
            os.replace(out, old)  # one folder cannot replace another at one stroke
        os.replace(part, out)
        _remove(old)
    except OSError as error:
        raise Error(f"{out} cannot be written ({error.strerror or error})") from None
    finally:
        _remove(part)


def _remove(path: Path) -> None:
    """Remove a file, or a folder with nothing but PNG files in it."""
    if path.is_dir() and not path.is_symlink():
        for picture in path.glob("*.png"):
            picture.unlink()
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def _export(
    frames: Sequence[Path], folder: Path, size: tuple[int, int], bare: bool, report: Callable[[int], object]
) -> None:
    """The frames as they are, or resized, or without the texts in them, under the numbers that other tools expect."""
    folder.mkdir()
    for index, frame in enumerate(frames):
        target = folder / f"{index:06d}.png"
        try:
            with Image.open(frame) as image:
                as_it_is = image.size == size and not bare
                changed = image.verify() if as_it_is else image.resize(size, Image.Resampling.LANCZOS)
        except (OSError, SyntaxError):
            raise Error(f"{frame} is not a whole picture") from None
        if changed:
            changed.info.clear()
            changed.save(target, compress_level=1)
        else:
            shutil.copyfile(frame, target)
        report(index + 1)


def _pictures_in(folder: Path, fps: Fraction) -> tuple[list[Fraction], tuple[int, int], Fraction]:
    """Of an export what `_packets` tells of a film."""
    pictures = sorted(folder.iterdir())
    with Image.open(pictures[0]) as first:
        return [index / fps for index in range(len(pictures))], first.size, Fraction(0)

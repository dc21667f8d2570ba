"""Film and sound of one length, and a click heard with its frame: 300 lengths, frame rates and starts.

    python tests/benchmarks/sync.py [--cases 300] [--seed 0]

Read back by PyAV. The promise: half a frame and one packet at most. The lengths, rates and starts are
random, but for those at which other tools fail: 29, 57 and 58 frames at 25 and 24000/1001 a second.
"""

import argparse
import json
import random
import tempfile
import wave
from collections import Counter
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from walk import sounds, video

RATES = [Fraction(rate) for rate in (8, "25/2", 24, 25, 30, 50, 60)]
RATES += [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60000, 1001)]
SOUNDS = (22050, 44100, 48000, 96000)
CLICK = 0.37  # seconds from one to the next


def source(folder: Path, rate: int) -> tuple[Path, np.ndarray]:
    """A stereo sound of 12 s, and where it clicks, on the left."""
    samples = np.zeros((12 * rate, 2), np.int16)
    samples[:, 1] = np.random.default_rng(0).normal(0, 1000, len(samples))
    clicks = (np.arange(0.11, 12, CLICK) * rate).astype(int)
    samples[clicks, 0] = 25000
    with wave.open(str(folder / f"{rate}.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return folder / f"{rate}.wav", clicks


def read(film: Path) -> tuple[int, Fraction, Fraction, Fraction, np.ndarray]:
    """(frames, seconds of pictures, seconds of sound, a packet's length, samples on the left)."""
    with av.open(str(film)) as container:
        pictures, sounds = container.streams.video[0], container.streams.audio[0]
        packets = [packet for packet in container.demux(pictures, sounds) if packet.size]
        frames = [packet for packet in packets if packet.stream is pictures]
        heard = [packet for packet in packets if packet.stream is sounds]
        shown = max((packet.pts + packet.duration) * packet.time_base for packet in frames)
        end = max((packet.pts + packet.duration) * packet.time_base for packet in heard)
        longest = max(packet.duration * packet.time_base for packet in heard)
    with av.open(str(film)) as container:
        resampler = av.AudioResampler("fltp")
        left = [part.to_ndarray()[0] for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return len(frames), shown, end, longest, np.concatenate(left)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    cases = [(Fraction(count), fps) for count in (29, 57, 58) for fps in (Fraction(25), Fraction(24000, 1001))]
    while len(cases) < options.cases:
        fps = rng.choice(RATES)
        cases.append((Fraction(rng.uniform(1, 8)) * fps, fps))

    largest, share, late, failed, kinds = 0.0, 0.0, 0, 0, Counter()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        sources = {rate: source(folder, rate) for rate in SOUNDS}
        frames = [folder / f"{i}.png" for i in range(500)]
        for i, frame in enumerate(frames):
            Image.new("RGB", (16, 16), (i % 256, 255 - i % 256, i // 2)).save(frame)
        for number, (length, fps) in enumerate(cases):
            film = folder / ("film.mp4", "film.mov", "film.webm")[number % 3]
            rate, start = rng.choice(SOUNDS), Fraction(rng.uniform(0, 3))
            path, clicks = sources[rate]
            sound = sounds.read_sound(path, start, length / fps)
            count = max(1, int(sound.seconds * fps + Fraction(1, 2)))
            video.encode(frames[:count], film, fps, size=16, sound=sound)
            shown, pictures, end, packet, left = read(film)
            error = abs(end - count / fps)
            largest = max(largest, float(error))
            share = max(share, float(error / (1 / (2 * fps) + packet)))
            failed += shown != count or abs(pictures - count / fps) > Fraction(1, 500) or error > 1 / (2 * fps) + packet
            kinds[film.suffix] += 1
            first = int(start * rate + Fraction(1, 2))
            for place in clicks - first:
                if 600 < place < len(sound.samples) - 600:
                    around = np.abs(left[place - 500 : place + 500])
                    late = max(late, abs(int(np.argmax(around)) - 500))
            if number % 50 == 49:
                print(f"{number + 1} cases: largest error {largest:.4f} s, {share:.3f} of what is promised")
    print(
        json.dumps(
            {
                "cases": len(cases),
                "formats": dict(kinds),
                "failed": failed,
                "largest_error_seconds": round(largest, 5),
                "largest_error_of_half_a_frame_and_a_packet": round(share, 4),
                "largest_error_of_a_click_in_samples": late,
            }
        )
    )


if __name__ == "__main__":
    main()

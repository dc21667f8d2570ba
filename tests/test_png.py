import io
import tracemalloc
import zlib

import av
import numpy as np
import pytest
from PIL import Image

from walk import png


def a_picture(height=37, width=53):
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("compress", [png.compress, zlib.compress], ids=["as installed", "zlib"])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (37, 53), (512, 300)], ids=str)
def test_others_read_the_same_picture_and_texts(tmp_path, monkeypatch, compress, size):
    monkeypatch.setattr(png, "compress", compress)
    picture, texts = a_picture(*size), {"walk": '{"a": 1}', "empty": ""}
    data = png.encode(picture, texts)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), picture)
        assert image.info == texts
    (path := tmp_path / "a.png").write_bytes(data)
    with av.open(str(path)) as file:
        np.testing.assert_array_equal(next(file.decode(video=0)).to_ndarray(format="rgb24"), picture)


def test_damage_to_any_byte_is_found(tmp_path):
    good, path = png.encode(a_picture(13, 21), {"name": "abc"}), tmp_path / "a.png"
    path.write_bytes(good)
    assert png.is_whole(path, "name", "abc")
    assert not png.is_whole(path, "name", "abd")
    assert not png.is_whole(tmp_path / "b.png", "name", "abc")
    damaged = [good[:n] for n in range(len(good))]  # cut anywhere
    damaged += [good[:n] + bytes([good[n] ^ 1]) + good[n + 1 :] for n in range(len(good))]  # one bit anywhere
    damaged += [good + b"\0", good[:100] + good[101:]]
    for data in damaged:
        path.write_bytes(data)
        assert not png.is_whole(path, "name", "abc")


def test_a_damaged_length_takes_no_more_memory_than_the_file(tmp_path):
    good, path = png.encode(a_picture(), {"name": "abc"}), tmp_path / "a.png"
    path.write_bytes(good[:33] + b"\x7f\xff\xff\xff" + good[37:])
    tracemalloc.start()
    assert not png.is_whole(path, "name", "abc")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * len(good)


def test_files_are_no_larger_than_pillows_fastest():
    """Of a picture such as models make: smooth, with a little noise."""
    coarse = Image.fromarray(a_picture(32, 32)).resize((512, 512), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(0).normal(0, 3, (512, 512, 3))
    picture = (np.asarray(coarse) + noise).clip(0, 255).astype(np.uint8)
    Image.fromarray(picture).save(pillows := io.BytesIO(), "png", compress_level=1)
    assert len(png.encode(picture, {})) < 1.1 * len(pillows.getvalue())

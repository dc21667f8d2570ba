import hashlib
import os

import pytest

from walk import digests

DATA = os.urandom(5 << 20)


@pytest.fixture
def large(tmp_path, monkeypatch):
    monkeypatch.setattr(digests, "LARGE", 1 << 20)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "large.safetensors"
    path.write_bytes(DATA)
    return path


def read(path):
    """A file's digest, and how many bytes were read for it."""
    told = [(0, 0)]
    digest = digests.of_file(path, lambda path, done, size: told.append((done, size)))
    assert all(size in (0, path.stat().st_size) for _, size in told)
    return digest, told[-1][0]


def test_a_large_file_is_read_once(large):
    expected = hashlib.sha256(DATA).hexdigest()
    assert read(large) == (expected, len(DATA))
    assert read(large) == (expected, 0)
    assert read(large.rename(large.with_name("renamed"))) == (expected, len(DATA))


def test_a_large_file_is_read_again_when_it_changes_though_size_and_time_do_not(large):
    read(large)
    before = large.stat()
    large.write_bytes(DATA[:-1] + bytes([DATA[-1] ^ 1]))
    os.utime(large, ns=(before.st_atime_ns, before.st_mtime_ns))
    digest, count = read(large)
    assert count == len(DATA)
    assert digest != hashlib.sha256(DATA).hexdigest()


def test_a_damaged_note_is_not_believed(large, tmp_path):
    expected, _ = read(large)
    (note,) = (tmp_path / "cache").rglob("*/digests/*")
    for damage in (b"", b"abc", expected.encode()[:-1] + b"\xff"):
        note.write_bytes(damage)
        assert read(large) == (expected, len(DATA))


@pytest.mark.parametrize("home", ["a file", "nowhere"])
def test_where_nothing_can_be_kept_it_is_read_each_time(large, tmp_path, monkeypatch, home):
    (tmp_path / "a file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a file") if home == "a file" else "~nobody-at-all")
    for _ in range(2):
        assert read(large) == (hashlib.sha256(DATA).hexdigest(), len(DATA))


def test_a_small_file_leaves_no_note(large, tmp_path):
    (small := tmp_path / "small").write_bytes(DATA[:1000])
    assert read(small) == (hashlib.sha256(DATA[:1000]).hexdigest(), 0)
    assert not (tmp_path / "cache").exists()

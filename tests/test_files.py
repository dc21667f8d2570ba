"""Files are whole at any instant, on file systems that can do less than others, too."""

import errno
import os
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest

from walk import files
from walk.files import write_whole


def test_a_file_that_is_stopped_while_it_is_written_leaves_nothing_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "replace", mock.Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "a", b"whole")
    assert not list(tmp_path.iterdir())


def watched(monkeypatch):
    """By what has taken its place by a rename, whether all of it was on the disk by then."""
    synced, on_disk, usual, sync = set(), {}, os.replace, os.fsync

    def fsync(handle):
        synced.add(os.fstat(handle).st_ino)
        sync(handle)

    def replace(part, path):
        whole = [*part.iterdir()] if part.is_dir() else [part]
        on_disk[path.name] = all(file.stat().st_ino in synced for file in whole)
        usual(part, path)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    return on_disk


@pytest.mark.skipif(sys.platform == "darwin", reason="flushes by another call")
def test_a_file_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    on_disk = watched(monkeypatch)
    write_whole(tmp_path / "a", b"whole")
    assert on_disk == {"a": True}


def test_two_that_write_a_file_at_once_leave_a_whole_one(tmp_path):
    texts = [bytes([letter]) * 10_000 for letter in b"abcd"]

    def write(text):
        for _ in range(50):
            write_whole(tmp_path / "a", text)
            assert (tmp_path / "a").read_bytes() in texts

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(write, text) for text in texts]:
            done.result()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def stalling(monkeypatch, code):
    """Folders cannot be made to last, as on some shares."""
    usual = os.fsync

    def fsync(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(code, os.strerror(code))
        usual(handle)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.skipif(os.name != "posix", reason="no such call")
@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP])
def test_a_folder_that_cannot_be_synced_holds_files_all_the_same(tmp_path, monkeypatch, code):
    stalling(monkeypatch, code)
    write_whole(tmp_path / "a", b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"


@pytest.mark.skipif(os.name != "posix", reason="no such call")
def test_a_disk_that_fails_is_told_of(tmp_path, monkeypatch):
    stalling(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        write_whole(tmp_path / "a", b"whole")


@pytest.mark.parametrize(("times", "fails"), [(2, False), (3, True)])
def test_a_file_that_another_program_holds_for_a_moment_is_written_once_it_lets_go(tmp_path, monkeypatch, times, fails):
    """As virus scanners do on Windows."""
    monkeypatch.setattr(files, "PAUSES", (0.0, 0.0))
    held, usual = ["held"] * times, os.replace

    def replace(part, path):
        if held:
            held.pop()
            raise PermissionError(errno.EACCES, "held")
        usual(part, path)

    monkeypatch.setattr(os, "replace", replace)
    (tmp_path / "a").write_bytes(b"before")
    if fails:
        with pytest.raises(PermissionError):
            write_whole(tmp_path / "a", b"after")
    else:
        write_whole(tmp_path / "a", b"after")
    assert (tmp_path / "a").read_bytes() == (b"before" if fails else b"after")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]

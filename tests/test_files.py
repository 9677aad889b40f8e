"""What is written lies where it was to, whole, and nowhere else."""

import os
import stat
import threading
import time
from pathlib import Path

import pytest

from archtrial import files
from archtrial.errors import StudyError
from archtrial.files import check, name_of, tidy, write

posix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="files of POSIX")


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "new" / "folder" / "page.html"
    write(path, "one é")
    assert path.read_text(encoding="utf-8") == "one é"
    write(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


@posix
def test_whoever_the_umask_lets_may_read_it(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "page.html", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "page.html").stat().st_mode) == 0o640


@posix
def test_a_link_is_not_followed(tmp_path):
    treasure = tmp_path / "treasure"
    treasure.write_text("mine")
    study = tmp_path / "study"
    study.mkdir()
    # The name that unfinished files had, and the page itself.
    (study / ".report.html.unfinished").symlink_to(treasure)
    write(study / "report.html", "page")
    assert treasure.read_text() == "mine"
    assert (study / "report.html").read_text() == "page"
    (study / "verdict.json").symlink_to(treasure)
    (study / "dangling").symlink_to(tmp_path / "nothing")
    for name in ("verdict.json", "dangling"):
        with pytest.raises(StudyError, match=f"{name} is a link") as caught:
            write(study / name, "page")
        assert "name another place" in caught.value.way_out
    assert treasure.read_text() == "mine"
    assert not (tmp_path / "nothing").exists()


@posix
def test_a_folder_that_is_a_link_inside_a_study_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    study = tmp_path / "study"
    study.mkdir()
    (study / "tuned").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StudyError, match="tuned is a link"):
        write(study / "tuned" / "mlp.json", "x", within=study)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    # Above the study's folder, links are the user's own.
    (tmp_path / "link").symlink_to(study)
    write(tmp_path / "link" / "kept" / "mlp.json", "x", within=tmp_path / "link")
    assert (study / "kept" / "mlp.json").exists()


@posix
@pytest.mark.parametrize("kind", ["device", "pipe", "folder"])
def test_nothing_but_a_file_is_replaced(tmp_path, kind):
    path = tmp_path / "it"
    if kind == "device":
        path = Path("/dev/null")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    before = path.lstat()
    with pytest.raises(StudyError, match=f"is a {kind}"):
        write(path, "x")
    after = path.lstat()
    assert (before.st_ino, before.st_mode) == (after.st_ino, after.st_mode)
    assert [p for p in tmp_path.iterdir() if p != path] == []


def test_a_name_that_cannot_be(tmp_path):
    for name in ("a" * 300, "a\0b"):
        with pytest.raises(StudyError, match="can be written"):
            write(tmp_path / name, "x")
    (tmp_path / "file").touch()
    with pytest.raises(StudyError, match="can be written"):
        write(tmp_path / "file" / "below", "x")
    check(tmp_path / "file" / "below")  # it is the writing that fails


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    write(tmp_path / "page.html", "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StudyError, match="No space left"):
        write(tmp_path / "page.html", "new")
    assert (tmp_path / "page.html").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


@posix
@pytest.mark.parametrize("code", [22, 5])
def test_a_folder_that_cannot_be_told_to_keep_a_name(tmp_path, monkeypatch, code):
    fsync = os.fsync

    def no_folders(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(code, "no")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", no_folders)
    if code == 22:
        write(tmp_path / "page.html", "x")
    else:
        with pytest.raises(StudyError, match=r"can be written: .*: no"):
            write(tmp_path / "page.html", "x")


def test_two_writers_of_one_file_never_mix(tmp_path):
    path, contents = tmp_path / "page", ["a" * 100_000, "b" * 100_000]

    def often(content):
        for _ in range(20):
            write(path, content)

    threads = [threading.Thread(target=often, args=(c,)) for c in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in contents
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_writes_left_is_removed_and_nothing_else(tmp_path):
    old = time.time() - 2 * files._OLD
    (tmp_path / "tuned").mkdir()
    (tmp_path / "elsewhere").mkdir()
    gone = [tmp_path / ".1f.unfinished", tmp_path / "tuned" / ".2f.unfinished"]
    young = tmp_path / ".3f.unfinished"
    other = [tmp_path / ".hidden", tmp_path / "elsewhere" / "unfinished"]
    for path in (*gone, young, *other):
        path.touch()
        if path != young:
            os.utime(path, (old, old))
    (tmp_path / ".4f.unfinished").mkdir()
    tidy(tmp_path)
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in (young, *other, tmp_path / ".4f.unfinished"))


NAMES = [
    "mlp", "mlp(width=8) + norm", "a/b", "../..", ".", "", "é", "\u7f51" * 25,
    "\u7f51" * 28, "x" * 227, "x" * 228, "x" * 229, "x" * 5000, "x" * 4999 + "y", "con",
    "CON", "nul.txt", "com1", "lpt9.a.b", "console", "\ud800", "a\nb", "%2F", "%-",
    "con" + "x" * 5000, "aux." + "x" * 5000,
]  # fmt: skip


def test_any_name_becomes_one_that_a_file_can_have(tmp_path):
    made = {name: name_of(name) for name in NAMES}
    assert len(set(made.values())) == len(NAMES)
    for name, made_of_it in made.items():
        assert len(made_of_it.encode()) <= 228
        assert "/" not in made_of_it
        assert made_of_it.partition(".")[0].lower() not in files._RESERVED
        place = tmp_path / f"{made_of_it}.1234567.safetensors"
        write(place, name.encode(errors="surrogatepass"))
    assert len(list(tmp_path.iterdir())) == len(NAMES)
    # What studies keep already lies where it lay.
    assert made["mlp(width=8) + norm"] == "mlp(width=8) + norm"
    assert made["a/b"] == "a%2Fb"
    assert made["\u7f51" * 28].startswith("%E7%BD%91")

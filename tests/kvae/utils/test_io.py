"""kvae.utils.io: files are whole or absent, folders are never overwritten."""

import errno
import hashlib
import json
import os
import pathlib

import numpy as np
import pytest

from kvae.utils import io


def leftovers(folder, *expected):
    """What else is below `folder` than the expected names."""
    return sorted({path.name for path in folder.iterdir()} - set(expected))


def test_writes_the_file_and_nothing_else(tmp_path):
    path = tmp_path / "a" / "b" / "report.weights.h5"
    with io.atomic_write(path) as temporary:
        assert temporary.name == path.name and temporary.parent.parent == path.parent
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert leftovers(path.parent, path.name) == []


def test_replaces_the_old_file_at_the_end(tmp_path):
    path = tmp_path / "report.json"
    path.write_text("old")
    with io.atomic_write(str(path)) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt(), ValueError("x")])
@pytest.mark.parametrize("old", [True, False])
def test_a_failure_keeps_what_was_there(tmp_path, error, old):
    path = tmp_path / "report.json"
    if old:
        path.write_text("old")
    with pytest.raises(type(error)), io.atomic_write(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.exists() == old
    assert not old or path.read_text() == "old"
    assert leftovers(tmp_path, "report.json") == []


def test_a_block_that_writes_nothing_fails(tmp_path):
    path = tmp_path / "report.json"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), io.atomic_write(path):
        pass
    assert path.read_text() == "old" and leftovers(tmp_path, path.name) == []


@pytest.mark.parametrize("write", [io.atomic_write, io.atomic_directory])
@pytest.mark.parametrize("below", [("name",), ("deeper", "name")])
def test_a_parent_that_is_a_file_is_named(tmp_path, write, below):
    obstacle = tmp_path / "obstacle"
    obstacle.write_text("a file")
    with pytest.raises(NotADirectoryError, match=f"{obstacle} is a file, not a folder"):
        with write(obstacle.joinpath(*below)):
            raise AssertionError("the block must not run")
    assert obstacle.read_text() == "a file" and leftovers(tmp_path, "obstacle") == []


def test_a_folder_is_made_before_it_is_needed(tmp_path):
    folder = tmp_path / "new" / "folder"
    for _ in range(2):
        assert io.writable_folder(folder) == folder and folder.is_dir()
    file = folder / "file"
    file.write_text("a file")
    for path in (file, file / "below"):
        with pytest.raises(NotADirectoryError, match=f"write to {path}: {file} is a file"):
            io.writable_folder(path)


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path):
    with pytest.raises(IsADirectoryError, match=f"{tmp_path} is.* a folder|{tmp_path}: it is a"):
        with io.atomic_write(tmp_path):
            raise AssertionError("the block must not run")


@pytest.mark.parametrize("write", [io.atomic_write, io.atomic_directory])
def test_a_folder_without_permission_is_named(tmp_path, write, monkeypatch):
    # Permissions do not bind the superuser, whom tests may run as: the answers are made up.
    monkeypatch.setattr(io.os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match=f"{tmp_path} is not writable"):
        with write(tmp_path / "name"):
            raise AssertionError("the block must not run")

    def refuse(self, *arguments, **options):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(pathlib.Path, "mkdir", refuse)
    with pytest.raises(PermissionError, match="Cannot create the folder.*Permission denied"):
        with write(tmp_path / "new" / "name"):
            raise AssertionError("the block must not run")


def test_directory_appears_whole(tmp_path):
    path = tmp_path / "a" / "1"
    with io.atomic_directory(path) as temporary:
        (temporary / "inside").mkdir()
        (temporary / "inside" / "file").write_text("x")
        assert not path.exists()
    assert (path / "inside" / "file").read_text() == "x"
    assert leftovers(path.parent, "1") == []
    # Others may read it, as any folder made by mkdir.
    reference = tmp_path / "reference"
    reference.mkdir()
    assert os.stat(path).st_mode == os.stat(reference).st_mode


def test_directory_is_never_overwritten(tmp_path):
    path = tmp_path / "1"
    path.mkdir()
    (path / "file").write_text("old")
    with pytest.raises(FileExistsError, match=f"{path} exists and is not overwritten"):
        with io.atomic_directory(path):
            raise AssertionError("the block must not run")
    assert (path / "file").read_text() == "old" and leftovers(tmp_path, "1") == []


def test_directory_made_meanwhile_is_kept(tmp_path):
    path = tmp_path / "1"
    with pytest.raises(FileExistsError, match="made meanwhile"):
        with io.atomic_directory(path) as temporary:
            (temporary / "file").write_text("new")
            path.mkdir()
            (path / "file").write_text("theirs")
    assert (path / "file").read_text() == "theirs" and leftovers(tmp_path, "1") == []


def test_directory_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ValueError), io.atomic_directory(tmp_path / "1") as temporary:
        (temporary / "file").write_text("half")
        raise ValueError
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("size", [0, 1, (1 << 20) + 1])
def test_sha256(tmp_path, size):
    content = bytes(i % 251 for i in range(size))
    (tmp_path / "file").write_bytes(content)
    assert io.sha256_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError(f"x.data: {os.strerror(errno.ENOSPC)}"),  # As TensorFlow says it.
    ],
)
def test_a_full_disk_is_said_in_one_line(tmp_path, error):
    with pytest.raises(OSError, match=r"is full \(\d+ MB free\), and nothing came.* Go") as caught:
        with io.disk_errors(tmp_path / "a" / "b", "nothing came of it", "Go elsewhere."):
            raise error
    assert caught.value.errno == errno.ENOSPC


def test_other_errors_are_as_they_were(tmp_path):
    with pytest.raises(PermissionError, match="^x$"), io.disk_errors(tmp_path, "nothing"):
        raise PermissionError("x")


def test_numbers_that_json_does_not_have_are_null():
    value = {
        "a": [1.5, float("nan"), (float("-inf"), "NaN", None, True)],
        "b": {"c": np.float64("inf")},
    }
    found = io.without_nan(value)
    assert found == {"a": [1.5, None, [None, "NaN", None, True]], "b": {"c": None}}
    json.dumps(found, allow_nan=False)


# Permissions, links and names.


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield
    os.umask(before)


def write(path, text="new"):
    with io.atomic_write(path) as temporary:
        temporary.write_text(text)
        temporary.chmod(0o777)  # As a library may have its own idea.


def test_a_new_file_follows_the_umask_and_a_replaced_one_keeps_its_mode(tmp_path, umask):
    path = tmp_path / "file"
    write(path)
    assert path.stat().st_mode & 0o777 == 0o640
    for mode in (0o600, 0o664, 0o444):
        path.chmod(mode)
        write(path, str(mode))
        assert path.stat().st_mode & 0o777 == mode and path.read_text() == str(mode)


@pytest.mark.parametrize("allowed", [True, False])
def test_the_owner_and_the_group_are_kept_where_that_is_allowed(tmp_path, monkeypatch, allowed):
    path, asked = tmp_path / "file", []
    path.write_text("old")
    path.chmod(0o640)
    real, old = os.stat, os.stat(path)

    def stat(place, **options):
        found = real(place, **options)
        if os.fspath(place) != str(path):
            return found
        return os.stat_result((*found[:4], old.st_uid + 1, old.st_gid + 1, *found[6:10]))

    def chown(place, owner, group):
        asked.append((owner, group))
        if not allowed:
            raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(io.os, "stat", stat)
    monkeypatch.setattr(io.os, "chown", chown)
    write(path)
    monkeypatch.undo()
    assert asked == [(-1, old.st_gid + 1), (old.st_uid + 1, -1)]
    # What a group might do that cannot be given is not for the group of this process.
    assert path.stat().st_mode & 0o777 == (0o640 if allowed else 0o600)


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "disk").mkdir()
    target, link = tmp_path / "disk" / "blob", tmp_path / "model.keras"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to("disk/blob")
    with io.atomic_write(link) as temporary:
        assert temporary.name == "model.keras"  # By which libraries choose a format.
        assert temporary.parent.parent == target.parent
        temporary.write_text("new")
    assert link.is_symlink() and target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o640
    # One that points to no file yet makes it, as open() does.
    link.unlink()
    link.symlink_to(tmp_path / "disk" / "later")
    write(link)
    assert link.is_symlink() and (tmp_path / "disk" / "later").read_text() == "new"
    assert leftovers(tmp_path, "disk", "model.keras") == []
    assert leftovers(tmp_path / "disk", "blob", "later") == []


def test_links_that_cannot_be_written_through_are_named(tmp_path):
    for name, target in (("nowhere", "disk/blob"), ("circle", "circle")):
        (tmp_path / name).symlink_to(target)
        with pytest.raises(FileNotFoundError, match=f"{name}: it is a link to {target}, and there"):
            write(tmp_path / name)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    with pytest.raises(IsADirectoryError, match="link: it is a folder"):
        write(tmp_path / "link")
    with pytest.raises(FileExistsError, match="nowhere exists and is not overwritten"):
        with io.atomic_directory(tmp_path / "nowhere"):
            raise AssertionError("the block must not run")
    assert leftovers(tmp_path, "nowhere", "circle", "folder", "link") == []


def test_devices_are_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", pathlib.Path("/dev/null")):
        with pytest.raises(OSError, match="it is a device, a pipe or a socket"):
            write(path)
    assert not pathlib.Path("/dev/null").is_file()


@pytest.mark.parametrize("name", ["n" * 255, os.fsdecode(b"caf\xe9 \xff"), "[a]*?.json"])
def test_names_that_are_long_or_no_text(tmp_path, name):
    write(tmp_path / name)
    assert (tmp_path / name).read_text() == "new"
    with io.atomic_directory(tmp_path / "folder" / name):
        pass
    assert (tmp_path / "folder" / name).is_dir()
    assert leftovers(tmp_path, name, "folder") == []


def test_a_full_disk_is_said_by_every_writer(tmp_path):
    path = tmp_path / "file"
    with pytest.raises(OSError, match=rf"is full \(\d+ MB free\), and {path} was not") as caught:
        with io.atomic_write(path):
            raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match=f"is full .*, and {tmp_path / 'a'} was not written"):
        with io.atomic_directory(tmp_path / "a"):
            raise RuntimeError("x.data; No space left on device")
    assert leftovers(tmp_path) == []

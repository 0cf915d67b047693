"""kvae.utils.locks: one writer at a time, who is named, and whose death frees what it held."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from kvae.utils import io, locks

# A process that holds a lock, or is in the middle of a write, until it is killed.
_HOLDER = """
import sys, time
from kvae.utils import io, locks
what, path = sys.argv[1:3]
context = locks.Lock(path, "a test") if what == "lock" else getattr(io, what)(path)
with context as value:
    if what == "atomic_write":
        value.write_text("half")
    print("holding", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder():
    """`holder("lock", path)` starts a process that holds it; all are killed in the end."""
    started = []

    def start(what, path):
        process = subprocess.Popen(
            [sys.executable, "-c", _HOLDER, what, str(path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        started.append(process)
        assert process.stdout.readline() == b"holding\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_second_process_is_refused_and_told_by_whom_until_that_one_is_killed(
    tmp_path, holder, kind
):
    path = tmp_path if kind == "folder" else tmp_path / "estimates.npz"
    process = holder("lock", path)
    with pytest.raises(BlockingIOError) as caught:
        locks.Lock(path, "another").acquire()
    text = str(caught.value)
    assert text.startswith(f"{path} is in use by a test in process {process.pid} on ")
    assert sys.executable in text and f"choose another {kind}" in text and "\n" not in text
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    left = list(tmp_path.iterdir())
    assert len(left) == 1  # Its file is still there, and says nothing any more.
    with locks.Lock(path, "another"):
        assert json.loads(left[0].read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_thread_may_take_its_lock_again_and_another_thread_may_not(tmp_path):
    seen = []

    def other():
        try:
            with locks.Lock(tmp_path, "another"):
                seen.append("taken")
        except BlockingIOError as error:
            seen.append(str(error))

    def ask():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(30)
        return seen.pop()

    lock = locks.Lock(tmp_path, "a test")
    with lock:
        with lock, locks.Lock(tmp_path, "the same thread"):
            assert f"a test in process {os.getpid()}" in ask()
        assert f"a test in process {os.getpid()}" in ask()
    assert ask() == "taken"
    lock.release()  # It does nothing.
    assert list(tmp_path.iterdir()) == []


def test_a_lock_may_be_waited_for(tmp_path):
    free = threading.Event()

    def hold():
        with locks.Lock(tmp_path, "a test"):
            free.set()
            time.sleep(0.1)

    thread = threading.Thread(target=hold)
    thread.start()
    assert free.wait(30)
    with locks.Lock(tmp_path, "another", wait=30.0):
        pass
    thread.join(30)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="There is no fork.")
def test_a_forked_child_does_not_keep_its_parents_lock(tmp_path, run_python):
    code = """
import os, sys, time
from kvae.utils import locks
lock = locks.Lock(sys.argv[1], "the parent")
lock.acquire()
child = os.fork()
if child == 0:
    lock.release()  # It is not the child's.
    time.sleep(60)
    os._exit(0)
try:
    other = os.fork()
    if other == 0:
        try:
            locks.Lock(sys.argv[1], "the child").acquire()
        except BlockingIOError:
            os._exit(7)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]))
    lock.release()
    locks.Lock(sys.argv[1], "again").acquire()
finally:
    os.kill(child, 9)
"""
    assert run_python(code, tmp_path).stdout.split() == ["7"]


def test_many_threads_never_hold_a_lock_at_the_same_time(tmp_path):
    inside, most, failed = [], [], []

    def work():
        try:
            for _ in range(40):
                with locks.Lock(tmp_path / "file", "a test", wait=60.0):
                    inside.append(1)
                    most.append(len(inside))
                    time.sleep(0.0002)
                    inside.pop()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == [] and len(most) == 160 and max(most) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch):
    def refuse(descriptor, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match=f"{tmp_path} cannot be locked .No locks available"):
        with locks.Lock(tmp_path, "a test"):
            pass
    with io.atomic_write(tmp_path / "file") as temporary:
        temporary.write_text("written all the same")
    assert (tmp_path / "file").read_text() == "written all the same"


def test_what_a_holder_says_of_itself_is_printable(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["kvae", "\x1b[31mred\n"])
    texts = []

    def other():
        try:
            locks.Lock(tmp_path, "x").acquire()
        except BlockingIOError as error:
            texts.append(str(error))

    with locks.Lock(tmp_path, "a test"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(30)
    assert "?[31mred?" in texts[0] and texts[0].isprintable()


# What killed writers leave.


def folders(path):
    return [entry.name for entry in path.iterdir() if entry.name.startswith(".")]


@pytest.mark.parametrize("what", ["atomic_write", "atomic_directory"])
def test_what_a_killed_writer_left_goes_away_and_never_that_of_a_living_one(tmp_path, holder, what):
    dead, living = holder(what, tmp_path / "one"), holder(what, tmp_path / "two")
    assert len(folders(tmp_path)) == 2
    dead.kill()
    dead.wait()
    with io.atomic_write(tmp_path / "other") as temporary:
        temporary.write_text("x")
    (left,) = folders(tmp_path)
    assert left.startswith(".two.") and living.poll() is None
    living.kill()
    living.wait()
    with io.atomic_write(tmp_path / "other") as temporary:
        temporary.write_text("y")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_folders_of_others_are_left_alone(tmp_path):
    (tmp_path / ".mine.tmp").mkdir()
    (tmp_path / ".theirs.tmp").mkdir()
    owner = tmp_path / ".theirs.tmp" / ".owner"
    # A process of another host, whose locks may not be seen here.
    owner.write_text(json.dumps({"host": "elsewhere", "pid": 1}))

    def write():
        with io.atomic_write(tmp_path / "file") as temporary:
            temporary.write_text("x")
        return folders(tmp_path)

    assert sorted(write()) == [".mine.tmp", ".theirs.tmp"]
    os.utime(owner, (0, time.time() - 25 * 3600))
    assert write() == [".mine.tmp"]

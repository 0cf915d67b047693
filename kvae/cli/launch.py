"""Worker processes on this machine: started together, watched, and started again."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

from kvae.utils import io, locks
from kvae.utils.terminal import say

__all__ = ["BAD_INPUT", "LOST_WORKER", "free_ports", "launch", "wait_for_first"]

# The status with which a worker ends that lost another one (EX_TEMPFAIL): start it again.
LOST_WORKER = 75
BAD_INPUT = 2
_GRACE = 120.0  # Seconds that workers get to save themselves.
_PAUSE = 0.5  # Seconds between two looks at a lock, which may be on another machine.


def launch(command: list[str], workers: int, *, restarts: int, folder) -> int:
    """Runs `command` in `workers` processes that know of each other by `TF_CONFIG`.

    When one dies the others cannot go on: all are ended and started again, with what they saved.
    The first one's output is shown, that of the others goes to `worker-N.log`. SIGTERM and SIGINT
    are passed on.

    Args:
        command: list of str. The program and its arguments.
        workers: int.
        restarts: int. How often they are started again.
        folder: path. Gets the logs.

    Returns:
        The exit status: 0, that of a worker that failed for good, or 128 and a signal's number.
    """
    folder = io.writable_folder(folder)
    asked = []
    before = {
        number: signal.signal(number, lambda number, frame: asked.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        for attempt in range(restarts + 1):
            index, status = _run(command, workers, folder, asked)
            if asked:
                return 128 + asked[0]
            if status in (0, BAD_INPUT):
                return status
            what = f"died of signal {-status}" if status < 0 else f"ended with status {status}"
            then = "starting all again from the last checkpoint"
            if attempt == restarts:
                then = "not again: see --restarts"
            say(f"kvae: worker {index} {what}; {then}", file=sys.stderr, flush=True)
        return 1 if status < 0 else status
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def wait_for_first(folder) -> None:
    """Waits until the first worker, which holds the lock of the run's folder, has ended.

    TensorFlow reports workers that end before it, while it evaluates, as crashed.

    Args:
        folder: path.
    """
    while True:
        try:
            with locks.Lock(folder, "a training"):
                return
        except BlockingIOError:
            time.sleep(_PAUSE)


def _run(command, workers: int, folder, asked: list) -> tuple[int, int]:
    """Runs the workers once; returns the first one that failed and its status, or `(0, 0)`."""
    addresses = [f"localhost:{port}" for port in free_ports(workers)]
    processes = []
    try:
        for index in range(workers):
            task = {"type": "worker", "index": index}
            config = json.dumps({"cluster": {"worker": addresses}, "task": task})
            log = open(folder / f"worker-{index}.log", "ab") if index else None
            processes.append(
                subprocess.Popen(
                    command,
                    env={**os.environ, "TF_CONFIG": config},
                    stdout=log,
                    stderr=log and subprocess.STDOUT,
                    start_new_session=True,  # A terminal's Ctrl-C comes from us alone.
                )
            )
            if log is not None:
                log.close()
        passed_on, deadline = 0, None
        while True:
            for number in asked[passed_on:]:
                passed_on += 1
                deadline = deadline or time.monotonic() + _GRACE
                for process in processes:
                    process.send_signal(number)
            states = [process.poll() for process in processes]
            failed = [index for index, state in enumerate(states) if state not in (None, 0)]
            if failed and not asked:
                # One that only lost another says less than the one that was lost.
                first = min(failed, key=lambda index: states[index] == LOST_WORKER)
                return first, states[first]
            if None not in states:
                return 0, 0
            if deadline is not None and time.monotonic() > deadline:
                return 0, 0
            time.sleep(0.05)
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.wait()


def free_ports(count: int) -> list[int]:
    """Returns ports of this machine that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("localhost", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()

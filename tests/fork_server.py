"""Processes that have imported Keras and used nothing of it; each program runs in a fork of one.

To import TensorFlow takes six CPU seconds, and to fork a process that has done so a tenth of one.
`python fork_server.py ADDRESS` listens at the socket ADDRESS for the programs of tests, and at
ADDRESS.tests for the processes in which pytest-xdist runs the tests: those come of one that has
also imported what the tests do beside Keras. It ends when its standard input does.

`python fork_server.py ADDRESS -c CODE ARGUMENTS` does what `python -c CODE ARGUMENTS` does, in a
fork of the server at that address.
"""

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
import types

TESTS = ".tests"
_BESIDE_KERAS = ("scipy.stats", "sklearn.metrics", "tensorflow_probability")
_PAUSE = 0.01


def ask(address: str, program: dict, files, timeout: float | None = None) -> tuple[int, float]:
    """Runs a program in a fork of the server.

    Args:
        address: str. Of the socket.
        program: dict. `code`, `arguments`, `environment` and `folder`.
        files: three file descriptors, for standard input, output and error.
        timeout: float or `None`. Seconds after which the program is killed. Defaults to `None`.

    Returns:
        The exit status, and the CPU seconds.

    Raises:
        TimeoutError: if it takes longer.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(address)
        socket.send_fds(connection, [b"3"], list(files))
        with connection.makefile("rwb") as stream:
            stream.write(json.dumps(program).encode() + b"\n")
            stream.flush()
            answer = stream.readline()
    if not answer:
        raise RuntimeError("The fork server is gone.")
    status, seconds = json.loads(answer)
    return status, seconds


def _run(program: dict, files: list[int]) -> None:
    """Does in a child what `python -c CODE ARGUMENTS` does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(program["environment"])
    os.chdir(program["folder"])
    sys.argv = ["-c", *program["arguments"]]
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:1] = ["", *filter(None, paths)]
    sys.modules["__main__"] = main = types.ModuleType("__main__")
    status = 1
    try:
        exec(compile(program["code"], "<string>", "exec"), vars(main))
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _watch(connection: socket.socket) -> None:
    """Runs the program of a connection and answers; it is killed when nobody waits any longer."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, files, _, _ = socket.recv_fds(connection, 1, 3)
    with connection.makefile("rwb") as stream:
        program = json.loads(stream.readline())
        child = os.fork()
        if not child:
            stream.close()
            connection.close()
            _run(program, files)
        for file in files:
            os.close(file)
        while True:
            ended, status, usage = os.wait4(child, os.WNOHANG)
            if ended:
                break
            if select.select([connection], [], [], _PAUSE)[0]:
                os.kill(child, signal.SIGKILL)
        answer = [os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime]
        stream.write(json.dumps(answer).encode() + b"\n")
        stream.flush()


def _serve(listening: socket.socket) -> None:
    """Forks for each connection, until standard input ends."""
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # Nobody asks how the watchers ended.
    while True:
        ready = select.select([listening, 0], [], [])[0]
        if 0 in ready:
            return
        connection, _ = listening.accept()
        if not os.fork():
            listening.close()
            try:
                _watch(connection)
            finally:
                os._exit(0)
        connection.close()


def _listening(address: str) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen(64)
    return listening


def serve(address: str) -> None:
    """Listens at the address, and for processes of tests at that with `TESTS` at its end."""
    programs, tests = _listening(address), _listening(address + TESTS)
    import keras  # noqa: F401

    if not os.fork():
        programs.close()
        if 0 in select.select([tests, 0], [], [])[0]:
            os._exit(0)  # No process of tests has asked for it.
        for name in _BESIDE_KERAS:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        _serve(tests)
        os._exit(0)
    tests.close()
    _serve(programs)


def main() -> None:
    address, *words = sys.argv[1:]
    if not words:
        serve(address)
        return
    # An interpreter's options may stand before the code.
    code, *arguments = words[words.index("-c") + 1 :]
    program = {
        "code": code,
        "arguments": arguments,
        "environment": dict(os.environ),
        "folder": os.getcwd(),
    }
    # The end of a process is noticed by the one who waits.
    sys.exit(ask(address, program, (0, 1, 2))[0])


if __name__ == "__main__":
    main()
